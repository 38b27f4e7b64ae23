//! Every limit and choice, with its default and the reason for it.

mod descriptors;
#[cfg(test)]
mod tests;
mod validate;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    alert::StopAt,
    base::{bucket::Limits, job::Allocation},
};

pub use validate::ConfError;

/// How an engine behaves and what it may use. Everything that a peer or a file controls has its
/// bound here.
///
/// ```
/// use cratetorrent::Conf;
///
/// let conf = Conf { max_links: 50, ..Conf::default() };
/// assert!(conf.validate().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Conf {
    /// Addresses to accept peers on; port 0 lets the system choose. Empty: accept no peers.
    pub listen: Vec<SocketAddr>,
    /// The addresses of ours that everything leaves from: connections to peers and trackers, and
    /// datagrams. The first of a family is used; a family of which there is none is not used
    /// at all. Empty: as the system likes. What cannot leave from there does not leave.
    /// Looking names up is the system's, and not held to this.
    pub bind_addrs: Vec<IpAddr>,
    /// The network interface that everything leaves and comes by, on Linux (`SO_BINDTODEVICE`;
    /// elsewhere nothing leaves). Names are looked up by the system, as ever. Default: any.
    pub bind_interface: Option<String>,
    /// The first bytes of our peer id (BEP 20); the rest is random. At most 20 bytes, printable.
    pub client: String,

    /// Connections in all, both directions, handshaking ones included. Default 500.
    pub max_links: usize,
    /// Connections with one host, both directions, so that none takes all. A host is an IPv4
    /// address or an IPv6 /64. Default 64: more than one household behind an address needs,
    /// and an eighth of [`max_links`](Self::max_links).
    pub max_links_per_host: usize,
    /// Connections a torrent, at most 65,535. Default 200.
    pub max_links_per_torrent: usize,
    /// Outgoing connections being made at a time, over all torrents, until the other side answers.
    /// Default 50.
    pub max_dials: usize,
    /// Accepted connections that have not said which torrent they want. Default 100. One host may
    /// have half of them.
    pub max_greetings: usize,
    /// How long a connection may take to be made and greeted. Default 10 s.
    pub greeting_timeout: Duration,
    /// Silence after which a peer is let go (BEP 3: keep-alives every two minutes). Default 140 s.
    pub idle_timeout: Duration,
    /// Our own silence after which we send a keep-alive. Default 100 s.
    pub keep_alive: Duration,
    /// First pause before a peer is dialled again; it doubles each time. Default 1 s.
    pub reconnect_min: Duration,
    /// Longest pause before a peer is dialled again. Default 5 min.
    pub reconnect_max: Duration,
    /// Dials in a row without a useful answer after which a peer is forgotten. Default 8.
    pub max_dial_failures: u32,
    /// Peers known, connected or not, a torrent. Default 3000.
    pub max_candidates: usize,
    /// How long a peer that sent bad data is banned the first time; it doubles each time. Default
    /// 1 h: a peer that goes on with it costs one bad piece an hour, and the next peer at its
    /// address is not shut out for long.
    pub ban_time: Duration,
    /// The longest such ban, and how long after one the next is longer. Default 24 h, after which
    /// an address has often changed hands.
    pub max_ban_time: Duration,

    /// How fast bytes may come and go, over all torrents and peers; see
    /// [`Verbs::set_limits`](crate::Verbs::set_limits). Default: no limits.
    pub limits: Limits,
    /// The same for each peer that has no limits of its own. Default: no limits.
    pub peer_limits: Limits,

    /// The longest frame a peer may send, bytes after the length. A bitfield of 2^21 pieces is 256
    /// KiB. Default 512 KiB.
    pub max_frame: u32,
    /// The longest range a peer may request. Default 128 KiB.
    pub max_request: u32,
    /// Requests of one peer waiting for us. More are rejected (BEP 6) or dropped. Default 512.
    pub max_incoming_requests: usize,
    /// Pieces that a peer with fewer pieces may ask for while it is choked, at most three times
    /// each (BEP 6 allowed fast). Only as many peers get them at a time as there are
    /// optimistic slots: one in five, and one at least. 0 for none, at most 100. Default 5.
    pub allowed_fast: usize,
    /// Whether pieces at hand (just read from disk for a peer, or just completed) are suggested
    /// to the peers that lack them (BEP 6). It saves reading from a slow disk, but makes peers
    /// fetch the same pieces instead of the rarest. Default off.
    pub suggest: bool,
    /// Bytes of blocks read for one peer at once, and so waiting to be sent to it at most. Default
    /// 256 KiB: larger ones fall out of the caches between the read and the send.
    pub max_unsent: usize,
    /// Bytes of blocks that are being read or wait to be sent, over all peers. Above half of it,
    /// what a peer does not take at once is given up and read again when it does. Default 16
    /// MiB.
    pub max_upload_memory: usize,

    /// Peers that a torrent serves at a time, if more want it; `None`: 64, or fewer under an
    /// upload limit. Default `None`. They are shared out among hosts first (an IPv4 address or
    /// an IPv6 /64): one has no second slot while a peer of another waits, unless it pays
    /// for it by giving; and none stays empty.
    pub upload_slots: Option<usize>,
    /// Which peers a torrent that has everything serves. Default [`SeedChoking::RoundRobin`].
    pub seed_choking: SeedChoking,
    /// How often it is thought over who is served while others wait, and the least time that
    /// anybody is (BEP 3). Default 10 s.
    pub choke_interval: Duration,
    /// How long a peer that has not earned it is tried (BEP 3, optimistic unchoking), and how long
    /// one that takes nothing keeps its slot while others wait. Default 30 s.
    pub optimistic_interval: Duration,
    /// The least time of a turn in [`SeedChoking::RoundRobin`]; without its quota a turn lasts
    /// twice as long. Default 60 s.
    pub seed_turn: Duration,
    /// The bytes of such a turn. Default 8 MiB.
    pub seed_quota: u64,
    /// How often a torrent whose connections are full (above 90 %) lets the least useful go, 4 %
    /// or one, if it knows others to try. Default 5 min.
    pub turnover_interval: Duration,
    /// Downloads at a time, of those torrents that the queue looks after
    /// ([`TorrentParams::queued`](crate::TorrentParams::queued)); others are neither counted
    /// nor held. The first by position run. Default 3: more only share the same line and take
    /// longer each.
    pub max_active_downloads: usize,
    /// Seeds at a time, of the same torrents. Default 5.
    pub max_active_seeds: usize,
    /// Both together, those included that do not count since they are slow. Downloads come first.
    /// Default 500.
    pub max_active: usize,
    /// Torrents being opened or checked at a time, whether the queue looks after them or not.
    /// Default 3, so that one that waits for a slow disk does not hold up all others.
    pub max_active_checks: usize,
    /// A torrent that moves fewer bytes per second than this for a minute does not count, and the
    /// next runs beside it. 0: all count. Default 2048.
    pub slow_rate: u64,
    /// How long a seed of the queue runs before it makes room for one that waits. Default 30 min.
    pub seed_queue_turn: Duration,
    /// When torrents that do not say otherwise
    /// ([`TorrentParams::stop`](crate::TorrentParams::stop)) have served enough and are paused.
    /// Default never.
    pub stop: StopAt,
    /// Labels of a torrent. Default 32.
    pub max_labels: usize,
    /// Bytes of a label. Default 128.
    pub max_label_len: usize,
    /// How long a peer that wants nothing of us and we of it is kept when connections are scarce.
    /// Default 10 min.
    pub inactivity_timeout: Duration,

    /// Blocks asked of one peer at a time, at most. Default 500.
    pub max_pipeline: usize,
    /// Blocks asked of a peer before anything is known of it. Less is better where a block takes
    /// seconds. Default 8.
    pub initial_pipeline: usize,
    /// How much data to keep on order beyond the round trip. Many clients serve in pulses of up to
    /// a second. Default 2 s.
    pub queue_time: Duration,
    /// Bytes to keep on order beyond twice the round trip, at most: what waits longer only falls
    /// out of the caches. Default 2.25 MiB.
    pub queue_len: usize,
    /// Shortest time without an asked-for block after which a peer counts as snubbing. Default 3
    /// s.
    pub request_timeout_min: Duration,
    /// Longest such time. Default 60 s.
    pub request_timeout_max: Duration,
    /// How long a snubbing peer is kept before it makes room for others. Default 90 s.
    pub snub_patience: Duration,
    /// Peers that a block may be asked of at once near the end. Default 3.
    pub endgame_copies: u8,

    /// Trackers a torrent; further ones are left out. Default 100.
    pub max_trackers: usize,
    /// Whether all trackers of a tier are told, instead of the first that answers (BEP 12). Not of
    /// private torrents. Default off.
    pub announce_to_all_trackers: bool,
    /// Whether trackers of all tiers are told, instead of those of the first in which one answers
    /// (BEP 12). Not of private torrents. Default off.
    pub announce_to_all_tiers: bool,
    /// Questions to trackers at a time, over all torrents. Four times as many when torrents take
    /// their leave. Default 50.
    pub max_announces: usize,
    /// Announces a second, over all torrents, when there are more than
    /// [`max_announces`](Self::max_announces) to be made: ten thousand torrents do not call on
    /// their trackers all at once. Default 100.
    pub announces_per_second: u32,
    /// The shortest interval between two announces to a tracker, whatever it says. Default 60 s.
    pub min_announce_interval: Duration,
    /// The longest interval, whatever it says. Default 2 h.
    pub max_announce_interval: Duration,
    /// Peers asked for in an announce of a torrent that can use some. Default 200.
    pub num_want: u32,
    /// How long a tracker may take to hear that a torrent stops, and all of them when the engine
    /// shuts down. Default 5 s.
    pub stopped_timeout: Duration,
    /// How long the drop of the last [`EngineHandle`](crate::EngineHandle) waits for the engine's
    /// end: for connections to be closed, trackers told and states saved. More than
    /// `stopped_timeout`, so that only a disk that does not answer can be cut off. Default 30
    /// s. [`EngineHandle::close`](crate::EngineHandle::close) takes a time of its own.
    pub close_timeout: Duration,
    /// How long a tracker may take to answer, with looking its name up, all its addresses and all
    /// redirects. At least 1 s. Default 30 s, the most that BEP 15's first repetition (after
    /// 15 s) is worth waiting for.
    pub tracker_timeout: Duration,
    /// The longest reply of a tracker, bytes, as it comes and after it is unpacked. At least 1
    /// KiB, at most 64 MiB. Default 1 MiB: some 100,000 peers.
    pub max_tracker_reply: usize,
    /// Redirects that are followed for one question to a tracker. At most 20. Default 5.
    pub max_tracker_redirects: u32,
    /// Peers that are taken from one reply of a tracker. Default 1000, five times what trackers
    /// give.
    pub max_tracker_peers: usize,
    /// Whether addresses of trackers are kept from reaching services of this machine and its
    /// network: those on this machine are asked at `/announce…` only, and a redirect from the
    /// internet does not lead to a local address. Default on.
    pub ssrf_mitigation: bool,
    /// Certificates of authorities to believe for HTTPS beside Mozilla's list, in DER, or any
    /// number in PEM. Certificates are always verified. Default: none.
    pub tls_roots: Vec<Vec<u8>>,
    /// What we call ourselves towards HTTP servers. Printable ASCII, at most 128 characters; none
    /// if empty. Default `cratetorrent/` and the version.
    pub user_agent: String,

    /// Bytes of piece data in memory: arriving, waiting for a worker, being written, or in buffers
    /// that lie idle, which they do for ten seconds at most. Default 32 MiB.
    pub max_piece_memory: usize,
    /// Pieces above this are hashed and written in runs of this size; a multiple of 16 KiB.
    /// Default 1 MiB.
    pub run_len: u32,
    /// Worker threads for disk and hashing; 0 for one a core, at most four. Default 0.
    pub workers: usize,
    /// How long a worker may wait for a second and third piece to hash at once; it does not wait
    /// for what cannot come. Default 3 ms.
    pub lane_wait: Duration,
    /// Files held open. Default 40.
    pub max_open_files: usize,
    /// How files get their space. Default sparse.
    pub allocation: Allocation,
    /// Pieces checked at a time. Default 16.
    pub max_checks: usize,
    /// How often a changing torrent's state is saved. Default 10 s.
    pub save_interval: Duration,
    /// The folder that the session is kept in: its torrents with what
    /// [`TorrentParams`](crate::TorrentParams) says of them and how far they are; and of the
    /// session as a whole what a verb has set: limits, limits of peers by default, active limits,
    /// and when torrents have served enough by default. Where no verb has set anything these
    /// settings count. Not kept are a torrent's upload slots and seed choking, limits of
    /// single peers, bans, and which addresses may connect. What was there is restored at the
    /// start. One session at a time may use it. Default `None`: nothing is kept but the
    /// torrents' own state files. It is for [`Reactor`](crate::Reactor) and
    /// [`spawn`](crate::spawn()); another driver does what they do by
    /// [`Engine::restore`](crate::Engine::restore).
    pub session_dir: Option<std::path::PathBuf>,
    /// Pause before a failed disk is tried again; it doubles up to a minute. Default 2 s.
    pub disk_retry: Duration,
    /// Pieces that failed and wait for a peer to blame, a torrent. Default 64.
    pub max_blames: usize,

    /// Bytes read from one socket at once, and the size of the scratch they are read into. Default
    /// 256 KiB.
    pub read_len: usize,
    /// Reads of one socket in a row before the others get their turn. Default 4.
    pub reads_a_turn: usize,

    /// Which alerts are wanted. Default: all but the per-piece and per-peer ones.
    pub alerts: crate::alert::AlertMask,
    /// Alerts waiting to be fetched; then the unimportant ones are counted and dropped. Beside
    /// these wait the newest of each kind that is never dropped, a few a torrent, and the
    /// answers to verbs. Default 1000.
    pub max_alerts: usize,
    /// How long a download has no peer to download from before that is told
    /// ([`Alert::NoPeers`](crate::Alert::NoPeers)). Default 30 s: by then each peer has been
    /// dialled, and trackers have answered or not.
    pub no_peers_after: Duration,
    /// How often progress is told. Default 500 ms.
    pub progress_interval: Duration,
}

/// Which peers a torrent that has everything serves, when more want it than there are slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeedChoking {
    /// One after the other: a peer keeps its slot for a turn of time and bytes, then the peer that
    /// has waited longest gets it. Spreads what is sent evenly, and makes it hard to get everything
    /// without giving anything to others.
    #[default]
    RoundRobin,
    /// The peers that take it fastest, and a few others to see how fast they do. Fills the line.
    FastestUpload,
    /// Those near the start and near the end of their download, by their word or by what we sent
    /// them; peers in between can trade with others.
    AntiLeech,
}

impl Default for Conf {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            bind_addrs: Vec::new(),
            bind_interface: None,
            client: "-CT0200-".into(),
            max_links: 500,
            max_links_per_host: 64,
            max_links_per_torrent: 200,
            max_dials: 50,
            max_greetings: 100,
            greeting_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(140),
            keep_alive: Duration::from_secs(100),
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(300),
            max_dial_failures: 8,
            max_candidates: 3000,
            ban_time: Duration::from_secs(3600),
            max_ban_time: Duration::from_secs(24 * 3600),
            limits: Limits::default(),
            peer_limits: Limits::default(),
            max_frame: 512 * 1024,
            max_request: 128 * 1024,
            max_incoming_requests: 512,
            allowed_fast: 5,
            suggest: false,
            max_unsent: 256 * 1024,
            max_upload_memory: 16 << 20,
            upload_slots: None,
            seed_choking: SeedChoking::RoundRobin,
            choke_interval: Duration::from_secs(10),
            optimistic_interval: Duration::from_secs(30),
            seed_turn: Duration::from_secs(60),
            seed_quota: 8 << 20,
            turnover_interval: Duration::from_secs(300),
            max_active_downloads: 3,
            max_active_seeds: 5,
            max_active: 500,
            max_active_checks: 3,
            slow_rate: 2048,
            seed_queue_turn: Duration::from_secs(1800),
            stop: StopAt::default(),
            max_labels: 32,
            max_label_len: 128,
            inactivity_timeout: Duration::from_secs(600),
            max_pipeline: 500,
            initial_pipeline: 8,
            queue_time: Duration::from_secs(2),
            queue_len: 2304 * 1024,
            request_timeout_min: Duration::from_secs(3),
            request_timeout_max: Duration::from_secs(60),
            snub_patience: Duration::from_secs(90),
            endgame_copies: 3,
            max_trackers: 100,
            announce_to_all_trackers: false,
            announce_to_all_tiers: false,
            max_announces: 50,
            announces_per_second: 100,
            min_announce_interval: Duration::from_secs(60),
            max_announce_interval: Duration::from_secs(2 * 3600),
            num_want: 200,
            stopped_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(30),
            tracker_timeout: Duration::from_secs(30),
            max_tracker_reply: 1 << 20,
            max_tracker_redirects: 5,
            max_tracker_peers: 1000,
            ssrf_mitigation: true,
            tls_roots: Vec::new(),
            user_agent: concat!("cratetorrent/", env!("CARGO_PKG_VERSION")).into(),
            max_piece_memory: 32 << 20,
            run_len: 1 << 20,
            workers: 0,
            lane_wait: Duration::from_millis(3),
            max_open_files: 40,
            allocation: Allocation::Sparse,
            max_checks: 16,
            save_interval: Duration::from_secs(10),
            session_dir: None,
            disk_retry: Duration::from_secs(2),
            max_blames: 64,
            read_len: 256 * 1024,
            reads_a_turn: 4,
            alerts: crate::alert::AlertMask::default(),
            max_alerts: 1000,
            no_peers_after: Duration::from_secs(30),
            progress_interval: Duration::from_millis(500),
        }
    }
}
