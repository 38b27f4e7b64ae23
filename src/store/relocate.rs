//! Giving a torrent's files another place, and deleting them: which steps, in which order, so that nothing is ever lost.
//!
//! The new place is made whole before anything of the old one goes. Knows paths, not pieces.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{copy::copy, disk::Disk};
use crate::base::job::{Allocation, Leftovers, StoreError, StoreOp};

/// A file by the folder that may be a link, and the path below it that may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Below {
    pub(super) root: PathBuf,
    pub(super) path: PathBuf,
}

impl Below {
    /// `full` as it lies below `root`, or else in a folder of its own.
    pub(super) fn new(root: &Path, full: &Path) -> Option<Self> {
        let path = match full.strip_prefix(root) {
            Ok(path) => return Some(Self { root: root.to_owned(), path: path.to_owned() }),
            Err(_) => PathBuf::from(full.file_name()?),
        };
        Some(Self { root: full.parent()?.to_owned(), path })
    }

    pub(super) fn full(&self) -> PathBuf {
        self.root.join(&self.path)
    }
}

/// Gives each file that is there a second place, from the first of the pair to the second. If one cannot have it, none has.
pub(super) fn carry(disk: &dyn Disk, pairs: &[(Below, Below)]) -> Result<Vec<Below>, StoreError> {
    // Before anything is done, since it is likelier than all that can fail later.
    for (_, to) in pairs {
        let full = to.full();
        let failed = |e| StoreError::new(StoreOp::Move, &full, e);
        disk.refuse_links(&to.root, &to.path).map_err(failed)?;
        if disk.stat(&full).map_err(failed)?.is_some() {
            return Err(failed(io::Error::new(ErrorKind::AlreadyExists, "something is there already")));
        }
    }
    let mut made = Vec::new();
    for (from, to) in pairs {
        match carry_one(disk, &from.full(), &to.full()) {
            Ok(true) => made.push(to.clone()),
            Ok(false) => {}
            Err(error) => {
                // What was begun of it is ours too, unless somebody else was faster.
                if error.source.kind() != ErrorKind::AlreadyExists {
                    made.push(to.clone());
                }
                clear_away(disk, &made);
                return Err(error);
            }
        }
    }
    if let Err(error) = keep_names(disk, &made) {
        clear_away(disk, &made);
        return Err(error);
    }
    Ok(made)
}

/// The old files go because the new ones are there: so the folders that were made for them, and what is in those, must survive a power
/// cut.
fn keep_names(disk: &dyn Disk, made: &[Below]) -> Result<(), StoreError> {
    let mut folders = BTreeSet::new();
    for file in made {
        let above = file.path.ancestors().skip(1).map(|below| file.root.join(below));
        folders.extend(above.take_while(|folder| folder.starts_with(&file.root)));
    }
    // What is in a folder first, then the folder.
    for folder in folders.iter().rev() {
        disk.sync_dir(folder).map_err(|e| StoreError::new(StoreOp::Sync, folder, e))?;
    }
    Ok(())
}

/// False if there is nothing at `from`.
fn carry_one(disk: &dyn Disk, from: &Path, to: &Path) -> Result<bool, StoreError> {
    match disk.link(from, to) {
        Ok(()) => return Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(StoreError::new(StoreOp::Move, to, e)),
        // Another file system, or one whose files have one name.
        Err(_) => {}
    }
    let Some(stat) = disk.stat(from).map_err(|e| StoreError::new(StoreOp::Move, from, e))?.filter(|s| s.is_file) else {
        return Ok(false);
    };
    disk.create(to, stat.len, Allocation::Sparse).map_err(|e| StoreError::new(StoreOp::Create, to, e))?;
    copy(disk, from, 0..stat.len, to, 0)?;
    // A hole at the end was not written, and the file is as long all the same.
    let copied = disk.stat(to).map_err(|e| StoreError::new(StoreOp::Open, to, e))?.map_or(0, |copied| copied.len);
    if copied < stat.len {
        disk.set_len(to, stat.len).map_err(|e| StoreError::new(StoreOp::Write, to, e))?;
    }
    disk.sync(to).map_err(|e| StoreError::new(StoreOp::Sync, to, e))?;
    disk.close(to);
    Ok(true)
}

/// Deletes files, and the folders below their roots that become empty by it. Links, and what lies behind them, stay.
pub(super) fn clear_away(disk: &dyn Disk, files: &[Below]) -> Option<Leftovers> {
    let (mut folders, mut left) = (BTreeSet::new(), None::<Leftovers>);
    for file in files {
        let parent = |path: &Path| path.parent().filter(|p| !p.as_os_str().is_empty()).map(Path::to_owned);
        match disk.remove(&file.root, &file.path) {
            Ok(true) => folders.extend(parent(&file.path).map(|folder| (file.root.clone(), folder))),
            Ok(false) => {}
            Err(e) => {
                let error = StoreError::new(StoreOp::Delete, file.full(), e);
                left.get_or_insert(Leftovers { files: 0, error }).files += 1;
            }
        }
    }
    // A folder comes before what is in it, so the last one first.
    while let Some((root, folder)) = folders.pop_last() {
        if disk.remove_dir(&root, &folder).unwrap_or(false)
            && let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty())
        {
            folders.insert((root, parent.to_owned()));
        }
    }
    left
}
