//! The handshake (BEP 3), the first 68 bytes either way between peers: who speaks, and about which
//! torrent. It knows no torrent and no socket.

use crate::{
    base::ids::{InfoHash, PeerId},
    wire::handshake::{self, HANDSHAKE_LEN, Handshake, Reserved},
};

/// The handshake of a peer, as far as it has come.
#[derive(Debug)]
pub(crate) struct HandshakeExchange {
    /// What we expect to hear, if we dialled.
    expected: Option<InfoHash>,
    /// What we may hear in its place: the other hash of a hybrid torrent.
    upgrade: Option<InfoHash>,
    heard: Vec<u8>,
}

/// Why a handshake came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("it does not speak BitTorrent: {0}")]
    Malformed(#[from] handshake::HandshakeError),
    #[error("it speaks for another torrent, {0}")]
    WrongTorrent(InfoHash),
}

impl HandshakeExchange {
    /// We dialled, to talk about `info_hash`. If that is the v1 hash of a hybrid torrent, the peer
    /// may answer with its v2 hash, `upgrade` (BEP 52, "Upgrade Path").
    pub(crate) fn outgoing(info_hash: InfoHash, upgrade: Option<InfoHash>) -> Self {
        Self { expected: Some(info_hash), upgrade, heard: Vec::new() }
    }

    /// A peer dialled us; we hear first which torrent it is about.
    pub(crate) fn incoming() -> Self {
        Self { expected: None, upgrade: None, heard: Vec::new() }
    }

    /// The peer has said, otherwise, which torrent it is about.
    pub(crate) fn expect(&mut self, info_hash: InfoHash) {
        self.expected = Some(info_hash);
    }

    /// Whether nothing has come of it.
    pub(crate) fn is_unheard(&self) -> bool {
        self.heard.is_empty()
    }

    /// Takes in what arrived; returns the peer's handshake once it is whole, and how many of `data`
    /// belonged to it.
    pub(crate) fn handle_data(
        &mut self,
        data: &[u8],
    ) -> Result<Option<(Handshake, usize)>, HandshakeError> {
        let before = self.heard.len();
        let take = data.len().min(HANDSHAKE_LEN.saturating_sub(before));
        self.heard.extend_from_slice(data.get(..take).unwrap_or_default());
        let Some((handshake, _)) = Handshake::parse(&self.heard)? else { return Ok(None) };
        match self.expected {
            Some(want)
                if want != handshake.info_hash && self.upgrade != Some(handshake.info_hash) =>
            {
                Err(HandshakeError::WrongTorrent(handshake.info_hash))
            }
            _ => Ok(Some((handshake, take))),
        }
    }
}

/// What we say of ourselves; whether we have a DHT node, too (BEP 5), and whether the answer to a
/// v1 hash may be the v2 hash of the torrent (BEP 52).
pub(crate) fn ours(
    info_hash: InfoHash,
    peer_id: PeerId,
    dht: bool,
    v2: bool,
) -> [u8; HANDSHAKE_LEN] {
    let reserved = Reserved::default().with_fast().with_extensions();
    let reserved = if dht { reserved.with_dht() } else { reserved };
    let reserved = if v2 { reserved.with_v2() } else { reserved };
    Handshake { reserved, info_hash, peer_id }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([7; 20]);
    const ID: PeerId = PeerId([8; 20]);

    #[test]
    fn split_handshake_is_whole_and_leaves_the_rest() {
        let mut wire = ours(HASH, ID, false, false).to_vec();
        wire.extend([0, 0, 0, 1, 1]);
        for cut in 0..=wire.len() {
            let mut g = HandshakeExchange::incoming();
            let first = g.handle_data(&wire[..cut]).unwrap();
            let (hello, used) = match first {
                Some(done) => done,
                None => g.handle_data(&wire[cut..]).unwrap().map(|(h, n)| (h, cut + n)).unwrap(),
            };
            assert_eq!((hello.info_hash, hello.peer_id, used), (HASH, ID, HANDSHAKE_LEN));
            assert!(hello.reserved.fast() && hello.reserved.extensions());
        }
    }

    #[test]
    fn nonsense_and_the_wrong_torrent_are_refused() {
        assert!(matches!(
            HandshakeExchange::incoming().handle_data(b"GET / HTTP/1.1\r\n"),
            Err(HandshakeError::Malformed(_))
        ));
        let other = ours(InfoHash([1; 20]), ID, false, true);
        assert_eq!(
            HandshakeExchange::outgoing(HASH, Some(InfoHash([2; 20]))).handle_data(&other),
            Err(HandshakeError::WrongTorrent(InfoHash([1; 20])))
        );
    }

    #[test]
    fn peer_may_answer_with_the_other_hash_of_a_hybrid() {
        let other = InfoHash([1; 20]);
        let answer = ours(other, ID, false, false);
        let mut exchange = HandshakeExchange::outgoing(HASH, Some(other));
        let (handshake, _) = exchange.handle_data(&answer).unwrap().unwrap();
        assert_eq!(handshake.info_hash, other);
        let mut exchange = HandshakeExchange::outgoing(HASH, None);
        assert!(exchange.handle_data(&answer).is_err());
    }
}
