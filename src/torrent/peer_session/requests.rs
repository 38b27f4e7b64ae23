//! What we ask of a peer, what becomes of that, and how long we wait for it.
//!
//! How much may be on order is the [pipeline](Pipeline)'s to say, and which block comes next the
//! ledger's. It does not know what the peer asks of us.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{
    fault::{Fault, MAX_REJECTS, MAX_UNASKED},
    outgoing::Outgoing,
    peer::Peer,
};
use crate::{
    base::{
        geometry::{Block, PieceIndex},
        rate::LongMeter,
        time::Instant,
        timers::TimerTable,
    },
    proto::pipeline::{Arrival, Pipeline},
    torrent::{
        cx::Cx,
        swarm::{Asker, Swarm},
    },
    wire::message::Message,
};

/// Allowed-fast and suggested pieces remembered of a peer.
const MAX_HINTS: usize = 16;
/// How soon a peer with nothing to do looks again whether it can help others.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// After so many requests turned down without a block in between a peer is left alone for a while:
/// what it holds up would come from others meanwhile.
const RESTS_AFTER: u32 = 16;
/// How long at first; twice as long each time that it goes on like that.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

const SNUB: usize = 0;
const STARVED: usize = 1;
const REST: usize = 2;

/// The requests to one peer.
#[derive(Debug)]
pub(super) struct Requests {
    pipeline: Pipeline,
    /// The pieces that this peer works on.
    own: Vec<PieceIndex>,
    /// Pieces that we may ask for while the peer chokes us (BEP 6 allowed fast).
    allowed: Vec<PieceIndex>,
    /// Pieces that the peer has at hand (BEP 6 suggest).
    suggested: Vec<PieceIndex>,
    /// Counted among those that fetch: it has something for us, and we may ask for it.
    fetching: bool,
    /// Among those in the ledger whose pipeline has room.
    unfilled: bool,
    /// It is held back by a limit that it shares with others.
    held_with_others: bool,
    snubbed_since: Option<Instant>,
    /// Blocks that came or were turned down without having been asked for.
    unasked: u32,
    /// Requests turned down since the last block.
    rejects: u32,
    /// How long it is left alone when it turns down so many again.
    next_rest: Duration,
    /// What was on order when it choked last, as far as there was no answer: that is to be turned
    /// down (BEP 6), and counts as one.
    choked_orders: usize,
    choke_counted: bool,
    /// Bytes of blocks that were of use, and how fast those come.
    useful: u64,
    useful_rate: LongMeter,
    timers: TimerTable<3>,
}

impl Requests {
    pub(super) fn new(cx: &Cx) -> Self {
        Self {
            pipeline: Pipeline::new(cx.now, &cx.conf),
            own: Vec::new(),
            allowed: Vec::new(),
            suggested: Vec::new(),
            fetching: false,
            unfilled: false,
            held_with_others: false,
            snubbed_since: None,
            unasked: 0,
            rejects: 0,
            next_rest: FIRST_REST,
            choked_orders: 0,
            choke_counted: false,
            useful: 0,
            useful_rate: LongMeter::new(cx.now),
            timers: TimerTable::new(),
        }
    }

    /// What is on order, and how fast it comes.
    pub(super) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Bytes of blocks that were of use.
    pub(super) fn useful(&self) -> u64 {
        self.useful
    }

    /// The same per second, over some twenty seconds.
    pub(super) fn useful_rate(&self, now: Instant) -> u64 {
        self.useful_rate.rate(now)
    }

    /// Whether the peer has not delivered what it was asked for last: it was silent, or turned it
    /// down.
    pub(super) fn is_reluctant(&self) -> bool {
        self.pipeline.is_snubbed() || self.rejects > 0
    }

    /// Whether the peer counts as one that may be asked for blocks.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_fetching(&self) -> bool {
        self.fetching
    }

    /// Whether it counts as one whose pipeline has room.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_unfilled(&self) -> bool {
        self.unfilled
    }

    /// Whether a limit that it shares with others holds it back.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_held_with_others(&self) -> bool {
        self.held_with_others
    }

    /// How many pieces the peer allows and suggests, and how many of each there may be.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn hints(&self) -> (usize, usize, usize) {
        (self.allowed.len(), self.suggested.len(), MAX_HINTS)
    }

    // What the peer says.

    /// The peer says that it queues at most `requests` (BEP 10 `reqq`).
    pub(super) fn set_cap(&mut self, requests: u32, cx: &Cx) {
        self.pipeline.set_cap(requests, &cx.conf);
    }

    /// The pieces that we may ask for while we are choked.
    pub(super) fn allowed(&self) -> &[PieceIndex] {
        &self.allowed
    }

    /// We may ask for `piece` while we are choked.
    pub(super) fn handle_allowed(&mut self, piece: PieceIndex, swarm: &Swarm) {
        if self.allowed.len() < MAX_HINTS
            && !swarm.have().has(piece)
            && !self.allowed.contains(&piece)
        {
            self.allowed.push(piece);
        }
    }

    /// The peer has `piece` at hand.
    pub(super) fn handle_suggested(&mut self, piece: PieceIndex) {
        if self.suggested.len() >= MAX_HINTS {
            self.suggested.remove(0);
        }
        self.suggested.push(piece);
    }

    /// The peer chokes us.
    pub(super) fn handle_choke(&mut self, peer: &Peer, swarm: &mut Swarm, cx: &mut Cx) {
        (self.choked_orders, self.choke_counted) = (self.pipeline.len(), false);
        // It may be asked again as soon as it unchokes us.
        self.timers.stop(REST);
        if peer.terms.fast {
            // Each order is still answered, but what it began is for others to go on with.
            swarm.disown(peer.order_key(), peer.supplier(), &mut self.own, cx.now);
        } else {
            // Without BEP 6 a choke means that nothing on order will come; what was on its way
            // already may.
            self.drop_orders(peer, swarm, cx);
        }
    }

    /// The peer will not send a block.
    pub(super) fn handle_reject(
        &mut self,
        block: Block,
        peer: &Peer,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        if self.pipeline.handle_reject(cx.now, block) {
            let choked = self.choked_orders > 0;
            self.choked_orders = self.choked_orders.saturating_sub(1);
            if !choked || !std::mem::replace(&mut self.choke_counted, true) {
                self.rejects += 1;
            }
            // A peer that chokes us owes us nothing.
            if !peer.choke.is_peer_choking() && self.rejects >= RESTS_AFTER {
                self.leave_alone(cx.now);
            }
            swarm.release(block, cx);
            swarm.disown(peer.order_key(), peer.supplier(), &mut self.own, cx.now);
            // A peer that turns down what it allowed has changed its mind.
            self.forget_allowed(block.piece);
            if self.rejects > MAX_REJECTS {
                return Err(Fault::Rejects);
            }
        } else if !self.pipeline.handle_late_reject(block) {
            // A cancelled request is answered like any other, so those are no offence.
            self.count_unasked()?;
        }
        Ok(())
    }

    /// The peer turns down whatever it is asked for: it is asked for nothing for some time.
    fn leave_alone(&mut self, now: Instant) {
        if self.is_left_alone() {
            return;
        }
        self.timers.set(REST, now + self.next_rest);
        self.next_rest = (self.next_rest * 2).min(LONGEST_REST);
        self.snubbed_since.get_or_insert(now);
    }

    fn is_left_alone(&self) -> bool {
        self.timers.get(REST).is_some()
    }

    fn count_unasked(&mut self) -> Result<(), Fault> {
        self.unasked += 1;
        if self.unasked > MAX_UNASKED { Err(Fault::Unasked) } else { Ok(()) }
    }

    /// `piece` is not to be asked for while choked any more: we have it, or it is not allowed.
    pub(super) fn forget_allowed(&mut self, piece: PieceIndex) {
        self.allowed.retain(|&allowed| allowed != piece);
    }

    /// The peer has lost `piece`: what is on order of it is for others. It may still turn that
    /// down.
    pub(super) fn handle_lost(
        &mut self,
        piece: PieceIndex,
        peer: &Peer,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) {
        self.forget_allowed(piece);
        self.suggested.retain(|&suggested| suggested != piece);
        let lost = self.pipeline.cancel_all(|block| block.piece == piece, &cx.conf);
        if !lost.is_empty() || swarm.is_owner(piece, peer.order_key()) {
            lost.into_iter().for_each(|block| swarm.release(block, cx));
            swarm.disown(peer.order_key(), peer.supplier(), &mut self.own, cx.now);
        }
    }

    /// A block came, whole.
    pub(super) fn handle_piece(
        &mut self,
        (piece, begin, data): (u32, u32, &[u8]),
        peer: &Peer,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let block = swarm.geometry().block(piece, begin, len)?;
        let arrival = self.pipeline.handle_block(cx.now, block, &cx.conf);
        if arrival == Arrival::Unasked {
            self.count_unasked()?;
        } else {
            (self.rejects, self.next_rest) = (0, FIRST_REST);
            self.timers.stop(REST);
            self.choked_orders = self.choked_orders.saturating_sub(1);
        }
        if swarm.receive(block, data, peer.order_key(), peer.supplier(), arrival, cx) {
            self.useful += data.len() as u64;
            self.useful_rate.add(cx.now, data.len() as u64);
        }
        if !self.pipeline.is_snubbed() {
            self.snubbed_since = None;
        }
        Ok(())
    }

    /// Part of a block has come.
    pub(super) fn handle_partial(&mut self, now: Instant) {
        self.pipeline.handle_partial(now);
    }

    // What we ask for.

    /// Gives up on everything on order and lets others have it.
    fn drop_orders(&mut self, peer: &Peer, swarm: &mut Swarm, cx: &mut Cx) {
        for block in self.pipeline.give_up(&cx.conf) {
            swarm.release(block, cx);
        }
        swarm.disown(peer.order_key(), peer.supplier(), &mut self.own, cx.now);
    }

    /// Whether the peer has something that we want and may ask for now, or as soon as there is
    /// memory: what the piece memory is shared out by. An allowed piece that we have by now, or
    /// that waits for those before it, is nothing to ask for.
    pub(super) fn has_something_for_us(&self, peer: &Peer, swarm: &Swarm) -> bool {
        let allows = |&p: &PieceIndex| peer.availability.has(p) && swarm.wants(p);
        let allowed = || !swarm.is_sequential() && self.allowed.iter().any(allows);
        let choke = peer.choke;
        choke.is_interested()
            && swarm.may_order()
            && !self.is_left_alone()
            && (!choke.is_peer_choking() || allowed())
    }

    /// Counts the peer among those that fetch, as long as there is something to fetch from it, and
    /// among those whose pipeline has room.
    pub(super) fn count_fetching(&mut self, peer: &Peer, swarm: &mut Swarm, cx: &mut Cx) {
        let fetching = self.has_something_for_us(peer, swarm);
        if fetching != std::mem::replace(&mut self.fetching, fetching) {
            cx.leases.count_fetcher(fetching);
        }
        self.note_room(peer, swarm, cx);
    }

    /// Remembers in the ledger whether the pipeline has room: what becomes free is offered only to
    /// peers that could be asked for it.
    fn note_room(&mut self, peer: &Peer, swarm: &mut Swarm, cx: &Cx) {
        let unfilled = self.may_ask(peer) && self.pipeline.room(cx.fair_share()) > 0;
        if unfilled != std::mem::replace(&mut self.unfilled, unfilled) {
            swarm.note_room(peer.key, unfilled);
        }
    }

    /// The peer does not deliver, so others are asked first: it waits for the refill of all.
    pub(super) fn wait_for_others(&mut self, peer: &Peer, swarm: &mut Swarm, cx: &mut Cx) {
        swarm.want_refill();
        self.count_fetching(peer, swarm, cx);
        self.set_snub_timer(cx);
        self.look_again(peer, cx);
    }

    /// The refill of all may end before this peer's turn, where memory is short: it looks for
    /// itself after a while.
    fn look_again(&mut self, peer: &Peer, cx: &Cx) {
        if self.may_ask(peer) && self.pipeline.is_empty() {
            self.timers.set(STARVED, cx.now + LOOK_AGAIN);
        }
    }

    fn may_ask(&self, peer: &Peer) -> bool {
        peer.choke.is_interested()
            && !self.is_left_alone()
            && (!peer.choke.is_peer_choking() || !self.allowed.is_empty())
    }

    /// Asks for as much as the pipeline takes.
    pub(super) fn refill(
        &mut self,
        peer: &Peer,
        outgoing: &mut Outgoing,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) {
        self.count_fetching(peer, swarm, cx);
        let may_ask = self.may_ask(peer);
        let share = cx.fair_share();
        while may_ask && self.pipeline.room(share) > 0 {
            let mut asker = Asker {
                link: peer.order_key(),
                who: peer.supplier(),
                has: peer.availability.pieces(),
                own: &mut self.own,
                pipeline: &self.pipeline,
                only: peer.choke.is_peer_choking().then_some(&*self.allowed),
                suggested: &mut self.suggested,
            };
            let Some(block) = swarm.next_block(&mut asker, cx) else { break };
            self.pipeline.ask(cx.now, block);
            let (piece, begin, len) = (block.piece.get(), block.begin, block.len);
            outgoing.say(&Message::Request { piece, begin, len }, cx);
        }
        self.note_room(peer, swarm, cx);
        self.set_snub_timer(cx);
        if may_ask && self.pipeline.is_empty() && (swarm.is_endgame() || cx.leases.is_short()) {
            self.timers.set(STARVED, cx.now + LOOK_AGAIN);
        }
    }

    /// What is wanted has changed: orders for what is skipped now are called off.
    pub(super) fn cancel_skipped(
        &mut self,
        outgoing: &mut Outgoing,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) {
        for block in self.pipeline.cancel_all(|block| swarm.is_skipped(block.piece), &cx.conf) {
            swarm.release(block, cx);
            say_cancel(block, outgoing, cx);
        }
    }

    /// Another peer delivered this block. True if it was on order here, too.
    pub(super) fn cancel(&mut self, block: Block, outgoing: &mut Outgoing, cx: &mut Cx) -> bool {
        let was = self.pipeline.cancel(block, &cx.conf);
        if was {
            say_cancel(block, outgoing, cx);
        }
        was
    }

    /// Others are to fetch `piece`: what is on order of it is called off.
    pub(super) fn recall(
        &mut self,
        piece: PieceIndex,
        outgoing: &mut Outgoing,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) {
        self.own.retain(|&own| own != piece);
        for block in self.pipeline.cancel_all(|block| block.piece == piece, &cx.conf) {
            swarm.release(block, cx);
            say_cancel(block, outgoing, cx);
        }
    }

    // Time.

    /// We do not read from the peer for now, because of our own limits: its own, or some that it
    /// shares with others.
    pub(super) fn handle_held(&mut self, with_others: bool, swarm: &mut Swarm, cx: &mut Cx) {
        self.pipeline.hold(cx.now);
        if with_others && !std::mem::replace(&mut self.held_with_others, true) {
            swarm.hold();
        }
        self.set_snub_timer(cx);
    }

    /// We read on.
    pub(super) fn handle_resumed(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        let held = self.pipeline.go_on(cx.now);
        self.snubbed_since = self.snubbed_since.map(|since| (since + held).min(cx.now));
        if std::mem::take(&mut self.held_with_others) {
            swarm.unhold(cx.now);
        }
        self.set_snub_timer(cx);
    }

    fn set_snub_timer(&mut self, cx: &Cx) {
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

    /// The next time at which something must happen.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A request is out for too long, or it is time to look whether there is something to ask for:
    /// then true is returned, and a [refill](Self::refill) follows.
    ///
    /// # Errors
    /// If the peer has sent nothing of use for longer than
    /// [`RequestConf::snub_patience`](crate::conf::RequestConf::snub_patience).
    pub(super) fn handle_timeout(
        &mut self,
        peer: &Peer,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<bool, Fault> {
        if self.timers.fire(SNUB, cx.now) {
            if let Some(blocks) = self.pipeline.handle_timeout(cx.now, &cx.conf) {
                log::debug!(
                    "{} is snubbing us; {} orders are given to others",
                    peer.who.addr,
                    blocks.len()
                );
                self.snubbed_since.get_or_insert(cx.now);
                blocks.into_iter().for_each(|block| swarm.release(block, cx));
                swarm.disown(peer.order_key(), peer.supplier(), &mut self.own, cx.now);
                swarm.want_refill();
                self.note_room(peer, swarm, cx);
                self.look_again(peer, cx);
            }
            if self
                .snubbed_since
                .is_some_and(|since| since + cx.conf.requests.snub_patience <= cx.now)
            {
                return Err(Fault::Useless(cx.conf.requests.snub_patience));
            }
            self.set_snub_timer(cx);
        }
        let is_rested = self.timers.fire(REST, cx.now);
        Ok(self.timers.fire(STARVED, cx.now) || is_rested)
    }

    /// The connection is over.
    pub(super) fn leave(&mut self, peer: &Peer, swarm: &mut Swarm, cx: &mut Cx) {
        self.drop_orders(peer, swarm, cx);
        if self.fetching {
            cx.leases.count_fetcher(false);
        }
        if self.held_with_others {
            swarm.unhold(cx.now);
        }
        swarm.note_room(peer.key, false);
    }
}

pub(super) fn say_cancel(block: Block, outgoing: &mut Outgoing, cx: &mut Cx) {
    let (piece, begin, len) = (block.piece.get(), block.begin, block.len);
    outgoing.say(&Message::Cancel { piece, begin, len }, cx);
}
