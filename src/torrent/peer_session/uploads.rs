//! What a peer has asked of us on its way to it: read in batches, sent, given up where memory is
//! tight, turned down where it cannot be read.
//!
//! Whether it may ask is decided elsewhere ([`offers`](super::offers),
//! [`slots`](crate::torrent::slots)).

use std::time::Duration;

use super::{
    LOW_WATER, PeerSession,
    fault::{Fault, MAX_UNREAD},
};
use crate::{
    base::{
        buf::Buf,
        geometry::Block,
        job::{Job, StoreError, batch_len},
        time::Instant,
    },
    proto::tx,
    torrent::{cx::Cx, swarm::Swarm},
    wire::message::Message,
};

impl PeerSession {
    pub(super) fn reject(&mut self, block: Block, cx: &mut Cx) {
        if self.terms.fast {
            self.say(
                &Message::Reject { piece: block.piece.get(), begin: block.begin, len: block.len },
                cx,
            );
        }
    }

    /// Lets it ask, or forbids it.
    pub(crate) fn set_choking(&mut self, choking: bool, cx: &mut Cx) {
        if choking == self.choking {
            return;
        }
        self.choking = choking;
        if choking && cx.leases.is_up_limited() {
            // The choke overtakes the blocks that have not begun, so they are turned down with what
            // was not read.
            let withdrawn = self.tx.withdraw(|buf| cx.leases.uploads_mut().give(buf));
            self.uploads.push_back(&withdrawn);
        }
        self.say(if choking { &Message::Choke } else { &Message::Unchoke }, cx);
        if choking {
            self.reject_waiting(cx);
        }
    }

    /// Gets in line if there are blocks to be read for it, and most of what was read before is on
    /// its way.
    pub(super) fn want_upload(&mut self, cx: &mut Cx) {
        let owed = self.tx.owed().is_some() && !self.uploads.is_reading();
        if !self.in_line
            && !self.blocked
            && (owed || (self.uploads.is_due() && self.tx.len() < LOW_WATER))
        {
            self.in_line = true;
            cx.outbox.line_up_to_read(self.link);
        }
    }

    /// It is its turn, but the disk is busy with other things.
    pub(crate) fn leave_line(&mut self) {
        self.in_line = false;
    }

    /// The disk is there for it again.
    pub(crate) fn serve_on(&mut self, cx: &mut Cx) {
        self.want_upload(cx);
    }

    /// It is its turn in the line: the next batch of blocks is read.
    pub(crate) fn pump_uploads(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.in_line = false;
        if self.blocked {
            return;
        }
        let blocks = match self.tx.owed() {
            Some(_) if self.uploads.is_reading() => return,
            Some(owed) => {
                self.uploads.read_owed(owed);
                vec![owed]
            }
            None => {
                self.uploads.poll_batch(cx.conf.uploads.max_unsent.min(cx.leases.uploads().room()))
            }
        };
        if !blocks.is_empty() {
            let mut buf = cx.leases.uploads_mut().take(batch_len(&blocks));
            tx::prepare(&blocks, &mut buf);
            swarm.jobs_out += 1;
            cx.job(Job::Read { torrent: swarm.torrent, link: self.link, blocks, buf });
        }
    }

    /// A batch of blocks was read for it.
    pub(crate) fn handle_read(
        &mut self,
        mut buf: Buf,
        result: Result<(), StoreError>,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        let blocks = self.uploads.handle_read();
        match (blocks, result) {
            (None, Ok(())) => {
                if let Some(buf) = self.tx.fill_owed(buf) {
                    cx.leases.uploads_mut().give(buf);
                }
                self.touch(cx);
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
                    self.tx.push_batch(wanted, buf);
                    self.touch(cx);
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
                if !wanted.is_empty() && (!self.terms.fast || self.unread > MAX_UNREAD) {
                    return Err(Fault::Unread(error));
                }
                wanted.into_iter().for_each(|block| self.reject(block, cx));
            }
        }
        self.spare_memory(cx);
        self.want_upload(cx);
        Ok(())
    }

    /// So many bytes are on their way.
    pub(crate) fn handle_sent(&mut self, bytes: usize, swarm: &mut Swarm, cx: &mut Cx) {
        let payload = self.tx.handle_sent(bytes, |buf| cx.leases.uploads_mut().give(buf));
        if payload > 0 {
            self.uploaded += payload;
            swarm.counters.up.add(cx.now, payload);
            cx.leases.note_up(cx.now, payload);
            self.taken.add(cx.now, payload);
            self.standing.note_taken(cx.now);
        }
        self.uploads.handle_sent(self.tx.len(), cx.conf.uploads.max_unsent);
        self.count_favour(swarm);
        self.want_upload(cx);
    }

    /// Whether it has taken nothing for `patience` though it could: its socket is full, or it has a
    /// slot and asks for nothing. What our system has taken for it counts as taken; a peer that
    /// does not read fills that once, and then nothing moves any more. One that waits for our disk
    /// or our limits is not to blame.
    pub(crate) fn is_stalled(&self, now: Instant, patience: Duration) -> bool {
        let silent = !self.choking
            && !self.uploads.is_due()
            && !self.uploads.is_reading()
            && !self.tx.has_blocks();
        (self.blocked && self.standing.took_nothing_for(now, false) >= patience)
            || (silent && self.standing.took_nothing_for(now, true) >= patience)
    }

    /// The socket takes bytes, or takes no more for now.
    pub(crate) fn handle_writable(&mut self, writable: bool, cx: &mut Cx) {
        self.blocked = !writable;
        self.spare_memory(cx);
        self.want_upload(cx);
    }

    /// Where memory is tight, blocks that the socket does not take now are given up, to be read
    /// again when it does.
    fn spare_memory(&mut self, cx: &mut Cx) {
        if !self.blocked || !cx.leases.uploads().is_tight() || !self.tx.holds_blocks() {
            return;
        }
        let not_begun = self.tx.rewind(|buf| cx.leases.uploads_mut().give(buf));
        if self.choking {
            not_begun.into_iter().for_each(|block| self.reject(block, cx));
        } else {
            self.uploads.push_back(&not_begun);
        }
    }
}
