//! What happens on a connection before two peers talk: steps that each have the stream to
//! themselves and hand it on, and the handshake (BEP 3), which is always the last.
//!
//! A proxy's greeting or an encrypted handshake is such a step. What comes after one sees only
//! bytes: what a step has agreed on is applied to them before.

use std::{collections::VecDeque, fmt::Debug};

use super::{
    cipher::{Cipher, Ciphers},
    handshake::{HandshakeError, HandshakeExchange},
    tx::Tx,
};
use crate::{base::ids::InfoHash, wire::handshake::Handshake};

/// A step before the handshake. It says what it has to say by pushing it to the send queue, its
/// first word when it is first fed, with no bytes, as the connection is made.
pub(crate) trait Preamble: Debug + Send {
    /// Takes in what came; once the step is over, how many of the bytes belonged to it, and how
    /// the rest is to be read.
    fn handle_data(
        &mut self,
        data: &mut [u8],
        tx: &mut Tx,
    ) -> Result<Option<Passed>, PreambleError>;
}

/// The end of a step.
#[derive(Debug)]
pub(crate) struct Passed {
    /// Bytes that belonged to it.
    pub(crate) used: usize,
    /// Everything after it is enciphered with these.
    pub(crate) ciphers: Option<Ciphers>,
}

/// Why a connection never came to a peer session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PreambleError {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Preambles {
    before: VecDeque<Box<dyn Preamble>>,
    handshake: HandshakeExchange,
    incoming: Option<Box<dyn Cipher>>,
}

impl Preambles {
    /// We connected, to talk about `info_hash`; `before` comes before the handshake.
    pub(crate) fn outgoing(info_hash: InfoHash, before: Vec<Box<dyn Preamble>>) -> Self {
        Self::new(HandshakeExchange::outgoing(info_hash), before)
    }

    /// A peer connected to us.
    pub(crate) fn incoming(before: Vec<Box<dyn Preamble>>) -> Self {
        Self::new(HandshakeExchange::incoming(), before)
    }

    fn new(handshake: HandshakeExchange, before: Vec<Box<dyn Preamble>>) -> Self {
        Self { before: before.into(), handshake, incoming: None }
    }

    /// Takes in what arrived, and deciphers it where it lies. The peer's handshake once it is
    /// whole, and how many of `data` belonged to it and what came before it.
    pub(crate) fn handle_data(
        &mut self,
        data: &mut [u8],
        tx: &mut Tx,
    ) -> Result<Option<(Handshake, usize)>, PreambleError> {
        if let Some(cipher) = &mut self.incoming {
            cipher.apply(data);
        }
        let mut at = 0;
        while let Some(step) = self.before.front_mut() {
            let Some(Passed { used, ciphers }) =
                step.handle_data(data.get_mut(at..).unwrap_or_default(), tx)?
            else {
                return Ok(None);
            };
            at += used;
            self.before.pop_front();
            if let Some(Ciphers { incoming, outgoing }) = ciphers {
                self.incoming.insert(incoming).apply(data.get_mut(at..).unwrap_or_default());
                tx.seal_with(outgoing);
            }
        }
        let handshake = self.handshake.handle_data(data.get(at..).unwrap_or_default())?;
        Ok(handshake.map(|(handshake, used)| (handshake, at + used)))
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
    use crate::{base::ids::PeerId, proto::handshake, wire::handshake::HANDSHAKE_LEN};

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
            tx: &mut Tx,
        ) -> Result<Option<Passed>, PreambleError> {
            if !std::mem::replace(&mut self.said, true) {
                tx.push_bytes(b"hello");
            }
            let used = data.len().min(4 - self.heard);
            self.heard += used;
            let ciphers = || Ciphers {
                incoming: Box::new(Count::default()),
                outgoing: Box::new(Count::default()),
            };
            let passed = || Passed { used, ciphers: self.enciphers.then(ciphers) };
            Ok((self.heard == 4).then(passed))
        }
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
        let mut wire = handshake::ours(HASH, PeerId([8; 20]), false).to_vec();
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
            let (handshake, behind) = match preambles.handle_data(&mut first, &mut tx).unwrap() {
                Some((handshake, used)) => {
                    let mut cipher = preambles.take_cipher().unwrap();
                    cipher.apply(&mut second);
                    (handshake, [&first[used..], &second].concat())
                }
                None => {
                    let whole = preambles.handle_data(&mut second, &mut tx).unwrap();
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
        let (mut preambles, mut tx) = (Preambles::outgoing(HASH, steps), Tx::default());
        assert!(preambles.handle_data(&mut [], &mut tx).unwrap().is_none());
        assert_eq!(sent(&mut tx), b"hello");
        assert!(preambles.handle_data(&mut b"okay".to_vec(), &mut tx).unwrap().is_none());
        let ours = handshake::ours(HASH, PeerId([8; 20]), false);
        tx.push_bytes(&ours);
        let mut said = sent(&mut tx);
        assert_ne!(said, ours);
        Count::default().apply(&mut said);
        assert_eq!((said.len(), &said[..]), (HANDSHAKE_LEN, &ours[..]));
    }
}
