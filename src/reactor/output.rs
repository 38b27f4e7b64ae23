//! What a reactor has still to send: streams with bytes, datagrams, bursts of uTP. It knows neither
//! sockets nor how much they take.

use std::{collections::VecDeque, net::SocketAddr};

use crate::engine::{DatagramOwner, StreamId};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Streams with bytes to send.
    pub(super) dirty: Vec<StreamId>,
    /// The other half of `dirty`, so that neither is allocated anew.
    pub(super) flushing: Vec<StreamId>,
    /// Bytes of blocks that may still be read and sent this turn.
    pub(super) budget: usize,
    /// Datagrams to send. The engine bounds their number: it has so many queries under way.
    pub(super) datagrams: VecDeque<(DatagramOwner, SocketAddr, Vec<u8>)>,
    pub(super) bursts: Bursts,
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
pub(super) struct Bursts {
    queues: [VecDeque<Burst>; 2],
    /// The queue that goes first in the next turn.
    first: usize,
}

impl Bursts {
    pub(super) fn push(&mut self, burst: Burst) {
        let [v4, v6] = &mut self.queues;
        if burst.to.is_ipv4() { v4.push_back(burst) } else { v6.push_back(burst) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// The first of each family.
    pub(super) fn heads(&self) -> impl Iterator<Item = &Burst> {
        self.queues.iter().filter_map(VecDeque::front)
    }

    /// Gives the bursts to `send` in their order, until it has no more time. It returns whether
    /// the socket of that family takes more. Families go first in turns.
    pub(super) fn send(&mut self, mut send: impl FnMut(&mut Burst) -> Sent) {
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
}
