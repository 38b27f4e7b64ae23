//! Torrents from real folders, held against a simple hash of the same bytes.

use std::{cell::Cell, fs, os::unix::ffi::OsStrExt as _};

use proptest::prelude::*;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tempfile::TempDir;

use super::*;
use crate::base::{
    files::{FileEntry, FileKind},
    hash::Digest,
    rng::Rng,
};

const KIB: usize = 1024;

/// A folder `t` of noise.
fn folder(files: &[(&str, usize)]) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("t");
    fs::create_dir(&root).unwrap();
    for &(name, len) in files {
        let mut bytes = vec![0; len];
        Rng::new(len as u64).fill(&mut bytes);
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    (dir, root)
}

fn quietly(params: &CreateParams) -> Result<Created, CreateError> {
    create(params, |_| ControlFlow::Continue(()))
}

/// The digests of the files' bytes end to end, as a page of code has them that knows nothing of
/// lanes and threads.
fn plainly(root: &Path, metainfo: &Metainfo) -> Vec<Digest> {
    let mut all = Vec::new();
    for file in metainfo.files.iter() {
        match file.kind {
            FileKind::Regular => all.extend(
                fs::read(file.path.iter().fold(root.to_owned(), |p, part| p.join(part))).unwrap(),
            ),
            _ => all.resize(all.len() + file.len as usize, 0),
        }
    }
    let hash = |piece| digest(&SHA1_FOR_LEGACY_USE_ONLY, piece).as_ref().try_into().unwrap();
    all.chunks(metainfo.geometry.nominal_piece_len() as usize).map(hash).collect()
}

fn paths(metainfo: &Metainfo) -> Vec<String> {
    metainfo.files.iter().map(|f| f.path.join("/")).collect()
}

#[track_caller]
fn assert_refused(params: &CreateParams, expected: &str) {
    let said = quietly(params).unwrap_err().to_string();
    let root = params.path.parent().unwrap().to_str().unwrap();
    assert_eq!(said.replace(root, "DIR"), expected);
}

#[test]
fn the_piece_length_grows_with_the_size() {
    const MIB: u64 = 1 << 20;
    for (total, expected) in [
        (1, 16),
        (2000 * 16 * 1024, 16),
        (2000 * 16 * 1024 + 1, 32),
        (700 * MIB, 512),
        (2000 * MIB, 1024),
        (32_000 * MIB, 16 * 1024),
        (u64::MAX, 16 * 1024),
    ] {
        assert_eq!(piece_len_for(total), expected * 1024, "{total} bytes");
    }
    for total in (16 * MIB..32_000 * MIB).step_by(777_777_777) {
        let pieces = total.div_ceil(u64::from(piece_len_for(total)));
        assert!((1000..=2000).contains(&pieces), "{pieces} pieces of {total} bytes");
    }
}

#[test]
fn the_digests_are_those_of_the_bytes_end_to_end() {
    let (_dir, root) = folder(&[
        ("größe/日本語.txt", 3),
        ("a", 3 << 20),
        ("b/long", (9 << 20) + 1),
        ("b/short", 16 * KIB),
        ("empty", 0),
        ("🦀", 100_000),
        ("z/last/empty", 0),
    ]);
    for piece_len in [None, Some(16 << 10), Some(1 << 20), Some(4 << 20)] {
        for (threads, pads) in [(1, false), (3, true), (0, false), (300, true)] {
            let params = CreateParams { piece_len, threads, pads, ..CreateParams::new(&root) };
            let Created { bytes, metainfo } = quietly(&params).unwrap();
            assert_eq!(
                metainfo.pieces[..],
                plainly(&root, &metainfo)[..],
                "{piece_len:?}, {threads} threads, pads: {pads}"
            );
            assert_eq!(Metainfo::from_bytes(&bytes).unwrap().info_hash(), metainfo.info_hash());
            assert_eq!((metainfo.name.as_str(), metainfo.single_file), ("t", false));
            let regular = |f: &&FileEntry| f.kind == FileKind::Regular && f.len > 0;
            let aligned = |f: &FileEntry| {
                f.offset.is_multiple_of(u64::from(metainfo.geometry.nominal_piece_len()))
            };
            assert!(!pads || metainfo.files.iter().filter(regular).all(aligned));
            assert_eq!(
                metainfo.files.iter().filter(|f| f.kind == FileKind::Pad).count(),
                if pads { pads_needed(&metainfo) } else { 0 }
            );
        }
    }
}

#[test]
fn the_longest_piece_there_may_be_takes_a_file_whole() {
    let (_dir, root) = folder(&[("a", 3 << 20), ("b", 5)]);
    let metainfo =
        quietly(&CreateParams { piece_len: Some(512 << 20), ..CreateParams::new(&root) })
            .unwrap()
            .metainfo;
    assert_eq!(metainfo.pieces[..], plainly(&root, &metainfo)[..]);
    assert_eq!(metainfo.pieces.len(), 1);
}

/// Files before the last with data whose end is not that of a piece.
fn pads_needed(metainfo: &Metainfo) -> usize {
    let piece_len = u64::from(metainfo.geometry.nominal_piece_len());
    let lens: Vec<u64> = metainfo
        .files
        .iter()
        .filter(|f| f.kind == FileKind::Regular && f.len > 0)
        .map(|f| f.len)
        .collect();
    lens.iter().rev().skip(1).filter(|&len| len % piece_len != 0).count()
}

#[test]
fn a_single_file_is_called_as_it_is() {
    let (_dir, root) = folder(&[("one file", 100_000)]);
    let Created { metainfo, .. } = quietly(&CreateParams::new(root.join("one file"))).unwrap();
    assert_eq!(
        (metainfo.name.as_str(), metainfo.single_file, metainfo.files.len()),
        ("one file", true, 1)
    );
    assert_eq!(metainfo.pieces[..], plainly(&root.join("one file"), &metainfo)[..]);
    // A link that the user names is what it leads to.
    std::os::unix::fs::symlink(root.join("one file"), root.join("link")).unwrap();
    let params =
        CreateParams { name: Some("other".into()), ..CreateParams::new(root.join("link")) };
    let linked = quietly(&params).unwrap().metainfo;
    assert_eq!((linked.name.as_str(), &linked.pieces), ("other", &metainfo.pieces));
}

#[test]
fn files_come_in_the_bytewise_order_of_their_paths() {
    let (_dir, root) = folder(&[
        ("a/b", 1),
        ("a.txt", 1),
        ("a-", 1),
        ("B", 1),
        ("a/a/c", 1),
        ("é", 1),
        ("z", 0),
        ("a0", 1),
    ]);
    let created = quietly(&CreateParams::new(&root)).unwrap();
    assert_eq!(paths(&created.metainfo), ["B", "a-", "a.txt", "a/a/c", "a/b", "a0", "z", "é"]);
    assert_eq!(
        created.bytes,
        quietly(&CreateParams { threads: 2, ..CreateParams::new(&root) }).unwrap().bytes
    );
}

#[test]
fn torrent_has_what_was_asked_for() {
    let (_dir, root) = folder(&[("f", 20_000)]);
    let params = CreateParams {
        name: Some("named".into()),
        trackers: vec![
            vec!["http://a/announce".into(), "udp://b:1".into()],
            vec![],
            vec!["http://c/".into()],
        ],
        web_seeds: vec!["http://w/".into()],
        private: true,
        comment: Some("a remark".into()),
        created_by: Some("a test".into()),
        creation_date: Some(1_700_000_000),
        ..CreateParams::new(&root)
    };
    let m = quietly(&params).unwrap().metainfo;
    assert_eq!(m.name, "named");
    assert_eq!(m.trackers, [vec!["http://a/announce", "udp://b:1"], vec!["http://c/"]]);
    assert_eq!(
        (m.web_seeds[0].as_str(), m.private, m.creation_date),
        ("http://w/", true, Some(1_700_000_000))
    );
    assert_eq!((m.comment.as_deref(), m.created_by.as_deref()), (Some("a remark"), Some("a test")));
    let other =
        quietly(&CreateParams { source: Some("s".into()), ..params.clone() }).unwrap().metainfo;
    assert_ne!(other.info_hash(), m.info_hash());
    let silent = quietly(&CreateParams::new(&root)).unwrap().metainfo;
    assert_eq!((silent.creation_date, silent.trackers.len()), (None, 0));
}

#[test]
fn impossible_torrent_is_named() {
    let (_dir, root) = folder(&[("f", 20_000), ("void/nothing/empty", 0), ("bare", 0)]);
    fs::create_dir(root.join("empty")).unwrap();
    let at = |name: &str| CreateParams::new(root.join(name));
    let ok = CreateParams::new(&root);
    assert_refused(&at("empty"), "DIR/empty holds no data");
    assert_refused(&at("void"), "DIR/void holds no data");
    assert_refused(&at("bare"), "DIR/bare holds no data");
    assert_refused(
        &at("missing"),
        "cannot read DIR/missing: No such file or directory (os error 2)",
    );
    for (len, said) in [(0, 0), (20_000, 20_000), (8192, 8192), (1 << 30, 1 << 30)] {
        let said = format!(
            "a piece length of {said} bytes, which is not a power of two from 16 KiB to 512 MiB"
        );
        assert_refused(&CreateParams { piece_len: Some(len), ..ok.clone() }, &said);
    }
    for name in ["", ".", "..", "a/b", "a\\b", "a\0"] {
        assert_refused(
            &CreateParams { name: Some(name.into()), ..ok.clone() },
            &format!("a torrent cannot be called {name:?}"),
        );
    }
    for address in ["", "http://a b/", "udp://a\n"] {
        let said = format!("{address:?} is not the address of a tracker or web seed");
        assert_refused(&CreateParams { trackers: vec![vec![address.into()]], ..ok.clone() }, &said);
        assert_refused(&CreateParams { web_seeds: vec![address.into()], ..ok.clone() }, &said);
    }
    let crowd = CreateParams { trackers: vec![vec!["http://t/".into(); 10_001]], ..ok };
    assert_refused(&crowd, "10001 trackers exceed the limit of 10000");
}

#[test]
fn too_much_is_refused_before_it_is_read() {
    let (_dir, root) = folder(&[("a", 1), ("b", 1), ("c", 1)]);
    let disk = RealDisk::new(2);
    let find = |limit| walk::find(&root, false, limit, &disk, || ControlFlow::Continue(()));
    assert_eq!(find(3).unwrap().len(), 3);
    assert!(
        matches!(find(2).unwrap_err(), CreateError::TooManyFiles { path, limit: 2 } if path == root)
    );
    // 64 GiB of nothing, in pieces of 16 KiB.
    fs::File::create(root.join("big")).unwrap().set_len(64 << 30).unwrap();
    let params = CreateParams { piece_len: Some(16 * 1024), ..CreateParams::new(&root) };
    assert_refused(
        &params,
        "4194305 pieces of 16384 bytes exceed the limit of 2097152: the pieces must be longer",
    );
    // Within the number of pieces, but their digests are more than a metainfo file may have.
    fs::File::create(root.join("big")).unwrap().set_len(31 << 30).unwrap();
    assert_refused(&params, "a metainfo of more than 32 MiB");
}

#[test]
fn special_files_and_links_are_refused_or_left_out() {
    let (dir, root) = folder(&[("d/f", 20_000)]);
    fs::write(dir.path().join("outside"), b"secret").unwrap();
    for (what, make) in [
        (
            "a symbolic link",
            (|at| std::os::unix::fs::symlink("../../outside", at)) as fn(PathBuf) -> io::Result<()>,
        ),
        ("a symbolic link", |at| std::os::unix::fs::symlink(".", at)),
        ("a symbolic link", |at| std::os::unix::fs::symlink("f", at)),
        ("a socket", |at| std::os::unix::net::UnixListener::bind(at).map(drop)),
    ] {
        let at = root.join("d/odd");
        make(at.clone()).unwrap();
        assert_refused(
            &CreateParams::new(&root),
            &format!("DIR/t/d/odd is {what}, which a torrent cannot hold"),
        );
        let created =
            quietly(&CreateParams { skip_special: true, ..CreateParams::new(&root) }).unwrap();
        assert_eq!(paths(&created.metainfo), ["d/f"]);
        fs::remove_file(at).unwrap();
    }
    assert_refused(
        &CreateParams::new("/dev/null"),
        "/dev/null is a device, which a torrent cannot hold".replace("/dev", "DIR").as_str(),
    );
}

#[test]
fn names_that_this_system_takes_are_packed_as_they_are() {
    let files = [("README", 20_000), ("a.", 1), ("aux.txt", 1), ("d /f", 1), ("readme", 1)];
    let (_dir, root) = folder(&files);
    let created = quietly(&CreateParams::new(&root)).unwrap();
    assert_eq!(paths(&created.metainfo), files.map(|(name, _)| name));
    assert_eq!(created.metainfo.changed_names(), []);
}

#[test]
fn names_that_a_download_would_change_are_refused() {
    for (name, said) in [
        ("a\\b", "DIR/t/a\\b would be stored as t/a_b by those who download it"),
        ("a\u{202e}b", "DIR/t/a\u{202e}b would be stored as t/a_b by those who download it"),
        (
            "_____padding_file_0_",
            "DIR/t/_____padding_file_0_ is named like padding, which a torrent cannot hold",
        ),
    ] {
        let (_dir, root) = folder(&[("f", 20_000), (name, 1)]);
        assert_refused(&CreateParams::new(&root), said);
    }
    let (_dir, root) = folder(&[("f", 20_000)]);
    let state = CreateParams { name: Some(".cratetorrent".into()), ..CreateParams::new(&root) };
    assert!(matches!(quietly(&state).unwrap_err(), CreateError::Renamed { .. }));

    let raw = root.join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::write(&raw, b"data").unwrap();
    let error = quietly(&CreateParams::new(&root)).unwrap_err();
    assert!(matches!(error, CreateError::NotUtf8(path) if path == raw));
    let error = quietly(&CreateParams::new(&raw)).unwrap_err();
    assert!(matches!(error, CreateError::NotUtf8(path) if path == raw));
    assert!(
        quietly(&CreateParams { name: Some("named".into()), ..CreateParams::new(&raw) }).is_ok()
    );
}

#[test]
fn own_state_folder_is_left_out_at_any_depth() {
    let (_dir, root) = folder(&[("f", 20_000), ("a/g", 1)]);
    let plain = quietly(&CreateParams::new(&root)).unwrap();
    for folder in [".cratetorrent", "a/.cratetorrent"] {
        fs::create_dir(root.join(folder)).unwrap();
        fs::write(root.join(folder).join("x.resume"), b"state").unwrap();
    }
    assert_eq!(quietly(&CreateParams::new(&root)).unwrap().bytes, plain.bytes);
    // A file of that name is data like any other.
    fs::remove_dir_all(root.join("a/.cratetorrent")).unwrap();
    fs::write(root.join("a/.cratetorrent"), b"data").unwrap();
    assert_eq!(quietly(&CreateParams::new(&root)).unwrap().metainfo.files.len(), 3);
}

#[test]
fn unreadable_file_is_named_before_hashing_begins() {
    // A regular file that even root cannot read at its beginning.
    let path = Path::new("/proc/self/mem");
    if path.exists() {
        let e =
            create(&CreateParams::new(path), |_| panic!("nothing is to be hashed")).unwrap_err();
        assert!(matches!(&e, CreateError::Unreadable { path: p, .. } if p == path), "{e}");
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_named() {
    let changes: [fn(&Path); 4] = [
        |path| fs::write(path, b"short").unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::OpenOptions::new()
                .append(true)
                .open(path)
                .and_then(|mut f| io::Write::write_all(&mut f, b"x"))
                .unwrap()
        },
        |path| fs::File::open(path).and_then(|f| f.set_modified(std::time::UNIX_EPOCH)).unwrap(),
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        for changed in ["a", "b"] {
            let (_dir, root) = folder(&[("a", 6 << 20), ("b", 3 << 20)]);
            let path = root.join(changed);
            let first = Cell::new(true);
            let result =
                create(&CreateParams { threads: 2, ..CreateParams::new(&root) }, |progress| {
                    if progress.done > 0 && first.replace(false) {
                        change(&path);
                    }
                    ControlFlow::Continue(())
                });
            assert!(
                matches!(&result, Err(CreateError::Changed(p)) if *p == path),
                "change {nth} of {changed}: {result:?}"
            );
        }
    }
}

#[test]
fn creation_tells_progress_and_stops_when_told() {
    let (_dir, root) = folder(&[("a", 10 << 20), ("b", 5 << 20)]);
    let params = CreateParams { threads: 2, piece_len: Some(8 << 20), ..CreateParams::new(&root) };
    let total = 15 << 20;
    let mut told = Vec::new();
    create(&params, |progress| {
        told.push(progress);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(told[0], CreateProgress { done: 0, total: 0 });
    assert_eq!(told.last(), Some(&CreateProgress { done: total, total }));
    assert!(told.len() > 5 && told.is_sorted_by_key(|p| p.done), "{told:?}");
    // Large pieces do not make it deaf: it is told of every MiB a lane.
    let step = told.windows(2).map(|w| w[1].done - w[0].done).max();
    assert!(step <= Some(3 << 20), "{told:?}");

    for at in [0, 1, 2, told.len() - 1] {
        let mut calls = 0;
        let result = create(&params, |_| {
            calls += 1;
            if calls > at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(result, Err(CreateError::Stopped)));
        assert_eq!(calls, at + 1, "no progress is told after that");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sizes_make_the_torrent_that_their_bytes_say(
        lens in prop::collection::vec(
            prop_oneof![Just(0), 1..40_000_usize, Just(16 * KIB), Just(64 * KIB)],
            1..12,
        ),
        power in 14..18_u32,
        pads: bool,
        threads in 1..5_usize,
    ) {
        let names: Vec<String> = (0..lens.len()).map(|n| format!("{}/{n}", n % 3)).collect();
        let files: Vec<_> = names.iter().map(String::as_str).zip(lens.iter().copied()).collect();
        let (_dir, root) = folder(&files);
        let params = CreateParams {
            piece_len: Some(1 << power),
            pads,
            threads,
            ..CreateParams::new(&root)
        };
        match quietly(&params) {
            Ok(created) => prop_assert_eq!(
                &created.metainfo.pieces[..],
                &plainly(&root, &created.metainfo)[..]
            ),
            Err(e) => prop_assert!(
                matches!(e, CreateError::Empty(_)) && lens.iter().all(|&len| len == 0),
                "{}",
                e
            ),
        }
    }
}

/// The root of a file, as the text of BEP 52 has it: leaves of zeroes up to a power of two.
fn plain_root(bytes: &[u8]) -> [u8; 32] {
    let sha256 = |bytes: &[u8]| -> [u8; 32] {
        digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
    };
    let mut layer: Vec<[u8; 32]> = bytes.chunks(16 * KIB).map(sha256).collect();
    layer.resize(layer.len().next_power_of_two(), [0; 32]);
    while layer.len() > 1 {
        layer = layer.chunks(2).map(|pair| sha256(pair.as_flattened())).collect();
    }
    layer[0]
}

#[test]
fn v2_torrents_have_the_hashes_of_a_plain_implementation() {
    let files = [
        ("a/b", 16 * KIB),
        ("a.b", 100_000),
        ("empty", 0),
        ("one", 1),
        ("piece", 64 * KIB),
        ("piece and byte", 64 * KIB + 1),
        ("same", 100_000),
        ("z", 300_001),
    ];
    let (_dir, root) = folder(&files);
    for (piece_len, threads) in [(16, 1), (64, 2), (1024, 3)] {
        let make = |format| {
            let piece_len = Some(piece_len * KIB as u32);
            let params = CreateParams { piece_len, format, threads, ..CreateParams::new(&root) };
            quietly(&params).unwrap().metainfo
        };
        let [v2, hybrid] = [Format::V2, Format::Hybrid].map(make);
        assert_eq!((v2.identity.v1(), v2.trees.is_some()), (None, true));
        assert_eq!((&v2.trees, &v2.files), (&hybrid.trees, &hybrid.files));
        let names: Vec<_> = paths(&v2).into_iter().filter(|p| !p.starts_with(".pad")).collect();
        // The folder `a` comes before `a.b`, although `/` comes after `.`.
        assert_eq!(names[..2], ["a/b", "a.b"]);
        let trees = v2.trees.unwrap();
        assert!(trees.is_complete());
        for tree in trees.files() {
            let entry = &v2.files[tree.file as usize];
            let path = entry.path.iter().fold(root.clone(), |path, part| path.join(part));
            assert_eq!(tree.root, plain_root(&fs::read(path).unwrap()), "{:?}", entry.path);
        }
        // The SHA-1s are over all pads, that after the last file among them.
        let mut padded = hybrid.clone();
        let g = &hybrid.geometry;
        let last = g.pad_len(g.piece(g.piece_count() - 1).unwrap());
        assert_eq!((g.total_len() + u64::from(last)) % u64::from(g.nominal_piece_len()), 0);
        let (path, kind) = (Vec::new(), FileKind::Pad);
        let pad = FileEntry { path, len: last.into(), offset: g.total_len(), kind };
        padded.files = hybrid.files.iter().cloned().chain([pad]).collect();
        assert_eq!(hybrid.pieces[..], plainly(&root, &padded)[..]);
    }
}

#[test]
fn single_file_of_version_2_has_no_pad() {
    let (_dir, root) = folder(&[("one file", 70_000)]);
    for format in [Format::V2, Format::Hybrid] {
        let params = CreateParams { format, ..CreateParams::new(root.join("one file")) };
        let metainfo = quietly(&params).unwrap().metainfo;
        assert!(metainfo.single_file && metainfo.name == "one file");
        assert!(metainfo.geometry.pieces().all(|p| metainfo.geometry.pad_len(p) == 0));
        let bytes = fs::read(root.join("one file")).unwrap();
        assert_eq!(metainfo.trees.unwrap().files()[0].root, plain_root(&bytes));
    }
}

#[test]
fn folder_of_one_file_is_refused_in_version_2_alone() {
    let (_dir, root) = folder(&[("sub/alone", 70_000)]);
    for (below, name) in [("", "sub"), ("sub", "alone")] {
        let path = root.join(below);
        let params = CreateParams { format: Format::V2, ..CreateParams::new(&path) };
        match quietly(&params) {
            // A folder within is told from the file.
            Ok(created) => assert_eq!((created.metainfo.single_file, name), (false, "sub")),
            Err(CreateError::OneFile { folder, file }) => {
                assert_eq!((folder, &*file), (path, name));
            }
            Err(e) => panic!("{e}"),
        }
    }
    let format = Format::Hybrid;
    let hybrid = CreateParams { format, ..CreateParams::new(root.join("sub")) };
    let metainfo = quietly(&hybrid).unwrap().metainfo;
    assert!(!metainfo.single_file && metainfo.files[0].path == ["alone"]);
    // Pads are not counted in links.
    assert_eq!(metainfo.magnet().len, Some(70_000));
}

/// [`is_made_of`] that goes on to the end.
fn is_known(made: &Metainfo, params: &CreateParams) -> Result<bool, CreateError> {
    is_made_of(made, params, || ControlFlow::Continue(()))
}

#[test]
fn torrent_is_known_again_without_hashing() {
    let (_dir, root) = folder(&[("a", 40 * KIB), ("b/c", 3), ("z", 20 * KIB)]);
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let params = CreateParams { format, ..CreateParams::new(&root) };
        let made = quietly(&params).unwrap().metainfo;
        let is = |change: &dyn Fn(&mut CreateParams)| {
            let mut params = params.clone();
            change(&mut params);
            is_known(&made, &params).unwrap()
        };
        assert!(is(&|_| ()));
        assert!(is(&|p| p.comment = Some("a remark".into())));
        assert!(is(&|p| p.trackers = vec![vec!["http://t.example/a".into()]]));
        assert!(!is(&|p| p.private = true));
        assert!(!is(&|p| p.source = Some("s".into())));
        assert!(!is(&|p| p.name = Some("other".into())));
        assert!(!is(&|p| p.piece_len = Some(32 * 1024)));
        for other in [Format::V1, Format::V2, Format::Hybrid] {
            assert_eq!(is(&|p| p.format = other), other == format);
        }
    }
    let params = CreateParams::new(&root);
    let made = quietly(&params).unwrap().metainfo;
    fs::write(root.join("z"), vec![1; 20 * KIB]).unwrap();
    assert!(is_known(&made, &params).unwrap(), "it does not hash");
    fs::write(root.join("z"), [1]).unwrap();
    assert!(!is_known(&made, &params).unwrap());
    fs::remove_dir_all(&root).unwrap();
    assert!(matches!(is_known(&made, &params), Err(CreateError::Unreadable { .. })));
}

#[test]
fn search_for_the_files_of_a_torrent_stops_on_request() {
    let (_dir, root) = folder(&[("a", 40 * KIB), ("b/c", 3)]);
    let params = CreateParams::new(&root);
    let made = quietly(&params).unwrap().metainfo;
    let mut left = 2;
    let stopped = is_made_of(&made, &params, || {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(CreateError::Stopped)));
}
