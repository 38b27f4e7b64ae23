//! A session, counted anew. For tests and the simulator.

use super::{PeerSession, messages::MAX_CONTROL_BACKLOG};
use crate::{
    base::{bitfield::Bitfield, geometry::PieceIndex},
    conf::Conf,
    torrent::swarm::Swarm,
};

impl PeerSession {
    /// What the peer has, if it has said so.
    pub(crate) fn told(&self) -> Option<&Bitfield> {
        self.peer.availability.is_told().then_some(self.peer.availability.pieces())
    }

    /// Whether it counts as one that may be asked for blocks.
    pub(crate) fn is_fetching(&self) -> bool {
        self.requests.is_fetching()
    }

    /// Whether a limit that it shares with others holds it back.
    pub(crate) fn is_held_with_others(&self) -> bool {
        self.requests.is_held_with_others()
    }

    /// Whether it waits for its turn to have blocks read.
    pub(crate) fn is_in_line(&self) -> bool {
        self.uploads.is_in_line()
    }

    /// Whether it does not show all that we have.
    pub(crate) fn is_hiding(&self) -> bool {
        self.shown().is_some()
    }

    /// Whether it counts as one that is choked and served all the same.
    pub(crate) fn is_favoured(&self) -> bool {
        self.uploads.is_favoured()
    }

    /// What is wrong with it, if anything.
    pub(crate) fn audit(&self, swarm: &Swarm, conf: &Conf) -> Result<(), String> {
        let who = self.peer.who.addr;
        let has = |&p: &PieceIndex| self.peer.availability.has(p) && swarm.wants(p);
        let wanted = swarm.geometry().pieces().filter(has).count();
        let counted = self.peer.availability.wanted();
        if wanted != counted as usize {
            return Err(format!(
                "{who} has {wanted} pieces that are wanted and {counted} are counted"
            ));
        }
        if self.is_interested() != (wanted > 0) {
            return Err(format!(
                "{who} has {wanted} pieces that are wanted, interested: {}",
                self.is_interested()
            ));
        }
        let pipeline = self.requests.pipeline();
        let (allowed, suggested, max_hints) = self.requests.hints();
        for (what, len, limit) in [
            ("orders", pipeline.len(), conf.requests.max_pipeline),
            ("requests", self.uploads.waiting(), conf.uploads.max_requests),
            ("allowed pieces", allowed, max_hints),
            ("suggestions", suggested, max_hints),
            (
                "bytes to be sent",
                self.tx().len(),
                MAX_CONTROL_BACKLOG.saturating_add(conf.uploads.max_unsent).saturating_add(1 << 20),
            ),
        ] {
            if len > limit {
                return Err(format!("{who}: {len} {what}, {limit} are allowed"));
            }
        }
        // A count that follows a flag goes wrong where the flag outlives its reason: each flag is
        // held against what it stands for.
        let peer = &self.peer;
        for (what, flag, fact) in [
            (
                "counts as fetching, with something to fetch",
                self.is_fetching(),
                self.requests.has_something_for_us(peer, swarm),
            ),
            (
                "counts as choked and served",
                self.is_favoured(),
                self.uploads.is_served_choked(peer, &self.outgoing),
            ),
            (
                "counts as wanting a slot",
                self.standing.wants(),
                self.is_peer_interested() && !self.is_upload_only(),
            ),
            (
                "counts as idle",
                self.idle_since().is_some(),
                !self.is_interested() && !self.is_peer_interested(),
            ),
        ] {
            if flag != fact {
                return Err(format!("{who} {what}: {flag}, and in truth {fact}"));
            }
        }
        let unfilled = swarm.is_unfilled(self.standing.key());
        if unfilled != self.requests.is_unfilled() {
            return Err(format!("{who} can be asked for more: {}", !unfilled));
        }
        if self.is_held_with_others() && !pipeline.is_held() {
            return Err(format!("{who} is held with others and not held"));
        }
        if self.is_peer_choking() && !self.peer.terms.fast && !pipeline.is_empty() {
            return Err(format!("{who} chokes and {} blocks are on order with it", pipeline.len()));
        }
        Ok(())
    }
}
