//! One question to one tracker, all the way to its answer: streams or datagrams, redirects, time.
//!
//! It knows neither the torrent's other trackers nor when to ask again.

use std::{collections::VecDeque, net::IpAddr};

use super::{
    Answer, Ask, CallError, Connection, Family, Question,
    places::{Found, Places, Rules},
    udp::{Asked, Exchange, News},
};
use crate::{
    base::{rng::Rng, target::Target, time::Instant},
    conf::{Conf, Traffic},
    proto::http::{Get, NOT_LET_IN, PROXY_REFUSES, Request, Response},
    wire::tracker::{Announce, MAX_SCRAPE, ReplyError, Scheme, TrackerUrl, http},
};

/// One question to one tracker.
#[derive(Debug)]
pub(crate) struct Call {
    places: Places,
    question: Question,
    bounds: Bounds,
    rng: Rng,
    deadline: Instant,
    /// When the address that is tried makes room for the next; once it has shown life, it need
    /// not.
    share_ends: Option<Instant>,
    state: State,
    asks: VecDeque<Ask>,
    known: Option<Connection>,
    learned: Option<Connection>,
    /// The owner knows of the stream that was asked for last; what it tells before that is of an
    /// earlier one.
    dialled: bool,
    /// A tracker may have got the question.
    told: bool,
}

/// What of [`Conf`] concerns a call.
#[derive(Debug)]
struct Bounds {
    reply: usize,
    peers: usize,
    user_agent: String,
}

#[derive(Debug)]
enum State {
    /// It begins when it is first polled, so that everything can be told before.
    New(Instant),
    Resolving,
    Connecting(Target),
    Talking(Target, Box<Get>),
    Datagrams(Exchange),
    Done,
}

impl Call {
    /// Begins to ask. `url` is that of announces or, for a scrape, that of either; of `question`'s
    /// torrents only the first [`MAX_SCRAPE`] are asked about. Without a `family` any address
    /// will do.
    pub(crate) fn new(
        url: TrackerUrl,
        question: Question,
        family: Option<Family>,
        now: Instant,
        conf: &Conf,
        rng: &mut Rng,
    ) -> Self {
        let question = match question {
            Question::Scrape(hashes) => {
                Question::Scrape(hashes.into_iter().take(MAX_SCRAPE).collect())
            }
            announce => announce,
        };
        let rules = Rules {
            family,
            is_scrape: matches!(question, Question::Scrape(_)),
            mitigate: conf.trackers.ssrf_mitigation,
            max_redirects: conf.trackers.max_redirects,
            proxy: conf.proxy.server_for(Traffic::Trackers).cloned(),
        };
        Self {
            places: Places::new(url, rules),
            question,
            bounds: Bounds {
                reply: conf.trackers.max_reply,
                peers: conf.trackers.max_peers,
                user_agent: conf.trackers.user_agent.clone(),
            },
            rng: Rng::new(rng.next_u64()),
            deadline: now + conf.trackers.timeout,
            share_ends: None,
            state: State::New(now),
            asks: VecDeque::new(),
            known: None,
            learned: None,
            dialled: false,
            told: false,
        }
    }

    /// Ends by `deadline` instead, if that is sooner: a farewell must not hold up the end of a
    /// session.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = self.deadline.min(deadline);
    }

    /// A tracker's words without the secrets of its address and of where it redirected to.
    pub(crate) fn redacted(&self, asked: &TrackerUrl, text: &str) -> String {
        self.places.url().redacted(&asked.redacted(text))
    }

    /// True once the question has left: the tracker may have heard it, whatever comes of the call.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    /// The announce that is said, if it is one.
    pub(crate) fn announce(&self) -> Option<&Announce> {
        match &self.question {
            Question::Announce(announce) => Some(announce),
            Question::Scrape(_) => None,
        }
    }

    /// A UDP tracker's connection id from an earlier call. To be told before anything else.
    pub(crate) fn set_connection(&mut self, known: Connection) {
        self.known = Some(known);
    }

    /// The connection id that this call got, or found good, for the next one; `None` if one that
    /// was known is good no more. To be asked once it is done.
    pub(crate) fn connection(&self) -> Option<Connection> {
        self.learned.clone()
    }

    /// The resolver answered.
    pub(crate) fn handle_resolved(&mut self, now: Instant, result: Result<Vec<IpAddr>, String>) {
        if matches!(self.state, State::Resolving) {
            match result {
                Ok(ips) => {
                    let known = self.known.as_ref().map(|known| &known.to);
                    match self.places.set_addresses(ips, known) {
                        Ok(()) => self.try_next(now, CallError::NoAddress),
                        Err(failure) => self.finish(Err(failure)),
                    }
                }
                Err(why) => self.finish(Err(CallError::Resolve(why))),
            }
        }
    }

    /// The stream is up, and TLS if it was wanted.
    pub(crate) fn handle_connected(&mut self, _now: Instant) {
        let (State::Connecting(to), true) = (&self.state, self.dialled) else { return };
        let to = to.clone();
        let url = self.places.url();
        let target = match &self.question {
            // A redirect says itself all that is to be asked for.
            _ if self.places.is_redirected() => url.target(),
            Question::Announce(announce) => http::announce_target(url, announce),
            Question::Scrape(hashes) => http::scrape_target(url, hashes),
        };
        let request = Request {
            authority: &url.authority(),
            target: &target,
            credentials: url.credentials(),
            user_agent: &self.bounds.user_agent,
            range: None,
            keep_alive: false,
            forwarder: self.places.forwarder(),
            post: None,
        };
        self.state = State::Talking(to, Box::new(Get::new(&request, self.bounds.reply)));
        self.asks.push_back(Ask::Flush);
    }

    /// Bytes came on the stream.
    pub(crate) fn handle_data(&mut self, now: Instant, data: &[u8]) {
        let State::Talking(to, get) = &mut self.state else { return };
        if data.is_empty() {
            return;
        }
        self.share_ends = None;
        match get.handle_data(data) {
            Ok(None) => {}
            Ok(Some(response)) => {
                let to = to.clone();
                self.handle_response(now, to, response)
            }
            Err(e) => {
                let e = failure(get.status(), CallError::Http(e));
                self.finish(Err(e));
            }
        }
    }

    /// The first `bytes` of what [`Self::poll_transmit`] returned are gone.
    pub(crate) fn handle_sent(&mut self, _now: Instant, bytes: usize) {
        if let State::Talking(_, get) = &mut self.state {
            self.told |= bytes > 0;
            get.handle_sent(bytes);
        }
    }

    /// The stream could not be made, or ended: `Ok` if the other side closed it properly. Of a UDP
    /// call: a datagram could not be sent.
    pub(crate) fn handle_stream_ended(&mut self, now: Instant, why: Result<(), String>) {
        match &mut self.state {
            State::Connecting(_) if !self.dialled => {}
            State::Connecting(_) | State::Datagrams(_) => {
                let why = why.err().unwrap_or_else(|| "it was closed at once".into());
                self.try_next(now, CallError::Connect(why));
            }
            State::Talking(to, get) => {
                let to = to.clone();
                let ended = why
                    .map_err(CallError::Stream)
                    .and_then(|()| get.handle_end().map_err(CallError::Http));
                match ended {
                    Ok(response) => self.handle_response(now, to, response),
                    Err(e) => {
                        let e = failure(get.status(), e);
                        self.try_next(now, e);
                    }
                }
            }
            State::New(_) | State::Resolving | State::Done => {}
        }
    }

    /// The proxy that the tracker is asked through has failed.
    pub(crate) fn handle_proxy_failed(&mut self, why: String) {
        if !matches!(self.state, State::Done) {
            self.finish(Err(CallError::Proxy(why)));
        }
    }

    /// A datagram came; true if it was for this call. What is not, as its sender or transaction
    /// shows, changes nothing.
    pub(crate) fn handle_datagram(&mut self, now: Instant, from: &Target, data: &[u8]) -> bool {
        let State::Datagrams(exchange) = &mut self.state else { return false };
        let to = exchange.to().clone();
        let asked = Asked { question: &self.question, url: self.places.url() };
        let news =
            exchange.handle_datagram(now, from, data, self.bounds.peers, &mut self.rng, &asked);
        self.learned = exchange.connection();
        self.told |= exchange.is_asking();
        match news {
            News::Foreign => return false,
            News::Send(data) => {
                self.share_ends = None;
                self.asks.push_back(Ask::Datagram { to, data });
            }
            News::Answer(answer) => {
                self.finish(answer.map(|answer| (answer, from.ip())).map_err(CallError::Reply))
            }
        }
        true
    }

    /// Time went by.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, State::Done) {
            return;
        }
        if now >= self.deadline {
            return self.finish(Err(CallError::Timeout));
        }
        if self.share_ends.is_some_and(|at| now >= at) {
            return self.try_next(now, CallError::Timeout);
        }
        if let State::Datagrams(exchange) = &mut self.state {
            let asked = Asked { question: &self.question, url: self.places.url() };
            if let Some(data) = exchange.handle_timeout(now, &mut self.rng, &asked) {
                self.told |= exchange.is_asking();
                self.asks.push_back(Ask::Datagram { to: exchange.to().clone(), data });
            }
        }
    }

    /// When to call [`Self::handle_timeout`]; `None` once it is done.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let repeat = match &self.state {
            State::Done => return None,
            State::Datagrams(exchange) => Some(exchange.repeat_at()),
            _ => None,
        };
        [Some(self.deadline), self.share_ends, repeat].into_iter().flatten().min()
    }

    /// What goes out on the stream next.
    #[must_use]
    pub(crate) fn poll_transmit(&self) -> &[u8] {
        match &self.state {
            State::Talking(_, get) => get.poll_transmit(),
            _ => &[],
        }
    }

    /// What the owner must do next.
    #[must_use]
    pub(crate) fn poll_ask(&mut self) -> Option<Ask> {
        if let State::New(now) = self.state {
            self.begin(now);
        }
        let ask = self.asks.pop_front();
        self.dialled |= matches!(ask, Some(Ask::Connect { .. }));
        ask
    }

    fn begin(&mut self, now: Instant) {
        match self.places.turn_to_scrape() {
            Ok(()) => self.find(now),
            Err(e) => self.finish(Err(e)),
        }
    }

    /// Finds the addresses of where the tracker is asked now.
    fn find(&mut self, now: Instant) {
        self.share_ends = None;
        self.state = State::Resolving;
        let known = self.known.as_ref().map(|known| &known.to);
        match self.places.find(known) {
            Ok(Found::Addresses) => self.try_next(now, CallError::NoAddress),
            Ok(Found::Name(host)) => self.asks.push_back(Ask::Resolve { host }),
            Err(e) => self.finish(Err(e)),
        }
    }

    /// The address tried last has failed with `failure`; the next one gets its share of the time.
    fn try_next(&mut self, now: Instant, failure: CallError) {
        let Some((to, shares)) = self.places.next() else { return self.finish(Err(failure)) };
        self.share_ends = (shares > 1).then(|| now + self.deadline.since(now) / shares);
        if self.places.url().scheme() == Scheme::Udp {
            let asked = Asked { question: &self.question, url: self.places.url() };
            let patience = self.deadline.since(now);
            let (exchange, data) =
                Exchange::new(to.clone(), self.known.clone(), now, patience, &mut self.rng, &asked);
            self.told |= exchange.is_asking();
            self.state = State::Datagrams(exchange);
            self.asks.push_back(Ask::Datagram { to, data });
        } else {
            self.state = State::Connecting(to.clone());
            self.dialled = false;
            let forwarded = self.places.forwarder().is_some();
            self.asks.push_back(Ask::Connect { to, tls: self.places.tls_name(), forwarded });
        }
    }

    fn handle_response(&mut self, now: Instant, from: Target, response: Response) {
        if response.status == PROXY_REFUSES && self.places.forwarder().is_some() {
            return self.finish(Err(CallError::Proxy(NOT_LET_IN.into())));
        }
        if let Some(location) = response.location {
            return match self.places.follow(&from, &location) {
                Ok(()) => {
                    self.asks.push_back(Ask::Close);
                    self.find(now);
                }
                Err(e) => self.finish(Err(e)),
            };
        }
        let answer = match &self.question {
            Question::Announce(_) => {
                http::announce_reply(&response.body, self.bounds.peers).map(Answer::Announce)
            }
            Question::Scrape(hashes) => {
                http::scrape_reply(&response.body, hashes).map(Answer::Scrape)
            }
        };
        let answer = match (response.status, answer) {
            (200..300, Ok(answer)) => Ok((answer, from.ip())),
            // Some trackers say why with any status.
            (200..300, Err(e)) | (_, Err(e @ ReplyError::Failure { .. })) => {
                Err(CallError::Reply(e))
            }
            (status, _) => Err(CallError::Status(status)),
        };
        self.finish(answer);
    }

    fn finish(&mut self, result: Result<(Answer, Option<IpAddr>), CallError>) {
        if matches!(self.state, State::Connecting(_) | State::Talking(..)) {
            self.asks.push_back(Ask::Close);
        }
        self.state = State::Done;
        self.asks.push_back(Ask::Done(result));
    }
}

/// Of a response that was no success anyway, its status says more than what was wrong with its
/// body.
fn failure(status: Option<u16>, e: CallError) -> CallError {
    match status {
        Some(status) if !(200..300).contains(&status) => CallError::Status(status),
        _ => e,
    }
}
