//! The web seeds of a torrent (BEP 19): which there are, when they are asked, and what the torrent
//! does when something happens to one of its connections with them.
//!
//! A web seed is a source of blocks beside the peers: it takes orders from the ledger and delivers
//! to it. It knows streams by key only, and no peer.

mod fetches;
mod order;
mod seed;

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use crate::{
    alert::WebSeedStats,
    base::{
        arena::{Arena, Key},
        geometry::{Block, PieceIndex},
        target::Target,
        time::Instant,
    },
    conf::Conf,
    torrent::{Torrent, cx::Cx, progress::OrderKey},
    wire::metainfo::Metainfo,
};

use fetches::{Fetch, Work};
#[cfg(any(test, feature = "sim"))]
use order::Order;
use seed::WebSeed;

/// How soon web seeds that have nothing to do look again whether they can help; twice as long each
/// time that they cannot, up to the second.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the engine must do for a connection with a web seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Look a name up.
    Resolve { fetch: Key, host: String },
    /// Connect a stream, and tell its key by [`Torrent::set_web_stream`].
    Connect { fetch: Key, to: Target, tls: Option<String>, forwarded: bool },
    /// There are bytes to send.
    Flush { stream: Key },
    /// A stream that was not read is read on.
    Resume { stream: Key },
    /// Close a stream.
    Close { stream: Key },
    /// It waits for no name any more.
    Forget { fetch: Key },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct WebSeeds {
    seeds: Vec<WebSeed>,
    fetches: Arena<Fetch>,
    asks: VecDeque<Ask>,
    /// When to look again whether there is something to ask for, after there was nothing.
    look_at: Option<Instant>,
    /// How long until then the next time.
    pause: Duration,
    /// The one that comes first the next time.
    turn: usize,
}

impl WebSeeds {
    /// Those of the metainfo, if that is known, but for those that were removed, and those that
    /// were added; `None` without any.
    pub(super) fn of(
        metainfo: Option<&Metainfo>,
        added: Vec<String>,
        removed: &[String],
        now: Instant,
        conf: &Conf,
    ) -> Option<Box<Self>> {
        let mut all = Self {
            seeds: Vec::new(),
            fetches: Arena::new(),
            asks: VecDeque::new(),
            look_at: None,
            pause: LOOK_AGAIN,
            turn: 0,
        };
        let limit = conf.web_seeds.max_per_torrent;
        let listed = metainfo.map_or(&[][..], |metainfo| &metainfo.web_seeds);
        added.into_iter().for_each(|url| _ = all.add(url, true, now, limit));
        for url in listed {
            if !removed.contains(url) {
                all.add(url.clone(), false, now, limit);
            } else if all.live().all(|seed| seed.text() != url) {
                // It is remembered, however many there are.
                let mut seed = WebSeed::new(url.clone(), false, now);
                seed.remove();
                all.seeds.push(seed);
            }
        }
        (!all.seeds.is_empty()).then(|| Box::new(all))
    }

    /// Adds one, unless it is there or there are enough. Returns whether it is there now.
    fn add(&mut self, url: String, added: bool, now: Instant, limit: usize) -> bool {
        if self.live().any(|seed| seed.text() == url) {
            return true;
        }
        if self.live().count() >= limit {
            return false;
        }
        self.look_at = None;
        self.seeds.push(WebSeed::new(url, added, now));
        true
    }

    /// Those that were not removed.
    fn live(&self) -> impl Iterator<Item = &WebSeed> {
        self.seeds.iter().filter(|seed| !seed.is_removed())
    }

    /// Those that were added.
    fn added(&self) -> Vec<String> {
        let added = self.live().filter(|seed| seed.is_added());
        added.map(|seed| seed.text().to_owned()).collect()
    }

    /// Takes one away. Returns its number, if it is there.
    fn remove(&mut self, url: &str) -> Option<usize> {
        let is = |seed: &WebSeed| !seed.is_removed() && seed.text() == url;
        let nth = self.seeds.iter().position(is)?;
        self.seeds.get_mut(nth)?.remove();
        Some(nth)
    }

    /// Connections that something is on order with.
    fn busy(&self) -> usize {
        self.fetches.iter().filter(|(_, fetch)| fetch.order.is_some()).count()
    }

    /// When something is to be done although nothing happens.
    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let timeouts = self.fetches.iter().filter_map(|(_, fetch)| fetch.connection.poll_timeout());
        let retries = self.seeds.iter().filter_map(|seed| seed.retry_at(now));
        timeouts.chain(retries).chain(self.look_at).filter(|&at| at > now).min()
    }

    fn stats(&self, now: Instant) -> Vec<WebSeedStats> {
        let stats = |(nth, seed): (usize, &WebSeed)| {
            let of_it = || self.fetches.iter().filter(|(_, fetch)| fetch.seed == nth);
            let busy = of_it().filter(|(_, fetch)| fetch.order.is_some()).count();
            seed.stats(now, of_it().count(), busy)
        };
        let live = self.seeds.iter().enumerate().filter(|(_, seed)| !seed.is_removed());
        live.map(stats).collect()
    }
}

impl Torrent {
    /// Calls `act` with the web seeds and what they work on, if there are any and the metainfo is
    /// known.
    fn with_web_seeds(&mut self, cx: &mut Cx, act: impl FnOnce(&mut WebSeeds, &mut Work<'_>)) {
        let (Some(seeds), Some(metainfo)) = (&mut self.web_seeds, self.content.metainfo()) else {
            return;
        };
        let torrent = self.identity.id();
        act(seeds, &mut Work { torrent, metainfo, swarm: &mut self.swarm, cx });
    }

    /// Web seeds are asked as long as the torrent may exchange blocks and lacks some.
    pub(super) fn tend_web_seeds(&mut self, cx: &mut Cx) {
        if self.web_seeds.is_none() {
            return;
        }
        let works = self.lifecycle.is_exchanging()
            && !self.swarm.is_finished()
            && cx.conf.web_seeds.enabled;
        self.with_web_seeds(cx, |seeds, work| {
            if works {
                seeds.handle_timeouts(work);
                seeds.begin(work);
            } else {
                seeds.stop(work);
            }
        });
        // Padding may have made blocks whole, and orders that are off are for peers.
        if self.swarm.has_news() {
            self.deliver_all(cx);
        }
    }

    /// When web seeds want to be looked at.
    pub(super) fn next_web_seed_deadline(&self, now: Instant) -> Option<Instant> {
        let seeds = self
            .web_seeds
            .as_ref()
            .filter(|_| self.lifecycle.is_exchanging() && !self.swarm.is_finished());
        seeds.and_then(|seeds| seeds.next_deadline(now))
    }

    /// Whether web seeds are asked for something, or wait for memory.
    pub(crate) fn has_busy_web_seeds(&self) -> bool {
        self.web_seeds.as_ref().is_some_and(|seeds| seeds.busy() > 0 || seeds.look_at.is_some())
    }

    /// Web seeds that are sending what they were asked for.
    pub(super) fn web_seeds_downloading(&self) -> usize {
        let Some(seeds) = &self.web_seeds else { return 0 };
        let mut busy: Vec<usize> = seeds
            .fetches
            .iter()
            .filter(|(_, fetch)| fetch.order.as_ref().is_some_and(|order| order.got() > 0))
            .map(|(_, fetch)| fetch.seed)
            .collect();
        busy.sort_unstable();
        busy.dedup();
        busy.len()
    }

    /// Whether something is on order with a web seed, and one has given something and has not
    /// failed since.
    pub(super) fn has_web_seed(&self) -> bool {
        let seeds = self.web_seeds.as_ref().filter(|seeds| seeds.busy() > 0);
        seeds.is_some_and(|seeds| seeds.seeds.iter().any(|seed| seed.counted().is_some()))
    }

    /// There is memory again, or there are other pieces to ask for.
    pub(super) fn wake_web_seeds(&mut self) {
        self.web_seeds.iter_mut().for_each(|seeds| seeds.look_at = None);
    }

    // What the ledger says.

    /// A block has come: no web seed is waited for it but `except`.
    pub(super) fn cancel_in_web_seeds(&mut self, block: Block, except: OrderKey, cx: &mut Cx) {
        self.with_web_seeds(cx, |seeds, work| seeds.cancel(block, except, work));
    }

    /// What is wanted has changed.
    pub(super) fn cancel_skipped_in_web_seeds(&mut self, cx: &mut Cx) {
        self.with_web_seeds(cx, |seeds, work| {
            seeds.cancel_skipped(work);
            seeds.look_at = None;
        });
    }

    /// A web seed has sent bad data.
    pub(super) fn accuse_web_seed(&mut self, seed: u32, piece: PieceIndex, cx: &mut Cx) {
        self.with_web_seeds(cx, |seeds, work| seeds.accuse(seed as usize, piece, work));
    }

    // What happens to their connections.

    /// What the engine must do next for them.
    #[must_use]
    pub(crate) fn poll_web_ask(&mut self) -> Option<Ask> {
        self.web_seeds.as_mut()?.asks.pop_front()
    }

    /// The stream that was asked for has this key. False if it is not wanted any more.
    pub(crate) fn set_web_stream(&mut self, fetch: Key, stream: Key) {
        let seeds = self.web_seeds.as_mut();
        if let Some(fetch) = seeds.and_then(|seeds| seeds.fetches.get_mut(fetch)) {
            fetch.stream = Some(stream);
        }
    }

    /// A name was looked up. The caller settles.
    pub(crate) fn handle_web_resolved(
        &mut self,
        fetch: Key,
        result: Result<Vec<IpAddr>, String>,
        cx: &mut Cx,
    ) {
        self.with_web_seeds(cx, |seeds, work| seeds.handle_resolved(fetch, result, work));
    }

    /// A stream is up.
    pub(crate) fn handle_web_connected(&mut self, fetch: Key, cx: &mut Cx) {
        self.with_web_seeds(cx, |seeds, work| seeds.handle_connected(fetch, work));
    }

    /// Bytes came on a stream.
    pub(crate) fn handle_web_data(&mut self, fetch: Key, data: &[u8], cx: &mut Cx) {
        self.with_web_seeds(cx, |seeds, work| seeds.handle_data(fetch, data, work));
        self.settle(cx);
    }

    /// Bytes went out on a stream.
    pub(crate) fn handle_web_sent(&mut self, fetch: Key, bytes: usize) {
        let seeds = self.web_seeds.as_mut();
        if let Some(fetch) = seeds.and_then(|seeds| seeds.fetches.get_mut(fetch)) {
            fetch.connection.handle_sent(bytes);
        }
    }

    /// A stream is over.
    pub(crate) fn handle_web_closed(&mut self, fetch: Key, why: Result<(), String>, cx: &mut Cx) {
        self.with_web_seeds(cx, |seeds, work| seeds.handle_closed(fetch, why, work));
        self.settle(cx);
    }

    /// The proxy of a stream has failed, which is over.
    pub(crate) fn handle_web_proxy_failed(&mut self, fetch: Key, why: String, cx: &mut Cx) {
        self.with_web_seeds(cx, |seeds, work| seeds.handle_proxy_failed(fetch, why, work));
        self.settle(cx);
    }

    /// A stream is not read for now, because of limits; see
    /// [`handle_held`](Self::handle_held).
    pub(crate) fn handle_web_held(&mut self, fetch: Key, with_others: bool, cx: &mut Cx) {
        self.with_web_seeds(cx, |seeds, work| {
            let Some(fetch) = seeds.fetches.get_mut(fetch) else { return };
            fetch.connection.handle_held(work.cx.now);
            if with_others && !std::mem::replace(&mut fetch.held_with_others, true) {
                work.swarm.hold();
            }
        });
    }

    /// It is read again.
    pub(crate) fn handle_web_resumed(&mut self, fetch: Key, cx: &mut Cx) {
        self.with_web_seeds(cx, |seeds, work| {
            let Some(fetch) = seeds.fetches.get_mut(fetch) else { return };
            fetch.connection.handle_resumed(work.cx.now);
            if std::mem::take(&mut fetch.held_with_others) {
                work.swarm.unhold(work.cx.now);
            }
        });
        self.schedule(cx);
    }

    /// Whether a stream is not to be read for now: what has come on it waits for a request.
    pub(crate) fn is_web_full(&self, fetch: Key) -> bool {
        let fetch = self.web_seeds.as_ref().and_then(|seeds| seeds.fetches.get(fetch));
        fetch.is_some_and(|fetch| fetch.connection.is_full())
    }

    /// What is to be sent on a stream.
    pub(crate) fn web_transmit(&self, fetch: Key) -> &[u8] {
        let fetch = self.web_seeds.as_ref().and_then(|seeds| seeds.fetches.get(fetch));
        fetch.map_or(&[], |fetch| fetch.connection.poll_transmit())
    }

    // What the user asks for.

    pub(crate) fn web_seed_stats(&self, now: Instant) -> Vec<WebSeedStats> {
        self.web_seeds.as_ref().map(|seeds| seeds.stats(now)).unwrap_or_default()
    }

    /// How many web seeds there are.
    pub(crate) fn web_seed_count(&self) -> usize {
        self.web_seeds.as_ref().map_or(0, |seeds| seeds.live().count())
    }

    /// Those that were added to the metainfo's.
    pub(super) fn added_web_seeds(&self) -> Vec<String> {
        self.web_seeds.as_ref().map(|seeds| seeds.added()).unwrap_or_default()
    }

    /// Adds one, unless it is there or there are enough.
    pub(crate) fn add_web_seed(&mut self, url: String, cx: &mut Cx) {
        let (now, limit) = (cx.now, cx.conf.web_seeds.max_per_torrent);
        match &mut self.web_seeds {
            Some(seeds) => _ = seeds.add(url, true, now, limit),
            none => *none = WebSeeds::of(None, vec![url], &[], now, &cx.conf),
        }
        self.settings_changed(cx);
        self.settle(cx);
    }

    /// Takes one away: what is on order with it is for others. Returns whether it was there.
    pub(crate) fn remove_web_seed(&mut self, url: &str, cx: &mut Cx) -> bool {
        let nth = self.web_seeds.as_mut().and_then(|seeds| seeds.remove(url));
        let Some(nth) = nth else { return false };
        self.with_web_seeds(cx, |seeds, work| seeds.drop_seed(nth, work));
        self.swarm.want_refill();
        self.settings_changed(cx);
        self.settle(cx);
        true
    }

    /// Those of the metainfo that the user has taken away.
    pub(super) fn removed_web_seeds(&self) -> Vec<String> {
        let Some(seeds) = &self.web_seeds else { return Vec::new() };
        let listed = self.content.metainfo().map_or(&[][..], |metainfo| &metainfo.web_seeds);
        // One may have been there as the user's own, and one that was removed may be there again.
        let is_away = |url: &str| seeds.live().all(|seed| seed.text() != url);
        let removed = seeds.seeds.iter().filter(|seed| seed.is_removed());
        let urls: BTreeSet<&str> = removed.map(WebSeed::text).filter(|url| is_away(url)).collect();
        let of_metainfo = |url: &&str| listed.iter().any(|listed| listed == url);
        urls.into_iter().filter(of_metainfo).map(str::to_owned).collect()
    }

    /// The metainfo has come. Those of a private torrent replace what `link` has named: no other
    /// server may hear of it, as with trackers (BEP 27). Those that its user has added stay.
    pub(super) fn join_web_seeds(&mut self, metainfo: &Metainfo, link: &[String], cx: &Cx) {
        let mut added = self.added_web_seeds();
        added.retain(|url| !metainfo.private || !link.contains(url));
        let removed = self.removed_web_seeds();
        self.web_seeds = WebSeeds::of(Some(metainfo), added, &removed, cx.now, &cx.conf);
    }
}

/// Counted anew, for tests and the simulator.
#[cfg(any(test, feature = "sim"))]
impl WebSeeds {
    /// The blocks that are on order with them.
    pub(crate) fn ordered(&self) -> impl Iterator<Item = Block> + '_ {
        let orders = self.fetches.iter().filter_map(|(_, fetch)| fetch.order.as_ref());
        orders.flat_map(Order::blocks)
    }

    /// The pieces of each that counts as having some.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &crate::base::bitfield::Bitfield> + '_ {
        self.seeds.iter().filter_map(WebSeed::counted)
    }

    /// Connections in all, those in use, and those that are held back with others.
    pub(crate) fn connections(&self) -> (usize, usize, usize) {
        let held = self.fetches.iter().filter(|(_, fetch)| fetch.held_with_others).count();
        (self.fetches.len(), self.busy(), held)
    }
}
