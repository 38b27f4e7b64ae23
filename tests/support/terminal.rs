//! A terminal for a program to believe in: what it writes, without the emulator's part of making a
//! screen of it.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::clock;

/// A program that runs on a terminal. Dropping it kills it.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts `command` on a terminal of so many columns.
    pub fn start(command: &mut Command, term: &str, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
            .unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = || {
            OwnedFd::from(
                File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap(),
            )
        };
        let child = command
            .env("TERM", term)
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, all) = (master.try_clone().unwrap(), seen.clone());
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            // The end of the last process on the terminal is an error here.
            while let Ok(len @ 1..) = reader.read(&mut buf) {
                all.lock().unwrap().extend_from_slice(&buf[..len]);
            }
        });
        Self { master, child, seen }
    }

    /// Types.
    pub fn say(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// All that the program has written up to now.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Waits until it has written this behind the first `from` bytes; where that ends.
    pub fn wait_for(&self, from: usize, what: &str, limit: Duration) -> usize {
        let found = clock::try_wait_for(limit, || {
            let text = self.text();
            text.get(from..)?.find(what).map(|at| from + at + what.len())
        });
        found.unwrap_or_else(|| panic!("no {what:?} behind {from} in {:?}", self.text()))
    }

    /// Waits for the end of the program.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        clock::wait_for("its end", limit, || self.child.try_wait().unwrap())
    }

    /// The lines as they were drawn, those drawn over others included, without what moves the
    /// cursor.
    pub fn drawn(&self) -> Vec<String> {
        let (mut lines, mut line) = (Vec::new(), String::new());
        let text = self.text();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' | '\n' => lines.push(std::mem::take(&mut line)),
                '\x1b' => {
                    // "ESC [ parameters letter": the sequence ends with its letter.
                    let _ = chars.by_ref().skip(1).find(char::is_ascii_alphabetic);
                    lines.push(std::mem::take(&mut line));
                }
                c => line.push(c),
            }
        }
        lines.push(line);
        lines
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
