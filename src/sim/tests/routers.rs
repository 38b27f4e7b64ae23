//! Peers behind routers: who can be dialled, and that a swarm completes if it can.

use super::*;
use crate::{engine::Verbs, torrent::candidates::PeerSource};

/// One seed behind a router, and only a leech that dials it: whether the leech gets the torrent.
fn behind(rule: Nat, seed_dials_leech: bool, reachable: bool) {
    let mut outcome = Scenario::swarm(1).seeds_behind(rule).within(secs(60)).begin();
    if seed_dials_leech {
        let (seed, leech) = (outcome.cast.seeds[0], outcome.cast.leeches[0]);
        let (id, addr) = (outcome.world.torrent(seed), outcome.world.addr(leech));
        outcome.world.run_for(millis(100));
        outcome.world.tell(seed, |engine| engine.add_peer(id, addr)).unwrap();
    }
    outcome.go_on();
    let outcome =
        if reachable { outcome.completes().honestly() } else { outcome.does_not_complete() };
    outcome.then_all_shut_down();
}

cases! { behind:
    silent_seed_behind_a_full_cone_gets_no_connection => Nat::FullCone, false, false;
    seed_behind_a_restricted_cone_gets_no_connection => Nat::Restricted, false, false;
    seed_behind_a_port_restricted_cone_gets_no_connection => Nat::PortRestricted, false, false;
    seed_behind_a_symmetric_router_gets_no_connection => Nat::Symmetric, false, false;
    a_seed_behind_a_full_cone_may_dial_itself => Nat::FullCone, true, true;
    a_seed_behind_a_restricted_cone_may_dial_itself => Nat::Restricted, true, true;
    a_seed_behind_a_symmetric_router_may_dial_itself => Nat::Symmetric, true, true;
}

/// Leeches behind routers of their own and a seed that everybody can dial.
fn leeches_behind(rule: Nat) {
    for seed in 0..3 {
        let outcome = Scenario::swarm(seed)
            .leeches(5)
            .on(Line::dsl())
            .behind(rule)
            .run()
            .completes()
            .honestly();
        let (world, cast) = (&outcome.world, &outcome.cast);
        let between = |a: NodeId, b: NodeId| world.bytes_read(a, b) > 0;
        let leeches = &cast.leeches;
        let met = leeches.iter().any(|&a| leeches.iter().any(|&b| between(a, b)));
        assert_eq!(
            met,
            matches!(rule, Nat::Open | Nat::FullCone),
            "seed {seed}: whether leeches met"
        );
    }
}

cases! { leeches_behind:
    leeches_without_routers_meet => Nat::Open;
    leeches_behind_full_cones_meet_once_they_have_dialled => Nat::FullCone;
    leeches_behind_restricted_cones_do_not_meet_unless_both_dial => Nat::Restricted;
    leeches_behind_symmetric_routers_never_meet => Nat::Symmetric;
}

#[test]
fn two_behind_restricted_cones_meet_when_both_dial() {
    let mut outcome =
        Scenario::swarm(2).leeches(1).seeds_behind(Nat::Restricted).behind(Nat::Restricted).begin();
    let (seed, leech) = (outcome.cast.seeds[0], outcome.cast.leeches[0]);
    let (id, addr) = (outcome.world.torrent(seed), outcome.world.addr(leech));
    outcome.world.run_for(millis(100));
    outcome.world.tell(seed, |engine| engine.add_peer(id, addr)).unwrap();
    outcome.go_on();
    outcome.completes().honestly();
}

#[test]
fn peers_behind_one_router_meet_by_local_addresses() {
    let mut outcome = Scenario::swarm(3)
        .leeches(2)
        .behind_one(Nat::Symmetric)
        .strangers()
        .on(Line::dsl())
        .begin();
    let (a, b) = (outcome.cast.leeches[0], outcome.cast.leeches[1]);
    let outer = outcome.world.addr(b);
    let inner = SocketAddr::from(([10, 0, 2, 1], 6881));
    let id = outcome.world.torrent(a);
    outcome.world.tell(a, |engine| engine.add_peer(id, outer)).unwrap();
    outcome.world.run_for(millis(600));
    assert_eq!(outcome.world.bytes_read(a, b), 0, "a router does not look back at itself");
    outcome.world.tell(a, |engine| engine.add_peer(id, inner)).unwrap();
    outcome.go_on();
    let outcome = outcome.completes().honestly();
    assert!(outcome.world.bytes_read(a, b) > 0);
}

#[test]
fn leeches_behind_one_router_share_one_hosts_slots() {
    let conf = loud().with(|conf| conf.peers.max_per_host = 3);
    let outcome = Scenario::swarm(4)
        .leeches(8)
        .behind_one(Nat::FullCone)
        .strangers()
        .on(Line::dsl())
        .seeds_with(conf);
    let mut outcome = outcome.within(secs(1200)).begin();
    outcome.world.run_for(secs(1));
    assert_eq!(outcome.world.stats(outcome.cast.seeds[0]).peers, 3);
    outcome.go_on();
    outcome.completes().honestly();
}

#[test]
fn router_without_a_mapping_admits_no_connection() {
    for (ttl, met) in [(3600, true), (30, false)] {
        let mut outcome = Scenario::swarm(5).leeches(1).seeds_behind(Nat::FullCone).begin();
        let (seed, leech) = (outcome.cast.seeds[0], outcome.cast.leeches[0]);
        outcome.world.set_nat_ttl(seed, secs(ttl));
        // It has dialled a node that does not listen, and given it up: no user named it.
        let id = outcome.world.torrent(seed);
        let gone = outcome.world.scripted(Closed);
        outcome.world.set_listening(gone, false);
        let addr = outcome.world.addr(gone);
        outcome.world.run_for(millis(100));
        outcome.world.tell(leech, |engine| engine.pause(engine.torrents()[0])).unwrap();
        let told = |engine: &mut Verbs<'_>| engine.add_peer_from(id, addr, PeerSource::Dht);
        outcome.world.tell(seed, told).unwrap();
        outcome.world.run_for(secs(300));
        outcome.world.tell(leech, |engine| engine.resume(engine.torrents()[0])).unwrap();
        outcome.world.run_for(secs(5));
        let _ = outcome.world.run_until(|w| w.is_complete(leech), secs(15));
        assert_eq!(outcome.world.is_complete(leech), met, "remembers for {ttl} s");
    }
}

#[derive(Debug)]
struct Closed;

impl Script for Closed {}

#[test]
fn one_open_leech_is_enough_for_many_that_cannot_be_dialled() {
    // The seed and all others but the last are behind symmetric routers; they all know the open
    // one, and no other node matters.
    let mut outcome = Scenario::swarm(6)
        .leeches(5)
        .seeds_behind(Nat::Symmetric)
        .on(Line::dsl())
        .within(secs(300))
        .begin();
    let (world, cast) = (&mut outcome.world, &outcome.cast);
    let open = cast.leeches[4];
    for &node in cast.seeds.iter().chain(&cast.leeches[..4]) {
        let (id, addr) = (world.torrent(node), world.addr(open));
        world.set_nat(node, Nat::Symmetric);
        world.tell(node, |engine| engine.add_peer(id, addr)).unwrap();
    }
    outcome.go_on();
    outcome.completes().honestly();
}
