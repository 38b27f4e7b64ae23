//! How a torrent stands, in figures, for callers that ask and for alerts of progress. It changes
//! nothing. What the figures mean is the ledger's affair (swarm) and the alert's.

use crate::{
    alert::{Alert, AlertMask, TorrentStats},
    base::{bitfield::Bitfield, time::Instant},
    torrent::{Torrent, cx::Cx, swarm::Counters},
};

impl Torrent {
    pub(crate) fn stats(&self, now: Instant) -> TorrentStats {
        let swarm = &self.swarm;
        let counters = swarm.counters();
        TorrentStats {
            phase: self.phase(),
            pieces: swarm.geometry().piece_count(),
            have: swarm.have().count(),
            total_bytes: swarm.geometry().held_len(),
            have_bytes: swarm.have_bytes(),
            wanted_bytes: swarm.wanted_bytes(),
            wanted_have_bytes: swarm.wanted_have_bytes(),
            partial_bytes: swarm.partial_bytes(),
            downloaded: counters.downloaded(),
            uploaded: counters.uploaded(),
            wasted: counters.wasted(),
            duplicate_blocks: counters.duplicate_blocks(),
            late_blocks: counters.late_blocks(),
            unasked_blocks: counters.unasked_blocks(),
            failed_pieces: counters.failed_pieces(),
            download_rate: counters.down_shown(now),
            upload_rate: counters.up_shown(now),
            peers: self.peers.len(),
            web_seeds: self.web_seeds_downloading(),
            seeds: self.peers.iter().filter(|(_, s)| s.is_seed()).count(),
            candidates: self.peers.candidates().len(),
            banned: self.peers.candidates().banned(now),
            totals: self.totals(now),
            queued: self.lifecycle.is_queued(),
            queue_position: None,
            eta: self.eta(now),
            no_peers: self.no_peers(now),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.swarm.counters()
    }

    pub(crate) fn have(&self) -> &Bitfield {
        self.swarm.have()
    }

    pub(super) fn tell_progress(&mut self, cx: &mut Cx) {
        if let Some(checker) = self.lifecycle.checker() {
            let (done, total) = (checker.done(), checker.total());
            cx.alerts.push(Alert::Checking { torrent: self.identity.id(), done, total });
        } else if self.wants_progress(cx) {
            let stats = self.stats(cx.now);
            let sources = stats.peers + stats.web_seeds;
            let moves = sources > 0 || stats.download_rate > 0 || stats.upload_rate > 0;
            self.activity.note_told(moves);
            cx.alerts.push(Alert::Progress { torrent: self.identity.id(), stats });
        }
    }

    pub(super) fn wants_progress(&self, cx: &Cx) -> bool {
        // Without peers nothing moves, which is told once; and so it is when it comes to rest.
        let has_sources = || !self.peers.is_empty() || self.web_seeds_downloading() > 0;
        let moves = || self.activity.is_stirred() || (!self.lifecycle.rests() && has_sources());
        let busy = self.lifecycle.is_checking() || (self.lifecycle.is_open() && moves());
        busy && cx.alerts.wants(AlertMask::PROGRESS)
    }
}
