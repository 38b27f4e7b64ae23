//! One question in datagrams to one address (BEP 15): a connection id first, then the question,
//! each repeated until it is answered.
//!
//! When to give the address up is not decided here.

use std::{net::SocketAddr, time::Duration};

use super::{Answer, Connection, Question};
use crate::{
    base::{rng::Rng, target::Target, time::Instant},
    wire::tracker::{
        ReplyError, TrackerUrl,
        udp::{Reply, Request, url_data},
    },
};

/// How long a connection id may be used after it came (BEP 15).
pub(crate) const CONNECTION_TIME: Duration = Duration::from_secs(60);

/// The pause before the n-th repetition is twice the one before it. This first one is BEP 15's,
/// though few clients are so patient: a client that repeats sooner only adds to the load of a
/// tracker that cannot keep up, and a name with several addresses has others to try.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// A call with less time than [`FIRST_PAUSE`], which is a farewell, repeats after this part of it:
/// one lost datagram does not cost it.
const PART_OF_LITTLE: u32 = 5;
/// No tracker is asked more often than this.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// Errors of a tracker that ask for a new connection id, per exchange.
const MAX_RENEWALS: u8 = 2;

#[derive(Debug)]
pub(super) struct Exchange {
    to: Target,
    /// Where what was sent to a name is answered from.
    seen: Option<SocketAddr>,
    transaction: u32,
    /// What the question is asked with; without it, the connection is asked for.
    connection: Option<Connection>,
    /// The connection is of an earlier call, so that the tracker may have forgotten it.
    stale: bool,
    first_pause: Duration,
    pause: Duration,
    repeat_at: Instant,
    /// How often the tracker has found the connection id wrong that it gave in this exchange.
    renewals: u8,
}

/// What is asked, and where.
pub(super) struct Asked<'a> {
    pub(super) question: &'a Question,
    pub(super) url: &'a TrackerUrl,
}

/// What a datagram means.
pub(super) enum News {
    /// It is not for us.
    Foreign,
    /// There is something to send.
    Send(Vec<u8>),
    /// The end.
    Answer(Result<Answer, ReplyError>),
}

impl Exchange {
    /// Begins, and returns what to send.
    pub(super) fn new(
        to: Target,
        known: Option<Connection>,
        now: Instant,
        patience: Duration,
        rng: &mut Rng,
        asked: &Asked<'_>,
    ) -> (Self, Vec<u8>) {
        let connection = known.filter(|known| known.to == to && usable(known, now));
        let stale = connection.is_some();
        let first_pause = if patience < FIRST_PAUSE {
            LEAST_PAUSE.max(patience / PART_OF_LITTLE)
        } else {
            FIRST_PAUSE
        };
        let (pause, repeat_at) = (first_pause, now);
        let mut new = Self {
            to,
            seen: None,
            transaction: 0,
            connection,
            stale,
            first_pause,
            pause,
            repeat_at,
            renewals: 0,
        };
        let datagram = new.begin(now, rng, asked);
        (new, datagram)
    }

    pub(super) fn to(&self) -> &Target {
        &self.to
    }

    /// Whether a datagram may be the tracker's.
    fn is_from_it(&self, from: &Target) -> bool {
        match (&self.to, from) {
            (Target::Addr(to), Target::Addr(from)) => {
                from.ip().to_canonical() == to.ip() && from.port() == to.port()
            }
            (Target::Name { port, .. }, Target::Addr(from)) => {
                from.port() == *port && self.seen.is_none_or(|seen| seen == *from)
            }
            (to, from) => to == from,
        }
    }

    pub(super) fn repeat_at(&self) -> Instant {
        self.repeat_at
    }

    /// The connection, if the tracker gave or honoured it.
    pub(super) fn connection(&self) -> Option<Connection> {
        self.connection.clone().filter(|_| !self.stale)
    }

    /// Whether what was sent last is the question itself.
    pub(super) fn is_asking(&self) -> bool {
        self.connection.is_some()
    }

    /// A new request.
    fn begin(&mut self, now: Instant, rng: &mut Rng, asked: &Asked<'_>) -> Vec<u8> {
        self.transaction = rng.next_u64() as u32;
        self.repeat_at = now + self.pause;
        self.request(asked)
    }

    fn request(&self, asked: &Asked<'_>) -> Vec<u8> {
        let request = match (&self.connection, asked.question) {
            (None, _) => Request::Connect,
            (Some(Connection { id, .. }), Question::Announce(announce)) => {
                let mut announce = Box::new(announce.clone());
                // Over IPv6 the field must be empty.
                let over_v6 = self.to.ip().is_some_and(|ip| ip.is_ipv6());
                announce.ip = announce.ip.filter(|ip| ip.is_ipv4() && !over_v6);
                Request::Announce { connection: *id, announce, url_data: url_data(asked.url) }
            }
            (Some(Connection { id, .. }), Question::Scrape(hashes)) => {
                Request::Scrape { connection: *id, info_hashes: hashes.clone() }
            }
        };
        request.encode(self.transaction)
    }

    /// Returns what to send, if it is time.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        asked: &Asked<'_>,
    ) -> Option<Vec<u8>> {
        if now < self.repeat_at {
            return None;
        }
        self.pause = self.pause.saturating_mul(2);
        self.repeat_at = now + self.pause;
        let is_known = |known: &Connection| !self.stale && usable(known, now);
        if self.connection.as_ref().is_some_and(|connection| !is_known(connection)) {
            (self.connection, self.stale) = (None, false);
            return Some(self.begin(now, rng, asked));
        }
        Some(self.request(asked))
    }

    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        from: &Target,
        data: &[u8],
        max_peers: usize,
        rng: &mut Rng,
        asked: &Asked<'_>,
    ) -> News {
        let head = data
            .split_first_chunk::<4>()
            .and_then(|(action, rest)| Some((action, rest.first_chunk::<4>()?)));
        let Some((&action, &transaction)) = head else { return News::Foreign };
        if !self.is_from_it(from) || u32::from_be_bytes(transaction) != self.transaction {
            return News::Foreign;
        }
        let over_v6 = from.ip().is_some_and(|ip| ip.to_canonical().is_ipv6());
        let reply = match Reply::decode(data, over_v6, max_peers) {
            Ok((_, reply)) => reply,
            // Of another protocol.
            Err(ReplyError::Action(_)) => return News::Foreign,
            Err(e) if u32::from_be_bytes(action) == self.expected(asked.question) => {
                return News::Answer(Err(e));
            }
            Err(_) => return News::Foreign,
        };
        if let (Target::Name { .. }, Target::Addr(from)) = (&self.to, from) {
            self.seen = Some(*from);
        }
        match (reply, &self.connection, asked.question) {
            (Reply::Error(_), Some(_), _) if self.stale => {
                (self.connection, self.stale) = (None, false)
            }
            // It restarted, or took us for another: a new id helps.
            (Reply::Error(reason), Some(_), _)
                if is_about_connection(&reason) && self.renewals < MAX_RENEWALS =>
            {
                self.renewals += 1;
                self.connection = None;
            }
            (Reply::Error(reason), ..) => {
                return News::Answer(Err(ReplyError::Failure { reason, retry_in: None }));
            }
            (Reply::Connect { connection }, None, _) => {
                let to = self.to.clone();
                self.connection = Some(Connection { to, id: connection, since: now });
            }
            (Reply::Announce(reply), Some(_), Question::Announce(_)) => {
                self.stale = false;
                return News::Answer(Ok(Answer::Announce(reply)));
            }
            (Reply::Scrape(replies), Some(_), Question::Scrape(hashes)) => {
                self.stale = false;
                let replies =
                    replies.into_iter().map(Some).chain(std::iter::repeat(None)).take(hashes.len());
                return News::Answer(Ok(Answer::Scrape(replies.collect())));
            }
            _ => return News::Foreign,
        }
        self.pause = self.first_pause;
        News::Send(self.begin(now, rng, asked))
    }

    /// The action of the reply that we wait for.
    fn expected(&self, question: &Question) -> u32 {
        match (&self.connection, question) {
            (None, _) => 0,
            (Some(_), Question::Announce(_)) => 1,
            (Some(_), Question::Scrape(_)) => 2,
        }
    }
}

/// Whether a tracker's error says that the connection id is wrong. BEP 15 has no code for it;
/// opentracker and its like say "Connection ID missmatch".
fn is_about_connection(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("connection") && (reason.contains("id") || reason.contains("match"))
}

fn usable(connection: &Connection, now: Instant) -> bool {
    now.since(connection.since) < CONNECTION_TIME
}
