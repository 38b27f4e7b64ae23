//! What happens on a connection before two peers talk: steps that each have the stream to
//! themselves and hand it on, and the handshake (BEP 3), which is always the last.
//!
//! A proxy's greeting or an encrypted handshake is such a step. What comes after one sees only
//! bytes: what a step has agreed on is applied to them before.

use std::collections::VecDeque;

use super::{
    cipher::{Cipher, Ciphers},
    handshake::HandshakeExchange,
    preamble::{Agreed, Passed, Preamble, PreambleCx, PreambleError},
};
use crate::{
    base::{ids::InfoHash, job::key_exchange::KeyExchange},
    conf::CryptoMethod,
    wire::handshake::Handshake,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Preambles {
    before: VecDeque<Box<dyn Preamble>>,
    handshake: HandshakeExchange,
    /// What was agreed on, if the connection is encrypted.
    method: Option<CryptoMethod>,
    incoming: Option<Box<dyn Cipher>>,
}

impl Preambles {
    /// We connected, to talk about `info_hash`, or about the same torrent by its hash `upgrade`;
    /// `before` comes before the handshake.
    pub(crate) fn outgoing(
        info_hash: InfoHash,
        upgrade: Option<InfoHash>,
        before: Vec<Box<dyn Preamble>>,
    ) -> Self {
        Self::new(HandshakeExchange::outgoing(info_hash, upgrade), before)
    }

    /// A peer connected to us.
    pub(crate) fn incoming(before: Vec<Box<dyn Preamble>>) -> Self {
        Self::new(HandshakeExchange::incoming(), before)
    }

    fn new(handshake: HandshakeExchange, before: Vec<Box<dyn Preamble>>) -> Self {
        Self { before: before.into(), handshake, method: None, incoming: None }
    }

    /// Takes in what arrived, and deciphers it where it lies. The peer's handshake once it is
    /// whole, and how many of `data` belonged to it and what came before it.
    pub(crate) fn handle_data(
        &mut self,
        data: &mut [u8],
        cx: &mut PreambleCx<'_>,
    ) -> Result<Option<(Handshake, usize)>, PreambleError> {
        if let Some(cipher) = &mut self.incoming {
            cipher.apply(data);
        }
        let mut at = 0;
        while let Some(step) = self.before.front_mut() {
            let Some(Passed { used, early, agreed }) =
                step.handle_data(data.get_mut(at..).unwrap_or_default(), cx)?
            else {
                return Ok(None);
            };
            at += used;
            self.before.pop_front();
            // Less than a handshake has.
            let _ = self.handshake.handle_data(&early)?;
            if let Some(Agreed { torrent, method, ciphers: Ciphers { incoming, outgoing } }) =
                agreed
            {
                self.handshake.expect(torrent);
                self.method = Some(method);
                if let Some(incoming) = incoming {
                    self.incoming.insert(incoming).apply(data.get_mut(at..).unwrap_or_default());
                }
                if let Some(outgoing) = outgoing {
                    cx.tx.seal_with(outgoing);
                }
            }
        }
        let handshake = self.handshake.handle_data(data.get(at..).unwrap_or_default())?;
        Ok(handshake.map(|(handshake, used)| (handshake, at + used)))
    }

    /// What is to be computed, elsewhere since it takes long.
    #[must_use]
    pub(crate) fn poll_exchange(&mut self) -> Option<Box<KeyExchange>> {
        self.before.front_mut()?.poll_exchange()
    }

    /// It was computed.
    pub(crate) fn handle_exchange(
        &mut self,
        exchange: &KeyExchange,
        cx: &mut PreambleCx<'_>,
    ) -> Result<(), PreambleError> {
        match self.before.front_mut() {
            Some(step) => step.handle_exchange(exchange, cx),
            None => Ok(()),
        }
    }

    /// How the connection is encrypted, if it is.
    pub(crate) fn method(&self) -> Option<CryptoMethod> {
        self.method
    }

    /// Whether we have begun to encrypt: in plain nothing is said before the handshake.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_encrypted(&self) -> bool {
        self.method.is_some() || !self.before.is_empty()
    }

    /// Whether the peer has said nothing yet that it would say only if it speaks as we do.
    pub(crate) fn is_fruitless(&self) -> bool {
        self.method.is_none() && self.handshake.is_unheard()
    }

    /// What everything after the handshake is to be deciphered with.
    pub(crate) fn take_cipher(&mut self) -> Option<Box<dyn Cipher>> {
        self.incoming.take()
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::{
        base::ids::PeerId,
        proto::{handshake, preamble::TorrentMarks, tx::Tx},
        wire::handshake::HANDSHAKE_LEN,
    };

    const HASH: InfoHash = InfoHash([7; 20]);

    /// Adds a number to each byte that grows with its place in the stream.
    #[derive(Debug, Default)]
    struct Count(u8);

    impl Cipher for Count {
        fn apply(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte ^= self.0;
                self.0 = self.0.wrapping_add(1);
            }
        }
    }

    /// Says "hello" and hears a word of four bytes, then begins to encipher.
    #[derive(Debug, Default)]
    struct Greeting {
        said: bool,
        heard: usize,
        enciphers: bool,
    }

    impl Preamble for Greeting {
        fn handle_data(
            &mut self,
            data: &mut [u8],
            cx: &mut PreambleCx<'_>,
        ) -> Result<Option<Passed>, PreambleError> {
            if !std::mem::replace(&mut self.said, true) {
                cx.tx.push_bytes(b"hello");
            }
            let used = data.len().min(4 - self.heard);
            self.heard += used;
            let agreed = || Agreed {
                torrent: HASH,
                method: CryptoMethod::Rc4,
                ciphers: Ciphers {
                    incoming: Some(Box::new(Count::default())),
                    outgoing: Some(Box::new(Count::default())),
                },
            };
            let agreed = || self.enciphers.then(agreed);
            let passed = || Passed { used, early: Vec::new(), agreed: agreed() };
            Ok((self.heard == 4).then(passed))
        }
    }

    /// No torrent is known by any mark.
    struct Nothing;

    impl TorrentMarks for Nothing {
        fn by_mark(&self, _: &[u8; 20]) -> Option<InfoHash> {
            None
        }
    }

    fn feed(preambles: &mut Preambles, data: &mut [u8], tx: &mut Tx) -> Option<(Handshake, usize)> {
        preambles.handle_data(data, &mut PreambleCx { tx, torrents: &Nothing }).unwrap()
    }

    fn sent(tx: &mut Tx) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = tx.poll_transmit(&mut slices, usize::MAX);
        let bytes: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter().copied()).collect();
        tx.handle_sent(bytes.len(), drop);
        bytes
    }

    #[test]
    fn steps_come_in_order_and_later_bytes_are_deciphered() {
        let mut wire = handshake::ours(HASH, PeerId([8; 20]), false, false).to_vec();
        wire.extend(b"behind");
        Count::default().apply(&mut wire);
        let wire = [&b"okayokay"[..], &wire].concat();
        for cut in 0..=wire.len() {
            let steps: Vec<Box<dyn Preamble>> = vec![
                Box::new(Greeting::default()),
                Box::new(Greeting { enciphers: true, ..Greeting::default() }),
            ];
            let (mut preambles, mut tx) = (Preambles::incoming(steps), Tx::default());
            let (mut first, mut second) = (wire[..cut].to_vec(), wire[cut..].to_vec());
            let (handshake, behind) = match feed(&mut preambles, &mut first, &mut tx) {
                Some((handshake, used)) => {
                    let mut cipher = preambles.take_cipher().unwrap();
                    cipher.apply(&mut second);
                    (handshake, [&first[used..], &second].concat())
                }
                None => {
                    let whole = feed(&mut preambles, &mut second, &mut tx);
                    let (handshake, used) = whole.unwrap();
                    (handshake, second[used..].to_vec())
                }
            };
            assert_eq!((handshake.info_hash, &behind[..]), (HASH, &b"behind"[..]), "cut at {cut}");
        }
    }

    #[test]
    fn bytes_after_a_step_are_enciphered_and_earlier_ones_not() {
        let steps: Vec<Box<dyn Preamble>> =
            vec![Box::new(Greeting { enciphers: true, ..Greeting::default() })];
        let (mut preambles, mut tx) = (Preambles::outgoing(HASH, None, steps), Tx::default());
        assert!(feed(&mut preambles, &mut [], &mut tx).is_none());
        assert_eq!(sent(&mut tx), b"hello");
        assert!(feed(&mut preambles, &mut b"okay".to_vec(), &mut tx).is_none());
        let ours = handshake::ours(HASH, PeerId([8; 20]), false, false);
        tx.push_bytes(&ours);
        let mut said = sent(&mut tx);
        assert_ne!(said, ours);
        Count::default().apply(&mut said);
        assert_eq!((said.len(), &said[..]), (HANDSHAKE_LEN, &ours[..]));
    }
}
