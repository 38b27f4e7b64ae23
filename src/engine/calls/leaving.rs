//! What torrents that stopped have still to tell their trackers: for each tracker and family a
//! chain of events, told one after the other, so that `stopped` comes after what went before (BEP
//! 3). A chain owns what it says and may outlive its torrent, which hears of each event that was
//! acknowledged. Which events there are is the torrent's to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Running, What, beginning::families};
use crate::{
    base::{arena::Key, ids::InfoHash, time::Instant},
    engine::Engine,
    proto::tracker::{CallError, Family, Question},
    torrent::{announcer::TrackerNo, told::Farewell},
    wire::tracker::{Announce, AnnounceEvent, ReplyError, TrackerUrl},
};

/// How many more calls may run at a time when torrents take their leave.
const LEAVING: usize = 4;

/// Which torrent takes leave of which tracker, and in which family.
pub(super) type ChainId = (InfoHash, String, Option<Family>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    chains: BTreeMap<ChainId, Chain>,
    /// Chains whose next event may begin.
    ready: VecDeque<ChainId>,
    /// The same, of events that an earlier run left: they keep the pace of announces.
    old: VecDeque<ChainId>,
    /// Events of each torrent that are not over.
    of: BTreeMap<Key, usize>,
}

#[derive(Debug, Default)]
struct Chain {
    events: VecDeque<Event>,
    out: Option<Event>,
    /// When all of it must be over.
    until: Option<Instant>,
    /// It stands in one of the lines.
    in_line: bool,
}

#[derive(Debug)]
struct Event {
    torrent: Key,
    no: Option<TrackerNo>,
    old: bool,
    /// See [`Farewell::also`].
    also: bool,
    announce: Announce,
}

/// How the call of an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Acknowledged,
    Refused,
    /// It failed, but may have been heard.
    Unknown,
    /// It failed, and no tracker heard it.
    Unheard,
}

impl Leaving {
    pub(super) fn is_idle(&self) -> bool {
        self.chains.is_empty()
    }

    /// Whether a tracker has still to hear something of a torrent that has stopped.
    pub(super) fn has(&self, info_hash: InfoHash, url: &str) -> bool {
        let chain = |family| self.chains.contains_key(&(info_hash, url.to_owned(), family));
        !self.chains.is_empty() && [None, Some(Family::V4), Some(Family::V6)].into_iter().any(chain)
    }

    /// Whether an event that an earlier run left waits for its turn.
    pub(super) fn has_old(&self) -> bool {
        !self.old.is_empty()
    }

    /// Whether events wait that may be told at once.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn chain(&mut self, id: &ChainId) -> &mut Chain {
        self.chains.entry(id.clone()).or_default()
    }

    /// Puts a chain in line if it has an event that may begin.
    fn line_up(&mut self, id: &ChainId) {
        let Some(chain) =
            self.chains.get_mut(id).filter(|chain| chain.out.is_none() && !chain.in_line)
        else {
            return;
        };
        match chain.events.front().map(|event| event.old) {
            None => _ = self.chains.remove(id),
            Some(old) => {
                chain.in_line = true;
                if old { &mut self.old } else { &mut self.ready }.push_back(id.clone());
            }
        }
    }
}

impl From<Result<(), &CallError>> for Outcome {
    fn from(result: Result<(), &CallError>) -> Self {
        match result {
            Ok(()) => Self::Acknowledged,
            Err(CallError::Reply(ReplyError::Failure { .. })) => Self::Refused,
            Err(_) => Self::Unknown,
        }
    }
}

impl Engine {
    /// Takes over what torrents that stopped have still to tell. An event that is out goes on as
    /// the first of its chain; other announces of theirs end, since their answers do not matter
    /// any more.
    pub(in crate::engine) fn take_over_farewells(&mut self) {
        for farewell in self.cx.told.take_farewells() {
            self.take_over(farewell);
        }
        let silenced: BTreeSet<Key> = self.cx.told.take_silenced().into_iter().collect();
        if !silenced.is_empty() {
            self.hang_up(
                |what| matches!(what, What::Announce(torrent, _) if silenced.contains(torrent)),
            );
        }
    }

    fn take_over(&mut self, farewell: Farewell) {
        let Farewell { torrent, no, url, known, old, also, events } = farewell;
        let (Ok(parsed), Some(info_hash)) =
            (TrackerUrl::parse(&url), events.first().map(|event| event.info_hash))
        else {
            return self.check_farewells_of(torrent);
        };
        let mut deadlines = Vec::new();
        let due = events.iter().any(|event| event.event == AnnounceEvent::Completed);
        for family in families(&parsed, &self.cx.conf) {
            let meant = |running: &Running| match (no, &running.what) {
                (Some(no), What::Announce(of, out)) => {
                    let said = running.call.announce().map(|said| said.info_hash);
                    (*of, *out, running.family) == (torrent, no, family) && said == Some(info_hash)
                }
                _ => false,
            };
            let running = self.calls.running.iter_mut().find(|(_, running)| meant(running));
            let id = (info_hash, url.clone(), family);
            let mut events: VecDeque<Announce> = events.iter().cloned().collect();
            let mut out = None;
            if let Some((call, running)) = running {
                let said = running.call.announce().filter(|said| match said.event {
                    AnnounceEvent::Started => running.call.is_told() || due,
                    event => event == AnnounceEvent::Completed,
                });
                let starts = running
                    .call
                    .announce()
                    .is_some_and(|said| said.event == AnnounceEvent::Started);
                match said.cloned() {
                    Some(said) => {
                        events.retain(|event| event.event != said.event);
                        running
                            .call
                            .set_deadline(self.cx.now + self.cx.conf.trackers.stopped_timeout / 2);
                        running.what = What::Leave(id.clone());
                        deadlines.push(call);
                        out = Some(said);
                    }
                    // It has not left yet.
                    None if starts => continue,
                    None => {}
                }
            } else if !known {
                continue;
            }
            for announce in out.iter().chain(&events) {
                *self.calls.leaving.of.entry(torrent).or_default() += 1;
                if let (Some(torrent), false) = (self.torrents.get_mut(torrent), old || also) {
                    torrent.owe_event(&url, announce, &mut self.cx);
                }
            }
            let event = |announce| Event { torrent, no, old, also, announce };
            let chain = self.calls.leaving.chain(&id);
            chain.events.extend(events.into_iter().map(event));
            chain.until = None;
            if let Some(out) = out {
                (chain.out, chain.until) =
                    (Some(event(out)), Some(self.cx.now + self.cx.conf.trackers.stopped_timeout));
            }
            self.calls.leaving.line_up(&id);
        }
        // These wake up earlier now.
        deadlines.into_iter().for_each(|call| self.with_call(call, |_, _| {}));
        self.check_farewells_of(torrent);
    }

    /// Begins the events of torrents that have just stopped, as many as there is room for.
    pub(super) fn begin_leaving(&mut self) {
        while let Some(id) = self.calls.leaving.ready.pop_front() {
            if self.calls.running.len()
                >= self.cx.conf.trackers.max_announces.saturating_mul(LEAVING)
            {
                self.calls.leaving.ready.push_front(id);
                return;
            }
            self.begin_event(&id);
        }
    }

    /// Begins an event that an earlier run left. False if the pace does not allow it yet.
    pub(super) fn begin_old_event(&mut self) {
        let Some(id) = self.calls.leaving.old.pop_front() else { return };
        match TrackerUrl::parse(&id.1) {
            Ok(parsed) if !self.calls.is_given_up(&parsed, self.cx.now) => self.begin_event(&id),
            _ => {
                let chain = self.calls.leaving.chain(&id);
                (chain.in_line, chain.out) = (false, chain.events.pop_front());
                self.handle_left(&id, Outcome::Unheard);
            }
        }
    }

    fn begin_event(&mut self, id: &ChainId) {
        let (now, time) = (self.cx.now, self.cx.conf.trackers.stopped_timeout);
        let chain = self.calls.leaving.chain(id);
        chain.in_line = false;
        let (None, Some(event)) = (&chain.out, chain.events.pop_front()) else {
            return self.calls.leaving.line_up(id);
        };
        let until = *chain.until.get_or_insert(now + time);
        // What comes after it must have time, too.
        let end = if chain.events.is_empty() { until } else { now + until.since(now) / 2 };
        let question = Question::Announce(event.announce.clone());
        chain.out = Some(event);
        if let Ok(parsed) = TrackerUrl::parse(&id.1) {
            self.begin_call(&parsed, &question, id.2, &What::Leave(id.clone()), Some(end));
        } else {
            self.handle_left(id, Outcome::Unheard);
        }
    }

    /// The event of a chain that was out is over.
    pub(super) fn handle_left(&mut self, id: &ChainId, outcome: Outcome) {
        let Some(chain) = self.calls.leaving.chains.get_mut(id) else { return };
        let Some(event) = chain.out.take() else { return };
        let mut over = vec![];
        if event.announce.event == AnnounceEvent::Started
            && matches!(outcome, Outcome::Refused | Outcome::Unheard)
        {
            // The tracker does not know of us: there is nothing to take back.
            over.extend(chain.events.drain(..));
        }
        if matches!(outcome, Outcome::Acknowledged | Outcome::Refused) {
            self.settle_event(id, &event, outcome == Outcome::Acknowledged);
        }
        over.iter().for_each(|event| self.settle_event(id, event, false));
        over.push(event);
        self.calls.leaving.line_up(id);
        for event in over {
            if let Some(count) = self.calls.leaving.of.get_mut(&event.torrent) {
                *count = count.saturating_sub(1);
            }
            self.check_farewells_of(event.torrent);
        }
    }

    fn settle_event(&mut self, id: &ChainId, event: &Event, heard: bool) {
        if let Some(torrent) = self.torrents.get_mut(event.torrent).filter(|_| !event.also) {
            torrent.settle_event(event.no, &id.1, &event.announce, heard, &mut self.cx);
        }
    }

    /// Tells a torrent when nothing of it is left to be told.
    fn check_farewells_of(&mut self, key: Key) {
        if self.calls.leaving.of.get(&key).is_none_or(|&count| count == 0) {
            self.calls.leaving.of.remove(&key);
            if let Some(torrent) = self.torrents.get_mut(key) {
                torrent.handle_farewells_over(&mut self.cx);
            }
            self.settle(key);
        }
    }

    /// Farewells have had their time: what was not acknowledged stays with the torrents.
    pub(super) fn end_leaving(&mut self) {
        self.take_over_farewells();
        self.hang_up(|_| true);
        let Leaving { of, .. } = std::mem::take(&mut self.calls.leaving);
        of.into_keys().for_each(|torrent| self.check_farewells_of(torrent));
    }
}
