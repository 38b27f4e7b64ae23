//! Files that are written whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Puts a file with these bytes in the place of the one that has the name, if there is one: whole,
/// or that one stays as it is.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_added_extension("new");
    fill(&fresh, File::create(&fresh), bytes)?;
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

/// Writes these bytes to a file that keeps its place. If that fails, what was there is lost.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
