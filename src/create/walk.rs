//! Which files there are below a path, in an order that does not depend on the file system.
//!
//! Opens each once to see that it can be read. Follows no link below the path itself, and passes
//! over the folders in which the engine keeps its state beside downloads.

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::CreateError;
use crate::{
    base::paths::STATE_FOLDER,
    store::{Disk, FileStat},
};

/// A file to be in the torrent.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Its path below the folder; empty for a single file.
    pub(super) parts: Vec<String>,
    /// What it looked like.
    pub(super) stat: FileStat,
}

/// Entries between two looks whether to go on.
const LOOK: usize = 256;

/// The file at `root`, or all files below it, at most `limit`, in the bytewise order of their
/// paths. `go_on` is asked now and then.
pub(super) fn find(
    root: &Path,
    skip_special: bool,
    limit: usize,
    disk: &dyn Disk,
    mut go_on: impl FnMut() -> ControlFlow<()>,
) -> Result<Vec<Found>, CreateError> {
    let meta = fs::metadata(root).map_err(|e| unreadable(root, e))?;
    if meta.is_file() {
        return Ok(vec![file(root.to_owned(), Vec::new(), disk)?]);
    }
    if !meta.is_dir() {
        return Err(CreateError::Special {
            path: root.to_owned(),
            what: special(meta.file_type()),
        });
    }
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), Vec::new())];
    while let Some((folder, parts)) = folders.pop() {
        for (nth, entry) in fs::read_dir(&folder).map_err(|e| unreadable(&folder, e))?.enumerate() {
            if nth % LOOK == 0 && go_on().is_break() {
                return Err(CreateError::Stopped);
            }
            let entry = entry.map_err(|e| unreadable(&folder, e))?;
            let (path, kind) =
                (entry.path(), entry.file_type().map_err(|e| unreadable(&entry.path(), e))?);
            if !kind.is_dir() && !kind.is_file() {
                if skip_special {
                    continue;
                }
                return Err(CreateError::Special { path, what: special(kind) });
            }
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(CreateError::NotUtf8(path));
            };
            let parts = [&parts[..], &[name.to_owned()]].concat();
            if kind.is_dir() {
                // What the engine keeps beside downloads is no part of what is shared.
                if parts.last().is_some_and(|name| name != STATE_FOLDER) {
                    folders.push((path, parts));
                }
            } else if found.len() < limit {
                found.push(file(path, parts, disk)?);
            } else {
                return Err(CreateError::TooManyFiles { path: root.to_owned(), limit });
            }
        }
    }
    found.sort_by(|a, b| bytewise(&a.parts, &b.parts));
    Ok(found)
}

/// As if the parts were joined with `/`.
fn bytewise(a: &[String], b: &[String]) -> std::cmp::Ordering {
    fn bytes(parts: &[String]) -> impl Iterator<Item = u8> + '_ {
        parts
            .iter()
            .enumerate()
            .flat_map(|(at, part)| (at > 0).then_some(b'/').into_iter().chain(part.bytes()))
    }
    bytes(a).cmp(bytes(b))
}

fn file(path: PathBuf, parts: Vec<String>, disk: &dyn Disk) -> Result<Found, CreateError> {
    let looked = disk
        .read_at(&path, 0, &mut [0])
        .and_then(|_| disk.stat(&path)?.ok_or(io::ErrorKind::NotFound.into()));
    // The next thousands would only take its place.
    disk.close(&path);
    match looked {
        Ok(stat) => Ok(Found { path, parts, stat }),
        Err(e) => Err(unreadable(&path, e)),
    }
}

fn unreadable(path: &Path, source: io::Error) -> CreateError {
    CreateError::Unreadable { path: path.to_owned(), source }
}

#[cfg(unix)]
fn special(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    match kind {
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn special(kind: fs::FileType) -> &'static str {
    if kind.is_symlink() { "a symbolic link" } else { "neither file nor folder" }
}
