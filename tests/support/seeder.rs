//! A plain seeder: blocking sockets, a thread a connection, written from BEP 3 and 6 alone. It can
//! be told to behave badly in one way, and it counts what it is asked for. It must know nothing of
//! the library.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    clock,
    torrent::{Torrent, noise},
};

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;
const HAVE_ALL: u8 = 14;
const REJECT: u8 = 16;

/// How a seeder misbehaves; by default it does not.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// One wrong byte in every so-manieth block.
    pub corrupt_every: Option<u64>,
    /// After so many blocks on a connection: not a word more, but the connection stays.
    pub silent_after: Option<u64>,
    /// After so many blocks in all: closes every connection and accepts none.
    pub die_after: Option<u64>,
    /// Segments of 1 to 7 bytes.
    pub dribble: bool,
    /// Chokes after every so many blocks, drops what is asked meanwhile, unchokes when it has
    /// become quiet.
    pub choke_every: Option<u64>,
    /// The fast extension (BEP 6): Have All, and a Reject for each request dropped.
    pub fast: bool,
    /// Bytes per second, a connection.
    pub rate: Option<u64>,
    /// What it says instead of what it should.
    pub nonsense: Option<Nonsense>,
}

/// Things that no peer should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonsense {
    /// No handshake but noise.
    Greeting,
    /// A handshake for another torrent.
    OtherTorrent,
    /// A handshake, then noise.
    AfterGreeting,
    /// A frame of 2 GiB - 1.
    Oversized,
    /// A bitfield of one byte too many.
    LongBitfield,
    /// A bitfield of one byte too few.
    ShortBitfield,
    /// A block of a piece that does not exist.
    NoSuchPiece,
    /// Have of a piece that does not exist.
    NoSuchHave,
    /// A request that is three bytes short.
    StuntedRequest,
}

/// What a seeder saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Connections accepted.
    pub connections: u32,
    /// Connections whose greeting was for our torrent.
    pub greeted: u32,
    /// Requests received.
    pub requests: u64,
    /// Requests received in the newest connection.
    pub newest_requests: u64,
    /// Blocks sent whole.
    pub blocks: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Blocks sent with a wrong byte.
    pub corrupted: u64,
    /// How often each block was sent, by its offset in the torrent.
    pub copies: HashMap<u64, u32>,
    /// When each connection ended that the other side ended.
    pub hung_up: Vec<Instant>,
    /// What the other side did that it must not do.
    pub offences: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    torrent: Arc<Torrent>,
    manners: Manners,
    seen: Mutex<Seen>,
    changed: Condvar,
    sockets: Mutex<Vec<TcpStream>>,
    dead: std::sync::atomic::AtomicBool,
}

/// A seeder at work. Dropping it ends it.
#[derive(Debug)]
pub struct Seeder {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Seeder {
    /// Serves all of `torrent` at a loopback address that no other seeder of this process has, so
    /// that a client that bans addresses does not ban them all.
    pub fn start(torrent: &Arc<Torrent>, manners: Manners) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(2);
        Self::listen(
            ([127, 0, 77, NEXT.fetch_add(1, Ordering::Relaxed)], 0).into(),
            torrent,
            manners,
        )
    }

    /// Serves all of `torrent` at this address.
    pub fn start_at(addr: SocketAddr, torrent: &Arc<Torrent>) -> Self {
        Self::listen(addr, torrent, Manners::default())
    }

    fn listen(addr: SocketAddr, torrent: &Arc<Torrent>, manners: Manners) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            torrent: torrent.clone(),
            manners,
            seen: Mutex::default(),
            changed: Condvar::new(),
            sockets: Mutex::default(),
            dead: false.into(),
        });
        let acceptor = Some(thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        }));
        Self { addr, shared, acceptor }
    }

    /// Serves all of `torrent`, as it should be done.
    pub fn good(torrent: &Arc<Torrent>) -> Self {
        Self::start(torrent, Manners::default())
    }

    /// Serves all of `torrent` with so many bytes per second.
    pub fn slow(torrent: &Arc<Torrent>, rate: u64) -> Self {
        Self::start(torrent, Manners { rate: Some(rate), ..Manners::default() })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has seen up to now.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }

    /// Waits until `ready` holds; panics with `what` after `limit`.
    pub fn wait(&self, what: &str, limit: Duration, mut ready: impl FnMut(&Seen) -> bool) {
        let (seen, timeout) = self
            .shared
            .changed
            .wait_timeout_while(self.seen(), limit, |seen| !ready(seen))
            .unwrap();
        assert!(
            !timeout.timed_out(),
            "{what}: not within {limit:?}; blocks {}, bytes {}",
            seen.blocks,
            seen.bytes
        );
    }

    /// Panics if the client did anything that it must not do.
    pub fn assert_no_offence(&self) {
        assert!(
            self.seen().offences.is_empty(),
            "the client's offences: {:?}",
            self.seen().offences
        );
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        self.shared.die();
        let _ = TcpStream::connect(self.addr); // wakes the acceptor
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen());
        self.changed.notify_all();
    }

    fn offence(&self, what: String) {
        self.note(|seen| seen.offences.push(what));
    }

    fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for socket in listener.incoming() {
        if shared.is_dead() {
            return; // the listener closes with us
        }
        let Ok(socket) = socket else { continue };
        shared.sockets.lock().unwrap().push(socket.try_clone().unwrap());
        if shared.is_dead() {
            return shared.die();
        }
        shared.note(|seen| {
            seen.connections += 1;
            seen.newest_requests = 0;
        });
        let shared = shared.clone();
        thread::spawn(move || {
            let ended =
                Link { socket, shared: &shared, blocks: 0, started: clock::now(), choking: true }
                    .serve();
            if ended.is_err() && !shared.is_dead() {
                shared.note(|seen| seen.hung_up.push(clock::now()));
            }
        });
    }
}

/// One connection.
struct Link<'a> {
    socket: TcpStream,
    shared: &'a Shared,
    blocks: u64,
    started: Instant,
    choking: bool,
}

impl Link<'_> {
    /// Until the other side hangs up, which is the error that it returns.
    fn serve(mut self) -> io::Result<()> {
        self.socket.set_nodelay(true)?;
        self.greet()?;
        match self.manners().nonsense {
            Some(nonsense) => self.talk_nonsense(nonsense)?,
            None => self.announce()?,
        }
        loop {
            let Some(frame) = self.receive()? else {
                self.set_choking(false)?; // it has become quiet
                continue;
            };
            match frame.split_first() {
                Some((&INTERESTED, [])) => self.set_choking(false)?,
                Some((&REQUEST, body)) => self.handle_request(body)?,
                Some((&id, _)) if id > 20 => self.shared.offence(format!("message id {id}")),
                _ => {}
            }
        }
    }

    fn manners(&self) -> &Manners {
        &self.shared.manners
    }

    fn greet(&mut self) -> io::Result<()> {
        let mut theirs = [0; 68];
        self.socket.read_exact(&mut theirs)?;
        if theirs[..20] != *b"\x13BitTorrent protocol" {
            self.shared.offence(format!("greeting {:?}", &theirs[..20]));
        }
        if theirs[28..48] != self.shared.torrent.info_hash {
            self.shared.offence("another info-hash".into());
        }
        self.shared.note(|seen| seen.greeted += 1);
        let mut ours: [u8; 68] =
            *b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0IIIIIIIIIIIIIIIIIIII-PLAIN-SEEDER-000000";
        ours[28..48].copy_from_slice(&self.shared.torrent.info_hash);
        if self.manners().fast {
            ours[27] |= 4;
        }
        match self.manners().nonsense {
            Some(Nonsense::Greeting) => ours[..].copy_from_slice(&noise(1, 68)),
            Some(Nonsense::OtherTorrent) => ours[28..48].fill(7),
            _ => {}
        }
        self.send(&ours)
    }

    /// Says that it has every piece.
    fn announce(&mut self) -> io::Result<()> {
        if self.manners().fast {
            return self.send_message(HAVE_ALL, &[]);
        }
        let bitfield = self.bitfield();
        self.send_message(BITFIELD, &bitfield)
    }

    fn bitfield(&self) -> Vec<u8> {
        let pieces = self.shared.torrent.pieces();
        let mut bits = vec![0xff; pieces.div_ceil(8)];
        if !pieces.is_multiple_of(8) {
            *bits.last_mut().unwrap() = 0xff << (8 - pieces % 8);
        }
        bits
    }

    fn talk_nonsense(&mut self, nonsense: Nonsense) -> io::Result<()> {
        let mut bitfield = self.bitfield();
        match nonsense {
            Nonsense::Greeting | Nonsense::OtherTorrent => Ok(()),
            Nonsense::AfterGreeting => self.send(&noise(3, 4096)),
            Nonsense::Oversized => self.send(&[0x7f, 0xff, 0xff, 0xff, PIECE]),
            Nonsense::LongBitfield => {
                bitfield.push(0);
                self.send_message(BITFIELD, &bitfield)
            }
            Nonsense::ShortBitfield => {
                bitfield.pop();
                self.send_message(BITFIELD, &bitfield)
            }
            Nonsense::NoSuchPiece => {
                self.announce()?;
                self.send_message(PIECE, &[[0xff; 4], [0; 4], [1; 4]].concat())
            }
            Nonsense::NoSuchHave => {
                self.announce()?;
                self.send_message(4, &(self.shared.torrent.pieces() as u32).to_be_bytes())
            }
            Nonsense::StuntedRequest => {
                self.announce()?;
                self.send_message(REQUEST, &[0; 9])
            }
        }
    }

    /// The next frame; `None` when we choke and nothing has come for a while.
    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let quiet = (self.choking && self.blocks > 0).then_some(Duration::from_millis(10));
        self.socket.set_read_timeout(quiet)?;
        let mut len = [0; 4];
        match self.socket.peek(&mut len) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(None);
            }
            other => other?,
        };
        self.socket.set_read_timeout(None)?;
        self.socket.read_exact(&mut len)?;
        let len = u32::from_be_bytes(len) as usize;
        if len > 1 << 20 {
            self.shared.offence(format!("a frame of {len} bytes"));
            return Err(ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; len];
        self.socket.read_exact(&mut frame)?;
        Ok(Some(frame))
    }

    fn handle_request(&mut self, body: &[u8]) -> io::Result<()> {
        self.shared.note(|seen| {
            seen.requests += 1;
            seen.newest_requests += 1;
        });
        let Some((offset, len)) = self.wanted(body) else {
            self.shared.offence(format!("request {body:?}"));
            return Ok(());
        };
        if self.manners().nonsense.is_some()
            || self.manners().silent_after.is_some_and(|n| self.blocks >= n)
        {
            return Ok(());
        }
        if self.choking {
            return if self.manners().fast { self.send_message(REJECT, body) } else { Ok(()) };
        }
        self.send_block(&body[..8], offset, len)?;
        if self.manners().choke_every.is_some_and(|n| self.blocks.is_multiple_of(n)) {
            self.set_choking(true)?;
        }
        if self.manners().die_after.is_some_and(|n| self.shared.seen().blocks >= n) {
            self.shared.die();
        }
        Ok(())
    }

    /// Offset in the torrent and length of what a valid request wants.
    fn wanted(&self, body: &[u8]) -> Option<(usize, usize)> {
        let torrent = &self.shared.torrent;
        let field = |at: usize| {
            body.get(at..at + 4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()) as usize)
        };
        let (piece, begin, len) = (field(0)?, field(4)?, field(8)?);
        let start = piece * torrent.piece_len;
        let piece_end = (start + torrent.piece_len).min(torrent.data.len());
        let fits = body.len() == 12
            && piece < torrent.pieces()
            && len > 0
            && len <= 16384
            && start + begin + len <= piece_end;
        fits.then_some((start + begin, len))
    }

    fn send_block(&mut self, header: &[u8], offset: usize, len: usize) -> io::Result<()> {
        let mut block = self.shared.torrent.data[offset..offset + len].to_vec();
        let corrupt =
            self.manners().corrupt_every.is_some_and(|n| self.shared.seen().blocks % n == n - 1);
        if corrupt {
            block[len / 2] ^= 1;
        }
        if let Some(rate) = self.manners().rate {
            clock::pace(self.started, self.blocks * 16384, rate);
        }
        self.send_message(PIECE, &[header, &block].concat())?;
        self.blocks += 1;
        self.shared.note(|seen| {
            seen.blocks += 1;
            seen.bytes += len as u64;
            seen.corrupted += u64::from(corrupt);
            *seen.copies.entry(offset as u64).or_default() += 1;
        });
        Ok(())
    }

    fn set_choking(&mut self, choking: bool) -> io::Result<()> {
        if self.choking == choking || self.manners().nonsense.is_some() {
            return Ok(());
        }
        self.choking = choking;
        self.send_message(if choking { CHOKE } else { UNCHOKE }, &[])
    }

    fn send_message(&mut self, id: u8, body: &[u8]) -> io::Result<()> {
        let len = (body.len() as u32 + 1).to_be_bytes();
        self.send(&[&len[..], &[id], body].concat())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.manners().dribble {
            return self.socket.write_all(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (segment, later) = rest.split_at((1 + rest.len() % 7).min(rest.len()));
            self.socket.write_all(segment)?;
            rest = later;
        }
        Ok(())
    }
}
