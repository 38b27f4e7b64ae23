//! What version 2 (BEP 52) has in a metainfo file: the file tree in the info dictionary and the
//! piece layers beside it, and whether a hybrid's two halves say the same.
//!
//! Reads values; what the rest of the file says is not its business.

use crate::{
    base::{
        files::{FileEntry, FileKind},
        geometry::{BLOCK_LEN, Geometry},
        merkle::Node,
        trees::Trees,
    },
    wire::bencode::{Kind, Value},
};

use super::{
    Field, MetainfoError as Error, MetainfoLimits,
    fields::{Result, check_count, lossy, size},
};

/// The version that a torrent says it is of. Newer ones than we know are refused before anything
/// else is looked at, as BEP 52 wants it.
pub(super) fn is_v2(info: Value<'_>) -> Result<bool> {
    let version = info.get(b"meta version").and_then(|value| value.as_int());
    match version {
        Some(2) => Ok(true),
        Some(version) if version > 2 => Err(Error::Version(version)),
        _ if info.get(b"file tree").is_some() => Err(Error::Missing(Field::Key("meta version"))),
        _ => Ok(false),
    }
}

/// Dictionaries whose keys ascend and do not repeat, all the way down: what decoding and encoding
/// would leave as it is. The parser has refused numbers with leading zeros already.
pub(super) fn check_canonical(info: Value<'_>) -> Result<()> {
    let mut waiting = vec![info];
    while let Some(value) = waiting.pop() {
        let mut last: Option<&[u8]> = None;
        for (key, inner) in value.as_dict().into_iter().flatten() {
            if last.is_some_and(|last| last >= key) {
                return Err(Error::Order);
            }
            last = Some(key);
            waiting.extend(Some(inner).filter(|inner| is_container(*inner)));
        }
        let items = value.as_list().into_iter().flatten();
        waiting.extend(items.filter(|inner| is_container(*inner)));
    }
    Ok(())
}

fn is_container(value: Value<'_>) -> bool {
    matches!(value.kind(), Kind::List | Kind::Dict)
}

/// The files of a tree, with the pads between them that version 2 leaves out.
#[derive(Debug)]
pub(super) struct Tree {
    /// The name of the only file, if the tree is that and nothing else.
    pub(super) single: Option<String>,
    /// The files in their order. There is a pad after each that does not end with a piece, but
    /// for the last that has bytes.
    pub(super) files: Vec<FileEntry>,
    pub(super) geometry: Geometry,
    pub(super) trees: Trees,
}

/// A file as the tree has it.
struct Leaf {
    path: Vec<String>,
    len: u64,
    is_link: bool,
    root: Node,
}

pub(super) fn tree(info: Value<'_>, piece_len: u32, limits: &MetainfoLimits) -> Result<Tree> {
    let field = Field::Key("file tree");
    let root = info.get(b"file tree").ok_or(Error::Missing(field))?;
    if root.kind() != Kind::Dict {
        return Err(Error::Type { field, wanted: "a dictionary" });
    }
    let leaves = leaves(root, limits)?;
    let geometry = Geometry::of_files(piece_len, leaves.iter().map(|leaf| leaf.len))?;
    check_count("pieces", geometry.piece_count() as usize, limits.pieces as usize)?;
    let single = match &leaves[..] {
        [Leaf { path, is_link: false, .. }] if path.len() == 1 => path.first().cloned(),
        _ => None,
    };
    let (mut files, mut roots) = (Vec::with_capacity(leaves.len()), Vec::new());
    let (mut offset, total) = (0_u64, geometry.total_len());
    for leaf in leaves {
        let Leaf { path, len, is_link, root } = leaf;
        if len > 0 {
            roots.push((files.len() as u32, len, root));
        }
        let kind = if is_link { FileKind::Symlink } else { FileKind::Regular };
        let path = if single.is_some() { Vec::new() } else { path };
        files.push(FileEntry { path, len, offset, kind });
        offset += len;
        let pad = offset.next_multiple_of(u64::from(piece_len)) - offset;
        if pad > 0 && offset < total {
            let path = vec![".pad".to_owned(), pad.to_string()];
            files.push(FileEntry { path, len: pad, offset, kind: FileKind::Pad });
            offset += pad;
        }
    }
    let trees = Trees::new(&geometry, roots);
    Ok(Tree { single, files, geometry, trees })
}

/// All files below `root`, which is a dictionary, in the order of the tree.
fn leaves(root: Value<'_>, limits: &MetainfoLimits) -> Result<Vec<Leaf>> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut path: Vec<&[u8]> = Vec::new();
    let mut open = vec![root.as_dict().into_iter().flatten()];
    while let Some(folder) = open.last_mut() {
        let Some((name, entry)) = folder.next() else {
            open.pop();
            path.pop();
            continue;
        };
        let file = leaves.len();
        let of_file = |key| Field::OfFile { file, key };
        if name.is_empty() {
            // Beside names, or of the torrent's root: a file is alone in its dictionary.
            return Err(Error::FileInFolder);
        }
        if entry.kind() != Kind::Dict {
            return Err(Error::Type { field: of_file(""), wanted: "a dictionary" });
        }
        let mut inner = entry.as_dict().into_iter().flatten();
        match (inner.next(), inner.next()) {
            (Some((b"", properties)), None) => {
                check_count("files", file + 1, limits.files)?;
                let names = path.iter().chain([&name]).map(|name| lossy(name)).collect();
                leaves.push(leaf(properties, names, file)?);
            }
            _ => {
                path.push(name);
                open.push(entry.as_dict().into_iter().flatten());
            }
        }
    }
    Ok(leaves)
}

fn leaf(properties: Value<'_>, path: Vec<String>, file: usize) -> Result<Leaf> {
    let field = |key| Field::OfFile { file, key };
    if properties.kind() != Kind::Dict {
        return Err(Error::Type { field: field(""), wanted: "a dictionary" });
    }
    let attr = properties.get(b"attr").and_then(|attr| attr.as_bytes()).unwrap_or_default();
    if attr.contains(&b'p') {
        return Err(Error::PadInTree { file });
    }
    if attr.contains(&b'l') {
        return Ok(Leaf { path, len: 0, is_link: true, root: [0; 32] });
    }
    let len = size(properties, b"length", field("length"))?;
    // The nodes of its tree are counted in 32 bits by others.
    let limit = (1 << 31) * u64::from(BLOCK_LEN) - 1;
    if len > limit {
        return Err(Error::Size { field: field("length"), value: len, limit });
    }
    if len == 0 {
        return Ok(Leaf { path, len, is_link: false, root: [0; 32] });
    }
    let root = properties.get(b"pieces root").ok_or(Error::Missing(field("pieces root")))?;
    let root = root.as_bytes().and_then(|root| Node::try_from(root).ok());
    let wanted = "a hash of 32 bytes, which is not all zero";
    let root = root.filter(|root| *root != [0; 32]);
    let root = root.ok_or(Error::Type { field: field("pieces root"), wanted })?;
    Ok(Leaf { path, len, is_link: false, root })
}

/// The piece layers of a torrent's root dictionary, if it has them. Some may be missing, as all of
/// them are where a torrent came by a magnet link.
pub(super) fn layers(root: Value<'_>, trees: &mut Trees) -> Result<()> {
    let Some(layers) = root.get(b"piece layers") else { return Ok(()) };
    let field = Field::Key("piece layers");
    let entries = layers.as_dict().ok_or(Error::Type { field, wanted: "a dictionary" })?;
    let mut seen = std::collections::BTreeSet::new();
    for (root, layer) in entries {
        let wanted = "hashes of 32 bytes by roots of 32 bytes";
        let wrong = Error::Type { field, wanted };
        let Ok(root) = Node::try_from(root) else { return Err(wrong) };
        let Some((layer, [])) = layer.as_bytes().map(|bytes| bytes.as_chunks::<32>()) else {
            return Err(wrong);
        };
        if !seen.insert(root) {
            return Err(Error::Order);
        }
        trees.set_layer(&root, layer)?;
    }
    Ok(())
}

/// Whether a hybrid's two lists of files say the same: names, order, lengths and places of the
/// files that hold data. Returns the zeros that version 1 has after the last file.
pub(super) fn agree(
    v1: &[FileEntry],
    v1_name: Option<&str>,
    tree: &Tree,
    piece_len: u32,
) -> Result<u32> {
    let with_data =
        |files| <[FileEntry]>::iter(files).filter(|f| f.kind == FileKind::Regular && f.len > 0);
    let mut theirs = with_data(&tree.files);
    for (file, entry) in v1.iter().enumerate() {
        if entry.kind != FileKind::Regular || entry.len == 0 {
            continue;
        }
        let same = theirs.next().is_some_and(|other| {
            let (path, other_path) = (&entry.path, &other.path);
            let names = match (v1_name, &tree.single) {
                (Some(name), Some(other)) => name == other,
                (None, None) => path == other_path,
                (None, Some(other)) => matches!(&path[..], [name] if name == other),
                (Some(_), None) => false,
            };
            names && entry.len == other.len && entry.offset == other.offset
        });
        if !same {
            return Err(Error::Disagreement { file });
        }
    }
    if theirs.next().is_some() {
        return Err(Error::Disagreement { file: v1.len() });
    }
    let v1_total = v1.last().map_or(0, |last| last.offset + last.len);
    let total = tree.geometry.total_len();
    match u32::try_from(v1_total - total) {
        Ok(0) => Ok(0),
        Ok(pad) if v1_total == total.next_multiple_of(u64::from(piece_len)) => Ok(pad),
        _ => Err(Error::Disagreement { file: v1.len() }),
    }
}
