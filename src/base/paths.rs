//! Foreign names to safe relative paths: whatever a torrent calls its files, they lie inside the download folder, can be
//! made on the usual file systems, and are all different.
//!
//! Pure text: touches no disk. The same torrent gets the same paths everywhere, but for the characters that only Windows
//! forbids, which are replaced only there.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Component, Path, PathBuf},
};

use thiserror::Error;

use super::files::{FileEntry, FileKind};

/// The folder of the states, below the download folder: no torrent may name it.
pub(crate) const STATE_FOLDER: &str = ".cratetorrent";
/// Bytes of one component. File systems take 255; renaming and temporary names need some.
const MAX_COMPONENT: usize = 240;
/// Bytes of an extension that survives cutting.
const MAX_EXTENSION: usize = 32;
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
    #[error("the torrent's files share names so often that more than {MAX_RENAMES} new ones were tried")]
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
    /// It is the path of another file of the torrent or of one of its folders, as a file system sees it that ignores case.
    #[error("the new path is taken by another file of the torrent")]
    Taken,
    /// Padding and links are never on disk.
    #[error("the file is never on disk")]
    NoFile,
}

/// A relative path for each regular file, in order; an empty one for files that never exist on disk (pads, links).
///
/// Two files get different paths even where a file system ignores case, so `README` and `readme` become `README` and
/// `readme.1`; a file named like a folder gives way to the folder.
pub(crate) fn safe_paths(name: &str, single_file: bool, files: &[FileEntry]) -> Result<Vec<PathBuf>, PathError> {
    let parts = |file: &FileEntry| {
        let mut parts = vec![top_component(name)];
        if !single_file {
            parts.extend(file.path.iter().map(|part| component(part)));
            if file.path.is_empty() {
                parts.push("_".into());
            }
        }
        fit(parts)
    };

    let mut taken = Names::default();
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

/// The same with some files renamed. Each of `renames` has been [made safe](safe_rename).
pub(crate) fn renamed_paths(
    name: &str,
    single_file: bool,
    files: &[FileEntry],
    renames: &[(usize, PathBuf)],
) -> Result<Vec<PathBuf>, PathError> {
    let mut paths = safe_paths(name, single_file, files)?;
    for (file, renamed) in renames {
        let refused = |why| PathError::Rename(*file, why);
        if files.get(*file).is_none_or(|f| f.kind != FileKind::Regular) {
            return Err(refused(RenameError::NoFile));
        }
        if safe_rename(renamed).map_err(refused)? != *renamed {
            return Err(refused(RenameError::NotBelow));
        }
        if let Some(path) = paths.get_mut(*file) {
            path.clone_from(renamed);
        }
    }
    if !renames.is_empty() {
        let taken = first_taken(&paths).map_or(Ok(()), |file| Err(PathError::Rename(file, RenameError::Taken)));
        taken?;
    }
    Ok(paths)
}

/// The first path that another one has already, or that another one has for a folder.
fn first_taken(paths: &[PathBuf]) -> Option<usize> {
    let mut taken = Names::default();
    let parts = |path: &PathBuf| path.iter().map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>();
    for path in paths {
        if let Some((_, folders)) = parts(path).split_last() {
            taken.folder(folders);
        }
    }
    let is_taken = |path: &PathBuf| parts(path).split_last().is_some_and(|(name, folders)| !taken.claim(folders, name));
    paths.iter().position(is_taken)
}

/// A path that the user gives a file, relative to the download folder: its names are made as safe as those that a torrent gives, but
/// where it leads is the user's to say.
pub(crate) fn safe_rename(path: &Path) -> Result<PathBuf, RenameError> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => {
                let part = part.to_str().ok_or(RenameError::NotUnicode)?;
                parts.push(if parts.is_empty() { top_component(part) } else { component(part) });
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return Err(RenameError::NotBelow),
        }
    }
    if parts.is_empty() {
        return Err(RenameError::NotBelow);
    }
    let safe: PathBuf = parts.iter().collect();
    if parts.len() > MAX_DEPTH || safe.as_os_str().len() > MAX_PATH { Err(RenameError::TooLong) } else { Ok(safe) }
}

/// The names in use, as a tree, so that the work is linear in the length of all names.
#[derive(Debug, Default)]
struct Names {
    /// A folder's number and a folded name in it; to the number of what is there. The root is 0.
    nodes: HashMap<(u32, String), u32>,
    /// The last number tried for a name that is taken, so that many duplicates do not try all before them.
    tried: HashMap<(u32, String), u32>,
    renames: u32,
}

impl Names {
    fn folder(&mut self, parts: &[String]) -> u32 {
        let mut at = 0;
        for part in parts {
            let next = self.nodes.len() as u32 + 1;
            at = *self.nodes.entry((at, fold(part))).or_insert(next);
        }
        at
    }

    /// Takes the name for a file if nobody has it.
    fn claim(&mut self, folders: &[String], name: &str) -> bool {
        let key = (self.folder(folders), fold(name));
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
        let wanted = (folder, fold(name));
        let mut key = wanted.clone();
        while self.nodes.contains_key(&key) {
            self.renames += 1;
            if self.renames > MAX_RENAMES {
                return Err(PathError::TooManyDuplicates);
            }
            let number = self.tried.entry(wanted.clone()).or_insert(0);
            *number += 1;
            let other = numbered(name, *number);
            key.1 = fold(&other);
            if !self.nodes.contains_key(&key) {
                *name = other;
            }
        }
        let next = self.nodes.len() as u32 + 1;
        self.nodes.insert(key, next);
        Ok(())
    }
}

/// What two names have in common on a file system that ignores case.
fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// `name.ext` to `name.1.ext`, within the length limit.
fn numbered(name: &str, number: u32) -> String {
    let (stem, extension) = split_extension(name);
    let suffix = format!(".{number}{extension}");
    format!("{}{suffix}", cut(stem, MAX_COMPONENT.saturating_sub(suffix.len())))
}

/// The first component, which must not be the states' folder.
fn top_component(name: &str) -> String {
    let safe = component(name);
    if fold(&safe) == STATE_FOLDER { format!("_{safe}") } else { safe }
}

/// One foreign name as one safe, non-empty component.
fn component(name: &str) -> String {
    let clean: String = name.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
    // Windows drops dots and spaces at the end, which would make two names one and `..` of `.. `.
    let trimmed = clean.trim().trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    if trimmed.is_empty() {
        return "_".into();
    }
    let mut safe = String::with_capacity(trimmed.len() + 1);
    if is_reserved(trimmed) {
        safe.push('_');
    }
    safe.push_str(trimmed);
    if safe.len() > MAX_COMPONENT {
        let (stem, extension) = split_extension(&safe);
        safe = format!("{}{extension}", cut(stem, MAX_COMPONENT - extension.len()));
        safe.truncate(safe.trim_end_matches(|c: char| c == '.' || c.is_whitespace()).len());
    }
    safe
}

fn is_unsafe(c: char) -> bool {
    matches!(c,
        '/' | '\\'
        // Marks, embeddings, overrides and isolates, with which `gpj.exe` shows as `exe.jpg`.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{2028}' | '\u{2029}' | '\u{feff}')
        || c.is_control()
        || (cfg!(windows) && matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*'))
}

/// Names that mean devices on Windows, with any extension.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CLOCK$" | "CONIN$" | "CONOUT$" => true,
        _ => ["COM", "LPT"].iter().any(|port| {
            let mut number = stem.strip_prefix(port).unwrap_or("").chars();
            matches!((number.next(), number.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        }),
    }
}

/// Into name and extension with its dot; the extension is empty if there is none worth keeping.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= MAX_EXTENSION => name.split_at(at),
        _ => (name, ""),
    }
}

/// At most `len` bytes of `text`, cut between characters.
fn cut(text: &str, len: usize) -> &str {
    let end = (0..=len.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

/// Leaves out the innermost folders of a path that is too deep or too long; the file keeps its name.
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
