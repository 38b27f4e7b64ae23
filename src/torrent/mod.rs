//! One torrent: its peers, its ledger, its storage, its trackers. Never sees a socket, a file or a
//! clock.

mod activity;
pub(crate) mod announcer;
#[cfg(any(test, feature = "sim"))]
mod audit;
pub(crate) mod bans;
mod blame;
pub(crate) mod candidates;
mod checker;
mod choker;
pub(crate) mod computation;
pub(crate) mod content;
pub(crate) mod cx;
mod dials;
pub(crate) mod disconnect;
mod discovery;
mod disk_troubles;
mod dormant;
pub(crate) mod external;
mod external_changes;
pub(crate) mod file_operations;
mod file_priorities;
mod files;
mod found_roots;
mod hash_answer;
mod hash_talk;
mod holepunch;
pub(crate) mod identity;
pub(crate) mod info;
mod info_parser;
mod layer_proof;
pub(crate) mod leases;
pub(crate) mod lifecycle;
mod location;
mod metadata;
mod metadata_fetch;
mod metadata_serve;
mod missing_data;
mod modes;
mod names;
mod no_peers;
pub(crate) mod outbox;
mod params;
mod parole;
mod partial_pieces;
mod peer_exchange;
mod peer_input;
pub(crate) mod peer_session;
mod peers;
pub(crate) mod persistence;
mod picker;
mod piece_memory;
mod priority;
pub(crate) mod progress;
pub(crate) mod queue_request;
pub(crate) mod read_line;
pub(crate) mod reads;
pub(crate) mod recorder;
mod saves;
mod seen;
mod settle;
pub(crate) mod shared_files;
mod slot_queue;
pub(crate) mod slots;
mod standing;
mod stats;
mod storage;
mod superseed;
mod swarm;
pub(crate) mod told;
mod trackers;
mod tree_hashes;
mod turnover;
pub(crate) mod upload_memory;
mod verbs;
pub(crate) mod web_seeds;

use crate::{
    alert::Phase,
    base::{
        arena::Key,
        geometry::Geometry,
        ids::InfoHash,
        storage::StoreSpec,
        time::Instant,
        timers::{TimerTable, Wakeup},
    },
    conf::Conf,
    torrent::{
        activity::Activity,
        announcer::Announcer,
        candidates::Candidates,
        content::Content,
        cx::Cx,
        identity::TorrentIdentity,
        lifecycle::Lifecycle,
        location::{Location, Place},
        modes::Modes,
        no_peers::Drought,
        outbox::Sleeper,
        peers::Peers,
        persistence::Persistence,
        picker::Picker,
        saves::Saves,
        seen::Seen,
        slots::Slots,
        storage::Storage,
        swarm::{PieceHashes, Swarm},
        trackers::Trackers,
        web_seeds::WebSeeds,
    },
};

pub use params::{ConnectionParams, EarlierRuns, Source, TorrentParams};
pub(crate) use verbs::HELD;

const SAVE: usize = 0;
const PROGRESS: usize = 1;
const RETRY: usize = 2;
const SHOW: usize = 3;
const CHOKE: usize = 4;
const TURNOVER: usize = 5;
const STOP: usize = 6;
const PAROLE: usize = 7;
const METADATA: usize = 8;
const PEX: usize = 9;
const TREES: usize = 10;

/// See the module. What it is made of are types with private fields, each in a file of its own.
#[derive(Debug)]
pub(crate) struct Torrent {
    identity: TorrentIdentity,
    lifecycle: Lifecycle,
    peers: Peers,
    slots: Slots,
    /// Whether there is a peer to download from.
    drought: Drought,
    trackers: Trackers,
    /// Servers that have its files; most torrents have none.
    web_seeds: Option<Box<WebSeeds>>,
    content: Content,
    /// The ledger of its pieces; of none before the metainfo is known.
    swarm: Swarm,
    location: Location,
    storage: Storage,
    saves: Saves,
    /// How it is kept in the session folder.
    persistence: Persistence,
    activity: Activity,
    /// What the engine has last seen of it.
    seen: Seen,
    modes: Modes,
    timers: TimerTable<11>,
    wakeup: Wakeup,
}

impl Torrent {
    pub(crate) fn new(key: Key, mut params: TorrentParams, cx: &mut Cx) -> Self {
        let events = std::mem::take(&mut params.earlier.tracker_events);
        let mut torrent = Self::make(key, params, cx);
        torrent.restore_events(events, cx);
        if cx.recorder.is_on() {
            torrent.keep(cx);
        }
        torrent
    }

    /// All of it, with nothing opened.
    fn make(key: Key, params: TorrentParams, cx: &mut Cx) -> Self {
        let TorrentParams {
            source,
            dir,
            state_file,
            storage,
            peers,
            sequential,
            trust,
            paused,
            super_seed,
            priorities,
            renames,
            trackers,
            web_seeds,
            queued,
            queue_order,
            stop,
            earlier,
            labels,
            user_data,
            // Limits are the engine's, and told already.
            connections: ConnectionParams { limits: _, encryption, methods },
        } = params;
        let hashes = source.identity();
        let mut content = Content::new(source, priorities);
        content.begin_fetching(cx);
        let swarm = make_swarm(key, hashes.info_hash(), &content, cx);
        let mut known = Candidates::new(
            cx.leases.filter().clone(),
            cx.leases.external().ours(cx.leases.ports()),
        );
        known.set_policy(encryption);
        known.set_methods(methods);
        for addr in peers {
            known.add(cx.now, addr, candidates::Source::User, &cx.conf);
        }
        let mut connected = Peers::new(known);
        let private = content.metainfo().is_some_and(|metainfo| metainfo.private);
        if private {
            connected.set_private();
        }
        let (metainfo, removed) =
            (content.metainfo().map(AsRef::as_ref), &earlier.removed_web_seeds);
        let web_seeds = WebSeeds::of(metainfo, web_seeds, removed, cx.now, &cx.conf);
        let key_of_announces = cx.told.rng().next_u64() as u32;
        let announcer =
            Announcer::new(trackers, content.trackers(), private, cx.told.rng(), &cx.conf);
        let state_file = state_file.filter(|_| !cx.recorder.is_on() && storage.is_none());
        Self {
            identity: TorrentIdentity::new(key, hashes, labels, user_data),
            lifecycle: Lifecycle::new(content.is_known(), trust, paused, queued, queue_order),
            peers: connected,
            slots: Slots::new(&cx.conf),
            drought: Drought::default(),
            trackers: Trackers::new(announcer, key_of_announces),
            web_seeds,
            content,
            swarm,
            location: Location::new(Place { dir, state_file, renames, storage }),
            storage: Storage::new(trust, &cx.conf),
            saves: Saves::default(),
            persistence: Persistence::default(),
            activity: Activity::new(stop, earlier.totals),
            seen: Seen::default(),
            modes: Modes::new(sequential, super_seed),
            timers: TimerTable::new(),
            wakeup: Wakeup::default(),
        }
    }

    /// Begins a ledger with nothing in it, and returns the one before. It can pick pieces when it
    /// is known what is there; until then nothing is wanted.
    fn replace_swarm(&mut self, cx: &Cx) -> Swarm {
        let (key, info_hash) = (self.identity.key(), self.identity.info_hash());
        std::mem::replace(&mut self.swarm, make_swarm(key, info_hash, &self.content, cx))
    }

    /// How the store is to know it at `place`; `None` before there is content.
    fn spec_at(&self, place: Place, conf: &Conf) -> Option<StoreSpec> {
        let metainfo = self.content.metainfo()?;
        let Place { dir, state_file, renames, storage } = place;
        let in_session = self.persistence.is_on();
        Some(StoreSpec {
            single_file: metainfo.single_file,
            allocation: conf.storage.allocation,
            state_file,
            in_session,
            trust: self.lifecycle.trust().of_store(),
            skipped: self.content.priorities().skipped(),
            renames,
            aliases: self.location.aliases().to_vec(),
            borrowed: self.location.shared().borrowed(),
            kept: self.location.shared().kept(),
            trees: metainfo.trees.clone().filter(|trees| !in_session && !trees.is_complete()),
            storage,
            ..StoreSpec::new(
                *self.identity.hashes(),
                metainfo.geometry.clone(),
                metainfo.files.clone(),
                dir,
                metainfo.name.clone(),
            )
        })
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> &TorrentIdentity {
        &self.identity
    }

    /// What it is about, as far as that is known.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// Where it is.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// The shape of its content.
    pub(crate) fn geometry(&self) -> &Geometry {
        self.swarm.geometry()
    }

    /// Whether it has all that is wanted, as far as that is known.
    fn is_finished(&self) -> bool {
        self.content.is_known() && self.swarm.is_finished()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lifecycle.phase(self.is_finished())
    }

    /// Whether it speaks with peers now.
    pub(crate) fn is_active(&self) -> bool {
        self.lifecycle.is_active()
    }

    /// Whether its end was asked for: it is being removed, or the engine is shutting down.
    pub(crate) fn is_ending(&self) -> bool {
        self.lifecycle.end().is_some()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lifecycle.is_closed()
    }

    /// Whether it has peers, web seeds that are asked, or pieces in progress.
    pub(crate) fn is_busy(&self) -> bool {
        !self.peers.is_empty() || self.swarm.is_busy() || self.has_busy_web_seeds()
    }

    /// Other torrents are short of memory.
    pub(crate) fn give_up_idle(&mut self, cx: &mut Cx) {
        self.swarm.evict(usize::MAX, cx);
        // What waits for a disk that fails would keep them waiting for as long as that.
        if self.lifecycle.is_failing() {
            if self.swarm.give_up(cx) {
                self.lifecycle.note_given_up();
            }
        } else if self.swarm.is_quiet_for_long(cx.now) {
            // So would what cannot be written while the files are moved.
            self.swarm.give_up(cx);
        }
    }

    /// There is memory again that others used.
    pub(crate) fn handle_room(&mut self, cx: &mut Cx) {
        self.swarm.want_refill();
        self.wake_web_seeds();
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
            self.swarm.look_at_shown();
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
        if self.timers.fire(METADATA, cx.now) {
            self.fetch_metadata(cx);
            self.let_go_of_info(cx);
        }
        if self.timers.fire(TREES, cx.now) {
            self.fetch_hashes(cx);
        }
        if self.timers.fire(PEX, cx.now) {
            self.tell_of_peers(cx);
        }
        if self.timers.fire(PAROLE, cx.now) {
            self.swarm.look_at_paroles(cx.now);
        }
        self.settle(cx);
    }

    /// Sees to it that it is woken when the next thing is due.
    pub(crate) fn schedule(&mut self, cx: &mut Cx) {
        let dial = if self.is_active() {
            self.peers.candidates().next_due().filter(|&due| due > cx.now)
        } else {
            None
        };
        let announce = self.next_announce(cx);
        let no_peers = self.no_peers_due(cx);
        let web_seeds = self.next_web_seed_deadline(cx.now);
        let read = self.storage.reads.next_deadline();
        let all = [self.timers.next(), dial, announce, no_peers, web_seeds, read];
        if let Some(at) = all.into_iter().flatten().min()
            && self.wakeup.want(at)
        {
            cx.outbox.wake(at, Sleeper::Torrent(self.identity.key()));
        }
    }
}

fn make_swarm(key: Key, info_hash: InfoHash, content: &Content, cx: &Cx) -> Swarm {
    let geometry = content.geometry();
    let hashes = content.metainfo().map(|metainfo| PieceHashes::of(metainfo)).unwrap_or_default();
    let picker = Picker::none(geometry.clone(), content.levels());
    let mut swarm = Swarm::new(key, info_hash, geometry, hashes, cx.now, picker);
    let is_private = content.metainfo().is_some_and(|metainfo| metainfo.private);
    swarm.set_exchanges_peers(cx.conf.peers.exchange && !is_private);
    // A session folder lets go of the bytes; the ledger is not to hold them.
    swarm.set_info(content.info(cx.recorder.is_on()));
    swarm
}
