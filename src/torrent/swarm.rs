//! The ledger that all sessions of a torrent share: what we have, what is in progress, what is
//! wanted next, who is to blame.
//!
//! A session sees the ledger and never another session. What its siblings must learn is left here
//! as a [`Note`], which the torrent delivers when the session is done.

mod active;
#[cfg(any(test, feature = "sim"))]
mod audit;
mod counters;
mod failures;
mod favours;
mod hashes;
mod holdback;
mod notes;
mod orders;
mod refills;
mod rows;
mod sources;
mod stored;
mod subject;
mod trees;
mod verdicts;
mod wanted;
mod work;

use crate::{
    base::{
        arena::Key,
        geometry::{Block, Geometry},
        ids::InfoHash,
        time::Instant,
    },
    proto::pipeline::Arrival,
    torrent::{
        cx::Cx,
        parole::Paroles,
        picker::Picker,
        progress::{OrderKey, Progress, Receipt, Supplier},
        superseed::SuperSeed,
    },
};

use active::Active;
pub(crate) use counters::Counters;
use failures::Failures;
use favours::Favours;
pub(crate) use hashes::PieceHashes;
use holdback::Holdback;
pub(crate) use notes::Note;
use notes::Notes;
pub(crate) use orders::Asker;
use refills::Refills;
pub(crate) use rows::{RowAsker, blocks_in};
use subject::Subject;
use wanted::Stock;
use work::Work;

/// See the module. What it is made of are types with private fields, each in a file of its own.
#[derive(Debug)]
pub(crate) struct Swarm {
    subject: Subject,
    geometry: Geometry,
    stock: Stock,
    picker: Picker,
    active: Active,
    paroles: Paroles,
    failures: Failures,
    notes: Notes,
    refills: Refills,
    work: Work,
    counters: Counters,
    holdback: Holdback,
    favours: Favours,
    /// What we pretend to have, while we pretend.
    super_seed: Option<Box<SuperSeed>>,
}

impl Swarm {
    pub(crate) fn new(
        torrent: Key,
        info_hash: InfoHash,
        geometry: Geometry,
        hashes: PieceHashes,
        now: Instant,
        picker: Picker,
    ) -> Self {
        let mut swarm = Self {
            subject: Subject::new(torrent, info_hash, hashes),
            stock: Stock::new(&geometry),
            geometry,
            picker,
            active: Active::default(),
            paroles: Paroles::default(),
            failures: Failures::default(),
            notes: Notes::default(),
            refills: Refills::default(),
            work: Work::default(),
            counters: Counters::new(now),
            holdback: Holdback::default(),
            favours: Favours::new(),
            super_seed: None,
        };
        swarm.recount();
        swarm
    }

    /// Bytes received of pieces that are not whole.
    pub(crate) fn partial_bytes(&self) -> u64 {
        self.active.iter().map(|(_, progress)| progress.received_len()).sum()
    }

    /// Whether pieces are in progress.
    pub(crate) fn is_busy(&self) -> bool {
        !self.active.is_empty()
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
            self.counters.note_unasked(len);
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
            if self.stock.have().has(block.piece) {
                self.counters.note_duplicate(len);
            } else {
                self.counters.waste(len);
            }
            return false;
        };
        if arrival == Arrival::Late && progress.parole && progress.owner != Some(link) {
            // It would be one more to blame.
            self.counters.waste(len);
            return false;
        }
        let ordered = arrival == Arrival::Asked;
        let receive =
            |p: &mut Progress| p.receive(block, data, from, ordered, cx.leases.pieces_mut());
        let receipt = self.active.change(block.piece, receive).flatten();
        match receipt {
            Some(Receipt::New { others, run_whole }) => {
                if arrival == Arrival::Late {
                    self.counters.note_late();
                }
                if others > 0 {
                    self.notes.leave(Note::Cancel(block, link));
                }
                if run_whole {
                    self.submit(block.piece, cx);
                }
                true
            }
            Some(Receipt::Duplicate) => {
                self.counters.note_duplicate(len);
                false
            }
            None => {
                self.counters.waste(len);
                false
            }
        }
    }

    /// Forgets everything in progress. No worker may have a part of it.
    pub(crate) fn abandon(&mut self, cx: &mut Cx) {
        self.active.clear(cx.leases.pieces_mut());
        self.failures.abandon();
    }
}
