//! Spells without a peer to download from: when one begins and ends, how long it lasts, and why.
//! Told once a spell, so that a download that gets nowhere is never silent. It asks nothing of
//! peers and trackers; it looks at how they stand.

use std::time::Duration;

use crate::{
    alert::{Alert, NoPeers, NoPeersReason},
    base::{arena::Key, time::Instant},
    torrent::{Torrent, cx::Cx},
};

/// How often all peers of a crowd are looked at during a spell.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Drought {
    since: Option<Instant>,
    looked: Instant,
    /// A peer that had something for us when it was last looked at.
    source: Option<Key>,
    /// Connections that could not be made in this spell. Their candidates may be forgotten by now.
    failed_dials: u32,
    /// The user knows of this spell.
    told: bool,
}

impl Drought {
    /// When the spell has lasted for so long that it is told.
    fn due(&self, pause: Duration) -> Option<Instant> {
        self.since.filter(|_| !self.told).map(|since| since + pause)
    }

    /// A connection could not be made.
    pub(super) fn handle_failed_dial(&mut self) {
        self.failed_dials = self.failed_dials.saturating_add(1);
    }
}

impl Torrent {
    /// Called at the end of every input.
    pub(super) fn tend_drought(&mut self, cx: &Cx) {
        if !self.is_active() || self.is_finished() {
            self.drought = Drought::default();
            return;
        }
        if self.drought.since.is_some() && cx.now < self.drought.looked + LOOK_AGAIN {
            return;
        }
        self.look_for_source(cx.now);
    }

    /// Whether a peer is connected that has something we lack, or a web seed gives it; a spell
    /// begins or ends with that.
    fn look_for_source(&mut self, now: Instant) {
        let known = self
            .drought
            .source
            .filter(|&key| self.peers.get(key).is_some_and(|s| s.is_interested()));
        let source = known
            .or_else(|| self.peers.iter().find(|(_, s)| s.is_interested()).map(|(key, _)| key));
        // Any peer may have the metainfo.
        let source = source.or_else(|| self.peers.all_early().next().map(|(key, _)| key));
        if self.has_web_seed() {
            self.drought = Drought::default();
            return;
        }
        let failed_dials = self.drought.failed_dials;
        match (source, self.drought.since) {
            (Some(_), _) => self.drought = Drought { source, ..Drought::default() },
            (None, Some(_)) => self.drought.looked = now,
            (None, None) => {
                self.drought =
                    Drought { since: Some(now), looked: now, failed_dials, ..Drought::default() }
            }
        }
    }

    /// When [`tell_no_peers`](Self::tell_no_peers) has something to tell.
    pub(super) fn no_peers_due(&self, cx: &Cx) -> Option<Instant> {
        self.drought.due(cx.conf.alerts.no_peers_after)
    }

    /// Tells of a spell that has lasted long enough, once.
    pub(super) fn tell_no_peers(&mut self, cx: &mut Cx) {
        if self.no_peers_due(cx).is_none_or(|at| at > cx.now) {
            return;
        }
        self.look_for_source(cx.now);
        if self.no_peers_due(cx).is_some_and(|at| at <= cx.now) {
            self.drought.told = true;
            if let Some(no_peers) = self.no_peers(cx.now) {
                log::warn!("{}: {no_peers}", self.content.name());
                cx.alerts.push(Alert::NoPeers { torrent: self.identity.id(), no_peers });
            }
        }
    }

    /// How a spell that was told of stands now.
    pub(super) fn no_peers(&self, now: Instant) -> Option<NoPeers> {
        let since = self.drought.since.filter(|_| self.drought.told)?;
        let (failing, working) = self.trackers.announcer().failing_and_working();
        let tried =
            self.peers.candidates().len() + self.peers.dials() > 0 || self.drought.failed_dials > 0;
        let why = if !self.peers.is_empty() {
            NoPeersReason::NothingNeeded
        } else if tried {
            NoPeersReason::Unreachable
        } else if failing > 0 && working == 0 {
            NoPeersReason::TrackersFailing
        } else {
            NoPeersReason::NoCandidates
        };
        Some(NoPeers {
            lasting: now.since(since),
            why,
            connected: self.peers.len(),
            candidates: self.peers.candidates().len() + self.peers.dials(),
            failed_dials: self.drought.failed_dials,
            failing_trackers: failing,
        })
    }
}
