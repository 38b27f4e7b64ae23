//! A session, counted anew. For tests and the simulator.

use super::{MAX_CONTROL_BACKLOG, MAX_HINTS, PeerSession};
use crate::{base::bitfield::Bitfield, conf::Conf, torrent::swarm::Swarm};

impl PeerSession {
    /// What the peer has, if it has said so.
    pub(crate) fn told(&self) -> Option<&Bitfield> {
        self.told.then_some(&self.has)
    }

    /// Whether it counts as one that may ask for blocks.
    pub(crate) fn is_fetching(&self) -> bool {
        self.fetching
    }

    /// Whether a limit that it shares with others holds it back.
    pub(crate) fn is_held_with_others(&self) -> bool {
        self.held_with_others
    }

    /// Whether it waits for its turn to have blocks read.
    pub(crate) fn is_in_line(&self) -> bool {
        self.in_line
    }

    /// Whether it does not show all that we have.
    pub(crate) fn is_hiding(&self) -> bool {
        self.shown().is_some()
    }

    /// Whether it counts as one that is choked and served all the same.
    pub(crate) fn is_favoured(&self) -> bool {
        self.offers.favoured
    }

    /// What is wrong with it, if anything.
    pub(crate) fn audit(&self, swarm: &Swarm, conf: &Conf) -> Result<(), String> {
        let who = self.who.addr;
        let wanted = swarm.geometry.pieces().filter(|&p| self.has.has(p) && swarm.wants(p)).count();
        if wanted != self.wanted as usize {
            return Err(format!(
                "{who} has {wanted} pieces that are wanted and {} are counted",
                self.wanted
            ));
        }
        if self.interested != (wanted > 0) {
            return Err(format!(
                "{who} has {wanted} pieces that are wanted, interested: {}",
                self.interested
            ));
        }
        for (what, len, limit) in [
            ("orders", self.pipeline.len(), conf.requests.max_pipeline),
            ("requests", self.uploads.len(), conf.uploads.max_requests),
            ("allowed pieces", self.allowed.len(), MAX_HINTS),
            ("suggestions", self.suggested.len(), MAX_HINTS),
            (
                "bytes to be sent",
                self.tx.len(),
                MAX_CONTROL_BACKLOG.saturating_add(conf.uploads.max_unsent).saturating_add(1 << 20),
            ),
        ] {
            if len > limit {
                return Err(format!("{who}: {len} {what}, {limit} are allowed"));
            }
        }
        // A count that follows a flag goes wrong where the flag outlives its reason: each flag is
        // held against what it stands for.
        for (what, flag, fact) in [
            (
                "counts as fetching, with something to fetch",
                self.fetching,
                self.has_something_for_us(swarm),
            ),
            ("counts as choked and served", self.offers.favoured, self.is_served_choked()),
            (
                "counts as wanting a slot",
                self.standing.wants(),
                self.peer_interested && !self.is_upload_only(),
            ),
            (
                "counts as idle",
                self.idle_since.is_some(),
                !self.interested && !self.peer_interested,
            ),
        ] {
            if flag != fact {
                return Err(format!("{who} {what}: {flag}, and in truth {fact}"));
            }
        }
        if self.held_with_others && !self.pipeline.is_held() {
            return Err(format!("{who} is held with others and not held"));
        }
        if self.peer_choking && !self.terms.fast && !self.pipeline.is_empty() {
            return Err(format!(
                "{who} chokes and {} blocks are on order with it",
                self.pipeline.len()
            ));
        }
        Ok(())
    }
}
