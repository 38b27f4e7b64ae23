//! How far a piece is hashed: its runs go through the hash one after another. It does not know what
//! they hold.

use crate::base::{
    hash::{Hasher, PieceHash},
    job::Chain,
};

/// How often in a row a written run may fail to be read before it is fetched again.
const MAX_UNREAD: u8 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Hashing {
    state: Hasher,
    /// The first run that is not hashed.
    next: usize,
    /// A worker hashes that one.
    is_out: bool,
    /// How often in a row what was written could not be read again to be hashed.
    unread: u8,
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self { state: Hasher::SHA1, next: 0, is_out: false, unread: 0 }
    }

    /// The first run that is not hashed.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// Whether a worker may be given the next run.
    pub(super) fn may_go_on(&self) -> bool {
        !self.is_out
    }

    /// Nothing is hashed yet: the hash is one of this kind, of a piece with so many leaves.
    pub(super) fn aim_at(&mut self, expected: &PieceHash, leaves: u32) {
        if self.next == 0 {
            self.state = Hasher::new(expected, leaves);
        }
    }

    /// A worker gets the next run; `expected` if it is the last.
    pub(super) fn give(&mut self, expected: Option<PieceHash>) -> Chain {
        self.is_out = true;
        Chain { state: self.state.clone(), expected }
    }

    /// A worker could not hash what it was given.
    pub(super) fn handle_failed(&mut self) {
        self.is_out = false;
    }

    /// This run is hashed, with this state behind it unless it is the last.
    pub(super) fn handle_hashed(&mut self, run: usize, state: Option<Hasher>) {
        (self.next, self.is_out, self.unread) = (run + 1, false, 0);
        if let Some(state) = state {
            self.state = state;
        }
    }

    /// The next run could not be read again. True after a few times: it is to be fetched anew then,
    /// or the piece would never be whole.
    pub(super) fn note_unread(&mut self) -> bool {
        self.unread += 1;
        let is_too_often = self.unread >= MAX_UNREAD;
        if is_too_often {
            self.unread = 0;
        }
        is_too_often
    }
}
