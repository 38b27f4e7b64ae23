//! The packets of the DHT (KRPC): queries, responses and errors of BEP 5, 32, 33, 42, 43, 44 and
//! 51, to values and back.
//!
//! It knows no routing table, no token's meaning and no time. Nothing that a packet claims makes
//! it allocate more than the packet's own length.
//!
//! ```
//! use cratetorrent::wire::krpc::{Body, Message, Method, NodeId, Query};
//!
//! let ping = Query::new(NodeId(*b"abcdefghij0123456789"), Method::Ping);
//! let packet = Message::query(b"aa", ping).encode();
//! assert_eq!(packet, b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe");
//! let Body::Query(query) = Message::decode(&packet)?.body else { panic!() };
//! assert_eq!(query.method, Method::Ping);
//! # Ok::<(), cratetorrent::wire::krpc::KrpcError>(())
//! ```

mod bloom;
mod compact;
mod decode;
mod encode;
mod item;
mod node_id;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use thiserror::Error;

use super::bencode::BencodeError;
pub use bloom::{BLOOM_LEN, BloomFilter};
pub use compact::{Family, NodeInfo};
pub use item::{Item, ItemError, MAX_SALT, MAX_VALUE, Mutable, SigningKey, immutable_target};
pub use node_id::{NodeId, is_local};

/// The longest packet that is sent, bytes of UDP payload (BEP 32). Only one with a value (BEP 44)
/// may be longer, by the value's key and signature: it has no nodes then.
pub const MAX_SENT: usize = 1024;
/// The longest packet that is read, bytes: more than any Ethernet frame holds.
pub const MAX_RECEIVED: usize = 2048;
/// The longest transaction id that is read and echoed, bytes.
pub const MAX_TRANSACTION: usize = 32;
/// The longest write token that is kept and sent back, bytes.
pub const MAX_TOKEN: usize = 64;
/// Nodes that are taken from one compact list. BEP 5 gives eight.
pub const MAX_NODES: usize = 20;
/// Peers that are taken from one response.
pub const MAX_VALUES: usize = 150;
/// Info-hashes that are taken from one response (BEP 51).
pub const MAX_SAMPLES: usize = 64;
/// The longest interval between two samples of a node, seconds (BEP 51).
pub const MAX_SAMPLE_INTERVAL: u32 = 21_600;

/// One packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The transaction id: the asking node's choice, at most [`MAX_TRANSACTION`] bytes.
    pub transaction: Vec<u8>,
    /// The client and its version, four bytes (BEP 5, BEP 20).
    pub version: Option<[u8; 4]>,
    /// The receiver's address as the sender sees it (BEP 42). In responses and errors.
    pub ip: Option<SocketAddr>,
    /// What it says.
    pub body: Body,
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A question.
    Query(Query),
    /// An answer.
    Response(Box<Response>),
    /// A refusal.
    Error {
        /// The code (BEP 5, BEP 44); see [`ErrorCode`] for the known ones.
        code: i64,
        /// Text for people, of at most 256 bytes, neither trusted nor printable as it is.
        text: Vec<u8>,
    },
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The asking node.
    pub id: NodeId,
    /// The asking node answers no queries and belongs in no table (BEP 43).
    pub read_only: bool,
    /// Which families of nodes are wanted (BEP 32); `None`: that of the packet.
    pub want: Option<Want>,
    /// What is asked.
    pub method: Method,
}

impl Query {
    /// A question that wants what its family implies.
    pub fn new(id: NodeId, method: Method) -> Self {
        Self { id, read_only: false, want: None, method }
    }
}

/// The families of nodes that a query wants (BEP 32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// `n4`.
    pub v4: bool,
    /// `n6`.
    pub v6: bool,
}

/// What is asked, with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Is the node there (BEP 5)?
    Ping,
    /// Which nodes are closest to the target (BEP 5)?
    FindNode {
        /// An id.
        target: NodeId,
    },
    /// Which peers are there for a torrent (BEP 5)?
    GetPeers {
        /// The torrent.
        info_hash: NodeId,
        /// Peers that are no seeds are preferred (BEP 33).
        noseed: bool,
        /// The counts of seeds and peers are wanted as filters (BEP 33).
        scrape: bool,
    },
    /// The asking host is a peer of a torrent (BEP 5).
    AnnouncePeer {
        /// The torrent.
        info_hash: NodeId,
        /// Where it accepts peers.
        port: u16,
        /// The packet's source port counts instead.
        implied_port: bool,
        /// It has everything (BEP 33).
        seed: bool,
        /// From this node's response to `get_peers`.
        token: Vec<u8>,
    },
    /// Which value is stored under the target (BEP 44)?
    Get {
        /// The target.
        target: NodeId,
        /// Only a value of a later sequence number is wanted.
        seq: Option<i64>,
    },
    /// Stores a value (BEP 44).
    Put {
        /// The value.
        item: Item,
        /// Only if the value that is there has this sequence number.
        cas: Option<i64>,
        /// From this node's response to `get`.
        token: Vec<u8>,
    },
    /// Which info-hashes does the node store (BEP 51)?
    SampleInfohashes {
        /// Nodes close to it are told, too.
        target: NodeId,
    },
    /// Something else. Nodes close to the target are told, so that later methods can traverse
    /// the network.
    Unknown {
        /// The `target` or `info_hash`, if there is one.
        target: Option<NodeId>,
    },
}

impl Method {
    /// The name on the wire; none for one that is unknown.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::FindNode { .. } => "find_node",
            Self::GetPeers { .. } => "get_peers",
            Self::AnnouncePeer { .. } => "announce_peer",
            Self::Get { .. } => "get",
            Self::Put { .. } => "put",
            Self::SampleInfohashes { .. } => "sample_infohashes",
            Self::Unknown { .. } => "",
        }
    }
}

/// An answer. Which fields it has depends on what was asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// The answering node.
    pub id: NodeId,
    /// Nodes with IPv4 addresses, at most [`MAX_NODES`]; `None` if the field is not there.
    pub nodes: Option<Vec<NodeInfo>>,
    /// Nodes with IPv6 addresses (BEP 32), as many.
    pub nodes6: Option<Vec<NodeInfo>>,
    /// Peers of either family, at most [`MAX_VALUES`].
    pub values: Vec<SocketAddr>,
    /// What allows the asking node to store something.
    pub token: Option<Vec<u8>>,
    /// Seeds and peers of the torrent (BEP 33).
    pub scrape: Option<Box<Scrape>>,
    /// A stored value (BEP 44), not verified.
    pub item: ItemFields,
    /// Info-hashes (BEP 51).
    pub samples: Option<Samples>,
}

/// The filters of a scrape (BEP 33).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// `BFsd`.
    pub seeds: BloomFilter,
    /// `BFpe`.
    pub peers: BloomFilter,
}

/// The fields of a stored value as a response has them (BEP 44). A mutable one may be told by its
/// sequence number alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemFields {
    /// The value, bencoded.
    pub value: Option<Vec<u8>>,
    /// The public key.
    pub key: Option<[u8; 32]>,
    /// The sequence number.
    pub seq: Option<i64>,
    /// The signature.
    pub signature: Option<[u8; 64]>,
}

/// What a node tells of its storage (BEP 51).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// Seconds for which the sample stays the same, at most [`MAX_SAMPLE_INTERVAL`].
    pub interval: u32,
    /// Info-hashes in its storage.
    pub num: u32,
    /// Some of them, at most [`MAX_SAMPLES`].
    pub hashes: Vec<NodeId>,
}

/// The known codes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum ErrorCode {
    /// Something else (BEP 5).
    Generic = 201,
    /// The node cannot (BEP 5).
    Server = 202,
    /// A malformed packet, invalid arguments, or a bad token (BEP 5).
    Protocol = 203,
    /// The method is unknown (BEP 5).
    MethodUnknown = 204,
    /// The value is too long (BEP 44).
    ValueTooLong = 205,
    /// The signature does not fit (BEP 44).
    Signature = 206,
    /// The salt is too long (BEP 44).
    SaltTooLong = 207,
    /// Another value has come in between (BEP 44).
    CasMismatch = 301,
    /// The stored value has a higher sequence number (BEP 44).
    OldSequence = 302,
}

/// Why a packet is not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KrpcError {
    /// It is not bencoded, or longer than [`MAX_RECEIVED`].
    #[error("the packet is not valid bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// It lacks what makes it a packet of this protocol: it must not be answered.
    #[error("the packet has no usable {0:?}")]
    Missing(&'static str),
    /// It is a query with a transaction id, so that it may be answered with an error.
    #[error("the query has an unusable {what:?}")]
    Query {
        /// Its transaction id.
        transaction: Vec<u8>,
        /// The argument.
        what: &'static str,
        /// The code that fits.
        code: ErrorCode,
    },
}

impl Message {
    /// A packet that asks.
    pub fn query(transaction: &[u8], query: Query) -> Self {
        Self {
            transaction: transaction.to_vec(),
            version: None,
            ip: None,
            body: Body::Query(query),
        }
    }

    /// A packet that answers.
    pub fn response(transaction: &[u8], response: Response) -> Self {
        let body = Body::Response(Box::new(response));
        Self { transaction: transaction.to_vec(), version: None, ip: None, body }
    }

    /// A packet that refuses.
    pub fn error(transaction: &[u8], code: ErrorCode, text: &str) -> Self {
        let body = Body::Error { code: code as i64, text: text.into() };
        Self { transaction: transaction.to_vec(), version: None, ip: None, body }
    }
}
