//! How torrents are kept in the session folder: what of each is to be recorded, one record of a
//! torrent at a time. The engine fetches the records when a turn ends, so that any number of
//! changes in one turn makes one record.
//!
//! Without a session folder all of it does nothing. It knows records, not where they go.

use std::{io::ErrorKind, path::Path, sync::Arc};

use crate::{
    alert::{Alert, StopAt},
    base::{
        bucket::Limits,
        ids::{Identity, WireHash},
        storage::{RecordKind, SessionRecord, StoreError},
        time::Instant,
    },
    conf::{CryptoMethod, CryptoMethods, Encryption},
    torrent::{ConnectionParams, EarlierRuns, Source, Torrent, TorrentParams, cx::Cx},
    wire::{
        magnet::Magnet,
        metainfo::Metainfo,
        session::{EncryptionSettings, MAX_BODY, TorrentSettings, join_torrent},
    },
};

/// Peers that are remembered of a torrent.
const MAX_PEERS: usize = 100;
/// The most bytes of a torrent that is added: some are left for what becomes of it before it is
/// recorded.
pub(crate) const MAX_NEW: usize = MAX_BODY - 4096;

/// What of a torrent is to be recorded.
#[derive(Debug, Default)]
pub(crate) struct Persistence {
    /// It is kept in the session folder.
    on: bool,
    /// Its metainfo file, until that is on disk.
    raw: Option<Arc<[u8]>>,
    due: Option<RecordKind>,
    out: Option<Out>,
    /// The key of a record that is to go: the torrent was known by another hash before its metainfo
    /// came.
    stale: Option<WireHash>,
    /// The last record could not be written, and will not be: on disk it is as it was before.
    lost: bool,
    place: Place,
    data: Data,
}

/// A record that a worker has, or is to have next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    /// One of the torrent's own key.
    Own(RecordKind),
    /// The removal of an older record of the torrent, which has this key.
    Stale(WireHash),
}

/// Whether the folder's record says where the torrent is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Recorded,
    /// A record that says it is with a worker.
    Out,
    New,
    /// It could not be recorded, and is not tried again before something else changes.
    Lost,
}

/// What becomes of the data of a torrent that is removed with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Data {
    #[default]
    Stays,
    /// A worker deletes it.
    Going,
    Gone,
}

impl Persistence {
    /// Whether the torrent is kept in the session folder.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Its metainfo file, as long as that is not on disk.
    pub(super) fn raw(&self) -> Option<&[u8]> {
        self.raw.as_deref()
    }

    /// The torrent is in the session folder, and all of it is recorded.
    pub(super) fn turn_on(&mut self) {
        self.on = true;
    }

    /// What is to be recorded next. An older record goes when the new one is there, so that a kill
    /// in between leaves two records and never none; but before the torrent's own removal, or the
    /// older one would bring the torrent back.
    fn next(&self) -> Option<Out> {
        let is_stale_due = match self.due {
            Some(due) => due == RecordKind::Removed,
            None => self.raw.is_none() && !self.lost,
        };
        let stale = self.stale.filter(|_| is_stale_due).map(Out::Stale);
        stale.or(self.due.map(Out::Own))
    }

    /// Whether all that was to be recorded is, or never will be.
    fn is_over(&self) -> bool {
        self.due.is_none() && self.out.is_none() && (self.stale.is_none() || self.lost)
    }

    /// This is still to be recorded.
    fn put_back(&mut self, out: Out) {
        match out {
            Out::Own(kind) => self.due = self.due.max(Some(kind)),
            Out::Stale(key) => self.stale = Some(key),
        }
    }

    /// What is not recorded stays as it was before.
    fn give_up(&mut self) {
        (self.due, self.lost) = (None, true);
        if self.place != Place::Recorded {
            self.place = Place::Lost;
        }
    }
}

impl Torrent {
    /// It is new, and kept in the session folder from now on.
    pub(crate) fn keep(&mut self, cx: &mut Cx) {
        // Its own copy lets go of the bytes when they are on disk, even if other copies keep them.
        self.persistence.raw = self.content.take_raw();
        self.persistence.on = true;
        self.persistence.place = Place::New;
        self.record(RecordKind::Torrent, cx);
    }

    /// Whether a record has room for its metainfo in this file. One that has not would keep all
    /// that follows from being recorded.
    pub(super) fn has_room_for(&self, file: &[u8], now: Instant) -> bool {
        let settings = settings(self.params(now, Some(u64::MAX), Limits::default())).encode();
        settings.len().saturating_add(file.len()) <= MAX_NEW
    }

    /// Its metainfo is in this file from now on.
    pub(super) fn keep_file(&mut self, file: Arc<[u8]>, cx: &mut Cx) {
        self.persistence.raw = Some(file);
        self.record(RecordKind::Torrent, cx);
    }

    /// Its record is to go that has this key, unless that is its key still. The one of its new key
    /// comes first: a kill in between leaves two, and never none.
    pub(super) fn forget_record(&mut self, key: WireHash) {
        self.persistence.stale = Some(key).filter(|key| *key != self.identity.hashes().key());
    }

    /// The session folder has another record of it, by this key, which is to go.
    pub(crate) fn forget_other_record(&mut self, key: WireHash, cx: &mut Cx) {
        self.forget_record(key);
        cx.recorder.note_due(self.identity.key());
    }

    /// Its record is that of another torrent from now on, which has become the same one. What
    /// becomes of this one is no matter of the session folder any more, and nothing of it that was
    /// to be recorded keeps it.
    pub(crate) fn give_up_record(&mut self, to: &Identity, cx: &mut Cx) {
        if self.identity.hashes().key() == to.key() {
            let data = self.persistence.data;
            self.persistence = Persistence { data, ..Persistence::default() };
            self.forget(cx);
        }
    }

    /// Something that [`TorrentParams`] speaks of has changed: it is recorded when this turn ends.
    pub(crate) fn settings_changed(&mut self, cx: &mut Cx) {
        self.record(RecordKind::Settings, cx);
    }

    /// The torrent is elsewhere now.
    pub(super) fn place_changed(&mut self, cx: &mut Cx) {
        if self.persistence.on {
            self.persistence.place = Place::New;
        }
        self.settings_changed(cx);
    }

    /// Whether a state may be saved as far as the record of its place is concerned: after a kill a
    /// state counts for the place that is recorded, so that one of a new place comes after its
    /// record; and so does that of a new torrent, or it would be taken for that of another torrent
    /// of the same name that is added later.
    pub(super) fn is_place_recorded(&self) -> bool {
        self.persistence.place == Place::Recorded
    }

    /// Whether a state will not be saved, since its place could not be recorded.
    pub(super) fn has_lost_place(&self) -> bool {
        self.persistence.place == Place::Lost
    }

    pub(super) fn record(&mut self, kind: RecordKind, cx: &mut Cx) {
        // What comes after its removal would bring it back at the next start.
        let is_gone = self.lifecycle.is_forgetting() && self.lifecycle.is_removed();
        if is_gone && kind != RecordKind::Removed {
            return;
        }
        if self.persistence.on {
            self.persistence.due = self.persistence.due.max(Some(kind));
            cx.recorder.note_due(self.identity.key());
        }
    }

    /// Whether all that was to be recorded of it is, or never will be.
    pub(super) fn is_recorded(&self) -> bool {
        self.persistence.is_over()
    }

    /// Whether something of it will never be recorded.
    pub(super) fn is_unrecorded(&self) -> bool {
        self.persistence.lost
    }

    /// How long it was at work is kept with its settings, at the end of a run.
    pub(super) fn keep_totals(&mut self, cx: &mut Cx) {
        if self.totals(cx.now) != self.activity.at_start() {
            self.settings_changed(cx);
        }
    }

    /// The next record of it, unless one is on its way.
    #[must_use]
    pub(crate) fn poll_record(
        &mut self,
        now: Instant,
        queue_order: Option<u64>,
        limits: Limits,
    ) -> Option<SessionRecord> {
        if self.persistence.out.is_some() {
            return None;
        }
        let due = match self.persistence.next()? {
            out @ Out::Stale(info_hash) => {
                (self.persistence.stale, self.persistence.out) = (None, Some(out));
                let kind = RecordKind::Removed;
                return Some(SessionRecord { kind, info_hash, body: Vec::new() });
            }
            Out::Own(kind) => kind,
        };
        self.persistence.due = None;
        // Before it is there, nothing can be said of it alone.
        let kind = if due == RecordKind::Settings && self.persistence.raw.is_some() {
            RecordKind::Torrent
        } else {
            due
        };
        let settings = || settings(self.params(now, queue_order, limits));
        let body = match kind {
            RecordKind::Torrent => join_torrent(&settings(), self.persistence.raw.as_deref()?),
            RecordKind::Settings => settings().encode(),
            _ => Vec::new(),
        };
        self.persistence.out = Some(Out::Own(kind));
        if self.persistence.place != Place::Recorded && kind != RecordKind::Removed {
            self.persistence.place = Place::Out;
        }
        Some(SessionRecord { kind, info_hash: self.identity.hashes().key(), body })
    }

    /// A record was written, or not.
    pub(crate) fn handle_recorded(&mut self, result: &Result<(), StoreError>, cx: &mut Cx) {
        let Some(out) = self.persistence.out.take() else { return };
        if self.persistence.place == Place::Out {
            self.persistence.place = match result {
                Ok(()) => Place::Recorded,
                Err(_) => Place::New,
            };
            if self.is_place_recorded() {
                self.save_if_due(cx);
            }
        }
        match (result, out) {
            (Ok(()), Out::Stale(_)) => {}
            (Ok(()), Out::Own(RecordKind::Removed)) => self.persistence.lost = false,
            (Ok(()), Out::Own(kind)) => {
                self.persistence.lost = false;
                // A metainfo that has come since is still to be recorded.
                let is_old = self.persistence.due == Some(RecordKind::Torrent);
                if kind == RecordKind::Torrent && !is_old {
                    self.persistence.raw = None;
                }
                cx.alerts.push(Alert::Recorded { torrent: self.identity.id() });
            }
            (Err(_), out) if cx.recorder.is_last_chance() => {
                self.persistence.put_back(out);
                self.persistence.give_up();
            }
            (Err(error), out) => {
                self.persistence.put_back(out);
                // The space that the record lacks may be that of the data.
                let is_removal = matches!(out, Out::Stale(_) | Out::Own(RecordKind::Removed))
                    && self.persistence.due == Some(RecordKind::Removed);
                if is_removal && is_full(error) && self.is_to_be_deleted() {
                    self.begin_to_delete(cx);
                }
            }
        }
        if self.persistence.next().is_some() {
            cx.recorder.note_due(self.identity.key());
        }
        self.forget(cx);
        self.settle(cx);
    }

    /// A record of it is too large.
    pub(crate) fn handle_unrecordable(&mut self, cx: &mut Cx) {
        (self.persistence.out, self.persistence.lost) = (None, true);
        if self.persistence.place == Place::Out {
            self.persistence.place = Place::Lost;
        }
        self.forget(cx);
        self.settle(cx);
    }

    /// Its files are closed and nothing of it is with any worker. It is gone when that, and
    /// whatever else is to be, is recorded, and then its data if that is to go: a kill in
    /// between leaves files of no torrent, and not a torrent that fetches all of them again.
    pub(super) fn ended(&mut self, cx: &mut Cx) {
        self.refuse_requests(cx);
        self.lifecycle.begin_to_forget();
        if self.lifecycle.is_removed() {
            self.record(RecordKind::Removed, cx);
        }
        self.forget(cx);
    }

    pub(super) fn forget(&mut self, cx: &mut Cx) {
        let told = !(self.persistence.on && self.awaits_farewells());
        let pending = !told || !self.is_recorded() || self.persistence.data == Data::Going;
        if !self.lifecycle.is_forgetting() || pending {
            return;
        }
        // One whose removal could not be recorded will be there at the next start, and its data
        // with it.
        if self.is_to_be_deleted() && !self.persistence.lost {
            return self.begin_to_delete(cx);
        }
        self.lifecycle.finish_closing();
        if self.lifecycle.is_removed() && !self.persistence.lost {
            cx.alerts.push(Alert::Removed { torrent: self.identity.id() });
        }
    }

    fn is_to_be_deleted(&self) -> bool {
        self.persistence.data == Data::Stays && self.lifecycle.is_removed_with_data()
    }

    /// Has a worker delete its data.
    pub(super) fn begin_to_delete(&mut self, cx: &mut Cx) {
        self.persistence.data = Data::Going;
        self.delete(cx);
    }

    /// Its data is gone, as far as it can go.
    pub(super) fn deleted(&mut self, cx: &mut Cx) {
        self.persistence.data = Data::Gone;
        if self.lifecycle.is_forgetting() { self.forget(cx) } else { self.ended(cx) }
    }

    /// What it would have to be added with to be as it is. `limits` are its own.
    pub(crate) fn params(
        &self,
        now: Instant,
        queue_order: Option<u64>,
        limits: Limits,
    ) -> TorrentParams {
        TorrentParams {
            source: self.content.source().clone(),
            dir: self.location.dir().to_owned(),
            state_file: self.location.state_file().map(Path::to_owned),
            storage: self.location.own_storage(),
            peers: self.peers.candidates().worth_keeping(MAX_PEERS),
            trackers: self.trackers.announcer().set_by_user(),
            web_seeds: self.added_web_seeds(),
            sequential: self.modes.is_sequential(),
            trust: self.lifecycle.trust_to_keep(),
            paused: self.lifecycle.is_paused(),
            super_seed: self.modes.is_super_seed(),
            priorities: self.content.priorities().priorities().to_vec(),
            renames: self.location.renames().to_vec(),
            queued: self.lifecycle.is_queued(),
            queue_order,
            stop: self.activity.stop(),
            earlier: EarlierRuns {
                totals: self.totals(now),
                tracker_events: self.tracker_events(),
                removed_web_seeds: self.removed_web_seeds(),
            },
            labels: self.identity.labels().to_vec(),
            user_data: self.identity.user_data(),
            connections: ConnectionParams {
                limits,
                encryption: self.peers.candidates().policy(),
                methods: self.peers.candidates().methods(),
            },
        }
    }
}

fn is_full(error: &StoreError) -> bool {
    matches!(error.source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn settings(params: TorrentParams) -> TorrentSettings {
    let magnet = match &params.source {
        Source::Magnet(magnet) => Some(magnet.to_string()),
        Source::Metainfo(_) => None,
    };
    TorrentSettings {
        magnet,
        dir: params.dir,
        peers: params.peers,
        trackers: params.trackers,
        web_seeds: params.web_seeds,
        sequential: params.sequential,
        trust: params.trust,
        paused: params.paused,
        super_seed: params.super_seed,
        priorities: params.priorities,
        renames: params.renames,
        queued: params.queued,
        queue_order: params.queue_order,
        totals: params.earlier.totals,
        tracker_events: params.earlier.tracker_events,
        removed_web_seeds: params.earlier.removed_web_seeds,
        stop: params.stop.map(|stop| (stop.ratio_percent, stop.seeding)),
        labels: params.labels,
        limits: params.connections.limits,
        encryption: EncryptionSettings {
            policy: params.connections.encryption.map(|policy| match policy {
                Encryption::Off => 0,
                Encryption::Allowed => 1,
                Encryption::Preferred => 2,
                Encryption::Required => 3,
            }),
            methods: params.connections.methods.map(|methods| {
                u8::from(methods.preferred == CryptoMethod::Rc4) + 2 * u8::from(methods.only)
            }),
        },
    }
}

/// Bytes of the record that a new torrent makes, without those that every record has.
pub(crate) fn record_len(params: &TorrentParams) -> usize {
    let peers = params.peers.iter().copied().take(MAX_PEERS).collect();
    let settings = settings(TorrentParams { peers, ..params.clone() }).encode();
    let raw = params.source.metainfo().and_then(|metainfo| metainfo.raw.as_ref());
    raw.map_or(0, |raw| raw.len()).saturating_add(settings.len() + 4)
}

/// What a torrent of a session folder is known by.
pub(crate) fn source(
    metainfo: Option<Arc<Metainfo>>,
    settings: &TorrentSettings,
) -> Option<Source> {
    let magnet = || settings.magnet.as_deref()?.parse::<Magnet>().ok();
    metainfo.map(Source::from).or_else(|| Some(magnet()?.into()))
}

/// The parameters that a torrent of a session folder is added with.
pub(crate) fn params(source: Source, settings: TorrentSettings) -> TorrentParams {
    TorrentParams {
        source,
        dir: settings.dir,
        state_file: None,
        storage: None,
        peers: settings.peers,
        trackers: settings.trackers,
        web_seeds: settings.web_seeds,
        sequential: settings.sequential,
        trust: settings.trust,
        paused: settings.paused,
        super_seed: settings.super_seed,
        priorities: settings.priorities,
        renames: settings.renames,
        queued: settings.queued,
        queue_order: settings.queue_order,
        earlier: EarlierRuns {
            totals: settings.totals,
            tracker_events: settings.tracker_events,
            removed_web_seeds: settings.removed_web_seeds,
        },
        stop: settings.stop.map(|(ratio_percent, seeding)| StopAt { ratio_percent, seeding }),
        labels: settings.labels,
        user_data: 0,
        connections: ConnectionParams {
            limits: settings.limits,
            encryption: settings.encryption.policy.map(|code| match code {
                0 => Encryption::Off,
                1 => Encryption::Allowed,
                2 => Encryption::Preferred,
                _ => Encryption::Required,
            }),
            methods: settings.encryption.methods.map(|code| CryptoMethods {
                preferred: if code & 1 == 0 { CryptoMethod::Plaintext } else { CryptoMethod::Rc4 },
                only: code & 2 != 0,
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::InfoHash;

    const OLD: WireHash = WireHash::v1(InfoHash([1; 20]));

    fn with(due: Option<RecordKind>, raw: Option<Arc<[u8]>>) -> Persistence {
        Persistence { on: true, due, raw, stale: Some(OLD), ..Persistence::default() }
    }

    #[test]
    fn older_record_goes_after_the_new_one_and_before_the_removal() {
        let raw = || Some(Arc::default());
        let own = |kind| Some(Out::Own(kind));
        assert_eq!(with(Some(RecordKind::Torrent), raw()).next(), own(RecordKind::Torrent));
        assert_eq!(with(Some(RecordKind::Settings), None).next(), own(RecordKind::Settings));
        assert_eq!(with(None, raw()).next(), None);
        assert_eq!(with(None, None).next(), Some(Out::Stale(OLD)));
        assert_eq!(with(Some(RecordKind::Removed), raw()).next(), Some(Out::Stale(OLD)));
        // One that could not be removed is tried again.
        let mut kept = Persistence { stale: None, ..with(None, None) };
        kept.put_back(Out::Stale(OLD));
        assert_eq!((kept.due, kept.next()), (None, Some(Out::Stale(OLD))));
    }

    #[test]
    fn what_is_given_up_is_over_and_its_place_is_lost() {
        for place in [Place::New, Place::Out] {
            let mut given_up =
                Persistence { place, ..with(Some(RecordKind::Torrent), Some(Arc::default())) };
            assert!(!given_up.is_over());
            given_up.give_up();
            assert!(given_up.is_over() && given_up.next().is_none());
            assert_eq!(given_up.place, Place::Lost);
        }
        let mut elsewhere = with(None, None);
        elsewhere.give_up();
        assert_eq!((elsewhere.place, elsewhere.is_over()), (Place::Recorded, true));
    }
}
