//! Calls to the disk in memory: each is counted, and fails if it is to. It knows calls and errors,
//! not what they are made for.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use super::{DiskCall, MemDisk, State};

impl MemDisk {
    /// How often a kind of call was made so far.
    pub fn calls(&self, call: DiskCall) -> u64 {
        self.state().counts.get(&call).copied().unwrap_or(0)
    }

    /// Makes a call, unless it is to fail.
    pub(super) fn call<T>(
        &self,
        call: DiskCall,
        path: &Path,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state();
        *state.counts.entry(call).or_default() += 1;
        match state.take_fault(call, path) {
            None => act(&mut state),
            Some((error, done)) => {
                if done {
                    act(&mut state)?;
                }
                Err(error.into())
            }
        }
    }
}

impl State {
    /// What is wrong with this call: the error, and whether it does its work all the same. The
    /// first fault that is due counts; for the others the call counts as one that went by.
    fn take_fault(&mut self, call: DiskCall, path: &Path) -> Option<(ErrorKind, bool)> {
        let mut found = None;
        for fault in self.troubles.calls.iter_mut().filter(|fault| fault.is_about(call, path)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if found.is_none() {
                found = Some((fault.error, fault.done));
                if fault.times != u64::MAX {
                    fault.times = fault.times.saturating_sub(1);
                }
            }
        }
        if found.is_some() {
            self.troubles.calls.retain(|fault| fault.times > 0);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::storage::Allocation,
        sim::{CallFault, Troubles},
        store::Disk,
    };

    fn answers(disk: &MemDisk, times: usize) -> Vec<Option<ErrorKind>> {
        let write = |_| disk.write_at(Path::new("/d/f"), 0, b"x").err().map(|e| e.kind());
        (0..times).map(write).collect()
    }

    #[test]
    fn call_fails_at_its_turn_as_often_as_asked() {
        let disk = MemDisk::new(1);
        disk.create(Path::new("/d/f"), 0, Allocation::Sparse).unwrap();
        let fault = |error| CallFault::new(DiskCall::Write, error);
        disk.set(|t| {
            t.calls.push(fault(ErrorKind::NotFound).after(1).times(2));
            t.calls.push(fault(ErrorKind::TimedOut).after(4).on("d/f"));
            t.calls.push(fault(ErrorKind::Other).on("d/g"));
        });
        assert!(!disk.is_well());
        let (not_found, timed_out) = (Some(ErrorKind::NotFound), Some(ErrorKind::TimedOut));
        assert_eq!(answers(&disk, 6), [None, not_found, not_found, None, timed_out, None]);
        assert_eq!(disk.calls(DiskCall::Write), 6);
        disk.set(|t| *t = Troubles::default());
        assert!(disk.is_well());
    }

    #[test]
    fn failed_call_has_done_its_work_or_nothing() {
        for done in [false, true] {
            let disk = MemDisk::new(1);
            disk.put(Path::new("/d/f"), b"bytes");
            for call in [DiskCall::Rename, DiskCall::Remove] {
                disk.set(|t| t.calls.push(CallFault::new(call, ErrorKind::Other).done(done)));
            }
            disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap_err();
            assert_eq!((disk.has(Path::new("/d/f")), disk.has(Path::new("/d/g"))), (!done, done));
            let there = if done { "g" } else { "f" };
            disk.remove(Path::new("/d"), Path::new(there)).unwrap_err();
            assert_eq!(disk.has(&Path::new("/d").join(there)), !done);
        }
    }

    #[test]
    fn question_answered_with_not_found_means_nothing_there() {
        let disk = MemDisk::new(1);
        disk.put(Path::new("/d/f"), b"bytes");
        for call in [DiskCall::Stat, DiskCall::Load, DiskCall::Remove] {
            disk.set(|t| t.calls.push(CallFault::new(call, ErrorKind::NotFound)));
        }
        assert!(disk.stat(Path::new("/d/f")).unwrap().is_none());
        assert!(disk.load(Path::new("/d/f"), 9).unwrap().is_none());
        assert!(!disk.remove(Path::new("/d"), Path::new("f")).unwrap());
        assert!(disk.has(Path::new("/d/f")));
    }

    #[test]
    fn any_number_names_a_call_and_an_error() {
        assert_eq!(CallFault::numbered(0, 0), CallFault::new(DiskCall::Read, ErrorKind::NotFound));
        let last = CallFault::new(DiskCall::RefuseLinks, ErrorKind::Other);
        assert_eq!(CallFault::numbered(13, 15), last);
        assert_eq!(CallFault::numbered(27, u64::MAX), last);
    }
}
