//! What a shard leases of what all shards of a session share: memory for pieces and for uploads,
//! its part of the connections, limits of rate, our own address, the user's filter.
//!
//! With one engine the lease is everything there is. With one a core, a cluster sizes these and
//! nothing else; what a shard owns alone is in [`Cx`](super::cx::Cx). It knows no torrent.

use std::sync::Arc;

use crate::{
    base::{
        geometry::BLOCK_LEN, ip_filter::IpFilter, ports::ListenPorts, rate::RateMeter,
        time::Instant,
    },
    conf::Conf,
    torrent::{
        external::External, info::InfoMemory, piece_memory::Memory, read_line::ReadLine,
        upload_memory::UploadMemory,
    },
};

/// Blocks that a peer may have on order however many others there are, if there is memory: a
/// quarter of a run. With four, 512 quick peers were spoken to once for every three blocks, which
/// cost more than the blocks. A slow peer has fewer on order by itself.
const MIN_SHARE: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Leases {
    pieces: Memory,
    uploads: UploadMemory,
    infos: InfoMemory,
    reads: ReadLine,
    /// A torrent could not get memory since it was last given back.
    short: bool,
    /// Sessions that may ask for blocks, over all torrents.
    fetchers: usize,
    /// Connections in all, as far as was told.
    connections: usize,
    /// Connections with web seeds, over all torrents.
    web_connections: usize,
    /// Some of what we send is limited.
    up_limited: bool,
    /// Bytes of blocks that came and went, over all torrents.
    down: RateMeter,
    up: RateMeter,
    /// Our own address, as others see it.
    external: External,
    /// Ports we listen on, as told to peers and trackers.
    ports: ListenPorts,
    /// The addresses that the user wants nothing to do with; each torrent's candidates have it
    /// too.
    filter: Arc<IpFilter>,
}

impl Leases {
    /// All that these settings allow.
    pub(crate) fn new(conf: &Conf, now: Instant) -> Self {
        Self {
            pieces: Memory::new(conf.requests.max_piece_memory),
            uploads: UploadMemory::new(conf.uploads.max_memory),
            infos: InfoMemory::new(conf.uploads.max_metadata_memory),
            reads: ReadLine::default(),
            short: false,
            fetchers: 0,
            connections: 0,
            web_connections: 0,
            up_limited: false,
            down: RateMeter::new(now),
            up: RateMeter::new(now),
            external: External::default(),
            ports: ListenPorts::default(),
            filter: Arc::default(),
        }
    }

    /// Memory of pieces that are on order or on their way to the disk.
    pub(crate) fn pieces(&self) -> &Memory {
        &self.pieces
    }

    pub(crate) fn pieces_mut(&mut self) -> &mut Memory {
        &mut self.pieces
    }

    /// Memory of blocks that are read for peers or wait to be sent.
    pub(crate) fn uploads(&self) -> &UploadMemory {
        &self.uploads
    }

    pub(crate) fn uploads_mut(&mut self) -> &mut UploadMemory {
        &mut self.uploads
    }

    /// Memory of info dictionaries that are read back for peers.
    pub(crate) fn infos(&self) -> &InfoMemory {
        &self.infos
    }

    /// What the user reads.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn reads(&self) -> &ReadLine {
        &self.reads
    }

    pub(crate) fn reads_mut(&mut self) -> &mut ReadLine {
        &mut self.reads
    }

    /// A torrent could not get memory for a piece.
    pub(crate) fn note_shortage(&mut self) {
        self.short = true;
    }

    /// Whether a torrent could not get memory for a piece since some came back.
    pub(crate) fn is_short(&self) -> bool {
        self.short
    }

    /// The same, and forgets it: some came back.
    pub(crate) fn take_shortage(&mut self) -> bool {
        std::mem::take(&mut self.short)
    }

    /// A session may ask for blocks now, or may not any more.
    pub(crate) fn count_fetcher(&mut self, fetches: bool) {
        self.fetchers = if fetches { self.fetchers + 1 } else { self.fetchers.saturating_sub(1) };
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn fetchers(&self) -> usize {
        self.fetchers
    }

    /// How many blocks one peer may have on order so that all who fetch find memory. What is on
    /// order begins and ends within a run, so two runs of a peer's part of the memory hold
    /// little, unless there is too little of it for that.
    pub(crate) fn fair_share(&self, conf: &Conf) -> usize {
        let part = conf.requests.max_piece_memory / self.fetchers.max(1);
        let filled = part.saturating_sub(2 * conf.requests.run_len as usize).max(part / 4);
        (filled / BLOCK_LEN as usize).max(MIN_SHARE)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    pub(crate) fn set_connections(&mut self, connections: usize) {
        self.connections = connections;
    }

    /// A connection with a web seed is to be made; false if there are `limit` already.
    pub(crate) fn lease_web_connection(&mut self, limit: usize) -> bool {
        let has_room = self.web_connections < limit;
        self.web_connections += usize::from(has_room);
        has_room
    }

    /// A connection with a web seed is over.
    pub(crate) fn end_web_connection(&mut self) {
        self.web_connections = self.web_connections.saturating_sub(1);
    }

    /// Connections with web seeds.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn web_connections(&self) -> usize {
        self.web_connections
    }

    /// Whether some of what we send is limited.
    pub(crate) fn is_up_limited(&self) -> bool {
        self.up_limited
    }

    pub(crate) fn set_up_limited(&mut self, limited: bool) {
        self.up_limited = limited;
    }

    /// Bytes of blocks came.
    pub(crate) fn note_down(&mut self, now: Instant, bytes: u64) {
        self.down.add(now, bytes);
    }

    /// Bytes of blocks went.
    pub(crate) fn note_up(&mut self, now: Instant, bytes: u64) {
        self.up.add(now, bytes);
    }

    pub(crate) fn down(&self) -> &RateMeter {
        &self.down
    }

    pub(crate) fn up(&self) -> &RateMeter {
        &self.up
    }

    pub(crate) fn external(&self) -> &External {
        &self.external
    }

    pub(crate) fn external_mut(&mut self) -> &mut External {
        &mut self.external
    }

    pub(crate) fn ports(&self) -> ListenPorts {
        self.ports
    }

    pub(crate) fn set_ports(&mut self, ports: ListenPorts) {
        self.ports = ports.with_mapped(self.ports.mapped());
    }

    /// The router maps this port, or none.
    pub(crate) fn set_mapped_port(&mut self, mapped: Option<u16>) {
        self.ports = self.ports.with_mapped(mapped);
    }

    pub(crate) fn filter(&self) -> &Arc<IpFilter> {
        &self.filter
    }

    pub(crate) fn set_filter(&mut self, filter: Arc<IpFilter>) {
        self.filter = filter;
    }
}
