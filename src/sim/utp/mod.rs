//! uTP connections over a virtual bottleneck, on virtual time: how fast they are, how long a queue
//! they make, and how they share with others.
//!
//! The connections are the real ones; the path is a model.

mod inbox;
mod path;
mod rival;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use inbox::Inbox;
pub use path::Path;
use path::Way;
use rival::{Rival, SEGMENT};

use crate::{
    base::{arena::Key, rng::Rng, time::Instant},
    proto::utp::{UtpClose, UtpEvent, UtpLimits, UtpSockets, UtpStats},
};

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Two hosts and the path between them. The first sends, the second receives.
#[derive(Debug)]
pub struct UtpWorld {
    now: Instant,
    count: u64,
    queue: BTreeMap<(Instant, u64), Event>,
    rng: Rng,
    hosts: [Host; 2],
    ways: [Way; 2],
    /// The sockets of the hosts, if paths tell how much they hold.
    inboxes: [Inbox; 2],
    rivals: Vec<Rival>,
    /// Waits in the queue, in microseconds, every 10 ms.
    waits: Vec<u32>,
    ticks: bool,
    /// Bytes that came to hosts and that they sent.
    injected: u64,
    sent: u64,
    /// The datagram that was sent last.
    last: Vec<u8>,
}

#[derive(Debug)]
struct Host {
    addr: SocketAddr,
    /// What its clock of uTP is ahead of time.
    skew: Duration,
    sockets: UtpSockets,
    flows: BTreeMap<Key, Flow>,
    closed: Vec<(Key, UtpClose, Option<u16>)>,
    woken: Option<Instant>,
    out: Vec<u8>,
    /// Its program does not read.
    holds: bool,
}

/// What one end of a connection does and has done.
#[derive(Debug, Default)]
struct Flow {
    /// Bytes that are still to be written.
    left: u64,
    written: u64,
    read: u64,
    connected: bool,
    closes: bool,
    broken: bool,
}

#[derive(Debug)]
enum Event {
    Datagram {
        to: usize,
        bytes: Vec<u8>,
    },
    /// A host reads the next datagram of its socket.
    Read {
        host: usize,
    },
    Wake {
        host: usize,
    },
    /// A segment of a rival arrives, or its acknowledgement.
    Segment {
        rival: usize,
        number: u64,
    },
    Ack {
        rival: usize,
        number: u64,
    },
    Look,
}

/// After so many bytes a stream begins again: a prime, so that packets do not fall together.
const PERIOD: usize = 8191;

/// What streams look like: two periods, so that a part of one is there in one piece.
static PATTERN: [u8; 2 * PERIOD] = {
    let mut bytes = [0; 2 * PERIOD];
    let mut n = 0;
    while n < bytes.len() {
        let place = (n % PERIOD) as u64;
        bytes[n] = (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        n += 1;
    }
    bytes
};

/// What a stream has from `place` on, a period at most.
fn part(place: u64, len: usize) -> &'static [u8] {
    let begin = (place % PERIOD as u64) as usize;
    &PATTERN[begin..begin + len.min(PERIOD)]
}

impl UtpWorld {
    /// Two hosts, with a path each way.
    pub fn new(seed: u64, there: Path, back: Path, limits: UtpLimits) -> Self {
        let host = |n: u8| Host {
            addr: SocketAddr::from(([10, 0, 0, n], 6881)),
            skew: Duration::ZERO,
            sockets: UtpSockets::new(limits.clone(), seed.wrapping_add(u64::from(n))),
            flows: BTreeMap::new(),
            closed: Vec::new(),
            woken: None,
            out: Vec::new(),
            holds: false,
        };
        Self {
            now: Instant::from_micros(1),
            count: 0,
            queue: BTreeMap::new(),
            rng: Rng::new(seed),
            hosts: [host(1), host(2)],
            ways: [Way::new(there), Way::new(back)],
            inboxes: Default::default(),
            rivals: Vec::new(),
            waits: Vec::new(),
            ticks: false,
            injected: 0,
            sent: 0,
            last: Vec::new(),
        }
    }

    /// A host's clock is ahead by so much, which counts for uTP alone.
    pub fn set_skew(&mut self, host: usize, skew: Duration) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.skew = skew;
        }
    }

    /// From now on the hosts have addresses of IPv6, where no router fragments.
    #[cfg(test)]
    fn set_v6(&mut self) {
        for (host, n) in self.hosts.iter_mut().zip(1..) {
            host.addr.set_ip([0xfd00, 0, 0, 0, 0, 0, 0, n].into());
        }
    }

    /// A host's program stops reading, or goes on.
    #[cfg(test)]
    fn set_holds(&mut self, host: usize, holds: bool) {
        let h = &mut self.hosts[host];
        h.holds = holds;
        if !holds {
            let sockets: Vec<_> = h.flows.keys().copied().collect();
            sockets.into_iter().for_each(|socket| h.read(self.now, socket));
        }
        self.serve(host);
    }

    /// Changes the path to the host.
    pub fn path_mut(&mut self, to: usize) -> &mut Path {
        &mut self.ways[1 - to].path
    }

    /// The first host dials the second, and sends so many bytes.
    ///
    /// # Panics
    /// If it has as many sockets as it may.
    pub fn dial(&mut self, bytes: u64) -> Key {
        let chance = self.rng.next_u64();
        self.dial_as(bytes, chance as u16, (chance >> 16) as u16)
    }

    /// The same, with the number of the connection and the first sequence number.
    ///
    /// # Panics
    /// If it has as many sockets as it may, or the number is in use.
    pub fn dial_as(&mut self, bytes: u64, id: u16, seq: u16) -> Key {
        let to = self.hosts[1].addr;
        let host = &mut self.hosts[0];
        let now = self.now + host.skew;
        let Some(key) = host.sockets.connect_as(now, to, id, seq) else { panic!("no socket") };
        host.flows.insert(key, Flow { left: bytes, ..Flow::default() });
        self.serve(0);
        key
    }

    /// The first host sends more on its connections.
    pub fn add(&mut self, bytes: u64) {
        self.hosts[0].flows.values_mut().for_each(|flow| flow.left += bytes);
        self.serve(0);
    }

    /// The second host sends on a connection, too.
    pub fn answer(&mut self, bytes: u64) {
        self.hosts[1].flows.values_mut().for_each(|flow| flow.left = bytes);
        self.serve(1);
    }

    /// The first host closes a connection once all is written.
    pub fn close(&mut self, key: Key) {
        if let Some(flow) = self.hosts[0].flows.get_mut(&key) {
            flow.closes = true;
        }
        self.serve(0);
    }

    /// A stream that grows as TCP does begins.
    pub fn add_rival(&mut self) {
        self.rivals.push(Rival::new());
        self.drive_rivals();
    }

    /// A datagram from anywhere comes to a host.
    pub fn inject(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        self.handle_datagram(to, from, bytes);
        self.handle_drained(to);
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        if !std::mem::replace(&mut self.ticks, true) {
            self.push(self.now, Event::Look);
        }
        while let Some((&(at, count), _)) = self.queue.first_key_value()
            && at <= end
        {
            let Some(event) = self.queue.remove(&(at, count)) else { break };
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = end;
    }

    /// Lets time pass until the second host has read so many bytes, at most for `most`. Returns how
    /// long it took, if it has.
    pub fn run_until(&mut self, bytes: u64, most: Duration) -> Option<Duration> {
        let begin = self.now;
        while self.now < begin + most {
            self.run(Duration::from_millis(1));
            if self.read() >= bytes {
                return Some(self.now.since(begin));
            }
        }
        None
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A host's address.
    pub fn addr(&self, host: usize) -> SocketAddr {
        self.hosts[host].addr
    }

    /// Bytes that the second host has read, over all connections.
    pub fn read(&self) -> u64 {
        self.hosts[1].flows.values().map(|flow| flow.read).sum()
    }

    /// The same by connection, in the order in which they were made.
    pub fn read_each(&self) -> Vec<u64> {
        self.hosts[1].flows.values().map(|flow| flow.read).collect()
    }

    /// Bytes that the first host has read.
    pub fn read_back(&self) -> u64 {
        self.hosts[0].flows.values().map(|flow| flow.read).sum()
    }

    /// Bytes of rivals that arrived.
    pub fn rivals(&self) -> u64 {
        self.rivals.iter().map(|rival| rival.delivered).sum()
    }

    /// Bytes that have passed the bottleneck, headers included, and datagrams that it dropped.
    pub fn bottleneck(&self) -> (u64, u64) {
        (self.ways[0].passed, self.ways[0].dropped)
    }

    /// Datagrams that the second host's socket had no room for.
    pub fn overrun(&self) -> u64 {
        self.inboxes[1].dropped
    }

    /// The wait in the queue that half of the looks stay below, and the one that 95 % do, since
    /// the last time.
    pub fn take_waits(&mut self) -> [Duration; 2] {
        let mut waits = std::mem::take(&mut self.waits);
        waits.sort_unstable();
        [50, 95].map(|percent| {
            let at = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
            Duration::from_micros(waits.get(at).copied().unwrap_or(0).into())
        })
    }

    /// Connections that have ended at a host, and how.
    pub fn closed(&self, host: usize) -> Vec<(UtpClose, Option<u16>)> {
        self.hosts[host].closed.iter().map(|&(_, cause, reason)| (cause, reason)).collect()
    }

    /// Whether a stream has brought other bytes than were sent.
    pub fn is_broken(&self) -> bool {
        self.hosts.iter().flat_map(|host| host.flows.values()).any(|flow| flow.broken)
    }

    /// Bytes that came to hosts, and that they sent.
    pub fn traffic(&self) -> (u64, u64) {
        (self.injected, self.sent)
    }

    /// The datagram that was sent last.
    pub fn last(&self) -> &[u8] {
        &self.last
    }

    /// Begins at another time, which uTP sees with 32 bits. To be called first.
    pub fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// What a host counts.
    pub fn stats(&self, host: usize) -> UtpStats {
        self.hosts[host].sockets.stats()
    }

    /// A host's sockets.
    pub fn sockets(&mut self, host: usize) -> &mut UtpSockets {
        &mut self.hosts[host].sockets
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.queue.insert((at, self.count), event);
    }

    fn handle_datagram(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        self.injected += bytes.len() as u64;
        let host = &mut self.hosts[to];
        host.sockets.handle_datagram(self.now + host.skew, from, bytes, true);
    }

    fn handle_drained(&mut self, host: usize) {
        self.hosts[host].sockets.handle_drained();
        self.serve(host);
    }

    /// A host reads the next datagram of its socket.
    fn read_next(&mut self, host: usize) {
        let path = &self.ways[1 - host].path;
        let Some((bytes, next)) = self.inboxes[host].pop(path) else { return };
        self.handle_datagram(host, self.hosts[1 - host].addr, &bytes);
        match next {
            Some(after) => self.push(self.now + after, Event::Read { host }),
            None => self.handle_drained(host),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram { to, bytes } if self.ways[1 - to].path.room > 0 => {
                let after = self.inboxes[to].push(&self.ways[1 - to].path, bytes);
                if let Some(after) = after {
                    self.push(self.now + after, Event::Read { host: to });
                }
            }
            Event::Datagram { to, bytes } => {
                let from = self.hosts[1 - to].addr;
                self.inject(to, from, &bytes);
            }
            Event::Read { host } => self.read_next(host),
            Event::Wake { host } => {
                let h = &mut self.hosts[host];
                if h.woken.is_some_and(|at| at <= self.now) {
                    h.woken = None;
                }
                h.sockets.handle_timeout(self.now + h.skew);
                self.serve(host);
            }
            Event::Segment { rival, number } => {
                let at = self.now + self.ways[1].path.delay;
                self.push(at, Event::Ack { rival, number });
            }
            Event::Ack { rival, number } => {
                if let Some(rival) = self.rivals.get_mut(rival) {
                    rival.handle_ack(self.now, number);
                }
                self.drive_rivals();
            }
            Event::Look => {
                let wait = self.ways[0].wait(self.now);
                self.waits.push(wait.as_micros() as u32);
                let now = self.now;
                self.rivals.iter_mut().for_each(|rival| rival.handle_tick(now));
                self.drive_rivals();
                self.push(self.now + LOOK, Event::Look);
            }
        }
    }

    fn drive_rivals(&mut self) {
        let mut sent = Vec::new();
        for (n, rival) in self.rivals.iter_mut().enumerate() {
            while let Some(number) = rival.poll(self.now) {
                let [arrives, _] = self.ways[0].send(self.now, SEGMENT + 12, &mut self.rng);
                sent.extend(arrives.map(|at| (at, Event::Segment { rival: n, number })));
            }
        }
        sent.into_iter().for_each(|(at, event)| self.push(at, event));
    }

    /// A host does what its sockets want.
    fn serve(&mut self, n: usize) {
        let now = self.now;
        let mut sent = VecDeque::new();
        let host = &mut self.hosts[n];
        loop {
            host.handle_events(now);
            host.write(now);
            let Some(burst) = host.sockets.poll_transmit(now + host.skew, &mut host.out) else {
                break;
            };
            for segment in host.out.chunks(burst.segment.max(1)) {
                sent.push_back((segment.to_vec(), burst.is_probe));
            }
        }
        for (bytes, is_probe) in sent {
            self.sent += bytes.len() as u64;
            self.last = bytes.clone();
            let way = &mut self.ways[n];
            // Routers fragment what is too large, by IPv4, and unless they are told not to.
            let is_whole = is_probe || self.hosts[n].addr.is_ipv6();
            let len = if is_whole { bytes.len() } else { bytes.len().min(way.path.mtu) };
            let [first, again] = way.send(now, len, &mut self.rng);
            for at in [first, again].into_iter().flatten() {
                self.push(at, Event::Datagram { to: 1 - n, bytes: bytes.clone() });
            }
        }
        let host = &mut self.hosts[n];
        if let Some(at) = host.sockets.poll_timeout() {
            let at = Instant::from_micros(at.as_micros() - host.skew.as_micros() as u64).max(now);
            if host.woken.is_none_or(|woken| at < woken) {
                host.woken = Some(at);
                self.push(at, Event::Wake { host: n });
            }
        }
    }
}

impl Host {
    fn handle_events(&mut self, now: Instant) {
        let now = now + self.skew;
        while let Some(event) = self.sockets.poll_event() {
            match event {
                UtpEvent::Connected { socket } => {
                    if let Some(flow) = self.flows.get_mut(&socket) {
                        flow.connected = true;
                    }
                }
                UtpEvent::Accepted { socket, .. } => {
                    self.flows.insert(socket, Flow { connected: true, ..Flow::default() });
                }
                UtpEvent::Readable { .. } if self.holds => {}
                UtpEvent::Readable { socket } => self.read(now, socket),
                UtpEvent::Writable { .. } => {}
                UtpEvent::Closed { socket, cause, reason } => {
                    self.closed.push((socket, cause, reason));
                    if let Some(flow) = self.flows.get_mut(&socket) {
                        flow.connected = false;
                    }
                }
            }
        }
    }

    fn read(&mut self, now: Instant, socket: Key) {
        let Some(flow) = self.flows.get_mut(&socket) else { return };
        let bytes = self.sockets.bytes(socket);
        for bytes in bytes.chunks(PERIOD) {
            flow.broken |= *bytes != *part(flow.read, bytes.len());
            flow.read += bytes.len() as u64;
        }
        let len = bytes.len();
        self.sockets.read(now, socket, len);
    }

    fn write(&mut self, now: Instant) {
        let now = now + self.skew;
        for (&key, flow) in &mut self.flows {
            if flow.connected && flow.left > 0 {
                let mut room = self.sockets.room(key).min(flow.left as usize);
                while room > 0 {
                    let bytes = part(flow.written, room);
                    let taken = self.sockets.write(now, key, bytes);
                    (flow.written, flow.left) =
                        (flow.written + taken as u64, flow.left - taken as u64);
                    if taken < bytes.len() {
                        break;
                    }
                    room -= taken;
                }
            }
            if flow.connected && flow.left == 0 && flow.closes {
                flow.connected = false;
                self.sockets.close(now, key, Some(7));
            }
        }
    }
}
