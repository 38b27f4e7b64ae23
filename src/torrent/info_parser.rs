//! An info dictionary that came from peers becomes a metainfo. It may have 30 MiB, which is hashed
//! and parsed for longer than a turn may take: so a worker does it.

use std::fmt;

use crate::wire::{
    magnet::Magnet,
    metainfo::{Metainfo, MetainfoError, MetainfoLimits},
};

/// See the module.
pub(crate) struct InfoParser {
    info: Vec<u8>,
    /// The link that the torrent was added with, which may name trackers and web seeds.
    magnet: Magnet,
    parsed: Option<Result<Metainfo, MetainfoError>>,
}

impl InfoParser {
    pub(super) fn new(info: Vec<u8>, magnet: Magnet) -> Self {
        Self { info, magnet, parsed: None }
    }

    /// The metainfo, or what is wrong with the dictionary; `None` before it was parsed.
    pub(crate) fn into_parsed(self) -> Option<Result<Metainfo, MetainfoError>> {
        self.parsed
    }
}

impl InfoParser {
    /// Parses it. It may take long.
    pub(super) fn run(&mut self) {
        let info = std::mem::take(&mut self.info);
        self.parsed = Some(Metainfo::from_info(&info, &self.magnet, &MetainfoLimits::default()));
    }
}

impl fmt::Debug for InfoParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parse an info dictionary of {} bytes", self.info.len())
    }
}
