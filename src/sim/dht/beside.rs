//! Look-ups of libtorrent's kind in the network: from the same nodes, with the same tables.

use super::{Body, LibtorrentLookup, Net, libtorrent::Outcome, queue::Event};
use crate::{
    base::rng::Rng,
    wire::krpc::{Family, NodeId},
};

impl Net {
    /// Begins a look-up with what the table of a node has now. The node itself learns nothing of
    /// it.
    pub(super) fn begin_beside(&mut self, slot: usize, target: NodeId) {
        let (now, seed) = (self.now, self.rng.next_u64());
        let Some(s) = self.slots.get_mut(slot) else { return };
        let Body::Node(node) = &s.body else { return };
        let Some(own) = node.id(Family::V4) else { return };
        let closest = node.closest(Family::V4, &target, 8);
        s.beside = Some(LibtorrentLookup::new(now, own, target, &closest, Rng::new(seed)));
        self.settle_beside(slot);
        self.plan_tick(slot);
    }

    /// How it went, when it has ended: then it is forgotten.
    pub(super) fn take_beside(&mut self, slot: usize) -> Option<Outcome> {
        let s = self.slots.get_mut(slot)?;
        let outcome = s.beside.as_ref()?.outcome()?;
        s.beside = None;
        Some(outcome)
    }

    pub(super) fn settle_beside(&mut self, slot: usize) {
        let beside = |net: &mut Self| net.slots.get_mut(slot)?.beside.as_mut()?.poll_send();
        while let Some((to, data)) = beside(self) {
            self.send(slot, to, data);
        }
    }

    pub(super) fn tick_beside(&mut self, slot: usize) {
        let now = self.now;
        let Some(beside) = self.slots.get_mut(slot).and_then(|s| s.beside.as_mut()) else { return };
        beside.handle_tick(now);
        self.settle_beside(slot);
        self.plan_tick(slot);
    }

    fn plan_tick(&mut self, slot: usize) {
        let Some(s) = self.slots.get(slot) else { return };
        let life = s.life;
        if let Some(at) = s.beside.as_ref().and_then(LibtorrentLookup::next_tick) {
            self.push(at.since(self.now), Event::Tick { slot, life });
        }
    }
}
