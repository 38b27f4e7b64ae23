//! Peers that meet because a third one has both dial at the same time (BEP 55), and peers that ask
//! for what cannot be had, or for too much.

use std::collections::BTreeMap;

use super::*;
use crate::{
    base::{
        bucket::Rate,
        ids::{InfoHash, PeerId},
    },
    sim::tap::{Tap, Word},
    wire::{
        extension::{ExtensionHandshake, UT_HOLEPUNCH_ID, UT_PEX_ID},
        handshake::{Handshake, Reserved},
        message::Message,
        metainfo::Metainfo,
        ut_holepunch::{HolepunchFailure, HolepunchKind, HolepunchMessage, UT_HOLEPUNCH},
        ut_pex::{PexFlags, PexMessage},
    },
};

/// Under which id scripts want the extension's messages.
const OUR_ID: u8 = 77;

fn met(world: &World, node: NodeId, other: NodeId) -> bool {
    let ip = world.addr(other).ip();
    let met = |a: &Alert| matches!(a, Alert::PeerConnected { addr, .. } if addr.ip() == ip);
    world.alerts(node).iter().any(|(_, alert)| met(alert))
}

/// Two behind routers that let in what they have dialled within a second. Each hears of the other
/// from the slow seed that both know, the second first, and dials once, in vain: when the first
/// dials, the router of the second has forgotten.
fn behind_routers(most: usize) -> (World, [NodeId; 2]) {
    behind_routers_of(most, secs(1), false)
}

/// The same, with another patience; with `public`, the seed has dialled a peer that can be dialled.
fn behind_routers_of(most: usize, patience: Duration, public: bool) -> (World, [NodeId; 2]) {
    let sample = file(10_000_000, 256 * 1024);
    let conf = loud().with(|conf| {
        conf.peers.max_rendezvous = most;
        (conf.peers.reconnect_min, conf.peers.reconnect_max) = (secs(900), secs(900));
        conf.peers.handshake_timeout = patience;
    });
    let mut world = World::new(3);
    let relay = world.node(conf.clone().with(|conf| conf.network.limits.up = Rate::new(50_000)));
    world.seed_with(relay, &sample);
    if public {
        let known = world.node(conf.clone());
        let addr = world.addr(known);
        world.download(known, &sample, &[]);
        world.tell(relay, |verbs| {
            let id = verbs.torrents()[0];
            verbs.add_peer(id, addr).unwrap();
        });
    }
    let nodes = [world.node(conf.clone()), world.node(conf)];
    for node in nodes {
        world.set_nat(node, Nat::Restricted);
        world.set_nat_ttl(node, secs(1));
        world.keep_port(node);
    }
    world.download(nodes[0], &sample, &[relay]);
    world.run_for(secs(70));
    world.download(nodes[1], &sample, &[relay]);
    (world, nodes)
}

#[test]
fn relay_connects_two_that_cannot_dial_each_other() {
    let (mut world, [one, two]) = behind_routers(10);
    assert!(world.run_until(|w| met(w, one, two) && met(w, two, one), secs(12)));
}

#[test]
fn two_behind_routers_do_not_meet_without_rendezvous() {
    let (mut world, [one, two]) = behind_routers(0);
    assert!(!world.run_until(|w| met(w, one, two) || met(w, two, one), secs(200)));
}

/// A peer that sends messages of the extension once it is greeted.
#[derive(Debug)]
struct Asker {
    hash: InfoHash,
    offers: bool,
    says: Vec<HolepunchMessage>,
    /// The peers that it names (BEP 11).
    names: Vec<(SocketAddr, PexFlags)>,
    heard: Vec<HolepunchMessage>,
    /// The names of the extensions that it was offered.
    offered: Vec<Vec<u8>>,
    conns: BTreeMap<ConnId, Tap>,
}

fn asker(sample: &Sample, offers: bool, says: Vec<HolepunchMessage>) -> Asker {
    let (heard, offered, conns) = (Vec::new(), Vec::new(), BTreeMap::new());
    let (hash, names) = (sample.metainfo.info_hash(), Vec::new());
    Asker { hash, offers, says, names, heard, offered, conns }
}

fn message(kind: HolepunchKind, addr: SocketAddr) -> HolepunchMessage {
    HolepunchMessage { kind, addr }
}

fn say(talk: &mut Talk<'_>, conn: ConnId, message: &Message<'_>) {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    talk.send(conn, bytes);
}

impl Script for Asker {
    fn connected(&mut self, talk: &mut Talk<'_>, conn: ConnId, _: bool) {
        self.conns.insert(conn, Tap::default());
        let reserved = Reserved::default().with_extensions();
        let greeting = Handshake { reserved, info_hash: self.hash, peer_id: PeerId([b'p'; 20]) };
        talk.send(conn, greeting.encode());
        let mut hello = ExtensionHandshake::default();
        if self.offers {
            hello.set(UT_HOLEPUNCH, OUR_ID).unwrap();
        }
        say(talk, conn, &Message::Extended { id: 0, payload: &hello.encode() });
    }

    fn data(&mut self, talk: &mut Talk<'_>, conn: ConnId, bytes: &[u8]) {
        let Some(tap) = self.conns.get_mut(&conn) else { return };
        let (offered, heard, mut greeted) = (&mut self.offered, &mut self.heard, false);
        tap.take(bytes, |word| match word {
            Word::Message(Message::Extended { id: 0, payload }) => {
                let hello = ExtensionHandshake::decode(payload).unwrap();
                offered.extend(hello.extensions().map(|(name, _)| name.to_vec()));
                greeted = true;
            }
            Word::Message(Message::Extended { id: OUR_ID, payload }) => {
                heard.push(HolepunchMessage::decode(payload).unwrap());
            }
            _ => {}
        });
        if greeted && !self.names.is_empty() {
            let added = std::mem::take(&mut self.names);
            let payload = PexMessage { added, dropped: Vec::new() }.encode();
            say(talk, conn, &Message::Extended { id: UT_PEX_ID, payload: &payload });
        }
        for message in if greeted { std::mem::take(&mut self.says) } else { Vec::new() } {
            let payload = message.encode();
            say(talk, conn, &Message::Extended { id: UT_HOLEPUNCH_ID, payload: &payload });
        }
    }
}

/// An engine that serves to these peers, after some seconds.
fn relay(sample: &Arc<Sample>, peers: impl IntoIterator<Item = Asker>) -> (World, Vec<NodeId>) {
    let mut world = World::new(4);
    let mut nodes = vec![world.node(loud())];
    let own = world.addr(nodes[0]).ip();
    world.tell(nodes[0], |verbs| verbs.set_external_addr(own));
    nodes.extend(peers.into_iter().map(|peer| world.scripted(peer)));
    let params = world.params(nodes[0], sample, &nodes[1..]);
    world.put_pieces(nodes[0], sample, &Bitfield::all(sample.geometry().piece_count()));
    world.add_torrent(nodes[0], sample, params);
    world.run_for(secs(5));
    (world, nodes)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn rendezvous_that_cannot_be_had_is_answered_with_its_reason() {
    let sample = file(100_000, 32 * 1024);
    // Nodes have their addresses by number: the relay, one that asks, one without the extension.
    let [own, _, deaf] = [0, 1, 2].map(|nth| SocketAddr::from(([10, 0, nth, 1], 6881)));
    let cases = [
        (addr("10.9.9.9:0"), HolepunchFailure::NoSuchPeer),
        (addr("127.0.0.1:6881"), HolepunchFailure::NoSuchPeer),
        (addr("10.9.9.9:6881"), HolepunchFailure::NotConnected),
        (deaf, HolepunchFailure::NoSupport),
        (own, HolepunchFailure::NoSelf),
    ];
    let says = cases.map(|(addr, _)| message(HolepunchKind::Rendezvous, addr)).to_vec();
    let peers = [asker(&sample, true, says), asker(&sample, false, Vec::new())];
    let (world, nodes) = relay(&sample, peers);
    let expected = cases.map(|(addr, why)| message(HolepunchKind::Error(why), addr));
    assert_eq!(world.script::<Asker>(nodes[1]).heard, expected);
    assert_eq!(world.script::<Asker>(nodes[2]).heard, []);
}

#[test]
fn relay_tells_both_peers_of_each_other() {
    let sample = file(100_000, 32 * 1024);
    let [_, one, two] = [0, 1, 2].map(|nth| SocketAddr::from(([10, 0, nth, 1], 6881)));
    let says = vec![message(HolepunchKind::Rendezvous, two)];
    let peers = [asker(&sample, true, says), asker(&sample, true, Vec::new())];
    let (world, nodes) = relay(&sample, peers);
    let heard = |nth: usize| world.script::<Asker>(nodes[nth]).heard.clone();
    assert_eq!(heard(1), [message(HolepunchKind::Connect, two)]);
    assert_eq!(heard(2), [message(HolepunchKind::Connect, one)]);
}

#[test]
fn rendezvous_of_one_peer_are_bounded() {
    let sample = file(100_000, 32 * 1024);
    let two = SocketAddr::from(([10, 0, 2, 1], 6881));
    let says = vec![message(HolepunchKind::Rendezvous, two); 500];
    let peers = [asker(&sample, true, says), asker(&sample, true, Vec::new())];
    let (world, nodes) = relay(&sample, peers);
    for nth in [1, 2] {
        assert_eq!(world.script::<Asker>(nodes[nth]).heard.len(), 10);
    }
}

#[test]
fn relay_that_names_many_peers_makes_us_dial_few() {
    let sample = file(100_000, 32 * 1024);
    let says = (1..=200)
        .map(|nth| message(HolepunchKind::Connect, SocketAddr::from(([10, 9, nth, 1], 6881))));
    let liars = (0..3).map(|_| asker(&sample, true, says.clone().collect()));
    let (world, nodes) = relay(&sample, liars);
    let strangers = |(_, alert): &&(Instant, Alert)| matches!(alert, Alert::PeerGone { addr, .. } if addr.ip().to_string().starts_with("10.9."));
    let stats = world.stats(nodes[0]);
    let gone = world.alerts(nodes[0]).iter().filter(strangers).count();
    assert!(stats.candidates + gone <= 10, "{stats:?}");
}

#[test]
fn rendezvous_is_asked_for_peers_that_take_part_alone() {
    let sample = file(100_000, 32 * 1024);
    let (plain, takes_part) = (addr("10.9.1.1:6881"), addr("10.9.2.1:6881"));
    let (unreached, public) = (addr("10.9.3.1:6881"), addr("10.9.4.1:6881"));
    let asked = |names: &[(SocketAddr, PexFlags)], time: u64| {
        let names = names.to_vec();
        let peer = Asker { names, ..asker(&sample, true, Vec::new()) };
        let (mut world, nodes) = relay(&sample, [peer]);
        // In `relay` five seconds have passed.
        world.run_for(secs(time - 5));
        let mut heard = world.script::<Asker>(nodes[1]).heard.clone();
        heard.sort_by_key(|message| message.addr);
        heard
    };
    let rendezvous = |addr| message(HolepunchKind::Rendezvous, addr);
    let punches = PexFlags::HOLEPUNCH;
    // Only after a dial has failed, if nothing is said of reach.
    let both = [(plain, PexFlags::default()), (takes_part, punches)];
    assert_eq!(asked(&both, 60), [rendezvous(takes_part)]);
    assert_eq!(asked(&both, 5), []);
    // At once if others were reached.
    let reach = [(unreached, punches), (public, punches | PexFlags::REACHABLE)];
    assert_eq!(asked(&reach, 5), [rendezvous(unreached)]);
}

#[test]
fn two_behind_routers_meet_before_a_dial_has_failed() {
    let (mut world, [one, two]) = behind_routers_of(10, secs(60), true);
    assert!(world.run_until(|w| met(w, one, two) && met(w, two, one), secs(12)));
}

#[test]
fn private_torrent_takes_no_part_in_hole_punching() {
    let open = file(100_000, 32 * 1024);
    let metainfo = Metainfo { private: true, ..Metainfo::clone(&open.metainfo) };
    let closed = open.with_metainfo(metainfo);
    for (sample, offered) in [(open, true), (closed, false)] {
        let says = vec![message(HolepunchKind::Rendezvous, addr("10.9.9.9:6881"))];
        let (world, nodes) = relay(&sample, [asker(&sample, true, says)]);
        let peer = world.script::<Asker>(nodes[1]);
        assert_eq!(peer.offered.iter().any(|name| name == UT_HOLEPUNCH), offered);
        assert_eq!(peer.heard.len(), usize::from(offered));
    }
}
