//! What has come and gone, in bytes, blocks and pieces, over all ledgers of the torrent.

use super::Swarm;
use crate::{
    base::{rate::RateMeter, time::Instant},
    torrent::cx::Cx,
};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    down: RateMeter,
    up: RateMeter,
    wasted: u64,
    duplicate_blocks: u64,
    late_blocks: u64,
    unasked_blocks: u64,
    failed_pieces: u64,
}

impl Counters {
    pub(super) fn new(now: Instant) -> Self {
        let meter = RateMeter::new(now);
        Self {
            down: meter,
            up: meter,
            wasted: 0,
            duplicate_blocks: 0,
            late_blocks: 0,
            unasked_blocks: 0,
            failed_pieces: 0,
        }
    }

    /// Bytes of blocks that came.
    pub(crate) fn downloaded(&self) -> u64 {
        self.down.total()
    }

    /// Bytes of blocks that were sent.
    pub(crate) fn uploaded(&self) -> u64 {
        self.up.total()
    }

    /// Bytes that come a second.
    pub(crate) fn down_rate(&self, now: Instant) -> u64 {
        self.down.rate(now)
    }

    /// Bytes that are sent a second.
    pub(crate) fn up_rate(&self, now: Instant) -> u64 {
        self.up.rate(now)
    }

    /// Bytes that come a second, to be shown.
    pub(crate) fn down_shown(&self, now: Instant) -> u64 {
        self.down.shown(now)
    }

    /// Bytes that are sent a second, to be shown.
    pub(crate) fn up_shown(&self, now: Instant) -> u64 {
        self.up.shown(now)
    }

    /// Whether anything has come or was sent lately.
    pub(crate) fn is_flowing(&self, now: Instant) -> bool {
        self.down.is_flowing(now) || self.up.is_flowing(now)
    }

    /// Bytes that came and were of no use.
    pub(crate) fn wasted(&self) -> u64 {
        self.wasted
    }

    /// Bytes that came and were of use, as far as that is known.
    pub(crate) fn useful(&self) -> u64 {
        self.downloaded().saturating_sub(self.wasted)
    }

    /// Blocks that were there already.
    pub(crate) fn duplicate_blocks(&self) -> u64 {
        self.duplicate_blocks
    }

    /// Blocks of use whose orders had been called off.
    pub(crate) fn late_blocks(&self) -> u64 {
        self.late_blocks
    }

    /// Blocks that were never asked for.
    pub(crate) fn unasked_blocks(&self) -> u64 {
        self.unasked_blocks
    }

    pub(crate) fn failed_pieces(&self) -> u64 {
        self.failed_pieces
    }

    /// So many bytes that had come are of no use.
    pub(super) fn waste(&mut self, bytes: u64) {
        self.wasted += bytes;
    }

    /// A block of so many bytes was never asked for.
    pub(super) fn note_unasked(&mut self, bytes: u64) {
        self.unasked_blocks += 1;
        self.wasted += bytes;
    }

    /// A block of so many bytes was there already.
    pub(super) fn note_duplicate(&mut self, bytes: u64) {
        self.duplicate_blocks += 1;
        self.wasted += bytes;
    }

    /// A block came of use whose order had been called off.
    pub(super) fn note_late(&mut self) {
        self.late_blocks += 1;
    }

    pub(super) fn note_failed_piece(&mut self) {
        self.failed_pieces += 1;
    }
}

impl Swarm {
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// So many bytes of blocks were sent.
    pub(crate) fn note_sent(&mut self, payload: u64, cx: &mut Cx) {
        if payload > 0 {
            self.counters.up.add(cx.now, payload);
            cx.leases.note_up(cx.now, payload);
        }
    }

    /// So many bytes of blocks came from a peer without a session, of which nothing was wanted.
    pub(crate) fn waste(&mut self, len: u64, cx: &mut Cx) {
        if len > 0 {
            self.count_down(len, cx);
            self.counters.waste(len);
        }
    }

    /// Bytes of blocks came.
    pub(crate) fn count_down(&mut self, bytes: u64, cx: &mut Cx) {
        self.counters.down.add(cx.now, bytes);
        cx.leases.note_down(cx.now, bytes);
    }

    /// Goes on counting where the ledger before this one was.
    pub(crate) fn inherit_counters(&mut self, earlier: &Self) {
        self.counters = earlier.counters;
    }

    /// The same of what came and was sent, and not of what became of it.
    pub(crate) fn inherit_traffic(&mut self, earlier: &Self) {
        (self.counters.down, self.counters.up) = (earlier.counters.down, earlier.counters.up);
    }
}
