//! Where a call goes: the addresses of a name, tried in turn, each with its share of the time, and
//! the places that redirects lead to. It does not read answers.

use std::net::{IpAddr, SocketAddr};

use super::{
    Ask, Call, CallError, Family, MAX_ADDRESSES, Question, State,
    udp::{self, Exchange},
};
use crate::{
    base::{target::Target, time::Instant},
    conf::ProxyKind,
    proto::http::guard,
    wire::tracker::{Scheme, TrackerUrl, UrlError, url::Host},
};

impl Call {
    pub(super) fn begin(&mut self, now: Instant) {
        if matches!(self.question, Question::Scrape(_)) && !self.url.is_scrape() {
            match self.url.scrape() {
                Some(url) => self.url = url,
                None => return self.finish(Err(CallError::NoScrape)),
            }
        }
        self.find(now);
    }

    /// Whether the proxy is not asked for a way to the tracker, but to ask the tracker.
    pub(super) fn is_forwarded(&self) -> bool {
        let kind = self.bounds.proxy.as_ref().map(|proxy| proxy.kind());
        kind == Some(ProxyKind::Http) && self.url.scheme() == Scheme::Http
    }

    /// Finds the addresses of [`Self::url`].
    pub(super) fn find(&mut self, now: Instant) {
        self.share_ends = None;
        self.state = State::Resolving;
        let proxy = self.bounds.proxy.as_ref();
        if self.url.scheme() == Scheme::Udp && proxy.is_some_and(|p| !p.may_carry_datagrams()) {
            let why = "the tracker is asked by UDP, which the proxy cannot carry";
            return self.finish(Err(CallError::Proxy(why.into())));
        }
        match self.url.host() {
            &Host::Ip(ip) => self.try_all(now, vec![ip]),
            Host::Name(name) if proxy.is_some() => {
                let (host, port) = (name.clone(), self.url.port());
                self.addrs.clear();
                let plain_path = self.has_plain_path();
                match guard::check_name(&host, self.bounds.mitigate, plain_path, self.from) {
                    Ok(()) => self.addrs.push_back(Target::Name { host, port }),
                    Err(refusal) => return self.finish(Err(CallError::Refused(refusal))),
                }
                self.try_next(now, CallError::NoAddress);
            }
            Host::Name(name) => self.asks.push_back(Ask::Resolve { host: name.clone() }),
        }
    }

    /// Begins with the first of `ips` that may be asked.
    pub(super) fn try_all(&mut self, now: Instant, ips: Vec<IpAddr>) {
        self.addrs.clear();
        self.failure = None;
        let plain_path = self.has_plain_path();
        for ip in ips {
            let addr = SocketAddr::new(ip.to_canonical(), self.url.port());
            let wanted = match self.family {
                None => true,
                Some(Family::V4) => addr.is_ipv4(),
                Some(Family::V6) => addr.is_ipv6(),
            };
            if !wanted || self.addrs.contains(&addr.into()) {
                continue;
            }
            match guard::check(addr.ip(), self.bounds.mitigate, plain_path, self.from) {
                Ok(()) => self.addrs.push_back(addr.into()),
                Err(refusal) => self.failure = Some(CallError::Refused(refusal)),
            }
            if self.addrs.len() >= MAX_ADDRESSES {
                break;
            }
        }
        // Where we are known already, one round trip is enough.
        let known = self.known.as_ref().map(|known| &known.to);
        if let Some(at) = self.addrs.iter().position(|addr| known == Some(addr)) {
            self.addrs.swap(0, at);
        }
        let failure = self.failure.take().unwrap_or(CallError::NoAddress);
        self.try_next(now, failure);
    }

    /// Whether a request can be taken for nothing else than an announce or a scrape.
    fn has_plain_path(&self) -> bool {
        // A datagram to a tracker cannot, whatever its path.
        match &self.question {
            _ if self.url.scheme() == Scheme::Udp => true,
            Question::Announce(_) => self.url.is_announce_path(),
            Question::Scrape(_) => self.url.is_scrape_path(),
        }
    }

    /// The address tried last has failed with `failure`; the next one gets its share of the time.
    pub(super) fn try_next(&mut self, now: Instant, failure: CallError) {
        let Some(to) = self.addrs.pop_front() else { return self.finish(Err(failure)) };
        let shares = u32::try_from(self.addrs.len() + 1).unwrap_or(u32::MAX);
        self.share_ends = (shares > 1).then(|| now + self.deadline.since(now) / shares);
        if self.url.scheme() == Scheme::Udp {
            let asked = udp::Asked { question: &self.question, url: &self.url };
            let patience = self.deadline.since(now);
            let (exchange, data) =
                Exchange::new(to.clone(), self.known.clone(), now, patience, &mut self.rng, &asked);
            self.told |= exchange.is_asking();
            self.state = State::Datagrams(exchange);
            self.asks.push_back(Ask::Datagram { to, data });
        } else {
            self.state = State::Connecting(to.clone());
            self.dialled = false;
            let tls = (self.url.scheme() == Scheme::Https).then(|| match self.url.host() {
                Host::Ip(ip) => ip.to_string(),
                Host::Name(name) => name.clone(),
            });
            let forwarded = self.is_forwarded();
            self.asks.push_back(Ask::Connect { to, tls, forwarded });
        }
    }

    /// Where a redirect that came from `from` leads, if it may.
    pub(super) fn follow(
        &mut self,
        from: &Target,
        location: &[u8],
    ) -> Result<TrackerUrl, CallError> {
        self.redirects = self.redirects.saturating_add(1);
        if self.redirects > self.bounds.redirects {
            return Err(CallError::Redirects(self.bounds.redirects));
        }
        let location =
            str::from_utf8(location).map_err(|_| CallError::Redirect(UrlError::NotAscii))?;
        let url = self.url.join(location).map_err(CallError::Redirect)?;
        let (scheme, to) = (self.url.scheme(), url.scheme());
        if !guard::may_follow(scheme, to) {
            return Err(CallError::Scheme { from: scheme, to });
        }
        self.from = [self.from, guard::reach_of(from)].into_iter().flatten().min();
        Ok(url)
    }
}
