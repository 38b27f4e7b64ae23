//! The first 68 bytes either way (BEP 3): who speaks, and about which torrent. It knows no torrent
//! and no socket.

use crate::{
    base::ids::{InfoHash, PeerId},
    wire::handshake::{HANDSHAKE_LEN, Handshake, HandshakeError, Reserved},
};

/// A link whose peer has not introduced itself yet.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// What we expect to hear, if we dialled.
    expected: Option<InfoHash>,
    heard: Vec<u8>,
}

/// Why a greeting came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GreetingError {
    #[error("it does not speak BitTorrent: {0}")]
    Handshake(#[from] HandshakeError),
    #[error("it answered for another torrent, {0}")]
    WrongTorrent(InfoHash),
}

impl Greeting {
    /// We dialled, to talk about `info_hash`.
    pub(crate) fn outgoing(info_hash: InfoHash) -> Self {
        Self { expected: Some(info_hash), heard: Vec::new() }
    }

    /// A peer dialled us; we hear first which torrent it is about.
    pub(crate) fn incoming() -> Self {
        Self { expected: None, heard: Vec::new() }
    }

    /// Takes in what arrived; returns the peer's handshake once it is whole, and how many of `data`
    /// belonged to it.
    pub(crate) fn handle_data(
        &mut self,
        data: &[u8],
    ) -> Result<Option<(Handshake, usize)>, GreetingError> {
        let before = self.heard.len();
        let take = data.len().min(HANDSHAKE_LEN.saturating_sub(before));
        self.heard.extend_from_slice(data.get(..take).unwrap_or_default());
        let Some((handshake, _)) = Handshake::parse(&self.heard)? else { return Ok(None) };
        match self.expected {
            Some(want) if want != handshake.info_hash => {
                Err(GreetingError::WrongTorrent(handshake.info_hash))
            }
            _ => Ok(Some((handshake, take))),
        }
    }
}

/// What we say of ourselves.
pub(crate) fn ours(info_hash: InfoHash, peer_id: PeerId) -> [u8; HANDSHAKE_LEN] {
    let reserved = Reserved::default().with_fast().with_extensions();
    Handshake { reserved, info_hash, peer_id }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([7; 20]);
    const ID: PeerId = PeerId([8; 20]);

    #[test]
    fn a_split_greeting_is_whole_and_leaves_the_rest() {
        let mut wire = ours(HASH, ID).to_vec();
        wire.extend([0, 0, 0, 1, 1]);
        for cut in 0..=wire.len() {
            let mut g = Greeting::incoming();
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
            Greeting::incoming().handle_data(b"GET / HTTP/1.1\r\n"),
            Err(GreetingError::Handshake(_))
        ));
        let other = ours(InfoHash([1; 20]), ID);
        assert_eq!(
            Greeting::outgoing(HASH).handle_data(&other),
            Err(GreetingError::WrongTorrent(InfoHash([1; 20])))
        );
    }
}
