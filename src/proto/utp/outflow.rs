//! What leaves by a connection: the stream in packets, how many of them may be on their way, when
//! they count as lost, and how long they may be.
//!
//! It does not know how far the connection is, nor what comes by it beside acknowledgements.

use std::{net::IpAddr, time::Duration};

use super::{
    congestion::{Congestion, Loss, Progress},
    event::{UtpLimits, UtpStats},
    mtu::{LARGEST, MtuSearch, RELAYED},
    round_trip::RoundTrip,
    send::{LostInTime, Outgoing, Sender},
};
use crate::{
    base::time::Instant,
    wire::utp::{Kind, Packet},
};

/// Packets that may be on their way: their numbers have 16 bits, and half of those tell before from
/// after.
pub(super) const MAX_PACKETS: usize = 30_000;
/// After so long a window of the other side that is shut is tried (libutp).
const SHUT: Duration = Duration::from_secs(15);
/// Times that a packet is sent once more in a silence.
const MAX_PROBES: u8 = 3;
/// Packets beyond the window that the owner may write ahead.
const AHEAD: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Outflow {
    send: Sender,
    congestion: Congestion,
    rtt: RoundTrip,
    mtu: MtuSearch,
    /// Bytes that the other side has room for.
    peer_window: usize,
    /// Bytes that may be sent again although the window is full.
    credit: usize,
    /// When what is on its way counts as lost.
    deadline: Option<Instant>,
    tail: Tail,
    /// Packets sent once more since something was acknowledged.
    probes: u8,
    /// When something was sent last.
    sent: Instant,
    /// Time-outs in a row.
    timeouts: u8,
}

/// Whether the last packet is to be sent once more, to learn what is missing before all counts as
/// lost (RFC 8985, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// Nothing is on its way, or the time-out comes as soon.
    Quiet,
    /// It is when nothing is sent or acknowledged for long; `is_heard`: something else has come
    /// since.
    Armed { since: Instant, is_heard: bool },
    /// It was, and nothing was acknowledged since.
    Probed,
}

impl Outflow {
    /// The first packet of the stream has the number `next`.
    pub(super) fn new(now: Instant, to: IpAddr, next: u64, limits: &UtpLimits) -> Self {
        let most = if limits.relayed { RELAYED } else { LARGEST[0] };
        let mtu = MtuSearch::new(to, most, now);
        let rtt = RoundTrip::default();
        Self {
            send: Sender::new(next),
            congestion: Congestion::new(now, mtu.payload(), limits.max_window, next),
            deadline: Some(now + rtt.timeout()),
            rtt,
            mtu,
            tail: Tail::Quiet,
            probes: 0,
            peer_window: 0,
            credit: 0,
            sent: now,
            timeouts: 0,
        }
    }

    // Getters.

    /// The number of the first packet that is not acknowledged, and of the next that is cut.
    pub(super) fn first(&self) -> u64 {
        self.send.first()
    }

    pub(super) fn next(&self) -> u64 {
        self.send.next()
    }

    /// Bytes of a full packet.
    pub(super) fn full(&self) -> usize {
        self.mtu.payload()
    }

    /// Bytes that may be written now.
    pub(super) fn room(&self) -> usize {
        let ahead = self.window() + AHEAD * self.full();
        ahead.saturating_sub(self.send.flight() + self.send.uncut())
    }

    /// Whether there may be something to send now.
    pub(super) fn has_output(&self) -> bool {
        self.send.has_lost() || self.has_unsent() || self.send.wants_end()
    }

    /// Whether something that was written has not left.
    pub(super) fn has_unsent(&self) -> bool {
        self.send.uncut() > 0
    }

    /// Whether something is on its way.
    pub(super) fn is_waiting(&self) -> bool {
        self.send.is_waiting()
    }

    /// Whether the end of the stream has arrived.
    pub(super) fn is_over(&self) -> bool {
        self.send.is_over()
    }

    /// When time has something to do here.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.tail_due(), self.deadline, self.congestion.due()].into_iter().flatten().min()
    }

    /// When the last packet is to be sent once more.
    fn tail_due(&self) -> Option<Instant> {
        let Tail::Armed { since, is_heard } = self.tail else { return None };
        Some(since + self.rtt.probe_timeout(self.send.packets() == 1, is_heard)?)
    }

    /// When something was sent last.
    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    /// How long an acknowledgement may take.
    pub(super) fn timeout(&self) -> Duration {
        self.rtt.timeout()
    }

    /// How long packets wait on their way, in microseconds.
    pub(super) fn queue_delay(&self) -> u32 {
        self.congestion.queue_delay()
    }

    pub(super) fn congestion_window(&self) -> usize {
        self.congestion.window()
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.rtt.smoothed()
    }

    /// The bytes of a packet, which may wrap in the buffer.
    pub(super) fn payload(&self, seq: u64) -> (&[u8], &[u8]) {
        self.send.payload(seq)
    }

    fn window(&self) -> usize {
        self.congestion.window().min(self.peer_window)
    }

    // Inputs.

    /// The other side has room for so many bytes.
    pub(super) fn set_peer_window(&mut self, bytes: usize) {
        self.peer_window = bytes;
    }

    /// What is on its way counts as lost only then.
    pub(super) fn expect_until(&mut self, at: Instant) {
        self.deadline = Some(at);
    }

    /// The answer to our SYN came.
    pub(super) fn handle_answer(&mut self, now: Instant) {
        if self.timeouts == 0 {
            self.rtt.handle_sample(now.since(self.sent));
        }
    }

    /// The connection is made.
    pub(super) fn begin(&mut self) {
        (self.timeouts, self.deadline) = (0, None);
    }

    /// The other side tells how long a packet of ours took, by its clock and ours.
    pub(super) fn handle_delay(&mut self, now: Instant, delay: u32) {
        self.congestion.handle_delay(now, delay, &self.rtt);
    }

    /// The clock of the other side gains so many microseconds on ours.
    pub(super) fn handle_drift(&mut self, drift: u32) {
        self.congestion.handle_drift(drift);
    }

    /// A packet acknowledges all up to `ack`, and maybe some behind it.
    pub(super) fn handle_ack(&mut self, now: Instant, ack: u64, packet: &Packet<'_>) {
        self.peer_window = packet.header.window as usize;
        let is_bare = packet.header.kind == Kind::State;
        let flight = self.send.flight();
        let sacked = packet.sacked().map(|behind| ack + behind);
        let acked = self.send.handle_ack(now, ack, sacked, is_bare, &self.rtt);
        match acked.probe {
            Some(true) => self.mtu.handle_arrived(now),
            Some(false) => self.mtu.handle_lost(now),
            None => {}
        }
        if let Some(sample) = acked.round_trip {
            self.rtt.handle_sample(sample);
        }
        let full = self.full();
        if acked.packets > 0 {
            self.rtt.handle_progress();
            self.timeouts = 0;
            self.deadline = self.send.is_waiting().then(|| now + self.rtt.timeout());
            (self.tail, self.probes) = (Tail::Quiet, 0);
            self.arm_tail(now);
            let progress = Progress {
                bytes: acked.bytes,
                flight,
                first: self.send.first(),
                next: self.send.next(),
            };
            self.congestion.handle_progress(now, progress, full, &self.rtt);
        } else {
            self.hear_nothing_new(now);
            if self.peer_window < full {
                // It lives, and refuses what is on its way: its owner does not read.
                self.timeouts = 0;
            }
        }
        self.await_window(now);
        if acked.lost > 0 {
            let loss = Loss { bytes: acked.lost * full, sent: acked.lost_sent };
            self.congestion.handle_loss(now, loss, &self.rtt, full);
            self.credit += full;
        }
        // What has arrived makes room for what is missing, whatever the window has become.
        self.credit = if self.send.has_lost() { self.credit + acked.bytes } else { 0 };
    }

    /// Whether what is on its way counts as lost now; told once.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.deadline.is_some_and(|at| at <= now);
        if is_due {
            self.deadline = None;
        }
        is_due
    }

    /// Time has passed: more may be on its way now.
    pub(super) fn handle_time(&mut self, now: Instant) {
        self.congestion.handle_time(now);
    }

    /// The last packet is to be sent once more, if it is time for that.
    pub(super) fn probe_tail(&mut self, now: Instant, stats: &mut UtpStats) {
        if self.tail_due().is_none_or(|at| at > now) {
            return;
        }
        self.tail = Tail::Probed;
        let Some(was_probe) = self.send.handle_silence(self.probes > 0) else { return };
        self.probes += 1;
        if was_probe {
            self.mtu.handle_lost(now);
        }
        stats.tail_probes += 1;
        self.credit = self.credit.max(1);
    }

    /// Something is on its way since now, or still: the last of it may be lost.
    fn arm_tail(&mut self, now: Instant) {
        if self.tail != Tail::Probed && self.send.is_waiting() {
            self.tail = Tail::Armed { since: now, is_heard: false };
        }
    }

    /// The other side has said something, and acknowledged nothing by it. libtorrent does so with
    /// requests that wait for an acknowledgement to go with: of what came behind a gap they do not
    /// tell, and nothing else will.
    fn hear_nothing_new(&mut self, now: Instant) {
        self.tail = match self.tail {
            Tail::Armed { since, .. } => Tail::Armed { since, is_heard: true },
            Tail::Probed if self.probes < MAX_PROBES => Tail::Armed { since: now, is_heard: true },
            Tail::Probed | Tail::Quiet => return,
        };
    }

    /// A window that is shut is tried after a while if nothing is on its way that would be
    /// answered: the word that it opens may be lost.
    fn await_window(&mut self, now: Instant) {
        if !self.send.is_waiting() {
            let is_shut = self.has_unsent() && self.peer_window == 0;
            self.deadline = is_shut.then(|| self.deadline.unwrap_or(now + SHUT));
        }
    }

    /// The window of the other side is shut, and the word that it opens may be lost.
    pub(super) fn try_shut_window(&mut self) {
        self.peer_window = self.peer_window.max(self.full());
    }

    /// What was sent last is lost: our SYN, if `is_dial`. Returns how often in a row that was.
    pub(super) fn handle_timeout(&mut self, now: Instant, is_dial: bool) -> u8 {
        self.timeouts = self.timeouts.saturating_add(1);
        self.rtt.handle_timeout();
        (self.tail, self.probes) = (Tail::Quiet, 0);
        if !is_dial {
            let lost = self.send.handle_timeout();
            match lost {
                LostInTime::Probe => self.mtu.handle_lost(now),
                LostInTime::ProbeAmongOthers => self.mtu.handle_unknown(),
                LostInTime::Others => {}
            }
            if lost != LostInTime::Probe {
                self.congestion.handle_timeout(now, self.mtu.payload());
            }
        }
        self.credit = 0;
        self.deadline = Some(now + self.rtt.timeout());
        self.timeouts
    }

    // Verbs.

    /// Appends to the stream.
    pub(super) fn write(&mut self, now: Instant, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let idle = !self.send.is_waiting() && !self.has_unsent();
        if idle && now >= self.sent + self.rtt.timeout() {
            self.congestion.handle_idle(self.mtu.payload());
        }
        self.send.push(bytes);
        self.await_window(now);
    }

    /// The stream ends behind what was written.
    pub(super) fn end(&mut self) {
        self.send.end();
    }

    /// What was written and has not left will not.
    pub(super) fn drop_unsent(&mut self) {
        self.send.drop_uncut();
        if !self.send.is_waiting() {
            // No window is waited for.
            self.deadline = None;
        }
    }

    /// Something counts as sent that is no packet of the stream.
    pub(super) fn touch(&mut self, now: Instant) {
        self.sent = now;
    }

    // Outputs.

    /// The next packet of the stream, of at most `most` bytes, which is under way from now on.
    pub(super) fn next_packet(
        &mut self,
        now: Instant,
        most: usize,
        stats: &mut UtpStats,
    ) -> Option<Outgoing> {
        let full = self.full();
        if let Some(lost) = self.send.next_lost() {
            let fits = self.send.flight() + lost.len <= self.window();
            if lost.len > most || lost.is_end && most != usize::MAX {
                return None;
            }
            if !fits && self.credit == 0 && self.send.flight() > 0 {
                return None;
            }
            if !fits {
                self.credit = self.credit.saturating_sub(lost.len.max(1));
            }
            self.send.handle_resent(now, lost.seq);
            stats.resent += 1;
            return Some(self.leaving(now, lost));
        }
        if self.send.packets() >= MAX_PACKETS {
            return None;
        }
        let (uncut, flight) = (self.send.uncut(), self.send.flight());
        if uncut == 0 {
            return if most == usize::MAX { self.cut(now, 0, false) } else { None };
        }
        let room = self.window().saturating_sub(flight);
        if most == usize::MAX
            && let Some(probe) =
                self.mtu.next_probe(now).filter(|&probe| uncut >= probe && room >= probe)
            && self.window() > 3 * probe
        {
            return self.cut(now, probe, true);
        }
        let len = full.min(uncut).min(most);
        if len <= room {
            return self.cut(now, len, false);
        }
        // No slivers: a whole packet, or one at a time.
        (self.send.packets() == 0 && self.peer_window > 0)
            .then(|| self.cut(now, len.min(self.peer_window), false))
            .flatten()
    }

    fn cut(&mut self, now: Instant, len: usize, is_probe: bool) -> Option<Outgoing> {
        self.send.cut(now, len, is_probe).map(|packet| self.leaving(now, packet))
    }

    fn leaving(&mut self, now: Instant, packet: Outgoing) -> Outgoing {
        self.arm_tail(now);
        if packet.is_probe {
            self.mtu.handle_sent(packet.len);
        }
        packet
    }

    /// Something has left; `is_dial`: our SYN.
    pub(super) fn note_sent(&mut self, now: Instant, is_dial: bool) {
        self.sent = now;
        if self.send.is_waiting() || is_dial {
            self.deadline.get_or_insert(now + self.rtt.timeout());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::wire::utp::Header;

    #[test]
    fn probe_lost_among_others_is_sent_again() {
        let (mut now, mut stats) = (Instant::ZERO, UtpStats::default());
        let mut out = Outflow::new(now, Ipv4Addr::LOCALHOST.into(), 101, &UtpLimits::default());
        out.begin();
        out.set_peer_window(1 << 20);
        out.write(now, &[0; 10_000]);
        let sizes: Vec<_> = std::iter::from_fn(|| out.next_packet(now, usize::MAX, &mut stats))
            .map(|packet| (packet.len, packet.is_probe))
            .collect();
        assert_eq!(sizes.first(), Some(&(1452, true)));
        assert!(sizes.len() > 5 && !sizes[1..].iter().any(|&(_, is_probe)| is_probe));
        out.note_sent(now, false);
        now = now + Duration::from_secs(1);
        assert!(out.take_due(now));
        assert_eq!(out.handle_timeout(now, false), 1);
        let last = out.next() - 1;
        for seq in 101..=last {
            let again = out.next_packet(now, usize::MAX, &mut stats).unwrap();
            assert_eq!((again.seq, again.is_probe), (seq, false));
            let header = Header {
                kind: Kind::State,
                connection: 1,
                timestamp: 0,
                delay: 0,
                window: 1 << 20,
                seq: 1,
                ack: seq as u16,
            };
            let packet = Packet { header, sack: &[], close_reason: None, payload: &[] };
            out.handle_ack(now, seq, &packet);
        }
        assert_eq!((out.full(), out.is_waiting()), (1212, false));
        // It is as large as before, since not its size was the reason.
        assert_eq!(out.mtu.next_probe(now), Some(1452));
    }
}
