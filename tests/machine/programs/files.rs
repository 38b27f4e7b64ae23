//! A torrent's files on a real file system: moved, renamed, deleted, and what must not be touched
//! by that.
#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::support::{
    system::{Tmpfs, is_root, skip},
    torrent::{Recipe, Torrent},
};
use cratetorrent::{
    Alert, AlertMask, Alerts, Conf, EngineHandle, MoveMode, Priority, TorrentId, TorrentParams,
    spawn, wire::metainfo::Metainfo,
};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);

/// An engine that has all of a torrent in a folder.
struct Bench {
    home: TempDir,
    torrent: Torrent,
    engine: EngineHandle,
    alerts: Alerts,
    id: TorrentId,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| (), |params| params)
    }

    /// The same, and can be dialled.
    fn serving() -> Self {
        Self::start(
            Conf::default().with(|conf| conf.network.listen = vec![([127, 0, 0, 1], 0).into()]),
            |_| (),
            |params| params,
        )
    }

    /// `spoil` happens to the folder before the torrent is added, as `change` has it.
    fn with(
        spoil: impl FnOnce(&Path),
        change: impl FnOnce(TorrentParams) -> TorrentParams,
    ) -> Self {
        Self::start(Conf::default(), spoil, change)
    }

    fn start(
        conf: Conf,
        spoil: impl FnOnce(&Path),
        change: impl FnOnce(TorrentParams) -> TorrentParams,
    ) -> Self {
        let home = tempfile::tempdir().unwrap();
        let torrent = Recipe::folder("set", 64 * 1024)
            .file("a", 300_000)
            .file("b/c/d", 500_000)
            .file("b/e", 10)
            .file("f", 0)
            .make(5);
        let down = home.path().join("down");
        fs::create_dir(&down).unwrap();
        torrent.write_files(&down);
        spoil(&down);
        let metainfo = Arc::new(Metainfo::from_bytes(&torrent.metainfo).unwrap());
        let conf = conf.with(|conf| conf.alerts.mask = AlertMask::STATUS);
        let (engine, alerts) = spawn(conf).unwrap();
        let params = change(TorrentParams::new(metainfo, &down));
        let id = engine.call(move |e| e.add_torrent(params)).unwrap().unwrap();
        let mut bench = Self { home, torrent, engine, alerts, id };
        bench.wait(|a| matches!(a, Alert::Checked { .. }));
        bench
    }

    fn down(&self) -> PathBuf {
        self.home.path().join("down")
    }

    #[track_caller]
    fn wait(&mut self, is: impl Fn(&Alert) -> bool) -> Alert {
        let mut seen = Vec::new();
        loop {
            match self.alerts.recv_timeout(LIMIT) {
                Ok(alert) if is(&alert) => return alert,
                Ok(alert) => seen.push(alert),
                Err(e) => panic!("{e:?} after {seen:#?}"),
            }
        }
    }

    #[track_caller]
    fn have(&self) -> u32 {
        let id = self.id;
        self.engine.call(move |e| e.stats(id).unwrap().have).unwrap()
    }

    #[track_caller]
    fn move_to(&mut self, dir: &Path) {
        let (id, to) = (self.id, dir.to_owned());
        self.engine.call(move |e| e.move_storage(id, to, MoveMode::FailIfExists)).unwrap().unwrap();
    }

    fn remove_with_data(&mut self) -> Option<String> {
        let id = self.id;
        self.engine.call(move |e| e.remove_with_data(id)).unwrap().unwrap();
        let told =
            self.wait(|a| matches!(a, Alert::DataDeleted { .. } | Alert::DeleteFailed { .. }));
        self.wait(|a| matches!(a, Alert::Removed { .. }));
        if let Alert::DeleteFailed { files, error, .. } = told {
            Some(format!("{files}: {error}"))
        } else {
            None
        }
    }
}

/// All that is below `dir`, folders with a slash at the end.
fn tree(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, root: &Path, out: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, is_dir) = (entry.path(), entry.file_type().unwrap().is_dir());
            let name = path.strip_prefix(root).unwrap().display().to_string();
            out.push(if is_dir { format!("{name}/") } else { name });
            if is_dir {
                walk(&path, root, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(dir, dir, &mut out);
    out.sort();
    out
}

#[test]
fn remove_with_data_leaves_the_empty_download_folder() {
    let mut bench = Bench::new();
    assert_eq!(bench.have(), bench.torrent.pieces() as u32);
    assert_eq!(bench.remove_with_data(), None);
    assert_eq!(tree(&bench.down()), [""; 0]);
    assert!(bench.down().is_dir());
}

#[test]
fn remove_with_data_leaves_foreign_files_and_folders() {
    let mut bench = Bench::with(
        |down| {
            fs::write(down.join("set/b/mine"), "mine").unwrap();
            fs::create_dir_all(down.join("set/empty")).unwrap();
            fs::create_dir_all(down.join(".cratetorrent")).unwrap();
            fs::write(down.join(".cratetorrent/other.resume"), "other").unwrap();
        },
        |params| params,
    );
    assert_eq!(bench.remove_with_data(), None);
    assert_eq!(
        tree(&bench.down()),
        [
            ".cratetorrent/",
            ".cratetorrent/other.resume",
            "set/",
            "set/b/",
            "set/b/mine",
            "set/empty/"
        ]
    );
}

#[test]
fn remove_with_data_follows_no_link_to_a_folder() {
    let mut bench = Bench::new();
    let (down, real) = (bench.down(), bench.home.path().join("real"));
    fs::rename(down.join("set/b"), &real).unwrap();
    symlink(&real, down.join("set/b")).unwrap();
    let told = bench.remove_with_data().unwrap();
    assert!(told.starts_with("2: ") && told.contains("set/b"), "{told}");
    assert_eq!(tree(&down), ["set/", "set/b"]);
    assert_eq!(tree(&real), ["c/", "c/d", "e"]);
}

#[test]
fn remove_with_data_deletes_no_link_and_no_target() {
    let mut bench = Bench::new();
    let (down, real) = (bench.down(), bench.home.path().join("real"));
    fs::rename(down.join("set/a"), &real).unwrap();
    symlink(&real, down.join("set/a")).unwrap();
    let told = bench.remove_with_data().unwrap();
    assert!(told.starts_with("1: ") && told.contains("set/a"), "{told}");
    assert_eq!(tree(&down), ["set/", "set/a"]);
    assert_eq!(fs::read(&real).unwrap().len(), 300_000);
}

#[test]
fn remove_with_data_takes_no_folder_that_is_where_a_file_was() {
    let mut bench = Bench::new();
    let down = bench.down();
    fs::remove_file(down.join("set/a")).unwrap();
    fs::create_dir(down.join("set/a")).unwrap();
    fs::write(down.join("set/a/mine"), "mine").unwrap();
    let told = bench.remove_with_data().unwrap();
    assert!(told.starts_with("1: ") && told.contains("regular"), "{told}");
    assert_eq!(tree(&down), ["set/", "set/a/", "set/a/mine"]);
}

#[test]
fn remove_with_data_follows_renames_and_keeps_the_old_name() {
    let mut bench = Bench::with(
        |down| {
            fs::create_dir(down.join("x")).unwrap();
            fs::rename(down.join("set/a"), down.join("x/y")).unwrap();
            fs::write(down.join("set/a"), "mine").unwrap();
        },
        |params| TorrentParams { renames: vec![(0, "x/y".into())], ..params },
    );
    assert_eq!(bench.have(), bench.torrent.pieces() as u32);
    assert_eq!(bench.remove_with_data(), None);
    assert_eq!(tree(&bench.down()), ["set/", "set/a"]);
}

#[test]
fn remove_with_data_deletes_a_remote_state_file_only() {
    let mut bench = Bench::with(
        |down| {
            fs::create_dir(down.with_file_name("states")).unwrap();
        },
        |params| {
            let state_file = Some(params.dir.with_file_name("states").join("s"));
            TorrentParams { state_file, ..params }
        },
    );
    let states = bench.home.path().join("states");
    bench.wait(|a| matches!(a, Alert::Saved { .. }));
    fs::write(states.join("mine"), "mine").unwrap();
    assert_eq!(tree(&states), ["mine", "s"]);
    assert_eq!(bench.remove_with_data(), None);
    assert_eq!(tree(&states), ["mine"]);
}

#[test]
fn a_move_on_the_same_file_system_takes_the_files_themselves() {
    use std::os::unix::fs::MetadataExt as _;
    let mut bench = Bench::new();
    bench.wait(|a| matches!(a, Alert::Saved { .. }));
    let (down, to) = (bench.down(), bench.home.path().join("to/there"));
    fs::write(down.join("set/b/mine"), "mine").unwrap();
    let inode = fs::metadata(down.join("set/b/c/d")).unwrap().ino();
    bench.move_to(&to);
    bench.wait(|a| matches!(a, Alert::StorageMoved { dir, .. } if *dir == to));
    let id = bench.id;
    // The next answer comes when the old place is tidied up.
    bench.engine.call(move |e| e.rename_file(id, 0, "A")).unwrap().unwrap();
    bench.wait(|a| matches!(a, Alert::FileRenamed { .. }));
    assert_eq!(tree(&down), ["set/", "set/b/", "set/b/mine"]);
    assert_eq!(fs::metadata(to.join("set/b/c/d")).unwrap().ino(), inode);
    assert_eq!(fs::read(to.join("A")).unwrap(), bench.torrent.data[..300_000]);
    assert_eq!(bench.remove_with_data(), None);
    assert_eq!(tree(&to), [""; 0]);
}

#[test]
fn a_move_to_another_file_system_copies_first_and_fails_whole() {
    if !is_root() {
        return skip("a_move_to_another_file_system", "it mounts a file system");
    }
    let mut bench = Bench::new();
    let (small, large) = (bench.home.path().join("small"), bench.home.path().join("large"));
    for dir in [&small, &large] {
        fs::create_dir(dir).unwrap();
    }
    let (Ok(full), Ok(_large)) = (Tmpfs::mount(&small, 1), Tmpfs::mount(&large, 4)) else {
        return skip("a_move_to_another_file_system", "nothing can be mounted");
    };
    full.remount("size=512k");
    let down = bench.down();
    bench.move_to(&small);
    let told = bench.wait(|a| matches!(a, Alert::StorageMoveFailed { .. }));
    assert!(format!("{told:?}").contains("StorageFull"), "{told:?}");
    assert_eq!(tree(&small), [""; 0]);
    bench.torrent.assert_in(&down);
    bench.move_to(&large);
    bench.wait(|a| matches!(a, Alert::StorageMoved { .. }));
    bench.torrent.assert_in(&large);
    let id = bench.id;
    bench.engine.call(move |e| e.recheck(id)).unwrap().unwrap();
    bench.wait(|a| matches!(a, Alert::Checked { .. }));
    assert_eq!(bench.have(), bench.torrent.pieces() as u32);
    assert_eq!(tree(&down), [""; 0]);
    assert_eq!(bench.remove_with_data(), None);
    assert_eq!(tree(&large), [""; 0]);
}

#[test]
fn a_move_does_not_write_through_a_symbolic_link() {
    let mut bench = Bench::new();
    let (to, real) = (bench.home.path().join("to"), bench.home.path().join("real"));
    fs::create_dir_all(&real).unwrap();
    fs::create_dir_all(&to).unwrap();
    symlink(&real, to.join("set")).unwrap();
    bench.move_to(&to);
    bench.wait(|a| matches!(a, Alert::StorageMoveFailed { .. }));
    assert_eq!(tree(&real), [""; 0]);
    bench.torrent.assert_in(&bench.down());
}

#[test]
fn parts_of_a_skipped_file_move_from_part_file_to_file() {
    let mut seed = Bench::serving();
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], seed.engine.local_addrs()[0].port()));
    // Only `b/e` is wanted: it shares its piece with the end of `b/c/d`.
    let mut leech = Bench::with(
        |down| fs::remove_dir_all(down.join("set")).unwrap(),
        |params| {
            let priorities = vec![Priority::Skip, Priority::Skip, Priority::Normal, Priority::Skip];
            TorrentParams { priorities, peers: vec![at], ..params }
        },
    );
    leech.wait(|a| matches!(a, Alert::Finished { .. }));
    let parts = |name: &String| name.ends_with(".parts");
    let now = tree(&leech.down());
    assert!(now.iter().any(parts) && now.contains(&"set/b/e".into()), "{now:?}");
    assert!(
        !now.iter()
            .any(|name| name.ends_with("/d") || name.ends_with("/a") || name.ends_with("/f")),
        "{now:?}"
    );
    let (id, to) = (leech.id, leech.home.path().join("to"));
    leech.move_to(&to);
    leech.wait(|a| matches!(a, Alert::StorageMoved { .. }));
    leech.engine.call(move |e| e.set_file_priorities(id, Vec::new())).unwrap().unwrap();
    leech.wait(|a| matches!(a, Alert::Finished { .. }));
    leech.torrent.assert_in(&to);
    assert!(!tree(&to).iter().any(parts), "{:?}", tree(&to));
    assert_eq!(leech.remove_with_data(), None);
    assert_eq!(tree(&to), [""; 0]);
    assert_eq!(seed.remove_with_data(), None);
}
