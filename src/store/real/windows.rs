//! What the real disk asks of Windows.

use std::os::windows::fs::FileExt as _;

use super::*;

pub(super) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buf, offset)
}

pub(super) fn write_at(file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(data, offset)
}

pub(super) fn read_vectored_at(
    file: &File,
    bufs: &mut [IoSliceMut<'_>],
    offset: u64,
) -> io::Result<usize> {
    bufs.iter_mut().find(|buf| !buf.is_empty()).map_or(Ok(0), |buf| file.seek_read(buf, offset))
}

pub(super) fn try_read_vectored_at(
    _: &File,
    _: bool,
    _: &mut [IoSliceMut<'_>],
    _: u64,
) -> io::Result<Option<usize>> {
    Ok(None)
}

pub(super) fn is_in_memory(_: &File) -> bool {
    false
}

pub(super) fn will_need(_: &File, _: u64, _: u64) {}

pub(super) fn not_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

pub(super) fn careful(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
}

pub(super) fn is_hole(_: &File, _: u64, _: u64) -> bool {
    false
}

pub(super) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    super::rename_if_free(from, to)
}

/// Refuses a link on the way from `root` to the folder that `below` lies in.
fn refuse_links(root: &Path, below: &Path) -> io::Result<()> {
    let mut parts = super::names(below)?;
    parts.pop();
    let mut at = root.to_owned();
    for part in parts {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|meta| meta.file_type().is_symlink()) {
            return Err(io::Error::new(
                ErrorKind::PermissionDenied,
                format!("{} is a symbolic link", at.display()),
            ));
        }
    }
    Ok(())
}

pub(super) fn remove(root: &Path, below: &Path) -> io::Result<bool> {
    refuse_links(root, below)?;
    let path = root.join(below);
    match fs::symlink_metadata(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
        Ok(meta) if !meta.is_file() => Err(super::no_regular_file()),
        Ok(_) => fs::remove_file(&path).map(|()| true),
    }
}

pub(super) fn remove_dir(root: &Path, below: &Path) -> io::Result<bool> {
    if refuse_links(root, below).is_err()
        || !fs::symlink_metadata(root.join(below)).is_ok_and(|meta| meta.is_dir())
    {
        return Ok(false);
    }
    Ok(fs::remove_dir(root.join(below)).is_ok())
}

/// The standard library does not tell files apart there, only whether one is there.
pub(super) fn is_elsewhere(_: &File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(_) => Ok(false),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e),
    }
}

pub(super) fn stat_open(_: &File) -> io::Result<Option<FileStat>> {
    Ok(None)
}
