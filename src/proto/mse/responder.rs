//! The end that was dialled: it finds out whether the connection is encrypted at all and which
//! torrent is meant, and chooses the method.

use super::{
    Draw, MAX_PAD, Mse, MseError, Role, Step, VC, agreed, bit,
    heard::Heard,
    keys::{Key, Pair, check, mask, sync_mark},
};
use crate::{
    base::{ids::InfoHash, job::key_exchange::KeyExchange},
    conf::CryptoMethods,
    proto::{cipher::Cipher, preamble::PreambleCx},
    wire::handshake::PROTOCOL,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Responder {
    /// Of a torrent that has none of its own.
    methods: CryptoMethods,
    /// A connection that is not encrypted is passed on.
    takes_plain: bool,
    draw: Draw,
    /// The exchange that waits to be computed.
    asks: Option<Box<KeyExchange>>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What has come may be the beginning of a handshake in plain.
    Unclear,
    /// The peer's public key has not come.
    Key,
    /// Ours is being computed, and what follows from both.
    Shared,
    /// The peer has our key, and its next word is sought behind its padding.
    Sync(Box<Key>),
    /// The torrent comes next.
    Torrent(Box<Key>),
    /// The methods that the peer offers come next.
    Offer {
        pair: Box<Pair>,
        torrent: InfoHash,
    },
    /// Then padding of this length, and the length of what the peer sends along.
    Padding {
        pair: Box<Pair>,
        torrent: InfoHash,
        offered: u32,
        len: usize,
    },
    Over,
}

impl Responder {
    /// The machine for a connection that has come.
    pub(crate) fn begin(methods: CryptoMethods, takes_plain: bool, draw: Draw) -> Mse<Self> {
        Mse::of(Self { methods, takes_plain, draw, asks: None, state: State::Unclear })
    }

    /// The peer has said everything: it hears what we choose.
    fn choose(
        &self,
        mut pair: Box<Pair>,
        torrent: InfoHash,
        offered: u32,
        first: u16,
        cx: &mut PreambleCx<'_>,
    ) -> Result<Step, MseError> {
        let methods = cx.torrents.methods(torrent).unwrap_or(self.methods);
        let method = methods.choose(offered).ok_or(MseError::Offer(offered))?;
        let zeros = self.draw.zeros;
        let mut answer = VC.to_vec();
        answer.extend(bit(method).to_be_bytes());
        answer.extend(zeros.to_be_bytes());
        answer.resize(answer.len() + usize::from(zeros), 0);
        pair.outgoing.apply(&mut answer);
        cx.tx.push_bytes(&answer);
        Ok(Step::Agreed(agreed(torrent, method, *pair, first.into())))
    }
}

impl Role for Responder {
    fn advance(&mut self, heard: &mut Heard, cx: &mut PreambleCx<'_>) -> Result<Step, MseError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Unclear => {
                let rest = heard.rest();
                let begun = rest.get(..PROTOCOL.len()).unwrap_or(rest);
                if !PROTOCOL.starts_with(begun) {
                    self.state = State::Key;
                } else if begun.len() < PROTOCOL.len() {
                    self.state = State::Unclear;
                    return Ok(Step::Waits);
                } else if self.takes_plain {
                    return Ok(Step::Plain);
                } else {
                    return Err(MseError::Plain);
                }
            }
            State::Key => {
                let Some(theirs) = heard.take_array() else {
                    self.state = State::Key;
                    return Ok(Step::Waits);
                };
                check(&theirs)?;
                let exchange = KeyExchange { theirs: Some(theirs), ..self.draw.exchange() };
                (self.asks, self.state) = (Some(Box::new(exchange)), State::Shared);
            }
            State::Shared => {
                self.state = State::Shared;
                let padding = heard.rest().len() <= MAX_PAD;
                return if padding { Ok(Step::Waits) } else { Err(MseError::Early) };
            }
            State::Sync(shared) => {
                if !heard.take_until(&sync_mark(&shared))? {
                    self.state = State::Sync(shared);
                    return Ok(Step::Waits);
                }
                self.state = State::Torrent(shared);
            }
            State::Torrent(shared) => {
                let Some(masked) = heard.take_array() else {
                    self.state = State::Torrent(shared);
                    return Ok(Step::Waits);
                };
                let torrent = cx.torrents.by_mark(&mask(masked, &shared));
                let torrent = torrent.ok_or(MseError::UnknownTorrent)?;
                self.state = State::Offer { pair: Pair::new(&shared, torrent, false), torrent };
            }
            State::Offer { mut pair, torrent } => {
                let Some(mut offer) = heard.take_array::<14>() else {
                    self.state = State::Offer { pair, torrent };
                    return Ok(Step::Waits);
                };
                pair.incoming.apply(&mut offer);
                let [vc @ .., a, b, c, d, hi, lo] = offer;
                let (offered, len) =
                    (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([hi, lo]));
                if vc != VC {
                    return Err(MseError::Garbled);
                }
                if usize::from(len) > MAX_PAD {
                    return Err(MseError::Padding(len));
                }
                self.state = State::Padding { pair, torrent, offered, len: len.into() };
            }
            State::Padding { mut pair, torrent, offered, len } => {
                let Some(padding) = heard.take(len + 2) else {
                    self.state = State::Padding { pair, torrent, offered, len };
                    return Ok(Step::Waits);
                };
                pair.incoming.apply(padding);
                let first = padding.last_chunk().map_or(0, |len| u16::from_be_bytes(*len));
                return self.choose(pair, torrent, offered, first, cx);
            }
            State::Over => return Ok(Step::Waits),
        }
        Ok(Step::Done)
    }

    fn poll_exchange(&mut self) -> Option<Box<KeyExchange>> {
        self.asks.take()
    }

    fn handle_exchange(
        &mut self,
        exchange: &KeyExchange,
        cx: &mut PreambleCx<'_>,
    ) -> Result<(), MseError> {
        if let State::Shared = self.state {
            let (ours, shared) =
                exchange.ours.zip(exchange.shared).ok_or(MseError::NoArithmetic)?;
            cx.tx.push_bytes(&ours);
            cx.tx.push_bytes(&self.draw.noise());
            self.state = State::Sync(Box::new(shared));
        }
        Ok(())
    }
}
