//! What one peer has asked of us: bounded, cancellable, in order. It decides what is read next, not how.

use std::collections::VecDeque;

use crate::base::geometry::Block;

/// Requests of one peer that wait for us, and those being read.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    waiting: VecDeque<Block>,
    reading: Vec<Block>,
    /// Bytes of `reading`.
    reading_len: usize,
}

impl Uploads {
    /// Requests not yet answered.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.reading.len()
    }

    /// Takes a request in; false if there are `limit` already.
    #[must_use]
    pub(crate) fn push(&mut self, block: Block, limit: usize) -> bool {
        let room = self.len() < limit;
        if room {
            self.waiting.push_back(block);
        }
        room
    }

    /// Forgets a request; true if it will not be answered with data.
    #[must_use]
    pub(crate) fn cancel(&mut self, block: Block) -> bool {
        if let Some(at) = self.waiting.iter().position(|&b| b == block) {
            self.waiting.remove(at);
            return true;
        }
        // Being read: the answer will find nothing and be dropped.
        self.take_reading(block)
    }

    /// The next block to read, as long as `unsent` bytes and those being read leave room below `limit`.
    #[must_use]
    pub(crate) fn poll_read(&mut self, unsent: usize, limit: usize) -> Option<Block> {
        if unsent.saturating_add(self.reading_len) >= limit {
            return None;
        }
        let block = self.waiting.pop_front()?;
        self.reading.push(block);
        self.reading_len += block.len as usize;
        Some(block)
    }

    /// A block was read; false if nobody wants it any more.
    #[must_use]
    pub(crate) fn handle_read(&mut self, block: Block) -> bool {
        self.take_reading(block)
    }

    /// Forgets everything, returning what will not be answered.
    pub(crate) fn clear(&mut self) -> Vec<Block> {
        self.reading_len = 0;
        let mut all = std::mem::take(&mut self.reading);
        all.extend(std::mem::take(&mut self.waiting));
        all
    }

    fn take_reading(&mut self, block: Block) -> bool {
        let found = self.reading.iter().position(|&b| b == block);
        if let Some(at) = found {
            self.reading.swap_remove(at);
            self.reading_len = self.reading_len.saturating_sub(block.len as usize);
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::Geometry;

    #[test]
    fn the_queue_is_bounded_ordered_and_cancellable() {
        let g = Geometry::new(1 << 20, 1 << 18).unwrap();
        let b = |n| g.nth_block(g.piece(0).unwrap(), n).unwrap();
        let mut u = Uploads::default();
        assert!(u.push(b(0), 3) && u.push(b(1), 3) && u.push(b(2), 3) && !u.push(b(3), 3));
        assert!(u.cancel(b(1)) && !u.cancel(b(1)));
        assert_eq!(u.poll_read(0, 20_000), Some(b(0)));
        assert_eq!(u.poll_read(5_000, 20_000), None, "16384 being read and 5000 unsent");
        assert_eq!(u.poll_read(0, 20_000), Some(b(2)));
        assert!(u.cancel(b(0)), "a block being read can still be cancelled");
        assert!(!u.handle_read(b(0)));
        assert!(u.handle_read(b(2)));
        assert_eq!(u.len(), 0);
        assert!(u.push(b(0), 3) && u.poll_read(0, 1).is_some() && u.push(b(1), 3));
        assert_eq!(u.clear(), [b(0), b(1)]);
        assert_eq!(u.poll_read(0, 1), None);
    }
}
