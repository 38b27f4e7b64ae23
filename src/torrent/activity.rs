//! How long a torrent was at work and how much it has sent, over all runs, and when that is enough.
//!
//! Nothing is polled: bytes are held against one number when they are sent, and time has a timer.

use std::time::Duration;

use crate::{
    alert::{Alert, Phase, StopAt, StopReason},
    base::{time::Instant, totals::Totals},
    torrent::{STOP, Torrent, cx::Cx},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Activity {
    /// When it is enough; `None`: as the settings have it.
    stop: Option<StopAt>,
    /// Earlier runs.
    earlier: Totals,
    /// The state file was asked for them.
    asked: bool,
    /// Of this run, until it last rested.
    active: Duration,
    seeding: Duration,
    active_since: Option<Instant>,
    seeding_since: Option<Instant>,
    /// The user has let it go on: what is reached already does not stop it again.
    waive: bool,
    /// Bytes sent in this run after which it is enough.
    enough: u64,
    /// What was told last of its progress was that something moves, or might.
    stirred: bool,
}

impl Activity {
    pub(super) fn new(stop: Option<StopAt>, earlier: Totals) -> Self {
        Self {
            stop,
            earlier,
            asked: false,
            active: Duration::ZERO,
            seeding: Duration::ZERO,
            active_since: None,
            seeding_since: None,
            waive: false,
            enough: u64::MAX,
            stirred: false,
        }
    }

    /// Its progress was told: whether something moves, or might.
    pub(super) fn note_told(&mut self, moves: bool) {
        self.stirred = moves;
    }

    /// Whether what was told last of its progress was that something moves, or might.
    pub(super) fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// When it is enough, if the user has said so of this torrent.
    pub(super) fn stop(&self) -> Option<StopAt> {
        self.stop
    }

    /// What it had done when this run began.
    pub(super) fn at_start(&self) -> Totals {
        self.earlier
    }

    /// The state file tells of earlier runs. (When it is read again, it tells of this one too.)
    pub(super) fn handle_earlier(&mut self, downloaded: u64, uploaded: u64) {
        if !std::mem::replace(&mut self.asked, true) {
            self.earlier.downloaded = self.earlier.downloaded.max(downloaded);
            self.earlier.uploaded = self.earlier.uploaded.max(uploaded);
        }
    }

    /// So many bytes were sent in this run.
    pub(super) fn is_reached_by(&self, uploaded: u64) -> bool {
        uploaded >= self.enough
    }
}

fn ended(since: &mut Option<Instant>, now: Instant) -> Duration {
    since.take().map_or(Duration::ZERO, |since| now.since(since))
}

/// The bytes to be sent for a ratio.
fn bytes_for(percent: u32, size: u64) -> u64 {
    u64::try_from((u128::from(size) * u128::from(percent)).div_ceil(100)).unwrap_or(u64::MAX)
}

impl Torrent {
    pub(crate) fn totals(&self, now: Instant) -> Totals {
        let (s, counters) = (&self.activity, self.swarm.counters());
        let running =
            |since: Option<Instant>| since.map_or(Duration::ZERO, |since| now.since(since));
        s.earlier.plus(Totals {
            downloaded: counters.downloaded(),
            uploaded: counters.uploaded(),
            active: s.active + running(s.active_since),
            seeding: s.seeding + running(s.seeding_since),
        })
    }

    /// When everything that is wanted will be there, if it goes on like this.
    pub(super) fn eta(&self, now: Instant) -> Option<Duration> {
        let (swarm, rate) = (&self.swarm, self.swarm.counters().down_shown(now));
        if rate == 0 || self.phase() != Phase::Downloading {
            return None;
        }
        let there = swarm.wanted_have_bytes().saturating_add(swarm.partial_bytes());
        Some(Duration::from_secs(swarm.wanted_bytes().saturating_sub(there).div_ceil(rate)))
    }

    /// Called at the end of every input: it may have begun or ceased to be at work.
    pub(super) fn keep_time(&mut self, cx: &mut Cx) {
        self.lifecycle.note_whole(self.swarm.is_finished());
        let active = self.is_active() || self.is_ready_to_wake();
        let seeding = active && self.phase() == Phase::Seeding;
        let s = &mut self.activity;
        if active != s.active_since.is_some() {
            s.active += ended(&mut s.active_since, cx.now);
            s.active_since = active.then_some(cx.now);
        }
        if seeding != s.seeding_since.is_some() {
            s.seeding += ended(&mut s.seeding_since, cx.now);
            s.seeding_since = seeding.then_some(cx.now);
            self.check_stop(cx);
        }
    }

    pub(crate) fn stop_at(&self) -> Option<StopAt> {
        self.activity.stop
    }

    pub(crate) fn set_stop(&mut self, stop: Option<StopAt>, cx: &mut Cx) {
        self.activity.stop = stop;
        self.activity.waive = false;
        self.settings_changed(cx);
        self.check_stop(cx);
        self.settle(cx);
    }

    /// The user ends a pause: if it was for having served enough, that must not happen again at
    /// once.
    pub(super) fn waive_stop(&mut self) {
        // Whether it is whole may have to be seen first.
        self.activity.waive = !self.lifecycle.is_open() || self.swarm.is_finished();
    }

    /// It is known what is there.
    pub(super) fn waive_stop_if_whole(&mut self) {
        self.activity.waive &= self.swarm.is_finished();
    }

    /// Pauses if it has served enough; else sees to it that this is noticed.
    pub(crate) fn check_stop(&mut self, cx: &mut Cx) {
        self.timers.stop(STOP);
        self.activity.enough = u64::MAX;
        if self.activity.seeding_since.is_none() {
            return;
        }
        let (size, totals) = (self.swarm.geometry().held_len(), self.totals(cx.now));
        let mut at = self.activity.stop.unwrap_or(cx.conf.queue.stop);
        let sent_enough =
            at.ratio_percent.is_some_and(|percent| totals.uploaded >= bytes_for(percent, size));
        let there_enough = at.seeding.is_some_and(|time| totals.seeding >= time);
        if std::mem::take(&mut self.activity.waive) && (sent_enough || there_enough) {
            at.ratio_percent = at.ratio_percent.filter(|_| !sent_enough);
            at.seeding = at.seeding.filter(|_| !there_enough);
            self.activity.stop = Some(at);
            self.settings_changed(cx);
        } else if sent_enough || there_enough {
            let why = if sent_enough { StopReason::Ratio } else { StopReason::SeedingTime };
            cx.alerts.push(Alert::StopReached { torrent: self.identity.id(), why });
            return self.pause(cx);
        }
        if let Some(percent) = at.ratio_percent {
            self.activity.enough =
                bytes_for(percent, size).saturating_sub(self.activity.earlier.uploaded);
        }
        if let Some(time) = at.seeding {
            self.timers.set(STOP, cx.now + time.saturating_sub(totals.seeding));
        }
    }
}
