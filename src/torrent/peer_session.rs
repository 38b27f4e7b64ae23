//! One greeted peer: what it has and wants, what we ask of it and it of us. Bytes in, bytes out.
//!
//! It sees itself, the torrent's ledger and the world; never a sibling, a socket or a clock.

#[cfg(any(test, feature = "sim"))]
mod audit;
mod availability;
mod before_content;
mod fault;
mod offers;
mod requests;
#[cfg(test)]
mod tests;
mod uploads;

use std::{net::SocketAddr, time::Duration};

pub(crate) use self::{
    before_content::{OnMetadata, PeerBeforeContent},
    fault::Fault,
};
use crate::{
    base::{
        arena::Key,
        bitfield::{Bitfield, wire_len},
        geometry::PieceIndex,
        ids::PeerId,
        rate::LongMeter,
        time::Instant,
        timers::{TimerTable, Wakeup},
    },
    proto::{pipeline::Pipeline, tx::Tx, uploads::Uploads},
    torrent::{
        cx::Cx,
        outbox::Sleeper,
        peer_session::offers::{Offers, our_handshake},
        progress::Contributor,
        slots::Standing,
        swarm::{Note, Swarm},
    },
    wire::{
        extension::{ExtensionHandshake, UPLOAD_ONLY_ID},
        frame::Decoder,
        message::{Message, PIECE_HEADER_LEN},
    },
};

/// Allowed-fast and suggested pieces remembered of a peer.
const MAX_HINTS: usize = 16;
/// Bitfields after the first, beyond one a piece, after which a peer is let go.
const RETOLD_AT_START: u32 = 8;
/// Bytes that may wait for a peer which asks without reading.
const MAX_CONTROL_BACKLOG: usize = 1 << 20;

/// Bytes still to be sent below which the next blocks are read.
const LOW_WATER: usize = 16 * 1024;

/// The longest extension message, and more than a block with its header.
const MAX_EXTENSION_FRAME: u32 = 64 * 1024 + 2;
/// The id of a piece message (BEP 3).
const PIECE: u8 = 7;

const IDLE: usize = 0;
const KEEP_ALIVE: usize = 1;
const SNUB: usize = 2;
const STARVED: usize = 3;

/// How soon a peer with nothing to do looks again whether it can help others.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The longest frame that a peer of a torrent with so many pieces has a reason to send: a bitfield,
/// a block, or an extension message. What it has begun to send is held in memory, so less is better
/// than [`PeerConf::max_frame`](crate::conf::PeerConf::max_frame).
fn longest_frame(pieces: u32) -> u32 {
    let bitfield = u32::try_from(wire_len(pieces)).unwrap_or(u32::MAX).saturating_add(1);
    bitfield.max(MAX_EXTENSION_FRAME)
}

/// What was agreed in the greeting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) peer_id: PeerId,
    pub(crate) fast: bool,
    pub(crate) extended: bool,
    /// It has a DHT node (BEP 5).
    pub(crate) dht: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PeerSession {
    pub(crate) link: Key,
    pub(crate) who: Contributor,
    pub(crate) terms: Terms,
    decoder: Decoder,
    pub(crate) tx: Tx,
    pub(crate) pipeline: Pipeline,
    uploads: Uploads,
    /// Waits for its turn to have blocks read.
    in_line: bool,
    /// Its socket takes no more for now.
    blocked: bool,
    offers: Offers,
    pub(crate) has: Bitfield,
    /// It has told what it has.
    told: bool,
    /// How often it told that again.
    retold: u32,
    /// How often of those by HaveAll or HaveNone.
    cheap_retold: u32,
    /// Pieces that it has and we want.
    wanted: u32,
    pub(crate) interested: bool,
    pub(crate) choking: bool,
    pub(crate) peer_interested: bool,
    pub(crate) peer_choking: bool,
    /// Counted among those that fetch: it has something for us, and we may ask for it.
    fetching: bool,
    own: Vec<PieceIndex>,
    allowed: Vec<PieceIndex>,
    suggested: Vec<PieceIndex>,
    timers: TimerTable<4>,
    pub(crate) wakeup: Wakeup,
    snubbed_since: Option<Instant>,
    /// It is held back by a limit that it shares with others.
    held_with_others: bool,
    invalid_requests: u32,
    unasked: u32,
    rejects: u32,
    /// What was on order when it choked last, as far as there was no answer: that is to be turned
    /// down (BEP 6), and counts as one.
    choked_orders: usize,
    choke_counted: bool,
    unread: u32,
    /// Bytes of blocks that were of use.
    pub(crate) useful: u64,
    pub(crate) uploaded: u64,
    /// How fast useful blocks come from it, and bytes go to it.
    pub(crate) given: LongMeter,
    pub(crate) taken: LongMeter,
    pub(crate) standing: Standing,
    /// When it was greeted, and when something came from it last.
    pub(crate) began: Instant,
    pub(crate) heard: Instant,
    /// Something came after its handshake.
    spoke: bool,
    /// Since when neither wants anything of the other.
    pub(crate) idle_since: Option<Instant>,
    /// It makes room for others and is not to blame.
    pub(crate) let_go: bool,
    pub(crate) client: Option<String>,
    /// It has said what our address is.
    voted: bool,
    /// Where the peer can be dialled, if it has dialled us: by its own word, or since we did and
    /// it was the same.
    pub(crate) reach: Option<SocketAddr>,
    /// That candidate counts as busy as long as this session lasts.
    pub(crate) holds: bool,
}

impl PeerSession {
    /// A peer that has just been greeted; says what we have.
    /// `tx` is what the greeting left to be sent.
    pub(crate) fn new(
        link: Key,
        who: Contributor,
        terms: Terms,
        tx: Tx,
        swarm: &Swarm,
        cx: &mut Cx,
    ) -> Self {
        let mut session = Self::silent(link, who, terms, tx, swarm, cx);
        session.introduce(swarm, cx);
        session
    }

    /// A peer that was connected before there was content, and knows us as a peer that has nothing.
    fn after_content(
        link: Key,
        who: Contributor,
        terms: Terms,
        tx: Tx,
        swarm: &Swarm,
        cx: &mut Cx,
    ) -> Self {
        let mut session = Self::silent(link, who, terms, tx, swarm, cx);
        // Only the first message may be a bitfield (BEP 3).
        for piece in swarm.have.ones() {
            session.say(&Message::Have(piece), cx);
        }
        session
    }

    fn silent(
        link: Key,
        who: Contributor,
        terms: Terms,
        tx: Tx,
        swarm: &Swarm,
        cx: &mut Cx,
    ) -> Self {
        let mut session = Self {
            link,
            who,
            terms,
            decoder: Decoder::new(
                longest_frame(swarm.geometry.piece_count()).min(cx.conf.peers.max_frame),
            ),
            tx,
            pipeline: Pipeline::new(cx.now, &cx.conf),
            uploads: Uploads::default(),
            in_line: false,
            blocked: false,
            offers: Offers::default(),
            has: Bitfield::none(swarm.geometry.piece_count()),
            told: false,
            retold: 0,
            cheap_retold: 0,
            wanted: 0,
            interested: false,
            choking: true,
            peer_interested: false,
            peer_choking: true,
            fetching: false,
            own: Vec::new(),
            allowed: Vec::new(),
            suggested: Vec::new(),
            timers: TimerTable::new(),
            wakeup: Wakeup::default(),
            snubbed_since: None,
            held_with_others: false,
            invalid_requests: 0,
            unasked: 0,
            rejects: 0,
            choked_orders: 0,
            choke_counted: false,
            unread: 0,
            useful: 0,
            uploaded: 0,
            given: LongMeter::new(cx.now),
            taken: LongMeter::new(cx.now),
            standing: Standing::new(cx.now, who.addr.ip()),
            began: cx.now,
            heard: cx.now,
            spoke: false,
            idle_since: Some(cx.now),
            let_go: false,
            client: None,
            voted: false,
            reach: None,
            holds: false,
        };
        session.timers.set(IDLE, cx.now + cx.conf.peers.idle_timeout);
        session.timers.set(KEEP_ALIVE, cx.now + cx.conf.peers.keep_alive);
        session
    }

    /// Whether it has everything.
    pub(crate) fn is_seed(&self) -> bool {
        self.has.is_full()
    }

    pub(crate) fn is_snubbed(&self) -> bool {
        self.pipeline.is_snubbed()
    }

    /// Whether one side wants something of the other and may ask for it.
    pub(crate) fn may_exchange(&self) -> bool {
        (self.interested && !self.peer_choking) || (self.peer_interested && !self.choking)
    }

    /// Whether it has not delivered what it was asked for last: it was silent, or turned it down.
    pub(crate) fn is_reluctant(&self) -> bool {
        self.pipeline.is_snubbed() || self.rejects > 0
    }

    fn introduce(&mut self, swarm: &Swarm, cx: &mut Cx) {
        self.say_pieces(swarm, cx);
        // Behind what there is, which must come first (BEP 3).
        let port = cx.leases.ports().towards(self.who.addr.ip());
        if let Some(port) = port.filter(|_| self.terms.dht && cx.conf.dht.enabled) {
            self.say(&Message::Port(port), cx);
        }
    }

    /// What we have, in the words that the peer knows.
    fn say_pieces(&mut self, swarm: &Swarm, cx: &mut Cx) {
        if self.terms.extended {
            let payload =
                our_handshake(&self.who, swarm.is_upload_only().then_some(true), cx).encode();
            self.say(&Message::Extended { id: 0, payload: &payload }, cx);
        }
        if swarm.super_seed.is_some() {
            self.hide_all(swarm.geometry.piece_count());
            if self.terms.fast {
                self.say(&Message::HaveNone, cx);
            }
            return;
        }
        let bits;
        let what = match (self.terms.fast, swarm.have.is_clear(), swarm.have.is_full()) {
            (true, true, _) => Message::HaveNone,
            (true, _, true) => Message::HaveAll,
            (false, true, _) => return,
            _ => {
                bits = swarm.have.to_wire();
                Message::Bitfield(&bits)
            }
        };
        self.say(&what, cx);
    }

    /// Since when it is connected, if nothing has come after its handshake.
    pub(crate) fn mute_since(&self) -> Option<Instant> {
        (!self.spoke).then_some(self.began)
    }

    /// Bytes came.
    pub(crate) fn handle_data(
        &mut self,
        mut input: &[u8],
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        self.heard = cx.now;
        self.spoke |= !input.is_empty();
        self.timers.set(IDLE, cx.now + cx.conf.peers.idle_timeout);
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
            self.pipeline.handle_partial(cx.now);
        }
        self.decoder = decoder;
        result?;
        if self.is_reluctant() {
            // Others first: what it turned down would come back to it at once.
            swarm.refill = true;
            self.count_fetching(swarm, cx);
        } else {
            self.refill(swarm, cx);
        }
        self.count_favour(swarm);
        self.want_upload(cx);
        if self.tx.len() > MAX_CONTROL_BACKLOG.saturating_add(cx.conf.uploads.max_unsent) {
            return Err(Fault::Backlog(self.tx.len()));
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
                self.handle_piece(piece, begin, data, swarm, cx)?
            }
            Message::KeepAlive | Message::Unknown { .. } => {}
            Message::Port(port) => {
                cx.outbox.note_dht_node(SocketAddr::new(self.who.addr.ip(), port));
            }
            Message::Choke => self.handle_choke(swarm, cx),
            Message::Unchoke => self.peer_choking = false,
            Message::Interested => self.handle_interest(true, swarm, cx),
            Message::NotInterested => self.handle_interest(false, swarm, cx),
            Message::Have(piece) => self.handle_have(swarm.geometry.piece(piece)?, swarm, cx),
            Message::Bitfield(bits) => self.handle_bitfield(
                Bitfield::from_wire(bits, swarm.geometry.piece_count())?,
                swarm,
                cx,
            )?,
            Message::HaveAll => {
                self.fast()?;
                self.retell_cheaply()?;
                self.handle_bitfield(Bitfield::all(swarm.geometry.piece_count()), swarm, cx)?;
            }
            Message::HaveNone => {
                self.fast()?;
                self.retell_cheaply()?;
                self.handle_bitfield(Bitfield::none(swarm.geometry.piece_count()), swarm, cx)?;
            }
            Message::Request { piece, begin, len } => {
                self.handle_request(piece, begin, len, swarm, cx)?
            }
            Message::Cancel { piece, begin, len } => {
                if let Ok(block) = swarm.geometry.range(piece, begin, len)
                    && self.uploads.cancel(block)
                {
                    // BEP 6: every request is answered, a cancelled one too.
                    self.reject(block, cx);
                }
            }
            Message::Reject { piece, begin, len } => {
                self.fast()?;
                self.handle_reject(swarm.geometry.range(piece, begin, len)?, swarm, cx)?;
            }
            Message::AllowedFast(piece) => {
                self.fast()?;
                if let Ok(piece) = swarm.geometry.piece(piece)
                    && self.allowed.len() < MAX_HINTS
                    && !swarm.have.has(piece)
                    && !self.allowed.contains(&piece)
                {
                    self.allowed.push(piece);
                }
            }
            Message::Suggest(piece) => {
                self.fast()?;
                if let Ok(piece) = swarm.geometry.piece(piece) {
                    if self.suggested.len() >= MAX_HINTS {
                        self.suggested.remove(0);
                    }
                    self.suggested.push(piece);
                }
            }
            Message::Extended { id: 0, payload } => {
                let hello = ExtensionHandshake::decode(payload)?;
                self.handle_wishes(&hello, swarm);
                if let Some(reqq) = hello.reqq {
                    self.pipeline.set_cap(reqq, &cx.conf);
                }
                // As long as this connection lasts our address is the same, so a peer that says
                // another lies.
                if let Some(ours) =
                    hello.your_ip.filter(|_| !std::mem::replace(&mut self.voted, true))
                {
                    cx.leases.external_mut().vote(self.who.addr.ip(), ours);
                }
                self.client = hello.version.or(self.client.take());
                if let Some(port) = hello.port.filter(|_| self.who.incoming && self.reach.is_none())
                {
                    let addr = SocketAddr::new(self.who.addr.ip(), port);
                    self.reach = Some(addr);
                    swarm.notes.push_back(Note::Reach(self.link, addr));
                }
            }
            Message::Extended { id: UPLOAD_ONLY_ID, payload } => {
                if let [flag] = payload {
                    self.handle_upload_only(*flag != 0, swarm);
                }
            }
            Message::Extended { .. } => {}
        }
        Ok(())
    }

    fn fast(&self) -> Result<(), Fault> {
        if self.terms.fast { Ok(()) } else { Err(Fault::NotFast) }
    }

    // Time.

    /// The next time at which something must happen.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, swarm: &mut Swarm, cx: &mut Cx) -> Result<(), Fault> {
        if self.timers.fire(IDLE, cx.now) {
            if self.pipeline.is_held() {
                // It is us who do not listen.
                self.timers.set(IDLE, cx.now + cx.conf.peers.idle_timeout);
                return Ok(());
            }
            return Err(Fault::Silent(cx.conf.peers.idle_timeout));
        }
        if self.timers.fire(KEEP_ALIVE, cx.now) {
            self.say(&Message::KeepAlive, cx);
        }
        if self.timers.fire(SNUB, cx.now) {
            if let Some(blocks) = self.pipeline.handle_timeout(cx.now, &cx.conf) {
                log::debug!(
                    "{} is snubbing us; {} orders are given to others",
                    self.who.addr,
                    blocks.len()
                );
                self.snubbed_since.get_or_insert(cx.now);
                blocks.into_iter().for_each(|block| swarm.release(block, cx));
                swarm.disown(self.link, self.who, &mut self.own, cx.now);
                swarm.refill = true;
            }
            if self
                .snubbed_since
                .is_some_and(|since| since + cx.conf.requests.snub_patience <= cx.now)
            {
                return Err(Fault::Useless(cx.conf.requests.snub_patience));
            }
            self.set_snub_timer(cx);
        }
        if self.timers.fire(STARVED, cx.now) {
            self.refill(swarm, cx);
        }
        Ok(())
    }

    /// Says goodbye to the ledger.
    pub(crate) fn leave(mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.drop_orders(swarm, cx);
        self.forget_favour(swarm);
        if self.fetching {
            cx.leases.count_fetcher(false);
        }
        if self.held_with_others {
            swarm.unhold(cx.now);
        }
        if self.told {
            swarm.picker.remove_peer(&self.has);
        }
        if let Some(ledger) = &mut swarm.super_seed {
            ledger.forget(self.link);
        }
        self.tx.clear(|buf| cx.leases.uploads_mut().give(buf));
    }

    /// Under a limit blocks may wait long; what is said does not wait behind them.
    fn say(&mut self, message: &Message<'_>, cx: &mut Cx) {
        if cx.leases.is_up_limited() {
            self.tx.push_urgent(message);
        } else {
            self.tx.push(message);
        }
        self.touch(cx);
    }

    /// Something is to be sent.
    fn touch(&mut self, cx: &mut Cx) {
        self.timers.set(KEEP_ALIVE, cx.now + cx.conf.peers.keep_alive);
        cx.outbox.flush(self.link);
    }

    /// Sees to it that the engine wakes up for the next deadline.
    pub(crate) fn schedule(&mut self, cx: &mut Cx) {
        if let Some(at) = self.next_deadline()
            && self.wakeup.want(at)
        {
            cx.outbox.wake(at, Sleeper::Peer(self.link));
        }
    }
}
