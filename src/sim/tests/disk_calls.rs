//! Disks that fail a single call: each kind of call, with each error, at each of its turns, before
//! it has done its work and after. Whatever is being done, no verified byte is lost, what is told
//! is true, and it can be done again when the disk is well.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    base::{
        arena::Key,
        buf::Buf,
        files::Priority::{Normal, Skip},
        geometry::PieceIndex,
        hash::{Hasher, Judgement, PieceHash},
        job::{Chain, Done, Job, Run, RunData},
        storage::{Opened, SaveState, StoreSpec, Trust},
    },
    engine::{MoveMode, TorrentParams},
    sim::keepsakes::Keepsakes,
    store::Runner,
};

const KEY: Key = Key { index: 1, generation: 1 };

/// A torrent in a store of its own, on a disk whose calls fail.
struct Rig {
    disk: Arc<MemDisk>,
    runner: Runner,
    sample: Arc<Sample>,
    spec: StoreSpec,
    kept: Keepsakes,
    /// How often each kind was called while a fault was set.
    calls: [u64; DiskCall::ALL.len()],
}

impl Rig {
    /// Everything that is needed of the files that are not skipped is there and saved.
    fn new(skipped: &[bool]) -> Self {
        let files = [("a", 300), ("d/b", 700), ("e", 0), ("d/c/f", 500)];
        let sample = Sample::folder("t", &files, 256, 7).unwrap();
        let disk = Arc::new(MemDisk::new(1));
        let runner = Runner::new(disk.clone());
        let metainfo = &sample.metainfo;
        let spec = StoreSpec {
            state_file: Some("/home/.cratetorrent/state".into()),
            skipped: skipped.to_vec(),
            ..StoreSpec::new(
                metainfo.identity,
                metainfo.geometry.clone(),
                metainfo.files.clone(),
                "/home",
                metainfo.name.clone(),
            )
        };
        let mut rig = Self {
            disk,
            runner,
            sample,
            spec,
            kept: Keepsakes::default(),
            calls: [0; DiskCall::ALL.len()],
        };
        rig.open(&rig.spec.clone()).unwrap();
        let mut have = Bitfield::none(rig.sample.geometry().piece_count());
        let wanted = |at: u64| {
            let file = rig.sample.metainfo.files.iter().position(|f| at < f.offset + f.len);
            !skipped.get(file.unwrap()).copied().unwrap_or(false)
        };
        for piece in rig.sample.geometry().pieces() {
            let start = rig.sample.geometry().offset(piece);
            let len = rig.sample.piece(piece).len() as u64;
            if !(start..start + len).any(wanted) {
                continue;
            }
            have.set(piece);
            rig.write(piece);
        }
        rig.save(&have).unwrap();
        rig.kept.add(&rig.sample.clone(), &have);
        rig.look("at the beginning");
        rig
    }

    /// From now on a call fails.
    fn arm(&mut self, fault: &CallFault) {
        self.disk.set(|t| t.calls = vec![fault.clone()]);
        self.calls = DiskCall::ALL.map(|call| self.disk.calls(call));
    }

    /// The disk is well again.
    fn disarm(&mut self) {
        self.disk.set(|t| t.calls.clear());
        let before = self.calls;
        let mut before = before.iter();
        self.calls = DiskCall::ALL.map(|call| self.disk.calls(call) - before.next().unwrap_or(&0));
    }

    fn run(&self, job: Job) -> Done {
        let mut done = Vec::new();
        self.runner.run(vec![job], &mut done);
        done.pop().unwrap()
    }

    fn write(&self, piece: PieceIndex) {
        let bytes = self.sample.piece(piece).to_vec();
        let sha1 = crate::store::sha1(&bytes);
        let chain = Some(Chain { state: Hasher::SHA1, expected: Some(PieceHash::Sha1(sha1)) });
        let data = RunData::Memory(Buf(bytes));
        let run = Run { piece, begin: 0, data, chain, digests: false, hurry: false };
        let Done::Run { run, .. } = self.run(Job::Run { torrent: KEY, run }) else { panic!() };
        run.result.unwrap();
    }

    fn open(&self, spec: &StoreSpec) -> Option<Opened> {
        let done = self.run(Job::Open { torrent: KEY, spec: Box::new(spec.clone()) });
        if let Done::Opened { result, .. } = done { result.ok() } else { panic!("{done:?}") }
    }

    fn state(&self, have: &Bitfield) -> Box<SaveState> {
        Box::new(SaveState { downloaded: 1, uploaded: 2, ..SaveState::new(have.clone()) })
    }

    fn save(&self, have: &Bitfield) -> Option<()> {
        let done = self.run(Job::Save { torrent: KEY, state: self.state(have), synced: 0 });
        if let Done::Saved { result, .. } = done { result.ok() } else { panic!("{done:?}") }
    }

    /// Moves everything, and tidies up if that is said to be done.
    fn relocate(&self, dir: &str, have: &Bitfield) -> bool {
        let state_file = Some(Path::new(dir).join(".cratetorrent/state"));
        let spec = StoreSpec { dir: dir.into(), state_file, ..self.spec.clone() };
        let state = Some(self.state(have));
        let done = self.run(Job::Relocate { torrent: KEY, spec: Box::new(spec), state });
        let Done::Relocated { result, .. } = done else { panic!("{done:?}") };
        if result.is_ok() {
            self.run(Job::Tidy { torrent: KEY });
        }
        result.is_ok()
    }

    fn arrange(&self, skipped: &[bool]) -> bool {
        let job = Job::Arrange {
            torrent: KEY,
            skipped: skipped.to_vec(),
            make: true,
            borrowed: Vec::new(),
        };
        let done = self.run(job);
        if let Done::Arranged { result, .. } = done { result.is_ok() } else { panic!("{done:?}") }
    }

    /// Nothing verified may be lost.
    fn look(&mut self, what: &str) {
        let verdict = self.kept.check(&self.disk, |_, _| true);
        assert!(verdict.is_ok(), "{what}: {verdict:?}");
    }

    /// The pieces that are found good in a folder when everything is hashed.
    fn found(&self, dir: &str, skipped: &[bool]) -> Bitfield {
        let spec = StoreSpec {
            dir: dir.into(),
            trust: Trust::Nothing,
            skipped: skipped.to_vec(),
            ..self.spec.clone()
        };
        let Opened { have: mut found, check, .. } = self.open(&spec).unwrap();
        for piece in self.sample.geometry().pieces().filter(|&piece| check.has(piece)) {
            let expected = PieceHash::Sha1(crate::store::sha1(self.sample.piece(piece)));
            let done = self.run(Job::Check { torrent: KEY, piece, expected, len: 0 });
            if matches!(done, Done::Checked { result: Ok(Judgement::Good), .. }) {
                found.set(piece);
            }
        }
        found
    }

    fn below(&self, dir: &str) -> Vec<PathBuf> {
        self.disk.paths().into_iter().filter(|path| path.starts_with(dir)).collect()
    }
}

/// Does `act` on a disk of its own for each kind of call, each error, each turn of the call, before
/// its work and after, once and for good.
fn at_each_call(skipped: &[bool], act: impl Fn(&mut Rig, &CallFault, &str)) {
    // How often each kind is called when nothing fails.
    let mut healthy = Rig::new(skipped);
    act(&mut healthy, &CallFault::new(DiskCall::Read, ErrorKind::Other).after(1 << 40), "well");
    let mut faults = 0;
    for (call, times) in DiskCall::ALL.into_iter().zip(healthy.calls) {
        for after in 0..times {
            for error in DiskCall::ERRORS {
                let for_good = [ErrorKind::NotFound, ErrorKind::Other].contains(&error);
                let ways = [(false, 1), (true, 1), (false, u64::MAX)];
                for (done, times) in ways.into_iter().take(if for_good { 3 } else { 2 }) {
                    let fault = CallFault::new(call, error).after(after).times(times).done(done);
                    let mut rig = Rig::new(skipped);
                    act(&mut rig, &fault, &format!("{fault:?}"));
                    faults += 1;
                }
            }
        }
    }
    assert!(faults > 120, "{faults}");
}

#[test]
fn move_loses_nothing_whichever_call_fails() {
    for (skipped, no_links) in
        [(vec![], false), (vec![], true), (vec![true, false, false, true], false)]
    {
        at_each_call(&skipped, |rig, fault, what| {
            rig.disk.set(|t| t.no_links = no_links);
            let have = rig.found("/home", &skipped);
            rig.open(&rig.spec.clone());
            rig.arm(fault);
            let moved = rig.relocate("/else/where", &have);
            rig.look(what);
            rig.disarm();
            let dir = if moved { "/else/where" } else { "/home" };
            assert_eq!(rig.found(dir, &skipped), have, "{what}: not whole in {dir}");
            if !moved && fault.times == 1 {
                assert!(rig.below("/else").is_empty(), "{what}: something is left");
                rig.open(&rig.spec.clone());
                assert!(rig.relocate("/else/where", &have), "{what}: cannot be moved again");
                rig.look(what);
                assert_eq!(rig.found("/else/where", &skipped), have, "{what}");
            }
        });
    }
}

#[test]
fn move_below_a_folder_that_cannot_be_made_fails() {
    let mut rig = Rig::new(&[]);
    let all = Bitfield::all(rig.sample.geometry().piece_count());
    for call in [DiskCall::Link, DiskCall::Create] {
        let fault = CallFault::new(call, ErrorKind::NotFound).times(u64::MAX);
        rig.disk.set(|t| t.calls.push(fault));
    }
    assert!(!rig.relocate("/proc/x", &all));
    rig.look("after the move");
    assert_eq!(rig.found("/home", &[]), all);
}

#[test]
fn move_of_files_that_have_vanished_fails_and_deletes_nothing() {
    let mut rig = Rig::new(&[]);
    let all = Bitfield::all(rig.sample.geometry().piece_count());
    // The drive is away while it is moved, and back when it is tidied up.
    let away = CallFault::new(DiskCall::Stat, ErrorKind::NotFound).times(u64::MAX).on("/home");
    let unlinked = CallFault::new(DiskCall::Link, ErrorKind::NotFound).times(u64::MAX);
    rig.disk.set(|t| t.calls = vec![away, unlinked]);
    assert!(!rig.relocate("/else", &all));
    rig.disarm();
    assert_eq!((rig.found("/home", &[]), rig.below("/else").len()), (all, 0));
}

#[test]
fn part_file_loses_nothing_whichever_call_fails() {
    parts_are_kept_whichever_call_fails(false);
}

#[test]
fn file_that_cannot_be_renamed_loses_nothing_either() {
    parts_are_kept_whichever_call_fails(true);
}

#[test]
fn wanted_file_is_made_on_a_disk_that_renames_nothing() {
    let skipped = [true, false, false, true];
    let rig = Rig::new(&skipped);
    let have = rig.found("/home", &skipped);
    rig.open(&rig.spec.clone());
    let lacks = |call| CallFault::new(call, ErrorKind::Unsupported).times(u64::MAX);
    rig.disk.set(|t| t.calls = vec![lacks(DiskCall::Rename), lacks(DiskCall::Remove)]);
    assert!(rig.arrange(&[]));
    assert_eq!(rig.found("/home", &[]), have);
    assert!(["a", "d/c/f"].iter().all(|name| rig.disk.has(&Path::new("/home/t").join(name))));
}

fn parts_are_kept_whichever_call_fails(no_links: bool) {
    let skipped = [true, false, false, true];
    at_each_call(&skipped, |rig, fault, what| {
        rig.disk.set(|t| t.no_links = no_links);
        let have = rig.found("/home", &skipped);
        rig.open(&rig.spec.clone());
        rig.arm(fault);
        let arranged = rig.arrange(&[]);
        rig.look(what);
        rig.disarm();
        if !arranged {
            assert!(rig.arrange(&[]), "{what}: cannot be done again");
            rig.look(what);
        }
        assert_eq!(rig.found("/home", &[]), have, "{what}");
        // A disk that says that nothing is there is believed, and so is one that deletes nothing.
        if ![ErrorKind::NotFound, ErrorKind::Unsupported].contains(&fault.error) {
            let parts = rig.spec.parts_file();
            assert!(!rig.disk.has(&parts), "{what}: the part file is left");
        }
    });
}

#[test]
fn state_file_is_the_old_or_the_new_whichever_call_fails() {
    at_each_call(&[], |rig, fault, what| {
        let all = Bitfield::all(rig.sample.geometry().piece_count());
        rig.open(&rig.spec.clone());
        rig.arm(fault);
        let saved = rig.save(&all).is_some();
        rig.look(what);
        rig.disarm();
        // A file that could not be made safe is vouched for no more, and checked.
        let opened = rig.open(&rig.spec.clone()).unwrap();
        let found = rig.found("/home", &[]);
        assert_eq!(found, all, "{what}: {opened:?}");
        assert!(
            !saved || fault.call == DiskCall::Stat || opened.have == all,
            "{what}: saved, and {opened:?}"
        );
    });
}

#[test]
fn deletion_takes_no_other_file_and_counts_what_is_left() {
    let skipped = [true, false, false, true];
    at_each_call(&skipped, |rig, fault, what| {
        let mine = Path::new("/home/t/d/mine");
        rig.disk.put(mine, b"mine");
        rig.arm(fault);
        let spec = Box::new(rig.spec.clone());
        let done = rig.run(Job::Delete { torrent: KEY, spec });
        let Done::Deleted { left, .. } = done else { panic!("{done:?}") };
        rig.disarm();
        let there: Vec<_> = rig.below("/home").into_iter().filter(|path| path != mine).collect();
        assert!(rig.disk.has(mine), "{what}");
        // A disk that says that nothing is there is believed.
        if fault.error != ErrorKind::NotFound && fault.call != DiskCall::Stat {
            assert_eq!(left.map_or(0, |left| left.files), there.len(), "{what}: {there:?}");
        }
    });
}

#[test]
fn deletion_on_a_read_only_disk_counts_the_files_there_are() {
    let rig = Rig::new(&[true, false, false, true]);
    let there = rig.below("/home").len();
    rig.disk.set(|t| t.read_only = true);
    let done = rig.run(Job::Delete { torrent: KEY, spec: Box::new(rig.spec.clone()) });
    let Done::Deleted { left: Some(left), .. } = done else { panic!("{done:?}") };
    // b, the empty file, the part file, the state.
    assert_eq!((left.files, there), (4, 4));
}

/// A download in a session folder, moved or adopted while a call of each kind fails.
#[test]
fn failed_call_in_a_move_or_adoption_loses_no_data() {
    let sample = Sample::folder("t", &[("a", 30_000), ("b", 50_000)], 16 * 1024, 3).unwrap();
    for (seed, call) in DiskCall::ALL.into_iter().enumerate() {
        for (error, mode) in [
            (ErrorKind::NotFound, MoveMode::FailIfExists),
            (ErrorKind::Other, MoveMode::FailIfExists),
            (ErrorKind::NotFound, MoveMode::Adopt),
        ] {
            let mut world = World::new(seed as u64);
            let seeder = world.node(loud());
            world.seed_with(seeder, &sample);
            let leech = world.node(loud().with(|conf| conf.session.dir = Some("/session".into())));
            world.download(leech, &sample, &[seeder]);
            assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
            world.run_for(secs(1));
            let id = world.torrent(leech);
            let fault = CallFault::new(call, error).times(3);
            world.disk(leech).set(|t| t.calls.push(fault));
            world.allow_folder(leech, "/proc/x");
            world.tell(leech, |engine| engine.move_storage(id, "/proc/x", mode)).unwrap();
            world.run_for(secs(2));
            world.disk(leech).set(|t| t.calls.clear());
            world.tell(leech, |engine| engine.resume(id)).unwrap();
            world.tell(leech, |engine| engine.recheck(id)).unwrap();
            let whole = |w: &World| w.is_in(leech, Phase::Seeding) && w.is_complete(leech);
            let stats = |w: &World| format!("{call:?} {error:?} {mode:?}: {:?}", w.stats(leech));
            assert!(world.run_until(whole, secs(120)), "{}", stats(&world));
        }
    }
}

/// Promises about files that are not wanted.
mod skipped {
    use super::*;

    fn made(world: &World, node: NodeId, sample: &Arc<Sample>) -> Vec<String> {
        let root = world.params(node, sample, &[]).dir.join("t");
        let paths = world.disk(node).paths().into_iter();
        paths
            .filter_map(|path| Some(path.strip_prefix(&root).ok()?.display().to_string()))
            .collect()
    }

    fn is_done(world: &World, node: NodeId) -> bool {
        let stats = world.stats(node);
        stats.phase == Phase::Seeding && stats.wanted_bytes == stats.wanted_have_bytes
    }

    #[test]
    fn skipped_file_stays_unmade_over_remove_add_pause_and_restart() {
        let files = [("a", 30_000), ("b", 50_000), ("e", 0), ("c", 40_000)];
        let sample = Sample::folder("t", &files, 32 * 1024, 3).unwrap();
        let choice = vec![Skip, Normal, Skip, Skip];
        for session in [None, Some("/session")] {
            let mut world = World::new(5);
            let seeder = world.node(loud());
            world.seed_with(seeder, &sample);
            let leech = world.node(loud().with(|conf| conf.session.dir = session.map(Into::into)));
            let params = world.params(leech, &sample, &[seeder]);
            let chosen = TorrentParams { priorities: choice.clone(), ..params.clone() };
            let id = world.add_torrent(leech, &sample, chosen.clone());
            assert!(world.run_until(|w| is_done(w, leech), secs(60)));
            let have = world.stats(leech).have;
            world.run_for(secs(1));
            assert_eq!(made(&world, leech, &sample), ["b"]);

            // Removed without its data, and added as before.
            world.tell(leech, |engine| engine.remove(id)).unwrap();
            world.run_for(secs(1));
            let id = world.add_torrent(leech, &sample, chosen);
            assert!(world.run_until(|w| is_done(w, leech), secs(5)));
            assert_eq!(world.stats(leech).have, have);
            assert_eq!(made(&world, leech, &sample), ["b"]);

            // Added in a pause, in which its user chooses.
            world.tell(leech, |engine| engine.remove(id)).unwrap();
            world.run_for(secs(1));
            let paused = TorrentParams { paused: true, trust: Trust::State, ..params };
            let id = world.add_torrent(leech, &sample, paused);
            world.run_for(secs(10));
            assert_eq!(made(&world, leech, &sample), ["b"]);
            world.kill(leech);
            world.run_for(secs(1));
            world.restart(leech);
            world.run_for(secs(10));
            assert_eq!(made(&world, leech, &sample), ["b"]);
            let id =
                if world.engine(leech).stats(id).is_some() { id } else { world.torrent(leech) };
            world.tell(leech, |engine| engine.set_file_priorities(id, choice.clone())).unwrap();
            world.run_for(secs(1));
            world.tell(leech, |engine| engine.resume(id)).unwrap();
            assert!(world.run_until(|w| is_done(w, leech), secs(10)), "{:?}", world.stats(leech));
            world.run_for(secs(1));
            assert_eq!(
                (made(&world, leech, &sample), world.stats(leech).have),
                (vec!["b".into()], have)
            );

            if session.is_some() {
                continue;
            }
            // Wanted after all: then they are made of what is there, and fetched.
            world.tell(leech, |engine| engine.set_file_priorities(id, vec![])).unwrap();
            assert!(
                world.run_until(|w| w.is_complete(leech), secs(60)),
                "{:?}",
                world.stats(leech)
            );
            world.run_for(secs(1));
            assert_eq!(made(&world, leech, &sample).len(), 4);
        }
    }
}

#[test]
fn sync_that_fails_in_a_move_is_not_believed_at_the_new_place() {
    let mut rig = Rig::new(&[]);
    let have = Bitfield::all(rig.sample.geometry().piece_count());
    let piece = rig.sample.geometry().piece(0).unwrap();
    rig.write(piece);
    rig.disk.set(|t| t.fail_syncs = true);
    // That the old place fails is a reason to move.
    assert!(rig.relocate("/new", &have));
    rig.disk.set(|t| t.fail_syncs = false);
    rig.save(&have).unwrap();
    rig.look("after the move");
    let state_file = Some("/new/.cratetorrent/state".into());
    let opened =
        rig.open(&StoreSpec { dir: "/new".into(), state_file, ..rig.spec.clone() }).unwrap();
    assert!(!opened.have.has(piece) && opened.check.has(piece), "{opened:?}");
}

#[test]
fn move_from_an_unmounted_place_is_refused() {
    let rig = Rig::new(&[true]);
    let have = Bitfield::all(rig.sample.geometry().piece_count());
    rig.disk.take_away(Path::new("/home"), false);
    for dir in ["/home", "/new"] {
        assert!(!rig.relocate(dir, &have));
    }
    rig.disk.bring_all_back();
    assert!(rig.below("/new").is_empty());
    assert!(rig.relocate("/new", &have));
}
