//! Where candidates come from, and which of it a private torrent may use (BEP 27). It knows no
//! candidate.

use std::net::{IpAddr, Ipv4Addr};

use crate::torrent::announcer::TrackerNo;

/// How a peer became known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PeerSource {
    /// The user named it, a magnet link or an earlier run.
    #[default]
    User,
    /// A tracker named it.
    Tracker,
    /// Another peer named it (BEP 11).
    Pex,
    /// A node of the DHT named it (BEP 5).
    Dht,
    /// It announced itself in the local network (BEP 14).
    Lsd,
}

/// How a peer became known, and by which tracker or peer: each has its part of what there is room
/// for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    #[default]
    User,
    Tracker(TrackerNo),
    /// Named by a peer at this address.
    Pex(IpAddr),
    Dht,
    Lsd,
}

/// Whose word a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It is given once, and nothing brings it back.
    User,
    /// It is given again with the next announce.
    Tracker,
    /// Any host can give it.
    Hearsay,
}

/// The ways in which one peer became known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources(u8);

impl PeerSource {
    /// Whether peers of a private torrent may come from here: BEP 27 allows trackers alone, and
    /// what users do themselves is theirs to answer for.
    fn is_allowed_in_private(self) -> bool {
        matches!(self, Self::User | Self::Tracker)
    }
}

impl Source {
    pub(super) fn kind(self) -> PeerSource {
        match self {
            Self::User => PeerSource::User,
            Self::Tracker(_) => PeerSource::Tracker,
            Self::Pex(_) => PeerSource::Pex,
            Self::Dht => PeerSource::Dht,
            Self::Lsd => PeerSource::Lsd,
        }
    }

    /// Whose word it is, the one that counts most first.
    pub(super) fn standing(self) -> Standing {
        match self {
            Self::User => Standing::User,
            Self::Tracker(_) => Standing::Tracker,
            Self::Pex(_) | Self::Dht | Self::Lsd => Standing::Hearsay,
        }
    }

    pub(super) fn is_allowed_in_private(self) -> bool {
        self.kind().is_allowed_in_private()
    }

    /// How many never tried candidates this source may have of `max` in all, if that is bounded:
    /// one peer must not decide which peers we dial (BEP 11), nor may a neighbour that speaks in
    /// the names of many others (BEP 14).
    pub(super) fn share(self, max: usize) -> Option<usize> {
        match self {
            Self::Pex(_) | Self::Lsd => Some((max / 10).max(1)),
            Self::User | Self::Tracker(_) | Self::Dht => None,
        }
    }
}

impl From<PeerSource> for Source {
    /// What an embedder found has no tracker of the torrent and no peer of it as its source.
    fn from(source: PeerSource) -> Self {
        match source {
            PeerSource::User => Self::User,
            PeerSource::Tracker => Self::Tracker(TrackerNo::default()),
            PeerSource::Pex => Self::Pex(Ipv4Addr::UNSPECIFIED.into()),
            PeerSource::Dht => Self::Dht,
            PeerSource::Lsd => Self::Lsd,
        }
    }
}

impl Sources {
    pub(super) fn add(&mut self, source: Source) {
        self.0 |= 1 << source.kind() as u8;
    }

    pub(super) fn is_allowed_in_private(self) -> bool {
        let all = [
            PeerSource::User,
            PeerSource::Tracker,
            PeerSource::Pex,
            PeerSource::Dht,
            PeerSource::Lsd,
        ];
        let mut allowed = all.into_iter().filter(|kind| kind.is_allowed_in_private());
        allowed.any(|kind| self.0 & 1 << kind as u8 != 0)
    }
}
