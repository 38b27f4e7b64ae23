//! How one connection is encrypted, from its dial on. It knows nothing of what it is told.

use crate::{
    conf::{CryptoMethod, Encryption},
    proto::cipher::Cipher,
    torrent::candidates::Opening,
};

/// Why a connection ends that does not fit what the user wants of its torrent.
pub(super) const UNFIT: &str = "the torrent's encryption policy excludes it";

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

    /// Whether a connection that has been greeted may be one of a torrent with this policy.
    pub(super) fn fits(&self, policy: Encryption) -> bool {
        match self.method {
            Some(_) => policy.may_encrypt(),
            None => policy.may_be_plain(),
        }
    }
}
