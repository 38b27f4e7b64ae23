//! What is told of a download that has no peer to download from. It says nothing of when that is
//! told.

use std::{fmt, time::Duration};

/// A download has no peer to download from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoPeers {
    /// For how long there has been none.
    pub lasting: Duration,
    /// Why.
    pub why: NoPeersReason,
    /// Peers that are connected, and have nothing that is needed.
    pub connected: usize,
    /// Peers that are known and not connected.
    pub candidates: usize,
    /// Connections that could not be made in this time.
    pub failed_dials: u32,
    /// Trackers that do not answer, or refuse.
    pub failing_trackers: usize,
}

/// Why there is no peer to download from. Where several reasons hold, the first of this order that
/// does from the bottom up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoPeersReason {
    /// No peer is known: trackers have named none so far, or there are no trackers.
    #[default]
    NoCandidates,
    /// No peer is known, since no tracker answers.
    TrackersFailing,
    /// Peers are known or were, and no connection with any of them could be made: they refuse it or
    /// do not answer.
    Unreachable,
    /// Peers are connected, and none of them has a piece that is needed.
    NothingNeeded,
    /// The proxy does not work that peers are reached through.
    ProxyFailed,
}

impl fmt::Display for NoPeersReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCandidates => "no peer is known",
            Self::TrackersFailing => "no peer is known and no tracker answers",
            Self::Unreachable => "no known peer can be reached",
            Self::NothingNeeded => "no connected peer has a piece that is needed",
            Self::ProxyFailed => "the proxy does not work",
        })
    }
}

impl fmt::Display for NoPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no peer to download from for {} s: {}", self.lasting.as_secs(), self.why)?;
        let mut separator = " (";
        let mut part = |f: &mut fmt::Formatter<'_>, count: usize, what: &str| {
            if count > 0 {
                write!(f, "{separator}{count} {what}")?;
                separator = ", ";
            }
            Ok(())
        };
        part(f, self.connected, "connected")?;
        part(f, self.candidates, "known")?;
        part(f, self.failed_dials as usize, "failed connections")?;
        part(f, self.failing_trackers, "failing trackers")?;
        if separator == ", " { f.write_str(")") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peers_is_told_with_what_is_known_of_the_reason() {
        let none = NoPeers { lasting: Duration::from_secs(30), ..NoPeers::default() };
        assert_eq!(none.to_string(), "no peer to download from for 30 s: no peer is known");
        let why = NoPeersReason::Unreachable;
        let dead = NoPeers { why, candidates: 1, failed_dials: 5, failing_trackers: 2, ..none };
        let said = "no peer to download from for 30 s: no known peer can be reached \
                    (1 known, 5 failed connections, 2 failing trackers)";
        assert_eq!(dead.to_string(), said);
    }
}
