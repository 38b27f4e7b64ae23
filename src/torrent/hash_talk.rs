//! What peers say of merkle trees (BEP 52, messages 21 to 23), on its way from a session to the
//! torrent.

use crate::{base::merkle::Node, wire::hash_range::HashRange};

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HashTalk {
    /// It asks for hashes.
    Request(HashRange),
    /// It answers with hashes and what proves them.
    Hashes(HashRange, Vec<Node>),
    /// It will not answer.
    Reject(HashRange),
}
