//! What the driver must do, and the owners of the engine's own deadlines.
//!
//! Effects leave in the order in which they were wanted, by torrents (whose jobs wait in their
//! [`Outbox`]) and by the engine alike.

use std::{collections::VecDeque, net::SocketAddr};

use crate::{
    base::{arena::Key, job::Job},
    torrent::outbox::Outbox,
};

/// What the driver must do.
#[derive(Debug)]
pub enum Effect {
    /// Connect to `addr`; answer with `handle_connected` or `handle_closed`.
    Dial {
        /// The link to be.
        link: Key,
        /// Where to.
        addr: SocketAddr,
    },
    /// Close the socket of this link. The engine has forgotten it already; a late `handle_closed`
    /// is harmless.
    Close {
        /// The link.
        link: Key,
    },
    /// There are bytes to send on this link: drain `poll_transmit`. At most once a link between two
    /// drains.
    Flush {
        /// The link.
        link: Key,
    },
    /// There may be bytes to read again on this link, whose `read_quota` was zero: read on, if the
    /// socket has any.
    Resume {
        /// The link.
        link: Key,
    },
    /// Hand this to a worker; answer with `handle_done`.
    Job(Job),
    /// Something for a tracker.
    Tracker(TrackerEffect),
}

/// What the driver must do to have a tracker asked. A `call` is one question, or another stream of
/// the same; it has nothing to do with the links of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerEffect {
    /// Look a host's name up, elsewhere, since that may take long; answer with `handle_resolved`.
    Resolve {
        /// The name, which is no address.
        host: String,
    },
    /// Connect a stream; answer with `handle_tracker_connected` when it is up, TLS included, or
    /// `handle_tracker_ended`.
    Connect {
        /// The call.
        call: Key,
        /// Where to.
        addr: SocketAddr,
        /// With TLS, to a server that can prove to have this name or address.
        tls: Option<String>,
    },
    /// There are bytes to send on this call's stream: drain `tracker_transmit`.
    Flush {
        /// The call.
        call: Key,
    },
    /// Close the call's stream, if it has one. The engine may have forgotten the call already.
    Close {
        /// The call.
        call: Key,
    },
    /// Send a datagram; answers go to `handle_datagram`. `handle_tracker_ended` if that is known to
    /// fail.
    Datagram {
        /// The call.
        call: Key,
        /// Where to.
        to: SocketAddr,
        /// What.
        data: Vec<u8>,
    },
}

/// The owner of a deadline of the engine. Those of torrents and connections are
/// [`Sleeper`](crate::torrent::outbox::Sleeper)s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Connections that wait for tokens.
    Limits,
    /// A question to a tracker.
    Call(Key),
    /// Questions that wait for their turn.
    Calls,
    /// Torrents that wait for their turn.
    Queue,
    /// Candidates that wait for room.
    Crowd,
    /// Buffers that lie idle.
    Buffers,
    /// The session folder, which could not be written.
    Recorder,
}

/// Effects that the driver has not fetched yet.
#[derive(Debug, Default)]
pub(super) struct Effects {
    queue: VecDeque<Effect>,
}

impl Effects {
    /// Appends an effect, behind what torrents wanted before.
    pub(super) fn push(&mut self, effect: Effect, torrents: &mut Outbox) {
        self.take_jobs(torrents);
        self.queue.push_back(effect);
    }

    /// The next one, in the order in which they were wanted.
    pub(super) fn poll(&mut self, torrents: &mut Outbox) -> Option<Effect> {
        self.take_jobs(torrents);
        self.queue.pop_front()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self, torrents: &Outbox) -> bool {
        self.queue.is_empty() && torrents.has_no_jobs()
    }

    fn take_jobs(&mut self, torrents: &mut Outbox) {
        while let Some(job) = torrents.poll_job() {
            self.queue.push_back(Effect::Job(job));
        }
    }
}
