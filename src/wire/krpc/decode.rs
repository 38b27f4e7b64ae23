//! Packets to values. What is unknown is ignored; what is malformed is left out where an answer is
//! still useful without it, and refused where it is not.

use std::net::SocketAddr;

use super::{
    Body, ErrorCode, Item, ItemFields, KrpcError, MAX_NODES, MAX_RECEIVED, MAX_SAMPLE_INTERVAL,
    MAX_SAMPLES, MAX_TOKEN, MAX_TRANSACTION, MAX_VALUE, MAX_VALUES, Message, Method, Mutable,
    NodeId, Query, Response, Samples, Scrape, Want,
    bloom::BloomFilter,
    compact::{Family, endpoint, nodes, usable},
    item::{MAX_SALT, check_value},
};
use crate::wire::bencode::{BencodeError, Document, Limits, Value};

/// Bytes of an error's text that are kept.
const MAX_TEXT: usize = 256;

impl Message {
    /// Reads one packet.
    ///
    /// # Errors
    /// If it is no packet of this protocol, or a query whose arguments cannot be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, KrpcError> {
        if bytes.len() > MAX_RECEIVED {
            let (len, limit) = (bytes.len(), MAX_RECEIVED);
            return Err(BencodeError::TooLong { len, limit }.into());
        }
        let limits = Limits { bytes: MAX_RECEIVED, ..Limits::default() };
        // Some nodes send line ends behind their packets.
        let (document, _) = Document::parse_prefix(bytes, &limits)?;
        let root = document.root();
        root.as_dict().ok_or(KrpcError::Missing("y"))?;
        let transaction = root
            .get(b"t")
            .and_then(|t| t.as_bytes())
            .filter(|t| t.len() <= MAX_TRANSACTION)
            .ok_or(KrpcError::Missing("t"))?
            .to_vec();
        let body = match root.get(b"y").and_then(|y| y.as_bytes()) {
            Some(b"q") => Body::Query(query(root).map_err(|(what, code)| match code {
                Some(code) => KrpcError::Query { transaction: transaction.clone(), what, code },
                None => KrpcError::Missing(what),
            })?),
            Some(b"r") => Body::Response(Box::new(response(root)?)),
            Some(b"e") => error(root),
            _ => return Err(KrpcError::Missing("y")),
        };
        let version = root.get(b"v").and_then(|v| v.as_bytes()?.try_into().ok());
        let ip = root.get(b"ip").and_then(|ip| endpoint(ip.as_bytes()?));
        let ip = ip.map(|ip| SocketAddr::new(ip.ip().to_canonical(), ip.port()));
        Ok(Self { transaction, version, ip, body })
    }
}

/// What of a query cannot be used, and the code to refuse it with, if it is to be answered at all.
type Fault = (&'static str, Option<ErrorCode>);

fn query(root: Value<'_>) -> Result<Query, Fault> {
    let protocol = Some(ErrorCode::Protocol);
    let name = root.get(b"q").and_then(|q| q.as_bytes()).ok_or(("q", None))?;
    let a = root.get(b"a").filter(|a| a.as_dict().is_some()).ok_or(("a", protocol))?;
    let id = id_of(a, b"id").ok_or(("id", protocol))?;
    let target = || id_of(a, b"target").ok_or(("target", protocol));
    let info_hash = || id_of(a, b"info_hash").ok_or(("info_hash", protocol));
    let flag = |key: &[u8]| a.get(key).and_then(|v| v.as_int()).is_some_and(|n| n != 0);
    let token =
        || bytes_of(a, b"token").filter(|t| t.len() <= MAX_TOKEN).ok_or(("token", protocol));
    let method = match name {
        b"ping" => Method::Ping,
        b"find_node" => Method::FindNode { target: target()? },
        b"get_peers" => Method::GetPeers {
            info_hash: info_hash()?,
            noseed: flag(b"noseed"),
            scrape: flag(b"scrape"),
        },
        b"announce_peer" => {
            let implied_port = flag(b"implied_port");
            let port = a.get(b"port").and_then(|p| u16::try_from(p.as_int()?).ok());
            let port = port.filter(|&port| port != 0 || implied_port);
            Method::AnnouncePeer {
                info_hash: info_hash()?,
                port: port.or(implied_port.then_some(0)).ok_or(("port", protocol))?,
                implied_port,
                seed: flag(b"seed"),
                token: token()?.to_vec(),
            }
        }
        b"get" => {
            Method::Get { target: target()?, seq: a.get(b"seq").and_then(|seq| seq.as_int()) }
        }
        b"put" => {
            let item = put_item(a)?;
            let cas = a.get(b"cas").and_then(|cas| cas.as_int());
            // Nothing replaces an immutable value.
            let cas = cas.filter(|_| item.seq().is_some());
            Method::Put { item, cas, token: token()?.to_vec() }
        }
        b"sample_infohashes" => Method::SampleInfohashes { target: target()? },
        _ => Method::Unknown { target: target().or_else(|_| info_hash()).ok() },
    };
    let want = a.get(b"want").and_then(|want| want.as_list()).map(|list| {
        // Packets bound the list.
        list.fold(Want::default(), |want, family| match family.as_bytes() {
            Some(b"n4") => Want { v4: true, ..want },
            Some(b"n6") => Want { v6: true, ..want },
            _ => want,
        })
    });
    // At the top of the packet (BEP 43).
    let read_only = root.get(b"ro").and_then(|ro| ro.as_int()) == Some(1);
    Ok(Query { id, read_only, want, method })
}

/// The value of a `put`, checked but for its signature.
fn put_item(a: Value<'_>) -> Result<Item, Fault> {
    let value = a.get(b"v").ok_or(("v", Some(ErrorCode::Protocol)))?.raw();
    check_value(value).map_err(|e| ("v", Some(e.code())))?;
    let value = value.to_vec();
    if a.get(b"k").is_none() {
        return Ok(Item::Immutable { value });
    }
    let array = |key| bytes_of(a, key);
    let protocol = Some(ErrorCode::Protocol);
    let salt = array(b"salt").unwrap_or_default();
    if salt.len() > MAX_SALT {
        return Err(("salt", Some(ErrorCode::SaltTooLong)));
    }
    let seq = a.get(b"seq").and_then(|seq| seq.as_int()).filter(|&seq| seq >= 0);
    Ok(Item::Mutable(Box::new(Mutable {
        value,
        key: array(b"k").and_then(|k| k.try_into().ok()).ok_or(("k", protocol))?,
        salt: salt.to_vec(),
        seq: seq.ok_or(("seq", protocol))?,
        signature: array(b"sig").and_then(|s| s.try_into().ok()).ok_or(("sig", protocol))?,
    })))
}

fn response(root: Value<'_>) -> Result<Response, KrpcError> {
    let r = root.get(b"r").ok_or(KrpcError::Missing("r"))?;
    let id = id_of(r, b"id").ok_or(KrpcError::Missing("id"))?;
    let list = |key, family| bytes_of(r, key).map(|bytes| nodes(bytes, family, MAX_NODES));
    let values = r.get(b"values").and_then(|values| values.as_list()).into_iter().flatten();
    let values = values.filter_map(|value| endpoint(value.as_bytes()?)).filter(|&p| usable(p));
    let filter = |key| Some(BloomFilter(bytes_of(r, key)?.try_into().ok()?));
    let scrape = || Some(Scrape { seeds: filter(b"BFsd")?, peers: filter(b"BFpe")? });
    let value = r.get(b"v").map(|v| v.raw()).filter(|v| v.len() <= MAX_VALUE);
    Ok(Response {
        id,
        nodes: list(b"nodes", Family::V4),
        nodes6: list(b"nodes6", Family::V6),
        values: values.take(MAX_VALUES).collect(),
        token: bytes_of(r, b"token").filter(|t| t.len() <= MAX_TOKEN).map(<[u8]>::to_vec),
        scrape: scrape().map(Box::new),
        item: ItemFields {
            value: value.map(<[u8]>::to_vec),
            key: bytes_of(r, b"k").and_then(|k| k.try_into().ok()),
            seq: r.get(b"seq").and_then(|seq| seq.as_int()),
            signature: bytes_of(r, b"sig").and_then(|sig| sig.try_into().ok()),
        },
        samples: bytes_of(r, b"samples").map(|hashes| samples(r, hashes)),
    })
}

fn samples(r: Value<'_>, hashes: &[u8]) -> Samples {
    let count = |key: &[u8]| {
        let n = r.get(key).and_then(|n| n.as_int()).unwrap_or(0).max(0);
        u32::try_from(n).unwrap_or(u32::MAX)
    };
    let hashes = hashes.as_chunks::<20>().0.iter().take(MAX_SAMPLES);
    Samples {
        interval: count(b"interval").min(MAX_SAMPLE_INTERVAL),
        num: count(b"num"),
        hashes: hashes.map(|hash| NodeId(*hash)).collect(),
    }
}

/// The usual list of code and text; other shapes count as a code of 0.
fn error(root: Value<'_>) -> Body {
    let mut list = root.get(b"e").and_then(|e| e.as_list()).into_iter().flatten();
    let code = list.next().and_then(|code| code.as_int()).unwrap_or(0);
    let text = list.next().and_then(|text| text.as_bytes()).unwrap_or_default();
    Body::Error { code, text: text.get(..MAX_TEXT).unwrap_or(text).to_vec() }
}

fn id_of(dict: Value<'_>, key: &[u8]) -> Option<NodeId> {
    bytes_of(dict, key)?.try_into().ok().map(NodeId)
}

fn bytes_of<'a>(dict: Value<'a>, key: &[u8]) -> Option<&'a [u8]> {
    dict.get(key)?.as_bytes()
}
