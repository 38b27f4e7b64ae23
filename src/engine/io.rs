//! What the engine wants of its driver and has not been fetched: effects, look-ups of names,
//! wake-ups of its own.
//!
//! Effects leave in the order in which they were wanted, by torrents (whose jobs wait in their
//! [`Outbox`]) and by the engine alike. It knows no protocol.

use std::collections::VecDeque;

use crate::{
    base::{
        arena::{Arena, Key},
        time::Instant,
        timers::Deadlines,
    },
    engine::{Effect, names::Names, web_seeds::WebStream},
    torrent::outbox::Outbox,
};

/// The owner of a deadline of the engine. Those of torrents and connections are
/// [`Sleeper`](crate::torrent::outbox::Sleeper)s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Connections that wait for tokens.
    Limits,
    /// A question to a tracker.
    Call(Key),
    /// Questions that wait for their turn.
    Calls,
    /// Torrents that wait for their turn.
    Queue,
    /// Candidates that wait for room.
    Crowd,
    /// Buffers that lie idle.
    Buffers,
    /// The session folder, which could not be written.
    Recorder,
    /// The DHT node.
    Dht,
    /// Local service discovery.
    Lsd,
    /// Connections by uTP.
    Utp,
    /// The proxy.
    Proxy,
    /// Port mapping.
    PortMapping,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Io {
    effects: VecDeque<Effect>,
    deadlines: Deadlines<Owner>,
    pub(super) names: Names,
    /// Streams to web seeds.
    pub(super) web_streams: Arena<WebStream>,
    /// When idle buffers are looked after, if there are any.
    buffers_due: Option<Instant>,
}

impl Io {
    pub(super) fn new() -> Self {
        Self {
            effects: VecDeque::new(),
            deadlines: Deadlines::new(),
            names: Names::default(),
            web_streams: Arena::new(),
            buffers_due: None,
        }
    }

    /// Appends an effect, behind what torrents wanted before.
    pub(super) fn push(&mut self, effect: Effect, torrents: &mut Outbox) {
        self.take_jobs(torrents);
        self.effects.push_back(effect);
    }

    /// The next effect, in the order in which they were wanted.
    #[must_use]
    pub(super) fn poll(&mut self, torrents: &mut Outbox) -> Option<Effect> {
        self.take_jobs(torrents);
        self.effects.pop_front()
    }

    /// Whether no effect waits.
    pub(super) fn is_empty(&self, torrents: &Outbox) -> bool {
        self.effects.is_empty() && torrents.has_no_jobs()
    }

    fn take_jobs(&mut self, torrents: &mut Outbox) {
        while let Some(job) = torrents.poll_job() {
            self.effects.push_back(Effect::Job(job));
        }
    }

    /// Wakes `owner` at `at`. Earlier wake-ups of it stay, and are to be ignored by it.
    pub(super) fn wake(&mut self, at: Instant, owner: Owner) {
        self.deadlines.push(at, owner);
    }

    /// Has idle buffers looked after at `at`, unless that is so already.
    pub(super) fn wake_for_buffers(&mut self, at: Instant) {
        if self.buffers_due.is_none() {
            self.buffers_due = Some(at);
            self.wake(at, Owner::Buffers);
        }
    }

    /// Whether they are to be looked after at `at`, once.
    pub(super) fn take_buffers_due(&mut self, at: Instant) -> bool {
        self.buffers_due.take_if(|due| *due == at).is_some()
    }

    /// The next wake-up that is due, and its time.
    #[must_use]
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<(Instant, Owner)> {
        self.deadlines.pop_due(now)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }
}
