//! Buffers that are handed on, never shared: from the pool to a piece, to a worker, and back.

/// A fixed-length buffer on its way. It returns to the pool with the answer to the job that carried
/// it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Buf(pub Vec<u8>);

/// Free buffers by size, so that hot memory is used again. What may lie idle its owner says, since
/// that is part of the memory that is in use; what has lain idle for long is given back to the
/// system.
#[derive(Debug, Default)]
pub(crate) struct BufPool {
    /// The one returned last is at the end.
    free: Vec<Buf>,
    held: usize,
    /// The fewest that were free at any time since it was looked after last: that many were not
    /// needed.
    spare: usize,
}

impl BufPool {
    /// Bytes that lie idle.
    pub(crate) fn idle(&self) -> usize {
        self.held
    }

    /// A buffer of `len` bytes, of one that has no more than `most`; what it holds is left over
    /// from its last use. If none fits, a new one is made, and no more than `room` bytes stay idle.
    pub(crate) fn take(&mut self, len: usize, most: usize, room: usize) -> Buf {
        // The last one returned is the one most likely in cache.
        let Some(at) = self.free.iter().rposition(|b| (len..=most).contains(&b.0.capacity()))
        else {
            self.shrink(room);
            return Buf(vec![0; len]);
        };
        let mut buf = self.free.remove(at);
        self.held -= buf.0.capacity();
        self.spare = self.spare.min(self.free.len());
        buf.0.resize(len, 0);
        buf
    }

    /// `buf` is not needed any more. No more than `room` bytes stay idle.
    pub(crate) fn give(&mut self, buf: Buf, room: usize) {
        let size = buf.0.capacity();
        if size > 0 && size <= room {
            self.shrink(room - size);
            self.held += size;
            self.free.push(buf);
        }
    }

    /// Gives buffers back to the system until no more than `room` bytes lie idle, those first that
    /// have done so for longest.
    pub(crate) fn shrink(&mut self, room: usize) {
        while self.held > room && !self.free.is_empty() {
            self.held -= self.free.remove(0).0.capacity();
            self.spare = self.spare.min(self.free.len());
        }
    }

    /// To be called every so often: gives back what was not needed since the last time.
    pub(crate) fn age(&mut self) {
        let unused = self.spare.min(self.free.len());
        self.held -= self.free.drain(..unused).map(|buf| buf.0.capacity()).sum::<usize>();
        self.spare = self.free.len();
    }

    /// What is wrong with the count, if anything.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn audit(&self) -> Result<(), String> {
        let held: usize = self.free.iter().map(|buf| buf.0.capacity()).sum();
        if held == self.held {
            Ok(())
        } else {
            Err(format!("{held} bytes of buffers are idle and {} are counted", self.held))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_the_pool_is_bounded() {
        let mut pool = BufPool::default();
        let a = pool.take(60, 60, 100);
        let at = a.0.as_ptr();
        let b = pool.take(60, 60, 100);
        pool.give(b, 100);
        pool.give(a, 100);
        assert_eq!(pool.idle(), 60, "both would be too much");
        let c = pool.take(50, 100, 100);
        assert_eq!((c.0.as_ptr(), c.0.len()), (at, 50));
        assert_eq!(pool.take(60, 60, 100).0.len(), 60);
        pool.give(c, 100);
        assert_eq!(pool.take(50, 50, 30).0.capacity(), 50, "one of 60 is too large");
        assert_eq!(pool.idle(), 0, "there is no room for it beside the new one");
    }

    #[test]
    fn idle_buffer_goes_at_the_second_look() {
        let mut pool = BufPool::default();
        let three: Vec<Buf> = (0..3).map(|_| pool.take(10, 10, 100)).collect();
        three.into_iter().for_each(|buf| pool.give(buf, 100));
        pool.age();
        assert_eq!(pool.idle(), 30, "they may be needed");
        // One of them is in use now and then.
        let buf = pool.take(10, 10, 100);
        pool.give(buf, 100);
        pool.age();
        assert_eq!(pool.idle(), 10);
        pool.age();
        assert_eq!(pool.idle(), 0);
    }
}
