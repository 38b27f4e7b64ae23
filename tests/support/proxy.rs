//! A bad line: a proxy on loopback in front of a peer that delays, throttles, cuts and corrupts
//! what passes through real sockets.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::clock;

/// How long a thread waits before it looks whether the proxy is gone.
const LOOK: Duration = Duration::from_millis(100);
/// Pieces of a stream that are on their way at a time.
const IN_FLIGHT: usize = 4096;

/// What happens to what passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Each way.
    pub delay: Duration,
    /// Bytes per second towards the client, each connection for itself.
    pub rate: Option<u64>,
    /// Towards the client a connection ends after so many bytes, in the middle of whatever they
    /// are.
    pub cut_after: Option<u64>,
    /// It ends by a reset, not in good order.
    pub reset: bool,
    /// Towards the client one bit is wrong in so many bytes.
    pub corrupt_every: Option<u64>,
    /// Towards the client nothing comes any more after so many bytes, over all connections, and
    /// neither end is told.
    pub stall_after: Option<u64>,
}

/// What has passed.
#[derive(Debug, Default)]
pub struct Passed {
    /// Connections made through it.
    pub connections: AtomicU32,
    /// Bytes towards the client, over all connections.
    pub bytes: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    weather: Weather,
    passed: Passed,
    over: AtomicBool,
}

/// A proxy at work. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Passes connections to a loopback address of its own on to `target`.
    pub fn start(target: SocketAddr, weather: Weather) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(2);
        let listener = TcpListener::bind(SocketAddr::from((
            [127, 0, 78, NEXT.fetch_add(1, Ordering::Relaxed)],
            0,
        )))
        .unwrap();
        let addr = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { target, weather, passed: Passed::default(), over: false.into() });
        let acceptor = Some(thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        }));
        Self { addr, shared, acceptor }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections made through it so far.
    pub fn connections(&self) -> u32 {
        self.shared.passed.connections.load(Ordering::Relaxed)
    }

    /// Bytes passed to the client so far.
    pub fn bytes(&self) -> u64 {
        self.shared.passed.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // So that it looks up.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut pumps = Vec::new();
    for client in listener.incoming() {
        if shared.over.load(Ordering::Relaxed) {
            break;
        }
        let Ok(client) = client else { continue };
        let Ok(server) = TcpStream::connect(shared.target) else { continue };
        shared.passed.connections.fetch_add(1, Ordering::Relaxed);
        for (from, to, down) in [(&server, &client, true), (&client, &server, false)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (late, due) = mpsc::sync_channel(IN_FLIGHT);
            pumps.push(thread::spawn({
                let shared = shared.clone();
                move || receive(from, &late, &shared)
            }));
            pumps.push(thread::spawn({
                let shared = shared.clone();
                move || send(to, &due, &shared, down)
            }));
        }
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

/// Reads, and notes when each part is due at the other side. Ends when the stream or the other half
/// does.
fn receive(mut from: TcpStream, late: &SyncSender<(Instant, Vec<u8>)>, shared: &Shared) {
    from.set_read_timeout(Some(LOOK)).unwrap();
    let mut buf = [0; 16 * 1024];
    while !shared.over.load(Ordering::Relaxed) {
        match from.read(&mut buf) {
            Ok(0) => break,
            Ok(len) => {
                if late.send((clock::now() + shared.weather.delay, buf[..len].to_vec())).is_err() {
                    break;
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

fn send(mut to: TcpStream, due: &Receiver<(Instant, Vec<u8>)>, shared: &Shared, down: bool) {
    let Weather { rate, cut_after, reset, corrupt_every, stall_after, .. } = shared.weather;
    let (begun, mut passed) = (clock::now(), 0_u64);
    to.set_write_timeout(Some(LOOK * 50)).unwrap();
    while let Ok((when, mut bytes)) = due.recv() {
        clock::until(when);
        if down {
            if let Some(left) = cut_after.map(|after| after.saturating_sub(passed))
                && left < bytes.len() as u64
            {
                bytes.truncate(left as usize);
                let _ = to.write_all(&bytes);
                if reset {
                    let _ = rustix::net::sockopt::set_socket_linger(&to, Some(Duration::ZERO));
                }
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
            let before = shared.passed.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if stall_after.is_some_and(|after| before >= after) {
                continue;
            }
            if let Some(every) = corrupt_every {
                let next = before.next_multiple_of(every) - before;
                if let Some(byte) = bytes.get_mut(next as usize) {
                    *byte ^= 1 << (before % 8);
                }
            }
            if let Some(rate) = rate {
                clock::pace(begun, passed + bytes.len() as u64, rate);
            }
        }
        passed += bytes.len() as u64;
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
