//! The words between the engine and the workers: what to do on disk, and what came of it.
//!
//! A job names everything it needs, so whichever worker is free can run it. It carries the
//! torrent's generational key, so an answer that comes too late finds nothing.

pub(crate) mod storage;
pub(crate) mod task;

use std::{io, ops::Range, path::PathBuf, sync::Arc};

use thiserror::Error;

use self::{storage::Storage, task::Task};
use super::{
    arena::Key,
    bitfield::Bitfield,
    buf::Buf,
    distrust::Distrust,
    files::FileEntry,
    geometry::{Block, Geometry, PieceIndex},
    hash::{Digest, Hasher, PieceHash},
    ids::{Identity, WireHash},
    partial::PartialPiece,
    paths::STATE_FOLDER,
    tracker_events::TrackerEvents,
};

/// Bytes before each block of a [`Job::Read`], for what goes before it on the wire.
pub const READ_GAP: usize = 13;

/// Bytes that `blocks` take up in the buffer of a [`Job::Read`].
pub fn batch_len(blocks: &[Block]) -> usize {
    blocks.iter().map(|block| READ_GAP + block.len as usize).sum()
}

/// How files get their space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allocation {
    /// Files grow as pieces arrive, with holes.
    #[default]
    Sparse,
    /// Each file gets its whole space when it is first written, so a full disk shows early.
    Full,
}

/// How far data that is on disk is believed without being hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// As far as the saved state vouches for it; the rest is hashed.
    #[default]
    State,
    /// Not at all: everything that is there is hashed.
    Nothing,
    /// Every file that has its right length is believed to be whole, for a seed whose files were
    /// hashed a moment ago or whose user knows them. Pieces that the saved state knows to be
    /// missing, or that lie in holes, are not believed. The first read that fails
    /// takes the trust back ([`Alert::Distrusted`](crate::Alert::Distrusted)) and has everything
    /// hashed. No state is written meanwhile, since a state speaks of what was verified.
    Files,
}

/// A file of a torrent that belongs to another torrent of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrowed {
    /// Its number in the torrent that reads it.
    pub file: usize,
    /// The torrent that it belongs to.
    pub owner: Key,
    /// What that one is called.
    pub name: String,
}

/// Where and how a torrent is stored.
#[derive(Clone, Debug)]
pub struct StoreSpec {
    /// The torrent's names on the network. The first of them is part of the name of the
    /// [part file](Self::parts_file).
    pub identity: Identity,
    /// The download folder. Nothing is written outside it, but for the state file.
    pub dir: PathBuf,
    /// The torrent's own name, not yet safe: the file of a single-file torrent, the folder of
    /// others.
    pub name: String,
    /// Whether the torrent is one file called `name` (then `files` has one entry with an empty
    /// path).
    pub single_file: bool,
    /// Its files in order, not yet safe.
    pub files: Arc<[FileEntry]>,
    /// Its shape.
    pub geometry: Geometry,
    /// How files get their space.
    pub allocation: Allocation,
    /// The state file to read at opening and to write as it changes; `None` keeps no state.
    pub state_file: Option<PathBuf>,
    /// Keep the state in the session folder instead.
    pub in_session: bool,
    /// What of the data that is there may go unchecked.
    pub trust: Trust,
    /// Files that are not wanted, by number; those beyond its end are. One that is not there is
    /// not made: what other files need of its pieces is kept in the [part
    /// file](Self::parts_file).
    pub skipped: Vec<bool>,
    /// Files that have another path than the metainfo's, by number, ascending; relative to `dir`
    /// and safe.
    pub renames: Vec<(usize, PathBuf)>,
    /// The [aliases](FoundNames::aliases) that were found when it was opened, for deleting it when
    /// it is closed.
    pub aliases: Vec<(usize, PathBuf)>,
    /// Files that belong to another torrent of the session, ascending: they are read, and never
    /// made, written or cut.
    pub borrowed: Vec<Borrowed>,
    /// Files that another torrent of the session has, too, where they are now, by number,
    /// ascending: neither deleted nor taken away.
    pub kept: Vec<usize>,
    /// Where its bytes are, if not in files below `dir`.
    pub storage: Option<Arc<dyn Storage>>,
}

impl StoreSpec {
    /// A torrent of these files in the folder `name` below `dir`, as it is when nothing was said of
    /// it: all files are wanted under their own names, and no state is kept.
    pub fn new(
        identity: Identity,
        geometry: Geometry,
        files: Arc<[FileEntry]>,
        dir: impl Into<PathBuf>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            identity,
            dir: dir.into(),
            name: name.into(),
            single_file: false,
            files,
            geometry,
            allocation: Allocation::default(),
            state_file: None,
            in_session: false,
            trust: Trust::default(),
            skipped: Vec::new(),
            renames: Vec::new(),
            aliases: Vec::new(),
            borrowed: Vec::new(),
            kept: Vec::new(),
            storage: None,
        }
    }

    /// Where the bytes are of files that are not made: in the folder of the states, below the
    /// download folder.
    pub fn parts_file(&self) -> PathBuf {
        self.dir.join(STATE_FOLDER).join(format!("{}.parts", self.identity.info_hash()))
    }
}

/// What was found when a torrent's storage was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Pieces that need no check: the saved state vouches for them and their files look untouched,
    /// or the files are trusted.
    pub have: Bitfield,
    /// Pieces that may be there but must be hashed before anyone relies on them. Disjoint from
    /// `have`.
    pub check: Bitfield,
    /// Unfinished pieces of which the saved state says that blocks are on disk, where the files
    /// look untouched. Disjoint from `have`.
    pub partial: Vec<PartialPiece>,
    /// Bytes downloaded and uploaded over all earlier runs, as saved.
    pub downloaded: u64,
    /// See `downloaded`.
    pub uploaded: u64,
    /// Why a saved state was not believed, if there was one, in words for a log.
    pub distrust: Option<Distrust>,
    /// Files that are wanted have bytes in the part file: a [`Job::Arrange`] is due.
    pub arrange: bool,
    /// What its trackers have still to hear, as saved.
    pub tracker_events: TrackerEvents,
    /// What its files are called on the disk.
    pub names: FoundNames,
    /// Files that are longer than the torrent says, by number.
    pub too_long: Vec<usize>,
    /// Pieces with a byte in a file that the saved state knows, if there is none of the torrent's
    /// files, nor its part file; else 0.
    pub lost: u32,
}

impl Opened {
    /// Nothing of a torrent with so many pieces is there, and nothing is known of it.
    pub fn empty(piece_count: u32) -> Self {
        Self {
            have: Bitfield::none(piece_count),
            check: Bitfield::none(piece_count),
            partial: Vec::new(),
            downloaded: 0,
            uploaded: 0,
            distrust: None,
            arrange: false,
            tracker_events: TrackerEvents::default(),
            names: FoundNames::default(),
            too_long: Vec::new(),
            lost: 0,
        }
    }
}

/// Files that are called otherwise on the disk than in the metainfo, and that the user has not
/// renamed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundNames {
    /// Paths below the download folder that do not follow from the names alone: the disk does not
    /// tell the torrent's names apart, or an earlier version has stored the files so. By file,
    /// ascending.
    pub aliases: Vec<(usize, PathBuf)>,
    /// How many files have another path than the metainfo's.
    pub changed: usize,
    /// The first of them, and its path below the download folder.
    pub first: Option<(usize, PathBuf)>,
}

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
    /// Pieces that a check has still to hash; `None` if no check is going on.
    pub unchecked: Option<Bitfield>,
    /// What its trackers have still to hear; empty where the session's records keep that.
    pub tracker_events: TrackerEvents,
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
    /// fails its hash is not written.
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
    /// Hash a piece on disk and compare.
    Check {
        /// The torrent.
        torrent: Key,
        /// The piece.
        piece: PieceIndex,
        /// What it should be.
        expected: PieceHash,
    },
    /// Digest each block of a piece on disk, to find who sent the bad one.
    Digests {
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
    /// To [`Job::Check`]: whether the piece is good. A piece that is not wholly there is not good,
    /// which is no error.
    Checked {
        /// The torrent.
        torrent: Key,
        /// The piece.
        piece: PieceIndex,
        /// Whether it is good.
        result: Result<bool, StoreError>,
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

/// Files that were to be deleted and are still there.
#[derive(Clone, Debug)]
pub struct Leftovers {
    /// How many.
    pub files: usize,
    /// Why the first of them is.
    pub error: StoreError,
}

/// What the store was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreOp {
    /// Looking at the download folder or a file in it.
    Open,
    /// Making a folder or a file.
    Create,
    /// Reading data.
    Read,
    /// Writing data.
    Write,
    /// Giving a file its space.
    Allocate,
    /// Waiting until data is safe.
    Sync,
    /// Writing the torrent's state.
    Save,
    /// Giving a file another place.
    Move,
    /// Deleting a file.
    Delete,
}

impl StoreOp {
    const fn verb(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Allocate => "allocate space for",
            Self::Sync => "sync",
            Self::Save => "save state to",
            Self::Move => "move",
            Self::Delete => "delete",
        }
    }
}

/// Why a file is not read: another program has changed it since it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("another program has changed it")]
pub(crate) struct Changed;

impl Changed {
    pub(crate) fn error() -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self)
    }
}

/// A failure of the disk, with the file it is about.
#[derive(Clone, Debug, Error)]
#[error("cannot {} {}: {source}", op.verb(), path.display())]
pub struct StoreError {
    /// What was being done.
    pub op: StoreOp,
    /// To what.
    pub path: PathBuf,
    /// What the system said.
    pub source: Arc<io::Error>,
}

impl StoreError {
    /// Binds an I/O error to what was being done.
    pub fn new(op: StoreOp, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { op, path: path.into(), source: Arc::new(source) }
    }

    /// Whether it is about a file that was changed by another program, or cut off, since it was
    /// looked at.
    pub fn is_changed(&self) -> bool {
        self.source.get_ref().is_some_and(|why| why.is::<Changed>())
            || self.source.kind() == io::ErrorKind::UnexpectedEof
    }

    /// Whether what it is about is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }
}
