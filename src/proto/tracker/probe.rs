//! Whole calls for the fuzz targets, which see nothing of the crate but what is public. Not part of
//! the API.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{Answer, Ask, Call, CallError, Question};
use crate::{
    base::{
        ids::{InfoHash, PeerId},
        rng::Rng,
        target::Target,
        time::Instant,
    },
    conf::Conf,
    wire::tracker::{Announce, AnnounceEvent, CryptoSupport, TrackerUrl},
};

/// What a call with tight limits came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer.
    Answer(String),
    /// An error.
    Error(String),
    /// Neither within many steps, or an answer beyond its limits.
    Fault,
}

/// Peers that these calls take from a reply.
const MAX_PEERS: usize = 20;
/// Bytes of a reply, and redirects that these calls take.
const MAX_REPLY: usize = 4096;
const MAX_REDIRECTS: u32 = 3;

fn call(url: TrackerUrl, scrape: bool) -> Call {
    let conf = Conf::default().with(|conf| {
        conf.trackers.max_reply = MAX_REPLY;
        conf.trackers.max_redirects = MAX_REDIRECTS;
        conf.trackers.max_peers = MAX_PEERS;
    });
    let info_hash = InfoHash(*b"aaaaaaaaaaaaaaaaaaaa");
    let question = if scrape {
        Question::Scrape(vec![info_hash, InfoHash([0; 20])])
    } else {
        let peer_id = PeerId(*b"-CT0200-abcdefghijkl");
        Question::Announce(Announce {
            info_hash,
            peer_id,
            port: 6881,
            uploaded: 0,
            downloaded: 0,
            left: u64::MAX,
            event: AnnounceEvent::Started,
            key: 7,
            numwant: None,
            tracker_id: None,
            crypto: CryptoSupport::None,
            ip: None,
        })
    };
    Call::new(url, question, None, Instant::ZERO, &conf, &mut Rng::new(1))
}

fn outcome(result: Result<(Answer, Option<IpAddr>), CallError>) -> Outcome {
    match result {
        Ok((Answer::Announce(reply), _)) if reply.peers.len() > MAX_PEERS => Outcome::Fault,
        Ok(answer) => Outcome::Answer(format!("{answer:?}")),
        Err(e) => Outcome::Error(e.to_string()),
    }
}

/// A call over HTTP to which each connection answers with the next of `streams`, cut into parts as
/// they are there, and then ends. Names resolve to `ips`. Also tells where connections were made.
pub fn http(
    url: TrackerUrl,
    scrape: bool,
    ips: &[IpAddr],
    streams: &[Vec<&[u8]>],
) -> (Outcome, Vec<SocketAddr>) {
    let now = Instant::ZERO;
    let mut call = call(url, scrape);
    let mut streams = streams.iter();
    let mut connections = Vec::new();
    for _ in 0..200 {
        match call.poll_ask() {
            Some(Ask::Resolve { .. }) => call.handle_resolved(now, Ok(ips.to_vec())),
            Some(Ask::Connect { to, .. }) => {
                let Target::Addr(addr) = to else { return (Outcome::Fault, connections) };
                connections.push(addr);
                call.handle_connected(now);
            }
            Some(Ask::Flush) => {
                call.handle_sent(now, call.poll_transmit().len());
                // It may ask for another stream while it gets these, which then do not count.
                for part in streams.next().into_iter().flatten() {
                    call.handle_data(now, part);
                }
                call.handle_stream_ended(now, Ok(()));
            }
            Some(Ask::Close) => {}
            Some(Ask::Datagram { .. }) => return (Outcome::Fault, connections),
            Some(Ask::Done(result)) => return (outcome(result), connections),
            None => match call.poll_timeout() {
                Some(at) => call.handle_timeout(at),
                None => return (Outcome::Fault, connections),
            },
        }
    }
    (Outcome::Fault, connections)
}

/// A call over UDP to which each datagram is answered with the next of `replies`; of those that are
/// marked, the transaction id is put right. Then no more comes.
pub fn udp(url: TrackerUrl, scrape: bool, ip: IpAddr, replies: &[(bool, &[u8])]) -> Outcome {
    let mut now = Instant::ZERO;
    let mut call = call(url, scrape);
    let mut replies = replies.iter();
    for _ in 0..200 {
        match call.poll_ask() {
            Some(Ask::Resolve { .. }) => call.handle_resolved(now, Ok(vec![ip])),
            Some(Ask::Datagram { to, data }) => {
                let Some(&(mend, reply)) = replies.next() else { continue };
                let mut reply = reply.to_vec();
                if let (true, Some(id), Some(ours)) = (mend, reply.get_mut(4..8), data.get(12..16))
                {
                    id.copy_from_slice(ours);
                }
                let _ = call.handle_datagram(now, &to, &reply);
            }
            Some(Ask::Done(result)) => return outcome(result),
            Some(_) => return Outcome::Fault,
            None => match call.poll_timeout() {
                Some(at) => {
                    now = at.max(now + Duration::from_micros(1));
                    call.handle_timeout(now);
                }
                None => return Outcome::Fault,
            },
        }
    }
    Outcome::Fault
}
