//! Which torrents want something now, so that the engine need not ask thousands that do not: those
//! that would dial, and those whose peers or begun pieces take memory. Kept up to date at the end
//! of every input of a torrent.
//!
//! And the peers that wait for a torrent that is waking.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use crate::{base::arena::Key, engine::Engine, wire::handshake::Handshake};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Wanting {
    /// Torrents that would dial, or wake for that.
    dials: BTreeSet<Key>,
    /// Torrents that would dial if they had not as many connections as they may.
    crowded: BTreeSet<Key>,
    /// Torrents that have peers or begun pieces.
    busy: BTreeSet<Key>,
    /// Connections that have greeted and wait, by torrent.
    peers: BTreeMap<Key, Vec<Key>>,
}

/// Which connections are being made, and for which torrent the next will be.
#[derive(Debug)]
pub(super) struct Dialing {
    /// Connections being made.
    count: usize,
    /// A torrent may want to dial that could not before.
    again: bool,
    /// The torrent that dialled last.
    last: Key,
}

impl Default for Dialing {
    fn default() -> Self {
        Self { count: 0, again: false, last: Key { index: u32::MAX, generation: 0 } }
    }
}

impl Dialing {
    /// A connection is being made.
    pub(super) fn begin(&mut self) {
        self.count += 1;
    }

    /// A connection is made, or could not be.
    pub(super) fn end(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// Connections being made.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A torrent may want to dial that could not before.
    pub(super) fn look_again(&mut self) {
        self.again = true;
    }

    /// Whether that is so, once.
    pub(super) fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }
}

impl Wanting {
    pub(super) fn forget_torrent(&mut self, key: Key) {
        self.dials.remove(&key);
        self.crowded.remove(&key);
        self.busy.remove(&key);
    }

    pub(super) fn busy(&self) -> Vec<Key> {
        self.busy.iter().copied().collect()
    }

    /// How many torrents would dial.
    pub(super) fn dials(&self) -> usize {
        self.dials.len()
    }

    /// How many torrents would dial if they had room of their own.
    pub(super) fn crowded(&self) -> usize {
        self.crowded.len()
    }

    pub(super) fn has_crowded(&self) -> bool {
        !self.crowded.is_empty()
    }

    pub(super) fn is_crowded(&self, torrent: Key) -> bool {
        self.crowded.contains(&torrent)
    }

    /// Whether any connection waits.
    pub(super) fn has_waiting(&self) -> bool {
        !self.peers.is_empty()
    }

    pub(super) fn forget_link(&mut self, torrent: Key, connection: Key) {
        if let Some(connections) = self.peers.get_mut(&torrent) {
            connections.retain(|&waiting| waiting != connection);
            if connections.is_empty() {
                self.peers.remove(&torrent);
            }
        }
    }
}

impl Engine {
    /// Something happened to a torrent: looks at what it wants now.
    pub(super) fn note_wishes(&mut self, key: Key) {
        let Some(torrent) = self.torrents.get_mut(key) else {
            return self.wanting.forget_torrent(key);
        };
        let Some(wants) = torrent.poll_wants(self.cx.now, &self.cx.conf) else { return };
        let Wanting { dials, crowded, busy, .. } = &mut self.wanting;
        for (set, is_in) in [(dials, wants.dial), (busy, wants.memory), (crowded, wants.room)] {
            if is_in {
                set.insert(key);
            } else {
                set.remove(&key);
            }
        }
    }

    /// Dials go out as far as the limits allow, one a torrent and round. The round goes on where
    /// the last one ended, or a torrent with many candidates would keep the others from theirs.
    pub(super) fn dial_candidates(&mut self) {
        let (mut after, mut fruitless) = (self.dialing.last, 0);
        while !self.shutdown.has_begun()
            && self.has_room_to_dial()
            && fruitless <= self.wanting.dials.len()
        {
            let dials = &self.wanting.dials;
            let next = dials
                .range((Bound::Excluded(after), Bound::Unbounded))
                .next()
                .or_else(|| dials.first());
            let Some(&key) = next else { break };
            after = key;
            if self.dial_next(key) {
                self.dialing.last = key;
            } else {
                fruitless += 1;
            }
            self.note_wishes(key);
        }
        self.watch_crowd();
    }

    pub(super) fn has_room_to_dial(&self) -> bool {
        self.ways.proxy.may_dial(self.cx.now, &self.cx.conf.proxy)
            && self.dialing.count() < self.cx.conf.peers.max_dials
            && self.connections.len() < self.cx.conf.peers.max_connections
    }

    /// Dials the next candidate of a torrent; false if none is due.
    fn dial_next(&mut self, key: Key) -> bool {
        while let Some(torrent) =
            self.torrents.get_mut(key).filter(|t| t.wants_dial(self.cx.now, &self.cx.conf))
        {
            if torrent.is_dormant() {
                // It is asked again when it is open.
                torrent.line_up();
                self.review(key);
                return false;
            }
            let Some(addr) = torrent.poll_dial(self.cx.now) else {
                return false;
            };
            if torrent.meets_first(addr, &mut self.cx) {
                continue;
            }
            if self.may_dial(key, addr) {
                self.dial(key, addr);
                return true;
            }
        }
        false
    }

    /// A peer wants a torrent that sleeps: that wakes, and the peer waits, unread, for as long as a
    /// greeting may take.
    pub(super) fn let_wait(&mut self, key: Key, torrent: Key, handshake: Handshake) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.wait_for(torrent, handshake);
        self.wanting.peers.entry(torrent).or_default().push(key);
        if let Some(torrent) = self.torrents.get_mut(torrent) {
            torrent.wake(&mut self.cx);
        }
    }

    /// Greets the peers that waited for a torrent, if it is open now.
    pub(super) fn greet_waiting(&mut self, torrent: Key) {
        if !self.wanting.peers.contains_key(&torrent) {
            return;
        }
        // Those that are waking still may wait; from all others they hear now.
        if self.torrents.get(torrent).is_some_and(|t| t.is_waking()) {
            return;
        }
        for key in self.wanting.peers.remove(&torrent).unwrap_or_default() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let Some((handshake, early)) = connection.take_greeting() else { continue };
            self.handshake_done(key, handshake);
            if self.connections.get(key).and_then(|connection| connection.session()).is_some() {
                if !early.is_empty() {
                    self.session_data(key, &early);
                }
                self.resume(key);
            }
        }
    }
}
