//! Values to packets, keys in order.

use std::net::SocketAddr;

use super::{
    Body, Item, ItemFields, Message, Method, NodeId, NodeInfo, Query, Response,
    compact::{Family, write_endpoint},
};
use crate::wire::bencode::Encoder;

impl Message {
    /// Writes the packet. What is too long for [`MAX_SENT`](super::MAX_SENT) is written all the
    /// same: how much goes into a response is the caller's to choose.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict();
        match &self.body {
            Body::Query(query) => {
                e.key(b"a");
                arguments(&mut e, query);
                self.ip(&mut e);
                e.key(b"q").bytes(query.method.name().as_bytes());
                if query.read_only {
                    e.key(b"ro").int(1);
                }
            }
            Body::Response(response) => {
                self.ip(&mut e);
                e.key(b"r");
                values(&mut e, response);
            }
            Body::Error { code, text } => {
                e.key(b"e").list().int(*code).bytes(text).end();
                self.ip(&mut e);
            }
        }
        e.key(b"t").bytes(&self.transaction);
        if let Some(version) = &self.version {
            e.key(b"v").bytes(version);
        }
        let kind: &[u8] = match self.body {
            Body::Query(_) => b"q",
            Body::Response(_) => b"r",
            Body::Error { .. } => b"e",
        };
        e.key(b"y").bytes(kind).end();
        e.finish()
    }

    fn ip(&self, e: &mut Encoder) {
        if let Some(ip) = self.ip {
            e.key(b"ip").bytes(&compact(ip));
        }
    }
}

fn arguments(e: &mut Encoder, query: &Query) {
    let id = |e: &mut Encoder| _ = e.key(b"id").bytes(&query.id.0);
    let target = |e: &mut Encoder, target: &NodeId| _ = e.key(b"target").bytes(&target.0);
    e.dict();
    match &query.method {
        Method::Ping => id(e),
        Method::FindNode { target: to } | Method::SampleInfohashes { target: to } => {
            id(e);
            target(e, to);
        }
        Method::Unknown { target: to } => {
            id(e);
            to.iter().for_each(|to| target(e, to));
        }
        Method::GetPeers { info_hash, noseed, scrape } => {
            id(e);
            e.key(b"info_hash").bytes(&info_hash.0);
            if *noseed {
                e.key(b"noseed").int(1);
            }
            if *scrape {
                e.key(b"scrape").int(1);
            }
        }
        Method::AnnouncePeer { info_hash, port, implied_port, seed, token } => {
            id(e);
            if *implied_port {
                e.key(b"implied_port").int(1);
            }
            e.key(b"info_hash").bytes(&info_hash.0).key(b"port").int((*port).into());
            if *seed {
                e.key(b"seed").int(1);
            }
            e.key(b"token").bytes(token);
        }
        Method::Get { target: to, seq } => {
            id(e);
            if let Some(seq) = seq {
                e.key(b"seq").int(*seq);
            }
            target(e, to);
        }
        Method::Put { item, cas, token } => put(e, query, item, *cas, token),
    }
    if let Some(want) = query.want {
        e.key(b"want").list();
        if want.v4 {
            e.bytes(b"n4");
        }
        if want.v6 {
            e.bytes(b"n6");
        }
        e.end();
    }
    e.end();
}

fn put(e: &mut Encoder, query: &Query, item: &Item, cas: Option<i64>, token: &[u8]) {
    let cas = cas.filter(|_| matches!(item, Item::Mutable(_)));
    if let Some(cas) = cas {
        e.key(b"cas").int(cas);
    }
    e.key(b"id").bytes(&query.id.0);
    if let Item::Mutable(item) = item {
        e.key(b"k").bytes(&item.key);
        if !item.salt.is_empty() {
            e.key(b"salt").bytes(&item.salt);
        }
        e.key(b"seq").int(item.seq).key(b"sig").bytes(&item.signature);
    }
    e.key(b"token").bytes(token).key(b"v").raw(item.value());
}

fn values(e: &mut Encoder, r: &Response) {
    e.dict();
    if let Some(scrape) = &r.scrape {
        e.key(b"BFpe").bytes(&scrape.peers.0).key(b"BFsd").bytes(&scrape.seeds.0);
    }
    e.key(b"id").bytes(&r.id.0);
    if let Some(samples) = &r.samples {
        e.key(b"interval").int(samples.interval.into());
    }
    let ItemFields { value, key, seq, signature } = &r.item;
    if let Some(key) = key {
        e.key(b"k").bytes(key);
    }
    if let Some(nodes) = &r.nodes {
        e.key(b"nodes").bytes(&NodeInfo::write(nodes, Family::V4));
    }
    if let Some(nodes) = &r.nodes6 {
        e.key(b"nodes6").bytes(&NodeInfo::write(nodes, Family::V6));
    }
    if let Some(samples) = &r.samples {
        let hashes = samples.hashes.iter().flat_map(|hash| hash.0).collect::<Vec<_>>();
        e.key(b"num").int(samples.num.into()).key(b"samples").bytes(&hashes);
    }
    if let Some(seq) = seq {
        e.key(b"seq").int(*seq);
    }
    if let Some(signature) = signature {
        e.key(b"sig").bytes(signature);
    }
    if let Some(token) = &r.token {
        e.key(b"token").bytes(token);
    }
    if let Some(value) = value {
        e.key(b"v").raw(value);
    }
    if !r.values.is_empty() {
        e.key(b"values").list();
        r.values.iter().for_each(|&peer| _ = e.bytes(&compact(peer)));
        e.end();
    }
    e.end();
}

fn compact(addr: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(18);
    write_endpoint(&mut out, addr);
    out
}
