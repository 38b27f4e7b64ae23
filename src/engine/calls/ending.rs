//! How a call ends: what it learned is kept for the next, and its answer goes to the torrent or the
//! farewell that wanted it. What the answer means is for the torrent to say.

use std::net::IpAddr;

use super::{
    Calls, MAX_CONNECTIONS, MAX_SILENT, Place, Running, SILENT_TIME, What, leaving::Outcome,
};
use crate::{
    alert::{TrackerError, TrackerErrorKind},
    base::{arena::Key, time::Instant},
    engine::{Engine, StreamId, names::Asker},
    proto::tracker::{Answer, CONNECTION_TIME, CallError, Connection, Family},
    torrent::announcer::{Failure, Retry},
    wire::tracker::{ReplyError, RetryIn, TrackerUrl},
};

impl Calls {
    fn note_silence(&mut self, url: &TrackerUrl, is_silent: bool, now: Instant) {
        let place = (url.host().clone(), url.port());
        if self.silent.len() >= MAX_SILENT {
            self.silent.retain(|_, (_, last)| *last + SILENT_TIME > now);
        }
        if !is_silent {
            self.silent.remove(&place);
        } else if self.silent.len() < MAX_SILENT || self.silent.contains_key(&place) {
            let (times, last) = self.silent.entry(place).or_insert((0, now));
            *times = times.saturating_add(1);
            *last = now;
        }
    }

    fn remember(&mut self, place: Place, connection: Connection, now: Instant) {
        if self.connections.len() >= MAX_CONNECTIONS {
            self.connections.retain(|_, known| known.since + CONNECTION_TIME > now);
        }
        if self.connections.len() < MAX_CONNECTIONS || self.connections.contains_key(&place) {
            self.connections.insert(place, connection);
        }
    }
}

impl Engine {
    /// Forgets a call, and has its stream closed if it has one.
    pub(super) fn end_call(&mut self, key: Key) -> Option<Running> {
        let running = self.calls.running.remove(key)?;
        self.io.names.forget(Asker::Tracker(key));
        if running.stream {
            self.close_stream(StreamId::Tracker(key));
        }
        self.ways.proxy.forget_call(key);
        Some(running)
    }

    pub(super) fn finish_call(
        &mut self,
        key: Key,
        result: Result<(Answer, Option<IpAddr>), CallError>,
    ) {
        let Some(Running { call, url, family, what, .. }) = self.end_call(key) else { return };
        if let Some(connection) = call.connection() {
            self.calls.remember((url.host().clone(), url.port(), family), connection, self.cx.now);
        }
        // A farewell has too little time to say that a tracker is silent.
        if !matches!(what, What::Leave(..)) {
            match &result {
                // Where IPv6 is not to be had that says nothing of the tracker.
                Err(error) if is_of_the_family(error, family) => {}
                // Nor does that the proxy has failed.
                Err(CallError::Proxy(_)) => {}
                result => {
                    let silent = matches!(
                        result,
                        Err(CallError::Timeout | CallError::Connect(_) | CallError::Resolve(_))
                    );
                    self.calls.note_silence(&url, silent, self.cx.now);
                }
            }
        }
        let shown = url.to_string();
        // Trackers echo what they know their users by.
        let told = |error: &CallError| {
            TrackerError::new(kind(error), call.redacted(&url, &error.to_string()))
        };
        match what {
            What::Announce(torrent, no) => {
                let Some(t) = self.torrents.get_mut(torrent) else { return };
                let hashes = t.identity().hashes();
                let said = call.announce().map(|announce| announce.info_hash);
                let by_v2 = hashes.v2().map(|hash| hash.truncated()) == said;
                match result {
                    Ok((Answer::Announce(mut reply), ip)) => {
                        reply.warning = reply.warning.map(|text| call.redacted(&url, &text));
                        if t.handle_tracker_reply(no, &shown, ip, reply, by_v2, &mut self.cx) {
                            self.close_connections_of(
                                torrent,
                                "the torrent is private and has changed its tracker",
                            );
                        }
                    }
                    Ok((Answer::Scrape(_), _)) => {}
                    Err(error) => {
                        let retry = match error.retry_in() {
                            _ if matches!(error, CallError::Proxy(_)) => {
                                Retry::Blameless(self.ways.proxy.pause(&self.cx.conf.proxy))
                            }
                            Some(RetryIn::After(time)) => Retry::In(time),
                            Some(RetryIn::Never) => Retry::Never,
                            None => Retry::Later,
                        };
                        // A tracker need not know both hashes of a hybrid.
                        let second = by_v2 && hashes.v1().is_some();
                        let minor = second || is_of_the_family(&error, family);
                        let failure = Failure { error: told(&error), minor, retry };
                        t.handle_tracker_failure(no, &shown, &failure, &mut self.cx);
                    }
                }
                self.settle(torrent);
            }
            What::Scrape(torrent, no) => {
                let Some(t) = self.torrents.get_mut(torrent) else { return };
                match result {
                    Ok((Answer::Scrape(replies), _)) => match replies.first().copied().flatten() {
                        Some(reply) => t.handle_scraped(no, &shown, reply, &mut self.cx),
                        None => t.handle_not_scraped(
                            &shown,
                            TrackerError::new(
                                TrackerErrorKind::UnknownTorrent,
                                "the tracker does not know the torrent",
                            ),
                            &mut self.cx,
                        ),
                    },
                    Ok((Answer::Announce(_), _)) => {}
                    Err(error) => t.handle_not_scraped(&shown, told(&error), &mut self.cx),
                }
            }
            What::Leave(id) => {
                let mut outcome = Outcome::from(result.as_ref().map(|_| ()));
                if let Err(error) = &result {
                    log::info!(
                        "{shown} did not acknowledge what a torrent told in the end: {}",
                        told(error)
                    );
                }
                if outcome == Outcome::Unknown && !call.is_told() {
                    outcome = Outcome::Unheard;
                }
                self.handle_left(&id, outcome);
            }
        }
    }

    /// From now on there is nothing but farewells, and they must be over in time.
    pub(in crate::engine) fn shut_down_calls(&mut self) {
        self.take_over_farewells();
        self.hang_up(|what| !matches!(what, What::Leave(..)));
        self.calls.scrapes.clear();
        self.cx.told.forget_due();
        let end =
            *self.calls.end.get_or_insert(self.cx.now + self.cx.conf.trackers.stopped_timeout);
        self.wake_calls(end);
        self.pump_calls();
    }
}

/// Whether it may be for the family's sake that there is no way to the tracker: it has no address
/// of that family, or we have no route to any. Where IPv6 is not to be had that is nothing to tell
/// the user.
fn is_of_the_family(error: &CallError, family: Option<Family>) -> bool {
    match error {
        CallError::NoAddress => family.is_some(),
        CallError::Connect(_) | CallError::Timeout => family == Some(Family::V6),
        _ => false,
    }
}

fn kind(error: &CallError) -> TrackerErrorKind {
    match error {
        CallError::Timeout => TrackerErrorKind::TimedOut,
        CallError::NoScrape => TrackerErrorKind::BadAddress,
        CallError::Resolve(_) | CallError::NoAddress => TrackerErrorKind::NameNotFound,
        CallError::Refused(_) => TrackerErrorKind::Forbidden,
        CallError::Connect(_) => TrackerErrorKind::Unreachable,
        CallError::Proxy(_) => TrackerErrorKind::Proxy,
        CallError::Stream(_) => TrackerErrorKind::Broken,
        CallError::Http(_) | CallError::Status(_) => TrackerErrorKind::Http,
        CallError::Redirects(_) | CallError::Redirect(_) | CallError::Scheme { .. } => {
            TrackerErrorKind::Redirect
        }
        CallError::Reply(ReplyError::Failure { .. }) => TrackerErrorKind::Refused,
        CallError::Reply(_) => TrackerErrorKind::BadReply,
    }
}
