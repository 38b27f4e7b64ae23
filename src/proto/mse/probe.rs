//! Both ends of an encrypted handshake against each other, with an arithmetic that takes no time,
//! for tests and for the fuzz targets, which see nothing of the crate but what is public. Not part
//! of the API.

use std::io::IoSlice;

use super::{Draw, Initiator, Mse, Responder, Role, keys::torrent_mark};
use crate::{
    base::{ids::InfoHash, job::key_exchange::KeyExchange},
    conf::{CryptoMethod, CryptoMethods},
    proto::{
        cipher::{Cipher, Ciphers},
        mse_error::MseError,
        preamble::{Agreed, Passed, Preamble, PreambleCx, PreambleError, TorrentMarks},
        tx::Tx,
    },
};

pub(super) const HASH: InfoHash = InfoHash([7; 20]);
/// What each end says behind its handshake.
pub const PAYLOADS: [&[u8]; 2] = [b"more of the dialling end", b"all of the other"];

/// The only torrent there is, with methods of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct One(pub(super) Option<CryptoMethods>);

impl TorrentMarks for One {
    fn by_mark(&self, mark: &[u8; 20]) -> Option<InfoHash> {
        (*mark == torrent_mark(HASH)).then_some(HASH)
    }

    fn methods(&self, _: InfoHash) -> Option<CryptoMethods> {
        self.0
    }
}

/// A number with nothing but zeros before the secret; both ends XOR them.
pub(super) fn compute(exchange: &mut KeyExchange) {
    let mut ours = [0; 96];
    ours.iter_mut().rev().zip(exchange.secret).for_each(|(to, from)| *to = from);
    exchange.ours = Some(ours);
    exchange.shared = exchange.theirs.map(|mut theirs| {
        theirs.iter_mut().zip(ours).for_each(|(to, from)| *to ^= from);
        theirs
    });
}

/// One end, with what follows its handshake.
#[derive(Debug)]
pub(super) struct End<R> {
    pub(super) machine: Mse<R>,
    pub(super) torrents: One,
    pub(super) tx: Tx,
    pub(super) agreed: Option<(CryptoMethod, InfoHash)>,
    incoming: Option<Box<dyn Cipher>>,
    /// What came after it.
    pub(super) payload: Vec<u8>,
    pub(super) compute: fn(&mut KeyExchange),
}

impl<R: Role> End<R> {
    pub(super) fn new(machine: Mse<R>) -> Self {
        let tx = Tx::default();
        let torrents = One::default();
        Self { machine, torrents, tx, agreed: None, incoming: None, payload: Vec::new(), compute }
    }

    pub(super) fn feed(&mut self, data: &[u8]) -> Result<(), PreambleError> {
        let mut data = data.to_vec();
        if self.agreed.is_some() {
            self.incoming.iter_mut().for_each(|cipher| cipher.apply(&mut data));
            self.payload.extend(data);
            return Ok(());
        }
        let mut cx = PreambleCx { tx: &mut self.tx, torrents: &self.torrents };
        match self.machine.handle_data(&mut data, &mut cx)? {
            Some(Passed { used, agreed: Some(agreed), .. }) => {
                let Agreed { torrent, method, ciphers: Ciphers { incoming, outgoing } } = agreed;
                (self.agreed, self.incoming) = (Some((method, torrent)), incoming);
                if let Some(outgoing) = outgoing {
                    self.tx.seal_with(outgoing);
                }
                self.feed(data.get(used..).unwrap_or_default())
            }
            Some(Passed { agreed: None, .. }) => Err(MseError::Plain.into()),
            None => self.exchange(),
        }
    }

    fn exchange(&mut self) -> Result<(), PreambleError> {
        while let Some(mut exchange) = self.machine.poll_exchange() {
            (self.compute)(&mut exchange);
            let mut cx = PreambleCx { tx: &mut self.tx, torrents: &self.torrents };
            self.machine.handle_exchange(&exchange, &mut cx)?;
        }
        Ok(())
    }

    /// All that is to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        while self.tx.len() > 0 {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = self.tx.poll_transmit(&mut slices, usize::MAX);
            let now: Vec<u8> = slices.iter().take(used).flat_map(|s| s.iter().copied()).collect();
            self.tx.handle_sent(now.len(), drop);
            sent.extend(now);
        }
        sent
    }
}

/// What chance and settings are in one conversation; of pairs the dialling end's comes first.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// It prefers RC4.
    pub rc4: [bool; 2],
    /// It takes no other method.
    pub only: [bool; 2],
    /// Noise behind the key and zeros of padding.
    pub pads: [(u16, u16); 2],
    /// What the dialling end sends along.
    pub first: Vec<u8>,
}

/// What became of one end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether both ends agreed on RC4 (true) or plaintext, as it sees it.
    pub agreed: Option<bool>,
    /// What it read behind the handshake.
    pub read: Vec<u8>,
    /// Why it ended, in words.
    pub error: Option<String>,
    /// What it has kept of the handshake.
    pub kept: usize,
    /// What it has sent.
    pub sent: usize,
}

fn turn<R: Role>(
    end: &mut End<R>,
    outcome: &mut Outcome,
    parts: Vec<Vec<u8>>,
    payload: &[u8],
) -> Vec<u8> {
    for part in parts {
        let before = end.agreed.is_some();
        if outcome.error.is_none() {
            outcome.error = end.feed(&part).err().map(|error| error.to_string());
        }
        if end.agreed.is_some() && !before {
            end.tx.push_bytes(payload);
        }
    }
    outcome.kept = outcome.kept.max(end.machine.kept());
    let said = if outcome.error.is_some() { Vec::new() } else { end.take() };
    outcome.sent += said.len();
    said
}

/// A conversation. `relay` gets what one end says, the dialling one if its first argument is true,
/// and returns what comes of that at the other, in parts.
pub fn converse(
    setup: &Setup,
    mut relay: impl FnMut(bool, Vec<u8>) -> Vec<Vec<u8>>,
) -> [Outcome; 2] {
    let [a, b] = [0, 1].map(|n| {
        let preferred = [CryptoMethod::Plaintext, CryptoMethod::Rc4][usize::from(setup.rc4[n])];
        let (pad, zeros) = setup.pads[n];
        let draw = Draw { seed: [n as u8; 32], pad: pad.min(512), zeros: zeros.min(512) };
        (CryptoMethods { preferred, only: setup.only[n] }, draw)
    });
    let mut a = End::new(Initiator::begin(HASH, a.0, setup.first.clone(), a.1));
    let mut b = End::new(Responder::begin(b.0, false, b.1));
    let mut outcomes: [Outcome; 2] = Default::default();
    let [of_a, of_b] = &mut outcomes;
    let mut said = turn(&mut a, of_a, vec![Vec::new()], PAYLOADS[0]);
    for _ in 0..8 {
        let answer = turn(&mut b, of_b, relay(true, said), PAYLOADS[1]);
        said = turn(&mut a, of_a, relay(false, answer), PAYLOADS[0]);
    }
    let agreed = |agreed: Option<(CryptoMethod, InfoHash)>| {
        agreed.map(|(method, _)| method == CryptoMethod::Rc4)
    };
    (of_a.agreed, of_b.agreed) = (agreed(a.agreed), agreed(b.agreed));
    (of_a.read, of_b.read) = (a.payload, b.payload);
    outcomes
}
