//! Names that torrents should not have.
