//! What follows from the number that both ends know (S) and from the torrent (SKEY): the hashes
//! that are sent, and the keys.

use sha1::{Digest, Sha1};

use super::{MseError, rc4::Rc4};
use crate::base::{
    ids::InfoHash,
    job::key_exchange::{KEY_LEN, PRIME},
};

/// A number of the exchange.
pub(super) type Key = [u8; KEY_LEN];

pub(super) fn hash(parts: &[&[u8]]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// What the answering end looks for: everything after it is about a torrent.
pub(super) fn sync_mark(shared: &Key) -> [u8; 20] {
    hash(&[b"req1", shared])
}

/// What names a torrent in an encrypted handshake.
pub(crate) fn torrent_mark(info_hash: InfoHash) -> [u8; 20] {
    hash(&[b"req2", &info_hash.0])
}

/// Hides a torrent's mark, or shows it.
pub(super) fn mask(mark: [u8; 20], shared: &Key) -> [u8; 20] {
    let mask = hash(&[b"req3", shared]);
    std::array::from_fn(|n| mark[n] ^ mask[n])
}

/// A cipher for each direction.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) incoming: Rc4,
    pub(super) outgoing: Rc4,
}

impl Pair {
    /// `dialled`: by us.
    pub(super) fn new(shared: &Key, torrent: InfoHash, dialled: bool) -> Box<Self> {
        let rc4 = |name: &[u8]| Rc4::new(&hash(&[name, shared, &torrent.0]));
        let (dialler, other) = (rc4(b"keyA"), rc4(b"keyB"));
        let (incoming, outgoing) = if dialled { (other, dialler) } else { (dialler, other) };
        Box::new(Self { incoming, outgoing })
    }
}

/// Whether the peer's key is one from which something secret follows: of 0, 1 and -1 anyone knows
/// the powers.
pub(super) fn check(theirs: &Key) -> Result<(), MseError> {
    let mut least = [0; KEY_LEN];
    least[KEY_LEN - 1] = 2;
    let mut minus_one = PRIME;
    minus_one[KEY_LEN - 1] -= 1;
    // Of equal length, they compare as numbers do.
    if (least..minus_one).contains(theirs) { Ok(()) } else { Err(MseError::Key) }
}
