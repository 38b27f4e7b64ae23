//! Questions to trackers that are on their way: whose turn it is, how many at a time, and where their answers go.
//!
//! What a call does is `proto::tracker`'s; whom a torrent tells and when is its announcer's. Calls of torrents that take their leave
//! outlive them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    base::{
        arena::{Arena, Key},
        ids::InfoHash,
        time::Instant,
        timers::Wakeup,
    },
    conf::Conf,
    engine::{
        Engine,
        names::{Lookup, Names},
    },
    proto::tracker::{Answer, Ask, Call, CallError, Connection, Family, Question},
    torrent::{
        announcer::{Failure, Retry, TrackerNo},
        cx::{Effect, Farewell, Owner, TrackerEffect},
    },
    wire::tracker::{AnnounceEvent, RetryIn, TrackerUrl, url::Host},
};

/// How much more may be asked at a time when torrents take their leave.
const LEAVING: usize = 4;
/// Whoever waits for a farewell to be over looks again after this.
const BEHIND_FAREWELL: Duration = Duration::from_millis(500);
/// A tracker that could not be reached so often in a row is asked by a few only: this many calls run at a time, none of them begins
/// within [`PROBE_GAP`] of a failure, and all others fail at once.
const PROBES: u32 = 4;
const PROBE_GAP: Duration = Duration::from_secs(1);
/// Such trackers that are remembered.
const MAX_SILENT: usize = 1024;
/// Connection ids of UDP trackers that are kept, and how long one is good (BEP 15).
const MAX_CONNECTIONS: usize = 256;
const CONNECTION_TIME: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Calls {
    running: Arena<Running>,
    names: Names,
    connections: BTreeMap<Place, Connection>,
    /// Trackers that cannot be reached or let us wait in vain: how often in a row, over all torrents, and when that was last.
    silent: BTreeMap<(Host, u16), (u32, Instant)>,
    /// Torrents and trackers that the user wants numbers of.
    scrapes: VecDeque<(Key, TrackerNo)>,
    /// Farewells that are not over, those in line included; how many calls each has.
    leaving: BTreeMap<(InfoHash, String), usize>,
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
    Leave(InfoHash, String),
}

impl Calls {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            running: Arena::new(),
            names: Names::default(),
            connections: BTreeMap::new(),
            silent: BTreeMap::new(),
            scrapes: VecDeque::new(),
            leaving: BTreeMap::new(),
            pace: now,
            wakeup: Wakeup::default(),
            end: None,
        }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.running.len() == 0
    }

    /// Asks for a tracker's numbers, soon.
    pub(super) fn scrape(&mut self, torrent: Key, tracker: TrackerNo) {
        if !self.scrapes.contains(&(torrent, tracker)) {
            self.scrapes.push_back((torrent, tracker));
        }
    }

    /// When another announce may begin, if not now.
    fn held_until(&self, now: Instant, conf: &Conf) -> Option<Instant> {
        let burst = gap(conf) * u32::try_from(conf.max_announces).unwrap_or(u32::MAX);
        let at = self.pace - burst;
        (at > now).then_some(at)
    }

    /// Whether a tracker could not be reached by so many that a few calls are enough to find out whether it still cannot. Otherwise one
    /// that is dead would take all the places that there are, and the time of the processor.
    fn is_given_up(&self, url: &TrackerUrl, now: Instant) -> bool {
        let Some(&(times, last)) = self.silent.get(&(url.host().clone(), url.port())) else { return false };
        let of_it = |running: &&Running| running.url.host() == url.host() && running.url.port() == url.port();
        let probed = || self.running.iter().map(|(_, running)| running).filter(of_it).count() >= PROBES as usize;
        times >= PROBES && (now < last + PROBE_GAP || probed())
    }

    fn note_silence(&mut self, url: &TrackerUrl, is_silent: bool, now: Instant) {
        let place = (url.host().clone(), url.port());
        if !is_silent {
            self.silent.remove(&place);
        } else if self.silent.len() < MAX_SILENT || self.silent.contains_key(&place) {
            let (times, last) = self.silent.entry(place).or_insert((0, now));
            *times = times.saturating_add(1);
            *last = now;
        }
    }

    fn remember(&mut self, place: Place, connection: Connection, now: Instant) {
        if self.connections.len() >= MAX_CONNECTIONS {
            self.connections.retain(|_, known| known.since + CONNECTION_TIME > now);
        }
        if self.connections.len() < MAX_CONNECTIONS || self.connections.contains_key(&place) {
            self.connections.insert(place, connection);
        }
    }
}

/// The time between two announces.
fn gap(conf: &Conf) -> Duration {
    Duration::from_secs(1) / conf.announces_per_second.max(1)
}

/// In which families a tracker is told: in both if it has a name, so that peers of both find us (BEP 7).
fn families(url: &TrackerUrl, conf: &Conf) -> Vec<Option<Family>> {
    let usable = |v4: bool| conf.bind_addrs.is_empty() || conf.bind_addrs.iter().any(|ip| ip.is_ipv4() == v4);
    match url.host() {
        Host::Ip(_) => vec![None],
        Host::Name(_) => {
            [(Family::V4, true), (Family::V6, false)].into_iter().filter(|&(_, v4)| usable(v4)).map(|(f, _)| Some(f)).collect()
        }
    }
}

impl Engine {
    // Inputs.

    /// A name was looked up for [`TrackerEffect::Resolve`], or why that failed.
    pub fn handle_resolved(&mut self, now: Instant, host: &str, result: Result<Vec<IpAddr>, String>) {
        self.handle_tick(now);
        for call in self.calls.names.handle_resolved(self.cx.now, host, &result) {
            self.with_call(call, |call, now| call.handle_resolved(now, result.clone()));
        }
    }

    /// A call's stream is connected, with TLS if that was asked for.
    pub fn handle_tracker_connected(&mut self, now: Instant, call: Key) {
        self.handle_tick(now);
        self.with_call(call, Call::handle_connected);
    }

    /// Bytes came on a call's stream.
    pub fn handle_tracker_data(&mut self, now: Instant, call: Key, data: &[u8]) {
        self.handle_tick(now);
        self.with_call(call, |call, now| call.handle_data(now, data));
    }

    /// So many bytes that [`tracker_transmit`](Self::tracker_transmit) showed are on their way.
    pub fn handle_tracker_sent(&mut self, now: Instant, call: Key, bytes: usize) {
        self.handle_tick(now);
        self.with_call(call, |call, now| call.handle_sent(now, bytes));
    }

    /// A call's stream is over (`Ok`: closed by the other side in good order), or could not be made, or a datagram could not be sent.
    pub fn handle_tracker_ended(&mut self, now: Instant, call: Key, why: Result<(), String>) {
        self.handle_tick(now);
        self.with_call(call, |call, now| call.handle_stream_ended(now, why));
    }

    /// A datagram came from `from`. Whatever is no answer to a question of ours is ignored.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        self.handle_tick(now);
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

    // Output.

    /// What is to be sent next on a call's stream; empty when there is nothing.
    #[must_use]
    pub fn tracker_transmit(&self, call: Key) -> &[u8] {
        self.calls.running.get(call).map_or(&[], |running| running.call.poll_transmit())
    }

    // Time.

    pub(super) fn handle_call_timeout(&mut self, key: Key, at: Instant) {
        if self.calls.running.get_mut(key).is_some_and(|running| running.wakeup.fire(at)) {
            self.with_call(key, Call::handle_timeout);
        }
    }

    /// It is time for somebody who waited.
    pub(super) fn handle_calls_timeout(&mut self, at: Instant) {
        if !self.calls.wakeup.fire(at) {
            return;
        }
        if let Some(end) = self.calls.end {
            if end <= self.cx.now {
                self.cx.farewells.clear();
                self.hang_up(|_| true);
            } else {
                self.wake_calls(end);
            }
        }
        self.pump_calls();
    }

    fn wake_calls(&mut self, at: Instant) {
        if self.calls.wakeup.want(at) {
            self.cx.deadlines.push(at, Owner::Calls);
        }
    }

    // Beginning.

    /// Begins what may begin: farewells first, then announces in the order in which torrents got in line.
    pub(super) fn pump_calls(&mut self) {
        self.silence();
        self.begin_leaving();
        while let Some(&(torrent, tracker)) = self.calls.scrapes.front() {
            if self.calls.running.len() >= self.cx.conf.max_announces {
                return;
            }
            self.calls.scrapes.pop_front();
            self.begin_scrape(torrent, tracker);
        }
        while !self.cx.announces.is_empty() && self.calls.running.len() < self.cx.conf.max_announces {
            if let Some(at) = self.calls.held_until(self.cx.now, &self.cx.conf) {
                return self.wake_calls(at);
            }
            if let Some(torrent) = self.cx.announces.pop_front() {
                self.begin_announce(torrent);
            }
        }
    }

    /// Torrents that rest do not want to hear what they asked.
    fn silence(&mut self) {
        if self.cx.silenced.is_empty() {
            return;
        }
        let silenced: BTreeSet<Key> = std::mem::take(&mut self.cx.silenced).into_iter().collect();
        self.hang_up(|what| match what {
            What::Announce(torrent, _) | What::Scrape(torrent, _) => silenced.contains(torrent),
            What::Leave(..) => false,
        });
        self.calls.scrapes.retain(|(torrent, _)| !silenced.contains(torrent));
    }

    /// Ends calls whose answers do not matter any more.
    fn hang_up(&mut self, meant: impl Fn(&What) -> bool) {
        for key in self.calls.running.keys() {
            if self.calls.running.get(key).is_some_and(|running| meant(&running.what)) {
                self.end_call(key);
            }
        }
    }

    fn begin_leaving(&mut self) {
        while let Some(Farewell { url, announce }) = self.cx.farewells.pop_front() {
            if self.calls.running.len() >= self.cx.conf.max_announces.saturating_mul(LEAVING) {
                self.cx.farewells.push_front(Farewell { url, announce });
                return;
            }
            let Ok(parsed) = TrackerUrl::parse(&url) else { continue };
            let what = What::Leave(announce.info_hash, url);
            let end = self.cx.now + self.cx.conf.stopped_timeout;
            self.begin(&parsed, &Question::Announce(announce), &what, Some(end));
        }
    }

    fn begin_announce(&mut self, key: Key) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let Some((turn, url, announce)) = torrent.poll_announce(&mut self.cx) else {
            return torrent.schedule(&mut self.cx);
        };
        let waits = self.calls.leaving.contains_key(&(announce.info_hash, url.clone()))
            || self.cx.farewells.iter().any(|f| f.announce.info_hash == announce.info_hash && f.url == url);
        if waits && turn.event == AnnounceEvent::Started {
            // It would be told in the wrong order.
            return torrent.put_off_announce(turn.tracker, BEHIND_FAREWELL, &mut self.cx);
        }
        match TrackerUrl::parse(&url) {
            Ok(parsed) if self.calls.is_given_up(&parsed, self.cx.now) => {
                self.calls.pace = self.calls.pace.max(self.cx.now) + gap(&self.cx.conf);
                let error = "the tracker could not be reached just now, nor did it answer others".to_owned();
                let failure = Failure { error, minor: false, retry: Retry::Later };
                torrent.handle_tracker_failure(turn.tracker, &parsed.to_string(), &failure, &mut self.cx);
            }
            Ok(parsed) => {
                self.calls.pace = self.calls.pace.max(self.cx.now) + gap(&self.cx.conf);
                let calls = families(&parsed, &self.cx.conf).len();
                torrent.announcer.set_calls(turn.tracker, u8::try_from(calls).unwrap_or(u8::MAX));
                torrent.schedule(&mut self.cx);
                self.begin(&parsed, &Question::Announce(announce), &What::Announce(key, turn.tracker), None);
            }
            Err(error) => torrent.handle_bad_tracker(turn.tracker, &url, error, &mut self.cx),
        }
    }

    fn begin_scrape(&mut self, key: Key, tracker: TrackerNo) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let Some(url) = torrent.announcer.url(tracker, &torrent.metainfo.trackers) else { return };
        let Ok(parsed) = TrackerUrl::parse(url) else { return };
        let question = Question::Scrape(vec![torrent.metainfo.info_hash]);
        self.begin(&parsed, &question, &What::Scrape(key, tracker), None);
    }

    /// One call for each family.
    fn begin(&mut self, url: &TrackerUrl, question: &Question, what: &What, end: Option<Instant>) {
        let families = families(url, &self.cx.conf);
        // Numbers are the same in both.
        let enough = if matches!(what, What::Scrape(..)) { 1 } else { families.len() };
        for family in families.into_iter().take(enough) {
            let (now, conf) = (self.cx.now, &self.cx.conf);
            let mut call = Call::new(url.clone(), question.clone(), family, now, conf, &mut self.cx.tracker_rng);
            if let Some(end) = end {
                call.set_deadline(end);
            }
            let place = (url.host().clone(), url.port(), family);
            if let Some(&known) = self.calls.connections.get(&place).filter(|known| known.since + CONNECTION_TIME > now) {
                call.set_connection(known);
            }
            if let What::Leave(info_hash, url) = what {
                *self.calls.leaving.entry((*info_hash, url.clone())).or_default() += 1;
            }
            let running =
                Running { call, url: url.clone(), family, what: what.clone(), wakeup: Wakeup::default(), stream: false };
            let key = self.calls.running.insert(running);
            self.with_call(key, |_, _| {});
        }
    }

    // Going on.

    /// Tells a call something and does what it asks for.
    fn with_call(&mut self, mut key: Key, tell: impl FnOnce(&mut Call, Instant)) {
        let now = self.cx.now;
        let Some(running) = self.calls.running.get_mut(key) else { return };
        tell(&mut running.call, now);
        while let Some(running) = self.calls.running.get_mut(key) {
            let Some(ask) = running.call.poll_ask() else { break };
            let effect = match ask {
                Ask::Resolve { host } => match self.calls.names.look_up(now, key, &host) {
                    Lookup::Known(known) => {
                        running.call.handle_resolved(now, known);
                        continue;
                    }
                    Lookup::Shared => continue,
                    Lookup::Ask => TrackerEffect::Resolve { host },
                },
                Ask::Connect { addr, tls } => {
                    key = self.drop_stream(key);
                    if let Some(running) = self.calls.running.get_mut(key) {
                        running.stream = true;
                    }
                    TrackerEffect::Connect { call: key, addr, tls }
                }
                Ask::Flush => TrackerEffect::Flush { call: key },
                Ask::Close => {
                    key = self.drop_stream(key);
                    continue;
                }
                Ask::Datagram { to, data } => TrackerEffect::Datagram { call: key, to, data },
                Ask::Done(result) => {
                    self.finish_call(key, result);
                    continue;
                }
            };
            self.cx.effects.push_back(Effect::Tracker(effect));
        }
        let Some(running) = self.calls.running.get_mut(key) else { return };
        if let Some(at) = running.call.poll_timeout()
            && running.wakeup.want(at)
        {
            self.cx.deadlines.push(at, Owner::Call(key));
        }
    }

    /// Has a call's stream closed, if it has one. The call goes on under another key, which it returns: the driver may have news of the
    /// old stream until it has closed it.
    fn drop_stream(&mut self, key: Key) -> Key {
        if !self.calls.running.get(key).is_some_and(|running| running.stream) {
            return key;
        }
        self.cx.effects.push_back(Effect::Tracker(TrackerEffect::Close { call: key }));
        match self.calls.running.remove(key) {
            Some(running) => self.calls.running.insert(Running { stream: false, wakeup: Wakeup::default(), ..running }),
            None => key,
        }
    }

    /// Forgets a call, and has its stream closed if it has one.
    fn end_call(&mut self, key: Key) -> Option<Running> {
        let running = self.calls.running.remove(key)?;
        self.calls.names.forget(key);
        if running.stream {
            self.cx.effects.push_back(Effect::Tracker(TrackerEffect::Close { call: key }));
        }
        if let What::Leave(info_hash, url) = &running.what {
            let farewell = (*info_hash, url.clone());
            if let Some(calls) = self.calls.leaving.get_mut(&farewell) {
                *calls -= 1;
                if *calls == 0 {
                    self.calls.leaving.remove(&farewell);
                }
            }
        }
        Some(running)
    }

    fn finish_call(&mut self, key: Key, result: Result<(Answer, IpAddr), CallError>) {
        let Some(Running { call, url, family, what, .. }) = self.end_call(key) else { return };
        if let Some(connection) = call.connection() {
            self.calls.remember((url.host().clone(), url.port(), family), connection, self.cx.now);
        }
        if !matches!(what, What::Leave(..)) {
            match &result {
                // Where IPv6 is not to be had that says nothing of the tracker.
                Err(error) if is_of_the_family(error, family) => {}
                result => {
                    let silent = matches!(result, Err(CallError::Timeout | CallError::Connect(_) | CallError::Resolve(_)));
                    self.calls.note_silence(&url, silent, self.cx.now);
                }
            }
        }
        let shown = url.to_string();
        match what {
            What::Announce(torrent, no) => {
                let Some(t) = self.torrents.get_mut(torrent) else { return };
                match result {
                    Ok((Answer::Announce(reply), ip)) => {
                        if t.handle_tracker_reply(no, &shown, ip, reply, &mut self.cx) {
                            self.close_links_of(torrent, "the torrent is private and has changed its tracker");
                        }
                    }
                    Ok((Answer::Scrape(_), _)) => {}
                    Err(error) => {
                        let retry = match error.retry_in() {
                            Some(RetryIn::After(time)) => Retry::In(time),
                            Some(RetryIn::Never) => Retry::Never,
                            None => Retry::Later,
                        };
                        let minor = is_of_the_family(&error, family);
                        let failure = Failure { error: error.to_string(), minor, retry };
                        t.handle_tracker_failure(no, &shown, &failure, &mut self.cx);
                    }
                }
                self.settle(torrent);
            }
            What::Scrape(torrent, no) => {
                let Some(t) = self.torrents.get_mut(torrent) else { return };
                match result {
                    Ok((Answer::Scrape(replies), _)) => match replies.first().copied().flatten() {
                        Some(reply) => t.handle_scraped(no, &shown, reply, &mut self.cx),
                        None => t.handle_not_scraped(&shown, "the tracker does not know the torrent", &mut self.cx),
                    },
                    Ok((Answer::Announce(_), _)) => {}
                    Err(error) => t.handle_not_scraped(&shown, &error.to_string(), &mut self.cx),
                }
            }
            What::Leave(..) => {
                if let Err(error) = result {
                    log::info!("{shown} did not hear that a torrent stops: {error}");
                }
            }
        }
    }

    // The end.

    /// From now on there is nothing but farewells, and they must be over in time.
    pub(super) fn shut_down_calls(&mut self) {
        self.hang_up(|what| !matches!(what, What::Leave(..)));
        self.calls.scrapes.clear();
        self.cx.announces.clear();
        let end = *self.calls.end.get_or_insert(self.cx.now + self.cx.conf.stopped_timeout);
        self.wake_calls(end);
        self.pump_calls();
    }
}

/// Whether it may be for the family's sake that there is no way to the tracker: it has no address of that family, or we have no route to
/// any. Where IPv6 is not to be had that is nothing to tell the user.
fn is_of_the_family(error: &CallError, family: Option<Family>) -> bool {
    match error {
        CallError::NoAddress => family.is_some(),
        CallError::Connect(_) | CallError::Timeout => family == Some(Family::V6),
        _ => false,
    }
}
