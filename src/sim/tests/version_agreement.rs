//! Hybrids whose pieces were verified by version 1 before version 2 was known (BEP 52): both are
//! held against each other as soon as that can be done, and a lie is told.

use super::{versions::spoiled_swarm, *};
use crate::wire::metainfo::{Format, Metainfo};

const BLOCK: u64 = 16_384;

pub(super) fn hybrid(seed: u64) -> Arc<Sample> {
    let files = [("a", 40 * BLOCK + 5), ("b", 3 * BLOCK)];
    Sample::folder_of(Format::Hybrid, "both", &files, BLOCK as u32, seed).unwrap()
}

/// A hybrid whose version 1 is of the one data, and whose version 2 is of the other; with the one.
pub(super) fn lying(one: &Sample, other: &Sample) -> Arc<Sample> {
    let trees = other.metainfo.trees.clone();
    one.with_metainfo(Metainfo { trees, ..Metainfo::clone(&one.metainfo) })
}

pub(super) fn contradicts(alert: &Alert) -> bool {
    matches!(alert, Alert::HashesContradict { .. })
}

fn has_layers(world: &World, node: NodeId) -> bool {
    let metainfo = world.engine(node).metainfo(world.torrent(node));
    metainfo.is_some_and(|metainfo| metainfo.trees.as_ref().is_some_and(|t| t.is_complete()))
}

/// When a node first opened its torrent with something to check.
fn first_check(world: &World, node: NodeId) -> Option<Instant> {
    world.told(node, |alert| matches!(alert, Alert::Opened { to_check: 1.., .. }))
}

#[test]
fn lie_of_a_hybrid_is_found_when_its_file_is_whole() {
    let (one, other) = (hybrid(1), hybrid(2));
    let wrong = lying(&one, &other).without_layers();
    let mut world = World::new(1);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &one.as_v1());
    world.download(leech, &wrong, &[seed]);
    assert!(world.run_until(|w| w.told(leech, contradicts).is_some(), secs(60)));
    world.run_for(secs(5));
    assert_eq!((world.stats(leech).phase, banned(&world, leech).len()), (Phase::Paused, 0));
}

#[test]
fn lie_of_a_hybrid_is_found_when_its_layers_come() {
    let (one, other) = (hybrid(1), hybrid(2));
    let wrong = lying(&one, &other);
    // The other data is what version 2 is of.
    let v2 = other.with_metainfo(wrong.metainfo.clone()).as_v2();
    let mut world = World::new(2);
    let [slow, rich, leech] = std::array::from_fn(|_| world.node(loud()));
    world.set_line(slow, Line { bandwidth: 20_000, ..Line::default() });
    world.seed_with(slow, &one.as_v1());
    world.seed_with(rich, &v2);
    world.download(leech, &wrong.without_layers(), &[slow]);
    assert!(world.run_until(|w| w.stats(leech).have > 4, secs(60)));
    let (addr, id) = (world.addr(rich), world.torrent(leech));
    world.tell(leech, |verbs| verbs.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.told(leech, contradicts).is_some(), secs(60)));
    world.run_for(secs(5));
    assert_eq!((world.stats(leech).phase, banned(&world, leech).len()), (Phase::Paused, 0));
    // What is of the one version alone is not had any more, as far as the other is known.
    let have = world.engine(leech).have(id).unwrap();
    assert!(have.count() < 4, "{have:?}");
}

#[test]
fn lie_of_a_hybrid_on_disk_is_told_by_a_check() {
    let (one, other) = (hybrid(1), hybrid(2));
    for wrong in [lying(&one, &other), lying(&one, &other).without_layers()] {
        let mut world = World::new(3);
        let node = world.node(loud());
        world.seed_with(node, &wrong);
        assert!(world.run_until(|w| w.told(node, contradicts).is_some(), secs(60)));
        world.run_for(secs(5));
        assert_eq!(world.stats(node).phase, Phase::Paused);
        let told = world.alerts(node).iter().filter(|(_, alert)| contradicts(alert)).count();
        assert!(told <= 2, "it is told {told} times");
    }
}

#[test]
fn whole_hybrid_has_layers_that_no_peer_gave() {
    let sample = hybrid(1);
    let mut world = World::new(4);
    let kept = loud().with(|conf| conf.session.dir = Some("/session".into()));
    let [seed, middle, leech] = [loud(), kept, loud()].map(|conf| world.node(conf));
    world.seed_with(seed, &sample.as_v1());
    world.download(middle, &sample.without_layers(), &[seed]);
    assert!(world.run_until(|w| w.is_complete(middle), secs(60)));
    assert!(world.run_until(|w| has_layers(w, middle), secs(10)));
    assert!(world.told(middle, contradicts).is_none());
    // They are kept, and one of version 2 alone gets them.
    world.run_for(secs(3));
    world.kill(middle);
    world.restart(middle);
    world.run_for(secs(3));
    assert!(has_layers(&world, middle));
    world.download(leech, &sample.as_v2().without_layers(), &[middle]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
    // The state was saved once more with them, so nothing is checked.
    assert_eq!(first_check(&world, middle), None);
}

#[test]
fn pieces_of_an_earlier_run_are_held_against_their_layers() {
    let (one, other) = (hybrid(1), hybrid(2));
    for lies in [false, true] {
        let sample = if lies { lying(&one, &other) } else { one.clone() };
        let mut world = World::new(5);
        let (seed, leech) = (world.node(loud()), world.node(loud()));
        world.set_line(seed, Line { bandwidth: 20_000, ..Line::default() });
        world.seed_with(seed, &one.as_v1());
        world.download(leech, &sample.without_layers(), &[seed]);
        assert!(world.run_until(|w| w.stats(leech).have > 20, secs(600)));
        world.run_for(secs(1));
        world.kill(leech);
        world.restart(leech);
        let over = |w: &World| has_layers(w, leech) || w.told(leech, contradicts).is_some();
        assert!(world.run_until(over, secs(600)), "{:?}", world.stats(leech));
        assert_eq!(world.told(leech, contradicts).is_some(), lies);
        assert_eq!(has_layers(&world, leech), !lies);
    }
}

/// Two peers, one of which spoils some blocks; whether what the other gave of a bad piece stays.
fn spoil(piece_len: u64, seed: u64) -> Option<(u64, u64)> {
    let files = [("a", 5), ("b", 4 * piece_len)];
    let sample = Sample::folder_of(Format::V2, "two", &files, piece_len as u32, 1).unwrap();
    let (mut world, [good, _], leech) = spoiled_swarm(&sample, seed, 12);
    assert!(world.run_until(|w| w.is_complete(leech), secs(300)), "{:?}", world.stats(leech));
    let stats = world.stats(leech);
    assert!(!banned(&world, leech).contains(&world.addr(good)));
    (stats.failed_pieces > 0).then_some((stats.failed_pieces, stats.wasted))
}

#[test]
fn good_blocks_of_a_bad_piece_are_not_fetched_again() {
    // Pieces of one run, and of several.
    for piece_len in [16 * BLOCK, 128 * BLOCK] {
        let failed: Vec<_> = (0..12).filter_map(|seed| spoil(piece_len, seed)).collect();
        assert!(failed.len() > 4, "only {} runs had a piece that failed", failed.len());
        // The bad ones alone, and what came of them twice; all of it where there was no peer to
        // give leaves.
        let is_kept = |&&(pieces, wasted): &&(u64, u64)| wasted < pieces * piece_len / 2;
        let kept = failed.iter().filter(is_kept).count();
        assert!(kept * 4 >= failed.len() * 3, "{kept} of {failed:?}, pieces of {piece_len}");
    }
}

/// How many pieces were believed and how many were to be checked when a node opened its torrent
/// last.
fn opened(world: &World, node: NodeId) -> (u32, u32) {
    let opened = |alert: &Alert| match alert {
        Alert::Opened { have, to_check, .. } => Some((*have, *to_check)),
        _ => None,
    };
    world.alerts(node).iter().rev().find_map(|(_, alert)| opened(alert)).unwrap()
}

fn remove(world: &mut World, node: NodeId) {
    let id = world.torrent(node);
    let name = world.engine(node).metainfo(id).unwrap().info_hash();
    world.tell(node, |verbs| verbs.remove(id)).unwrap();
    assert!(world.run_until(|w| w.engine(node).find(name).is_none(), secs(60)));
}

#[test]
fn pieces_by_v1_alone_are_checked_when_added_with_layers() {
    let (one, other) = (hybrid(1), hybrid(2));
    for (lies, killed) in [(true, false), (true, true), (false, false), (false, true)] {
        let whole = if lies { lying(&one, &other) } else { one.clone() };
        let mut world = World::new(6);
        let (seed, leech) = (world.node(loud()), world.node(loud()));
        world.set_line(seed, Line { bandwidth: 20_000, ..Line::default() });
        world.seed_with(seed, &one.as_v1());
        world.download(leech, &whole.without_layers(), &[seed]);
        // So few that no file is whole, which would tell the lie.
        assert!(world.run_until(|w| w.stats(leech).have > 10, secs(600)));
        if killed {
            // The state that goes on says no more than the one before.
            world.run_for(secs(1));
            world.kill(leech);
            world.restart(leech);
            assert!(world.run_until(|w| w.stats(leech).have > 12, secs(600)));
        }
        remove(&mut world, leech);
        let id = world.download(leech, &whole, &[]);
        world.run_for(secs(20));
        let (believed, checked) = opened(&world, leech);
        assert!(believed == 0 && checked > 10, "{believed} believed, {checked} checked");
        let have = world.engine(leech).have(id).unwrap().count();
        assert_eq!(
            (have, world.told(leech, contradicts).is_some()),
            if lies { (0, true) } else { (checked, false) }
        );
        // What is left was verified by both, and is not checked again.
        remove(&mut world, leech);
        world.download(leech, &whole, &[]);
        world.run_for(secs(5));
        assert_eq!(opened(&world, leech), (have, 0));
    }
}

#[test]
fn state_vouches_for_both_versions_once_layers_have_come() {
    let sample = hybrid(1);
    for in_session in [false, true] {
        let mut world = World::new(7);
        let kept = loud().with(|conf| conf.session.dir = in_session.then(|| "/session".into()));
        let [slow, rich, leech] = [loud(), loud(), kept].map(|conf| world.node(conf));
        world.set_line(slow, Line { bandwidth: 20_000, ..Line::default() });
        world.seed_with(slow, &sample.as_v1());
        world.seed_with(rich, &sample.as_v2());
        world.download(leech, &sample.without_layers(), &[slow]);
        assert!(world.run_until(|w| w.stats(leech).have > 4, secs(60)));
        let (addr, id) = (world.addr(rich), world.torrent(leech));
        world.tell(leech, |verbs| verbs.add_peer(id, addr)).unwrap();
        assert!(world.run_until(|w| w.is_complete(leech) && has_layers(w, leech), secs(60)));
        world.run_for(secs(30));
        if in_session {
            world.kill(leech);
            world.restart(leech);
        } else {
            remove(&mut world, leech);
            world.download(leech, &sample, &[]);
        }
        // It is needed, and so it is opened.
        let another = world.node(loud());
        world.download(another, &sample.as_v2(), &[leech]);
        assert!(world.run_until(|w| w.is_complete(another), secs(60)));
        assert_eq!(first_check(&world, leech), None);
    }
}
