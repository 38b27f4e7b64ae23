//! One connected peer after the handshake (BEP 3), bytes in and bytes out: what it has
//! ([`availability`]), what we ask of it ([`requests`]), what it asks of us ([`uploads`]), what it
//! speaks beyond BEP 3 ([`extensions`]).
//!
//! Each of these is a type with a state of its own, in a file of its own. Here messages and
//! deadlines are given to them, and what one of them finds out is passed on to the others. A peer
//! session sees itself, the torrent's ledger and the world; never a sibling, a socket or a clock.

#[cfg(any(test, feature = "sim"))]
mod audit;
mod availability;
mod before_content;
mod candidacy;
mod choke_state;
mod extensions;
mod facts;
mod fast_offers;
mod fault;
mod liveness;
mod messages;
mod outgoing;
mod peer;
mod requests;
mod suspension;
#[cfg(test)]
mod testing;
mod told;
mod trees;
mod uploads;

use self::{
    availability::Availability,
    candidacy::Candidacy,
    choke_state::ChokeState,
    extensions::{Extensions, our_handshake},
    liveness::Liveness,
    outgoing::Outgoing,
    peer::Peer,
    requests::Requests,
    told::Heard,
    uploads::Uploads,
};
pub(crate) use self::{
    before_content::{OnMetadata, PeerBeforeContent},
    fault::Fault,
};
use crate::{
    base::{
        arena::Key,
        bitfield::{Bitfield, wire_len},
        buf::Buf,
        geometry::{Block, PieceIndex},
        ids::{PeerId, Version},
        storage::StoreError,
        time::Instant,
    },
    conf::CryptoMethod,
    proto::tx::Tx,
    torrent::{cx::Cx, outbox::Sleeper, progress::Contributor, standing::Standing, swarm::Swarm},
    wire::{frame::Decoder, message::Message},
};

/// The longest extension message, and more than a block with its header.
const MAX_EXTENSION_FRAME: u32 = 64 * 1024 + 2;
/// The longest frame that a peer of a torrent with so many pieces has a reason to send: a bitfield,
/// a block, or an extension message. What it has begun to send is held in memory, so less is better
/// than [`PeerConf::max_frame`](crate::conf::PeerConf::max_frame).
fn longest_frame(pieces: u32) -> u32 {
    let bitfield = u32::try_from(wire_len(pieces)).unwrap_or(u32::MAX).saturating_add(1);
    bitfield.max(MAX_EXTENSION_FRAME)
}

/// What was agreed in the handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) peer_id: PeerId,
    /// Both speak the fast extension (BEP 6).
    pub(crate) fast: bool,
    /// The peer speaks the extension protocol (BEP 10).
    pub(crate) extended: bool,
    /// It has a DHT node (BEP 5).
    pub(crate) dht: bool,
    /// How the connection is encrypted, if it is.
    pub(crate) encryption: Option<CryptoMethod>,
    /// It is connected by uTP (BEP 29).
    pub(crate) utp: bool,
    /// By which hash it speaks of the torrent (BEP 52): by the v2 hash it speaks of merkle trees.
    pub(crate) version: Version,
}

/// A connection whose handshake is over: what a peer of a torrent begins with.
#[derive(Debug)]
pub(crate) struct Greeted {
    /// The connection.
    pub(crate) link: Key,
    pub(crate) who: Contributor,
    pub(crate) terms: Terms,
    /// What the handshake left to be sent.
    pub(crate) tx: Tx,
}

/// The parts of a peer session that change while others are looked at.
struct Parts<'a> {
    requests: &'a mut Requests,
    uploads: &'a mut Uploads,
    outgoing: &'a mut Outgoing,
    peer: &'a Peer,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PeerSession {
    peer: Peer,
    decoder: Decoder,
    outgoing: Outgoing,
    requests: Requests,
    uploads: Uploads,
    /// How it stands with the choker, which keeps this.
    standing: Standing,
    liveness: Liveness,
    candidacy: Candidacy,
}

impl PeerSession {
    /// A peer whose handshake is over, which the torrent knows by `key` from now on; says what we
    /// have.
    pub(crate) fn new(key: Key, greeted: Greeted, swarm: &Swarm, cx: &mut Cx) -> Self {
        let mut session = Self::silent(key, greeted, swarm, cx);
        session.introduce(swarm, cx);
        session
    }

    /// A peer that was connected before there was content, and knows us as a peer that has nothing,
    /// or as it was told before the torrent was opened anew. It hears what the peer said, and may
    /// have told that we are interested, which is taken back in the end unless it holds.
    fn after_content(
        key: Key,
        greeted: Greeted,
        heard: &Heard,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<Self, Fault> {
        let mut session = Self::silent(key, greeted, swarm, cx);
        if heard.told.is_none() {
            // Only the first message may be a bitfield (BEP 3).
            for piece in swarm.have().ones() {
                session.outgoing.say(&Message::Have(piece), cx);
            }
        }
        if heard.interested {
            session.peer.choke.keep_interest();
            session.note_interest(cx.now);
        }
        if let Err(fault) = session.handle_data(&heard.said, swarm, cx) {
            session.leave(swarm, cx);
            return Err(fault);
        }
        if let Some(told) = &heard.told {
            session.correct(told, swarm, cx);
        }
        session.peer.choke.weigh_interest();
        session.show_interest(cx);
        session.count_fetching(swarm, cx);
        session.schedule(cx);
        Ok(session)
    }

    /// A peer to which nothing is said yet.
    fn silent(key: Key, greeted: Greeted, swarm: &Swarm, cx: &mut Cx) -> Self {
        let Greeted { link, who, terms, tx } = greeted;
        let pieces = swarm.geometry().piece_count();
        Self {
            peer: Peer {
                key,
                link,
                who,
                terms,
                availability: Availability::new(pieces),
                choke: ChokeState::new(cx.now),
                extensions: Extensions::new(swarm),
            },
            decoder: Decoder::new(longest_frame(pieces).min(cx.conf.peers.max_frame)),
            outgoing: Outgoing::new(link, tx, cx),
            requests: Requests::new(cx),
            uploads: Uploads::new(cx.now),
            standing: Standing::new(cx.now, who.addr.ip(), key),
            liveness: Liveness::new(cx.now, cx.conf.peers.idle_timeout),
            candidacy: Candidacy::default(),
        }
    }

    fn introduce(&mut self, swarm: &Swarm, cx: &mut Cx) {
        self.say_pieces(swarm, cx);
        // Behind what there is, which must come first (BEP 3).
        let port = cx.leases.ports().towards(self.peer.who.addr.ip());
        if let Some(port) = port.filter(|_| self.peer.terms.dht && cx.conf.dht.enabled) {
            self.outgoing.say(&Message::Port(port), cx);
        }
    }

    /// What we have, in the words that the peer knows.
    fn say_pieces(&mut self, swarm: &Swarm, cx: &mut Cx) {
        if self.peer.terms.extended {
            let upload_only = swarm.is_upload_only().then_some(true);
            let offered = self.peer.extensions.offered();
            let payload = our_handshake(&self.peer.who, upload_only, offered, cx).encode();
            self.outgoing.say(&Message::Extended { id: 0, payload: &payload }, cx);
        }
        if swarm.is_super_seeding() {
            self.peer.availability.hide_all();
            if self.peer.terms.fast {
                self.outgoing.say(&Message::HaveNone, cx);
            }
            return;
        }
        let bits;
        let what = match (self.peer.terms.fast, swarm.have().is_clear(), swarm.have().is_full()) {
            (true, true, _) => Message::HaveNone,
            (true, _, true) => Message::HaveAll,
            (false, true, _) => return,
            _ => {
                bits = swarm.have().to_wire();
                Message::Bitfield(&bits)
            }
        };
        self.outgoing.say(&what, cx);
    }

    /// What it is made of, each on its own.
    fn parts(&mut self) -> Parts<'_> {
        let Self { peer, requests, uploads, outgoing, .. } = self;
        Parts { requests, uploads, outgoing, peer }
    }

    // What it has and we want.

    /// The pieces that it has, as far as it has said so.
    pub(crate) fn has(&self) -> &Bitfield {
        self.peer.availability.pieces()
    }

    /// Whether it has everything.
    pub(crate) fn is_seed(&self) -> bool {
        self.peer.availability.is_seed()
    }

    /// Recounts what it has that we want: after its bitfield, or when our own pieces or wishes
    /// changed at once.
    pub(crate) fn count_wanted(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.peer.availability.count_wanted(swarm);
        self.show_interest(cx);
        self.count_fetching(swarm, cx);
    }

    /// We have `piece` now, which was `wanted` or came although it is not any more.
    pub(crate) fn handle_our_have(
        &mut self,
        piece: PieceIndex,
        wanted: bool,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) {
        self.requests.forget_allowed(piece);
        if self.peer.availability.has(piece) {
            if wanted {
                self.peer.availability.unwant_one();
            }
            self.show_interest(cx);
        } else {
            self.outgoing.say(&Message::Have(piece.get()), cx);
            let Parts { uploads, outgoing, peer, .. } = self.parts();
            uploads.offer(piece, peer, outgoing, cx);
        }
        self.count_fetching(swarm, cx);
    }

    fn show_interest(&mut self, cx: &mut Cx) {
        let interested = self.peer.availability.is_interesting();
        if self.peer.choke.set_interested(interested) {
            self.note_interest(cx.now);
            let message = if interested { Message::Interested } else { Message::NotInterested };
            self.outgoing.say(&message, cx);
        }
    }

    // What we ask for.

    /// Whether we are interested in what it has, and have told it so.
    pub(crate) fn is_interested(&self) -> bool {
        self.peer.choke.is_interested()
    }

    /// Whether it chokes us.
    pub(crate) fn is_peer_choking(&self) -> bool {
        self.peer.choke.is_peer_choking()
    }

    pub(crate) fn is_snubbed(&self) -> bool {
        self.requests.pipeline().is_snubbed()
    }

    /// Whether it has not delivered what it was asked for last: it was silent, or turned it down.
    pub(crate) fn is_reluctant(&self) -> bool {
        self.requests.is_reluctant()
    }

    /// Counts it among those that fetch, as long as there is something to fetch from it.
    pub(crate) fn count_fetching(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        let Parts { requests, peer, .. } = self.parts();
        requests.count_fetching(peer, swarm, cx);
    }

    /// Asks for as much as the pipeline takes.
    pub(crate) fn refill(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        let Parts { requests, outgoing, peer, .. } = self.parts();
        requests.refill(peer, outgoing, swarm, cx);
    }

    /// What is wanted has changed: orders for what is skipped now are called off.
    pub(crate) fn handle_new_wishes(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.requests.cancel_skipped(&mut self.outgoing, swarm, cx);
        self.count_wanted(swarm, cx);
    }

    /// Another peer delivered this block.
    pub(crate) fn cancel(&mut self, block: Block, swarm: &mut Swarm, cx: &mut Cx) {
        if self.requests.cancel(block, &mut self.outgoing, cx) {
            self.refill(swarm, cx);
        }
    }

    /// It had a piece alone for too long, which others are to fetch.
    pub(crate) fn recall(&mut self, piece: PieceIndex, swarm: &mut Swarm, cx: &mut Cx) {
        self.requests.recall(piece, &mut self.outgoing, swarm, cx);
        self.refill(swarm, cx);
    }

    /// We do not read from it for now, because of our own limits: its own, or some that it shares
    /// with others.
    pub(crate) fn handle_held(&mut self, with_others: bool, swarm: &mut Swarm, cx: &mut Cx) {
        self.requests.handle_held(with_others, swarm, cx);
    }

    /// We read on.
    pub(crate) fn handle_resumed(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.requests.handle_resumed(swarm, cx);
        self.liveness.be_patient(cx.now, cx.conf.peers.idle_timeout);
    }

    // What it asks for.

    /// Whether we choke it.
    pub(crate) fn is_choking(&self) -> bool {
        self.peer.choke.is_choking()
    }

    /// Whether it wants something of us: by its own word, unless it wants no data at all.
    pub(crate) fn is_peer_interested(&self) -> bool {
        self.peer.is_interested()
    }

    /// Whether it wants no data: it has everything, or says so (BEP 21).
    pub(crate) fn is_upload_only(&self) -> bool {
        self.peer.is_upload_only()
    }

    /// Lets it ask, or forbids it.
    pub(crate) fn set_choking(&mut self, choking: bool, cx: &mut Cx) {
        if self.peer.choke.set_choking(choking) {
            let Parts { uploads, outgoing, peer, .. } = self.parts();
            uploads.handle_choking(choking, peer, outgoing, cx);
        }
    }

    /// Counts it among those that are choked and served all the same, as long as it is.
    pub(crate) fn count_favour(&mut self, swarm: &mut Swarm) {
        let Parts { uploads, outgoing, peer, .. } = self.parts();
        uploads.count_favour(peer, outgoing, swarm);
    }

    /// We have `piece` at hand: if the peer can use it, it is told so (BEP 6).
    pub(crate) fn suggest(&mut self, piece: PieceIndex, cx: &mut Cx) {
        let Parts { uploads, outgoing, peer, .. } = self.parts();
        uploads.suggest(piece, peer, outgoing, cx);
    }

    /// It is its turn, but the disk is busy with other things.
    pub(crate) fn leave_line(&mut self) {
        self.uploads.leave_line();
    }

    /// The disk is there for it again.
    pub(crate) fn serve_on(&mut self, cx: &mut Cx) {
        self.uploads.get_in_line(&self.outgoing, cx);
    }

    /// It is its turn in the line: the next batch of blocks is read.
    pub(crate) fn pump_uploads(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.uploads.read_batch(&self.outgoing, swarm, cx);
    }

    /// A batch of blocks was read for it.
    pub(crate) fn handle_read(
        &mut self,
        buf: Buf,
        result: Result<(), StoreError>,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        let Parts { uploads, outgoing, peer, .. } = self.parts();
        uploads.handle_read(buf, result, peer, outgoing, cx)
    }

    /// What waits to be sent, to be sent.
    pub(crate) fn tx_mut(&mut self) -> &mut Tx {
        self.outgoing.tx_mut()
    }

    /// What waits to be sent.
    pub(crate) fn tx(&self) -> &Tx {
        self.outgoing.tx()
    }

    /// So many bytes are on their way.
    pub(crate) fn handle_sent(&mut self, bytes: usize, swarm: &mut Swarm, cx: &mut Cx) {
        let payload = self.uploads.handle_sent(bytes, &mut self.outgoing, cx);
        if payload > 0 {
            swarm.note_sent(payload, cx);
            self.standing.note_taken(cx.now);
        }
        self.count_favour(swarm);
        self.uploads.get_in_line(&self.outgoing, cx);
    }

    /// Whether it has taken nothing for `patience` though it could.
    pub(crate) fn is_stalled(&self, now: Instant, patience: std::time::Duration) -> bool {
        let (choking, standing) = (self.is_choking(), &self.standing);
        self.uploads.is_stalled(choking, standing, &self.outgoing, now, patience)
    }

    /// The socket takes bytes, or takes no more for now.
    pub(crate) fn handle_writable(&mut self, writable: bool, cx: &mut Cx) {
        let Parts { uploads, outgoing, peer, .. } = self.parts();
        uploads.handle_writable(writable, peer, outgoing, cx);
    }

    // What a super-seed shows.

    /// The pieces that we pretend to have, if we do.
    pub(crate) fn shown(&self) -> Option<&Bitfield> {
        self.peer.availability.shown()
    }

    /// Whether a peer that we pretend to has introduced itself, as far as it must.
    pub(crate) fn is_known(&self) -> bool {
        self.peer.availability.is_told() || !self.peer.terms.fast
    }

    /// Pretends to have got `piece`.
    pub(crate) fn show(&mut self, piece: PieceIndex, cx: &mut Cx) {
        if self.peer.availability.show(piece) {
            self.outgoing.say(&Message::Have(piece.get()), cx);
        }
    }

    /// Pretends no more. False if it would take too many Haves to say so.
    #[must_use]
    pub(crate) fn show_all(&mut self, swarm: &Swarm, cx: &mut Cx) -> bool {
        let Some(pieces) = self.peer.availability.show_all(swarm) else { return false };
        for piece in pieces {
            self.outgoing.say(&Message::Have(piece.get()), cx);
        }
        true
    }

    // Time.

    /// The next time at which something must happen.
    fn next_deadline(&self) -> Instant {
        let soonest = self.liveness.deadline().min(self.outgoing.deadline());
        self.requests.deadline().map_or(soonest, |at| at.min(soonest))
    }

    /// Sees to it that the engine wakes up for the next deadline.
    pub(crate) fn schedule(&mut self, cx: &mut Cx) {
        let at = self.next_deadline();
        if self.liveness.wants_wakeup(at) {
            cx.outbox.wake(at, Sleeper::Peer(self.link()));
        }
    }

    /// Whether the wake-up for `at` is one that counts.
    pub(crate) fn wakes(&mut self, at: Instant) -> bool {
        self.liveness.wakes(at)
    }

    /// What is due is done.
    pub(crate) fn handle_timeout(&mut self, swarm: &mut Swarm, cx: &mut Cx) -> Result<(), Fault> {
        if self.liveness.deadline() <= cx.now {
            if self.requests.pipeline().is_held() {
                // It is us who do not listen.
                self.liveness.be_patient(cx.now, cx.conf.peers.idle_timeout);
                return Ok(());
            }
            return Err(Fault::Silent(cx.conf.peers.idle_timeout));
        }
        self.outgoing.handle_timeout(cx);
        let Parts { requests, peer, .. } = self.parts();
        if requests.handle_timeout(peer, swarm, cx)? {
            self.refill(swarm, cx);
        }
        Ok(())
    }

    /// The connection is over: takes leave of the ledger.
    pub(crate) fn leave(mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.take_leave(swarm, cx);
        self.uploads.leave(&mut self.outgoing, swarm, cx);
    }

    /// Nothing of it counts in the ledger any more, but for what it asks of us.
    fn take_leave(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        let Parts { requests, peer, .. } = self.parts();
        requests.leave(peer, swarm, cx);
        let availability = &self.peer.availability;
        let counted = availability.is_told().then(|| availability.pieces());
        swarm.remove_peer(self.outgoing.link(), counted);
    }
}
