//! Which calls may begin: farewells first, then what the user asks for, then announces in line,
//! none faster than the pace and few to a tracker that lets everybody wait. What a call says it
//! does not know.

use std::time::Duration;

use super::{Calls, Running, What};
use crate::{
    alert::{TrackerError, TrackerErrorKind},
    base::{arena::Key, ids::WireHash, time::Instant, timers::Wakeup},
    conf::{Conf, Traffic},
    engine::Engine,
    proto::tracker::{CONNECTION_TIME, Call, Family, Question},
    torrent::announcer::{Failure, Retry, TrackerNo},
    wire::tracker::{Announce, AnnounceEvent, TrackerUrl, url::Host},
};

/// An announce that waits for a farewell to be over is tried again after this.
const BEHIND_FAREWELL: Duration = Duration::from_millis(500);
/// A tracker that could not be reached so often in a row is asked by a few only: this many calls
/// run at a time, none of them begins within [`PROBE_GAP`] of a failure, and all others fail at
/// once.
const PROBES: u32 = 4;
const PROBE_GAP: Duration = Duration::from_secs(1);

impl Calls {
    /// When another announce may begin, if not now.
    fn held_until(&self, now: Instant, conf: &Conf) -> Option<Instant> {
        let burst = gap(conf) * u32::try_from(conf.trackers.max_announces).unwrap_or(u32::MAX);
        let at = self.pace - burst;
        (at > now).then_some(at)
    }

    /// Whether a tracker could not be reached by so many that a few calls are enough to find out
    /// whether it still cannot. Otherwise one that is dead would take all the places that there
    /// are, and the time of the processor.
    pub(super) fn is_given_up(&self, url: &TrackerUrl, now: Instant) -> bool {
        let Some(&(times, last)) = self.silent.get(&(url.host().clone(), url.port())) else {
            return false;
        };
        let of_it = |running: &&Running| {
            running.url.host() == url.host() && running.url.port() == url.port()
        };
        let probed = || {
            self.running.iter().map(|(_, running)| running).filter(of_it).count() >= PROBES as usize
        };
        times >= PROBES && (now < last + PROBE_GAP || probed())
    }
}

/// The port that a tracker hears when peers of its family cannot reach us: many trackers refuse 0,
/// and nothing listens here.
const NO_PORT: u16 = 1;

/// The time between two announces.
fn gap(conf: &Conf) -> Duration {
    Duration::from_secs(1) / conf.trackers.announces_per_second.max(1)
}

/// In which families a tracker is told: in both if it has a name, so that peers of both find us
/// (BEP 7).
pub(super) fn families(url: &TrackerUrl, conf: &Conf) -> Vec<Option<Family>> {
    let usable = |v4: bool| {
        conf.network.bind_addrs.is_empty()
            || conf.network.bind_addrs.iter().any(|ip| ip.is_ipv4() == v4)
    };
    match url.host() {
        // The proxy looks the name up.
        _ if conf.proxy.carries(Traffic::Trackers) => vec![None],
        Host::Ip(_) => vec![None],
        Host::Name(_) => [(Family::V4, true), (Family::V6, false)]
            .into_iter()
            .filter(|&(_, v4)| usable(v4))
            .map(|(f, _)| Some(f))
            .collect(),
    }
}

impl Engine {
    /// Begins what may begin: farewells first, then announces in the order in which torrents got in
    /// line.
    pub(in crate::engine) fn pump_calls(&mut self) {
        self.take_over_farewells();
        self.begin_leaving();
        while self.calls.running.len() < self.cx.conf.trackers.max_announces
            && let Some((torrent, tracker)) = self.calls.scrapes.pop_first()
        {
            self.begin_scrape(torrent, tracker);
        }
        let waiting = |engine: &Self| engine.cx.told.is_due() || engine.calls.leaving.has_old();
        while waiting(self) && self.calls.running.len() < self.cx.conf.trackers.max_announces {
            if let Some(at) = self.calls.held_until(self.cx.now, &self.cx.conf) {
                return self.wake_calls(at);
            }
            if self.calls.leaving.has_old() {
                self.calls.pace = self.calls.pace.max(self.cx.now) + gap(&self.cx.conf);
                self.begin_old_event();
            }
            if let Some(torrent) = self.cx.told.poll_due() {
                self.begin_announce(torrent);
            }
        }
    }

    /// Whether [`pump_calls`](Self::pump_calls) may have something to do: it is known only then
    /// whether a call is to be made.
    pub(in crate::engine) fn has_calls_due(&self) -> bool {
        let (calls, told, conf) = (&self.calls, &self.cx.told, &self.cx.conf);
        let is_held = || {
            let until = calls.held_until(self.cx.now, conf);
            until.is_some_and(|at| calls.wakeup.covers(at))
        };
        told.has_farewells()
            || told.has_silenced()
            || calls.leaving.has_ready()
            || (calls.running.len() < conf.trackers.max_announces
                && (!calls.scrapes.is_empty()
                    || ((told.is_due() || calls.leaving.has_old()) && !is_held())))
    }

    /// A torrent has other trackers: those that went are not heard any more.
    pub(in crate::engine) fn forget_calls(&mut self, key: Key) {
        let Some(torrent) = self.torrents.get(key) else { return };
        let gone = |no| !torrent.announcer().has(no);
        let meant = |what: &What| {
            matches!(
                *what,
                What::Announce(torrent, no) | What::Scrape(torrent, no)
                    if torrent == key && gone(no)
            )
        };
        let calls: Vec<Key> = self
            .calls
            .running
            .iter()
            .filter(|(_, running)| meant(&running.what))
            .map(|(call, _)| call)
            .collect();
        for call in calls {
            self.end_call(call);
        }
    }

    /// Ends calls whose answers do not matter any more.
    pub(super) fn hang_up(&mut self, meant: impl Fn(&What) -> bool) {
        for key in self.calls.running.keys() {
            if self.calls.running.get(key).is_some_and(|running| meant(&running.what)) {
                self.end_call(key);
            }
        }
    }

    fn begin_announce(&mut self, key: Key) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let Some((turn, url, announce)) = torrent.poll_announce(&mut self.cx) else {
            return torrent.schedule(&mut self.cx);
        };
        let waits = self.calls.leaving.has(announce.info_hash, &url);
        if waits && turn.event == AnnounceEvent::Started {
            // It would be told in the wrong order.
            return torrent.put_off_announce(turn.tracker, BEHIND_FAREWELL, &mut self.cx);
        }
        match TrackerUrl::parse(&url) {
            Ok(parsed) if self.calls.is_given_up(&parsed, self.cx.now) => {
                self.calls.pace = self.calls.pace.max(self.cx.now) + gap(&self.cx.conf);
                let error = TrackerError::new(
                    TrackerErrorKind::TimedOut,
                    "the tracker could not be reached just now, nor did it answer others",
                );
                let failure = Failure { error, minor: false, retry: Retry::Later };
                torrent.handle_tracker_failure(
                    turn.tracker,
                    &parsed.to_string(),
                    &failure,
                    &mut self.cx,
                );
            }
            Ok(parsed) => {
                self.calls.pace = self.calls.pace.max(self.cx.now) + gap(&self.cx.conf);
                // A hybrid is known to trackers by each of its hashes (BEP 52).
                let hashes: Vec<_> = torrent.identity().hashes().wire_hashes().collect();
                let calls = families(&parsed, &self.cx.conf).len() * hashes.len();
                let calls = u8::try_from(calls).unwrap_or(u8::MAX);
                torrent.note_calls(turn.tracker, calls, &mut self.cx);
                let what = What::Announce(key, turn.tracker);
                for WireHash { hash, .. } in hashes {
                    let announce = Announce { info_hash: hash, ..announce.clone() };
                    self.begin(&parsed, &Question::Announce(announce), &what);
                }
            }
            Err(error) => torrent.handle_bad_tracker(turn.tracker, &url, error, &mut self.cx),
        }
    }

    fn begin_scrape(&mut self, key: Key, tracker: TrackerNo) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let Some(url) = torrent.announcer().url(tracker, torrent.content().trackers()) else {
            return;
        };
        match TrackerUrl::parse(url) {
            Ok(parsed) => {
                let question = Question::Scrape(vec![torrent.identity().info_hash()]);
                self.begin(&parsed, &question, &What::Scrape(key, tracker));
            }
            // As with announces, it is not shown: it may hold a secret.
            Err(error) => {
                let error = TrackerError::new(TrackerErrorKind::BadAddress, error.to_string());
                torrent.handle_not_scraped("…", error, &mut self.cx);
            }
        }
    }

    /// One call for each family.
    fn begin(&mut self, url: &TrackerUrl, question: &Question, what: &What) {
        let mut families = families(url, &self.cx.conf);
        if matches!(what, What::Scrape(..)) && families.len() > 1 {
            // Numbers are the same in both: whichever can be reached.
            families = vec![None];
        }
        for family in families {
            self.begin_call(url, question, family, what, None);
        }
    }

    /// One call, that ends by `end`.
    pub(super) fn begin_call(
        &mut self,
        url: &TrackerUrl,
        question: &Question,
        family: Option<Family>,
        what: &What,
        end: Option<Instant>,
    ) {
        let (now, conf) = (self.cx.now, &self.cx.conf);
        let is_v4 = match (url.host(), family) {
            (Host::Ip(ip), _) => ip.to_canonical().is_ipv4(),
            (Host::Name(_), family) => family != Some(Family::V6),
        };
        let mut question = question.clone();
        if let Question::Announce(announce) = &mut question {
            announce.port = self.cx.leases.ports().of(is_v4).unwrap_or(NO_PORT);
        }
        let mut call = Call::new(url.clone(), question, family, now, conf, self.cx.told.rng());
        if let Some(end) = end {
            call.set_deadline(end);
        }
        let place = (url.host().clone(), url.port(), family);
        let known = self.calls.connections.get(&place);
        if let Some(known) = known.filter(|known| known.since + CONNECTION_TIME > now) {
            call.set_connection(known.clone());
        }
        let running = Running {
            call,
            url: url.clone(),
            family,
            what: what.clone(),
            wakeup: Wakeup::default(),
            stream: false,
        };
        let key = self.calls.running.insert(running);
        self.with_call(key, |_, _| {});
    }
}
