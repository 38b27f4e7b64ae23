//! What a DHT node takes of memory when its table is full and it stores for others as much as it
//! may, counted by an allocator.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::{counting, is_alone};
use cratetorrent::{
    Instant,
    conf::DhtConf,
    dht::{Node, Output},
    wire::krpc::{Body, Family, Item, Message, Method, NodeId, Query, Response},
};

/// Nodes of each family that want into the table.
const NODES: u32 = 6000;

/// Bits that the nearest of them share with us: as in a DHT of some ten million.
const SHARED: usize = 24;

/// Each in a subnet of its own.
fn addr(n: u32, family: Family) -> SocketAddr {
    match family {
        Family::V4 => (Ipv4Addr::from(0x0b00_0001 + n * 256), 6881).into(),
        Family::V6 => (Ipv6Addr::from(0x2400_u128 << 112 | u128::from(n) << 64 | 1), 6881).into(),
    }
}

/// An id that shares so many leading bits with `own`.
fn id(own: NodeId, n: u32, shared: usize) -> NodeId {
    let mut id = own;
    if let Some(byte) = id.0.get_mut(shared / 8) {
        *byte ^= 0x80 >> (shared % 8);
    }
    for bit in shared + 1..160 {
        let mixed =
            n.wrapping_mul(0x9e37_79b1).rotate_left(7) ^ (bit as u32).wrapping_mul(0x85eb_ca6b);
        if mixed.wrapping_mul(0xc2b2_ae35) >> 31 == 1 {
            id.0[bit / 8] ^= 0x80 >> (bit % 8);
        }
    }
    id
}

struct Rig {
    node: Node,
    now: Instant,
}

impl Rig {
    /// Its outputs; those of `answers` are answered, as nodes of all distances would.
    fn drain(&mut self) -> Vec<Message> {
        let mut said = Vec::new();
        while let Some(output) = self.node.poll_output() {
            let Output::Send { to, data } = output else { continue };
            let message = Message::decode(&data).unwrap();
            let family = Family::of(to.ip());
            if let Body::Query(_) = message.body {
                let n = match to.ip() {
                    std::net::IpAddr::V4(ip) => (u32::from(ip) - 0x0b00_0001) / 256,
                    std::net::IpAddr::V6(ip) => (u128::from(ip) >> 64) as u32,
                };
                let own = self.node.id(family).unwrap();
                let near = n as usize % SHARED;
                let response = Response { id: id(own, n, near), ..Response::default() };
                let response = Message::response(&message.transaction, response).encode();
                self.node.handle_datagram(self.now, to, &response);
            } else {
                said.push(message);
            }
        }
        while self.node.poll_event().is_some() {}
        said
    }

    fn ask(&mut self, from: SocketAddr, method: Method) -> Response {
        self.now = self.now + Duration::from_millis(1);
        let query = Message::query(b"aa", Query::new(NodeId([9; 20]), method)).encode();
        self.node.handle_datagram(self.now, from, &query);
        match self.drain().pop().map(|message| message.body) {
            Some(Body::Response(response)) => *response,
            other => panic!("{other:?}"),
        }
    }
}

fn hash(n: u32) -> NodeId {
    let mut id = NodeId([7; 20]);
    id.0[..4].copy_from_slice(&n.to_be_bytes());
    id
}

#[test]
fn full_table_and_storage_take_less_than_two_mib() {
    let test = "full_table_and_storage_take_less_than_two_mib";
    if !is_alone(module_path!(), test, Duration::from_secs(60)) {
        return;
    }
    let mut conf = DhtConf::default();
    conf.flood_packets = u32::MAX;
    (conf.answer_rate, conf.answer_burst) = (1 << 40, 1 << 40);
    let (torrents, peers, items) = (conf.max_torrents, conf.max_stored_peers, conf.max_items);
    let before = counting::live();
    let node = Node::new(conf, &Family::ALL, &[7; 32], None, Instant::ZERO);
    let mut rig = Rig { node, now: Instant::ZERO };
    for n in 0..NODES {
        for family in Family::ALL {
            rig.node.add_node(rig.now, addr(n, family));
            rig.now = rig.now + Duration::from_millis(100);
            rig.node.handle_timeout(rig.now);
            rig.drain();
        }
    }
    let table = counting::live() - before;
    for n in 0..peers as u32 {
        let (from, info_hash) = (addr(n, Family::V4), hash(n % torrents as u32));
        let get = Method::GetPeers { info_hash, noseed: false, scrape: false };
        let token = rig.ask(from, get).token.unwrap();
        let (port, implied_port, seed) = (1, false, false);
        rig.ask(from, Method::AnnouncePeer { info_hash, port, implied_port, seed, token });
    }
    for n in 0..items as u32 {
        let from = addr(n, Family::V4);
        let mut value = b"996:".to_vec();
        value.resize(1000, b'v');
        value[4..8].copy_from_slice(&n.to_be_bytes());
        let item = Item::Immutable { value };
        let token = rig.ask(from, Method::Get { target: item.target(), seq: None }).token.unwrap();
        rig.ask(from, Method::Put { item, cas: None, token });
    }
    let stats = rig.node.stats(rig.now);
    let all = counting::live() - before;
    println!(
        "{} and {} nodes: {table} bytes; {} torrents, {} peers, {} items: {} bytes",
        stats.nodes_v4,
        stats.nodes_v6,
        stats.stored_torrents,
        stats.stored_peers,
        stats.stored_items,
        all - table
    );
    assert!(stats.nodes_v4 > 300 && stats.nodes_v6 > 300, "{stats:?}");
    let stored = (stats.stored_torrents, stats.stored_peers, stats.stored_items);
    assert_eq!(stored, (torrents, peers, items));
    assert!(all < 2 << 20, "{all} bytes");
}
