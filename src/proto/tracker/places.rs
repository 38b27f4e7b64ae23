//! Where a call goes: the addresses of a name, to be tried in turn, and the places that redirects
//! lead to. It does not read answers, and has no clock.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use super::{CallError, Family};
use crate::{
    base::target::Target,
    conf::{ProxyKind, ProxyServer},
    proto::http::guard::{self, Reach},
    wire::tracker::{Scheme, TrackerUrl, UrlError, url::Host},
};

/// Addresses of one name that are tried.
pub(super) const MAX_ADDRESSES: usize = 8;

/// What may be asked where.
#[derive(Debug)]
pub(super) struct Rules {
    /// Addresses of this family alone.
    pub(super) family: Option<Family>,
    /// A scrape is asked for, no announce.
    pub(super) is_scrape: bool,
    /// Addresses of the own network are asked nothing but what is plainly for a tracker.
    pub(super) mitigate: bool,
    pub(super) max_redirects: u32,
    /// The one that the tracker is asked through: it looks names up.
    pub(super) proxy: Option<ProxyServer>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    /// Where the tracker is asked now.
    url: TrackerUrl,
    rules: Rules,
    /// Those not tried yet.
    untried: VecDeque<Target>,
    redirects: u32,
    /// The farthest that a redirect came from.
    from: Option<Reach>,
}

/// What comes first.
pub(super) enum Found {
    /// The addresses are known.
    Addresses,
    /// This name has to be looked up.
    Name(String),
}

impl Places {
    pub(super) fn new(url: TrackerUrl, rules: Rules) -> Self {
        Self { url, rules, untried: VecDeque::new(), redirects: 0, from: None }
    }

    pub(super) fn url(&self) -> &TrackerUrl {
        &self.url
    }

    pub(super) fn is_redirected(&self) -> bool {
        self.redirects > 0
    }

    /// The proxy that is not asked for a way to the tracker, but to ask the tracker.
    pub(super) fn forwarder(&self) -> Option<&ProxyServer> {
        let is_plain = self.url.scheme() == Scheme::Http;
        self.rules.proxy.as_ref().filter(|proxy| is_plain && proxy.kind() == ProxyKind::Http)
    }

    /// What TLS calls the tracker, if there is to be any.
    pub(super) fn tls_name(&self) -> Option<String> {
        (self.url.scheme() == Scheme::Https).then(|| self.url.host().bare())
    }

    /// Turns to where scrapes are answered.
    pub(super) fn turn_to_scrape(&mut self) -> Result<(), CallError> {
        if self.rules.is_scrape && !self.url.is_scrape() {
            self.url = self.url.scrape().ok_or(CallError::NoScrape)?;
        }
        Ok(())
    }

    /// Finds the addresses of [`Self::url`], those where we are `known` first.
    pub(super) fn find(&mut self, known: Option<&Target>) -> Result<Found, CallError> {
        let proxy = self.rules.proxy.as_ref();
        if self.url.scheme() == Scheme::Udp && proxy.is_some_and(|p| !p.may_carry_datagrams()) {
            let why = "the tracker is asked by UDP, which the proxy cannot carry";
            return Err(CallError::Proxy(why.into()));
        }
        match self.url.host() {
            &Host::Ip(ip) => self.set_addresses(vec![ip], known)?,
            Host::Name(name) if proxy.is_some() => {
                let (host, port) = (name.clone(), self.url.port());
                let plain_path = self.has_plain_path();
                guard::check_name(&host, self.rules.mitigate, plain_path, self.from)?;
                self.untried = [Target::Name { host, port }].into();
            }
            Host::Name(name) => return Ok(Found::Name(name.clone())),
        }
        Ok(Found::Addresses)
    }

    /// The addresses are these; an error if none of them may be asked.
    pub(super) fn set_addresses(
        &mut self,
        ips: Vec<IpAddr>,
        known: Option<&Target>,
    ) -> Result<(), CallError> {
        self.untried.clear();
        let plain_path = self.has_plain_path();
        let mut failure = CallError::NoAddress;
        for ip in ips {
            let addr = SocketAddr::new(ip.to_canonical(), self.url.port());
            let wanted = match self.rules.family {
                None => true,
                Some(Family::V4) => addr.is_ipv4(),
                Some(Family::V6) => addr.is_ipv6(),
            };
            if !wanted || self.untried.contains(&addr.into()) {
                continue;
            }
            match guard::check(addr.ip(), self.rules.mitigate, plain_path, self.from) {
                Ok(()) => self.untried.push_back(addr.into()),
                Err(refusal) => failure = CallError::Refused(refusal),
            }
            if self.untried.len() >= MAX_ADDRESSES {
                break;
            }
        }
        // Where we are known already, one round trip is enough.
        if let Some(at) = self.untried.iter().position(|addr| known == Some(addr)) {
            self.untried.swap(0, at);
        }
        if self.untried.is_empty() { Err(failure) } else { Ok(()) }
    }

    /// The address that is tried next, and how many are left with it, which share the time.
    pub(super) fn next(&mut self) -> Option<(Target, u32)> {
        let shares = u32::try_from(self.untried.len()).unwrap_or(u32::MAX);
        Some((self.untried.pop_front()?, shares))
    }

    /// Turns to where a redirect that came from `from` leads, if it may.
    pub(super) fn follow(&mut self, from: &Target, location: &[u8]) -> Result<(), CallError> {
        self.redirects = self.redirects.saturating_add(1);
        if self.redirects > self.rules.max_redirects {
            return Err(CallError::Redirects(self.rules.max_redirects));
        }
        let location =
            str::from_utf8(location).map_err(|_| CallError::Redirect(UrlError::NotAscii))?;
        let url = self.url.join(location).map_err(CallError::Redirect)?;
        let (scheme, to) = (self.url.scheme(), url.scheme());
        if !guard::may_follow(scheme, to) {
            return Err(CallError::Scheme { from: scheme, to });
        }
        self.from = [self.from, guard::reach_of(from)].into_iter().flatten().min();
        self.url = url;
        Ok(())
    }

    /// Whether a request can be taken for nothing else than an announce or a scrape.
    fn has_plain_path(&self) -> bool {
        match self.rules.is_scrape {
            // A datagram to a tracker cannot, whatever its path.
            _ if self.url.scheme() == Scheme::Udp => true,
            false => self.url.is_announce_path(),
            true => self.url.is_scrape_path(),
        }
    }
}
