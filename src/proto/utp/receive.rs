//! What comes: bytes in order for the owner to read, packets behind a gap, and what is told of
//! both.
//!
//! It knows no time and no packet's header.

use std::collections::BTreeMap;

use crate::wire::utp::MAX_SACK;

/// What a packet behind a gap costs besides its bytes, about.
const OVERHEAD: usize = 96;
/// Bytes that were read before the buffer gives them up, if as many are unread: so each byte is
/// moved once, about.
const SPENT: usize = 16 * 1024;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// There is more to be read, or the end of the stream.
    InOrder,
    /// It is kept until what is missing before it has come.
    Held,
    /// It has come before.
    Twice,
    /// There is no room for it.
    Refused,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Receiver {
    /// The last number up to which everything has come.
    ack: u64,
    /// Bytes in order, and how many of them the owner has read.
    ready: Vec<u8>,
    read: usize,
    /// Packets behind a gap.
    held: BTreeMap<u64, Box<[u8]>>,
    held_bytes: usize,
    /// The number of the end of the stream, if it is known.
    end: Option<u64>,
}

impl Receiver {
    /// The first packet is the one behind `ack`.
    pub(super) fn new(ack: u64) -> Self {
        Self { ack, ready: Vec::new(), read: 0, held: BTreeMap::new(), held_bytes: 0, end: None }
    }

    /// A packet with this number came; `is_end`: it is the end of the stream. At most `room` bytes
    /// may be kept in all, and one packet more: the one that is missing is always taken if nothing
    /// can be read. What is behind the gap waits for it, so nothing else would make room.
    pub(super) fn handle_packet(
        &mut self,
        seq: u64,
        payload: &[u8],
        is_end: bool,
        room: usize,
    ) -> Received {
        if seq <= self.ack || self.held.contains_key(&seq) {
            return Received::Twice;
        }
        let beyond = self.end.is_some_and(|end| seq > end);
        let early = is_end && self.held.last_key_value().is_some_and(|(&last, _)| last > seq);
        if beyond || early {
            return Received::Refused;
        }
        let next = seq == self.ack + 1;
        let cost = payload.len() + if next { 0 } else { OVERHEAD };
        let is_missed = next && (payload.is_empty() || self.unread() == 0);
        if self.memory() + cost > room && !is_missed {
            return Received::Refused;
        }
        if is_end {
            self.end = Some(seq);
        }
        if !next {
            self.held_bytes += payload.len() + OVERHEAD;
            self.held.insert(seq, payload.into());
            return Received::Held;
        }
        self.ready.extend_from_slice(payload);
        self.ack = seq;
        while let Some(entry) = self.held.first_entry()
            && *entry.key() == self.ack + 1
        {
            self.ack = *entry.key();
            let payload = entry.remove();
            self.held_bytes = self.held_bytes.saturating_sub(payload.len() + OVERHEAD);
            self.ready.extend_from_slice(&payload);
        }
        Received::InOrder
    }

    /// The last number up to which everything has come.
    pub(super) fn ack(&self) -> u64 {
        self.ack
    }

    /// Whether the stream has come to its end and all of it was read.
    pub(super) fn is_over(&self) -> bool {
        self.end == Some(self.ack) && self.unread() == 0
    }

    /// Whether a packet is missing before one that has come.
    pub(super) fn has_gap(&self) -> bool {
        !self.held.is_empty()
    }

    /// What can be read, which is the reader's to change.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.ready.get_mut(self.read..).unwrap_or_default()
    }

    /// So many bytes of it were read.
    pub(super) fn handle_read(&mut self, len: usize) {
        self.read = self.read.saturating_add(len).min(self.ready.len());
        if self.read == self.ready.len() {
            self.read = 0;
            // An idle connection keeps no memory.
            self.ready = Vec::new();
        } else if self.read >= SPENT.max(self.unread()) {
            // One that is read in parts may never be read empty.
            self.ready.drain(..self.read);
            self.read = 0;
            self.ready.shrink_to(2 * (self.ready.len() + SPENT));
        }
    }

    /// Takes at most so many bytes out.
    pub(super) fn take(&mut self, most: usize) -> Vec<u8> {
        if most >= self.ready.len() && self.read == 0 {
            return std::mem::take(&mut self.ready);
        }
        let taken = self.bytes();
        let taken = taken.get(..most.min(taken.len())).unwrap_or_default().to_vec();
        self.handle_read(taken.len());
        taken
    }

    /// Bytes that can be read.
    pub(super) fn unread(&self) -> usize {
        self.ready.len() - self.read
    }

    /// Bytes that are kept.
    pub(super) fn memory(&self) -> usize {
        self.unread() + self.held_bytes
    }

    /// The selective ACK of BEP 29 for what is behind a gap; nothing if nothing is missing.
    pub(super) fn sack(&self, out: &mut Vec<u8>) {
        out.clear();
        let most = self.ack + 2 + MAX_SACK as u64 * 8;
        for (&seq, _) in self.held.range(..most) {
            let bit = (seq - self.ack - 2) as usize;
            if out.len() <= bit / 8 {
                out.resize((bit / 32 + 1) * 4, 0);
            }
            if let Some(byte) = out.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 10_000;

    fn receiver() -> Receiver {
        Receiver::new(100)
    }

    fn read(receiver: &mut Receiver) -> Vec<u8> {
        let bytes = receiver.bytes().to_vec();
        receiver.handle_read(bytes.len());
        bytes
    }

    #[test]
    fn packets_in_any_order_are_read_in_order_once() {
        let mut r = receiver();
        assert_eq!(r.handle_packet(103, b"c", false, ROOM), Received::Held);
        assert_eq!(r.handle_packet(103, b"c", false, ROOM), Received::Twice);
        assert_eq!(r.handle_packet(102, b"b", false, ROOM), Received::Held);
        assert_eq!((r.ack(), r.unread(), r.has_gap()), (100, 0, true));
        assert_eq!(r.handle_packet(101, b"a", false, ROOM), Received::InOrder);
        assert_eq!(r.handle_packet(101, b"a", false, ROOM), Received::Twice);
        assert_eq!((r.ack(), r.has_gap()), (103, false));
        assert_eq!(read(&mut r), b"abc");
        assert_eq!(r.memory(), 0);
    }

    #[test]
    fn selective_ack_names_what_is_behind_a_gap() {
        let (mut r, mut mask) = (receiver(), vec![9]);
        r.sack(&mut mask);
        assert!(mask.is_empty());
        for seq in [102, 104, 102 + 33] {
            assert_eq!(r.handle_packet(seq, b"x", false, ROOM), Received::Held);
        }
        r.sack(&mut mask);
        assert_eq!(mask, [0b101, 0, 0, 0, 0b10, 0, 0, 0]);
        // What does not fit is not named.
        assert_eq!(r.handle_packet(102 + 8 * MAX_SACK as u64, b"x", false, ROOM), Received::Held);
        r.sack(&mut mask);
        assert_eq!(mask.len(), 8);
        assert_eq!(r.handle_packet(101 + 8 * MAX_SACK as u64, b"x", false, ROOM), Received::Held);
        r.sack(&mut mask);
        assert_eq!((mask.len(), mask.last()), (MAX_SACK, Some(&0x80)));
    }

    #[test]
    fn memory_is_bounded_but_for_the_missing_packet() {
        let mut r = receiver();
        let held = (102..1000)
            .filter(|&seq| r.handle_packet(seq, &[0; 4], false, 1000) == Received::Held)
            .count();
        assert_eq!(held, 10);
        assert!(r.memory() <= 1000);
        assert_eq!(r.handle_packet(101, &[0; 500], false, 1000), Received::InOrder);
        assert_eq!((r.ack(), r.unread(), r.has_gap()), (111, 540, false));
        // The next is not missing: what can be read makes room.
        assert_eq!(r.handle_packet(112, &[0; 500], false, 1000), Received::Refused);
        assert_eq!(r.handle_packet(112, b"", false, 1000), Received::InOrder);
    }

    #[test]
    fn missing_packet_is_taken_though_the_rest_fills_the_room() {
        for room in [16 << 10, 65_536, 4 << 20] {
            let mut r = receiver();
            let packet = [7; 1452];
            let held = (102..)
                .take_while(|&seq| r.handle_packet(seq, &packet, false, room) == Received::Held)
                .count();
            assert!(held > 9 && r.memory() <= room);
            // Others may keep much by now.
            assert_eq!(r.handle_packet(101, &packet, false, room / 2), Received::InOrder);
            assert_eq!((r.unread(), r.has_gap()), ((held + 1) * 1452, false));
            assert!(r.memory() <= room + 1452);
        }
    }

    #[test]
    fn what_was_read_is_given_up_though_something_is_unread() {
        for by_take in [false, true] {
            let (mut r, mut most) = (receiver(), 0);
            for n in 0..100_000 {
                let seq = 101 + n;
                assert_eq!(r.handle_packet(seq, &[n as u8; 1000], false, ROOM), Received::InOrder);
                if n < 2 {
                    continue;
                }
                let read = if by_take {
                    r.take(1000)
                } else {
                    let bytes = r.bytes()[..1000].to_vec();
                    r.handle_read(1000);
                    bytes
                };
                assert_eq!(read, [(n - 2) as u8; 1000]);
                most = most.max(r.ready.capacity());
            }
            assert!(r.unread() == 2000 && most < 64 * 1024, "{most}");
        }
        // A burst that was read but for its end takes no more than that.
        let mut r = receiver();
        (101..1101).for_each(|seq| _ = r.handle_packet(seq, &[0; 1000], false, 1 << 20));
        r.handle_read(999_000);
        assert!(r.unread() == 1000 && r.ready.capacity() < 64 * 1024);
    }

    #[test]
    fn end_comes_when_all_before_it_was_read_and_nothing_follows() {
        let mut r = receiver();
        assert_eq!(r.handle_packet(102, b"", true, ROOM), Received::Held);
        assert_eq!(r.handle_packet(103, b"z", false, ROOM), Received::Refused);
        assert_eq!(r.handle_packet(101, b"a", false, ROOM), Received::InOrder);
        assert!(!r.is_over());
        assert_eq!(read(&mut r), b"a");
        assert!(r.is_over());
        // An end that lies before what has come is none.
        let mut r = receiver();
        assert_eq!(r.handle_packet(105, b"e", false, ROOM), Received::Held);
        assert_eq!(r.handle_packet(103, b"", true, ROOM), Received::Refused);
    }
}
