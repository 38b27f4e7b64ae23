//! One torrent: its sessions, its ledger, its storage's moods. Never sees a socket, a file or a
//! clock.

mod absence;
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
mod events;
pub(crate) mod external;
mod files;
pub(crate) mod gone;
pub(crate) mod keeping;
mod names;
mod no_peers;
pub(crate) mod outbox;
mod outside;
mod params;
mod parole;
pub(crate) mod peer_session;
mod peers;
mod picker;
mod piece_memory;
mod priority;
pub(crate) mod progress;
mod settle;
pub(crate) mod shares;
pub(crate) mod slots;
mod stage;
mod stats;
mod stop;
mod storage;
mod superseed;
mod swarm;
mod tracking;
mod turnover;
mod unfinished;
pub(crate) mod upload_memory;
mod verbs;
mod wishes;

use std::{sync::Arc, time::Duration};

use crate::{
    alert::StopAt,
    base::{
        arena::{Arena, Key},
        ids::TorrentId,
        job::{StoreSpec, Trust},
        time::Instant,
        timers::{TimerTable, Wakeup},
    },
    conf::Conf,
    torrent::{
        absence::Absence,
        announcer::Announcer,
        asleep::Waking,
        candidates::{Candidates, Source},
        claim::Seen,
        cx::Cx,
        errands::{Errands, Place},
        events::Events,
        keeping::Keep,
        names::Names,
        no_peers::Spell,
        outbox::Sleeper,
        outside::Outside,
        peer_session::PeerSession,
        picker::Picker,
        shares::Shares,
        slots::Slots,
        stage::{Next, Stage},
        stop::Service,
        swarm::Swarm,
        unfinished::Unfinished,
        wishes::Wishes,
    },
    wire::metainfo::Metainfo,
};

pub use params::TorrentParams;
pub(crate) use peers::Parting;
pub(crate) use verbs::HELD;

const SAVE: usize = 0;
const PROGRESS: usize = 1;
const RETRY: usize = 2;
const SHOW: usize = 3;
const CHOKE: usize = 4;
const TURNOVER: usize = 5;
const STOP: usize = 6;
const PAROLE: usize = 7;

/// See the module.
#[derive(Debug)]
pub(crate) struct Torrent {
    id: TorrentId,
    pub(crate) metainfo: Arc<Metainfo>,
    place: Place,
    names: Names,
    sequential: bool,
    /// How much its files are wanted.
    wishes: Wishes,
    /// Which files the store knows as skipped.
    arranged: Vec<bool>,
    errands: Errands,
    /// What it has in common with other torrents.
    pub(crate) shares: Shares,
    /// It is elsewhere since the engine looked last.
    pub(crate) has_moved: bool,
    pub(crate) sessions: Arena<PeerSession>,
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
    /// What was told last of its progress was that something moves, or might.
    stirred: bool,
    /// When peers last made room for others.
    turned_over: Option<Instant>,
    // The storage's moods; see storage.rs.
    failing: bool,
    /// What waited to be written was given up for other torrents.
    gave_up: bool,
    retry_pause: Duration,
    /// When it was last told that nothing can be read for peers.
    told_unread: Option<Instant>,
    save_out: bool,
    unsaved: bool,
    saved_dirty: bool,
    /// Pieces that are not whole, between runs.
    unfinished: Unfinished,
    service: Service,
    /// What trackers have still to hear.
    events: Events,
    /// Whether there is a peer to download from.
    spell: Spell,
    labels: Vec<String>,
    pub(crate) seen: Seen,
    /// Bytes of this run that the saved state tells of.
    saved_totals: (u64, u64),
    /// How it is kept in the session folder.
    keep: Keep,
    waking: Waking,
    absence: Absence,
    outside: Outside,
    /// What the engine knows of what it wants: to dial, memory, and room to dial.
    pub(crate) noted: (bool, bool, bool),
}

impl Torrent {
    pub(crate) fn new(key: Key, mut params: TorrentParams, cx: &mut Cx) -> Self {
        let events = std::mem::take(&mut params.tracker_events);
        let mut torrent = Self::make(key, params, cx);
        torrent.restore_events(events, cx);
        if cx.recorder.on {
            torrent.keep(cx);
        }
        torrent
    }

    /// All of it, with nothing opened.
    fn make(key: Key, params: TorrentParams, cx: &mut Cx) -> Self {
        let TorrentParams {
            metainfo,
            dir,
            state_file,
            peers,
            sequential,
            trust,
            paused,
            super_seed,
            priorities,
            renames,
            ..
        } = params;
        let TorrentParams { trackers, queued, queue_order, stop, totals, labels, .. } = params;
        let wishes = Wishes::new(priorities, metainfo.files.len());
        let swarm = Self::empty_swarm(key, &metainfo, &wishes, cx);
        let mut candidates = Candidates::new(cx.filter.clone(), cx.external.ours(cx.ports));
        for addr in peers {
            candidates.add(cx.now, addr, Source::User, &cx.conf);
        }
        let announcer = Announcer::new(
            trackers,
            &metainfo.trackers,
            metainfo.private,
            &mut cx.tracker_rng,
            &cx.conf,
        );
        let state_file = state_file.filter(|_| !cx.recorder.on);
        Self {
            id: TorrentId(key),
            metainfo,
            place: Place { dir, state_file, renames },
            names: Names::default(),
            sequential,
            wishes,
            arranged: Vec::new(),
            errands: Errands::default(),
            shares: Shares::default(),
            has_moved: false,
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
            stirred: false,
            turned_over: None,
            failing: false,
            gave_up: false,
            retry_pause: cx.conf.storage.retry_pause,
            told_unread: None,
            save_out: false,
            unsaved: false,
            saved_dirty: false,
            unfinished: Unfinished::default(),
            service: Service::new(stop, totals),
            events: Events::default(),
            spell: Spell::default(),
            labels,
            seen: Seen::default(),
            saved_totals: (0, 0),
            keep: Keep::default(),
            waking: Waking::default(),
            absence: Absence::default(),
            outside: Outside::default(),
            noted: (false, false, false),
        }
    }

    /// A ledger with nothing in it. It can pick pieces when it is known what is there; until then
    /// nothing is wanted.
    fn empty_swarm(key: Key, metainfo: &Metainfo, wishes: &Wishes, cx: &Cx) -> Swarm {
        let geometry = metainfo.geometry;
        let picker = Picker::none(geometry, wishes.levels(&metainfo.files, geometry));
        Swarm::new(key, metainfo.info_hash(), geometry, metainfo.pieces.clone(), cx.now, picker)
    }

    fn spec_at(&self, place: Place, conf: &Conf) -> StoreSpec {
        let Place { dir, state_file, renames } = place;
        StoreSpec {
            identity: self.metainfo.identity,
            dir,
            name: self.metainfo.name.clone(),
            single_file: self.metainfo.single_file,
            files: self.metainfo.files.clone(),
            geometry: self.metainfo.geometry,
            allocation: conf.storage.allocation,
            state_file,
            in_session: self.keep.on,
            trust: self.trust,
            skipped: self.wishes.skipped(),
            renames,
            aliases: self.names.aliases().to_vec(),
            borrowed: self.shares.borrowed(),
            kept: self.shares.kept(),
        }
    }

    fn key(&self) -> Key {
        self.id.0
    }

    /// Whether it has peers, or pieces in progress.
    pub(crate) fn is_busy(&self) -> bool {
        self.sessions.len() > 0 || self.swarm.is_busy()
    }

    /// Other torrents are short of memory.
    pub(crate) fn give_up_idle(&mut self, cx: &mut Cx) {
        self.swarm.evict(usize::MAX, cx);
        // What waits for a disk that fails would keep them waiting for as long as that.
        if self.failing {
            self.gave_up |= self.swarm.give_up(cx);
        }
    }

    /// There is memory again that others used.
    pub(crate) fn handle_room(&mut self, cx: &mut Cx) {
        self.swarm.refill = true;
        self.settle(cx);
    }

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
        self.tell_no_peers(cx);
        if self.timers.fire(PAROLE, cx.now) {
            self.swarm.paroles.look_again(cx.now);
            self.swarm.refill = true;
        }
        self.settle(cx);
    }

    /// Sees to it that it is woken when the next thing is due.
    pub(crate) fn schedule(&mut self, cx: &mut Cx) {
        let dial = if self.is_active() {
            self.candidates.next_due().filter(|&due| due > cx.now)
        } else {
            None
        };
        let announce = self.next_announce(cx);
        let no_peers = self.no_peers_due(cx);
        if let Some(at) = [self.timers.next(), dial, announce, no_peers].into_iter().flatten().min()
            && self.wakeup.want(at)
        {
            cx.outbox.wake(at, Sleeper::Torrent(self.key()));
        }
    }
}
