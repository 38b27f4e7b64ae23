//! One torrent: its sessions, its ledger, its storage's moods. Never sees a socket, a file or a clock.

pub(crate) mod announcer;
mod asleep;
#[cfg(any(test, feature = "sim"))]
mod audit;
pub(crate) mod bans;
mod blame;
pub(crate) mod candidates;
mod checker;
mod choker;
pub(crate) mod claim;
pub(crate) mod cx;
pub(crate) mod errands;
pub(crate) mod external;
mod files;
pub(crate) mod keeping;
mod parole;
mod picker;
mod priority;
pub(crate) mod progress;
pub(crate) mod session;
pub(crate) mod slots;
mod stop;
mod storage;
mod superseed;
mod swarm;
mod tracking;
mod turnover;
pub(crate) mod upload_memory;
mod wishes;

use std::{cmp::Reverse, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    alert::{Alert, AlertMask, Phase, StopAt, TorrentStats},
    base::{
        arena::{Arena, Key},
        bitfield::Bitfield,
        bucket::Limits,
        buf::Buf,
        files::Priority,
        geometry::PieceIndex,
        ids::{PeerId, TorrentId},
        job::{StoreError, StoreSpec, Trust},
        time::Instant,
        timers::{TimerTable, Wakeup},
        totals::Totals,
    },
    conf::Conf,
    proto::tx::Tx,
    torrent::{
        announcer::Announcer,
        asleep::Waking,
        candidates::Candidates,
        checker::Checker,
        claim::Seen,
        cx::{Cx, Owner},
        errands::{Errands, Place},
        keeping::Keep,
        picker::Picker,
        progress::Contributor,
        session::{Fault, Session, Terms},
        slots::Slots,
        stop::Service,
        swarm::{Counters, Note, Swarm},
        wishes::Wishes,
    },
    wire::metainfo::Metainfo,
};

const SAVE: usize = 0;
const PROGRESS: usize = 1;
const RETRY: usize = 2;
const SHOW: usize = 3;
const CHOKE: usize = 4;
const TURNOVER: usize = 5;
const STOP: usize = 6;
const PAROLE: usize = 7;

/// What to download or serve, and where.
#[derive(Clone, Debug)]
pub struct TorrentParams {
    /// The torrent.
    pub metainfo: Arc<Metainfo>,
    /// The download folder. It is made when the first piece is written.
    pub dir: PathBuf,
    /// Where the torrent's state is kept between runs; `None` keeps none. Not used in a session that has a folder
    /// ([`Conf::session_dir`](crate::Conf::session_dir)): the state is kept there.
    pub state_file: Option<PathBuf>,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// Tracker addresses by tier instead of the metainfo's; `None`: the metainfo's.
    pub trackers: Option<Vec<Vec<String>>>,
    /// Fetch pieces in order instead of rarest first.
    pub sequential: bool,
    /// What of the data that is there may go unchecked.
    pub trust: Trust,
    /// Begin at rest: look at what is there and connect to nobody.
    pub paused: bool,
    /// As soon as everything is there, show peers one piece at a time (BEP 16), for the first seed of a torrent. See
    /// [`Engine::set_super_seeding`](crate::Engine::set_super_seeding).
    pub super_seed: bool,
    /// How much each file is wanted, in the metainfo's order; those beyond its end are [`Priority::Normal`].
    pub priorities: Vec<Priority>,
    /// Files that have another name on disk than in the metainfo: the file's index, and its path below the download folder.
    pub renames: Vec<(usize, PathBuf)>,
    /// Whether the queue decides when it runs; see [`Conf::max_active_downloads`]. `paused` holds in any case.
    pub queued: bool,
    /// Where in the queue it begins: behind all downloads whose [`Engine::queue_order`](crate::Engine::queue_order) is not greater than
    /// this. `None`: at the end.
    pub queue_order: Option<u64>,
    /// When it has served enough; `None`: as [`Conf::stop`] has it.
    pub stop: Option<StopAt>,
    /// What it did in earlier runs. Of these and of what the state file says, the more counts.
    pub totals: Totals,
    /// Words that the user files it under.
    pub labels: Vec<String>,
    /// How fast its bytes may come and go.
    pub limits: Limits,
}

impl TorrentParams {
    /// `metainfo` into `dir`, with its state in `dir/.cratetorrent/`, rarest first, no peers yet.
    pub fn new(metainfo: Arc<Metainfo>, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let state_file = Some(dir.join(".cratetorrent").join(format!("{}.resume", metainfo.info_hash)));
        Self {
            metainfo,
            dir,
            state_file,
            peers: Vec::new(),
            sequential: false,
            trust: Trust::State,
            paused: false,
            super_seed: false,
            trackers: None,
            priorities: Vec::new(),
            renames: Vec::new(),
            queued: false,
            queue_order: None,
            stop: None,
            totals: Totals::default(),
            labels: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// How far the storage is.
#[derive(Debug)]
enum Stage {
    /// Until it is its turn to be opened.
    Waiting,
    /// Known from the session folder and not looked at.
    Asleep,
    /// A worker is looking, or failed to.
    Opening,
    Checking(Checker),
    Open,
    /// A worker is closing it.
    Closing,
    /// It is closed, and its removal is being recorded.
    Forgetting,
    Closed,
}

/// What happens when no worker has a job of this torrent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Reopen { trust: Trust },
    Close { told: bool, delete: bool },
}

/// A way a connection can be closed by its torrent.
#[derive(Debug)]
pub(crate) struct Parting {
    pub(crate) link: Key,
    pub(crate) reason: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Torrent {
    id: TorrentId,
    pub(crate) metainfo: Arc<Metainfo>,
    place: Place,
    sequential: bool,
    /// How much its files are wanted.
    wishes: Wishes,
    /// Which files the store knows as skipped.
    arranged: Vec<bool>,
    errands: Errands,
    pub(crate) sessions: Arena<Session>,
    swarm: Swarm,
    slots: Slots,
    pub(crate) candidates: Candidates,
    pub(crate) announcer: Announcer,
    /// Links to be: dialled, and not greeted yet.
    pub(crate) dials: usize,
    stage: Stage,
    /// How it was opened.
    trust: Trust,
    paused: bool,
    /// The queue decides when it runs, and does not let it.
    queued: bool,
    held: bool,
    /// Where it gets in line for the first time.
    queue_order: Option<u64>,
    next: Option<Next>,
    finished: bool,
    /// It had everything that was wanted when it was last known what it has.
    was_whole: bool,
    /// Whether to pretend as long as we are the seed; see superseed.rs.
    super_seed: bool,
    /// Links that must end; the engine fetches them.
    pub(crate) partings: Vec<Parting>,
    timers: TimerTable<8>,
    wakeup: Wakeup,
    /// When peers last made room for others.
    turned_over: Option<Instant>,
    // The storage's moods; see storage.rs.
    failing: bool,
    retry_pause: Duration,
    save_out: bool,
    unsaved: bool,
    saved_dirty: bool,
    service: Service,
    labels: Vec<String>,
    pub(crate) seen: Seen,
    /// Bytes of this run that the saved state tells of.
    saved_totals: (u64, u64),
    /// How it is kept in the session folder.
    keep: Keep,
    waking: Waking,
    /// What the engine knows of what it wants: to dial, and memory.
    pub(crate) noted: (bool, bool),
}

impl Torrent {
    pub(crate) fn new(key: Key, params: TorrentParams, cx: &mut Cx) -> Self {
        let mut torrent = Self::make(key, params, cx);
        if cx.recorder.on {
            torrent.keep(cx);
        }
        torrent
    }

    /// All of it, with nothing opened.
    fn make(key: Key, params: TorrentParams, cx: &mut Cx) -> Self {
        let TorrentParams {
            metainfo, dir, state_file, peers, sequential, trust, paused, super_seed, priorities, renames, ..
        } = params;
        let TorrentParams { trackers, queued, queue_order, stop, totals, labels, .. } = params;
        let wishes = Wishes::new(priorities, metainfo.files.len());
        let swarm = Self::empty_swarm(key, &metainfo, &wishes, cx);
        let mut candidates = Candidates::new(cx.filter.clone(), cx.external.ours(cx.listen_port));
        for addr in peers {
            candidates.add(cx.now, addr, &cx.conf);
        }
        let announcer = Announcer::new(trackers, &metainfo.trackers, metainfo.private, &mut cx.tracker_rng, &cx.conf);
        let state_file = state_file.filter(|_| !cx.recorder.on);
        Self {
            id: TorrentId(key),
            metainfo,
            place: Place { dir, state_file, renames },
            sequential,
            wishes,
            arranged: Vec::new(),
            errands: Errands::default(),
            sessions: Arena::new(),
            swarm,
            slots: Slots::new(&cx.conf),
            candidates,
            announcer,
            dials: 0,
            stage: Stage::Waiting,
            trust,
            paused,
            queued,
            held: queued,
            queue_order,
            next: None,
            finished: false,
            was_whole: false,
            super_seed,
            partings: Vec::new(),
            timers: TimerTable::new(),
            wakeup: Wakeup::default(),
            turned_over: None,
            failing: false,
            retry_pause: cx.conf.disk_retry,
            save_out: false,
            unsaved: false,
            saved_dirty: false,
            service: Service::new(stop, totals),
            labels,
            seen: Seen::default(),
            saved_totals: (0, 0),
            keep: Keep::default(),
            waking: Waking::default(),
            noted: (false, false),
        }
    }

    /// A ledger with nothing in it. It can pick pieces when it is known what is there; until then nothing is wanted.
    fn empty_swarm(key: Key, metainfo: &Metainfo, wishes: &Wishes, cx: &Cx) -> Swarm {
        let geometry = metainfo.geometry;
        let picker = Picker::none(geometry, wishes.levels(&metainfo.files, geometry));
        Swarm::new(key, metainfo.info_hash, geometry, metainfo.pieces.clone(), cx.now, picker)
    }

    fn spec_at(&self, place: Place, conf: &Conf) -> StoreSpec {
        let Place { dir, state_file, renames } = place;
        StoreSpec {
            info_hash: self.metainfo.info_hash,
            dir,
            name: self.metainfo.name.clone(),
            single_file: self.metainfo.single_file,
            files: self.metainfo.files.clone(),
            geometry: self.metainfo.geometry,
            allocation: conf.allocation,
            state_file,
            in_session: self.keep.on,
            trust: self.trust,
            skipped: self.wishes.skipped(),
            renames,
        }
    }

    // Getters.

    fn key(&self) -> Key {
        self.id.0
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.stage {
            _ if matches!(self.next, Some(Next::Close { .. })) => Phase::Closing,
            // It is opened anew as soon as its workers are done.
            _ if self.next.is_some() => Phase::Opening,
            Stage::Closing | Stage::Forgetting | Stage::Closed => Phase::Closing,
            _ if self.failing => Phase::Stalled,
            Stage::Waiting if self.paused => Phase::Paused,
            Stage::Waiting if self.held => Phase::Queued,
            Stage::Waiting | Stage::Opening => Phase::Opening,
            Stage::Checking(_) => Phase::Checking,
            Stage::Open | Stage::Asleep if self.paused => Phase::Paused,
            Stage::Open | Stage::Asleep if self.held => Phase::Queued,
            Stage::Open | Stage::Asleep if self.swarm.is_finished() => Phase::Seeding,
            // What it lacks shows when it is open.
            Stage::Asleep => Phase::Opening,
            Stage::Open => Phase::Downloading,
        }
    }

    /// Whether it speaks with peers now.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.stage, Stage::Open) && !self.rests() && self.next.is_none()
    }

    /// Whether it speaks with nobody because it was told so.
    fn rests(&self) -> bool {
        self.paused || self.held
    }

    /// Whether it looks for peers: it speaks with them, or will as soon as there is one.
    fn seeks_peers(&self) -> bool {
        self.is_active() || self.is_ready_to_wake()
    }

    /// Whether it wants to dial somebody now, or to wake for that.
    pub(crate) fn wants_dial(&self, now: Instant, conf: &Conf) -> bool {
        self.seeks_peers()
            && self.sessions.len() + self.dials < conf.max_links_per_torrent
            && self.candidates.next_due().is_some_and(|due| due <= now)
    }

    /// Whether it has peers, or pieces in progress.
    pub(crate) fn is_busy(&self) -> bool {
        self.sessions.len() > 0 || self.swarm.is_busy()
    }

    /// The link to the same peer that was dialled the other way round, if there is one, and whether a block has passed on it.
    pub(crate) fn twin(&self, who: Contributor, id: PeerId) -> Option<(Key, bool)> {
        let twin = |s: &Session| s.terms.peer_id == id && s.who.addr.ip() == who.addr.ip() && s.who.incoming != who.incoming;
        let (_, s) = self.sessions.iter().find(|(_, s)| twin(s))?;
        Some((s.link, s.useful > 0 || s.uploaded > 0))
    }

    /// A link that we dialled is not wanted, since its peer has dialled us on `twin`: that one stays, and the peer is not dialled
    /// again as long as it does.
    pub(crate) fn keep_twin(&mut self, twin: Key, dialled: Contributor) {
        let session = self.sessions.iter_mut().map(|(_, s)| s).find(|s| s.link == twin);
        if let Some(session) = session.filter(|s| s.who.incoming && !s.holds) {
            session.reach = Some(dialled.addr);
        }
    }

    /// The link that makes room for a new peer when there are enough: of those that no block has passed on and none can pass on now
    /// the one that is worth least (BEP 40), if the new one is worth more. `None` if we do not know what they are worth.
    pub(crate) fn least_worthy(&self, than: SocketAddr) -> Option<Key> {
        let idle = |s: &&Session| s.useful == 0 && s.uploaded == 0 && !s.may_exchange();
        let worth = |s: &Session| self.candidates.worth(s.who.addr).map(|worth| (worth, s.link));
        let (least, link) = self.sessions.iter().map(|(_, s)| s).filter(idle).filter_map(worth).min()?;
        (least < self.candidates.worth(than)?).then_some(link)
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    pub(crate) fn stats(&self, now: Instant) -> TorrentStats {
        let (swarm, counters) = (&self.swarm, &self.swarm.counters);
        TorrentStats {
            phase: self.phase(),
            pieces: swarm.geometry.piece_count(),
            have: swarm.have.count(),
            total_bytes: swarm.geometry.total_len(),
            have_bytes: counters.have_bytes,
            wanted_bytes: counters.wanted_bytes,
            wanted_have_bytes: counters.wanted_have_bytes,
            partial_bytes: swarm.partial_bytes(),
            downloaded: counters.down.total(),
            uploaded: counters.up.total(),
            wasted: counters.wasted,
            duplicate_blocks: counters.duplicate_blocks,
            late_blocks: counters.late_blocks,
            unasked_blocks: counters.unasked_blocks,
            failed_pieces: counters.failed_pieces,
            download_rate: counters.down.rate(now),
            upload_rate: counters.up.rate(now),
            peers: self.sessions.len(),
            seeds: self.sessions.iter().filter(|(_, s)| s.is_seed()).count(),
            candidates: self.candidates.len(),
            banned: self.candidates.banned(now),
            totals: self.totals(now),
            queued: self.queued,
            queue_position: None,
            eta: self.eta(now),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.swarm.counters
    }

    pub(crate) fn labels(&self) -> &[String] {
        &self.labels
    }

    pub(crate) fn have(&self) -> &Bitfield {
        &self.swarm.have
    }

    // The owner's verbs.

    pub(crate) fn pause(&mut self, cx: &mut Cx) {
        if !self.paused {
            self.paused = true;
            // Afterwards it gets in line again.
            self.held = self.queued;
            self.settings_changed(cx);
            self.rest("the torrent is paused", cx);
        }
    }

    fn rest(&mut self, reason: &str, cx: &mut Cx) {
        self.part_all(reason);
        self.unsaved |= self.saved_dirty;
        self.timers.set(SAVE, cx.now);
        self.settle(cx);
    }

    /// The queue wants it to rest, or lets it go.
    pub(crate) fn set_held(&mut self, held: bool, cx: &mut Cx) {
        if self.held != held && self.queued {
            self.held = held;
            if held {
                self.rest(HELD, cx);
            } else {
                self.settle(cx);
            }
        }
    }

    pub(crate) fn set_queued(&mut self, queued: bool, cx: &mut Cx) {
        if self.queued != queued {
            self.queued = queued;
            self.queue_order = None;
            // What runs goes on until the queue says otherwise.
            self.held = queued && !self.is_active();
            self.settings_changed(cx);
            self.settle(cx);
        }
    }

    pub(crate) fn resume(&mut self, cx: &mut Cx) {
        if std::mem::take(&mut self.paused) {
            self.waive_stop();
            self.settings_changed(cx);
        }
        match self.stage {
            Stage::Asleep if !self.swarm.is_finished() => self.line_up(),
            Stage::Opening if self.failing => {
                self.failing = false;
                self.await_opening(self.trust);
            }
            _ if self.failing => self.timers.set(RETRY, cx.now),
            _ => {}
        }
        self.settle(cx);
    }

    pub(crate) fn recheck(&mut self, cx: &mut Cx) {
        if self.next.is_none() {
            self.part_all("the torrent is being checked");
            self.next = Some(Next::Reopen { trust: Trust::Nothing });
            self.settle(cx);
        }
    }

    pub(crate) fn set_labels(&mut self, labels: Vec<String>, cx: &mut Cx) {
        self.labels = labels;
        self.settings_changed(cx);
    }

    pub(crate) fn set_sequential(&mut self, sequential: bool, cx: &mut Cx) {
        self.sequential = sequential;
        self.swarm.picker.set_sequential(sequential);
        self.settings_changed(cx);
    }

    /// Ends: lets its peers go, waits for its workers, saves its state and closes its files, or deletes all. `told`: say so in an alert.
    pub(crate) fn close(&mut self, told: bool, delete: bool, cx: &mut Cx) {
        self.part_all("the torrent is closing");
        let before = match self.next {
            Some(Next::Close { told, delete }) => (told, delete),
            _ => (false, false),
        };
        if self.keep.on && !before.0 && !told {
            self.note_totals();
            self.keep_totals(cx);
        }
        self.next = Some(Next::Close { told: told || before.0, delete: delete || before.1 });
        self.settle(cx);
    }

    fn part_all(&mut self, reason: &str) {
        self.partings.extend(self.sessions.iter().map(|(_, s)| Parting { link: s.link, reason: reason.to_owned() }));
    }

    // Inputs about peers.

    /// A peer was greeted. Returns its session's key.
    pub(crate) fn handle_greeted(&mut self, link: Key, who: Contributor, terms: Terms, tx: Tx, cx: &mut Cx) -> Key {
        if cx.alerts.wants(AlertMask::PEERS) {
            cx.alerts.push(Alert::PeerConnected { torrent: self.id, addr: who.addr, id: terms.peer_id });
        }
        let mut session = Session::new(link, who, terms, tx, &self.swarm, cx);
        session.schedule(cx);
        self.swarm.super_seed.iter_mut().for_each(|ledger| ledger.look_again());
        let key = self.sessions.insert(session);
        self.watch_crowd(cx);
        self.schedule(cx);
        key
    }

    pub(crate) fn handle_data(&mut self, session: Key, data: &[u8], cx: &mut Cx) -> Result<(), Fault> {
        let Some(s) = self.sessions.get_mut(session) else { return Ok(()) };
        let result = s.handle_data(data, &mut self.swarm, cx);
        if result.is_ok() {
            self.slots.consider(s, cx);
            s.schedule(cx);
            if self.finished && s.is_upload_only() {
                self.partings.push(sated(s));
            }
        }
        self.settle(cx);
        result
    }

    pub(crate) fn handle_sent(&mut self, session: Key, bytes: usize, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            s.handle_sent(bytes, &mut self.swarm, cx);
            if self.service.is_reached_by(self.swarm.counters.up.total()) {
                self.timers.set(STOP, cx.now);
                self.schedule(cx);
            }
        }
    }

    /// A session's link is not read for now, because of limits: its own, or some that it shares with others.
    pub(crate) fn handle_held(&mut self, session: Key, with_others: bool, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            s.handle_held(with_others, &mut self.swarm, cx);
        }
    }

    /// It is read again.
    pub(crate) fn handle_resumed(&mut self, session: Key, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            s.handle_resumed(&mut self.swarm, cx);
            s.schedule(cx);
        }
    }

    pub(crate) fn handle_writable(&mut self, session: Key, writable: bool, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            s.handle_writable(writable, cx);
        }
    }

    /// It is this session's turn to have blocks read.
    pub(crate) fn pump_uploads(&mut self, session: Key, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            if self.swarm.quiet {
                s.leave_line();
                return;
            }
            s.pump_uploads(&mut self.swarm, cx);
        }
    }

    /// The wake-up of a session for `at` has come.
    pub(crate) fn handle_session_timeout(&mut self, session: Key, at: Instant, cx: &mut Cx) -> Result<(), Fault> {
        let Some(s) = self.sessions.get_mut(session) else { return Ok(()) };
        if !s.wakeup.fire(at) {
            return Ok(());
        }
        let result = s.handle_timeout(&mut self.swarm, cx);
        if result.is_ok() {
            s.schedule(cx);
        }
        self.settle(cx);
        result
    }

    /// Blocks were read for a peer, or for one that has gone; `cold`: of this piece, which had to be fetched from the disk.
    pub(crate) fn handle_read(
        &mut self,
        session: Option<Key>,
        cold: Option<PieceIndex>,
        buf: Buf,
        result: Result<(), StoreError>,
        cx: &mut Cx,
    ) {
        self.swarm.jobs_out = self.swarm.jobs_out.saturating_sub(1);
        if let Err(error) = &result {
            self.distrust(error, cx);
        }
        match session.and_then(|s| self.sessions.get_mut(s)) {
            Some(s) => {
                if let Err(fault) = s.handle_read(buf, result, cx) {
                    self.partings.push(Parting { link: s.link, reason: fault.to_string() });
                }
            }
            None => cx.uploads.give(buf),
        }
        if let Some(piece) = cold {
            self.swarm.note_at_hand(piece, cx);
        }
        // A torrent that is to close, to be opened anew or to be moved waits for its workers.
        if self.next.is_some() || self.swarm.quiet || cold.is_some() {
            self.settle(cx);
        }
    }

    /// A link ended: one that had a session, or one that never got so far.
    pub(crate) fn handle_gone(&mut self, who: Contributor, session: Option<Key>, reason: &str, cx: &mut Cx) {
        let session = session.and_then(|s| self.sessions.remove(s));
        // Who is let go because the torrent rests has not failed.
        let useful = !self.is_active() || session.as_ref().is_some_and(|s| s.useful > 0 || s.uploaded > 0);
        log::debug!("{} is gone: {reason}", who.addr);
        if cx.alerts.wants(AlertMask::PEERS) {
            cx.alerts.push(Alert::PeerGone { torrent: self.id, addr: who.addr, reason: reason.to_owned() });
        }
        let let_go = session.as_ref().is_some_and(|s| s.let_go);
        let sated = self.finished && session.as_ref().is_some_and(Session::is_upload_only);
        let held = session.as_ref().filter(|s| s.holds).and_then(|s| s.reach);
        if let Some(session) = session {
            self.slots.leave(&session);
            session.leave(&mut self.swarm, cx);
        }
        if let Some(addr) = if who.incoming { held } else { Some(who.addr) } {
            // It is dialled again when it is not connected the other way round either.
            match self.sessions.iter_mut().map(|(_, s)| s).find(|s| s.who.incoming && s.reach == Some(addr)) {
                Some(twin) => twin.holds = true,
                None if sated => self.candidates.shelve(addr),
                None if let_go => self.candidates.rest(cx.now, addr, &mut cx.rng, &cx.conf),
                None => self.candidates.release(cx.now, addr, useful, &mut cx.rng, &cx.conf),
            }
        }
        self.settle(cx);
    }

    /// Other torrents are short of memory.
    pub(crate) fn give_up_idle(&mut self, cx: &mut Cx) {
        self.swarm.evict(usize::MAX, cx);
    }

    /// There is memory again that others used.
    pub(crate) fn handle_room(&mut self, cx: &mut Cx) {
        self.swarm.refill = true;
        self.settle(cx);
    }

    // Time.

    /// The wake-up for `at` has come.
    pub(crate) fn handle_timeout(&mut self, at: Instant, cx: &mut Cx) {
        if !self.wakeup.fire(at) {
            return;
        }
        if self.timers.fire(SAVE, cx.now) {
            self.save(cx);
        }
        if self.timers.fire(PROGRESS, cx.now) {
            self.tell_progress(cx);
        }
        if self.timers.fire(RETRY, cx.now) {
            self.retry(cx);
        }
        if self.timers.fire(SHOW, cx.now) {
            self.swarm.super_seed.iter_mut().for_each(|ledger| ledger.look_again());
        }
        if self.timers.fire(CHOKE, cx.now) {
            self.choke_round(cx);
        }
        if self.timers.fire(TURNOVER, cx.now) {
            self.renew_peers(cx);
        }
        if self.timers.fire(STOP, cx.now) {
            self.check_stop(cx);
        }
        if self.timers.fire(PAROLE, cx.now) {
            self.swarm.paroles.look_again(cx.now);
            self.swarm.refill = true;
        }
        self.settle(cx);
    }

    fn tell_progress(&mut self, cx: &mut Cx) {
        match &self.stage {
            Stage::Checking(checker) => {
                cx.alerts.push(Alert::Checking { torrent: self.id, done: checker.done(), total: checker.total() });
            }
            Stage::Open if !self.rests() => cx.alerts.push(Alert::Progress { torrent: self.id, stats: self.stats(cx.now) }),
            _ => {}
        }
    }

    fn wants_progress(&self, cx: &Cx) -> bool {
        let busy = match &self.stage {
            Stage::Checking(_) => true,
            // Without peers nothing moves.
            Stage::Open => !self.rests() && self.sessions.len() > 0,
            _ => false,
        };
        busy && cx.alerts.wants(AlertMask::PROGRESS)
    }

    // The end of every input.

    /// Delivers what sessions left in the ledger, and draws the consequences.
    pub(crate) fn settle(&mut self, cx: &mut Cx) {
        while let Some(note) = self.swarm.notes.pop_front() {
            self.deliver(note, cx);
        }
        if std::mem::take(&mut self.swarm.refill) && self.is_active() {
            for key in self.by_merit(cx) {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.refill(&mut self.swarm, cx);
                    session.schedule(cx);
                }
            }
        }
        self.finish(cx);
        self.show_pieces(cx);
        self.go_on(cx);
        self.tend_slots(cx);
        self.tend_trackers(cx);
        self.keep_time(cx);
        if let Some(at) = self.swarm.paroles.next_due().filter(|&at| self.timers.get(PAROLE).is_none_or(|set| at < set)) {
            self.timers.set(PAROLE, at);
        }
        if self.timers.get(PROGRESS).is_none() && self.wants_progress(cx) {
            self.timers.set(PROGRESS, cx.now + cx.conf.progress_interval);
        }
        self.schedule(cx);
    }

    /// The sessions in the order in which they are served. Whoever does not deliver comes last, or it would take at once what it was
    /// just relieved of; where memory is short the fastest come first, since they give it back soonest.
    fn by_merit(&self, cx: &Cx) -> Vec<Key> {
        let short = !cx.memory.has_room(cx.conf.max_piece_memory / 2);
        let rate = |s: &Session| if short { s.pipeline.rate(cx.now) } else { 0 };
        let mut order: Vec<_> = self.sessions.iter().map(|(key, s)| (s.is_reluctant(), Reverse(rate(s)), key)).collect();
        order.sort_by_key(|&(reluctant, rate, _)| (reluctant, rate));
        order.into_iter().map(|(_, _, key)| key).collect()
    }

    fn deliver(&mut self, note: Note, cx: &mut Cx) {
        match note {
            Note::Have(piece) => {
                let wanted = self.swarm.picker.level(piece) != Priority::Skip;
                for (_, session) in self.sessions.iter_mut() {
                    session.handle_our_have(piece, wanted, cx);
                }
                self.changed(cx);
                if cx.alerts.wants(AlertMask::PIECES) {
                    cx.alerts.push(Alert::PieceDone { torrent: self.id, piece });
                }
            }
            Note::Failed(piece, contributors) => {
                log::info!("piece {} is bad; {contributors} peers had sent parts of it", piece.get());
                cx.alerts.push(Alert::PieceFailed { torrent: self.id, piece, contributors });
            }
            Note::Cancel(block, except) => {
                for (_, session) in self.sessions.iter_mut().filter(|(_, s)| s.link != except) {
                    session.cancel(block, &mut self.swarm, cx);
                    session.schedule(cx);
                }
            }
            Note::AtHand(piece) => self.suggest(piece, cx),
            Note::Ban(who) => {
                if self.candidates.is_banned(cx.now, who) {
                    return;
                }
                log::warn!("{} sent bad data and is banned", who.addr);
                self.candidates.ban(cx.now, who, &cx.conf);
                cx.alerts.push(Alert::PeerBanned { torrent: self.id, addr: who.addr });
                let banned = self.sessions.iter().filter(|(_, s)| s.who == who || self.candidates.is_banned(cx.now, s.who));
                self.partings.extend(banned.map(|(_, s)| Parting { link: s.link, reason: "it sent bad data".into() }));
            }
            Note::Reach(link, addr) => {
                if let Some((_, session)) = self.sessions.iter_mut().find(|(_, s)| s.link == link) {
                    session.holds = self.candidates.hold(addr);
                }
            }
        }
    }

    /// Tells those who can use it that `piece` is at hand (BEP 6 suggest).
    pub(crate) fn suggest(&mut self, piece: PieceIndex, cx: &mut Cx) {
        if self.swarm.have.has(piece) {
            for (_, session) in self.sessions.iter_mut() {
                session.suggest(piece, cx);
                session.schedule(cx);
            }
        }
    }

    fn finish(&mut self, cx: &mut Cx) {
        if self.finished || !matches!(self.stage, Stage::Open) || !self.swarm.is_finished() {
            return;
        }
        self.finished = true;
        // Nothing more will be written: the saved state can say so.
        self.unsaved |= self.saved_dirty;
        if !self.waking.quiet {
            cx.alerts.push(Alert::Finished { torrent: self.id, stats: self.stats(cx.now) });
        }
        self.begin_super_seeding(cx);
        for (_, session) in self.sessions.iter_mut() {
            if session.is_upload_only() {
                self.partings.push(sated(session));
            } else if self.swarm.is_upload_only() {
                session.tell_upload_only(true, cx);
                session.schedule(cx);
            }
        }
        self.timers.set(SAVE, cx.now);
    }

    /// Sees to it that it is woken when the next thing is due.
    pub(crate) fn schedule(&mut self, cx: &mut Cx) {
        let dial = if self.seeks_peers() { self.candidates.next_due().filter(|&due| due > cx.now) } else { None };
        let announce = self.next_announce(cx);
        if let Some(at) = [self.timers.next(), dial, announce].into_iter().flatten().min()
            && self.wakeup.want(at)
        {
            cx.deadlines.push(at, Owner::Torrent(self.key()));
        }
    }
}

/// Why peers are let go when it is others' turn.
pub(crate) const HELD: &str = "the torrent waits for its turn";

/// Neither of us wants anything.
fn sated(session: &Session) -> Parting {
    let reason = if session.is_seed() { "both have everything" } else { "both only upload" };
    Parting { link: session.link, reason: reason.to_owned() }
}
