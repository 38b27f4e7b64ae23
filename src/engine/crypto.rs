//! How one connection is encrypted, from its dial on. It knows nothing of what it is told.

use crate::{
    conf::{Conf, CryptoMethod},
    proto::cipher::Cipher,
    torrent::{Torrent, candidates::Opening},
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

    /// Whether a connection that has been greeted may be one of this torrent.
    pub(super) fn fits(&self, torrent: &Torrent, conf: &Conf) -> bool {
        let policy = torrent.encryption(conf);
        match self.method {
            Some(method) => policy.may_encrypt() && torrent.crypto_methods(conf).allows(method),
            None => policy.may_be_plain(),
        }
    }
}
