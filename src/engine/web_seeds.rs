//! Connections with web seeds (BEP 19) as streams of the driver: names, limits, bytes. And what the
//! user can ask of and tell about a torrent's web seeds. What is asked of them is the torrent's to
//! say.

use std::io::IoSlice;

use thiserror::Error;

use crate::{
    alert::WebSeedStats,
    base::{arena::Key, ids::TorrentId, time::Instant},
    conf::Traffic,
    engine::{
        CloseCause, Effect, Engine, NoSuchTorrent, StreamId, Verbs,
        dial::Dial,
        limits::{For, Quota},
        names::{Asker, Lookup, Resolved},
    },
    torrent::{Torrent, cx::Cx, web_seeds::Ask},
    wire::{tracker::UrlError, web_seed::WebSeedUrl},
};

/// Whose stream it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct WebStream {
    torrent: Key,
    fetch: Key,
}

impl WebStream {
    /// The torrent that it belongs to.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn torrent(&self) -> Key {
        self.torrent
    }
}

/// Why a torrent's web seeds cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WebSeedsError {
    /// There is no such torrent.
    #[error(transparent)]
    NoSuchTorrent(#[from] NoSuchTorrent),
    /// There would be too many.
    #[error("{count} web seeds exceed WebSeedConf::max_per_torrent, {limit}")]
    TooMany {
        /// How many there would be.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// It is no address of a web seed, or of none that we can ask.
    #[error("this is no address of a web seed: {0}")]
    Url(#[from] UrlError),
}

impl Verbs<'_> {
    /// Adds a web seed to those of a torrent's metainfo: the address of its file, or of the folder
    /// that has it (BEP 19). It is kept in the session's folder. Nothing happens if the torrent has
    /// it already.
    ///
    /// # Errors
    /// If there is no such torrent, it has as many as it may
    /// ([`WebSeedConf::max_per_torrent`](crate::conf::WebSeedConf::max_per_torrent)), or this is no
    /// address of a web seed.
    pub fn add_web_seed(&mut self, id: TorrentId, url: &str) -> Result<(), WebSeedsError> {
        WebSeedUrl::parse(url)?;
        let torrent = self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        let now = self.engine.cx.now;
        if torrent.web_seed_stats(now).iter().any(|seed| seed.url == url) {
            return Ok(());
        }
        let limit = self.engine.cx.conf.web_seeds.max_per_torrent;
        let count = torrent.web_seed_count() + 1;
        if count > limit {
            return Err(WebSeedsError::TooMany { count, limit });
        }
        self.engine.with(id, |torrent, cx| torrent.add_web_seed(url.to_owned(), cx))?;
        Ok(())
    }

    /// Takes a web seed away from a torrent, by its address as [`Engine::web_seeds`] tells it: what
    /// is under way with it ends, and its blocks are asked for elsewhere. One of the metainfo stays
    /// away, too, as the session's folder remembers. Returns whether the torrent had it.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn remove_web_seed(&mut self, id: TorrentId, url: &str) -> Result<bool, NoSuchTorrent> {
        let mut had = false;
        self.engine.with(id, |torrent, cx| had = torrent.remove_web_seed(url, cx))?;
        Ok(had)
    }
}

impl Engine {
    /// How a torrent's web seeds stand (BEP 19), those that were added first. Empty if there is no
    /// such torrent.
    pub fn web_seeds(&self, id: TorrentId) -> Vec<WebSeedStats> {
        self.torrents.get(id.0).map(|t| t.web_seed_stats(self.cx.now)).unwrap_or_default()
    }

    // What the driver tells.

    pub(super) fn web_seed_resolved(&mut self, torrent: Key, fetch: Key, result: Resolved) {
        self.with_web_seed(torrent, |t, cx| t.handle_web_resolved(fetch, result, cx));
    }

    pub(super) fn web_seed_connected(&mut self, key: Key) {
        self.on_web_stream(key, |t, fetch, cx| t.handle_web_connected(fetch, cx));
    }

    pub(super) fn web_seed_data(&mut self, key: Key, data: &[u8]) {
        let Some(&WebStream { torrent, .. }) = self.io.web_streams.get(key) else { return };
        if self.throttle.down.is_on() {
            let stream = StreamId::WebSeed(key);
            self.throttle.down.spend(self.cx.now, stream, torrent, data.len());
        }
        self.on_web_stream(key, |t, fetch, cx| t.handle_web_data(fetch, data, cx));
    }

    pub(super) fn web_seed_sent(&mut self, key: Key, bytes: usize) {
        let Some(&WebStream { torrent, fetch }) = self.io.web_streams.get(key) else { return };
        if let Some(torrent) = self.torrents.get_mut(torrent) {
            torrent.handle_web_sent(fetch, bytes);
        }
    }

    pub(super) fn web_seed_closed(&mut self, key: Key, cause: CloseCause) {
        let Some(WebStream { torrent, fetch }) = self.io.web_streams.remove(key) else { return };
        self.throttle.down.forget(StreamId::WebSeed(key));
        let why = match cause {
            CloseCause::Eof => Ok(()),
            CloseCause::Proxy(why) => {
                return self
                    .with_web_seed(torrent, |t, cx| t.handle_web_proxy_failed(fetch, why, cx));
            }
            cause => Err(cause.to_string()),
        };
        self.with_web_seed(torrent, |t, cx| t.handle_web_closed(fetch, why, cx));
    }

    /// How many bytes the driver may read from a web seed now.
    pub(super) fn web_seed_quota(&mut self, now: Instant, key: Key) -> usize {
        let Some(&WebStream { torrent, fetch }) = self.io.web_streams.get(key) else {
            return usize::MAX;
        };
        if self.torrents.get(torrent).is_some_and(|torrent| torrent.is_web_full(fetch)) {
            return 0;
        }
        if !self.throttle.down.is_on() {
            return usize::MAX;
        }
        self.handle_tick(now);
        match self.throttle.down.ask(self.cx.now, StreamId::WebSeed(key), torrent) {
            Quota::Bytes(bytes) => bytes,
            Quota::Wait(what) => {
                if let Some(torrent) = self.torrents.get_mut(torrent) {
                    torrent.handle_web_held(fetch, what == For::Shared, &mut self.cx);
                }
                self.plan_limits();
                0
            }
        }
    }

    /// A stream that waited for a limit is read on. False if it is not there any more.
    pub(super) fn web_seed_resumed(&mut self, key: Key) -> bool {
        let Some(&WebStream { torrent, fetch }) = self.io.web_streams.get(key) else {
            return false;
        };
        if let Some(torrent) = self.torrents.get_mut(torrent) {
            torrent.handle_web_resumed(fetch, &mut self.cx);
        }
        true
    }

    pub(super) fn web_seed_transmit<'a>(&'a self, key: Key, out: &mut [IoSlice<'a>]) -> usize {
        let stream = self.io.web_streams.get(key);
        let torrent = stream.and_then(|stream| Some((self.torrents.get(stream.torrent)?, stream)));
        let bytes = torrent.map_or(&[][..], |(torrent, stream)| torrent.web_transmit(stream.fetch));
        match out.first_mut().filter(|_| !bytes.is_empty()) {
            Some(slot) => {
                *slot = IoSlice::new(bytes);
                1
            }
            None => 0,
        }
    }

    fn on_web_stream(&mut self, key: Key, act: impl FnOnce(&mut Torrent, Key, &mut Cx)) {
        if let Some(&WebStream { torrent, fetch }) = self.io.web_streams.get(key) {
            self.with_web_seed(torrent, |torrent, cx| act(torrent, fetch, cx));
        }
    }

    fn with_web_seed(&mut self, key: Key, act: impl FnOnce(&mut Torrent, &mut Cx)) {
        if let Some(torrent) = self.torrents.get_mut(key) {
            act(torrent, &mut self.cx);
            self.settle(key);
        }
    }

    // What torrents want of the driver.

    /// Carries out what a torrent's connections with web seeds want; at the end of every input.
    pub(super) fn serve_web_seeds(&mut self, key: Key) {
        loop {
            let mut resolved = false;
            while let Some(ask) = self.torrents.get_mut(key).and_then(Torrent::poll_web_ask) {
                resolved |= self.serve_web_seed(key, ask);
            }
            // What was known of a name counts as news, and may make another be asked for.
            let Some(torrent) = self.torrents.get_mut(key).filter(|_| resolved) else { break };
            torrent.settle(&mut self.cx);
        }
    }

    /// Returns whether a name was known already.
    fn serve_web_seed(&mut self, key: Key, ask: Ask) -> bool {
        match ask {
            Ask::Resolve { fetch, host } => {
                let asker = Asker::WebSeed(key, fetch);
                match self.io.names.look_up(self.cx.now, asker, &host) {
                    Lookup::Shared => {}
                    Lookup::Ask => self.effect(Effect::Resolve { host }),
                    Lookup::Known(known) => {
                        if let Some(torrent) = self.torrents.get_mut(key) {
                            torrent.handle_web_resolved(fetch, known, &mut self.cx);
                        }
                        return true;
                    }
                }
            }
            Ask::Connect { fetch, to, tls, forwarded } => {
                let stream = self.io.web_streams.insert(WebStream { torrent: key, fetch });
                if let Some(torrent) = self.torrents.get_mut(key) {
                    torrent.set_web_stream(fetch, stream);
                }
                let dial = Dial { to, tls, forwarded, traffic: Traffic::WebSeeds };
                self.open_stream(StreamId::WebSeed(stream), dial);
            }
            Ask::Flush { stream } => {
                self.effect(Effect::Flush { stream: StreamId::WebSeed(stream) });
            }
            Ask::Resume { stream } => {
                self.effect(Effect::Resume { stream: StreamId::WebSeed(stream) });
            }
            Ask::Close { stream } => {
                self.io.web_streams.remove(stream);
                self.throttle.down.forget(StreamId::WebSeed(stream));
                self.close_stream(StreamId::WebSeed(stream));
            }
            Ask::Forget { fetch } => self.io.names.forget(Asker::WebSeed(key, fetch)),
        }
        false
    }
}
