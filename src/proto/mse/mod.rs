//! The beginning of an encrypted connection (message stream encryption, MSE, also called PE):
//!
//! ```text
//! A -> B   Ya, PadA
//! B -> A   Yb, PadB
//! A -> B   H(req1, S), H(req2, SKEY) xor H(req3, S),
//!          E(VC, crypto_provide, len(PadC), PadC, len(IA), IA)
//! B -> A   E(VC, crypto_select, len(PadD), PadD), and the payload from here on
//! ```
//!
//! Ya and Yb are public keys of 96 bytes, S is what follows from them, SKEY is the info-hash, H is
//! SHA-1, E is RC4, VC is eight zeros, pads have up to 512 bytes, and IA is the first of what A has
//! to say: its handshake (BEP 3). The arithmetic is asked for
//! ([`Preamble::poll_exchange`](super::preamble::Preamble::poll_exchange)) and is a worker's.
//!
//! It knows no torrent but by hash, no policy but which methods are allowed, and no socket.

mod heard;
mod initiator;
mod keys;
pub mod probe;
mod rc4;
mod responder;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use self::{heard::Heard, rc4::Rc4};
pub(crate) use self::{initiator::Initiator, keys::torrent_mark, responder::Responder};
use super::{
    cipher::Cipher,
    mse_error::{MAX_PAD, MseError},
    preamble::{Agreed, Passed, Preamble, PreambleCx, PreambleError},
};
use crate::{
    base::{ids::InfoHash, job::key_exchange::KeyExchange, rng::Rng},
    conf::{CryptoMethod, CryptoMethods},
    proto::cipher::Ciphers,
};

/// What both begin with once they encipher.
const VC: [u8; 8] = [0; 8];

impl CryptoMethods {
    /// As `crypto_provide`.
    fn bits(self) -> u32 {
        if self.only { bit(self.preferred) } else { 3 }
    }

    /// Of what is offered.
    fn choose(self, offered: u32) -> Option<CryptoMethod> {
        let common = offered & self.bits();
        let both = [CryptoMethod::Plaintext, CryptoMethod::Rc4];
        let is_common = |method: &CryptoMethod| common & bit(*method) != 0;
        [self.preferred].into_iter().chain(both).find(is_common)
    }
}

fn bit(method: CryptoMethod) -> u32 {
    match method {
        CryptoMethod::Plaintext => 1,
        CryptoMethod::Rc4 => 2,
    }
}

/// What is left to chance in one handshake. It costs next to nothing until it is used: most
/// connections that come are not encrypted.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    seed: [u8; 32],
    /// How much noise comes after our public key.
    pad: u16,
    /// How many zeros are enciphered as padding.
    zeros: u16,
}

impl Draw {
    /// `rng` is not to be used for anything that is sent: who knows what it gave knows the rest.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut seed = [0; 32];
        rng.fill(&mut seed);
        let mut pad = || rng.below(MAX_PAD as u64 + 1) as u16;
        Self { seed, pad: pad(), zeros: pad() }
    }

    fn exchange(&self) -> KeyExchange {
        let secret = keys::hash(&[b"secret", &self.seed]);
        KeyExchange { secret, ours: None, theirs: None, shared: None }
    }

    fn noise(&self) -> Vec<u8> {
        let mut noise = vec![0; self.pad.into()];
        Rc4::new(&keys::hash(&[b"noise", &self.seed])).apply(&mut noise);
        noise
    }
}

/// One of the two ends.
trait Role: Debug + Send {
    /// Goes one step, if what it takes has been heard.
    fn advance(&mut self, heard: &mut Heard, cx: &mut PreambleCx<'_>) -> Result<Step, MseError>;

    /// What is to be computed.
    fn poll_exchange(&mut self) -> Option<Box<KeyExchange>>;

    /// It was.
    fn handle_exchange(
        &mut self,
        exchange: &KeyExchange,
        cx: &mut PreambleCx<'_>,
    ) -> Result<(), MseError>;
}

/// What became of a step.
enum Step {
    /// The next one may be possible, too.
    Done,
    /// More must be heard or computed first.
    Waits,
    /// The connection is not encrypted; all that was heard is of the next step.
    Plain,
    /// Both agree.
    Agreed(Agreed),
}

/// What the two ends have in common.
#[derive(Debug)]
pub(crate) struct Mse<R> {
    role: R,
    heard: Heard,
}

#[expect(private_bounds, reason = "there are two roles, and both are here")]
impl<R: Role> Mse<R> {
    fn of(role: R) -> Self {
        Self { role, heard: Heard::default() }
    }

    /// Bytes that are kept of what came.
    fn kept(&self) -> usize {
        self.heard.all().len()
    }

    fn advance(&mut self, cx: &mut PreambleCx<'_>) -> Result<Step, MseError> {
        loop {
            match self.role.advance(&mut self.heard, cx)? {
                Step::Done => {}
                other => return Ok(other),
            }
        }
    }
}

impl<R: Role> Preamble for Mse<R> {
    fn handle_data(
        &mut self,
        data: &mut [u8],
        cx: &mut PreambleCx<'_>,
    ) -> Result<Option<Passed>, PreambleError> {
        let before = self.heard.all().len();
        let taken = self.heard.fill(data);
        match self.advance(cx)? {
            Step::Agreed(agreed) => {
                // What lies behind the end must have come just now, or it would not have been its
                // turn.
                let behind = self.heard.rest().len();
                let used = taken.checked_sub(behind).ok_or(MseError::Early)?;
                Ok(Some(Passed { used, early: Vec::new(), agreed: Some(agreed) }))
            }
            Step::Plain => {
                let early = self.heard.all().get(..before).unwrap_or_default().to_vec();
                Ok(Some(Passed { used: 0, early, agreed: None }))
            }
            Step::Done | Step::Waits if taken < data.len() => Err(MseError::Early.into()),
            Step::Done | Step::Waits => Ok(None),
        }
    }

    fn poll_exchange(&mut self) -> Option<Box<KeyExchange>> {
        self.role.poll_exchange()
    }

    fn handle_exchange(
        &mut self,
        exchange: &KeyExchange,
        cx: &mut PreambleCx<'_>,
    ) -> Result<(), PreambleError> {
        self.role.handle_exchange(exchange, cx)?;
        match self.advance(cx)? {
            Step::Done | Step::Waits => Ok(()),
            // Its word would have come before ours.
            Step::Plain | Step::Agreed(_) => Err(MseError::Early.into()),
        }
    }
}

/// What holds from the end of the handshake on. The first `first` bytes that come are enciphered
/// whatever was agreed on.
fn agreed(torrent: InfoHash, method: CryptoMethod, pair: keys::Pair, first: usize) -> Agreed {
    let keys::Pair { incoming: rc4, outgoing } = pair;
    let ciphers = match method {
        CryptoMethod::Rc4 => {
            Ciphers { incoming: Some(Box::new(rc4)), outgoing: Some(Box::new(outgoing)) }
        }
        CryptoMethod::Plaintext if first == 0 => Ciphers { incoming: None, outgoing: None },
        CryptoMethod::Plaintext => {
            let until: Box<dyn Cipher> = Box::new(rc4::Until { rc4, left: first });
            Ciphers { incoming: Some(until), outgoing: None }
        }
    };
    Agreed { torrent, method, ciphers }
}
