//! Connections that have said nothing make room when there is none and a candidate waits: those
//! that have not answered the handshake for some seconds, and those that have sent nothing at all
//! since. While there is room they have their full time.

use std::time::Duration;

use crate::{
    base::{arena::Key, time::Instant, timers::Wakeup},
    engine::{Engine, connection::Connection, io::Owner},
};

/// A connection that takes longer to be made and greeted makes room: twice what a connection by
/// satellite needs.
const GREETING: Duration = Duration::from_secs(4);
/// A peer that says nothing for so long after its handshake makes room. One that has something
/// tells so at once (BEP 3, 6, 10).
const SILENCE: Duration = Duration::from_secs(10);
/// As long as candidates wait, the connections are looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// When the connections are looked at next.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    wakeup: Wakeup,
}

impl Engine {
    /// Sees to it that silent connections are looked for while candidates wait for room.
    pub(super) fn watch_crowd(&mut self) {
        let at = self.cx.now + LOOK;
        if (self.is_full_for_dials() || self.wanting.has_crowded()) && self.crowd.wakeup.want(at) {
            self.io.wake(at, Owner::Crowd);
        }
    }

    fn is_full_for_dials(&self) -> bool {
        self.connections.len() >= self.cx.conf.peers.max_connections && self.wanting.dials() > 0
    }

    pub(super) fn handle_crowd_timeout(&mut self, at: Instant) {
        if !self.crowd.wakeup.fire(at) {
            return;
        }
        let full = self.is_full_for_dials();
        let makes_room = |torrent: Option<Key>| {
            full || torrent.is_some_and(|torrent| self.wanting.is_crowded(torrent))
        };
        let connections =
            self.connections.iter().filter(|(_, connection)| makes_room(connection.torrent()));
        let mut silent: Vec<(Instant, Key)> = connections
            .filter_map(|(key, connection)| Some((self.silent_since(connection)?, key)))
            .collect();
        silent.sort_unstable();
        // One for each torrent that waits: those in front have been silent for longest.
        silent.truncate(self.wanting.dials() + self.wanting.crowded());
        for (_, key) in silent {
            self.close(key, "it has said nothing, and others wait");
        }
        self.dial_candidates();
        self.watch_crowd();
    }

    /// Since when a connection is silent, if that is for too long.
    fn silent_since(&self, connection: &Connection) -> Option<Instant> {
        let (since, time) = if connection.is_ungreeted() {
            (connection.began(), GREETING)
        } else {
            let (session, torrent) = connection.session_and_torrent()?;
            (self.torrents.get(torrent)?.peers().mute_since(session)?, SILENCE)
        };
        (self.cx.now.since(since) >= time).then_some(since)
    }
}
