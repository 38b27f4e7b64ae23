//! The table of open files: which are open, and which of them are closed when there are too many.
//!
//! It opens nothing, and what it takes out is dropped by the caller: closing can block.

use std::{
    collections::HashMap,
    fs::File,
    io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    pub(super) by_path: HashMap<PathBuf, Handle>,
    /// Counts uses, so that the least recent one is known.
    uses: u64,
    /// How many the process could hold when it last ran out of handles.
    pub(super) affordable: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Handle {
    pub(super) file: Arc<OpenFile>,
    pub(super) writable: bool,
    /// On a file system that has no disk, so that a read never waits for one.
    pub(super) in_memory: bool,
    pub(super) last_use: u64,
}

/// A file that workers share. They write to it one after the other: the system lets one in at a
/// time anyway, and another would not sleep before that door but spin, on a core that is needed.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    turn: Mutex<()>,
}

impl OpenFile {
    pub(super) fn new(file: File) -> Self {
        Self { file, turn: Mutex::default() }
    }

    /// Writes by `write` when no other worker does.
    pub(super) fn in_turn(
        &self,
        write: impl FnOnce(&File) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        write(&self.file)
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl OpenFiles {
    pub(super) fn get(&mut self, path: &Path, write: bool) -> Option<(Arc<OpenFile>, bool)> {
        self.uses += 1;
        let handle = self.by_path.get_mut(path).filter(|h| h.writable || !write)?;
        handle.last_use = self.uses;
        Some((handle.file.clone(), handle.in_memory))
    }

    /// Takes out the half that was not used for longest, one at least if there is any.
    pub(super) fn evict_half(&mut self) -> Vec<Handle> {
        let mut by_use: Vec<_> =
            self.by_path.iter().map(|(path, h)| (h.last_use, path.clone())).collect();
        by_use.sort_unstable();
        by_use.truncate(by_use.len().div_ceil(2));
        let evicted = by_use.iter().filter_map(|(_, path)| self.by_path.remove(path)).collect();
        self.affordable = Some(self.by_path.len().max(1));
        evicted
    }

    pub(super) fn insert(
        &mut self,
        path: &Path,
        mut handle: Handle,
        limit: usize,
    ) -> Option<Handle> {
        self.uses += 1;
        handle.last_use = self.uses;
        if let Some(there) = self.by_path.get_mut(path) {
            // Another thread was faster; what can write serves both.
            return Some(if there.writable { handle } else { std::mem::replace(there, handle) });
        }
        let mut evicted = None;
        if self.by_path.len() >= limit {
            let oldest =
                self.by_path.iter().min_by_key(|(_, h)| h.last_use).map(|(path, _)| path.clone());
            evicted = oldest.and_then(|path| self.by_path.remove(&path));
        }
        self.by_path.insert(path.to_owned(), handle);
        evicted
    }
}
