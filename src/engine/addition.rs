//! The verb that adds a torrent: what is checked before it is one of the engine's.

use crate::{
    base::ids::TorrentId,
    engine::{AddError, Engine, Verbs, files, labels},
    torrent::{Torrent, TorrentParams, persistence},
};

impl Verbs<'_> {
    /// Adds a torrent and has a worker look at what is there. Its id is good for as long as the
    /// engine lives. In a session with a folder
    /// ([`SessionConf::dir`](crate::conf::SessionConf::dir)) it will be there at the next start
    /// once [`Alert::Recorded`](crate::Alert::Recorded) has told so.
    ///
    /// # Errors
    /// If the torrent is there already (what is wanted of its files stays as it is), it would write
    /// to a file of another ([`AddError::PathTaken`]), its labels are too many or too long, a file
    /// cannot have the name it is given, it cannot be kept in the session's folder or is too large
    /// for it, or the engine is shutting down.
    pub fn add_torrent(&mut self, mut params: TorrentParams) -> Result<TorrentId, AddError> {
        if self.engine.shutdown.has_begun() {
            return Err(AddError::ShuttingDown);
        }
        let identity = params.source.identity();
        if let Some(key) = self.engine.by_hash.get(&identity) {
            return Err(AddError::Duplicate(TorrentId(key)));
        }
        let labels = labels::tidy(std::mem::take(&mut params.labels), &self.engine.cx.conf)?;
        params.labels = labels;
        params.renames = files::safe_renames(&params)?;
        if params.storage.is_some() {
            if self.engine.cx.recorder.is_on() {
                return Err(AddError::OwnStorage);
            }
        } else if let Some(metainfo) = params.source.metainfo() {
            self.engine.check_place(metainfo, &params.dir, &params.renames)?;
        }
        if self.engine.cx.recorder.is_on() {
            self.engine.check_record(&params)?;
        }
        let limits = params.connections.limits;
        let Engine { torrents, cx, .. } = &mut *self.engine;
        let key = torrents.insert_with(|key| Torrent::new(key, params, cx));
        self.engine.by_hash.insert(&identity, key);
        self.engine.begin_with_limits(key, limits);
        self.engine.take_place(key);
        self.engine.settle(key);
        Ok(TorrentId(key))
    }
}

impl Engine {
    /// Whether a torrent can be kept in the session's folder.
    pub(super) fn check_record(&self, params: &TorrentParams) -> Result<(), AddError> {
        if params.source.metainfo().is_some_and(|metainfo| metainfo.raw.is_none()) {
            return Err(AddError::Unkept);
        }
        let (bytes, limit) = (persistence::record_len(params), persistence::MAX_NEW);
        if bytes > limit { Err(AddError::TooLarge { bytes, limit }) } else { Ok(()) }
    }
}
