//! Which number means which torrent.

use std::{collections::BTreeMap, path::PathBuf};

use cratetorrent::{Identity, Source, TorrentId};

use crate::{command::Which, common::Problem};

/// Digits of an info-hash that name a torrent, at least: fewer are a number.
const LEAST_DIGITS: usize = 4;

/// A torrent, as the user knows it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u32,
    pub id: TorrentId,
    pub identity: Identity,
    /// Empty if a magnet link does not tell, and no peer has yet.
    pub name: String,
    pub dir: PathBuf,
}

impl Entry {
    /// A foreign word: it may not write all over the terminal, nor into the next field.
    pub fn name(&self) -> String {
        match self.name.as_str() {
            "" => "-".to_owned(),
            name => name.escape_debug().to_string(),
        }
    }

    /// Its info-hashes in hexadecimal digits, the one that it is called by first.
    pub fn hashes(&self) -> Vec<String> {
        let v1 = self.identity.v1().map(|hash| hash.to_string());
        v1.into_iter().chain(self.identity.v2().map(|hash| hash.to_string())).collect()
    }
}

#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<u32, Entry>,
    last: u32,
}

impl Book {
    pub fn enter(&mut self, id: TorrentId, source: &Source, dir: PathBuf) -> &Entry {
        self.last += 1;
        let number = self.last;
        let (identity, name) = (source.identity(), source.name().to_owned());
        self.entries.entry(number).or_insert(Entry { number, id, identity, name, dir })
    }

    /// It is known now what its magnet link stands for.
    pub fn learn(&mut self, id: TorrentId, identity: Identity, name: &str) -> Option<&Entry> {
        let entry = self.entries.values_mut().find(|entry| entry.id == id)?;
        (entry.identity, entry.name) = (identity, name.to_owned());
        Some(entry)
    }

    pub fn strike(&mut self, id: TorrentId) -> Option<Entry> {
        let number = self.by_id(id)?.number;
        self.entries.remove(&number)
    }

    /// Its data is somewhere else now.
    pub fn move_to(&mut self, id: TorrentId, dir: PathBuf) {
        if let Some(entry) = self.entries.values_mut().find(|entry| entry.id == id) {
            entry.dir = dir;
        }
    }

    pub fn by_id(&self, id: TorrentId) -> Option<&Entry> {
        self.entries.values().find(|entry| entry.id == id)
    }

    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The torrent with this number, or whose info-hash begins so.
    pub fn find(&self, word: &str) -> Result<&Entry, Problem> {
        if let Some(entry) = word.parse().ok().and_then(|number: u32| self.entries.get(&number)) {
            return Ok(entry);
        }
        let prefix = word.to_ascii_lowercase();
        let begins = |entry: &&Entry| entry.hashes().iter().any(|hash| hash.starts_with(&prefix));
        let found: Vec<_> = self.entries.values().filter(begins).take(2).collect();
        match found.as_slice() {
            _ if prefix.len() < LEAST_DIGITS => {
                Err(Problem::usage(format!("there is no torrent {word}")))
            }
            [entry] => Ok(entry),
            [] => Err(Problem::usage(format!("there is no torrent {word}"))),
            _ => Err(Problem::usage(format!(
                "the info-hashes of several torrents begin with {word}"
            ))),
        }
    }

    /// All that are meant, or what is wrong with the first that cannot be.
    pub fn find_all(&self, which: &Which) -> Result<Vec<Entry>, Problem> {
        match which {
            Which::All => Ok(self.entries.values().cloned().collect()),
            Which::These(words) => words.iter().map(|word| self.find(word).cloned()).collect(),
        }
    }
}
