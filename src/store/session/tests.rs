//! A session folder on a real disk: who has it, what it keeps, and what a crash at any moment
//! leaves.

use std::fs;

use tempfile::TempDir;

use super::{
    super::{RealDisk, Runner, tests::faults::BadDisk},
    *,
};
use crate::{
    base::job::{Done, Job},
    wire::{
        metainfo::{Metainfo, MetainfoBuilder},
        session::{MAX_PAYLOAD, TorrentSettings, join_torrent, record_len},
    },
};

fn open(dir: &Path) -> Result<(SessionFolder, Restored), SessionError> {
    SessionFolder::open(Arc::new(RealDisk::new(4)), dir, [3; 16])
}

fn add(n: usize) -> SessionRecord {
    let mut builder = MetainfoBuilder::new(format!("torrent {n}"), 16384);
    builder.single_file(16384);
    let bytes = builder.build(&[[0; 20]]).unwrap();
    let info_hash = Metainfo::from_bytes(&bytes).unwrap().identity.key();
    SessionRecord {
        kind: RecordKind::Torrent,
        info_hash,
        body: join_torrent(&settings("new"), &bytes),
    }
}

fn settings(dir: &str) -> TorrentSettings {
    TorrentSettings { dir: dir.into(), ..TorrentSettings::default() }
}

fn set(n: usize, dir: &str) -> SessionRecord {
    SessionRecord { kind: RecordKind::Settings, body: settings(dir).encode(), ..add(n) }
}

fn remove(n: usize) -> SessionRecord {
    SessionRecord { kind: RecordKind::Removed, body: Vec::new(), ..add(n) }
}

fn told(restored: &Restored) -> Vec<String> {
    let line = |t: &crate::wire::session::RestoredTorrent| {
        format!("{} in {}", t.metainfo.as_ref().unwrap().name, t.settings.dir.display())
    };
    restored.torrents.iter().map(line).collect()
}

#[test]
fn two_sessions_do_not_share_a_folder() {
    let dir = TempDir::new().unwrap();
    let (first, _) = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(
        &error,
        SessionError::InUse { dir: told, pid }
            if told == dir.path() && *pid == Some(std::process::id())
    ));
    assert!(
        error.to_string().ends_with(&format!("is in use by process {}", std::process::id())),
        "{error}"
    );
    drop(first);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn log_that_has_lost_its_name_keeps_nothing() {
    let dir = TempDir::new().unwrap();
    let [place, away] = ["s", "away"].map(|name| dir.path().join(name));
    let (folder, _) = open(&place).unwrap();
    folder.append(&[add(1)]).unwrap();
    fs::rename(&place, &away).unwrap();
    for n in [2, 3] {
        let error = folder.append(&[add(n)]).unwrap_err();
        assert!(error.to_string().ends_with("the session's log is gone from there"), "{error}");
    }
    // Nor does one of another session that is there now.
    drop(SessionFolder::open(Arc::new(RealDisk::new(4)), &place, [4; 16]).unwrap());
    let other = fs::read(place.join("session.ct")).unwrap();
    assert!(folder.append(&[add(4)]).is_err());
    assert_eq!(fs::read(place.join("session.ct")).unwrap(), other);
    // It is back.
    fs::remove_dir_all(&place).unwrap();
    fs::rename(&away, &place).unwrap();
    folder.append(&[add(5)]).unwrap();
    drop(folder);
    let (_, restored) = open(&place).unwrap();
    assert_eq!(told(&restored), ["torrent 1 in new", "torrent 5 in new"]);
    assert_eq!(restored.damaged, 0);
}

#[cfg(unix)]
#[test]
fn log_that_was_renamed_over_keeps_nothing() {
    let dir = TempDir::new().unwrap();
    let (folder, _) = open(dir.path()).unwrap();
    let (log, copy) = (dir.path().join("session.ct"), dir.path().join("copy"));
    folder.append(&[add(1)]).unwrap();
    // An older copy takes its place: it is no longer than the log was then.
    fs::copy(&log, &copy).unwrap();
    fs::rename(&copy, &log).unwrap();
    let error = folder.append(&[add(2)]).unwrap_err();
    assert!(error.to_string().ends_with("the session's log is gone from there"), "{error}");
    // It is the log, though: what is told again is appended to it.
    folder.append(&[add(2)]).unwrap();
    drop(folder);
    let (_, restored) = open(dir.path()).unwrap();
    assert_eq!(told(&restored), ["torrent 1 in new", "torrent 2 in new"]);
}

#[test]
fn appended_records_are_read_at_the_next_open() {
    let dir = TempDir::new().unwrap();
    let (folder, restored) = open(&dir.path().join("deep/er")).unwrap();
    assert!(restored.torrents.is_empty() && restored.session.is_none());
    folder.append(&[add(1), add(2), add(3)]).unwrap();
    folder.append(&[set(3, "c"), remove(1)]).unwrap();
    folder.append(&[set(3, "d")]).unwrap();
    drop(folder);
    let (_, restored) = open(&dir.path().join("deep/er")).unwrap();
    assert_eq!(told(&restored), ["torrent 2 in new", "torrent 3 in d"]);
    assert_eq!((restored.damaged, restored.torn), (0, 0));
}

#[test]
fn a_log_is_written_anew_when_most_of_it_is_of_no_use() {
    let dir = TempDir::new().unwrap();
    let (folder, _) = open(dir.path()).unwrap();
    // What a crash in the midst of writing it anew left does no harm.
    fs::write(dir.path().join("session.ct.tmp"), vec![0x55; 3 << 20]).unwrap();
    folder.append(&(0..20).map(add).collect::<Vec<_>>()).unwrap();
    let long = "x".repeat(20_000);
    let mut shrunk = false;
    for round in 0..200 {
        let before = folder.size().0;
        folder.append(&[set(round % 20, &format!("{long}{round}"))]).unwrap();
        let (size, live) = folder.size();
        assert_eq!(fs::metadata(dir.path().join("session.ct")).unwrap().len(), size);
        assert!(size <= WORTH_IT.max(2 * live));
        shrunk |= size < before;
    }
    assert!(shrunk);
    folder.append(&[remove(0)]).unwrap();
    let size = folder.size();
    drop(folder);
    let (folder, restored) = open(dir.path()).unwrap();
    let want: Vec<String> = (1..20).map(|n| format!("torrent {n} in {long}{}", 180 + n)).collect();
    assert_eq!(told(&restored), want);
    assert_eq!(folder.size(), size);
}

#[test]
fn a_crash_at_any_moment_of_an_append_leaves_what_was_before() {
    let dir = TempDir::new().unwrap();
    let (folder, _) = open(dir.path()).unwrap();
    folder.append(&[add(1)]).unwrap();
    let before = folder.size().0 as usize;
    folder.append(&[set(1, "later"), add(2)]).unwrap();
    drop(folder);
    let path = dir.path().join("session.ct");
    let whole = fs::read(&path).unwrap();
    for len in (before..whole.len()).step_by(7).chain([whole.len()]) {
        fs::write(&path, &whole[..len]).unwrap();
        let (folder, restored) = open(dir.path()).unwrap();
        let first = told(&restored);
        assert!([1, 2].contains(&first.len()), "{len} bytes: {first:?}");
        assert_eq!(restored.damaged, 0);
        // What comes next is written over what was torn, shorter or longer.
        folder.append(&[add(3)]).unwrap();
        drop(folder);
        let (_, restored) = open(dir.path()).unwrap();
        assert_eq!(told(&restored).len(), first.len() + 1, "{len} bytes");
    }
}

#[test]
fn damage_inside_the_log_costs_one_torrent_and_is_told() {
    let dir = TempDir::new().unwrap();
    let (folder, _) = open(dir.path()).unwrap();
    folder.append(&(0..5).map(add).collect::<Vec<_>>()).unwrap();
    drop(folder);
    let path = dir.path().join("session.ct");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0xff;
    fs::write(&path, &bytes).unwrap();
    let (_, restored) = open(dir.path()).unwrap();
    assert_eq!((restored.torrents.len(), restored.damaged), (4, 1));
}

#[test]
fn log_of_a_later_version_is_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("session.ct");
    let mut newer = session::header([1; 16]);
    // Its checksum is not ours to know.
    (newer[11], newer[HEADER_LEN / 2 + 11]) = (2, 2);
    fs::write(&path, newer).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, SessionError::Log { why: LogError::TooNew(2), .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), newer);
}

#[test]
fn log_without_a_readable_header_is_kept_aside_and_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("session.ct");
    let (folder, _) = open(dir.path()).unwrap();
    folder.append(&[add(1)]).unwrap();
    drop(folder);
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    (damaged[14], damaged[HEADER_LEN / 2 + 14]) = (0x55, 0x55);
    let cuts = [0, 1, 20, HEADER_LEN / 2, HEADER_LEN - 1].map(|len| whole[..len].to_vec());
    let foreign =
        b"d4:infod6:lengthi5e4:name1:xee, which is no log of ours, however long it is".to_vec();
    let mut kept = Vec::new();
    for bytes in cuts.into_iter().chain([damaged, foreign]) {
        fs::write(&path, &bytes).unwrap();
        let (folder, restored) = open(dir.path()).unwrap();
        let aside = restored.set_aside.unwrap();
        assert_eq!((fs::read(&aside).unwrap(), restored.torrents.len()), (bytes, 0));
        assert!(!kept.contains(&aside), "{} was there before", aside.display());
        kept.push(aside);
        // The new log is one.
        folder.append(&[add(2)]).unwrap();
        drop(folder);
        let (_, restored) = open(dir.path()).unwrap();
        assert_eq!(
            (told(&restored), restored.set_aside),
            (vec!["torrent 2 in new".to_owned()], None)
        );
    }
    // One copy of the header is enough.
    let mut half = whole;
    half[9] = 0x55;
    fs::write(&path, half).unwrap();
    let (_, restored) = open(dir.path()).unwrap();
    assert_eq!((restored.torrents.len(), restored.set_aside), (1, None));
}

fn on(disk: &Arc<BadDisk>) -> (SessionFolder, Restored) {
    SessionFolder::open(disk.clone(), Path::new("/s"), [3; 16]).unwrap()
}

/// Bytes that records take up.
fn size_of(records: &[SessionRecord]) -> usize {
    records.iter().map(|record| record_len(&record.body)).sum()
}

#[test]
fn failed_append_leaves_nothing_behind_the_next_one() {
    // The first fails when its last record is half written, or when all of it is to be synced; the
    // next is shorter.
    for by_sync in [true, false] {
        for (first, next, want) in [
            (vec![add(1), add(2), add(3)], vec![remove(1), remove(2), remove(3)], &[][..]),
            (
                vec![add(1), set(1, "old"), add(2)],
                vec![remove(1), add(1), set(1, "brand new")],
                &["torrent 1 in brand new"],
            ),
            (
                vec![add(1), set(2, "old"), set(2, "older")],
                vec![remove(1), set(2, "brand new")],
                &["torrent 2 in brand new"],
            ),
        ] {
            let disk = Arc::new(BadDisk::default());
            let (folder, _) = on(&disk);
            if next.len() == 2 {
                folder.append(&[add(2)]).unwrap();
            }
            if by_sync {
                disk.set().fail_sync = true;
            } else {
                disk.set().space = folder.size().0 as usize + size_of(&first) - 7;
            }
            assert!(folder.append(&first).is_err());
            (disk.set().fail_sync, disk.set().space) = (false, usize::MAX);
            folder.append(&next).unwrap();
            drop(folder);
            let (_, restored) = on(&disk);
            assert_eq!(
                (told(&restored), restored.damaged, restored.torn),
                (want.iter().map(|w| w.to_string()).collect(), 0, 0)
            );
        }
    }
}

#[test]
fn log_in_place_after_a_failed_replacement_is_read() {
    let disk = Arc::new(BadDisk::default());
    let (folder, _) = on(&disk);
    folder.append(&[add(1), add(2)]).unwrap();
    disk.set().deny_saves = true;
    let long = "x".repeat(20_000);
    let state = SessionRecord { kind: RecordKind::State, body: b"state".to_vec(), ..add(2) };
    folder.append(&[state]).unwrap();
    let mut round = 0;
    while folder.size().0 < WORTH_IT - 25_000 {
        round += 1;
        folder.append(&[set(1, &format!("{long}{round}"))]).unwrap();
    }
    // With this one it is worth it. It is safe in the old log and in the new one.
    folder.append(&[set(1, &format!("{long}{long}last"))]).unwrap();
    assert!(folder.size().0 < WORTH_IT / 2, "{:?}", folder.size());
    assert_eq!(folder.state(&add(2).info_hash).unwrap().unwrap(), b"state");
    // Before the name is safe nothing is told to be.
    assert!(folder.append(&[set(2, "later")]).is_err());
    disk.set().deny_saves = false;
    folder.append(&[set(2, "much later")]).unwrap();
    assert_eq!(folder.state(&add(2).info_hash).unwrap().unwrap(), b"state");
    let size = folder.size();
    drop(folder);
    let (folder, restored) = on(&disk);
    assert_eq!(folder.size(), size);
    assert_eq!(
        told(&restored),
        [format!("torrent 1 in {long}{long}last"), "torrent 2 in much later".into()]
    );
}

#[test]
fn a_record_that_is_too_long_fails_alone() {
    let disk = Arc::new(BadDisk::default());
    let folder = Arc::new(on(&disk).0);
    let runner = Runner::with_folder(disk.clone(), folder.clone());
    let long = SessionRecord { body: vec![0; MAX_PAYLOAD], ..set(1, "x") };
    let jobs = [add(1), long, add(2)].map(|record| Job::Record { torrent: None, record });
    let mut done = Vec::new();
    runner.run(jobs.into(), &mut done);
    let failed: Vec<_> = done
        .iter()
        .filter_map(|done| match done {
            Done::Recorded { kind, result: Err(error), .. } => Some((*kind, error.source.kind())),
            _ => None,
        })
        .collect();
    assert_eq!((done.len(), failed), (3, vec![(RecordKind::Settings, ErrorKind::FileTooLarge)]));
    drop((runner, folder));
    assert_eq!(told(&on(&disk).1), ["torrent 1 in new", "torrent 2 in new"]);
}

fn state(n: usize, of: &str) -> SessionRecord {
    SessionRecord { kind: RecordKind::State, body: of.as_bytes().to_vec(), ..add(n) }
}

#[test]
fn state_that_is_owed_comes_before_what_is_appended_next() {
    let disk = Arc::new(BadDisk::default());
    let (folder, _) = on(&disk);
    folder.append(&[add(1), add(2), state(1, "old"), state(2, "old")]).unwrap();
    [state(1, "first doubt"), state(1, "in doubt"), state(2, "in doubt")]
        .into_iter()
        .for_each(|state| folder.owe(state));
    // A process that is killed now finds it, and what comes after this failure has it, too.
    disk.set().fail_sync = true;
    assert!(folder.append(&[set(1, "moved")]).is_err());
    disk.set().fail_sync = false;
    let killed = disk.copy();
    assert_eq!(on(&killed).0.state(&add(1).info_hash).unwrap().unwrap(), b"in doubt");
    folder.append(&[set(1, "moved on"), state(2, "new")]).unwrap();
    assert_eq!(folder.state(&add(1).info_hash).unwrap().unwrap(), b"in doubt");
    assert_eq!(folder.state(&add(2).info_hash).unwrap().unwrap(), b"new");
    let size = folder.size().0;
    folder.append(&[state(1, "new")]).unwrap();
    assert_eq!(folder.size().0 - size, size_of(&[state(1, "new")]) as u64);
    drop(folder);
    let (folder, restored) = on(&disk);
    assert_eq!(told(&restored), ["torrent 1 in moved on", "torrent 2 in new"]);
    assert_eq!(folder.state(&add(1).info_hash).unwrap().unwrap(), b"new");
}

/// A folder of two torrents that owes a long state of each.
fn owing() -> (Arc<BadDisk>, SessionFolder, String) {
    let disk = Arc::new(BadDisk::default());
    let (folder, _) = on(&disk);
    folder.append(&[add(1), add(2)]).unwrap();
    let long = "in doubt".repeat(100);
    [state(1, &long), state(2, &long)].into_iter().for_each(|state| folder.owe(state));
    (disk, folder, long)
}

#[test]
fn owed_state_does_not_come_behind_a_newer_one() {
    let (disk, folder, long) = owing();
    let stored: usize = disk.set().files.values().map(|(bytes, _)| bytes.len()).sum();
    // There is room for the new state alone.
    disk.set().space = stored + 300;
    folder.append(&[state(1, "new")]).unwrap();
    disk.set().space = usize::MAX;
    folder.append(&[set(2, "later")]).unwrap();
    assert_eq!(folder.state(&add(1).info_hash).unwrap().unwrap(), b"new");
    assert_eq!(folder.state(&add(2).info_hash).unwrap().unwrap(), long.as_bytes());
}

#[test]
fn owed_state_takes_no_space_and_ends_with_its_torrent() {
    let (disk, folder, long) = owing();
    folder.owe(SessionRecord { body: vec![0; MAX_PAYLOAD], ..state(2, "") });
    let stored: usize = disk.set().files.values().map(|(bytes, _)| bytes.len()).sum();
    disk.set().space = stored + 300;
    folder.append(&[remove(1)]).unwrap();
    disk.set().space = usize::MAX;
    folder.append(&[set(2, "later")]).unwrap();
    assert_eq!(folder.state(&add(1).info_hash).unwrap(), None);
    assert_eq!(folder.state(&add(2).info_hash).unwrap().unwrap(), long.as_bytes());
    drop(folder);
    assert_eq!(told(&on(&disk).1), ["torrent 2 in later"]);
}
