//! One engine under a microscope: peers are what a test says byte by byte, the disk answers at once or when it is let, and time
//! passes when it is told to. What the engine says is read back as lines of a log.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, io::IoSlice, net::SocketAddr, sync::Arc, time::Duration};

use cratetorrent::{
    Alert, AlertMask, BLOCK_LEN, Bitfield, Block, CloseCause, Conf, Digest, Done, Effect, Engine, Geometry, Instant, Job, Key,
    Opened, PeerStats, PieceIndex, READ_GAP, Run, RunData, RunDone, Sha1State, StoreError, StoreOp, TorrentId, TorrentParams,
    TorrentStats, TrackerEffect, Verdict,
    wire::{
        frame::Decoder,
        handshake::{HANDSHAKE_LEN, Handshake, Reserved},
        message::Message,
        metainfo::{Metainfo, MetainfoBuilder},
    },
};

/// Pieces of the torrent of all traces, each of two blocks.
pub(crate) const PIECES: u32 = 17;
const PIECE_LEN: u32 = 2 * BLOCK_LEN;

pub(crate) struct Trace {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    pub(crate) torrent: TorrentId,
    geometry: Geometry,
    disk: BTreeMap<u32, Vec<u8>>,
    jobs: Vec<Job>,
    hold_disk: bool,
    bad_disk: bool,
    peers: Vec<Peer>,
    alerts: Vec<Alert>,
    dials: Vec<Key>,
    /// What is to be done for trackers, since it was last asked for.
    errands: Vec<TrackerEffect>,
}

struct Peer {
    key: Key,
    said: Vec<u8>,
    greeted: bool,
    plain: bool,
    closed: bool,
    deaf: bool,
    log: Vec<String>,
    first: Vec<String>,
    extended: Vec<(u8, Vec<u8>)>,
}

/// A peer of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerNo(usize);

fn metainfo() -> Arc<Metainfo> {
    let mut builder = MetainfoBuilder::new("trace", PIECE_LEN);
    builder.single_file(u64::from(PIECES * PIECE_LEN));
    // Nothing is hashed here: the disk below knows the truth.
    let digests: Vec<Digest> = (0..PIECES).map(|n| [n as u8; 20]).collect();
    Arc::new(Metainfo::from_bytes(&builder.build(&digests).unwrap()).unwrap())
}

/// The true bytes of a range.
fn truth(piece: u32, begin: u32, len: u32) -> Vec<u8> {
    (begin..begin + len).map(|at| (at / 7 + piece * 31) as u8).collect()
}

/// A handshake with the fast extension and the extension protocol.
pub(crate) fn hello(id: [u8; 20]) -> [u8; HANDSHAKE_LEN] {
    greeting(id, Reserved::default().with_fast().with_extensions())
}

fn greeting(id: [u8; 20], reserved: Reserved) -> [u8; HANDSHAKE_LEN] {
    Handshake { reserved, info_hash: metainfo().info_hash, peer_id: cratetorrent::PeerId(id) }.encode()
}

/// A block of the torrent, to be talked about.
pub(crate) struct BlockAt(u32, u32);

pub(crate) fn block(piece: u32, nth: u32) -> BlockAt {
    BlockAt(piece, nth * BLOCK_LEN)
}

impl BlockAt {
    pub(crate) fn request(&self) -> Message<'static> {
        Message::Request { piece: self.0, begin: self.1, len: BLOCK_LEN }
    }

    pub(crate) fn cancel(&self) -> Message<'static> {
        Message::Cancel { piece: self.0, begin: self.1, len: BLOCK_LEN }
    }

    pub(crate) fn reject(&self) -> Message<'static> {
        Message::Reject { piece: self.0, begin: self.1, len: BLOCK_LEN }
    }
}

/// How a request looks in the log.
pub(crate) fn request(piece: u32, nth: u32) -> String {
    format!("request {piece}:{}+{BLOCK_LEN}", nth * BLOCK_LEN)
}

impl Trace {
    /// An engine that has nothing of the torrent.
    pub(crate) fn leech(conf: Conf) -> Self {
        Self::new(conf, Bitfield::none(PIECES))
    }

    /// An engine that has all of it.
    pub(crate) fn seed(conf: Conf) -> Self {
        Self::new(conf, Bitfield::all(PIECES))
    }

    /// An engine that has these pieces.
    pub(crate) fn with(conf: Conf, pieces: impl IntoIterator<Item = u32>) -> Self {
        let mut have = Bitfield::none(PIECES);
        pieces.into_iter().for_each(|piece| _ = have.set(metainfo().geometry.piece(piece).unwrap()));
        Self::new(conf, have)
    }

    /// An engine that has all of it and super-seeds.
    pub(crate) fn super_seed(conf: Conf) -> Self {
        Self::added(conf, Bitfield::all(PIECES), |params| params.super_seed = true)
    }

    fn new(conf: Conf, have: Bitfield) -> Self {
        Self::added(conf, have, |_| {})
    }

    fn added(conf: Conf, have: Bitfield, wish: impl FnOnce(&mut TorrentParams)) -> Self {
        let conf = Conf { alerts: AlertMask::ALL, ..conf };
        let mut engine = Engine::new(conf, 7, Instant::ZERO).unwrap();
        let metainfo = metainfo();
        let geometry = metainfo.geometry;
        let mut params = TorrentParams::new(metainfo, "/nowhere");
        wish(&mut params);
        let torrent = engine.add_torrent(params).unwrap();
        let disk = have.ones().map(|piece| (piece, truth(piece, 0, PIECE_LEN))).collect();
        let mut trace = Self {
            engine,
            now: Instant::ZERO,
            torrent,
            geometry,
            disk,
            jobs: Vec::new(),
            hold_disk: false,
            bad_disk: false,
            peers: Vec::new(),
            alerts: Vec::new(),
            dials: Vec::new(),
            errands: Vec::new(),
        };
        trace.settle();
        trace
    }

    // Peers.

    /// Somebody connects.
    pub(crate) fn try_accept(&mut self) -> Option<PeerNo> {
        let addr = SocketAddr::from(([10, 0, 0, self.peers.len() as u8 + 1], 5000));
        let key = self.engine.handle_accepted(self.now, addr)?;
        self.settle();
        Some(self.add(key))
    }

    /// Somebody connects from where `peer` is, or was.
    pub(crate) fn accept_from(&mut self, peer: PeerNo) -> PeerNo {
        let addr = SocketAddr::from(([10, 0, 0, peer.0 as u8 + 1], 5001));
        let key = self.engine.handle_accepted(self.now, addr).unwrap();
        self.settle();
        self.add(key)
    }

    /// Somebody connects from there.
    pub(crate) fn accept_at(&mut self, addr: impl Into<SocketAddr>) -> Option<PeerNo> {
        let key = self.engine.handle_accepted(self.now, addr.into())?;
        self.settle();
        Some(self.add(key))
    }

    /// The user tells the engine something.
    pub(crate) fn tell<R>(&mut self, act: impl FnOnce(&mut Engine, TorrentId) -> R) -> R {
        self.engine.handle_tick(self.now);
        let result = act(&mut self.engine, self.torrent);
        self.settle();
        result
    }

    pub(crate) fn accept(&mut self) -> PeerNo {
        self.try_accept().unwrap()
    }

    fn add(&mut self, key: Key) -> PeerNo {
        self.peers.push(Peer {
            key,
            said: Vec::new(),
            greeted: false,
            plain: false,
            closed: false,
            deaf: false,
            log: Vec::new(),
            first: Vec::new(),
            extended: Vec::new(),
        });
        PeerNo(self.peers.len() - 1)
    }

    /// Somebody connects and greets, with the fast extension. What it is told first is in [`greeting`](Self::greeting).
    pub(crate) fn peer(&mut self) -> PeerNo {
        self.greeted(Reserved::default().with_fast().with_extensions())
    }

    /// Somebody connects and greets, without any extension.
    pub(crate) fn plain_peer(&mut self) -> PeerNo {
        let peer = self.greeted(Reserved::default());
        self.peers[peer.0].plain = true;
        peer
    }

    fn greeted(&mut self, reserved: Reserved) -> PeerNo {
        let peer = self.accept();
        let mut id = *b"-XX0000-peer........";
        id[19] = peer.0 as u8;
        self.raw(peer, &greeting(id, reserved));
        let first = self.said(peer);
        let rest = first.iter().position(|s| s.starts_with("have ") || s == "bitfield").map_or(first.len(), |at| at + 1);
        self.peers[peer.0].log = first[rest..].to_vec();
        self.peers[peer.0].first = first[..rest].to_vec();
        peer
    }

    /// What the last peer was told first.
    pub(crate) fn greeting(&self) -> Vec<String> {
        self.peers.last().unwrap().first.clone()
    }

    /// The engine dials a peer, which answers.
    pub(crate) fn dial(&mut self) -> PeerNo {
        let peer = self.dial_unanswered();
        self.connected(peer);
        peer
    }

    /// The engine hears of an address that it can dial: where the `nth` of all peers comes from, counted from 0.
    pub(crate) fn name_listener(&mut self, nth: u8) {
        let addr = SocketAddr::from(([10, 0, 0, nth + 1], 6881));
        self.engine.handle_tick(self.now);
        self.engine.add_peer(self.torrent, addr).unwrap();
        self.settle();
    }

    /// The engine dials where `peer` came from, and is answered.
    pub(crate) fn dial_back(&mut self, peer: PeerNo) -> PeerNo {
        self.name_listener(peer.0 as u8);
        let dialled = self.new_dials()[0];
        self.connected(dialled);
        dialled
    }

    pub(crate) fn dial_unanswered(&mut self) -> PeerNo {
        self.dial_many(1)[0]
    }

    /// The engine hears of so many peers; those that it dials.
    pub(crate) fn dial_many(&mut self, count: u16) -> Vec<PeerNo> {
        for n in 0..count {
            let addr = SocketAddr::from(([10, 1, 0, 1], 1000 + n));
            self.engine.handle_tick(self.now);
            self.engine.add_peer(self.torrent, addr).unwrap();
            self.settle();
        }
        self.new_dials()
    }

    /// Those that it dialled since it was last asked.
    pub(crate) fn new_dials(&mut self) -> Vec<PeerNo> {
        std::mem::take(&mut self.dials).into_iter().map(|key| self.add(key)).collect()
    }

    pub(crate) fn connected(&mut self, peer: PeerNo) {
        self.engine.handle_connected(self.now, self.peers[peer.0].key);
        self.settle();
    }

    pub(crate) fn refused(&mut self, peer: PeerNo) {
        let cause = CloseCause::Io(std::io::ErrorKind::ConnectionRefused);
        self.engine.handle_closed(self.now, self.peers[peer.0].key, cause);
        self.settle();
    }

    /// A connection breaks.
    pub(crate) fn lose(&mut self, peer: PeerNo) {
        self.engine.handle_closed(self.now, self.peers[peer.0].key, CloseCause::Eof);
        self.settle();
    }

    /// A peer does not read what is sent to it.
    pub(crate) fn set_deaf(&mut self, peer: PeerNo, deaf: bool) {
        self.peers[peer.0].deaf = deaf;
        self.settle();
    }

    // Bytes in.

    pub(crate) fn raw(&mut self, peer: PeerNo, bytes: &[u8]) {
        self.engine.handle_data(self.now, self.peers[peer.0].key, bytes);
        self.settle();
    }

    pub(crate) fn hear(&mut self, peer: PeerNo, message: Message<'_>) {
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        self.raw(peer, &bytes);
    }

    /// The wire's form of a true block.
    pub(crate) fn block_bytes(&self, piece: u32, nth: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let begin = nth * BLOCK_LEN;
        Message::Piece { piece, begin, data: &truth(piece, begin, BLOCK_LEN) }.encode_into(&mut bytes);
        bytes
    }

    pub(crate) fn deliver(&mut self, peer: PeerNo, piece: u32, nth: u32) {
        let bytes = self.block_bytes(piece, nth);
        self.raw(peer, &bytes);
    }

    /// Delivers a block with one byte changed.
    pub(crate) fn deliver_bad(&mut self, peer: PeerNo, piece: u32, nth: u32) {
        let mut bytes = self.block_bytes(piece, nth);
        bytes[1000] ^= 1;
        self.raw(peer, &bytes);
    }

    // Bytes out.

    /// What it was told since it was last asked.
    pub(crate) fn said(&mut self, peer: PeerNo) -> Vec<String> {
        std::mem::take(&mut self.peers[peer.0].log)
    }

    /// The blocks that it is asked for and has not been seen asked for, as piece and block; it forgets everything else said.
    pub(crate) fn take_asked(&mut self, peer: PeerNo) -> Vec<(u32, u32)> {
        let asked = self.asked(peer);
        self.said(peer);
        asked
    }

    pub(crate) fn asked(&self, peer: PeerNo) -> Vec<(u32, u32)> {
        let parse = |line: &String| {
            let (piece, rest) = line.strip_prefix("request ")?.split_once(':')?;
            let begin: u32 = rest.split_once('+')?.0.parse().ok()?;
            Some((piece.parse().ok()?, begin / BLOCK_LEN))
        };
        self.peers[peer.0].log.iter().filter_map(parse).collect()
    }

    /// The piece of a peer's pipeline that was asked for first, as the engine sees it: the lowest block on order.
    pub(crate) fn first_request(&self, peer: PeerNo) -> u32 {
        self.peers[peer.0].first_asked()
    }

    pub(crate) fn is_closed(&self, peer: PeerNo) -> bool {
        self.peers[peer.0].closed
    }

    /// Bytes that wait to be sent to a peer, as far as they can be seen.
    pub(crate) fn waiting(&mut self, peer: PeerNo) -> usize {
        let mut slices = [IoSlice::new(&[]); 4096];
        let used = self.engine.poll_transmit(self.peers[peer.0].key, &mut slices);
        slices[..used].iter().map(|s| s.len()).sum()
    }

    /// The extended messages that it was sent since it was last asked: ids and payloads.
    pub(crate) fn extended(&mut self, peer: PeerNo) -> Vec<(u8, Vec<u8>)> {
        std::mem::take(&mut self.peers[peer.0].extended)
    }

    /// How a connected peer stands.
    pub(crate) fn peer_stats(&self, peer: PeerNo) -> PeerStats {
        let ip = std::net::IpAddr::from([10, 0, 0, peer.0 as u8 + 1]);
        self.engine.peers(self.torrent).into_iter().find(|p| p.addr.ip() == ip).unwrap()
    }

    // The rest of the world.

    /// Time passes, and everything that is due on the way happens at its time.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.engine.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            let next = self.engine.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a timer is stuck");
            self.settle();
        }
        self.now = end;
        self.engine.handle_tick(end);
    }

    pub(crate) fn stats(&self) -> TorrentStats {
        self.engine.stats(self.torrent).unwrap()
    }

    pub(crate) fn snubbed(&self, peer: PeerNo) -> bool {
        let ip = [10, 0, 0, peer.0 as u8 + 1];
        let peers = self.engine.peers(self.torrent);
        peers.iter().any(|p| p.addr.ip() == std::net::IpAddr::from(ip) && p.snubbed)
    }

    /// What is to be done for trackers, since this was asked last.
    pub(crate) fn errands(&mut self) -> Vec<TrackerEffect> {
        std::mem::take(&mut self.errands)
    }

    pub(crate) fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// Why the last peer that went has gone.
    pub(crate) fn reason(&self) -> &str {
        let reason = |a: &'_ Alert| matches!(a, Alert::PeerGone { .. });
        match self.alerts.iter().rev().find(|a| reason(a)) {
            Some(Alert::PeerGone { reason, .. }) => reason,
            _ => "nobody has gone",
        }
    }

    /// Jobs that wait for the disk.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn hold_disk(&mut self, hold: bool) {
        self.hold_disk = hold;
        self.settle();
    }

    /// Nothing can be read.
    pub(crate) fn fail_reads(&mut self, fail: bool) {
        self.bad_disk = fail;
    }

    /// Carries out everything that the engine wants.
    fn settle(&mut self) {
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                match effect {
                    Effect::Dial { link, .. } => self.dials.push(link),
                    Effect::Close { link } => self.peers.iter_mut().filter(|p| p.key == link).for_each(|p| p.closed = true),
                    Effect::Flush { .. } | Effect::Resume { .. } => {}
                    Effect::Tracker(effect) => self.errands.push(effect),
                    Effect::Job(job) => self.jobs.push(job),
                }
            }
            let moved = (0..self.peers.len()).filter(|&nth| self.transmit(nth)).count() > 0;
            while let Some(alert) = self.engine.poll_alert() {
                self.alerts.push(alert);
            }
            if self.jobs.is_empty() || self.hold_disk {
                if !moved {
                    break;
                }
            } else {
                for job in std::mem::take(&mut self.jobs) {
                    let done = self.work(job);
                    self.engine.handle_done(self.now, done);
                }
            }
        }
    }

    fn transmit(&mut self, nth: usize) -> bool {
        let mut moved = false;
        let peer = &mut self.peers[nth];
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = if peer.deaf { 0 } else { self.engine.poll_transmit(peer.key, &mut slices) };
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter().copied()).collect();
            if bytes.is_empty() {
                break;
            }
            self.engine.handle_sent(self.now, peer.key, bytes.len());
            peer.said.extend(bytes);
            moved = true;
        }
        peer.read();
        moved
    }

    fn work(&mut self, job: Job) -> Done {
        match job {
            Job::Open { torrent, .. } => {
                let mut have = Bitfield::none(PIECES);
                self.disk.keys().for_each(|&piece| _ = have.set(self.geometry.piece(piece).unwrap()));
                let opened =
                    Opened { have, check: Bitfield::none(PIECES), downloaded: 0, uploaded: 0, distrust: None, arrange: false };
                Done::Opened { torrent, result: Ok(opened) }
            }
            Job::Run { torrent, run } => Done::Run { torrent, run: self.judge(run) },
            Job::Read { torrent, link, blocks, buf } if self.bad_disk => {
                let error = StoreError::new(StoreOp::Read, "f", std::io::Error::other("the disk is old"));
                Done::Read { torrent, link, blocks, buf, result: Err(error), cold: true }
            }
            Job::Read { torrent, link, blocks, mut buf } => {
                let mut at = 0;
                for &Block { piece, begin, len } in &blocks {
                    at += READ_GAP;
                    let from = &self.disk[&piece.get()][begin as usize..(begin + len) as usize];
                    buf.0[at..at + from.len()].copy_from_slice(from);
                    at += from.len();
                }
                Done::Read { torrent, link, blocks, buf, result: Ok(()), cold: true }
            }
            Job::Check { torrent, piece, .. } => Done::Checked { torrent, piece, result: Ok(false) },
            Job::Digests { torrent, piece } => Done::Digests { torrent, piece, result: Ok(self.digests(piece)) },
            Job::Save { torrent, .. } => Done::Saved { torrent, result: Ok(()) },
            Job::Arrange { torrent, .. } => Done::Arranged { torrent, result: Ok(()) },
            Job::Relocate { torrent, .. } => Done::Relocated { torrent, result: Ok(()) },
            Job::Tidy { torrent } => Done::Tidied { torrent, left: None },
            Job::Close { torrent } => Done::Closed { torrent },
            Job::Delete { torrent, .. } => Done::Deleted { torrent, left: None },
            Job::Record { torrent, record } => Done::Recorded { torrent, kind: record.kind, result: Ok(()) },
        }
    }

    /// Pieces here have one run, and their bytes are compared instead of hashed.
    fn judge(&mut self, run: Run) -> RunDone {
        let RunData::Memory(buf) = run.data else { panic!("a run of a small piece is in memory") };
        assert_eq!(run.chain.map(|chain| chain.state), Some(Sha1State::INITIAL));
        let piece = run.piece.get();
        let good = buf.0 == truth(piece, 0, PIECE_LEN);
        let digests = (!good || run.digests).then(|| digests(&buf.0));
        if good {
            self.disk.insert(piece, buf.0.clone());
        }
        let verdict = if good { Verdict::Good } else { Verdict::Bad };
        RunDone { piece: run.piece, begin: run.begin, buf: Some(buf), result: Ok(verdict), digests }
    }

    fn digests(&self, piece: PieceIndex) -> Vec<Digest> {
        digests(&self.disk[&piece.get()])
    }
}

fn digests(bytes: &[u8]) -> Vec<Digest> {
    let digest = |block: &[u8]| {
        let mut digest = [0; 20];
        block.iter().enumerate().for_each(|(at, byte)| digest[at % 20] ^= byte.rotate_left(at as u32 / 20));
        digest
    };
    bytes.chunks(BLOCK_LEN as usize).map(digest).collect()
}

impl Peer {
    /// Reads what was said into the log.
    fn read(&mut self) {
        if !self.greeted {
            if self.said.len() < HANDSHAKE_LEN {
                return;
            }
            let hello: Vec<u8> = self.said.drain(..HANDSHAKE_LEN).collect();
            assert!(Handshake::parse(&hello).unwrap().is_some());
            self.greeted = true;
            self.log.push("hello".into());
        }
        let mut decoder = Decoder::new(1 << 20);
        let mut whole = 0;
        let said = std::mem::take(&mut self.said);
        while let Some(len) = said.get(whole..whole + 4) {
            let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
            if said.len() < whole + 4 + len {
                break;
            }
            whole += 4 + len;
        }
        let mut input = &said[..whole];
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            let message = Message::decode(frame).unwrap();
            if let Message::Extended { id, payload } = message {
                self.extended.push((id, payload.to_vec()));
            }
            self.log.push(line(&message));
        }
        self.said = said[whole..].to_vec();
    }

    fn first_asked(&self) -> u32 {
        self.log
            .iter()
            .find_map(|line| line.strip_prefix("request ")?.split_once(':')?.0.parse().ok())
            .expect("nothing was asked for")
    }
}

fn line(message: &Message<'_>) -> String {
    match *message {
        Message::KeepAlive => "keep-alive".into(),
        Message::Choke => "choke".into(),
        Message::Unchoke => "unchoke".into(),
        Message::Interested => "interested".into(),
        Message::NotInterested => "not interested".into(),
        Message::Have(piece) => format!("have {piece}"),
        Message::Bitfield(_) => "bitfield".into(),
        Message::HaveAll => "have all".into(),
        Message::HaveNone => "have none".into(),
        Message::Request { piece, begin, len } => format!("request {piece}:{begin}+{len}"),
        Message::Cancel { piece, begin, len } => format!("cancel {piece}:{begin}+{len}"),
        Message::Reject { piece, begin, len } => format!("reject {piece}:{begin}+{len}"),
        Message::Piece { piece, begin, data } => {
            let good = data == truth(piece, begin, data.len() as u32);
            format!("piece {piece}:{begin}+{} {}", data.len(), if good { "good" } else { "bad" })
        }
        Message::Extended { id, .. } => format!("extended {id}"),
        Message::AllowedFast(piece) => format!("allowed fast {piece}"),
        Message::Suggest(piece) => format!("suggest {piece}"),
        ref other => format!("{other:?}"),
    }
}
