//! What a torrent's files are called on the disk, as far as that does not follow from their names:
//! learnt whenever the storage is opened, and told to the user once. It decides nothing: that is
//! the store's.

use std::path::PathBuf;

use crate::{
    alert::Alert,
    base::{ids::TorrentId, storage::FoundNames},
    torrent::cx::Cx,
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names {
    aliases: Vec<(usize, PathBuf)>,
    told: bool,
}

impl Names {
    /// Of a torrent whose user was told when it was added.
    pub(super) fn told() -> Self {
        Self { told: true, ..Self::default() }
    }

    /// By file, ascending; below the download folder.
    pub(super) fn aliases(&self) -> &[(usize, PathBuf)] {
        &self.aliases
    }

    pub(super) fn handle_found(&mut self, torrent: TorrentId, found: FoundNames, cx: &mut Cx) {
        let FoundNames { aliases, changed, first } = found;
        self.aliases = aliases;
        let Some((file, path)) = first.filter(|_| !std::mem::replace(&mut self.told, true)) else {
            return;
        };
        log::warn!(
            "{changed} files of torrent {torrent} have other names on disk, file {file} the first: \
             {path:?}"
        );
        cx.alerts.push(Alert::NamesChanged { torrent, files: changed, first: file, path });
    }
}
