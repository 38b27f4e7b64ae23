//! Questions to trackers that are on their way: whose turn it is, how many at a time, and where
//! their answers go.
//!
//! What a call does is `proto::tracker`'s; which trackers a torrent tells and when is its
//! announcer's. Calls of torrents that take their leave outlive them.

mod beginning;
mod ending;
mod leaving;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSlice},
    time::Duration,
};

use crate::{
    base::{
        arena::{Arena, Key},
        target::Target,
        time::Instant,
        timers::Wakeup,
    },
    conf::Traffic,
    engine::{
        CloseCause, DatagramOwner, Effect, Engine, StreamId,
        dial::Dial,
        io::Owner,
        names::{Asker, Lookup, Resolved},
    },
    proto::tracker::{Ask, Call, Connection, Family},
    torrent::announcer::TrackerNo,
    wire::tracker::{TrackerUrl, url::Host},
};

use leaving::{ChainId, Leaving};

/// Trackers that cannot be reached and are remembered, and for how long at most when there are too
/// many.
const MAX_SILENT: usize = 1024;
const SILENT_TIME: Duration = Duration::from_secs(3600);
/// Connection ids of UDP trackers that are kept (BEP 15).
const MAX_CONNECTIONS: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Calls {
    running: Arena<Running>,
    connections: BTreeMap<Place, Connection>,
    /// Trackers that cannot be reached or let us wait in vain: how often in a row, over all
    /// torrents, and when that was last.
    silent: BTreeMap<(Host, u16), (u32, Instant)>,
    /// Torrents and trackers that the user wants numbers of.
    scrapes: BTreeSet<(Key, TrackerNo)>,
    /// Farewells that are not over, those in line included.
    leaving: Leaving,
    /// When the next announce is in time; announces that are early by less than a burst are, too.
    pace: Instant,
    wakeup: Wakeup,
    /// When the engine does not wait for farewells any more.
    end: Option<Instant>,
}

/// Where a UDP tracker is.
type Place = (Host, u16, Option<Family>);

#[derive(Debug)]
struct Running {
    call: Call,
    url: TrackerUrl,
    family: Option<Family>,
    what: What,
    wakeup: Wakeup,
    /// A stream was asked for under its key.
    stream: bool,
}

/// What a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Announce(Key, TrackerNo),
    Scrape(Key, TrackerNo),
    Leave(ChainId),
}

impl Calls {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            running: Arena::new(),
            connections: BTreeMap::new(),
            silent: BTreeMap::new(),
            scrapes: BTreeSet::new(),
            leaving: Leaving::default(),
            pace: now,
            wakeup: Wakeup::default(),
            end: None,
        }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.running.len() == 0 && self.leaving.is_idle()
    }

    /// Asks for a tracker's numbers, soon.
    pub(super) fn scrape(&mut self, torrent: Key, tracker: TrackerNo) {
        self.scrapes.insert((torrent, tracker));
    }
}

impl Engine {
    /// Whether a call is on its way.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn has_call(&self, key: Key) -> bool {
        self.calls.running.get(key).is_some()
    }

    // What the driver tells.

    pub(super) fn call_resolved(&mut self, call: Key, result: Resolved) {
        self.with_call(call, |call, now| call.handle_resolved(now, result));
    }

    pub(super) fn call_connected(&mut self, call: Key) {
        self.with_call(call, Call::handle_connected);
    }

    pub(super) fn call_data(&mut self, call: Key, data: &[u8]) {
        self.with_call(call, |call, now| call.handle_data(now, data));
    }

    pub(super) fn call_sent(&mut self, call: Key, bytes: usize) {
        self.with_call(call, |call, now| call.handle_sent(now, bytes));
    }

    pub(super) fn call_closed(&mut self, call: Key, cause: CloseCause) {
        let why = match cause {
            CloseCause::Eof => Ok(()),
            CloseCause::Proxy(why) => return self.call_proxy_failed(call, why),
            cause => Err(cause.to_string()),
        };
        self.with_call(call, |call, now| call.handle_stream_ended(now, why));
    }

    /// The proxy has failed that a call goes through.
    pub(super) fn call_proxy_failed(&mut self, call: Key, why: String) {
        self.with_call(call, |call, _| call.handle_proxy_failed(why));
    }

    /// A datagram of a call cannot be sent.
    pub(super) fn call_unsent(&mut self, call: Key, why: io::ErrorKind) {
        self.with_call(call, |call, now| call.handle_stream_ended(now, Err(why.to_string())));
    }

    /// Something that looks like a tracker's answer came from `from`. It is one if a question that
    /// was sent there has its transaction.
    pub(super) fn tracker_datagram(&mut self, from: &Target, data: &[u8]) {
        let mut taken = None;
        for (key, running) in self.calls.running.iter_mut() {
            if running.call.handle_datagram(self.cx.now, from, data) {
                taken = Some(key);
                break;
            }
        }
        if let Some(call) = taken {
            self.with_call(call, |_, _| {});
        }
    }

    /// What is to be sent next on a call's stream.
    pub(super) fn call_transmit<'a>(&'a self, call: Key, out: &mut [IoSlice<'a>]) -> usize {
        let running = self.calls.running.get(call);
        let bytes = running.map_or(&[][..], |running| running.call.poll_transmit());
        match out.first_mut().filter(|_| !bytes.is_empty()) {
            Some(slot) => {
                *slot = IoSlice::new(bytes);
                1
            }
            None => 0,
        }
    }

    // Time.

    pub(super) fn handle_call_timeout(&mut self, key: Key, at: Instant) {
        if self.calls.running.get_mut(key).is_some_and(|running| running.wakeup.fire(at)) {
            self.with_call(key, Call::handle_timeout);
        }
    }

    /// It is time for a call that waited.
    pub(super) fn handle_calls_timeout(&mut self, at: Instant) {
        if !self.calls.wakeup.fire(at) {
            return;
        }
        if let Some(end) = self.calls.end {
            if end <= self.cx.now {
                self.end_leaving();
            } else {
                self.wake_calls(end);
            }
        }
        self.pump_calls();
    }

    fn wake_calls(&mut self, at: Instant) {
        if self.calls.wakeup.want(at) {
            self.io.wake(at, Owner::Calls);
        }
    }

    /// Tells a call something and does what it asks for.
    fn with_call(&mut self, mut key: Key, tell: impl FnOnce(&mut Call, Instant)) {
        let now = self.cx.now;
        let Some(running) = self.calls.running.get_mut(key) else { return };
        tell(&mut running.call, now);
        while let Some(running) = self.calls.running.get_mut(key) {
            let Some(ask) = running.call.poll_ask() else { break };
            let effect = match ask {
                Ask::Resolve { host } => {
                    match self.io.names.look_up(now, Asker::Tracker(key), &host) {
                        Lookup::Known(known) => {
                            running.call.handle_resolved(now, known);
                            continue;
                        }
                        Lookup::Shared => continue,
                        Lookup::Ask => Effect::Resolve { host },
                    }
                }
                Ask::Connect { to, tls, forwarded } => {
                    key = self.drop_stream(key);
                    if let Some(running) = self.calls.running.get_mut(key) {
                        running.stream = true;
                    }
                    let dial = Dial { to, tls, forwarded, traffic: Traffic::Trackers };
                    self.open_stream(StreamId::Tracker(key), dial);
                    continue;
                }
                Ask::Flush => Effect::Flush { stream: StreamId::Tracker(key) },
                Ask::Close => {
                    key = self.drop_stream(key);
                    continue;
                }
                Ask::Datagram { to, data } => {
                    let owner = DatagramOwner::Tracker(key);
                    self.send_datagram(owner, Traffic::Trackers, to, data);
                    continue;
                }
                Ask::Done(result) => {
                    self.finish_call(key, result);
                    continue;
                }
            };
            self.effect(effect);
        }
        let Some(running) = self.calls.running.get_mut(key) else { return };
        if let Some(at) = running.call.poll_timeout()
            && running.wakeup.want(at)
        {
            self.io.wake(at, Owner::Call(key));
        }
    }

    /// Has a call's stream closed, if it has one. The call goes on under another key, which it
    /// returns: the driver may have news of the old stream until it has closed it.
    fn drop_stream(&mut self, key: Key) -> Key {
        if !self.calls.running.get(key).is_some_and(|running| running.stream) {
            return key;
        }
        self.close_stream(StreamId::Tracker(key));
        match self.calls.running.remove(key) {
            Some(running) => self.calls.running.insert(Running {
                stream: false,
                wakeup: Wakeup::default(),
                ..running
            }),
            None => key,
        }
    }
}
