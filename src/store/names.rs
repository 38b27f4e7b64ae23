//! Which names the files of a torrent have on this disk: its own, but for those that the disk
//! cannot tell apart and those under which an earlier version has stored them.
//!
//! Decided anew each time a torrent is opened, from what is there. It looks, and changes nothing.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::{disk::Disk, saved::Saved};
use crate::base::{
    paths::{Case, Foreign, NameRules, PathError, renamed_paths, safe_paths},
    storage::{StoreError, StoreOp, StoreSpec},
};

/// The names of a torrent's files on a disk, where they are not those that the platform's rules
/// give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// Whether the disk tells names apart that differ in case.
    pub(super) case: Case,
    /// By file, ascending; below the download folder.
    pub(super) aliases: Vec<(usize, PathBuf)>,
}

impl Names {
    /// Each file has its own name.
    pub(super) const OWN: Self = Self { case: Case::Kept, aliases: Vec::new() };

    /// Those of files that are there, or will be made. `saved` is what is remembered of them.
    pub(super) fn find(
        disk: &dyn Disk,
        spec: &StoreSpec,
        saved: Option<&Saved>,
    ) -> Result<Self, StoreError> {
        // Names that cannot be made safe show when they are laid out.
        match Found::new(spec) {
            Ok(Some(found)) => found.decide(disk, spec, saved),
            Ok(None) | Err(_) => Ok(Self::OWN),
        }
    }

    /// Those that the files have which are moved to `spec.dir`, where nothing of the torrent is
    /// yet: the names they had, and others for those that the disk there does not tell apart.
    pub(super) fn carry(&self, disk: &dyn Disk, spec: &StoreSpec) -> Result<Self, StoreError> {
        let Ok(Some(found)) = Found::new(spec) else { return Ok(self.clone()) };
        let (case, baseline) = found.baseline(disk, spec)?;
        let mut aliases: Vec<_> = differences(&found.exact, &baseline).collect();
        aliases.retain(|(file, _)| self.aliases.iter().all(|(other, _)| other != file));
        aliases.extend(self.aliases.iter().cloned());
        aliases.sort();
        Ok(Self { case, aliases })
    }
}

/// The torrent's names as a foreign list.
pub(super) fn foreign(spec: &StoreSpec) -> Foreign<'_> {
    Foreign { name: &spec.name, single_file: spec.single_file, files: &spec.files }
}

/// All names that are possible.
struct Found {
    /// By the platform's rules.
    exact: Vec<PathBuf>,
    /// By those of version 0.2.
    old: Vec<PathBuf>,
}

impl Found {
    /// `None` if there is nothing to decide, as for nearly all torrents.
    fn new(spec: &StoreSpec) -> Result<Option<Self>, PathError> {
        let exact = safe_paths(foreign(spec), NameRules::here(), Case::Kept)?;
        let old = safe_paths(foreign(spec), NameRules::V0_2, Case::Ignored)?;
        Ok((exact != old).then_some(Self { exact, old }))
    }

    /// The names of files that are to be made.
    fn baseline(
        &self,
        disk: &dyn Disk,
        spec: &StoreSpec,
    ) -> Result<(Case, Vec<PathBuf>), StoreError> {
        let Ok(folded) = safe_paths(foreign(spec), NameRules::here(), Case::Ignored) else {
            return Ok((Case::Kept, self.exact.clone()));
        };
        // Asked only if it matters, since it may take some looking.
        let failed = |e| StoreError::new(StoreOp::Open, &spec.dir, e);
        if folded != self.exact && disk.ignores_case(&spec.dir).map_err(failed)? {
            return Ok((Case::Ignored, folded));
        }
        Ok((Case::Kept, self.exact.clone()))
    }

    fn decide(
        &self,
        disk: &dyn Disk,
        spec: &StoreSpec,
        saved: Option<&Saved>,
    ) -> Result<Names, StoreError> {
        let (case, mut names) = self.baseline(disk, spec)?;
        let old_files = saved.map_or(Ok(Vec::new()), |saved| {
            old_files(disk, spec, &names, &self.old, case, saved)
        })?;
        for file in old_files {
            if let (Some(name), Some(old)) = (names.get_mut(file), self.old.get(file)) {
                name.clone_from(old);
            }
        }
        let aliases: Vec<_> = differences(&self.exact, &names).collect();
        // A name of before may be one that the user has given to another file since.
        if renamed_paths(foreign(spec), case, aliases.iter().chain(&spec.renames)).is_ok() {
            return Ok(Names { case, aliases });
        }
        let (case, names) = self.baseline(disk, spec)?;
        Ok(Names { case, aliases: differences(&self.exact, &names).collect() })
    }
}

/// Files that are to have their names of before, because they, or others of the torrent, are there
/// under those and not under their own: what was begun goes on in the same folders. Only a file
/// that is as the saved state has it is taken for one, since others may be another torrent's. A
/// name that is another file's own is not taken, unless the other one is under its old name too.
fn old_files(
    disk: &dyn Disk,
    spec: &StoreSpec,
    names: &[PathBuf],
    old: &[PathBuf],
    case: Case,
    saved: &Saved,
) -> Result<Vec<usize>, StoreError> {
    let look = |path: &Path| {
        let full = spec.dir.join(path);
        let found = disk.stat(&full).map_err(|e| StoreError::new(StoreOp::Open, &full, e))?;
        Ok(found.filter(|stat| stat.is_file))
    };
    let failed = |e| StoreError::new(StoreOp::Open, &spec.dir, e);
    if disk.stat(&spec.dir).map_err(failed)?.is_none() {
        return Ok(Vec::new());
    }
    let changed: Vec<usize> = differences(names, old)
        .map(|(file, _)| file)
        .filter(|file| spec.renames.binary_search_by_key(file, |(renamed, _)| *renamed).is_err())
        .collect();
    let (mut missing, mut stored) = (HashSet::new(), HashSet::new());
    for &file in &changed {
        let (Some(own), Some(old)) = (names.get(file), old.get(file)) else { continue };
        if look(own)?.is_none() {
            missing.insert(file);
        }
        if look(old)?.is_some_and(|stat| saved.knows(file, stat)) {
            stored.insert(file);
        }
    }
    if missing.is_disjoint(&stored) {
        return Ok(Vec::new());
    }
    let folded = |path: &PathBuf| case.fold(&path.to_string_lossy());
    let owners: HashMap<String, usize> =
        names.iter().enumerate().map(|(file, path)| (folded(path), file)).collect();
    let owner = |file: &usize| {
        old.get(*file)
            .and_then(|path| owners.get(&folded(path)).copied())
            .filter(|other| other != file)
    };
    let (mut taken, mut refused) = (missing.clone(), HashSet::new());
    // Each pass follows a chain of such names by one file; a name is too short for long ones.
    let mut settled = false;
    while !std::mem::replace(&mut settled, true) {
        for file in &changed {
            let Some(other) =
                owner(file).filter(|other| taken.contains(file) && !taken.contains(other))
            else {
                continue;
            };
            settled = false;
            if stored.contains(&other) && !refused.contains(&other) {
                taken.insert(other);
            } else {
                taken.remove(file);
                refused.insert(*file);
            }
        }
    }
    Ok(changed.into_iter().filter(|file| taken.contains(file)).collect())
}

fn differences<'a>(
    from: &'a [PathBuf],
    to: &'a [PathBuf],
) -> impl Iterator<Item = (usize, PathBuf)> + 'a {
    from.iter()
        .zip(to)
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .map(|(file, (_, b))| (file, b.clone()))
}
