//! Foreign names to safe relative paths: whatever a torrent calls its files, they lie inside the
//! download folder, can be made on the file systems of the platform, and are all different. A name
//! that the platform takes stays as it is.
//!
//! Pure text: touches no disk. Whether two names that differ in case are two files is the disk's to
//! say, and an argument here.

mod rules;

use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Component, Path, PathBuf},
};

use thiserror::Error;

use super::files::{FileEntry, FileKind};
pub(crate) use rules::NameRules;

/// The folder of the states, below the download folder: no torrent may name it.
pub(crate) const STATE_FOLDER: &str = ".cratetorrent";
/// Components below the download folder.
const MAX_DEPTH: usize = 100;
/// Bytes of a whole relative path. Linux takes 4096 with the download folder's own.
const MAX_PATH: usize = 2048;
/// Names tried in all for files whose own is taken.
const MAX_RENAMES: u32 = 10_000;

/// Names that cannot be made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum PathError {
    /// Too many files of the same name.
    #[error(
        "the torrent's files share names so often that more than {MAX_RENAMES} new ones were tried"
    )]
    TooManyDuplicates,
    /// A file cannot be renamed so.
    #[error("file {0} cannot be renamed: {1}")]
    Rename(usize, RenameError),
}

/// Why a file cannot have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RenameError {
    /// It is empty, absolute, or goes up.
    #[error("the new path does not lie below the download folder")]
    NotBelow,
    /// It is not Unicode.
    #[error("the new path is not Unicode")]
    NotUnicode,
    /// It is too long, or has too many folders.
    #[error("the new path exceeds {MAX_PATH} bytes or {MAX_DEPTH} components")]
    TooLong,
    /// It is the path of another file of the torrent or of one of its folders, as the file system
    /// sees it.
    #[error("the new path is taken by another file of the torrent")]
    Taken,
    /// Padding and links are never on disk.
    #[error("the file is never on disk")]
    NoFile,
}

/// Whether names that differ only in case are names of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Two names, two files: most file systems of Unix.
    Kept,
    /// Two names, one file: those of Windows and macOS, and USB sticks.
    Ignored,
}

impl Case {
    /// What all names of one file have in common.
    pub(crate) fn fold(self, name: &str) -> String {
        match self {
            Self::Kept => name.to_owned(),
            Self::Ignored => name.to_lowercase(),
        }
    }
}

/// The names of a torrent's files, as its metainfo has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign<'a> {
    /// The torrent's own name: the file of a single-file torrent, the folder of others.
    pub(crate) name: &'a str,
    pub(crate) single_file: bool,
    pub(crate) files: &'a [FileEntry],
}

impl Foreign<'_> {
    /// A path as it would be if no name were changed. It is for comparing and showing, and leads
    /// anywhere.
    pub(crate) fn as_named(&self, file: usize) -> Vec<&str> {
        let folders =
            self.files.get(file).filter(|_| !self.single_file).map_or(&[][..], |entry| &entry.path);
        std::iter::once(self.name).chain(folders.iter().map(String::as_str)).collect()
    }

    /// Whether `path` is that of the metainfo.
    pub(crate) fn is_exact(&self, file: usize, path: &Path) -> bool {
        let mut parts = path.iter();
        let same = |name: &str| parts.next().and_then(|part| part.to_str()) == Some(name);
        self.as_named(file).into_iter().all(same) && parts.next().is_none()
    }
}

/// A relative path for each regular file, in order; an empty one for files that never exist on disk
/// (pads, links).
///
/// Two files get different paths, so that where case is ignored `README` and `readme` become
/// `README` and `readme.1`; a file named like a folder gives way to the folder.
pub(crate) fn safe_paths(
    foreign: Foreign<'_>,
    rules: NameRules,
    case: Case,
) -> Result<Vec<PathBuf>, PathError> {
    let Foreign { name, single_file, files } = foreign;
    let parts = |file: &FileEntry| {
        let mut parts = vec![rules.top_component(name)];
        if !single_file {
            parts.extend(file.path.iter().map(|part| rules.component(part)));
            if file.path.is_empty() {
                parts.push("_".into());
            }
        }
        fit(parts)
    };

    let mut taken = Names::new(rules, case);
    for file in files.iter().filter(|f| f.kind == FileKind::Regular) {
        let parts = parts(file);
        taken.folder(&parts[..parts.len() - 1]);
    }
    let mut paths = Vec::with_capacity(files.len());
    for file in files {
        let mut path = PathBuf::new();
        if file.kind == FileKind::Regular {
            let mut parts = parts(file);
            taken.file(&mut parts)?;
            path.extend(parts);
        }
        paths.push(path);
    }
    Ok(paths)
}

/// The paths of the platform's [rules](NameRules::here) with some files renamed. Each of `renames`
/// has been [made safe](safe_rename); those that come later count more.
pub(crate) fn renamed_paths<'a>(
    foreign: Foreign<'_>,
    case: Case,
    renames: impl IntoIterator<Item = &'a (usize, PathBuf)>,
) -> Result<Vec<PathBuf>, PathError> {
    let mut paths = safe_paths(foreign, NameRules::here(), case)?;
    let mut any = false;
    for (file, renamed) in renames {
        let refused = |why| PathError::Rename(*file, why);
        if foreign.files.get(*file).is_none_or(|f| f.kind != FileKind::Regular) {
            return Err(refused(RenameError::NoFile));
        }
        if safe_rename(renamed).map_err(refused)? != *renamed {
            return Err(refused(RenameError::NotBelow));
        }
        if let Some(path) = paths.get_mut(*file) {
            path.clone_from(renamed);
        }
        any = true;
    }
    match if any { first_taken(&paths, case) } else { None } {
        Some(file) => Err(PathError::Rename(file, RenameError::Taken)),
        None => Ok(paths),
    }
}

/// The first path that another one has already, or that another one has for a folder.
fn first_taken(paths: &[PathBuf], case: Case) -> Option<usize> {
    let mut taken = Names::new(NameRules::here(), case);
    let parts = |path: &PathBuf| {
        path.iter().map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    for path in paths {
        if let Some((_, folders)) = parts(path).split_last() {
            taken.folder(folders);
        }
    }
    let is_taken = |path: &PathBuf| {
        parts(path).split_last().is_some_and(|(name, folders)| !taken.claim(folders, name))
    };
    paths.iter().position(is_taken)
}

/// A path that the user gives a file, relative to the download folder: its names are made as safe
/// as those that a torrent gives, but where it leads is the user's to say.
pub(crate) fn safe_rename(path: &Path) -> Result<PathBuf, RenameError> {
    let rules = NameRules::here();
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => {
                let part = part.to_str().ok_or(RenameError::NotUnicode)?;
                parts.push(if parts.is_empty() {
                    rules.top_component(part)
                } else {
                    rules.component(part)
                });
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => {
                return Err(RenameError::NotBelow);
            }
        }
    }
    if parts.is_empty() {
        return Err(RenameError::NotBelow);
    }
    let safe: PathBuf = parts.iter().collect();
    if parts.len() > MAX_DEPTH || safe.as_os_str().len() > MAX_PATH {
        Err(RenameError::TooLong)
    } else {
        Ok(safe)
    }
}

/// The names in use, as a tree, so that the work is linear in the length of all names.
#[derive(Debug)]
struct Names {
    rules: NameRules,
    case: Case,
    /// A folder's number and a folded name in it; to the number of what is there. The root is 0.
    nodes: HashMap<(u32, String), u32>,
    /// The last number tried for a name that is taken, so that many duplicates do not try all
    /// before them.
    tried: HashMap<(u32, String), u32>,
    renames: u32,
}

impl Names {
    fn new(rules: NameRules, case: Case) -> Self {
        Self { rules, case, nodes: HashMap::new(), tried: HashMap::new(), renames: 0 }
    }

    fn folder(&mut self, parts: &[String]) -> u32 {
        let mut at = 0;
        for part in parts {
            let next = self.nodes.len() as u32 + 1;
            at = *self.nodes.entry((at, self.case.fold(part))).or_insert(next);
        }
        at
    }

    /// Takes the name for a file if no file or folder has it.
    fn claim(&mut self, folders: &[String], name: &str) -> bool {
        let key = (self.folder(folders), self.case.fold(name));
        let next = self.nodes.len() as u32 + 1;
        match self.nodes.entry(key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(next);
                true
            }
        }
    }

    fn file(&mut self, parts: &mut [String]) -> Result<(), PathError> {
        let Some((name, folders)) = parts.split_last_mut() else { return Ok(()) };
        let folder = self.folder(folders);
        let wanted = (folder, self.case.fold(name));
        let mut key = wanted.clone();
        while self.nodes.contains_key(&key) {
            self.renames += 1;
            if self.renames > MAX_RENAMES {
                return Err(PathError::TooManyDuplicates);
            }
            let number = self.tried.entry(wanted.clone()).or_insert(0);
            *number += 1;
            let other = self.rules.numbered(name, *number);
            key.1 = self.case.fold(&other);
            if !self.nodes.contains_key(&key) {
                *name = other;
            }
        }
        let next = self.nodes.len() as u32 + 1;
        self.nodes.insert(key, next);
        Ok(())
    }
}

/// Leaves out the innermost folders of a path that is too deep or too long; the file keeps its
/// name.
fn fit(mut parts: Vec<String>) -> Vec<String> {
    let Some(file) = parts.pop() else { return parts };
    let mut len = file.len();
    let fitting = parts.iter().take(MAX_DEPTH - 1).take_while(|part| {
        len += part.len() + 1;
        len <= MAX_PATH
    });
    let depth = fitting.count();
    parts.truncate(depth);
    parts.push(file);
    parts
}

#[cfg(test)]
mod tests;
