//! What `extension` promises.

use proptest::prelude::*;

use super::*;

fn id_of(hello: &ExtensionHandshake, name: &[u8]) -> Option<u8> {
    hello.extensions().find(|(known, _)| *known == name).map(|(_, id)| id)
}

#[test]
fn the_example_of_bep_10() {
    // The micro sign is one byte in the name and two in the version.
    let payload = b"d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e";
    let h = ExtensionHandshake::decode(payload).unwrap();
    assert_eq!(id_of(&h, b"LT_metadata"), Some(1));
    assert_eq!(id_of(&h, b"\xb5T_PEX"), Some(2));
    assert_eq!(id_of(&h, b"ut_metadata"), None);
    assert_eq!((h.port, h.version.as_deref()), (Some(6881), Some("µTorrent 1.2")));
    assert_eq!(h.encode(), payload);
}

#[test]
fn full_handshake_survives_encoding() {
    let mut h = ExtensionHandshake {
        reqq: Some(512),
        version: Some("ct 0.2".into()),
        port: Some(1),
        your_ip: Some("127.0.0.1".parse().unwrap()),
        metadata_size: Some(31_235),
        upload_only: Some(true),
        ..Default::default()
    };
    h.set(b"ut_pex", 1).unwrap();
    h.set(b"ut_metadata", 3).unwrap();
    h.set(b"ut_pex", 2).unwrap();
    let bytes = h.encode();
    let expected: &[u8] = b"d1:md11:ut_metadatai3e6:ut_pexi2ee13:metadata_sizei31235e1:pi1e\
        4:reqqi512e11:upload_onlyi1e1:v6:ct 0.26:yourip4:\x7f\0\0\x01e";
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(ExtensionHandshake::decode(&bytes), Ok(h.clone()));
    h.your_ip = Some("::1".parse().unwrap());
    assert_eq!(ExtensionHandshake::decode(&h.encode()), Ok(h));
}

#[test]
fn malformed_values_count_as_absent() {
    let absent: &[&[u8]] = &[
        b"de",
        b"d1:mlee",
        b"d1:md1:a1:x1:bi256e1:ci-1eee",
        b"d1:pi0e4:reqqi-1ee",
        b"d1:pi65536e4:reqqi4294967296ee",
        b"d13:metadata_sizei-5e11:upload_only1:11:vi5e6:yourip3:abce",
        b"de with a tail",
    ];
    for payload in absent {
        assert_eq!(
            ExtensionHandshake::decode(payload),
            Ok(ExtensionHandshake::default()),
            "{}",
            payload.escape_ascii()
        );
    }
    for (n, says) in [(0, false), (1, true), (-1, true)] {
        let h = ExtensionHandshake::decode(format!("d11:upload_onlyi{n}ee").as_bytes()).unwrap();
        assert_eq!(h.upload_only, Some(says));
    }
    let h = ExtensionHandshake::decode(b"d1:md1:ai0e1:bi7e1:bi8eee").unwrap();
    assert_eq!((id_of(&h, b"a"), id_of(&h, b"b")), (Some(0), Some(7)));
    assert_eq!(h.extensions().collect::<Vec<_>>(), [(&b"a"[..], 0), (b"b", 7)]);
}

#[test]
fn limits_hold() {
    let names = |count: usize| {
        let mut e = Encoder::new();
        e.dict().key(b"m").dict();
        (0..count).for_each(|i| _ = e.key(format!("{i:06}").as_bytes()).int(1));
        e.end().end();
        e.finish()
    };
    assert_eq!(ExtensionHandshake::decode(&names(128)).unwrap().extensions().count(), 128);
    assert_eq!(ExtensionHandshake::decode(&names(129)), Err(ExtensionError::TooManyExtensions));
    assert!(matches!(
        ExtensionHandshake::decode(&names(4000)),
        Err(ExtensionError::Bencode(BencodeError::Tokens { .. }))
    ));
    let long = vec![b'd'; MAX_EXTENSION_HANDSHAKE + 1];
    assert_eq!(
        ExtensionHandshake::decode(&long),
        Err(ExtensionError::TooLong(MAX_EXTENSION_HANDSHAKE + 1))
    );
    assert!(matches!(
        ExtensionHandshake::decode(&[b'l'; 100]),
        Err(ExtensionError::Bencode(BencodeError::Depth { .. }))
    ));
    assert_eq!(ExtensionHandshake::decode(b"le"), Err(ExtensionError::NotADict));
    assert!(matches!(
        ExtensionHandshake::decode(b""),
        Err(ExtensionError::Bencode(BencodeError::Truncated { .. }))
    ));

    let v = [b"d1:v2000:".to_vec(), "ä".repeat(1000).into_bytes(), b"e".to_vec()].concat();
    assert_eq!(ExtensionHandshake::decode(&v).unwrap().version.unwrap(), "ä".repeat(128));
    let name = [b"d1:md65:".to_vec(), vec![b'x'; 65], b"i1eee".to_vec()].concat();
    assert_eq!(ExtensionHandshake::decode(&name).unwrap().extensions().count(), 0);
}

proptest! {
    #[test]
    fn handshake_survives_encoding(
        payload in prop::collection::vec(any::<u8>(), 0..100),
        reqq: Option<u32>,
        metadata_size in prop::option::of(0..u64::MAX / 2),
        ids in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..20), any::<u8>()),
            0..20,
        ),
    ) {
        let _ = ExtensionHandshake::decode(&payload);
        let mut h = ExtensionHandshake { reqq, metadata_size, ..Default::default() };
        for (name, id) in ids {
            h.set(&name, id).unwrap();
        }
        prop_assert_eq!(ExtensionHandshake::decode(&h.encode()), Ok(h));
    }
}
