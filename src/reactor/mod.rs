//! The loop around one [`Engine`]: sockets, readiness, the clock, the worker pool and the Waker.
//!
//! It makes no protocol decision. A turn carries events in and effects out: readiness → reads → the
//! workers' answers → due timers → effects → one vectored write a stream. Every step is bounded;
//! what is left over is remembered and makes the next wait zero. Nothing here blocks but the wait
//! itself.
//!
//! [`Reactor`] is the inline door, for programs with a loop of their own: wait for its descriptor
//! to become readable or for [`next_timeout`](Reactor::next_timeout) to pass, whichever is first,
//! then [`poll`](Reactor::poll) with a time-out of zero and fetch the alerts. Programs without a
//! loop use [`spawn`](crate::handle::spawn).
//!
//! ```no_run
//! use cratetorrent::{Alert, Conf, Reactor, ReactorError};
//!
//! # fn f() -> Result<(), ReactorError> {
//! let mut reactor = Reactor::new(Conf::default())?;
//! // reactor.verbs().add_torrent(…)
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
mod datagrams;
mod dropped;
mod gateway;
mod interfaces;
mod listen;
mod looks;
mod multicast;
mod next_turn;
mod outgoing;
mod output;
mod own_addresses;
mod quiet;
mod read_budget;
mod resolver;
mod run_queue;
mod scratch;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod tls;
mod turn;
mod udp;
mod wake;
mod workers;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mio::{Events, Poll, Token};
use thiserror::Error;

use self::{
    clock::Clock,
    datagrams::Datagrams,
    listen::Listeners,
    looks::Looks,
    multicast::{MAX_MEMBERS, Multicast},
    next_turn::NextTurn,
    outgoing::Outgoing,
    output::Output,
    resolver::Resolver,
    run_queue::RunQueue,
    scratch::Scratch,
    stats::Tally,
    streams::{FIRST_STREAM_TOKEN, Streams},
    tls::TlsConf,
    workers::Workers,
};
pub use self::{stats::ReactorStats, wake::Waker};
use crate::{
    alert::Alert,
    conf::{Conf, ConfError},
    engine::{Engine, Verbs},
    store::{Disk, Pool, RealDisk, Runner, SessionError, SessionFolder},
};

const WAKER_TOKEN: usize = 0;
const FIRST_DATAGRAM_TOKEN: usize = 1;
const FIRST_MULTICAST_TOKEN: usize = 3;
const FIRST_LISTENER_TOKEN: usize = FIRST_MULTICAST_TOKEN + MAX_MEMBERS;

/// Events fetched a turn.
const EVENTS_A_TURN: usize = 256;
/// Rounds of effects and writes a turn. Sending makes room, which can ask for more.
const ROUNDS_A_TURN: usize = 3;

/// Bytes of blocks read from the page cache and sent a turn, over all links: well below a
/// millisecond.
const UPLOADS_A_TURN: usize = 1 << 20;
/// How long an interface that was made anew may go unnoticed. A look is one call of the system.
const HELD_INTERVAL: Duration = Duration::from_secs(5);
/// How old may be what is told of dropped datagrams: the table of many sockets takes milliseconds.
const DROPPED_INTERVAL: Duration = Duration::from_secs(1);

/// Why a reactor cannot be made or cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
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
    #[error(
        "{0} addresses to listen on exceed {max}",
        max = FIRST_STREAM_TOKEN - FIRST_LISTENER_TOKEN
    )]
    TooManyListeners(usize),
    /// What [`TrackerConf::tls_roots`](crate::conf::TrackerConf::tls_roots) has is no certificates
    /// to believe.
    #[error("TrackerConf::tls_roots: {0}")]
    TlsRoots(String),
    /// The session folder cannot be used; see [`SessionConf::dir`](crate::conf::SessionConf::dir).
    #[error(transparent)]
    Session(#[from] SessionError),
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

/// An [`Engine`] with sockets, disk and clock, driven by calls of [`poll`](Self::poll).
///
/// Dropping it closes every connection at once and waits for the jobs that workers are at, however
/// long a disk takes; states are not saved. For an orderly end call [`Verbs::shutdown`] and poll
/// until [`is_drained`](Self::is_drained). With a disk that does not answer,
/// [`abandon`](Self::abandon) does not wait.
#[derive(Debug)]
pub struct Reactor {
    poll: Poll,
    events: Events,
    clock: Clock,
    engine: Engine,
    workers: Workers,
    waker: Waker,
    listeners: Listeners,
    outgoing: Outgoing,
    streams: Streams,
    tls: TlsConf,
    datagrams: Datagrams,
    multicast: Multicast,
    looks: Looks,
    resolver: Resolver,
    /// Slots with readiness that is not used up.
    ready: RunQueue,
    output: Output,
    scratch: Scratch,
    next: NextTurn,
    tally: Tally,
}

impl Reactor {
    /// A reactor on real files, seeded by the system.
    ///
    /// # Errors
    /// If a setting cannot work, the session folder cannot be used, an address cannot be listened
    /// on, or the system refuses what an event loop needs. Reading the session folder blocks.
    pub fn new(conf: Conf) -> Result<Self, ReactorError> {
        let disk = Arc::new(RealDisk::new(conf.storage.max_open_files));
        Self::with(conf, random_seed()?, disk)
    }

    /// A reactor with its own `disk`, whose engine draws its random numbers from `seed`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(conf: Conf, seed: u64, disk: Arc<dyn Disk>) -> Result<Self, ReactorError> {
        conf.validate()?;
        if conf.network.listen.len() > FIRST_STREAM_TOKEN - FIRST_LISTENER_TOKEN {
            return Err(ReactorError::TooManyListeners(conf.network.listen.len()));
        }
        let session = match &conf.session.dir {
            Some(dir) => {
                let (folder, restored) = SessionFolder::open(disk.clone(), dir, random_bytes()?)?;
                Some((Arc::new(folder), restored))
            }
            None => None,
        };
        let poll = Poll::new().map_err(ReactorError::Setup)?;
        let waker = Waker::new(poll.registry(), Token(WAKER_TOKEN)).map_err(ReactorError::Setup)?;
        // Before anything is held to the interface, whose number it notes.
        let outgoing = Outgoing::new(&conf);
        let listeners = Listeners::bind(
            poll.registry(),
            if conf.listens() { &conf.network.listen } else { &[] },
            outgoing.interface(),
            conf.network.transports.tcp(),
            FIRST_LISTENER_TOKEN,
        )
        .map_err(|(addr, source)| ReactorError::Listen { addr, source })?;
        let pool_waker = waker.clone();
        let (runner, restored) = match session {
            Some((folder, restored)) => (Runner::with_folder(disk, folder), Some(restored)),
            None => (Runner::new(disk), None),
        };
        let pool = Pool::over(
            conf.storage.workers,
            conf.storage.lane_wait,
            runner,
            Box::new(move || pool_waker.try_wake()),
        );
        let pool = pool.map_err(ReactorError::Setup)?;
        let tls = TlsConf::new(&conf.trackers.tls_roots).map_err(ReactorError::TlsRoots)?;
        let resolver = Resolver::new(waker.clone());
        let clock = Clock::new();
        let scratch = Scratch::new(conf.network.read_len);
        let datagrams =
            Datagrams::open(poll.registry(), &outgoing, listeners.addrs(), FIRST_DATAGRAM_TOKEN);
        let mut engine = Engine::new(conf, seed, clock.now())?;
        engine.set_listen_addrs(listeners.addrs());
        if let Some(restored) = restored {
            engine.restore(restored);
        }
        let mut reactor = Self {
            poll,
            events: Events::with_capacity(EVENTS_A_TURN),
            clock,
            engine,
            workers: Workers::new(pool),
            waker,
            listeners,
            outgoing,
            streams: Streams::default(),
            tls,
            datagrams,
            multicast: Multicast::new(),
            looks: Looks::default(),
            resolver,
            ready: RunQueue::default(),
            output: Output::default(),
            scratch,
            next: NextTurn::default(),
            tally: Tally::default(),
        };
        if reactor.outgoing.interface().is_some() {
            reactor.looks.held.set(reactor.clock.now() + HELD_INTERVAL);
        }
        // What was restored may want something.
        reactor.next.lend();
        Ok(reactor)
    }

    /// The engine's verbs and getters. What verbs ask of the network and the disk is done in the
    /// next [`poll`](Self::poll); [`next_timeout`](Self::next_timeout) is zero until then.
    pub fn verbs(&mut self) -> Verbs<'_> {
        self.next.lend();
        self.engine.handle_tick(self.clock.now());
        self.engine.verbs()
    }

    /// The addresses listened on, in the order of
    /// [`NetworkConf::listen`](crate::conf::NetworkConf::listen), with the ports that the
    /// system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.addrs().collect()
    }

    /// Where datagrams leave from and come to, a socket a family: on the port of the family's first
    /// listener if it could be had, and not yet open, maybe, in a family that is not listened on.
    pub fn datagram_addrs(&self) -> Vec<SocketAddr> {
        self.datagrams.addrs().collect()
    }

    /// What it has done so far. It costs nothing, but for a look at the table of the system's
    /// sockets for [`ReactorStats::datagrams_dropped`], at most once a second.
    pub fn stats(&mut self) -> ReactorStats {
        let now = self.clock.now();
        if self.looks.dropped.is_due(now) {
            self.looks.dropped.set(now + DROPPED_INTERVAL);
            self.tally.note_dropped(self.datagrams.dropped(), self.datagrams.receive_buffer());
        }
        self.tally.shown()
    }

    /// Ends a wait in [`poll`](Self::poll) from another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Closes every connection at once and waits for nothing: workers finish what they are at, if
    /// they ever do, and end then. Nothing is saved. For a disk that hangs, where a drop would
    /// wait for it.
    pub fn abandon(self) {
        self.workers.abandon();
    }

    /// How long the drop of a handle may wait.
    pub(crate) fn close_timeout(&self) -> Duration {
        self.engine.conf().session.close_timeout
    }

    /// Whether an engine that was told to shut down has nothing left to do.
    pub fn is_drained(&self) -> bool {
        self.engine.is_drained() && !self.next.has_effect() && self.output.is_sent()
    }

    /// How long the owner may wait before it must call [`poll`](Self::poll) although the descriptor
    /// stays silent. Zero while work is left over or a new alert waits to be fetched; `None` if
    /// only an event can bring work.
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let own = earlier(self.listeners.retry_at(), self.looks.next());
        let deadline = earlier(self.engine.poll_timeout(), own);
        deadline.map(|at| at.since(self.clock.now()))
    }

    /// The oldest alert that was not fetched yet.
    #[must_use]
    pub fn next_alert(&mut self) -> Option<Alert> {
        self.next.forget_alerts();
        self.engine.poll_alert()
    }

    /// Whether alerts wait to be fetched.
    pub fn has_alerts(&self) -> bool {
        self.engine.has_alerts()
    }

    /// One turn: waits at most `timeout` (`None`: until something happens) and no longer than
    /// [`next_timeout`](Self::next_timeout), then does a bounded amount of work. It may return
    /// without having found any: after a signal, a [`Waker`], or a time-out.
    ///
    /// # Errors
    /// If the system cannot wait for events. The failures of peers and disks are the engine's, told
    /// as alerts.
    pub fn poll(&mut self, timeout: Option<Duration>) -> Result<(), ReactorError> {
        if self.next.is_lent() {
            self.look_ahead();
        }
        let wait = earlier(timeout, self.next_timeout());
        self.next.note_alerts(self.engine.has_alerts());
        match self.poll.poll(&mut self.events, wait) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(e) => return Err(ReactorError::Wait(e)),
        }
        self.next.note_events(self.events.iter().count() == EVENTS_A_TURN);
        let start = self.clock.now();
        self.note_events(start);
        self.accept(start);
        self.serve_ready();
        self.receive_datagrams();
        self.receive_multicast();
        self.fetch_answers();
        let now = self.clock.now();
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
        self.look_at_interfaces(now);
        self.look_for_gateway(now);
        self.look_at_own_addresses(now);
        self.look_at_held_interface(now);
        self.output.begin_turn(UPLOADS_A_TURN);
        if self.output.has_dirty() {
            // What the last turn left goes first: reading blocks for others may take all of this
            // turn's budget again.
            self.flush(now);
        }
        for _ in 0..ROUNDS_A_TURN {
            self.carry_out_effects(now);
            if !self.output.has_dirty() || self.output.is_spent() {
                break;
            }
            self.flush(now);
        }
        self.send_datagrams(self.clock.now());
        self.send_bursts(self.clock.now());
        self.look_ahead();
        self.tally.note_turn(start, self.clock.now());
        Ok(())
    }

    /// Whether the next turn has something to do that no event will tell.
    fn has_work(&self) -> bool {
        self.is_left_over()
            || self.next.has_effect()
            || self.engine.wants_multicast() != self.looks.interfaces.is_on()
            || self.engine.wants_gateway() != self.looks.gateway.is_on()
            || self.engine.wants_addresses() != self.looks.addresses.is_on()
            || (self.next.is_lent() && self.engine.may_have_effects())
            || (self.engine.has_alerts() && !self.next.has_told_alerts())
    }

    /// Whether the next turn has something to do on its sockets or for its waker.
    fn is_left_over(&self) -> bool {
        self.next.has_more_events()
            || !self.ready.is_empty()
            || self.output.has_dirty()
            || self.output.has_datagrams()
            || self.has_bursts()
            || self.datagrams.is_ready()
            || self.multicast.is_ready()
            || self.listeners.is_ready()
            || self.waker.is_called()
    }

    /// Finds out whether there is an effect, unless the next wait is zero anyway.
    fn look_ahead(&mut self) {
        if !self.next.has_effect() && !self.is_left_over() {
            self.next.note_effect(self.engine.poll_effect());
        }
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
    random_bytes().map(u64::from_le_bytes)
}

fn random_bytes<const N: usize>() -> Result<[u8; N], ReactorError> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| ReactorError::Random)?;
    Ok(bytes)
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
