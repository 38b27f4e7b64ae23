//! The table of open files, and the small files that must be whole.

use std::path::PathBuf;

use super::*;

fn open_paths(disk: &RealDisk) -> Vec<(PathBuf, bool)> {
    let mut open: Vec<_> =
        disk.open_files().by_path.iter().map(|(path, h)| (path.clone(), h.writable)).collect();
    open.sort();
    open
}

#[test]
fn files_that_are_only_read_are_opened_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, b"hello").unwrap();
    let disk = RealDisk::new(4);
    let mut buf = [0; 9];
    assert_eq!(disk.read_at(&path, 1, &mut buf).unwrap(), 4);
    assert_eq!(&buf[..4], b"ello");
    assert_eq!(disk.read_at(&path, 5, &mut buf).unwrap(), 0);
    assert_eq!(disk.read_at(&path, u64::from(u32::MAX), &mut buf).unwrap(), 0);
    assert_eq!(open_paths(&disk), [(path.clone(), false)]);
    assert_eq!(disk.write_at(&path, 5, b"!").unwrap(), 1);
    assert_eq!(open_paths(&disk), [(path.clone(), true)]);
    assert_eq!(disk.read_at(&path, 0, &mut buf).unwrap(), 6);
    disk.sync(&path).unwrap();
    disk.close(&path);
    assert!(open_paths(&disk).is_empty());
}

#[test]
fn the_least_recently_used_file_is_closed_beyond_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(2);
    let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
    disk.create(&a, 0, Allocation::Sparse).unwrap();
    disk.create(&b, 0, Allocation::Sparse).unwrap();
    disk.write_at(&a, 0, b"a").unwrap();
    disk.create(&c, 0, Allocation::Sparse).unwrap();
    assert_eq!(open_paths(&disk), [(a.clone(), true), (c.clone(), true)]);
    disk.write_at(&b, 0, b"b").unwrap();
    assert_eq!(open_paths(&disk), [(b, true), (c, true)]);
    assert_eq!(fs::read(&a).unwrap(), b"a");
}

#[test]
fn missing_file_is_not_made_by_reading_or_writing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(2);
    let path = dir.path().join("x/y");
    assert_eq!(disk.read_at(&path, 0, &mut [0; 1]).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.write_at(&path, 0, b"x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.stat(&path).unwrap(), None);
    assert_eq!(disk.load(&path, 10).unwrap(), None);
    assert_eq!(
        disk.read_at(dir.path(), 0, &mut [0; 1]).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
    disk.create(&path, 0, Allocation::Sparse).unwrap();
    let stat = disk.stat(&path).unwrap().unwrap();
    assert!(stat.is_file && !stat.is_dir && stat.len == 0 && stat.mtime_ns > 0);
    assert!(disk.stat(dir.path()).unwrap().unwrap().is_dir);
    assert_eq!(disk.stat(&path.join("below a file")).unwrap(), None);
}

#[test]
fn space_is_given_and_never_taken() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(2);
    let path = dir.path().join("a");
    fs::write(&path, [7; 100]).unwrap();
    disk.create(&path, 1 << 20, Allocation::Full).unwrap();
    assert_eq!(disk.stat(&path).unwrap().unwrap().len, 1 << 20);
    disk.create(&path, 10, Allocation::Full).unwrap();
    disk.create(&path, 0, Allocation::Full).unwrap();
    assert_eq!(disk.stat(&path).unwrap().unwrap().len, 1 << 20);
    assert_eq!(fs::read(&path).unwrap()[..101], [&[7; 100][..], &[0]].concat());
}

#[test]
fn small_files_are_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(2);
    let path = dir.path().join("states/one");
    disk.save(&path, b"old").unwrap();
    disk.save(&path, b"newer").unwrap();
    assert_eq!(disk.load(&path, 5).unwrap().unwrap(), b"newer");
    assert_eq!(disk.load(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "no temporary file is left"
    );
    // A folder in its place: the error is told, and nothing left behind.
    let folder = dir.path().join("states/folder");
    fs::create_dir_all(folder.join("x")).unwrap();
    assert!(disk.save(&folder, b"x").is_err());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn holes_of_a_file_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(2);
    let path = dir.path().join("a");
    disk.create(&path, 0, Allocation::Sparse).unwrap();
    disk.write_at(&path, 8 << 20, b"data").unwrap();
    assert!(disk.is_hole(&path, 0, 1 << 20));
    assert!(!disk.is_hole(&path, 8 << 20, 4));
    assert!(!disk.is_hole(&path, 0, (8 << 20) + 1));
    assert!(disk.is_hole(&path, 16 << 20, 1));
    assert!(!disk.is_hole(&dir.path().join("none"), 0, 1));
}

#[cfg(unix)]
#[test]
fn descriptor_shortage_closes_longest_unused_files() {
    use rustix::io::Errno;
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(100);
    let paths: Vec<_> = (0..9).map(|n| dir.path().join(format!("{n}"))).collect();
    paths.iter().for_each(|path| disk.create(path, 0, Allocation::Sparse).unwrap());
    disk.write_at(&paths[0], 0, b"used last").unwrap();
    let out = || io::Error::from(Errno::MFILE);
    // The process can afford four.
    let tries = std::cell::Cell::new(0);
    let open = || {
        tries.set(tries.get() + 1);
        if disk.open_files().by_path.len() > 4 { Err(out()) } else { Ok(()) }
    };
    disk.with_handles(open).unwrap();
    assert_eq!(tries.get(), 2, "half of nine were closed at once");
    let of = |nth: &[usize]| nth.iter().map(|&n| (paths[n].clone(), true)).collect::<Vec<_>>();
    assert_eq!(open_paths(&disk), of(&[0, 6, 7, 8]));
    // What is opened later takes the place of others, and does not run into the limit again.
    disk.write_at(&paths[1], 0, b"x").unwrap();
    assert_eq!(open_paths(&disk), of(&[0, 1, 7, 8]));
    // If it is not the pool that has them all, that is told soon.
    tries.set(0);
    let never = || {
        tries.set(tries.get() + 1);
        Err::<(), _>(out())
    };
    assert!(out_of_handles(&disk.with_handles(never).unwrap_err()));
    assert!(tries.get() <= 4 && open_paths(&disk).is_empty(), "{}", tries.get());
    assert_eq!(
        disk.with_handles(|| Err::<(), _>(ErrorKind::NotFound.into())).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(disk.write_at(&paths[1], 1, b"y").unwrap(), 1);
}
