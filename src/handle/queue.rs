//! The queue of alerts between the threads. Knows neither thread.

use std::collections::VecDeque;

use crate::alert::Alert;

/// Bytes of answers to reads, above which no more alerts come before some are fetched.
const READ_BYTES_BETWEEN: usize = 1 << 20;

/// What waits between the threads.
#[derive(Default)]
pub(super) struct AlertQueue {
    waiting: VecDeque<Alert>,
    /// Bytes of the answers to reads among them.
    read_bytes: usize,
    /// The engine has more and wants to be woken when there is room.
    pub(super) full: bool,
    /// The receiver is gone.
    pub(super) unwanted: bool,
    /// The engine is gone.
    pub(super) closed: bool,
}

impl AlertQueue {
    /// Whether more may come: so many alerts, and no more bytes that were read than
    /// [`READ_BYTES_BETWEEN`].
    pub(super) fn has_room(&self, most: usize) -> bool {
        self.waiting.len() < most && (most == usize::MAX || self.read_bytes < READ_BYTES_BETWEEN)
    }

    pub(super) fn push(&mut self, alert: Alert) {
        self.read_bytes += read_bytes(&alert);
        self.waiting.push_back(alert);
    }

    pub(super) fn pop(&mut self) -> Option<Alert> {
        let alert = self.waiting.pop_front()?;
        self.read_bytes -= read_bytes(&alert);
        Some(alert)
    }

    /// The receiver is gone: nothing is handed on any more.
    pub(super) fn give_up(&mut self) {
        self.unwanted = true;
        self.waiting.clear();
        self.read_bytes = 0;
    }

    /// None is there, and more may come.
    pub(super) fn is_pending(&self) -> bool {
        self.waiting.is_empty() && !self.closed
    }
}

/// Bytes that were read, of an answer to a read.
fn read_bytes(alert: &Alert) -> usize {
    match alert {
        Alert::ReadDone { result: Ok(bytes), .. } => bytes.0.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::ReadBytes,
        base::{
            arena::Key,
            ids::{ReadId, TorrentId},
        },
    };

    #[test]
    fn answers_between_the_threads_are_bounded_by_their_bytes() {
        let answer = |len| Alert::ReadDone {
            torrent: TorrentId(Key { index: 0, generation: 1 }),
            read: ReadId(1),
            file: 0,
            offset: 0,
            result: Ok(ReadBytes(vec![0; len])),
        };
        let mut queue = AlertQueue::default();
        queue.push(answer(1000));
        assert!(queue.has_room(64) && !queue.has_room(1));
        queue.push(answer(READ_BYTES_BETWEEN));
        assert!(!queue.has_room(64));
        assert!(queue.has_room(usize::MAX), "at the end all are handed on");
        assert!(queue.pop().is_some() && !queue.has_room(64));
        assert!(queue.pop().is_some() && queue.has_room(64));
        queue.push(answer(READ_BYTES_BETWEEN));
        queue.give_up();
        assert!(queue.unwanted && queue.has_room(64));
    }
}
