//! What a disk does to data behind everybody's back, and what is remembered of that.

use std::path::{Path, PathBuf};

use super::{Graves, MemDisk, PAGE, State, Troubles};

impl MemDisk {
    /// Bits rot at rest: `times` random bytes in files below `dir` change. A restart does not help,
    /// and no date tells.
    pub fn rot(&self, dir: &Path, times: u32) {
        let mut state = self.state();
        let there = state
            .files
            .iter()
            .filter(|(path, file)| path.starts_with(dir) && !file.now.bytes.is_empty());
        let there: Vec<PathBuf> = there.map(|(path, _)| path.clone()).collect();
        for _ in 0..times {
            let State { files, rng, spoilt, .. } = &mut *state;
            let hit = there
                .len()
                .checked_sub(1)
                .and_then(|last| there.get(rng.below(last as u64 + 1) as usize));
            let Some((path, file)) = hit.and_then(|path| Some((path, files.get_mut(path)?))) else {
                return;
            };
            let (at, bit) = (rng.below(file.now.bytes.len() as u64) as usize, 1 << rng.below(8));
            for content in [Some(&mut file.now), file.synced.as_mut()].into_iter().flatten() {
                if let Some(byte) = content.bytes.get_mut(at) {
                    *byte ^= bit;
                }
            }
            *spoilt = true;
            state.mirror(path);
        }
    }

    /// The clock that files are dated by goes forward or, below zero, back by so many seconds, from
    /// now on.
    pub fn shift_clock(&self, secs: i64) {
        let mut state = self.state();
        state.shift_ns = state.shift_ns.saturating_add(secs.saturating_mul(1_000_000_000));
    }

    /// Whether what it holds or has read may be wrong although it was written right: it rots,
    /// misdirects or lies, or another program has changed files that were there.
    pub fn is_spoilt(&self) -> bool {
        self.state().spoilt
    }

    /// Data that a torrent still claims is gone from it, and not by a fault.
    pub(in crate::sim) fn note_gone(&self) {
        self.state().spoilt = true;
    }

    /// Whether it has said of something that it was safe, and it may not be.
    pub(in crate::sim) fn has_lied(&self) -> bool {
        self.state().lied
    }

    /// What was wrong with what it holds has been put right: from now on that is to be true again.
    pub(crate) fn absolve(&self) {
        let mut state = self.state();
        (state.spoilt, state.graves.recount) = (false, true);
    }

    /// Whether nothing is the matter with it now.
    pub(crate) fn is_well(&self) -> bool {
        let state = self.state();
        let troubles = &state.troubles;
        let Troubles {
            capacity, read_only, fail_reads, fail_writes, fail_syncs, fail_saves, ..
        } = troubles;
        let failing = *read_only || *fail_reads || *fail_writes || *fail_syncs || *fail_saves;
        !failing
            && troubles.calls.is_empty()
            && state.away.is_empty()
            && capacity.is_none()
            && troubles.writes_left.is_none()
            && troubles.bad_stretches.is_empty()
    }

    /// Files that were deleted, cut or overwritten since this was asked last, as they were before.
    pub(in crate::sim) fn take_graves(&self) -> Graves {
        std::mem::take(&mut self.state().graves)
    }

    /// Whether `is_it` holds of a file: its path and content, or what a power cut would leave of
    /// it.
    pub(in crate::sim) fn any_file(
        &self,
        synced: bool,
        is_it: impl Fn(&Path, &[u8]) -> bool,
    ) -> bool {
        let state = self.state();
        let away = state.away.iter().flat_map(|away| &away.files);
        state.files.iter().chain(away).any(|(path, file)| {
            let content = if synced { file.synced.as_ref() } else { Some(&file.now) };
            content.is_some_and(|content| is_it(path, &content.bytes))
        })
    }

    /// Paths that were to be made, written or replaced since this was asked last.
    pub(crate) fn take_touched(&self) -> Vec<PathBuf> {
        let mut state = self.state();
        std::mem::take(&mut state.touched).into_iter().collect()
    }
}

impl State {
    /// Something is to be done to `path` that changes it.
    pub(super) fn touch(&mut self, path: &Path) {
        if !self.touched.contains(path) {
            self.touched.insert(path.to_owned());
        }
    }

    /// Where a write really goes.
    pub(super) fn aim(&mut self, path: &Path, offset: u64, len: u64) -> u64 {
        let end = self.files.get(path).map_or(0, |file| file.now.bytes.len() as u64);
        if self.troubles.misdirected_writes == 0 || end < len {
            return offset;
        }
        self.troubles.misdirected_writes -= 1;
        self.spoilt = true;
        self.rng.below((end - len) / PAGE + 1) * PAGE
    }
}

impl Troubles {
    /// Whether a stretch cannot be read.
    pub(super) fn is_bad(&self, path: &Path, offset: u64, len: u64) -> bool {
        let hit = |(part, from, to): &(String, u64, u64)| {
            path.to_string_lossy().contains(part.as_str())
                && offset < *to
                && *from < offset.saturating_add(len)
        };
        self.bad_stretches.iter().any(hit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{storage::Allocation, time::Instant},
        store::Disk,
    };

    fn disk() -> (MemDisk, &'static Path) {
        let disk = MemDisk::new(1);
        let path = Path::new("/d/f");
        disk.create(path, 0, Allocation::Sparse).unwrap();
        disk.write_at(path, 0, &[7; 50_000]).unwrap();
        (disk, path)
    }

    #[test]
    fn rotten_bytes_change_without_a_new_time() {
        let (disk, path) = disk();
        disk.sync(path).unwrap();
        let before = disk.stat(path).unwrap();
        assert!(!disk.is_spoilt());
        disk.rot(Path::new("/elsewhere"), 5);
        assert!(!disk.is_spoilt());
        disk.rot(Path::new("/d"), 5);
        let wrong = disk.content(path).unwrap().iter().filter(|&&b| b != 7).count();
        assert!((1..=5).contains(&wrong) && disk.is_spoilt());
        assert_eq!(disk.stat(path).unwrap(), before);
        disk.lose_power();
        assert_eq!(disk.content(path).unwrap().iter().filter(|&&b| b != 7).count(), wrong);
    }

    #[test]
    fn a_lying_sync_is_found_out_when_the_power_goes() {
        let lost = (0..20).filter(|&seed| {
            let disk = MemDisk::new(seed);
            let path = Path::new("/d/f");
            disk.set(|t| t.lying_syncs = true);
            disk.create(path, 0, Allocation::Sparse).unwrap();
            disk.write_at(path, 0, &[7; 50_000]).unwrap();
            disk.sync(path).unwrap();
            disk.save(Path::new("/d/state"), b"all is well").unwrap();
            disk.lose_power();
            !disk.holds(path, 0, &[7; 50_000])
        });
        assert!(lost.count() > 5);
    }

    #[test]
    fn a_misdirected_write_lands_elsewhere_and_says_nothing() {
        let (disk, path) = disk();
        disk.set(|t| t.misdirected_writes = 1);
        assert_eq!(disk.write_at(path, 45_056, &[9; 100]).unwrap(), 100);
        let content = disk.content(path).unwrap();
        let at = content.iter().position(|&b| b == 9).unwrap();
        assert!(at != 45_056 && at % 4096 == 0 && disk.is_spoilt());
        assert_eq!(disk.write_at(path, 0, &[9; 1]).unwrap(), 1);
        assert!(disk.holds(path, 0, &[9]));
    }

    #[test]
    fn bad_stretches_cannot_be_read_and_the_rest_can() {
        let (disk, path) = disk();
        disk.set(|t| t.bad_stretches.push(("d/f".into(), 1000, 2000)));
        let mut buf = [0; 500];
        for (offset, fine) in
            [(0, true), (499, true), (501, false), (1500, false), (1999, false), (2000, true)]
        {
            assert_eq!(disk.read_at(path, offset, &mut buf).is_ok(), fine, "{offset}");
        }
        assert!(!disk.is_well() && !disk.is_spoilt());
    }

    #[test]
    fn files_can_be_dated_in_the_past() {
        let (disk, path) = disk();
        let before = disk.stat(path).unwrap().unwrap().mtime_ns;
        disk.shift_clock(-3600);
        disk.set_now(Instant::from_micros(5));
        disk.write_at(path, 0, &[1]).unwrap();
        assert!(disk.stat(path).unwrap().unwrap().mtime_ns < before);
    }

    #[test]
    fn touched_paths_are_told_once() {
        let (disk, path) = disk();
        let _ = disk.write_at(Path::new("/d/g"), 0, &[1]);
        assert_eq!(disk.take_touched(), [path.to_owned(), PathBuf::from("/d/g")]);
        assert!(disk.take_touched().is_empty());
    }
}
