//! Ports for programs that are told theirs. It must not know which programs those are.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below the ports that systems give to sockets without a wish (from 32,768 on Linux, 49,152
/// elsewhere), so that no connection made meanwhile by any test takes one before its program does.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A port that no program listens on, of TCP and UDP; not given twice by this process, and another
/// process begins elsewhere.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let nth = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (process::id().wrapping_mul(61).wrapping_add(nth)) % COUNT;
        let addr = (Ipv4Addr::UNSPECIFIED, u16::try_from(port).unwrap());
        if TcpListener::bind(addr).is_ok() && UdpSocket::bind(addr).is_ok() {
            return addr.1;
        }
    }
    panic!("each port from {FIRST} on is taken");
}
