//! The promises of the DHT: any packet is read or refused within bounds.

use cratetorrent::wire::krpc::{
    Body, Item, MAX_NODES, MAX_RECEIVED, MAX_SAMPLES, MAX_TOKEN, MAX_TRANSACTION, MAX_VALUE,
    MAX_VALUES, Message, Method,
};

/// What decodes encodes to a packet that decodes to the same; lists and strings are bounded.
pub fn krpc(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return };
    assert!(data.len() <= MAX_RECEIVED && message.transaction.len() <= MAX_TRANSACTION);
    match &message.body {
        Body::Query(query) => match &query.method {
            Method::Put { item, token, .. } => {
                assert!(item.value().len() <= MAX_VALUE && token.len() <= MAX_TOKEN);
                let verified = item.verify();
                assert!(verified.is_ok() || matches!(item, Item::Mutable(_)));
            }
            Method::AnnouncePeer { port, implied_port, .. } => {
                assert!(*port != 0 || *implied_port);
            }
            _ => {}
        },
        Body::Response(r) => {
            assert!(r.nodes.iter().chain(&r.nodes6).all(|nodes| nodes.len() <= MAX_NODES));
            assert!(r.nodes.iter().flatten().all(|node| node.addr.is_ipv4()));
            assert!(r.nodes6.iter().flatten().all(|node| node.addr.is_ipv6()));
            assert!(r.values.len() <= MAX_VALUES && r.values.iter().all(|peer| peer.port() != 0));
            assert!(r.samples.iter().all(|samples| samples.hashes.len() <= MAX_SAMPLES));
        }
        Body::Error { text, .. } => assert!(text.len() <= 256),
    }
    let again = message.encode();
    if again.len() <= MAX_RECEIVED {
        assert_eq!(Message::decode(&again), Ok(message));
    }
}
