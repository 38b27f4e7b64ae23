//! What others are served: tokens, stored peers and values, and how much of it all.
//!
//! Never more than the quota allows, nothing that makes us a means against a third, and nothing at
//! all in read-only mode. It sends nothing itself.

use std::{net::SocketAddr, time::Duration};

use super::{guard::Guard, secret::Secret, side::Sides, storage::Storage, table::K};
use crate::{
    base::{rng::Rng, time::Instant},
    conf::DhtConf,
    wire::krpc::{
        ErrorCode, Family, Item, ItemFields, MAX_SENT, Message, Method, NodeId, Query, Response,
    },
};

/// Bytes that a peer takes in a list of values.
const V4_VALUE: usize = 8;
const V6_VALUE: usize = 21;
/// How often the storage is swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

type Answer = Result<Response, (ErrorCode, &'static str)>;

/// See the module.
#[derive(Debug)]
pub(super) struct Server {
    secret: Secret,
    storage: Storage,
    guard: Guard,
    rng: Rng,
    sweep_at: Instant,
    /// Queries, and those that were left unanswered.
    queries: (u64, u64),
    /// Packets received, their bytes, and those ignored.
    received: (u64, u64, u64),
}

/// A query, and what its answer depends on besides what is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) now: Instant,
    pub(super) from: SocketAddr,
    pub(super) transaction: &'a [u8],
    pub(super) query: &'a Query,
    pub(super) sides: &'a Sides,
    pub(super) conf: &'a DhtConf,
}

impl Server {
    pub(super) fn new(now: Instant, secret: Secret, rng: Rng, conf: &DhtConf) -> Self {
        Self {
            secret,
            storage: Storage::default(),
            guard: Guard::new(now, conf),
            rng,
            sweep_at: now + SWEEP_INTERVAL,
            queries: (0, 0),
            received: (0, 0, 0),
        }
    }

    /// Queries, and those of them that the quota or read-only mode left unanswered.
    pub(super) fn queries(&self) -> (u64, u64) {
        self.queries
    }

    /// Torrents, their peers, and values that are stored.
    pub(super) fn stored(&self) -> (usize, usize, usize) {
        self.storage.counts()
    }

    /// Whether peers of a torrent are stored.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn stores(&self, info_hash: &NodeId) -> bool {
        self.storage.stores(info_hash)
    }

    /// Hosts that are ignored now.
    pub(super) fn blocked(&self, now: Instant, conf: &DhtConf) -> usize {
        self.guard.blocked(now, conf.flood_block)
    }

    /// Packets received, their bytes, and those ignored.
    pub(super) fn received(&self) -> (u64, u64, u64) {
        self.received
    }

    /// Counts a packet. False if it is to be ignored: its source is not `usable`, or floods.
    pub(super) fn hears(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: usize,
        usable: bool,
        conf: &DhtConf,
    ) -> bool {
        self.received.0 += 1;
        self.received.1 += bytes as u64;
        let heard = usable && self.guard.admits(now, from, conf);
        self.received.2 += u64::from(!heard);
        heard
    }

    /// A packet was the answer to a query of ours: its host may send as many as we ask for.
    pub(super) fn note_expected(&mut self, from: SocketAddr) {
        self.guard.forgive(from);
    }

    /// A packet was of no use.
    pub(super) fn note_ignored(&mut self) {
        self.received.2 += 1;
    }

    /// The packet of an answer to a query, if it may be sent now.
    pub(super) fn packet(
        &mut self,
        now: Instant,
        to: SocketAddr,
        mut answer: Message,
        conf: &DhtConf,
    ) -> Option<Vec<u8>> {
        answer.version = Some(conf.version);
        answer.ip = Some(to);
        let packet = answer.encode();
        let may = !conf.read_only && self.guard.may_answer(now, packet.len(), conf);
        self.queries.0 += 1;
        self.queries.1 += u64::from(!may);
        may.then_some(packet)
    }

    /// When [`sweep`](Self::sweep) is due.
    pub(super) fn next_deadline(&self) -> Instant {
        self.sweep_at
    }

    /// Forgets what is too old, if it is time for that.
    pub(super) fn sweep(&mut self, now: Instant, conf: &DhtConf) {
        if self.sweep_at <= now {
            self.storage.sweep(now, conf);
            self.sweep_at = now + SWEEP_INTERVAL;
        }
    }

    /// The answer to a query; `None` in a family that we take no part in.
    pub(super) fn answer(&mut self, asked: Asked<'_>) -> Option<Message> {
        let Asked { now, from, query, sides, conf, .. } = asked;
        let own = sides.id(Family::of(from.ip()))?;
        let response = match &query.method {
            Method::Ping => Ok(Response { id: own, ..Response::default() }),
            Method::FindNode { target } | Method::Unknown { target: Some(target) } => {
                Ok(with_nodes(asked, target))
            }
            Method::GetPeers { info_hash, noseed, scrape } => {
                Ok(self.peers(asked, info_hash, (*noseed, *scrape)))
            }
            Method::Get { target, seq } => {
                let mut response = with_nodes(asked, target);
                response.token = Some(self.secret.token(now, from.ip(), target));
                response.item = self.stored_item(target, *seq);
                Ok(fitting(asked, response))
            }
            Method::SampleInfohashes { target } => {
                let mut response = with_nodes(asked, target);
                response.samples = Some(self.storage.samples(now, conf, &mut self.rng));
                Ok(fitting(asked, response))
            }
            Method::AnnouncePeer { info_hash, port, implied_port, seed, token } => {
                let port = if *implied_port { from.port() } else { *port };
                let peer = (SocketAddr::new(from.ip(), port), *seed);
                self.store_peer(asked, &own, *info_hash, peer, token)
            }
            Method::Put { item, cas, token } => self.store_item(asked, &own, item, *cas, token),
            Method::Unknown { target: None } => Err((ErrorCode::MethodUnknown, "method unknown")),
        };
        Some(match response {
            Ok(response) => Message::response(asked.transaction, response),
            Err((code, text)) => Message::error(asked.transaction, code, text),
        })
    }

    fn peers(
        &mut self,
        asked: Asked<'_>,
        hash: &NodeId,
        (noseed, scrape): (bool, bool),
    ) -> Response {
        let Asked { now, from, query, conf, .. } = asked;
        let family = Family::of(from.ip());
        let scrape = scrape.then(|| self.storage.scrape(hash, family)).flatten();
        // The filters leave no room for nodes of the other family (BEP 33).
        let only = Query { want: None, ..query.clone() };
        let query = if scrape.is_some() { &only } else { query };
        let mut response = with_nodes(Asked { query, ..asked }, hash);
        response.scrape = scrape.map(Box::new);
        if self.storage.has_room(&response.id, hash, from.ip(), conf) {
            response.token = Some(self.secret.token(now, from.ip(), hash));
        }
        // The key and the brackets of the list take twelve bytes.
        let room = MAX_SENT.saturating_sub(size(asked, &response) + 12);
        let value = if family == Family::V4 { V4_VALUE } else { V6_VALUE };
        response.values = self.storage.peers(hash, family, noseed, room / value, &mut self.rng);
        response
    }

    /// Peers of a torrent that are stored here, for ourselves.
    pub(super) fn own_peers(
        &mut self,
        hash: &NodeId,
        noseed: bool,
        conf: &DhtConf,
    ) -> Vec<SocketAddr> {
        let most = conf.max_peers;
        let (storage, rng) = (&self.storage, &mut self.rng);
        let of = |family| storage.peers(hash, family, noseed, most, rng);
        let mut peers: Vec<_> = Family::ALL.into_iter().flat_map(of).collect();
        peers.truncate(most);
        peers
    }

    /// The stored value, or only its number if the asking node has it already.
    fn stored_item(&self, target: &NodeId, known: Option<i64>) -> ItemFields {
        match self.storage.item(target) {
            None => ItemFields::default(),
            Some(Item::Immutable { value }) => {
                ItemFields { value: Some(value.clone()), ..ItemFields::default() }
            }
            Some(Item::Mutable(item)) if known.is_some_and(|known| item.seq <= known) => {
                ItemFields { seq: Some(item.seq), ..ItemFields::default() }
            }
            Some(Item::Mutable(item)) => ItemFields {
                value: Some(item.value.clone()),
                key: Some(item.key),
                seq: Some(item.seq),
                signature: Some(item.signature),
            },
        }
    }

    fn store_peer(
        &mut self,
        asked: Asked<'_>,
        own: &NodeId,
        hash: NodeId,
        peer: (SocketAddr, bool),
        token: &[u8],
    ) -> Answer {
        if !self.secret.accepts(asked.now, peer.0.ip(), &hash, token) {
            return Err((ErrorCode::Protocol, "invalid token"));
        }
        if !self.storage.add_peer(asked.now, own, hash, peer, asked.conf) {
            return Err((ErrorCode::Server, "storage full"));
        }
        Ok(Response { id: *own, ..Response::default() })
    }

    fn store_item(
        &mut self,
        asked: Asked<'_>,
        own: &NodeId,
        item: &Item,
        cas: Option<i64>,
        token: &[u8],
    ) -> Answer {
        // The token first: it is cheap, and a signature is not.
        if !self.secret.accepts(asked.now, asked.from.ip(), &item.target(), token) {
            return Err((ErrorCode::Protocol, "invalid token"));
        }
        item.verify().map_err(|e| (e.code(), "invalid value"))?;
        let stored = self.storage.put(asked.now, own, item.clone(), cas, asked.conf);
        stored.map_err(|code| match code {
            ErrorCode::CasMismatch => (code, "CAS mismatch"),
            ErrorCode::OldSequence => (code, "sequence number less than current"),
            _ => (code, "storage full"),
        })?;
        Ok(Response { id: *own, ..Response::default() })
    }
}

/// Bytes of the packet that a response takes.
fn size(asked: Asked<'_>, response: &Response) -> usize {
    let mut sized = Message::response(asked.transaction, response.clone());
    (sized.version, sized.ip) = (Some(asked.conf.version), Some(asked.from));
    sized.encode().len()
}

/// A response without the nodes that its packet has no room for: first those of the other family,
/// then the farthest.
fn fitting(asked: Asked<'_>, mut response: Response) -> Response {
    while size(asked, &response) > MAX_SENT {
        let Response { nodes, nodes6, .. } = &mut response;
        let (own, other) = if asked.from.is_ipv4() { (nodes, nodes6) } else { (nodes6, nodes) };
        if other.take().is_none() && own.as_mut().and_then(Vec::pop).is_none() {
            break;
        }
    }
    response
}

/// A response with the nodes that are wanted.
fn with_nodes(asked: Asked<'_>, target: &NodeId) -> Response {
    let Asked { now, from, query, sides, .. } = asked;
    let family = Family::of(from.ip());
    let nodes = |of: Family| {
        let wanted = query.want.map_or(of == family, |want| match of {
            Family::V4 => want.v4,
            Family::V6 => want.v6,
        });
        let side = sides.get(of).filter(|_| wanted)?;
        let mut nodes = side.table().closest(target, K + 1, Some(now));
        nodes.retain(|node| node.id != query.id);
        nodes.truncate(K);
        Some(nodes)
    };
    let id = sides.id(family).unwrap_or_default();
    Response { id, nodes: nodes(Family::V4), nodes6: nodes(Family::V6), ..Response::default() }
}
