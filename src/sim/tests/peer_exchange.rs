//! Peers that are found through others (BEP 11): by torrents with and without metainfo, and never
//! by private ones. Peers that name what they like.

use std::collections::BTreeMap;

use super::*;
use crate::{
    base::{
        bucket::Rate,
        ids::{InfoHash, PeerId},
    },
    engine::TorrentParams,
    sim::tap::{Tap, Word},
    wire::{
        extension::{ExtensionHandshake, UT_PEX_ID},
        handshake::{Handshake, Reserved},
        magnet::Magnet,
        message::Message,
        metainfo::Metainfo,
        ut_pex::{PexFlags, PexMessage, UT_PEX},
    },
};

fn private(sample: &Sample) -> Arc<Sample> {
    let metainfo = Metainfo { private: true, ..Metainfo::clone(&sample.metainfo) };
    sample.with_metainfo(metainfo)
}

/// Whether `node` was ever connected to `other`, whichever of them has dialled.
fn met(world: &World, node: NodeId, other: NodeId) -> bool {
    let ip = world.addr(other).ip();
    let met = |a: &Alert| matches!(a, Alert::PeerConnected { addr, .. } if addr.ip() == ip);
    world.alerts(node).iter().any(|(_, alert)| met(alert))
}

/// One that has everything and is slow, and two that know only that one.
fn acquaintances(sample: &Arc<Sample>, conf: &Conf) -> (World, [NodeId; 3]) {
    let mut world = World::new(1);
    let slow = conf.clone().with(|conf| conf.network.limits.up = Rate::new(100_000));
    let nodes = [slow, conf.clone(), conf.clone()].map(|conf| world.node(conf));
    world.seed_with(nodes[0], sample);
    nodes[1..].iter().for_each(|&leech| {
        let params = world.params(leech, sample, &nodes[..1]);
        world.add_torrent(leech, sample, params);
    });
    (world, nodes)
}

#[test]
fn peers_of_one_peer_find_each_other_at_once() {
    let sample = file(4_000_000, 64 * 1024);
    let (mut world, [_, one, two]) = acquaintances(&sample, &loud());
    assert!(world.run_until(|w| met(w, one, two) && met(w, two, one), secs(3)));
}

#[test]
fn peers_that_do_not_exchange_never_meet() {
    let sample = file(1_000_000, 64 * 1024);
    for (sample, conf) in [(sample.clone(), shy()), (private(&sample), loud())] {
        let (mut world, [_, one, two]) = acquaintances(&sample, &conf);
        assert!(world.run_until(|w| w.is_complete(one) && w.is_complete(two), secs(200)));
        assert!(!met(&world, one, two));
    }
}

#[test]
fn magnet_torrent_with_one_peer_finds_the_others() {
    let sample = file(4_000_000, 64 * 1024);
    let (mut world, [seed, one, two]) = acquaintances(&sample, &loud());
    let late = world.node(loud());
    let link = Magnet::new(sample.metainfo.identity);
    let params = TorrentParams { source: link.into(), ..world.params(late, &sample, &[one]) };
    world.run_for(secs(5));
    world.add_torrent(late, &sample, params);
    assert!(world.run_until(|w| met(w, late, seed) && met(w, late, two), secs(3)));
    assert!(world.run_until(|w| w.is_complete(late), secs(200)));
}

#[test]
fn peer_that_comes_later_is_told_of_within_a_minute() {
    let sample = file(40_000_000, 256 * 1024);
    let (mut world, [seed, one, two]) = acquaintances(&sample, &loud());
    world.run_for(secs(10));
    let late = world.node(loud());
    let params = world.params(late, &sample, &[seed]);
    world.add_torrent(late, &sample, params);
    // It hears of the others at once, and dials them before they are told.
    assert!(world.run_until(|w| met(w, late, one) && met(w, late, two), secs(5)));
}

/// A peer that names others as often as it is made to.
#[derive(Debug)]
struct Gossip {
    hash: InfoHash,
    /// What each message names.
    named: Vec<SocketAddr>,
    messages: usize,
    conns: BTreeMap<ConnId, Tap>,
}

fn say(talk: &mut Talk<'_>, conn: ConnId, message: &Message<'_>) {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    talk.send(conn, bytes);
}

impl Script for Gossip {
    fn connected(&mut self, talk: &mut Talk<'_>, conn: ConnId, _: bool) {
        self.conns.insert(conn, Tap::default());
        let reserved = Reserved::default().with_extensions();
        let greeting = Handshake { reserved, info_hash: self.hash, peer_id: PeerId([b'g'; 20]) };
        talk.send(conn, greeting.encode());
        let mut hello = ExtensionHandshake::default();
        hello.set(UT_PEX, 1).unwrap();
        say(talk, conn, &Message::Extended { id: 0, payload: &hello.encode() });
    }

    fn data(&mut self, talk: &mut Talk<'_>, conn: ConnId, bytes: &[u8]) {
        let Some(tap) = self.conns.get_mut(&conn) else { return };
        let mut greeted = false;
        tap.take(bytes, |word| {
            greeted |= matches!(word, Word::Message(Message::Extended { id: 0, .. }));
        });
        for nth in 0..if greeted { self.messages } else { 0 } {
            let added = self.named.iter().skip(nth * 100).take(100);
            let added = added.map(|&addr| (addr, PexFlags::default())).collect();
            let payload = PexMessage { added, dropped: Vec::new() }.encode();
            say(talk, conn, &Message::Extended { id: UT_PEX_ID, payload: &payload });
        }
    }
}

fn gossip(sample: &Sample, named: usize, messages: usize) -> Gossip {
    let named = (0..named as u32).map(|n| SocketAddr::from(((0x0b00_0000 + n).to_be_bytes(), 1)));
    let hash = sample.metainfo.info_hash();
    Gossip { hash, named: named.collect(), messages, conns: BTreeMap::new() }
}

#[test]
fn peer_that_floods_is_let_go_with_and_without_content() {
    let sample = file(1_000_000, 64 * 1024);
    for by_link in [false, true] {
        let mut world = World::new(1);
        let flooder = world.scripted(gossip(&sample, 0, 7));
        let leech = world.node(loud());
        let params = world.params(leech, &sample, &[flooder]);
        let source = Magnet::new(sample.metainfo.identity).into();
        let params = if by_link { TorrentParams { source, ..params } } else { params };
        world.add_torrent(leech, &sample, params);
        let parted = |w: &World| partings(w, leech).iter().any(|(_, why)| why.contains("exchange"));
        assert!(world.run_until(parted, secs(10)), "{:?}", partings(&world, leech));
    }
}

#[test]
fn peer_that_names_many_has_its_share_of_candidates_and_no_more() {
    let sample = file(1_000_000, 64 * 1024);
    let conf = loud().with(|conf| {
        conf.peers.max_candidates = 1000;
        conf.peers.max_dials = 1;
        conf.peers.handshake_timeout = secs(1000);
    });
    let mut world = World::new(1);
    let liar = world.scripted(gossip(&sample, 600, 6));
    let leech = world.node(conf);
    let params = world.params(leech, &sample, &[liar]);
    world.add_torrent(leech, &sample, params);
    world.run_for(secs(20));
    let known = world.stats(leech).candidates;
    assert!((90..=100).contains(&known), "{known}");
}
