//! The loop around one [`Engine`]: sockets, readiness, the clock, the worker pool and the Waker.
//!
//! It makes no protocol decision. A turn carries events in and effects out: readiness → reads → the workers' answers →
//! due timers → effects → one vectored write a link. Every step is bounded; what is left over is remembered and makes the
//! next wait zero. Nothing here blocks but the wait itself.
//!
//! [`Reactor`] is the inline door, for programs with a loop of their own: wait for its descriptor to become readable or
//! for [`next_timeout`](Reactor::next_timeout) to pass, whichever is first, then [`poll`](Reactor::poll) with a time-out
//! of zero and fetch the alerts. Programs without a loop use [`spawn`](crate::handle::spawn).
//!
//! ```no_run
//! use cratetorrent::{Alert, Conf, Reactor, ReactorError};
//!
//! # fn f() -> Result<(), ReactorError> {
//! let mut reactor = Reactor::new(Conf::default())?;
//! // reactor.engine().add_torrent(…)
//! loop {
//!     reactor.poll(None)?;
//!     while let Some(alert) = reactor.next_alert() {
//!         if let Alert::Finished { .. } = alert {
//!             return Ok(());
//!         }
//!     }
//! }
//! # }
//! ```

mod clock;
mod listen;
mod run_queue;
mod sockets;
#[cfg(test)]
mod tests;
mod wake;

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use mio::{Events, Poll, Token, net::TcpStream};
use thiserror::Error;

pub use self::wake::Waker;
use self::{
    clock::Clock,
    listen::{Accepted, Listeners},
    run_queue::RunQueue,
    sockets::{Connecting, FIRST_LINK_TOKEN, Socket, Sockets, slot},
};
use crate::{
    alert::Alert,
    base::{arena::Key, job::Done, time::Instant},
    conf::{Conf, ConfError},
    engine::{CloseCause, Effect, Engine},
    store::{Disk, Pool, RealDisk},
};

const WAKER_TOKEN: usize = 0;
const FIRST_LISTENER_TOKEN: usize = 1;

/// Events fetched a turn.
const EVENTS_A_TURN: usize = 256;
/// Connections accepted or shed a turn.
const ACCEPTS_A_TURN: usize = 64;
/// Full reads a turn, over all sockets. With the default 256 KiB that is 2 MiB, or about two milliseconds.
const READS_A_TURN: usize = 8;
/// Effects carried out before the writes of a round.
const EFFECTS_A_ROUND: usize = 4096;
/// Rounds of effects and writes a turn. Sending makes room, which can ask for more.
const ROUNDS_A_TURN: usize = 3;
/// Writes to one link a round.
const WRITES_A_ROUND: usize = 4;
/// Slices a write: 32 blocks with their headers.
const SLICES_A_WRITE: usize = 64;

/// Why a reactor cannot be made or cannot go on.
#[derive(Debug, Error)]
pub enum ReactorError {
    /// A setting that cannot work.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// An address that cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// More addresses than there are tokens for.
    #[error("{0} addresses to listen on exceed {max}", max = FIRST_LINK_TOKEN - FIRST_LISTENER_TOKEN)]
    TooManyListeners(usize),
    /// The system has no randomness to give.
    #[error("the system has no random numbers to give")]
    Random,
    /// No event queue, waker or thread to be had.
    #[error("cannot set up the event loop: {0}")]
    Setup(#[source] io::Error),
    /// Waiting for events failed.
    #[error("cannot wait for events: {0}")]
    Wait(#[source] io::Error),
}

/// What a reactor has done so far. Reading it costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReactorStats {
    /// Calls of [`Reactor::poll`].
    pub turns: u64,
    /// Reads that brought data.
    pub reads: u64,
    /// Bytes they brought.
    pub bytes_read: u64,
    /// Writes that took data.
    pub writes: u64,
    /// Bytes they took.
    pub bytes_written: u64,
    /// Times that workers or other threads had woken the loop.
    pub wakes: u64,
    /// Longest turn without its wait, in microseconds.
    pub longest_turn_us: u64,
}

/// An [`Engine`] with sockets, disk and clock, driven by whoever calls [`poll`](Self::poll).
///
/// Dropping it closes every connection at once and waits for the jobs that workers are at; states are not saved. For an
/// orderly end call [`Engine::shutdown`] and poll until [`is_drained`](Self::is_drained).
#[derive(Debug)]
pub struct Reactor {
    poll: Poll,
    events: Events,
    clock: Clock,
    engine: Engine,
    pool: Pool,
    waker: Waker,
    listeners: Listeners,
    sockets: Sockets,
    /// Slots with readiness that is not used up.
    ready: RunQueue,
    /// Links with bytes to send.
    dirty: Vec<Key>,
    /// The other half of `dirty`, so that neither is allocated anew.
    flushing: Vec<Key>,
    /// Where every read goes first; hot in cache, as nothing else is.
    scratch: Box<[u8]>,
    answers: Vec<Done>,
    /// The next effect, taken early to know that there is one.
    effect: Option<Effect>,
    /// The owner had a turn to notice that alerts wait. An owner who does not care for them may wait in peace.
    alerts_told: bool,
    /// The last turn fetched as many events as it could: there may be more.
    more_events: bool,
    stats: ReactorStats,
}

impl Reactor {
    /// A reactor on real files, seeded by the system.
    ///
    /// # Errors
    /// If a setting cannot work, an address cannot be listened on, or the system refuses what an event loop needs.
    pub fn new(conf: Conf) -> Result<Self, ReactorError> {
        let disk = Arc::new(RealDisk::new(conf.max_open_files));
        Self::with(conf, random_seed()?, disk)
    }

    /// A reactor with its own `disk`, whose engine draws its random numbers from `seed`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(conf: Conf, seed: u64, disk: Arc<dyn Disk>) -> Result<Self, ReactorError> {
        conf.validate()?;
        if conf.listen.len() > FIRST_LINK_TOKEN - FIRST_LISTENER_TOKEN {
            return Err(ReactorError::TooManyListeners(conf.listen.len()));
        }
        let poll = Poll::new().map_err(ReactorError::Setup)?;
        let waker = Waker::new(poll.registry(), Token(WAKER_TOKEN)).map_err(ReactorError::Setup)?;
        let listeners = Listeners::bind(poll.registry(), &conf.listen, FIRST_LISTENER_TOKEN)
            .map_err(|(addr, source)| ReactorError::Listen { addr, source })?;
        let pool_waker = waker.clone();
        let pool =
            Pool::new(conf.workers, conf.lane_wait, disk, Box::new(move || pool_waker.wake())).map_err(ReactorError::Setup)?;
        let clock = Clock::new();
        let scratch = vec![0; conf.read_len].into_boxed_slice();
        let mut engine = Engine::new(conf, seed, clock.now())?;
        engine.set_listen_port(listeners.addrs().next().map(|addr| addr.port()));
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_A_TURN),
            clock,
            engine,
            pool,
            waker,
            listeners,
            sockets: Sockets::default(),
            ready: RunQueue::default(),
            dirty: Vec::new(),
            flushing: Vec::new(),
            scratch,
            answers: Vec::new(),
            effect: None,
            alerts_told: false,
            more_events: false,
            stats: ReactorStats::default(),
        })
    }

    /// The engine, for its verbs and getters. What verbs ask of the network and the disk is done in the next
    /// [`poll`](Self::poll); [`next_timeout`](Self::next_timeout) is zero until then.
    pub fn engine(&mut self) -> &mut Engine {
        self.engine.handle_tick(self.clock.now());
        &mut self.engine
    }

    /// The addresses listened on, in the order of [`Conf::listen`], with the ports that the system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.addrs().collect()
    }

    /// What it has done so far.
    pub fn stats(&self) -> ReactorStats {
        self.stats
    }

    /// Ends a wait in [`poll`](Self::poll) from another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Whether an engine that was told to shut down has nothing left to do.
    pub fn is_drained(&self) -> bool {
        self.engine.is_drained() && self.effect.is_none()
    }

    /// How long the owner may wait before it must call [`poll`](Self::poll) although the descriptor stays silent.
    /// Zero while work is left over or a new alert waits to be fetched; `None` if only an event can bring work.
    pub fn next_timeout(&mut self) -> Option<Duration> {
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let deadline = earlier(self.engine.poll_timeout(), self.listeners.retry_at());
        deadline.map(|at| at.since(self.clock.now()))
    }

    /// The oldest alert that was not fetched yet.
    #[must_use]
    pub fn next_alert(&mut self) -> Option<Alert> {
        self.alerts_told = false;
        self.engine.poll_alert()
    }

    /// Whether alerts wait to be fetched.
    pub fn has_alerts(&self) -> bool {
        self.engine.has_alerts()
    }

    /// One turn: waits at most `timeout` (`None`: until something happens) and no longer than
    /// [`next_timeout`](Self::next_timeout), then does a bounded amount of work. It may return without having found
    /// any: after a signal, a [`Waker`], or a time-out.
    ///
    /// # Errors
    /// If the system cannot wait for events. The failures of peers and disks are the engine's, told as alerts.
    pub fn poll(&mut self, timeout: Option<Duration>) -> Result<(), ReactorError> {
        let wait = earlier(timeout, self.next_timeout());
        self.alerts_told = self.engine.has_alerts();
        match self.poll.poll(&mut self.events, wait) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(e) => return Err(ReactorError::Wait(e)),
        }
        self.more_events = self.events.iter().count() == EVENTS_A_TURN;
        let start = self.clock.now();
        self.note_events();
        self.accept(start);
        self.serve_ready();
        self.fetch_answers();
        let now = self.clock.now();
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
        for _ in 0..ROUNDS_A_TURN {
            self.carry_out_effects(now);
            if self.dirty.is_empty() {
                break;
            }
            self.flush(now);
        }
        self.stats.turns += 1;
        let took = self.clock.now().since(start).as_micros();
        self.stats.longest_turn_us = self.stats.longest_turn_us.max(u64::try_from(took).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Whether the next turn has something to do that no event will tell.
    fn has_work(&mut self) -> bool {
        let left_over = self.more_events || !self.ready.is_empty() || !self.dirty.is_empty();
        if left_over || self.listeners.is_ready() || self.waker.is_called() {
            return true;
        }
        if self.effect.is_none() {
            self.effect = self.engine.poll_effect();
        }
        self.effect.is_some() || (self.engine.has_alerts() && !self.alerts_told)
    }

    /// Events are remembered first and served afterwards, in the order of the run queue.
    fn note_events(&mut self) {
        for event in &self.events {
            let Token(token) = event.token();
            if let Some(slot) = token.checked_sub(FIRST_LINK_TOKEN) {
                // A socket that was closed tells nothing more, so whoever lives here is who is meant.
                let Some(socket) = self.sockets.at_slot(slot) else { continue };
                socket.read_closed |= event.is_read_closed() || event.is_error();
                socket.readable |= event.is_readable() || socket.read_closed;
                if event.is_writable() || event.is_error() {
                    if !socket.writable && !socket.connecting {
                        mark_dirty(&mut self.dirty, socket);
                    }
                    socket.writable = true;
                }
                if socket.readable || socket.connecting {
                    self.ready.push(slot);
                }
            } else if token >= FIRST_LISTENER_TOKEN {
                self.listeners.handle_event(token - FIRST_LISTENER_TOKEN);
            }
            // The waker's event only ends the wait: its flag says whether somebody left something.
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_A_TURN {
            match self.listeners.accept(now) {
                Accepted::Stream(stream, addr) => self.greet(now, stream, addr),
                Accepted::Shed => {}
                Accepted::Nobody => break,
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
    fn serve_ready(&mut self) {
        let mut reads = READS_A_TURN;
        for _ in 0..self.ready.len() {
            if reads == 0 {
                break;
            }
            let Some(slot) = self.ready.pop() else { break };
            let Some(socket) = self.sockets.at_slot(slot) else { continue };
            let now = self.clock.now();
            let key = socket.key;
            let ended = if socket.connecting { self.finish_connecting(now, key) } else { None };
            let ended = ended.or_else(|| self.read(now, key, &mut reads));
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
    fn read(&mut self, now: Instant, key: Key, reads: &mut usize) -> Option<CloseCause> {
        let socket = self.sockets.get_mut(key).filter(|socket| socket.readable && !socket.connecting)?;
        for _ in 0..self.engine.conf().reads_a_turn {
            match socket.read(&mut self.scratch) {
                Ok(0) => return Some(CloseCause::Eof),
                Ok(len) => {
                    self.stats.reads += 1;
                    self.stats.bytes_read += len as u64;
                    self.engine.handle_data(now, key, self.scratch.get(..len).unwrap_or_default());
                    // A stream that fills less than was offered is drained (epoll(7)), unless its end is waiting behind.
                    if len < self.scratch.len() && !socket.read_closed {
                        socket.readable = false;
                        return None;
                    }
                    *reads = reads.saturating_sub(1);
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

    fn fetch_answers(&mut self) {
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
    }

    fn carry_out_effects(&mut self, now: Instant) {
        for _ in 0..EFFECTS_A_ROUND {
            match self.effect.take().or_else(|| self.engine.poll_effect()) {
                Some(Effect::Job(job)) => self.pool.submit(job),
                Some(Effect::Flush { link }) => {
                    if let Some(socket) = self.sockets.get_mut(link) {
                        mark_dirty(&mut self.dirty, socket);
                    }
                }
                Some(Effect::Dial { link, addr }) => match Socket::dial(link, addr) {
                    Ok(socket) => self.keep(now, link, socket),
                    Err(e) => self.engine.handle_closed(now, link, CloseCause::Io(e.kind())),
                },
                Some(Effect::Close { link }) => {
                    self.sockets.close(self.poll.registry(), link);
                }
                None => break,
            }
        }
    }

    /// One vectored write, or a few, for each link that has something to send.
    fn flush(&mut self, now: Instant) {
        std::mem::swap(&mut self.dirty, &mut self.flushing);
        for at in 0..self.flushing.len() {
            let Some(&key) = self.flushing.get(at) else { break };
            let Some(socket) = self.sockets.get_mut(key) else { continue };
            socket.dirty = false;
            // Otherwise the event that makes it writable marks it again.
            if !socket.writable || socket.connecting {
                continue;
            }
            match write(&mut self.engine, socket, now, &mut self.stats) {
                Ok(Written::All) => {}
                Ok(Written::Blocked) => socket.writable = false,
                Ok(Written::Some) => mark_dirty(&mut self.dirty, socket),
                Err(e) => {
                    self.sockets.close(self.poll.registry(), key);
                    self.engine.handle_closed(now, key, CloseCause::Io(e.kind()));
                }
            }
        }
        self.flushing.clear();
    }
}

/// How far a link's output got.
enum Written {
    All,
    Blocked,
    Some,
}

fn write(engine: &mut Engine, socket: &mut Socket, now: Instant, stats: &mut ReactorStats) -> io::Result<Written> {
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
        if taken < offered {
            return Ok(Written::Blocked);
        }
    }
    Ok(Written::Some)
}

fn mark_dirty(dirty: &mut Vec<Key>, socket: &mut Socket) {
    if !socket.dirty {
        socket.dirty = true;
        dirty.push(socket.key);
    }
}

/// The smaller of two bounds, where `None` is no bound.
fn earlier<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn random_seed() -> Result<u64, ReactorError> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut seed = [0; 8];
    SystemRandom::new().fill(&mut seed).map_err(|_| ReactorError::Random)?;
    Ok(u64::from_le_bytes(seed))
}

#[cfg(unix)]
impl std::os::fd::AsFd for Reactor {
    /// Readable when an event waits; to be watched by the owner's own loop.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self.poll.registry())
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Reactor {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(self.poll.registry())
    }
}
