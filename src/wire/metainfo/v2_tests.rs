//! What `metainfo` promises of version 2 and hybrids (BEP 52): the same verdicts as libtorrent has
//! on its fixtures, of torrents that are made here to be like them, and each rule by itself.

use super::*;
use crate::{
    base::{files::FileKind, merkle},
    wire::bencode::Encoder,
};

const PIECE: u32 = 65_536;

/// A piece layer of so many pieces, no two equal, and its root.
fn layer(seed: u8, pieces: usize) -> (Vec<Node>, Node) {
    let nodes: Vec<Node> =
        (0..pieces).map(|n| std::array::from_fn(|at| (n + at) as u8 ^ seed | 1)).collect();
    let root = merkle::root(&nodes, 2, pieces.next_power_of_two()).unwrap();
    (nodes, if pieces == 1 { nodes_first(seed) } else { root })
}

fn nodes_first(seed: u8) -> Node {
    std::array::from_fn(|at| at as u8 ^ seed | 1)
}

/// What a file tree has of a file.
struct File {
    path: Vec<&'static [u8]>,
    len: i64,
    root: Option<Vec<u8>>,
    attr: &'static [u8],
}

fn file(path: &'static str, len: i64, root: Node) -> File {
    let path = path.split('/').map(str::as_bytes).collect();
    File { path, len, root: Some(root.to_vec()), attr: b"" }
}

/// A file of version 1: path, length, attributes.
type V1File = (Vec<u8>, i64, &'static [u8]);

/// A root and the layer below it.
type Layer = (Vec<u8>, Vec<u8>);

/// The parts of a torrent, each of which a test may spoil.
struct Parts {
    version: i64,
    piece_len: i64,
    files: Vec<File>,
    /// Files of version 1: path, length, attributes. None: no version 1.
    v1: Option<Vec<V1File>>,
    v1_single: bool,
    pieces: usize,
    layers: Option<Vec<Layer>>,
}

impl Parts {
    /// Three files, of which the middle one is small, without version 1.
    fn v2() -> Self {
        let (a, root_a) = layer(1, 3);
        let (_, root_b) = layer(2, 1);
        let (c, root_c) = layer(3, 2);
        let flat = |nodes: &[Node]| nodes.as_flattened().to_vec();
        let mut layers = vec![(root_a.to_vec(), flat(&a)), (root_c.to_vec(), flat(&c))];
        layers.sort();
        Self {
            version: 2,
            piece_len: PIECE.into(),
            files: vec![
                file("a", 2 * i64::from(PIECE) + 5, root_a),
                file("b/c", 7, root_b),
                file("b/d", 2 * i64::from(PIECE), root_c),
            ],
            v1: None,
            v1_single: false,
            pieces: 6,
            layers: Some(layers),
        }
    }

    /// The same with version 1, with a pad at its end if `tail`.
    fn hybrid(tail: bool) -> Self {
        let piece = i64::from(PIECE);
        let mut parts = Self::v2();
        parts.files[2].len -= 9;
        let mut v1: Vec<V1File> = vec![
            (b"a".to_vec(), 2 * piece + 5, b""),
            (b".pad/65531".to_vec(), piece - 5, b"p"),
            (b"b/c".to_vec(), 7, b""),
            (b".pad/65529".to_vec(), piece - 7, b"p"),
            (b"b/d".to_vec(), 2 * piece - 9, b""),
        ];
        v1.extend(tail.then(|| (b".pad/9".to_vec(), 9, &b"p"[..])));
        parts.v1 = Some(v1);
        parts
    }

    /// One file that is the torrent.
    fn single(pieces: usize, v1: bool) -> Self {
        let (nodes, root) = layer(7, pieces);
        let len = pieces as i64 * i64::from(PIECE);
        Self {
            version: 2,
            piece_len: PIECE.into(),
            files: vec![file("name", len, root)],
            v1: v1.then(|| vec![(Vec::new(), len, &b""[..])]),
            v1_single: v1,
            pieces,
            layers: (pieces > 1).then(|| vec![(root.to_vec(), nodes.as_flattened().to_vec())]),
        }
    }

    fn info(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict().key(b"file tree").dict();
        let mut open: &[&[u8]] = &[];
        for file in &self.files {
            let (name, folders) = file.path.split_last().unwrap();
            let shared = open.iter().zip(folders).take_while(|(a, b)| a == b).count();
            open.iter().skip(shared).for_each(|_| _ = e.end());
            folders.iter().skip(shared).for_each(|folder| _ = e.key(folder).dict());
            open = folders;
            e.key(name).dict().key(b"").dict();
            if !file.attr.is_empty() {
                e.key(b"attr").bytes(file.attr);
            }
            e.key(b"length").int(file.len);
            if let Some(root) = &file.root {
                e.key(b"pieces root").bytes(root);
            }
            e.end().end();
        }
        open.iter().for_each(|_| _ = e.end());
        e.end();
        match &self.v1 {
            Some(files) if self.v1_single => _ = e.key(b"length").int(files[0].1),
            Some(files) => {
                e.key(b"files").list();
                for (path, len, attr) in files {
                    e.dict();
                    if !attr.is_empty() {
                        e.key(b"attr").bytes(attr);
                    }
                    e.key(b"length").int(*len).key(b"path").list();
                    path.split(|b| *b == b'/').for_each(|part| _ = e.bytes(part));
                    e.end().end();
                }
                e.end();
            }
            None => {}
        }
        if self.version > 0 {
            e.key(b"meta version").int(self.version);
        }
        e.key(b"name").bytes(b"name").key(b"piece length").int(self.piece_len);
        if self.v1.is_some() {
            e.key(b"pieces").bytes(&vec![b'x'; 20 * self.pieces]);
        }
        e.end();
        e.finish()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict().key(b"info").raw(&self.info());
        if let Some(layers) = &self.layers {
            e.key(b"piece layers").dict();
            layers.iter().for_each(|(root, layer)| _ = e.key(root).bytes(layer));
            e.end();
        }
        e.end();
        e.finish()
    }

    fn read(&self) -> Result<Metainfo, MetainfoError> {
        Metainfo::from_bytes(&self.bytes())
    }
}

/// The verdict on parts that `spoil` has been at.
fn spoilt(mut parts: Parts, spoil: impl FnOnce(&mut Parts)) -> String {
    spoil(&mut parts);
    parts.read().unwrap_err().to_string()
}

fn listed(m: &Metainfo) -> Vec<(String, u64, u64, FileKind)> {
    m.files.iter().map(|f| (f.path.join("/"), f.len, f.offset, f.kind)).collect()
}

#[test]
fn v2_alone_has_its_files_at_pieces_with_pads_between() {
    use FileKind::{Pad, Regular};
    let parts = Parts::v2();
    let m = parts.read().unwrap();
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &parts.info()).as_ref());
    assert_eq!((m.identity.v1(), m.identity.v2().unwrap().0), (None, hash));
    assert_eq!(m.info_hash().0, hash[..20]);
    let piece = u64::from(PIECE);
    let file = |path: &str, len, offset, kind| (path.to_owned(), len, offset, kind);
    let expected = [
        file("a", 2 * piece + 5, 0, Regular),
        file(".pad/65531", piece - 5, 2 * piece + 5, Pad),
        file("b/c", 7, 3 * piece, Regular),
        file(".pad/65529", piece - 7, 3 * piece + 7, Pad),
        file("b/d", 2 * piece, 4 * piece, Regular),
    ];
    assert_eq!(listed(&m), expected);
    let g = &m.geometry;
    assert_eq!((g.piece_count(), g.total_len(), g.held_len()), (6, 6 * piece, 4 * piece + 12));
    assert_eq!(m.content_len(), g.held_len());
    let lens: Vec<_> = g.pieces().map(|p| (g.piece_len(p), g.pad_len(p))).collect();
    assert_eq!(lens, [(PIECE, 0), (PIECE, 0), (5, 0), (7, 0), (PIECE, 0), (PIECE, 0)]);
    let trees = m.trees.unwrap();
    assert!(trees.is_complete() && m.pieces.is_empty() && !m.single_file);
    let known: Vec<_> = g.pieces().map(|p| trees.piece(p).unwrap()).collect();
    assert_eq!((&known[..3], known[3]), (&layer(1, 3).0[..], nodes_first(2)));
}

#[test]
fn hybrid_is_both_with_a_pad_at_its_end_or_none() {
    for tail in [false, true] {
        let parts = Parts::hybrid(tail);
        let m = parts.read().unwrap();
        assert!(m.identity.v1().is_some() && m.identity.v2().is_some());
        let g = &m.geometry;
        let pads: Vec<_> = g.pieces().map(|p| g.pad_len(p)).collect();
        let last = if tail { 9 } else { 0 };
        assert_eq!(pads, [0, 0, PIECE - 5, PIECE - 7, 0, last]);
        assert_eq!((m.pieces.len(), m.files.len()), (6, 5), "the last pad is not listed");
        assert!(m.trees.unwrap().is_complete());
        let last = g.piece(5).unwrap();
        assert!(g.range(5, PIECE - 9, 9).is_err());
        assert!(g.range_with_pad(5, PIECE - 9, 9).is_ok(), "libtorrent 2.0 asks for it");
        assert!(g.range_with_pad(5, PIECE - 9, 10).is_err());
        assert_eq!(g.piece_len(last), PIECE - 9);
    }
}

#[test]
fn single_files_are_called_as_the_tree_has_them() {
    let m = Parts::single(3, false).read().unwrap();
    assert!(m.single_file && m.files[0].path.is_empty());
    assert_eq!(m.name, "name");
    let mut parts = Parts::single(1, false);
    parts.files[0].path = vec![b"\x82est/1MB"];
    let m = parts.read().unwrap();
    assert_eq!((m.single_file, m.name.as_str()), (true, "\u{fffd}est/1MB"));
    let m = Parts::single(3, true).read().unwrap();
    assert!(m.single_file && m.identity.v1().is_some());
    // A folder with one file in version 1 is a folder.
    let mut parts = Parts::single(1, true);
    (parts.v1_single, parts.v1) = (false, Some(vec![(b"name".to_vec(), PIECE.into(), &b""[..])]));
    let m = parts.read().unwrap();
    assert_eq!((m.single_file, m.files[0].path.join("/")), (false, "name".to_owned()));
    // As is one file in a folder of the tree.
    let mut parts = Parts::single(1, false);
    parts.files[0].path = vec![b"folder", b"name"];
    let m = parts.read().unwrap();
    assert_eq!((m.single_file, m.files[0].path.join("/")), (false, "folder/name".to_owned()));
}

#[test]
fn empty_files_and_links_have_no_root_and_need_no_pad() {
    let mut parts = Parts::v2();
    let without = |path: &'static str, attr| File { root: None, attr, ..file(path, 0, [1; 32]) };
    parts.files.insert(1, without("aa", b""));
    parts.files.insert(2, File { len: 99, ..without("ab", b"xl") });
    parts.files.push(without("z", b""));
    let m = parts.read().unwrap();
    let kinds: Vec<_> = m.files.iter().map(|f| (f.path.join("/"), f.len, f.kind)).collect();
    use FileKind::{Pad, Regular, Symlink};
    assert_eq!(kinds[1], (".pad/65531".into(), u64::from(PIECE) - 5, Pad));
    assert_eq!(kinds[2..4], [("aa".into(), 0, Regular), ("ab".into(), 0, Symlink)]);
    assert_eq!(kinds.last().unwrap(), &("z".into(), 0, Regular));
    assert_eq!(m.geometry.piece_count(), 6);
    assert!(m.trees.unwrap().is_complete());
}

#[test]
fn layers_may_be_missing_and_equal_files_share_one() {
    let mut parts = Parts::v2();
    parts.layers = None;
    let trees = parts.read().unwrap().trees.unwrap();
    assert_eq!((trees.unknown(), trees.layers().count()), (5, 0));
    let mut parts = Parts::v2();
    parts.layers.as_mut().unwrap().truncate(1);
    assert_eq!(parts.read().unwrap().trees.unwrap().layers().count(), 1);
    let mut parts = Parts::v2();
    let twin = file("z", parts.files[0].len, layer(1, 3).1);
    parts.files.push(twin);
    let trees = parts.read().unwrap().trees.unwrap();
    assert_eq!((trees.is_complete(), trees.layers().count()), (true, 2));
    assert_eq!(trees.of_root(&layer(1, 3).1).count(), 2);
}

/// One line for each fixture that libtorrent refuses (test/test_torrent_info.cpp), by its name.
#[test]
fn verdicts_are_those_of_libtorrent() {
    let layers = |parts: &mut Parts, spoil: &dyn Fn(&mut Layer)| {
        spoil(&mut parts.layers.as_mut().unwrap()[0]);
    };
    type Spoil<'a> = Box<dyn FnOnce(&mut Parts) + 'a>;
    let cases: Vec<(&str, Parts, Spoil<'_>, &str)> = vec![
        (
            "mismatching_metadata",
            Parts::single(3, true),
            Box::new(|p| p.files[0].path = vec![b"/ame"]),
            "disagree from file 0",
        ),
        (
            "bad_file_alignment",
            Parts::hybrid(true),
            Box::new(|p| p.v1.as_mut().unwrap().retain(|(_, _, attr)| attr.is_empty())),
            "disagree from file 1",
        ),
        ("no_power2_piece", Parts::v2(), Box::new(|p| p.piece_len = 32_767), "no power of two"),
        ("piece_size", Parts::v2(), Box::new(|p| p.piece_len = 0x7fff_ffff), "exceeds 512 MiB"),
        (
            "non_multiple_piece_layer",
            Parts::v2(),
            Box::new(|p| layers(p, &|(_, layer)| layer.push(b'a'))),
            "hashes of 32 bytes by roots",
        ),
        (
            "piece_layer_invalid_file_hash",
            Parts::v2(),
            Box::new(|p| layers(p, &|(root, _)| root.push(b'a'))),
            "hashes of 32 bytes by roots",
        ),
        (
            "invalid_piece_layer_root",
            Parts::v2(),
            Box::new(|p| layers(p, &|(_, layer)| layer[40] ^= 1)),
            "does not hash to the root",
        ),
        (
            "invalid_piece_layer_size",
            Parts::v2(),
            Box::new(|p| layers(p, &|(_, layer)| layer.extend([7; 32]))),
            "pieces",
        ),
        (
            "unknown_piece_layer_entry",
            Parts::v2(),
            Box::new(|p| p.layers.as_mut().unwrap().push((vec![0xff; 32], vec![1; 64]))),
            "is of no file",
        ),
        (
            "large_file",
            Parts::v2(),
            Box::new(|p| p.files[0].len = (1 << 45) + 1),
            "`length` of file 0 of 32 TiB exceeds",
        ),
        (
            "large_offset",
            Parts::v2(),
            Box::new(|p| p.files.iter_mut().for_each(|file| file.len = 1 << 40)),
            "pieces exceed the limit",
        ),
        (
            "invalid_pad_file",
            Parts::v2(),
            Box::new(|p| p.files[1].attr = b"p"),
            "file 1 of `file tree` is a pad",
        ),
        (
            "zero_root",
            Parts::v2(),
            Box::new(|p| p.files[0].root = Some(vec![0; 32])),
            "`pieces root` of file 0 is not a hash",
        ),
        (
            "zero_root_small",
            Parts::v2(),
            Box::new(|p| p.files[1].root = Some(vec![0; 32])),
            "`pieces root` of file 1 is not a hash",
        ),
        (
            "missing_file_root_invalid_symlink",
            Parts::v2(),
            Box::new(|p| p.files[2].root = None),
            "no `pieces root` of file 2",
        ),
    ];
    for (name, parts, spoil, words) in cases {
        let says = spoilt(parts, spoil);
        assert!(says.contains(words), "{name}: {says}");
    }

    // What the encoder cannot write wrong is written by hand.
    let v2 = |tree: &str| {
        let info = format!("d9:file tree{tree}12:meta versioni2e4:name1:n12:piece lengthi16384ee");
        Metainfo::from_bytes(format!("d4:info{info}e").as_bytes())
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    let root = format!("11:pieces root32:{}", "r".repeat(32));
    let leaf = |len: &str| format!("d0:d6:lengthi{len}e{root}ee");
    assert_eq!(v2(&format!("d1:a{}e", leaf("7"))), Ok(()));
    let refused = |tree: String, words: &str| {
        let says = v2(&tree).unwrap_err();
        assert!(says.contains(words), "{says}");
    };
    refused(format!("d1:b{}1:a{}e", leaf("7"), leaf("7")), "not in order");
    refused(format!("d1:a{}1:a{}e", leaf("7"), leaf("7")), "or repeat");
    refused(format!("d1:a{}e", leaf("07")), "leading zeros");
    refused(format!("d1:ad6:lengthi7e{root}ee"), "entry of file 0 is not a dictionary");
    refused(format!("d0:{}1:#{}e", leaf("7"), leaf("7")), "empty name");
    refused(format!("d0:d6:lengthi7e{root}ee"), "empty name");
    refused(format!("d1:ad0:d6:lengthi7e{root}e1:bdeee"), "file that is a folder");
    refused(format!("{}{}{}", "d1:a".repeat(120), leaf("7"), "e".repeat(120)), "levels of nesting");
    refused("de".into(), "holds no data");
    refused("d1:adee".into(), "holds no data");
    refused("le".into(), "`file tree` is not a dictionary");
    refused(format!("d1:a{}e", leaf("-7")), "is negative");
    refused("d1:ad0:deee".into(), "no `length` of file 0");
    refused("d1:ad0:leee".into(), "entry of file 0 is not a dictionary");
}

#[test]
fn version_is_looked_at_first() {
    assert_eq!(spoilt(Parts::v2(), |p| (p.version, p.piece_len) = (3, 0)), newer(3));
    let nonsense = b"d4:infod12:meta versioni99eee";
    assert_eq!(Metainfo::from_bytes(nonsense).unwrap_err(), MetainfoError::Version(99));
    // A tree without its version is neither.
    let missing = "metainfo has no `meta version`";
    assert_eq!(spoilt(Parts::hybrid(true), |p| p.version = 0), missing);
    assert_eq!(spoilt(Parts::v2(), |p| p.version = 1), missing);
}

fn newer(version: i64) -> String {
    MetainfoError::Version(version).to_string()
}

#[test]
fn halves_of_a_hybrid_must_agree() {
    let disagree = |at: usize| MetainfoError::Disagreement { file: at }.to_string();
    let v1 = |spoil: &dyn Fn(&mut Vec<V1File>)| {
        spoilt(Parts::hybrid(true), |p| spoil(p.v1.as_mut().unwrap()))
    };
    assert_eq!(v1(&|files| files[0].0 = b"A".to_vec()), disagree(0));
    // Shorter, with a pad that keeps all else in its place.
    assert_eq!(
        v1(&|files| {
            files[2].1 -= 1;
            files[3].1 += 1;
        }),
        disagree(2)
    );
    assert_eq!(v1(&|files| files[1].1 -= 1), disagree(2));
    assert_eq!(v1(&|files| files.truncate(4)), disagree(4));
    assert_eq!(v1(&|files| files[5].1 -= 1), disagree(6));
    assert_eq!(v1(&|files| files[5].1 += i64::from(PIECE)), disagree(6));
    assert_eq!(v1(&|files| files[5].2 = b""), disagree(5));
    assert!(spoilt(Parts::hybrid(true), |p| p.pieces = 5).starts_with("5 piece digests"));
    let mut parts = Parts::hybrid(true);
    // Pads may be called anything, and attributes differ.
    for (path, _, attr) in parts.v1.as_mut().unwrap() {
        if *attr == b"p" {
            *path = b"_____padding_file_1".to_vec();
        } else {
            *attr = b"x";
        }
    }
    assert!(parts.read().is_ok());
    // Version 1 needs its digests.
    let bytes = String::from_utf8_lossy(&Parts::single(1, true).bytes()).into_owned();
    let without = bytes.replace(&format!("6:pieces20:{}", "x".repeat(20)), "");
    assert_ne!(bytes, without);
}

#[test]
fn built_torrents_of_each_format_are_read_back() {
    let digests = |n| vec![[9; 20]; n];
    let roots: Vec<Node> = (1..=5).map(|n| [n; 32]).collect();
    let build = |format| {
        let mut b = MetainfoBuilder::new("folder", 16_384);
        b.format(format).file(["a", "b"], 20_000).pad(77).file(["a", "c"], 0).file(["d"], 32_768);
        b.file(["e"], 3);
        let count = b.geometry().unwrap().piece_count() as usize;
        Metainfo::from_bytes(&b.build_with(&digests(count), &roots).unwrap()).unwrap()
    };
    let [v1, v2, hybrid] = [Format::V1, Format::V2, Format::Hybrid].map(build);
    assert_eq!((v1.identity.v2(), v1.trees.is_none(), v1.files.len()), (None, true, 5));
    assert_eq!((v2.identity.v1(), v2.pieces.len()), (None, 0));
    assert_eq!((hybrid.pieces.len(), hybrid.files), (5, v2.files.clone()));
    assert_eq!(hybrid.trees, v2.trees);
    assert_eq!(hybrid.geometry, v2.geometry.clone().with_pads(16_381));
    let trees = v2.trees.unwrap();
    let known: Vec<_> = v2.geometry.pieces().map(|p| trees.piece(p).unwrap()).collect();
    assert_eq!(known, roots);
    assert_eq!(trees.files().iter().map(|tree| tree.pieces).collect::<Vec<_>>(), [2, 2, 1]);

    let mut single = MetainfoBuilder::new("f", 16_384);
    single.format(Format::Hybrid).single_file(16_385);
    let m = Metainfo::from_bytes(&single.build_with(&digests(2), &roots[..2]).unwrap()).unwrap();
    assert!(m.single_file && m.geometry.pieces().all(|p| m.geometry.pad_len(p) == 0));

    let mut disordered = MetainfoBuilder::new("f", 16_384);
    disordered.format(Format::V2).file(["b"], 5).file(["a"], 5);
    let error = disordered.build_with(&[], &roots[..2]).unwrap_err();
    assert_eq!(error, MetainfoError::TreeOrder { file: 1 });
    let mut both = MetainfoBuilder::new("f", 16_384);
    both.format(Format::V2).file(["a"], 5).file(["a", "b"], 5);
    let error = both.build_with(&[], &roots[..2]).unwrap_err();
    assert_eq!(error, MetainfoError::TreeOrder { file: 1 });
}
