//! What others are answered: never more than the quota allows, nothing that makes us a means
//! against a third, and nothing at all in read-only mode.

use std::net::SocketAddr;

use super::{super::table::K, Node};
use crate::{
    base::time::Instant,
    wire::krpc::{
        ErrorCode, Family, Item, ItemFields, MAX_SENT, Message, Method, NodeId, NodeInfo, Query,
        Response,
    },
};

/// Bytes that a peer takes in a list of values.
const V4_VALUE: usize = 8;
const V6_VALUE: usize = 21;

impl Node {
    pub(super) fn handle_query(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: &[u8],
        query: Query,
    ) {
        self.stats.queries += 1;
        let family = Family::of(from.ip());
        self.note_asker(now, family, NodeInfo { id: query.id, addr: from }, query.read_only);
        let Some(own) = self.id(family) else { return };
        let response = match query.method {
            Method::Ping => Ok(Response { id: own, ..Response::default() }),
            Method::FindNode { target } | Method::Unknown { target: Some(target) } => {
                Ok(self.with_nodes(now, family, &query, target))
            }
            Method::GetPeers { info_hash, noseed, scrape } => {
                Ok(self.peers(now, from, &query, info_hash, (noseed, scrape), transaction))
            }
            Method::Get { target, seq } => {
                let mut response = self.with_nodes(now, family, &query, target);
                response.token = Some(self.secret.token(now, from.ip(), &target));
                response.item = self.stored_item(&target, seq);
                Ok(response)
            }
            Method::SampleInfohashes { target } => {
                let mut response = self.with_nodes(now, family, &query, target);
                let samples = self.storage.samples(now, &self.conf, &mut self.rng);
                response.samples = Some(samples);
                Ok(response)
            }
            Method::AnnouncePeer { info_hash, port, implied_port, seed, token } => {
                let port = if implied_port { from.port() } else { port };
                let peer = (SocketAddr::new(from.ip(), port), seed);
                self.store_peer(now, &own, info_hash, peer, &token)
            }
            Method::Put { item, cas, token } => self.store_item(now, from, &own, item, cas, &token),
            Method::Unknown { target: None } => Err((ErrorCode::MethodUnknown, "method unknown")),
        };
        let message = match response {
            Ok(response) => Message::response(transaction, response),
            Err((code, text)) => Message::error(transaction, code, text),
        };
        self.answer(now, from, message);
    }

    /// Sends an answer, as far as the quota allows.
    pub(super) fn answer(&mut self, now: Instant, to: SocketAddr, mut message: Message) {
        message.version = Some(self.conf.version);
        message.ip = Some(to);
        let packet = message.encode();
        let allowed = !self.conf.read_only && self.guard.may_answer(now, packet.len(), &self.conf);
        if allowed {
            self.transmit(to, packet);
        } else {
            self.stats.unanswered += 1;
        }
    }

    /// A node asked us something: if it may find room in the table, it is asked in turn.
    fn note_asker(&mut self, now: Instant, family: Family, info: NodeInfo, read_only: bool) {
        let Some(side) = self.side_mut(family).filter(|side| side.id() != info.id) else { return };
        if side.table.note_query(now, info) || read_only || !side.table.would_take(info) {
            return;
        }
        self.probe(now, info.addr);
    }

    /// A response with the nodes that are wanted.
    fn with_nodes(&self, now: Instant, family: Family, query: &Query, target: NodeId) -> Response {
        let nodes = |of: Family| {
            let wanted = query.want.map_or(of == family, |want| match of {
                Family::V4 => want.v4,
                Family::V6 => want.v6,
            });
            let side = self.side(of).filter(|_| wanted)?;
            let mut nodes = side.table.closest(&target, K + 1, Some(now));
            nodes.retain(|node| node.id != query.id);
            nodes.truncate(K);
            Some(nodes)
        };
        let id = self.id(family).unwrap_or_default();
        Response { id, nodes: nodes(Family::V4), nodes6: nodes(Family::V6), ..Response::default() }
    }

    fn peers(
        &mut self,
        now: Instant,
        from: SocketAddr,
        query: &Query,
        hash: NodeId,
        (noseed, scrape): (bool, bool),
        transaction: &[u8],
    ) -> Response {
        let family = Family::of(from.ip());
        let scrape = scrape.then(|| self.storage.scrape(&hash, family)).flatten();
        // The filters leave no room for nodes of the other family (BEP 33).
        let only = Query { want: None, ..query.clone() };
        let query = if scrape.is_some() { &only } else { query };
        let mut response = self.with_nodes(now, family, query, hash);
        response.scrape = scrape.map(Box::new);
        let own = response.id;
        if self.storage.has_room(&own, &hash, from.ip(), &self.conf) {
            response.token = Some(self.secret.token(now, from.ip(), &hash));
        }
        let mut sized = Message::response(transaction, response.clone());
        (sized.version, sized.ip) = (Some(self.conf.version), Some(from));
        // The key and the brackets of the list take twelve bytes.
        let room = MAX_SENT.saturating_sub(sized.encode().len() + 12);
        let value = if family == Family::V4 { V4_VALUE } else { V6_VALUE };
        response.values = self.storage.peers(&hash, family, noseed, room / value, &mut self.rng);
        response
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
        now: Instant,
        own: &NodeId,
        hash: NodeId,
        peer: (SocketAddr, bool),
        token: &[u8],
    ) -> Result<Response, (ErrorCode, &'static str)> {
        if !self.secret.accepts(now, peer.0.ip(), &hash, token) {
            return Err((ErrorCode::Protocol, "invalid token"));
        }
        if !self.storage.add_peer(now, own, hash, peer, &self.conf) {
            return Err((ErrorCode::Server, "storage full"));
        }
        Ok(Response { id: *own, ..Response::default() })
    }

    fn store_item(
        &mut self,
        now: Instant,
        from: SocketAddr,
        own: &NodeId,
        item: Item,
        cas: Option<i64>,
        token: &[u8],
    ) -> Result<Response, (ErrorCode, &'static str)> {
        // The token first: it is cheap, and a signature is not.
        if !self.secret.accepts(now, from.ip(), &item.target(), token) {
            return Err((ErrorCode::Protocol, "invalid token"));
        }
        item.verify().map_err(|e| (e.code(), "invalid value"))?;
        let stored = self.storage.put(now, own, item, cas, &self.conf);
        stored.map_err(|code| match code {
            ErrorCode::CasMismatch => (code, "CAS mismatch"),
            ErrorCode::OldSequence => (code, "sequence number less than current"),
            _ => (code, "storage full"),
        })?;
        Ok(Response { id: *own, ..Response::default() })
    }
}
