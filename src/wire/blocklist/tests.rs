//! Each format by the lines that are found in the wild, and what is wrong with the others.

use super::*;
use crate::base::ip_filter::IpRangeError;

/// The ranges that a list blocks.
fn ranges(text: &[u8]) -> Vec<String> {
    Blocklist::parse(text).unwrap().filter.ranges().map(|r| r.to_string()).collect()
}

#[track_caller]
fn blocks(line: &str, range: &str) {
    assert_eq!(ranges(line.as_bytes()), [range], "{line:?}");
}

/// What is wrong with the line, among good ones.
fn error(line: &str) -> LineError {
    let list = Blocklist::parse(format!("9.9.9.9\n{line}\n9.9.9.9").as_bytes()).unwrap();
    assert_eq!((list.bad, list.ranges, list.first_bad.len()), (1, 2, 1), "{line:?}");
    assert_eq!(list.first_bad[0].line, 2);
    list.first_bad[0].error
}

#[test]
fn lines_of_emules_filter() {
    blocks("001.009.096.105 - 001.009.096.110 , 000 , Some, organization", "1.9.96.105-1.9.96.110");
    blocks("001.009.096.105-001.009.096.110,127,x", "1.9.96.105-1.9.96.110");
    blocks("1.0.0.8 - 1.0.0.8 , , no level", "1.0.0.8-1.0.0.8");
    blocks("1.0.0.8 - 1.0.0.9 , 100", "1.0.0.8-1.0.0.9");
    blocks("2001:db8::1 - 2001:db8::2 , 000 , six", "2001:db8::1-2001:db8::2");
    let list =
        Blocklist::parse(b"1.0.0.0 - 1.0.0.9 , 128 , a friend\n1.0.0.0 - 1.0.0.9 , 255 , another")
            .unwrap();
    assert_eq!((list.ranges, list.allowed, list.bad, list.filter.is_empty()), (0, 2, 0, true));
    assert_eq!(error("1.0.0.0 - 1.0.0.9 , low , x"), LineError::Level);
    assert_eq!(error("1.0.0.0 - 1.0.0.9 , 256 , x"), LineError::Level);
    assert_eq!(error("1.0.0.0 , 000 , no range"), LineError::Unknown);
}

#[test]
fn lines_of_peerguardian() {
    blocks("Some organization:1.0.0.0-1.255.255.255", "1.0.0.0-1.255.255.255");
    blocks("a: b:c - d:1.2.3.4 - 1.2.3.5", "1.2.3.4-1.2.3.5");
    blocks(":1.2.3.4-1.2.3.5", "1.2.3.4-1.2.3.5");
    blocks("p2p::::1.2.3.4-1.2.3.5", "1.2.3.4-1.2.3.5");
    blocks("1.1.1.1-2.2.2.2:1.2.3.4-1.2.3.5", "1.2.3.4-1.2.3.5");
    blocks("1.1.1.1:1.2.3.4-1.2.3.5", "1.2.3.4-1.2.3.5");
    blocks("10/8 is ours:1.2.3.4-1.2.3.5", "1.2.3.4-1.2.3.5");
    blocks("1, 2, 3:1.2.3.4-1.2.3.5", "1.2.3.4-1.2.3.5");
    blocks("six: of them:2001:db8::1-2001:db8::2", "2001:db8::1-2001:db8::2");
    assert_eq!(ranges(b"latin \xe9\xff:1.2.3.4-1.2.3.5"), ["1.2.3.4-1.2.3.5"]);
    assert_eq!(error("no addresses: at-all"), LineError::Unknown);
    assert_eq!(error("mixed:1.2.3.4-2001:db8::2"), LineError::Unknown);
}

#[test]
fn prefixes_ranges_and_addresses() {
    blocks("1.2.3.0/24", "1.2.3.0-1.2.3.255");
    blocks("1.2.3.77/24 ; SBL1234", "1.2.3.0-1.2.3.255");
    blocks("2001:db8::/32 # six", "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
    blocks("::ffff:1.2.3.4", "1.2.3.4-1.2.3.4");
    blocks("1.2.3.4-1.2.3.5", "1.2.3.4-1.2.3.5");
    blocks("\t010.020.030.040 ", "10.20.30.40-10.20.30.40");
    blocks("2001:db8::1// who", "2001:db8::1-2001:db8::1");
    assert_eq!(error("1.2.3.0/33").to_string(), "prefix of 33 bits for 1.2.3.0, which has fewer");
    assert!(matches!(error("1.2.3.0/999"), LineError::Range(IpRangeError::Prefix { .. })));
    for line in [
        "1.2.3.0/",
        "1.2.3",
        "1.2.3.256",
        "1.2.3.0004",
        "1.2.3.4.5",
        "1.2.3.4 5.6.7.8",
        "::1::",
        "fe80::1%eth0",
        "-",
        ":",
    ] {
        assert_eq!(error(line), LineError::Unknown, "{line:?}");
    }
    assert!(matches!(error("1.2.3.5-1.2.3.4"), LineError::Range(IpRangeError::Inverted(..))));
    assert!(matches!(error("1.2.3.5-::1"), LineError::Range(IpRangeError::Families(..))));
}

#[test]
fn comments_blank_lines_and_line_ends_mean_nothing() {
    let text = b"\xef\xbb\xbf1.0.0.1\r\n\r\n# a\r\n // b\n;c\n\t\n1.0.0.3\r\n\n";
    assert_eq!(ranges(text), ["1.0.0.1-1.0.0.1", "1.0.0.3-1.0.0.3"]);
    assert_eq!(Blocklist::parse(text).unwrap().bad, 0);
    assert_eq!(Blocklist::parse(b"").unwrap(), Blocklist::default());
    assert!(Blocklist::parse(b"# nothing yet\n").unwrap().filter.is_empty());
}

#[test]
fn formats_may_be_mixed_and_all_is_merged() {
    let text = b"1.0.0.0/25\nx:1.0.0.128-1.0.0.200\n001.000.000.201 - 001.000.000.255 , 0 , y\n\
          0.255.255.255\n1.0.0.7\n";
    let list = Blocklist::parse(text).unwrap();
    assert_eq!((list.ranges, list.filter.len()), (5, 1));
    assert_eq!(ranges(text), ["0.255.255.255-1.0.0.255"]);
}

#[test]
fn bad_lines_are_counted_and_the_first_are_told() {
    let text = format!("{}1.2.3.4\n", "nonsense\n".repeat(25));
    let list = Blocklist::parse(text.as_bytes()).unwrap();
    assert_eq!((list.bad, list.ranges, list.first_bad.len()), (25, 1, MAX_BAD_LINES_TOLD));
    assert_eq!(
        list.first_bad[9].to_string(),
        "line 10: no address, range or prefix where one should be"
    );
}

#[test]
fn input_that_is_no_blocklist_is_refused() {
    let e = Blocklist::parse(b"<html>\n<body>\n").unwrap_err();
    assert_eq!(
        e.to_string(),
        "not a blocklist: none of 2 lines can be read; line 1: \
         no address, range or prefix where one should be"
    );
    assert_eq!(Blocklist::parse(b"\x1f\x8b\x08\0"), Err(BlocklistError::Compressed));
    assert_eq!(Blocklist::parse(b"PK\x03\x04..."), Err(BlocklistError::Compressed));
}

#[test]
fn limits_hold() {
    let limits = BlocklistLimits { bytes: 100, ranges: 3, line: 30 };
    let parse = |text: &str| Blocklist::parse_with(text.as_bytes(), &limits);
    assert_eq!(parse(&"#".repeat(101)), Err(BlocklistError::TooLong { len: 101, limit: 100 }));
    assert_eq!(parse(&"1.1.1.1\n".repeat(3)).unwrap().ranges, 3);
    assert_eq!(parse(&"1.1.1.1\n".repeat(4)), Err(BlocklistError::TooManyRanges(3)));
    let list = parse(&format!("1.1.1.1\n{}:1.2.3.4-1.2.3.5", "x".repeat(20))).unwrap();
    assert_eq!(
        list.first_bad,
        [BadLine { line: 2, error: LineError::TooLong { len: 36, limit: 30 } }]
    );
    // A few bytes that claim four thousand million labels, or entries.
    let claims = [
        &b"\xff\xff\xff\xffP2B\x03\xff\xff\xff\xffa\0"[..],
        b"\xff\xff\xff\xffP2B\x03\0\0\0\0\xff\xff\xff\xff",
    ];
    for claim in claims {
        assert_eq!(Blocklist::parse(claim), Err(BlocklistError::Truncated(claim.len())));
    }
}

fn entry(label: &[u8], first: [u8; 4], last: [u8; 4]) -> Vec<u8> {
    [label, &first, &last].concat()
}

#[test]
fn binary_lists_of_every_version() {
    for version in [1, 2] {
        let head = [binary::MAGIC, &[version]].concat();
        let a = entry(b"caf\xe9\0", [1, 0, 0, 0], [1, 0, 0, 9]);
        let inverted = entry(b"\0", [2, 0, 0, 9], [2, 0, 0, 0]);
        let b = entry(b"\0", [1, 0, 0, 10], [1, 0, 0, 10]);
        let bytes = [head, a, inverted, b].concat();
        let list = Blocklist::parse(&bytes).unwrap();
        assert_eq!((list.ranges, list.bad, list.first_bad[0].line), (2, 1, 2));
        assert_eq!(ranges(&bytes), ["1.0.0.0-1.0.0.10"]);
        assert_eq!(
            Blocklist::parse(&bytes[..bytes.len() - 1]),
            Err(BlocklistError::Truncated(bytes.len() - 1))
        );
    }
    let head = [binary::MAGIC, b"\x03\0\0\0\x02one\0two\0\0\0\0\x02"].concat();
    let a = entry(&[0, 0, 0, 1], [5, 0, 0, 0], [5, 0, 0, 1]);
    // The label that is not there is not looked at.
    let b = entry(&[9, 9, 9, 9], [7, 0, 0, 0], [7, 0, 0, 1]);
    assert_eq!(ranges(&[&head[..], &a, &b].concat()), ["5.0.0.0-5.0.0.1", "7.0.0.0-7.0.0.1"]);
    assert_eq!(ranges(&[&head[..], &a, &b, b"more"].concat()).len(), 2);
    assert!(matches!(
        Blocklist::parse(&[&head[..], &a].concat()),
        Err(BlocklistError::Truncated(_))
    ));
    assert_eq!(Blocklist::parse(&[binary::MAGIC, &[4]].concat()), Err(BlocklistError::Version(4)));
    assert_eq!(Blocklist::parse(binary::MAGIC), Err(BlocklistError::Truncated(7)));
}
