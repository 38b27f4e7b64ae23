//! All sockets: which packet is whose, which of them have something to send, and what is answered
//! to packets that belong to none.
//!
//! What can be spoofed is bounded: a SYN makes a small socket that dies at its first time-out and
//! is never answered twice but for a SYN that is repeated; resets are answered to no reset and to
//! no STATE, once each.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use super::{
    event::{UtpEvent, UtpLimits, UtpStats, UtpTransmit},
    socket::{Socket, micros},
};
use crate::{
    base::{
        arena::{Arena, Key},
        rng::Rng,
        time::Instant,
        timers::Deadlines,
    },
    wire::utp::{Header, Kind, Packet, encode_header},
};

/// Tries to find an id that is free.
const MAX_TRIES: usize = 16;
/// Resets that are remembered, and for how long, so that each is sent once (libutp: 1000, 10 s).
const MAX_RESETS: usize = 1000;
const RESET_MEMORY: Duration = Duration::from_secs(10);
/// Unconfirmed sockets of one host: a share of all.
const HOST_SHARE: usize = 4;
/// Bytes that a socket may keep in any case, so that none is starved by the others.
const ALWAYS: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub struct UtpSockets {
    limits: UtpLimits,
    rng: Rng,
    sockets: Arena<Socket>,
    by_id: BTreeMap<(SocketAddr, u16), Key>,
    deadlines: Deadlines<Key>,
    /// Sockets that have something to send.
    line: VecDeque<Key>,
    /// Sockets that owe an acknowledgement since datagrams were read.
    acks: Vec<Key>,
    events: VecDeque<UtpEvent>,
    /// Resets to be sent.
    resets: VecDeque<(SocketAddr, Header)>,
    answered: VecDeque<(Instant, SocketAddr, u16)>,
    unconfirmed: usize,
    stats: UtpStats,
}

impl UtpSockets {
    /// No sockets. All chance follows from `seed`.
    pub fn new(limits: UtpLimits, seed: u64) -> Self {
        Self {
            limits,
            rng: Rng::new(seed),
            sockets: Arena::new(),
            by_id: BTreeMap::new(),
            deadlines: Deadlines::new(),
            line: VecDeque::new(),
            acks: Vec::new(),
            events: VecDeque::new(),
            resets: VecDeque::new(),
            answered: VecDeque::new(),
            unconfirmed: 0,
            stats: UtpStats::default(),
        }
    }

    // Getters.

    /// Counts since the start.
    pub fn stats(&self) -> UtpStats {
        UtpStats { sockets: self.sockets.len(), ..self.stats }
    }

    /// Whether there are events, or [`poll_transmit`](Self::poll_transmit) may have something once
    /// [`handle_drained`](Self::handle_drained) was called.
    pub fn has_output(&self) -> bool {
        let owes = !self.resets.is_empty() || !self.acks.is_empty();
        !self.line.is_empty() || !self.events.is_empty() || owes
    }

    /// Bytes that may be written to a socket now.
    pub fn room(&self, socket: Key) -> usize {
        self.sockets.get(socket).map_or(0, Socket::room)
    }

    /// How long a socket's packets wait in a queue on their way, in microseconds, and the bytes
    /// that it may have on their way.
    pub fn path(&self, socket: Key) -> Option<(u32, usize)> {
        let socket = self.sockets.get(socket)?;
        Some((socket.queue_delay(), socket.congestion_window()))
    }

    /// The smoothed round trip of a socket, if there was one.
    pub fn round_trip(&self, socket: Key) -> Option<Duration> {
        self.sockets.get(socket)?.round_trip()
    }

    /// Bytes of a socket that is idle: it has nothing but itself.
    #[doc(hidden)]
    pub fn socket_size() -> usize {
        size_of::<Socket>()
    }

    // Inputs.

    /// A datagram that looks like uTP came. What belongs to no connection is answered by a reset,
    /// or ignored. `accepts`: whether peers may dial us.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8], accepts: bool) {
        let Ok(packet) = Packet::decode(data) else { return };
        let header = &packet.header;
        let Some(key) = self.find(from, header) else {
            return match header.kind {
                Kind::Syn if accepts => self.accept(now, from, header),
                Kind::Data | Kind::Fin => self.answer_with_reset(now, from, header),
                _ => {}
            };
        };
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let room = room_of(&self.limits, self.stats.memory, socket);
        socket.handle_packet(now, &packet, room, &mut self.stats);
        self.settle(key);
    }

    /// No more datagrams wait to be read: one acknowledgement goes out for all that came on a
    /// connection.
    pub fn handle_drained(&mut self) {
        for key in std::mem::take(&mut self.acks) {
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.place().in_acks = false;
                socket.handle_drained();
                self.settle(key);
            }
        }
    }

    /// Time has passed. Calling it too early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, key)) = self.deadlines.pop_due(now) {
            let Some(socket) = self.sockets.get_mut(key) else { continue };
            if socket.place().wakeup.fire(at) {
                socket.handle_timeout(now, &mut self.stats);
                self.settle(key);
            }
        }
    }

    // Verbs.

    /// Dials. [`UtpEvent::Connected`] tells when it is made. `None` if there are as many sockets as
    /// may be.
    pub fn connect(&mut self, now: Instant, to: SocketAddr) -> Option<Key> {
        (0..MAX_TRIES).find_map(|_| {
            let chance = self.rng.next_u64();
            self.connect_as(now, to, chance as u16, (chance >> 16) as u16)
        })
    }

    /// Dials with a number of the connection, and a first sequence number, of one's own choice.
    /// `None` if the number is in use, or there are as many sockets as may be.
    #[doc(hidden)]
    pub fn connect_as(&mut self, now: Instant, to: SocketAddr, id: u16, seq: u16) -> Option<Key> {
        if self.sockets.len() >= self.limits.max_sockets || self.by_id.contains_key(&(to, id)) {
            return None;
        }
        let socket = Socket::connecting(now, to, id, seq, &self.limits);
        Some(self.insert(to, id, socket))
    }

    /// Writes to the stream; returns how many bytes were taken. If that is fewer than there are,
    /// [`UtpEvent::Writable`] tells when there is room again.
    pub fn write(&mut self, now: Instant, socket: Key, bytes: &[u8]) -> usize {
        let Some(s) = self.sockets.get_mut(socket) else { return 0 };
        let taken = s.write(now, bytes);
        if taken < bytes.len() {
            s.want_room();
        }
        self.settle(socket);
        taken
    }

    /// [`UtpEvent::Writable`] is wanted as soon as there is room.
    pub fn want_room(&mut self, socket: Key) {
        if let Some(socket) = self.sockets.get_mut(socket) {
            socket.want_room();
        }
    }

    /// What can be read, which is the reader's to change.
    pub fn bytes(&mut self, socket: Key) -> &mut [u8] {
        let Some(socket) = self.sockets.get_mut(socket) else { return &mut [] };
        socket.place().readable = false;
        socket.bytes()
    }

    /// So many bytes of it were read.
    pub fn read(&mut self, now: Instant, socket: Key, len: usize) {
        let Some(s) = self.sockets.get_mut(socket) else { return };
        let kept = s.memory().saturating_sub(len);
        let window = self.limits.max_window.saturating_sub(kept);
        s.read(now, len, window);
        self.settle(socket);
    }

    /// Reads at most so many bytes.
    pub fn take(&mut self, now: Instant, socket: Key, most: usize) -> Vec<u8> {
        let Some(s) = self.sockets.get_mut(socket) else { return Vec::new() };
        s.place().readable = false;
        let bytes = s.take(most);
        if !bytes.is_empty() {
            self.read(now, socket, 0);
        }
        bytes
    }

    /// Closes a socket in order: what was written is sent first. No event of it comes any more.
    pub fn close(&mut self, now: Instant, socket: Key, reason: Option<u16>) {
        if let Some(s) = self.sockets.get_mut(socket) {
            s.close(now, reason);
            self.settle(socket);
        }
    }

    /// Refuses a socket: the other side is told that there is no such connection.
    pub fn refuse(&mut self, now: Instant, socket: Key) {
        if let Some(s) = self.sockets.get_mut(socket) {
            self.resets.push_back((s.remote(), s.reset(now)));
            s.forget();
            self.settle(socket);
        }
    }

    // Outputs.

    /// Writes the next datagrams to `out`, which is cleared: packets of one length to one address,
    /// the last of which may be shorter. `None` if there are none now.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<UtpTransmit> {
        out.clear();
        if let Some((to, header)) = self.resets.pop_front() {
            encode_header(&header, &[], None, out);
            self.stats.resets_out += 1;
            return Some(UtpTransmit { to, segment: out.len(), is_probe: false });
        }
        while let Some(key) = self.line.pop_front() {
            let Some(socket) = self.sockets.get_mut(key) else { continue };
            socket.place().in_line = false;
            let window =
                room_of(&self.limits, self.stats.memory, socket).saturating_sub(socket.memory());
            let burst = socket.transmit(now, window, out, &mut self.stats);
            let to = socket.remote();
            if let Some((segment, is_probe)) = burst {
                self.settle(key);
                return Some(UtpTransmit { to, segment, is_probe });
            }
            // What it has waits for its window.
            self.plan(key);
        }
        None
    }

    /// The next thing to tell the owner.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<UtpEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    // Within.

    /// The socket that a packet is for. A reset has the id of the packet that it answers, which is
    /// ours or the other side's.
    fn find(&self, from: SocketAddr, header: &Header) -> Option<Key> {
        let id = header.connection;
        match header.kind {
            Kind::Syn => self.by_id.get(&(from, id.wrapping_add(1))).copied(),
            Kind::Reset => {
                let ids = [id, id.wrapping_add(1), id.wrapping_sub(1)];
                ids.into_iter().find_map(|recv| {
                    let key = *self.by_id.get(&(from, recv))?;
                    let socket = self.sockets.get(key)?;
                    socket.has_id(id).then_some(key)
                })
            }
            _ => self.by_id.get(&(from, id)).copied(),
        }
    }

    fn accept(&mut self, now: Instant, from: SocketAddr, syn: &Header) {
        let limits = &self.limits;
        let share = limits.max_unconfirmed.div_ceil(HOST_SHARE);
        let id = syn.connection.wrapping_add(1);
        if self.sockets.len() >= limits.max_sockets
            || self.unconfirmed >= limits.max_unconfirmed
            || self.unconfirmed_of(from) >= share
        {
            return;
        }
        let seq = self.rng.next_u64() as u16;
        let socket = Socket::accepted(now, from, syn, seq, limits);
        self.unconfirmed += 1;
        let key = self.insert(from, id, socket);
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.place().unconfirmed = true;
        }
    }

    fn unconfirmed_of(&self, from: SocketAddr) -> usize {
        let of_host = self.by_id.range((SocketAddr::new(from.ip(), 0), 0)..);
        of_host
            .take_while(|((addr, _), _)| addr.ip() == from.ip())
            .filter_map(|(_, &key)| self.sockets.get(key))
            .filter(|socket| socket.is_unconfirmed())
            .count()
    }

    fn insert(&mut self, remote: SocketAddr, id: u16, socket: Socket) -> Key {
        let key = self.sockets.insert(socket);
        self.by_id.insert((remote, id), key);
        self.settle(key);
        key
    }

    fn answer_with_reset(&mut self, now: Instant, from: SocketAddr, header: &Header) {
        while self.answered.front().is_some_and(|&(at, ..)| at + RESET_MEMORY <= now) {
            self.answered.pop_front();
        }
        let id = header.connection;
        let known = self.answered.iter().any(|&(_, addr, known)| (addr, known) == (from, id));
        if known || self.answered.len() >= MAX_RESETS {
            return;
        }
        self.answered.push_back((now, from, id));
        let reset = Header {
            kind: Kind::Reset,
            connection: id,
            timestamp: micros(now),
            delay: 0,
            window: 0,
            seq: 0,
            ack: header.seq,
        };
        self.resets.push_back((from, reset));
    }

    /// The end of whatever happened to a socket: its events are told, it stands in line if it has
    /// something to send, and is forgotten if it is dead.
    fn settle(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let news = socket.take_news();
        let memory = socket.memory();
        let counted = std::mem::replace(&mut socket.place().memory, memory);
        self.stats.memory = self.stats.memory + memory - counted;
        if news.made && socket.has_dialled() {
            self.events.push_back(UtpEvent::Connected { socket: key });
        } else if news.made {
            socket.place().unconfirmed = false;
            self.unconfirmed = self.unconfirmed.saturating_sub(1);
            self.events.push_back(UtpEvent::Accepted { socket: key, from: socket.remote() });
        }
        if news.readable && !std::mem::replace(&mut socket.place().readable, true) {
            self.events.push_back(UtpEvent::Readable { socket: key });
        }
        if news.writable {
            self.events.push_back(UtpEvent::Writable { socket: key });
        }
        if let Some(cause) = news.closed {
            let reason = socket.their_reason();
            self.events.push_back(UtpEvent::Closed { socket: key, cause, reason });
        }
        if socket.is_dead() {
            return self.forget(key);
        }
        if socket.owes_ack() && !std::mem::replace(&mut socket.place().in_acks, true) {
            self.acks.push(key);
        }
        if socket.has_output() && !std::mem::replace(&mut socket.place().in_line, true) {
            self.line.push_back(key);
        }
        self.plan(key);
    }

    fn plan(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        if let Some(at) = socket.next_timeout()
            && socket.place().wakeup.want(at)
        {
            self.deadlines.push(at, key);
        }
    }

    fn forget(&mut self, key: Key) {
        if let Some(mut socket) = self.sockets.remove(key) {
            let place = *socket.place();
            self.stats.memory -= place.memory.min(self.stats.memory);
            self.unconfirmed -= usize::from(place.unconfirmed).min(self.unconfirmed);
            self.by_id.remove(&(socket.remote(), socket.recv_id()));
        }
    }
}

/// Bytes that a socket may keep in all: its window, or less if the others keep much.
fn room_of(limits: &UtpLimits, memory: usize, socket: &Socket) -> usize {
    let others = memory.saturating_sub(socket.memory());
    limits.max_window.min(limits.max_memory.saturating_sub(others).max(ALWAYS))
}
