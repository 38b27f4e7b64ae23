//! What files are called on a disk: exactly what the torrent says, what an earlier version made of
//! it, or what a disk that ignores case can tell apart.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{faults::BadDisk, *};
use crate::base::storage::FoundNames;

/// A disk that ignores case.
#[derive(Debug)]
struct Folding(Arc<BadDisk>);

fn folded(path: &Path) -> PathBuf {
    path.to_string_lossy().to_lowercase().into()
}

impl Disk for Folding {
    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(&folded(path), offset, buf)
    }
    fn write_at(&self, path: &Path, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.0.write_at(&folded(path), offset, data)
    }
    fn create(&self, path: &Path, len: u64, allocation: Allocation) -> io::Result<()> {
        self.0.create(&folded(path), len, allocation)
    }
    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>> {
        self.0.stat(&folded(path))
    }
    fn ignores_case(&self, _: &Path) -> io::Result<bool> {
        Ok(true)
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        self.0.sync(&folded(path))
    }
    fn load(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.0.load(&folded(path), limit)
    }
    fn save(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.save(&folded(path), bytes)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(&folded(from), &folded(to))
    }
    fn remove(&self, root: &Path, below: &Path) -> io::Result<bool> {
        self.0.remove(&folded(root), &folded(below))
    }
    fn close(&self, _: &Path) {}
}

fn fixture(files: &[&str]) -> Fixture {
    let files: Vec<_> = files.iter().map(|name| (*name, 16 << 10)).collect();
    Fixture::new(Path::new("/d"), 16 << 10, &files)
}

/// A torrent with a piece a file, whose files lie on `disk` under these names, and were saved so.
fn stored(disk: &Arc<BadDisk>, files: &[&str], as_named: &[&str]) -> Fixture {
    let there: Vec<u32> = (0_u32..)
        .zip(as_named)
        .filter(|(_, name)| !name.is_empty())
        .map(|(piece, _)| piece)
        .collect();
    let names: Vec<_> = as_named
        .iter()
        .zip(files)
        .map(|(old, new)| if old.is_empty() { *new } else { *old })
        .collect();
    let before = fixture(&names);
    for &piece in &there {
        let file = (before.bytes(piece).to_vec(), 1);
        disk.set().files.insert(Path::new("/d/torrent").join(names[piece as usize]), file);
    }
    let runner = Runner::new(disk.clone());
    runner.open(&before).unwrap();
    runner.save(before.have(&there), false).unwrap();
    fixture(files)
}

fn download(runner: &Runner, fixture: &Fixture) {
    for piece in fixture.all() {
        assert_eq!(runner.write(fixture.run(piece)).result.unwrap(), Verdict::Good);
    }
    runner.save(fixture.have(&fixture.all()), false).unwrap();
}

fn found(runner: &Runner, fixture: &Fixture) -> (Vec<u32>, FoundNames) {
    let opened = runner.open(fixture).unwrap();
    let there = |&piece: &u32| {
        opened.have.has(fixture.piece(piece)) || opened.check.has(fixture.piece(piece))
    };
    (fixture.all().into_iter().filter(there).collect(), opened.names)
}

fn alias(file: usize, name: &str) -> (usize, PathBuf) {
    (file, Path::new("torrent").join(name))
}

#[cfg(unix)]
#[test]
fn data_under_exact_names_is_found_and_seeded() {
    let long = "x".repeat(255);
    let names = ["aux.c", " lead", "etc.", "What... ", &long, "README", "readme"];
    let disk = Arc::new(BadDisk::default());
    let fixture = stored(&disk, &names, &names);
    let runner = Runner::new(disk.clone());
    assert_eq!(found(&runner, &fixture), (fixture.all(), FoundNames::default()));
    for piece in fixture.all() {
        assert!(runner.check(fixture.piece(piece), fixture.digest(piece)).unwrap());
    }
    // A real disk takes them, too.
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 16 << 10, &names.map(|name| (name, 16 << 10)));
    fixture.lay_out();
    assert_eq!(found(&real(), &fixture), (fixture.all(), FoundNames::default()));
}

#[cfg(unix)]
#[test]
fn files_stored_by_version_0_2_are_found_under_its_names() {
    let names = ["aux.c", "b", "etc.", "What... ", "README", "readme"];
    let old = ["_aux.c", "b", "etc", "", "README", "readme.1"];
    let disk = Arc::new(BadDisk::default());
    let fixture = stored(&disk, &names, &old);
    let runner = Runner::new(disk.clone());
    // What is still missing goes where the rest is.
    let aliases = vec![alias(0, "_aux.c"), alias(2, "etc"), alias(3, "What"), alias(5, "readme.1")];
    let want = FoundNames { aliases, changed: 4, first: Some(alias(0, "_aux.c")) };
    assert_eq!(found(&runner, &fixture), (vec![0, 1, 2, 4, 5], want.clone()));
    download(&runner, &fixture);
    let has = |path: &str| disk.set().files.contains_key(Path::new(path));
    assert!(has("/d/torrent/What") && !has("/d/torrent/What... "));
    let runner = Runner::new(disk.clone());
    assert_eq!(found(&runner, &fixture), (fixture.all(), want.clone()));
    let before = disk.set().files.len();
    let spec = StoreSpec { aliases: want.aliases, ..fixture.spec.clone() };
    let deleted = runner.one(Job::Delete { torrent: KEY, spec: Box::new(spec) });
    assert!(matches!(deleted, Done::Deleted { left: None, .. }));
    assert_eq!((before, disk.set().files.len()), (7, 0));
}

#[cfg(unix)]
#[test]
fn file_of_another_torrent_is_not_taken_for_an_old_one() {
    let disk = Arc::new(BadDisk::default());
    let other = stored(&disk, &["_aux.c", "b"], &["_aux.c", ""]);
    disk.set().files.remove(Path::new("/d/.cratetorrent/state"));
    // Nothing is remembered of this one; or something, of files that have gone.
    let fixture = fixture(&["aux.c", "b"]);
    assert_eq!(found(&Runner::new(disk.clone()), &fixture), (vec![], FoundNames::default()));
    let fixture = stored(&disk, &["aux.c", "b"], &["aux.c", "b"]);
    let mut inner = disk.set();
    inner.files.retain(|path, _| path.ends_with("_aux.c") || path.ends_with("state"));
    inner.files.insert("/d/torrent/_aux.c".into(), (other.bytes(0).to_vec(), 77));
    drop(inner);
    assert_eq!(found(&Runner::new(disk.clone()), &fixture), (vec![], FoundNames::default()));
}

#[cfg(unix)]
#[test]
fn old_name_that_is_another_files_own_is_not_taken() {
    // Half of a download under exact names: `a` is the second file, and the first is not there yet.
    let disk = Arc::new(BadDisk::default());
    let fixture = stored(&disk, &[" a", "a"], &["", "a"]);
    assert_eq!(found(&Runner::new(disk.clone()), &fixture), (vec![1], FoundNames::default()));
    // As version 0.2 has left it: `a` is the first one.
    let disk = Arc::new(BadDisk::default());
    let fixture = stored(&disk, &[" a", "a"], &["a", "a.1"]);
    let runner = Runner::new(disk.clone());
    assert_eq!(found(&runner, &fixture).1.aliases, [alias(0, "a"), alias(1, "a.1")]);
    for piece in fixture.all() {
        assert!(runner.check(fixture.piece(piece), fixture.digest(piece)).unwrap());
    }
}

#[cfg(unix)]
#[test]
fn renamed_file_is_not_looked_for_under_its_old_name() {
    let disk = Arc::new(BadDisk::default());
    let mut fixture = stored(&disk, &["aux.c", "etc."], &["_aux.c", "etc"]);
    // One has another name now; another was given the old name of the other.
    fixture.spec.renames = vec![alias(0, "mine")];
    assert_eq!(found(&Runner::new(disk.clone()), &fixture).1.aliases, [alias(1, "etc")]);
    fixture.spec.renames = vec![alias(0, "etc")];
    assert_eq!(found(&Runner::new(disk), &fixture).1.aliases, []);
}

#[test]
fn disk_that_ignores_case_stores_each_file_under_its_own_name() {
    let disk = Arc::new(Folding(Arc::default()));
    let mut fixture = fixture(&["README", "readme", "x"]);
    let runner = Runner::new(disk.clone());
    let want = FoundNames {
        aliases: vec![alias(1, "readme.1")],
        changed: 1,
        first: Some(alias(1, "readme.1")),
    };
    assert_eq!(found(&runner, &fixture), (vec![], want.clone()));
    download(&runner, &fixture);
    let is = |fixture: &Fixture, name: &str, piece| {
        disk.0.set().files[Path::new(name)].0 == fixture.bytes(piece)
    };
    assert!(is(&fixture, "/d/torrent/readme", 0) && is(&fixture, "/d/torrent/readme.1", 1));
    assert_eq!(found(&Runner::new(disk.clone()), &fixture), (fixture.all(), want));
    // A rename to what the disk takes for another file's name is refused, and nothing happens.
    fixture.spec.renames = vec![alias(2, "ReadMe")];
    let spec = Box::new(fixture.spec.clone());
    let Done::Relocated { result, .. } =
        runner.one(Job::Relocate { torrent: KEY, spec, state: None })
    else {
        panic!()
    };
    assert_eq!(result.unwrap_err().source.kind(), io::ErrorKind::InvalidInput);
    assert!(is(&fixture, "/d/torrent/readme", 0) && is(&fixture, "/d/torrent/x", 2));
}
