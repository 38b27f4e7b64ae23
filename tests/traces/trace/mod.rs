//! One engine under a microscope: peers are what a test says byte by byte, the disk answers at once
//! or when it is let, and time passes when it is told to. What the engine says is read back as
//! lines of a log.

#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod disk;
mod peers;
mod talk;

use std::{collections::BTreeMap, io::IoSlice, sync::Arc, time::Duration};

use cratetorrent::{
    Alert, AlertMask, Bitfield, Conf, Engine, Instant, TorrentId, TorrentParams, TorrentStats,
    Verbs,
    conf::Transports,
    driver::{Digest, Effect, Job, StreamId},
    wire::{
        handshake::{HANDSHAKE_LEN, Handshake, Reserved},
        metainfo::{BLOCK_LEN, Geometry, Metainfo, MetainfoBuilder},
    },
};

use disk::truth;
use peers::Peer;
pub(crate) use peers::PeerNo;
pub(crate) use talk::{block, request};

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
    dials: Vec<StreamId>,
    /// What is to be done for trackers, since it was last asked for.
    errands: Vec<Effect>,
}

fn metainfo() -> Arc<Metainfo> {
    let mut builder = MetainfoBuilder::new("trace", PIECE_LEN);
    builder.single_file(u64::from(PIECES * PIECE_LEN));
    // Nothing is hashed here: the disk below knows the truth.
    let digests: Vec<Digest> = (0..PIECES).map(|n| [n as u8; 20]).collect();
    Arc::new(Metainfo::from_bytes(&builder.build(&digests).unwrap()).unwrap())
}

/// A handshake with the fast extension and the extension protocol.
pub(crate) fn hello(id: [u8; 20]) -> [u8; HANDSHAKE_LEN] {
    greeting(id, Reserved::default().with_fast().with_extensions())
}

fn greeting(id: [u8; 20], reserved: Reserved) -> [u8; HANDSHAKE_LEN] {
    Handshake { reserved, info_hash: metainfo().info_hash(), peer_id: cratetorrent::PeerId(id) }
        .encode()
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
        pieces
            .into_iter()
            .for_each(|piece| _ = have.set(metainfo().geometry.piece(piece).unwrap()));
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
        let conf = conf.with(|conf| {
            conf.alerts.mask = AlertMask::ALL;
            // The trace plays the other end of streams.
            conf.network.transports = Transports::Tcp;
        });
        let mut engine = Engine::new(conf, 7, Instant::ZERO).unwrap();
        let metainfo = metainfo();
        let geometry = metainfo.geometry.clone();
        let mut params = TorrentParams::new(metainfo, "/nowhere");
        wish(&mut params);
        let torrent = engine.verbs().add_torrent(params).unwrap();
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

    /// The user tells the engine something.
    pub(crate) fn tell<R>(&mut self, act: impl FnOnce(&mut Verbs<'_>, TorrentId) -> R) -> R {
        self.engine.handle_tick(self.now);
        let result = act(&mut self.engine.verbs(), self.torrent);
        self.settle();
        result
    }

    /// The driver tells the engine something.
    pub(crate) fn drive<R>(&mut self, input: impl FnOnce(&mut Engine) -> R) -> R {
        self.engine.handle_tick(self.now);
        let result = input(&mut self.engine);
        self.settle();
        result
    }

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

    /// What is to be done for trackers, since this was asked last.
    pub(crate) fn errands(&mut self) -> Vec<Effect> {
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
            _ => "no connection has ended",
        }
    }

    /// Carries out everything that the engine wants.
    fn settle(&mut self) {
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                match effect {
                    Effect::Connect { stream: stream @ StreamId::Peer(_), .. } => {
                        self.dials.push(stream)
                    }
                    Effect::Close { stream: closed } => self
                        .peers
                        .iter_mut()
                        .filter(|p| p.stream == closed)
                        .for_each(|p| p.closed = true),
                    Effect::Flush { .. } | Effect::Resume { .. } => {}
                    Effect::Connect { .. }
                    | Effect::Datagram { .. }
                    | Effect::Segments { .. }
                    | Effect::Multicast { .. }
                    | Effect::Resolve { .. }
                    | Effect::Secure { .. } => self.errands.push(effect),
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
            let used =
                if peer.deaf { 0 } else { self.engine.poll_transmit(peer.stream, &mut slices) };
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter().copied()).collect();
            if bytes.is_empty() {
                break;
            }
            self.engine.handle_sent(self.now, peer.stream, bytes.len());
            peer.said.extend(bytes);
            moved = true;
        }
        peer.read();
        moved
    }
}
