//! What the engine tells its user: few, bounded, coalesced, and honest about what was left out.

mod mask;
mod no_peers;
mod peer_gone;
mod port_mapping;
mod proxy;
mod queue;
mod read;
mod stats;
mod tracker_error;
mod web_seed;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::base::{
    geometry::PieceIndex,
    ids::{PeerId, ReadId, TorrentId},
    storage::StoreError,
};

pub use crate::base::distrust::Distrust;
pub use mask::AlertMask;
pub use no_peers::{NoPeers, NoPeersReason};
pub use peer_gone::PeerGoneKind;
pub use port_mapping::{MappingMethod, PortMapping};
pub use proxy::{ProxyError, ProxyErrorKind};
pub(crate) use queue::Alerts;
#[cfg(test)]
pub(crate) use queue::KEPT_A_TORRENT;
pub use read::{ReadBytes, ReadFailure};
pub use stats::{Phase, StopAt, StopReason, TorrentStats, TrackerStats, TrackerStatus};
pub use tracker_error::{TrackerError, TrackerErrorKind};
pub use web_seed::{WebSeedError, WebSeedErrorKind, WebSeedStats, WebSeedStatus};

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Alert {
    /// The storage is open and what is there is known; checking comes next if it must.
    Opened {
        /// The torrent.
        torrent: TorrentId,
        /// Pieces that the saved state vouches for.
        have: u32,
        /// Pieces that must be hashed first.
        to_check: u32,
        /// Why a saved state was not believed.
        distrust: Option<Distrust>,
    },
    /// Files of the torrent are called otherwise on the disk than in its metainfo: the platform
    /// does not take their names, they could mislead, the disk does not tell them apart, or an
    /// earlier version has stored them so. [`Engine::files`](crate::Engine::files) says where
    /// each is. Told once, when the torrent is first opened after it was added; not of
    /// files that the user has renamed.
    NamesChanged {
        /// The torrent.
        torrent: TorrentId,
        /// How many.
        files: usize,
        /// The first of them: its index.
        first: usize,
        /// Its path below the download folder.
        path: PathBuf,
    },
    /// Checking goes on: every
    /// [`AlertConf::progress_interval`](crate::conf::AlertConf::progress_interval) and every 64
    /// pieces, paused or not. Coalesced: only the newest is kept.
    Checking {
        /// The torrent.
        torrent: TorrentId,
        /// Pieces checked.
        done: u32,
        /// Pieces to check in all.
        total: u32,
    },
    /// Checking is over; the torrent connects to its peers.
    Checked {
        /// The torrent.
        torrent: TorrentId,
        /// Verified pieces.
        have: u32,
    },
    /// How the torrent gets on: every
    /// [`AlertConf::progress_interval`](crate::conf::AlertConf::progress_interval) while it is
    /// open and has peers. When the last has gone, or the torrent was paused, it comes until
    /// one has told that nothing moves any more, and then not again before there are peers.
    /// (What is there but unchecked is told of by [`Checking`](Self::Checking) and
    /// [`Checked`](Self::Checked); of a torrent without peers there is nothing to tell.)
    /// Coalesced: only the newest is kept.
    Progress {
        /// The torrent.
        torrent: TorrentId,
        /// How it stands.
        stats: TorrentStats,
    },
    /// The torrent has had no peer to download from for
    /// [`AlertConf::no_peers_after`](crate::conf::AlertConf::no_peers_after). It goes on trying.
    /// Once until there is such a peer again; [`TorrentStats::no_peers`] tells as long as it
    /// lasts. Never dropped.
    NoPeers {
        /// The torrent.
        torrent: TorrentId,
        /// For how long, and why.
        no_peers: NoPeers,
    },
    /// A piece was verified and written.
    PieceDone {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// A piece did not match its hash and is fetched again.
    PieceFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// How many peers had sent parts of it.
        contributors: usize,
    },
    /// Every piece that is wanted is verified and written: of all files but those with
    /// [`Priority::Skip`](crate::Priority::Skip). It comes again when more was wanted later and
    /// is there too. Never dropped.
    Finished {
        /// The torrent.
        torrent: TorrentId,
        /// How it stands.
        stats: TorrentStats,
    },
    /// The torrent has served as much as it was to, and is paused.
    StopReached {
        /// The torrent.
        torrent: TorrentId,
        /// What it has reached.
        why: StopReason,
    },
    /// The disk failed. The torrent stops requesting, keeps what it has and tries again. Never
    /// dropped.
    StorageFailed {
        /// The torrent.
        torrent: TorrentId,
        /// What failed.
        error: StoreError,
        /// When it is tried again; `None` if only the user can help (the storage could not be
        /// opened).
        retry_in: Option<Duration>,
    },
    /// Blocks for peers could not be read. Peers are told that they do not get them, and the
    /// torrent goes on. At most once a minute a torrent, however often it fails.
    ReadFailed {
        /// The torrent.
        torrent: TorrentId,
        /// What failed.
        error: StoreError,
    },
    /// The answer to a [read](crate::Verbs::read): one of each, whatever becomes of the torrent.
    /// Told whatever the mask is, since it was asked for. Never dropped.
    ReadDone {
        /// The torrent.
        torrent: TorrentId,
        /// What the read was told to be.
        read: ReadId,
        /// The file's index.
        file: usize,
        /// The first byte within the file.
        offset: u64,
        /// The bytes, each verified; or why there are none.
        result: Result<ReadBytes, ReadFailure>,
    },
    /// A file that was trusted ([`Trust::Files`](crate::Trust::Files)) could not be read or is not
    /// whole: everything is checked now. Or another program has changed a file, cut it off or
    /// taken it away while it was served: its peers are let go, and what is not as it was saved
    /// is checked now. Never dropped.
    Distrusted {
        /// The torrent.
        torrent: TorrentId,
        /// The read that failed.
        error: StoreError,
    },
    /// The disk works again, or the files of a torrent whose [data was gone](Self::DataGone) are
    /// back; the torrent goes on. Never dropped.
    StorageRecovered {
        /// The torrent.
        torrent: TorrentId,
    },
    /// The torrent had verified pieces, and now none of its files is where they were: most likely a
    /// drive is not mounted. It tells its trackers that it has stopped, lets its peers go,
    /// writes nothing, and looks again from time to time, at least once a minute;
    /// [`StorageRecovered`](Self::StorageRecovered) tells when the files are back.
    /// [`recheck`](crate::Verbs::recheck) and [`download_anew`](crate::Verbs::download_anew)
    /// make it go on without them. Never dropped.
    DataGone {
        /// The torrent.
        torrent: TorrentId,
        /// The download folder, which its data is gone from.
        dir: PathBuf,
    },
    /// Files are longer than the torrent says, which has everything that is wanted and has written
    /// nothing: they are served, and left as they are. (What is downloaded gets its length once
    /// it is complete.) Never dropped.
    FilesTooLong {
        /// The torrent.
        torrent: TorrentId,
        /// Their indices.
        files: Vec<usize>,
    },
    /// The torrent is in another folder now. What could not be deleted in the old one is told by
    /// [`DeleteFailed`](Self::DeleteFailed). Never dropped.
    StorageMoved {
        /// The torrent.
        torrent: TorrentId,
        /// The new download folder.
        dir: PathBuf,
    },
    /// The torrent could not be moved, and is where it was. Never dropped.
    StorageMoveFailed {
        /// The torrent.
        torrent: TorrentId,
        /// Why.
        error: StoreError,
    },
    /// A file has another path now. Never dropped.
    FileRenamed {
        /// The torrent.
        torrent: TorrentId,
        /// The file's index.
        file: usize,
        /// Its path below the download folder.
        path: PathBuf,
    },
    /// A file could not be renamed, and is where it was. It is also told of each name that a magnet
    /// link was added with ([`TorrentParams::renames`](crate::TorrentParams::renames)), if one of
    /// them turns out not to fit its files: then none is used. Never dropped.
    FileRenameFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The file's index.
        file: usize,
        /// Why.
        error: StoreError,
    },
    /// The torrent has files at paths at which another torrent of the session has them, too: it
    /// reads those, and does not write them. Never dropped.
    FilesShared {
        /// The torrent.
        torrent: TorrentId,
        /// The torrent that has the first of them.
        other: TorrentId,
        /// How many files they have in common, in all.
        files: usize,
        /// The first of them.
        path: PathBuf,
    },
    /// The torrent was removed [with its data](crate::Verbs::remove_with_data): nothing of it is
    /// left. Never dropped.
    DataDeleted {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Files of the torrent that were to be deleted are still there: they are no regular files, lie
    /// behind a symbolic link, or the system refused. Never dropped.
    DeleteFailed {
        /// The torrent.
        torrent: TorrentId,
        /// How many.
        files: usize,
        /// Why the first of them is.
        error: StoreError,
    },
    /// A peer is connected and greeted.
    PeerConnected {
        /// The torrent.
        torrent: TorrentId,
        /// Where it is.
        addr: SocketAddr,
        /// What it calls itself.
        id: PeerId,
    },
    /// A connection ended, or could not be made.
    PeerGone {
        /// The torrent.
        torrent: TorrentId,
        /// Where it was.
        addr: SocketAddr,
        /// Why, for programs.
        kind: PeerGoneKind,
        /// Why, in words.
        reason: String,
    },
    /// A peer sent bad data and will not be spoken to again.
    PeerBanned {
        /// The torrent.
        torrent: TorrentId,
        /// Where it is.
        addr: SocketAddr,
    },
    /// A tracker answered an announce.
    TrackerReplied {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker, without what in its address may be secret.
        tracker: String,
        /// How many peers it named.
        peers: usize,
    },
    /// A tracker could not be told, or refused.
    TrackerFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker, without what in its address may be secret.
        tracker: String,
        /// Why.
        error: TrackerError,
        /// When it is tried again; `None`: not until the user changes the trackers.
        retry_in: Option<Duration>,
    },
    /// A tracker answered, and has something for the user to read.
    TrackerWarning {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker, without what in its address may be secret.
        tracker: String,
        /// What it says: foreign words, to be escaped before they are shown.
        message: String,
    },
    /// A tracker answered a [scrape](crate::Verbs::scrape) (BEP 48).
    Scraped {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker, without what in its address may be secret.
        tracker: String,
        /// Peers that have everything.
        seeds: u32,
        /// Peers that do not.
        leeches: u32,
        /// How often it was downloaded.
        downloaded: u32,
    },
    /// A web seed (BEP 19) could not give a file, or sent bad data. The torrent goes on with other
    /// files of it, with others, and with peers.
    WebSeedFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The web seed, without what in its address may be secret.
        web_seed: String,
        /// Why.
        error: WebSeedError,
        /// When it is asked again, if it is left alone until then.
        retry_in: Option<Duration>,
    },
    /// How the metainfo of a torrent that was added by a magnet link is coming
    /// ([`Phase::Metadata`]). Coalesced: only the newest is kept.
    FetchingMetadata {
        /// The torrent.
        torrent: TorrentId,
        /// Connected peers that offer it.
        peers: usize,
        /// Those of them that have rejected a request or not answered, and are left alone for some
        /// seconds.
        resting: usize,
        /// Bytes that have come.
        have: u32,
        /// Its bytes, as peers claim; 0 before any has come.
        total: u32,
    },
    /// The metainfo of a torrent that was added by a magnet link is known
    /// ([`Engine::metainfo`](crate::Engine::metainfo)): peers have given it, or the user. What is
    /// on the disk is looked at next. Never dropped.
    MetadataReceived {
        /// The torrent.
        torrent: TorrentId,
    },
    /// The metainfo of a torrent has come from peers and is the one of its magnet link, but the
    /// torrent cannot be had: the torrent waits, and does nothing. Never dropped.
    MetadataRefused {
        /// The torrent.
        torrent: TorrentId,
        /// Why, in words.
        error: String,
    },
    /// Two torrents that were added by magnet links turned out to be the same hybrid (BEP 52), the
    /// one by its v1 hash and the other by its v2 hash. They are one from now on: the twin is
    /// removed, and its trackers and peers are this torrent's. Never dropped.
    Merged {
        /// The torrent that stays.
        torrent: TorrentId,
        /// The torrent that goes.
        twin: TorrentId,
    },
    /// The two versions of a hybrid torrent (BEP 52) have hashes of different data: this piece fits
    /// the one and not the other. No peer can have such a torrent, so it is paused. Never dropped.
    HashesContradict {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// The torrent's data is being made safe on disk, before its state is: so many of its files
    /// are. Told of torrents with hundreds of files that are new; [`Saved`](Self::Saved) comes
    /// when it is done. Coalesced: only the newest is kept.
    Saving {
        /// The torrent.
        torrent: TorrentId,
        /// Files that are safe, or need nothing.
        done: usize,
        /// Files in all.
        total: usize,
    },
    /// The torrent's state is safe on disk, and so is the data that it speaks of, unless the
    /// torrent keeps no state. Not told of how far a check is, which is saved, too.
    Saved {
        /// The torrent.
        torrent: TorrentId,
        /// Pieces that it speaks of.
        have: u32,
    },
    /// What the user said of a torrent, that it is to be here or how, is safe in the session
    /// folder.
    Recorded {
        /// The torrent.
        torrent: TorrentId,
    },
    /// The session folder was read, and its torrents are here. Never dropped.
    Restored {
        /// Torrents.
        torrents: usize,
        /// Damaged stretches and records of its log. What they said is lost, all else is here.
        damaged: u32,
        /// Bytes at its end that were being written when the last session ended.
        torn: u64,
        /// The log that was found has no header that can be read, so that nothing of it is known:
        /// it is kept here, and the session begins anew.
        set_aside: Option<PathBuf>,
    },
    /// The session folder cannot be written: what changes is not safe. It is tried again. Never
    /// dropped.
    SessionFailed {
        /// What failed.
        error: StoreError,
        /// When it is tried again; `None` if it is not, as the engine is shutting down or a
        /// torrent is too large to be recorded.
        retry_in: Option<Duration>,
    },
    /// Peers of the local network cannot be looked for on every interface (BEP 14): the group
    /// cannot be joined, or nothing be sent to it. All else goes on, and it is tried again. Told
    /// once of each kind of failure.
    LocalDiscoveryFailed {
        /// What the system says.
        error: std::io::ErrorKind,
    },
    /// The router of the network maps a port ([`Conf::port_mapping`](crate::Conf::port_mapping)):
    /// peers outside reach us by it. Told again when it is another.
    PortMapped {
        /// Which, and where to.
        mapping: PortMapping,
    },
    /// No router maps a port: there is none that would, or it refuses. Told once of each reason.
    PortMappingFailed {
        /// Why, in words.
        error: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The proxy does not work ([`Conf::proxy`](crate::Conf::proxy)): what goes through it waits,
    /// and goes no other way. It is tried again and again. Told once until it works.
    ProxyFailed {
        /// Why.
        error: ProxyError,
        /// Only datagrams are concerned: uTP, the DHT, trackers over UDP.
        datagrams: bool,
        /// When it is tried again first.
        retry_in: Duration,
    },
    /// The proxy works again.
    ProxyRecovered {
        /// For datagrams.
        datagrams: bool,
    },
    /// The torrent was removed and its files are closed. Not told of one whose removal could not be
    /// recorded before the engine had shut down: it is there at the next start. Terminal: never
    /// dropped.
    Removed {
        /// The torrent.
        torrent: TorrentId,
    },
    /// The place of an [`Verbs::mark`](crate::Verbs::mark) among the alerts: all that was told
    /// before it has come. Never dropped.
    Marked {
        /// The number it was given.
        mark: u64,
    },
    /// Alerts were left out because the program did not fetch them in time.
    Dropped {
        /// How many.
        count: u64,
    },
}
