//! What comes from a peer: bytes to messages, and each message to the part of the session that it
//! is about.

use std::net::SocketAddr;

use super::{Fault, Parts, PeerSession};
use crate::{
    base::{bitfield::Bitfield, geometry::PieceIndex},
    torrent::{
        cx::Cx,
        hash_talk::HashTalk,
        swarm::{Note, Swarm},
    },
    wire::{
        extension::ExtensionHandshake,
        message::{Message, PIECE_HEADER_LEN},
    },
};

/// Bytes that may wait for a peer which asks without reading.
pub(super) const MAX_CONTROL_BACKLOG: usize = 1 << 20;
/// The id of a piece message (BEP 3).
const PIECE: u8 = 7;

impl PeerSession {
    /// Bytes came.
    pub(crate) fn handle_data(
        &mut self,
        mut input: &[u8],
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        self.liveness.handle_data(cx.now, input.len(), cx.conf.peers.idle_timeout);
        let mut decoder = std::mem::take(&mut self.decoder);
        let result = loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => {
                    if let Err(fault) = Message::decode(frame)
                        .map_err(Fault::from)
                        .and_then(|m| self.handle_message(m, swarm, cx))
                    {
                        break Err(fault);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        if decoder.partial().is_some_and(|(id, len)| id == PIECE && len > PIECE_HEADER_LEN) {
            self.requests.handle_partial(cx.now);
        }
        self.decoder = decoder;
        result?;
        if self.is_reluctant() {
            // Others first: what it turned down would come back to it at once.
            let Parts { requests, peer, .. } = self.parts();
            requests.wait_for_others(peer, swarm, cx);
        } else {
            self.refill(swarm, cx);
        }
        self.count_favour(swarm);
        self.uploads.get_in_line(&self.outgoing, cx);
        let waiting = self.outgoing.tx().len();
        if waiting > MAX_CONTROL_BACKLOG.saturating_add(cx.conf.uploads.max_unsent) {
            return Err(Fault::Backlog(waiting));
        }
        Ok(())
    }

    fn handle_message(
        &mut self,
        message: Message<'_>,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        match message {
            Message::Piece { piece, begin, data } => {
                let Parts { requests, peer, .. } = self.parts();
                requests.handle_piece((piece, begin, data), peer, swarm, cx)?;
            }
            Message::KeepAlive | Message::Unknown { .. } => {}
            Message::Port(port) => {
                cx.outbox.note_dht_node(SocketAddr::new(self.peer.who.addr.ip(), port));
            }
            Message::Choke => {
                self.peer.choke.set_peer_choking(true);
                let Parts { requests, peer, .. } = self.parts();
                requests.handle_choke(peer, swarm, cx);
            }
            Message::Unchoke => self.peer.choke.set_peer_choking(false),
            Message::Interested => self.handle_interest(true, swarm, cx),
            Message::NotInterested => self.handle_interest(false, swarm, cx),
            Message::Have(piece) => self.handle_have(swarm.geometry().piece(piece)?, swarm, cx),
            Message::Bitfield(bits) => self.handle_bitfield(
                Bitfield::from_wire(bits, swarm.geometry().piece_count())?,
                swarm,
                cx,
            )?,
            Message::HaveAll => {
                self.fast()?;
                self.peer.availability.retell_cheaply()?;
                self.handle_bitfield(Bitfield::all(swarm.geometry().piece_count()), swarm, cx)?;
            }
            Message::HaveNone => {
                self.fast()?;
                self.peer.availability.retell_cheaply()?;
                self.handle_bitfield(Bitfield::none(swarm.geometry().piece_count()), swarm, cx)?;
            }
            Message::Request { piece, begin, len } => {
                let Parts { uploads, outgoing, peer, .. } = self.parts();
                uploads.handle_request((piece, begin, len), peer, outgoing, swarm, cx)?;
            }
            Message::Cancel { piece, begin, len } => {
                if let Ok(block) = swarm.geometry().range_with_pad(piece, begin, len) {
                    let Parts { uploads, outgoing, peer, .. } = self.parts();
                    uploads.handle_cancel(block, peer, outgoing, cx);
                }
            }
            Message::Reject { piece, begin, len } => {
                self.fast()?;
                let block = swarm.geometry().range(piece, begin, len)?;
                let Parts { requests, peer, .. } = self.parts();
                requests.handle_reject(block, peer, swarm, cx)?;
            }
            Message::AllowedFast(piece) => {
                self.fast()?;
                if let Ok(piece) = swarm.geometry().piece(piece) {
                    self.requests.handle_allowed(piece, swarm);
                }
            }
            Message::Suggest(piece) => {
                self.fast()?;
                if let Ok(piece) = swarm.geometry().piece(piece) {
                    self.requests.handle_suggested(piece);
                }
            }
            Message::HashRequest(range) => {
                self.handle_hash_talk(HashTalk::Request(range), swarm);
            }
            Message::Hashes { range, hashes } => {
                self.handle_hash_talk(HashTalk::Hashes(range, hashes.to_vec()), swarm);
            }
            Message::HashReject(range) => {
                self.handle_hash_talk(HashTalk::Reject(range), swarm);
            }
            Message::Extended { id: 0, payload } => {
                let hello = ExtensionHandshake::decode(payload)?;
                self.handle_extension_handshake(&hello, swarm, cx);
            }
            Message::Extended { id, payload } => self.handle_extended(id, payload, swarm, cx)?,
        }
        Ok(())
    }

    fn fast(&self) -> Result<(), Fault> {
        if self.peer.terms.fast { Ok(()) } else { Err(Fault::NotFast) }
    }

    fn handle_extension_handshake(
        &mut self,
        hello: &ExtensionHandshake,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) {
        self.peer.extensions.handle_handshake(hello);
        if self.peer.extensions.awaits_peers() && swarm.exchanges_peers() {
            swarm.note(Note::AwaitsPeers(self.standing.key()));
        }
        if let Some(upload_only) = hello.upload_only {
            self.handle_upload_only(upload_only, swarm);
        }
        if let Some(reqq) = hello.reqq {
            self.requests.set_cap(reqq, cx);
        }
        if let Some(ours) = self.peer.extensions.our_address(hello) {
            cx.leases.external_mut().vote(self.peer.who.addr.ip(), ours);
        }
        if let Some(port) =
            hello.port.filter(|_| self.peer.who.incoming && self.candidacy.reach.is_none())
        {
            let addr = SocketAddr::new(self.peer.who.addr.ip(), port);
            self.candidacy.reach = Some(addr);
            swarm.note(Note::Reach(self.outgoing.link(), addr));
        }
    }

    /// It says whether it is interested.
    fn handle_interest(&mut self, interested: bool, swarm: &mut Swarm, cx: &Cx) {
        self.peer.choke.set_says_interested(interested);
        if !interested {
            swarm.note_not_interested(self.outgoing.link(), cx.now);
        }
    }

    fn handle_bitfield(
        &mut self,
        has: Bitfield,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        if let Some(pieces) = self.peer.availability.handle_bitfield(has, swarm.geometry())? {
            for piece in pieces {
                self.handle_have(piece, swarm, cx);
            }
            return Ok(());
        }
        let has = self.peer.availability.pieces();
        swarm.add_peer(self.outgoing.link(), has);
        self.count_wanted(swarm, cx);
        let Parts { uploads, outgoing, peer, .. } = self.parts();
        uploads.offer_pieces(peer, outgoing, swarm, cx);
        Ok(())
    }

    /// It has lost `piece` (BEP 54).
    pub(super) fn handle_lost(
        &mut self,
        piece: PieceIndex,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        if !self.peer.availability.handle_lost(piece)? {
            return Ok(());
        }
        swarm.remove_piece(piece, self.peer.availability.pieces());
        // When we got it ourselves the peer had it, so it may not know that we have.
        if swarm.have().has(piece) && self.peer.availability.shows(piece) {
            self.outgoing.say(&Message::Have(piece.get()), cx);
        }
        let Parts { requests, peer, .. } = self.parts();
        requests.handle_lost(piece, peer, swarm, cx);
        if swarm.wants(piece) {
            self.peer.availability.unwant_one();
            self.show_interest(cx);
        }
        Ok(())
    }

    fn handle_have(&mut self, piece: PieceIndex, swarm: &mut Swarm, cx: &mut Cx) {
        let (first, news) = self.peer.availability.handle_have(piece);
        if news {
            let has = self.peer.availability.pieces();
            swarm.add_piece(self.outgoing.link(), piece, has, cx.now);
            self.uploads.forget_suggestion(piece);
            if swarm.wants(piece) {
                self.peer.availability.want_one();
                self.show_interest(cx);
            }
        }
        if first {
            let Parts { uploads, outgoing, peer, .. } = self.parts();
            uploads.offer_pieces(peer, outgoing, swarm, cx);
        }
    }
}
