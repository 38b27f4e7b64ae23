//! A session log without a header that can be read. Its records cannot be told from noise, since
//! their checksums are keyed by the header, but a person may still find torrents in it: so it is
//! kept beside the new log. It knows names, not records.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::super::disk::Disk;
use crate::wire::session::{self, HEADER_LEN, LogError, Salt};

/// Names that are tried for logs that are kept aside.
const MAX_ASIDE: u32 = 100;

/// The salt of a log that begins with `bytes`.
pub(super) fn read_header(bytes: &[u8]) -> Result<Salt, LogError> {
    // One copy of the header is enough against damage. What is cut short within it has lost all
    // that came behind.
    if bytes.len() < HEADER_LEN { Err(LogError::Header) } else { session::read_header(bytes) }
}

/// Gives the file at `path` another name, under which nothing is yet. Afterwards `path` is free or
/// may be replaced.
pub(super) fn set_aside(disk: &dyn Disk, path: &Path) -> io::Result<PathBuf> {
    for nth in 1..=MAX_ASIDE {
        let aside = path.with_added_extension(format!("damaged-{nth}"));
        if disk.stat(&aside)?.is_some() {
            continue;
        }
        // With two names there is no moment at which a crash leaves none. Not every file system can
        // do that.
        return disk.link(path, &aside).or_else(|_| disk.rename(path, &aside)).map(|()| aside);
    }
    Err(io::Error::new(
        ErrorKind::AlreadyExists,
        "a damaged log that cannot be kept aside: there are too many already",
    ))
}
