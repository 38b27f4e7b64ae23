//! The files of a torrent, as its metainfo names them: foreign words that the store has yet to make
//! safe.

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
