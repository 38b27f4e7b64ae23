//! A magnet link: which files it chooses, and what peers have told of its torrent, which is kept
//! beside the state of the download: the next start asks no peer for it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use cratetorrent::{
    Identity, Priority, Source, TorrentParams,
    wire::{magnet::FileSelection, metainfo::Metainfo},
};

use crate::{
    Problem,
    common::{read_metainfo, whole},
};

/// See the module.
pub struct Link {
    identity: Identity,
    chosen: Option<FileSelection>,
    learned: Option<PathBuf>,
}

/// Where a torrent is kept that peers have told, by the file of its state.
pub fn learned_file(state: &Path) -> PathBuf {
    state.with_extension("torrent")
}

impl Link {
    /// The link that a torrent is to be added by, if it is one.
    pub fn of(params: &TorrentParams) -> Option<Self> {
        let Source::Magnet(magnet) = &params.source else { return None };
        let learned = params.state_file.as_deref().map(learned_file);
        Some(Self { identity: magnet.identity, chosen: magnet.select.clone(), learned })
    }

    /// What an earlier run was told, if that is what the link stands for.
    pub fn learned(&self) -> Option<Arc<Metainfo>> {
        let path = self.learned.as_ref().filter(|path| path.exists())?;
        let metainfo = read_metainfo(path).ok()?;
        let (known, asked) = (metainfo.identity, self.identity);
        let same = asked.v1().is_none_or(|hash| known.v1() == Some(hash))
            && asked.v2().is_none_or(|hash| known.v2() == Some(hash));
        same.then(|| Arc::new(metainfo))
    }

    /// Keeps what peers have told. If it cannot be kept, they are asked again.
    pub fn learn(&self, metainfo: &Metainfo) {
        let (Some(path), Some(bytes)) = (&self.learned, &metainfo.raw) else { return };
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(e) = folder.and_then(|()| whole::replace(path, bytes)) {
            log::info!("{}: {e}", path.display());
        }
    }

    /// How much each file is wanted, if `--select` says nothing.
    pub fn priorities(&self, metainfo: &Metainfo) -> Result<Vec<Priority>, Problem> {
        let Some(chosen) = &self.chosen else { return Ok(Vec::new()) };
        let priority = |file| if chosen.contains(file) { Priority::Normal } else { Priority::Skip };
        let priorities: Vec<_> = (0..metainfo.files.len()).map(priority).collect();
        if priorities.iter().all(|&priority| priority == Priority::Skip) {
            let what = format!(
                "the magnet link chooses none of the torrent's files (so={chosen}), which are 0 to \
                 {}; --select chooses others",
                priorities.len().saturating_sub(1)
            );
            return Err(Problem::new(what));
        }
        Ok(priorities)
    }
}
