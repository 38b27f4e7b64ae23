//! Ledgers and peers, for tests of what a peer session is made of.

use std::{io::IoSlice, sync::Arc};

use super::{Greeted, PeerSession, Terms};
use crate::{
    base::{
        arena::Key,
        bitfield::Bitfield,
        geometry::{BLOCK_LEN, Geometry},
        ids::{InfoHash, PeerId, Version},
        rng::Rng,
        time::Instant,
    },
    conf::Conf,
    proto::tx::Tx,
    torrent::{
        cx::Cx,
        picker::Picker,
        progress::Contributor,
        swarm::{PieceHashes, Swarm},
    },
    wire::message::Message,
};

pub(super) const INFO_HASH: InfoHash = InfoHash([7; 20]);
/// Pieces of the torrent, of two blocks each.
pub(super) const PIECES: u32 = 1000;

pub(super) fn world() -> Cx {
    world_with(Conf::default())
}

pub(super) fn world_with(conf: Conf) -> Cx {
    Cx::new(conf, Rng::new(1), PeerId([1; 20]), Instant::ZERO)
}

/// The ledger of a torrent that has nothing.
pub(super) fn leech(cx: &mut Cx) -> Swarm {
    let mut swarm = ledger(&Bitfield::none(PIECES), cx);
    swarm.allow_orders();
    swarm
}

/// The ledger of a torrent that has everything.
pub(super) fn seed(cx: &mut Cx) -> Swarm {
    owner(Bitfield::all(PIECES), cx)
}

/// The ledger of a torrent that has these pieces.
pub(super) fn owner(have: Bitfield, cx: &mut Cx) -> Swarm {
    let mut swarm = ledger(&have, cx);
    swarm.set_have(have);
    swarm
}

fn ledger(have: &Bitfield, cx: &mut Cx) -> Swarm {
    let geometry = Geometry::new(u64::from(PIECES * 2 * BLOCK_LEN), 2 * BLOCK_LEN).unwrap();
    let picker = Picker::new(geometry.clone(), have, Vec::new(), false, &mut cx.rng);
    let key = Key { index: 0, generation: 1 };
    let hashes = PieceHashes::v1(Arc::from(vec![[0; 20]; PIECES as usize]));
    Swarm::new(key, INFO_HASH, geometry, hashes, cx.now, picker)
}

/// A peer of this host that dialled us and speaks the fast extension.
pub(super) fn greeted(host: [u8; 4]) -> Greeted {
    Greeted {
        link: Key { index: u32::from_be_bytes(host), generation: 1 },
        who: Contributor { addr: (host, 5000).into(), incoming: true },
        terms: Terms {
            peer_id: PeerId([2; 20]),
            fast: true,
            extended: false,
            dht: false,
            encryption: None,
            utp: false,
            version: Version::V1,
        },
        tx: Tx::default(),
    }
}

/// Its session.
pub(super) fn peer(host: [u8; 4], swarm: &Swarm, cx: &mut Cx) -> PeerSession {
    let greeted = greeted(host);
    PeerSession::new(greeted.link, greeted, swarm, cx)
}

/// So many of them, each of a host of its own.
pub(super) fn peers(count: u8, swarm: &Swarm, cx: &mut Cx) -> Vec<PeerSession> {
    (1..=count).map(|n| peer([10, 0, 0, n], swarm, cx)).collect()
}

/// The messages as they go over the wire.
pub(super) fn bytes(messages: &[Message<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode_into(&mut bytes));
    bytes
}

/// The peer says all that at once.
pub(super) fn hear(
    session: &mut PeerSession,
    messages: &[Message<'_>],
    swarm: &mut Swarm,
    cx: &mut Cx,
) {
    session.handle_data(&bytes(messages), swarm, cx).unwrap();
}

/// The bytes that the session has to send, which count as sent from now on.
pub(super) fn sent(session: &mut PeerSession) -> Vec<u8> {
    let mut bytes = Vec::new();
    while session.tx().len() > 0 {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = session.tx_mut().poll_transmit(&mut slices, usize::MAX);
        let next: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter().copied()).collect();
        session.outgoing.tx_mut().handle_sent(next.len(), drop);
        bytes.extend(next);
    }
    bytes
}
