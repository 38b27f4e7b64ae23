//! A session folder on a real disk: who has it, what it keeps, and what a crash at any moment leaves.

use std::fs;

use tempfile::TempDir;

use super::{super::RealDisk, *};
use crate::{
    base::job::RecordKind,
    wire::{
        metainfo::{Metainfo, MetainfoBuilder},
        session::{TorrentSettings, join_torrent},
    },
};

fn open(dir: &Path) -> Result<(SessionFolder, Restored), SessionError> {
    SessionFolder::open(Arc::new(RealDisk::new(4)), dir, [3; 16])
}

fn add(n: usize) -> SessionRecord {
    let mut builder = MetainfoBuilder::new(format!("torrent {n}"), 16384);
    builder.single_file(16384);
    let bytes = builder.build(&[[0; 20]]).unwrap();
    let info_hash = Metainfo::from_bytes(&bytes).unwrap().info_hash;
    SessionRecord { kind: RecordKind::Torrent, info_hash, body: join_torrent(&settings("new"), &bytes) }
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
    let line = |t: &crate::wire::session::RestoredTorrent| format!("{} in {}", t.metainfo.name, t.settings.dir.display());
    restored.torrents.iter().map(line).collect()
}

#[test]
fn two_sessions_do_not_share_a_folder() {
    let dir = TempDir::new().unwrap();
    let (first, _) = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, SessionError::InUse { dir: told, pid } if told == dir.path() && *pid == Some(std::process::id())));
    assert!(error.to_string().ends_with(&format!("is in use by process {}", std::process::id())), "{error}");
    drop(first);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn what_was_appended_is_there_the_next_time() {
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
fn damage_in_the_midst_costs_one_torrent_and_is_told() {
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
fn what_is_no_log_or_of_a_later_version_is_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("session.ct");
    let mut newer = session::header([1; 16]);
    (newer[11], newer[HEADER_LEN / 2 + 11]) = (2, 2);
    for (bytes, want) in [(&b"d4:infode"[..], LogError::Foreign), (&newer[..], LogError::Header)] {
        fs::write(&path, bytes).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(&error, SessionError::Log { why, .. } if *why == want), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}
