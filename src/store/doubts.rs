//! Files that are open no more and of which a sync failed, by path: what the system did not write
//! then it never writes by itself, whichever torrent has the file next. A session records them.
//!
//! It knows neither torrents nor marks.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard},
};

use super::torrent::lock;
use crate::wire::session::DoubtfulFiles;

/// Paths that are remembered one by one. Beyond that it is the folder of a torrent, and with it all
/// that lies in there.
const MAX_PATHS: usize = 10_000;
/// Folders that are remembered. Beyond that no file is believed to be safe.
const MAX_FOLDERS: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    files: DoubtfulFiles,
    /// Counts changes; and the change up to which all is recorded.
    version: u64,
    recorded: u64,
}

impl Doubts {
    /// Those that were recorded.
    pub(super) fn restored(files: DoubtfulFiles) -> Self {
        Self(Mutex::new(Known { files, ..Known::default() }))
    }

    /// These files of a torrent in `dir` are closed and in doubt.
    pub(super) fn note<'a>(&self, dir: &Path, paths: impl Iterator<Item = &'a Path>) {
        let mut known = self.known();
        for path in paths {
            if known.has(path) {
                continue;
            }
            known.version += 1;
            let DoubtfulFiles { paths, folders, all } = &mut known.files;
            if paths.len() < MAX_PATHS {
                paths.insert(path.to_owned());
                continue;
            }
            paths.retain(|path| !path.starts_with(dir));
            *all |= folders.len() == MAX_FOLDERS;
            if !*all {
                folders.insert(dir.to_owned());
            }
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.known().files == DoubtfulFiles::default()
    }

    /// Whether a file that is opened is in doubt.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.known().has(path)
    }

    /// Whether a file is, and was noted by its own name.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.known().files.paths.contains(path)
    }

    /// A file is gone, or the state of the torrent that has it speaks of it.
    pub(super) fn forget(&self, path: &Path) {
        let mut known = self.known();
        known.version += u64::from(known.files.paths.remove(path));
    }

    /// What is to be recorded, if that is not done, and a name for it.
    pub(super) fn due(&self) -> Option<(u64, Vec<u8>)> {
        let known = self.known();
        (known.version != known.recorded).then(|| (known.version, known.files.encode()))
    }

    /// What was due under this name is recorded.
    pub(super) fn note_recorded(&self, version: u64) {
        self.known().recorded = version;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.0)
    }
}

impl Known {
    fn has(&self, path: &Path) -> bool {
        let DoubtfulFiles { paths, folders, all } = &self.files;
        let is_in = || path.ancestors().skip(1).any(|folder| folders.contains(folder));
        *all || paths.contains(path) || (!folders.is_empty() && is_in())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn note(doubts: &Doubts, dir: &str, count: usize) {
        let paths: Vec<_> = (0..count).map(|n| Path::new(dir).join(n.to_string())).collect();
        doubts.note(Path::new(dir), paths.iter().map(PathBuf::as_path));
    }

    #[test]
    fn doubts_are_remembered_until_they_are_forgotten() {
        let doubts = Doubts::default();
        assert!(doubts.is_empty());
        note(&doubts, "/d", 3);
        let path = Path::new("/d/1");
        assert!(doubts.has(path) && doubts.names(path) && !doubts.has(Path::new("/d/3")));
        doubts.forget(path);
        assert!(!doubts.has(path) && doubts.has(Path::new("/d/2")) && !doubts.is_empty());
    }

    #[test]
    fn doubts_beyond_the_bound_are_those_of_a_folder_then_of_all() {
        let doubts = Doubts::default();
        note(&doubts, "/few", 1);
        note(&doubts, "/many", MAX_PATHS + 5);
        let known = |path: &str| (doubts.has(Path::new(path)), doubts.names(Path::new(path)));
        assert_eq!(known("/many/1"), (true, false));
        assert_eq!(known("/many/more/99999999"), (true, false));
        assert_eq!(known("/few/0"), (true, true));
        assert_eq!(known("/few/1"), (false, false));
        assert!(doubts.known().files.paths.len() <= MAX_PATHS);
        note(&doubts, "/most", MAX_PATHS - 1);
        (0..MAX_FOLDERS + 5).for_each(|n| note(&doubts, &format!("/{n}"), 1));
        assert_eq!(known("/elsewhere/1"), (true, false));
        assert_eq!(doubts.known().files.folders.len(), MAX_FOLDERS);
    }
}
