//! What `bencode` promises.

use proptest::prelude::*;

use super::{BencodeError as E, *};

fn parse(bytes: &[u8]) -> Result<Document<'_>, E> {
    Document::parse(bytes)
}

#[test]
fn the_examples_of_bep_3() {
    assert_eq!(parse(b"4:spam").unwrap().root().as_bytes(), Some(&b"spam"[..]));
    assert_eq!(parse(b"i3e").unwrap().root().as_int(), Some(3));
    assert_eq!(parse(b"i-3e").unwrap().root().as_int(), Some(-3));
    assert_eq!(parse(b"i0e").unwrap().root().as_int(), Some(0));
    assert_eq!(parse(b"i-0e").unwrap_err(), E::NegativeZero { at: 0 });
    assert_eq!(parse(b"i03e").unwrap_err(), E::LeadingZero { at: 0 });
    let list = parse(b"l4:spam4:eggse").unwrap();
    let items: Vec<_> = list.root().as_list().unwrap().map(|v| v.as_str().unwrap()).collect();
    assert_eq!(items, ["spam", "eggs"]);
    let dict = parse(b"d3:cow3:moo4:spam4:eggse").unwrap();
    let entries: Vec<_> =
        dict.root().as_dict().unwrap().map(|(k, v)| (k, v.as_bytes().unwrap())).collect();
    assert_eq!(entries, [(&b"cow"[..], &b"moo"[..]), (b"spam", b"eggs")]);
    let nested = parse(b"d4:spaml1:a1:bee").unwrap();
    assert_eq!(nested.root().get(b"spam").unwrap().raw(), b"l1:a1:be");
    assert_eq!(nested.root().get(b"spa").map(|v| v.kind()), None);
}

#[test]
fn spans_are_exact_whatever_the_order_of_keys() {
    let doc = parse(b"d1:zi1e4:infod1:bdel1:ale1:ci-7ee3:endlee").unwrap_err();
    // A list is no key.
    assert_eq!(doc, E::KeyNotString { at: 19 });
    let doc = parse(b"d1:zi1e4:infod1:bde1:ali-7eee3:endlee").unwrap();
    let root = doc.root();
    assert_eq!(root.get(b"info").unwrap().raw(), b"d1:bde1:ali-7eee");
    assert_eq!(root.get(b"end").unwrap().raw(), b"le");
    assert_eq!(root.raw(), b"d1:zi1e4:infod1:bde1:ali-7eee3:endlee");
    assert_eq!(root.get(b"info").unwrap().get(b"b").unwrap().as_dict().unwrap().count(), 0);
}

#[test]
fn of_equal_keys_the_first_counts() {
    let doc = parse(b"d1:ai1e1:ai2ee").unwrap();
    assert_eq!(doc.root().get(b"a").unwrap().as_int(), Some(1));
    assert_eq!(doc.root().as_dict().unwrap().count(), 2);
}

#[test]
fn malformed_input_is_told_apart() {
    let cases: &[(&[u8], E)] = &[
        (b"", E::Truncated { len: 0 }),
        (b"i", E::Truncated { len: 1 }),
        (b"i-", E::Truncated { len: 2 }),
        (b"i12", E::Truncated { len: 3 }),
        (b"4:spa", E::Truncated { len: 5 }),
        (b"4", E::Truncated { len: 1 }),
        (b"99999999999999999999999999:a", E::Truncated { len: 28 }),
        (b"18446744073709551615:a", E::Truncated { len: 22 }),
        (b"l", E::Truncated { len: 1 }),
        (b"d1:a", E::Truncated { len: 4 }),
        (b"ie", E::Unexpected { at: 1, byte: b'e' }),
        (b"i-e", E::Unexpected { at: 2, byte: b'e' }),
        (b"i--1e", E::Unexpected { at: 2, byte: b'-' }),
        (b"i+1e", E::Unexpected { at: 1, byte: b'+' }),
        (b"i1.5e", E::Unexpected { at: 2, byte: b'.' }),
        (b"i 1e", E::Unexpected { at: 1, byte: b' ' }),
        (b"4spam", E::Unexpected { at: 1, byte: b's' }),
        (b"-1:a", E::Unexpected { at: 0, byte: b'-' }),
        (b"e", E::Unexpected { at: 0, byte: b'e' }),
        (b"x", E::Unexpected { at: 0, byte: b'x' }),
        (b"li1ex", E::Unexpected { at: 4, byte: b'x' }),
        (b"i-01e", E::LeadingZero { at: 0 }),
        (b"i00e", E::LeadingZero { at: 0 }),
        (b"l04:spame", E::LeadingZero { at: 1 }),
        (b"00:", E::LeadingZero { at: 0 }),
        (b"i9223372036854775808e", E::IntegerRange { at: 0 }),
        (b"i-9223372036854775809e", E::IntegerRange { at: 0 }),
        (b"di1ei2ee", E::KeyNotString { at: 1 }),
        (b"d1:ae", E::MissingValue { at: 4 }),
        (b"i1ei2e", E::Trailing { at: 3, extra: 3 }),
        (b"lee", E::Trailing { at: 2, extra: 1 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(parse(bytes).unwrap_err(), *error, "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_full_range_of_64_bits_is_read() {
    for int in [i64::MIN, i64::MIN + 1, -1, 0, 1, 9, 10, i64::MAX] {
        assert_eq!(parse(format!("i{int}e").as_bytes()).unwrap().root().as_int(), Some(int));
    }
    assert_eq!(parse(b"0:").unwrap().root().as_bytes(), Some(&b""[..]));
}

#[test]
fn a_prefix_tells_its_length() {
    let (doc, len) = Document::parse_prefix(b"d8:msg_typei1eepayload", &Limits::default()).unwrap();
    assert_eq!((doc.root().get(b"msg_type").unwrap().as_int(), len), (Some(1), 15));
}

#[test]
fn limits_hold() {
    let nest = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    assert!(parse(&nest(100)).is_ok());
    assert_eq!(parse(&nest(101)).unwrap_err(), E::Depth { at: 100, limit: 100 });
    // Far beyond what recursion would survive, and without an end.
    assert_eq!(parse(&vec![b'd'; 1 << 20]).unwrap_err(), E::KeyNotString { at: 1 });
    assert_eq!(parse(&vec![b'l'; 1 << 20]).unwrap_err(), E::Depth { at: 100, limit: 100 });
    let deep = Limits { depth: usize::MAX, ..Limits::default() };
    assert!(Document::parse_with(&nest(1 << 20), &deep).is_ok());

    let few = Limits { tokens: 6, ..Limits::default() };
    assert!(Document::parse_with(b"l0:0:0:0:e", &few).is_ok());
    assert_eq!(Document::parse_with(b"l0:0:0:0:0:e", &few).unwrap_err(), E::Tokens { limit: 6 });
    let short = Limits { bytes: 5, ..Limits::default() };
    assert!(Document::parse_with(b"3:abc", &short).is_ok());
    assert_eq!(
        Document::parse_with(b"4:abcd", &short).unwrap_err(),
        E::TooLong { len: 6, limit: 5 }
    );
}

#[test]
fn bencode_kinds_are_not_confused() {
    for (bytes, kind) in
        [(&b"i1e"[..], Kind::Int), (b"1:i", Kind::Bytes), (b"le", Kind::List), (b"de", Kind::Dict)]
    {
        let doc = parse(bytes).unwrap();
        let v = doc.root();
        assert_eq!(v.kind(), kind);
        assert_eq!(v.as_int().is_some(), kind == Kind::Int);
        assert_eq!(v.as_bytes().is_some(), kind == Kind::Bytes);
        assert_eq!(v.as_list().is_some(), kind == Kind::List);
        assert_eq!(v.as_dict().is_some(), kind == Kind::Dict);
        assert!(v.get(b"a").is_none());
    }
}

#[test]
fn tokens_stay_small() {
    assert_eq!(size_of::<Token>(), 8);
}

#[test]
#[should_panic(expected = "out of order")]
#[cfg(debug_assertions)]
fn the_encoder_checks_the_order_of_keys() {
    Encoder::new().dict().key(b"b").int(1).key(b"a");
}

/// A value to encode.
#[derive(Clone, Debug)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Tree>),
    Dict(std::collections::BTreeMap<Vec<u8>, Tree>),
}

impl Tree {
    fn encode(&self, e: &mut Encoder) {
        match self {
            Self::Int(i) => _ = e.int(*i),
            Self::Bytes(b) => _ = e.bytes(b),
            Self::List(l) => {
                e.list();
                l.iter().for_each(|v| v.encode(e));
                e.end();
            }
            Self::Dict(d) => {
                e.dict();
                d.iter().for_each(|(k, v)| v.encode(e.key(k)));
                e.end();
            }
        }
    }

    fn check(&self, v: Value<'_>) {
        match self {
            Self::Int(i) => assert_eq!(v.as_int(), Some(*i)),
            Self::Bytes(b) => assert_eq!(v.as_bytes(), Some(&b[..])),
            Self::List(l) => {
                assert_eq!(v.as_list().unwrap().count(), l.len());
                l.iter().zip(v.as_list().unwrap()).for_each(|(t, v)| t.check(v));
            }
            Self::Dict(d) => {
                assert_eq!(v.as_dict().unwrap().count(), d.len());
                d.iter().for_each(|(k, t)| t.check(v.get(k).unwrap()));
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![any::<i64>().prop_map(Tree::Int), bytes().prop_map(Tree::Bytes)].prop_recursive(
        5,
        64,
        8,
        move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Tree::List),
                prop::collection::btree_map(bytes(), inner, 0..8).prop_map(Tree::Dict),
            ]
        },
    )
}

proptest! {
    #[test]
    fn encoded_values_are_read_back(tree in tree()) {
        let mut e = Encoder::new();
        tree.encode(&mut e);
        let bytes = e.finish();
        let doc = parse(&bytes).unwrap();
        tree.check(doc.root());
        prop_assert_eq!(doc.root().raw(), &bytes[..]);
        // Every proper prefix is truncated and nothing else.
        for len in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..len]).unwrap_err(), E::Truncated { len });
        }
    }

    #[test]
    fn nothing_panics(
        bytes in prop::collection::vec(
            prop_oneof![
                Just(b'd'),
                Just(b'l'),
                Just(b'i'),
                Just(b'e'),
                Just(b':'),
                b'0'..=b'9',
                any::<u8>(),
            ],
            0..60,
        ),
    ) {
        let _ = parse(&bytes);
    }
}
