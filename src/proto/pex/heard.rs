//! What is taken of the peers that one peer tells of: in bounds, and of each host once, so that it
//! cannot make us dial what it likes.

use std::{
    collections::{BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    base::time::Instant,
    proto::http::guard::{Reach, reach},
    wire::ut_pex::{PexFlags, PexMessage},
};

/// Messages in [`WINDOW`] that are no flood: BEP 11 allows one a minute, and libtorrent six.
const MAX_MESSAGES: usize = 6;
const WINDOW: Duration = Duration::from_secs(60);

/// See the module. One for each connection.
#[derive(Clone, Debug, Default)]
pub struct PexHeard {
    /// When the last messages came.
    came: VecDeque<Instant>,
}

/// A peer sends far more messages than it may: the connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_MESSAGES} peer exchange messages in a minute")]
pub struct PexFlood;

impl PexHeard {
    /// A message has come from a peer at `from`: the first `limit` of its peers that may be
    /// dialled. An address that is not of the internet is taken only from a peer that is no
    /// farther away; and of the internet one port an IP address.
    ///
    /// # Errors
    /// If it is the seventh within a minute.
    pub fn handle_message(
        &mut self,
        now: Instant,
        from: IpAddr,
        message: &PexMessage,
        limit: usize,
    ) -> Result<Vec<(SocketAddr, PexFlags)>, PexFlood> {
        while self.came.front().is_some_and(|&at| at + WINDOW <= now) {
            self.came.pop_front();
        }
        if self.came.len() >= MAX_MESSAGES {
            return Err(PexFlood);
        }
        self.came.push_back(now);
        let ours = reach(from).unwrap_or(Reach::Internet);
        let mut hosts = BTreeSet::new();
        let may_dial = |&&(addr, _): &&(SocketAddr, PexFlags)| match reach(addr.ip()) {
            Some(Reach::Internet) => hosts.insert(addr.ip()),
            Some(near) => near <= ours,
            None => false,
        };
        Ok(message.added.iter().filter(may_dial).take(limit).copied().collect())
    }
}
