//! Files of which a sync failed, as a record has them.

use std::{collections::BTreeSet, path::PathBuf};

use super::settings::{Result, bytes_path, flag, list, parse, path_bytes};
use crate::wire::{
    bencode::{Encoder, Value},
    session::SettingsError,
};

/// Files that are open no more and that nothing says are safe: what was to be written when a sync
/// of them failed may be lost when the power is, though it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoubtfulFiles {
    /// By their paths.
    pub paths: BTreeSet<PathBuf>,
    /// All files in these folders.
    pub folders: BTreeSet<PathBuf>,
    /// All files.
    pub all: bool,
}

impl DoubtfulFiles {
    /// Their bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict();
        if self.all {
            e.key(b"all").uint(1);
        }
        for (key, paths) in [(&b"folders"[..], &self.folders), (b"paths", &self.paths)] {
            e.key(key).list();
            paths.iter().for_each(|path| _ = e.bytes(path_bytes(path).as_ref()));
            e.end();
        }
        e.end();
        e.finish()
    }

    /// Reads them. What is not known is passed over.
    ///
    /// # Errors
    /// If they are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let document = parse(bytes)?;
        let root = document.root();
        let paths = |key: &[u8], name| -> Result<BTreeSet<PathBuf>> {
            let path = |value: Value<'_>| value.as_bytes().and_then(bytes_path);
            let path = |value| path(value).ok_or(SettingsError::Field(name));
            list(root.get(key), name)?.map(path).collect()
        };
        Ok(Self {
            paths: paths(b"paths", "paths")?,
            folders: paths(b"folders", "folders")?,
            all: flag(root, "all")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubtful_files_survive_being_written_down() {
        let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        for (paths, folders, all) in
            [(&[][..], &[][..], false), (&["/d/a", "/d/b"], &["/e"], false), (&[], &["/e"], true)]
        {
            let files = DoubtfulFiles { paths: set(paths), folders: set(folders), all };
            assert_eq!(DoubtfulFiles::decode(&files.encode()), Ok(files));
        }
        for bad in [&b""[..], b"d5:pathsi1ee", b"d5:pathsli1eee"] {
            assert!(DoubtfulFiles::decode(bad).is_err(), "{bad:?}");
        }
    }
}
