//! Sets of kinds of alerts, and which kind an alert is of. That a kind is wanted does not mean that
//! it comes.

use std::{fmt, ops::BitOr};

use super::Alert;

/// A set of alert kinds.
///
/// ```
/// use cratetorrent::AlertMask;
///
/// let mask = AlertMask::STATUS | AlertMask::PIECES;
/// assert!(mask.contains(AlertMask::PIECES));
/// ```
/// It prints as the names of what is in it: `STATUS | PIECES`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AlertMask(u32);

impl AlertMask {
    /// None but the ones that are never dropped.
    pub const NONE: Self = Self(0);
    /// Opened, checked, finished, storage, removed, saved, local discovery,
    /// proxy, port mapping.
    pub const STATUS: Self = Self(1);
    /// Checking and download progress.
    pub const PROGRESS: Self = Self(2);
    /// Each piece done or failed.
    pub const PIECES: Self = Self(4);
    /// Peers connected and gone.
    pub const PEERS: Self = Self(8);
    /// Peers banned.
    pub const BANS: Self = Self(16);
    /// What trackers answer, and that they do not.
    pub const TRACKERS: Self = Self(32);
    /// Web seeds that fail.
    pub const WEB_SEEDS: Self = Self(64);
    /// Everything.
    pub const ALL: Self = Self(127);

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

const NAMES: [(AlertMask, &str); 7] = [
    (AlertMask::STATUS, "STATUS"),
    (AlertMask::PROGRESS, "PROGRESS"),
    (AlertMask::PIECES, "PIECES"),
    (AlertMask::PEERS, "PEERS"),
    (AlertMask::BANS, "BANS"),
    (AlertMask::TRACKERS, "TRACKERS"),
    (AlertMask::WEB_SEEDS, "WEB_SEEDS"),
];

impl fmt::Display for AlertMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in NAMES.iter().filter(|(kind, _)| self.contains(*kind)) {
            write!(f, "{separator}{name}")?;
            separator = " | ";
        }
        if separator.is_empty() { f.write_str("NONE") } else { Ok(()) }
    }
}

impl fmt::Debug for AlertMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlertMask({self})")
    }
}

/// Everything but what a download may tell a thousand times: pieces and peers.
impl Default for AlertMask {
    fn default() -> Self {
        Self::STATUS | Self::PROGRESS | Self::BANS | Self::TRACKERS | Self::WEB_SEEDS
    }
}

impl BitOr for AlertMask {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl Alert {
    pub(super) fn kind(&self) -> AlertMask {
        match self {
            Self::Checking { .. } | Self::Saving { .. } | Self::Progress { .. } => {
                AlertMask::PROGRESS
            }
            Self::FetchingMetadata { .. } => AlertMask::PROGRESS,
            Self::MetadataReceived { .. } | Self::MetadataRefused { .. } => AlertMask::NONE,
            Self::HashesContradict { .. } => AlertMask::NONE,
            Self::PieceDone { .. } | Self::PieceFailed { .. } => AlertMask::PIECES,
            Self::PeerConnected { .. } | Self::PeerGone { .. } => AlertMask::PEERS,
            Self::PeerBanned { .. } => AlertMask::BANS,
            Self::TrackerReplied { .. } | Self::TrackerFailed { .. } => AlertMask::TRACKERS,
            Self::TrackerWarning { .. } | Self::Scraped { .. } => AlertMask::TRACKERS,
            Self::WebSeedFailed { .. } => AlertMask::WEB_SEEDS,
            Self::StopReached { .. } | Self::ReadFailed { .. } => AlertMask::STATUS,
            Self::Opened { .. } | Self::Checked { .. } | Self::Saved { .. } => AlertMask::STATUS,
            Self::Recorded { .. } | Self::NamesChanged { .. } => AlertMask::STATUS,
            Self::LocalDiscoveryFailed { .. }
            | Self::PortMapped { .. }
            | Self::PortMappingFailed { .. }
            | Self::ProxyFailed { .. }
            | Self::ProxyRecovered { .. } => AlertMask::STATUS,
            Self::Merged { .. } => AlertMask::NONE,
            Self::NoPeers { .. } | Self::StorageRecovered { .. } => AlertMask::NONE,
            Self::Restored { .. } | Self::SessionFailed { .. } => AlertMask::NONE,
            Self::Finished { .. } | Self::StorageFailed { .. } | Self::Distrusted { .. } => {
                AlertMask::NONE
            }
            Self::DataGone { .. } | Self::FilesTooLong { .. } => AlertMask::NONE,
            Self::StorageMoved { .. } | Self::StorageMoveFailed { .. } => AlertMask::NONE,
            Self::FileRenamed { .. } | Self::FileRenameFailed { .. } => AlertMask::NONE,
            Self::DataDeleted { .. } | Self::DeleteFailed { .. } => AlertMask::NONE,
            Self::FilesShared { .. } | Self::ReadDone { .. } => AlertMask::NONE,
            Self::Removed { .. } | Self::Marked { .. } | Self::Dropped { .. } => AlertMask::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_prints_the_names_of_its_kinds() {
        assert_eq!(AlertMask::NONE.to_string(), "NONE");
        assert_eq!(
            format!("{:?}", AlertMask::PEERS | AlertMask::STATUS),
            "AlertMask(STATUS | PEERS)"
        );
        assert_eq!(AlertMask::ALL.to_string().split(" | ").count(), NAMES.len());
        assert_eq!(
            NAMES.iter().fold(AlertMask::NONE, |all, (kind, _)| all | *kind),
            AlertMask::ALL
        );
    }

    #[test]
    fn default_mask_has_trackers_and_no_kind_of_each_piece_or_peer() {
        let mask = AlertMask::default();
        assert!(mask.contains(AlertMask::TRACKERS) && mask.contains(AlertMask::STATUS));
        assert!(!mask.contains(AlertMask::PIECES) && !mask.contains(AlertMask::PEERS));
    }
}
