//! What the real disk asks of a Unix system: reads and writes by position, holes, hints, and paths
//! that follow no link.

use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};

use std::os::fd::OwnedFd;

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat, unlinkat},
    io::Errno,
};

use super::*;

pub(super) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buf, offset)
}

pub(super) fn write_at(file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(data, offset)
}

#[cfg(target_os = "linux")]
pub(super) fn read_vectored_at(
    file: &File,
    bufs: &mut [IoSliceMut<'_>],
    offset: u64,
) -> io::Result<usize> {
    Ok(rustix::io::preadv(file, bufs, offset)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_vectored_at(
    file: &File,
    bufs: &mut [IoSliceMut<'_>],
    offset: u64,
) -> io::Result<usize> {
    bufs.iter_mut().find(|buf| !buf.is_empty()).map_or(Ok(0), |buf| file.read_at(buf, offset))
}

#[cfg(target_os = "linux")]
pub(super) fn try_read_vectored_at(
    file: &File,
    in_memory: bool,
    bufs: &mut [IoSliceMut<'_>],
    offset: u64,
) -> io::Result<Option<usize>> {
    use rustix::io::{ReadWriteFlags, preadv2};
    // tmpfs does not know the flag, and does not need it.
    let flags = if in_memory { ReadWriteFlags::empty() } else { ReadWriteFlags::NOWAIT };
    match preadv2(file, bufs, offset, flags) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn try_read_vectored_at(
    _: &File,
    _: bool,
    _: &mut [IoSliceMut<'_>],
    _: u64,
) -> io::Result<Option<usize>> {
    Ok(None)
}

/// What the system has at hand of a file: a network file system is not asked.
#[cfg(target_os = "linux")]
pub(super) fn stat_open(file: &File) -> io::Result<Option<FileStat>> {
    use rustix::fs::{StatxFlags, statx};
    let wanted = StatxFlags::TYPE | StatxFlags::SIZE | StatxFlags::MTIME;
    let stat = match statx(file, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted) {
        Err(Errno::NOSYS | Errno::PERM) => return Ok(None),
        other => other?,
    };
    let is = |kind| FileType::from_raw_mode(stat.stx_mode.into()) == kind;
    let mtime_ns = stat
        .stx_mtime
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(stat.stx_mtime.tv_nsec.into());
    let (is_file, is_dir) = (is(FileType::RegularFile), is(FileType::Directory));
    Ok(Some(FileStat { len: stat.stx_size, mtime_ns, is_file, is_dir }))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn stat_open(_: &File) -> io::Result<Option<FileStat>> {
    Ok(None)
}

/// Whether `path` leads to another file than this one, or to none.
pub(super) fn is_elsewhere(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) != (own.dev(), own.ino())),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(true),
        Err(e) => Err(e),
    }
}

#[cfg(target_os = "linux")]
pub(super) fn is_in_memory(file: &File) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::fstatfs(file).is_ok_and(|fs| [TMPFS, RAMFS].contains(&(fs.f_type as u64)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_in_memory(_: &File) -> bool {
    false
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn will_need(file: &File, offset: u64, len: u64) {
    // Only a hint: it does not matter whether it is heard.
    let _ = rustix::fs::fadvise(
        file,
        offset,
        std::num::NonZeroU64::new(len),
        rustix::fs::Advice::WillNeed,
    );
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn will_need(_: &File, _: u64, _: u64) {}

/// Opening must not wait for the other end of a pipe that another program left in the folder.
pub(super) fn not_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(OFlags::NONBLOCK.bits() as i32)
}

/// As [`not_waiting`], and what is to be written must not be a link.
pub(super) fn careful(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32)
}

pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::FallocateFlags;
        match uninterrupted(|| {
            Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len.max(1))?)
        }) {
            Err(e)
                if [Errno::OPNOTSUPP, Errno::NOSYS]
                    .map(|e| Some(e.raw_os_error()))
                    .contains(&e.raw_os_error()) => {}
            other => return other,
        }
    }
    if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn is_hole(file: &File, offset: u64, len: u64) -> bool {
    use rustix::fs::SeekFrom;
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(data) => data >= offset.saturating_add(len),
        Err(e) => e == Errno::NXIO,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn is_hole(_: &File, _: u64, _: u64) -> bool {
    false
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Renames to a name that is free.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            other => return Ok(other?),
        }
    }
    super::rename_if_free(from, to)
}

/// The folder that `root/below` lies in, reached without following a link below `root`, and its
/// name there; `None` if it is not there.
fn open_parent<'a>(root: &Path, below: &'a Path) -> io::Result<Option<(OwnedFd, &'a OsStr)>> {
    let mut parts = super::names(below)?;
    let Some(name) = parts.pop() else { return Err(ErrorKind::InvalidInput.into()) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = match openat(CWD, root, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    for part in parts {
        folder = match openat(&folder, part, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let what = format!("{} is a symbolic link or no folder", part.display());
                return Err(io::Error::new(ErrorKind::PermissionDenied, what));
            }
            other => other?,
        };
    }
    Ok(Some((folder, name)))
}

pub(super) fn remove(root: &Path, below: &Path) -> io::Result<bool> {
    let Some((folder, name)) = open_parent(root, below)? else { return Ok(false) };
    match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        Err(e) => return Err(e.into()),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
            return Err(super::no_regular_file());
        }
        Ok(_) => {}
    }
    // What may have taken its place meanwhile is a name at most: a link is deleted as such, and a
    // folder is refused.
    unlinkat(&folder, name, AtFlags::empty())?;
    Ok(true)
}

pub(super) fn remove_dir(root: &Path, below: &Path) -> io::Result<bool> {
    let Ok(Some((folder, name))) = open_parent(root, below) else { return Ok(false) };
    match unlinkat(&folder, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
