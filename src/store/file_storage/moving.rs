//! Another place for a torrent's files, a look whether there are any, and their end.

use std::path::PathBuf;

use super::super::{
    files::export_file,
    names::Names,
    relocate::{self, Below, Carry},
    resume,
    torrent::lock,
};
use super::{FileStorage, saving::PlacedFiles};
use crate::base::{
    paths::Case,
    storage::{Leftovers, SaveState, StoreError, StoreOp, StoreSpec, layers_beside},
};

impl FileStorage {
    /// Makes the new place whole, and the torrent's from then on.
    pub(super) fn move_to(
        &self,
        spec: &StoreSpec,
        state: Option<Box<SaveState>>,
    ) -> Result<(), StoreError> {
        let old = self.find(StoreOp::Move)?;
        // Below a mount point without its drive there is nothing to move, and to look would make us
        // forget what was there.
        old.files.refuse_if_gone(StoreOp::Move)?;
        let names = old.files.layout().names();
        let is_here = spec.dir == old.files.layout().dir();
        let names = if is_here { names.clone() } else { names.carry(self.disk(), spec)? };
        let files = self.system.files(spec, names)?;
        let (from, to) = (old.files.layout().dir(), files.layout().dir());
        let kept = old.files.paths_of(&spec.kept);
        let carry = |a: &PathBuf, b: &PathBuf, known, is_state| {
            let (from, to) = Below::new(from, a).zip(Below::new(to, b)).filter(|_| a != b)?;
            Some(Carry { from, to, known, is_state, stays: kept.contains(a) })
        };
        let paths = old.files.paths().into_iter().zip(files.paths()).zip(old.files.seen());
        let mut pairs: Vec<_> =
            paths.filter_map(|((a, b), seen)| carry(&a, &b, seen, false)).collect();
        let states = old.saved_at.as_ref().zip(spec.state_file.as_ref()).into_iter();
        let states = states
            .flat_map(|(a, b)| [(a.clone(), b.clone()), (layers_beside(a), layers_beside(b))]);
        pairs.extend(states.filter_map(|(a, b)| carry(&a, &b, false, true)));

        // A copy is safe when it is made; if it is taken back, what stays must be no less so.
        let in_doubt =
            old.files.sync(0, usize::MAX).inspect_err(|error| log::error!("{error}")).is_err();
        let made = relocate::carry(self.disk(), &pairs, in_doubt)?;
        let open = PlacedFiles::new(spec, files);
        open.files.inherit(&old.files);
        let saved = open
            .files
            .look()
            .and_then(|_| state.map_or(Ok(None), |state| open.sync_and_save(*state)));
        let saved = saved.and_then(|record| match (record, &self.system.folder) {
            (Some(record), Some(folder)) => folder.append(&[record]),
            _ => Ok(()),
        });
        if let Err(error) = saved {
            // What was written or failed to be synced under other names of the same files is no
            // safer under these.
            old.files.inherit(&open.files);
            open.files.close();
            relocate::take_back(self.disk(), &made, in_doubt);
            // A state that was not there before has no other to be taken back to, and nothing was
            // at its place.
            let is_new = |pair: &&Carry| {
                pair.is_state && !made.iter().any(|file| file.is_at(&pair.to.full()))
            };
            let state: Vec<_> = pairs.iter().filter(is_new).map(|pair| pair.to.clone()).collect();
            relocate::clear_away(self.disk(), &state);
            return Err(error);
        }
        old.files.close();
        let mut left = std::mem::take(&mut *lock(&old.old));
        left.iter_mut().for_each(|file| file.follow(&made));
        left.extend(made.into_iter().filter(|file| !kept.iter().any(|path| file.is_from(path))));
        *lock(&open.old) = left;
        self.set(open);
        Ok(())
    }

    /// Deletes the old files of moves.
    pub(super) fn clear_old_place(&self) -> Option<Leftovers> {
        let old = self.current().map(|open| std::mem::take(&mut *lock(&open.old)));
        relocate::clear_sources(self.disk(), &old.unwrap_or_default())
    }

    /// Whether none of a torrent's files is there, under whatever names it may have them.
    pub(super) fn is_nothing_there(&self, spec: &StoreSpec) -> bool {
        if self.current().is_some_and(|open| open.files.is_any_there()) {
            return false;
        }
        let is_any_there =
            |names| self.system.files(spec, names).map_or(true, |files| files.is_any_there());
        let aliases = Names { case: Case::Kept, aliases: spec.aliases.clone() };
        let loaded = |aliases: &Names| {
            let loaded =
                resume::load(self.disk(), self.system.folder.as_deref(), spec).ok().flatten();
            let names = Names::find(self.disk(), spec, loaded.as_ref().map(|loaded| &loaded.saved));
            names.map_or(true, |names| names != *aliases && is_any_there(names))
        };
        !(is_any_there(aliases.clone()) || loaded(&aliases))
    }

    pub(super) fn delete_files(&self, spec: &StoreSpec) -> Option<Leftovers> {
        // What is not known to be the torrent's is not deleted.
        let names = match spec.aliases.as_slice() {
            [] => Names::find(self.disk(), spec, None),
            aliases => Ok(Names { case: Case::Kept, aliases: aliases.to_vec() }),
        };
        let files = match names.and_then(|names| self.system.files(spec, names)) {
            Ok(files) => files,
            Err(error) => return Some(Leftovers { files: spec.files.len(), error }),
        };
        let (parts, temporary) =
            (spec.parts_file(), |path: &PathBuf| path.with_added_extension("tmp"));
        let kept = files.paths_of(&spec.kept);
        // The state first: a kill that leaves it without its data would make a torrent whose data
        // has vanished of one that was removed.
        let states = spec.state_file.clone().into_iter().chain(spec.layers_file());
        let mut paths: Vec<_> = states
            .flat_map(|path| {
                let temporary = temporary(&path);
                [path, temporary]
            })
            .collect();
        paths.extend(files.paths().into_iter().filter(|path| !kept.contains(path)));
        paths.push(export_file(&parts));
        let below: Vec<_> = paths.iter().filter_map(|path| Below::new(&spec.dir, path)).collect();
        let left = relocate::clear_away(self.disk(), &below);
        let doubts = self.system.doubts();
        if !doubts.is_empty() {
            let is_gone = |path: &&PathBuf| matches!(self.disk().stat(path), Ok(None));
            paths.iter().filter(is_gone).for_each(|path| doubts.forget(path));
        }
        left
    }
}
