//! What a reactor has done, counted. It does not know why it does it.

use crate::base::time::Instant;

/// What a reactor has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReactorStats {
    /// Calls of [`Reactor::poll`](super::Reactor::poll).
    pub turns: u64,
    /// Reads that brought data.
    pub reads: u64,
    /// Bytes they brought.
    pub bytes_read: u64,
    /// Writes that took data.
    pub writes: u64,
    /// Bytes they took.
    pub bytes_written: u64,
    /// Batches of blocks for peers that were at hand, and read without a worker.
    pub hot_reads: u64,
    /// Batches that a worker was asked to read.
    pub cold_reads: u64,
    /// Times that workers or other threads had woken the loop.
    pub wakes: u64,
    /// Longest turn without its wait, in microseconds.
    pub longest_turn_us: u64,
    /// The last turn without its wait, in microseconds.
    pub last_turn_us: u64,
    /// Datagrams of uTP, the DHT and trackers that the system dropped since the receive buffer of
    /// their socket was full: the loop came too late. `None`: the system does not tell (Linux
    /// does), or has more sockets than are looked through. It is looked up when it is asked for,
    /// at most once a second.
    pub datagrams_dropped: Option<u64>,
    /// Bytes of that buffer, of the family that has the smaller one; 0: no such socket is open.
    /// 4 MiB are asked for, and this is what the system says then: Linux gives no more than
    /// `net.core.rmem_max`, and says twice of what it gives, with its own part.
    pub receive_buffer: usize,
}

/// The same as it grows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    stats: ReactorStats,
}

impl Tally {
    pub(super) fn shown(&self) -> ReactorStats {
        self.stats
    }

    pub(super) fn note_read(&mut self, bytes: usize) {
        self.stats.reads += 1;
        self.stats.bytes_read += bytes as u64;
    }

    pub(super) fn note_written(&mut self, bytes: usize) {
        self.stats.writes += 1;
        self.stats.bytes_written += bytes as u64;
    }

    /// Bytes that writes took so far.
    pub(super) fn bytes_written(&self) -> u64 {
        self.stats.bytes_written
    }

    /// A batch of blocks was read without a worker.
    pub(super) fn note_hot_read(&mut self) {
        self.stats.hot_reads += 1;
    }

    /// A worker is asked to read a batch of blocks.
    pub(super) fn note_cold_read(&mut self) {
        self.stats.cold_reads += 1;
    }

    /// Workers or other threads have woken the loop.
    pub(super) fn note_wake(&mut self) {
        self.stats.wakes += 1;
    }

    /// So many datagrams were dropped so far, with so large a buffer.
    pub(super) fn note_dropped(&mut self, datagrams: Option<u64>, receive_buffer: usize) {
        self.stats.datagrams_dropped = datagrams;
        self.stats.receive_buffer = receive_buffer;
    }

    /// A turn ends that began at `start`.
    pub(super) fn note_turn(&mut self, start: Instant, end: Instant) {
        self.stats.turns += 1;
        let took = end.since(start).as_micros();
        self.stats.last_turn_us = u64::try_from(took).unwrap_or(u64::MAX);
        self.stats.longest_turn_us = self.stats.longest_turn_us.max(self.stats.last_turn_us);
    }
}
