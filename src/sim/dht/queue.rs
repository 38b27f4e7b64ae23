//! What will happen in the network, in the order of time.

use std::{cmp::Reverse, collections::BinaryHeap, net::SocketAddr};

use crate::base::time::Instant;

/// What happens at a time.
pub(super) enum Event {
    Datagram {
        sender: usize,
        from: SocketAddr,
        to: SocketAddr,
        data: Vec<u8>,
    },
    Wake {
        slot: usize,
        life: u32,
        at: Instant,
    },
    /// Of the look-up beside the node.
    Tick {
        slot: usize,
        life: u32,
    },
    Resolved {
        slot: usize,
        life: u32,
        port: u16,
    },
    Replace {
        slot: usize,
        life: u32,
    },
}

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    count: u64,
}

/// An entry; the number keeps the order of those of the same time.
struct Entry {
    at: Instant,
    number: u64,
    event: Event,
}

impl Queue {
    pub(super) fn push(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.heap.push(Reverse(Entry { at, number: self.count, event }));
    }

    /// The next event until `end`.
    pub(super) fn pop_due(&mut self, end: Instant) -> Option<(Instant, Event)> {
        self.heap.peek().filter(|Reverse(entry)| entry.at <= end)?;
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
