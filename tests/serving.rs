//! What a peer on a real socket gets, how soon, and that the loop waits for no disk meanwhile.

#![cfg(target_os = "linux")]
// In a test, a failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{self, IoSliceMut, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use cratetorrent::{
    Alert, Allocation, Conf, Reactor, TorrentParams,
    reactor::ReactorStats,
    store::{Disk, FileStat, RealDisk},
    wire::metainfo::Metainfo,
};
use support::torrent::{Recipe, Torrent};
use tempfile::TempDir;

const PIECE_LEN: usize = 256 * 1024;
const BLOCK: usize = 16 * 1024;
/// The longest turn of the loop that is allowed, in microseconds.
const LONGEST_TURN_US: u64 = 2_000;
/// A machine that does something else for a while makes a turn long that was not; it does not do so
/// each time. A loop that waits for the disk does.
const ATTEMPTS: usize = 5;
/// What a read of the slow disk takes.
const SLOW: Duration = Duration::from_millis(20);

/// A disk that must be waited for in files called "cold".
#[derive(Debug)]
struct SlowDisk(RealDisk);

fn is_cold(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "cold")
}

impl Disk for SlowDisk {
    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if is_cold(path) {
            let (_keep, never) = mpsc::channel::<()>();
            let _ = never.recv_timeout(SLOW);
        }
        self.0.read_at(path, offset, buf)
    }
    fn try_read_vectored_at(
        &self,
        path: &Path,
        offset: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<Option<usize>> {
        if is_cold(path) { Ok(None) } else { self.0.try_read_vectored_at(path, offset, bufs) }
    }
    fn write_at(&self, path: &Path, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.0.write_at(path, offset, data)
    }
    fn create(&self, path: &Path, len: u64, allocation: Allocation) -> io::Result<()> {
        self.0.create(path, len, allocation)
    }
    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>> {
        self.0.stat(path)
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        self.0.sync(path)
    }
    fn load(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.0.load(path, limit)
    }
    fn save(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.save(path, bytes)
    }
    fn close(&self, path: &Path) {
        self.0.close(path);
    }
}

/// A torrent of two files, a piece each to begin with, and a folder that has them.
struct Fixture {
    torrent: Torrent,
    metainfo: Arc<Metainfo>,
    dir: TempDir,
}

impl Fixture {
    fn new(pieces_a_file: usize) -> Self {
        let len = pieces_a_file * PIECE_LEN;
        let torrent =
            Recipe::folder("serving", PIECE_LEN).file("cold", len).file("hot", len).make(7);
        // A disk, not a file system in memory.
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        torrent.write_files(dir.path());
        let metainfo = Arc::new(Metainfo::from_bytes(&torrent.metainfo).unwrap());
        Self { torrent, metainfo, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("serving").join(name)
    }

    /// Serves until `peers` have all that they want. Returns what the loop did meanwhile.
    fn serve(
        &self,
        disk: Arc<dyn Disk>,
        before: impl FnOnce(),
        peers: Vec<Box<dyn FnOnce(SocketAddr) + Send>>,
    ) -> ReactorStats {
        let conf = Conf::default()
            .with(|conf| conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()]);
        let mut reactor = Reactor::with(conf, 1, disk).unwrap();
        let mut params = TorrentParams::new(self.metainfo.clone(), self.dir.path());
        params.state_file = None;
        reactor.verbs().add_torrent(params).unwrap();
        loop {
            reactor.poll(None).unwrap();
            if std::iter::from_fn(|| reactor.next_alert())
                .any(|alert| matches!(alert, Alert::Finished { .. }))
            {
                break;
            }
        }
        before();
        let addr = reactor.local_addrs()[0];
        let peers: Vec<_> = peers
            .into_iter()
            .map(|peer| {
                let waker = reactor.waker();
                thread::spawn(move || {
                    peer(addr);
                    waker.wake();
                })
            })
            .collect();
        while !peers.iter().all(|peer| peer.is_finished()) {
            reactor.poll(Some(Duration::from_millis(100))).unwrap();
        }
        peers.into_iter().for_each(|peer| peer.join().unwrap());
        reactor.stats()
    }

    /// A peer that fetches the pieces in `range`, so many blocks at a time, and looks at every
    /// byte.
    fn peer(
        &self,
        range: std::ops::Range<usize>,
        depth: usize,
    ) -> Box<dyn FnOnce(SocketAddr) + Send> {
        let (data, info_hash) = (self.torrent.data.clone(), self.metainfo.info_hash().0);
        Box::new(move |addr| {
            fetch(addr, &info_hash, &data, range.start * PIECE_LEN..range.end * PIECE_LEN, depth)
        })
    }
}

/// An id that no other connection has.
fn id(stream: &TcpStream) -> Vec<u8> {
    format!("-XX0000-{:012}", stream.local_addr().unwrap().port()).into_bytes()
}

fn fetch(
    addr: SocketAddr,
    info_hash: &[u8; 20],
    data: &[u8],
    range: std::ops::Range<usize>,
    depth: usize,
) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
    hello.extend(info_hash);
    hello.extend(id(&stream));
    hello.extend([0, 0, 0, 1, 2]);
    stream.write_all(&hello).unwrap();
    stream.read_exact(&mut [0; 68]).unwrap();
    while message(&mut stream).first() != Some(&1) {}
    let mut asked = range.clone().step_by(BLOCK);
    let ask = |stream: &mut TcpStream, at: usize| {
        let mut request = vec![0, 0, 0, 13, 6];
        for word in [at / PIECE_LEN, at % PIECE_LEN, BLOCK] {
            request.extend((word as u32).to_be_bytes());
        }
        stream.write_all(&request).unwrap();
    };
    asked.by_ref().take(depth).for_each(|at| ask(&mut stream, at));
    for at in range.step_by(BLOCK) {
        let block = message(&mut stream);
        let mut header = vec![7];
        header.extend(((at / PIECE_LEN) as u32).to_be_bytes());
        header.extend(((at % PIECE_LEN) as u32).to_be_bytes());
        assert_eq!(block[..9], header);
        assert!(block[9..] == data[at..at + BLOCK], "wrong data at {at}");
        asked.next().into_iter().for_each(|at| ask(&mut stream, at));
    }
}

fn message(stream: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut body = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut body).unwrap();
    body
}

/// Some attempt must stay below the longest turn allowed.
fn assert_some_is_smooth(mut attempt: impl FnMut() -> ReactorStats) {
    let longest: Vec<u64> = std::iter::repeat_with(|| attempt().longest_turn_us)
        .take(ATTEMPTS)
        .scan(false, |over, us| (!std::mem::replace(over, us <= LONGEST_TURN_US)).then_some(us))
        .collect();
    assert!(
        longest.iter().any(|&us| us <= LONGEST_TURN_US),
        "longest turns, in microseconds: {longest:?}"
    );
}

#[test]
fn slow_disk_reads_delay_neither_turns_nor_cached_data() {
    let fixture = Fixture::new(2);
    assert_some_is_smooth(|| {
        let peers = vec![fixture.peer(0..2, 8), fixture.peer(2..4, 1), fixture.peer(2..4, 32)];
        let stats = fixture.serve(Arc::new(SlowDisk(RealDisk::new(10))), || (), peers);
        assert!(stats.cold_reads >= 4 && stats.hot_reads >= 32, "{stats:?}");
        stats
    });
}

#[test]
fn a_file_that_left_the_page_cache_is_read_by_a_worker() {
    let fixture = Fixture::new(32);
    let evict = || {
        let file = fs::File::open(fixture.path("cold")).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    };
    assert_some_is_smooth(|| {
        let stats = fixture.serve(
            Arc::new(RealDisk::new(10)),
            evict,
            vec![fixture.peer(0..32, 16), fixture.peer(40..48, 16)],
        );
        assert!(stats.cold_reads > 0, "nothing was cold: {stats:?}");
        // Read-ahead and the caches do the most of it.
        assert!(stats.hot_reads > stats.cold_reads, "{stats:?}");
        stats
    });
}

/// What the loop has to say to one peer must not wait until all others have what they asked for.
#[test]
fn small_messages_go_out_beside_fast_uploads() {
    const GLUTTONS: usize = 50;
    let fixture = Fixture::new(16);
    let conf =
        Conf::default().with(|conf| conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()]);
    let mut reactor = Reactor::with(conf, 1, Arc::new(RealDisk::new(10))).unwrap();
    let mut params = TorrentParams::new(fixture.metainfo.clone(), fixture.dir.path());
    params.state_file = None;
    reactor.verbs().add_torrent(params).unwrap();
    while !std::iter::from_fn(|| reactor.next_alert())
        .any(|alert| matches!(alert, Alert::Finished { .. }))
    {
        reactor.poll(None).unwrap();
    }
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
    hello.extend(fixture.metainfo.info_hash().0);
    let greeted = |reactor: &mut Reactor| {
        let mut stream = TcpStream::connect(reactor.local_addrs()[0]).unwrap();
        stream.write_all(&hello).unwrap();
        stream.write_all(&id(&stream)).unwrap();
        stream.set_nonblocking(true).unwrap();
        // Our handshake and the bitfield of 32 pieces.
        let mut heard = 0;
        while heard < 68 + 4 + 1 + 4 {
            reactor.poll(Some(Duration::from_millis(100))).unwrap();
            heard += stream.read(&mut [0; 200]).unwrap_or(0);
        }
        stream
    };
    let mut gluttons: Vec<_> = (0..GLUTTONS).map(|_| greeted(&mut reactor)).collect();
    let mut quiet = greeted(&mut reactor);
    let interested = [0, 0, 0, 1, 2];
    for glutton in &mut gluttons {
        glutton.write_all(&interested).unwrap();
    }
    for glutton in &mut gluttons {
        while glutton.read(&mut [0; 5]).unwrap_or(0) != 5 {
            reactor.poll(Some(Duration::from_millis(100))).unwrap();
        }
    }
    // All at the same moment: they want 4 MiB each, as much of it as their sockets take, and the
    // last is to be unchoked.
    for (n, glutton) in gluttons.iter_mut().enumerate() {
        let mut requests = Vec::new();
        for at in (0..256).map(|block| block * BLOCK) {
            requests.extend([0, 0, 0, 13, 6]);
            [16 + at / PIECE_LEN, at % PIECE_LEN, BLOCK]
                .iter()
                .for_each(|&word| requests.extend((word as u32).to_be_bytes()));
        }
        assert!(glutton.write(&requests).unwrap() == requests.len(), "glutton {n}");
    }
    quiet.write_all(&interested).unwrap();
    let (mut unchoked_after, mut busy_turns) = (None, 0);
    loop {
        let before = reactor.stats().bytes_written;
        reactor.poll(Some(Duration::ZERO)).unwrap();
        let sent = reactor.stats().bytes_written - before;
        if unchoked_after.is_none() && quiet.read(&mut [0; 5]).unwrap_or(0) > 0 {
            unchoked_after = Some(busy_turns);
        }
        if sent < 512 * 1024 {
            break;
        }
        busy_turns += 1;
    }
    assert!(busy_turns >= 5, "{busy_turns} turns are not enough to tell");
    // One turn reads what all of them say, unless the machine is so slow that it takes longer than
    // a turn may read.
    assert!(
        unchoked_after.is_some_and(|turns| turns <= busy_turns / 10),
        "unchoked after {unchoked_after:?} of {busy_turns} turns"
    );
}
