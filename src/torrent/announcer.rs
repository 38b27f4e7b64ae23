//! Which of a torrent's trackers is told what, and when (BEP 3, 7, 12, 27, 31). It decides; it never speaks with a tracker itself
//! and knows no address but as words. It is small, since there may be ten thousand of it: addresses stay in the metainfo.

#[cfg(test)]
mod tests;

use std::{ops::Range, time::Duration};

use crate::{
    alert::{TrackerStats, TrackerStatus},
    base::{rng::Rng, time::Instant},
    conf::Conf,
    wire::tracker::{AnnounceEvent, AnnounceReply},
};

/// After a failure nobody asks again sooner than this, not even the user.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(3600);
/// The longest pause that a tracker may ask for (BEP 31).
const LONGEST_BY_WORD: Duration = Duration::from_secs(24 * 3600);
/// What a tracker that names no interval is taken to mean (BEP 3 has no default; this is what most say).
const USUAL_INTERVAL: Duration = Duration::from_secs(1800);
/// Intervals are stretched by up to this part, so that torrents that began together do not stay together.
const STRETCH: u32 = 20;
/// Bytes of an error that are kept.
const MAX_ERROR: usize = 700;

/// A tracker of one torrent, by a number that it keeps while others come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrackerNo(u32);

/// What is to be said to which tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) tracker: TrackerNo,
    pub(crate) event: AnnounceEvent,
}

/// How many take part, by a tracker's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) seeds: Option<u32>,
    pub(crate) leeches: Option<u32>,
    pub(crate) downloaded: Option<u32>,
}

/// When a tracker that failed may be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// When we think fit.
    Later,
    /// After this time (BEP 31).
    In(Duration),
    /// Not at all (BEP 31), or it makes no sense.
    Never,
}

/// Why a call brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) error: String,
    /// There is only no way to the tracker in this family.
    pub(crate) minor: bool,
    pub(crate) retry: Retry,
}

/// A tracker could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) error: String,
    /// When it is tried again, if it is.
    pub(crate) retry_in: Option<Duration>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Announcer {
    /// Addresses in place of the metainfo's.
    own: Option<Vec<Vec<String>>>,
    /// By tier, and within a tier in the order in which they are tried.
    trackers: Vec<Tracker>,
    next_no: u32,
    /// Tells the tracker that it is us, wherever we are.
    pub(crate) key: u32,
    active: bool,
    /// Something was missing while it was active.
    lacked: bool,
    /// And then nothing was.
    completed: bool,
    /// Peers of different trackers must not mix (BEP 27).
    private: bool,
    /// Who brought the last peers.
    last: Option<TrackerNo>,
    /// When [`poll`](Self::poll) has something; kept, since it is asked all the time.
    due: Option<Instant>,
    /// The torrent stands in the engine's queue.
    pub(crate) queued: bool,
}

#[derive(Debug)]
struct Tracker {
    no: TrackerNo,
    /// Where its address is.
    tier: u16,
    nth: u16,
    /// Failures in a row.
    failures: u8,
    /// Calls that are out, one a family, and whether one of them has brought an answer.
    out: u8,
    heard: bool,
    /// One of them has failed in a way worth telling.
    erred: bool,
    /// What those calls say.
    saying: AnnounceEvent,
    /// It has answered, and has not failed since.
    working: bool,
    /// It knows that we are there, as far as we know.
    started: bool,
    told_completed: bool,
    /// Not asked any more: its address cannot be used, or it told us so.
    never: bool,
    /// When it is to be told again, and the earliest time that the user may ask for.
    next: Instant,
    not_before: Instant,
    counts: Counts,
    words: Option<Box<Words>>,
}

/// What most trackers never say.
#[derive(Debug, Default)]
struct Words {
    error: Option<String>,
    warning: Option<String>,
    tracker_id: Option<Vec<u8>>,
}

impl Words {
    fn is_empty(&self) -> bool {
        self.error.is_none() && self.warning.is_none() && self.tracker_id.is_none()
    }
}

impl Announcer {
    /// The addresses that the user has set in place of the metainfo's.
    pub(crate) fn set_by_user(&self) -> Option<Vec<Vec<String>>> {
        self.own.clone()
    }

    /// `own`: addresses to be used instead of the metainfo's, `theirs`.
    pub(crate) fn new(own: Option<Vec<Vec<String>>>, theirs: &[Vec<String>], private: bool, rng: &mut Rng, conf: &Conf) -> Self {
        let mut announcer = Self {
            own,
            trackers: Vec::new(),
            next_no: 0,
            key: rng.next_u64() as u32,
            active: false,
            lacked: false,
            completed: false,
            private,
            last: None,
            due: None,
            queued: false,
        };
        announcer.list(theirs, Vec::new(), rng, conf);
        announcer
    }

    /// Makes a list of the addresses, tiers shuffled (BEP 12). What is known of one that was in the list before stays; returns those
    /// that are not in it any more.
    fn list(
        &mut self,
        theirs: &[Vec<String>],
        mut before: Vec<(String, Tracker)>,
        rng: &mut Rng,
        conf: &Conf,
    ) -> Vec<(String, Tracker)> {
        let tiers = self.own.as_deref().unwrap_or(theirs);
        let mut trackers: Vec<Tracker> = Vec::new();
        for (tier, urls) in tiers.iter().enumerate() {
            let from = trackers.len();
            for (nth, url) in urls.iter().enumerate() {
                let (Ok(tier), Ok(nth)) = (u16::try_from(tier), u16::try_from(nth)) else { continue };
                let full = trackers.len() >= conf.max_trackers;
                if full || trackers.iter().any(|t| address(tiers, t.tier, t.nth) == url) {
                    continue;
                }
                match before.iter().position(|(known, _)| known == url) {
                    Some(at) => trackers.push(Tracker { tier, nth, ..before.swap_remove(at).1 }),
                    None => {
                        trackers.push(Tracker::new(TrackerNo(self.next_no), tier, nth));
                        self.next_no = self.next_no.wrapping_add(1);
                    }
                }
            }
            rng.shuffle(trackers.get_mut(from..).unwrap_or_default());
        }
        trackers.shrink_to_fit();
        self.trackers = trackers;
        before
    }

    /// Other addresses from now on. Returns those that know of us and are not in the list any more, each with what it wants to be sent
    /// back to it.
    pub(crate) fn set(
        &mut self,
        own: Vec<Vec<String>>,
        theirs: &[Vec<String>],
        rng: &mut Rng,
        conf: &Conf,
    ) -> Vec<(String, Option<Vec<u8>>)> {
        let tiers = self.own.replace(own);
        let tiers = tiers.as_deref().unwrap_or(theirs);
        let named = |t: Tracker| (address(tiers, t.tier, t.nth).to_owned(), t);
        let before = std::mem::take(&mut self.trackers).into_iter().map(named).collect();
        let gone = self.list(theirs, before, rng, conf);
        self.refresh(conf);
        let knows = |(url, t): (String, Tracker)| t.started.then(|| (url, t.words.and_then(|words| words.tracker_id)));
        gone.into_iter().filter_map(knows).collect()
    }

    /// The addresses in use, by tier.
    pub(crate) fn tiers<'a>(&'a self, theirs: &'a [Vec<String>]) -> &'a [Vec<String>] {
        self.own.as_deref().unwrap_or(theirs)
    }

    pub(crate) fn len(&self) -> usize {
        self.trackers.len()
    }

    /// A tracker's address.
    pub(crate) fn url<'a>(&'a self, no: TrackerNo, theirs: &'a [Vec<String>]) -> Option<&'a str> {
        self.get(no).map(|t| self.address_of(t, theirs))
    }

    fn address_of<'a>(&'a self, tracker: &Tracker, theirs: &'a [Vec<String>]) -> &'a str {
        address(self.tiers(theirs), tracker.tier, tracker.nth)
    }

    /// What a tracker wants to be sent back to it.
    pub(crate) fn tracker_id(&self, no: TrackerNo) -> Option<&[u8]> {
        self.get(no)?.words.as_ref()?.tracker_id.as_deref()
    }

    /// Whom to ask for counts: those that know of us, or else the first that may be asked.
    pub(crate) fn to_scrape(&self) -> Vec<TrackerNo> {
        let working: Vec<_> = self.trackers.iter().filter(|t| t.working).map(|t| t.no).collect();
        let first = self.trackers.iter().find(|t| !t.never).map(|t| t.no);
        if working.is_empty() { first.into_iter().collect() } else { working }
    }

    /// How the trackers stand, in the order in which they are tried.
    pub(crate) fn stats(&self, now: Instant, theirs: &[Vec<String>]) -> Vec<TrackerStats> {
        let stats = |t: &Tracker| TrackerStats {
            url: self.address_of(t, theirs).to_owned(),
            tier: usize::from(t.tier),
            status: t.status(),
            next_announce: (self.active && t.out == 0 && !t.never && (t.working || t.failures > 0)).then(|| t.next.since(now)),
            failures: u32::from(t.failures),
            error: t.words.as_ref().and_then(|words| words.error.clone()),
            warning: t.words.as_ref().and_then(|words| words.warning.clone()),
            seeds: t.counts.seeds,
            leeches: t.counts.leeches,
            downloaded: t.counts.downloaded,
        };
        self.trackers.iter().map(stats).collect()
    }

    // What the torrent tells.

    /// The torrent begins to speak with peers.
    pub(crate) fn start(&mut self, now: Instant, complete: bool, conf: &Conf) {
        self.active = true;
        self.lacked |= !complete;
        for t in &mut self.trackers {
            // What it was told before the rest is forgotten, but not when it wants to be left alone.
            if t.failures == 0 {
                t.next = now;
            }
        }
        self.refresh(conf);
    }

    /// The torrent rests. Returns the trackers that must hear of it: those that know that we are there. Calls that are out do not
    /// matter any more.
    pub(crate) fn stop(&mut self) -> Vec<TrackerNo> {
        self.active = false;
        self.due = None;
        let mut told = Vec::new();
        for t in &mut self.trackers {
            t.out = 0;
            if std::mem::take(&mut t.started) {
                told.push(t.no);
            }
        }
        told
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Whether everything is there. Those who know of us hear that it has come to that, once, unless it was so from the beginning.
    pub(crate) fn set_complete(&mut self, now: Instant, complete: bool, conf: &Conf) {
        if !complete {
            self.lacked |= self.active;
        } else if self.lacked && !self.completed {
            self.completed = true;
            for t in self.trackers.iter_mut().filter(|t| t.started) {
                t.next = now;
            }
            self.refresh(conf);
        }
    }

    /// The user wants it announced now. Trackers that want to be left alone for some time are left alone.
    pub(crate) fn hurry(&mut self, now: Instant, conf: &Conf) {
        for t in &mut self.trackers {
            t.next = t.next.min(t.not_before.max(now));
        }
        self.refresh(conf);
    }

    // Whose turn it is.

    /// When [`poll`](Self::poll) has something to say; some time in the past if it has already.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be said now, if anything: that is then out until [`handle_reply`](Self::handle_reply) or
    /// [`handle_failure`](Self::handle_failure).
    #[must_use]
    pub(crate) fn poll(&mut self, now: Instant, conf: &Conf) -> Option<Turn> {
        if !self.active {
            return None;
        }
        let at = self.lanes(conf).into_iter().find_map(|lane| self.pick(lane, now))?;
        let completed = self.completed;
        let t = self.trackers.get_mut(at)?;
        (t.out, t.heard, t.erred) = (1, false, false);
        t.saying = t.event(completed);
        let turn = Turn { tracker: t.no, event: t.saying };
        self.refresh(conf);
        Some(turn)
    }

    /// What was said is out in so many calls at once.
    pub(crate) fn set_calls(&mut self, no: TrackerNo, calls: u8) {
        if let Some(t) = self.get_mut(no) {
            t.out = calls.max(1);
        }
    }

    /// It cannot be said yet. Nor is anybody else told instead: that is for those that fail.
    pub(crate) fn put_off(&mut self, no: TrackerNo, until: Instant, conf: &Conf) {
        if let Some(t) = self.get_mut(no) {
            t.out = 0;
        }
        for t in &mut self.trackers {
            t.next = t.next.max(until);
        }
        self.refresh(conf);
    }

    /// A call brought an answer. True if its peers take the place of all others, since a private torrent (BEP 27) has changed its
    /// tracker.
    pub(crate) fn handle_reply(
        &mut self,
        no: TrackerNo,
        reply: &AnnounceReply,
        now: Instant,
        rng: &mut Rng,
        conf: &Conf,
    ) -> bool {
        let (active, completed) = (self.active, self.completed);
        let Some(t) = self.get_mut(no).filter(|t| active && t.out > 0) else { return false };
        t.out -= 1;
        let second = std::mem::replace(&mut t.heard, true);
        t.started = true;
        t.told_completed |= t.saying == AnnounceEvent::Completed;
        (t.working, t.failures) = (true, 0);
        t.counts = t.counts.or_newer(Counts::of(reply), second);
        let bounds = conf.min_announce_interval..conf.max_announce_interval;
        let least = within(reply.min_interval.unwrap_or_default(), &bounds);
        let interval = if reply.interval.is_zero() { USUAL_INTERVAL } else { reply.interval };
        let interval = within(interval, &bounds).max(least);
        let next = now + stretched(interval, rng);
        // Of two families the one that wants to be asked less often has its way.
        t.next = if second { t.next.max(next) } else { next };
        t.not_before = now + least;
        let mut words = t.words.take().unwrap_or_default();
        words.error = None;
        words.warning = reply.warning.clone().or(words.warning.filter(|_| second));
        words.tracker_id = reply.tracker_id.clone().or(words.tracker_id);
        t.words = Some(words).filter(|words| !words.is_empty());
        if t.event(completed) != AnnounceEvent::None {
            t.next = now;
        }
        self.put_first(no);
        let switched = self.private && self.last.is_some_and(|last| last != no);
        self.last = Some(no);
        self.refresh(conf);
        switched
    }

    /// A call failed. `None` if another call of it may still bring an answer, or has.
    #[must_use]
    pub(crate) fn handle_failure(
        &mut self,
        no: TrackerNo,
        failure: &Failure,
        now: Instant,
        rng: &mut Rng,
        conf: &Conf,
    ) -> Option<Failed> {
        let Failure { error, minor, retry } = failure;
        let active = self.active;
        let t = self.get_mut(no).filter(|t| active && t.out > 0)?;
        t.out -= 1;
        if t.heard {
            self.refresh(conf);
            return None;
        }
        if !minor || (t.out == 0 && !t.erred) {
            t.words.get_or_insert_default().error = Some(shortened(error.clone()));
        }
        t.erred |= !minor;
        t.never |= *retry == Retry::Never;
        if t.out > 0 {
            return None;
        }
        t.working = false;
        t.failures = t.failures.saturating_add(1);
        let pause = match retry {
            Retry::In(time) => (*time).clamp(AFTER_FAILURE, LONGEST_BY_WORD),
            _ => back_off(t.failures, rng),
        };
        t.next = now + pause;
        t.not_before = now + if let Retry::In(_) = retry { pause } else { AFTER_FAILURE };
        let error = t.words.as_ref().and_then(|words| words.error.clone()).unwrap_or_default();
        let failed = Failed { error, retry_in: (!t.never).then_some(pause) };
        self.refresh(conf);
        Some(failed)
    }

    /// A scrape brought numbers.
    pub(crate) fn handle_counts(&mut self, no: TrackerNo, counts: Counts) {
        if let Some(t) = self.get_mut(no) {
            t.counts = t.counts.or_newer(counts, false);
        }
    }

    // Order.

    /// Whoever answers is the first of its tier to be asked next time (BEP 12).
    fn put_first(&mut self, no: TrackerNo) {
        if let Some(at) = self.trackers.iter().position(|t| t.no == no)
            && let Some(tier) = self.trackers.get(at).map(|t| t.tier)
            && let Some(front) = self.trackers.iter().position(|t| t.tier == tier)
            && let Some(before) = self.trackers.get_mut(front..=at)
        {
            before.rotate_right(1);
        }
    }

    /// Ranges of trackers of which one at a time is in use.
    fn lanes(&self, conf: &Conf) -> Vec<Range<usize>> {
        let all = 0..self.trackers.len();
        match (conf.announce_to_all_trackers && !self.private, conf.announce_to_all_tiers && !self.private) {
            (false, false) => vec![all],
            (true, true) => all.map(|at| at..at + 1).collect(),
            (false, true) => {
                let tier = |from: &mut usize, tier: &[Tracker]| {
                    let start = std::mem::replace(from, *from + tier.len());
                    Some(start..*from)
                };
                self.trackers.chunk_by(|a, b| a.tier == b.tier).scan(0, tier).collect()
            }
            (true, false) => {
                // Of the first tier that is good for something, all.
                let hopeful = |t: &&Tracker| !t.never && (t.working || t.out > 0 || t.failures == 0);
                match self.trackers.iter().find(hopeful).map(|t| t.tier) {
                    Some(tier) => {
                        all.filter(|&at| self.trackers.get(at).is_some_and(|t| t.tier == tier)).map(|at| at..at + 1).collect()
                    }
                    None => vec![all],
                }
            }
        }
    }

    /// Who of `lane` is to be told something now.
    fn pick(&self, lane: Range<usize>, now: Instant) -> Option<usize> {
        if self.lane_due(lane.clone())? > now {
            return None;
        }
        let trackers = || lane.clone().filter_map(|at| Some((at, self.trackers.get(at)?)));
        // Whoever knows of us must hear what happened; otherwise the list is tried from its beginning.
        let news = trackers().find(|(_, t)| t.may(now) && t.started && t.event(self.completed) != AnnounceEvent::None);
        news.or_else(|| trackers().find(|(_, t)| t.may(now))).map(|(at, _)| at)
    }

    /// When somebody of `lane` is to be told something: at the working one's time, or when the first of those that failed may be
    /// tried again.
    fn lane_due(&self, lane: Range<usize>) -> Option<Instant> {
        let trackers = || self.trackers.get(lane.clone()).unwrap_or_default().iter().filter(|t| !t.never);
        if trackers().any(|t| t.out > 0) {
            return None;
        }
        let news = trackers().filter(|t| t.started && t.event(self.completed) != AnnounceEvent::None);
        let working = trackers().find(|t| t.working).map(|t| t.next);
        let ordinary = working.or_else(|| trackers().map(|t| t.next).min());
        news.map(|t| t.next).chain(ordinary).min()
    }

    fn refresh(&mut self, conf: &Conf) {
        let due = |lane| self.lane_due(lane);
        self.due = if self.active { self.lanes(conf).into_iter().filter_map(due).min() } else { None };
    }

    fn get(&self, no: TrackerNo) -> Option<&Tracker> {
        self.trackers.iter().find(|t| t.no == no)
    }

    fn get_mut(&mut self, no: TrackerNo) -> Option<&mut Tracker> {
        self.trackers.iter_mut().find(|t| t.no == no)
    }
}

impl Tracker {
    fn new(no: TrackerNo, tier: u16, nth: u16) -> Self {
        Self {
            no,
            tier,
            nth,
            failures: 0,
            out: 0,
            heard: false,
            erred: false,
            saying: AnnounceEvent::None,
            working: false,
            started: false,
            told_completed: false,
            never: false,
            next: Instant::ZERO,
            not_before: Instant::ZERO,
            counts: Counts::default(),
            words: None,
        }
    }

    /// What it has to be told next: events in their order, each once.
    fn event(&self, completed: bool) -> AnnounceEvent {
        match () {
            () if !self.started => AnnounceEvent::Started,
            () if completed && !self.told_completed => AnnounceEvent::Completed,
            () => AnnounceEvent::None,
        }
    }

    fn may(&self, now: Instant) -> bool {
        !self.never && self.out == 0 && self.next <= now
    }

    fn status(&self) -> TrackerStatus {
        match () {
            () if self.out > 0 => TrackerStatus::Announcing,
            () if self.never => TrackerStatus::Disabled,
            () if self.working => TrackerStatus::Working,
            () if self.failures > 0 => TrackerStatus::Failing,
            () => TrackerStatus::Idle,
        }
    }
}

impl Counts {
    fn of(reply: &AnnounceReply) -> Self {
        Self { seeds: reply.seeders, leeches: reply.leechers, downloaded: reply.downloads }
    }

    /// `newer`, or these where that says nothing. Of two families' numbers the larger, since both speak of one swarm.
    fn or_newer(self, newer: Self, other_family: bool) -> Self {
        let either = |old: Option<u32>, new: Option<u32>| if other_family { old.max(new) } else { new.or(old) };
        Self {
            seeds: either(self.seeds, newer.seeds),
            leeches: either(self.leeches, newer.leeches),
            downloaded: either(self.downloaded, newer.downloaded),
        }
    }
}

fn address(tiers: &[Vec<String>], tier: u16, nth: u16) -> &str {
    tiers.get(usize::from(tier)).and_then(|tier| tier.get(usize::from(nth))).map_or("", String::as_str)
}

fn within(time: Duration, bounds: &Range<Duration>) -> Duration {
    time.max(bounds.start).min(bounds.end)
}

/// Up to a twentieth longer.
fn stretched(time: Duration, rng: &mut Rng) -> Duration {
    time + Duration::from_micros(rng.below((time / STRETCH).as_micros() as u64 + 1))
}

/// 5 s, doubling up to an hour, each half of it by chance.
fn back_off(failures: u8, rng: &mut Rng) -> Duration {
    let longest = AFTER_FAILURE.saturating_mul(2 << failures.saturating_sub(1).min(12)).min(LONGEST_BACK_OFF);
    longest / 2 + Duration::from_micros(rng.below((longest / 2).as_micros() as u64 + 1))
}

fn shortened(mut words: String) -> String {
    if let Some((end, _)) = words.char_indices().find(|(at, c)| at + c.len_utf8() > MAX_ERROR) {
        words.truncate(end);
    }
    words.shrink_to_fit();
    words
}
