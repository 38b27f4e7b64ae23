//! The words between the engine and the workers: what to do, and what came of it.
//!
//! A job names everything it needs, so whichever worker is free can run it. It carries the
//! torrent's generational key, so an answer that comes too late finds nothing. What a torrent's
//! storage is asked and answers is told by [`storage`](super::storage).

pub(crate) mod extract;
pub(crate) mod key_exchange;
pub(crate) mod task;

use std::ops::Range;

use self::{
    extract::{Extract, ExtractError},
    key_exchange::KeyExchange,
    task::Task,
};
use super::{
    arena::Key,
    buf::Buf,
    geometry::{Block, PieceIndex},
    hash::{Digest, Hasher, Judgement, PieceHash},
    ids::{ReadId, WireHash},
    merkle::Node,
    storage::{
        Borrowed, Leftovers, Opened, RecordKind, SaveState, SessionRecord, StoreError, StoreSpec,
    },
};

/// Bytes before each block of a [`Job::Read`], for what goes before it on the wire.
pub const READ_GAP: usize = 13;

/// Bytes that `blocks` take up in the buffer of a [`Job::Read`].
pub fn batch_len(blocks: &[Block]) -> usize {
    blocks.iter().map(|block| READ_GAP + block.len as usize).sum()
}

/// The part that hashing plays in a [`Job::Run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The state after the runs before this one.
    pub state: Hasher,
    /// What the piece should be, if this is its last run: then the answer is a verdict.
    pub expected: Option<PieceHash>,
}

/// Where a run's bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum RunData {
    /// In memory, to be written.
    Memory(Buf),
    /// These stretches of it are in memory, to be written; the rest of the run is on disk or still
    /// to come. It is not hashed.
    Stretches(Buf, Vec<Range<u32>>),
    /// Written before, to be read again: so many bytes.
    Disk(u32),
}

/// A stretch of consecutive bytes of one piece: all of a small piece, or about 1 MiB of a large
/// one.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    /// The piece.
    pub piece: PieceIndex,
    /// First byte within the piece; a multiple of 64.
    pub begin: u32,
    /// The bytes.
    pub data: RunData,
    /// Hash it in order; `None` for a run that came before its predecessors and is only written.
    pub chain: Option<Chain>,
    /// Answer with a digest of each 16 KiB block even if the piece is good (it was bad before, and
    /// a peer is to blame).
    pub digests: bool,
    /// Nothing else is about to come that it could be hashed side by side with: begin at once.
    pub hurry: bool,
}

/// Work for a worker.
#[derive(Debug)]
pub enum Job {
    /// Make the storage known under `torrent`, look at what is there. Creates no data file.
    Open {
        /// The torrent.
        torrent: Key,
        /// Where it is to be.
        spec: Box<StoreSpec>,
    },
    /// Hash (unless out of order) and write (unless on disk already) a run. A whole piece that
    /// fails its hash is not written, unless it has a tree whose leaves may tell which blocks of it
    /// are good.
    Run {
        /// The torrent.
        torrent: Key,
        /// The run.
        run: Run,
    },
    /// Read blocks for a peer into `buf`, each behind a gap of [`READ_GAP`] bytes that is left as
    /// it is: [`batch_len`] bytes in all.
    Read {
        /// The torrent.
        torrent: Key,
        /// The link it is for.
        link: Key,
        /// What to read.
        blocks: Vec<Block>,
        /// Where to.
        buf: Buf,
    },
    /// Put bytes together that the user reads, hashing those that nothing else vouches for.
    Extract {
        /// The torrent.
        torrent: Key,
        /// Which read it is.
        read: ReadId,
        /// The bytes, in their order.
        parts: Vec<Extract>,
    },
    /// Hash a piece on disk and compare.
    Check {
        /// The torrent.
        torrent: Key,
        /// The piece.
        piece: PieceIndex,
        /// What it should be.
        expected: PieceHash,
        /// Its length, bytes.
        len: u32,
    },
    /// Digest each block of a piece on disk, to find who sent the bad one.
    Digests {
        /// The torrent.
        torrent: Key,
        /// The piece.
        piece: PieceIndex,
    },
    /// Hash each block of a piece on disk as a leaf of its tree (BEP 52), for a peer.
    Leaves {
        /// The torrent.
        torrent: Key,
        /// The piece.
        piece: PieceIndex,
    },
    /// Sync the data files written so far, then save the state atomically (write, fsync, rename).
    /// Of many files some are synced at a time: the answer is then [`Done::Syncing`], and the
    /// job is to be sent again.
    Save {
        /// The torrent.
        torrent: Key,
        /// What to save.
        state: Box<SaveState>,
        /// Files below this index are synced for it.
        synced: usize,
    },
    /// Other files are skipped now than before: what is wanted and has bytes in the part file is
    /// made of them, unless it is to wait. Sent when no other job of the torrent is out, as the
    /// next four.
    Arrange {
        /// The torrent.
        torrent: Key,
        /// As [`StoreSpec::skipped`].
        skipped: Vec<bool>,
        /// Make files of the part file's bytes now. Those of a torrent that rests wait: until it
        /// goes on its user may still choose.
        make: bool,
        /// As [`StoreSpec::borrowed`].
        borrowed: Vec<Borrowed>,
    },
    /// Have every file where `spec` says, which differs in folder, state file or renames. Nothing
    /// that is there is replaced. The old files stay until they are [tidied](Self::Tidy) away,
    /// so that a crash finds the torrent at the one place or the other.
    Relocate {
        /// The torrent.
        torrent: Key,
        /// Where it is to be.
        spec: Box<StoreSpec>,
        /// The state to save there.
        state: Option<Box<SaveState>>,
    },
    /// Delete what the last [`Relocate`](Self::Relocate) left at the old place, and folders that
    /// become empty by it.
    Tidy {
        /// The torrent.
        torrent: Key,
    },
    /// Look whether any of the torrent's files is there, or its part file. It need not have been
    /// opened. Opens no file.
    Look {
        /// The torrent.
        torrent: Key,
        /// Where it is.
        spec: Box<StoreSpec>,
    },
    /// Forget the storage and close its files.
    Close {
        /// The torrent.
        torrent: Key,
    },
    /// The same, and delete the torrent's own files, and folders that become empty by it. It need
    /// not have been opened.
    Delete {
        /// The torrent.
        torrent: Key,
        /// Where it is.
        spec: Box<StoreSpec>,
    },
    /// Do work that is about no storage: run the task, and hand it back.
    Compute {
        /// The torrent.
        torrent: Key,
        /// The work.
        task: Box<dyn Task>,
    },
    /// Do the arithmetic of an encrypted handshake.
    KeyExchange {
        /// The connection it is for.
        link: Key,
        /// What is known, and what is to be computed.
        exchange: Box<KeyExchange>,
    },
    /// Read a part of a torrent's metainfo file back from the session folder.
    Info {
        /// The torrent.
        torrent: Key,
        /// Under which its record is.
        info_hash: WireHash,
        /// The bytes of the file: its info dictionary.
        span: Range<usize>,
    },
    /// Append a record to the session folder's log. Many that wait are synced together.
    Record {
        /// The torrent that it is about; `None` if about the session.
        torrent: Option<Key>,
        /// What it says.
        record: SessionRecord,
    },
}

/// What a run of hashing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not hashed: the run was out of order.
    Unhashed,
    /// Not the last run: the state after it.
    Going(Hasher),
    /// The piece is what it should be, and is written.
    Good,
    /// The piece is not what it should be.
    Bad,
    /// The piece is what one version of a hybrid says, and not what the other says. It is not
    /// written as a good one.
    Contradiction,
}

/// The answer to a [`Job::Run`].
#[derive(Debug)]
pub struct RunDone {
    /// The piece.
    pub piece: PieceIndex,
    /// First byte within the piece.
    pub begin: u32,
    /// The buffer of a run that was in memory, whatever became of it.
    pub buf: Option<Buf>,
    /// A verdict, or why it could not be written or read. After an error nothing of the run
    /// counts: send it again.
    pub result: Result<Verdict, StoreError>,
    /// Digests of the run's blocks: on a bad verdict, or when asked for. For a piece of several
    /// runs these are only the last run's; use [`Job::Digests`].
    pub digests: Option<Vec<Digest>>,
    /// Of a good piece of a hybrid: the root that its tree was found to have, if it was not known
    /// which it must be.
    pub root: Option<Node>,
}

/// The answer to a [`Job`].
#[derive(Debug)]
pub enum Done {
    /// To [`Job::Open`].
    Opened {
        /// The torrent.
        torrent: Key,
        /// What was found.
        result: Result<Opened, StoreError>,
    },
    /// To [`Job::Run`].
    Run {
        /// The torrent.
        torrent: Key,
        /// What came of it.
        run: RunDone,
    },
    /// To [`Job::Read`].
    Read {
        /// The torrent.
        torrent: Key,
        /// The link it is for.
        link: Key,
        /// What was read.
        blocks: Vec<Block>,
        /// The buffer, filled if `result` is ok.
        buf: Buf,
        /// Whether all of it was.
        result: Result<(), StoreError>,
        /// Whether a worker had to read it: it was not at hand.
        cold: bool,
    },
    /// To [`Job::Extract`].
    Extracted {
        /// The torrent.
        torrent: Key,
        /// Which read it is.
        read: ReadId,
        /// The bytes of all parts, or why there are none of any.
        result: Result<Vec<u8>, ExtractError>,
    },
    /// To [`Job::Check`]: whether the piece is good. A piece that is not wholly there is bad, which
    /// is no error.
    Checked {
        /// The torrent.
        torrent: Key,
        /// The piece.
        piece: PieceIndex,
        /// Whether it is good.
        result: Result<Judgement, StoreError>,
        /// As [`RunDone::root`].
        root: Option<Node>,
    },
    /// To [`Job::Digests`].
    Digests {
        /// The torrent.
        torrent: Key,
        /// The piece.
        piece: PieceIndex,
        /// A digest a block.
        result: Result<Vec<Digest>, StoreError>,
    },
    /// To [`Job::Leaves`].
    Leaves {
        /// The torrent.
        torrent: Key,
        /// The piece.
        piece: PieceIndex,
        /// A leaf a block.
        result: Result<Vec<Node>, StoreError>,
    },
    /// To [`Job::Save`] as long as files are left to be synced.
    Syncing {
        /// The torrent.
        torrent: Key,
        /// What is to be saved.
        state: Box<SaveState>,
        /// The first file that is left.
        synced: usize,
        /// How many there are in all.
        files: usize,
    },
    /// To [`Job::Save`].
    Saved {
        /// The torrent.
        torrent: Key,
        /// Whether it is safe now.
        result: Result<(), StoreError>,
        /// Why a file that is complete could not be given its length, or one of no bytes not be
        /// made, if that is news. It is tried again with the next.
        unfinished: Option<StoreError>,
    },
    /// To [`Job::Arrange`].
    Arranged {
        /// The torrent.
        torrent: Key,
        /// Whether everything is where it should be. If not, nothing is lost, and it is to be
        /// tried again.
        result: Result<(), StoreError>,
    },
    /// To [`Job::Relocate`].
    Relocated {
        /// The torrent.
        torrent: Key,
        /// Whether the torrent is at the new place now. If not, it is at the old one as before.
        result: Result<(), StoreError>,
    },
    /// To [`Job::Tidy`].
    Tidied {
        /// The torrent.
        torrent: Key,
        /// What could not be deleted.
        left: Option<Leftovers>,
    },
    /// To [`Job::Look`].
    Looked {
        /// The torrent.
        torrent: Key,
        /// None of its files is there. What cannot be looked at counts as there.
        absent: bool,
    },
    /// To [`Job::Close`].
    Closed {
        /// The torrent.
        torrent: Key,
    },
    /// To [`Job::Delete`].
    Deleted {
        /// The torrent.
        torrent: Key,
        /// What could not be deleted.
        left: Option<Leftovers>,
    },
    /// To [`Job::Compute`].
    Computed {
        /// The torrent.
        torrent: Key,
        /// The task, which has run.
        task: Box<dyn Task>,
    },
    /// To [`Job::KeyExchange`].
    KeyExchange {
        /// The connection it is for.
        link: Key,
        /// The result. A number is missing if it cannot be had: encryption is not compiled in.
        exchange: Box<KeyExchange>,
    },
    /// To [`Job::Info`].
    Info {
        /// The torrent.
        torrent: Key,
        /// The bytes.
        result: Result<Vec<u8>, StoreError>,
    },
    /// To [`Job::Record`].
    Recorded {
        /// The torrent that it is about.
        torrent: Option<Key>,
        /// What it says.
        kind: RecordKind,
        /// Whether it is safe now.
        result: Result<(), StoreError>,
    },
}
