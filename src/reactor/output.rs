//! What a reactor has still to send: streams with bytes, datagrams, bursts of uTP. It knows neither
//! sockets nor how much they take.

use std::{collections::VecDeque, net::SocketAddr};

use super::streams::Stream;
use crate::engine::{DatagramOwner, StreamId};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Streams with bytes to send.
    dirty: Vec<StreamId>,
    /// The other half of `dirty`, so that neither is allocated anew.
    flushing: Vec<StreamId>,
    /// How many of `flushing` have had their turn.
    flushed: usize,
    /// How long `dirty` was when the budget was not spent.
    reached: usize,
    /// Bytes of blocks that may still be read and sent this turn.
    budget: usize,
    /// Datagrams to send. The engine bounds their number: it has so many queries under way.
    datagrams: VecDeque<(DatagramOwner, SocketAddr, Vec<u8>)>,
    bursts: Bursts,
}

impl Output {
    /// A turn begins, in which so many bytes of blocks may be read and sent.
    pub(super) fn begin_turn(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// So many of them were.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(bytes);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.budget == 0
    }

    /// A stream has bytes to send.
    pub(super) fn mark(&mut self, stream: &mut Stream) {
        if !stream.dirty {
            stream.dirty = true;
            self.dirty.push(stream.id);
        }
    }

    /// Whether streams have bytes to send.
    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The streams that have bytes to send now get their turn.
    pub(super) fn begin_flush(&mut self) {
        std::mem::swap(&mut self.dirty, &mut self.flushing);
        (self.flushed, self.reached) = (0, 0);
    }

    /// The next of them. It counts as having nothing more to send.
    pub(super) fn poll_flush(&mut self) -> Option<StreamId> {
        let id = self.flushing.get(self.flushed).copied()?;
        self.flushed += 1;
        Some(id)
    }

    /// A stream was written to, and is marked again if it has more.
    pub(super) fn note_reached(&mut self) {
        self.reached = self.dirty.len();
    }

    /// All had their turn. In the next one the streams that were not reached go before those that
    /// have more.
    pub(super) fn end_flush(&mut self) {
        unreached_first(&mut self.dirty, self.reached);
        self.flushing.clear();
    }

    pub(super) fn push_datagram(&mut self, owner: DatagramOwner, to: SocketAddr, data: Vec<u8>) {
        self.datagrams.push_back((owner, to, data));
    }

    pub(super) fn pop_datagram(&mut self) -> Option<(DatagramOwner, SocketAddr, Vec<u8>)> {
        self.datagrams.pop_front()
    }

    pub(super) fn has_datagrams(&self) -> bool {
        !self.datagrams.is_empty()
    }

    pub(super) fn push_burst(&mut self, burst: Burst) {
        self.bursts.push(burst);
    }

    /// See [`Bursts::send`].
    pub(super) fn send_bursts(&mut self, send: impl FnMut(&mut Burst) -> Sent) {
        self.bursts.send(send);
    }

    /// Whether a burst is the first of its family and `may_go`.
    pub(super) fn has_burst(&self, may_go: impl Fn(&Burst) -> bool) -> bool {
        self.bursts.heads().any(may_go)
    }

    /// Whether no datagram waits.
    pub(super) fn is_sent(&self) -> bool {
        self.datagrams.is_empty() && self.bursts.is_empty()
    }
}

/// The first `reached` have had their turn and have more to send; the others have waited.
fn unreached_first<T>(dirty: &mut [T], reached: usize) {
    dirty.rotate_left(reached.min(dirty.len()));
}

/// Datagrams of one length to one address, a burst of uTP.
#[derive(Debug)]
pub(super) struct Burst {
    pub(super) to: SocketAddr,
    pub(super) data: Vec<u8>,
    pub(super) segment: usize,
    pub(super) unfragmented: bool,
    /// Bytes of `data` that are sent.
    pub(super) sent: usize,
}

/// Bursts that wait, a queue a family, since each has a socket of its own: one that takes no more
/// does not hold up the other. The windows of the connections bound them.
#[derive(Debug, Default)]
struct Bursts {
    queues: [VecDeque<Burst>; 2],
    /// The queue that goes first in the next turn.
    first: usize,
}

impl Bursts {
    fn push(&mut self, burst: Burst) {
        let [v4, v6] = &mut self.queues;
        if burst.to.is_ipv4() { v4.push_back(burst) } else { v6.push_back(burst) }
    }

    fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// The first of each family.
    fn heads(&self) -> impl Iterator<Item = &Burst> {
        self.queues.iter().filter_map(VecDeque::front)
    }

    /// Gives the bursts to `send` in their order, until it has no more time. It returns whether
    /// the socket of that family takes more. Families go first in turns.
    fn send(&mut self, mut send: impl FnMut(&mut Burst) -> Sent) {
        let first = self.first;
        self.first = 1 - first;
        let (v4, v6) = self.queues.split_at_mut(1);
        let queues = if first == 0 { [v4, v6] } else { [v6, v4] };
        for queue in queues.into_iter().flatten() {
            while let Some(burst) = queue.front_mut() {
                if burst.sent >= burst.data.len() {
                    queue.pop_front();
                    continue;
                }
                match send(burst) {
                    Sent::Some => {}
                    Sent::Blocked => break,
                    Sent::OutOfTime => return,
                }
            }
        }
    }
}

/// How far a burst got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// A part of it, or all.
    Some,
    /// Its socket takes no more for now.
    Blocked,
    /// The turn has no more time for bursts.
    OutOfTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(to: &str) -> Burst {
        let to = to.parse().unwrap();
        Burst { to, data: vec![0; 3], segment: 1, unfragmented: false, sent: 0 }
    }

    #[test]
    fn blocked_family_does_not_hold_up_the_other() {
        let mut bursts = Bursts::default();
        for to in ["127.0.0.1:1", "127.0.0.2:2", "[::1]:3", "[::1]:4"] {
            bursts.push(burst(to));
        }
        let mut seen = Vec::new();
        for _ in 0..2 {
            bursts.send(|burst| {
                seen.push(burst.to.port());
                if burst.to.is_ipv4() {
                    return Sent::Blocked;
                }
                burst.sent += 2;
                Sent::Some
            });
        }
        assert_eq!(seen, [1, 3, 3, 4, 4, 1], "a part at a time, in order");
        assert_eq!(bursts.heads().map(|burst| burst.to.port()).collect::<Vec<_>>(), [1]);
        bursts.send(|burst| {
            burst.sent = burst.data.len();
            Sent::Some
        });
        assert!(bursts.is_empty());
    }

    #[test]
    fn families_share_the_time_of_turns() {
        let mut bursts = Bursts::default();
        ["127.0.0.1:1", "[::1]:2"].iter().for_each(|to| bursts.push(burst(to)));
        let mut seen = Vec::new();
        for _ in 0..4 {
            bursts.send(|burst| {
                seen.push(burst.to.port());
                Sent::OutOfTime
            });
        }
        assert_eq!(seen, [1, 2, 1, 2]);
    }

    #[test]
    fn unreached_stream_goes_before_one_with_more_to_send() {
        let after = |reached| {
            let mut dirty = ["a", "b", "c", "d"];
            unreached_first(&mut dirty, reached);
            dirty.concat()
        };
        assert_eq!([0, 1, 3, 4, 9].map(after), ["abcd", "bcda", "dabc", "abcd", "abcd"]);
    }
}
