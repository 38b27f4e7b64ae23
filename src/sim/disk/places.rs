//! What others do to the files of a disk: a drive that is unmounted and mounted again, files that
//! another program makes longer or edits.
//!
//! A place that is away is as an empty mount point: what was there cannot be seen, and what is
//! written goes below it. When it is back, that is hidden for good.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{File, MemDisk, PAGE, State, state::Away};

impl MemDisk {
    /// The drive at `place` is unmounted, in good order: nothing on it is lost. Its mount point
    /// stays as an empty folder, or goes too (`with_folder`), as those that a desktop makes for
    /// a drive. Nothing happens if it is away already.
    pub fn take_away(&self, place: &Path, with_folder: bool) {
        let mut state = self.state();
        if state.away.iter().any(|away| away.place == place) {
            return;
        }
        let below = |path: &Path| path != place && path.starts_with(place);
        let mut files: BTreeMap<_, _> = state.files.extract_if(.., |path, _| below(path)).collect();
        files.values_mut().for_each(File::sync);
        state.dirs.retain(|dir| !(below(dir) || with_folder && dir == place));
        state.away.push(Away { place: place.to_owned(), files });
    }

    /// The drive is mounted again: what was on it is there as it was. What was written below its
    /// mount point meanwhile is gone, which counts as a change behind the back of the program
    /// that wrote it.
    pub fn bring_back(&self, place: &Path) {
        let mut state = self.state();
        let Some(at) = state.away.iter().position(|away| away.place == place) else { return };
        let Away { files, .. } = state.away.remove(at);
        // What the process holds open is written on, and what it writes is nowhere.
        let hidden: BTreeMap<_, _> =
            state.files.extract_if(.., |path, _| path.starts_with(place)).collect();
        state.spoilt |= !hidden.is_empty();
        state.graves.recount |= !hidden.is_empty();
        hidden.into_iter().for_each(|(path, file)| state.lose_name(path, file));
        files.keys().for_each(|path| state.make_dirs(path));
        state.dirs.insert(place.to_owned());
        state.files.extend(files);
    }

    /// Every drive that is away is mounted again.
    pub fn bring_all_back(&self) {
        let places: Vec<_> = self.state().away.iter().map(|away| away.place.clone()).collect();
        places.iter().for_each(|place| self.bring_back(place));
    }

    /// Another program puts a file under the name of one that is open, as a rename does: until the
    /// process closes it, it goes on with the one that has lost its name.
    pub fn replace(&self, path: &Path, bytes: &[u8]) {
        let old = self.state().files.get(path).cloned();
        self.put(path, bytes);
        let mut state = self.state();
        if let Some(old) = old {
            state.lose_name(path.to_owned(), old);
        }
    }

    /// The process has ended: nothing is held open any more.
    pub(in crate::sim) fn close_all(&self) {
        let mut state = self.state();
        state.open.clear();
        state.nameless.clear();
    }

    /// Another program appends `bytes` to every file below `dir`, but for our own records. What the
    /// files had stays as it is.
    pub fn lengthen(&self, dir: &Path, bytes: u64) {
        let mut state = self.state();
        for path in state.not_ours(dir) {
            let State { files, now_ns, .. } = &mut *state;
            let Some(file) = files.get_mut(&path) else { continue };
            let (from, to) = (file.now.bytes.len() as u64, file.now.bytes.len() as u64 + bytes);
            file.now.bytes.resize(to as usize, 0xA5);
            file.now.pages.extend(from / PAGE..to.div_ceil(PAGE));
            file.now.mtime_ns = *now_ns;
            file.synced = Some(file.now.clone());
            state.mirror(&path);
        }
    }

    /// Another program changes `times` random bytes of files below `dir`, but for our own records.
    /// Their lengths stay, their dates tell.
    pub fn edit(&self, dir: &Path, times: u32) {
        let mut state = self.state();
        state.graves.recount = true;
        let mut there = state.not_ours(dir);
        there.retain(|path| state.files.get(path).is_some_and(|file| !file.now.bytes.is_empty()));
        for _ in 0..times {
            let State { files, rng, now_ns, spoilt, .. } = &mut *state;
            let Some(last) = there.len().checked_sub(1) else { return };
            let hit = there.get(rng.below(last as u64 + 1) as usize);
            let Some((path, file)) = hit.and_then(|path| Some((path, files.get_mut(path)?))) else {
                return;
            };
            let at = rng.below(file.now.bytes.len() as u64) as usize;
            if let Some(byte) = file.now.bytes.get_mut(at) {
                *byte ^= 0xFF;
            }
            file.now.mtime_ns = *now_ns;
            file.synced = Some(file.now.clone());
            *spoilt = true;
            state.mirror(path);
        }
    }
}

impl State {
    /// Files below `dir` but for our own records.
    fn not_ours(&self, dir: &Path) -> Vec<PathBuf> {
        let ours = |path: &Path| path.components().any(|part| part.as_os_str() == ".cratetorrent");
        self.files.keys().filter(|path| path.starts_with(dir) && !ours(path)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::time::Instant, store::Disk};

    #[test]
    fn unmounted_place_is_empty_until_it_is_back() {
        for with_folder in [false, true] {
            let disk = MemDisk::new(1);
            let (place, path, other) =
                (Path::new("/drive"), Path::new("/drive/a/f"), Path::new("/home/f"));
            disk.put(path, b"data");
            disk.put(other, b"data");
            disk.take_away(place, with_folder);
            assert_eq!(disk.stat(path).unwrap(), None);
            assert_eq!(disk.stat(Path::new("/drive/a")).unwrap(), None);
            assert_eq!(disk.stat(place).unwrap().is_some(), !with_folder);
            assert!(disk.stat(other).unwrap().is_some() && !disk.is_well() && !disk.is_spoilt());
            disk.bring_back(place);
            assert_eq!(disk.content(path).unwrap(), b"data");
            assert!(
                disk.stat(Path::new("/drive/a")).unwrap().is_some()
                    && disk.is_well()
                    && !disk.is_spoilt()
            );
        }
    }

    #[test]
    fn writes_below_a_mount_point_are_hidden_by_the_drive() {
        let disk = MemDisk::new(1);
        disk.put(Path::new("/drive/f"), b"data");
        disk.take_away(Path::new("/drive"), false);
        disk.put(Path::new("/drive/f"), b"else");
        disk.put(Path::new("/drive/g"), b"else");
        disk.bring_all_back();
        assert_eq!(disk.paths(), [Path::new("/drive/f")]);
        assert!(disk.content(Path::new("/drive/f")).unwrap() == b"data" && disk.is_spoilt());
    }

    #[test]
    fn lengthened_and_edited_files_are_dated_and_our_records_left() {
        let disk = MemDisk::new(1);
        let (path, record) = (Path::new("/d/f"), Path::new("/d/.cratetorrent/x"));
        disk.put(path, &[7; 5000]);
        disk.put(record, b"record");
        let before = disk.stat(path).unwrap().unwrap();
        disk.set_now(Instant::from_micros(5));
        disk.lengthen(Path::new("/d"), 3000);
        let after = disk.stat(path).unwrap().unwrap();
        assert!(
            after.len == 8000
                && after.mtime_ns > before.mtime_ns
                && disk.holds(path, 0, &[7; 5000])
        );
        assert!(!disk.is_spoilt());
        disk.set_now(Instant::from_micros(9));
        disk.edit(Path::new("/d"), 1);
        let edited = disk.stat(path).unwrap().unwrap();
        assert!(edited.len == 8000 && edited.mtime_ns > after.mtime_ns && disk.is_spoilt());
        assert_eq!(disk.content(record).unwrap(), b"record");
    }
}
