//! A small proxy on loopback, for SOCKS 5 and for CONNECT of HTTP, that leads every name to this
//! machine and writes down what it was asked for.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// See the module. Dropping it lets no more in.
#[derive(Debug)]
pub struct Gate {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Gate {
    /// Opens it.
    pub fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (asked, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (to, is_over) = (asked.clone(), over.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), to) = (stream, to.clone()) else { continue };
                thread::spawn(move || _ = serve(stream, &to));
            }
        });
        Self { addr, asked, over, thread: Some(thread) }
    }

    /// Where it is, by `socks5` or `http`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.addr)
    }

    /// What it was asked for, as `name:port`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
        self.thread.take().into_iter().for_each(|thread| _ = thread.join());
    }
}

fn serve(mut client: TcpStream, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut first = [0];
    client.read_exact(&mut first)?;
    let (place, answer) = match first {
        [5] => (socks(&mut client)?, &b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"[..]),
        _ => (connect(&mut client)?, &b"HTTP/1.1 200 Connection established\r\n\r\n"[..]),
    };
    asked.lock().unwrap().push(place.clone());
    let port: u16 = place.rsplit_once(':').unwrap().1.parse().unwrap();
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    client.write_all(answer)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let there = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = there.join();
    Ok(())
}

/// The rest of a greeting, and a request for a name or an address of IPv4.
fn socks(client: &mut TcpStream) -> io::Result<String> {
    let mut count = [0];
    client.read_exact(&mut count)?;
    client.read_exact(&mut vec![0; count[0].into()])?;
    client.write_all(&[5, 0])?;
    let mut head = [0; 5];
    client.read_exact(&mut head)?;
    let [5, 1, 0, kind, len] = head else { return Err(io::ErrorKind::InvalidData.into()) };
    let rest = if kind == 3 { usize::from(len) } else { 3 };
    let mut place = vec![0; rest + 2];
    client.read_exact(&mut place)?;
    let port = u16::from_be_bytes([place[rest], place[rest + 1]]);
    Ok(match kind {
        3 => format!("{}:{port}", String::from_utf8_lossy(&place[..rest])),
        _ => format!("{len}.{}.{}.{}:{port}", place[0], place[1], place[2]),
    })
}

/// The rest of a head.
fn connect(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut next = [0];
        client.read_exact(&mut next)?;
        head.push(next[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    Ok(head.split(' ').nth(1).unwrap().to_owned())
}
