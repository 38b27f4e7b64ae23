//! One connection with a web server, and requests for parts of files on it, one after the other
//! (BEP 19): names, addresses tried in turn, redirects, time. It is kept from one request to the
//! next where the server lets it.
//!
//! It knows neither the torrent nor what comes next; bytes are handed on as they come.

mod error;
mod places;
#[doc(hidden)]
pub mod probe;
#[cfg(test)]
mod tests;
mod whole;

use std::{collections::VecDeque, time::Duration};

use super::http::{Exchange, Head, NOT_LET_IN, PROXY_REFUSES, Part, Range, Request, guard::Reach};
use crate::{
    base::{target::Target, time::Instant},
    conf::{Conf, ProxyKind, ProxyServer, Traffic},
    wire::{tracker::Scheme, web_seed::FileUrl},
};

pub(crate) use error::FetchError;
use whole::Rest;

/// Fewer bytes within [`SLOW_TIME`] are no use, and keep memory and a connection from others.
const SLOW: u64 = 16 * 1024;
const SLOW_TIME: Duration = Duration::from_secs(60);

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRequest {
    pub(crate) place: FilePlace,
    /// The first byte within the file, and how many: at least one.
    pub(crate) first: u64,
    pub(crate) len: u64,
    /// Bytes of the file.
    pub(crate) file_len: u64,
}

/// Where a file is, and the farthest that redirects to there came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePlace {
    pub(crate) url: FileUrl,
    pub(crate) from: Option<Reach>,
}

/// What the owner must do for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Look the name up; [`WebConnection::handle_resolved`] takes the answer.
    Resolve { host: String },
    /// Connect a stream, in place of any earlier one, of which nothing more must be told.
    Connect {
        to: Target,
        /// With TLS, to a server of this name or address.
        tls: Option<String>,
        /// The proxy is asked itself, and asks the server.
        forwarded: bool,
    },
    /// [`WebConnection::poll_transmit`] has bytes for the stream.
    Flush,
    /// The stream may be read again.
    Resume,
    /// The stream is not needed any more.
    Close,
}

/// How a request ended.
pub(crate) type End = Result<(), FetchError>;

/// See the module.
#[derive(Debug)]
pub(crate) struct WebConnection {
    bounds: Bounds,
    state: State,
    asks: VecDeque<Ask>,
    /// Those not tried yet.
    addrs: VecDeque<Target>,
    request: Option<Running>,
    /// When it has taken too long, or was idle for long enough.
    deadline: Option<Instant>,
    /// Since when the owner does not read what comes.
    held: Option<Instant>,
    server: Server,
}

/// What is known of the server, and what it has sent ahead, if it sends whole files.
#[derive(Debug, Default)]
struct Server {
    /// Where redirects have led that the last request followed.
    place: Option<FilePlace>,
    /// The body that goes on behind the last request.
    rest: Option<Rest>,
    /// What has come of it for the request under way.
    ahead: Vec<u8>,
    /// Bytes that were passed over.
    skipped: u64,
    /// It has sent a whole file in place of a part.
    sends_whole: bool,
}

/// What of [`Conf`] concerns a connection.
#[derive(Debug)]
struct Bounds {
    timeout: Duration,
    keep_alive: Duration,
    redirects: u32,
    mitigate: bool,
    skip: u64,
    user_agent: String,
    /// The one that the server is asked through: it looks names up.
    proxy: Option<ProxyServer>,
}

/// The request that is being answered.
#[derive(Debug)]
struct Running {
    what: FileRequest,
    redirects: u32,
    /// Bytes that have come of what was asked for.
    got: u64,
    /// It was made anew since the server had closed a connection that was kept.
    again: bool,
    /// Where in the file the next byte of the body is.
    pos: u64,
    /// The body is the whole file, and not what was asked for.
    is_whole: bool,
    /// When it was last looked at how fast it is, and where it was then; not while it is held.
    looked: (Instant, u64),
}

#[derive(Debug)]
enum State {
    Closed,
    Resolving,
    /// `told`: the owner knows of the stream that was asked for last; what it tells before that is
    /// of an earlier one.
    Connecting {
        to: Target,
        told: bool,
    },
    /// Connected with a server, with this request or none.
    Up {
        at: Target,
        origin: FileUrl,
        exchange: Option<Box<Exchange>>,
        used: bool,
    },
}

impl WebConnection {
    pub(crate) fn new(conf: &Conf) -> Self {
        Self {
            bounds: Bounds {
                timeout: conf.web_seeds.timeout,
                keep_alive: conf.web_seeds.keep_alive,
                redirects: conf.web_seeds.max_redirects,
                skip: conf.web_seeds.max_skip,
                mitigate: conf.trackers.ssrf_mitigation,
                user_agent: conf.trackers.user_agent.clone(),
                proxy: conf.proxy.server_for(Traffic::WebSeeds).cloned(),
            },
            state: State::Closed,
            asks: VecDeque::new(),
            addrs: VecDeque::new(),
            request: None,
            deadline: None,
            held: None,
            server: Server::default(),
        }
    }

    // The owner's verbs.

    /// Fetches a part of a file; nothing else may be under way. Returns how that ended, if it did
    /// at once.
    pub(crate) fn fetch(&mut self, now: Instant, what: FileRequest) -> Option<End> {
        (self.held, self.server.place) = (None, None);
        if let Some(rest) = self.server.rest.take() {
            if rest.leads_to(&what, self.bounds.skip) {
                let (running, ahead) = rest.go_on(now, what);
                (self.request, self.server.ahead) = (Some(running), ahead);
                self.deadline = Some(now + self.bounds.timeout);
                self.asks.push_back(Ask::Resume);
                return None;
            }
            self.close();
        }
        let pos = what.first;
        let (again, is_whole, looked) = (false, false, (now, pos));
        self.request = Some(Running { what, redirects: 0, got: 0, again, pos, is_whole, looked });
        self.begin(now)
    }

    /// Gives up what is under way, and the connection.
    pub(crate) fn stop(&mut self) {
        self.request = None;
        self.close();
    }

    // Getters.

    /// Whether there is a connection, or one is being made.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// Where redirects have led that the last request followed, if that is news.
    pub(crate) fn take_place(&mut self) -> Option<FilePlace> {
        self.server.place.take()
    }

    /// Whether a request is under way.
    #[cfg(test)]
    pub(crate) fn is_busy(&self) -> bool {
        self.request.is_some()
    }

    /// Whether the server has sent a whole file where a part was asked for.
    pub(crate) fn sends_whole(&self) -> bool {
        self.server.sends_whole
    }

    /// Whether something has come for the request under way before it was made: to be handed on by
    /// [`handle_data`](Self::handle_data), without more data.
    pub(crate) fn has_ahead(&self) -> bool {
        !self.server.ahead.is_empty()
    }

    /// Whether the stream is not to be read until [`Ask::Resume`].
    pub(crate) fn is_full(&self) -> bool {
        self.server.rest.as_ref().is_some_and(Rest::is_enough)
    }

    /// Bytes that came and were passed over since this was last asked.
    pub(crate) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.server.skipped)
    }

    // Inputs.

    /// The stream is up, and TLS if it was wanted.
    pub(crate) fn handle_connected(&mut self, now: Instant) {
        let (State::Connecting { to, told: true }, Some(running)) = (&self.state, &self.request)
        else {
            return;
        };
        let at = to.clone();
        let origin = running.what.place.url.clone();
        self.state = State::Up { at, origin, exchange: None, used: false };
        self.addrs.clear();
        self.say(now);
    }

    /// Bytes came on the stream: what of them is of the file goes to `take`. Returns how the
    /// request ended, if it did.
    pub(crate) fn handle_data(
        &mut self,
        now: Instant,
        data: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Option<End> {
        let mut input = data;
        let forwards = self.forwards();
        if let Some(end) = self.take_ahead(now, &mut take) {
            self.read_ahead(&mut input);
            return Some(end);
        }
        loop {
            let State::Up { exchange, .. } = &mut self.state else { return None };
            let (Some(exchange), Some(running)) = (exchange, &mut self.request) else {
                // If nothing was asked for that this could answer, the connection is over.
                self.read_ahead(&mut input);
                return None;
            };
            let part = match exchange.handle_data(&mut input) {
                Ok(part) => part,
                Err(e) => {
                    // What a response says of itself says more than what is wrong with its body.
                    let refused =
                        exchange.head().map(|head| check_head(head, &running.what, u64::MAX));
                    let e = refused.and_then(Result::err).unwrap_or(FetchError::Http(e));
                    return Some(self.end(Err(e)));
                }
            };
            match part {
                None => {
                    self.deadline = Some(now + self.bounds.timeout);
                    return self.check_pace(now).map(|e| self.end(Err(e)));
                }
                Some(Part::Head(head)) => {
                    let head = head.clone();
                    if let Some(location) = &head.location {
                        match self.follow(location) {
                            Ok(place) => {
                                self.close();
                                if let Some(running) = &mut self.request {
                                    running.what.place = place;
                                }
                                return self.begin(now);
                            }
                            Err(e) => return Some(self.end(Err(e))),
                        }
                    }
                    if head.status == PROXY_REFUSES && forwards {
                        return Some(self.end(Err(FetchError::Proxy(NOT_LET_IN.into()))));
                    }
                    if let Err(e) = check_head(&head, &running.what, self.bounds.skip) {
                        return Some(self.end(Err(e)));
                    }
                    if head.status == 200 && !running.what.is_whole() {
                        (running.is_whole, running.pos, running.looked) = (true, 0, (now, 0));
                        self.server.sends_whole = true;
                    }
                    if running.redirects > 0 {
                        self.server.place = Some(running.what.place.clone());
                    }
                }
                Some(Part::Body(bytes)) => {
                    let (skipped, behind) = running.absorb(bytes, &mut take);
                    self.server.skipped = self.server.skipped.saturating_add(skipped);
                    let Some(behind) = behind else { continue };
                    if running.is_whole && running.pos < running.what.file_len {
                        let behind = bytes.get(bytes.len() - behind..).unwrap_or_default();
                        let rest = self.request.take().map(|over| Rest::of(over, behind));
                        self.server.rest = rest;
                        self.deadline = Some(now + self.bounds.keep_alive);
                        self.read_ahead(&mut input);
                        return Some(Ok(()));
                    }
                    let keeps = exchange.is_reusable() && input.is_empty();
                    return Some(self.finish(now, keeps));
                }
                Some(Part::End) => {
                    let missing = running.what.len.saturating_sub(running.got);
                    return Some(self.end(Err(FetchError::Short(missing))));
                }
            }
        }
    }

    /// What has come ahead is of the request under way. Returns how that ended, if it did.
    fn take_ahead(&mut self, now: Instant, take: impl FnMut(&[u8])) -> Option<End> {
        let ahead = std::mem::take(&mut self.server.ahead);
        let running = self.request.as_mut().filter(|_| !ahead.is_empty())?;
        let (skipped, behind) = running.absorb(&ahead, take);
        self.server.skipped = self.server.skipped.saturating_add(skipped);
        let behind = ahead.get(ahead.len() - behind?..).unwrap_or_default();
        if running.pos < running.what.file_len {
            self.server.rest = self.request.take().map(|over| Rest::of(over, behind));
            self.deadline = Some(now + self.bounds.keep_alive);
            return Some(Ok(()));
        }
        // The end of the body may still be to come.
        Some(self.finish(now, false))
    }

    /// What goes on behind the last request is kept, if it does and is not too much; else the
    /// connection is over.
    fn read_ahead(&mut self, input: &mut &[u8]) {
        while let (State::Up { exchange: Some(exchange), .. }, Some(rest)) =
            (&mut self.state, &mut self.server.rest)
        {
            match exchange.handle_data(input) {
                Ok(None | Some(Part::End)) => return,
                Ok(Some(Part::Body(bytes))) if rest.add(bytes) => {}
                _ => break,
            }
        }
        if !input.is_empty() || self.server.rest.is_some() {
            self.close();
        }
    }

    /// The first `bytes` of what [`Self::poll_transmit`] returned are gone.
    pub(crate) fn handle_sent(&mut self, bytes: usize) {
        if let State::Up { exchange: Some(exchange), .. } = &mut self.state {
            exchange.handle_sent(bytes);
        }
    }

    /// The stream could not be made, or ended: `Ok` if the other side closed it properly. Returns
    /// how the request ended, if it did.
    pub(crate) fn handle_closed(&mut self, now: Instant, why: Result<(), String>) -> Option<End> {
        match &mut self.state {
            State::Closed | State::Resolving | State::Connecting { told: false, .. } => None,
            State::Connecting { .. } => {
                let why = why.err().unwrap_or_else(|| "it was closed at once".into());
                self.try_next(now, FetchError::Connect(why))
            }
            State::Up { exchange, used, .. } => {
                // Servers close connections that were idle, which crosses with our request.
                let silent = exchange.as_ref().is_none_or(|exchange| exchange.is_unanswered());
                let stale = *used && silent;
                self.state = State::Closed;
                self.deadline = None;
                self.server.rest = None;
                let running = self.request.as_mut()?;
                if stale && !std::mem::replace(&mut running.again, true) {
                    return self.begin(now);
                }
                let missing = running.what.len.saturating_sub(running.got);
                let e = match why {
                    Ok(()) if running.got > 0 => FetchError::Short(missing),
                    Ok(()) => FetchError::Stream("it was closed without an answer".into()),
                    Err(why) => FetchError::Stream(why),
                };
                Some(self.end(Err(e)))
            }
        }
    }

    /// The owner does not read for now.
    pub(crate) fn handle_held(&mut self, now: Instant) {
        self.held.get_or_insert(now);
    }

    /// It reads on.
    pub(crate) fn handle_resumed(&mut self, now: Instant) {
        if self.held.take().is_some() && self.request.is_some() {
            self.deadline = Some(now + self.bounds.timeout);
            if let Some(running) = &mut self.request {
                running.looked = (now, running.pos);
            }
        }
    }

    /// The proxy that the server is asked through has failed. Returns how the request ended, if it
    /// did.
    pub(crate) fn handle_proxy_failed(&mut self, why: String) -> Option<End> {
        let is_over = self.request.is_none();
        let end = self.end(Err(FetchError::Proxy(why)));
        (!is_over).then_some(end)
    }

    /// Time went by. Returns how the request ended, if it did.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<End> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return None;
        }
        self.deadline = None;
        if self.request.is_none() {
            self.close();
            return None;
        }
        if matches!(self.state, State::Connecting { .. }) && !self.addrs.is_empty() {
            self.asks.push_back(Ask::Close);
            return self.try_next(now, FetchError::Timeout);
        }
        Some(self.end(Err(FetchError::Timeout)))
    }

    // Outputs.

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.held.is_none())
    }

    /// What goes out on the stream next.
    #[must_use]
    pub(crate) fn poll_transmit(&self) -> &[u8] {
        match &self.state {
            State::Up { exchange: Some(exchange), .. } => exchange.poll_transmit(),
            _ => &[],
        }
    }

    /// What the owner must do next.
    #[must_use]
    pub(crate) fn poll_ask(&mut self) -> Option<Ask> {
        let ask = self.asks.pop_front();
        if let (State::Connecting { told, .. }, Some(Ask::Connect { .. })) = (&mut self.state, &ask)
        {
            *told = true;
        }
        ask
    }

    /// Whether the proxy is not asked for a way to the server, but to ask the server.
    fn forwards(&self) -> bool {
        let kind = self.bounds.proxy.as_ref().map(ProxyServer::kind);
        let scheme = self.request.as_ref().map(|running| running.what.place.url.url().scheme());
        kind == Some(ProxyKind::Http) && scheme == Some(Scheme::Http)
    }

    /// Sends the request.
    fn say(&mut self, now: Instant) {
        let forwards = self.forwards();
        let (State::Up { exchange, .. }, Some(running)) = (&mut self.state, &self.request) else {
            return;
        };
        let FileRequest { place, first, len, file_len } = &running.what;
        let url = place.url.url();
        let last = first.saturating_add(*len).saturating_sub(1);
        let request = Request {
            authority: &url.authority(),
            target: &url.target(),
            credentials: url.credentials(),
            user_agent: &self.bounds.user_agent,
            range: Some(Range { first: *first, last }),
            keep_alive: true,
            forwarder: self.bounds.proxy.as_ref().filter(|_| forwards),
            post: None,
        };
        *exchange = Some(Box::new(Exchange::new(&request, *len).or_whole(*file_len)));
        self.deadline = Some(now + self.bounds.timeout);
        self.asks.push_back(Ask::Flush);
    }

    /// All that was asked for has come.
    fn finish(&mut self, now: Instant, keeps: bool) -> End {
        self.request = None;
        match &mut self.state {
            State::Up { exchange, used, .. } if keeps => {
                (*exchange, *used) = (None, true);
                self.deadline = Some(now + self.bounds.keep_alive);
            }
            _ => self.close(),
        }
        Ok(())
    }

    /// The request is over, and the connection with it.
    fn end(&mut self, end: End) -> End {
        self.request = None;
        self.close();
        end
    }

    fn close(&mut self) {
        if matches!(self.state, State::Connecting { .. } | State::Up { .. }) {
            self.asks.push_back(Ask::Close);
        }
        self.state = State::Closed;
        (self.server.rest, self.server.ahead) = (None, Vec::new());
        self.addrs.clear();
        self.deadline = None;
        self.held = None;
    }

    /// Whether too little comes.
    fn check_pace(&mut self, now: Instant) -> Option<FetchError> {
        let running = self.request.as_mut()?;
        let (since, before) = running.looked;
        if now < since + SLOW_TIME {
            return None;
        }
        running.looked = (now, running.pos);
        (running.pos.saturating_sub(before) < SLOW).then_some(FetchError::TooSlow)
    }
}

impl FileRequest {
    /// Whether it is for all of the file.
    fn is_whole(&self) -> bool {
        self.first == 0 && self.len == self.file_len
    }
}

/// Whether a response is what was asked for, or the whole file and that is not more than `skip`
/// bytes before it.
fn check_head(head: &Head, what: &FileRequest, skip: u64) -> Result<(), FetchError> {
    match head.status {
        // That the range is the one that was asked for is seen to by the exchange.
        206 => match head.part.and_then(|(_, whole)| whole).filter(|&len| len != what.file_len) {
            Some(len) => Err(FetchError::Length(len)),
            None => Ok(()),
        },
        200 if what.first > skip => Err(FetchError::NoRanges),
        200 => match head.length.filter(|&len| len != what.file_len) {
            Some(len) => Err(FetchError::Length(len)),
            None => Ok(()),
        },
        status => Err(FetchError::Status { status, retry_after: head.retry_after() }),
    }
}
