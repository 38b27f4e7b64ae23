//! Whether a folder tells names apart that differ only in case. There is no call that says so, and
//! a file system may be made either way, so it is asked with the name of something that is there.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, ErrorKind},
    path::Path,
};

/// Names of a folder that are looked at.
const ENTRIES: usize = 64;

/// See [`Disk::ignores_case`](crate::Disk::ignores_case).
pub(super) fn is_ignored(folder: &Path) -> io::Result<bool> {
    if cfg!(windows) {
        return Ok(true);
    }
    // What will be made is like the folder that it is made in.
    let is_folder = |path: &&Path| fs::metadata(path).is_ok_and(|meta| meta.is_dir());
    let named = folder.ancestors().filter(|path| !path.as_os_str().is_empty()).find(is_folder);
    let folder = named.unwrap_or(Path::new("."));
    for asked in [by_entries, by_new_file, by_own_name] {
        if let Some(ignored) = asked(folder) {
            return Ok(ignored);
        }
    }
    Ok(cfg!(target_vendor = "apple"))
}

fn by_entries(folder: &Path) -> Option<bool> {
    let entries = fs::read_dir(folder).ok()?.take(ENTRIES).filter_map(Result::ok);
    entries.map(|entry| entry.file_name()).find_map(|name| by_name(folder, &name))
}

/// In an empty folder: with a file that is there for a moment.
fn by_new_file(folder: &Path) -> Option<bool> {
    let name = OsString::from(format!(".cratetorrent-case-{}", std::process::id()));
    let path = folder.join(&name);
    File::create_new(&path).ok()?;
    let ignored = by_name(folder, &name);
    let _ = fs::remove_file(&path);
    ignored
}

/// In an empty folder that cannot be written to: as the folder above, if that is of the same file
/// system.
fn by_own_name(folder: &Path) -> Option<bool> {
    let full = folder.canonicalize().ok()?;
    let (parent, name) = (full.parent()?, full.file_name()?);
    let (own, above) = (fs::metadata(&full).ok()?, fs::metadata(parent).ok()?);
    if identity(&own).0 == identity(&above).0 { by_name(parent, name) } else { None }
}

/// Asks for `name`, which is there, in other letters; `None` if it has none or nothing can be said.
fn by_name(folder: &Path, name: &OsStr) -> Option<bool> {
    let name = name.to_str()?;
    let swap = |c: char| {
        if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
    };
    let swapped: String = name.chars().map(swap).collect();
    if swapped == name {
        return None;
    }
    let own = fs::symlink_metadata(folder.join(name)).ok()?;
    match fs::symlink_metadata(folder.join(swapped)) {
        Ok(other) => Some(identity(&own) == identity(&other)),
        Err(e) if e.kind() == ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

/// A file system, and a file in it.
#[cfg(unix)]
fn identity(meta: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (meta.dev(), meta.ino())
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_asked_whether_it_ignores_case_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let names = || {
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>()
        };
        let empty = is_ignored(&dir.path().join("not/there/yet")).unwrap();
        assert!(names().is_empty());
        fs::write(dir.path().join("README"), "a").unwrap();
        assert_eq!(by_entries(dir.path()), Some(empty));
        assert_eq!(by_own_name(dir.path()), Some(empty));
        assert_eq!(is_ignored(dir.path()).unwrap(), empty);
        // The truth, as a file shows it that both names lead to.
        assert_eq!(dir.path().join("readme").exists(), empty);
        assert_eq!(names(), ["README"]);
    }

    #[test]
    fn name_without_letters_says_nothing_of_case() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("123"), "").unwrap();
        assert_eq!(by_entries(dir.path()), None);
        assert_eq!(by_name(dir.path(), OsStr::new("gone")), None);
    }
}
