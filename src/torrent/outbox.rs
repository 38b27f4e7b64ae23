//! What torrents and their peers want of the world, in words of their own layer: a job done, bytes
//! sent, a wake-up. The engine turns them into effects.
//!
//! Knows connections and torrents by key only, and no effect: a torrent may not import the engine.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
};

use crate::base::{arena::Key, job::Job, time::Instant, timers::Deadlines};

/// The owner of a deadline that a torrent or one of its connections has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sleeper {
    /// A connection: its handshake, or the peer behind it.
    Peer(Key),
    Torrent(Key),
}

/// See the module. One for all torrents of an engine, so the order between them is kept.
#[derive(Debug)]
pub(crate) struct Outbox {
    jobs: VecDeque<Job>,
    /// Connections that have something to send and of which the driver has not been told.
    to_flush: BTreeSet<Key>,
    /// Connections that have blocks to be read for, in the order in which they are served.
    readers: VecDeque<Key>,
    deadlines: Deadlines<Sleeper>,
    /// Nodes of the DHT that peers have told (BEP 5), a few at most.
    dht_nodes: Vec<SocketAddr>,
}

/// Nodes of the DHT that wait to be taken.
const MAX_DHT_NODES: usize = 64;

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            jobs: VecDeque::new(),
            to_flush: BTreeSet::new(),
            readers: VecDeque::new(),
            deadlines: Deadlines::new(),
            dht_nodes: Vec::new(),
        }
    }

    /// A peer has a DHT node there.
    pub(crate) fn note_dht_node(&mut self, addr: SocketAddr) {
        if self.dht_nodes.len() < MAX_DHT_NODES {
            self.dht_nodes.push(addr);
        }
    }

    /// The DHT nodes that peers have told since the last time.
    pub(crate) fn take_dht_nodes(&mut self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.dht_nodes)
    }

    /// Has a worker do `job`.
    pub(crate) fn job(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// There are bytes to send on this connection.
    pub(crate) fn flush(&mut self, connection: Key) {
        self.to_flush.insert(connection);
    }

    /// There are blocks to be read for this connection, which sees to it that it is in line once.
    pub(crate) fn line_up_to_read(&mut self, connection: Key) {
        self.readers.push_back(connection);
    }

    /// The connection whose turn it is to have blocks read.
    #[must_use]
    pub(crate) fn poll_reader(&mut self) -> Option<Key> {
        self.readers.pop_front()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn times_in_line(&self, connection: Key) -> usize {
        self.readers.iter().filter(|&&reader| reader == connection).count()
    }

    /// Wakes `sleeper` at `at`. Earlier wake-ups of it stay, and are to be ignored by it.
    pub(crate) fn wake(&mut self, at: Instant, sleeper: Sleeper) {
        self.deadlines.push(at, sleeper);
    }

    /// A connection is over: what it had to send is not asked for.
    pub(crate) fn forget_flush(&mut self, connection: Key) {
        self.to_flush.remove(&connection);
    }

    #[must_use]
    pub(crate) fn poll_job(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    #[must_use]
    pub(crate) fn poll_flush(&mut self) -> Option<Key> {
        self.to_flush.pop_first()
    }

    /// The next wake-up that is due, and its time.
    #[must_use]
    pub(crate) fn poll_due(&mut self, now: Instant) -> Option<(Instant, Sleeper)> {
        self.deadlines.pop_due(now)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Whether connections have something to send of which the driver has not been told.
    pub(crate) fn has_flushes(&self) -> bool {
        !self.to_flush.is_empty()
    }

    /// Whether connections have blocks to be read for.
    pub(crate) fn has_readers(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Whether no job waits to be fetched.
    pub(crate) fn has_no_jobs(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether nothing waits to be fetched but wake-ups.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_fetched(&self) -> bool {
        self.jobs.is_empty() && self.to_flush.is_empty()
    }
}
