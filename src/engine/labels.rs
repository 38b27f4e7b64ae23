//! Words that the user files torrents under. They mean nothing to the engine.

use thiserror::Error;

use crate::{
    base::ids::TorrentId,
    conf::Conf,
    engine::{Engine, NoSuchTorrent, Verbs},
    torrent::Torrent,
};

/// Why a torrent cannot have these labels.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LabelError {
    /// There is no such torrent.
    #[error(transparent)]
    NoSuchTorrent(#[from] NoSuchTorrent),
    /// There are too many; see [`SessionConf::max_labels`](crate::conf::SessionConf::max_labels).
    #[error("{count} labels, {limit} are allowed")]
    TooMany {
        /// How many different ones.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// One is too long; see
    /// [`SessionConf::max_label_len`](crate::conf::SessionConf::max_label_len).
    #[error("a label of {len} bytes, {limit} are allowed")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// One is empty, or has control characters in it.
    #[error("{0:?} is no label")]
    NoWord(String),
}

/// Without blanks around them and each once, in the order given.
pub(super) fn tidy(labels: Vec<String>, conf: &Conf) -> Result<Vec<String>, LabelError> {
    let mut tidy: Vec<String> = Vec::new();
    let mut count = 0;
    for label in labels {
        let word = label.trim();
        if word.len() > conf.session.max_label_len {
            return Err(LabelError::TooLong { len: word.len(), limit: conf.session.max_label_len });
        }
        if word.is_empty() || word.chars().any(char::is_control) {
            return Err(LabelError::NoWord(label));
        }
        if !tidy.iter().any(|known| known == word) {
            count += 1;
            // So that a long list takes no long time.
            if count <= conf.session.max_labels {
                tidy.push(word.to_owned());
            }
        }
    }
    if count > conf.session.max_labels {
        Err(LabelError::TooMany { count, limit: conf.session.max_labels })
    } else {
        Ok(tidy)
    }
}

impl Verbs<'_> {
    /// Files a torrent under these labels instead of those it has. Blanks around them go, and each
    /// counts once.
    ///
    /// # Errors
    /// If there is no such torrent, or the labels cannot be; then it keeps those it has.
    pub fn set_labels(&mut self, id: TorrentId, labels: Vec<String>) -> Result<(), LabelError> {
        self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        let labels = tidy(labels, &self.engine.cx.conf)?;
        Ok(self.engine.with(id, |torrent, cx| torrent.set_labels(labels, cx))?)
    }
}

impl Engine {
    /// What a torrent is filed under.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn labels(&self, id: TorrentId) -> Result<&[String], NoSuchTorrent> {
        self.torrents.get(id.0).map(|t| t.identity().labels()).ok_or(NoSuchTorrent(id))
    }

    /// The torrents that are filed under a label, in no order that means anything.
    pub fn torrents_with_label(&self, label: &str) -> Vec<TorrentId> {
        let filed = |torrent: &Torrent| torrent.identity().labels().iter().any(|own| own == label);
        self.torrents
            .iter()
            .filter(|(_, torrent)| filed(torrent))
            .map(|(key, _)| TorrentId(key))
            .collect()
    }
}
