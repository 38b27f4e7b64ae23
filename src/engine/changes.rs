//! What has changed since a user last asked, at a cost of what has changed.
//!
//! Whatever happens to a torrent touches it. When a user asks, the touched ones are compared with
//! what was last told of them, and those that are different get the number of this change; a cursor
//! is such a number. So any number of users may ask, each with a cursor of its own, and nothing is
//! kept for them.

use std::{
    collections::{BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::{
    alert::TorrentStats,
    base::{arena::Key, ids::TorrentId},
    engine::{Engine, Verbs},
    torrent::Torrent,
};

/// Removed torrents that are remembered for those who ask late.
const REMOVED: usize = 4096;

/// What has changed; see [`Verbs::changes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// To be handed in the next time.
    pub cursor: u64,
    /// Everything is told anew: forget all torrents that are not in `changed`.
    pub all: bool,
    /// The torrents that are new or stand otherwise than at the cursor, least recently changed
    /// first.
    pub changed: Vec<(TorrentId, TorrentStats)>,
    /// Torrents that are gone.
    pub removed: Vec<TorrentId>,
    /// The queued downloads in order, if that has changed. A torrent that only moved up since
    /// another left is not in `changed`.
    pub queue: Option<Vec<TorrentId>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    touched: BTreeSet<Key>,
    /// Torrents by the number of their last change.
    changed: BTreeSet<(u64, Key)>,
    removed: VecDeque<(u64, Key)>,
    /// Removals up to this number are forgotten.
    forgotten: u64,
    /// The number of the last change.
    last: u64,
    /// The order of the queue that was last told, and the number of that change.
    queue: (u64, u64),
}

impl Ledger {
    /// Something happened to a torrent.
    pub(super) fn touch(&mut self, key: Key, torrent: &mut Torrent) {
        if torrent.touch() {
            self.touched.insert(key);
        }
    }

    /// A torrent is gone, that was last told of under this number; 0 if it never was.
    pub(super) fn forget(&mut self, key: Key, change: u64) {
        self.touched.remove(&key);
        self.changed.remove(&(change, key));
        // A removal is told only of a torrent that was told of before.
        if change > 0 {
            self.removed.push_back((self.last + 1, key));
            if self.removed.len() > REMOVED
                && let Some((change, _)) = self.removed.pop_front()
            {
                self.forgotten = change;
            }
        }
    }
}

/// Of what can be seen to change. Times go on by themselves and are no change.
fn digest(stats: &TorrentStats) -> u64 {
    let mut hasher = DefaultHasher::new();
    let s = stats;
    (s.phase, s.pieces, s.have, s.have_bytes, s.partial_bytes, s.downloaded, s.uploaded, s.wasted)
        .hash(&mut hasher);
    (
        s.duplicate_blocks,
        s.late_blocks,
        s.unasked_blocks,
        s.failed_pieces,
        s.download_rate,
        s.upload_rate,
    )
        .hash(&mut hasher);
    (s.peers, s.seeds, s.candidates, s.banned, s.queued, s.queue_position).hash(&mut hasher);
    (s.totals.downloaded, s.totals.uploaded, s.wanted_bytes, s.wanted_have_bytes).hash(&mut hasher);
    s.no_peers.map(|no_peers| no_peers.why).hash(&mut hasher);
    hasher.finish()
}

impl Verbs<'_> {
    /// Which torrents stand otherwise than when a call returned `since` as its cursor; 0 for all of
    /// them. It costs no more than what it returns, and what has happened since anybody last
    /// asked, so it can be asked several times a second with ten thousand torrents.
    /// A torrent to which nothing happens is not told of, though its times go on; one whose rate
    /// sinks is, until it is zero.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use cratetorrent::{
    ///     Conf, Engine, Instant, TorrentId, TorrentStats, Verbs, engine::Changes,
    /// };
    ///
    /// /// What a window shows.
    /// #[derive(Default)]
    /// struct Rows {
    ///     cursor: u64,
    ///     rows: BTreeMap<TorrentId, TorrentStats>,
    ///     queue: Vec<TorrentId>,
    /// }
    ///
    /// impl Rows {
    ///     /// Called twice a second; true if there is something to draw.
    ///     fn refresh(&mut self, engine: &mut Verbs<'_>) -> bool {
    ///         let Changes { cursor, all, changed, removed, queue, .. } =
    ///             engine.changes(self.cursor);
    ///         let news = all || !changed.is_empty() || !removed.is_empty() || queue.is_some();
    ///         if all {
    ///             self.rows.clear();
    ///         }
    ///         for id in removed {
    ///             self.rows.remove(&id);
    ///         }
    ///         self.rows.extend(changed);
    ///         self.queue = queue.unwrap_or(std::mem::take(&mut self.queue));
    ///         self.cursor = cursor;
    ///         news
    ///     }
    /// }
    ///
    /// let mut engine = Engine::new(Conf::default(), 1, Instant::ZERO)?;
    /// let mut rows = Rows::default();
    /// assert!(rows.refresh(&mut engine.verbs()));
    /// assert!(!rows.refresh(&mut engine.verbs()), "nothing has happened");
    /// # Ok::<(), cratetorrent::ConfError>(())
    /// ```
    #[must_use]
    pub fn changes(&mut self, since: u64) -> Changes {
        self.engine.note_changes();
        let ledger = &mut self.engine.ledger;
        // A cursor of another engine, or of long ago, is worth nothing.
        let all = since == 0 || since > ledger.last || since < ledger.forgotten;
        let since = if all { 0 } else { since };
        let keys: Vec<Key> = ledger
            .changed
            .range((since + 1, Key { index: 0, generation: 0 })..)
            .map(|&(_, key)| key)
            .collect();
        let removed = ledger.removed.iter().rev().take_while(|(change, _)| !all && *change > since);
        let mut removed: Vec<TorrentId> = removed.map(|&(_, key)| TorrentId(key)).collect();
        removed.reverse();
        let queue = (all || ledger.queue.1 > since).then(|| self.engine.queue());
        let changed = keys
            .into_iter()
            .filter_map(|key| Some((TorrentId(key), self.engine.stats(TorrentId(key))?)))
            .collect();
        Changes { cursor: self.engine.ledger.last, all, changed, removed, queue }
    }
}

impl Engine {
    /// Gives what has changed since this was last done a number.
    fn note_changes(&mut self) {
        let (number, now) = (self.ledger.last + 1, self.cx.now);
        let touched = std::mem::take(&mut self.ledger.touched);
        let mut lively = BTreeSet::new();
        for key in touched {
            let Some(stats) = self.stats(TorrentId(key)) else { continue };
            let Some(torrent) = self.torrents.get_mut(key) else { continue };
            if torrent.stays_touched(now) {
                lively.insert(key);
            }
            if let Some(before) = torrent.note_told(digest(&stats), number) {
                self.ledger.changed.remove(&(before, key));
                self.ledger.changed.insert((number, key));
            }
        }
        self.ledger.touched = lively;
        if self.ledger.queue.0 != self.queue.version() {
            self.ledger.queue = (self.queue.version(), number);
        }
        // A number that nothing has is skipped harmlessly; 0 is the number of no change.
        self.ledger.last = number;
    }
}
