//! Buffers that are handed on, never shared: from the pool to a piece, to a worker, and back.

/// A fixed-length buffer on its way. It returns to the pool with the answer to the job that carried it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Buf(pub Vec<u8>);

/// Free buffers by size, so that hot memory is used again. It never holds more than its limit.
#[derive(Debug)]
pub(crate) struct BufPool {
    free: Vec<Buf>,
    /// Bytes that may lie idle here.
    limit: usize,
    held: usize,
}

impl BufPool {
    pub(crate) fn new(limit: usize) -> Self {
        Self { free: Vec::new(), limit, held: 0 }
    }

    /// A buffer of exactly `len` bytes; what it holds is left over from its last use.
    pub(crate) fn take(&mut self, len: usize) -> Buf {
        // The last one returned is the one most likely in cache.
        match self.free.iter().rposition(|b| b.0.capacity() >= len && b.0.capacity() / 2 <= len) {
            Some(at) => {
                let mut buf = self.free.remove(at);
                self.held -= buf.0.capacity();
                buf.0.resize(len, 0);
                buf
            }
            None => Buf(vec![0; len]),
        }
    }

    pub(crate) fn give(&mut self, buf: Buf) {
        let size = buf.0.capacity();
        if size > 0 && self.held + size <= self.limit {
            self.held += size;
            self.free.push(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_the_pool_is_bounded() {
        let mut pool = BufPool::new(100);
        let a = pool.take(60);
        let at = a.0.as_ptr();
        let b = pool.take(60);
        pool.give(a);
        pool.give(b);
        assert_eq!(pool.held, 60);
        let c = pool.take(50);
        assert_eq!((c.0.as_ptr(), c.0.len()), (at, 50));
        assert_eq!(pool.take(60).0.len(), 60);
    }
}
