//! What one turn does, step by step: readiness noted, connections accepted, sockets read, answers
//! fetched, effects carried out, links flushed. Each step is bounded, and what it leaves is found
//! by the next turn.
//!
//! Knows no order between the steps; that is `Reactor::poll`'s.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mio::{Token, net::TcpStream};

use super::{
    FIRST_DATAGRAM_TOKEN, FIRST_LISTENER_TOKEN, FIRST_MULTICAST_TOKEN, HELD_INTERVAL, Reactor,
    gateway,
    listen::{Accepted, is_out_of_descriptors},
    output::{Burst, Output, Sent},
    own_addresses,
    read_budget::ReadBudget,
    run_queue::RunQueue,
    stats::Tally,
    streams::{Connecting, FIRST_STREAM_TOKEN, Received, SHORT_IS_BLOCKED, Stage, Stream, slot},
    tls::Tls,
};
use crate::{
    base::{
        arena::Key,
        buf::Buf,
        geometry::Block,
        job::{Done, Job},
        time::Instant,
    },
    engine::{CloseCause, DatagramOwner, Effect, Engine, Interface, StreamId},
};

/// Connections accepted or shed a turn.
const ACCEPTS_A_TURN: usize = 64;
/// Effects carried out before the writes of a round.
const EFFECTS_A_ROUND: usize = 4096;
/// Writes to one stream a round.
const WRITES_A_ROUND: usize = 4;
/// Datagrams taken a turn, and sent.
const DATAGRAMS_A_TURN: usize = 64;
/// How long a turn may take datagrams, and send them.
const DATAGRAM_TIME: Duration = Duration::from_micros(150);
/// How long a turn may send bursts of uTP.
const BURST_TIME: Duration = Duration::from_millis(1);
/// Slices a write: 32 blocks with their headers.
const SLICES_A_WRITE: usize = 64;

impl Reactor {
    /// Events are remembered first and served afterwards, in the order of the run queue.
    pub(super) fn note_events(&mut self, now: Instant) {
        for event in &self.events {
            let Token(token) = event.token();
            if let Some(slot) = token.checked_sub(FIRST_STREAM_TOKEN) {
                // A socket that was closed tells nothing more, so the socket that is here now is
                // meant.
                let Some(stream) = self.streams.at_slot(slot) else { continue };
                stream.ready.end |= event.is_read_closed() || event.is_error();
                stream.ready.read |= event.is_readable() || stream.ready.end;
                if event.is_writable() || event.is_error() {
                    if !stream.ready.write && !stream.is_connecting() {
                        self.output.mark(stream);
                        self.engine.handle_writable(now, stream.id, true);
                    }
                    stream.ready.write = true;
                }
                if stream.ready.read || stream.is_connecting() {
                    self.ready.push(slot);
                }
            } else if token >= FIRST_LISTENER_TOKEN {
                self.listeners.handle_event(token - FIRST_LISTENER_TOKEN);
            } else if token >= FIRST_MULTICAST_TOKEN {
                self.multicast.handle_event(token - FIRST_MULTICAST_TOKEN);
            } else if token >= FIRST_DATAGRAM_TOKEN {
                let (readable, writable) = (event.is_readable(), event.is_writable());
                let socket = token - FIRST_DATAGRAM_TOKEN;
                let (registry, readable) = (self.poll.registry(), readable || event.is_error());
                self.datagrams.handle_event(registry, socket, readable, writable);
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
        let Some(id) = self.engine.handle_accepted(now, addr) else { return };
        self.keep(now, Stream::accepted(id, stream));
    }

    fn keep(&mut self, now: Instant, stream: Stream) {
        let id = stream.id;
        if let Err(e) = self.streams.insert(self.poll.registry(), stream) {
            self.engine.handle_closed(now, id, CloseCause::Io(e.kind()));
        }
    }

    fn connect(&mut self, now: Instant, id: StreamId, addr: SocketAddr, tls: Option<&str>) {
        if !self.outgoing.has_addr_for(addr) {
            return self.engine.handle_closed(now, id, CloseCause::NoAddress);
        }
        let tls = match tls.map(|name| Tls::new(&mut self.tls, name)).transpose() {
            Ok(tls) => tls,
            Err(e) => return self.engine.handle_closed(now, id, CloseCause::Tls(e)),
        };
        match Stream::connect(id, &self.outgoing, addr, tls) {
            Ok(stream) => self.keep(now, stream),
            Err(e) if is_out_of_descriptors(&e) => {
                self.engine.handle_closed(now, id, CloseCause::Exhausted)
            }
            Err(e) => self.engine.handle_closed(now, id, CloseCause::Io(e.kind())),
        }
    }

    /// Begins with TLS on a stream that is up.
    fn secure(&mut self, now: Instant, id: StreamId, name: &str) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        match Tls::new(&mut self.tls, name) {
            Ok(tls) => {
                stream.secure(tls);
                self.output.mark(stream);
            }
            Err(e) => {
                self.streams.close(self.poll.registry(), id);
                self.engine.handle_closed(now, id, CloseCause::Tls(e));
            }
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
            let Some(stream) = self.streams.at_slot(slot) else { continue };
            now = self.clock.now();
            let id = stream.id;
            let ended = if stream.is_connecting() { self.finish_connecting(now, id) } else { None };
            let ended = ended.or_else(|| self.read(now, id, &mut budget));
            if let Some(cause) = ended {
                self.streams.close(self.poll.registry(), id);
                self.engine.handle_closed(now, id, cause);
            }
        }
    }

    fn finish_connecting(&mut self, now: Instant, id: StreamId) -> Option<CloseCause> {
        let stream = self.streams.get_mut(id)?;
        match stream.finish_connecting() {
            Connecting::Made if stream.stage == Stage::Up => self.engine.handle_connected(now, id),
            // TLS begins with a word of ours.
            Connecting::Made => self.output.mark(stream),
            Connecting::Waiting => {}
            Connecting::Failed(e) => return Some(CloseCause::Io(e.kind())),
        }
        None
    }

    /// A few reads into the scratch. Returns why the stream is over, if it is.
    fn read(&mut self, now: Instant, id: StreamId, budget: &mut ReadBudget) -> Option<CloseCause> {
        let stream = self
            .streams
            .get_mut(id)
            .filter(|stream| stream.ready.read && !stream.is_connecting())?;
        let (reads, most) = {
            let network = &self.engine.conf().network;
            (network.reads_a_turn, network.read_len)
        };
        for _ in 0..reads {
            let room = self.engine.read_quota(now, id).min(most);
            if room == 0 {
                // A limit: it stays readable, and the engine tells when to go on.
                return stream.failed.map(CloseCause::Io);
            }
            match stream.read(self.scratch.first(room)) {
                Ok(0) => return Some(stream.end()),
                Ok(len) => {
                    self.tally.note_read(len);
                    budget.spend(len);
                    let data = self.scratch.first(len);
                    if !stream.is_enciphered() {
                        self.engine.handle_data(now, id, data);
                    } else if let Some(cause) = decipher(&mut self.engine, stream, now, data) {
                        return Some(cause);
                    } else {
                        // TLS may have something of its own to say.
                        self.output.mark(stream);
                    }
                    // A stream that fills less than was offered is drained (epoll(7)), unless its
                    // end is waiting behind.
                    if len < room && !stream.ready.end && SHORT_IS_BLOCKED {
                        stream.ready.read = false;
                        return stream.failed.map(CloseCause::Io);
                    }
                    if budget.is_spent() {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    stream.ready.read = false;
                    return stream.failed.map(CloseCause::Io);
                }
                Err(e) => return Some(CloseCause::Io(e.kind())),
            }
        }
        self.ready.push(slot(id));
        None
    }

    pub(super) fn fetch_answers(&mut self) {
        if !self.waker.take() {
            return;
        }
        self.tally.note_wake();
        let answers = self.workers.answers();
        if answers.len() > 0 {
            let now = self.clock.now();
            for done in answers {
                self.engine.handle_done(now, done);
            }
        }
        for (host, result) in self.resolver.answers() {
            self.engine.handle_resolved(self.clock.now(), &host, result);
        }
    }

    /// What came on the sockets for datagrams.
    pub(super) fn receive_datagrams(&mut self) {
        if !self.datagrams.is_ready() {
            return;
        }
        let now = self.clock.now();
        let end = now + DATAGRAM_TIME;
        for _ in 0..DATAGRAMS_A_TURN {
            let Some(arrived) = self.datagrams.receive(self.scratch.room()) else { break };
            let now = self.clock.now();
            let data = self.scratch.first(arrived.len);
            for datagram in data.chunks(arrived.segment) {
                self.engine.handle_datagram(now, arrived.from, datagram);
            }
            if now >= end {
                break;
            }
        }
    }

    /// Sends datagrams that wait, as many as a turn may.
    pub(super) fn send_datagrams(&mut self, now: Instant) {
        let end = now + DATAGRAM_TIME;
        for _ in 0..DATAGRAMS_A_TURN {
            let Some((owner, to, data)) = self.output.pop_datagram() else { break };
            let registry = self.poll.registry();
            if let Err(e) = self.datagrams.send(registry, &self.outgoing, to, &data) {
                self.engine.handle_unsent(now, owner, e.kind());
            }
            if self.clock.now() >= end {
                break;
            }
        }
    }

    /// Sends bursts of uTP that wait, for as long as a turn may.
    pub(super) fn send_bursts(&mut self, now: Instant) {
        let Self { output, datagrams, poll, outgoing, clock, .. } = self;
        let end = now + BURST_TIME;
        output.send_bursts(|burst| {
            let rest = burst.data.get(burst.sent..).unwrap_or_default();
            let (to, segment, unfragmented) = (burst.to, burst.segment, burst.unfragmented);
            let sent =
                datagrams.send_segments(poll.registry(), outgoing, to, rest, segment, unfragmented);
            burst.sent += sent;
            match sent {
                _ if clock.now() >= end => Sent::OutOfTime,
                0 => Sent::Blocked,
                _ => Sent::Some,
            }
        });
    }

    /// Whether bursts wait that the system takes.
    pub(super) fn has_bursts(&self) -> bool {
        self.output.has_burst(|burst| !self.datagrams.is_full(burst.to))
    }

    /// What came to the group of local discovery.
    pub(super) fn receive_multicast(&mut self) {
        if !self.multicast.is_ready() {
            return;
        }
        let now = self.clock.now();
        for _ in 0..DATAGRAMS_A_TURN {
            let Some((from, data)) = self.multicast.receive(self.scratch.room()) else { break };
            self.engine.handle_multicast(now, from, data);
        }
    }

    /// Is a member of that group where and as long as the engine wants it.
    pub(super) fn look_at_interfaces(&mut self, now: Instant) {
        if !self.engine.wants_multicast() {
            if self.looks.interfaces.stop() {
                self.multicast.close();
                self.engine.handle_interfaces(now, Vec::new(), Vec::new());
            }
            return;
        }
        if !self.looks.interfaces.is_due(now) {
            return;
        }
        let (registry, conf) = (self.poll.registry(), self.engine.conf());
        self.looks.interfaces.set(now + conf.lsd.look_interval);
        let look = self.multicast.look(registry, conf, FIRST_MULTICAST_TOKEN, Interface::group);
        for why in look.failures {
            self.engine.handle_unsent(now, DatagramOwner::Lsd, why);
        }
        if let Some(news) = look.news {
            self.engine.handle_interfaces(now, news.all, news.networks);
        }
    }

    /// Looks for the router as long as the engine wants one.
    pub(super) fn look_for_gateway(&mut self, now: Instant) {
        if !self.engine.wants_gateway() {
            self.looks.gateway.stop();
            return;
        }
        if !self.looks.gateway.is_due(now) {
            return;
        }
        let conf = self.engine.conf();
        let interface = conf.network.bind_interface.as_deref();
        let addr = conf.network.bind_addrs.iter().find_map(|ip| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        });
        // What is held to addresses of IPv6 has no use for it.
        let none = !conf.network.bind_addrs.is_empty() && addr.is_none();
        self.looks.gateway.set(now + conf.port_mapping.look_interval);
        let found = if none { None } else { gateway::look(interface, addr) };
        self.engine.handle_gateway(now, found);
    }

    /// Looks at our own addresses as long as the engine wants them.
    pub(super) fn look_at_own_addresses(&mut self, now: Instant) {
        if !self.engine.wants_addresses() {
            self.looks.addresses.stop();
            return;
        }
        if !self.looks.addresses.is_due(now) {
            return;
        }
        let conf = self.engine.conf();
        self.looks.addresses.set(now + conf.dht.look_interval);
        let found = own_addresses::look(conf);
        self.engine.handle_addresses(now, found);
    }

    /// Opens again what is held to an interface that was made anew. What cannot be had yet, say
    /// since its address is still missing, is tried again by the next look.
    pub(super) fn look_at_held_interface(&mut self, now: Instant) {
        if self.outgoing.interface().is_none() || !self.looks.held.is_due(now) {
            return;
        }
        self.looks.held.set(now + HELD_INTERVAL);
        let is_new = self.outgoing.has_new_interface();
        if is_new {
            log::info!("the interface was made anew, and sockets are held to it again");
            self.datagrams.close();
            self.listeners.note_new_interface();
        }
        // A failure is told once.
        let level = if is_new { log::Level::Warn } else { log::Level::Debug };
        let (registry, interface) = (self.poll.registry(), self.outgoing.interface());
        if let Err(e) = self.datagrams.open_missing(registry, &self.outgoing) {
            log::log!(level, "no socket for datagrams yet: {e}");
        }
        let takes = self.engine.conf().network.transports.tcp();
        let bound = self.listeners.rebind(registry, interface, takes, FIRST_LISTENER_TOKEN);
        if let Err((addr, e)) = bound {
            log::log!(level, "cannot listen on {addr} yet: {e}");
        }
    }

    pub(super) fn carry_out_effects(&mut self, now: Instant) {
        for _ in 0..EFFECTS_A_ROUND {
            if self.output.is_spent() {
                break;
            }
            match self.next.take_effect().or_else(|| self.engine.poll_effect()) {
                Some(Effect::Job(Job::Read { torrent, link, blocks, buf })) => {
                    self.read_blocks(now, torrent, link, blocks, buf)
                }
                Some(Effect::Job(job)) => self.workers.submit(job),
                Some(Effect::Flush { stream }) => {
                    if let Some(stream) = self.streams.get_mut(stream) {
                        self.output.mark(stream);
                    }
                }
                Some(Effect::Resume { stream: id }) => {
                    if self.streams.get_mut(id).is_some_and(|stream| stream.ready.read) {
                        self.ready.push(slot(id));
                    }
                }
                Some(Effect::Connect { stream, addr, tls }) => {
                    self.connect(now, stream, addr, tls.as_deref())
                }
                Some(Effect::Secure { stream, name }) => self.secure(now, stream, &name),
                Some(Effect::Close { stream }) => {
                    self.streams.close(self.poll.registry(), stream);
                }
                Some(Effect::Datagram { owner, to, data }) => {
                    self.output.push_datagram(owner, to, data);
                }
                Some(Effect::Segments { to, data, segment, unfragmented }) => {
                    let burst = Burst { to, data, segment, unfragmented, sent: 0 };
                    self.output.push_burst(burst);
                }
                Some(Effect::Multicast { interface, data }) => {
                    if let Err(e) = self.multicast.send(interface, interface.group(), &data) {
                        self.engine.handle_unsent(now, DatagramOwner::Lsd, e.kind());
                    }
                }
                Some(Effect::Resolve { host }) => {
                    if let Err(e) = self.resolver.resolve(host.clone()) {
                        self.engine.handle_resolved(now, &host, Err(e));
                    }
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
        let Some(result) = self.workers.try_read(torrent, &blocks, &mut buf) else {
            self.tally.note_cold_read();
            return self.workers.submit(Job::Read { torrent, link, blocks, buf });
        };
        self.tally.note_hot_read();
        self.output.spend(buf.0.len());
        self.engine
            .handle_done(now, Done::Read { torrent, link, blocks, buf, result, cold: false });
        if let Some(stream) = self
            .streams
            .get_mut(StreamId::Peer(link))
            .filter(|stream| stream.ready.write && stream.stage == Stage::Up)
        {
            let written = write(&mut self.engine, stream, now, &mut self.tally);
            let Self { engine, output, ready, .. } = self;
            note_written(engine, stream, now, written, output, ready);
        }
    }

    /// One vectored write, or a few, for each stream that has something to send. In the next
    /// turn the streams that were not reached go before those that have more.
    pub(super) fn flush(&mut self, now: Instant) {
        self.output.begin_flush();
        while let Some(id) = self.output.poll_flush() {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            stream.dirty = false;
            // Otherwise the event that makes it writable marks it again.
            if !stream.ready.write || stream.is_connecting() {
                continue;
            }
            if self.output.is_spent() {
                self.output.mark(stream);
                continue;
            }
            let before = self.tally.bytes_written();
            let written = write(&mut self.engine, stream, now, &mut self.tally);
            let Self { engine, output, ready, tally, .. } = self;
            note_written(engine, stream, now, written, output, ready);
            output.spend((tally.bytes_written() - before) as usize);
            output.note_reached();
        }
        self.output.end_flush();
    }
}

/// How far a stream's output got.
enum Written {
    All,
    Blocked,
    Some,
}

fn write(
    engine: &mut Engine,
    stream: &mut Stream,
    now: Instant,
    tally: &mut Tally,
) -> io::Result<Written> {
    let enciphered = stream.is_enciphered();
    for _ in 0..WRITES_A_ROUND {
        if enciphered {
            if !stream.write_enciphered()? {
                return Ok(Written::Blocked);
            }
            if stream.stage != Stage::Up {
                return Ok(Written::All);
            }
        }
        let mut slices = [IoSlice::new(&[]); SLICES_A_WRITE];
        let count = engine.poll_transmit(stream.id, &mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        if offered == 0 {
            return Ok(Written::All);
        }
        let taken = match stream.write(slices) {
            Ok(taken) => taken,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Written::Blocked),
            Err(e) => return Err(e),
        };
        tally.note_written(taken);
        engine.handle_sent(now, stream.id, taken);
        // What TLS takes has not met the system yet.
        if taken < offered && SHORT_IS_BLOCKED && !enciphered {
            return Ok(Written::Blocked);
        }
    }
    Ok(Written::Some)
}

/// What follows from a write.
fn note_written(
    engine: &mut Engine,
    stream: &mut Stream,
    now: Instant,
    written: io::Result<Written>,
    output: &mut Output,
    ready: &mut RunQueue,
) {
    match written {
        Ok(Written::All) => {}
        Ok(Written::Blocked) => {
            stream.ready.write = false;
            engine.handle_writable(now, stream.id, false);
        }
        Ok(Written::Some) => output.mark(stream),
        Err(e) => {
            // What the other side said before it hung up is worth reading.
            stream.failed = Some(e.kind());
            (stream.ready.write, stream.ready.read) = (false, true);
            ready.push(slot(stream.id));
        }
    }
}

/// Takes in a part of an enciphered stream; why the stream is over, if it is.
fn decipher(
    engine: &mut Engine,
    stream: &mut Stream,
    now: Instant,
    data: &[u8],
) -> Option<CloseCause> {
    let Received { mut plain, is_up, ended } = stream.receive(data);
    // What comes right behind the handshake comes after it.
    if is_up {
        engine.handle_connected(now, stream.id);
    }
    if !plain.is_empty() {
        engine.handle_data(now, stream.id, &mut plain);
    }
    ended
}
