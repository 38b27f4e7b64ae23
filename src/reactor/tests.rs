//! What `reactor` promises.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use mio::{Events, Poll, Token};

use super::{
    Reactor,
    clock::Clock,
    earlier,
    outgoing::Outgoing,
    run_queue::RunQueue,
    streams::{Connecting, FIRST_STREAM_TOKEN, Stream, Streams, slot},
    udp::Udp,
    wake::Waker,
};
use crate::{base::arena::Key, conf::Conf, engine::StreamId};

const ID: StreamId = StreamId::Peer(Key { index: 3, generation: 7 });

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Dials `addr` and waits until that has an outcome.
fn dial(addr: SocketAddr) -> (Poll, Streams, Connecting) {
    let mut poll = Poll::new().unwrap();
    let mut streams = Streams::default();
    let stream = Stream::connect(ID, &Outgoing::new(&Conf::default()), addr, None).unwrap();
    streams.insert(poll.registry(), stream).unwrap();
    let mut events = Events::with_capacity(8);
    for _ in 0..100 {
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert!(events.iter().all(|event| event.token() == Token(FIRST_STREAM_TOKEN + slot(ID))));
        match streams.get_mut(ID).unwrap().finish_connecting() {
            Connecting::Waiting => {}
            outcome => return (poll, streams, outcome),
        }
    }
    panic!("no outcome");
}

/// Dials a listener, which accepts.
fn pair() -> (Poll, Streams, TcpStream) {
    let (listener, addr) = listener();
    let (poll, streams, outcome) = dial(addr);
    assert!(matches!(outcome, Connecting::Made));
    (poll, streams, listener.accept().unwrap().0)
}

#[test]
fn a_refused_connection_says_so() {
    let (listener, addr) = listener();
    drop(listener);
    let (_, _, outcome) = dial(addr);
    assert!(
        matches!(outcome, Connecting::Failed(e) if e.kind() == io::ErrorKind::ConnectionRefused)
    );
}

#[test]
fn a_made_connection_carries_bytes_both_ways() {
    let (mut poll, mut streams, mut other) = pair();
    let stream = streams.get_mut(ID).unwrap();
    assert_eq!(stream.read(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(
        stream.write(&[IoSlice::new(b"so"), IoSlice::new(b""), IoSlice::new(b"ngs")]).unwrap(),
        5
    );
    let mut heard = [0; 5];
    other.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"songs");
    other.write_all(b"bravo").unwrap();
    drop(other);
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
    assert_eq!(stream.read(&mut heard).unwrap(), 5);
    assert_eq!(&heard, b"bravo");
}

#[test]
fn stale_name_finds_no_stream_and_closing_ends_the_stream() {
    let (poll, mut streams, mut other) = pair();
    let stale = StreamId::Peer(Key { index: 3, generation: 6 });
    assert!(streams.get_mut(stale).is_none());
    assert!(!streams.close(poll.registry(), stale));
    streams.get_mut(ID).unwrap().write(&[IoSlice::new(b"last words")]).unwrap();
    assert!(streams.close(poll.registry(), ID));
    assert!(!streams.close(poll.registry(), ID));
    assert!(streams.at_slot(slot(ID)).is_none() && streams.at_slot(99).is_none());
    let mut heard = String::new();
    other.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "last words");
}

#[test]
fn streams_of_different_owners_have_different_slots() {
    let key = |index| Key { index, generation: 1 };
    let owners = [
        StreamId::Peer,
        StreamId::Tracker,
        StreamId::WebSeed,
        StreamId::Relay,
        StreamId::PortMapping,
    ];
    let slots = [0, 1].map(|n| owners.map(|owner| slot(owner(key(n)))));
    assert_eq!(slots, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]);
}

#[test]
fn a_write_to_a_broken_connection_is_an_error_not_a_signal() {
    let (_poll, mut streams, other) = pair();
    drop(other);
    let stream = streams.get_mut(ID).unwrap();
    let failed = (0..1000).find_map(|_| stream.write(&[IoSlice::new(b"hello?")]).err()).unwrap();
    assert!(matches!(failed.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
}

#[test]
fn many_calls_wake_once() {
    let mut poll = Poll::new().unwrap();
    let waker = Waker::new(poll.registry(), Token(0)).unwrap();
    let mut events = Events::with_capacity(8);
    assert!(!waker.take());
    let others: Vec<_> = (0..4)
        .map(|_| {
            let waker = waker.clone();
            std::thread::spawn(move || waker.wake())
        })
        .collect();
    others.into_iter().for_each(|other| other.join().unwrap());
    poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
    assert_eq!(events.iter().count(), 1);
    assert!(waker.is_called() && waker.take() && !waker.take());
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty());
    waker.wake();
    poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
    assert_eq!(events.iter().count(), 1);
}

#[test]
fn the_clock_goes_forward() {
    let clock = Clock::new();
    let a = clock.now();
    let b = clock.now();
    assert!(a <= b);
    assert!(b.since(a) < Duration::from_secs(60));
}

#[test]
fn a_slot_waits_once_and_in_order() {
    let mut queue = RunQueue::default();
    for slot in [5, 1000, 5, 0, 1000] {
        queue.push(slot);
    }
    assert_eq!(queue.len(), 3);
    assert_eq!(queue.pop(), Some(5));
    queue.push(5);
    assert_eq!(
        [queue.pop(), queue.pop(), queue.pop(), queue.pop()],
        [Some(1000), Some(0), Some(5), None]
    );
    assert!(queue.is_empty());
}

#[test]
fn no_bound_is_later_than_any() {
    assert_eq!(earlier(None::<u8>, None), None);
    assert_eq!(earlier(Some(1), None), Some(1));
    assert_eq!(earlier(Some(3), Some(2)), Some(2));
}

/// A read that drains its socket counts as any other.
#[test]
fn turn_reads_two_mebibytes_at_most_however_many_streams() {
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let conf = Conf::default().with(|conf| {
        conf.network.listen = listen;
        conf.peers.max_handshakes = 200;
        conf.peers.max_per_host = 200;
    });
    let mut reactor = Reactor::new(conf).unwrap();
    let addr = reactor.local_addrs()[0];
    let bytes = vec![b'?'; 60_000];
    let peers: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut peer = TcpStream::connect(addr).unwrap();
            peer.write_all(&bytes).unwrap();
            peer
        })
        .collect();
    let mut most = 0;
    for _ in 0..100 {
        let before = reactor.stats().bytes_read;
        reactor.poll(Some(Duration::from_millis(5))).unwrap();
        most = most.max(reactor.stats().bytes_read - before);
    }
    assert!(reactor.stats().bytes_read > 3 << 20, "{:?}", reactor.stats());
    assert!(most <= (2 << 20) + 256 * 1024, "{most}");
    drop(peers);
}

/// Where the system hands many datagrams over by one call, they are longer than the shortest read.
#[test]
fn datagrams_that_come_together_are_whole_with_short_reads() {
    let conf = Conf::default().with(|conf| {
        conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        conf.network.read_len = 16_384;
    });
    let mut reactor = Reactor::new(conf).unwrap();
    let to = (Ipv4Addr::LOCALHOST, reactor.datagram_addrs()[0].port()).into();
    let poll = Poll::new().unwrap();
    let socket = mio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let other = Udp::new(socket, poll.registry(), Token(0)).unwrap();
    let data: Vec<u8> = (0..40 * 1400).map(|n| (n / 1400) as u8).collect();
    let mut sent = 0;
    while sent < data.len() {
        sent += other.send_segments(&data[sent..], 1400, to).unwrap();
    }
    let mut got = Vec::new();
    for _ in 0..1000 {
        let _ = reactor.poll.poll(&mut reactor.events, Some(Duration::from_millis(5)));
        reactor.datagrams.handle_event(reactor.poll.registry(), 0, true, false);
        while let Some(arrived) = reactor.datagrams.receive(reactor.scratch.room()) {
            let datagrams = reactor.scratch.first(arrived.len).chunks(arrived.segment);
            got.extend(datagrams.map(<[u8]>::to_vec));
        }
        if got.len() >= 40 {
            break;
        }
    }
    assert!(got.iter().map(Vec::as_slice).eq(data.chunks(1400)), "{} came", got.len());
}

/// The count is that of the system: what was sent and did not come.
#[test]
#[cfg(target_os = "linux")]
fn datagrams_that_found_no_room_are_counted_once_a_second() {
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let mut reactor =
        Reactor::new(Conf::default().with(|conf| conf.network.listen = listen)).unwrap();
    let buffer = reactor.stats().receive_buffer;
    assert_eq!(reactor.stats().datagrams_dropped, Some(0));
    assert!(buffer > 0);
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = reactor.datagram_addrs()[0].port();
    // More than any buffer of that size holds, none of them read.
    let sent = buffer / 1000 + 100;
    for _ in 0..sent {
        other.send_to(&[0; 1000], (Ipv4Addr::LOCALHOST, to)).unwrap();
    }
    assert_eq!(reactor.stats().datagrams_dropped, Some(0), "not looked up within a second");
    let (mut come, mut dropped) = (0, 0);
    // Loopback delivers at once, or soon after.
    for _ in 0..1000 {
        let _ = reactor.poll.poll(&mut reactor.events, Some(Duration::from_millis(5)));
        reactor.datagrams.handle_event(reactor.poll.registry(), 0, true, false);
        while let Some(arrived) = reactor.datagrams.receive(reactor.scratch.room()) {
            come += arrived.len.div_ceil(arrived.segment);
        }
        reactor.looks.dropped.stop();
        dropped = usize::try_from(reactor.stats().datagrams_dropped.unwrap()).unwrap();
        if come + dropped >= sent {
            break;
        }
    }
    assert!(dropped > 0 && come + dropped == sent, "{dropped} dropped, {come} of {sent} came");
}

/// A namespace of its own has an interface that this test may remove and make again, as a tunnel
/// does that loses its connection. What a process sends to itself by it stays inside.
#[test]
#[cfg(target_os = "linux")]
fn interface_that_is_made_anew_serves_again_at_its_port() {
    use std::process::Command;
    const NAME: &str = "reactor::tests::interface_that_is_made_anew_serves_again_at_its_port";
    const INSIDE: &str = "CRATETORRENT_TEST_IN_NAMESPACE";
    const MAKE: &str = "ip link set lo up && ip link add tun7 type veth peer name far7 \
        && ip address add 10.9.9.1/24 dev tun7 && ip link set far7 up && ip link set tun7 up";
    let sh = |script| Command::new("sh").args(["-c", script]).output().unwrap();
    if std::env::var_os(INSIDE).is_none() {
        let unshared = || {
            let mut command = Command::new("unshare");
            command.arg("-rn");
            command
        };
        let can = unshared().args(["sh", "-c", MAKE]).output();
        if !can.is_ok_and(|can| can.status.success()) {
            return eprintln!("no namespaces here");
        }
        let mut inside = unshared();
        inside.arg(std::env::current_exe().unwrap()).args(["--exact", NAME, "--nocapture"]);
        let output = inside.env(INSIDE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(sh(MAKE).status.success());
    let addr = SocketAddr::from((Ipv4Addr::new(10, 9, 9, 1), 7000));
    let conf = Conf::default().with(|conf| {
        conf.network.listen = vec![addr];
        conf.network.bind_interface = Some("tun7".to_owned());
    });
    let mut reactor = Reactor::new(conf.clone()).unwrap();
    // Whether a datagram leaves, and a connection comes that is made by the interface.
    let serves = |reactor: &mut Reactor| {
        // Five seconds later.
        reactor.looks.held.stop();
        reactor.poll(Some(Duration::ZERO)).unwrap();
        let (registry, outgoing) = (reactor.poll.registry(), &reactor.outgoing);
        let sent = reactor.datagrams.send(registry, outgoing, ([10, 9, 9, 2], 9).into(), b"?");
        let stream = Outgoing::new(&conf).connect(addr);
        let comes = stream.is_ok_and(|stream| {
            (0..100).any(|_| {
                reactor.poll(Some(Duration::from_millis(5))).unwrap();
                stream.peer_addr().is_ok() && reactor.verbs().connections() > 0
            })
        });
        (sent.is_ok(), comes)
    };
    assert_eq!(serves(&mut reactor), (true, true));
    assert!(sh("ip link del tun7").status.success());
    assert_eq!(serves(&mut reactor), (false, false));
    for _ in 0..2 {
        assert!(sh(MAKE).status.success());
        assert_eq!(serves(&mut reactor), (true, true));
        assert_eq!((reactor.local_addrs(), reactor.datagram_addrs().len()), (vec![addr], 1));
        assert_eq!(reactor.datagram_addrs()[0].port(), addr.port());
        assert!(sh("ip link del tun7").status.success());
    }
    // An address that comes later than its interface.
    assert!(sh("ip link add tun7 type veth peer name far7").status.success());
    assert_eq!(serves(&mut reactor), (false, false));
    let rest = "ip address add 10.9.9.1/24 dev tun7; ip link set far7 up; ip link set tun7 up";
    assert!(sh(rest).status.success());
    assert_eq!(serves(&mut reactor), (true, true));
}
