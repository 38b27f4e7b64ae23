//! A stretch of one file copied into another, holes and all. It knows disks, and nothing of
//! torrents.

use std::{io::ErrorKind, ops::Range, path::Path};

use super::disk::Disk;
use crate::base::storage::{StoreError, StoreOp};

/// Bytes copied at once.
const COPY_LEN: usize = 1 << 20;

/// Whether a range of one file is in another already: what the first has there, holes left out, the
/// second has at `at`.
pub(super) fn is_copied(
    disk: &dyn Disk,
    from: &Path,
    range: Range<u64>,
    to: &Path,
    at: u64,
) -> Result<bool, StoreError> {
    let failed = |path| move |e| StoreError::new(StoreOp::Read, path, e);
    let whole = (COPY_LEN as u64).min(range.end - range.start) as usize;
    let (mut here, mut there) = (vec![0; whole], vec![0; whole]);
    let mut next = range.start;
    while next < range.end {
        let len = (range.end - next).min(whole as u64);
        if disk.is_hole(from, next, len) {
            next += len;
            continue;
        }
        let part = here.get_mut(..len as usize).unwrap_or_default();
        let read = disk.read_at(from, next, part).map_err(failed(from))?;
        if read == 0 {
            break;
        }
        let mut done = 0;
        while done < read {
            let rest = there.get_mut(done..read).unwrap_or_default();
            let offset = at + (next - range.start) + done as u64;
            match disk.read_at(to, offset, rest).map_err(failed(to))? {
                0 => return Ok(false),
                more => done += more,
            }
        }
        if here.get(..read) != there.get(..read) {
            return Ok(false);
        }
        next += read as u64;
    }
    Ok(true)
}

/// Copies a range of one file into another, which exists. Holes, and what is beyond the end, stay
/// holes.
pub(super) fn copy(
    disk: &dyn Disk,
    from: &Path,
    range: Range<u64>,
    to: &Path,
    mut at: u64,
) -> Result<(), StoreError> {
    let mut buf = vec![0; (COPY_LEN as u64).min(range.end - range.start) as usize];
    let mut next = range.start;
    while next < range.end {
        let len = (range.end - next).min(buf.len() as u64);
        if disk.is_hole(from, next, len) {
            (next, at) = (next + len, at + len);
            continue;
        }
        let part = buf.get_mut(..len as usize).unwrap_or_default();
        let read =
            disk.read_at(from, next, part).map_err(|e| StoreError::new(StoreOp::Read, from, e))?;
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
