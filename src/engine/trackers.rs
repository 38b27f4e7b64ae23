//! What the user can ask of and tell about a torrent's trackers.

use thiserror::Error;

use crate::{
    alert::TrackerStats,
    base::ids::TorrentId,
    engine::{Engine, NoSuchTorrent, Verbs},
    wire::tracker::{TrackerUrl, UrlError},
};

/// Why a torrent's trackers cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrackersError {
    /// There is no such torrent.
    #[error(transparent)]
    NoSuchTorrent(#[from] NoSuchTorrent),
    /// There would be too many.
    #[error("{count} trackers exceed TrackerConf::max_per_torrent, {limit}")]
    TooMany {
        /// How many there would be.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// It is no address of a tracker, or of none that we can ask.
    #[error("this is no address of a tracker: {0}")]
    Url(#[from] UrlError),
}

impl Verbs<'_> {
    /// Gives a torrent other trackers, by tier, in place of those that it has. Those that stay are
    /// not told anew; those that go are told that we stop. Addresses that are none are shown as
    /// such by [`trackers`](Engine::trackers) once it is their turn.
    ///
    /// # Errors
    /// If there is no such torrent or there are more than
    /// [`TrackerConf::max_per_torrent`](crate::conf::TrackerConf::max_per_torrent).
    pub fn set_trackers(
        &mut self,
        id: TorrentId,
        tiers: Vec<Vec<String>>,
    ) -> Result<(), TrackersError> {
        let (count, limit) =
            (tiers.iter().map(Vec::len).sum(), self.engine.cx.conf.trackers.max_per_torrent);
        if count > limit {
            return Err(TrackersError::TooMany { count, limit });
        }
        self.engine.replace_trackers(id, tiers)
    }

    /// Adds a tracker to a tier (BEP 12) of a torrent, from 0; one beyond the last makes a new last
    /// tier. Nothing happens if it has that tracker already.
    ///
    /// # Errors
    /// If there is no such torrent, it has as many as it may, or this is no address of a tracker.
    pub fn add_tracker(
        &mut self,
        id: TorrentId,
        tier: usize,
        url: &str,
    ) -> Result<(), TrackersError> {
        TrackerUrl::parse(url)?;
        let torrent = self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        let (count, limit) =
            (torrent.announcer().len() + 1, self.engine.cx.conf.trackers.max_per_torrent);
        if count > limit {
            return Err(TrackersError::TooMany { count, limit });
        }
        let mut tiers = torrent.announcer().tiers(torrent.content().trackers()).to_vec();
        if tiers.iter().flatten().any(|known| known == url) {
            return Ok(());
        }
        match tiers.get_mut(tier) {
            Some(tier) => tier.push(url.to_owned()),
            None => tiers.push(vec![url.to_owned()]),
        }
        self.engine.replace_trackers(id, tiers)
    }

    /// Announces a torrent as soon as its trackers allow it: one that has named a time that must
    /// pass is not told before. One that has said never to ask again (BEP 31) is asked once more.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn announce_now(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.announce_now(cx))
    }

    /// Asks the trackers that work, or else the first, how many take part in a torrent (BEP 48),
    /// whether or not it rests. [`Alert::Scraped`](crate::Alert::Scraped) or
    /// [`Alert::TrackerFailed`](crate::Alert::TrackerFailed) brings the answer of each; a
    /// torrent without trackers has none.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn scrape(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        let torrent = self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        for tracker in torrent.announcer().to_scrape() {
            self.engine.calls.scrape(id.0, tracker);
        }
        Ok(())
    }
}

impl Engine {
    /// How a torrent's trackers stand, in the order in which they are tried: by tier (BEP 12), and
    /// within a tier the one that answered last first. Empty if there is no such torrent.
    pub fn trackers(&self, id: TorrentId) -> Vec<TrackerStats> {
        self.torrents
            .get(id.0)
            .map(|torrent| torrent.tracker_stats(self.cx.now))
            .unwrap_or_default()
    }

    fn replace_trackers(
        &mut self,
        id: TorrentId,
        tiers: Vec<Vec<String>>,
    ) -> Result<(), TrackersError> {
        self.with(id, |torrent, cx| torrent.set_trackers(tiers, cx))?;
        self.forget_calls(id.0);
        Ok(())
    }
}
