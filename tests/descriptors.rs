//! A process without a free descriptor: in a file of its own, since the limit is the whole process's.

#![cfg(target_os = "linux")]
// In a test, a failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

use std::{
    io::Read,
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use cratetorrent::{Conf, Reactor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn running_out_of_descriptors_refuses_connections_without_spinning_and_passes() {
    let mut reactor = Reactor::new(Conf { listen: vec![(Ipv4Addr::LOCALHOST, 0).into()], ..Conf::default() }).unwrap();
    let addr = reactor.local_addrs()[0];
    let limit = Rlimit { current: Some(100), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();

    // The clients take every descriptor, so that none is left to accept them with.
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(addr) {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        clients.push(client);
    }
    assert!(clients.len() > 50);
    for _ in 0..10 {
        reactor.poll(Some(Duration::ZERO)).unwrap();
    }
    assert_ne!(reactor.next_timeout(), Some(Duration::ZERO), "it spins");
    assert_eq!(reactor.engine().links(), 0);
    for client in &mut clients {
        // Closed, or reset; in any case not left waiting.
        assert!(!matches!(client.read(&mut [0; 1]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock));
    }

    drop(clients);
    let _client = TcpStream::connect(addr).unwrap();
    for _ in 0..100 {
        reactor.poll(Some(Duration::from_secs(1))).unwrap();
        if reactor.engine().links() == 1 {
            return;
        }
    }
    panic!("nobody is accepted any more");
}
