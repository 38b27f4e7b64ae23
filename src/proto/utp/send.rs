//! What goes: the bytes that the other side has not acknowledged, cut into packets, and what is
//! known of each packet.
//!
//! A packet once cut keeps its bytes: a sequence number stands for them. Loss is told by order of
//! sending, as QUIC does (RFC 9002): a packet is lost if one that was sent a few packets later has
//! arrived. It knows no window and no header.

use std::{collections::VecDeque, time::Duration};

use super::round_trip::RoundTrip;
use crate::base::time::Instant;

/// A packet is lost if one has arrived that was sent so many packets later (BEP 29: three).
const REORDERING: u64 = 3;
/// What that grows to on a path that reorders.
const MAX_REORDERING: u64 = 64;
/// Acknowledgements of nothing new after which the first packet counts as lost.
const MAX_DUPLICATES: u8 = 3;

/// How it stands with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    UnderWay,
    /// It is to be sent again.
    Lost,
    /// It has arrived behind a gap.
    Arrived,
}

/// A packet that has been sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// The place of its first byte in the stream.
    start: u64,
    /// When it was sent last.
    at: Instant,
    /// The place of that among all sendings.
    order: u64,
    len: u16,
    /// How often it was sent.
    times: u8,
    fate: Fate,
    is_probe: bool,
    is_end: bool,
}

/// What an acknowledgement has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Acked {
    /// Bytes that are known to have arrived now, headers not counted.
    pub(super) bytes: usize,
    /// Packets that are.
    pub(super) packets: usize,
    /// Packets that are known to be lost now, a lone probe not counted.
    pub(super) lost: usize,
    /// When the last of those was sent.
    pub(super) lost_sent: Instant,
    /// The round trip of the packet that was sent last of those that were sent once.
    pub(super) round_trip: Option<Duration>,
    /// Whether the probe has arrived; `Some(false)`: it is lost.
    pub(super) probe: Option<bool>,
}

/// What a time-out has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LostInTime {
    /// A probe and nothing else.
    Probe,
    ProbeAmongOthers,
    /// No probe; maybe nothing.
    Others,
}

/// Which packet is to be sent, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) seq: u64,
    pub(super) len: usize,
    pub(super) is_end: bool,
    /// It must not be fragmented.
    pub(super) is_probe: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sender {
    /// Bytes of packets that are not acknowledged, then those that are not cut.
    bytes: VecDeque<u8>,
    /// The place of the first of them in the stream.
    begin: u64,
    /// How many of them are cut.
    cut: usize,
    /// The packets, the first of which has the number `first`.
    packets: VecDeque<Sent>,
    first: u64,
    /// Bytes on their way.
    flight: usize,
    /// Packets to be sent again, and a number before which there is none.
    lost: usize,
    lost_from: u64,
    order: Order,
    duplicates: u8,
    end: End,
}

/// How far the end of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// It goes behind the last byte.
    Wanted,
    Cut,
    Acked,
}

/// Sendings in their order.
#[derive(Debug)]
struct Order {
    next: u64,
    /// Order and number of packets that were sent and are not known to have arrived, or were.
    queue: VecDeque<(u64, u64)>,
    /// The latest sending that is known to have arrived, and when that was sent.
    arrived: u64,
    arrived_at: Instant,
    /// See [`REORDERING`].
    reordering: u64,
}

impl Sender {
    /// The first packet has the number `first`.
    pub(super) fn new(first: u64) -> Self {
        let order = Order {
            next: 1,
            queue: VecDeque::new(),
            arrived: 0,
            arrived_at: Instant::ZERO,
            reordering: REORDERING,
        };
        Self {
            bytes: VecDeque::new(),
            begin: 0,
            cut: 0,
            packets: VecDeque::new(),
            first,
            flight: 0,
            lost: 0,
            lost_from: first,
            order,
            duplicates: 0,
            end: End::Open,
        }
    }

    /// Appends to the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.end == End::Open {
            self.bytes.extend(bytes);
        }
    }

    /// Nothing comes any more: the end of the stream goes behind its last byte.
    pub(super) fn end(&mut self) {
        if self.end == End::Open {
            self.end = End::Wanted;
        }
    }

    /// Drops what is not cut.
    pub(super) fn drop_uncut(&mut self) {
        self.bytes.truncate(self.cut);
    }

    /// Bytes that are not cut into packets.
    pub(super) fn uncut(&self) -> usize {
        self.bytes.len() - self.cut
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes on their way.
    pub(super) fn flight(&self) -> usize {
        self.flight
    }

    /// Packets that are not acknowledged.
    pub(super) fn packets(&self) -> usize {
        self.packets.len()
    }

    /// Whether packets are on their way or to be sent again.
    pub(super) fn is_waiting(&self) -> bool {
        !self.packets.is_empty()
    }

    /// Whether a packet is to be sent again.
    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// The number of the first packet that is not acknowledged.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the packet that will be cut next.
    pub(super) fn next(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// Whether the end of the stream was sent and acknowledged.
    pub(super) fn is_over(&self) -> bool {
        self.end == End::Acked
    }

    /// Whether the end of the stream is to be cut now.
    pub(super) fn wants_end(&self) -> bool {
        self.end == End::Wanted && self.uncut() == 0
    }

    fn get(&self, seq: u64) -> Option<&Sent> {
        self.packets.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// The bytes of a packet, in two parts.
    pub(super) fn payload(&self, seq: u64) -> (&[u8], &[u8]) {
        let Some(packet) = self.get(seq) else { return (&[], &[]) };
        let from = (packet.start - self.begin) as usize;
        let to = from + usize::from(packet.len);
        let (front, back) = self.bytes.as_slices();
        let middle = front.len();
        let head = front.get(from.min(middle)..to.min(middle)).unwrap_or_default();
        let tail = back.get(from.saturating_sub(middle)..to.saturating_sub(middle));
        (head, tail.unwrap_or_default())
    }

    /// The next packet that is to be sent again.
    pub(super) fn next_lost(&mut self) -> Option<Outgoing> {
        if self.lost == 0 {
            return None;
        }
        self.lost_from = self.lost_from.max(self.first);
        while let Some(packet) = self.get(self.lost_from) {
            if packet.fate == Fate::Lost {
                let (seq, len) = (self.lost_from, usize::from(packet.len));
                return Some(Outgoing { seq, len, is_end: packet.is_end, is_probe: false });
            }
            self.lost_from += 1;
        }
        None
    }

    /// Sends a packet again that [`next_lost`](Self::next_lost) told.
    pub(super) fn handle_resent(&mut self, now: Instant, seq: u64) {
        let order = self.order.next;
        let Some(at) = seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else {
            return;
        };
        let Some(packet) = self.packets.get_mut(at).filter(|packet| packet.fate == Fate::Lost)
        else {
            return;
        };
        (packet.fate, packet.at, packet.order) = (Fate::UnderWay, now, order);
        packet.times = packet.times.saturating_add(1);
        packet.is_probe = false;
        self.flight += usize::from(packet.len);
        self.lost -= 1;
        self.order.next += 1;
        self.order.queue.push_back((order, seq));
    }

    /// Cuts the next packet, of at most `len` bytes, and sends it. The end of the stream is a
    /// packet of its own. `None` if there is nothing to cut.
    pub(super) fn cut(&mut self, now: Instant, len: usize, is_probe: bool) -> Option<Outgoing> {
        let len = len.min(self.uncut()).min(usize::from(u16::MAX));
        let is_end = self.wants_end();
        if len == 0 && !is_end {
            return None;
        }
        let (seq, order) = (self.next(), self.order.next);
        let start = self.begin + self.cut as u64;
        self.packets.push_back(Sent {
            start,
            at: now,
            order,
            len: len as u16,
            times: 1,
            fate: Fate::UnderWay,
            is_probe,
            is_end,
        });
        if is_end {
            self.end = End::Cut;
        }
        self.cut += len;
        self.flight += len;
        self.order.next += 1;
        self.order.queue.push_back((order, seq));
        Some(Outgoing { seq, len, is_end, is_probe })
    }

    /// The other side has everything up to `ack`, and behind it what `sacked` names; `is_bare`:
    /// the packet has nothing else to say. `rtt`: the round trips so far.
    pub(super) fn handle_ack(
        &mut self,
        now: Instant,
        ack: u64,
        sacked: impl Iterator<Item = u64>,
        is_bare: bool,
        rtt: &RoundTrip,
    ) -> Acked {
        let shortest = rtt.min();
        let mut acked = Acked::default();
        let mut latest = 0;
        let was_first = self.first;
        let mut freed = 0;
        while self.first <= ack
            && let Some(packet) = self.packets.pop_front()
        {
            self.first += 1;
            freed += usize::from(packet.len);
            if packet.is_end {
                self.end = End::Acked;
            }
            self.note_arrival(now, &packet, shortest, &mut latest, &mut acked);
        }
        self.bytes.drain(..freed.min(self.bytes.len()));
        self.begin += freed as u64;
        self.cut -= freed.min(self.cut);
        for seq in sacked {
            let Some(at) = seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok())
            else {
                continue;
            };
            let Some(packet) = self.packets.get_mut(at) else { break };
            if packet.fate != Fate::Arrived {
                let before = *packet;
                packet.fate = Fate::Arrived;
                self.note_arrival(now, &before, shortest, &mut latest, &mut acked);
            }
        }
        if acked.packets > 0 {
            self.duplicates = 0;
        } else if is_bare && self.first == was_first && !self.packets.is_empty() {
            self.duplicates = self.duplicates.saturating_add(1);
        }
        self.find_lost(rtt.patience(), &mut acked);
        if self.packets.is_empty() {
            self.order.queue.clear();
            self.release();
        }
        acked
    }

    /// A packet has arrived, as it stood before that.
    fn note_arrival(
        &mut self,
        now: Instant,
        packet: &Sent,
        shortest: Duration,
        latest: &mut u64,
        acked: &mut Acked,
    ) {
        let len = usize::from(packet.len);
        match packet.fate {
            Fate::Arrived => return,
            Fate::UnderWay => self.flight -= len.min(self.flight),
            Fate::Lost => self.lost -= 1,
        }
        acked.packets += 1;
        acked.bytes += len;
        let took = now.since(packet.at);
        if packet.is_probe {
            acked.probe = Some(true);
        }
        // One that was given up, or sent again too lately for an answer, has only been late.
        let late = packet.times > 1 && took < shortest.mul_f32(0.8);
        if late || (packet.fate == Fate::Lost && packet.times == 1) {
            self.order.reordering = (self.order.reordering * 2).min(MAX_REORDERING);
            return;
        }
        if packet.order > self.order.arrived {
            (self.order.arrived, self.order.arrived_at) = (packet.order, packet.at);
        }
        if packet.times == 1 && packet.order > *latest {
            *latest = packet.order;
            acked.round_trip = Some(took);
        }
    }

    /// What was sent long enough before something that has arrived is lost: by number of packets
    /// or, where few are on their way, by time.
    fn find_lost(&mut self, patience: Duration, acked: &mut Acked) {
        let mut probes = 0;
        while let Some(&(order, seq)) = self.order.queue.front() {
            let at = seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
            let Some(packet) = at
                .and_then(|at| self.packets.get_mut(at))
                .filter(|packet| packet.order == order && packet.fate == Fate::UnderWay)
            else {
                self.order.queue.pop_front();
                continue;
            };
            let is_near = order + self.order.reordering > self.order.arrived;
            let is_late =
                order < self.order.arrived && packet.at + patience <= self.order.arrived_at;
            if is_near && !is_late {
                break;
            }
            self.order.queue.pop_front();
            packet.fate = Fate::Lost;
            self.flight -= usize::from(packet.len).min(self.flight);
            self.lost += 1;
            self.lost_from = self.lost_from.min(seq);
            acked.lost += 1;
            acked.lost_sent = acked.lost_sent.max(packet.at);
            if packet.is_probe {
                probes += 1;
                acked.probe = Some(false);
            }
        }
        // Of a side that tells nothing of what is behind a gap.
        if self.duplicates >= MAX_DUPLICATES
            && let Some(packet) = self.packets.front_mut()
            && packet.fate == Fate::UnderWay
            && packet.times == 1
        {
            packet.fate = Fate::Lost;
            self.flight -= usize::from(packet.len).min(self.flight);
            (self.lost, self.lost_from) = (self.lost + 1, self.first);
            acked.lost += 1;
            acked.lost_sent = acked.lost_sent.max(packet.at);
            if packet.is_probe {
                probes += 1;
                acked.probe = Some(false);
            }
        }
        if acked.lost == probes {
            acked.lost = 0;
        }
    }

    /// Nothing was acknowledged for a while: the last packet is to be sent once more, or the first
    /// if `is_again`. `None` if none is on its way; else whether it was a probe. That is no sign of
    /// congestion: when it arrives it cannot be told from the one that was sent first, which was
    /// only late if a queue has grown fast.
    pub(super) fn handle_silence(&mut self, is_again: bool) -> Option<bool> {
        let first = self.first;
        let mut on_way =
            self.packets.iter_mut().enumerate().filter(|(_, sent)| sent.fate == Fate::UnderWay);
        let (at, packet) = if is_again { on_way.next() } else { on_way.next_back() }?;
        packet.fate = Fate::Lost;
        let (len, was_probe) = (usize::from(packet.len), packet.is_probe);
        self.flight -= len.min(self.flight);
        self.lost += 1;
        self.lost_from = self.lost_from.min(first + at as u64);
        Some(was_probe)
    }

    /// Nothing was acknowledged in time: all that is on its way is lost.
    pub(super) fn handle_timeout(&mut self) -> LostInTime {
        let mut count = 0;
        let mut probe = false;
        for packet in &mut self.packets {
            if packet.fate == Fate::UnderWay {
                count += 1;
                // If it arrives nevertheless it is none any more.
                probe |= std::mem::take(&mut packet.is_probe);
                packet.fate = Fate::Lost;
                self.lost += 1;
            }
        }
        self.lost_from = self.first;
        self.flight = 0;
        self.duplicates = 0;
        self.order.queue.clear();
        match (probe, count) {
            (true, 1) => LostInTime::Probe,
            (true, _) => LostInTime::ProbeAmongOthers,
            (false, _) => LostInTime::Others,
        }
    }

    /// When the packet that has waited longest was sent.
    #[cfg(test)]
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.packets.iter().filter(|p| p.fate == Fate::UnderWay).map(|p| p.at).min()
    }

    /// An idle connection keeps no memory.
    fn release(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = VecDeque::new();
            self.packets = VecDeque::new();
            self.order.queue = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round trips of 10 ms.
    fn rtt() -> RoundTrip {
        let mut rtt = RoundTrip::default();
        rtt.handle_sample(Duration::from_millis(10));
        rtt
    }

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// A sender with packets `101..=100 + count` on their way, sent a millisecond apart.
    fn sender(count: u64) -> Sender {
        let mut s = Sender::new(101);
        for n in 0..count {
            s.push(&[n as u8; 100]);
            assert_eq!(s.cut(at(n), 100, false).unwrap().seq, 101 + n);
        }
        s
    }

    fn ack(s: &mut Sender, ms: u64, ack: u64, sacked: &[u64]) -> Acked {
        s.handle_ack(at(ms), ack, sacked.iter().copied(), true, &rtt())
    }

    #[test]
    fn acknowledged_bytes_are_given_up_and_a_sample_is_taken() {
        let mut s = sender(4);
        assert_eq!((s.flight(), s.memory()), (400, 400));
        let acked = ack(&mut s, 20, 102, &[]);
        assert_eq!((acked.bytes, acked.packets), (200, 2));
        assert_eq!(acked.round_trip, Some(Duration::from_millis(19)));
        assert_eq!((s.flight(), s.memory(), s.first(), s.next()), (200, 200, 103, 105));
        assert_eq!(s.payload(103), (&[2; 100][..], &[][..]));
        ack(&mut s, 30, 104, &[]);
        assert!(!s.is_waiting() && s.bytes.capacity() == 0 && s.packets.capacity() == 0);
    }

    #[test]
    fn packet_is_lost_when_three_sent_later_have_arrived() {
        let mut s = sender(6);
        assert_eq!(ack(&mut s, 20, 100, &[102, 103]).lost, 0);
        assert_eq!(ack(&mut s, 20, 100, &[102, 103, 104]).lost, 1);
        let lost = s.next_lost().unwrap();
        assert_eq!((lost.seq, lost.len, s.flight()), (101, 100, 200));
        s.handle_resent(at(21), 101);
        assert_eq!((s.next_lost(), s.flight()), (None, 300));
        // It is sent once for that, unless what was sent after it arrives too.
        assert_eq!(ack(&mut s, 22, 100, &[102, 103, 104, 105]).lost, 0);
        for n in 0..3 {
            s.push(&[9; 100]);
            s.cut(at(23 + n), 100, false).unwrap();
        }
        assert_eq!(ack(&mut s, 40, 100, &[107, 108]).lost, 1);
        assert_eq!(s.next_lost().unwrap().seq, 106);
        assert_eq!(ack(&mut s, 40, 100, &[109]).lost, 1);
        assert_eq!(s.next_lost().unwrap().seq, 101);
    }

    #[test]
    fn repeated_acks_without_sack_lose_the_first_packet() {
        let mut s = sender(6);
        assert_eq!([0, 1, 2].map(|_| ack(&mut s, 20, 100, &[]).lost), [0, 0, 1]);
        assert_eq!(s.next_lost().unwrap().seq, 101);
        // With bytes of its own a packet says nothing of ours.
        let mut s = sender(6);
        for _ in 0..9 {
            assert_eq!(s.handle_ack(at(20), 100, [].into_iter(), false, &rtt()).lost, 0);
        }
    }

    #[test]
    fn late_packet_widens_what_counts_as_reordering() {
        let mut s = sender(6);
        assert_eq!(ack(&mut s, 20, 100, &[102, 103, 104]).lost, 1);
        let acked = ack(&mut s, 20, 104, &[]);
        assert_eq!((acked.bytes, acked.round_trip, s.has_lost()), (100, None, false));
        assert_eq!(s.order.reordering, 6);
    }

    #[test]
    fn timeout_loses_all_and_a_lone_probe_is_told() {
        let mut s = sender(3);
        assert_eq!(s.handle_timeout(), LostInTime::Others);
        assert_eq!((s.flight(), s.lost, s.next_lost().unwrap().seq), (0, 3, 101));
        assert_eq!(s.oldest(), None);
        let mut s = Sender::new(101);
        s.push(&[0; 500]);
        let probe = s.cut(at(0), 300, true).unwrap();
        assert!(probe.is_probe);
        assert_eq!(s.handle_timeout(), LostInTime::Probe);
        let again = s.next_lost().unwrap();
        assert_eq!((again.len, again.is_probe), (300, false));
        // That it has arrived is no sign any more.
        assert_eq!(ack(&mut s, 1000, 101, &[]).probe, None);
    }

    #[test]
    fn silence_repeats_the_last_packet_and_tells_what_is_missing() {
        let mut s = sender(6);
        ack(&mut s, 12, 102, &[]);
        // 103 to 106 are lost.
        assert_eq!(s.handle_silence(false), Some(false));
        let tail = s.next_lost().unwrap();
        assert_eq!((tail.seq, s.flight()), (106, 300));
        s.handle_resent(at(40), 106);
        let acked = ack(&mut s, 50, 102, &[106]);
        assert_eq!((acked.lost, acked.round_trip), (3, None));
        assert_eq!((s.next_lost().unwrap().seq, s.flight()), (103, 0));
        // Where that told nothing, the first.
        let mut s = sender(4);
        assert_eq!(s.handle_silence(true), Some(false));
        assert_eq!(s.next_lost().unwrap().seq, 101);
        // Its first sending has only been late.
        let mut s = sender(2);
        assert_eq!(s.handle_silence(false), Some(false));
        s.next_lost().unwrap();
        s.handle_resent(at(40), 102);
        assert_eq!(ack(&mut s, 41, 102, &[]).lost, 0);
        assert_eq!(s.handle_silence(false), None);
    }

    #[test]
    fn packet_is_lost_when_one_sent_a_round_trip_later_has_arrived() {
        let mut s = sender(1);
        s.push(&[1; 100]);
        s.cut(at(24), 100, false).unwrap();
        assert_eq!(ack(&mut s, 34, 100, &[102]).lost, 0, "a machine may pause for so long");
        s.push(&[2; 100]);
        s.cut(at(25), 100, false).unwrap();
        assert_eq!(ack(&mut s, 35, 100, &[102, 103]).lost, 1);
        assert_eq!(s.next_lost().unwrap().seq, 101);
    }

    #[test]
    fn lost_probe_alone_is_no_loss() {
        let mut s = Sender::new(101);
        s.push(&[0; 2000]);
        s.cut(at(0), 300, true).unwrap();
        (0..5).for_each(|_| _ = s.cut(at(0), 100, false).unwrap());
        let acked = ack(&mut s, 20, 100, &[102, 103, 104, 105]);
        assert_eq!((acked.lost, acked.probe), (0, Some(false)));
        assert_eq!(s.next_lost().unwrap().seq, 101);
    }

    #[test]
    fn end_is_a_packet_behind_the_last_byte_and_sent_once() {
        let mut s = Sender::new(101);
        s.push(b"abc");
        s.end();
        s.push(b"more");
        assert_eq!(s.cut(at(0), 100, false).map(|o| (o.len, o.is_end)), Some((3, false)));
        assert_eq!(s.cut(at(0), 100, false).map(|o| (o.len, o.is_end)), Some((0, true)));
        assert_eq!(s.cut(at(0), 100, false), None);
        ack(&mut s, 1, 101, &[]);
        assert!(!s.is_over());
        ack(&mut s, 1, 102, &[]);
        assert!(s.is_over());
        assert_eq!(s.cut(at(0), 100, false), None);
    }
}
