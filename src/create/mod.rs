//! Making torrents: from a file or a folder to a metainfo file of version 1, version 2 or both (BEP
//! 3, 12, 19, 27, 47, 52).
//!
//! Runs on the caller's thread and a few of its own, and is no part of an engine. Reads no clock:
//! what the torrent says of the time of its making is the caller's.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use cratetorrent::{CreateParams, create};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut params = CreateParams::new("holiday");
//! params.trackers = vec![vec!["http://tracker.example/announce".into()]];
//! let created = create(&params, |progress| {
//!     println!("{} of {} bytes", progress.done, progress.total);
//!     ControlFlow::Continue(())
//! })?;
//! println!("{}", created.metainfo.info_hash());
//! std::fs::write("holiday.torrent", &created.bytes)?;
//! # Ok(())
//! # }
//! ```

mod hash;
mod walk;

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use crate::{
    base::{
        geometry::{BLOCK_LEN, Geometry},
        paths::{Case, NameRules, safe_paths},
    },
    store::{Disk, PieceKind, Pieces, RealDisk},
    wire::metainfo::{Format, Metainfo, MetainfoBuilder, MetainfoError, MetainfoLimits},
};
use walk::Found;

/// Pieces that a torrent has at most if its piece length is chosen from its size, up to 32 GiB.
const PIECES: u64 = 2000;
/// The longest piece that is chosen from the size.
const LONGEST_CHOSEN: u32 = 16 << 20;
/// Files held open while hashing, at most.
const OPEN_FILES: usize = 40;

/// What to make a torrent of, and what it is to say.
#[derive(Clone, Debug)]
pub struct CreateParams {
    /// The file or folder.
    ///
    /// If this itself is a symbolic link, it is followed: the user has named it. Links below it
    /// never are: what they lead to may lie outside, and a download does not make links. See
    /// [`skip_special`](Self::skip_special). Folders named `.cratetorrent` below it are left
    /// out: they hold the engine's own state of downloads, not data.
    pub path: PathBuf,
    /// What the torrent is called; `None` for the name of `path`.
    pub name: Option<String>,
    /// Bytes a piece: a power of two from 16 KiB to 512 MiB. `None` to choose by
    /// [`piece_len_for`].
    pub piece_len: Option<u32>,
    /// Of which versions it is to be (BEP 52).
    pub format: Format,
    /// Whether each file begins with a piece, after a pad file of zeroes if need be (BEP 47). Pads
    /// are counted in the torrent's size. In version 2 it is always so, and hybrids have the pads
    /// that this takes, and one after the last file.
    pub pads: bool,
    /// Whether to leave out symbolic links, pipes, sockets and devices below `path`. Otherwise the
    /// first of them is an error, since a torrent in which something is missing should be
    /// the user's wish.
    pub skip_special: bool,
    /// Addresses of trackers by tier (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Addresses of web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Whether peers may come from the trackers only (BEP 27).
    pub private: bool,
    /// A word within the info dictionary, which tells otherwise equal torrents apart.
    pub source: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// The program that makes it.
    pub created_by: Option<String>,
    /// When it is made, in seconds since 1970.
    pub creation_date: Option<i64>,
    /// Threads that read and hash; 0 for one a core. Each takes less than 1 MiB of memory,
    /// whatever the piece length.
    pub threads: usize,
}

impl CreateParams {
    /// A torrent of `path` that says nothing but what it must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            name: None,
            piece_len: None,
            format: Format::V1,
            pads: false,
            skip_special: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            private: false,
            source: None,
            comment: None,
            created_by: None,
            creation_date: None,
            threads: 0,
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreateProgress {
    /// Bytes hashed.
    pub done: u64,
    /// Bytes to hash, pads included; 0 while the files are still being looked for.
    pub total: u64,
}

/// A new torrent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Created {
    /// The metainfo file.
    pub bytes: Vec<u8>,
    /// The same as values, with the info-hash.
    pub metainfo: Metainfo,
}

/// Why there is no torrent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A file or folder is not there or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is something that is neither file nor folder.
    #[error("{} is {what}, which a torrent cannot hold", path.display())]
    Special {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// There is not a byte to share.
    #[error("{} holds no data", .0.display())]
    Empty(PathBuf),
    /// A name is not UTF-8, which it must be (BEP 3).
    #[error("the name of {} is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// A torrent cannot be called so.
    #[error("a torrent cannot be called {0:?}")]
    Name(String),
    /// A file cannot be called so: this very program would look for it under another name, and
    /// could not serve it.
    #[error("{} would be stored as {} by those who download it", path.display(), stored.display())]
    Renamed {
        /// The file.
        path: PathBuf,
        /// Its path in a download.
        stored: PathBuf,
    },
    /// A folder of one file, which cannot be told from the file itself in version 2 (BEP 52).
    #[error(
        "{} holds one file alone, which version 2 takes for a torrent of that file: make it of \
         {file:?} itself, or a hybrid of the folder", folder.display()
    )]
    OneFile {
        /// The folder.
        folder: PathBuf,
        /// The name of its file.
        file: String,
    },
    /// There are more files than a torrent may have.
    #[error("more than {limit} files below {}", path.display())]
    TooManyFiles {
        /// Where.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// The piece length makes no sense.
    #[error("a piece length of {0} bytes, which is not a power of two from 16 KiB to 512 MiB")]
    PieceLength(u32),
    /// The piece length is too short for so much data.
    #[error(
        "{pieces} pieces of {piece_len} bytes exceed the limit of {limit}: the pieces \
         must be longer"
    )]
    TooManyPieces {
        /// How many there would be.
        pieces: u64,
        /// Bytes a piece.
        piece_len: u32,
        /// The limit.
        limit: u32,
    },
    /// An address of a tracker or web seed is none.
    #[error("{0:?} is not the address of a tracker or web seed")]
    Address(String),
    /// A file was changed while it was hashed.
    #[error("{} was changed meanwhile", .0.display())]
    Changed(PathBuf),
    /// The caller did not want it any more.
    #[error("stopped")]
    Stopped,
    /// There can be no thread to hash with.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The torrent exceeds what may be in one.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
}

/// The piece length for so many bytes: the shortest power of two from 16 KiB to 16 MiB with which
/// there are at most 2000 pieces. So from 16 MiB to 32 GiB a torrent has 1000 to 2000 pieces.
pub fn piece_len_for(total: u64) -> u32 {
    let mut len = BLOCK_LEN;
    while len < LONGEST_CHOSEN && total.div_ceil(u64::from(len)) > PIECES {
        len *= 2;
    }
    len
}

/// Makes a torrent. `progress` is called on this thread now and then, and ends it by breaking.
///
/// Files come in the bytewise order of their paths with `/` between components, or in version 2
/// component by component, as the file tree has them: so the same content makes the same torrent
/// everywhere. Empty files are kept, empty folders are not: a torrent cannot
/// hold them. Every file is opened before the first is hashed, so that one that cannot be read
/// shows early; and looked at again at the end.
///
/// # Errors
/// [`CreateError`]; nothing was written then, as nothing ever is.
pub fn create(
    params: &CreateParams,
    mut progress: impl FnMut(CreateProgress) -> ControlFlow<()>,
) -> Result<Created, CreateError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(OPEN_FILES));
    let (plan, files) = plan(params, &*disk, || progress(CreateProgress { done: 0, total: 0 }))?;
    plan.check_paths(&params.path, &files)?;

    let on_disk = files.iter().map(|f| (f.found.as_ref().map(|found| found.path.clone()), f.len));
    let kind = match params.format {
        Format::V1 => PieceKind::V1,
        Format::V2 => PieceKind::V2,
        Format::Hybrid => PieceKind::Hybrid,
    };
    let pieces = Pieces::new(disk.clone(), &params.path, on_disk, plan.geometry.clone(), kind);
    let hashes = hash::all(&pieces, plan.geometry, params.threads, progress);
    pieces.close();
    let hashes = hashes?;
    for found in files.iter().filter_map(|f| f.found.as_ref()) {
        if disk.stat(&found.path).ok().flatten() != Some(found.stat) {
            return Err(CreateError::Changed(found.path.clone()));
        }
    }
    let digests: Vec<_> = hashes.iter().filter_map(|hash| hash.sha1()).collect();
    let roots: Vec<_> = hashes.iter().filter_map(|hash| hash.root()).collect();
    let bytes = plan.builder.build_with(&digests, &roots)?;
    let metainfo = Metainfo::from_bytes(&bytes)?;
    Ok(Created { bytes, metainfo })
}

/// Whether a torrent is one that [`create`] would make of `params` now, as far as that shows
/// without hashing: the same files with the same lengths, in the same pieces, of the same versions,
/// private or not, and with the same source. Trackers, web seeds and remarks do not count.
/// `go_on` is called on this thread now and then while the files are found, and ends that by
/// breaking.
///
/// # Errors
/// [`CreateError`], where `create` would fail before it hashes; [`CreateError::Stopped`] if
/// `go_on` breaks.
pub fn is_made_of(
    metainfo: &Metainfo,
    params: &CreateParams,
    go_on: impl FnMut() -> ControlFlow<()>,
) -> Result<bool, CreateError> {
    let (Plan { draft, .. }, _) = plan(params, &RealDisk::new(OPEN_FILES), go_on)?;
    let versions = |of: &Metainfo| (of.pieces.is_empty(), of.trees.is_some());
    Ok((&draft.name, draft.single_file, &draft.files, &draft.geometry, versions(&draft))
        == (
            &metainfo.name,
            metainfo.single_file,
            &metainfo.files,
            &metainfo.geometry,
            versions(metainfo),
        )
        && (draft.private, &draft.source) == (metainfo.private, &metainfo.source))
}

/// Looks for the files, and plans their torrent.
fn plan(
    params: &CreateParams,
    disk: &dyn Disk,
    go_on: impl FnMut() -> ControlFlow<()>,
) -> Result<(Plan, Vec<Entry>), CreateError> {
    let name = name(params)?;
    let limit = MetainfoLimits::default().files;
    let mut found = walk::find(&params.path, params.skip_special, limit, disk, go_on)?;
    if params.format.has_v2() {
        found.sort_by(|a, b| a.parts.cmp(&b.parts));
    }
    let files = lay_out(found, params)?;
    Ok((Plan::new(params, name, &files)?, files))
}

fn name(params: &CreateParams) -> Result<String, CreateError> {
    let name = match &params.name {
        Some(name) => name.clone(),
        None => own_name(&params.path)?,
    };
    let strange =
        name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']);
    if strange { Err(CreateError::Name(name)) } else { Ok(name) }
}

/// The name of a file or folder, also of one that is given as `.` or `..`.
fn own_name(path: &Path) -> Result<String, CreateError> {
    let not_utf8 = || CreateError::NotUtf8(path.to_owned());
    if let Some(name) = path.file_name() {
        return name.to_str().map(str::to_owned).ok_or_else(not_utf8);
    }
    let whole = path
        .canonicalize()
        .map_err(|source| CreateError::Unreadable { path: path.to_owned(), source })?;
    let name = whole.file_name().unwrap_or_default();
    name.to_str().map(str::to_owned).ok_or_else(not_utf8)
}

/// A file of the torrent to be: one that was found, or a pad.
#[derive(Debug)]
struct Entry {
    found: Option<Found>,
    len: u64,
}

/// The files in order, with pads where they are wanted.
fn lay_out(found: Vec<Found>, params: &CreateParams) -> Result<Vec<Entry>, CreateError> {
    let total = found
        .iter()
        .try_fold(0_u64, |sum, f| sum.checked_add(f.stat.len))
        .ok_or(MetainfoError::TotalOverflow)?;
    if total == 0 {
        return Err(CreateError::Empty(params.path.clone()));
    }
    let piece_len = u64::from(piece_len(params, total)?);
    let last = found.iter().rposition(|f| f.stat.len > 0).unwrap_or(0);
    let mut files = Vec::with_capacity(found.len());
    for (index, found) in found.into_iter().enumerate() {
        let len = found.stat.len;
        files.push(Entry { len, found: Some(found) });
        let pad = len.next_multiple_of(piece_len) - len;
        if (params.pads || params.format.has_v2()) && pad > 0 && index < last {
            files.push(Entry { len: pad, found: None });
        }
    }
    Ok(files)
}

/// `total` without pads, so that they do not change the choice.
fn piece_len(params: &CreateParams, total: u64) -> Result<u32, CreateError> {
    match params.piece_len {
        Some(len)
            if len.is_power_of_two()
                && (BLOCK_LEN..=MetainfoLimits::default().piece_len).contains(&len) =>
        {
            Ok(len)
        }
        Some(len) => Err(CreateError::PieceLength(len)),
        None => Ok(piece_len_for(total)),
    }
}

/// Everything but the digests.
#[derive(Debug)]
struct Plan {
    builder: MetainfoBuilder,
    geometry: Geometry,
    /// The torrent with hashes of nothing.
    draft: Metainfo,
}

impl Plan {
    /// Everything that can be wrong with a torrent is found here, before hours of hashing.
    fn new(params: &CreateParams, name: String, files: &[Entry]) -> Result<Self, CreateError> {
        let data: u64 = files.iter().filter(|f| f.found.is_some()).map(|f| f.len).sum();
        let total = files
            .iter()
            .try_fold(0_u64, |sum, f| sum.checked_add(f.len))
            .ok_or(MetainfoError::TotalOverflow)?;
        let piece_len = piece_len(params, data)?;
        let (pieces, limit) =
            (total.div_ceil(u64::from(piece_len)), MetainfoLimits::default().pieces);
        if pieces > u64::from(limit) {
            return Err(CreateError::TooManyPieces { pieces, piece_len, limit });
        }
        let mut builder = MetainfoBuilder::new(name, piece_len);
        builder.format(params.format);
        for file in files {
            match &file.found {
                Some(found) if found.parts.is_empty() => builder.single_file(file.len),
                Some(found) => builder.file(found.parts.iter().map(String::as_str), file.len),
                None => builder.pad(file.len),
            };
        }
        say(&mut builder, params)?;
        let geometry = builder.geometry()?;
        let count = geometry.piece_count() as usize;
        let roots = if params.format.has_v2() { vec![[1; 32]; count] } else { Vec::new() };
        let draft = Metainfo::from_bytes(&builder.build_with(&vec![[0; 20]; count], &roots)?)?;
        Ok(Self { builder, geometry, draft })
    }

    /// A torrent whose files have other names in a download could not even be served from where
    /// they are.
    fn check_paths(&self, root: &Path, files: &[Entry]) -> Result<(), CreateError> {
        let draft = &self.draft;
        if draft.single_file
            && let Some(found) = files.iter().find_map(|file| file.found.as_ref())
            && let Some(name) = found.parts.last()
        {
            let (folder, file) = (root.to_owned(), name.clone());
            return Err(CreateError::OneFile { folder, file });
        }
        let limit = MetainfoLimits::default().files;
        // They lie beside each other on this disk, so it tells them apart.
        let stored = safe_paths(draft.names(), NameRules::here(), Case::Kept)
            .map_err(|_| CreateError::TooManyFiles { path: root.to_owned(), limit })?;
        for (file, stored) in files.iter().zip(stored) {
            let Some(found) = &file.found else { continue };
            let mut own = PathBuf::from(&draft.name);
            own.extend(&found.parts);
            if stored.as_os_str().is_empty() {
                return Err(CreateError::Special {
                    path: found.path.clone(),
                    what: "named like padding",
                });
            }
            if own != stored {
                return Err(CreateError::Renamed { path: found.path.clone(), stored });
            }
        }
        Ok(())
    }
}

/// What the torrent says beside its files.
fn say(builder: &mut MetainfoBuilder, params: &CreateParams) -> Result<(), CreateError> {
    let strange =
        |a: &&String| a.is_empty() || a.chars().any(|c| c.is_whitespace() || c.is_control());
    if let Some(address) = params.trackers.iter().flatten().chain(&params.web_seeds).find(strange) {
        return Err(CreateError::Address(address.clone()));
    }
    for tier in params.trackers.iter().filter(|tier| !tier.is_empty()) {
        builder.tracker_tier(tier);
    }
    for address in &params.web_seeds {
        builder.web_seed(address);
    }
    builder.private(params.private);
    if let Some(source) = &params.source {
        builder.source(source);
    }
    if let Some(comment) = &params.comment {
        builder.comment(comment);
    }
    if let Some(program) = &params.created_by {
        builder.created_by(program);
    }
    if let Some(seconds) = params.creation_date {
        builder.creation_date(seconds);
    }
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
