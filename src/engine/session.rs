//! The session as a whole: restored from its folder, and recorded as it changes. What is recorded
//! leaves as jobs when a turn ends.
//!
//! The folder itself is the driver's: it reads it before it makes the engine, and its workers
//! append to it.

use std::{collections::HashSet, io, time::Duration};

use crate::{
    alert::{Alert, StopAt},
    base::{
        arena::Key,
        ids::{InfoHash, TorrentId, WireHash},
        job::Job,
        storage::{RecordKind, SessionRecord, StoreError, StoreOp},
        time::Instant,
    },
    engine::{ActiveLimits, Effect, Engine, NoSuchTorrent, Verbs, io::Owner},
    torrent::{Torrent, TorrentParams, persistence},
    wire::session::{MAX_BODY, Restored, RestoredTorrent, SessionSettings},
};

/// Records that are made at a time: as many as workers append at once, so that thousands of
/// additions are not in memory twice.
const AT_A_TIME: usize = 256;
/// What of the session's own settings the user has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Limits,
    PeerLimits,
    Active,
    Stop,
}

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Verbs<'_> {
    /// Has everything that is not on disk yet written to the session folder, or to the torrents'
    /// state files, now instead of in its time. [`Alert::Saved`] and [`Alert::Recorded`] tell
    /// when that is done.
    pub fn save_session(&mut self) {
        for key in self.engine.torrents.keys() {
            if let Some(torrent) = self.engine.torrents.get_mut(key) {
                torrent.save_now(&mut self.engine.cx);
            }
        }
        self.engine.record_dht();
    }
}

/// The hashes of the hybrids whose metainfo is known. A magnet link with one of them is an older
/// record of the same torrent, from before its metainfo came.
fn known_hybrids(torrents: &[RestoredTorrent]) -> HashSet<WireHash> {
    let known = torrents.iter().filter_map(|torrent| Some(torrent.metainfo.as_ref()?.identity));
    let hybrids = known.filter(|identity| identity.v1().is_some() && identity.v2().is_some());
    hybrids.flat_map(|identity| identity.wire_hashes()).collect()
}

impl Engine {
    /// Takes over what a session folder had, and records from now on what changes: for drivers,
    /// before anything else is done with the engine. One [`Alert::Restored`] tells of all
    /// torrents. Those that have everything, or rest, sleep until they are needed; the
    /// others are opened by and by. The driver's workers must have the folder
    /// ([`Runner::with_folder`](crate::store::Runner::with_folder)).
    pub fn restore(&mut self, restored: Restored) {
        let Restored { torrents, session, dht, damaged, torn, set_aside } = restored;
        self.cx.recorder.begin(self.cx.conf.storage.retry_pause);
        if let Some(SessionSettings { limits, peer_limits, active, stop }) = session {
            if let Some(limits) = limits {
                self.verbs().set_limits(limits);
            }
            if let Some(limits) = peer_limits {
                self.verbs().set_default_peer_limits(limits);
            }
            if let Some((ratio_percent, seeding)) = stop {
                self.verbs().set_default_stop(StopAt { ratio_percent, seeding });
            }
            if let Some([downloads, seeds, total, checks]) = active {
                self.verbs().set_active_limits(ActiveLimits { downloads, seeds, total, checks });
            }
            self.cx.recorder.note_session_known();
        }
        let damaged = damaged + u32::from(!self.restore_dht(dht));
        self.torrents.reserve(torrents.len());
        self.by_hash.reserve(torrents.len());
        let known = known_hybrids(&torrents);
        let (mut count, mut stale) = (0, Vec::new());
        for torrent in torrents {
            let Some(source) = persistence::source(torrent.metainfo, &torrent.settings) else {
                continue;
            };
            let identity = source.identity();
            if source.metainfo().is_none() && identity.wire_hashes().any(|h| known.contains(&h)) {
                stale.push(identity);
                continue;
            }
            if self.by_hash.get(&identity).is_some() {
                continue;
            }
            count += 1;
            let params = persistence::params(source, torrent.settings);
            let limits = params.connections.limits;
            let Self { torrents, cx, .. } = self;
            let key = torrents.insert_with(|key| Torrent::restored(key, params, torrent.state, cx));
            self.by_hash.insert(&identity, key);
            self.begin_with_limits(key, limits);
            self.take_place(key);
            self.review(key);
            self.note_wishes(key);
        }
        for identity in stale {
            if let Some(torrent) =
                self.by_hash.get(&identity).and_then(|key| self.torrents.get_mut(key))
            {
                torrent.forget_other_record(identity.key(), &mut self.cx);
            }
        }
        self.cx.alerts.push(Alert::Restored { torrents: count, damaged, torn, set_aside });
        // Those whose metainfo is not known want peers at once.
        self.dial_candidates();
    }

    /// What the torrent would have to be added with to be as it is, as far as the user has a say in
    /// it.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn params(&self, id: TorrentId) -> Result<TorrentParams, NoSuchTorrent> {
        let torrent = self.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        Ok(torrent.params(self.cx.now, self.queue.download_ord(id.0), self.limits_of(id.0)))
    }

    /// The user has said something of the session as a whole. What he has not is not recorded: the
    /// next program's settings count.
    pub(super) fn session_changed(&mut self, said: Said) {
        let (conf, ActiveLimits { downloads, seeds, total, checks }) =
            (&self.cx.conf, self.queue.limits());
        self.cx.recorder.change_session(|session| match said {
            Said::Limits => session.limits = Some(conf.network.limits),
            Said::PeerLimits => session.peer_limits = Some(conf.peers.limits),
            Said::Active => session.active = Some([downloads, seeds, total, checks]),
            Said::Stop => {
                session.stop = Some((conf.queue.stop.ratio_percent, conf.queue.stop.seeding))
            }
        });
    }

    /// A torrent's settings have changed that the engine keeps for it.
    pub(super) fn torrent_changed(&mut self, key: Key) {
        if let Some(torrent) = self.torrents.get_mut(key) {
            torrent.settings_changed(&mut self.cx);
        }
    }

    /// Whether records are due that may be made now.
    pub(super) fn has_records_due(&self) -> bool {
        self.cx.recorder.has_due(AT_A_TIME)
    }

    /// Makes the records that are due.
    pub(super) fn pump_session(&mut self) {
        if self.cx.recorder.is_waiting() {
            return;
        }
        if let Some(body) = self.cx.recorder.poll_session() {
            let info_hash = WireHash::v1(InfoHash([0; 20]));
            let record = SessionRecord { kind: RecordKind::Session, info_hash, body };
            self.push_record(None, record);
        }
        while let Some(key) = self.cx.recorder.poll_due(AT_A_TIME) {
            let (now, order, limits) =
                (self.cx.now, self.queue.download_ord(key), self.limits_of(key));
            if let Some(record) = self
                .torrents
                .get_mut(key)
                .and_then(|torrent| torrent.poll_record(now, order, limits))
            {
                if record.body.len() > MAX_BODY {
                    self.give_up(key, record.body.len());
                } else {
                    self.push_record(Some(key), record);
                }
            }
        }
    }

    /// A torrent has become too large to be recorded: that is told, and not tried again before
    /// something else of it changes.
    fn give_up(&mut self, key: Key, bytes: usize) {
        let why = format!("a record of {bytes} bytes, where {MAX_BODY} are the limit");
        let dir = self.cx.conf.session.dir.clone().unwrap_or_default();
        let error =
            StoreError::new(StoreOp::Save, dir, io::Error::new(io::ErrorKind::InvalidInput, why));
        log::error!("{error}");
        self.cx.alerts.push(Alert::SessionFailed { error, retry_in: None });
        if let Some(torrent) = self.torrents.get_mut(key) {
            torrent.handle_unrecordable(&mut self.cx);
        }
        self.settle(key);
    }

    pub(super) fn push_record(&mut self, torrent: Option<Key>, record: SessionRecord) {
        self.cx.recorder.begin_record();
        self.effect(Effect::Job(Job::Record { torrent, record }));
    }

    /// A worker has recorded something, or failed to.
    pub(super) fn handle_recorded(
        &mut self,
        torrent: Option<Key>,
        kind: RecordKind,
        result: Result<(), StoreError>,
    ) {
        self.cx.recorder.end_record();
        match &result {
            Ok(()) => self.cx.recorder.note_works(self.cx.conf.storage.retry_pause),
            Err(error) => self.recording_failed(error),
        }
        match torrent {
            None if kind == RecordKind::Dht => self.dht_recorded(result.is_ok()),
            None => self.cx.recorder.end_session_record(result.is_ok()),
            Some(key) => {
                if let Some(torrent) = self.torrents.get_mut(key) {
                    torrent.handle_recorded(&result, &mut self.cx);
                }
                self.settle(key);
            }
        }
    }

    fn recording_failed(&mut self, error: &StoreError) {
        let longest = LONGEST_PAUSE.max(self.cx.conf.storage.retry_pause);
        let Some(retry_in) = self.cx.recorder.fail(self.cx.now, longest) else { return };
        log::error!("{error}");
        if let Some(pause) = retry_in {
            self.io.wake(self.cx.now + pause, Owner::Recorder);
        }
        self.cx.alerts.push(Alert::SessionFailed { error: error.clone(), retry_in });
    }

    pub(super) fn handle_recorder_timeout(&mut self, at: Instant) {
        self.cx.recorder.handle_timeout(at);
    }

    /// The engine is shutting down: what is due is recorded at once, or not at all.
    pub(super) fn record_for_the_last_time(&mut self) {
        self.cx.recorder.give_last_chance();
        self.record_dht();
    }
}
