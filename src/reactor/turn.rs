//! What one turn does, step by step: readiness noted, connections accepted, sockets read, answers
//! fetched, effects carried out, links flushed. Each step is bounded, and what it leaves is found
//! by the next turn.
//!
//! Knows no order between the steps; that is `Reactor::poll`'s.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
};

use mio::{Token, net::TcpStream};

use super::{
    FIRST_DATAGRAM_TOKEN, FIRST_LISTENER_TOKEN, Reactor, ReactorStats,
    listen::{Accepted, is_out_of_descriptors},
    read_budget::ReadBudget,
    sockets::{Connecting, FIRST_LINK_TOKEN, SHORT_IS_BLOCKED, Socket, slot},
    streams::{FIRST_STREAM_TOKEN, tls_for},
};
use crate::{
    base::{
        arena::Key,
        buf::Buf,
        geometry::Block,
        job::{Done, Job},
        time::Instant,
    },
    engine::{CloseCause, Effect, Engine, TrackerEffect},
};

/// Connections accepted or shed a turn.
const ACCEPTS_A_TURN: usize = 64;
/// Effects carried out before the writes of a round.
const EFFECTS_A_ROUND: usize = 4096;
/// Writes to one link a round.
const WRITES_A_ROUND: usize = 4;
/// Datagrams taken a turn.
const DATAGRAMS_A_TURN: usize = 64;
/// Slices a write: 32 blocks with their headers.
const SLICES_A_WRITE: usize = 64;

impl Reactor {
    /// Events are remembered first and served afterwards, in the order of the run queue.
    pub(super) fn note_events(&mut self, now: Instant) {
        for event in &self.events {
            let Token(token) = event.token();
            if let Some(slot) = token.checked_sub(FIRST_STREAM_TOKEN) {
                self.streams.handle_event(slot, event);
            } else if let Some(slot) = token.checked_sub(FIRST_LINK_TOKEN) {
                // A socket that was closed tells nothing more, so the socket that is here now is
                // meant.
                let Some(socket) = self.sockets.at_slot(slot) else { continue };
                socket.read_closed |= event.is_read_closed() || event.is_error();
                socket.readable |= event.is_readable() || socket.read_closed;
                if event.is_writable() || event.is_error() {
                    if !socket.writable && !socket.connecting {
                        mark_dirty(&mut self.dirty, socket);
                        self.engine.handle_writable(now, socket.key, true);
                    }
                    socket.writable = true;
                }
                if socket.readable || socket.connecting {
                    self.ready.push(slot);
                }
            } else if token >= FIRST_LISTENER_TOKEN {
                self.listeners.handle_event(token - FIRST_LISTENER_TOKEN);
            } else if token >= FIRST_DATAGRAM_TOKEN {
                self.datagrams.handle_event(token - FIRST_DATAGRAM_TOKEN);
            }
            // The waker's event only ends the wait: its flag says whether a thread left something.
        }
    }

    pub(super) fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_A_TURN {
            match self.listeners.accept(now) {
                Accepted::Stream(stream, addr) => self.greet(now, stream, addr),
                Accepted::Shed => {}
                Accepted::None => break,
            }
        }
    }

    fn greet(&mut self, now: Instant, stream: TcpStream, addr: SocketAddr) {
        let Some(link) = self.engine.handle_accepted(now, addr) else { return };
        self.keep(now, link, Socket::accepted(link, stream));
    }

    fn keep(&mut self, now: Instant, link: Key, socket: Socket) {
        if let Err(e) = self.sockets.insert(self.poll.registry(), socket) {
            self.engine.handle_closed(now, link, CloseCause::Io(e.kind()));
        }
    }

    /// Serves those who were ready when the turn began; who has more to give gets the next turn.
    pub(super) fn serve_ready(&mut self) {
        let mut now = self.clock.now();
        let mut budget = ReadBudget::new(now);
        for _ in 0..self.ready.len() {
            if budget.is_over(now) {
                break;
            }
            let Some(slot) = self.ready.pop() else { break };
            let Some(socket) = self.sockets.at_slot(slot) else { continue };
            now = self.clock.now();
            let key = socket.key;
            let ended = if socket.connecting { self.finish_connecting(now, key) } else { None };
            let ended = ended.or_else(|| self.read(now, key, &mut budget));
            if let Some(cause) = ended {
                self.sockets.close(self.poll.registry(), key);
                self.engine.handle_closed(now, key, cause);
            }
        }
    }

    fn finish_connecting(&mut self, now: Instant, key: Key) -> Option<CloseCause> {
        let socket = self.sockets.get_mut(key)?;
        match socket.connecting() {
            Connecting::Made => {
                socket.connecting = false;
                socket.writable = true;
                self.engine.handle_connected(now, key);
                None
            }
            Connecting::Waiting => None,
            Connecting::Failed(e) => Some(CloseCause::Io(e.kind())),
        }
    }

    /// A few reads into the scratch. Returns why the link is over, if it is.
    fn read(&mut self, now: Instant, key: Key, budget: &mut ReadBudget) -> Option<CloseCause> {
        let socket =
            self.sockets.get_mut(key).filter(|socket| socket.readable && !socket.connecting)?;
        for _ in 0..self.engine.conf().network.reads_a_turn {
            let room = self.engine.read_quota(now, key).min(self.scratch.len());
            if room == 0 {
                // A limit: it stays readable, and the engine tells when to go on.
                return None;
            }
            match socket.read(self.scratch.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return Some(CloseCause::Eof),
                Ok(len) => {
                    self.stats.reads += 1;
                    self.stats.bytes_read += len as u64;
                    budget.spend(len);
                    self.engine.handle_data(now, key, self.scratch.get(..len).unwrap_or_default());
                    // A stream that fills less than was offered is drained (epoll(7)), unless its
                    // end is waiting behind.
                    if len < room && !socket.read_closed && SHORT_IS_BLOCKED {
                        socket.readable = false;
                        return None;
                    }
                    if budget.is_spent() {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    socket.readable = false;
                    return None;
                }
                Err(e) => return Some(CloseCause::Io(e.kind())),
            }
        }
        self.ready.push(slot(key));
        None
    }

    pub(super) fn fetch_answers(&mut self) {
        if !self.waker.take() {
            return;
        }
        self.stats.wakes += 1;
        self.pool.drain(&mut self.answers);
        if !self.answers.is_empty() {
            let now = self.clock.now();
            for done in self.answers.drain(..) {
                self.engine.handle_done(now, done);
            }
        }
        for (host, result) in self.resolver.answers() {
            self.engine.handle_resolved(self.clock.now(), &host, result);
        }
    }

    /// What came from trackers.
    pub(super) fn serve_trackers(&mut self) {
        if self.streams.is_ready() {
            self.streams.serve(
                self.poll.registry(),
                self.clock.now(),
                &mut self.engine,
                &mut self.scratch,
            );
        }
        if self.datagrams.is_ready() {
            let now = self.clock.now();
            for _ in 0..DATAGRAMS_A_TURN {
                let Some((from, data)) = self.datagrams.receive(&mut self.scratch) else { break };
                self.engine.handle_datagram(now, from, data);
            }
        }
    }

    fn serve_call(&mut self, now: Instant, effect: TrackerEffect) {
        let registry = self.poll.registry();
        match effect {
            TrackerEffect::Resolve { host } => {
                if let Err(e) = self.resolver.resolve(host.clone()) {
                    self.engine.handle_resolved(now, &host, Err(e));
                }
            }
            TrackerEffect::Connect { call, addr, tls } => {
                let connected = tls_for(&mut self.tls, tls.as_deref()).and_then(|tls| {
                    self.streams
                        .connect(registry, &self.outgoing, call, addr, tls)
                        .map_err(|e| e.to_string())
                });
                if let Err(e) = connected {
                    self.engine.handle_tracker_ended(now, call, Err(e));
                }
            }
            TrackerEffect::Flush { call } => {
                self.streams.flush(registry, now, &mut self.engine, call)
            }
            TrackerEffect::Close { call } => self.streams.close(registry, call),
            TrackerEffect::Datagram { call, to, data } => {
                if let Err(e) = self.datagrams.send(registry, &self.outgoing, to, &data) {
                    self.engine.handle_tracker_ended(now, call, Err(e.to_string()));
                }
            }
        }
    }

    pub(super) fn carry_out_effects(&mut self, now: Instant) {
        for _ in 0..EFFECTS_A_ROUND {
            if self.upload_budget == 0 {
                break;
            }
            match self.effect.take().or_else(|| self.engine.poll_effect()) {
                Some(Effect::Job(Job::Read { torrent, link, blocks, buf })) => {
                    self.read_blocks(now, torrent, link, blocks, buf)
                }
                Some(Effect::Job(job)) => self.pool.submit(job),
                Some(Effect::Flush { link }) => {
                    if let Some(socket) = self.sockets.get_mut(link) {
                        mark_dirty(&mut self.dirty, socket);
                    }
                }
                Some(Effect::Resume { link }) => {
                    if self.sockets.get_mut(link).is_some_and(|socket| socket.readable) {
                        self.ready.push(slot(link));
                    }
                }
                Some(Effect::Tracker(effect)) => self.serve_call(now, effect),
                Some(Effect::Dial { link, addr }) => match Socket::dial(link, &self.outgoing, addr)
                {
                    Ok(socket) => self.keep(now, link, socket),
                    Err(e) if is_out_of_descriptors(&e) => {
                        self.engine.handle_closed(now, link, CloseCause::Exhausted)
                    }
                    Err(e) => self.engine.handle_closed(now, link, CloseCause::Io(e.kind())),
                },
                Some(Effect::Close { link }) => {
                    self.sockets.close(self.poll.registry(), link);
                }
                None => break,
            }
        }
    }

    /// What is at hand is read here and leaves at once, while it is in cache; the rest is for a
    /// worker.
    fn read_blocks(
        &mut self,
        now: Instant,
        torrent: Key,
        link: Key,
        blocks: Vec<Block>,
        mut buf: Buf,
    ) {
        let Some(result) = self.pool.try_read(torrent, &blocks, &mut buf) else {
            self.stats.cold_reads += 1;
            return self.pool.submit(Job::Read { torrent, link, blocks, buf });
        };
        self.stats.hot_reads += 1;
        self.upload_budget = self.upload_budget.saturating_sub(buf.0.len());
        self.engine
            .handle_done(now, Done::Read { torrent, link, blocks, buf, result, cold: false });
        if let Some(socket) =
            self.sockets.get_mut(link).filter(|socket| socket.writable && !socket.connecting)
        {
            match write(&mut self.engine, socket, now, &mut self.stats) {
                Ok(Written::All) => {}
                Ok(Written::Blocked) => {
                    socket.writable = false;
                    self.engine.handle_writable(now, socket.key, false);
                }
                Ok(Written::Some) => mark_dirty(&mut self.dirty, socket),
                Err(e) => self.fail(now, link, &e),
            }
        }
    }

    fn fail(&mut self, now: Instant, link: Key, e: &io::Error) {
        self.sockets.close(self.poll.registry(), link);
        self.engine.handle_closed(now, link, CloseCause::Io(e.kind()));
    }

    /// One vectored write, or a few, for each link that has something to send. In the next
    /// turn the links that were not reached go before the links that have more.
    pub(super) fn flush(&mut self, now: Instant) {
        std::mem::swap(&mut self.dirty, &mut self.flushing);
        let mut reached = 0;
        for at in 0..self.flushing.len() {
            let Some(&key) = self.flushing.get(at) else { break };
            let Some(socket) = self.sockets.get_mut(key) else { continue };
            socket.dirty = false;
            // Otherwise the event that makes it writable marks it again.
            if !socket.writable || socket.connecting {
                continue;
            }
            if self.upload_budget == 0 {
                mark_dirty(&mut self.dirty, socket);
                continue;
            }
            let before = self.stats.bytes_written;
            match write(&mut self.engine, socket, now, &mut self.stats) {
                Ok(Written::All) => {}
                Ok(Written::Blocked) => {
                    socket.writable = false;
                    self.engine.handle_writable(now, socket.key, false);
                }
                Ok(Written::Some) => mark_dirty(&mut self.dirty, socket),
                Err(e) => self.fail(now, key, &e),
            }
            self.upload_budget =
                self.upload_budget.saturating_sub((self.stats.bytes_written - before) as usize);
            reached = self.dirty.len();
        }
        unreached_first(&mut self.dirty, reached);
        self.flushing.clear();
    }
}

/// How far a link's output got.
enum Written {
    All,
    Blocked,
    Some,
}

fn write(
    engine: &mut Engine,
    socket: &mut Socket,
    now: Instant,
    stats: &mut ReactorStats,
) -> io::Result<Written> {
    for _ in 0..WRITES_A_ROUND {
        let mut slices = [IoSlice::new(&[]); SLICES_A_WRITE];
        let count = engine.poll_transmit(socket.key, &mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        if offered == 0 {
            return Ok(Written::All);
        }
        let taken = match socket.write(slices) {
            Ok(taken) => taken,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Written::Blocked),
            Err(e) => return Err(e),
        };
        stats.writes += 1;
        stats.bytes_written += taken as u64;
        engine.handle_sent(now, socket.key, taken);
        if taken < offered && SHORT_IS_BLOCKED {
            return Ok(Written::Blocked);
        }
    }
    Ok(Written::Some)
}

/// The first `reached` have had their turn and have more to send; the others have waited.
pub(super) fn unreached_first<T>(dirty: &mut [T], reached: usize) {
    dirty.rotate_left(reached.min(dirty.len()));
}

fn mark_dirty(dirty: &mut Vec<Key>, socket: &mut Socket) {
    if !socket.dirty {
        socket.dirty = true;
        dirty.push(socket.key);
    }
}
