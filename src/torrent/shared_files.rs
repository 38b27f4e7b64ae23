//! Files that a torrent has in common with others of the session: those that are another's, which
//! this one reads and never writes, and those of its own that others read. Neither are deleted with
//! it. The engine finds out which they are; this only remembers.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{arena::Key, storage::Borrowed};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SharedFiles {
    /// By file: the torrent that it belongs to, and what that is called.
    borrowed: BTreeMap<usize, (Key, String)>,
    /// By file: the torrents that read it.
    lent: BTreeMap<usize, BTreeSet<Key>>,
    /// Files that were another's until now.
    returned: BTreeSet<usize>,
}

impl SharedFiles {
    pub(crate) fn borrow(&mut self, file: usize, owner: Key, name: &str) {
        self.borrowed.insert(file, (owner, name.to_owned()));
    }

    pub(crate) fn lend(&mut self, file: usize, to: Key) {
        self.lent.entry(file).or_default().insert(to);
    }

    pub(crate) fn borrows(&self, file: usize) -> bool {
        self.borrowed.contains_key(&file)
    }

    /// Another torrent has gone, or is elsewhere now. Whether a file was its.
    pub(crate) fn forget(&mut self, other: Key) -> bool {
        self.lent.retain(|_, to| {
            to.remove(&other);
            !to.is_empty()
        });
        let returned = self.borrowed.extract_if(.., |_, (owner, _)| *owner == other);
        let returned: Vec<_> = returned.map(|(file, _)| file).collect();
        self.returned.extend(&returned);
        !returned.is_empty()
    }

    /// The torrent itself is elsewhere now.
    pub(crate) fn clear(&mut self) {
        let mut returned = std::mem::take(&mut self.returned);
        returned.extend(self.borrowed.keys());
        *self = Self { returned, ..Self::default() };
    }

    /// The files that have been another's and are no longer, since this was asked last. Of
    /// unfinished pieces nothing was written to them.
    pub(crate) fn take_returned(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.returned)
    }

    /// The other torrents that it has files in common with.
    pub(crate) fn others(&self) -> BTreeSet<Key> {
        let owners = self.borrowed.values().map(|(owner, _)| *owner);
        owners.chain(self.lent.values().flatten().copied()).collect()
    }

    /// Files that are never written.
    pub(crate) fn borrowed(&self) -> Vec<Borrowed> {
        let borrowed = |(&file, (owner, name)): (&usize, &(Key, String))| Borrowed {
            file,
            owner: *owner,
            name: name.clone(),
        };
        self.borrowed.iter().map(borrowed).collect()
    }

    /// Files that stay when this torrent is deleted or moved, by number, ascending.
    pub(crate) fn kept(&self) -> Vec<usize> {
        let files: BTreeSet<usize> =
            self.borrowed.keys().chain(self.lent.keys()).copied().collect();
        files.into_iter().collect()
    }
}
