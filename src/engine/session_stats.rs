//! How the session stands as a whole: counted as things happen, so that asking costs the same for
//! ten thousand torrents as for one.

use std::time::Duration;

use crate::{
    alert::Phase,
    base::{time::Instant, totals::Totals},
    engine::{Engine, Verbs},
    torrent::Torrent,
};

/// Phases there are, and room for more.
const PHASES: usize = 16;

/// How a session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Torrents in each phase, in the order of [`Phase`]; [`in_phase`](Self::in_phase) looks one
    /// up.
    by_phase: [usize; PHASES],
    /// Torrents in all.
    pub torrents: usize,
    /// Queued downloads, running or not: the length of [`Engine::queue`].
    pub queued_downloads: usize,
    /// Torrents that wait to be opened and checked.
    pub waiting_checks: usize,
    /// Bytes of blocks received since the start, wasted ones included.
    pub downloaded: u64,
    /// Bytes of blocks sent since the start.
    pub uploaded: u64,
    /// Bytes received since the start that were of no use.
    pub wasted: u64,
    /// Pieces that failed their hash since the start.
    pub failed_pieces: u64,
    /// Over all runs, torrents that are gone included: what [`Verbs::set_earlier_totals`] told,
    /// and this run. The session is active while it has a torrent that is, and seeding while
    /// it has one that is.
    pub totals: Totals,
    /// Bytes per second of blocks arriving, over the last ten seconds.
    pub download_rate: u64,
    /// Bytes per second of blocks leaving, over the last ten seconds.
    pub upload_rate: u64,
    /// Connections, those being made or greeted included.
    pub connections: usize,
    /// Of those, the ones being dialled.
    pub dials: usize,
    /// Greeted peers over all torrents.
    pub peers: usize,
    /// Bytes of piece data in memory or promised to be.
    pub piece_memory: usize,
    /// Bytes of blocks being read or waiting to be sent.
    pub upload_memory: usize,
    /// Alerts that the program did not fetch in time.
    pub alerts_dropped: u64,
}

impl SessionStats {
    /// Torrents in a phase.
    pub fn in_phase(&self, phase: Phase) -> usize {
        self.by_phase.get(phase as usize).copied().unwrap_or_default()
    }

    /// Torrents that speak with peers.
    pub fn active(&self) -> usize {
        self.in_phase(Phase::Downloading) + self.in_phase(Phase::Seeding)
    }
}

/// What is counted over all torrents.
#[derive(Debug, Default)]
pub(super) struct Tally {
    by_phase: [usize; PHASES],
    wasted: u64,
    failed_pieces: u64,
    peers: usize,
    /// Earlier runs, and times of this one.
    earlier: Totals,
    active_since: Option<Instant>,
    seeding_since: Option<Instant>,
}

impl Tally {
    /// A peer was greeted.
    pub(super) fn note_greeted(&mut self) {
        self.peers += 1;
    }

    /// A peer that was greeted is gone.
    pub(super) fn note_peer_gone(&mut self) {
        self.peers = self.peers.saturating_sub(1);
    }

    /// Greeted peers over all torrents.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn peers(&self) -> usize {
        self.peers
    }

    /// Something happened to a torrent.
    pub(super) fn handle_torrent(&mut self, torrent: &mut Torrent, now: Instant) {
        let (wasted, failed_pieces) = torrent.take_losses();
        self.wasted += wasted;
        self.failed_pieces += failed_pieces;
        if let Some((before, phase)) = torrent.poll_phase() {
            self.add(before, Some(phase), now);
        }
    }

    /// A torrent is gone.
    pub(super) fn handle_gone(&mut self, torrent: &Torrent, now: Instant) {
        self.add(torrent.last_phase(), None, now);
    }

    fn add(&mut self, before: Option<Phase>, after: Option<Phase>, now: Instant) {
        if let Some(count) = before.and_then(|phase| self.by_phase.get_mut(phase as usize)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = after.and_then(|phase| self.by_phase.get_mut(phase as usize)) {
            *count += 1;
        }
        self.keep_time(now);
    }

    /// Time goes on for a session that is at work.
    fn keep_time(&mut self, now: Instant) {
        let count = |phase: Phase| self.by_phase.get(phase as usize).copied().unwrap_or_default();
        let seeding = count(Phase::Seeding) > 0;
        let active = seeding || count(Phase::Downloading) > 0;
        if active != self.active_since.is_some() {
            let active_for = self.active_since.map_or(Duration::ZERO, |since| now.since(since));
            self.earlier.active = self.earlier.active.saturating_add(active_for);
            self.active_since = active.then_some(now);
        }
        if seeding != self.seeding_since.is_some() {
            let seeding_for = self.seeding_since.map_or(Duration::ZERO, |since| now.since(since));
            self.earlier.seeding = self.earlier.seeding.saturating_add(seeding_for);
            self.seeding_since = seeding.then_some(now);
        }
    }

    fn totals(&self, now: Instant) -> Totals {
        let running =
            |since: Option<Instant>| since.map_or(Duration::ZERO, |since| now.since(since));
        let times = Totals {
            active: running(self.active_since),
            seeding: running(self.seeding_since),
            ..Totals::default()
        };
        self.earlier.plus(times)
    }
}

impl Verbs<'_> {
    /// What the session did in earlier runs, for [`SessionStats::totals`]: those of the last time
    /// it was asked for, if the program kept them.
    pub fn set_earlier_totals(&mut self, totals: Totals) {
        self.engine.tally.earlier = totals;
    }
}

impl Engine {
    /// How the session stands.
    pub fn session_stats(&self) -> SessionStats {
        let (now, tally) = (self.cx.now, &self.tally);
        let (downloaded, uploaded) = (self.cx.leases.down().total(), self.cx.leases.up().total());
        SessionStats {
            by_phase: tally.by_phase,
            torrents: self.torrents.len(),
            queued_downloads: self.queue.order().len(),
            waiting_checks: self.queueing.checks.waiting(),
            downloaded,
            uploaded,
            wasted: tally.wasted,
            failed_pieces: tally.failed_pieces,
            totals: tally.totals(now).plus(Totals { downloaded, uploaded, ..Totals::default() }),
            download_rate: self.cx.leases.down().shown(now),
            upload_rate: self.cx.leases.up().shown(now),
            connections: self.connections.len(),
            dials: self.dialing.count(),
            peers: tally.peers,
            piece_memory: self.piece_memory(),
            upload_memory: self.upload_memory(),
            alerts_dropped: self.cx.alerts.dropped_ever(),
        }
    }
}
