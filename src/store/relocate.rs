//! Giving a torrent's files another place, and deleting them: which steps, in which order, so that
//! nothing is ever lost.
//!
//! The new place is made whole before anything of the old one goes, and each file of the old one
//! goes only when its copy was seen to be there. Knows paths, not pieces.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{
    copy::copy,
    disk::{Disk, FileStat},
};
use crate::base::storage::{Allocation, Leftovers, StoreError, StoreOp};

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

/// A file that is to have another place.
#[derive(Clone, Debug)]
pub(super) struct Carry {
    pub(super) from: Below,
    pub(super) to: Below,
    /// It was seen at the old place: a move that does not find it there is none.
    pub(super) known: bool,
    /// It is a state, which is written anew at the new place: its length may differ there.
    pub(super) is_state: bool,
    /// It stays where it is, for other torrents: two names of one file would let each of them
    /// overwrite what the other has verified.
    pub(super) stays: bool,
}

/// A file that has a second place.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    from: Below,
    to: Below,
    is_state: bool,
    /// It is a copy, and safe from power cuts.
    is_safe_copy: bool,
    /// The first one as it was then.
    then: FileStat,
}

/// Gives each file that is there a second place. If one cannot have it, none has, but for safe
/// copies of files that are `in_doubt`.
pub(super) fn carry(
    disk: &dyn Disk,
    files: &[Carry],
    in_doubt: bool,
) -> Result<Vec<Carried>, StoreError> {
    // Before anything is done, since it is likelier than all that can fail later.
    for Carry { to, .. } in files {
        let full = to.full();
        let failed = |e| StoreError::new(StoreOp::Move, &full, e);
        disk.refuse_links(&to.root, &to.path).map_err(failed)?;
        if disk.stat(&full).map_err(failed)?.is_some() {
            return Err(failed(already_there()));
        }
    }
    let mut made = Vec::new();
    let done = files.iter().try_for_each(|file| carry_one(disk, file, &mut made));
    let done = done.and_then(|()| keep_names(disk, &made));
    let seen = |()| made.iter().try_for_each(|file| see(disk, file));
    match done.and_then(seen) {
        Ok(()) => Ok(made),
        Err(error) => {
            take_back(disk, &made, in_doubt);
            Err(error)
        }
    }
}

fn already_there() -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, "something is there already")
}

/// The old files go because the new ones are there: so the folders that were made for them, and
/// what is in those, must survive a power cut.
fn keep_names(disk: &dyn Disk, made: &[Carried]) -> Result<(), StoreError> {
    keep_folders(disk, made.iter().map(|file| &file.to))
}

/// Makes the names of these files, and of the folders above them, safe.
pub(super) fn keep_folders<'a>(
    disk: &dyn Disk,
    files: impl Iterator<Item = &'a Below>,
) -> Result<(), StoreError> {
    let mut folders = BTreeSet::new();
    for file in files {
        let above = file.path.ancestors().skip(1).map(|below| file.root.join(below));
        folders.extend(above.take_while(|folder| folder.starts_with(&file.root)));
    }
    // What is in a folder first, then the folder.
    for folder in folders.iter().rev() {
        disk.sync_dir(folder).map_err(|e| StoreError::new(StoreOp::Sync, folder, e))?;
    }
    Ok(())
}

/// Whether the second file is there, and as long as the first.
fn see(disk: &dyn Disk, file: &Carried) -> Result<(), StoreError> {
    let to = file.to.full();
    let failed = |e| StoreError::new(StoreOp::Move, &to, e);
    match disk.stat(&to).map_err(failed)? {
        Some(found) if found.is_file && found.len == file.then.len => Ok(()),
        Some(found) => {
            let what = format!("the copy has {} bytes of {}", found.len, file.then.len);
            Err(failed(io::Error::other(what)))
        }
        None => Err(failed(io::Error::new(ErrorKind::NotFound, "the copy is not there"))),
    }
}

/// Gives a file a second name. False if it cannot have one: on another file system, or on one whose
/// files have one name.
fn link(disk: &dyn Disk, from: &Path, to: &Path, then: FileStat) -> Result<bool, StoreError> {
    let Err(error) = disk.link(from, to) else { return Ok(true) };
    let is_taken = error.kind() == ErrorKind::AlreadyExists;
    match disk.stat(to).map_err(|e| StoreError::new(StoreOp::Move, to, e))? {
        // It has its second name, and what failed was to make that safe, which comes later.
        Some(found) if found == then => Ok(true),
        None if !is_taken => Ok(false),
        _ => Err(StoreError::new(StoreOp::Move, to, already_there())),
    }
}

/// Whatever is made, or begun, is in `made` afterwards.
fn carry_one(disk: &dyn Disk, file: &Carry, made: &mut Vec<Carried>) -> Result<(), StoreError> {
    let (from, to) = (file.from.full(), file.to.full());
    // Whether there is something to move is for the old place to say, and for nothing that fails at
    // the new one.
    let found = disk.stat(&from).map_err(|e| StoreError::new(StoreOp::Move, &from, e))?;
    let Some(then) = found.filter(|found| found.is_file) else {
        if file.known {
            let gone =
                io::Error::new(ErrorKind::NotFound, "the file has gone: recheck the torrent");
            return Err(StoreError::new(StoreOp::Move, &from, gone));
        }
        return Ok(());
    };
    let (old, new) = (file.from.clone(), file.to.clone());
    let carried =
        Carried { from: old, to: new, is_state: file.is_state, is_safe_copy: false, then };
    if !file.stays && link(disk, &from, &to, then)? {
        made.push(carried);
        return Ok(());
    }
    made.push(carried);
    disk.create(&to, then.len, Allocation::Sparse)
        .map_err(|e| StoreError::new(StoreOp::Create, &to, e))?;
    copy(disk, &from, 0..then.len, &to, 0)?;
    // A hole at the end was not written, and the file is as long all the same.
    let copied = disk
        .stat(&to)
        .map_err(|e| StoreError::new(StoreOp::Open, &to, e))?
        .map_or(0, |copied| copied.len);
    if copied < then.len {
        disk.set_len(&to, then.len).map_err(|e| StoreError::new(StoreOp::Write, &to, e))?;
    }
    disk.sync(&to).map_err(|e| StoreError::new(StoreOp::Sync, &to, e))?;
    made.iter_mut().last().into_iter().for_each(|copy| copy.is_safe_copy = true);
    disk.close(&to);
    // One that was cut while it was copied would have been copied with zeroes at its end.
    match disk.stat(&from).map_err(|e| StoreError::new(StoreOp::Move, &from, e))? {
        Some(now) if now == then => Ok(()),
        _ => Err(StoreError::new(
            StoreOp::Move,
            from,
            io::Error::other("the file was changed while it was copied"),
        )),
    }
}

/// Deletes the second files of a move that is not to be. Whatever may be the only one by now stays,
/// and so does a safe copy of what is `in_doubt`: it may be the only one that a power cut leaves.
pub(super) fn take_back(disk: &dyn Disk, made: &[Carried], in_doubt: bool) {
    let still_there = |file: &&Carried| {
        !(in_doubt && file.is_safe_copy)
            && disk
                .stat(&file.from.full())
                .is_ok_and(|found| found.is_some_and(|now| now.is_file && now.len >= file.then.len))
    };
    let copies: Vec<_> = made.iter().filter(still_there).map(|file| file.to.clone()).collect();
    clear_away(disk, &copies);
}

/// Ends a move: deletes the first files, each when its second one was seen to be there.
pub(super) fn clear_sources(disk: &dyn Disk, carried: &[Carried]) -> Option<Leftovers> {
    let (mut sources, mut left) = (Vec::new(), None);
    for file in carried {
        match may_go(disk, file) {
            Ok(true) => sources.push(file.from.clone()),
            Ok(false) => {}
            Err(error) => leave(&mut left, error),
        }
    }
    let more = clear_away(disk, &sources);
    match (left, more) {
        (Some(left), Some(more)) => {
            Some(Leftovers { files: left.files + more.files, error: left.error })
        }
        (left, more) => left.or(more),
    }
}

/// False if there is nothing any more.
fn may_go(disk: &dyn Disk, file: &Carried) -> Result<bool, StoreError> {
    let (from, to) = (file.from.full(), file.to.full());
    let failed = |e| StoreError::new(StoreOp::Delete, &from, e);
    let Some(now) = disk.stat(&from).map_err(failed)? else { return Ok(false) };
    let copy = disk.stat(&to).map_err(failed)?.filter(|copy| copy.is_file);
    // One that is the same file under another name changes with it.
    let is_copied = |copy: FileStat| {
        file.is_state
            || (copy.len >= now.len
                && (now == file.then || (copy.len, copy.mtime_ns) == (now.len, now.mtime_ns)))
    };
    if copy.is_some_and(is_copied) {
        return Ok(true);
    }
    let what = format!("{} is not there, or is no copy of it any more", to.display());
    Err(failed(io::Error::other(what)))
}

impl Carried {
    /// What was moved once more went on to where `later` says, so that is what has to be there.
    pub(super) fn follow(&mut self, later: &[Self]) {
        if let Some(later) = later.iter().find(|later| later.from.full() == self.to.full()) {
            self.to = later.to.clone();
        }
    }

    /// Whether its old place is this.
    pub(super) fn is_from(&self, from: &Path) -> bool {
        self.from.full() == from
    }

    /// Whether its new place is this.
    pub(super) fn is_at(&self, to: &Path) -> bool {
        self.to.full() == to
    }
}

fn leave(left: &mut Option<Leftovers>, error: StoreError) {
    left.get_or_insert(Leftovers { files: 0, error }).files += 1;
}

/// Deletes files, and the folders below their roots that become empty by it. Links, and what lies
/// behind them, stay. What could not be deleted and is there still is counted.
pub(super) fn clear_away(disk: &dyn Disk, files: &[Below]) -> Option<Leftovers> {
    let (mut folders, mut left) = (BTreeSet::new(), None::<Leftovers>);
    for file in files {
        let parent =
            |path: &Path| path.parent().filter(|p| !p.as_os_str().is_empty()).map(Path::to_owned);
        match disk.remove(&file.root, &file.path) {
            Ok(true) => {
                folders.extend(parent(&file.path).map(|folder| (file.root.clone(), folder)))
            }
            Ok(false) => {}
            Err(e) => {
                // A folder that cannot be changed says so of files that were never there, too.
                let full = file.full();
                if !matches!(disk.stat(&full), Ok(None)) {
                    leave(&mut left, StoreError::new(StoreOp::Delete, full, e));
                }
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
