//! Bytes that users read: of whole pieces, and of pieces that are not whole once their blocks are
//! verified by their leaves (BEP 52). Each read is answered once, and never by a wrong byte, which
//! the world checks after every event.

use super::*;
use crate::{
    alert::{ReadBytes, ReadFailure},
    base::{files::Priority, ids::ReadId},
    engine::{MoveMode, ReadError, TorrentParams},
    wire::{magnet::Magnet, metainfo::Format},
};

const BLOCK: u64 = 16 * KIB;

/// What comes of a read.
type Outcome = Result<ReadBytes, ReadFailure>;

/// A read that a node was asked for.
#[derive(Clone, Copy)]
struct Begun {
    node: NodeId,
    read: ReadId,
    /// Alerts that had come before. Another life of the node has other reads of the same names.
    told: usize,
}

impl Begun {
    /// What came of it, if it is answered.
    fn answer(self, world: &World) -> Option<Outcome> {
        let of = |alert: &Alert| match alert {
            Alert::ReadDone { read, result, .. } if *read == self.read => Some(result.clone()),
            _ => None,
        };
        world.alerts(self.node)[self.told..].iter().find_map(|(_, alert)| of(alert))
    }
}

fn begin(world: &mut World, node: NodeId, (file, offset, len): (usize, u64, u64)) -> Begun {
    let (id, told) = (world.torrent(node), world.alerts(node).len());
    let read = world.tell(node, |verbs| verbs.read(id, file, offset, len as usize)).unwrap();
    Begun { node, read, told }
}

/// Reads, and waits for the answer.
fn read(world: &mut World, node: NodeId, what: (usize, u64, u64)) -> Outcome {
    let begun = begin(world, node, what);
    assert!(world.run_until(|w| begun.answer(w).is_some(), secs(60)), "{what:?}");
    begun.answer(world).unwrap()
}

/// Reads what is there; that it is true is looked at by the world, too.
fn read_true(world: &mut World, node: NodeId, sample: &Sample, what: (usize, u64, u64)) {
    let (file, offset, len) = what;
    let bytes = read(world, node, what).unwrap();
    let start = (sample.metainfo.files[file].offset + offset) as usize;
    assert!(bytes.0 == sample.data[start..start + len as usize], "{what:?}");
}

fn is_not_there(result: &Outcome) -> bool {
    matches!(result, Err(ReadFailure::NotThere(_)))
}

fn is_not_verified(result: &Outcome) -> bool {
    matches!(result, Err(ReadFailure::NotVerified(_)))
}

/// A file of two pieces of 16 blocks, and another.
fn sample(format: Format) -> Arc<Sample> {
    let files = [("a", 32 * BLOCK - 100), ("b", 5)];
    Sample::folder_of(format, "two", &files, 16 * BLOCK as u32, 1).unwrap()
}

/// A leech that has the first `blocks` blocks of each piece and gets no others, from a peer that
/// makes this of requests for hashes, and gives the block `bad` of each piece wrong.
fn partial(
    sample: &Arc<Sample>,
    conf: Conf,
    hashes: HashManner,
    (blocks, bad): (u32, Option<u32>),
) -> (World, NodeId) {
    let mut world = World::new(1);
    let give = move |asked: Asked| match asked.block.begin / BLOCK as u32 {
        nth if Some(nth) == bad => Answer::Bad,
        nth if nth < blocks => Answer::Good,
        _ => Answer::Nothing,
    };
    let manners = Manners { hashes, answer: Box::new(give), ..Manners::default() };
    let has_v2 = sample.metainfo.identity.v2().is_some();
    let known = if has_v2 { sample.as_v2() } else { sample.clone() };
    let peer = world.scripted(Remote::seed(&known, 0, manners));
    let leech = world.node(conf);
    world.download(leech, sample, &[peer]);
    world.run_for(secs(2));
    // The file of a few bytes is a piece of its own in version 2.
    assert!(world.stats(leech).have <= 1 && world.stats(leech).partial_bytes > 0);
    (world, leech)
}

#[test]
fn whole_file_is_read_to_its_last_short_block() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let sample = sample(format);
        let mut world = World::new(1);
        let node = world.node(loud());
        world.seed_with(node, &sample);
        assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(10)));
        let (len, last) = (32 * BLOCK - 100, sample.metainfo.files.iter().position(|f| f.len == 5));
        let reads = [
            (0, 0, 1),
            (0, len - 1, 1),
            (0, len - 20_000, 20_000),
            // Of two pieces.
            (0, 16 * BLOCK - 7, 9),
            (0, 0, len),
            (last.unwrap(), 0, 5),
            (last.unwrap(), 4, 1),
        ];
        reads.into_iter().for_each(|what| read_true(&mut world, node, &sample, what));
    }
}

#[test]
fn blocks_of_unfinished_piece_are_read_by_their_leaves() {
    for format in [Format::V2, Format::Hybrid] {
        let sample = sample(format);
        // Pieces of one run, and of several, of which the first are hashed or written.
        for run in [1 << 20, 2 * BLOCK as u32] {
            let conf = loud().with(|conf| conf.requests.run_len = run);
            let (mut world, leech) = partial(&sample, conf, HashManner::True, (7, None));
            let second = 16 * BLOCK;
            let there = [
                (0, 0, 1),
                (0, 0, 7 * BLOCK),
                (0, 2 * BLOCK - 3, 6),
                (0, second + 6 * BLOCK, BLOCK),
                (0, second + 10, 3 * BLOCK),
            ];
            there.into_iter().for_each(|what| read_true(&mut world, leech, &sample, what));
            let lacking = [(0, 7 * BLOCK, 1), (0, 7 * BLOCK - 1, 2), (0, 10 * BLOCK, 12 * BLOCK)];
            for what in lacking {
                assert!(is_not_there(&read(&mut world, leech, what)), "{what:?}");
            }
        }
    }
}

#[test]
fn last_short_block_of_unfinished_piece_is_read() {
    let sample = sample(Format::V2);
    let mut world = World::new(2);
    let give = |asked: Asked| match asked.block.begin / BLOCK as u32 {
        0 => Answer::Nothing,
        _ => Answer::Good,
    };
    let manners = Manners { answer: Box::new(give), ..Manners::default() };
    let peer = world.scripted(Remote::seed(&sample, 0, manners));
    let leech = world.node(loud());
    world.download(leech, &sample, &[peer]);
    world.run_for(secs(2));
    let len = 32 * BLOCK - 100;
    read_true(&mut world, leech, &sample, (0, len - 20_000, 20_000));
    // Of the end of one piece that is not whole and the beginning of another.
    assert!(is_not_there(&read(&mut world, leech, (0, 16 * BLOCK - 1, 2))));
}

#[test]
fn whole_and_unfinished_piece_are_read_at_once() {
    let sample = sample(Format::V2);
    let mut world = World::new(3);
    let give = |asked: Asked| match (asked.block.piece.get(), asked.block.begin / BLOCK as u32) {
        (1, 8..) => Answer::Nothing,
        _ => Answer::Good,
    };
    let manners = Manners { answer: Box::new(give), ..Manners::default() };
    let peer = world.scripted(Remote::seed(&sample, 0, manners));
    let leech = world.node(loud());
    world.download(leech, &sample, &[peer]);
    assert!(world.run_until(|w| w.stats(leech).have == 2, secs(10)));
    world.run_for(secs(1));
    read_true(&mut world, leech, &sample, (0, 12 * BLOCK + 1, 10 * BLOCK));
}

#[test]
fn block_of_a_liar_is_never_handed_out() {
    for run in [1 << 20, 2 * BLOCK as u32] {
        let sample = sample(Format::V2);
        let conf = loud().with(|conf| conf.requests.run_len = run);
        let (mut world, leech) = partial(&sample, conf, HashManner::True, (7, Some(3)));
        for what in [(0, 3 * BLOCK, 1), (0, 4 * BLOCK - 1, 1), (0, 0, 7 * BLOCK)] {
            let result = read(&mut world, leech, what);
            assert!(matches!(result, Err(ReadFailure::Wrong(_))), "{what:?}: {result:?}");
        }
        read_true(&mut world, leech, &sample, (0, 0, 3 * BLOCK));
        read_true(&mut world, leech, &sample, (0, 4 * BLOCK, 3 * BLOCK));
        // When the rest has come from another peer, the piece's own check finds it.
        let honest = world.node(loud());
        world.seed_with(honest, &sample);
        let (addr, id) = (world.addr(honest), world.torrent(leech));
        world.tell(leech, |verbs| verbs.add_peer(id, addr)).unwrap();
        assert!(world.run_until(|w| w.is_complete(leech), secs(600)));
        read_true(&mut world, leech, &sample, (0, 0, 32 * BLOCK - 100));
    }
}

#[test]
fn blocks_without_leaves_are_not_handed_out() {
    // At once, since nothing would vouch for them.
    let v1 = sample(Format::V1);
    let (mut world, leech) = partial(&v1, loud(), HashManner::True, (7, None));
    let before = world.now();
    assert!(is_not_verified(&read(&mut world, leech, (0, 0, 1))));
    assert!(is_not_there(&read(&mut world, leech, (0, 8 * BLOCK, 1))));
    assert!(world.now().since(before) < millis(100));
    // After a while, since a peer may know.
    let v2 = sample(Format::V2);
    for hashes in [HashManner::Reject, HashManner::Nothing] {
        let (mut world, leech) = partial(&v2, loud(), hashes, (7, None));
        let before = world.now();
        assert!(is_not_verified(&read(&mut world, leech, (0, 0, 1))));
        let waited = world.now().since(before);
        assert!((secs(14)..secs(16)).contains(&waited), "{hashes:?}: {waited:?}");
    }
    // False ones are as none, and the peer is gone that sent them.
    let (mut world, leech) = partial(&v2, loud(), HashManner::False(3), (7, None));
    let before = world.now();
    assert!(is_not_verified(&read(&mut world, leech, (0, 0, 1))));
    assert!(world.now().since(before) < secs(1) && banned(&world, leech).len() == 1);
}

#[test]
fn leaves_that_came_serve_without_peers_and_from_disk() {
    let sample = sample(Format::V2);
    let (mut world, leech) = partial(&sample, loud(), HashManner::True, (7, None));
    read_true(&mut world, leech, &sample, (0, 0, 2 * BLOCK));
    let id = world.torrent(leech);
    let reads = world.disk(leech).calls(DiskCall::Read);
    world.tell(leech, |verbs| verbs.pause(id)).unwrap();
    // What is in memory is being written; then it is read.
    read_true(&mut world, leech, &sample, (0, 0, 7 * BLOCK));
    assert!(world.disk(leech).calls(DiskCall::Read) > reads);
    // Of the other piece none have come.
    assert!(is_not_verified(&read(&mut world, leech, (0, 16 * BLOCK, 1))));
}

#[test]
fn wrong_block_on_disk_is_never_handed_out() {
    let sample = sample(Format::V2);
    let (mut world, leech) = partial(&sample, loud(), HashManner::True, (7, Some(3)));
    let id = world.torrent(leech);
    read_true(&mut world, leech, &sample, (0, 0, BLOCK));
    world.tell(leech, |verbs| verbs.pause(id)).unwrap();
    world.run_for(secs(2));
    let result = read(&mut world, leech, (0, 3 * BLOCK, 1));
    assert!(matches!(result, Err(ReadFailure::Wrong(_))), "{result:?}");
}

/// What may befall a torrent while a read waits.
type Deed = fn(&mut World, NodeId);
/// What it is called, and what a read comes to.
type Ending = (&'static str, Deed, fn(&Outcome) -> bool);

#[test]
fn waiting_read_is_answered_once_whatever_happens() {
    let endings: [Ending; 6] = [
        (
            "removed",
            |world, node| {
                let id = world.torrent(node);
                world.tell(node, |verbs| verbs.remove(id)).unwrap();
            },
            |result| matches!(result, Err(ReadFailure::Closed)),
        ),
        (
            "shut down",
            |world, node| world.tell(node, |verbs| verbs.shutdown()),
            |result| matches!(result, Err(ReadFailure::Closed)),
        ),
        (
            "paused",
            |world, node| {
                let id = world.torrent(node);
                world.tell(node, |verbs| verbs.pause(id)).unwrap();
            },
            is_not_verified,
        ),
        (
            "moved",
            |world, node| {
                let id = world.torrent(node);
                world.allow_folder(node, "/elsewhere");
                let mode = MoveMode::FailIfExists;
                world.tell(node, |verbs| verbs.move_storage(id, "/elsewhere", mode)).unwrap();
            },
            is_not_verified,
        ),
        (
            "checked",
            |world, node| {
                let id = world.torrent(node);
                world.tell(node, |verbs| verbs.recheck(id)).unwrap();
            },
            |result| is_not_there(result) || is_not_verified(result),
        ),
        (
            "failing",
            |world, node| world.disk(node).set(|t| (t.fail_reads, t.fail_writes) = (true, true)),
            is_not_verified,
        ),
    ];
    for (what, deed, is_expected) in endings {
        let (mut world, leech) =
            partial(&sample(Format::V2), loud(), HashManner::Nothing, (7, None));
        let waiting = begin(&mut world, leech, (0, 0, BLOCK));
        world.run_for(secs(1));
        assert!(waiting.answer(&world).is_none(), "{what}");
        deed(&mut world, leech);
        world.run_for(secs(30));
        let result = waiting.answer(&world).unwrap();
        assert!(is_expected(&result), "{what}: {result:?}");
    }
}

#[test]
fn read_that_a_worker_has_is_answered_once_whatever_happens() {
    let sample = sample(Format::V1);
    let deeds: [Deed; 4] = [
        |world, node| {
            let id = world.torrent(node);
            world.tell(node, |verbs| verbs.remove(id)).unwrap();
        },
        |world, node| {
            let id = world.torrent(node);
            world.tell(node, |verbs| verbs.remove_with_data(id)).unwrap();
        },
        |world, node| world.tell(node, |verbs| verbs.shutdown()),
        |world, node| {
            let id = world.torrent(node);
            world.tell(node, |verbs| verbs.recheck(id)).unwrap();
        },
    ];
    for deed in deeds {
        let mut world = World::new(4);
        let node = world.node(loud());
        world.seed_with(node, &sample);
        assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(10)));
        let pace = DiskPace { min: secs(1), max: secs(1), ..DiskPace::default() };
        world.set_disk_pace(node, pace);
        let read = begin(&mut world, node, (0, 0, 5 * BLOCK));
        deed(&mut world, node);
        world.run_for(secs(30));
        assert!(read.answer(&world).unwrap().is_ok());
    }
}

#[test]
fn read_waits_for_a_move_and_follows_it() {
    let sample = sample(Format::V2);
    let mut world = World::new(5);
    let node = world.node(loud());
    world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(10)));
    let id = world.torrent(node);
    world.allow_folder(node, "/elsewhere");
    let mode = MoveMode::FailIfExists;
    world.tell(node, |verbs| verbs.move_storage(id, "/elsewhere", mode)).unwrap();
    read_true(&mut world, node, &sample, (0, 1000, 100_000));
    assert!(world.told(node, |alert| matches!(alert, Alert::StorageMoved { .. })).is_some());
}

#[test]
fn erased_file_and_failing_disk_are_told() {
    let sample = sample(Format::V1);
    let mut world = World::new(6);
    let node = world.node(loud());
    world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(10)));
    world.disk(node).set(|t| t.fail_reads = true);
    let failed = |result| matches!(result, Err(ReadFailure::Storage(_)));
    assert!(failed(read(&mut world, node, (0, 0, BLOCK))));
    world.disk(node).set(|t| *t = Troubles::default());
    read_true(&mut world, node, &sample, (0, 0, BLOCK));
    let path = std::path::Path::new("/node0/two/a");
    world.disk(node).delete(path);
    assert!(failed(read(&mut world, node, (0, 0, BLOCK))));
    // As one that peers read, it is checked then.
    world.run_for(secs(10));
    assert!(is_not_there(&read(&mut world, node, (0, 0, BLOCK))));
}

#[test]
fn torrent_that_rests_or_sleeps_is_read() {
    let sample = sample(Format::V2);
    let conf = loud().with(|conf| conf.session.dir = Some("/session".into()));
    let mut world = World::new(7);
    let node = world.node(conf);
    world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(10)));
    world.run_for(secs(20));
    let id = world.torrent(node);
    world.tell(node, |verbs| verbs.pause(id)).unwrap();
    read_true(&mut world, node, &sample, (0, 5, BLOCK));
    world.tell(node, |verbs| verbs.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    world.kill(node);
    world.restart(node);
    read_true(&mut world, node, &sample, (0, 5, BLOCK));
    assert!(world.is_in(node, Phase::Paused));
}

#[test]
fn torrent_of_a_skipped_file_is_read_from_its_part_file() {
    let files = [("a", 3 * BLOCK + 5), ("b", 3 * BLOCK)];
    let sample = Sample::folder("parts", &files, 2 * BLOCK as u32, 8).unwrap();
    let mut world = World::new(8);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    let params = world.params(leech, &sample, &[seed]);
    let skip = vec![Priority::Skip, Priority::Normal];
    world.add_torrent(leech, &sample, TorrentParams { priorities: skip, ..params });
    assert!(world.run_until(|w| w.is_in(leech, Phase::Seeding), secs(10)));
    // The piece that both files are in.
    read_true(&mut world, leech, &sample, (0, 2 * BLOCK, BLOCK + 5));
    assert!(is_not_there(&read(&mut world, leech, (0, 0, 1))));
}

#[test]
fn reads_that_make_no_sense_are_refused_at_once() {
    let files = [("a", 3 * BLOCK + 5), ("", BLOCK - 5), ("c", 10)];
    let sample = Sample::folder("pads", &files, 2 * BLOCK as u32, 9).unwrap();
    let conf = loud().with(|conf| (conf.reads.max_len, conf.reads.max_reads) = (20_000, 3));
    let mut world = World::new(9);
    let node = world.node(conf);
    let id = world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(10)));
    let refused = |world: &mut World, (file, offset, len)| {
        world.tell(node, |verbs| verbs.read(id, file, offset, len)).unwrap_err()
    };
    let w = &mut world;
    assert_eq!(refused(w, (3, 0, 1)), ReadError::NoSuchFile { file: 3, files: 3 });
    assert_eq!(refused(w, (1, 0, 1)), ReadError::NoData(1));
    assert_eq!(refused(w, (0, 0, 0)), ReadError::Empty);
    assert_eq!(refused(w, (0, 0, 20_001)), ReadError::TooLong { len: 20_001, limit: 20_000 });
    for (offset, len) in [(11, 1), (10, 1), (9, 2), (u64::MAX, 1)] {
        let beyond = ReadError::BeyondEnd { offset, len, file_len: 10 };
        assert_eq!(refused(w, (2, offset, len)), beyond);
    }
    // As long as their answers are not fetched, they count.
    world.set_deaf(node, true);
    (0..3).for_each(|_| _ = begin(&mut world, node, (2, 0, 10)));
    world.run_for(secs(1));
    let refused_as_many = refused(&mut world, (2, 0, 10));
    assert_eq!(refused_as_many, ReadError::TooMany { limit: 3 });
    world.set_deaf(node, false);
    world.tell(node, |_| ());
    read_true(&mut world, node, &sample, (2, 0, 10));
    world.tell(node, |verbs| verbs.remove(id)).unwrap();
    assert_eq!(refused(&mut world, (2, 0, 10)), ReadError::NotOpen);
    world.run_for(secs(5));
    assert!(matches!(refused(&mut world, (2, 0, 10)), ReadError::NoSuchTorrent(_)));
}

#[test]
fn magnet_and_torrent_whose_data_is_gone_are_not_read() {
    let sample = sample(Format::V1);
    let mut world = World::new(10);
    let node = world.node(loud());
    let magnet: Magnet = sample.metainfo.magnet().to_string().parse().unwrap();
    let params = TorrentParams::from_magnet(magnet, "/node0");
    let id = world.add_torrent(node, &sample, params);
    let refused = world.tell(node, |verbs| verbs.read(id, 0, 0, 1));
    assert_eq!(refused, Err(ReadError::NoContent));

    let seed = world.node(loud());
    let id = world.seed_with(seed, &sample);
    assert!(world.run_until(|w| w.is_in(seed, Phase::Seeding), secs(10)));
    world.disk(seed).take_away(std::path::Path::new("/node1"), false);
    let gone = read(&mut world, seed, (0, 0, 1));
    assert!(matches!(gone, Err(ReadFailure::Storage(_))), "{gone:?}");
    world.run_for(secs(5));
    let refused = world.tell(seed, |verbs| verbs.read(id, 0, 0, 1));
    assert_eq!(refused, Err(ReadError::NotOpen));
}

#[test]
fn answer_comes_whatever_the_mask_is() {
    let sample = sample(Format::V1);
    let mut world = World::new(11);
    let node = world.node(loud().with(|conf| conf.alerts.mask = AlertMask::NONE));
    world.seed_with(node, &sample);
    world.run_for(secs(5));
    read_true(&mut world, node, &sample, (0, 0, 1));
}

/// Two equal files of a piece each, of 16 blocks.
fn twins() -> Arc<Sample> {
    let files = [("a", 16 * BLOCK), ("b", 16 * BLOCK)];
    Sample::equal_files(Format::V2, "twins", &files, 16 * BLOCK as u32, 1).unwrap()
}

/// A seed joins that the leech knows.
fn join(world: &mut World, leech: NodeId, sample: &Arc<Sample>) {
    let seed = world.node(loud());
    world.seed_with(seed, sample);
    let (addr, id) = (world.addr(seed), world.torrent(leech));
    world.tell(leech, |verbs| verbs.add_peer(id, addr)).unwrap();
}

#[test]
fn end_of_a_read_does_not_strand_a_bad_piece_of_an_equal_file() {
    let twins = twins();
    // Two give half of the first piece each, one of them a bad block, and nothing of the other
    // piece but its first blocks. Neither answers for hashes.
    let mut world = World::new(1);
    let half = |mine: std::ops::Range<u32>, bad: Option<u32>| {
        let give = move |asked: Asked| {
            let nth = asked.block.begin / BLOCK as u32;
            match asked.block.piece.get() {
                0 if Some(nth) == bad => Answer::Bad,
                0 if mine.contains(&nth) => Answer::Good,
                1 if nth < 7 => Answer::Good,
                _ => Answer::Reject,
            }
        };
        let answer = Box::new(give);
        Manners { hashes: HashManner::Nothing, answer, ..Manners::default() }
    };
    let peers = [half(0..8, Some(3)), half(8..16, None)]
        .into_iter()
        .zip(0..)
        .map(|(manners, name)| world.scripted(Remote::seed(&twins, name, manners)))
        .collect::<Vec<_>>();
    let leech = world.node(loud().with(|conf| conf.reads.max_wait = secs(1)));
    world.download(leech, &twins, &peers);
    assert!(world.run_until(|w| w.stats(leech).failed_pieces > 0, secs(60)));
    let failed = world.now();
    // The bad piece waits for its leaves, which are those that the read waits for.
    assert!(is_not_verified(&read(&mut world, leech, (1, 0, BLOCK))));
    assert!(world.now().since(failed) < secs(2));
    join(&mut world, leech, &twins);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
}

#[test]
fn end_of_a_read_does_not_end_that_of_an_equal_file() {
    let twins = twins();
    let (mut world, leech) = partial(&twins, loud(), HashManner::Reject, (7, None));
    let first = begin(&mut world, leech, (0, 0, BLOCK));
    world.run_for(secs(10));
    let second = begin(&mut world, leech, (1, 0, BLOCK));
    world.run_for(secs(6));
    assert!(is_not_verified(&first.answer(&world).unwrap()) && second.answer(&world).is_none());
    // One joins that knows the leaves, and gives no blocks.
    let manners = Manners { answer: Box::new(|_| Answer::Nothing), ..Manners::default() };
    let peer = world.scripted(Remote::seed(&twins.as_v2(), 1, manners));
    let (addr, id) = (world.addr(peer), world.torrent(leech));
    world.tell(leech, |verbs| verbs.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| second.answer(w).is_some(), secs(8)));
    assert!(second.answer(&world).unwrap().is_ok());
}
