//! A receiver's socket, and a program that reads it when it has time. It does not know what is in a
//! datagram.

use std::{collections::VecDeque, time::Duration};

use super::Path;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: VecDeque<Vec<u8>>,
    /// The program reads, or is about to.
    is_read: bool,
    /// Datagrams that there was no room for.
    pub(super) dropped: u64,
}

impl Inbox {
    /// A datagram has come by this path. Returns after how long it is read; `None` if there is no
    /// room, or the program reads already.
    pub(super) fn push(&mut self, path: &Path, datagram: Vec<u8>) -> Option<Duration> {
        if self.waiting.len() >= path.room {
            self.dropped += 1;
            return None;
        }
        self.waiting.push_back(datagram);
        (!std::mem::replace(&mut self.is_read, true)).then_some(path.wake)
    }

    /// The next datagram is read. With it, after how long the one behind it is, if one waits.
    pub(super) fn pop(&mut self, path: &Path) -> Option<(Vec<u8>, Option<Duration>)> {
        let datagram = self.waiting.pop_front()?;
        self.is_read = !self.waiting.is_empty();
        Some((datagram, self.is_read.then_some(path.read)))
    }
}
