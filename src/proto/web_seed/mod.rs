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

use std::{collections::VecDeque, time::Duration};

use super::http::{Exchange, Head, NOT_LET_IN, PROXY_REFUSES, Part, Range, Request, guard::Reach};
use crate::{
    base::{target::Target, time::Instant},
    conf::{Conf, ProxyKind, ProxyServer, Traffic},
    wire::{tracker::Scheme, web_seed::FileUrl},
};

pub(crate) use error::FetchError;

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
    /// Where redirects have led that a request followed.
    learned: Option<FilePlace>,
    /// When it has taken too long, or was idle for long enough.
    deadline: Option<Instant>,
    /// Since when the owner does not read what comes.
    held: Option<Instant>,
}

/// What of [`Conf`] concerns a connection.
#[derive(Debug)]
struct Bounds {
    timeout: Duration,
    keep_alive: Duration,
    redirects: u32,
    mitigate: bool,
    user_agent: String,
    /// The one that the server is asked through: it looks names up.
    proxy: Option<ProxyServer>,
}

/// The request that is being answered.
#[derive(Debug)]
struct Running {
    what: FileRequest,
    redirects: u32,
    /// Bytes that have come.
    got: u64,
    /// It was made anew since the server had closed a connection that was kept.
    again: bool,
    /// When it was last looked at how fast it is, and how much had come then; not while it is held.
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
                mitigate: conf.trackers.ssrf_mitigation,
                user_agent: conf.trackers.user_agent.clone(),
                proxy: conf.proxy.server_for(Traffic::WebSeeds).cloned(),
            },
            state: State::Closed,
            asks: VecDeque::new(),
            addrs: VecDeque::new(),
            request: None,
            learned: None,
            deadline: None,
            held: None,
        }
    }

    // The owner's verbs.

    /// Fetches a part of a file; nothing else may be under way. Returns how that ended, if it did
    /// at once.
    pub(crate) fn fetch(&mut self, now: Instant, what: FileRequest) -> Option<End> {
        (self.held, self.learned) = (None, None);
        self.request = Some(Running { what, redirects: 0, got: 0, again: false, looked: (now, 0) });
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
        self.learned.take()
    }

    /// Whether a request is under way.
    #[cfg(test)]
    pub(crate) fn is_busy(&self) -> bool {
        self.request.is_some()
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
        loop {
            let State::Up { exchange, .. } = &mut self.state else { return None };
            let (Some(exchange), Some(running)) = (exchange, &mut self.request) else {
                // Nothing was asked for that this could answer.
                self.close();
                return None;
            };
            let part = match exchange.handle_data(&mut input) {
                Ok(part) => part,
                Err(e) => {
                    // What a response says of itself says more than what is wrong with its body.
                    let refused = exchange.head().map(|head| check_head(head, &running.what));
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
                    if let Err(e) = check_head(&head, &running.what) {
                        return Some(self.end(Err(e)));
                    }
                    if running.redirects > 0 {
                        self.learned = Some(running.what.place.clone());
                    }
                }
                Some(Part::Body(bytes)) => {
                    running.got = running.got.saturating_add(bytes.len() as u64);
                    take(bytes);
                    if running.got >= running.what.len {
                        let keeps = exchange.is_reusable() && input.is_empty();
                        return Some(self.finish(now, keeps));
                    }
                }
                Some(Part::End) => {
                    let missing = running.what.len.saturating_sub(running.got);
                    return Some(self.end(Err(FetchError::Short(missing))));
                }
            }
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
                running.looked = (now, running.got);
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
        let FileRequest { place, first, len, .. } = &running.what;
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
        *exchange = Some(Box::new(Exchange::new(&request, *len)));
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
        running.looked = (now, running.got);
        (running.got - before < SLOW).then_some(FetchError::TooSlow)
    }
}

/// Whether a response is what was asked for.
fn check_head(head: &Head, what: &FileRequest) -> Result<(), FetchError> {
    let is_whole = what.first == 0 && what.len == what.file_len;
    match head.status {
        // That the range is the one that was asked for is seen to by the exchange.
        206 => Ok(()),
        200 if !is_whole => Err(FetchError::NoRanges),
        200 => match head.length.filter(|&len| len != what.file_len) {
            Some(len) => Err(FetchError::Length(len)),
            None => Ok(()),
        },
        status => Err(FetchError::Status { status, retry_after: head.retry_after }),
    }
}
