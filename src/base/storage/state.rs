//! What is kept for the next start: how far a torrent is, and the records of a session folder.

use crate::base::{
    bitfield::Bitfield, ids::WireHash, partial::PartialPiece, tracker_events::TrackerEvents,
    trees::Trees,
};

/// What to remember of a torrent. The store adds what it knows of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveState {
    /// Pieces that were verified and handed to the operating system before this was made.
    pub have: Bitfield,
    /// Whether more writes may come after this: then a later start rechecks what this does not
    /// vouch for.
    pub dirty: bool,
    /// Bytes downloaded over all runs.
    pub downloaded: u64,
    /// Bytes uploaded over all runs.
    pub uploaded: u64,
    /// Blocks of unfinished pieces that were handed to the operating system before this was made,
    /// ascending by piece.
    pub partial: Vec<PartialPiece>,
    /// Pieces that a check has still to hash, or had to pass over, since it is not known yet what
    /// they should be (BEP 52); `None` if there are none.
    pub unchecked: Option<Bitfield>,
    /// What its trackers have still to hear; empty where the session's records keep that.
    pub tracker_events: TrackerEvents,
    /// Merkle trees whose piece layers came from peers, or were found (BEP 52), and are still to be
    /// kept for the next start, in their own file. `None` where that is done, where the metainfo
    /// has them, or where a session's records do.
    pub layers: Option<Trees>,
    /// Whether each of the pieces in `have` was verified by both versions of a hybrid (BEP 52).
    /// False of torrents that are no hybrids.
    pub both_versions: bool,
}

impl SaveState {
    /// The state of a torrent with these pieces, of which nothing else is to be told.
    pub fn new(have: Bitfield) -> Self {
        Self {
            have,
            dirty: false,
            downloaded: 0,
            uploaded: 0,
            partial: Vec::new(),
            unchecked: None,
            tracker_events: TrackerEvents::default(),
            layers: None,
            both_versions: false,
        }
    }
}

/// What a record of a session folder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// How far a torrent is: a [`ResumeFile`](crate::wire::resume::ResumeFile).
    State,
    /// What the user has said of a torrent.
    Settings,
    /// A torrent was added.
    Torrent,
    /// A torrent was removed.
    Removed,
    /// What the user has said of the session as a whole.
    Session,
    /// The ids of the DHT node, and the nodes that it knew.
    Dht,
    /// Files of which a sync failed, and whose torrents are not open.
    Doubts,
}

/// A record to be.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// What it says.
    pub kind: RecordKind,
    /// About which torrent; zeroes of version 1 if about none.
    pub info_hash: WireHash,
    /// The rest of it.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {}, {} bytes", self.kind, self.info_hash, self.body.len())
    }
}
