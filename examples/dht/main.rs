//! A node of the DHT alone, on its own UDP sockets: `dht HASH --bootstrap HOST:PORT`.
//!
//! What it teaches: how to drive `cratetorrent::dht::Node` (`drive.rs`), and what it tells of its
//! look-ups (`look.rs`).

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]
// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]

mod args;
#[path = "../common/mod.rs"]
mod common;
mod drive;
mod look;
mod picture;

use std::{fs, process::ExitCode, time::Duration};

use args::Options;
use common::{Problem, complain, shown, signals::Interrupt};
use cratetorrent::dht::Announce;
use drive::{Driver, News};
use look::Look;

/// Longer than any look-up takes.
const LOOKUP: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    common::program(args::help, args::parse, run)
}

fn run(options: Options) -> Result<ExitCode, Problem> {
    let mut look = Look { show: options.show, ..Look::default() };
    let mut driver = Driver::new(&options, &look)?;
    let stop = driver.tell();
    let interrupt = Interrupt::catch(move || _ = stop.send(News::Stop))?;

    driver.run_until(driver.now() + options.warm, &mut look, |_| false);
    look.table(&driver.node.stats(driver.now()), !options.hashes.is_empty());
    let looked = options.hashes.is_empty() || look_up(&options, &mut driver, &mut look);
    driver.run_until(driver.now() + options.stay, &mut look, |_| false);

    let kept = keep(&options, &driver, &look);
    match interrupt.exit_code() {
        Some(code) if !looked => {
            if let Err(problem) = kept {
                complain(&problem.sentence);
            }
            Ok(ExitCode::from(code))
        }
        _ if options.hashes.is_empty() || look.peers > 0 => kept.map(|()| ExitCode::SUCCESS),
        _ => kept.map(|()| ExitCode::FAILURE),
    }
}

/// Looks for the torrent; whether that came to its end.
fn look_up(options: &Options, driver: &mut Driver, look: &mut Look) -> bool {
    if driver.is_stopped() {
        return false;
    }
    driver.node.set_trace(true);
    look.began = driver.now();
    for &hash in &options.hashes {
        let announce = options.announce.map(|port| Announce {
            port_v4: Some(port),
            port_v6: Some(port),
            implied_port: false,
            seed: false,
        });
        look.searches.insert(driver.node.find_peers(look.began, hash, announce));
    }
    driver.run_until(look.began + LOOKUP, look, |look| look.searches.is_empty());
    look.searches.is_empty()
}

/// What is left of it: the nodes, and the picture.
fn keep(options: &Options, driver: &Driver, look: &Look) -> Result<(), Problem> {
    let cannot = |option: &str, e: std::io::Error| {
        Problem::new(format!("{option}: what is known cannot be written: {e}"))
    };
    if let Some(file) = &options.state {
        let state = driver.node.state().encode();
        file.write(&state).map_err(|e| cannot("--dht-state", e))?;
    }
    if let Some(path) = options.svg.as_ref().filter(|_| !options.hashes.is_empty()) {
        let drawn = fs::write(path, look.picture.svg());
        drawn.map_err(|e| Problem::new(format!("--svg: cannot write {}: {e}", shown(path))))?;
    }
    Ok(())
}
