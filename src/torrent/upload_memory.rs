//! Memory for blocks on their way out: a bound over all peers, and buffers that are used again
//! while they are in cache.

use crate::base::buf::{Buf, BufPool};

/// What may lie idle. More than one batch a link is rarely needed, and a few are hot.
const IDLE: usize = 1 << 20;
/// Sizes are multiples of this (a block and what goes before it), so that a buffer fits again.
const GRAIN: usize = 16 * 1024 + 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct UploadMemory {
    bufs: BufPool,
    used: usize,
    limit: usize,
}

impl UploadMemory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bufs: BufPool::default(), used: 0, limit }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes that may still be taken.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// Whether so much is in use that no session should hold on to what can be read again.
    pub(crate) fn is_tight(&self) -> bool {
        self.used > self.limit / 2
    }

    /// A buffer of `len` bytes; what it holds is left over from its last use. It counts until it is
    /// given back.
    pub(crate) fn take(&mut self, len: usize) -> Buf {
        let size = len.div_ceil(GRAIN) * GRAIN;
        let most = size.saturating_mul(2).min(self.room());
        // The last one that fits, fits exactly.
        let size = if size > most { len } else { size };
        let mut buf = self.bufs.take(size, most.max(size), self.room().saturating_sub(size));
        self.used += buf.0.capacity();
        buf.0.truncate(len);
        buf
    }

    pub(crate) fn give(&mut self, buf: Buf) {
        self.used = self.used.saturating_sub(buf.0.capacity());
        self.bufs.give(buf, IDLE.min(self.room()));
    }

    /// Bytes of buffers that lie idle.
    pub(crate) fn idle(&self) -> usize {
        self.bufs.idle()
    }

    /// Gives idle buffers back to the system that were not needed since the last time.
    pub(crate) fn age(&mut self) {
        self.bufs.age();
    }

    /// What is wrong with it, if anything.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn audit(&self) -> Result<(), String> {
        if self.used + self.bufs.idle() > self.limit {
            return Err(format!(
                "{} bytes of blocks are on their way, {} are idle",
                self.used,
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
    fn upload_memory_in_use_is_counted_and_returned() {
        let mut memory = UploadMemory::new(100_000);
        let a = memory.take(16_397);
        assert_eq!(
            (memory.used(), memory.room(), memory.is_tight()),
            (GRAIN, 100_000 - GRAIN, false)
        );
        let b = memory.take(40_000);
        assert!(memory.is_tight() && b.0.len() == 40_000);
        let at = b.0.as_ptr();
        memory.give(b);
        memory.give(a);
        assert_eq!(memory.used(), 0);
        assert_eq!(memory.take(45_000).0.as_ptr(), at);
    }
}
