//! How a torrent stands, in figures, for callers that ask and for alerts of progress. It changes
//! nothing. What the figures mean is the ledger's affair (swarm) and the alert's.

use crate::{
    alert::{Alert, AlertMask, TorrentStats},
    base::{bitfield::Bitfield, time::Instant},
    torrent::{Stage, Torrent, cx::Cx, swarm::Counters},
};

impl Torrent {
    pub(crate) fn stats(&self, now: Instant) -> TorrentStats {
        let (swarm, counters) = (&self.swarm, &self.swarm.counters);
        TorrentStats {
            phase: self.phase(),
            pieces: swarm.geometry.piece_count(),
            have: swarm.have.count(),
            total_bytes: swarm.geometry.total_len(),
            have_bytes: counters.have_bytes,
            wanted_bytes: counters.wanted_bytes,
            wanted_have_bytes: counters.wanted_have_bytes,
            partial_bytes: swarm.partial_bytes(),
            downloaded: counters.down.total(),
            uploaded: counters.up.total(),
            wasted: counters.wasted,
            duplicate_blocks: counters.duplicate_blocks,
            late_blocks: counters.late_blocks,
            unasked_blocks: counters.unasked_blocks,
            failed_pieces: counters.failed_pieces,
            download_rate: counters.down.shown(now),
            upload_rate: counters.up.shown(now),
            peers: self.sessions.len(),
            seeds: self.sessions.iter().filter(|(_, s)| s.is_seed()).count(),
            candidates: self.candidates.len(),
            banned: self.candidates.banned(now),
            totals: self.totals(now),
            queued: self.queued,
            queue_position: None,
            eta: self.eta(now),
            no_peers: self.no_peers(now),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.swarm.counters
    }

    pub(crate) fn labels(&self) -> &[String] {
        &self.labels
    }

    pub(crate) fn have(&self) -> &Bitfield {
        &self.swarm.have
    }

    pub(super) fn tell_progress(&mut self, cx: &mut Cx) {
        match &self.stage {
            Stage::Checking(checker) => {
                cx.alerts.push(Alert::Checking {
                    torrent: self.id,
                    done: checker.done(),
                    total: checker.total(),
                });
            }
            Stage::Open if self.wants_progress(cx) => {
                let stats = self.stats(cx.now);
                self.stirred = stats.peers > 0 || stats.download_rate > 0 || stats.upload_rate > 0;
                cx.alerts.push(Alert::Progress { torrent: self.id, stats });
            }
            _ => {}
        }
    }

    pub(super) fn wants_progress(&self, cx: &Cx) -> bool {
        let busy = match &self.stage {
            Stage::Checking(_) => true,
            // Without peers nothing moves, which is told once; and so it is when it comes to rest.
            Stage::Open => self.stirred || (!self.rests() && self.sessions.len() > 0),
            _ => false,
        };
        busy && cx.alerts.wants(AlertMask::PROGRESS)
    }
}
