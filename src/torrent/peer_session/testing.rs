//! Peers of a torrent that has nothing, for tests of what a peer session is made of.

use std::sync::Arc;

use super::{PeerSession, Terms};
use crate::{
    base::{
        arena::Key,
        bitfield::Bitfield,
        geometry::{BLOCK_LEN, Geometry},
        ids::{InfoHash, PeerId},
        rng::Rng,
        time::Instant,
    },
    conf::Conf,
    proto::tx::Tx,
    torrent::{cx::Cx, picker::Picker, progress::Contributor, swarm::Swarm},
    wire::message::Message,
};

/// Pieces of the torrent, of two blocks each.
pub(super) const PIECES: u32 = 1000;

pub(super) fn world() -> Cx {
    Cx::new(Conf::default(), Rng::new(1), PeerId([1; 20]), Instant::ZERO)
}

/// The ledger of a torrent that has nothing.
pub(super) fn leech(cx: &mut Cx) -> Swarm {
    let geometry = Geometry::new(u64::from(PIECES * 2 * BLOCK_LEN), 2 * BLOCK_LEN).unwrap();
    let picker =
        Picker::new(geometry.clone(), &Bitfield::none(PIECES), Vec::new(), false, &mut cx.rng);
    let key = Key { index: 0, generation: 1 };
    let hashes = Arc::from(vec![[0; 20]; PIECES as usize]);
    let mut swarm = Swarm::new(key, InfoHash([7; 20]), geometry, hashes, cx.now, picker);
    swarm.requesting = true;
    swarm
}

/// So many peers that speak the fast extension, each of a host of its own.
pub(super) fn peers(count: u8, swarm: &Swarm, cx: &mut Cx) -> Vec<PeerSession> {
    let terms = Terms { peer_id: PeerId([2; 20]), fast: true, extended: false, dht: false };
    let new = |n: u8| {
        let who = Contributor { addr: ([10, 0, 0, n], 5000).into(), incoming: true };
        let link = Key { index: u32::from(n), generation: 1 };
        PeerSession::new(link, link, who, terms, Tx::default(), swarm, cx)
    };
    (1..=count).map(new).collect()
}

/// The peer says all that at once.
pub(super) fn hear(
    session: &mut PeerSession,
    messages: &[Message<'_>],
    swarm: &mut Swarm,
    cx: &mut Cx,
) {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode_into(&mut bytes));
    session.handle_data(&bytes, swarm, cx).unwrap();
}
