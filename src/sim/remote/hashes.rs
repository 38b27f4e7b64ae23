//! What a scripted peer says of hashes of trees (BEP 52): true answers, lies, and hashes without
//! being asked.

use super::Remote;
use crate::{
    sim::{ConnId, Talk},
    wire::{hash_range::HashRange, message::Message},
};

/// What a [`Remote`] makes of a request for hashes of a tree (BEP 52).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashManner {
    /// The hashes.
    #[default]
    True,
    /// The hashes with one bit changed, of the nth hash of each answer.
    False(usize),
    /// A reject.
    Reject,
    /// Nothing.
    Nothing,
    /// The hashes of the range behind, or before, the one that is asked for, as if they were those.
    Elsewhere,
    /// The hashes without the last.
    Short,
    /// The hashes, and before each block that it is asked for: hashes that were not asked for, a
    /// reject of the same, and requests for hashes that are not there or too many.
    Babble,
}

impl Remote {
    pub(super) fn handle_hash_request(
        &mut self,
        talk: &mut Talk<'_>,
        conn: ConnId,
        range: HashRange,
    ) {
        let truth = |range| self.sample.hashes(&range).unwrap_or_default();
        let hashes = match self.manners.hashes {
            HashManner::Nothing => return,
            HashManner::Reject => None,
            HashManner::True | HashManner::Babble => self.sample.hashes(&range),
            HashManner::False(nth) => {
                let mut hashes = truth(range);
                let nth = nth % hashes.len().max(1);
                hashes.get_mut(nth).into_iter().for_each(|hash| hash[3] ^= 1);
                Some(hashes)
            }
            HashManner::Elsewhere => {
                let index = range.index.checked_sub(range.len).unwrap_or(range.len);
                Some(truth(HashRange { index, ..range }))
            }
            HashManner::Short => {
                let mut hashes = truth(range);
                hashes.pop();
                Some(hashes)
            }
        };
        match &hashes {
            Some(hashes) => Self::say(talk, conn, &Message::Hashes { range, hashes }),
            None => Self::say(talk, conn, &Message::HashReject(range)),
        }
    }

    /// Says of trees what it was not asked for, if it does.
    pub(super) fn babble(&mut self, talk: &mut Talk<'_>, conn: ConnId) {
        if self.manners.hashes != HashManner::Babble {
            return;
        }
        let trees = self.sample.whole.trees.as_ref();
        let root = trees.and_then(|trees| trees.files().first()).map_or([7; 32], |tree| tree.root);
        let sound = HashRange { root, base: 0, index: 0, len: 2, proofs: 1 };
        let strange = [
            HashRange { root: [9; 32], ..sound },
            HashRange { index: 1 << 30, ..sound },
            HashRange { base: 20, ..sound },
            HashRange { len: 1 << 20, proofs: 0, ..sound },
            HashRange { len: 512, proofs: 60, ..sound },
        ];
        Self::say(talk, conn, &Message::Hashes { range: sound, hashes: &[[1; 32]; 2] });
        Self::say(talk, conn, &Message::HashReject(sound));
        [sound, sound]
            .iter()
            .chain(&strange)
            .for_each(|range| Self::say(talk, conn, &Message::HashRequest(*range)));
    }
}
