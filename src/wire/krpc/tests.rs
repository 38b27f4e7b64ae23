//! What `krpc` promises.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

fn id(text: &[u8; 20]) -> NodeId {
    NodeId(*text)
}

fn query(method: Method) -> Message {
    Message::query(b"aa", Query::new(id(b"abcdefghij0123456789"), method))
}

/// Both ways.
#[track_caller]
fn same(message: &Message, packet: &[u8]) {
    assert_eq!(message.encode().escape_ascii().to_string(), packet.escape_ascii().to_string());
    assert_eq!(Message::decode(packet).as_ref(), Ok(message));
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let text: String = text.split_whitespace().collect();
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

#[test]
fn examples_of_bep_5_encode_and_decode() {
    let me = id(b"abcdefghij0123456789");
    let other = id(b"mnopqrstuvwxyz123456");
    same(&query(Method::Ping), b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe");
    same(
        &query(Method::FindNode { target: other }),
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa\
          1:y1:qe",
    );
    same(
        &query(Method::GetPeers { info_hash: other, noseed: false, scrape: false }),
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:\
          aa1:y1:qe",
    );
    let announce = Method::AnnouncePeer {
        info_hash: other,
        port: 6881,
        implied_port: true,
        seed: false,
        token: b"aoeusnth".to_vec(),
    };
    same(
        &query(announce),
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:\
          porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
    );
    let response = Response { id: other, ..Response::default() };
    same(&Message::response(b"aa", response), b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re");
    let response = Response {
        id: me,
        token: Some(b"aoeusnth".to_vec()),
        values: vec![
            "97.120.106.101:11893".parse().unwrap(),
            "105.100.104.116:28269".parse().unwrap(),
        ],
        ..Response::default()
    };
    same(
        &Message::response(b"aa", response),
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:\
          re",
    );
    let error = Message::error(b"aa", ErrorCode::Generic, "A Generic Error Ocurred");
    same(&error, b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee");
}

#[test]
fn every_field_survives_a_round_trip() {
    let v4 = NodeInfo { id: id(b"aaaaaaaaaaaaaaaaaaaa"), addr: "192.0.2.1:1".parse().unwrap() };
    let v6 = NodeInfo { id: id(b"bbbbbbbbbbbbbbbbbbbb"), addr: "[2001:db8::1]:2".parse().unwrap() };
    let mut seeds = BloomFilter::default();
    seeds.insert(v4.addr.ip());
    let response = Response {
        id: v4.id,
        nodes: Some(vec![v4]),
        nodes6: Some(vec![v6, v6]),
        values: vec![v4.addr, v6.addr],
        token: Some(b"t".to_vec()),
        scrape: Some(Box::new(Scrape { seeds, peers: BloomFilter::default() })),
        item: ItemFields {
            value: Some(b"i1e".to_vec()),
            key: Some([1; 32]),
            seq: Some(4),
            signature: Some([2; 64]),
        },
        samples: Some(Samples { interval: 5, num: 9, hashes: vec![v4.id, v6.id] }),
    };
    let mut message = Message::response(b"xy", response);
    message.version = Some(*b"CT\0\x02");
    message.ip = Some(v6.addr);
    assert_eq!(Message::decode(&message.encode()), Ok(message));

    let mutable = Mutable {
        value: b"le".to_vec(),
        key: [3; 32],
        salt: b"salt".to_vec(),
        seq: 7,
        signature: [4; 64],
    };
    for method in [
        Method::Put { item: Item::Mutable(Box::new(mutable)), cas: Some(6), token: vec![1] },
        Method::Put { item: Item::Immutable { value: b"0:".to_vec() }, cas: None, token: vec![] },
        Method::Get { target: v4.id, seq: Some(3) },
        Method::SampleInfohashes { target: v6.id },
        Method::GetPeers { info_hash: v4.id, noseed: true, scrape: true },
        Method::Unknown { target: Some(v4.id) },
    ] {
        let want = Some(Want { v4: true, v6: true });
        let query = Query { id: v4.id, read_only: true, want, method };
        let message = Message::query(b"", query);
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn query_that_cannot_be_used_names_its_transaction_and_code() {
    let refused = |packet: &[u8]| match Message::decode(packet) {
        Err(KrpcError::Query { transaction, what, code }) => (transaction, what, code),
        other => panic!("{other:?}"),
    };
    let protocol = |what| (b"aa".to_vec(), what, ErrorCode::Protocol);
    assert_eq!(refused(b"d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe"), protocol("id"));
    assert_eq!(refused(b"d1:q4:ping1:t2:aa1:y1:qe"), protocol("a"));
    let with = |q: &str, more: &str| {
        let id = "2:id20:abcdefghij0123456789";
        format!("d1:ad{id}{more}e1:q{}:{q}1:t2:aa1:y1:qe", q.len()).into_bytes()
    };
    assert_eq!(refused(&with("find_node", "")), protocol("target"));
    assert_eq!(refused(&with("get_peers", "9:info_hash1:x")), protocol("info_hash"));
    let hash = "9:info_hash20:mnopqrstuvwxyz123456";
    let announce = |more: &str| with("announce_peer", &format!("{hash}{more}"));
    assert_eq!(refused(&announce("4:porti0e5:token1:x")), protocol("port"));
    assert_eq!(refused(&announce("4:porti65536e5:token1:x")), protocol("port"));
    assert_eq!(refused(&announce("4:porti1e")), protocol("token"));
    let long = format!("4:porti1e5:token65:{}", "x".repeat(65));
    assert_eq!(refused(&announce(&long)), protocol("token"));
    // An unsorted dictionary must be refused (BEP 44).
    assert_eq!(refused(&with("put", "5:token0:1:vd1:bi1e1:ai1ee")), protocol("v"));
    let long = format!("5:token0:1:v998:{}", "x".repeat(998));
    assert_eq!(refused(&with("put", &long)).2, ErrorCode::ValueTooLong);
    let salt = format!("1:k32:{}4:salt65:{}5:token0:1:v0:", "k".repeat(32), "s".repeat(65));
    assert_eq!(refused(&with("put", &salt)).2, ErrorCode::SaltTooLong);
    let unsigned = format!("1:k32:{}3:seqi1e5:token0:1:v0:", "k".repeat(32));
    assert_eq!(refused(&with("put", &unsigned)), protocol("sig"));
}

#[test]
fn packet_without_what_makes_it_one_is_not_to_be_answered() {
    for packet in [
        &b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aae"[..],
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:y1:qe",
        b"d1:ad2:id20:abcdefghij0123456789e1:t2:aa1:y1:qe",
        b"d1:rd2:id2:abe1:t2:aa1:y1:re",
        b"d1:t2:aa1:y1:xe",
        b"le",
        b"i1e",
    ] {
        let error = Message::decode(packet);
        assert!(matches!(error, Err(KrpcError::Missing(_))), "{error:?}");
    }
    let long = format!("d1:t33:{}1:y1:ee", "x".repeat(33));
    assert_eq!(Message::decode(long.as_bytes()), Err(KrpcError::Missing("t")));
    let deep = format!("d1:t2:aa1:x{}{}1:y1:ee", "l".repeat(200), "e".repeat(200));
    assert!(matches!(Message::decode(deep.as_bytes()), Err(KrpcError::Bencode(_))));
    assert!(matches!(Message::decode(&[b'l'; 4096]), Err(KrpcError::Bencode(_))));
    // What follows the packet does not count, and errors come in all shapes.
    assert!(Message::decode(b"d1:e5:words1:t2:aa1:y1:ee\r\n").is_ok());
}

#[test]
fn lists_are_bounded_and_freed_of_what_is_no_address() {
    let mut e = crate::wire::bencode::Encoder::new();
    let one = [&[7; 20][..], &[192, 0, 2, 1, 0, 1]].concat();
    let bad = [&[7; 20][..], &[192, 0, 2, 1, 0, 0]].concat();
    e.dict().key(b"r").dict().key(b"id").bytes(&[1; 20]);
    e.key(b"nodes").bytes(&[bad.repeat(5), one.repeat(40), vec![1]].concat());
    e.key(b"samples").bytes(&[9; 20 * (MAX_SAMPLES + 1) + 3]);
    e.key(b"values").list().bytes(&[255; 6]).bytes(&[0; 18]).bytes(b"12345").int(5);
    e.bytes(&[192, 0, 2, 1, 0, 9]).end().end();
    e.key(b"t").bytes(b"").key(b"y").bytes(b"r").end();
    let packet = e.finish();
    assert!(packet.len() > MAX_RECEIVED, "{}", packet.len());
    assert!(matches!(Message::decode(&packet), Err(KrpcError::Bencode(_))));

    let mut e = crate::wire::bencode::Encoder::new();
    e.dict().key(b"r").dict().key(b"id").bytes(&[1; 20]);
    e.key(b"nodes").bytes(&[bad.repeat(5), one.repeat(40), vec![1]].concat());
    e.key(b"values").list().bytes(&[255; 6]).bytes(&[0; 18]).bytes(b"12345").int(5);
    e.bytes(&[192, 0, 2, 1, 0, 9]).end().end();
    e.key(b"t").bytes(b"").key(b"y").bytes(b"r").end();
    let Ok(Message { body: Body::Response(r), .. }) = Message::decode(&e.finish()) else {
        panic!()
    };
    assert_eq!(r.nodes.map(|nodes| nodes.len()), Some(MAX_NODES));
    assert_eq!(r.values, ["192.0.2.1:9".parse().unwrap()]);
}

#[test]
fn bloom_filter_matches_the_vector_of_bep_33() {
    let mut filter = BloomFilter::default();
    (0..=255).for_each(|d| filter.insert(Ipv4Addr::new(192, 0, 2, d).into()));
    let base = u128::from("2001:db8::".parse::<Ipv6Addr>().unwrap());
    (0..=0x3e7).for_each(|n| filter.insert(Ipv6Addr::from(base + n).into()));
    let expected: [u8; BLOOM_LEN] =
        hex("F6C3F5EA A07FFD91 BDE89F77 7F26FB2B FF37BDB8 FB2BBAA2 FD3DDDE7 BACFFF75 EE7CCBAE
         FE5EEDB1 FBFAFF67 F6ABFF5E 43DDBCA3 FD9B9FFD F4FFD3E9 DFF12D1B DF59DB53 DBE9FA5B
         7FF3B8FD FCDE1AFB 8BEDD7BE 2F3EE71E BBBFE93B CDEEFE14 8246C2BC 5DBFF7E7 EFDCF24F
         D8DC7ADF FD8FFFDF DDFFF7A4 BBEEDF5C B95CE81F C7FCFF1F F4FFFFDF E5F7FDCB B7FD79B3
         FA1FC77B FE07FFF9 05B7B7FF C7FEFEFF E0B8370B B0CD3F5B 7F2BD93F EB4386CF DD6F7FD5
         BFAF2E9E BFFFFEEC D67ADBF7 C67F17EF D5D75EBA 6FFEBA7F FF47A91E B1BFBB53 E8ABFB57
         62ABE8FF 237279BF EFBFEEF5 FFC5FEBF DFE5ADFF ADFEE1FB 737FFFFB FD9F6AEF FEEE76B6
         FD8F72EF");
    assert_eq!(filter.0, expected);
    assert!((filter.estimate() - 1224.9308).abs() < 0.0001, "{}", filter.estimate());
    assert!(filter.may_contain("192.0.2.77".parse().unwrap()));
    let full = BloomFilter([0xff; BLOOM_LEN]);
    assert!(full.estimate().is_finite() && BloomFilter::default().estimate() == 0.0);
}

#[test]
fn node_ids_match_the_vectors_of_bep_42() {
    let vectors = [
        ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
        ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
        ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
        ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
        ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
    ];
    for (ip, text) in vectors {
        let (ip, id) = (ip.parse::<IpAddr>().unwrap(), NodeId(hex(text)));
        assert!(id.fits(ip), "{ip}");
        assert_eq!(NodeId::from_ip(ip, id.0), id);
        assert!(!id.with_flipped_bit(20).fits(ip) && id.with_flipped_bit(21).fits(ip));
        assert!(!id.fits("8.8.8.8".parse().unwrap()) && id.fits("127.0.0.1".parse().unwrap()));
    }
    // Only the network of an IPv6 address counts.
    let ip = "2001:db8:1:2::1".parse().unwrap();
    let id = NodeId::from_ip(ip, [9; 20]);
    assert!(id.fits(ip) && id.fits("2001:db8:1:2::ffff".parse().unwrap()));
    assert!(!id.fits("2001:db9:1:2::1".parse().unwrap()));
}

#[test]
fn items_match_the_vectors_of_bep_44() {
    let key = hex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548");
    let value = b"12:Hello World!".to_vec();
    let plain = Mutable {
        value: value.clone(),
        key,
        salt: Vec::new(),
        seq: 1,
        signature: hex("305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff
             1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01"),
    };
    let salted = Mutable {
        salt: b"foobar".to_vec(),
        signature: hex("6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d
             df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08"),
        ..plain.clone()
    };
    for (item, target) in [
        (plain.clone(), "4a533d47ec9c7d95b1ad75f576cffc641853b750"),
        (salted, "411eba73b6f087ca51a3795d9c8c938d365e32c1"),
    ] {
        let item = Item::Mutable(Box::new(item));
        assert_eq!(item.verify(), Ok(()));
        assert_eq!(item.target(), NodeId(hex(target)));
    }
    let immutable = Item::Immutable { value };
    assert_eq!(immutable.target(), NodeId(hex("e5f96f6f38320f0f33959cb4d3d656452117aadb")));

    let refused = |change: &dyn Fn(&mut Mutable)| {
        let mut item = plain.clone();
        change(&mut item);
        Item::Mutable(Box::new(item)).verify().unwrap_err()
    };
    assert_eq!(refused(&|item| item.seq = 2), ItemError::Signature);
    assert_eq!(refused(&|item| item.salt = b"x".to_vec()), ItemError::Signature);
    assert_eq!(
        refused(&|item| item.value = b"12:Hello W\xf6rld".to_vec()).code(),
        ErrorCode::Protocol
    );
    assert_eq!(refused(&|item| item.seq = -1), ItemError::NegativeSeq(-1));
    assert_eq!(refused(&|item| item.salt = vec![0; 65]), ItemError::SaltTooLong(65));
}

#[test]
fn own_items_are_signed_as_they_are_verified() {
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let item = Mutable::sign(&key, b"salt", 3, b"li1ei2ee".to_vec()).unwrap();
    assert_eq!(item.key, key.public());
    assert_eq!(Item::Mutable(Box::new(item)).verify(), Ok(()));
    let refused = |salt: &[u8], seq, value: &[u8]| Mutable::sign(&key, salt, seq, value.to_vec());
    assert_eq!(refused(&[0; 65], 0, b"0:"), Err(ItemError::SaltTooLong(65)));
    assert_eq!(refused(b"", -1, b"0:"), Err(ItemError::NegativeSeq(-1)));
    assert_eq!(refused(b"", 0, b"d1:bi1e1:ai1ee"), Err(ItemError::Unsorted));
    assert!(matches!(refused(b"", 0, b"junk"), Err(ItemError::Bencode(_))));
    let long = [b"997:".to_vec(), vec![b'x'; 997]].concat();
    assert_eq!(refused(b"", 0, &long), Err(ItemError::ValueTooLong(1001)));
}

#[test]
fn distance_and_shared_bits_agree() {
    let a = NodeId([0; 20]);
    for at in [0, 1, 7, 8, 100, 159] {
        let b = a.with_flipped_bit(at);
        assert!(b.bit(at) && !a.bit(at));
        assert_eq!(a.shared_bits(&b), at);
        assert_eq!(a.distance(&b), b);
    }
    assert_eq!(a.shared_bits(&a), 160);
}
