//! A stretch of one file copied into another, holes and all. It knows disks, and nothing of torrents.

use std::{io::ErrorKind, ops::Range, path::Path};

use super::disk::Disk;
use crate::base::job::{StoreError, StoreOp};

/// Bytes copied at once.
const COPY_LEN: usize = 1 << 20;

/// Copies a range of one file into another, which exists. Holes, and what is beyond the end, stay holes.
pub(super) fn copy(disk: &dyn Disk, from: &Path, range: Range<u64>, to: &Path, mut at: u64) -> Result<(), StoreError> {
    let mut buf = vec![0; (COPY_LEN as u64).min(range.end - range.start) as usize];
    let mut next = range.start;
    while next < range.end {
        let len = (range.end - next).min(buf.len() as u64);
        if disk.is_hole(from, next, len) {
            (next, at) = (next + len, at + len);
            continue;
        }
        let part = buf.get_mut(..len as usize).unwrap_or_default();
        let read = disk.read_at(from, next, part).map_err(|e| StoreError::new(StoreOp::Read, from, e))?;
        if read == 0 {
            break;
        }
        let mut rest = part.get(..read).unwrap_or_default();
        next += read as u64;
        while !rest.is_empty() {
            let written = match disk.write_at(to, at, rest) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                other => other,
            };
            let written = written.map_err(|e| StoreError::new(StoreOp::Write, to, e))?;
            at += written as u64;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
    Ok(())
}
