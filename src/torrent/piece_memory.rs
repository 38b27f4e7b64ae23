//! How much memory all pieces in progress may take, how much of that is promised, and the buffers
//! themselves. It counts bytes; whose they are it does not know.
//!
//! What is promised and what has a buffer stay within the limit, and so do buffers in use and idle
//! ones.

use crate::base::buf::{Buf, BufPool};

/// Memory for so many runs has one that torrents without any find free.
const SHARED: usize = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Promised, or with a buffer.
    used: usize,
    /// With a buffer.
    backed: usize,
    limit: usize,
    /// What the torrent that asks now leaves to those that have none.
    left: usize,
    bufs: BufPool,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: 0, backed: 0, limit, left: 0, bufs: BufPool::default() }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes of buffers that lie idle.
    pub(crate) fn idle(&self) -> usize {
        self.bufs.idle()
    }

    /// Bytes of buffers that are in use.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn backed(&self) -> usize {
        self.backed
    }

    /// Whether the torrent that asks now may have so many bytes more.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.limit.saturating_sub(self.used).saturating_sub(self.left)
    }

    /// The torrent that asks from now on leaves the last `run` bytes to torrents that have no
    /// memory, if it has some itself, or not all is taken yet: the peers of one torrent may be slow
    /// with all that it has, and others would get none. Of fewer than [`SHARED`] runs nothing is
    /// left.
    pub(crate) fn leave_to_others(&mut self, run: usize, has_some: impl FnOnce() -> bool) {
        let room = self.limit.saturating_sub(self.used);
        let leaves = self.limit / SHARED >= run && (room >= run.saturating_mul(2) || has_some());
        self.left = if leaves { run } else { 0 };
    }

    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        let room = self.has_room(bytes);
        if room {
            self.used += bytes;
        }
        room
    }

    /// What was promised is not needed.
    pub(super) fn release(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// The buffer for `bytes` that were promised. It has just that size, or what is in use would be
    /// more than is counted.
    pub(super) fn take(&mut self, bytes: usize) -> Buf {
        self.backed += bytes;
        self.bufs.take(bytes, bytes, self.limit.saturating_sub(self.backed))
    }

    /// A buffer of so many bytes has done its work.
    pub(super) fn give(&mut self, bytes: usize, buf: Buf) {
        self.lose(bytes);
        self.bufs.give(buf, self.limit.saturating_sub(self.backed));
    }

    /// A buffer of so many bytes will not come back.
    pub(super) fn lose(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        self.backed = self.backed.saturating_sub(bytes);
    }

    /// Gives idle buffers back to the system that were not needed since the last time.
    pub(crate) fn age(&mut self) {
        self.bufs.age();
    }

    /// What is wrong with it, if anything.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn audit(&self) -> Result<(), String> {
        let all = self.backed + self.bufs.idle();
        if all > self.limit || self.backed > self.used {
            return Err(format!(
                "{} bytes of pieces have buffers, {} are idle",
                self.backed,
                self.bufs.idle()
            ));
        }
        self.bufs.audit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_piece_buffers_leave_room_for_those_in_use() {
        let mut memory = Memory::new(100);
        let take = |memory: &mut Memory, bytes| {
            assert!(memory.reserve(bytes));
            memory.take(bytes)
        };
        let bufs: Vec<Buf> = (0..4).map(|_| take(&mut memory, 25)).collect();
        bufs.into_iter().for_each(|buf| memory.give(25, buf));
        assert_eq!((memory.used(), memory.idle()), (0, 100));
        // Pieces of another size find no buffer that fits.
        let other = take(&mut memory, 60);
        assert_eq!((memory.used(), memory.idle()), (60, 25));
        memory.audit().unwrap();
        // What is only promised leaves the idle ones where they are.
        assert!(memory.reserve(40));
        assert_eq!((memory.used(), memory.idle()), (100, 25));
        memory.give(60, other);
        assert_eq!((memory.used(), memory.idle()), (40, 85));
        memory.age();
        memory.age();
        assert_eq!(memory.idle(), 0);
    }

    #[test]
    fn last_run_is_left_to_torrents_without_memory() {
        let mut memory = Memory::new(100);
        memory.leave_to_others(25, || true);
        assert!(memory.reserve(50) && memory.reserve(25) && !memory.reserve(25));
        memory.leave_to_others(25, || false);
        assert!(memory.reserve(25) && !memory.reserve(1));
        // It is not left by chance, where much was free at first.
        memory.release(75);
        memory.leave_to_others(25, || false);
        assert!(memory.reserve(50) && !memory.reserve(1));
        memory.leave_to_others(26, || true);
        assert!(memory.reserve(25), "too little to share");
    }
}
