//! Where a request goes: the addresses of a name, tried in turn, each with its share of the time,
//! and the places that redirects lead to. It does not read files.

use std::net::{IpAddr, SocketAddr};

use super::{Ask, End, FetchError, FilePlace, Instant, State, WebConnection};
use crate::{
    base::target::Target,
    proto::http::guard,
    wire::{
        tracker::{Scheme, url::Host},
        web_seed::FileUrl,
    },
};

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

impl WebConnection {
    /// Begins with the request: on the connection that there is, or on another.
    pub(super) fn begin(&mut self, now: Instant) -> Option<End> {
        let place = &self.request.as_ref()?.what.place;
        let url = place.url.url();
        if let State::Up { at, origin, exchange: None, .. } = &self.state
            && origin.url().same_origin(url)
            && self.check(at, place).is_ok()
        {
            self.say(now);
            return None;
        }
        let host = url.host().clone();
        self.close();
        self.deadline = Some(now + self.bounds.timeout);
        match host {
            Host::Ip(ip) => self.try_all(now, vec![ip]),
            Host::Name(host) if self.bounds.proxy.is_some() => {
                let port = self.request.as_ref()?.what.place.url.url().port();
                self.try_targets(now, [Target::Name { host, port }])
            }
            Host::Name(host) => {
                self.state = State::Resolving;
                self.asks.push_back(Ask::Resolve { host });
                None
            }
        }
    }

    /// The resolver answered. Returns how the request ended, if it did.
    pub(crate) fn handle_resolved(
        &mut self,
        now: Instant,
        result: Result<Vec<IpAddr>, String>,
    ) -> Option<End> {
        if !matches!(self.state, State::Resolving) {
            return None;
        }
        match result {
            Ok(ips) => self.try_all(now, ips),
            Err(why) => Some(self.end(Err(FetchError::Resolve(why)))),
        }
    }

    /// Begins with the first of `ips` that may be asked.
    fn try_all(&mut self, now: Instant, ips: Vec<IpAddr>) -> Option<End> {
        let port = self.request.as_ref()?.what.place.url.url().port();
        let target = |ip: IpAddr| SocketAddr::new(ip.to_canonical(), port).into();
        self.try_targets(now, ips.into_iter().map(target))
    }

    fn try_targets(
        &mut self,
        now: Instant,
        targets: impl IntoIterator<Item = Target>,
    ) -> Option<End> {
        let place = self.request.as_ref()?.what.place.clone();
        let mut failure = FetchError::NoAddress;
        self.addrs.clear();
        for target in targets {
            match self.check(&target, &place) {
                Ok(()) if !self.addrs.contains(&target) => self.addrs.push_back(target),
                Ok(()) => {}
                Err(e) => failure = e,
            }
            if self.addrs.len() >= MAX_ADDRESSES {
                break;
            }
        }
        self.try_next(now, failure)
    }

    fn check(&self, target: &Target, place: &FilePlace) -> Result<(), FetchError> {
        let (has_query, mitigate) = (place.url.url().query().is_some(), self.bounds.mitigate);
        let checked = match target {
            Target::Addr(addr) => guard::check_file(addr.ip(), mitigate, has_query, place.from),
            Target::Name { host, .. } => {
                guard::check_file_at_name(host, mitigate, has_query, place.from)
            }
        };
        checked.map_err(FetchError::Refused)
    }

    /// The address tried last has failed with `failure`; the next one gets its share of the time.
    pub(super) fn try_next(&mut self, now: Instant, failure: FetchError) -> Option<End> {
        let Some(to) = self.addrs.pop_front() else {
            self.state = State::Closed;
            return Some(self.end(Err(failure)));
        };
        let shares = u32::try_from(self.addrs.len() + 1).unwrap_or(u32::MAX);
        self.deadline = Some(now + self.bounds.timeout / shares);
        self.state = State::Connecting { to: to.clone(), told: false };
        let url = self.request.as_ref()?.what.place.url.url();
        let tls = (url.scheme() == Scheme::Https).then(|| url.host().bare());
        let forwarded = self.forwards();
        self.asks.push_back(Ask::Connect { to, tls, forwarded });
        None
    }

    /// Where a redirect leads, if it may.
    pub(super) fn follow(&mut self, location: &[u8]) -> Result<FilePlace, FetchError> {
        let (State::Up { at, .. }, Some(running)) = (&self.state, &mut self.request) else {
            return Err(FetchError::NoAddress);
        };
        running.redirects = running.redirects.saturating_add(1);
        if running.redirects > self.bounds.redirects {
            return Err(FetchError::Redirects(self.bounds.redirects));
        }
        // What is no UTF-8 was not encoded, and is read as the letters of Latin-1.
        let location = String::from_utf8(location.to_vec())
            .unwrap_or_else(|e| e.as_bytes().iter().copied().map(char::from).collect());
        let FilePlace { url, from } = &running.what.place;
        let to = url.join(&location).map_err(FetchError::Redirect)?;
        let (scheme, next) = (url.url().scheme(), to.url().scheme());
        if !guard::may_follow(scheme, next) {
            return Err(FetchError::Scheme { from: scheme, to: next });
        }
        let from = [*from, guard::reach_of(at)].into_iter().flatten().min();
        Ok(FilePlace { url: to, from })
    }
}

/// A file's address and no redirect before it.
impl From<FileUrl> for FilePlace {
    fn from(url: FileUrl) -> Self {
        Self { url, from: None }
    }
}
