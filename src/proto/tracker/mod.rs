//! One question to one tracker, all the way to its answer: names, addresses tried in turn, streams or datagrams, redirects, time.
//!
//! It knows neither the torrent's other trackers nor when to ask again.
// Nobody asks yet.
#![allow(dead_code)]

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use thiserror::Error;

use crate::{
    base::{ids::InfoHash, rng::Rng, time::Instant},
    conf::Conf,
    wire::tracker::{Announce, AnnounceReply, ReplyError, RetryIn, ScrapeReply, TrackerUrl},
};

/// What to ask. A scrape holds at most [`MAX_SCRAPE`](crate::wire::tracker::MAX_SCRAPE) torrents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Announce(Announce),
    Scrape(Vec<InfoHash>),
}

/// Which addresses to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What the tracker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Announce(AnnounceReply),
    /// In the order of the question.
    Scrape(Vec<Option<ScrapeReply>>),
}

/// A connection id that a UDP tracker gave us (BEP 15). It may be used for a minute after it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) addr: SocketAddr,
    pub(crate) id: u64,
    /// When it came.
    pub(crate) since: Instant,
}

/// What the owner must do for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Look the name up; [`Call::handle_resolved`] takes the answer.
    Resolve { host: String },
    /// Connect a stream, in place of any earlier one of this call, of which nothing more must be told.
    Connect {
        addr: SocketAddr,
        /// With TLS, to a server of this name or address.
        tls: Option<String>,
    },
    /// [`Call::poll_transmit`] has bytes for the stream.
    Flush,
    /// The stream is not needed any more.
    Close,
    /// Send a datagram. If that is known to fail, tell [`Call::handle_stream_ended`].
    Datagram { to: SocketAddr, data: Vec<u8> },
    /// The end: the answer with the address of who gave it. Nothing follows.
    Done(Result<(Answer, IpAddr), CallError>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CallError {
    #[error("the tracker did not answer in time")]
    Timeout,
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl CallError {
    /// When the tracker wants to be asked again, if it said so (BEP 31).
    pub(crate) fn retry_in(&self) -> Option<RetryIn> {
        match self {
            Self::Reply(ReplyError::Failure { retry_in, .. }) => *retry_in,
            _ => None,
        }
    }
}

/// One question to one tracker.
#[derive(Debug)]
pub(crate) struct Call {
    asks: VecDeque<Ask>,
    deadline: Instant,
}

impl Call {
    pub(crate) fn new(
        url: TrackerUrl,
        question: Question,
        family: Option<Family>,
        now: Instant,
        conf: &Conf,
        rng: &mut Rng,
    ) -> Self {
        let _ = (url, question, family, conf, rng);
        Self { asks: VecDeque::new(), deadline: now + Duration::from_secs(30) }
    }

    /// Ends by `deadline` instead, if that is sooner: a farewell must not hold up the end of a session.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = self.deadline.min(deadline);
    }

    /// A UDP tracker's connection id from an earlier call. To be told before anything else.
    pub(crate) fn set_connection(&mut self, known: Connection) {
        let _ = known;
    }

    /// The connection id that this call got, for the next one.
    pub(crate) fn connection(&self) -> Option<Connection> {
        None
    }

    /// The resolver answered.
    pub(crate) fn handle_resolved(&mut self, now: Instant, result: Result<Vec<IpAddr>, String>) {
        let _ = (now, result);
    }

    /// The stream is up, and TLS if it was wanted.
    pub(crate) fn handle_connected(&mut self, now: Instant) {
        let _ = now;
    }

    /// Bytes came on the stream.
    pub(crate) fn handle_data(&mut self, now: Instant, data: &[u8]) {
        let _ = (now, data);
    }

    /// The first `bytes` of what [`Self::poll_transmit`] returned are gone.
    pub(crate) fn handle_sent(&mut self, now: Instant, bytes: usize) {
        let _ = (now, bytes);
    }

    /// The stream could not be made, or ended: `Ok` if the other side closed it properly. Of a UDP call: a datagram could not be sent.
    pub(crate) fn handle_stream_ended(&mut self, now: Instant, why: Result<(), String>) {
        let _ = (now, why);
    }

    /// A datagram came; true if it was for this call.
    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) -> bool {
        let _ = (now, from, data);
        false
    }

    /// Time went by.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When to call [`Self::handle_timeout`]; `None` once it is done.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        Some(self.deadline)
    }

    /// What goes out on the stream next.
    #[must_use]
    pub(crate) fn poll_transmit(&self) -> &[u8] {
        &[]
    }

    /// What the owner must do next.
    #[must_use]
    pub(crate) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }
}
