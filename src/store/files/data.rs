//! Bytes of the torrent to and from its files: one call for what lies side by side, and files made
//! when first written. Where bytes are that have no file, it asks.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    ops::Range,
};

use super::super::layout::{LayoutFile, Segment};
use super::{BORROWED, HELD, READY, SKIPPED, STRANGE, TorrentFiles, UNSYNCED, has_gone};
use crate::base::{
    storage::Reading,
    storage::{Allocation, Changed, StoreError, StoreOp},
};

/// Buffers that one system call may fill. Linux takes 1024.
const MAX_BUFS: usize = 256;
/// Bytes that are read at once to be written again.
const AGAIN: usize = 1 << 20;

/// Consecutive bytes of one file, and where they go.
#[derive(Debug, Default)]
struct Stretch<'a> {
    file: usize,
    start: u64,
    end: u64,
    bufs: Vec<IoSliceMut<'a>>,
    /// The file that was seen to be as it was last known, in this call. A look costs an eighth of a
    /// read.
    unchanged: Option<usize>,
}

impl Stretch<'_> {
    fn goes_on_at(&self, segment: &Segment) -> bool {
        (self.file, self.end) == (segment.file, segment.offset)
            && (1..MAX_BUFS).contains(&self.bufs.len())
    }
}

impl TorrentFiles {
    /// Fills `buf` from `offset` of the torrent.
    pub(crate) fn read(
        &self,
        offset: u64,
        buf: &mut [u8],
        reading: Reading,
    ) -> Result<(), StoreError> {
        self.read_parts(std::iter::once((offset, buf)), reading).map(|_| ())
    }

    /// Fills each part from its offset of the torrent; what lies side by side in a file is read at
    /// once. False if that would have to wait and must not.
    pub(crate) fn read_parts<'a>(
        &self,
        parts: impl Iterator<Item = (u64, &'a mut [u8])>,
        reading: Reading,
    ) -> Result<bool, StoreError> {
        let mut stretch = Stretch::default();
        for (offset, mut rest) in parts {
            for (segment, file) in
                self.layout.segments(offset..offset.saturating_add(rest.len() as u64))
            {
                let (part, after) = std::mem::take(&mut rest).split_at_mut(segment.len as usize);
                rest = after;
                if !file.on_disk {
                    part.fill(0);
                    continue;
                }
                let Some((at, offset)) = self.spot(&segment) else {
                    return Err(StoreError::new(
                        StoreOp::Read,
                        &file.path,
                        ErrorKind::NotFound.into(),
                    ));
                };
                let segment = Segment { file: at, offset, len: segment.len };
                if !stretch.goes_on_at(&segment) {
                    if !self.read_stretch(&mut stretch, reading)? {
                        return Ok(false);
                    }
                    (stretch.file, stretch.start, stretch.end) =
                        (segment.file, segment.offset, segment.offset);
                }
                stretch.end += segment.len;
                stretch.bufs.push(IoSliceMut::new(part));
            }
            if !rest.is_empty() {
                return Err(StoreError::new(StoreOp::Read, self.layout.dir(), beyond_the_end()));
            }
        }
        self.read_stretch(&mut stretch, reading)
    }

    fn read_stretch(
        &self,
        stretch: &mut Stretch<'_>,
        reading: Reading,
    ) -> Result<bool, StoreError> {
        let Some(file) = self.file(stretch.file) else { return Ok(true) };
        let may_wait = reading != Reading::AtHand;
        let is_known = reading == Reading::Found || stretch.unchanged == Some(stretch.file);
        if stretch.start < stretch.end && !is_known {
            self.refuse_changed(stretch.file, file, may_wait)?;
            stretch.unchanged = Some(stretch.file);
        }
        let (mut at, mut bufs) = (stretch.start, stretch.bufs.as_mut_slice());
        while at < stretch.end {
            let read = if may_wait {
                self.disk.read_vectored_at(&file.path, at, bufs).map(Some)
            } else {
                self.disk.try_read_vectored_at(&file.path, at, bufs)
            };
            let read = match read {
                Ok(None) => return Ok(false),
                Ok(Some(0)) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(Some(read)) => Ok(read.min((stretch.end - at) as usize)),
                Err(e) => Err(e),
            };
            let read = read.map_err(|e| StoreError::new(StoreOp::Read, &file.path, e))?;
            at += read as u64;
            IoSliceMut::advance_slices(&mut bufs, read);
        }
        stretch.bufs.clear();
        Ok(true)
    }

    /// Begins to fetch `range`, which will be read.
    pub(crate) fn will_need(&self, range: Range<u64>) {
        for (segment, _) in self.layout.segments(range).filter(|(_, file)| file.on_disk) {
            if let Some((file, at)) = self.spot(&segment)
                && let Some(file) = self.file(file)
            {
                self.disk.will_need(&file.path, at, segment.len);
            }
        }
    }

    /// Writes `data` at `offset` of the torrent, one write a file where the system takes it whole.
    /// `good`: it is known to be what it should be.
    pub(crate) fn write(&self, offset: u64, data: &[u8], good: bool) -> Result<(), StoreError> {
        // One that cannot be made is told of when the state is saved, and keeps no other from being
        // written.
        let _ = self.make_empty_files();
        let mut rest = data;
        for (segment, file) in
            self.layout.segments(offset..offset.saturating_add(rest.len() as u64))
        {
            let (part, after) = rest.split_at(segment.len as usize);
            rest = after;
            if !file.on_disk {
                continue;
            }
            // A skipped file's own pieces are given up before it is parked.
            let homeless = || {
                StoreError::new(StoreOp::Write, &file.path, io::Error::other("the file is skipped"))
            };
            let (at, offset) = self.spot(&segment).ok_or_else(homeless)?;
            if let Some(file) = self.file(at) {
                self.write_file(at, file, offset, part, good)?;
            }
            if at != segment.file {
                self.mark(segment.file, HELD);
            }
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(StoreError::new(StoreOp::Write, self.layout.dir(), beyond_the_end()))
        }
    }

    fn write_file(
        &self,
        index: usize,
        file: &LayoutFile,
        mut at: u64,
        mut data: &[u8],
        good: bool,
    ) -> Result<(), StoreError> {
        if self.marks(index) & BORROWED != 0 {
            return self.leave_borrowed(index, file, at, data, good);
        }
        // While it is written, and until it is marked again, a difference is our own.
        let _writing = self.marks.begin_write(index);
        self.make(index, file)?;
        self.mark(index, UNSYNCED);
        let mut write_all = || {
            while !data.is_empty() {
                match self.disk.write_at(&file.path, at, data)? {
                    0 => return Err(ErrorKind::WriteZero.into()),
                    written => {
                        at += written as u64;
                        data = data.get(written..).unwrap_or_default();
                    }
                }
            }
            Ok(())
        };
        let written = write_all();
        // A sync that began meanwhile has taken the mark away, and may not have seen these bytes.
        self.mark(index, UNSYNCED);
        written.map_err(|e| StoreError::new(StoreOp::Write, &file.path, e))
    }

    /// Writes what a stretch of a file holds to the same place.
    pub(super) fn write_again(
        &self,
        index: usize,
        file: &LayoutFile,
        range: Range<u64>,
    ) -> Result<(), StoreError> {
        let mut buf = vec![0; (AGAIN as u64).min(range.end - range.start) as usize];
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(buf.len() as u64) as usize;
            let part = buf.get_mut(..len).unwrap_or_default();
            let read = self.disk.read_at(&file.path, at, part);
            match read.map_err(|e| StoreError::new(StoreOp::Read, &file.path, e))? {
                0 => break,
                read => {
                    self.write_file(index, file, at, part.get(..read).unwrap_or_default(), true)?;
                    at += read as u64;
                }
            }
        }
        Ok(())
    }

    /// Makes sure that the file exists, once.
    fn make(&self, index: usize, file: &LayoutFile) -> Result<(), StoreError> {
        if self.marks(index) & READY != 0 {
            return Ok(());
        }
        let _making = self.making.begin();
        if self.marks(index) & READY != 0 {
            return Ok(());
        }
        let failed = |op| move |e| StoreError::new(op, &file.path, e);
        // A file that was there and has gone took its pieces along. Made again it would read as
        // zeroes, which would be served as those pieces; so that is for the user to see,
        // and to recheck.
        let was_there = self.stats().get(index).is_some_and(|s| s.is_some_and(|s| s.len > 0));
        let is_ours = self.marks(index) & UNSYNCED != 0;
        match self.disk.stat(&file.path).map_err(failed(StoreOp::Write))? {
            None if was_there => return Err(failed(StoreOp::Write)(has_gone())),
            // One that has appeared since, as a drive does that is mounted late, may be whole: it
            // is looked at before anything is written over it.
            Some(found) if !was_there && !is_ours && found.is_file && found.len > 0 => {
                self.mark(index, STRANGE);
                return Err(failed(StoreOp::Write)(Changed::error()));
            }
            _ => {}
        }
        self.refuse_if_gone(StoreOp::Create)?;
        let dir = self.layout.dir();
        if let Ok(below) = file.path.strip_prefix(dir) {
            self.disk.refuse_links(dir, below).map_err(failed(StoreOp::Create))?;
        }
        self.disk
            .create(&file.path, file.len, Allocation::Sparse)
            .map_err(failed(StoreOp::Create))?;
        if self.allocation == Allocation::Full && file.len > 0 && index < self.parts_index() {
            self.mark(index, UNSYNCED);
            self.disk
                .create(&file.path, file.len, Allocation::Full)
                .map_err(failed(StoreOp::Allocate))?;
        }
        self.mark(index, READY | UNSYNCED);
        Ok(())
    }

    /// Makes the files of no bytes, which no write ever reaches.
    ///
    /// # Errors
    /// The first of them; the others are made all the same.
    pub(crate) fn make_empty_files(&self) -> Result<(), StoreError> {
        if self.making.has_empties() {
            return Ok(());
        }
        let mut result = Ok(());
        for (index, file) in
            self.layout.files().iter().enumerate().filter(|(_, f)| f.on_disk && f.len == 0)
        {
            // One that is there as it should be is not opened: its folder may be read-only.
            let is_there = || {
                self.disk.stat(&file.path).is_ok_and(|stat| stat.is_some_and(|stat| stat.is_file))
            };
            if self.marks(index) & (SKIPPED | BORROWED | READY) != 0 || is_there() {
                continue;
            }
            result = result.and(self.make(index, file));
            self.disk.close(&file.path);
        }
        self.making.set_has_empties(result.is_ok());
        result
    }
}

fn beyond_the_end() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "bytes beyond the end of the torrent")
}
