//! A connected peer of a torrent whose content is not known yet (a magnet link). What the peer says
//! of its pieces is kept as it came, within a bound, and said again to its [`PeerSession`] when the
//! torrent is open. Until then no block is asked of it and none is sent to it. It is told that we
//! are interested as soon as it has anything, since it may give slots in rounds of many seconds.
//!
//! So waits a peer, too, whose torrent is opened anew, if it can be told what was lost (BEP 54).
//!
//! What the peer says of the info dictionary (BEP 9) is left for the torrent, which fetches it from
//! all its peers together.
//!
//! It sees itself and the world; no ledger, since there is none, and no sibling.

use std::{
    mem,
    net::{IpAddr, SocketAddr},
};

use crate::{
    base::{
        arena::Key,
        ids::Version,
        time::Instant,
        timers::{TimerTable, Wakeup},
    },
    proto::{pex::PexHeard, tx::Tx},
    torrent::{
        cx::Cx,
        outbox::Sleeper,
        peer_session::{
            Fault, Greeted, PeerSession, Terms,
            extensions::{Offered, our_handshake},
            peer::Peer,
            told::{Heard, Told},
        },
        progress::Contributor,
        swarm::Swarm,
    },
    wire::{
        extension::{
            ExtensionHandshake, LT_DONTHAVE_ID, UPLOAD_ONLY_ID, UT_METADATA_ID, UT_PEX_ID,
        },
        frame::Decoder,
        message::Message,
        ut_metadata::{MetadataMessage, UT_METADATA},
        ut_pex::{PexFlags, PexMessage},
    },
};

const IDLE: usize = 0;
const KEEP_ALIVE: usize = 1;

/// Requests that are turned down, and blocks that were not asked for, after which a peer is let go.
const MAX_POINTLESS: u32 = 1000;

/// What a peer says of the info dictionary.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OnMetadata {
    /// It has the dictionary, of so many bytes; of none if it does not give it.
    Offer(u64),
    /// A block of it.
    Block {
        /// Its index.
        block: u32,
        /// Bytes of the whole dictionary, as the peer claims.
        total: u32,
        data: Vec<u8>,
    },
    /// It does not give this block.
    Reject(u32),
}

/// Requests and blocks that came although there is no content.
#[derive(Debug, Default)]
struct Pointless {
    count: u32,
    /// Bytes of the blocks, as far as the torrent has not counted them.
    bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PeerBeforeContent {
    link: Key,
    who: Contributor,
    terms: Terms,
    decoder: Decoder,
    tx: Tx,
    /// Messages to be said again, as they came.
    said: Vec<u8>,
    /// What it was told before the torrent was opened anew; `None`: that we have nothing.
    told: Option<Box<Told>>,
    /// What the torrent has not taken yet.
    on_metadata: Vec<OnMetadata>,
    /// What it tells of other peers, and of those what the torrent has not taken yet.
    heard_of: PexHeard,
    named: Vec<(SocketAddr, PexFlags)>,
    /// Under which id the peer wants requests for metadata; 0: under none.
    metadata_id: u8,
    /// We have said that we are interested.
    interested: bool,
    peer_interested: bool,
    peer_choking: bool,
    pointless: Pointless,
    timers: TimerTable<2>,
    wakeup: Wakeup,
    began: Instant,
    heard: Instant,
    /// Something came after its handshake.
    spoke: bool,
}

impl PeerBeforeContent {
    /// A peer whose handshake is over; says that we have nothing.
    pub(crate) fn new(greeted: Greeted, cx: &mut Cx) -> Self {
        let mut peer = Self::silent(greeted, cx);
        let Self { who, terms, .. } = peer;
        if terms.extended {
            let peers = cx.conf.peers.exchange;
            let offered = Offered { metadata: true, metadata_size: None, peers, punches: false };
            let payload = our_handshake(&who, None, offered, cx).encode();
            peer.say(&Message::Extended { id: 0, payload: &payload }, cx);
        }
        if terms.fast {
            // BEP 6 wants one of three messages first, and this one is true.
            peer.say(&Message::HaveNone, cx);
        }
        peer.touch(cx);
        peer
    }

    /// A peer whose torrent is opened anew. What counts of all that it has `said` are these
    /// messages; of the next, the decoder has the beginning.
    pub(super) fn suspended(
        peer: &Peer,
        tx: Tx,
        told: Told,
        (said, decoder): (Vec<u8>, Decoder),
        cx: &mut Cx,
    ) -> Self {
        let (link, who, terms) = (peer.link, peer.who, peer.terms);
        let mut early = Self {
            said,
            told: Some(Box::new(told)),
            decoder,
            metadata_id: peer.extensions.metadata_id(),
            interested: peer.choke.is_interested(),
            peer_interested: peer.choke.says_interested(),
            peer_choking: peer.choke.is_peer_choking(),
            spoke: true,
            ..Self::silent(Greeted { link, who, terms, tx }, cx)
        };
        early.touch(cx);
        early
    }

    /// A peer to which nothing is said yet.
    fn silent(greeted: Greeted, cx: &Cx) -> Self {
        let Greeted { link, who, terms, tx } = greeted;
        let mut peer = Self {
            link,
            who,
            terms,
            decoder: Decoder::new(cx.conf.peers.max_frame),
            tx,
            said: Vec::new(),
            told: None,
            on_metadata: Vec::new(),
            heard_of: PexHeard::default(),
            named: Vec::new(),
            metadata_id: 0,
            interested: false,
            peer_interested: false,
            peer_choking: true,
            pointless: Pointless::default(),
            timers: TimerTable::new(),
            wakeup: Wakeup::default(),
            began: cx.now,
            heard: cx.now,
            spoke: false,
        };
        peer.timers.set(IDLE, cx.now + cx.conf.peers.idle_timeout);
        peer
    }

    pub(crate) fn link(&self) -> Key {
        self.link
    }

    /// When it was connected.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn who(&self) -> Contributor {
        self.who
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn tx(&self) -> &Tx {
        &self.tx
    }

    pub(crate) fn tx_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// When something came last.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// Since when it is connected, if nothing has come after its handshake.
    pub(crate) fn mute_since(&self) -> Option<Instant> {
        (!self.spoke).then_some(self.began)
    }

    pub(crate) fn is_peer_interested(&self) -> bool {
        self.peer_interested
    }

    pub(crate) fn is_peer_choking(&self) -> bool {
        self.peer_choking
    }

    /// Bytes came.
    pub(crate) fn handle_data(&mut self, mut input: &[u8], cx: &mut Cx) -> Result<(), Fault> {
        self.heard = cx.now;
        self.spoke |= !input.is_empty();
        self.timers.set(IDLE, cx.now + cx.conf.peers.idle_timeout);
        let mut decoder = mem::take(&mut self.decoder);
        let result = loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => {
                    if let Err(fault) = self.handle_frame(frame, cx) {
                        break Err(fault);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        self.decoder = decoder;
        result
    }

    fn handle_frame(&mut self, frame: &[u8], cx: &mut Cx) -> Result<(), Fault> {
        let message = Message::decode(frame)?;
        match message {
            Message::KeepAlive | Message::Unknown { .. } => {}
            Message::Port(port) => {
                cx.outbox.note_dht_node(SocketAddr::new(self.who.addr.ip(), port));
            }
            Message::Cancel { .. } => {}
            Message::Choke => self.peer_choking = true,
            Message::Unchoke => self.peer_choking = false,
            Message::Interested => self.peer_interested = true,
            Message::NotInterested => self.peer_interested = false,
            Message::Have(_) => {
                self.keep(frame, cx)?;
                self.show_interest(cx);
            }
            Message::Bitfield(bits) => {
                self.keep(frame, cx)?;
                if bits.iter().any(|&byte| byte != 0) {
                    self.show_interest(cx);
                }
            }
            Message::HaveAll
            | Message::HaveNone
            | Message::AllowedFast(_)
            | Message::Suggest(_) => {
                if !self.terms.fast {
                    return Err(Fault::NotFast);
                }
                let is_seed = matches!(message, Message::HaveAll);
                self.keep(frame, cx)?;
                if is_seed {
                    self.show_interest(cx);
                }
            }
            Message::Request { piece, begin, len } => {
                self.count_pointless()?;
                if self.terms.fast {
                    self.say(&Message::Reject { piece, begin, len }, cx);
                }
            }
            // Nothing was asked for, or it was called off.
            Message::Piece { data, .. } => {
                self.pointless.bytes += data.len() as u64;
                self.count_pointless()?;
            }
            Message::Reject { .. } => self.count_pointless()?,
            Message::HashRequest(range) if self.terms.version == Version::V2 => {
                self.count_pointless()?;
                self.say(&Message::HashReject(range), cx);
            }
            Message::HashRequest(_) | Message::Hashes { .. } | Message::HashReject(_) => {
                self.count_pointless()?;
            }
            Message::Extended { id: 0, payload } => {
                let hello = ExtensionHandshake::decode(payload)?;
                self.handle_offer(&hello);
                self.keep(frame, cx)?;
            }
            Message::Extended { id: UT_METADATA_ID, payload } => {
                self.handle_metadata(MetadataMessage::decode(payload)?, cx);
            }
            Message::Extended { id: UT_PEX_ID, payload } if cx.conf.peers.exchange => {
                // One that cannot be read names no peers, and counts all the same.
                let message = PexMessage::decode(payload).unwrap_or_default();
                let (from, most) = (self.who.addr.ip().to_canonical(), cx.conf.peers.max_named);
                let peers = self.heard_of.handle_message(cx.now, from, &message, most)?;
                self.named.extend(peers);
            }
            Message::Extended { id: LT_DONTHAVE_ID | UPLOAD_ONLY_ID, .. } => {
                self.keep(frame, cx)?;
            }
            Message::Extended { .. } => {}
        }
        Ok(())
    }

    /// A handshake, the first or a later one: what it does not mention has not changed.
    fn handle_offer(&mut self, hello: &ExtensionHandshake) {
        let Some((_, id)) = hello.extensions().find(|&(name, _)| name == UT_METADATA) else {
            return;
        };
        self.metadata_id = id;
        match hello.metadata_size.filter(|_| id != 0) {
            Some(size) => self.on_metadata.push(OnMetadata::Offer(size)),
            None if id == 0 => self.on_metadata.push(OnMetadata::Offer(0)),
            None => {}
        }
    }

    fn handle_metadata(&mut self, message: MetadataMessage<'_>, cx: &mut Cx) {
        match message {
            // BEP 9: who has not all of it gives nothing.
            MetadataMessage::Request { block } if self.metadata_id != 0 => {
                let payload = MetadataMessage::Reject { block }.encode();
                self.say(&Message::Extended { id: self.metadata_id, payload: &payload }, cx);
            }
            MetadataMessage::Data { block, total, data } => {
                let data = data.to_vec();
                self.on_metadata.push(OnMetadata::Block { block, total, data });
            }
            MetadataMessage::Reject { block } => self.on_metadata.push(OnMetadata::Reject(block)),
            MetadataMessage::Request { .. } | MetadataMessage::Unknown { .. } => {}
        }
    }

    /// What the peer has said of the info dictionary since this was called last.
    #[must_use]
    pub(crate) fn take_on_metadata(&mut self) -> Vec<OnMetadata> {
        mem::take(&mut self.on_metadata)
    }

    /// The peers that it has named since this was called last, and who names them.
    #[must_use]
    pub(crate) fn take_named(&mut self) -> (IpAddr, Vec<(SocketAddr, PexFlags)>) {
        (self.who.addr.ip().to_canonical(), mem::take(&mut self.named))
    }

    /// Asks for a block of the info dictionary, which the peer has offered.
    pub(crate) fn request_metadata(&mut self, block: u32, cx: &mut Cx) {
        let payload = MetadataMessage::Request { block }.encode();
        self.say(&Message::Extended { id: self.metadata_id, payload: &payload }, cx);
    }

    fn count_pointless(&mut self) -> Result<(), Fault> {
        self.pointless.count += 1;
        let orders = self.told.as_ref().map_or(0, |told| told.orders);
        let most = MAX_POINTLESS.saturating_add(orders);
        if self.pointless.count > most { Err(Fault::Pointless(most)) } else { Ok(()) }
    }

    /// It has something, and of a torrent of which we have nothing that counts as wanted.
    fn show_interest(&mut self, cx: &mut Cx) {
        if self.told.is_none() && !mem::replace(&mut self.interested, true) {
            self.say(&Message::Interested, cx);
        }
    }

    /// This is said again when there is content.
    fn keep(&mut self, frame: &[u8], cx: &Cx) -> Result<(), Fault> {
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes();
        let limit = cx.conf.peers.max_before_content;
        if self.said.len().saturating_add(len.len() + frame.len()) > limit {
            return Err(Fault::TooMuchBeforeContent(limit));
        }
        self.said.extend_from_slice(&len);
        self.said.extend_from_slice(frame);
        Ok(())
    }

    /// Bytes of blocks that have come since this was called last; all were for nothing.
    #[must_use]
    pub(crate) fn take_wasted(&mut self) -> u64 {
        mem::take(&mut self.pointless.bytes)
    }

    /// So many bytes are on their way. Returns how many of them are of a block that had begun
    /// before the torrent was opened anew.
    #[must_use]
    pub(crate) fn handle_sent(&mut self, bytes: usize, cx: &mut Cx) -> u64 {
        self.tx.handle_sent(bytes, |buf| cx.leases.uploads_mut().give(buf))
    }

    /// The connection is over.
    pub(crate) fn leave(&mut self, cx: &mut Cx) {
        self.tx.clear(|buf| cx.leases.uploads_mut().give(buf));
    }

    /// The wake-up for `at` has come.
    pub(crate) fn handle_timeout(&mut self, at: Instant, cx: &mut Cx) -> Result<(), Fault> {
        if !self.wakeup.fire(at) {
            return Ok(());
        }
        if self.timers.fire(IDLE, cx.now) {
            return Err(Fault::Silent(cx.conf.peers.idle_timeout));
        }
        if self.timers.fire(KEEP_ALIVE, cx.now) {
            self.say(&Message::KeepAlive, cx);
        }
        self.schedule(cx);
        Ok(())
    }

    /// The torrent is open: the peer's session, which hears all that the peer has said. The torrent
    /// knows it by `key`, as this one, of which nothing is left.
    pub(crate) fn begin(
        &mut self,
        key: Key,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<PeerSession, Fault> {
        let tx = mem::take(&mut self.tx);
        let greeted = Greeted { link: self.link, who: self.who, terms: self.terms, tx };
        let mut said = mem::take(&mut self.said);
        if self.peer_interested {
            Message::Interested.encode_into(&mut said);
        }
        if !self.peer_choking {
            Message::Unchoke.encode_into(&mut said);
        }
        // The beginning of a message of which the rest is still to come.
        said.extend_from_slice(self.decoder.begun());
        let heard = Heard { said, told: self.told.take(), interested: self.interested };
        PeerSession::after_content(key, greeted, &heard, swarm, cx)
    }

    fn say(&mut self, message: &Message<'_>, cx: &mut Cx) {
        self.tx.push(message);
        self.touch(cx);
    }

    /// Something is to be sent.
    fn touch(&mut self, cx: &mut Cx) {
        self.timers.set(KEEP_ALIVE, cx.now + cx.conf.peers.keep_alive);
        cx.outbox.flush(self.link);
    }

    /// Sees to it that the engine wakes up for the next deadline.
    pub(crate) fn schedule(&mut self, cx: &mut Cx) {
        if let Some(at) = self.timers.next()
            && self.wakeup.want(at)
        {
            cx.outbox.wake(at, Sleeper::Peer(self.link));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::{
        conf::Conf,
        torrent::peer_session::testing::{self, PIECES, bytes, greeted, leech, seed, world_with},
    };

    const KEY: Key = Key { index: 1, generation: 2 };

    fn peer(fast: bool, cx: &mut Cx) -> PeerBeforeContent {
        let mut greeted = greeted([10, 0, 0, 1]);
        greeted.terms.fast = fast;
        PeerBeforeContent::new(greeted, cx)
    }

    #[test]
    fn what_was_said_counts_as_if_said_later_split_message_included() {
        let mut cx = world_with(Conf::default());
        let mut early = peer(true, &mut cx);
        let said = bytes(&[
            Message::HaveNone,
            Message::Have(3),
            Message::AllowedFast(4),
            Message::Interested,
            Message::Unchoke,
            Message::Have(5),
            Message::Have(6),
        ]);
        let (first, rest) = said.split_at(said.len() - 5);
        early.handle_data(first, &mut cx).unwrap();
        let mut swarm = leech(&mut cx);
        let mut session = early.begin(KEY, &mut swarm, &mut cx).unwrap();
        session.handle_data(rest, &mut swarm, &mut cx).unwrap();
        assert_eq!(session.has().ones().collect::<Vec<_>>(), [3, 5, 6]);
        assert!(
            session.is_interested() && session.is_peer_interested() && !session.is_peer_choking()
        );
    }

    /// What `early` has to send, which counts as sent.
    fn sent(early: &mut PeerBeforeContent, cx: &mut Cx) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = early.tx.poll_transmit(&mut slices, usize::MAX);
        let sent: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter().copied()).collect();
        assert_eq!(early.handle_sent(sent.len(), cx), 0);
        sent
    }

    #[test]
    fn piece_taken_back_before_content_is_lacking_then() {
        let mut cx = world_with(Conf::default());
        let mut early = peer(true, &mut cx);
        let payload = &3u32.to_be_bytes();
        let said = [Message::HaveAll, Message::Extended { id: LT_DONTHAVE_ID, payload }];
        early.handle_data(&bytes(&said), &mut cx).unwrap();
        let mut swarm = leech(&mut cx);
        let session = early.begin(KEY, &mut swarm, &mut cx).unwrap();
        assert!(!session.is_seed() && session.is_interested());
        session.audit(&swarm, &cx.conf).unwrap();
    }

    #[test]
    fn interest_is_told_once_when_the_peer_has_anything() {
        let interested = bytes(&[Message::Interested]);
        let some = [Message::HaveAll, Message::Have(3), Message::Bitfield(&[0, 0, 4])];
        for first in some {
            let mut cx = world_with(Conf::default());
            let mut early = peer(true, &mut cx);
            sent(&mut early, &mut cx);
            early.handle_data(&bytes(&[first]), &mut cx).unwrap();
            assert_eq!(sent(&mut early, &mut cx), interested, "{first:?}");
            early.handle_data(&bytes(&[Message::Have(4)]), &mut cx).unwrap();
            assert_eq!(sent(&mut early, &mut cx), []);
        }
        let mut cx = world_with(Conf::default());
        let mut early = peer(true, &mut cx);
        sent(&mut early, &mut cx);
        let none = [Message::HaveNone, Message::Bitfield(&[0; 125]), Message::AllowedFast(1)];
        early.handle_data(&bytes(&none), &mut cx).unwrap();
        assert_eq!(sent(&mut early, &mut cx), []);
    }

    #[test]
    fn interest_is_taken_back_where_nothing_is_wanted() {
        let mut cx = world_with(Conf::default());
        for (mut swarm, wanted) in [(leech(&mut cx), true), (seed(&mut cx), false)] {
            let mut early = peer(true, &mut cx);
            early.handle_data(&bytes(&[Message::HaveNone, Message::Have(3)]), &mut cx).unwrap();
            sent(&mut early, &mut cx);
            let mut session = early.begin(KEY, &mut swarm, &mut cx).unwrap();
            let told = testing::sent(&mut session);
            if wanted {
                assert_eq!(told, []);
            } else {
                assert!(told.ends_with(&bytes(&[Message::NotInterested])));
            }
            session.audit(&swarm, &cx.conf).unwrap();
        }
    }

    #[test]
    fn piece_beyond_the_end_is_a_fault_when_content_comes() {
        let mut cx = world_with(Conf::default());
        let mut early = peer(true, &mut cx);
        early.handle_data(&bytes(&[Message::Have(PIECES)]), &mut cx).unwrap();
        let mut swarm = leech(&mut cx);
        assert!(matches!(early.begin(KEY, &mut swarm, &mut cx), Err(Fault::Geometry(_))));
    }

    #[test]
    fn peer_that_says_more_than_is_kept_is_let_go() {
        let mut cx = world_with(Conf::default().with(|conf| conf.peers.max_before_content = 27));
        let mut early = peer(false, &mut cx);
        let have = bytes(&[Message::Have(1)]);
        (0..3).for_each(|_| early.handle_data(&have, &mut cx).unwrap());
        // What needs not be kept does not count.
        early.handle_data(&bytes(&[Message::Interested, Message::KeepAlive]), &mut cx).unwrap();
        let fault = early.handle_data(&have, &mut cx);
        assert!(matches!(fault, Err(Fault::TooMuchBeforeContent(27))));
    }

    #[test]
    fn requests_are_turned_down_a_thousand_times_and_no_more() {
        let mut cx = world_with(Conf::default());
        let mut early = peer(true, &mut cx);
        let before = early.tx().len();
        let request = bytes(&[Message::Request { piece: 0, begin: 0, len: 16_384 }]);
        early.handle_data(&request, &mut cx).unwrap();
        assert_eq!(early.tx().len() - before, 17);
        (1..MAX_POINTLESS).for_each(|_| early.handle_data(&request, &mut cx).unwrap());
        assert!(matches!(early.handle_data(&request, &mut cx), Err(Fault::Pointless(_))));
    }

    #[test]
    fn idle_peer_gets_keepalive_then_timeout() {
        let mut cx = world_with(Conf::default());
        let mut early = peer(false, &mut cx);
        early.schedule(&mut cx);
        let before = early.tx().len();
        cx.now = Instant::ZERO + cx.conf.peers.keep_alive;
        early.handle_timeout(cx.now, &mut cx).unwrap();
        assert_eq!(early.tx().len() - before, 4);
        cx.now = Instant::ZERO + cx.conf.peers.idle_timeout;
        assert!(matches!(early.handle_timeout(cx.now, &mut cx), Err(Fault::Silent(_))));
    }
}
