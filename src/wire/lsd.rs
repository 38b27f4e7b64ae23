//! The packets of local service discovery (BEP 14): a request in the manner of HTTP, sent to a
//! multicast group, which names torrents and the port at which their peer listens. It knows no
//! socket, and not who sent a packet.

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use thiserror::Error;

use crate::base::ids::InfoHash;

/// The group of IPv4.
pub const LSD_GROUP_V4: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(239, 192, 152, 143)), LSD_PORT);
/// The group of IPv6.
pub const LSD_GROUP_V6: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f)),
    LSD_PORT,
);
/// The port of both groups.
pub const LSD_PORT: u16 = 6771;
/// The longest packet that is read, in bytes: what fits into a datagram of Ethernet.
pub const MAX_LSD_PACKET: usize = 1500;
/// Torrents that are named in one packet: so many leave it below the 1400 bytes of BEP 14.
pub const MAX_LSD_HASHES: usize = 20;
/// The longest cookie that is kept and sent, in bytes.
pub const MAX_LSD_COOKIE: usize = 64;

const REQUEST: &str = "BT-SEARCH * HTTP/1.";

/// What a packet says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LsdAnnounce {
    /// Where the sender listens for peers; never 0.
    pub port: u16,
    /// The torrents that it takes part in, [`MAX_LSD_HASHES`] at most.
    pub info_hashes: Vec<InfoHash>,
    /// By what a sender knows its own packets. One that is empty, longer than [`MAX_LSD_COOKIE`]
    /// or not of visible ASCII characters counts as absent.
    pub cookie: Option<String>,
}

/// Why a packet is no announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LsdError {
    /// It is too long.
    #[error("a packet of {0} bytes exceeds {MAX_LSD_PACKET}")]
    TooLong(usize),
    /// It does not begin with `BT-SEARCH * HTTP/1.`, or a line has no colon.
    #[error("it is no BT-SEARCH request")]
    Syntax,
    /// The port is missing, or not 1 to 65535.
    #[error("it names no port from 1 to 65535")]
    Port,
    /// It has no `Infohash` of 40 hexadecimal digits.
    #[error("it names no torrent")]
    NoHash,
}

impl LsdAnnounce {
    /// Reads a packet. Names of headers may have any case, lines may end with LF alone, unknown
    /// headers and torrents that are not 40 hexadecimal digits are passed over.
    ///
    /// # Errors
    /// If it is too long or no announce.
    pub fn decode(packet: &[u8]) -> Result<Self, LsdError> {
        if packet.len() > MAX_LSD_PACKET {
            return Err(LsdError::TooLong(packet.len()));
        }
        let text = std::str::from_utf8(packet).map_err(|_| LsdError::Syntax)?;
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        if !lines.next().is_some_and(|line| line.starts_with(REQUEST)) {
            return Err(LsdError::Syntax);
        }
        let (mut port, mut announce) = (None, Self::default());
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(LsdError::Syntax)?;
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "port" => port = value.parse::<u16>().ok(),
                "infohash" => announce.add(value),
                "cookie" => {
                    announce.cookie =
                        Some(value).filter(|cookie| is_cookie(cookie)).map(str::to_owned)
                }
                _ => {}
            }
        }
        announce.port = port.filter(|&port| port != 0).ok_or(LsdError::Port)?;
        if announce.info_hashes.is_empty() {
            return Err(LsdError::NoHash);
        }
        Ok(announce)
    }

    fn add(&mut self, hex: &str) {
        let mut hash = [0; 20];
        let digits = hex.as_bytes().as_chunks::<2>().0;
        let read = hex.len() == 40
            && hash.iter_mut().zip(digits).all(|(byte, &[high, low])| {
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let value = digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low);
                value.inspect(|&value| *byte = value).is_some()
            });
        let hash = InfoHash(hash);
        if read && self.info_hashes.len() < MAX_LSD_HASHES && !self.info_hashes.contains(&hash) {
            self.info_hashes.push(hash);
        }
    }

    /// The packet for this group, with the first [`MAX_LSD_HASHES`] torrents.
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let mut out = format!("{REQUEST}1\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        for hash in self.info_hashes.iter().take(MAX_LSD_HASHES) {
            _ = write!(out, "Infohash: {hash}\r\n");
        }
        if let Some(cookie) = self.cookie.as_ref().filter(|cookie| is_cookie(cookie)) {
            _ = write!(out, "cookie: {cookie}\r\n");
        }
        out.push_str("\r\n\r\n");
        out.into_bytes()
    }
}

fn is_cookie(text: &str) -> bool {
    (1..=MAX_LSD_COOKIE).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announce(hashes: u8) -> LsdAnnounce {
        LsdAnnounce {
            port: 6881,
            info_hashes: (0..hashes).map(|n| InfoHash([n; 20])).collect(),
            cookie: Some("1a2b".into()),
        }
    }

    #[test]
    fn packet_is_as_bep_14_lays_it_out() {
        let packet = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
             Infohash: {}\r\nInfohash: {}\r\ncookie: 1a2b\r\n\r\n\r\n",
            "00".repeat(20),
            "01".repeat(20)
        );
        assert_eq!(announce(2).encode(LSD_GROUP_V4), packet.as_bytes());
        assert_eq!(LsdAnnounce::decode(packet.as_bytes()), Ok(announce(2)));
        let v6 = String::from_utf8(announce(1).encode(LSD_GROUP_V6)).unwrap();
        assert!(v6.contains("\r\nHost: [ff15::efc0:988f]:6771\r\n"), "{v6}");
    }

    #[test]
    fn largest_packet_stays_below_1400_bytes() {
        let most = LsdAnnounce { cookie: Some("x".repeat(MAX_LSD_COOKIE)), ..announce(200) };
        let packet = most.encode(LSD_GROUP_V6);
        assert!(packet.len() <= 1400, "{}", packet.len());
        assert_eq!(LsdAnnounce::decode(&packet).unwrap().info_hashes.len(), MAX_LSD_HASHES);
    }

    #[test]
    fn headers_of_any_case_order_and_line_end_are_read() {
        let hash = "aB".repeat(20);
        let text = format!(
            "BT-SEARCH * HTTP/1.0\nX-New: a:b\nINFOHASH:{hash}\nInfohash: short\nport:  7 \n\
             Infohash: {hash}"
        );
        let read = LsdAnnounce::decode(text.as_bytes()).unwrap();
        assert_eq!((read.port, read.info_hashes), (7, vec![InfoHash([0xab; 20])]));
        assert_eq!(read.cookie, None);
        // What follows the empty line belongs to no header.
        let text = format!("BT-SEARCH * HTTP/1.1\r\nPort: 7\r\n\r\nInfohash: {hash}\r\n");
        assert_eq!(LsdAnnounce::decode(text.as_bytes()), Err(LsdError::NoHash));
    }

    #[test]
    fn what_is_no_announce_is_refused_with_its_reason() {
        let hash = "ab".repeat(20);
        let cases = [
            (String::new(), LsdError::Syntax),
            ("M-SEARCH * HTTP/1.1\r\n\r\n".into(), LsdError::Syntax),
            (
                format!("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash {hash}\r\n\r\n"),
                LsdError::Syntax,
            ),
            (format!("BT-SEARCH * HTTP/1.1\r\nInfohash: {hash}\r\n\r\n"), LsdError::Port),
            (
                format!("BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: {hash}\r\n\r\n"),
                LsdError::Port,
            ),
            (
                format!("BT-SEARCH * HTTP/1.1\r\nPort: 65536\r\nInfohash: {hash}\r\n"),
                LsdError::Port,
            ),
            ("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: zz\r\n\r\n".into(), LsdError::NoHash),
            ("x".repeat(1501), LsdError::TooLong(1501)),
        ];
        for (text, error) in cases {
            assert_eq!(LsdAnnounce::decode(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(LsdAnnounce::decode(b"BT-SEARCH * HTTP/1.1\r\n\xff"), Err(LsdError::Syntax));
    }

    #[test]
    fn cookie_that_is_no_word_is_neither_kept_nor_sent() {
        for cookie in [String::new(), "a b".into(), "a\r\nPort: 1".into(), "x".repeat(65)] {
            let told = LsdAnnounce { cookie: Some(cookie), ..announce(1) };
            let read = LsdAnnounce::decode(&told.encode(LSD_GROUP_V4)).unwrap();
            assert_eq!(read, LsdAnnounce { cookie: None, ..announce(1) });
        }
    }

    proptest! {
        #[test]
        fn announce_reads_back_as_the_same(
            port in 1_u16..,
            hashes in prop::collection::btree_set(any::<[u8; 20]>(), 1..=MAX_LSD_HASHES),
            cookie in prop::option::of("[!-~]{1,64}"),
        ) {
            let info_hashes = hashes.into_iter().map(InfoHash).collect();
            let announce = LsdAnnounce { port, info_hashes, cookie };
            prop_assert_eq!(LsdAnnounce::decode(&announce.encode(LSD_GROUP_V4)), Ok(announce));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(BT-SEARCH \\* HTTP/1.1\r\n)?((port|infohash|cookie): ?\\PC{0,9}\r?\n){0,5}") {
            let _ = LsdAnnounce::decode(text.as_bytes());
        }
    }
}
