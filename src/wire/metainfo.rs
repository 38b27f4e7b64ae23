//! Metainfo files (BEP 3).

use std::sync::Arc;

use crate::base::{digest::Digest, files::FileEntry, geometry::Geometry, ids::InfoHash};

/// A torrent, as its metainfo file describes it.
#[derive(Clone, Debug)]
pub struct Metainfo {
    pub info_hash: InfoHash,
    pub name: String,
    pub single_file: bool,
    pub files: Arc<[FileEntry]>,
    pub geometry: Geometry,
    pub pieces: Arc<[Digest]>,
    /// Tiers of tracker addresses (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// BEP 19.
    pub web_seeds: Vec<String>,
    pub private: bool,
    pub comment: Option<String>,
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
}
