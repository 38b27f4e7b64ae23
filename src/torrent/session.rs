//! One greeted peer: what it has and wants, what we ask of it and it of us. Bytes in, bytes out.
//!
//! It sees itself, the torrent's ledger and the world; never a sibling, a socket or a clock.

#[cfg(any(test, feature = "sim"))]
mod audit;
mod giving;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Duration};

use crate::{
    base::{
        arena::Key,
        bitfield::{Bitfield, BitfieldError, wire_len},
        buf::Buf,
        geometry::{Block, GeometryError, PieceIndex},
        ids::PeerId,
        job::{Job, StoreError, batch_len},
        planted::planted,
        rate::LongMeter,
        time::Instant,
        timers::{TimerTable, Wakeup},
    },
    proto::{
        pipeline::{Arrival, Pipeline},
        tx::{self, Tx},
        uploads::Uploads,
    },
    torrent::{
        cx::{Cx, Owner},
        progress::Contributor,
        session::giving::{Giving, MAX_CHOKED_REQUESTS, MAX_GREEDY},
        slots::Standing,
        swarm::{Asker, Note, Swarm},
    },
    wire::{
        extension::{ExtensionError, ExtensionHandshake, UPLOAD_ONLY_ID},
        frame::{Decoder, FrameError},
        message::{Message, MessageError, PIECE_HEADER_LEN},
    },
};

/// Requests that make no sense, after which a peer is let go.
const MAX_INVALID_REQUESTS: u32 = 300;
/// Blocks that nobody asked for, after which a peer is let go.
const MAX_UNASKED: u32 = 1000;
/// Orders turned down in a row, after which a peer is let go.
const MAX_REJECTS: u32 = 1000;
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

/// Why a peer is let go.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it sent a bad frame: {0}")]
    Frame(#[from] FrameError),
    #[error("it sent a bad message: {0}")]
    Message(#[from] MessageError),
    #[error("it sent {0}")]
    Bitfield(#[from] BitfieldError),
    #[error("it spoke of {0}")]
    Geometry(#[from] GeometryError),
    #[error("its extension handshake is wrong: {0}")]
    Extension(#[from] ExtensionError),
    #[error("it told more than {0} times all that it has")]
    Retold(u32),
    #[error("it uses the fast extension without having agreed to it")]
    NotFast,
    #[error("it made more than {MAX_INVALID_REQUESTS} requests that make no sense")]
    InvalidRequests,
    #[error("it made more than {MAX_CHOKED_REQUESTS} requests while it was choked")]
    ChokedRequests,
    #[error("it asked {MAX_GREEDY} times too often for pieces that it may have while choked")]
    Greedy,
    #[error("it sent or turned down more than {MAX_UNASKED} blocks that nobody asked for")]
    Unasked,
    #[error("it turned down more than {MAX_REJECTS} requests in a row")]
    Rejects,
    #[error("it asks and does not read the answers: {0} bytes are waiting")]
    Backlog(usize),
    #[error("the rest of a block for it cannot be read: {0}")]
    Owed(StoreError),
    #[error("it was silent for {0:?}")]
    Silent(Duration),
    #[error("it sent nothing useful for {0:?}")]
    Useless(Duration),
}

/// The longest frame that a peer of a torrent with so many pieces has a reason to send: a bitfield, a block, or an extension
/// message. What it has begun to send is held in memory, so less is better than [`Conf::max_frame`](crate::Conf::max_frame).
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
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
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
    giving: Giving,
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
    /// Counted among those that fetch.
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
    /// Bytes of blocks that were of use.
    pub(crate) useful: u64,
    pub(crate) uploaded: u64,
    /// How fast useful blocks come from it, and bytes go to it.
    pub(crate) given: LongMeter,
    pub(crate) taken: LongMeter,
    pub(crate) standing: Standing,
    /// When it was greeted.
    pub(crate) began: Instant,
    /// Since when neither wants anything of the other.
    pub(crate) idle_since: Option<Instant>,
    /// It makes room for others and is not to blame.
    pub(crate) let_go: bool,
    pub(crate) client: Option<String>,
    /// It has said what our address is.
    voted: bool,
    /// Where the peer can be dialled, if it has dialled us: by its own word, or since we did and it was the same.
    pub(crate) reach: Option<SocketAddr>,
    /// That candidate counts as busy as long as this session lasts.
    pub(crate) holds: bool,
}

impl Session {
    /// A peer that has just been greeted; says what we have.
    /// `tx` is what the greeting left to be sent.
    pub(crate) fn new(link: Key, who: Contributor, terms: Terms, tx: Tx, swarm: &Swarm, cx: &mut Cx) -> Self {
        let mut session = Self {
            link,
            who,
            terms,
            decoder: Decoder::new(longest_frame(swarm.geometry.piece_count()).min(cx.conf.max_frame)),
            tx,
            pipeline: Pipeline::new(cx.now, &cx.conf),
            uploads: Uploads::default(),
            in_line: false,
            blocked: false,
            giving: Giving::default(),
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
            useful: 0,
            uploaded: 0,
            given: LongMeter::new(cx.now),
            taken: LongMeter::new(cx.now),
            standing: Standing::new(cx.now),
            began: cx.now,
            idle_since: Some(cx.now),
            let_go: false,
            client: None,
            voted: false,
            reach: None,
            holds: false,
        };
        session.timers.set(IDLE, cx.now + cx.conf.idle_timeout);
        session.timers.set(KEEP_ALIVE, cx.now + cx.conf.keep_alive);
        session.introduce(swarm, cx);
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
        if self.terms.extended {
            let payload = self.extension_handshake(swarm.is_upload_only().then_some(true), cx).encode();
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
        let what = match (self.terms.fast, swarm.have.is_empty(), swarm.have.is_full()) {
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

    /// Bytes came.
    pub(crate) fn handle_data(&mut self, mut input: &[u8], swarm: &mut Swarm, cx: &mut Cx) -> Result<(), Fault> {
        self.timers.set(IDLE, cx.now + cx.conf.idle_timeout);
        let mut decoder = std::mem::take(&mut self.decoder);
        let result = loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => {
                    if let Err(fault) =
                        Message::decode(frame).map_err(Fault::from).and_then(|m| self.handle_message(m, swarm, cx))
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
        } else {
            self.refill(swarm, cx);
        }
        self.count_favour(swarm);
        self.want_upload(cx);
        if self.tx.len() > MAX_CONTROL_BACKLOG.saturating_add(cx.conf.max_unsent) {
            return Err(Fault::Backlog(self.tx.len()));
        }
        Ok(())
    }

    fn handle_message(&mut self, message: Message<'_>, swarm: &mut Swarm, cx: &mut Cx) -> Result<(), Fault> {
        match message {
            Message::Piece { piece, begin, data } => self.handle_piece(piece, begin, data, swarm, cx)?,
            Message::KeepAlive | Message::Port(_) | Message::Unknown { .. } => {}
            Message::Choke => self.handle_choke(swarm, cx),
            Message::Unchoke => self.peer_choking = false,
            Message::Interested => self.handle_interest(true, swarm, cx),
            Message::NotInterested => self.handle_interest(false, swarm, cx),
            Message::Have(piece) => self.handle_have(swarm.geometry.piece(piece)?, swarm, cx),
            Message::Bitfield(bits) => {
                self.handle_bitfield(Bitfield::from_wire(bits, swarm.geometry.piece_count())?, swarm, cx)?
            }
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
            Message::Request { piece, begin, len } => self.handle_request(piece, begin, len, swarm, cx)?,
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
                let block = swarm.geometry.range(piece, begin, len)?;
                if self.pipeline.handle_reject(cx.now, block) {
                    self.rejects += 1;
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
            }
            Message::AllowedFast(piece) => {
                self.fast()?;
                if let Ok(piece) = swarm.geometry.piece(piece)
                    && self.allowed.len() < MAX_HINTS
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
                // As long as this connection lasts our address is the same, so whoever says another lies.
                if let Some(ours) = hello.your_ip.filter(|_| !std::mem::replace(&mut self.voted, true)) {
                    cx.external.vote(self.who.addr.ip(), ours);
                }
                self.client = hello.version.or(self.client.take());
                if let Some(port) = hello.port.filter(|_| self.who.incoming && self.reach.is_none()) {
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

    // What it has.

    fn handle_bitfield(&mut self, has: Bitfield, swarm: &mut Swarm, cx: &mut Cx) -> Result<(), Fault> {
        if std::mem::replace(&mut self.told, true) {
            return self.handle_retold(&has, swarm, cx);
        }
        swarm.picker.add_peer(&has);
        self.has = has;
        self.count_wanted(swarm, cx);
        if let Some(ledger) = &mut swarm.super_seed {
            ledger.handle_bitfield(self.link, &self.has);
        }
        self.offer_pieces(swarm, cx);
        Ok(())
    }

    /// A few bytes that make us look through all pieces may come a few times only; a bitfield pays for itself by its length.
    fn retell_cheaply(&mut self) -> Result<(), Fault> {
        self.cheap_retold += u32::from(self.told);
        if self.cheap_retold > RETOLD_AT_START { Err(Fault::Retold(RETOLD_AT_START)) } else { Ok(()) }
    }

    /// BEP 3 wants a bitfield first and only once; aria2 sends another instead of many Haves. What is new in it counts,
    /// and what is missing was not taken back, since nobody can.
    fn handle_retold(&mut self, has: &Bitfield, swarm: &mut Swarm, cx: &mut Cx) -> Result<(), Fault> {
        self.retold += 1;
        // A reason to tell again is a new piece; there is some room for the start.
        let limit = swarm.geometry.piece_count().saturating_add(RETOLD_AT_START);
        if self.retold > limit {
            return Err(Fault::Retold(limit));
        }
        for piece in has.ones() {
            self.handle_have(swarm.geometry.piece(piece)?, swarm, cx);
        }
        Ok(())
    }

    fn handle_have(&mut self, piece: PieceIndex, swarm: &mut Swarm, cx: &mut Cx) {
        let first = !std::mem::replace(&mut self.told, true);
        if self.has.set(piece) {
            swarm.picker.add_piece(piece, &self.has);
            self.forget_suggestion(piece);
            if let Some(ledger) = &mut swarm.super_seed {
                ledger.handle_have(cx.now, self.link, piece);
            }
            if swarm.wants(piece) {
                self.wanted += 1;
                self.show_interest(cx);
            }
        }
        if first {
            self.offer_pieces(swarm, cx);
        }
    }

    /// Recounts what it has that we want: after its bitfield, or when our own pieces or wishes changed at once.
    pub(crate) fn count_wanted(&mut self, swarm: &Swarm, cx: &mut Cx) {
        let geometry = swarm.geometry;
        self.wanted = self.has.ones().filter(|&p| geometry.piece(p).is_ok_and(|p| swarm.wants(p))).count() as u32;
        self.show_interest(cx);
    }

    /// We have `piece` now, which was `wanted` or came although it is not any more.
    pub(crate) fn handle_our_have(&mut self, piece: PieceIndex, wanted: bool, cx: &mut Cx) {
        if self.has.has(piece) {
            self.wanted = self.wanted.saturating_sub(u32::from(wanted));
            self.show_interest(cx);
        } else {
            if planted!("lost_have", piece.get() % 4 != 3, true) {
                self.say(&Message::Have(piece.get()), cx);
            }
            self.offer(piece, cx);
        }
    }

    fn show_interest(&mut self, cx: &mut Cx) {
        let interested = self.wanted > 0;
        if interested != self.interested {
            self.interested = interested;
            self.note_involvement(cx.now);
            self.say(if interested { &Message::Interested } else { &Message::NotInterested }, cx);
        }
    }

    /// Either side's interest may have changed.
    pub(crate) fn note_involvement(&mut self, now: Instant) {
        if self.interested || self.peer_interested {
            self.idle_since = None;
        } else {
            self.idle_since.get_or_insert(now);
        }
    }

    // What we ask of it.

    fn handle_choke(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        self.peer_choking = planted!("choke_ignored", false, true);
        if self.terms.fast {
            // Each order is still answered, but what it began is for others to go on with.
            swarm.disown(self.link, self.who, &mut self.own, cx.now);
        } else {
            // Without BEP 6 a choke means that nothing on order will come; what was on its way already may.
            self.drop_orders(swarm, cx);
        }
    }

    /// Gives up on everything on order and lets others have it.
    fn drop_orders(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        for block in self.pipeline.give_up(&cx.conf) {
            swarm.release(block, cx);
        }
        swarm.disown(self.link, self.who, &mut self.own, cx.now);
    }

    /// Asks for as much as the pipeline takes.
    pub(crate) fn refill(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        let may_ask = self.interested && (!self.peer_choking || !self.allowed.is_empty());
        if may_ask != std::mem::replace(&mut self.fetching, may_ask) {
            cx.fetchers = if may_ask { cx.fetchers + 1 } else { cx.fetchers.saturating_sub(1) };
        }
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
            self.say(&Message::Request { piece: block.piece.get(), begin: block.begin, len: block.len }, cx);
        }
        self.set_snub_timer(cx);
        if may_ask && self.pipeline.is_empty() && (swarm.is_endgame() || cx.memory_short) {
            self.timers.set(STARVED, cx.now + LOOK_AGAIN);
        }
    }

    /// What is wanted has changed: orders for what is skipped now are called off.
    pub(crate) fn handle_new_wishes(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        for block in self.pipeline.cancel_all(|block| swarm.is_skipped(block.piece), &cx.conf) {
            swarm.release(block, cx);
            self.say(&Message::Cancel { piece: block.piece.get(), begin: block.begin, len: block.len }, cx);
        }
        self.count_wanted(swarm, cx);
    }

    /// Somebody else delivered this block.
    pub(crate) fn cancel(&mut self, block: Block, swarm: &mut Swarm, cx: &mut Cx) {
        if self.pipeline.cancel(block, &cx.conf) {
            self.say(&Message::Cancel { piece: block.piece.get(), begin: block.begin, len: block.len }, cx);
            self.refill(swarm, cx);
        }
    }

    fn handle_piece(&mut self, piece: u32, begin: u32, data: &[u8], swarm: &mut Swarm, cx: &mut Cx) -> Result<(), Fault> {
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

    /// We do not read from it for now, because of our own limits: its own, or some that it shares with others.
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
        self.timers.set(IDLE, cx.now + cx.conf.idle_timeout);
        self.set_snub_timer(cx);
    }

    // What it asks of us.

    fn reject(&mut self, block: Block, cx: &mut Cx) {
        if self.terms.fast {
            self.say(&Message::Reject { piece: block.piece.get(), begin: block.begin, len: block.len }, cx);
        }
    }

    /// Lets it ask, or forbids it.
    pub(crate) fn set_choking(&mut self, choking: bool, cx: &mut Cx) {
        if choking == self.choking {
            return;
        }
        self.choking = choking;
        self.say(if choking { &Message::Choke } else { &Message::Unchoke }, cx);
        if choking {
            self.reject_waiting(cx);
        }
    }

    /// Gets in line if there are blocks to be read for it, and most of what was read before is on its way.
    fn want_upload(&mut self, cx: &mut Cx) {
        let owed = self.tx.owed().is_some() && !self.uploads.is_reading();
        if !self.in_line && !self.blocked && (owed || (self.uploads.is_due() && self.tx.len() < LOW_WATER)) {
            self.in_line = true;
            cx.uploads_due.push_back(self.link);
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
            None => self.uploads.poll_batch(cx.conf.max_unsent.min(cx.uploads.room())),
        };
        if !blocks.is_empty() {
            let mut buf = cx.uploads.take(batch_len(&blocks));
            tx::prepare(&blocks, &mut buf);
            swarm.jobs_out += 1;
            cx.job(Job::Read { torrent: swarm.torrent, link: self.link, blocks, buf });
        }
    }

    /// A batch of blocks was read for it.
    pub(crate) fn handle_read(&mut self, mut buf: Buf, result: Result<(), StoreError>, cx: &mut Cx) -> Result<(), Fault> {
        let blocks = self.uploads.handle_read();
        match (blocks, result) {
            (None, Ok(())) => {
                if let Some(buf) = self.tx.fill_owed(buf) {
                    cx.uploads.give(buf);
                }
                self.touch(cx);
            }
            // The beginning of the block is gone already, so it cannot be turned down any more.
            (None, Err(error)) => {
                cx.uploads.give(buf);
                return Err(Fault::Owed(error));
            }
            (Some(blocks), Ok(())) => {
                let wanted = tx::keep_wanted(&blocks, &mut buf);
                if wanted.is_empty() {
                    cx.uploads.give(buf);
                } else {
                    self.tx.push_batch(wanted, buf);
                    self.touch(cx);
                }
            }
            (Some(blocks), Err(error)) => {
                cx.uploads.give(buf);
                log::warn!("{}: {error}", self.who.addr);
                blocks.into_iter().filter(|(_, wanted)| *wanted).for_each(|(block, _)| self.reject(block, cx));
            }
        }
        self.spare_memory(cx);
        self.want_upload(cx);
        Ok(())
    }

    /// So many bytes are on their way.
    pub(crate) fn handle_sent(&mut self, bytes: usize, swarm: &mut Swarm, cx: &mut Cx) {
        let payload = self.tx.handle_sent(bytes, |buf| cx.uploads.give(buf));
        if payload > 0 {
            self.uploaded += payload;
            swarm.counters.up.add(cx.now, payload);
            cx.up.add(cx.now, payload);
            self.taken.add(cx.now, payload);
        }
        self.uploads.handle_sent(self.tx.len(), cx.conf.max_unsent);
        self.count_favour(swarm);
        self.want_upload(cx);
    }

    /// The socket takes bytes, or takes no more for now.
    pub(crate) fn handle_writable(&mut self, writable: bool, cx: &mut Cx) {
        self.blocked = !writable;
        self.spare_memory(cx);
        self.want_upload(cx);
    }

    /// Where memory is tight, blocks that the socket does not take now are given up, to be read again when it does.
    fn spare_memory(&mut self, cx: &mut Cx) {
        if !self.blocked || !cx.uploads.is_tight() || !self.tx.holds_blocks() {
            return;
        }
        let not_begun = self.tx.rewind(|buf| cx.uploads.give(buf));
        if self.choking {
            not_begun.into_iter().for_each(|block| self.reject(block, cx));
        } else {
            self.uploads.push_back(&not_begun);
        }
    }

    // Time.

    /// The next time at which something must happen.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn set_snub_timer(&mut self, cx: &Cx) {
        // A peer that has been snubbing for long is let go even when nothing is on order.
        let patience = self.snubbed_since.filter(|_| !self.pipeline.is_held()).map(|since| since + cx.conf.snub_patience);
        match [self.pipeline.deadline(&cx.conf), patience].into_iter().flatten().min() {
            Some(at) => self.timers.set(SNUB, at),
            None => self.timers.stop(SNUB),
        }
    }

    pub(crate) fn handle_timeout(&mut self, swarm: &mut Swarm, cx: &mut Cx) -> Result<(), Fault> {
        if self.timers.fire(IDLE, cx.now) {
            if self.pipeline.is_held() {
                // It is us who do not listen.
                self.timers.set(IDLE, cx.now + cx.conf.idle_timeout);
                return Ok(());
            }
            return Err(Fault::Silent(cx.conf.idle_timeout));
        }
        if self.timers.fire(KEEP_ALIVE, cx.now) {
            self.say(&Message::KeepAlive, cx);
        }
        if self.timers.fire(SNUB, cx.now) {
            if let Some(blocks) = self.pipeline.handle_timeout(cx.now, &cx.conf) {
                log::debug!("{} is snubbing us; {} orders are given to others", self.who.addr, blocks.len());
                self.snubbed_since.get_or_insert(cx.now);
                blocks.into_iter().for_each(|block| swarm.release(block, cx));
                swarm.disown(self.link, self.who, &mut self.own, cx.now);
                swarm.refill = true;
            }
            if self.snubbed_since.is_some_and(|since| since + cx.conf.snub_patience <= cx.now) {
                return Err(Fault::Useless(cx.conf.snub_patience));
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
        cx.fetchers = cx.fetchers.saturating_sub(usize::from(self.fetching));
        if self.held_with_others {
            swarm.unhold(cx.now);
        }
        if self.told {
            swarm.picker.remove_peer(&self.has);
        }
        if let Some(ledger) = &mut swarm.super_seed {
            ledger.forget(self.link);
        }
        self.tx.clear(|buf| cx.uploads.give(buf));
    }

    fn say(&mut self, message: &Message<'_>, cx: &mut Cx) {
        self.tx.push(message);
        self.touch(cx);
    }

    /// Something is to be sent.
    fn touch(&mut self, cx: &mut Cx) {
        self.timers.set(KEEP_ALIVE, cx.now + cx.conf.keep_alive);
        cx.dirty.insert(self.link);
    }

    /// Sees to it that the engine wakes up for the next deadline.
    pub(crate) fn schedule(&mut self, cx: &mut Cx) {
        if let Some(at) = self.next_deadline()
            && self.wakeup.want(at)
        {
            cx.deadlines.push(at, Owner::Link(self.link));
        }
    }
}
