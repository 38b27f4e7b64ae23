//! Torrents for tests of what stores them.

use std::path::Path;

use crate::base::{
    files::{FileEntry, FileKind},
    geometry::Geometry,
    ids::{Identity, InfoHash},
    storage::StoreSpec,
};

/// A torrent called `torrent` below `dir`, with these files one after the other: path, length,
/// kind. It keeps no state.
pub(super) fn spec<'a>(
    dir: impl AsRef<Path>,
    piece_len: u32,
    files: impl IntoIterator<Item = (&'a str, u64, FileKind)>,
) -> StoreSpec {
    let mut end = 0;
    let entry = |(path, len, kind): (&str, u64, FileKind)| {
        end += len;
        let path = path.split('/').map(Into::into).collect();
        FileEntry { path, len, offset: end - len, kind }
    };
    let files: Vec<FileEntry> = files.into_iter().map(entry).collect();
    let identity = Identity::of_v1(InfoHash([7; 20]));
    let geometry = Geometry::new(end, piece_len).unwrap();
    StoreSpec::new(identity, geometry, files.into(), dir.as_ref(), "torrent")
}
