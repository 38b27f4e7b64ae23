//! What we ask of a peer, what becomes of that, and how long we wait for it.
//!
//! How much may be on order is the pipeline's to say, and which block comes next the ledger's.

use super::{
    LOOK_AGAIN, PeerSession,
    fault::{Fault, MAX_REJECTS, MAX_UNASKED},
};
use crate::{
    base::geometry::{Block, PieceIndex},
    proto::pipeline::Arrival,
    torrent::{
        cx::Cx,
        peer_session::{IDLE, SNUB, STARVED},
        swarm::{Asker, Swarm},
    },
    wire::message::Message,
};

impl PeerSession {
    pub(super) fn handle_choke(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.peer_choking = true;
        (self.choked_orders, self.choke_counted) = (self.pipeline.len(), false);
        if self.terms.fast {
            // Each order is still answered, but what it began is for others to go on with.
            swarm.disown(self.link, self.who, &mut self.own, cx.now);
        } else {
            // Without BEP 6 a choke means that nothing on order will come; what was on its way
            // already may.
            self.drop_orders(swarm, cx);
        }
    }

    /// It will not send a block.
    pub(super) fn handle_reject(
        &mut self,
        block: Block,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        if self.pipeline.handle_reject(cx.now, block) {
            let choked = self.choked_orders > 0;
            self.choked_orders = self.choked_orders.saturating_sub(1);
            if !choked || !std::mem::replace(&mut self.choke_counted, true) {
                self.rejects += 1;
            }
            swarm.release(block, cx);
            swarm.disown(self.link, self.who, &mut self.own, cx.now);
            // A peer that turns down what it allowed has changed its mind.
            self.allowed.retain(|&p| p != block.piece);
            if self.rejects > MAX_REJECTS {
                return Err(Fault::Rejects);
            }
        } else if !self.pipeline.handle_late_reject(block) {
            // A cancelled request is answered like any other, so those are no offence.
            self.unasked += 1;
            if self.unasked > MAX_UNASKED {
                return Err(Fault::Unasked);
            }
        }
        Ok(())
    }

    /// Gives up on everything on order and lets others have it.
    pub(super) fn drop_orders(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        for block in self.pipeline.give_up(&cx.conf) {
            swarm.release(block, cx);
        }
        swarm.disown(self.link, self.who, &mut self.own, cx.now);
    }

    /// Whether it has something that we want and may ask for now, or as soon as there is memory:
    /// what the piece memory is shared out by. An allowed piece that we have by now, or that waits
    /// for those before it, is nothing to ask for.
    pub(super) fn has_something_for_us(&self, swarm: &Swarm) -> bool {
        let allows = |&p: &PieceIndex| self.has.has(p) && swarm.wants(p);
        let allowed = || !swarm.picker.is_sequential() && self.allowed.iter().any(allows);
        self.interested && swarm.requesting && (!self.peer_choking || allowed())
    }

    /// Counts it among those that fetch, as long as there is something to fetch from it.
    pub(crate) fn count_fetching(&mut self, swarm: &Swarm, cx: &mut Cx) {
        let fetching = self.has_something_for_us(swarm);
        if fetching != std::mem::replace(&mut self.fetching, fetching) {
            cx.leases.count_fetcher(fetching);
        }
    }

    /// Asks for as much as the pipeline takes.
    pub(crate) fn refill(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.count_fetching(swarm, cx);
        let may_ask = self.interested && (!self.peer_choking || !self.allowed.is_empty());
        let share = cx.fair_share();
        while may_ask && self.pipeline.room(share) > 0 {
            let mut asker = Asker {
                link: self.link,
                who: self.who,
                has: &self.has,
                own: &mut self.own,
                pipeline: &self.pipeline,
                only: self.peer_choking.then_some(&*self.allowed),
                suggested: &mut self.suggested,
            };
            let Some(block) = swarm.next_block(&mut asker, cx) else { break };
            self.pipeline.ask(cx.now, block);
            self.say(
                &Message::Request { piece: block.piece.get(), begin: block.begin, len: block.len },
                cx,
            );
        }
        self.set_snub_timer(cx);
        if may_ask && self.pipeline.is_empty() && (swarm.is_endgame() || cx.leases.is_short()) {
            self.timers.set(STARVED, cx.now + LOOK_AGAIN);
        }
    }

    /// What is wanted has changed: orders for what is skipped now are called off.
    pub(crate) fn handle_new_wishes(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        for block in self.pipeline.cancel_all(|block| swarm.is_skipped(block.piece), &cx.conf) {
            swarm.release(block, cx);
            self.say(
                &Message::Cancel { piece: block.piece.get(), begin: block.begin, len: block.len },
                cx,
            );
        }
        self.count_wanted(swarm, cx);
    }

    /// Another peer delivered this block.
    pub(crate) fn cancel(&mut self, block: Block, swarm: &mut Swarm, cx: &mut Cx) {
        if self.pipeline.cancel(block, &cx.conf) {
            self.say(
                &Message::Cancel { piece: block.piece.get(), begin: block.begin, len: block.len },
                cx,
            );
            self.refill(swarm, cx);
        }
    }

    pub(super) fn handle_piece(
        &mut self,
        piece: u32,
        begin: u32,
        data: &[u8],
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let block = swarm.geometry.block(piece, begin, len)?;
        let arrival = self.pipeline.handle_block(cx.now, block, &cx.conf);
        if arrival == Arrival::Unasked {
            self.unasked += 1;
            if self.unasked > MAX_UNASKED {
                return Err(Fault::Unasked);
            }
        }
        if arrival != Arrival::Unasked {
            self.rejects = 0;
            self.choked_orders = self.choked_orders.saturating_sub(1);
        }
        if swarm.receive(block, data, self.link, self.who, arrival, cx) {
            self.useful += data.len() as u64;
            self.given.add(cx.now, data.len() as u64);
        }
        if !self.pipeline.is_snubbed() {
            self.snubbed_since = None;
        }
        Ok(())
    }

    /// We do not read from it for now, because of our own limits: its own, or some that it shares
    /// with others.
    pub(crate) fn handle_held(&mut self, with_others: bool, swarm: &mut Swarm, cx: &mut Cx) {
        self.pipeline.hold(cx.now);
        if with_others && !std::mem::replace(&mut self.held_with_others, true) {
            swarm.hold();
        }
        self.set_snub_timer(cx);
    }

    /// We read on.
    pub(crate) fn handle_resumed(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        let held = self.pipeline.go_on(cx.now);
        self.snubbed_since = self.snubbed_since.map(|since| (since + held).min(cx.now));
        if std::mem::take(&mut self.held_with_others) {
            swarm.unhold(cx.now);
        }
        self.timers.set(IDLE, cx.now + cx.conf.peers.idle_timeout);
        self.set_snub_timer(cx);
    }

    pub(super) fn set_snub_timer(&mut self, cx: &Cx) {
        // A peer that has been snubbing for long is let go even when nothing is on order.
        let patience = self
            .snubbed_since
            .filter(|_| !self.pipeline.is_held())
            .map(|since| since + cx.conf.requests.snub_patience);
        match [self.pipeline.deadline(&cx.conf), patience].into_iter().flatten().min() {
            Some(at) => self.timers.set(SNUB, at),
            None => self.timers.stop(SNUB),
        }
    }
}
