//! Whole calls, step by step.

use std::{net::IpAddr, time::Duration};

use super::{
    super::http::{HttpError, guard::Refusal},
    places::MAX_ADDRESSES,
    udp::CONNECTION_TIME,
    *,
};
use crate::{
    base::{
        ids::{InfoHash, PeerId},
        rng::Rng,
        target::Target,
        time::Instant,
    },
    conf::Conf,
    wire::tracker::{
        Announce, AnnounceEvent, AnnounceReply, CryptoSupport, MAX_SCRAPE, ReplyError, RetryIn,
        Scheme, ScrapeReply, TrackerUrl, UrlError,
        udp::{Reply, Request as Datagram},
    },
};

mod guarded;
mod streams;
mod timing;
mod udp_calls;

const HASH: InfoHash = InfoHash(*b"aaaaaaaaaaaaaaaaaaaa");
const REPLY: &[u8] = b"d8:intervali1800e5:peers6:\xc0\0\x02\x09\x1a\xe1e";

fn announce() -> Announce {
    Announce {
        info_hash: HASH,
        peer_id: PeerId(*b"-CT0200-abcdefghijkl"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        key: 7,
        numwant: Some(50),
        tracker_id: None,
        crypto: CryptoSupport::None,
        ip: None,
    }
}

fn target(addr: &str) -> Target {
    Target::Addr(addr.parse().unwrap())
}

/// A call and the time.
struct Rig {
    call: Call,
    now: Instant,
}

impl Rig {
    fn new(url: &str) -> Self {
        Self::with(url, Question::Announce(announce()), None, &Conf::default())
    }

    fn with(url: &str, question: Question, family: Option<Family>, conf: &Conf) -> Self {
        let url = TrackerUrl::parse(url).unwrap();
        let now = Instant::from_micros(1_000_000);
        Self { call: Call::new(url, question, family, now, conf, &mut Rng::new(1)), now }
    }

    #[track_caller]
    fn ask(&mut self) -> Ask {
        self.call.poll_ask().unwrap()
    }

    #[track_caller]
    fn idle(&mut self) {
        assert_eq!(self.call.poll_ask(), None);
    }

    #[track_caller]
    fn done(&mut self) -> Result<(Answer, Option<IpAddr>), CallError> {
        loop {
            match self.ask() {
                Ask::Done(result) => {
                    self.idle();
                    assert_eq!(self.call.poll_timeout(), None);
                    return result;
                }
                Ask::Close => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[track_caller]
    fn error(&mut self) -> CallError {
        self.done().unwrap_err()
    }

    #[track_caller]
    fn resolve(&mut self, ips: &[&str]) {
        assert!(matches!(self.ask(), Ask::Resolve { .. }));
        self.call.handle_resolved(self.now, Ok(ips.iter().map(|ip| ip.parse().unwrap()).collect()));
    }

    /// Expects a stream to `addr`, makes it, and returns what is sent on it.
    #[track_caller]
    fn connect(&mut self, addr: &str) -> String {
        match self.ask() {
            Ask::Connect { to, .. } => assert_eq!(to, target(addr)),
            other => panic!("{other:?}"),
        }
        self.call.handle_connected(self.now);
        assert_eq!(self.ask(), Ask::Flush);
        let sent = String::from_utf8(self.call.poll_transmit().to_vec()).unwrap();
        self.call.handle_sent(self.now, sent.len());
        assert_eq!(self.call.poll_transmit(), b"");
        sent
    }

    fn data(&mut self, data: &[u8]) {
        self.call.handle_data(self.now, data);
    }

    /// A response that redirects.
    #[track_caller]
    fn redirect(&mut self, location: &str) {
        self.data(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n").as_bytes());
    }

    /// The same, and its outcome is that another stream or name is asked for.
    #[track_caller]
    fn follow(&mut self, location: &str) {
        self.redirect(location);
        assert_eq!(self.ask(), Ask::Close);
    }

    fn ok(&mut self) {
        self.data(&ok(REPLY));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.call.handle_timeout(self.now);
    }

    /// When it next wants to be woken.
    #[track_caller]
    fn wakes_in(&self) -> Duration {
        self.call.poll_timeout().unwrap().since(self.now)
    }
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn reply() -> AnnounceReply {
    AnnounceReply {
        interval: Duration::from_secs(1800),
        peers: vec!["192.0.2.9:6881".parse().unwrap()],
        ..AnnounceReply::default()
    }
}

fn answer(ip: &str) -> Result<(Answer, Option<IpAddr>), CallError> {
    Ok((Answer::Announce(reply()), Some(ip.parse().unwrap())))
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
