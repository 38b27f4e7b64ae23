//! Announces and scrapes in datagrams (BEP 15), with the path of the tracker's address as an option
//! (BEP 41). Both ways: replies are written by tests and simulated trackers.
//!
//! Which reply belongs to which request, and how long a connection id counts, is not known here.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{
    Announce, AnnounceEvent, AnnounceReply, CryptoSupport, MAX_SCRAPE, Peers, ReplyError,
    ScrapeReply, TrackerUrl, text,
};
use crate::base::ids::{InfoHash, PeerId};

/// What stands for a connection id before there is one.
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_URL_DATA: u8 = 2;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A connection id, please.
    Connect,
    /// An announce.
    Announce {
        /// The tracker's proof that we are where we say.
        connection: u64,
        /// The announce. Of `ip` only IPv4 can be said; a missing `numwant` leaves the number to
        /// the tracker.
        announce: Box<Announce>,
        /// Path and query of the tracker's address (BEP 41); may be empty.
        url_data: Vec<u8>,
    },
    /// A scrape of at most [`MAX_SCRAPE`] torrents.
    Scrape {
        /// As with an announce.
        connection: u64,
        /// The torrents.
        info_hashes: Vec<InfoHash>,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A connection id.
    Connect {
        /// To be shown with each request.
        connection: u64,
    },
    /// The answer to an announce.
    Announce(AnnounceReply),
    /// The answer to a scrape, in the order of the request.
    Scrape(Vec<ScrapeReply>),
    /// A refusal.
    Error(String),
}

/// Path and query as [`Request::Announce`] sends them: nothing if the address names neither (BEP
/// 41).
pub fn url_data(url: &TrackerUrl) -> Vec<u8> {
    let target = url.target();
    if target == "/" { Vec::new() } else { target.into_bytes() }
}

impl Request {
    /// The datagram.
    pub fn encode(&self, transaction: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(98);
        let mut head = |connection: u64, action: u32| {
            out.extend(connection.to_be_bytes());
            out.extend(action.to_be_bytes());
            out.extend(transaction.to_be_bytes());
        };
        match self {
            Self::Connect => head(PROTOCOL_ID, CONNECT),
            Self::Announce { connection, announce, url_data } => {
                head(*connection, ANNOUNCE);
                encode_announce(&mut out, announce);
                for part in url_data.chunks(usize::from(u8::MAX)) {
                    out.extend([OPTION_URL_DATA, part.len() as u8]);
                    out.extend(part);
                }
            }
            Self::Scrape { connection, info_hashes } => {
                head(*connection, SCRAPE);
                info_hashes.iter().take(MAX_SCRAPE).for_each(|hash| out.extend(hash.0));
            }
        }
        out
    }

    /// What a datagram asks, and its transaction id. Of an announce, what cannot be said in it is
    /// absent.
    ///
    /// # Errors
    /// If it has another length or action than a request.
    pub fn decode(datagram: &[u8]) -> Result<(u32, Self), ReplyError> {
        let mut input = Reader { rest: datagram, what: "request", len: datagram.len() };
        let (connection, action, transaction) = (input.u64()?, input.u32()?, input.u32()?);
        let request = match action {
            CONNECT if connection == PROTOCOL_ID => Self::Connect,
            ANNOUNCE => {
                let announce = Box::new(decode_announce(&mut input)?);
                Self::Announce { connection, announce, url_data: input.url_data()? }
            }
            SCRAPE if input.rest.len() <= 20 * MAX_SCRAPE => {
                let (hashes, odd) = input.rest.as_chunks();
                if !odd.is_empty() {
                    return Err(input.error());
                }
                Self::Scrape {
                    connection,
                    info_hashes: hashes.iter().map(|&hash| InfoHash(hash)).collect(),
                }
            }
            SCRAPE => return Err(input.error()),
            other => return Err(ReplyError::Action(other)),
        };
        Ok((transaction, request))
    }
}

fn encode_announce(out: &mut Vec<u8>, announce: &Announce) {
    // Some trackers read these as signed numbers.
    let count = |n: u64| n.min(i64::MAX as u64).to_be_bytes();
    out.extend(announce.info_hash.0);
    out.extend(announce.peer_id.0);
    out.extend(count(announce.downloaded));
    out.extend(count(announce.left));
    out.extend(count(announce.uploaded));
    let event: u32 = match announce.event {
        AnnounceEvent::None => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
    };
    out.extend(event.to_be_bytes());
    out.extend(match announce.ip {
        Some(IpAddr::V4(ip)) => ip.octets(),
        _ => [0; 4],
    });
    out.extend(announce.key.to_be_bytes());
    let numwant = announce.peers_wanted().map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
    out.extend(numwant.to_be_bytes());
    out.extend(announce.port.to_be_bytes());
}

fn decode_announce(input: &mut Reader<'_>) -> Result<Announce, ReplyError> {
    let (info_hash, peer_id) = (InfoHash(input.array()?), PeerId(input.array()?));
    let (downloaded, left, uploaded) = (input.u64()?, input.u64()?, input.u64()?);
    let event = match input.u32()? {
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        3 => AnnounceEvent::Stopped,
        _ => AnnounceEvent::None,
    };
    let ip = Ipv4Addr::from(input.array::<4>()?);
    let key = input.u32()?;
    let numwant = u32::try_from(i32::from_be_bytes(input.array()?)).ok();
    let port = u16::from_be_bytes(input.array()?);
    let ip = (!ip.is_unspecified()).then_some(IpAddr::V4(ip));
    Ok(Announce {
        info_hash,
        peer_id,
        port,
        uploaded,
        downloaded,
        left,
        event,
        key,
        numwant,
        tracker_id: None,
        crypto: CryptoSupport::None,
        ip,
    })
}

impl Reply {
    /// The datagram. Of the peers those of the other family than `v6` says are left out, and so is
    /// what a datagram cannot say.
    pub fn encode(&self, transaction: u32, v6: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut head = |action: u32| {
            out.extend(action.to_be_bytes());
            out.extend(transaction.to_be_bytes());
        };
        match self {
            Self::Connect { connection } => {
                head(CONNECT);
                out.extend(connection.to_be_bytes());
            }
            Self::Announce(reply) => {
                head(ANNOUNCE);
                let interval = u32::try_from(reply.interval.as_secs()).unwrap_or(u32::MAX);
                for n in [interval, reply.leechers.unwrap_or(0), reply.seeders.unwrap_or(0)] {
                    out.extend(n.to_be_bytes());
                }
                for peer in reply.peers.iter().filter(|peer| peer.is_ipv6() == v6) {
                    match peer {
                        SocketAddr::V4(peer) => out.extend(peer.ip().octets()),
                        SocketAddr::V6(peer) => out.extend(peer.ip().octets()),
                    }
                    out.extend(peer.port().to_be_bytes());
                }
            }
            Self::Scrape(replies) => {
                head(SCRAPE);
                for reply in replies.iter().take(MAX_SCRAPE) {
                    for n in [reply.complete, reply.downloaded, reply.incomplete] {
                        out.extend(n.to_be_bytes());
                    }
                }
            }
            Self::Error(reason) => {
                head(ERROR);
                out.extend(reason.as_bytes());
            }
        }
        out
    }

    /// What a datagram answers, and its transaction id. `v6` says whether it came over IPv6, and so
    /// which peers it has; at most `max_peers` of them are taken.
    ///
    /// # Errors
    /// If it is too short for what it should be, or has another action than a reply.
    pub fn decode(datagram: &[u8], v6: bool, max_peers: usize) -> Result<(u32, Self), ReplyError> {
        let mut input = Reader { rest: datagram, what: "reply", len: datagram.len() };
        let (action, transaction) = (input.u32()?, input.u32()?);
        let reply = match action {
            CONNECT => {
                input.what = "reply to a connect";
                Self::Connect { connection: input.u64()? }
            }
            ANNOUNCE => {
                input.what = "reply to an announce";
                let (interval, leechers, seeders) = (input.u32()?, input.u32()?, input.u32()?);
                let mut peers = Peers::new(max_peers);
                if v6 {
                    peers.compact6(input.rest)
                } else {
                    peers.compact4(input.rest)
                }
                Self::Announce(AnnounceReply {
                    interval: Duration::from_secs(interval.into()),
                    peers: peers.list,
                    seeders: Some(seeders),
                    leechers: Some(leechers),
                    ..AnnounceReply::default()
                })
            }
            SCRAPE => {
                let counts = input.rest.as_chunks::<12>().0.iter().take(MAX_SCRAPE);
                let reply = |counts: &[u8; 12]| {
                    let mut input = Reader { rest: counts, what: "scrape", len: 12 };
                    Ok(ScrapeReply {
                        complete: input.u32()?,
                        downloaded: input.u32()?,
                        incomplete: input.u32()?,
                    })
                };
                Self::Scrape(counts.map(reply).collect::<Result<_, ReplyError>>()?)
            }
            ERROR => Self::Error(text(input.rest)),
            other => return Err(ReplyError::Action(other)),
        };
        Ok((transaction, reply))
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
    len: usize,
}

impl Reader<'_> {
    fn error(&self) -> ReplyError {
        ReplyError::Length { what: self.what, len: self.len }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReplyError> {
        let (&head, rest) = self.rest.split_first_chunk().ok_or_else(|| self.error())?;
        self.rest = rest;
        Ok(head)
    }

    fn u32(&mut self) -> Result<u32, ReplyError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, ReplyError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The options (BEP 41), of which only this one is known.
    fn url_data(&mut self) -> Result<Vec<u8>, ReplyError> {
        let mut out = Vec::new();
        while let Some((&kind, rest)) = self.rest.split_first() {
            self.rest = rest;
            match kind {
                OPTION_END => break,
                OPTION_NOP => {}
                _ => {
                    let [len] = self.array()?;
                    let (data, rest) =
                        self.rest.split_at_checked(len.into()).ok_or_else(|| self.error())?;
                    self.rest = rest;
                    if kind == OPTION_URL_DATA {
                        out.extend(data);
                    }
                }
            }
        }
        Ok(out)
    }
}
