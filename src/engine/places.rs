//! Which torrents of the session could write to the same paths. Two that do would overwrite each
//! other in silence, so the second is refused, unless the first has the file whole and it is as
//! long: then the second reads it and never writes it.
//!
//! Most torrents are told apart by their folder and name alone. Only where one could lie in the
//! other are the paths of their files laid out and compared.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    ops::Bound,
    path::{Path, PathBuf},
};

use crate::{
    alert::Alert,
    base::{
        arena::Key,
        files::{FileEntry, FileKind},
        ids::TorrentId,
        paths::{Case, Foreign, NameRules, renamed_paths, safe_paths},
        storage::{StoreError, StoreOp},
    },
    engine::{AddError, Engine},
    torrent::file_operations::Request,
    wire::metainfo::Metainfo,
};

/// Where torrents may write: below these, and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Places {
    roots: BTreeMap<PathBuf, BTreeSet<Key>>,
    of: BTreeMap<Key, Vec<PathBuf>>,
}

impl Places {
    /// A torrent writes below these from now on.
    fn set(&mut self, key: Key, roots: Vec<PathBuf>) {
        self.forget(key);
        for root in &roots {
            self.roots.entry(root.clone()).or_default().insert(key);
        }
        self.of.insert(key, roots);
    }

    pub(super) fn forget(&mut self, key: Key) {
        for root in self.of.remove(&key).unwrap_or_default() {
            if let Some(keys) = self.roots.get_mut(&root) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.roots.remove(&root);
                }
            }
        }
    }

    /// The torrents that could write to a path at or below these, or above them.
    fn near(&self, roots: &[PathBuf]) -> BTreeSet<Key> {
        let mut near = BTreeSet::new();
        for root in roots {
            for above in root.ancestors() {
                near.extend(self.roots.get(above).into_iter().flatten());
            }
            let behind =
                self.roots.range::<Path, _>((Bound::Excluded(root.as_path()), Bound::Unbounded));
            near.extend(
                behind.take_while(|(path, _)| path.starts_with(root)).flat_map(|(_, keys)| keys),
            );
        }
        near
    }
}

/// A torrent and where it is, or would be.
#[derive(Clone, Copy)]
struct Site<'a> {
    metainfo: &'a Metainfo,
    dir: &'a Path,
    /// What is called otherwise on the disk, as far as known.
    aliases: &'a [(usize, PathBuf)],
    renames: &'a [(usize, PathBuf)],
}

impl Site<'_> {
    fn roots(&self) -> Vec<PathBuf> {
        let file = FileEntry { path: Vec::new(), len: 0, offset: 0, kind: FileKind::Regular };
        let name = Foreign { name: &self.metainfo.name, single_file: true, files: &[file] };
        // Version 0.2 may have stored it under another name, which is known when it is open.
        let tops = [NameRules::here(), NameRules::V0_2]
            .map(|rules| safe_paths(name, rules, Case::Kept).unwrap_or_default());
        let renamed = self.renames.iter().map(|(_, path)| path.clone());
        tops.into_iter().flatten().chain(renamed).map(|path| self.dir.join(path)).collect()
    }

    /// Where its files are, by number; nothing of one whose names cannot be made safe.
    fn paths(&self) -> Vec<Option<PathBuf>> {
        let renames = self.aliases.iter().chain(self.renames);
        let paths = renamed_paths(self.metainfo.names(), Case::Kept, renames).unwrap_or_default();
        let path = |path: PathBuf| (!path.as_os_str().is_empty()).then(|| self.dir.join(path));
        paths.into_iter().map(path).collect()
    }
}

/// A file that two torrents have at one path.
#[derive(Debug)]
struct Overlap {
    other: Key,
    /// Its number in this torrent, and in the other.
    mine: usize,
    theirs: usize,
    path: PathBuf,
    /// The other was there, and what it has left is to be deleted.
    is_left: bool,
}

impl Engine {
    fn site(&self, key: Key) -> Option<Site<'_>> {
        let torrent =
            self.torrents.get(key).filter(|torrent| !torrent.location().has_own_storage())?;
        Some(Site {
            metainfo: torrent.content().metainfo()?,
            dir: torrent.location().dir(),
            aliases: torrent.location().aliases(),
            renames: torrent.location().renames(),
        })
    }

    /// Where files of it are that go, when it was moved.
    fn old_site(&self, key: Key) -> Option<Site<'_>> {
        let torrent = self.torrents.get(key)?;
        let (dir, renames) = torrent.leaving()?;
        Some(Site {
            metainfo: torrent.content().metainfo()?,
            dir,
            aliases: torrent.location().aliases(),
            renames,
        })
    }

    fn overlaps(&self, key: Option<Key>, site: Site<'_>) -> Vec<Overlap> {
        let mut near = self.places.near(&site.roots());
        key.iter().for_each(|key| _ = near.remove(key));
        if near.is_empty() {
            return Vec::new();
        }
        let paths = site.paths();
        let own = paths.iter().enumerate().filter_map(|(file, path)| Some((path.as_ref()?, file)));
        let own: HashMap<&PathBuf, usize> = own.collect();
        let mut overlaps = Vec::new();
        for other in near {
            for (site, is_left) in [(self.site(other), false), (self.old_site(other), true)] {
                let paths = site.map(|site| site.paths()).unwrap_or_default();
                for (theirs, path) in
                    paths.into_iter().enumerate().filter_map(|(file, path)| Some((file, path?)))
                {
                    if let Some(&mine) = own.get(&path) {
                        overlaps.push(Overlap { other, mine, theirs, path, is_left });
                    }
                }
            }
        }
        overlaps
    }

    /// Whether the other torrent has the whole file, and this one wants as much of it.
    fn is_same(&self, metainfo: &Metainfo, overlap: &Overlap) -> bool {
        let Some(other) = self.torrents.get(overlap.other) else { return false };
        let theirs = other.content().files().get(overlap.theirs).map(|f| f.len);
        !overlap.is_left
            && theirs.is_some()
            && theirs == metainfo.files.get(overlap.mine).map(|f| f.len)
            && other.has_in_place(overlap.theirs)
    }

    /// Refuses a torrent that would write to a path of another.
    pub(super) fn check_place(
        &self,
        metainfo: &Metainfo,
        dir: &Path,
        renames: &[(usize, PathBuf)],
    ) -> Result<(), AddError> {
        let overlaps = self.overlaps(None, Site { metainfo, dir, aliases: &[], renames });
        match overlaps.into_iter().find(|overlap| !self.is_same(metainfo, overlap)) {
            None => Ok(()),
            Some(Overlap { other, path, .. }) => Err(AddError::PathTaken {
                path,
                name: metainfo.name.clone(),
                torrent: TorrentId(other),
                owner: self
                    .torrents
                    .get(other)
                    .map(|t| t.content().name().to_owned())
                    .unwrap_or_default(),
            }),
        }
    }

    /// What a torrent has in common with others from now on, where it is now. What it was told to
    /// write before it was here stays with those who had it first.
    pub(super) fn take_place(&mut self, key: Key) {
        let Some(site) = self.site(key) else { return };
        let mut roots = site.roots();
        roots.extend(self.old_site(key).iter().flat_map(Site::roots));
        let mut overlaps = self.overlaps(Some(key), site);
        overlaps.retain(|overlap| !overlap.is_left);
        self.places.set(key, roots);
        let Some(first) = overlaps.first() else { return };
        let (files, first, path) = (overlaps.len(), first.other, first.path.clone());
        for Overlap { other, mine, theirs, .. } in overlaps {
            let Some(owner) = self.torrents.get_mut(other) else { continue };
            let name = owner.content().name().to_owned();
            if owner.location().shared().borrows(theirs) {
                continue;
            }
            owner.lend(theirs, key, &mut self.cx);
            if let Some(torrent) = self.torrents.get_mut(key) {
                torrent.borrow(mine, other, &name);
            }
        }
        let torrent = TorrentId(key);
        log::info!(
            "{torrent} shares {files} files with {}, {} the first",
            TorrentId(first),
            path.display()
        );
        self.cx.alerts.push(Alert::FilesShared { torrent, other: TorrentId(first), files, path });
        if let Some(torrent) = self.torrents.get_mut(key) {
            torrent.shares_changed(&mut self.cx);
        }
    }

    /// Whether a torrent reads bytes of a piece from a file of another torrent that still fetches
    /// them: what it has found there may be overwritten by that, and is looked at again when it is
    /// read.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn reads_what_is_written(
        &self,
        id: TorrentId,
        piece: crate::base::geometry::PieceIndex,
    ) -> bool {
        let Some((torrent, site)) = self.torrents.get(id.0).zip(self.site(id.0)) else {
            return false;
        };
        let geometry = &site.metainfo.geometry;
        let (from, paths) = (geometry.offset(piece), site.paths());
        let to = from + u64::from(geometry.piece_len(piece));
        torrent.location().shared().borrowed().iter().any(|borrowed| {
            let Some(file) = site.metainfo.files.get(borrowed.file) else { return false };
            let (from, to) = (from.max(file.offset), to.min(file.offset + file.len));
            let path = paths.get(borrowed.file).and_then(Option::as_ref);
            let has = |path: &PathBuf| {
                self.has_at(borrowed.owner, path, from - file.offset..to - file.offset)
            };
            from < to && !path.is_some_and(has)
        })
    }

    /// Whether a torrent has these bytes of its file at `path`.
    #[cfg(any(test, feature = "sim"))]
    fn has_at(&self, key: Key, path: &Path, range: std::ops::Range<u64>) -> bool {
        let Some((site, have)) = self.site(key).zip(self.have(TorrentId(key))) else {
            return false;
        };
        let mut paths = site.paths().into_iter().zip(site.metainfo.files.iter());
        let file = paths.find(|(other, _)| other.as_deref() == Some(path)).map(|(_, file)| file);
        file.is_some_and(|file| {
            let range = file.offset + range.start..file.offset + range.end;
            site.metainfo.geometry.pieces_of(range).all(|piece| have.has(piece))
        })
    }

    /// A torrent has gone from where it was: what was its is another's now.
    pub(super) fn leave_place(&mut self, key: Key, others: BTreeSet<Key>) {
        self.places.forget(key);
        let mut orphans = Vec::new();
        for other in others {
            if let Some(torrent) = self.torrents.get_mut(other)
                && torrent.handle_sharer_gone(key, &mut self.cx)
            {
                orphans.push(other);
            }
        }
        // Several may have read the same file: the first of them has it now, and the others read
        // that one's.
        for other in orphans {
            self.take_place(other);
        }
    }

    /// A torrent is elsewhere now.
    pub(super) fn change_place(&mut self, key: Key) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let Some(others) = torrent.take_move(&mut self.cx) else { return };
        self.leave_place(key, others);
        self.take_place(key);
    }

    /// Why a torrent cannot go where it is asked to, if another writes there.
    pub(super) fn refuse_place(&self, key: Key, request: &Request) -> Option<StoreError> {
        let torrent =
            self.torrents.get(key).filter(|torrent| !torrent.location().has_own_storage())?;
        let metainfo = torrent.content().metainfo()?;
        let (dir, mut renames) = (torrent.location().dir(), torrent.location().renames().to_vec());
        let (dir, may_share) = match request {
            Request::Move(dir) => (dir.as_path(), false),
            Request::Adopt(dir) => (dir.as_path(), true),
            Request::Rename(file, path) => {
                renames.retain(|(other, _)| other != file);
                renames.push((*file, path.clone()));
                renames.sort_unstable_by_key(|(file, _)| *file);
                (dir, false)
            }
        };
        let own = torrent.location().shared().others();
        let overlaps = self.overlaps(
            Some(key),
            Site { metainfo, dir, aliases: torrent.location().aliases(), renames: &renames },
        );
        let is_taken = |overlap: &Overlap| {
            let stays = dir == torrent.location().dir() && own.contains(&overlap.other);
            let is_shared = may_share && self.is_same(metainfo, overlap);
            !stays && !is_shared
        };
        let Overlap { other, path, .. } = overlaps.into_iter().find(is_taken)?;
        let owner =
            self.torrents.get(other).map(|t| t.content().name().to_owned()).unwrap_or_default();
        let what = format!(
            "it belongs to the torrent {owner:?}, and {:?} would write to it",
            metainfo.name
        );
        Some(StoreError::new(
            StoreOp::Move,
            path,
            io::Error::new(io::ErrorKind::AlreadyExists, what),
        ))
    }
}
