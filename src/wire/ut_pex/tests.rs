//! What `ut_pex` promises.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn message_of_all_fields_is_written_in_order_and_read() {
    let message = PexMessage {
        added: vec![
            (addr("192.0.2.1:1"), PexFlags::SEED | PexFlags::REACHABLE),
            (addr("[2001:db8::1]:2"), PexFlags(0x80)),
        ],
        dropped: vec![addr("192.0.2.2:258"), addr("[2001:db8::2]:3")],
    };
    let v6 = |last: u8| [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[last]].concat();
    let bytes = [
        b"d5:added6:\xc0\0\x02\x01\0\x017:added.f1:\x126:added618:",
        &v6(1)[..],
        b"\0\x028:added6.f1:\x807:dropped6:\xc0\0\x02\x02\x01\x028:dropped618:",
        &v6(2),
        b"\0\x03e",
    ]
    .concat();
    assert_eq!(message.encode(), bytes);
    assert_eq!(PexMessage::decode(&bytes), Ok(message));
    assert_eq!(PexMessage::default().encode(), b"d5:added0:e");
}

#[test]
fn missing_flags_are_none_and_surplus_ones_ignored() {
    let read = |bytes: &[u8]| PexMessage::decode(bytes).unwrap().added;
    let (one, two) = (addr("1.1.1.1:257"), addr("2.2.2.2:514"));
    let none = PexFlags::default();
    assert_eq!(
        read(b"d5:added12:\x01\x01\x01\x01\x01\x01\x02\x02\x02\x02\x02\x02e"),
        [(one, none), (two, none)]
    );
    assert_eq!(
        read(b"d5:added6:\x01\x01\x01\x01\x01\x017:added.f3:\x02\x03\x04e"),
        [(one, PexFlags::SEED)]
    );
}

#[test]
fn addresses_that_no_peer_has_and_doubles_are_left_out() {
    let mut added = Vec::new();
    for wrong in ["0.0.0.0:1", "1.1.1.1:0", "224.0.0.1:1", "255.255.255.255:1"] {
        compact(addr(wrong), &mut added);
    }
    compact(addr("1.1.1.1:1"), &mut added);
    compact(addr("1.1.1.1:1"), &mut added);
    added.extend(b"short");
    let mut e = Encoder::new();
    e.dict().key(b"added").bytes(&added).key(b"dropped").bytes(&added).end();
    let message = PexMessage::decode(&e.finish()).unwrap();
    assert_eq!(message.added, [(addr("1.1.1.1:1"), PexFlags::default())]);
    assert_eq!(message.dropped, [addr("1.1.1.1:1")]);
}

#[test]
fn message_is_bounded_and_wrong_types_count_as_absent() {
    let many: Vec<_> =
        (1..=1000).map(|n| (SocketAddr::from(([1, 1, 1, 1], n)), PexFlags(0))).collect();
    let message = PexMessage { dropped: many.iter().map(|m| m.0).collect(), added: many };
    let read = PexMessage::decode(&message.encode()).unwrap();
    assert_eq!([read.added.len(), read.dropped.len()], [MAX_PEX_CONTACTS; 2]);
    assert_eq!(PexMessage::decode(b"d5:addedi1e7:droppedlee"), Ok(PexMessage::default()));
    assert_eq!(PexMessage::decode(b"le"), Err(PexError::NotADict));
    let long = vec![0; MAX_PEX_MESSAGE + 1];
    assert_eq!(PexMessage::decode(&long), Err(PexError::TooLong(MAX_PEX_MESSAGE + 1)));
    assert!(matches!(PexMessage::decode(b"d"), Err(PexError::Bencode(_))));
}

proptest! {
    #[test]
    fn message_reads_back_as_the_same(
        added in prop::collection::btree_map(any::<(u32, u16)>(), any::<u8>(), 0..60),
        added6 in prop::collection::btree_map(any::<(u128, u16)>(), any::<u8>(), 0..60),
    ) {
        let v4 = added.into_iter().map(|((ip, port), flags)| {
            (SocketAddr::new(std::net::Ipv4Addr::from(ip).into(), port), PexFlags(flags))
        });
        let v6: BTreeMap<_, _> = added6
            .into_iter()
            .map(|((ip, port), flags)| {
                (SocketAddr::new(std::net::Ipv6Addr::from(ip).into(), port), PexFlags(flags))
            })
            .filter(|(addr, _)| addr.ip() == addr.ip().to_canonical())
            .collect();
        let added: Vec<_> = v4.chain(v6).filter(|&(addr, _)| is_peer(addr)).collect();
        let dropped = added.iter().map(|&(addr, _)| addr).collect();
        let message = PexMessage { added, dropped };
        prop_assert_eq!(PexMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
        let _ = PexMessage::decode(&bytes);
    }
}
