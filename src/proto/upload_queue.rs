//! What a peer has asked us for and not got yet: bounded, in order, cancellable, handed out in
//! batches. Knows no disk and no socket.

use std::collections::VecDeque;

use crate::base::{
    geometry::{BLOCK_LEN, Block},
    job::READ_GAP,
};

/// Bytes of a peer's first batch, before anything is known of how fast it takes them.
const FIRST_BATCH: usize = 4 * SLOT;
/// What a block takes up in a batch.
const SLOT: usize = READ_GAP + BLOCK_LEN as usize;

/// Requests waiting, and blocks that a worker reads for us.
#[derive(Debug)]
pub(crate) struct UploadQueue {
    waiting: VecDeque<Block>,
    /// The batch that is being read, in its order, and whether each block is still wanted.
    reading: Vec<(Block, bool)>,
    /// It is the rest of a block that is on its way.
    reading_owed: bool,
    /// Bytes that the next batch may hold.
    batch: usize,
    /// Of the last batch nothing was sent yet.
    fresh: bool,
}

impl Default for UploadQueue {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            reading: Vec::new(),
            reading_owed: false,
            batch: FIRST_BATCH,
            fresh: false,
        }
    }
}

impl UploadQueue {
    /// Requests that are not being read.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Appends a request; false if there are too many.
    #[must_use]
    pub(crate) fn push(&mut self, block: Block, limit: usize) -> bool {
        let room = self.waiting.len() + self.reading.len() < limit;
        if room {
            self.waiting.push_back(block);
        }
        room
    }

    /// The peer does not want it any more; false if it is not here (any more).
    pub(crate) fn cancel(&mut self, block: Block) -> bool {
        if let Some(at) = self.waiting.iter().position(|&b| b == block) {
            self.waiting.remove(at);
            return true;
        }
        // Being read: it keeps its place until then, or cancelling would be a way to have more read
        // than is allowed.
        let wanted = self.reading.iter_mut().find(|(b, wanted)| *b == block && *wanted);
        wanted.map(|(_, wanted)| *wanted = false).is_some()
    }

    /// Whether a batch could be read now.
    pub(crate) fn is_due(&self) -> bool {
        self.reading.is_empty() && !self.waiting.is_empty()
    }

    /// Whether a batch is being read.
    pub(crate) fn is_reading(&self) -> bool {
        !self.reading.is_empty()
    }

    /// The next blocks to read: one at least, and otherwise no more than take up `limit` bytes.
    pub(crate) fn poll_batch(&mut self, limit: usize) -> Vec<Block> {
        let limit = self.batch.min(limit);
        let mut batch = Vec::new();
        let mut len = 0;
        while self.reading.is_empty()
            && let Some(block) = self.waiting.front()
        {
            len += READ_GAP + block.len as usize;
            if len > limit && !batch.is_empty() {
                break;
            }
            batch.extend(self.waiting.pop_front());
        }
        if self.reading.is_empty() {
            self.reading.extend(batch.iter().map(|&block| (block, true)));
        }
        batch
    }

    /// The rest of a block that is on its way is being read: it cannot be cancelled.
    pub(crate) fn read_owed(&mut self, block: Block) {
        self.reading.push((block, false));
        self.reading_owed = true;
    }

    /// The batch was read. Returns its blocks in order and which of them are still wanted; `None`
    /// for the rest of a block that is owed.
    #[must_use]
    pub(crate) fn handle_read(&mut self) -> Option<Vec<(Block, bool)>> {
        self.fresh = true;
        let blocks = std::mem::take(&mut self.reading);
        if std::mem::take(&mut self.reading_owed) { None } else { Some(blocks) }
    }

    /// After something was sent, so many bytes are `left`. How much of a batch goes at once tells
    /// how large the next should be: what a slow peer does not take lies in memory for nothing.
    pub(crate) fn handle_sent(&mut self, left: usize, limit: usize) {
        if !std::mem::take(&mut self.fresh) {
            return;
        }
        let batch =
            if left == 0 { self.batch.saturating_mul(2) } else { self.batch.saturating_sub(left) };
        self.batch = batch.clamp(SLOT, limit.max(SLOT));
    }

    /// These were to be sent and were not: they come first again.
    pub(crate) fn push_back(&mut self, blocks: &[Block]) {
        for &block in blocks.iter().rev() {
            self.waiting.push_front(block);
        }
    }

    /// Forgets everything, returning what will not be answered.
    pub(crate) fn clear(&mut self) -> Vec<Block> {
        let given_up =
            |(block, wanted): &mut (Block, bool)| std::mem::take(wanted).then_some(*block);
        let mut all: Vec<Block> = self.reading.iter_mut().filter_map(given_up).collect();
        all.extend(std::mem::take(&mut self.waiting));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::Geometry;

    fn block(n: u32) -> Block {
        Geometry::new(1 << 22, 1 << 22)
            .unwrap()
            .nth_block(Geometry::new(1 << 22, 1 << 22).unwrap().piece(0).unwrap(), n)
            .unwrap()
    }

    #[test]
    fn batches_cancels_and_limits() {
        let b = block;
        let mut u = UploadQueue::default();
        assert!(u.push(b(0), 3) && u.push(b(1), 3) && u.push(b(2), 3) && !u.push(b(3), 3));
        assert!(u.cancel(b(1)) && !u.cancel(b(1)));
        assert_eq!(u.poll_batch(40_000), [b(0), b(2)]);
        assert!(u.is_reading() && !u.is_due());
        assert!(u.push(b(3), 3) && !u.is_due(), "one batch at a time");
        assert_eq!(u.poll_batch(40_000), []);
        assert!(u.cancel(b(0)), "cancelled while being read");
        assert!(!u.push(b(4), 3), "which takes up its place until then");
        assert_eq!(u.handle_read().unwrap(), [(b(0), false), (b(2), true)]);
        assert_eq!(u.poll_batch(1), [b(3)], "one in any case");
        assert!(u.push(b(1), 3));
        assert_eq!(u.clear(), [b(3), b(1)]);
        assert_eq!(u.handle_read().unwrap(), [(b(3), false)]);
        u.read_owed(b(5));
        assert!(u.is_reading() && !u.cancel(b(5)) && u.clear().is_empty());
        assert_eq!(u.handle_read(), None);
        assert_eq!(u.len(), 0);
    }

    #[test]
    fn batches_are_as_large_as_the_peer_takes_at_once() {
        let limit = 256 * 1024;
        let mut u = UploadQueue::default();
        let next = |u: &mut UploadQueue, left: usize| {
            (0..64).for_each(|n| assert!(u.push(block(n), 1000)));
            let blocks = u.poll_batch(limit).len();
            let _ = u.handle_read();
            u.clear();
            u.handle_sent(left, limit);
            u.handle_sent(1, limit);
            blocks
        };
        let sizes: Vec<usize> =
            [0, 0, 0, 0, 200_000, 0, 100_000, 100_000].map(|left| next(&mut u, left)).into();
        assert_eq!(sizes, [4, 8, 15, 15, 15, 3, 7, 1]);
    }

    #[test]
    fn unsent_block_comes_first_again() {
        let b = block;
        let mut u = UploadQueue::default();
        assert!((0..3).all(|n| u.push(b(n), 9)));
        assert_eq!(u.poll_batch(40_000), [b(0), b(1)]);
        let _ = u.handle_read();
        u.push_back(&[b(0), b(1)]);
        assert_eq!(u.poll_batch(1 << 20), [b(0), b(1), b(2)]);
    }
}
