//! The ledger that all sessions of a torrent share: what we have, what is in progress, what is
//! wanted next, who is to blame.
//!
//! A session sees the ledger and never another session. What its siblings must learn is left here
//! as a [`Note`], which the torrent delivers when the session is done.

mod active;
#[cfg(any(test, feature = "sim"))]
mod audit;
mod hashes;
mod orders;
mod rows;
mod stored;
mod trees;
mod verdicts;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
};

use crate::{
    base::{
        arena::Key,
        bitfield::Bitfield,
        geometry::{Block, Geometry, PieceIndex},
        hash::PieceHash,
        ids::InfoHash,
        merkle::Node,
        rate::RateMeter,
        time::Instant,
    },
    proto::pipeline::Arrival,
    torrent::{
        blame::Blames,
        cx::Cx,
        hash_talk::HashTalk,
        info::Info,
        parole::Paroles,
        picker::Picker,
        progress::{Contributor, OrderKey, Progress, Receipt, Supplier},
        superseed::SuperSeed,
    },
    wire::ut_pex::PexFlags,
};

use active::Active;
pub(crate) use hashes::PieceHashes;
pub(crate) use orders::Asker;
pub(crate) use rows::{RowAsker, blocks_in};
pub(crate) use wanted::Amounts;

/// What the siblings of a session must learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// We have this piece now.
    Have(PieceIndex),
    /// This piece was bad; so many had sent parts of it.
    Failed(PieceIndex, usize),
    /// This piece is good by version 1, and has this root, of which version 2 has not told.
    Root(PieceIndex, Node),
    /// The hashes of the two versions of the torrent are of different data in this piece.
    Contradiction(PieceIndex),
    /// A piece was bad that several peers have sent parts of, and that has a tree: its leaves tell
    /// whose part it was.
    Culprit(PieceIndex),
    /// A peer has spoken of merkle trees.
    HashTalk(Key, HashTalk),
    /// This block has come: any other peer that was asked for it is told to forget it.
    Cancel(Block, OrderKey),
    /// This peer sent bad data.
    Ban(Contributor),
    /// The web seed of this number sent bad data of this piece.
    BadWebSeed(u32, PieceIndex),
    /// This piece is at hand: peers that lack it may be told.
    AtHand(PieceIndex),
    /// The peer of this link, which dialled us, says that it can be dialled there.
    Reach(Key, SocketAddr),
    /// A peer waits for the info dictionary, which is in the session folder.
    ReadInfo,
    /// This peer wants to be told of others (BEP 11).
    AwaitsPeers(Key),
    /// The peer at this address has named others.
    Named(IpAddr, Vec<(SocketAddr, PexFlags)>),
    /// This peer wants to be connected with the one at this address (BEP 55).
    Rendezvous(Key, SocketAddr),
    /// The peer at the one address says that the other is to be dialled at once (BEP 55).
    Punch(IpAddr, SocketAddr),
}

/// What has come and gone, over all ledgers of the torrent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    pub(crate) down: RateMeter,
    pub(crate) up: RateMeter,
    pub(crate) wasted: u64,
    pub(crate) duplicate_blocks: u64,
    pub(crate) late_blocks: u64,
    pub(crate) unasked_blocks: u64,
    pub(crate) failed_pieces: u64,
}

/// Whose digests a worker is making.
#[derive(Debug)]
enum Digesting {
    Bad(Vec<Option<Supplier>>),
    Good,
    /// It was bad and its digests are known: its leaves are awaited, which tell what of it is good.
    Leaves,
}

/// Pieces that failed, until it is known which peers are to blame.
#[derive(Debug, Default)]
struct Failures {
    blames: Blames,
    digesting: BTreeMap<PieceIndex, Digesting>,
}

/// What the ledger is about.
#[derive(Debug)]
struct Subject {
    torrent: Key,
    info_hash: InfoHash,
    hashes: PieceHashes,
    /// What peers may have of the metainfo (BEP 9).
    info: Option<Info>,
    /// Peers may be told of each other (BEP 11).
    exchanges_peers: bool,
}

/// Limits that hold sessions back which share them.
#[derive(Debug, Default)]
struct Holdback {
    /// Sessions that are held back.
    sessions: usize,
    /// When the last one was let go on.
    ended: Option<Instant>,
}

/// Peers that are choked and served all the same (BEP 6 allowed fast).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Favours {
    pub(crate) served: usize,
    /// How many there may be.
    pub(crate) limit: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Swarm {
    subject: Subject,
    pub(crate) geometry: Geometry,
    pub(crate) have: Bitfield,
    pub(crate) picker: Picker,
    active: Active,
    pub(crate) paroles: Paroles,
    failures: Failures,
    pub(crate) notes: VecDeque<Note>,
    /// A session may find something to ask for now that did not before.
    pub(crate) refill: bool,
    /// The sessions that may be asked for more than is on order with them, by their keys in the
    /// torrent.
    pub(crate) unfilled: BTreeSet<Key>,
    /// Whether new orders may go out: not while the disk fails.
    pub(crate) requesting: bool,
    /// Something is done to all files: no job may begin.
    pub(crate) quiet: bool,
    /// The store could not be told which files are skipped: nothing may be written until it was.
    pub(crate) no_writes: bool,
    pub(crate) counters: Counters,
    pub(crate) amounts: Amounts,
    holdback: Holdback,
    pub(crate) favours: Favours,
    /// Jobs that workers have not answered.
    pub(crate) jobs_out: usize,
    /// Of those, the ones that write.
    pub(crate) runs_out: usize,
    /// What we pretend to have, while we pretend.
    pub(crate) super_seed: Option<Box<SuperSeed>>,
}

impl Swarm {
    /// Peers may have this info dictionary, or none.
    pub(crate) fn set_info(&mut self, info: Option<Info>) {
        self.subject.info = info;
    }

    /// The info dictionary, if peers may have it.
    pub(crate) fn info(&self) -> Option<&Info> {
        self.subject.info.as_ref()
    }

    /// The same, to be read or let go of.
    pub(crate) fn info_mut(&mut self) -> Option<&mut Info> {
        self.subject.info.as_mut()
    }

    /// Peers may be told of each other (BEP 11), or not.
    pub(crate) fn set_exchanges_peers(&mut self, exchanges: bool) {
        self.subject.exchanges_peers = exchanges;
    }

    /// Whether peers may be told of each other.
    pub(crate) fn exchanges_peers(&self) -> bool {
        self.subject.exchanges_peers
    }

    pub(crate) fn new(
        torrent: Key,
        info_hash: InfoHash,
        geometry: Geometry,
        hashes: PieceHashes,
        now: Instant,
        picker: Picker,
    ) -> Self {
        let meter = RateMeter::new(now);
        let counters = Counters {
            down: meter,
            up: meter,
            wasted: 0,
            duplicate_blocks: 0,
            late_blocks: 0,
            unasked_blocks: 0,
            failed_pieces: 0,
        };
        let mut swarm = Self {
            subject: Subject { torrent, info_hash, hashes, info: None, exchanges_peers: false },
            have: Bitfield::none(geometry.piece_count()),
            geometry,
            picker,
            active: Active::default(),
            paroles: Paroles::default(),
            failures: Failures::default(),
            notes: VecDeque::new(),
            refill: false,
            unfilled: BTreeSet::new(),
            requesting: false,
            quiet: false,
            no_writes: false,
            counters,
            amounts: Amounts::default(),
            holdback: Holdback::default(),
            favours: Favours { served: 0, limit: 1 },
            jobs_out: 0,
            runs_out: 0,
            super_seed: None,
        };
        swarm.recount();
        swarm
    }

    /// `piece` is in memory or in the system's cache now: it was just read from a slow disk for a
    /// peer, or written. Peers that lack it are told so, if
    /// [`UploadConf::suggest`](crate::conf::UploadConf::suggest) is on.
    pub(crate) fn note_at_hand(&mut self, piece: PieceIndex, cx: &Cx) {
        if cx.conf.uploads.suggest && self.notes.back() != Some(&Note::AtHand(piece)) {
            self.notes.push_back(Note::AtHand(piece));
        }
    }

    /// The key of the torrent.
    pub(crate) fn torrent(&self) -> Key {
        self.subject.torrent
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        self.subject.info_hash
    }

    pub(crate) fn expected(&self, piece: PieceIndex) -> Option<PieceHash> {
        self.subject.hashes.expected(piece, &self.geometry)
    }

    /// What its pieces should hash to.
    pub(crate) fn hashes(&self) -> &PieceHashes {
        &self.subject.hashes
    }

    /// Bytes received of pieces that are not whole.
    pub(crate) fn partial_bytes(&self) -> u64 {
        self.active.iter().map(|(_, progress)| progress.received_len()).sum()
    }

    /// Whether pieces are in progress.
    pub(crate) fn is_busy(&self) -> bool {
        !self.active.is_empty()
    }

    /// So many bytes of blocks were sent.
    pub(crate) fn note_sent(&mut self, payload: u64, cx: &mut Cx) {
        if payload > 0 {
            self.counters.up.add(cx.now, payload);
            cx.leases.note_up(cx.now, payload);
        }
    }

    /// So many bytes of blocks came from a peer without a session, of which nothing was wanted.
    pub(crate) fn waste(&mut self, len: u64, cx: &mut Cx) {
        if len > 0 {
            self.count_down(len, cx);
            self.counters.wasted += len;
        }
    }

    /// A block came. Returns whether it was of use.
    pub(crate) fn receive(
        &mut self,
        block: Block,
        data: &[u8],
        link: OrderKey,
        from: Supplier,
        arrival: Arrival,
        cx: &mut Cx,
    ) -> bool {
        self.count_down(data.len() as u64, cx);
        self.place(block, data, link, from, arrival, cx)
    }

    /// Bytes of blocks came.
    pub(crate) fn count_down(&mut self, bytes: u64, cx: &mut Cx) {
        self.counters.down.add(cx.now, bytes);
        cx.leases.note_down(cx.now, bytes);
    }

    /// A block is there whose bytes are counted. Returns whether it was of use.
    pub(crate) fn place(
        &mut self,
        block: Block,
        data: &[u8],
        link: OrderKey,
        from: Supplier,
        arrival: Arrival,
        cx: &mut Cx,
    ) -> bool {
        let len = data.len() as u64;
        if arrival == Arrival::Unasked {
            self.counters.unasked_blocks += 1;
            self.counters.wasted += len;
            return false;
        }
        let fresh = self.picker.is_wanted(block.piece) && !self.paroles.contains(block.piece);
        if arrival == Arrival::Late
            && fresh
            && cx.leases.pieces().has_room(cx.conf.requests.run_len as usize)
        {
            // The piece was given up along with its last order; here it is all the same.
            self.begin(block.piece, None, cx);
        }
        let Some(progress) = self.active.get(block.piece) else {
            self.counters.duplicate_blocks += u64::from(self.have.has(block.piece));
            self.counters.wasted += len;
            return false;
        };
        if arrival == Arrival::Late && progress.parole && progress.owner != Some(link) {
            // It would be one more to blame.
            self.counters.wasted += len;
            return false;
        }
        let ordered = arrival == Arrival::Asked;
        let receive =
            |p: &mut Progress| p.receive(block, data, from, ordered, cx.leases.pieces_mut());
        let receipt = self.active.change(block.piece, receive).flatten();
        match receipt {
            Some(Receipt::New { others, run_whole }) => {
                self.counters.late_blocks += u64::from(arrival == Arrival::Late);
                if others > 0 {
                    self.notes.push_back(Note::Cancel(block, link));
                }
                if run_whole {
                    self.submit(block.piece, cx);
                }
                true
            }
            Some(Receipt::Duplicate) => {
                self.counters.duplicate_blocks += 1;
                self.counters.wasted += len;
                false
            }
            None => {
                self.counters.wasted += len;
                false
            }
        }
    }

    /// Forgets everything in progress. No worker may have a part of it.
    pub(crate) fn abandon(&mut self, cx: &mut Cx) {
        self.active.clear(cx.leases.pieces_mut());
        self.failures.digesting.clear();
    }
}
