//! What one peer has asked of us: bounded, cancellable, in order. It decides what is read next, not how.

use std::collections::VecDeque;

use crate::base::geometry::Block;

/// Requests of one peer that wait for us, and those being read.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    waiting: VecDeque<Block>,
    /// What workers read, and whether it is still wanted.
    reading: Vec<(Block, bool)>,
    /// Bytes of `reading`: taken up until they are read, wanted or not.
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
        // Being read: it keeps its place until then, or cancelling would be a way to have more read than is allowed.
        let wanted = self.reading.iter_mut().find(|(b, wanted)| *b == block && *wanted);
        wanted.map(|(_, wanted)| *wanted = false).is_some()
    }

    /// The next block to read, as long as `unsent` bytes and those being read leave room below `limit`.
    #[must_use]
    pub(crate) fn poll_read(&mut self, unsent: usize, limit: usize) -> Option<Block> {
        if unsent.saturating_add(self.reading_len) >= limit {
            return None;
        }
        let block = self.waiting.pop_front()?;
        self.reading.push((block, true));
        self.reading_len += block.len as usize;
        Some(block)
    }

    /// A block was read; false if nobody wants it any more.
    #[must_use]
    pub(crate) fn handle_read(&mut self, block: Block) -> bool {
        let Some(at) = self.reading.iter().position(|(b, _)| *b == block) else { return false };
        let (_, wanted) = self.reading.swap_remove(at);
        self.reading_len = self.reading_len.saturating_sub(block.len as usize);
        wanted
    }

    /// Forgets everything, returning what will not be answered.
    pub(crate) fn clear(&mut self) -> Vec<Block> {
        let given_up = |(block, wanted): &mut (Block, bool)| std::mem::take(wanted).then_some(*block);
        let mut all: Vec<Block> = self.reading.iter_mut().filter_map(given_up).collect();
        all.extend(std::mem::take(&mut self.waiting));
        all
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
        assert!(u.push(b(2), 3) && u.poll_read(0, 1).is_none(), "what is being read keeps its place");
        assert!(!u.handle_read(b(0)));
        assert_eq!(u.poll_read(0, 1), Some(b(2)));
    }
}
