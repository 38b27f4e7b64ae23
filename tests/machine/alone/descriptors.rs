//! A process without a free descriptor. The limit is the whole process's.

use std::{
    io::Read,
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use super::is_alone;
use cratetorrent::{
    Conf, Reactor, TorrentParams,
    wire::metainfo::{Metainfo, MetainfoBuilder},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn descriptor_shortage_refuses_connections_without_spinning() {
    let test = "descriptor_shortage_refuses_connections_without_spinning";
    if !is_alone(module_path!(), test, Duration::from_secs(60)) {
        return;
    }
    let conf = Conf::default().with(|conf| {
        conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        conf.peers.reconnect_min = Duration::from_millis(1);
        conf.peers.reconnect_max = Duration::from_millis(1);
    });
    let mut reactor = Reactor::new(conf).unwrap();
    let addr = reactor.local_addrs()[0];
    // A peer to be dialled, once there is a torrent.
    let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
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
    assert_eq!(reactor.verbs().connections(), 0);
    for client in &mut clients {
        // Closed, or reset; in any case not left waiting.
        let read = client.read(&mut [0; 1]);
        assert!(!matches!(read, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock));
    }

    let mut builder = MetainfoBuilder::new("nothing", 1 << 15);
    builder.single_file(1);
    let metainfo = Metainfo::from_bytes(&builder.build(&[[1; 20]]).unwrap()).unwrap();
    let peers = vec![peer.local_addr().unwrap()];
    let params = TorrentParams {
        peers,
        state_file: None,
        ..TorrentParams::new(Arc::new(metainfo), "/nowhere")
    };
    let torrent = reactor.verbs().add_torrent(params).unwrap();
    let before = reactor.stats().turns;
    while reactor.stats().turns < before + 300 {
        reactor.poll(Some(Duration::from_secs(1))).unwrap();
        while reactor.next_alert().is_some() {}
    }
    let known = reactor.verbs().stats(torrent).unwrap().candidates;

    drop(clients);
    assert_eq!(known, 1, "it is not the peer's fault that it could not be dialled");
    peer.set_nonblocking(true).unwrap();
    while peer.accept().is_err() {
        reactor.poll(Some(Duration::from_secs(1))).unwrap();
    }
    reactor.verbs().remove(torrent).unwrap();
    while reactor.verbs().connections() > 0 {
        reactor.poll(Some(Duration::from_secs(1))).unwrap();
    }
    let _client = TcpStream::connect(addr).unwrap();
    for _ in 0..100 {
        reactor.poll(Some(Duration::from_secs(1))).unwrap();
        if reactor.verbs().connections() == 1 {
            return;
        }
    }
    panic!("no connection is accepted any more");
}
