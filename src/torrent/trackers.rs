//! A torrent's dealings with its trackers: when its announcer runs, what it says, and what becomes
//! of the answers.

mod events;

use std::{net::IpAddr, time::Duration};

use events::Events;

use crate::{
    alert::{Alert, AlertMask, TrackerError, TrackerErrorKind, TrackerStats},
    base::time::Instant,
    conf::Encryption,
    torrent::{
        Torrent,
        announcer::{Announcer, Counts, Failure, Gone, Retry, TrackerNo, Turn},
        candidates::Source,
        cx::Cx,
        told::Farewell,
    },
    wire::tracker::{Announce, AnnounceEvent, AnnounceReply, CryptoSupport, ScrapeReply, UrlError},
};

/// What is said to be left, in bytes, before that is known: a tracker names no seeds to a peer that
/// lacks nothing.
const LEFT_BEFORE_CONTENT: u64 = 16 * 1024;

/// The announcer of a torrent, and what its trackers have still to hear when it stops.
#[derive(Debug)]
pub(crate) struct Trackers {
    announcer: Announcer,
    events: Events,
    /// Tells a tracker that it is us, wherever we are.
    key: u32,
    /// The torrent stands in the engine's queue.
    queued: bool,
}

impl Trackers {
    /// `key` is drawn by lot.
    pub(super) fn new(announcer: Announcer, key: u32) -> Self {
        Self { announcer, events: Events::default(), key, queued: false }
    }

    pub(super) fn announcer(&self) -> &Announcer {
        &self.announcer
    }

    /// Whether its metainfo says that no other tracker may hear of it (BEP 27).
    pub(super) fn set_private(&mut self, is_private: bool) {
        self.announcer.set_private(is_private);
    }
}

impl Torrent {
    /// Which trackers there are, and how they stand.
    pub(crate) fn announcer(&self) -> &Announcer {
        &self.trackers.announcer
    }

    /// An announce goes to a tracker in so many calls.
    pub(crate) fn note_calls(&mut self, tracker: TrackerNo, calls: u8, cx: &mut Cx) {
        self.trackers.announcer.set_calls(tracker, calls);
        self.schedule(cx);
    }

    /// Trackers are told of us as long as the torrent speaks with peers.
    pub(super) fn tend_trackers(&mut self, cx: &mut Cx) {
        // A dormant one is opened as soon as a peer comes.
        let active = self.is_active() || self.is_ready_to_wake();
        let complete = self.content.is_known() && self.swarm.is_complete();
        match (active, self.trackers.announcer.is_active()) {
            (true, false) => {
                self.forget_own_events(cx);
                self.trackers.announcer.start(cx.now, complete, &cx.conf);
            }
            (false, true) => self.take_leave_of_all(cx),
            (true, true) => {
                let useful = || {
                    self.totals(cx.now).downloaded.saturating_sub(self.swarm.counters().wasted())
                };
                self.trackers.announcer.set_complete(
                    cx.now,
                    complete,
                    complete && useful() > 0,
                    &cx.conf,
                );
            }
            (false, false) => return,
        }
        self.note_completion(cx);
    }

    /// When the torrent must be woken for its trackers. If it is time already it gets in line.
    pub(super) fn next_announce(&mut self, cx: &mut Cx) -> Option<Instant> {
        let due = self.trackers.announcer.due()?;
        if due > cx.now {
            return Some(due);
        }
        if self.is_looking() {
            return None;
        }
        if !std::mem::replace(&mut self.trackers.queued, true) {
            cx.told.line_up(self.identity.key());
        }
        None
    }

    /// It is the torrent's turn: what is to be told to which tracker. It is not in line any more.
    #[must_use]
    pub(crate) fn poll_announce(&mut self, cx: &mut Cx) -> Option<(Turn, String, Announce)> {
        self.trackers.queued = false;
        if !self.may_announce(cx) {
            return None;
        }
        let turn = self.trackers.announcer.poll(cx.now, &cx.conf)?;
        let url = self.trackers.announcer.url(turn.tracker, self.content.trackers())?.to_owned();
        let tracker_id = self.trackers.announcer.tracker_id(turn.tracker).map(<[u8]>::to_vec);
        Some((turn, url, self.announce(turn.event, tracker_id, cx)))
    }

    pub(super) fn announce(
        &self,
        event: AnnounceEvent,
        tracker_id: Option<Vec<u8>>,
        cx: &Cx,
    ) -> Announce {
        let counters = self.swarm.counters();
        let known = self.peers.len() + self.peers.candidates().len();
        let enough = self.peers.len() >= cx.conf.peers.max_per_torrent
            || known >= cx.conf.peers.max_candidates / 2;
        let wanted =
            if enough || event == AnnounceEvent::Stopped { 0 } else { cx.conf.trackers.num_want };
        Announce {
            info_hash: self.identity.info_hash(),
            peer_id: cx.peer_id,
            // Each family's call has its own.
            port: 0,
            uploaded: counters.uploaded(),
            downloaded: counters.useful(),
            left: if self.content.is_known() {
                self.swarm.geometry().held_len().saturating_sub(self.swarm.have_bytes())
            } else {
                LEFT_BEFORE_CONTENT
            },
            event,
            key: self.trackers.key,
            numwant: Some(wanted),
            tracker_id,
            ip: None,
            crypto: match self.encryption(&cx.conf) {
                Encryption::Off => CryptoSupport::None,
                Encryption::Required => CryptoSupport::Required,
                _ => CryptoSupport::Supported,
            },
        }
    }

    /// A tracker answered from `ip`, if that is known, to an announce by the v1 or by the v2 hash.
    /// True if all peers that are there must go (BEP 27).
    #[must_use]
    pub(crate) fn handle_tracker_reply(
        &mut self,
        no: TrackerNo,
        shown: &str,
        ip: Option<IpAddr>,
        reply: AnnounceReply,
        by_v2: bool,
        cx: &mut Cx,
    ) -> bool {
        if !self.trackers.announcer.is_active() {
            return false;
        }
        if let (Some(ours), Some(ip)) = (reply.external_ip, ip) {
            cx.leases.external_mut().vote(ip, ours);
        }
        let Cx { told, conf, now, .. } = cx;
        let Some(switched) =
            self.trackers.announcer.handle_reply(no, &reply, *now, told.rng(), conf)
        else {
            // It is not a tracker of this torrent any more.
            return false;
        };
        if switched {
            self.peers.candidates_mut().forget_all(|_| true);
        }
        for &addr in &reply.peers {
            self.peers.candidates_mut().add(cx.now, addr, Source::Tracker(no), &cx.conf);
            if by_v2 {
                self.peers.candidates_mut().note_v2(addr);
            }
        }
        log::debug!("{shown} named {} peers of {}", reply.peers.len(), self.content.name());
        if cx.alerts.wants(AlertMask::TRACKERS) {
            let (torrent, tracker) = (self.identity.id(), shown.to_owned());
            cx.alerts.push(Alert::TrackerReplied {
                torrent,
                tracker: tracker.clone(),
                peers: reply.peers.len(),
            });
            if let Some(message) = reply.warning {
                cx.alerts.push(Alert::TrackerWarning { torrent, tracker, message });
            }
        }
        self.settle(cx);
        switched
    }

    /// A tracker could not be told.
    pub(crate) fn handle_tracker_failure(
        &mut self,
        no: TrackerNo,
        shown: &str,
        failure: &Failure,
        cx: &mut Cx,
    ) {
        let Cx { told, conf, now, .. } = cx;
        if let Some(failed) =
            self.trackers.announcer.handle_failure(no, failure, *now, told.rng(), conf)
        {
            log::info!("{shown} cannot be told of {}: {}", self.content.name(), failed.error);
            if cx.alerts.wants(AlertMask::TRACKERS) {
                cx.alerts.push(Alert::TrackerFailed {
                    torrent: self.identity.id(),
                    tracker: shown.to_owned(),
                    error: failed.error,
                    retry_in: failed.retry_in,
                });
            }
        }
        self.schedule(cx);
    }

    /// A tracker's address is none that can be used.
    pub(crate) fn handle_bad_tracker(
        &mut self,
        no: TrackerNo,
        url: &str,
        error: UrlError,
        cx: &mut Cx,
    ) {
        // It may hold a secret, wherever that may be.
        let scheme =
            url.split_once("://").map(|(scheme, _)| scheme).filter(|scheme| scheme.len() < 16);
        let shown = scheme.map_or_else(|| "…".to_owned(), |scheme| format!("{scheme}://…"));
        let failure = Failure {
            error: TrackerError::new(TrackerErrorKind::BadAddress, error.to_string()),
            minor: false,
            retry: Retry::Never,
        };
        self.handle_tracker_failure(no, &shown, &failure, cx);
    }

    /// A tracker answered a scrape.
    pub(crate) fn handle_scraped(
        &mut self,
        no: TrackerNo,
        shown: &str,
        reply: ScrapeReply,
        cx: &mut Cx,
    ) {
        let ScrapeReply { complete, downloaded, incomplete } = reply;
        let counts = Counts {
            seeds: Some(complete),
            leeches: Some(incomplete),
            downloaded: Some(downloaded),
        };
        self.trackers.announcer.handle_counts(no, counts);
        let (torrent, tracker) = (self.identity.id(), shown.to_owned());
        cx.alerts.push(Alert::Scraped {
            torrent,
            tracker,
            seeds: complete,
            leeches: incomplete,
            downloaded,
        });
    }

    /// A tracker did not answer a scrape.
    pub(crate) fn handle_not_scraped(&mut self, shown: &str, error: TrackerError, cx: &mut Cx) {
        let (torrent, tracker) = (self.identity.id(), shown.to_owned());
        cx.alerts.push(Alert::TrackerFailed { torrent, tracker, error, retry_in: None });
    }

    /// What is said to this tracker must wait.
    pub(crate) fn put_off_announce(&mut self, no: TrackerNo, time: Duration, cx: &mut Cx) {
        self.trackers.announcer.put_off(no, cx.now + time, &cx.conf);
        self.schedule(cx);
    }

    // What the user asks for.

    pub(crate) fn tracker_stats(&self, now: Instant) -> Vec<TrackerStats> {
        self.trackers.announcer.stats(now, self.content.trackers())
    }

    pub(crate) fn set_trackers(&mut self, tiers: Vec<Vec<String>>, cx: &mut Cx) {
        self.settings_changed(cx);
        let Cx { told, conf, .. } = cx;
        let torrent = self.identity.key();
        for Gone { url, tracker_id, completed } in
            self.trackers.announcer.set(tiers, self.content.trackers(), told.rng(), conf)
        {
            let (no, events) = (None, Vec::new());
            let farewell =
                Farewell { torrent, no, url, known: true, old: false, also: false, events };
            self.take_leave(farewell, completed, tracker_id, cx);
        }
        self.schedule(cx);
    }

    /// The user wants it announced now, also to trackers that have said never to ask again.
    pub(crate) fn announce_now(&mut self, cx: &mut Cx) {
        self.trackers.announcer.lift_never();
        self.hurry_announces(cx);
    }

    /// Trackers are told as soon as they allow it.
    pub(crate) fn hurry_announces(&mut self, cx: &mut Cx) {
        self.trackers.announcer.hurry(cx.now, &cx.conf);
        self.schedule(cx);
    }

    /// The network is another one, or has come back: what failed is tried again.
    pub(crate) fn handle_network_change(&mut self, cx: &mut Cx) {
        self.peers.candidates_mut().hasten_failed(cx.now);
        self.hurry_announces(cx);
    }
}
