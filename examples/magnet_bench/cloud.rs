//! A DHT on loopback addresses, a node in each /24, and engines that announce and serve torrents
//! there.
//!
//! The few nodes stand for many, so they take any number of queries of one host.

use std::{
    error::Error,
    fs, io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant as Clock},
};

use cratetorrent::{
    Conf, EngineHandle, Instant, TorrentParams, Trust,
    conf::{Bootstrap, DhtConf},
    dht::{Node, Output},
    spawn,
    wire::{
        krpc::Family,
        metainfo::{Metainfo, MetainfoBuilder},
    },
};

/// Some 20 KiB of metadata, as torrents of the field have.
const PIECES: u32 = 1000;
const PIECE_LEN: u32 = 16 * 1024;
/// Engines that share the torrents.
const SEEDS: usize = 8;
/// How long it may take until all is announced.
const LIMIT: Duration = Duration::from_secs(120);

/// The links of a cloud, a line each.
pub(crate) const LINKS: &str = "links";

pub(crate) fn run(
    folder: &Path,
    nodes: u8,
    links: usize,
    seeded: usize,
) -> Result<(), Box<dyn Error>> {
    let began = Clock::now();
    let stored = Arc::new(AtomicUsize::new(0));
    let mut first = None;
    for n in 1..=nodes {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, n, 1), 0))?;
        let addr = socket.local_addr()?;
        let (begin_at, stored) = (first, stored.clone());
        thread::spawn(move || drive(n, &socket, begin_at, began, &stored));
        first.get_or_insert(addr);
    }
    let first = first.ok_or("a DHT of no nodes")?;
    thread::sleep(Duration::from_secs(3));

    let engines: Vec<_> = (0..SEEDS).map(|n| seed(n, first)).collect::<Result<_, _>>()?;
    let mut lines = String::new();
    for n in 0..links {
        let name = format!("torrent number {n:05}.bin");
        let bytes = torrent(&name)?;
        let metainfo = Metainfo::from_bytes(&bytes)?;
        lines += &format!("magnet:?xt=urn:btih:{}\n", metainfo.info_hash());
        if n < seeded {
            fs::File::create(folder.join(&name))?.set_len(u64::from(PIECES * PIECE_LEN))?;
            let mut params = TorrentParams::new(Arc::new(metainfo), folder);
            params.trust = Trust::Files;
            engines[n % SEEDS].call(|engine| engine.add_torrent(params))??;
        }
    }
    fs::write(folder.join(LINKS), lines)?;
    let end = Clock::now() + LIMIT;
    // Most of eight nodes each, as far as there are so many.
    let enough = seeded * usize::from(nodes).min(8) * 9 / 10;
    while stored.load(Ordering::Relaxed) < enough && Clock::now() < end {
        thread::sleep(Duration::from_millis(100));
    }
    println!("{first} {}", stored.load(Ordering::Relaxed));
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// A torrent of zeroes, which takes no space.
fn torrent(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let zeroes = cratetorrent::store::sha1(&vec![0; PIECE_LEN as usize]);
    let mut builder = MetainfoBuilder::new(name, PIECE_LEN);
    builder.single_file(u64::from(PIECES * PIECE_LEN));
    Ok(builder.build(&vec![zeroes; PIECES as usize])?)
}

/// An engine that serves, on an address of its own.
fn seed(n: usize, first: SocketAddr) -> Result<EngineHandle, Box<dyn Error>> {
    let (engine, alerts) = spawn(Conf::default().with(|conf| {
        let ip = Ipv4Addr::new(127, 1, n as u8, 1);
        conf.network.listen = vec![(ip, 0).into()];
        // So that the DHT sees it there.
        conf.network.bind_addrs = vec![ip.into()];
        conf.dht.enabled = true;
        conf.dht.bootstrap =
            vec![Bootstrap { host: first.ip().to_string(), port: first.port(), router: false }];
        generous(&mut conf.dht);
    }))?;
    thread::spawn(move || while alerts.recv().is_some() {});
    Ok(engine)
}

/// Any number of queries are answered.
fn generous(conf: &mut DhtConf) {
    conf.flood_packets = u32::MAX;
    (conf.answer_rate, conf.answer_burst) = (1 << 40, 1 << 40);
}

/// One node, for ever.
fn drive(
    n: u8,
    socket: &UdpSocket,
    begin_at: Option<SocketAddr>,
    began: Clock,
    stored: &AtomicUsize,
) {
    let mut conf = DhtConf::default();
    generous(&mut conf);
    let now = || Instant::ZERO + began.elapsed();
    let mut node = Node::new(conf, &[Family::V4], &[n; 32], None, now());
    begin_at.into_iter().for_each(|addr| node.add_node(now(), addr));
    let (mut buffer, mut counted) = ([0; 2048], 0);
    loop {
        while let Some(output) = node.poll_output() {
            if let Output::Send { to, data } = output {
                // One that cannot be sent is as good as lost.
                _ = socket.send_to(&data, to);
            }
        }
        while node.poll_event().is_some() {}
        let count = node.stats(now()).stored_peers;
        stored.fetch_add(count.saturating_sub(counted), Ordering::Relaxed);
        counted = counted.max(count);
        let wait = node.poll_timeout().map_or(Duration::from_secs(1), |at| at.since(now()));
        let wait = wait.max(Duration::from_micros(100));
        if socket.set_read_timeout(Some(wait)).is_err() {
            return;
        }
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            node.handle_datagram(now(), from, buffer.get(..len).unwrap_or_default());
        }
        if node.poll_timeout().is_some_and(|at| at <= now()) {
            node.handle_timeout(now());
        }
    }
}
