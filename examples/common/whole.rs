//! Files that are written whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process,
    time::SystemTime,
};

/// Puts a file with these bytes in the place of the one that has the name, if there is one: whole,
/// or that one stays as it is.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // No name that the user, or another program at the same time, could have for a file. The
    // process id is always the same in a container, hence the time. The length does not grow with
    // that of the name.
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = format!(".cratetorrent-{}-{}.new", process::id(), nanos.as_nanos());
    let fresh = path.with_file_name(name);
    fill(&fresh, File::create_new(&fresh), bytes)?;
    fs::rename(&fresh, path).inspect_err(|_| _ = fs::remove_file(&fresh))
}

/// Writes a file that is not there yet: whole, or there is none.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fill(path, File::create_new(path), bytes)
}

fn fill(path: &Path, file: io::Result<File>, bytes: &[u8]) -> io::Result<()> {
    let mut file = file?;
    let filled = file.write_all(bytes).and_then(|()| file.sync_all());
    filled.inspect_err(|_| _ = fs::remove_file(path))
}

/// Writes these bytes to a device or pipe, which nothing replaces and which cannot be synced.
pub fn feed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(bytes)
}

/// Writes these bytes to a file that keeps its place. If that fails, what was there is lost.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
