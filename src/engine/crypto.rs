//! How one connection is encrypted, from its dial on. It knows nothing of what it is told.

use crate::{conf::CryptoMethod, proto::cipher::Cipher, torrent::candidates::Opening};

/// How one connection begins, and what follows from that.
#[derive(Debug)]
pub(super) struct Crypto {
    /// How we dialled it.
    pub(super) opening: Opening,
    /// The other way has been tried, just before.
    pub(super) is_second: bool,
    /// How it is encrypted, if it is, once that is known.
    pub(super) method: Option<CryptoMethod>,
    /// Deciphers what comes after the handshake.
    pub(super) incoming: Option<Box<dyn Cipher>>,
}

impl Crypto {
    /// The first dial of a candidate, or the second at once.
    pub(super) fn new(opening: Opening, is_second: bool) -> Self {
        Self { opening, is_second, method: None, incoming: None }
    }
}
