//! The files of a torrent, as its metainfo names them: foreign words that the store has yet to make
//! safe.

use std::ops::Range;

/// What a file is (BEP 47).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Data that the user wants.
    Regular,
    /// Zeroes that align the next file to a piece; never written.
    Pad,
    /// A symbolic link: listed, never created. It holds no data.
    Symlink,
}

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The path below the torrent's root, component by component, as the metainfo has it; not safe
    /// to open.
    pub path: Vec<String>,
    /// Bytes.
    pub len: u64,
    /// The first byte of the file within the torrent.
    pub offset: u64,
    /// What it is.
    pub kind: FileKind,
}

/// Bytes that lie in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The file, by number.
    pub file: usize,
    /// First byte within the file.
    pub offset: u64,
    /// Bytes, at least 1.
    pub len: u64,
}

/// Where a range of bytes of a torrent lies in its files, which are in the order of their offsets,
/// pads among them. What is beyond the last of them is left out.
pub fn spans(files: &[FileEntry], range: Range<u64>) -> impl Iterator<Item = Span> + use<'_> {
    let first = files.partition_point(|file| file.offset.saturating_add(file.len) <= range.start);
    let rest = files.get(first..).unwrap_or_default();
    let (start, end) = (range.start, range.end);
    let near = rest.iter().enumerate().take_while(move |(_, file)| file.offset < end);
    near.filter_map(move |(nth, file)| {
        let (from, to) = (start.max(file.offset), end.min(file.offset.saturating_add(file.len)));
        let len = to.checked_sub(from).filter(|&len| len > 0)?;
        Some(Span { file: first + nth, offset: from - file.offset, len })
    })
}

/// How much a file is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Not at all: it is neither fetched nor made. What is there of it already is kept, and served.
    Skip,
    /// When nothing else is to be had.
    Low,
    /// As most are.
    #[default]
    Normal,
    /// Before the others.
    High,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_is_cut_at_the_ends_of_files() {
        let mut offset = 0;
        let files: Vec<_> = [5, 0, 3, 0, 0, 10]
            .into_iter()
            .map(|len| {
                offset += len;
                let (path, kind) = (Vec::new(), FileKind::Regular);
                FileEntry { path, len, offset: offset - len, kind }
            })
            .collect();
        let of = |range| {
            let spans = spans(&files, range).map(|span| (span.file, span.offset, span.len));
            spans.collect::<Vec<_>>()
        };
        assert_eq!(of(0..18), [(0, 0, 5), (2, 0, 3), (5, 0, 10)]);
        assert_eq!(of(4..9), [(0, 4, 1), (2, 0, 3), (5, 0, 1)]);
        assert_eq!(of(5..6), [(2, 0, 1)]);
        assert_eq!(of(17..30), [(5, 9, 1)]);
        assert_eq!((of(18..20), of(7..7)), (vec![], vec![]));
    }
}
