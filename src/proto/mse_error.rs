//! Why an encrypted handshake ([`mse`](super::mse)) comes to nothing. It knows nothing of how it
//! goes.

/// The longest padding.
pub(crate) const MAX_PAD: usize = 512;

/// Why an encrypted handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MseError {
    #[error("its connection is not encrypted")]
    Plain,
    #[error("its public key is none")]
    Key,
    #[error("the encrypted handshake is not continued within {MAX_PAD} bytes")]
    OutOfStep,
    #[error("it goes on before it is its turn")]
    Early,
    #[error("it wants a torrent that we do not have, encrypted")]
    UnknownTorrent,
    #[error("the encrypted handshake cannot be deciphered")]
    Garbled,
    #[error("padding of {0} bytes exceeds {MAX_PAD}")]
    Padding(u16),
    #[error("it offers no method of encryption that we take: {0:#x}")]
    Offer(u32),
    #[error("it chooses a method of encryption that we did not offer: {0:#x}")]
    Choice(u32),
    #[error("keys cannot be exchanged")]
    NoArithmetic,
}
