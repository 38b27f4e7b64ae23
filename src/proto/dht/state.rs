//! What a node saves and begins with: its ids and the nodes that it knew.

use crate::wire::{
    bencode::{Document, Encoder, Limits},
    krpc::{Family, NodeId, NodeInfo},
};

/// The longest state that is read, bytes: more than a thousand nodes of each family.
pub const MAX_STATE: usize = 64 << 10;
/// Nodes of one family that are taken from a state.
const MAX_STATE_NODES: usize = 1000;

/// See the module.
///
/// ```
/// use cratetorrent::dht::DhtState;
///
/// let state = DhtState::default();
/// assert_eq!(DhtState::decode(&state.encode()), Some(state));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DhtState {
    /// The id in the IPv4 DHT.
    pub id_v4: Option<NodeId>,
    /// The id in the IPv6 DHT.
    pub id_v6: Option<NodeId>,
    /// Nodes, the best first.
    pub nodes: Vec<NodeInfo>,
}

impl DhtState {
    /// Bencoded, with a version.
    pub fn encode(&self) -> Vec<u8> {
        let of = |family| {
            let nodes = self.nodes.iter().filter(move |n| Family::of(n.addr.ip()) == family);
            NodeInfo::write(nodes, family)
        };
        let mut e = Encoder::new();
        e.dict();
        if let Some(id) = self.id_v4 {
            e.key(b"id").bytes(&id.0);
        }
        if let Some(id) = self.id_v6 {
            e.key(b"id6").bytes(&id.0);
        }
        e.key(b"nodes").bytes(&of(Family::V4)).key(b"nodes6").bytes(&of(Family::V6));
        e.key(b"version").int(1).end();
        e.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else, or if it exceeds
    /// [`MAX_STATE`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let limits = Limits { bytes: MAX_STATE, depth: 4, tokens: 64 };
        let document = Document::parse_with(bytes, &limits).ok()?;
        let root = document.root();
        root.get(b"version").filter(|version| version.as_int() == Some(1))?;
        let id = |key| Some(NodeId(root.get(key)?.as_bytes()?.try_into().ok()?));
        let nodes = |key: &[u8], family| {
            let bytes = root.get(key).and_then(|nodes| nodes.as_bytes()).unwrap_or_default();
            NodeInfo::read(bytes, family, MAX_STATE_NODES)
        };
        let mut all = nodes(b"nodes", Family::V4);
        all.extend(nodes(b"nodes6", Family::V6));
        Some(Self { id_v4: id(&b"id"[..]), id_v6: id(b"id6"), nodes: all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_a_round_trip_and_nonsense_is_refused() {
        let node = |addr: &str| NodeInfo { id: NodeId([3; 20]), addr: addr.parse().unwrap() };
        let state = DhtState {
            id_v4: Some(NodeId([1; 20])),
            id_v6: None,
            nodes: vec![node("192.0.2.1:1"), node("[2001:db8::1]:2")],
        };
        assert_eq!(DhtState::decode(&state.encode()), Some(state));
        assert_eq!(DhtState::decode(b"de"), None);
        assert_eq!(DhtState::decode(b"d7:versioni2ee"), None);
        assert_eq!(DhtState::decode(&vec![b'l'; MAX_STATE + 1]), None);
        assert_eq!(DhtState::decode(b"d2:id3:abc7:versioni1ee"), Some(DhtState::default()));
        let many = DhtState { nodes: vec![node("192.0.2.1:1"); 2000], ..DhtState::default() };
        assert_eq!(DhtState::decode(&many.encode()).map(|s| s.nodes.len()), Some(1000));
    }
}
