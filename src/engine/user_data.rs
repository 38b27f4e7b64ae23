//! A number that the user ties to a torrent, to find its own data by. It means nothing to the
//! engine.

use crate::{
    base::ids::TorrentId,
    engine::{Engine, NoSuchTorrent, Verbs},
};

impl Verbs<'_> {
    /// Ties this number to a torrent in place of the one it has.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_user_data(&mut self, id: TorrentId, data: u64) -> Result<(), NoSuchTorrent> {
        let torrent = self.engine.torrents.get_mut(id.0).ok_or(NoSuchTorrent(id))?;
        torrent.set_user_data(data);
        Ok(())
    }
}

impl Engine {
    /// The number that the user has tied to a torrent
    /// ([`TorrentParams::user_data`](crate::TorrentParams::user_data),
    /// [`Verbs::set_user_data`]), 0 if none was. It is not kept in a session's folder: a torrent
    /// that was restored has 0, and is known by its info-hashes
    /// ([`Engine::find`]) or [`labels`](Self::labels), which are kept.
    ///
    /// # Errors
    /// If there is no such torrent.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cratetorrent::{Conf, Engine, Instant, TorrentParams, wire::metainfo::Metainfo};
    /// # let bytes = b"d4:infod6:lengthi5e4:name3:a b\
    /// #     12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    /// # let metainfo = Arc::new(Metainfo::from_bytes(bytes)?);
    /// let mut engine = Engine::new(Conf::default(), 1, Instant::ZERO)?;
    /// let params = TorrentParams { user_data: 7, ..TorrentParams::new(metainfo, "downloads") };
    /// let id = engine.verbs().add_torrent(params)?;
    /// assert_eq!(engine.user_data(id)?, 7);
    /// engine.verbs().set_user_data(id, 8)?;
    /// assert_eq!(engine.user_data(id)?, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn user_data(&self, id: TorrentId) -> Result<u64, NoSuchTorrent> {
        self.torrents.get(id.0).map(|t| t.identity().user_data()).ok_or(NoSuchTorrent(id))
    }
}
