//! What is asked of web seeds, connection by connection, and what becomes of it: orders, bytes,
//! failures. It sees the ledger as any source of blocks does, and no peer.

use std::{net::IpAddr, time::Duration};

use super::{
    Ask, WebSeeds,
    order::{Delivery, Order},
    seed::FEW,
};
use crate::{
    alert::{Alert, AlertMask, WebSeedError},
    base::{
        arena::Key,
        files::{FileKind, spans},
        geometry::{BLOCK_LEN, Block, PieceIndex},
        ids::TorrentId,
        time::Instant,
    },
    proto::{
        pipeline::Arrival,
        web_seed::{self, End, FetchError, FileRequest, WebConnection},
    },
    torrent::{
        cx::Cx,
        progress::{OrderKey, Supplier},
        swarm::{RowAsker, Swarm},
    },
    wire::metainfo::Metainfo,
};

/// A connection with a web seed.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) seed: usize,
    pub(super) connection: WebConnection,
    pub(super) order: Option<Order>,
    /// The stream, by its key in the engine.
    pub(super) stream: Option<Key>,
    /// When it was asked, until something comes.
    asked: Option<Instant>,
    /// It is held back by a limit that it shares with others.
    pub(super) held_with_others: bool,
}

/// What web seeds work on.
pub(super) struct Work<'a> {
    pub(super) torrent: TorrentId,
    pub(super) metainfo: &'a Metainfo,
    pub(super) swarm: &'a mut Swarm,
    pub(super) cx: &'a mut Cx,
}

fn supplier(seed: usize) -> Supplier {
    Supplier::WebSeed(u32::try_from(seed).unwrap_or(u32::MAX))
}

impl Fetch {
    fn new(seed: usize, cx: &Cx) -> Self {
        Self {
            seed,
            connection: WebConnection::new(&cx.conf),
            order: None,
            stream: None,
            asked: None,
            held_with_others: false,
        }
    }
}

impl WebSeeds {
    // Beginning.

    /// Asks web seeds for what is missing, as far as there are connections and memory.
    pub(super) fn begin(&mut self, work: &mut Work<'_>) {
        let now = work.cx.now;
        if self.look_at.is_some_and(|at| at > now)
            || self.busy() >= work.cx.conf.web_seeds.connections_per_torrent
        {
            return;
        }
        self.look_at = None;
        let (mut is_idle, mut begun) = (false, false);
        for nth in 0..self.seeds.len() {
            let seed = (self.turn + nth) % self.seeds.len();
            // One that fails at once, since it may not be asked, is not usable from then on.
            while self.seeds.get(seed).is_some_and(|seed| seed.is_usable(now))
                && let Some(key) = self.free_connection(seed, work)
            {
                if self.begin_order(key, work) {
                    (begun, self.turn) = (true, seed + 1);
                } else {
                    is_idle = true;
                    self.drop_if_closed(key, work);
                    break;
                }
            }
        }
        if begun {
            self.pause = super::LOOK_AGAIN;
        }
        if is_idle {
            // Others have it all on order; near the end some of that may have to be copied.
            let is_near_the_end = work.swarm.is_endgame();
            let longest =
                if is_near_the_end { super::LOOK_AGAIN * 2 } else { super::LONGEST_PAUSE };
            self.pause = self.pause.min(longest);
            self.look_at = Some(now + self.pause);
            self.pause = (self.pause * 2).min(longest);
        }
    }

    /// A connection with a web seed that nothing is asked for on, or a new one.
    fn free_connection(&mut self, seed: usize, work: &mut Work<'_>) -> Option<Key> {
        let conf = &work.cx.conf.web_seeds;
        let of_it = || self.fetches.iter().filter(|(_, fetch)| fetch.seed == seed);
        let busy = of_it().filter(|(_, fetch)| fetch.order.is_some()).count();
        let idle = of_it().find(|(_, fetch)| fetch.order.is_none()).map(|(key, _)| key);
        // One that was never heard of is asked once before it is asked twice.
        let proven = self.seeds.get(seed).is_some_and(|seed| seed.is_proven());
        // One that sends whole files is read in order.
        let whole = of_it().any(|(_, fetch)| fetch.connection.sends_whole());
        let most = if proven && !whole { conf.connections_per_seed } else { 1 };
        if busy >= most || self.busy() >= conf.connections_per_torrent {
            return None;
        }
        if idle.is_some() {
            return idle;
        }
        if self.fetches.len() >= conf.connections_per_torrent {
            let idle = self.fetches.iter().find(|(_, fetch)| fetch.order.is_none());
            let (key, _) = idle?;
            self.drop_fetch(key, work);
        }
        if !work.cx.leases.lease_web_connection(work.cx.conf.web_seeds.max_connections) {
            // Other torrents have them all.
            self.look_at = Some(work.cx.now + super::LOOK_AGAIN);
            return None;
        }
        Some(self.fetches.insert(Fetch::new(seed, work.cx)))
    }

    /// Orders something on a connection; false if there is nothing, or no memory for it.
    fn begin_order(&mut self, key: Key, work: &mut Work<'_>) -> bool {
        let Work { metainfo, swarm, cx, .. } = work;
        let busy = self.busy() + 1;
        let Some(fetch) = self.fetches.get(key) else { return false };
        let nth = fetch.seed;
        let Some(seed) = self.seeds.get_mut(nth) else { return false };
        let piece = u64::from(metainfo.geometry.nominal_piece_len());
        let most = seed.request_len(cx.now, busy, piece, &cx.conf);
        // As much as the others who fetch leave it, but never so little that it is all heads.
        let run = (cx.conf.requests.run_len / BLOCK_LEN) as usize;
        let most = most.min(cx.fair_share().max(run));
        let expected = seed.expected(cx.now, busy, FEW);
        let all = seed.expected(cx.now, busy, most as u64 * u64::from(BLOCK_LEN));
        let next = seed.next();
        let asker = RowAsker {
            key: OrderKey::WebSeed(key),
            who: supplier(nth),
            has: seed.has(metainfo),
            next,
            most,
            expected,
            due: cx.now + all,
        };
        let fetches = &self.fetches;
        let is_ordered = |block| {
            let mut orders = fetches.iter().filter_map(|(_, fetch)| fetch.order.as_ref());
            orders.any(|order| order.has(block))
        };
        let row = swarm.next_row(&asker, is_ordered, cx);
        let Some(last) = row.last() else {
            swarm.leave_rows(OrderKey::WebSeed(key));
            return false;
        };
        seed.set_next(metainfo.geometry.piece(last.piece.get() + 1).ok());
        cx.leases.count_fetcher(true);
        let order = Order::new(row, &metainfo.geometry, &metainfo.files);
        if let Some(fetch) = self.fetches.get_mut(key) {
            fetch.order = Some(order);
        }
        self.go_on(key, work);
        true
    }

    /// Asks for the next part of what is on order on a connection, or ends that.
    fn go_on(&mut self, key: Key, work: &mut Work<'_>) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        let (who, link) = (supplier(fetch.seed), OrderKey::WebSeed(key));
        let Some(order) = &mut fetch.order else { return };
        let Work { swarm, cx, metainfo, .. } = work;
        let next = order.next_part(|delivery| receive(swarm, cx, &delivery, link, who));
        let Some(span) = next else { return self.end_order(key, work) };
        let Some(seed) = self.seeds.get(fetch.seed) else { return };
        let entry = metainfo.files.get(span.file);
        let Some((place, entry)) = seed.place(metainfo, span.file).zip(entry) else {
            return self.failed(key, &FetchError::Address, work);
        };
        fetch.asked = Some(cx.now);
        let what = FileRequest { place, first: span.offset, len: span.len, file_len: entry.len };
        let end = fetch.connection.fetch(cx.now, what);
        let has_ahead = fetch.connection.has_ahead();
        self.settle_fetch(key, end, work);
        if has_ahead {
            self.handle_data(key, &[], work);
        }
    }

    // What happens to a connection.

    /// The resolver answered.
    pub(super) fn handle_resolved(
        &mut self,
        key: Key,
        result: Result<Vec<IpAddr>, String>,
        work: &mut Work<'_>,
    ) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        let end = fetch.connection.handle_resolved(work.cx.now, result);
        self.settle_fetch(key, end, work);
    }

    /// The stream is up.
    pub(super) fn handle_connected(&mut self, key: Key, work: &mut Work<'_>) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        fetch.connection.handle_connected(work.cx.now);
        self.settle_fetch(key, None, work);
    }

    /// Bytes came.
    pub(super) fn handle_data(&mut self, key: Key, data: &[u8], work: &mut Work<'_>) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        let (who, link) = (supplier(fetch.seed), OrderKey::WebSeed(key));
        let Fetch { connection, order, seed, asked, .. } = fetch;
        let Some(seed) = self.seeds.get_mut(*seed) else { return };
        let Work { swarm, cx, .. } = work;
        if let Some(asked) = asked.take() {
            seed.note_latency(cx.now.since(asked));
        }
        let now = cx.now;
        let end = connection.handle_data(now, data, |bytes| {
            seed.note_bytes(now, bytes.len() as u64);
            if let Some(order) = order {
                order.take(bytes, |delivery| receive(swarm, cx, &delivery, link, who));
            }
        });
        swarm.waste(connection.take_skipped(), cx);
        self.settle_fetch(key, end, work);
    }

    /// The stream is over.
    pub(super) fn handle_closed(&mut self, key: Key, why: Result<(), String>, work: &mut Work<'_>) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        fetch.stream = None;
        let end = fetch.connection.handle_closed(work.cx.now, why);
        self.settle_fetch(key, end, work);
    }

    /// The stream is over: its proxy has failed.
    pub(super) fn handle_proxy_failed(&mut self, key: Key, why: String, work: &mut Work<'_>) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        fetch.stream = None;
        let end = fetch.connection.handle_proxy_failed(why);
        self.settle_fetch(key, end, work);
    }

    /// It is time for some of them.
    pub(super) fn handle_timeouts(&mut self, work: &mut Work<'_>) {
        let now = work.cx.now;
        let due = |fetch: &Fetch| fetch.connection.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<Key> =
            self.fetches.iter().filter(|(_, fetch)| due(fetch)).map(|(key, _)| key).collect();
        for key in due {
            let Some(fetch) = self.fetches.get_mut(key) else { continue };
            let end = fetch.connection.handle_timeout(now);
            self.settle_fetch(key, end, work);
        }
    }

    /// Draws the consequences of what a connection was told.
    fn settle_fetch(&mut self, key: Key, end: Option<End>, work: &mut Work<'_>) {
        self.collect(key);
        match end {
            None => self.drop_if_closed(key, work),
            Some(Err(error)) => self.failed(key, &error, work),
            Some(Ok(())) => {
                self.succeeded(key, work);
                self.go_on(key, work);
            }
        }
    }

    /// A part has come.
    fn succeeded(&mut self, key: Key, work: &mut Work<'_>) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        let Some(seed) = self.seeds.get_mut(fetch.seed) else { return };
        let file = fetch.order.as_ref().and_then(Order::file);
        if let Some((file, place)) = file.zip(fetch.connection.take_place()) {
            seed.remember(file, place);
        }
        seed.succeed();
        seed.has(work.metainfo);
        if let Some(has) = seed.set_counted(true) {
            work.swarm.add_web_seed(has);
        }
        if let Some(order) = &mut fetch.order {
            order.end_part();
        }
    }

    /// All that was on order has come.
    fn end_order(&mut self, key: Key, work: &mut Work<'_>) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        if fetch.order.take().is_some() {
            let who = supplier(fetch.seed);
            work.cx.leases.count_fetcher(false);
            work.swarm.disown_row(OrderKey::WebSeed(key), who, work.cx.now);
        }
        self.look_at = None;
    }

    /// A request has failed.
    fn failed(&mut self, key: Key, error: &FetchError, work: &mut Work<'_>) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        let nth = fetch.seed;
        let file = fetch.order.as_ref().and_then(Order::file);
        let gave = fetch.order.as_ref().is_some_and(|order| order.got() > 0);
        self.drop_fetch(key, work);
        let (Some(file), Some(seed)) = (file, self.seeds.get_mut(nth)) else { return };
        self.look_at = None;
        // Where a redirect had led, the file may be no more, and be elsewhere now.
        if seed.forget_place(file) {
            return;
        }
        // Of two requests for a file that is not there, the first has told.
        if error.is_of_file() && seed.is_without(file) {
            return;
        }
        let was_counted = seed.is_proven();
        if let Some(has) = seed.set_counted(false) {
            work.swarm.remove_web_seed(has);
        }
        let Work { metainfo, cx, .. } = work;
        let (told, retry_in) = seed.fail(cx.now, file, error, gave, metainfo, &cx.conf);
        if was_counted
            && retry_in.is_none()
            && let Some(has) = seed.set_counted(true)
        {
            work.swarm.add_web_seed(has);
        }
        let shown = seed.shown();
        tell(shown, told, retry_in, work);
    }

    /// `nth` has sent bad data of a piece.
    pub(super) fn accuse(&mut self, nth: usize, piece: PieceIndex, work: &mut Work<'_>) {
        let metainfo = work.metainfo;
        let Some(seed) = self.seeds.get_mut(nth) else { return };
        let start = metainfo.geometry.offset(piece);
        let range = start..start + u64::from(metainfo.geometry.piece_len(piece));
        let regular =
            |file: &usize| metainfo.files.get(*file).is_some_and(|f| f.kind == FileKind::Regular);
        let files: Vec<usize> =
            spans(&metainfo.files, range).map(|span| span.file).filter(regular).collect();
        let was_counted = seed.is_proven();
        if let Some(has) = seed.set_counted(false) {
            work.swarm.remove_web_seed(has);
        }
        let (errors, is_banned) = (seed.accuse(&files, metainfo), seed.is_banned());
        if was_counted
            && !is_banned
            && let Some(has) = seed.set_counted(true)
        {
            work.swarm.add_web_seed(has);
        }
        let shown = seed.shown();
        for error in errors {
            tell(shown.clone(), error, None, work);
        }
        // What is still to come of it is not wanted.
        let spoilt = |fetch: &Fetch| {
            let touches = |order: &Order| files.iter().any(|&file| order.touches(file));
            fetch.seed == nth && (is_banned || fetch.order.as_ref().is_some_and(touches))
        };
        let spoilt: Vec<Key> =
            self.fetches.iter().filter(|(_, fetch)| spoilt(fetch)).map(|(key, _)| key).collect();
        spoilt.into_iter().for_each(|key| self.drop_fetch(key, work));
    }

    // Orders that are off.

    /// A block has come from elsewhere. A request of which nothing is of use any more is given up.
    pub(super) fn cancel(&mut self, block: Block, except: OrderKey, work: &mut Work<'_>) {
        for key in self.fetches.keys() {
            let Some(fetch) = self.fetches.get_mut(key) else { continue };
            let Some(order) = &mut fetch.order else { continue };
            if OrderKey::WebSeed(key) != except && order.cancel(block) {
                self.drop_if_useless(key, work);
            }
        }
    }

    /// What is wanted has changed: orders for what is skipped now are called off.
    pub(super) fn cancel_skipped(&mut self, work: &mut Work<'_>) {
        for key in self.fetches.keys() {
            let Some(fetch) = self.fetches.get_mut(key) else { continue };
            let Some(order) = &mut fetch.order else { continue };
            let swarm = &mut *work.swarm;
            for block in order.cancel_all(|block| swarm.is_skipped(block.piece)) {
                work.swarm.release(block, work.cx);
            }
            self.drop_if_useless(key, work);
        }
    }

    fn drop_if_useless(&mut self, key: Key, work: &mut Work<'_>) {
        let order = self.fetches.get(key).and_then(|fetch| fetch.order.as_ref());
        if order.is_some_and(|order| order.blocks().next().is_none()) {
            self.drop_fetch(key, work);
        }
    }

    /// Nothing is asked of this web seed any more, and it counts as having nothing.
    pub(super) fn drop_seed(&mut self, nth: usize, work: &mut Work<'_>) {
        let of_it = |(key, fetch): (Key, &Fetch)| (fetch.seed == nth).then_some(key);
        for key in self.fetches.iter().filter_map(of_it).collect::<Vec<_>>() {
            self.drop_fetch(key, work);
        }
        if let Some(has) = self.seeds.get_mut(nth).and_then(|seed| seed.set_counted(false)) {
            work.swarm.remove_web_seed(has);
        }
        self.look_at = None;
    }

    /// Nothing is asked of web seeds any more.
    pub(super) fn stop(&mut self, work: &mut Work<'_>) {
        for key in self.fetches.keys() {
            self.drop_fetch(key, work);
        }
        for seed in &mut self.seeds {
            if let Some(has) = seed.set_counted(false) {
                work.swarm.remove_web_seed(has);
            }
        }
        self.look_at = None;
    }

    /// A connection that is closed and that nothing is on order with is of no use.
    fn drop_if_closed(&mut self, key: Key, work: &mut Work<'_>) {
        let is_over = |fetch: &Fetch| fetch.order.is_none() && !fetch.connection.is_open();
        if self.fetches.get(key).is_some_and(is_over) {
            self.drop_fetch(key, work);
        }
    }

    /// Gives up a connection and what is on order on it.
    fn drop_fetch(&mut self, key: Key, work: &mut Work<'_>) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        fetch.connection.stop();
        self.collect(key);
        let Some(fetch) = self.fetches.remove(key) else { return };
        self.asks.push_back(Ask::Forget { fetch: key });
        let Work { swarm, cx, .. } = work;
        cx.leases.end_web_connection();
        if fetch.held_with_others {
            swarm.unhold(cx.now);
        }
        if let Some(order) = fetch.order {
            cx.leases.count_fetcher(false);
            order.blocks().for_each(|block| swarm.release(block, cx));
            swarm.disown_row(OrderKey::WebSeed(key), supplier(fetch.seed), cx.now);
        }
    }

    /// Hands on what a connection wants of the world.
    fn collect(&mut self, key: Key) {
        let Some(fetch) = self.fetches.get_mut(key) else { return };
        while let Some(ask) = fetch.connection.poll_ask() {
            match ask {
                web_seed::Ask::Resolve { host } => {
                    self.asks.push_back(Ask::Resolve { fetch: key, host });
                }
                web_seed::Ask::Connect { to, tls, forwarded } => {
                    let old = fetch.stream.take();
                    self.asks.extend(old.map(|stream| Ask::Close { stream }));
                    self.asks.push_back(Ask::Connect { fetch: key, to, tls, forwarded });
                }
                web_seed::Ask::Flush => {
                    self.asks.extend(fetch.stream.map(|stream| Ask::Flush { stream }));
                }
                web_seed::Ask::Resume => {
                    self.asks.extend(fetch.stream.map(|stream| Ask::Resume { stream }));
                }
                web_seed::Ask::Close => {
                    // One that was asked for and not made yet is not asked for any more.
                    self.asks
                        .retain(|ask| !matches!(ask, Ask::Connect { fetch, .. } if *fetch == key));
                    let stream = fetch.stream.take();
                    self.asks.extend(stream.map(|stream| Ask::Close { stream }));
                }
            }
        }
    }
}

/// A block came.
fn receive(swarm: &mut Swarm, cx: &mut Cx, delivery: &Delivery<'_>, link: OrderKey, who: Supplier) {
    let &Delivery { block, wanted, bytes, came } = delivery;
    swarm.count_down(came, cx);
    let arrival = if wanted { Arrival::Asked } else { Arrival::Late };
    swarm.place(block, bytes, link, who, arrival, cx);
}

fn tell(web_seed: String, error: WebSeedError, retry_in: Option<Duration>, work: &mut Work<'_>) {
    log::info!("{web_seed}: {error}");
    if work.cx.alerts.wants(AlertMask::WEB_SEEDS) {
        let torrent = work.torrent;
        work.cx.alerts.push(Alert::WebSeedFailed { torrent, web_seed, error, retry_in });
    }
}
