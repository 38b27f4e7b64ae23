//! The end that dials: it knows the torrent, says which methods it offers, and sends the first of
//! its payload along.

use super::{
    Draw, MAX_PAD, Mse, MseError, Role, Step, VC, agreed, bit,
    heard::Heard,
    keys::{self, Pair, check, mask, sync_mark, torrent_mark},
};
use crate::{
    base::{ids::InfoHash, job::key_exchange::KeyExchange},
    conf::{CryptoMethod, CryptoMethods},
    proto::{cipher::Cipher, preamble::PreambleCx},
    wire::handshake::PROTOCOL,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Initiator {
    torrent: InfoHash,
    methods: CryptoMethods,
    /// What is sent along, at most 65,535 bytes.
    first: Vec<u8>,
    draw: Draw,
    exchange: KeyExchange,
    /// The exchange waits to be computed.
    asks: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Our public key is being computed.
    Starting,
    /// The peer's public key has not come.
    Key,
    /// What follows from both keys is being computed.
    Shared,
    /// The peer has been told the torrent and has not answered.
    Answer {
        pair: Box<Pair>,
        vc: [u8; 8],
    },
    /// It has begun to.
    Choice(Box<Pair>),
    /// It has chosen a method, and padding of this length follows.
    Padding {
        pair: Box<Pair>,
        method: CryptoMethod,
        len: usize,
    },
    Over,
}

impl Initiator {
    /// The machine that says `first` about `torrent`.
    pub(crate) fn begin(
        torrent: InfoHash,
        methods: CryptoMethods,
        first: Vec<u8>,
        draw: Draw,
    ) -> Mse<Self> {
        let (exchange, state) = (draw.exchange(), State::Starting);
        Mse::of(Self { torrent, methods, first, draw, exchange, asks: true, state })
    }

    /// The peer hears which torrent it is about, and what we have to say.
    fn introduce(&mut self, shared: &keys::Key, cx: &mut PreambleCx<'_>) -> Result<(), MseError> {
        let mut pair = Pair::new(shared, self.torrent, true);
        let mut vc = VC;
        pair.incoming.apply(&mut vc);
        let zeros = self.draw.zeros;
        let len = u16::try_from(self.first.len()).map_err(|_| MseError::NoArithmetic)?;
        let mut sealed = VC.to_vec();
        sealed.extend(self.methods.bits().to_be_bytes());
        sealed.extend(zeros.to_be_bytes());
        sealed.resize(sealed.len() + usize::from(zeros), 0);
        sealed.extend(len.to_be_bytes());
        sealed.append(&mut self.first);
        pair.outgoing.apply(&mut sealed);
        cx.tx.push_bytes(&sync_mark(shared));
        cx.tx.push_bytes(&mask(torrent_mark(self.torrent), shared));
        cx.tx.push_bytes(&sealed);
        self.state = State::Answer { pair, vc };
        Ok(())
    }
}

impl Role for Initiator {
    fn advance(&mut self, heard: &mut Heard, _: &mut PreambleCx<'_>) -> Result<Step, MseError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Starting => {
                self.state = State::Starting;
                // It may only speak once it has heard us.
                return if heard.rest().is_empty() {
                    Ok(Step::Waits)
                } else {
                    Err(MseError::Early)
                };
            }
            State::Key => {
                // What answers in plain does not know what we said.
                if heard.rest().starts_with(PROTOCOL) {
                    return Err(MseError::Plain);
                }
                let Some(theirs) = heard.take_array() else {
                    self.state = State::Key;
                    return Ok(Step::Waits);
                };
                check(&theirs)?;
                self.exchange.theirs = Some(theirs);
                (self.asks, self.state) = (true, State::Shared);
            }
            State::Shared => {
                self.state = State::Shared;
                let padding = heard.rest().len() <= MAX_PAD;
                return if padding { Ok(Step::Waits) } else { Err(MseError::Early) };
            }
            State::Answer { pair, vc } => {
                if !heard.take_until(&vc)? {
                    self.state = State::Answer { pair, vc };
                    return Ok(Step::Waits);
                }
                self.state = State::Choice(pair);
            }
            State::Choice(mut pair) => {
                let Some(mut choice) = heard.take_array::<6>() else {
                    self.state = State::Choice(pair);
                    return Ok(Step::Waits);
                };
                pair.incoming.apply(&mut choice);
                let [a, b, c, d, hi, lo] = choice;
                let (chosen, len) =
                    (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([hi, lo]));
                let both = [CryptoMethod::Plaintext, CryptoMethod::Rc4];
                let offered = |m: &CryptoMethod| bit(*m) & self.methods.bits() != 0;
                let method = both.into_iter().filter(offered).find(|m| bit(*m) == chosen);
                let method = method.ok_or(MseError::Choice(chosen))?;
                if usize::from(len) > MAX_PAD {
                    return Err(MseError::Padding(len));
                }
                self.state = State::Padding { pair, method, len: len.into() };
            }
            State::Padding { mut pair, method, len } => {
                let Some(padding) = heard.take(len) else {
                    self.state = State::Padding { pair, method, len };
                    return Ok(Step::Waits);
                };
                pair.incoming.apply(padding);
                return Ok(Step::Agreed(agreed(self.torrent, method, *pair, 0)));
            }
            State::Over => return Ok(Step::Waits),
        }
        Ok(Step::Done)
    }

    fn poll_exchange(&mut self) -> Option<Box<KeyExchange>> {
        std::mem::take(&mut self.asks).then(|| Box::new(self.exchange.clone()))
    }

    fn handle_exchange(
        &mut self,
        exchange: &KeyExchange,
        cx: &mut PreambleCx<'_>,
    ) -> Result<(), MseError> {
        self.exchange.clone_from(exchange);
        match self.state {
            State::Starting => {
                cx.tx.push_bytes(&exchange.ours.ok_or(MseError::NoArithmetic)?);
                cx.tx.push_bytes(&self.draw.noise());
                self.state = State::Key;
                Ok(())
            }
            State::Shared => {
                let shared = exchange.shared.ok_or(MseError::NoArithmetic)?;
                self.introduce(&shared, cx)
            }
            _ => Ok(()),
        }
    }
}
