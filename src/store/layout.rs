//! Where the bytes of a torrent lie: from a range of the torrent to ranges of its files.
//!
//! Checks that the files tile the torrent; touches no disk.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::names::{self, Names};
use crate::base::{
    files::FileKind,
    paths::{self, PathError},
    storage::{FoundNames, StoreSpec},
};

/// A list of files that does not make a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum LayoutError {
    /// The names cannot be made safe.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Files must follow each other without gap or overlap.
    #[error("file {file} begins at byte {offset} of the torrent, where byte {want} is next")]
    Offset {
        /// Its index.
        file: usize,
        /// Where it says it begins.
        offset: u64,
        /// Where the file before it ends.
        want: u64,
    },
    /// All files together must be the torrent.
    #[error("the files hold {files} bytes, the torrent {torrent}")]
    Total {
        /// Bytes of all files.
        files: u128,
        /// Bytes of the torrent.
        torrent: u64,
    },
    /// More files than can be numbered.
    #[error("{0} files exceed 2^32")]
    TooManyFiles(usize),
}

/// A torrent's files as they are on disk.
#[derive(Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    files: Vec<LayoutFile>,
    names: Names,
    /// The files that hold bytes, by index; ascending in offset.
    filled: Vec<u32>,
}

/// One file of a torrent.
#[derive(Debug)]
pub(crate) struct LayoutFile {
    /// Where it is; empty if it is never on disk.
    pub(crate) path: PathBuf,
    /// First byte within the torrent.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) len: u64,
    /// Whether it is a regular file; all others are never written and read as zeroes.
    pub(crate) on_disk: bool,
}

/// A range of a torrent that lies in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The file's index.
    pub(crate) file: usize,
    /// First byte within the file.
    pub(crate) offset: u64,
    /// Bytes, at least 1.
    pub(crate) len: u64,
}

impl Layout {
    pub(super) fn new(spec: &StoreSpec, names: Names) -> Result<Self, LayoutError> {
        u32::try_from(spec.files.len()).map_err(|_| LayoutError::TooManyFiles(spec.files.len()))?;
        let mut end = 0_u64;
        for (file, entry) in spec.files.iter().enumerate() {
            if entry.offset != end {
                return Err(LayoutError::Offset { file, offset: entry.offset, want: end });
            }
            end = end.saturating_add(entry.len);
        }
        if end != spec.geometry.total_len() {
            let files = spec.files.iter().map(|f| u128::from(f.len)).sum();
            return Err(LayoutError::Total { files, torrent: spec.geometry.total_len() });
        }

        let renames = names.aliases.iter().chain(&spec.renames);
        let paths = paths::renamed_paths(names::foreign(spec), names.case, renames)?;
        let files: Vec<_> = spec
            .files
            .iter()
            .zip(paths)
            .map(|(entry, path)| {
                let on_disk = entry.kind == FileKind::Regular;
                let path = if on_disk { spec.dir.join(path) } else { path };
                LayoutFile { path, offset: entry.offset, len: entry.len, on_disk }
            })
            .collect();
        Ok(Self { dir: spec.dir.clone(), filled: filled(&files), files, names })
    }

    /// Files that are there already, in the order of their data: path and length, and no path for a
    /// pad.
    pub(crate) fn of_files(
        dir: &Path,
        files: impl IntoIterator<Item = (Option<PathBuf>, u64)>,
    ) -> Self {
        let mut offset = 0_u64;
        let files: Vec<_> = files
            .into_iter()
            .map(|(path, len)| {
                let file = LayoutFile {
                    on_disk: path.is_some(),
                    path: path.unwrap_or_default(),
                    offset,
                    len,
                };
                offset = offset.saturating_add(len);
                file
            })
            .collect();
        Self { dir: dir.to_owned(), filled: filled(&files), files, names: Names::OWN }
    }

    /// The download folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What its files are called on this disk.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Those that are not what the metainfo calls them, to be told.
    pub(super) fn found_names(&self, spec: &StoreSpec) -> FoundNames {
        let foreign = names::foreign(spec);
        let is_renamed =
            |file: usize| spec.renames.binary_search_by_key(&file, |(renamed, _)| *renamed).is_ok();
        let mut found = FoundNames { aliases: self.names.aliases.clone(), ..FoundNames::default() };
        for (file, entry) in self.files.iter().enumerate().filter(|(_, entry)| entry.on_disk) {
            let Ok(path) = entry.path.strip_prefix(&self.dir) else { continue };
            if !foreign.is_exact(file, path) && !is_renamed(file) {
                found.changed += 1;
                found.first.get_or_insert_with(|| (file, path.to_owned()));
            }
        }
        found
    }

    pub(crate) fn files(&self) -> &[LayoutFile] {
        &self.files
    }

    /// Where `range` of the torrent lies, in order. What is beyond the torrent's end lies nowhere.
    pub(crate) fn segments(
        &self,
        range: Range<u64>,
    ) -> impl Iterator<Item = (Segment, &LayoutFile)> {
        let end_of = |at: u32| self.files.get(at as usize).map_or(0, |f| f.offset + f.len);
        let first = self.filled.partition_point(|&at| end_of(at) <= range.start);
        self.filled.iter().skip(first).map_while(move |&at| {
            let file = self.files.get(at as usize)?;
            let start = range.start.max(file.offset);
            let end = range.end.min(file.offset + file.len);
            let segment = Segment {
                file: at as usize,
                offset: start - file.offset,
                len: end.checked_sub(start)?,
            };
            (segment.len > 0).then_some((segment, file))
        })
    }
}

fn filled(files: &[LayoutFile]) -> Vec<u32> {
    (0_u32..).zip(files).filter(|(_, f)| f.len > 0).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::files::FileEntry, store::testing};

    fn spec(files: &[(&str, u64, FileKind)]) -> StoreSpec {
        testing::spec("/downloads", 16, files.iter().copied())
    }

    #[test]
    fn ranges_cross_files_and_skip_empty_ones() {
        use FileKind::{Pad, Regular};
        let layout = Layout::new(
            &spec(&[
                ("e", 0, Regular),
                ("a", 10, Regular),
                ("f", 0, Regular),
                ("p", 6, Pad),
                ("b", 20, Regular),
            ]),
            Names::OWN,
        )
        .unwrap();
        let at = |range: Range<u64>| {
            layout.segments(range).map(|(s, _)| (s.file, s.offset, s.len)).collect::<Vec<_>>()
        };
        assert_eq!(at(0..36), [(1, 0, 10), (3, 0, 6), (4, 0, 20)]);
        assert_eq!(at(9..11), [(1, 9, 1), (3, 0, 1)]);
        assert_eq!(at(10..16), [(3, 0, 6)]);
        assert_eq!(at(35..99), [(4, 19, 1)]);
        assert_eq!(at(36..99), []);
        assert_eq!(at(5..5), []);
        assert_eq!(layout.files()[1].path, Path::new("/downloads/torrent/a"));
        assert_eq!(layout.files()[3].path, Path::new(""));
    }

    #[test]
    fn files_must_tile_the_torrent() {
        let good = spec(&[("a", 10, FileKind::Regular), ("b", 10, FileKind::Regular)]);
        let with = |change: fn(&mut Vec<FileEntry>)| {
            let mut files = good.files.to_vec();
            change(&mut files);
            Layout::new(&StoreSpec { files: files.into(), ..good.clone() }, Names::OWN)
        };
        assert!(with(|_| ()).is_ok());
        assert_eq!(
            with(|f| f[1].offset = 9).unwrap_err(),
            LayoutError::Offset { file: 1, offset: 9, want: 10 }
        );
        assert_eq!(
            with(|f| f[1].len = 11).unwrap_err(),
            LayoutError::Total { files: 21, torrent: 20 }
        );
        assert!(matches!(with(|f| f[1].len = u64::MAX).unwrap_err(), LayoutError::Total { .. }));
    }
}
