//! What a peer asks of us on its way to it: taken or turned down, read in batches, sent, given up
//! where memory is tight.
//!
//! Who is unchoked is decided elsewhere ([`slots`](crate::torrent::slots)). It does not know what
//! we ask of the peer.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{
    fast_offers::FastOffers,
    fault::{Fault, MAX_INVALID_REQUESTS, MAX_UNREAD},
    outgoing::Outgoing,
    peer::Peer,
};
use crate::{
    base::{
        buf::Buf,
        geometry::{Block, PieceIndex},
        job::{Job, batch_len},
        rate::LongMeter,
        storage::StoreError,
        time::Instant,
    },
    proto::{allowed_fast::allowed_fast, tx, upload_queue::UploadQueue},
    torrent::{cx::Cx, standing::Standing, swarm::Swarm},
    wire::message::Message,
};

/// Bytes still to be sent below which the next blocks are read.
const LOW_WATER: usize = 16 * 1024;

/// The requests of one peer.
#[derive(Debug)]
pub(super) struct Uploads {
    queue: UploadQueue,
    /// What it may have while choked.
    offers: FastOffers,
    /// It waits for its turn to have blocks read.
    in_line: bool,
    /// Its socket takes no more for now.
    blocked: bool,
    /// It is choked and served all the same, and counted among those in the ledger.
    favoured: bool,
    /// Requests that made no sense.
    invalid: u32,
    /// Batches in a row that could not be read.
    unread: u32,
    /// Bytes of blocks that were sent, and how fast.
    sent: u64,
    rate: LongMeter,
}

impl Uploads {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            queue: UploadQueue::default(),
            offers: FastOffers::default(),
            in_line: false,
            blocked: false,
            favoured: false,
            invalid: 0,
            unread: 0,
            sent: 0,
            rate: LongMeter::new(now),
        }
    }

    /// Bytes of blocks that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The same per second, over some twenty seconds.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        self.rate.rate(now)
    }

    /// Whether it waits for its turn to have blocks read.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_in_line(&self) -> bool {
        self.in_line
    }

    /// Whether it counts as one that is choked and served all the same.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_favoured(&self) -> bool {
        self.favoured
    }

    /// Requests that are not being read.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    // What the peer asks for.

    /// A request came: `range` as it was received.
    pub(super) fn handle_request(
        &mut self,
        (piece, begin, len): (u32, u32, u32),
        peer: &Peer,
        outgoing: &mut Outgoing,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        let sane = swarm.geometry().range_with_pad(piece, begin, len).ok().filter(|b| {
            b.len <= cx.conf.uploads.max_request
                && swarm.have().has(b.piece)
                && peer.availability.shows(b.piece)
        });
        let Some(block) = sane else {
            self.invalid += 1;
            if self.invalid > MAX_INVALID_REQUESTS {
                return Err(Fault::InvalidRequests);
            }
            if peer.terms.fast {
                outgoing.say(&Message::Reject { piece, begin, len }, cx);
            }
            return Ok(());
        };
        if !self.may_ask(block, peer, swarm, cx)?
            || !self.queue.push(block, cx.conf.uploads.max_requests)
        {
            reject(block, peer, outgoing, cx);
        } else {
            swarm.note_request(peer.link, block, cx.now);
        }
        self.count_favour(peer, outgoing, swarm);
        Ok(())
    }

    /// Whether it may ask for `block` now: it is not choked, or may have it while choked and is one
    /// of few.
    fn may_ask(
        &mut self,
        block: Block,
        peer: &Peer,
        swarm: &Swarm,
        cx: &Cx,
    ) -> Result<bool, Fault> {
        if !peer.choke.is_choking() {
            return Ok(true);
        }
        // In a crowd all begin at once: to serve every choked peer a little would divide the line
        // as if there were no slots.
        let busy = !self.favoured && !swarm.may_favour();
        let begun = peer.availability.count() >= cx.conf.uploads.allowed_fast;
        self.offers.handle_request(block, !busy && !begun)
    }

    /// The peer does not want a block any more.
    pub(super) fn handle_cancel(
        &mut self,
        block: Block,
        peer: &Peer,
        outgoing: &mut Outgoing,
        cx: &mut Cx,
    ) {
        if self.queue.cancel(block) {
            // BEP 6: every request is answered, a cancelled one too.
            reject(block, peer, outgoing, cx);
        }
    }

    /// Whether it is choked and has blocks on their way all the same, one of which only the place
    /// is kept among them: that is read again.
    pub(super) fn is_served_choked(&self, peer: &Peer, outgoing: &Outgoing) -> bool {
        let served =
            || self.queue.is_due() || self.queue.is_reading() || outgoing.tx().has_blocks();
        peer.choke.is_choking() && served()
    }

    /// Counts it among those that are choked and served all the same, as long as it is.
    pub(super) fn count_favour(&mut self, peer: &Peer, outgoing: &Outgoing, swarm: &mut Swarm) {
        let favoured = self.is_served_choked(peer, outgoing);
        self.set_favoured(favoured, swarm);
    }

    fn set_favoured(&mut self, favoured: bool, swarm: &mut Swarm) {
        match (std::mem::replace(&mut self.favoured, favoured), favoured) {
            (false, true) => swarm.begin_favour(),
            (true, false) => swarm.end_favour(),
            _ => {}
        }
    }

    /// We choke the peer from now on, or no longer.
    pub(super) fn handle_choking(
        &mut self,
        choking: bool,
        peer: &Peer,
        outgoing: &mut Outgoing,
        cx: &mut Cx,
    ) {
        if choking && cx.leases.is_up_limited() {
            // The choke overtakes the blocks that have not begun, so they are turned down with what
            // was not read.
            let withdrawn = outgoing.tx_mut().withdraw(|buf| cx.leases.uploads_mut().give(buf));
            self.queue.push_back(&withdrawn);
        }
        outgoing.say(if choking { &Message::Choke } else { &Message::Unchoke }, cx);
        if choking {
            self.reject_waiting(peer, outgoing, cx);
        }
    }

    /// It was choked: what it has asked for is turned down, but for what it may have while choked
    /// (BEP 6).
    fn reject_waiting(&mut self, peer: &Peer, outgoing: &mut Outgoing, cx: &mut Cx) {
        for block in self.queue.clear() {
            let kept =
                self.offers.keeps(block) && self.queue.push(block, cx.conf.uploads.max_requests);
            if !kept {
                reject(block, peer, outgoing, cx);
            }
        }
        self.offers.begin_choke();
    }

    // What we offer it.

    /// The peer has told what it has. If that is little, it is offered pieces to begin with (BEP 6:
    /// a starting peer has fewer than `k`).
    pub(super) fn offer_pieces(
        &mut self,
        peer: &Peer,
        outgoing: &mut Outgoing,
        swarm: &Swarm,
        cx: &mut Cx,
    ) {
        let k = cx.conf.uploads.allowed_fast;
        if !peer.terms.fast
            || peer.is_upload_only()
            || peer.availability.shown().is_some()
            || peer.availability.count() >= k
        {
            return;
        }
        let set = allowed_fast(peer.who.addr.ip(), swarm.info_hash(), swarm.geometry(), k);
        self.offers.set_allowed(set.clone(), swarm.geometry());
        for piece in set.into_iter().filter(|&piece| swarm.have().has(piece)) {
            self.offer(piece, peer, outgoing, cx);
        }
    }

    /// We have `piece`: if it is of the set of a peer that can use it, it is offered.
    pub(super) fn offer(
        &mut self,
        piece: PieceIndex,
        peer: &Peer,
        outgoing: &mut Outgoing,
        cx: &mut Cx,
    ) {
        let begun = peer.availability.count() >= cx.conf.uploads.allowed_fast;
        if !peer.availability.has(piece) && !begun && self.offers.offer(piece) {
            outgoing.say(&Message::AllowedFast(piece.get()), cx);
        }
    }

    /// We have `piece` at hand: if the peer wants anything and lacks this, it is told so, once (BEP
    /// 6).
    pub(super) fn suggest(
        &mut self,
        piece: PieceIndex,
        peer: &Peer,
        outgoing: &mut Outgoing,
        cx: &mut Cx,
    ) {
        let wants = peer.terms.fast
            && peer.is_interested()
            && peer.availability.shown().is_none()
            && !peer.availability.has(piece);
        if wants && self.offers.suggest(piece) {
            outgoing.say(&Message::Suggest(piece.get()), cx);
        }
    }

    /// The peer has `piece` now.
    pub(super) fn forget_suggestion(&mut self, piece: PieceIndex) {
        self.offers.forget_suggestion(piece);
    }

    // How it is served.

    /// Gets in line if there are blocks to be read for the peer, and most of what was read before
    /// is on its way.
    pub(super) fn get_in_line(&mut self, outgoing: &Outgoing, cx: &mut Cx) {
        let owed = outgoing.tx().owed().is_some() && !self.queue.is_reading();
        if !self.in_line
            && !self.blocked
            && (owed || (self.queue.is_due() && outgoing.tx().len() < LOW_WATER))
        {
            self.in_line = true;
            cx.outbox.line_up_to_read(outgoing.link());
        }
    }

    /// It is its turn, but the disk is busy with other things.
    pub(super) fn leave_line(&mut self) {
        self.in_line = false;
    }

    /// It is its turn in the line: the next batch of blocks is read.
    pub(super) fn read_batch(&mut self, outgoing: &Outgoing, swarm: &mut Swarm, cx: &mut Cx) {
        self.in_line = false;
        if self.blocked {
            return;
        }
        let blocks = match outgoing.tx().owed() {
            Some(_) if self.queue.is_reading() => return,
            Some(owed) => {
                self.queue.read_owed(owed);
                vec![owed]
            }
            None => {
                self.queue.poll_batch(cx.conf.uploads.max_unsent.min(cx.leases.uploads().room()))
            }
        };
        if !blocks.is_empty() {
            let mut buf = cx.leases.uploads_mut().take(batch_len(&blocks));
            tx::prepare(&blocks, &mut buf);
            swarm.begin_job();
            cx.job(Job::Read { torrent: swarm.torrent(), link: outgoing.link(), blocks, buf });
        }
    }

    /// A batch of blocks was read.
    pub(super) fn handle_read(
        &mut self,
        mut buf: Buf,
        result: Result<(), StoreError>,
        peer: &Peer,
        outgoing: &mut Outgoing,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        let blocks = self.queue.handle_read();
        match (blocks, result) {
            (None, Ok(())) => {
                if let Some(buf) = outgoing.tx_mut().fill_owed(buf) {
                    cx.leases.uploads_mut().give(buf);
                }
                outgoing.touch(cx);
            }
            // The beginning of the block is gone already, so it cannot be turned down any more.
            (None, Err(error)) => {
                cx.leases.uploads_mut().give(buf);
                return Err(Fault::Owed(error));
            }
            (Some(blocks), Ok(())) => {
                self.unread = 0;
                let wanted = tx::keep_wanted(&blocks, &mut buf);
                if wanted.is_empty() {
                    cx.leases.uploads_mut().give(buf);
                } else {
                    outgoing.tx_mut().push_batch(wanted, buf);
                    outgoing.touch(cx);
                }
            }
            (Some(blocks), Err(error)) => {
                cx.leases.uploads_mut().give(buf);
                let wanted: Vec<Block> = blocks
                    .into_iter()
                    .filter(|(_, wanted)| *wanted)
                    .map(|(block, _)| block)
                    .collect();
                self.unread += 1;
                // Without BEP 6 there is no way to say no, and it would wait for good.
                if !wanted.is_empty() && (!peer.terms.fast || self.unread > MAX_UNREAD) {
                    return Err(Fault::Unread(error));
                }
                wanted.into_iter().for_each(|block| reject(block, peer, outgoing, cx));
            }
        }
        self.spare_memory(peer, outgoing, cx);
        self.get_in_line(outgoing, cx);
        Ok(())
    }

    /// So many bytes are on their way. Returns how many of them are of blocks.
    pub(super) fn handle_sent(
        &mut self,
        bytes: usize,
        outgoing: &mut Outgoing,
        cx: &mut Cx,
    ) -> u64 {
        let payload = outgoing.tx_mut().handle_sent(bytes, |buf| cx.leases.uploads_mut().give(buf));
        if payload > 0 {
            self.sent += payload;
            self.rate.add(cx.now, payload);
        }
        self.queue.handle_sent(outgoing.tx().len(), cx.conf.uploads.max_unsent);
        payload
    }

    /// Whether the peer has taken nothing for `patience` though it could: its socket is full, or it
    /// has a slot and asks for nothing. What our system has taken for it counts as taken; a peer
    /// that does not read fills that once, and then nothing moves any more. One that waits for our
    /// disk or our limits is not to blame.
    pub(super) fn is_stalled(
        &self,
        choking: bool,
        standing: &Standing,
        outgoing: &Outgoing,
        now: Instant,
        patience: Duration,
    ) -> bool {
        let silent = !choking
            && !self.queue.is_due()
            && !self.queue.is_reading()
            && !outgoing.tx().has_blocks();
        (self.blocked && standing.took_nothing_for(now, false) >= patience)
            || (silent && standing.took_nothing_for(now, true) >= patience)
    }

    /// The socket takes bytes, or takes no more for now.
    pub(super) fn handle_writable(
        &mut self,
        writable: bool,
        peer: &Peer,
        outgoing: &mut Outgoing,
        cx: &mut Cx,
    ) {
        self.blocked = !writable;
        self.spare_memory(peer, outgoing, cx);
        self.get_in_line(outgoing, cx);
    }

    /// Where memory is tight, blocks that the socket does not take now are given up, to be read
    /// again when it does.
    fn spare_memory(&mut self, peer: &Peer, outgoing: &mut Outgoing, cx: &mut Cx) {
        if !self.blocked || !cx.leases.uploads().is_tight() || !outgoing.tx().holds_blocks() {
            return;
        }
        let not_begun = outgoing.tx_mut().rewind(|buf| cx.leases.uploads_mut().give(buf));
        if peer.choke.is_choking() {
            not_begun.into_iter().for_each(|block| reject(block, peer, outgoing, cx));
        } else {
            self.queue.push_back(&not_begun);
        }
    }

    /// The torrent is opened anew: of all that was asked for, nothing is sent but the rest of a
    /// block that has begun.
    pub(super) fn suspend(
        &mut self,
        peer: &Peer,
        outgoing: &mut Outgoing,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) {
        self.set_favoured(false, swarm);
        let withdrawn = outgoing.tx_mut().withdraw(|buf| cx.leases.uploads_mut().give(buf));
        self.queue.push_back(&withdrawn);
        if !peer.choke.is_choking() {
            outgoing.say(&Message::Choke, cx);
        }
        for block in self.queue.clear() {
            reject(block, peer, outgoing, cx);
        }
    }

    /// The connection is over.
    pub(super) fn leave(&mut self, outgoing: &mut Outgoing, swarm: &mut Swarm, cx: &mut Cx) {
        self.set_favoured(false, swarm);
        outgoing.tx_mut().clear(|buf| cx.leases.uploads_mut().give(buf));
    }
}

/// Turns a request down, if there is a way to say so (BEP 6).
fn reject(block: Block, peer: &Peer, outgoing: &mut Outgoing, cx: &mut Cx) {
    if peer.terms.fast {
        let (piece, begin, len) = (block.piece.get(), block.begin, block.len);
        outgoing.say(&Message::Reject { piece, begin, len }, cx);
    }
}
