//! What sessions leave for their siblings. It does not know who is told of what.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use super::Swarm;
use crate::{
    base::{
        arena::Key,
        geometry::{Block, PieceIndex},
        merkle::Node,
    },
    torrent::{
        cx::Cx,
        hash_talk::HashTalk,
        progress::{Contributor, OrderKey},
    },
    wire::ut_pex::PexFlags,
};

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
    /// This connection has had a piece alone for too long: its orders of it are called off.
    Recall(OrderKey, PieceIndex),
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

/// The notes that are not delivered, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: VecDeque<Note>,
}

impl Notes {
    pub(super) fn leave(&mut self, note: Note) {
        self.notes.push_back(note);
    }

    /// `piece` is in memory or in the system's cache now; see [`Swarm::note_at_hand`].
    pub(super) fn leave_at_hand(&mut self, piece: PieceIndex, cx: &Cx) {
        if cx.conf.uploads.suggest && self.notes.back() != Some(&Note::AtHand(piece)) {
            self.leave(Note::AtHand(piece));
        }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.notes.len()
    }
}

impl Swarm {
    /// Leaves a note for the siblings of a session.
    pub(crate) fn note(&mut self, note: Note) {
        self.notes.leave(note);
    }

    /// `piece` is in memory or in the system's cache now: it was just read from a slow disk for a
    /// peer, or written. Peers that lack it are told so, if
    /// [`UploadConf::suggest`](crate::conf::UploadConf::suggest) is on.
    pub(crate) fn note_at_hand(&mut self, piece: PieceIndex, cx: &Cx) {
        self.notes.leave_at_hand(piece, cx);
    }

    /// The next note to deliver.
    pub(crate) fn poll_note(&mut self) -> Option<Note> {
        self.notes.notes.pop_front()
    }

    pub(super) fn has_notes(&self) -> bool {
        !self.notes.notes.is_empty()
    }
}
