//! A scripted peer that speaks BitTorrent with manners of a test's choice, good or bad, and
//! remembers what it heard.

mod extensions;
mod hashes;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use self::extensions::Ids;
pub use self::{
    extensions::{Gossip, MetadataManner},
    hashes::HashManner,
};
use super::{
    sample::Sample,
    script::{ConnId, Script, Talk},
};
use crate::{
    base::{
        bitfield::Bitfield,
        geometry::Block,
        ids::{InfoHash, PeerId},
        time::Instant,
    },
    wire::{
        extension::ExtensionHandshake,
        frame::Decoder,
        handshake::{HANDSHAKE_LEN, Handshake, PROTOCOL, Reserved},
        message::Message,
        ut_metadata::MetadataMessage,
    },
};

/// How a [`Remote`] greets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hello {
    /// As the protocol has it.
    #[default]
    Proper,
    /// Not at all.
    Silent,
    /// For another torrent.
    WrongTorrent,
    /// With something that is no handshake.
    Garbage,
}

/// What a [`Remote`] makes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The block.
    Good,
    /// The block with one byte changed.
    Bad,
    /// Nothing.
    Nothing,
    /// A reject (BEP 6).
    Reject,
    /// The block, a byte at a time with this pause after each.
    Dribble(Duration),
}

/// A request that a [`Remote`] got.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// What is asked for.
    pub block: Block,
    /// How many requests it got before, over all connections.
    pub nth: usize,
    /// When it came.
    pub at: Instant,
}

/// What a [`Remote`] heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A connection was made.
    Connected,
    /// The other side's handshake.
    Greeting,
    /// The connection is over.
    Closed,
    /// A keep-alive.
    KeepAlive,
    /// A request.
    Request(Block),
    /// A request taken back.
    Cancel(Block),
    /// That the other side has a piece.
    Have(u32),
    /// Interested.
    Interested,
    /// Not interested.
    NotInterested,
    /// Any other message, or a range outside the torrent.
    Other,
}

/// How a [`Remote`] behaves. The default has nothing and says so, and unchokes at once.
pub struct Manners {
    /// How it greets.
    pub hello: Hello,
    /// Whether it speaks the fast extension (BEP 6).
    pub fast: bool,
    /// The `reqq` of its extension handshake; `None` sends none.
    pub reqq: Option<u32>,
    /// The pieces it claims; `None` says nothing.
    pub has: Option<Bitfield>,
    /// How long after the greeting it unchokes; `None` never does.
    pub unchoke_after: Option<Duration>,
    /// Then it chokes, unchokes and so on, after this time each.
    pub flap: Option<Duration>,
    /// The time it takes for each block, one after the other.
    pub block_time: Duration,
    /// What it makes of each request.
    pub answer: Box<dyn FnMut(Asked) -> Answer + Send>,
    /// The addresses it dials when the world begins.
    pub dials: Vec<SocketAddr>,
    /// How often it says that it is still there.
    pub keep_alive: Option<Duration>,
    /// Whether it offers the info dictionary (BEP 9), and what it makes of requests for it.
    pub metadata: Option<MetadataManner>,
    /// Whether it names other peers (BEP 11), and how.
    pub gossip: Option<Gossip>,
    /// What it makes of requests for hashes of trees, if its torrent has trees.
    pub hashes: HashManner,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            hello: Hello::Proper,
            fast: true,
            reqq: None,
            has: None,
            unchoke_after: Some(Duration::ZERO),
            flap: None,
            block_time: Duration::ZERO,
            answer: Box::new(|_| Answer::Good),
            dials: Vec::new(),
            keep_alive: None,
            metadata: None,
            gossip: None,
            hashes: HashManner::True,
        }
    }
}

impl fmt::Debug for Manners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manners")
            .field("hello", &self.hello)
            .field("fast", &self.fast)
            .finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Remote {
    sample: Arc<Sample>,
    id: PeerId,
    manners: Manners,
    chats: BTreeMap<ConnId, Chat>,
    due: BTreeMap<(Instant, u64), (ConnId, Out)>,
    sequence: u64,
    asked: usize,
    log: Vec<(Instant, ConnId, Heard)>,
}

#[derive(Debug)]
struct Chat {
    heard: Vec<u8>,
    greeted: bool,
    decoder: Decoder,
    /// When it has sent all blocks it was asked for so far.
    free: Instant,
    choking: bool,
    ids: Ids,
}

#[derive(Debug)]
enum Out {
    Choke(bool),
    Block(Block, Answer),
    Rest(VecDeque<u8>, Duration),
    KeepAlive(Duration),
    /// The nth message that names other peers.
    Gossip(u32),
}

impl Remote {
    /// A peer of `sample` with these manners. Its id follows from `name`.
    pub fn new(sample: &Arc<Sample>, name: u8, manners: Manners) -> Self {
        let mut id = *b"-SC0001-remote......";
        id[14..].fill(b'a' + name % 26);
        id[13] = name;
        Self {
            sample: sample.clone(),
            id: PeerId(id),
            manners,
            chats: BTreeMap::new(),
            due: BTreeMap::new(),
            sequence: 0,
            asked: 0,
            log: Vec::new(),
        }
    }

    /// A peer that has everything, with these manners otherwise.
    pub fn seed(sample: &Arc<Sample>, name: u8, manners: Manners) -> Self {
        let has = Bitfield::all(sample.geometry().piece_count());
        Self::new(sample, name, Manners { has: Some(has), ..manners })
    }

    /// Everything it heard, and when.
    pub fn log(&self) -> &[(Instant, ConnId, Heard)] {
        &self.log
    }

    /// When it heard something that `is`, each time.
    pub fn times(&self, is: impl Fn(Heard) -> bool) -> Vec<Instant> {
        self.log.iter().filter(|(_, _, heard)| is(*heard)).map(|(at, _, _)| *at).collect()
    }

    /// The requests it got.
    pub fn requests(&self) -> Vec<Block> {
        let block =
            |heard: &Heard| if let Heard::Request(block) = heard { Some(*block) } else { None };
        self.log.iter().filter_map(|(_, _, heard)| block(heard)).collect()
    }

    /// Connections that it has now.
    pub fn connections(&self) -> usize {
        self.chats.len()
    }

    fn note(&mut self, talk: &Talk<'_>, conn: ConnId, heard: Heard) {
        self.log.push((talk.now(), conn, heard));
    }

    fn later(&mut self, talk: &mut Talk<'_>, after: Duration, conn: ConnId, out: Out) {
        self.sequence += 1;
        self.due.insert((talk.now() + after, self.sequence), (conn, out));
        talk.wake_after(after);
    }

    fn say(talk: &mut Talk<'_>, conn: ConnId, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        talk.send(conn, bytes);
    }

    fn say_extended(talk: &mut Talk<'_>, conn: ConnId, id: u8, payload: &[u8]) {
        Self::say(talk, conn, &Message::Extended { id, payload });
    }

    fn hello(&self) -> Option<Vec<u8>> {
        let Manners { reqq, metadata, gossip, .. } = &self.manners;
        extensions::hello(&self.sample, *reqq, *metadata, gossip.as_ref())
    }

    fn greet(&self, talk: &mut Talk<'_>, conn: ConnId) {
        let mut reserved = Reserved::default();
        if self.manners.fast {
            reserved = reserved.with_fast();
        }
        if self.hello().is_some() {
            reserved = reserved.with_extensions();
        }
        let info_hash = match self.manners.hello {
            Hello::Proper => self.sample.metainfo.info_hash(),
            Hello::WrongTorrent => InfoHash([0xee; 20]),
            Hello::Silent => return,
            Hello::Garbage => {
                let page = b"HTTP/1.1 200 OK\r\n\r\n\
                    welcome to the wrong place, and have a good time!";
                return talk.send(conn, &page[..]);
            }
        };
        talk.send(conn, Handshake { reserved, info_hash, peer_id: self.id }.encode());
    }

    /// What it says once both have greeted.
    fn introduce(&mut self, talk: &mut Talk<'_>, conn: ConnId) {
        if let Some(hello) = self.hello() {
            Self::say_extended(talk, conn, 0, &hello);
        }
        match &self.manners.has {
            Some(has) if has.is_full() && self.manners.fast => {
                Self::say(talk, conn, &Message::HaveAll)
            }
            Some(has) => Self::say(talk, conn, &Message::Bitfield(&has.to_wire())),
            None => {}
        }
        if let Some(after) = self.manners.unchoke_after {
            self.later(talk, after, conn, Out::Choke(false));
        }
        if let Some(every) = self.manners.keep_alive {
            self.later(talk, every, conn, Out::KeepAlive(every));
        }
    }

    fn handle(&mut self, talk: &mut Talk<'_>, conn: ConnId, message: Message<'_>) {
        let geometry = self.sample.geometry();
        let heard = match message {
            Message::KeepAlive => Heard::KeepAlive,
            Message::Interested => Heard::Interested,
            Message::NotInterested => Heard::NotInterested,
            Message::Have(piece) => Heard::Have(piece),
            Message::Request { piece, begin, len } => {
                geometry.range(piece, begin, len).map_or(Heard::Other, Heard::Request)
            }
            Message::Cancel { piece, begin, len } => {
                geometry.range(piece, begin, len).map_or(Heard::Other, Heard::Cancel)
            }
            _ => Heard::Other,
        };
        self.note(talk, conn, heard);
        if let Message::HashRequest(range) = message {
            self.handle_hash_request(talk, conn, range);
        }
        if let Message::Extended { id, payload } = message {
            self.handle_extended(talk, conn, id, payload);
        }
        match heard {
            Heard::Request(block) => {
                self.babble(talk, conn);
                self.handle_request(talk, conn, block);
            }
            Heard::Cancel(block) => {
                let waiting = |out: &Out| matches!(out, Out::Block(b, _) if *b == block);
                let found = self
                    .due
                    .iter()
                    .find(|(_, (c, out))| *c == conn && waiting(out))
                    .map(|(&key, _)| key);
                if found.and_then(|key| self.due.remove(&key)).is_some() && self.manners.fast {
                    Self::say(talk, conn, &reject(block));
                }
            }
            _ => {}
        }
    }

    fn handle_extended(&mut self, talk: &mut Talk<'_>, conn: ConnId, id: u8, payload: &[u8]) {
        let Some(chat) = self.chats.get_mut(&conn) else { return };
        let metadata = self.manners.metadata;
        if id == 0
            && let Ok(hello) = ExtensionHandshake::decode(payload)
        {
            let before = std::mem::replace(&mut chat.ids, Ids::of(&hello));
            let ids = chat.ids;
            if before.pex == 0 && ids.pex > 0 && self.manners.gossip.is_some() {
                self.later(talk, Duration::ZERO, conn, Out::Gossip(0));
            }
            if before.metadata == 0
                && ids.metadata > 0
                && metadata == Some(MetadataManner::Floods)
                && let Some(block) = MetadataManner::Floods.answer(&self.sample, 0)
            {
                Self::say_extended(talk, conn, ids.metadata, &block);
            }
        } else if id == extensions::METADATA_ID
            && let (Some(manner), to) = (metadata, chat.ids.metadata)
            && let Ok(MetadataMessage::Request { block }) = MetadataMessage::decode(payload)
            && let Some(answer) = manner.answer(&self.sample, block)
        {
            Self::say_extended(talk, conn, to, &answer);
        }
    }

    fn tell_of_others(&mut self, talk: &mut Talk<'_>, conn: ConnId, nth: u32) {
        let Some(to) = self.chats.get(&conn).map(|chat| chat.ids.pex) else { return };
        let Some(gossip) = self.manners.gossip.as_ref().filter(|gossip| nth < gossip.messages)
        else {
            return;
        };
        Self::say_extended(talk, conn, to, &gossip.message(nth));
        let pause = gossip.pause;
        self.later(talk, pause, conn, Out::Gossip(nth + 1));
    }

    fn handle_request(&mut self, talk: &mut Talk<'_>, conn: ConnId, block: Block) {
        let Some(chat) = self.chats.get_mut(&conn) else { return };
        if chat.choking {
            if self.manners.fast {
                Self::say(talk, conn, &reject(block));
            }
            return;
        }
        let answer = (self.manners.answer)(Asked { block, nth: self.asked, at: talk.now() });
        self.asked += 1;
        if answer != Answer::Nothing {
            chat.free = chat.free.max(talk.now()) + self.manners.block_time;
            let after = chat.free.since(talk.now());
            self.later(talk, after, conn, Out::Block(block, answer));
        }
    }

    fn send_block(&mut self, talk: &mut Talk<'_>, conn: ConnId, block: Block, answer: Answer) {
        let mut data = self.sample.block(block).to_vec();
        if answer == Answer::Bad
            && let Some(byte) = data.first_mut()
        {
            *byte ^= 1;
        }
        let mut bytes = Vec::new();
        Message::Piece { piece: block.piece.get(), begin: block.begin, data: &data }
            .encode_into(&mut bytes);
        match answer {
            Answer::Reject => Self::say(talk, conn, &reject(block)),
            Answer::Dribble(pause) => self.later(talk, pause, conn, Out::Rest(bytes.into(), pause)),
            _ => talk.send(conn, bytes),
        }
    }

    fn choke(&mut self, talk: &mut Talk<'_>, conn: ConnId, choking: bool) {
        let Some(chat) = self.chats.get_mut(&conn) else { return };
        chat.choking = choking;
        Self::say(talk, conn, if choking { &Message::Choke } else { &Message::Unchoke });
        if choking {
            let pending =
                self.due.extract_if(.., |_, (c, out)| *c == conn && matches!(out, Out::Block(..)));
            for (_, (_, out)) in pending.collect::<Vec<_>>() {
                if let (Out::Block(block, _), true) = (out, self.manners.fast) {
                    Self::say(talk, conn, &reject(block));
                }
            }
        }
        if let Some(after) = self.manners.flap {
            self.later(talk, after, conn, Out::Choke(!choking));
        }
    }
}

fn reject(block: Block) -> Message<'static> {
    Message::Reject { piece: block.piece.get(), begin: block.begin, len: block.len }
}

impl Script for Remote {
    fn connected(&mut self, talk: &mut Talk<'_>, conn: ConnId, _incoming: bool) {
        self.note(talk, conn, Heard::Connected);
        let chat = Chat {
            heard: Vec::new(),
            greeted: false,
            decoder: Decoder::default(),
            free: talk.now(),
            choking: true,
            ids: Ids::default(),
        };
        self.chats.insert(conn, chat);
        self.greet(talk, conn);
    }

    fn data(&mut self, talk: &mut Talk<'_>, conn: ConnId, bytes: &[u8]) {
        let Some(chat) = self.chats.get_mut(&conn) else { return };
        let mut input = bytes;
        if !chat.greeted {
            let take = (HANDSHAKE_LEN - chat.heard.len()).min(bytes.len());
            let (hello, rest) = bytes.split_at(take);
            chat.heard.extend_from_slice(hello);
            if !PROTOCOL.iter().zip(&chat.heard).all(|(want, byte)| want == byte) {
                // It does not know encryption.
                talk.close(conn);
                return self.closed(talk, conn);
            }
            if chat.heard.len() < HANDSHAKE_LEN {
                return;
            }
            chat.greeted = true;
            input = rest;
            self.note(talk, conn, Heard::Greeting);
            if self.manners.hello == Hello::Proper {
                self.introduce(talk, conn);
            }
        }
        let Some(mut decoder) =
            self.chats.get_mut(&conn).map(|chat| std::mem::take(&mut chat.decoder))
        else {
            return;
        };
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => {
                    let Ok(message) = Message::decode(frame) else {
                        panic!("the engine sent a message that cannot be read")
                    };
                    self.handle(talk, conn, message);
                }
                Ok(None) => break,
                Err(error) => panic!("the engine sent a bad frame: {error}"),
            }
        }
        if let Some(chat) = self.chats.get_mut(&conn) {
            chat.decoder = decoder;
        }
    }

    fn closed(&mut self, talk: &mut Talk<'_>, conn: ConnId) {
        self.note(talk, conn, Heard::Closed);
        self.chats.remove(&conn);
        self.due.retain(|_, (c, _)| *c != conn);
    }

    fn tick(&mut self, talk: &mut Talk<'_>) {
        for addr in std::mem::take(&mut self.manners.dials) {
            talk.dial(addr);
        }
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= talk.now()) {
            let (conn, out) = entry.remove();
            match out {
                Out::Choke(choking) => self.choke(talk, conn, choking),
                Out::Block(block, answer) => self.send_block(talk, conn, block, answer),
                Out::Rest(mut bytes, pause) => {
                    if let Some(byte) = bytes.pop_front() {
                        talk.send(conn, [byte]);
                        self.later(talk, pause, conn, Out::Rest(bytes, pause));
                    }
                }
                Out::KeepAlive(every) => {
                    Self::say(talk, conn, &Message::KeepAlive);
                    self.later(talk, every, conn, Out::KeepAlive(every));
                }
                Out::Gossip(nth) => self.tell_of_others(talk, conn, nth),
            }
        }
    }
}
