//! How much memory all pieces in progress may take, and how much of that is promised. It counts bytes; whose they are it does not
//! know.

/// Bytes of piece data that are in memory or promised to be.
#[derive(Debug)]
pub(crate) struct Memory {
    used: usize,
    limit: usize,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.limit.saturating_sub(self.used)
    }

    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        let room = self.has_room(bytes);
        if room {
            self.used += bytes;
        }
        room
    }

    pub(super) fn release(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }
}
