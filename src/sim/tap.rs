//! The peer protocol as an eavesdropper reads it: one direction of a connection, bytes to words, in
//! pieces of any size.
//!
//! It is deliberately not the engine's own [`Decoder`](crate::wire::frame::Decoder), so that what
//! that gets wrong shows. It knows no rules; those are the [invariants](super::invariants).

use crate::wire::{
    handshake::{HANDSHAKE_LEN, Handshake},
    message::Message,
};

/// Longer frames are taken for garbage.
const MAX_FRAME: usize = 4 << 20;
/// Bytes of a frame's length.
const LEN: usize = 4;
/// Bytes of a block's frame before its data, and its id.
const PIECE_HEADER: usize = 13;
const PIECE: u8 = 7;

/// Something that was said.
#[derive(Debug)]
pub(super) enum Word<'a> {
    Greeting(Handshake),
    Message(Message<'a>),
    /// Nothing that the protocol knows; what follows is not read.
    Garbage,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tap {
    greeted: bool,
    lost: bool,
    carry: Vec<u8>,
    payload: u64,
}

impl Tap {
    /// Bytes of blocks so far, those of a frame that is not whole included.
    pub(super) fn payload(&self) -> u64 {
        self.payload
    }

    /// Whether what came last has not come whole.
    pub(super) fn is_amid(&self) -> bool {
        !self.carry.is_empty()
    }

    /// Whether it cannot be read any more.
    #[cfg(test)]
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Reads on.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut word: impl FnMut(Word<'_>)) {
        while !bytes.is_empty() && !self.lost {
            let used = if self.greeted {
                self.frame(bytes, &mut word)
            } else {
                self.greeting(bytes, &mut word)
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    fn greeting(&mut self, bytes: &[u8], word: &mut impl FnMut(Word<'_>)) -> usize {
        let take = HANDSHAKE_LEN.saturating_sub(self.carry.len()).min(bytes.len());
        self.carry.extend(bytes.iter().take(take));
        match Handshake::parse(&self.carry) {
            Ok(None) => {}
            Ok(Some((handshake, _))) => {
                self.greeted = true;
                self.carry.clear();
                word(Word::Greeting(handshake));
            }
            Err(_) => self.lose(word),
        }
        take
    }

    fn frame(&mut self, bytes: &[u8], word: &mut impl FnMut(Word<'_>)) -> usize {
        if self.carry.is_empty()
            && let Some(len) = frame_len(bytes)
            && let Some(frame) = bytes.get(LEN..LEN.saturating_add(len))
        {
            self.count(&bytes[..LEN + len], 0);
            self.deliver(frame, word);
            return LEN + len;
        }
        let before = self.carry.len();
        let whole = frame_len(&self.carry).map_or(LEN, |len| LEN.saturating_add(len));
        let take = (whole - before).min(bytes.len());
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend(bytes.iter().take(take));
        self.count(&carry, before);
        match frame_len(&carry) {
            Some(len) if len > MAX_FRAME => self.lose(word),
            Some(len) if carry.len() == LEN + len => {
                self.deliver(&carry[LEN..], word);
                carry.clear();
                self.carry = carry;
            }
            _ => self.carry = carry,
        }
        take
    }

    /// Of `frame`, the first `before` bytes were counted.
    fn count(&mut self, frame: &[u8], before: usize) {
        if frame.get(LEN) == Some(&PIECE) {
            self.payload += (frame.len().saturating_sub(PIECE_HEADER)
                - before.saturating_sub(PIECE_HEADER)) as u64;
        }
    }

    fn deliver(&mut self, frame: &[u8], word: &mut impl FnMut(Word<'_>)) {
        match Message::decode(frame) {
            Ok(message) => word(Word::Message(message)),
            Err(_) => self.lose(word),
        }
    }

    fn lose(&mut self, word: &mut impl FnMut(Word<'_>)) {
        self.lost = true;
        self.carry = Vec::new();
        word(Word::Garbage);
    }
}

fn frame_len(bytes: &[u8]) -> Option<usize> {
    let (len, _) = bytes.split_first_chunk::<LEN>()?;
    Some(u32::from_be_bytes(*len) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::ids::{InfoHash, PeerId},
        wire::handshake::Reserved,
    };

    #[test]
    fn tap_reads_the_same_however_bytes_are_cut() {
        let greeting = Handshake {
            reserved: Reserved::default(),
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
        };
        let mut stream = greeting.encode().to_vec();
        Message::KeepAlive.encode_into(&mut stream);
        Message::Have(7).encode_into(&mut stream);
        Message::Piece { piece: 1, begin: 2, data: &[9; 100] }.encode_into(&mut stream);
        Message::Unchoke.encode_into(&mut stream);
        let read = |size: usize| {
            let (mut tap, mut words, mut payload) = (Tap::default(), Vec::new(), Vec::new());
            for part in stream.chunks(size) {
                tap.take(part, |word| words.push(format!("{word:?}")));
                payload.push(tap.payload());
            }
            assert!(payload.is_sorted() && tap.payload() == 100 && !tap.is_lost());
            words
        };
        let whole = read(stream.len());
        assert_eq!(whole.len(), 5);
        assert!((1..40).all(|size| read(size) == whole));
        // Of a block that is half there, half is counted.
        let mut tap = Tap::default();
        tap.take(&stream[..stream.len() - 5 - 40], |_| {});
        assert_eq!(tap.payload(), 60);
    }

    #[test]
    fn garbage_is_told_once() {
        let (mut tap, mut words) = (Tap::default(), 0);
        for part in b"HTTP/1.1 200 OK\r\n\r\n".chunks(3) {
            tap.take(part, |word| words += usize::from(matches!(word, Word::Garbage)));
        }
        assert!(tap.is_lost() && words == 1);
    }
}
