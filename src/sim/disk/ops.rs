//! What each call does to the disk in memory, as far as its troubles let it.
//! Which calls answer with an error of their own is decided before, in calls.rs.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use super::{
    PAGE,
    state::{Content, EPOCH_NS, File, State, pages},
};
use crate::{base::storage::Allocation, store::FileStat};

impl State {
    pub(super) fn read_at(
        &mut self,
        path: &Path,
        offset: u64,
        buf: &mut [u8],
    ) -> io::Result<usize> {
        self.hold(path);
        let State { files, nameless, troubles, rng, spoilt, .. } = self;
        if troubles.fail_reads || troubles.is_bad(path, offset, buf.len() as u64) {
            return Err(io::Error::other("the disk cannot be read"));
        }
        let file = nameless.get(path).or_else(|| files.get(path)).ok_or(ErrorKind::NotFound)?;
        let there = file.now.bytes.get(offset as usize..).unwrap_or_default();
        let mut len = there.len().min(buf.len());
        if troubles.short && len > 1 {
            len = 1 + rng.below(len as u64) as usize;
        }
        if let (Some(to), Some(from)) = (buf.get_mut(..len), there.get(..len)) {
            to.copy_from_slice(from);
        }
        if troubles.corrupt_reads > 0 && len > 0 {
            troubles.corrupt_reads -= 1;
            *spoilt = true;
            if let Some(byte) = buf.get_mut(rng.below(len as u64) as usize) {
                *byte ^= 0x55;
            }
        }
        Ok(len)
    }

    pub(super) fn write_at(&mut self, path: &Path, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        self.touch(path);
        self.hold(path);
        self.writable()?;
        if self.troubles.fail_writes {
            return Err(io::Error::other("the disk cannot be written"));
        }
        let offset = self.aim(path, offset, data.len() as u64);
        let room = self.room();
        let State { files, nameless, troubles, rng, now_ns, .. } = self;
        let mut len = data.len() as u64;
        if let Some(left) = &mut troubles.writes_left {
            if *left == 0 {
                return Err(io::Error::other("killed"));
            }
            len = len.min(*left);
        }
        if troubles.short && len > 1 {
            len = 1 + rng.below(len);
        }
        let file = match nameless.get_mut(path) {
            Some(file) => file,
            None => files.get_mut(path).ok_or(ErrorKind::NotFound)?,
        };
        // As far as space goes: a page at a time.
        let mut fits = 0;
        let mut free = room / PAGE;
        for page in pages(offset, len) {
            if !file.now.pages.contains(&page) {
                if free == 0 {
                    break;
                }
                free -= 1;
                file.now.pages.insert(page);
            }
            file.dropped.remove(&page);
            fits = ((page + 1) * PAGE).min(offset + len) - offset;
        }
        if fits == 0 {
            return Err(troubles.no_room());
        }
        if let Some(left) = &mut troubles.writes_left {
            *left -= fits;
        }
        let (start, end) = (offset as usize, (offset + fits) as usize);
        let mut before = None;
        if file.would_lose(start, data.get(..fits as usize).unwrap_or_default()) {
            before = Some(file.clone());
        }
        if file.now.bytes.len() < end {
            file.now.bytes.resize(end, 0);
        }
        if let (Some(to), Some(from)) =
            (file.now.bytes.get_mut(start..end), data.get(..fits as usize))
        {
            to.copy_from_slice(from);
        }
        file.now.mtime_ns = *now_ns;
        self.graves.files.extend(before.map(|file| (path.to_owned(), file)));
        self.mirror(path);
        Ok(fits as usize)
    }

    pub(super) fn create(
        &mut self,
        path: &Path,
        len: u64,
        allocation: Allocation,
    ) -> io::Result<()> {
        self.touch(path);
        self.writable()?;
        self.make_dirs(path);
        let room = self.room();
        let now_ns = self.now_ns;
        let file = self.files.entry(path.to_owned()).or_insert_with(|| File {
            now: Content { mtime_ns: now_ns, ..Content::default() },
            ..File::default()
        });
        if allocation == Allocation::Full {
            let wanted = pages(0, len).filter(|p| !file.now.pages.contains(p)).count() as u64;
            if wanted * PAGE > room {
                return Err(self.troubles.no_room());
            }
            file.now.pages.extend(pages(0, len));
            if (file.now.bytes.len() as u64) < len {
                file.now.bytes.resize(len as usize, 0);
            }
        }
        self.hold(path);
        Ok(())
    }

    pub(super) fn set_len(&mut self, path: &Path, len: u64) -> io::Result<()> {
        self.touch(path);
        self.writable()?;
        if self.troubles.fail_writes || self.troubles.writes_left == Some(0) {
            return Err(io::Error::other("the disk cannot be written"));
        }
        let now_ns = self.now_ns;
        let file = self.opened(path).ok_or(ErrorKind::NotFound)?;
        if len < file.now.bytes.len() as u64 {
            let before = file.clone();
            self.graves.remove(path, Some(before));
        }
        let file = self.opened(path).ok_or(ErrorKind::NotFound)?;
        file.now.bytes.resize(len as usize, 0);
        file.now.pages.retain(|page| page * PAGE < len);
        file.dropped.retain(|page| page * PAGE < len);
        file.now.mtime_ns = now_ns;
        self.mirror(path);
        Ok(())
    }

    pub(super) fn stat(&mut self, path: &Path) -> io::Result<Option<FileStat>> {
        if let Some(file) = self.files.get(path) {
            let Content { bytes, mtime_ns, .. } = &file.now;
            return Ok(Some(FileStat {
                len: bytes.len() as u64,
                mtime_ns: *mtime_ns,
                is_file: true,
                is_dir: false,
            }));
        }
        let dir = FileStat { len: 0, mtime_ns: EPOCH_NS, is_file: false, is_dir: true };
        Ok(self.dirs.contains(path).then_some(dir))
    }

    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        let Self { files, nameless, rng, troubles, lied, .. } = self;
        let file = match nameless.get_mut(path) {
            Some(file) => file,
            None => files.get_mut(path).ok_or(ErrorKind::NotFound)?,
        };
        if troubles.fail_syncs {
            file.fail_sync(rng);
            self.mirror(path);
            return Err(io::Error::other("the disk cannot be synced"));
        }
        *lied |= troubles.lying_syncs;
        if !troubles.lying_syncs {
            file.sync();
            self.mirror(path);
        }
        Ok(())
    }

    pub(super) fn load(&mut self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.files.get(path) {
            Some(file) if file.now.bytes.len() as u64 > limit => {
                Err(ErrorKind::FileTooLarge.into())
            }
            found => Ok(found.map(|f| f.now.bytes.clone())),
        }
    }

    pub(super) fn save(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.touch(path);
        self.writable()?;
        if self.troubles.fail_saves || self.troubles.writes_left == Some(0) {
            return Err(io::Error::other("the disk cannot be written"));
        }
        if pages(0, bytes.len() as u64).count() as u64 * PAGE > self.room() {
            return Err(self.troubles.no_room());
        }
        self.make_dirs(path);
        let content = Content {
            bytes: bytes.to_vec(),
            pages: pages(0, bytes.len() as u64).collect(),
            mtime_ns: self.now_ns,
        };
        let before = self.files.get(path).and_then(|file| file.synced.clone());
        let replaced = self.files.get(path).filter(|file| !file.saved).cloned();
        self.graves.remove(path, replaced);
        self.let_go(path);
        self.lied |= self.troubles.lying_syncs;
        let synced = if self.troubles.lying_syncs { before } else { Some(content.clone()) };
        self.files
            .insert(path.to_owned(), File { now: content, synced, saved: true, ..File::default() });
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if self.troubles.no_links {
            return Err(ErrorKind::CrossesDevices.into());
        }
        self.change_folder(from, Some(to))?;
        let file = self.files.get_mut(from).ok_or(ErrorKind::NotFound)?;
        if file.linked.is_none() {
            self.links += 1;
            file.linked = Some(self.links);
        }
        let file = file.clone();
        self.make_dirs(to);
        self.files.insert(to.to_owned(), file);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if self.troubles.no_links {
            return Err(ErrorKind::CrossesDevices.into());
        }
        self.change_folder(from, Some(to))?;
        self.let_go(from);
        let file = self.files.remove(from).ok_or(ErrorKind::NotFound)?;
        self.make_dirs(to);
        self.files.insert(to.to_owned(), file);
        Ok(())
    }

    pub(super) fn remove(&mut self, root: &Path, below: &Path) -> io::Result<bool> {
        let path = root.join(below);
        self.change_folder(&path, None)?;
        if self.dirs.contains(&path) && !self.files.contains_key(&path) {
            return Err(ErrorKind::Unsupported.into());
        }
        self.let_go(&path);
        let removed = self.files.remove(&path);
        let is_there = removed.is_some();
        self.graves.remove(&path, removed);
        Ok(is_there)
    }

    pub(super) fn remove_dir(&mut self, root: &Path, below: &Path) -> io::Result<bool> {
        let path = root.join(below);
        self.change_folder(&path, None)?;
        let full = self
            .files
            .keys()
            .chain(&self.dirs)
            .any(|other| *other != path && other.starts_with(&path));
        Ok(!full && self.dirs.remove(&path))
    }

    pub(super) fn is_hole(&mut self, path: &Path, offset: u64, len: u64) -> bool {
        let Some(file) = self.files.get(path) else { return false };
        // As a real disk: beyond the end is no hole, and a page that has anything in it is none
        // either.
        offset + len <= file.now.bytes.len() as u64
            && pages(offset, len).all(|page| !file.now.pages.contains(&page))
    }
}
