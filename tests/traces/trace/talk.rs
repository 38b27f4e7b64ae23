//! What is said to peers and by them: blocks to be talked about, bytes in, and bytes out as lines
//! of a log. It knows the wire and no engine but through a trace.

use std::io::IoSlice;

use cratetorrent::wire::{
    frame::Decoder,
    handshake::{HANDSHAKE_LEN, Handshake},
    message::Message,
    metainfo::BLOCK_LEN,
};

use super::{Peer, PeerNo, Trace, truth};

/// A block of the torrent, to be talked about.
pub(crate) struct BlockAt(u32, u32);

pub(crate) fn block(piece: u32, nth: u32) -> BlockAt {
    BlockAt(piece, nth * BLOCK_LEN)
}

impl BlockAt {
    pub(crate) fn request(&self) -> Message<'static> {
        Message::Request { piece: self.0, begin: self.1, len: BLOCK_LEN }
    }

    pub(crate) fn cancel(&self) -> Message<'static> {
        Message::Cancel { piece: self.0, begin: self.1, len: BLOCK_LEN }
    }

    pub(crate) fn reject(&self) -> Message<'static> {
        Message::Reject { piece: self.0, begin: self.1, len: BLOCK_LEN }
    }
}

/// How a request looks in the log.
pub(crate) fn request(piece: u32, nth: u32) -> String {
    format!("request {piece}:{}+{BLOCK_LEN}", nth * BLOCK_LEN)
}

impl Trace {
    pub(crate) fn raw(&mut self, peer: PeerNo, bytes: &[u8]) {
        let stream = self.peers[peer.0].stream;
        self.engine.handle_data(self.now, stream, &mut bytes.to_vec());
        self.settle();
    }

    pub(crate) fn hear(&mut self, peer: PeerNo, message: Message<'_>) {
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        self.raw(peer, &bytes);
    }

    /// The wire's form of a true block.
    pub(crate) fn block_bytes(&self, piece: u32, nth: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let begin = nth * BLOCK_LEN;
        Message::Piece { piece, begin, data: &truth(piece, begin, BLOCK_LEN) }
            .encode_into(&mut bytes);
        bytes
    }

    pub(crate) fn deliver(&mut self, peer: PeerNo, piece: u32, nth: u32) {
        let bytes = self.block_bytes(piece, nth);
        self.raw(peer, &bytes);
    }

    /// Delivers a block with one byte changed.
    pub(crate) fn deliver_bad(&mut self, peer: PeerNo, piece: u32, nth: u32) {
        let mut bytes = self.block_bytes(piece, nth);
        bytes[1000] ^= 1;
        self.raw(peer, &bytes);
    }

    /// What it was told since it was last asked.
    pub(crate) fn said(&mut self, peer: PeerNo) -> Vec<String> {
        std::mem::take(&mut self.peers[peer.0].log)
    }

    /// The blocks that it is asked for and has not been seen asked for, as piece and block; it
    /// forgets everything else said.
    pub(crate) fn take_asked(&mut self, peer: PeerNo) -> Vec<(u32, u32)> {
        let asked = self.asked(peer);
        self.said(peer);
        asked
    }

    pub(crate) fn asked(&self, peer: PeerNo) -> Vec<(u32, u32)> {
        let parse = |line: &String| {
            let (piece, rest) = line.strip_prefix("request ")?.split_once(':')?;
            let begin: u32 = rest.split_once('+')?.0.parse().ok()?;
            Some((piece.parse().ok()?, begin / BLOCK_LEN))
        };
        self.peers[peer.0].log.iter().filter_map(parse).collect()
    }

    /// The piece of a peer's pipeline that was asked for first, as the engine sees it: the lowest
    /// block on order.
    pub(crate) fn first_request(&self, peer: PeerNo) -> u32 {
        self.peers[peer.0].first_asked()
    }

    /// Bytes that wait to be sent to a peer, as far as they can be seen.
    pub(crate) fn waiting(&mut self, peer: PeerNo) -> usize {
        let mut slices = [IoSlice::new(&[]); 4096];
        let used = self.engine.poll_transmit(self.peers[peer.0].stream, &mut slices);
        slices[..used].iter().map(|s| s.len()).sum()
    }

    /// The extended messages that it was sent since it was last asked: ids and payloads.
    pub(crate) fn extended(&mut self, peer: PeerNo) -> Vec<(u8, Vec<u8>)> {
        std::mem::take(&mut self.peers[peer.0].extended)
    }
}

impl Peer {
    /// Reads what was said into the log.
    pub(super) fn read(&mut self) {
        if !self.greeted {
            if self.said.len() < HANDSHAKE_LEN {
                return;
            }
            let hello: Vec<u8> = self.said.drain(..HANDSHAKE_LEN).collect();
            assert!(Handshake::parse(&hello).unwrap().is_some());
            self.greeted = true;
            self.log.push("hello".into());
        }
        let mut decoder = Decoder::new(1 << 20);
        let mut whole = 0;
        let said = std::mem::take(&mut self.said);
        while let Some(len) = said.get(whole..whole + 4) {
            let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
            if said.len() < whole + 4 + len {
                break;
            }
            whole += 4 + len;
        }
        let mut input = &said[..whole];
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            let message = Message::decode(frame).unwrap();
            if let Message::Extended { id, payload } = message {
                self.extended.push((id, payload.to_vec()));
            }
            self.log.push(line(&message));
        }
        self.said = said[whole..].to_vec();
    }

    fn first_asked(&self) -> u32 {
        self.log
            .iter()
            .find_map(|line| line.strip_prefix("request ")?.split_once(':')?.0.parse().ok())
            .expect("nothing was asked for")
    }
}

fn line(message: &Message<'_>) -> String {
    match *message {
        Message::KeepAlive => "keep-alive".into(),
        Message::Choke => "choke".into(),
        Message::Unchoke => "unchoke".into(),
        Message::Interested => "interested".into(),
        Message::NotInterested => "not interested".into(),
        Message::Have(piece) => format!("have {piece}"),
        Message::Bitfield(_) => "bitfield".into(),
        Message::HaveAll => "have all".into(),
        Message::HaveNone => "have none".into(),
        Message::Request { piece, begin, len } => format!("request {piece}:{begin}+{len}"),
        Message::Cancel { piece, begin, len } => format!("cancel {piece}:{begin}+{len}"),
        Message::Reject { piece, begin, len } => format!("reject {piece}:{begin}+{len}"),
        Message::Piece { piece, begin, data } => {
            let good = data == truth(piece, begin, data.len() as u32);
            format!("piece {piece}:{begin}+{} {}", data.len(), if good { "good" } else { "bad" })
        }
        Message::Extended { id, .. } => format!("extended {id}"),
        Message::AllowedFast(piece) => format!("allowed fast {piece}"),
        Message::Suggest(piece) => format!("suggest {piece}"),
        ref other => format!("{other:?}"),
    }
}
