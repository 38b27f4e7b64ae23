//! One connection: how far it is, what it owes the other side, and its end. Packets come in and
//! go out by it; the table around it knows which is whose. What leaves, and how fast, is the
//! outflow's.

use std::{net::SocketAddr, time::Duration};

use super::{
    base_delay::BaseDelay,
    event::{UtpClose, UtpLimits, UtpStats},
    number::{first, is_before, widen},
    outflow::{MAX_PACKETS, Outflow},
    receive::{Received, Receiver},
};
use crate::{
    base::{time::Instant, timers::Wakeup},
    wire::utp::{HEADER_LEN, Header, Kind, Packet, encode_header},
};

/// Times that a packet is sent in vain before the connection is given up (libutp: 4).
const MAX_TIMEOUTS: u8 = 6;
/// The same of a SYN and of the end of the stream (libtorrent: 2).
const MAX_LONE_TIMEOUTS: u8 = 2;
/// Silence of ours after which a NAT on the way is reminded (libutp).
const KEEP_ALIVE: Duration = Duration::from_secs(29);
/// So long the other side may take to show that it hears us (libtorrent's connect time-out).
const UNCONFIRMED: Duration = Duration::from_secs(3);
/// How long a socket that its owner has closed stays for what is still to be sent.
const LINGER: Duration = Duration::from_secs(20);
/// A drift of the clocks within one sample that is believed, in microseconds (libutp).
const MAX_DRIFT: u32 = 10_000;
/// What uTorrent sends for a delay that it does not know.
const UNKNOWN_DELAY: u32 = 0x7FFF_FFFF;
/// Segments in a burst, and bytes: what a system takes at once (Linux: 64, and an IP packet).
const MAX_SEGMENTS: usize = 64;
const MAX_BURST: usize = 65_000;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// We have dialled, and wait for the answer.
    Connecting,
    /// The other side has dialled, and not shown that it hears us.
    Unconfirmed,
    Connected,
    /// Its owner has left it; what was written is still sent.
    Closing,
    Dead,
}

/// What the owner is to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// It is made, dialled by us or by the other side.
    pub(super) made: bool,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) closed: Option<UtpClose>,
}

/// The clock of the other side, beside ours.
#[derive(Clone, Copy, Debug, Default)]
struct PeerClock {
    /// The last one-way delay of what came, to be told; 0: none.
    delay: u32,
    base: BaseDelay,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    /// An acknowledgement, once no more datagrams wait to be read.
    ack: bool,
    /// They have been read: now.
    ack_now: bool,
    syn: bool,
    /// The owner has more to write than there was room for.
    room: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Socket {
    remote: SocketAddr,
    /// What the other side puts on its packets, and what we put on ours.
    recv_id: u16,
    send_id: u16,
    state: State,
    out: Outflow,
    receive: Receiver,
    clock: PeerClock,
    /// Bytes that we have said we have room for.
    told: usize,
    owed: Owed,
    /// When a socket that is closing is given up.
    give_up: Option<Instant>,
    news: News,
    /// Why the other side closes, and why we do.
    their_reason: Option<u16>,
    our_reason: Option<u16>,
    place: Place,
}

/// What the table remembers of a socket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) wakeup: Wakeup,
    /// It is among those that have something to send.
    pub(super) in_line: bool,
    /// It is among those that owe an acknowledgement.
    pub(super) in_acks: bool,
    /// Its owner was told that there is something to read, and has not looked.
    pub(super) readable: bool,
    /// It counts as one that has not shown that it hears us.
    pub(super) unconfirmed: bool,
    /// Bytes that it was counted for.
    pub(super) memory: usize,
}

impl Socket {
    /// Dials.
    pub(super) fn connecting(
        now: Instant,
        remote: SocketAddr,
        id: u16,
        seq: u16,
        limits: &UtpLimits,
    ) -> Self {
        let mut socket = Self::new(now, remote, (id, id.wrapping_add(1)), seq, 0, limits);
        socket.state = State::Connecting;
        socket.owed.syn = true;
        socket
    }

    /// Takes a SYN, whose answer is owed.
    pub(super) fn accepted(
        now: Instant,
        remote: SocketAddr,
        syn: &Header,
        seq: u16,
        limits: &UtpLimits,
    ) -> Self {
        let id = syn.connection;
        // Our first packet has the number that the answer to the SYN tells.
        let mut socket =
            Self::new(now, remote, (id.wrapping_add(1), id), seq.wrapping_sub(1), syn.seq, limits);
        socket.owed.ack = true;
        socket.out.set_peer_window(syn.window as usize);
        socket.note_clock(now, syn.timestamp);
        socket.out.expect_until(now + UNCONFIRMED);
        socket
    }

    fn new(
        now: Instant,
        remote: SocketAddr,
        (recv_id, send_id): (u16, u16),
        before: u16,
        ack: u16,
        limits: &UtpLimits,
    ) -> Self {
        Self {
            remote,
            recv_id,
            send_id,
            state: State::Unconfirmed,
            out: Outflow::new(now, remote.ip(), first(before) + 1, limits),
            receive: Receiver::new(first(ack)),
            clock: PeerClock::default(),
            told: 0,
            owed: Owed::default(),
            give_up: None,
            news: News::default(),
            their_reason: None,
            our_reason: None,
            place: Place::default(),
        }
    }

    // Getters.

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(super) fn recv_id(&self) -> u16 {
        self.recv_id
    }

    /// Whether packets of either side have this number.
    pub(super) fn has_id(&self, id: u16) -> bool {
        self.recv_id == id || self.send_id == id
    }

    /// Whether we have dialled: who does chooses the lower number for itself.
    pub(super) fn has_dialled(&self) -> bool {
        self.send_id == self.recv_id.wrapping_add(1)
    }

    pub(super) fn is_unconfirmed(&self) -> bool {
        self.state == State::Unconfirmed
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state == State::Dead
    }

    pub(super) fn their_reason(&self) -> Option<u16> {
        self.their_reason
    }

    pub(super) fn place(&mut self) -> &mut Place {
        &mut self.place
    }

    /// What the owner is to be told.
    pub(super) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Bytes that came and were not read, or came behind a gap.
    pub(super) fn memory(&self) -> usize {
        self.receive.memory()
    }

    /// Bytes that the owner may write now.
    pub(super) fn room(&self) -> usize {
        if self.state == State::Connected { self.out.room() } else { 0 }
    }

    /// Whether there may be something to send now.
    pub(super) fn has_output(&self) -> bool {
        match self.state {
            State::Dead => false,
            State::Connecting => self.owed.syn,
            State::Unconfirmed => self.owed.ack_now,
            State::Connected | State::Closing => self.owed.ack_now || self.out.has_output(),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let keep_alive = (self.state == State::Connected).then(|| self.out.sent() + KEEP_ALIVE);
        [self.out.deadline(), self.give_up, keep_alive].into_iter().flatten().min()
    }

    pub(super) fn owes_ack(&self) -> bool {
        self.owed.ack
    }

    // Inputs.

    /// A packet of this connection came; `room`: bytes that may be kept of it in all.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        room: usize,
        stats: &mut UtpStats,
    ) {
        let header = &packet.header;
        match (self.state, header.kind) {
            (State::Dead, _) => return,
            (_, Kind::Syn) => {
                // Our answer was lost.
                self.owed.ack |= self.state != State::Connecting;
                return;
            }
            (_, Kind::Reset) => return self.handle_reset(header),
            (State::Connecting, kind) => {
                if kind != Kind::State || !self.is_acked(header) {
                    return;
                }
                // A STATE has no number of its own: it tells the next.
                self.receive = Receiver::new(first(header.seq) - 1);
                self.out.handle_answer(now);
                self.make();
            }
            (State::Unconfirmed, _) => {
                if !self.is_acked(header) {
                    return;
                }
                self.make();
            }
            (State::Connected | State::Closing, _) => {}
        }
        let ack = widen(self.out.first() - 1, header.ack);
        let seq = widen(self.receive.ack(), header.seq);
        if ack >= self.out.next() || seq.abs_diff(self.receive.ack()) > MAX_PACKETS as u64 {
            return;
        }
        stats.packets_in += 1;
        self.note_clock(now, header.timestamp);
        if header.delay != 0 && header.delay != UNKNOWN_DELAY {
            self.out.handle_delay(now, header.delay);
        }
        self.their_reason = packet.close_reason.or(self.their_reason);
        if ack + 1 >= self.out.first() {
            self.out.handle_ack(now, ack, packet);
        }
        match header.kind {
            Kind::Data => self.handle_stream(seq, packet.payload, false, room, stats),
            Kind::Fin => self.handle_stream(seq, packet.payload, true, room, stats),
            _ => {}
        }
        if self.owed.room && self.room() > 0 {
            (self.owed.room, self.news.writable) = (false, true);
        }
        self.look_at_end(now);
    }

    /// Whether a packet acknowledges the number before our first, and nothing else: that of our
    /// SYN, or of our answer to one.
    fn is_acked(&self, header: &Header) -> bool {
        widen(self.out.first(), header.ack) + 1 == self.out.first()
    }

    fn make(&mut self) {
        self.state = State::Connected;
        self.news.made = true;
        self.out.begin();
        self.owed.syn = false;
    }

    fn note_clock(&mut self, now: Instant, timestamp: u32) {
        let delay = micros(now).wrapping_sub(timestamp);
        // 0 would say that there is none.
        self.clock.delay = delay.max(1);
        let before = self.clock.base.base();
        _ = self.clock.base.handle_sample(now, delay, i32::MAX as u32);
        if let Some((before, base)) = before.zip(self.clock.base.base())
            && is_before(base, before)
        {
            let drift = before.wrapping_sub(base);
            // Their clock gains on ours, and what they tell of our packets becomes more.
            if drift <= MAX_DRIFT {
                self.out.handle_drift(drift);
            }
        }
    }

    fn handle_stream(
        &mut self,
        seq: u64,
        payload: &[u8],
        is_end: bool,
        room: usize,
        stats: &mut UtpStats,
    ) {
        match self.receive.handle_packet(seq, payload, is_end, room) {
            Received::InOrder if self.state == State::Closing => {
                // Its owner has left.
                self.receive.handle_read(usize::MAX);
            }
            Received::InOrder => self.news.readable |= self.receive.unread() > 0,
            Received::Held => {}
            Received::Twice => stats.duplicates += 1,
            Received::Refused => stats.refused += 1,
        }
        self.owed.ack = true;
    }

    fn handle_reset(&mut self, header: &Header) {
        // Who cannot see our packets does not know their numbers: it must be of one that is on its
        // way, of the next (which a STATE tells), or of the last.
        let of = widen(self.out.first(), header.ack);
        let (from, to) = (self.out.first() - 1, self.out.next());
        if self.state == State::Unconfirmed || (from..=to).contains(&of) {
            self.end(UtpClose::Reset);
        }
    }

    /// No more datagrams wait to be read: acknowledgements go out.
    pub(super) fn handle_drained(&mut self) {
        self.owed.ack_now |= std::mem::take(&mut self.owed.ack);
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant, stats: &mut UtpStats) {
        if self.give_up.is_some_and(|at| at <= now) {
            return self.end(UtpClose::TimedOut);
        }
        if self.out.take_due(now) {
            self.handle_retransmit(now, stats);
        }
        if matches!(self.state, State::Connected | State::Closing) {
            self.out.handle_time(now);
            self.out.probe_tail(now, stats);
        }
        if self.state == State::Connected && now >= self.out.sent() + KEEP_ALIVE {
            self.owed.ack_now = true;
            self.out.touch(now);
        }
    }

    fn handle_retransmit(&mut self, now: Instant, stats: &mut UtpStats) {
        stats.timeouts += 1;
        let lone = match self.state {
            State::Dead => return,
            // Nothing is sent twice to an address that may be another's.
            State::Unconfirmed => return self.end(UtpClose::TimedOut),
            State::Connecting => true,
            State::Closing => !self.out.has_unsent(),
            State::Connected => false,
        };
        let is_dial = self.state == State::Connecting;
        if !is_dial && !self.out.is_waiting() {
            return self.out.try_shut_window();
        }
        let most = if lone { MAX_LONE_TIMEOUTS } else { MAX_TIMEOUTS };
        if self.out.handle_timeout(now, is_dial) > most {
            return self.end(UtpClose::TimedOut);
        }
        self.owed.syn |= is_dial;
    }

    // Verbs.

    /// Appends to the stream; returns how many bytes were taken.
    pub(super) fn write(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.out.write(now, bytes.get(..taken).unwrap_or_default());
        taken
    }

    /// The owner has more to write than [`room`](Self::room) allows, and is to be told.
    pub(super) fn want_room(&mut self) {
        self.owed.room = true;
    }

    /// What can be read, which is the owner's to change.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.receive.bytes()
    }

    /// Takes at most so many bytes out.
    pub(super) fn take(&mut self, most: usize) -> Vec<u8> {
        self.receive.take(most)
    }

    /// So many bytes of it were read; `window`: bytes there is room for now.
    pub(super) fn read(&mut self, now: Instant, len: usize, window: usize) {
        self.receive.handle_read(len);
        let small = 2 * self.out.full();
        if self.told < small && window >= small {
            // The other side waits for that.
            self.owed.ack_now = true;
        }
        self.look_at_end(now);
    }

    /// The owner leaves: what was written is still sent, and the end behind it.
    pub(super) fn close(&mut self, now: Instant, reason: Option<u16>) {
        match self.state {
            State::Connected => {
                self.state = State::Closing;
                self.our_reason = reason;
                self.out.end();
                self.receive.handle_read(usize::MAX);
                self.give_up = Some(now + LINGER);
                self.news = News::default();
            }
            State::Closing => {}
            _ => self.state = State::Dead,
        }
    }

    /// The stream of the other side may be over, or ours.
    fn look_at_end(&mut self, now: Instant) {
        if self.receive.is_over() && self.state == State::Connected {
            // There is nothing left to say to it.
            self.out.drop_unsent();
            self.close(now, None);
            self.news.closed = Some(UtpClose::End);
        }
        if self.state == State::Closing && self.out.is_over() {
            // The last acknowledgement is for the table to send: it answers a repeated end.
            let wait = self.out.timeout() * if self.receive.is_over() { 1 } else { 4 };
            self.give_up = self.give_up.min(Some(now + wait));
        }
    }

    /// It is no more, without a word.
    pub(super) fn forget(&mut self) {
        self.state = State::Dead;
    }

    fn end(&mut self, cause: UtpClose) {
        if matches!(self.state, State::Connecting | State::Connected) {
            self.news.closed = Some(cause);
        }
        self.state = State::Dead;
    }

    // Outputs.

    fn header(&self, now: Instant, kind: Kind, seq: u64) -> Header {
        Header {
            kind,
            connection: if kind == Kind::Syn { self.recv_id } else { self.send_id },
            timestamp: micros(now),
            delay: self.clock.delay,
            window: u32::try_from(self.told).unwrap_or(u32::MAX),
            seq: seq as u16,
            ack: if kind == Kind::Syn { 0 } else { self.receive.ack() as u16 },
        }
    }

    /// Appends the next burst to `out`: packets of one length, the last of which may be shorter.
    /// `window`: bytes there is room for. Returns the length and whether it is a probe.
    pub(super) fn transmit(
        &mut self,
        now: Instant,
        window: usize,
        out: &mut Vec<u8>,
        stats: &mut UtpStats,
    ) -> Option<(usize, bool)> {
        self.told = window;
        if std::mem::take(&mut self.owed.syn) {
            let header = self.header(now, Kind::Syn, self.out.first() - 1);
            encode_header(&header, &[], None, out);
            self.note_sent(now, 1, stats);
            return Some((out.len(), false));
        }
        if matches!(self.state, State::Connected | State::Closing)
            && let Some(burst) = self.transmit_stream(now, out, stats)
        {
            return Some(burst);
        }
        if std::mem::take(&mut self.owed.ack_now) {
            self.owed.ack = false;
            let mut sack = Vec::new();
            self.receive.sack(&mut sack);
            let header = self.header(now, Kind::State, self.out.next());
            encode_header(&header, &sack, None, out);
            self.note_sent(now, 1, stats);
            return Some((out.len(), false));
        }
        None
    }

    fn transmit_stream(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        stats: &mut UtpStats,
    ) -> Option<(usize, bool)> {
        let (mut segment, mut count) = (0, 0);
        while count < MAX_SEGMENTS && out.len() + segment <= MAX_BURST {
            let most = if count == 0 { usize::MAX } else { segment - HEADER_LEN };
            let Some(next) = self.out.next_packet(now, most, stats) else { break };
            let kind = if next.is_end { Kind::Fin } else { Kind::Data };
            let reason = self.our_reason.filter(|_| next.is_end);
            let before = out.len();
            encode_header(&self.header(now, kind, next.seq), &[], reason, out);
            let (head, tail) = self.out.payload(next.seq);
            out.extend_from_slice(head);
            out.extend_from_slice(tail);
            count += 1;
            let len = out.len() - before;
            if count == 1 {
                segment = len;
            }
            // The end and a probe go alone, and a shorter one ends the burst.
            if next.is_end || next.is_probe || len < segment {
                self.finish_burst(now, count, stats);
                return Some((segment, next.is_probe));
            }
        }
        if count == 0 {
            return None;
        }
        self.finish_burst(now, count, stats);
        Some((segment, false))
    }

    fn finish_burst(&mut self, now: Instant, count: usize, stats: &mut UtpStats) {
        self.note_sent(now, count, stats);
        if !self.receive.has_gap() {
            (self.owed.ack, self.owed.ack_now) = (false, false);
        }
    }

    fn note_sent(&mut self, now: Instant, count: usize, stats: &mut UtpStats) {
        stats.packets_out += count as u64;
        self.out.note_sent(now, self.state == State::Connecting);
    }

    /// The reset that refuses the connection.
    pub(super) fn reset(&self, now: Instant) -> Header {
        self.header(now, Kind::Reset, self.out.next())
    }

    /// How long packets wait on their way, in microseconds.
    pub(super) fn queue_delay(&self) -> u32 {
        self.out.queue_delay()
    }

    pub(super) fn congestion_window(&self) -> usize {
        self.out.congestion_window()
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.out.round_trip()
    }
}

/// The clock of uTP.
pub(super) fn micros(now: Instant) -> u32 {
    now.as_micros() as u32
}
