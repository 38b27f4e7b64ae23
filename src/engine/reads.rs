//! The verb that reads bytes of a torrent: what is asked for is checked here, and what becomes of
//! it is the torrent's to tell.

use thiserror::Error;

use crate::{
    base::{
        files::FileKind,
        ids::{ReadId, TorrentId},
    },
    engine::{NoSuchTorrent, Verbs},
    torrent::reads::ReadRequest,
};

/// Why bytes of a torrent cannot be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such torrent.
    #[error(transparent)]
    NoSuchTorrent(#[from] NoSuchTorrent),
    /// The torrent was added by a magnet link, and its metainfo is not known yet.
    #[error("the torrent's files are not known yet")]
    NoContent,
    /// The torrent has not so many files.
    #[error("no file {file} in a torrent of {files}")]
    NoSuchFile {
        /// The index that was given.
        file: usize,
        /// How many there are.
        files: usize,
    },
    /// The file is padding or a symbolic link: there are no bytes of it.
    #[error("file {0} is padding or a symbolic link")]
    NoData(usize),
    /// Nothing is to be read.
    #[error("a read of 0 bytes")]
    Empty,
    /// More is to be read than [`ReadConf::max_len`](crate::conf::ReadConf::max_len).
    #[error("a read of {len} bytes exceeds {limit}")]
    TooLong {
        /// The bytes that were to be read.
        len: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The file ends before.
    #[error("bytes {offset}+{len} of a file of {file_len}")]
    BeyondEnd {
        /// The first byte that was to be read.
        offset: u64,
        /// How many.
        len: usize,
        /// The bytes of the file.
        file_len: u64,
    },
    /// The torrent is being closed, its data is gone, or its storage could not be opened.
    #[error("the torrent's storage cannot be read")]
    NotOpen,
    /// As many reads as there may be at a time
    /// ([`ReadConf::max_reads`](crate::conf::ReadConf::max_reads)) have not been answered, or
    /// their answers were not fetched.
    #[error("{limit} reads are not answered yet")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
}

impl Verbs<'_> {
    /// Reads `len` bytes of a file from `offset` on. The file is named by its place in the
    /// metainfo's order, padding and links included, as in [`Engine::files`](crate::Engine::files).
    /// [`Alert::ReadDone`](crate::Alert::ReadDone) has the bytes, or says why there are none: one
    /// for each read, whatever the mask is, and whether or not the torrent is paused, moved,
    /// removed or fails meanwhile.
    ///
    /// Only verified bytes are told, but of a torrent whose files are taken at their word
    /// ([`Trust::Files`](crate::Trust::Files)). Those of verified pieces are read from the storage.
    /// Those of a piece that is not whole can be read if the torrent is of version 2 or a hybrid
    /// (BEP 52), as soon as their blocks of 16 KiB are there and a peer has given the hashes of
    /// these: then each block is hashed before it is handed out. A read does not wait for the
    /// download: what is not there is told at once
    /// ([`ReadFailure::NotThere`](crate::alert::ReadFailure::NotThere)), and so is what cannot be
    /// verified ([`NotVerified`](crate::alert::ReadFailure::NotVerified)), or after
    /// [`ReadConf::max_wait`](crate::conf::ReadConf::max_wait) if there are peers to ask.
    ///
    /// A paused torrent is read as any other, but it has no peers to verify more with. One that
    /// sleeps or waits to be opened is opened, in its turn; of one that is being checked, what was
    /// found so far can be read. A read waits while the torrent is being moved.
    ///
    /// # Errors
    /// If there is no such torrent or file, nothing or too much is to be read, or more than there
    /// is; if the torrent's files are not known, or its storage is not to be opened; if too many
    /// reads are not answered.
    pub fn read(
        &mut self,
        id: TorrentId,
        file: usize,
        offset: u64,
        len: usize,
    ) -> Result<ReadId, ReadError> {
        let request = self.read_request(id, file, offset, len)?;
        let limit = self.engine.cx.conf.reads.max_reads;
        let line = self.engine.cx.leases.reads_mut();
        let read = line.begin(limit).ok_or(ReadError::TooMany { limit })?;
        self.engine.with(id, |torrent, cx| torrent.read(read, request, cx))?;
        Ok(read)
    }

    fn read_request(
        &self,
        id: TorrentId,
        file: usize,
        offset: u64,
        len: usize,
    ) -> Result<ReadRequest, ReadError> {
        let torrent = self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        if !torrent.content().is_known() {
            return Err(ReadError::NoContent);
        }
        let files = torrent.content().files();
        let entry = files.get(file).ok_or(ReadError::NoSuchFile { file, files: files.len() })?;
        let limit = self.engine.cx.conf.reads.max_len;
        match len {
            _ if entry.kind != FileKind::Regular => return Err(ReadError::NoData(file)),
            0 => return Err(ReadError::Empty),
            _ if len > limit => return Err(ReadError::TooLong { len, limit }),
            _ => {}
        }
        let end = offset.checked_add(len as u64).filter(|&end| end <= entry.len);
        let beyond = ReadError::BeyondEnd { offset, len, file_len: entry.len };
        let end = end.and_then(|end| entry.offset.checked_add(end)).ok_or(beyond)?;
        if !torrent.is_readable() {
            return Err(ReadError::NotOpen);
        }
        Ok(ReadRequest { file, offset, range: end - len as u64..end })
    }
}
