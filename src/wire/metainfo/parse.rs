//! From the bytes of a metainfo file to [`Metainfo`], top down.

use std::sync::Arc;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use crate::{
    base::{
        files::{FileEntry, FileKind},
        geometry::Geometry,
        hash::Digest,
        ids::{Identity, InfoHash, InfoHashV2},
        trees::Trees,
    },
    wire::bencode::{Document, Kind, Limits, Value},
};

use super::{
    Field, Host, MAX_NODES, Metainfo, MetainfoError as Error, MetainfoLimits,
    fields::{Result, check_count, lossy, size},
    v2,
};

/// How BitComet named pad files before BEP 47.
const OLD_PAD_PREFIX: &str = "_____padding_file_";

/// The torrent, and where its dictionary ends.
pub(super) fn metainfo(bytes: &[u8], limits: &MetainfoLimits) -> Result<(Metainfo, usize)> {
    if bytes.len() > limits.bytes {
        return Err(Error::TooLong { len: bytes.len(), limit: limits.bytes });
    }
    let MetainfoLimits { bytes: max_bytes, depth, tokens, .. } = *limits;
    let (document, end) =
        Document::parse_prefix(bytes, &Limits { bytes: max_bytes, depth, tokens })?;
    let after = bytes.get(end..).unwrap_or_default();
    let is_padding = after.iter().all(|b| b.is_ascii_whitespace() || *b == 0);
    let root = document.root();
    if root.kind() != Kind::Dict {
        return Err(Error::Type { field: Field::Root, wanted: "a dictionary" });
    }
    let info = root.get(b"info").ok_or(Error::Missing(Field::Key("info")))?;
    if info.kind() != Kind::Dict {
        return Err(Error::Type { field: Field::Key("info"), wanted: "a dictionary" });
    }
    let Info { identity, name, single_file, files, geometry, pieces, mut trees } =
        read_info(info, limits)?;
    if let Some(trees) = &mut trees {
        v2::layers(root, trees)?;
    }
    let metainfo = Metainfo {
        identity,
        name,
        single_file,
        files: files.into(),
        geometry,
        pieces,
        trees,
        trackers: trackers(root, limits)?,
        web_seeds: web_seeds(root, limits)?,
        nodes: nodes(root),
        private: info.get(b"private").and_then(|v| v.as_int()).is_some_and(|private| private != 0),
        comment: text(root, b"comment.utf-8", b"comment"),
        created_by: text(root, b"created by.utf-8", b"created by"),
        creation_date: root.get(b"creation date").and_then(|v| v.as_int()),
        source: text(info, b"source.utf-8", b"source"),
        trailing: if is_padding { 0 } else { after.len() },
        raw: None,
        info_span: span(bytes, info.raw()),
    };
    Ok((metainfo, end))
}

/// Where `part`, which is a part of `bytes`, is.
fn span(bytes: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let begin = (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
    begin..begin + part.len()
}

fn info_hash(info: &[u8]) -> InfoHash {
    let mut hash = [0; 20];
    hash.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, info).as_ref());
    InfoHash(hash)
}

fn info_hash_v2(info: &[u8]) -> InfoHashV2 {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, info).as_ref());
    InfoHashV2(hash)
}

/// What the info dictionary says.
struct Info {
    identity: Identity,
    name: String,
    single_file: bool,
    files: Vec<FileEntry>,
    geometry: Geometry,
    pieces: Arc<[Digest]>,
    trees: Option<Trees>,
}

fn read_info(info: Value<'_>, limits: &MetainfoLimits) -> Result<Info> {
    if !v2::is_v2(info)? {
        let v1 = read_v1(info, limits)?;
        let geometry = Geometry::new(v1.total(), v1.piece_len)?;
        v1.check_count(&geometry)?;
        let V1 { name, single_file, files, pieces, .. } = v1;
        let identity = Identity::of_v1(info_hash(info.raw()));
        return Ok(Info { identity, name, single_file, files, geometry, pieces, trees: None });
    }
    v2::check_canonical(info)?;
    let piece_len = piece_len(info, limits)?;
    let tree = v2::tree(info, piece_len, limits)?;
    // Without files of version 1 there is no version 1, whatever else is there.
    let is_hybrid = info.get(b"files").is_some() || info.get(b"length").is_some();
    let v2_hash = info_hash_v2(info.raw());
    if !is_hybrid {
        let v2::Tree { single, files, geometry, trees } = tree;
        let name = text(info, b"name.utf-8", b"name").ok_or(Error::Missing(Field::Key("name")))?;
        let single_file = single.is_some();
        return Ok(Info {
            identity: Identity::of_v2(v2_hash),
            // The name is a word for the torrent; that of the file is in the tree.
            name: single.unwrap_or(name),
            single_file,
            files,
            geometry,
            pieces: Arc::from([]),
            trees: Some(trees),
        });
    }
    let v1 = read_v1(info, limits)?;
    let v1_name = v1.single_file.then_some(v1.name.as_str());
    let tail_pad = v2::agree(&v1.files, v1_name, &tree, piece_len)?;
    v1.check_count(&tree.geometry)?;
    let v2::Tree { single, mut files, geometry, trees } = tree;
    // A folder with one file is that in version 1, and can be either in version 2.
    if let (Some(name), Some(file)) = (single, files.first_mut().filter(|_| !v1.single_file)) {
        file.path = vec![name];
    }
    let V1 { name, single_file, pieces, .. } = v1;
    let identity = Identity::hybrid(info_hash(info.raw()), v2_hash);
    let geometry = geometry.with_pads(tail_pad);
    Ok(Info { identity, name, single_file, files, geometry, pieces, trees: Some(trees) })
}

/// What version 1 says.
struct V1 {
    name: String,
    single_file: bool,
    files: Vec<FileEntry>,
    piece_len: u32,
    pieces: Arc<[Digest]>,
}

impl V1 {
    fn total(&self) -> u64 {
        self.files.last().map_or(0, |last| last.offset + last.len)
    }

    fn check_count(&self, geometry: &Geometry) -> Result<()> {
        let (got, want) = (self.pieces.len(), geometry.piece_count());
        if got != want as usize {
            let (total, piece_len) = (self.total(), self.piece_len);
            return Err(Error::PieceCount { got, want, total, piece_len });
        }
        Ok(())
    }
}

fn read_v1(info: Value<'_>, limits: &MetainfoLimits) -> Result<V1> {
    let pieces = info.get(b"pieces").ok_or(Error::Missing(Field::Key("pieces")))?;
    let pieces = digests(pieces, limits)?;
    let piece_len = piece_len(info, limits)?;
    let name = text(info, b"name.utf-8", b"name").ok_or(Error::Missing(Field::Key("name")))?;
    let (single_file, files) = match info.get(b"files") {
        Some(list) => (false, multiple(list, limits)?),
        None => (true, vec![single(info)?]),
    };
    Ok(V1 { name, single_file, files, piece_len, pieces })
}

fn digests(pieces: Value<'_>, limits: &MetainfoLimits) -> Result<Arc<[Digest]>> {
    let bytes =
        pieces.as_bytes().ok_or(Error::Type { field: Field::Key("pieces"), wanted: "a string" })?;
    let (digests, rest) = bytes.as_chunks::<20>();
    if !rest.is_empty() {
        return Err(Error::PiecesLength(bytes.len()));
    }
    check_count("pieces", digests.len(), limits.pieces as usize)?;
    Ok(digests.into())
}

fn piece_len(info: Value<'_>, limits: &MetainfoLimits) -> Result<u32> {
    let field = Field::Key("piece length");
    let value = size(info, b"piece length", field)?;
    let limit = u64::from(limits.piece_len);
    match u32::try_from(value) {
        Ok(len) if value <= limit => Ok(len),
        _ => Err(Error::Size { field, value, limit }),
    }
}

fn single(info: Value<'_>) -> Result<FileEntry> {
    let len = size(info, b"length", Field::Key("length"))?;
    let kind = kind(info, &[]);
    let len = if kind == FileKind::Symlink { 0 } else { len };
    Ok(FileEntry { path: Vec::new(), len, offset: 0, kind })
}

fn multiple(list: Value<'_>, limits: &MetainfoLimits) -> Result<Vec<FileEntry>> {
    let items =
        list.as_list().ok_or(Error::Type { field: Field::Key("files"), wanted: "a list" })?;
    let mut files = Vec::new();
    let mut offset = 0_u64;
    for (i, item) in items.enumerate() {
        check_count("files", i + 1, limits.files)?;
        let entry = file(item, i, offset)?;
        offset = offset
            .checked_add(entry.len)
            .filter(|&total| total <= i64::MAX as u64)
            .ok_or(Error::TotalOverflow)?;
        files.push(entry);
    }
    Ok(files)
}

fn file(item: Value<'_>, file: usize, offset: u64) -> Result<FileEntry> {
    let field = |key| Field::OfFile { file, key };
    if item.kind() != Kind::Dict {
        return Err(Error::Type { field: field(""), wanted: "a dictionary" });
    }
    let path = path(item, file)?;
    let kind = kind(item, &path);
    // A link holds no data, and some creators leave its length out.
    let len = match kind {
        FileKind::Symlink => 0,
        FileKind::Regular | FileKind::Pad => size(item, b"length", field("length"))?,
    };
    let mut path = match path {
        path if !path.is_empty() => path,
        // A pad file is never opened, so a creator may have left its name out.
        _ if kind == FileKind::Pad => vec![".pad".into(), len.to_string()],
        _ => return Err(Error::Missing(field("path"))),
    };
    path.shrink_to_fit();
    Ok(FileEntry { path, len, offset, kind })
}

/// The path by its UTF-8 name if there is a valid one, else by its plain name, with replacement
/// characters where that is not UTF-8. Empty if there is none.
fn path(item: Value<'_>, file: usize) -> Result<Vec<String>> {
    let utf8 = item.get(b"path.utf-8").and_then(|v| v.as_list());
    if let Some(path) = utf8
        .and_then(|mut items| items.try_fold(Vec::new(), push_str))
        .filter(|path| !path.is_empty())
    {
        return Ok(path);
    }
    let wrong =
        Error::Type { field: Field::OfFile { file, key: "path" }, wanted: "a list of strings" };
    match item.get(b"path") {
        None => Ok(Vec::new()),
        Some(path) => {
            path.as_list().and_then(|mut items| items.try_fold(Vec::new(), push_lossy)).ok_or(wrong)
        }
    }
}

fn push_str(mut path: Vec<String>, component: Value<'_>) -> Option<Vec<String>> {
    path.push(component.as_str()?.to_owned());
    Some(path)
}

fn push_lossy(mut path: Vec<String>, component: Value<'_>) -> Option<Vec<String>> {
    path.push(lossy(component.as_bytes()?));
    Some(path)
}

fn kind(item: Value<'_>, path: &[String]) -> FileKind {
    let attr = item.get(b"attr").and_then(|v| v.as_bytes()).unwrap_or_default();
    if attr.contains(&b'l') {
        FileKind::Symlink
    } else if attr.contains(&b'p')
        || path.last().is_some_and(|name| name.starts_with(OLD_PAD_PREFIX))
    {
        FileKind::Pad
    } else {
        FileKind::Regular
    }
}

/// Tiers of trackers. An `announce-list` with any address in it replaces `announce` (BEP 12).
fn trackers(root: Value<'_>, limits: &MetainfoLimits) -> Result<Vec<Vec<String>>> {
    let mut count = 0;
    let mut tiers = Vec::new();
    for list in root.get(b"announce-list").and_then(|v| v.as_list()).into_iter().flatten() {
        let tier = addresses(list);
        count += tier.len();
        check_count("trackers", count, limits.addresses)?;
        if !tier.is_empty() {
            tiers.push(tier);
        }
    }
    if tiers.is_empty() {
        tiers.extend(root.get(b"announce").map(addresses).filter(|tier| !tier.is_empty()));
    }
    tiers.shrink_to_fit();
    Ok(tiers)
}

fn web_seeds(root: Value<'_>, limits: &MetainfoLimits) -> Result<Vec<String>> {
    let seeds = root.get(b"url-list").map(addresses).unwrap_or_default();
    check_count("web seeds", seeds.len(), limits.addresses)?;
    Ok(seeds)
}

/// Nodes of the DHT, each a list of host and port. It takes more than one that makes no sense to
/// refuse a torrent.
fn nodes(root: Value<'_>) -> Vec<(Host, u16)> {
    let mut nodes = Vec::new();
    for node in root.get(b"nodes").and_then(|v| v.as_list()).into_iter().flatten() {
        let node = node_of(node).filter(|node| !nodes.contains(node));
        nodes.extend(node);
        if nodes.len() >= MAX_NODES {
            break;
        }
    }
    nodes.shrink_to_fit();
    nodes
}

fn node_of(node: Value<'_>) -> Option<(Host, u16)> {
    let mut parts = node.as_list()?;
    let host = Host::parse_bare(parts.next()?.as_str()?.trim()).ok()?;
    let port = u16::try_from(parts.next()?.as_int()?).ok().filter(|&port| port != 0)?;
    Some((host, port))
}

/// The addresses in a string or a list of strings, trimmed. Others cannot be used, and it takes
/// more than that to refuse a torrent.
fn addresses(value: Value<'_>) -> Vec<String> {
    let one = Some(value).filter(|v| v.kind() == Kind::Bytes);
    let all = one.into_iter().chain(value.as_list().into_iter().flatten());
    let mut all: Vec<String> = all
        .filter_map(|v| v.as_str())
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect();
    // They stay for as long as the torrent does.
    all.shrink_to_fit();
    all
}

/// The text under `utf8` if it is there and valid, else what can be read of that under `plain`.
fn text(dict: Value<'_>, utf8: &[u8], plain: &[u8]) -> Option<String> {
    let text = dict.get(utf8).and_then(|v| v.as_str()).filter(|s| !s.is_empty()).map(str::to_owned);
    text.or_else(|| dict.get(plain)?.as_bytes().map(lossy))
}
