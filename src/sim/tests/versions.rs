//! Torrents of version 2, and hybrids whose peers speak of them by either hash (BEP 52).

use super::*;
use crate::{
    base::ids::Identity,
    engine::TorrentParams,
    wire::{magnet::Magnet, metainfo::Format, tracker::AnnounceEvent},
};

const FILES: [SampleFile<'_>; 6] = [
    ("a", 5),
    ("b", 0),
    ("c/d", 40_000),
    ("e/f/g", 100_000),
    ("h", 2 * 16_384),
    ("i", 3 * 16_384 + 1),
];

fn folder(format: Format, piece_len: u32) -> Arc<Sample> {
    Sample::folder_of(format, "folder", &FILES, piece_len, 3).unwrap()
}

/// One node seeds the one, the other fetches the other: the same data, maybe as others see it.
fn transfer(seed: u64, from: &Arc<Sample>, to: &Arc<Sample>, conf: &Conf) {
    let mut world = World::new(seed);
    let (seeder, leech) = (world.node(conf.clone()), world.node(conf.clone()));
    world.seed_with(seeder, from);
    world.download(leech, to, &[seeder]);
    let done = world.run_until(|w| w.is_complete(leech), secs(600));
    assert!(done, "seed {seed}: {:?}", world.stats(leech));
    let stats = world.stats(leech);
    assert_eq!((stats.wasted, stats.failed_pieces, stats.unasked_blocks), (0, 0, 0));
    assert_eq!(stats.total_bytes, stats.have_bytes);
    let pads = |path: &std::path::PathBuf| path.iter().any(|part| part == ".pad");
    assert!(!world.disk(leech).paths().iter().any(pads), "a pad is stored");
}

#[test]
fn v2_torrent_arrives_whole_in_any_piece_length() {
    for (seed, piece_len) in [16_384, 32_768, 262_144].into_iter().enumerate() {
        let sample = folder(Format::V2, piece_len);
        transfer(seed as u64, &sample, &sample, &loud());
        // Runs that are shorter than a piece: the tree goes on from one to the next.
        let small = loud().with(|conf| conf.requests.run_len = 32 * 1024);
        transfer(seed as u64, &sample, &sample, &small);
    }
}

#[test]
fn hybrid_is_one_torrent_for_peers_of_both_versions() {
    for piece_len in [16_384, 65_536] {
        let hybrid = folder(Format::Hybrid, piece_len);
        let (v1, v2) = (hybrid.as_v1(), hybrid.as_v2());
        let pairs = [
            (&hybrid, &hybrid),
            (&hybrid, &v1),
            (&hybrid, &v2),
            (&v1, &hybrid),
            (&v2, &hybrid),
            (&v1, &v1),
            (&v2, &v2),
        ];
        for (seed, (from, to)) in pairs.into_iter().enumerate() {
            transfer(seed as u64, from, to, &loud());
        }
    }
}

#[test]
fn peers_of_one_version_meet_in_a_hybrid() {
    let hybrid = folder(Format::Hybrid, 32_768);
    let (v1, v2) = (hybrid.as_v1(), hybrid.as_v2());
    // Each of the seeds has half, and so neither leech of one version can do without the middle.
    let mut world = World::new(9);
    let [one, two, middle, left, right] = std::array::from_fn(|_| world.node(loud()));
    world.seed_with(one, &v1);
    world.seed_with(two, &v2);
    world.download(middle, &hybrid, &[one, two]);
    world.download(left, &v1, &[middle]);
    world.download(right, &v2, &[middle]);
    let all = [middle, left, right];
    let done = world.run_until(|w| all.iter().all(|&node| w.is_complete(node)), secs(600));
    assert!(done, "{:?}", all.map(|node| world.stats(node)));
}

#[test]
fn hybrid_without_layers_is_verified_by_version_1() {
    let hybrid = folder(Format::Hybrid, 32_768);
    transfer(1, &hybrid, &hybrid.without_layers(), &loud());
}

#[test]
fn download_of_v2_goes_on_after_a_restart() {
    for format in [Format::V2, Format::Hybrid] {
        let sample = folder(format, 16_384);
        let mut world = World::new(4);
        let (seeder, leech) = (world.node(loud()), world.node(loud()));
        world.set_line(seeder, Line { bandwidth: 20_000, ..Line::default() });
        world.seed_with(seeder, &sample);
        world.download(leech, &sample, &[seeder]);
        assert!(world.run_until(|w| w.stats(leech).have > 4, secs(600)));
        let had = world.stats(leech).have;
        world.kill(leech);
        world.restart(leech);
        assert!(world.run_until(|w| w.stats(leech).have >= had, secs(60)));
        assert!(world.run_until(|w| w.is_complete(leech), secs(600)), "{format:?}");
        assert!(world.stats(leech).downloaded < sample.geometry().held_len());
    }
}

/// Files of several pieces each, some of them equal: more layers than one message has.
fn layered(format: Format) -> Arc<Sample> {
    let files = [("a", 1200 * 16_384 + 5), ("b", 3 * 16_384), ("c", 5), ("d", 2 * 16_384 + 1)];
    Sample::folder_of(format, "layers", &files, 16_384, 3).unwrap()
}

#[test]
fn piece_layers_come_from_peers_before_the_data() {
    for format in [Format::V2, Format::Hybrid] {
        let sample = layered(format);
        let leech_has = if format == Format::V2 { sample.without_layers() } else { sample.clone() };
        transfer(1, &sample, &leech_has, &loud());
        // A seed that lacks them itself turns the leech down, which gets them from another.
        let mut world = World::new(2);
        let [poor, rich, leech] = std::array::from_fn(|_| world.node(loud()));
        world.seed_with(rich, &sample);
        world.download(poor, &sample.without_layers(), &[]);
        world.download(leech, &sample.without_layers(), &[poor, rich]);
        let done = world.run_until(|w| w.is_complete(leech), secs(600));
        assert!(done, "{:?}", world.stats(leech));
    }
}

#[test]
fn nothing_is_fetched_that_cannot_be_verified() {
    let sample = layered(Format::V2);
    for hashes in [HashManner::Reject, HashManner::Nothing] {
        let mut world = World::new(3);
        let mute = Manners { hashes, ..Manners::default() };
        let mute = world.scripted(Remote::seed(&sample, 0, mute));
        let leech = world.node(loud());
        world.download(leech, &sample.without_layers(), &[mute]);
        world.run_for(secs(120));
        let stats = world.stats(leech);
        // The file of one piece is its own root.
        assert_eq!((stats.have, stats.downloaded), (1, 5));
        // When another comes that has the layers, all is well.
        let other = world.node(loud());
        world.seed_with(other, &sample);
        let addr = world.addr(other);
        let id = world.torrent(leech);
        world.tell(leech, |verbs| verbs.add_peer(id, addr)).unwrap();
        assert!(world.run_until(|w| w.is_complete(leech), secs(600)), "{hashes:?}");
    }
}

#[test]
fn what_a_check_passed_over_is_checked_after_a_restart() {
    let sample = layered(Format::V2);
    let lacking = sample.without_layers();
    let mut world = World::new(8);
    let (seed, node) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    world.put_pieces(node, &lacking, &Bitfield::all(sample.geometry().piece_count()));
    world.download(node, &lacking, &[]);
    world.run_for(secs(5));
    // The file of one piece is its own root; of the others it cannot be said whether they are good.
    assert_eq!(world.stats(node).have, 1);
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    world.kill(node);
    world.restart(node);
    let (addr, id) = (world.addr(seed), world.torrent(node));
    world.tell(node, |verbs| verbs.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.is_complete(node), secs(60)), "{:?}", world.stats(node));
    assert_eq!(world.stats(node).downloaded, 0, "what was there is fetched again");
}

#[test]
fn check_that_ends_with_what_it_passes_over_retries_the_rest() {
    let files = [("a", 5), ("b", 100_000)];
    let sample = Sample::folder_of(Format::V2, "two", &files, 16_384, 3).unwrap();
    let lacking = sample.without_layers();
    let mut world = World::new(10);
    let node = world.node(loud());
    world.put_pieces(node, &lacking, &Bitfield::all(sample.geometry().piece_count()));
    world.disk(node).set(|t| t.fail_reads = true);
    world.download(node, &lacking, &[]);
    world.run_for(secs(3));
    assert!(world.is_in(node, Phase::Stalled), "{:?}", world.stats(node));
    world.disk(node).set(|t| *t = Troubles::default());
    let done = world.run_until(|w| w.is_in(node, Phase::Downloading), secs(120));
    assert!(done && world.stats(node).have == 1, "{:?}", world.stats(node));
}

#[test]
fn layers_that_came_are_kept_beside_the_state() {
    for format in [Format::V2, Format::Hybrid] {
        let sample = layered(format);
        let lacking = sample.without_layers();
        let mut world = World::new(9);
        let (seed, node) = (world.node(loud()), world.node(loud()));
        world.seed_with(seed, &sample);
        world.download(node, &lacking, &[seed]);
        assert!(world.run_until(|w| w.is_complete(node), secs(600)), "{:?}", world.stats(node));
        world.run_for(secs(60));
        let restart = |world: &mut World| {
            world.tell(node, |engine| engine.shutdown());
            assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
            world.kill(node);
            world.restart(node);
        };
        restart(&mut world);
        let reads = world.disk(node).calls(DiskCall::Read);
        world.run_for(secs(60));
        assert!(world.is_complete(node), "{:?}", world.stats(node));
        let id = world.torrent(node);
        let metainfo = world.engine(node).metainfo(id).unwrap();
        assert!(metainfo.trees.as_ref().is_some_and(|trees| trees.is_complete()));
        assert_eq!(world.disk(node).calls(DiskCall::Read), reads, "{format:?} is hashed again");
        // Others have them from it.
        world.kill(seed);
        let late = world.node(loud());
        world.download(late, &lacking, &[node]);
        assert!(world.run_until(|w| w.is_complete(late), secs(600)), "{:?}", world.stats(late));
    }
}

#[test]
fn liar_about_hashes_is_banned_and_another_is_believed() {
    let sample = layered(Format::V2);
    for nth in [0, 1, 511, 512, 520] {
        let mut world = World::new(nth as u64);
        let lies = Manners { hashes: HashManner::False(nth), ..Manners::default() };
        let liar = world.scripted(Remote::seed(&sample, 0, lies));
        let honest = world.scripted(Remote::seed(&sample, 1, Manners::default()));
        let leech = world.node(loud());
        world.download(leech, &sample.without_layers(), &[liar, honest]);
        assert!(world.run_until(|w| w.is_complete(leech), secs(600)), "{:?}", world.stats(leech));
        let (banned, stats) = (banned(&world, leech), world.stats(leech));
        assert!(!banned.contains(&world.addr(honest)) && stats.failed_pieces == 0);
        assert!(banned.contains(&world.addr(liar)), "hash {nth}");
    }
}

/// A leech and two peers, of which the first gives what is right, and the second spoils one block
/// in `spoils`. Few blocks are on order at a time, so that both work on each piece.
pub(super) fn spoiled_swarm(
    sample: &Arc<Sample>,
    seed: u64,
    spoils: u32,
) -> (World, [NodeId; 2], NodeId) {
    let conf = loud().with(|conf| {
        conf.requests.initial_pipeline = 2;
        conf.requests.max_pipeline = 4;
    });
    let mut world = World::new(seed);
    let hit = one_in(spoils);
    let good = Manners { block_time: millis(3), ..Manners::default() };
    let bad = Manners {
        block_time: millis(8),
        answer: Box::new(move |asked| if hit(asked) { Answer::Bad } else { Answer::Good }),
        ..Manners::default()
    };
    let peers = [(0, good), (1, bad)]
        .map(|(nth, manners)| world.scripted(Remote::seed(sample, nth, manners)));
    let leech = world.node(conf);
    world.download(leech, sample, &peers);
    (world, peers, leech)
}

#[test]
fn leaves_tell_who_spoiled_a_piece_before_it_is_good() {
    // Two pieces of 16 blocks.
    let sample =
        Sample::folder_of(Format::V2, "two", &[("a", 5), ("b", 512 * KIB)], 256 * 1024, 1).unwrap();
    leaves_tell_who_spoiled(&sample);
}

#[test]
fn leaves_of_equal_files_tell_who_spoiled_either() {
    // Two long pieces and two of a byte.
    let files = [("a", 256 * KIB + 1), ("b", 256 * KIB + 1)];
    let sample = Sample::equal_files(Format::V2, "equal", &files, 256 * 1024, 1).unwrap();
    leaves_tell_who_spoiled(&sample);
}

fn leaves_tell_who_spoiled(sample: &Arc<Sample>) {
    let mut shared = 0;
    for seed in 0..20 {
        let (mut world, [good, bad], leech) = spoiled_swarm(sample, seed, 5);
        let failed = |w: &World| w.stats(leech).failed_pieces > 0;
        if !world.run_until(|w| failed(w) || w.is_complete(leech), secs(300)) || !failed(&world) {
            continue;
        }
        let contributors =
            |a: &Alert| matches!(a, Alert::PieceFailed { contributors, .. } if *contributors > 1);
        if world.told(leech, contributors).is_none() {
            continue;
        }
        shared += 1;
        world.run_for(millis(300));
        assert!(banned(&world, leech).contains(&world.addr(bad)), "seed {seed}");
        assert!(!banned(&world, leech).contains(&world.addr(good)), "seed {seed}");
        assert!(world.run_until(|w| w.is_complete(leech), secs(300)));
    }
    assert!(shared > 3, "only {shared} runs had a shared piece that failed");
}

#[test]
fn hybrid_with_contradicting_hashes_is_paused_without_blame() {
    let sample = folder(Format::Hybrid, 32_768);
    let mut metainfo = crate::wire::metainfo::Metainfo::clone(&sample.metainfo);
    let mut pieces = metainfo.pieces.to_vec();
    pieces[2][0] ^= 1;
    metainfo.pieces = pieces.into();
    let wrong = sample.with_metainfo(metainfo);
    let mut world = World::new(1);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    world.download(leech, &wrong, &[seed]);
    let contradicts =
        |a: &Alert| matches!(a, Alert::HashesContradict { piece, .. } if piece.get() == 2);
    assert!(world.run_until(|w| w.told(leech, contradicts).is_some(), secs(600)));
    world.run_for(secs(5));
    assert_eq!((world.stats(leech).phase, banned(&world, leech).len()), (Phase::Paused, 0));
}

/// A node that keeps its session.
fn kept() -> Conf {
    loud().with(|conf| conf.session.dir = Some("/session".into()))
}

/// The sample as one adds it who has a link with this hash of it.
fn by_link(sample: &Sample, identity: Identity) -> TorrentParams {
    let params = TorrentParams::new(sample.metainfo.clone(), "/download");
    TorrentParams { source: Magnet::new(identity).into(), ..params }
}

#[test]
fn v2_magnet_is_kept_with_the_layers_that_came() {
    for format in [Format::V2, Format::Hybrid] {
        let sample = layered(format);
        let v2 = Identity::of_v2(sample.metainfo.identity.v2().unwrap());
        let mut world = World::new(5);
        let (seed, leech) = (world.node(loud()), world.node(kept()));
        world.seed_with(seed, &sample);
        world.allow_folder(leech, "/download");
        let peers = vec![world.addr(seed)];
        let params = TorrentParams { peers, ..by_link(&sample, v2) };
        let id = world.add_torrent(leech, &sample, params);
        assert!(world.run_until(|w| w.is_complete(leech), secs(600)), "{:?}", world.stats(leech));
        world.run_for(secs(3));
        let known = |w: &World, id| {
            let metainfo = w.engine(leech).metainfo(id).unwrap();
            (metainfo.identity, metainfo.trees.as_ref().is_some_and(|trees| trees.is_complete()))
        };
        assert_eq!(known(&world, id), (sample.metainfo.identity, true));
        world.kill(leech);
        world.restart(leech);
        world.run_for(secs(3));
        assert_eq!(world.stats_of(leech).len(), 1, "{format:?}");
        let id = world.torrent(leech);
        assert_eq!(known(&world, id), (sample.metainfo.identity, true));
        assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    }
}

#[test]
fn two_magnets_of_a_hybrid_become_one_torrent() {
    let sample = layered(Format::Hybrid);
    let (v1, v2) = (sample.metainfo.identity.v1(), sample.metainfo.identity.v2());
    let mut world = World::new(6);
    let (seed, leech) = (world.node(loud()), world.node(kept()));
    world.seed_with(seed, &sample);
    world.allow_folder(leech, "/download");
    let one = by_link(&sample, Identity::of_v1(v1.unwrap()));
    let two = by_link(&sample, Identity::of_v2(v2.unwrap()));
    let first = world.tell(leech, |verbs| verbs.add_torrent(one)).unwrap();
    let second = world.tell(leech, |verbs| verbs.add_torrent(two)).unwrap();
    assert_ne!(first, second);
    // The one that hears of the peer stays, whichever that is.
    let addr = world.addr(seed);
    world.tell(leech, |verbs| verbs.add_peer(second, addr)).unwrap();
    let of = |a: &Alert| match a {
        Alert::Merged { torrent, twin } => Some((*torrent, *twin)),
        _ => None,
    };
    let merged = |a: &Alert| of(a) == Some((second, first));
    assert!(world.run_until(|w| w.told(leech, merged).is_some(), secs(60)));
    let done = |w: &World| w.stats_of(leech).iter().all(|s| s.have == s.pieces && s.pieces > 0);
    assert!(world.run_until(done, secs(600)), "{:?}", world.stats_of(leech));
    world.run_for(secs(3));
    let engine = world.engine(leech);
    assert_eq!(engine.torrents(), [second]);
    let found = [v1.unwrap(), v2.unwrap().truncated()].map(|hash| engine.find(hash));
    assert_eq!(found, [Some(second); 2]);
    world.kill(leech);
    world.restart(leech);
    world.run_for(secs(3));
    assert_eq!(world.engine(leech).torrents().len(), 1);
}

#[test]
fn hybrid_tells_its_trackers_by_both_hashes() {
    let sample = folder(Format::Hybrid, 32_768);
    let mut world = World::new(7);
    let tracker = world.tracker();
    let tiers = vec![vec![world.tracker_url(tracker)]];
    let tracked = |world: &World, node, sample: &Arc<Sample>| TorrentParams {
        trackers: Some(tiers.clone()),
        ..world.params(node, sample, &[])
    };
    let hybrid = world.node(loud());
    let params = tracked(&world, hybrid, &sample);
    world.put_pieces(hybrid, &sample, &Bitfield::all(sample.geometry().piece_count()));
    world.add_torrent(hybrid, &sample, params);
    world.run_for(secs(5));
    // Those of one version find it by their hash.
    let others = [sample.as_v1(), sample.as_v2()].map(|sample| {
        let node = world.node(loud());
        let params = tracked(&world, node, &sample);
        world.add_torrent(node, &sample, params);
        node
    });
    let done = world.run_until(|w| others.iter().all(|&node| w.is_complete(node)), secs(120));
    assert!(done, "{:?}", others.map(|node| world.stats(node)));
    world.tell(hybrid, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(hybrid).is_drained(), secs(6)));
    let told = |hash| {
        let told = world.told_to(tracker).iter();
        let own = told.filter(|told| told.node == hybrid && told.info_hash == hash);
        own.map(|told| told.event).collect::<Vec<_>>()
    };
    let identity = sample.metainfo.identity;
    for hash in [identity.v1().unwrap(), identity.v2().unwrap().truncated()] {
        let events = told(hash);
        assert_eq!(events.first(), Some(&AnnounceEvent::Started));
        assert_eq!(events.last(), Some(&AnnounceEvent::Stopped));
    }
}
