//! A step before the handshake of a connection: what it sees, what it may ask for, and how it ends.
//! It knows no step.

use std::fmt::Debug;

use super::{cipher::Ciphers, handshake::HandshakeError, mse_error::MseError, tx::Tx};
use crate::{
    base::{ids::InfoHash, job::key_exchange::KeyExchange},
    conf::{CryptoMethod, CryptoMethods},
};

/// The torrents that an encrypted handshake may mean.
pub(crate) trait TorrentMarks {
    /// The one with this mark ([`torrent_mark`](super::mse::torrent_mark)).
    fn by_mark(&self, mark: &[u8; 20]) -> Option<InfoHash>;

    /// The methods that connections with its peers may have, if it has some of its own.
    fn methods(&self, _: InfoHash) -> Option<CryptoMethods> {
        None
    }
}

/// What a step sees of the world.
pub(crate) struct PreambleCx<'a> {
    pub(crate) tx: &'a mut Tx,
    pub(crate) torrents: &'a dyn TorrentMarks,
}

/// A step before the handshake. It says what it has to say by pushing it to the send queue, its
/// first word when it is first fed, with no bytes, as the connection is made.
pub(crate) trait Preamble: Debug + Send {
    /// Takes in what came; once the step is over, how many of the bytes belonged to it, and how
    /// the rest is to be read.
    fn handle_data(
        &mut self,
        data: &mut [u8],
        cx: &mut PreambleCx<'_>,
    ) -> Result<Option<Passed>, PreambleError>;

    /// What is to be computed before it goes on.
    #[must_use]
    fn poll_exchange(&mut self) -> Option<Box<KeyExchange>> {
        None
    }

    /// It was computed.
    fn handle_exchange(
        &mut self,
        _: &KeyExchange,
        _: &mut PreambleCx<'_>,
    ) -> Result<(), PreambleError> {
        Ok(())
    }
}

/// The end of a step.
#[derive(Debug)]
pub(crate) struct Passed {
    /// Bytes that belonged to it.
    pub(crate) used: usize,
    /// Bytes that it took earlier, and that were the handshake's. Only the last step may have any.
    pub(crate) early: Vec<u8>,
    /// What was agreed on, if it was about encryption.
    pub(crate) agreed: Option<Agreed>,
}

/// What an encrypted handshake has come to.
#[derive(Debug)]
pub(crate) struct Agreed {
    /// The torrent that both mean.
    pub(crate) torrent: InfoHash,
    pub(crate) method: CryptoMethod,
    /// Everything after it is enciphered with these.
    pub(crate) ciphers: Ciphers,
}

/// Why a connection never came to a peer session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PreambleError {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Encryption(#[from] MseError),
}

impl PreambleError {
    /// Whether a peer may have meant it that does not speak as we did: in plain, or encrypted.
    pub(crate) fn is_of_language(&self) -> bool {
        match self {
            Self::Handshake(HandshakeError::Malformed(_)) | Self::Encryption(_) => true,
            Self::Handshake(HandshakeError::WrongTorrent(_)) => false,
        }
    }
}
