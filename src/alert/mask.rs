//! Sets of kinds of alerts, and which kind an alert is of. That a kind is wanted does not mean that it comes.

use std::ops::BitOr;

use super::Alert;

/// A set of alert kinds.
///
/// ```
/// use cratetorrent::AlertMask;
///
/// let mask = AlertMask::STATUS | AlertMask::PIECES;
/// assert!(mask.contains(AlertMask::PIECES));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertMask(u32);

impl AlertMask {
    /// None but the ones that are never dropped.
    pub const NONE: Self = Self(0);
    /// Opened, checked, finished, storage, removed, saved.
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
    /// Everything.
    pub const ALL: Self = Self(63);

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Default for AlertMask {
    fn default() -> Self {
        Self::STATUS | Self::PROGRESS | Self::BANS
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
            Self::Checking { .. } | Self::Progress { .. } => AlertMask::PROGRESS,
            Self::PieceDone { .. } | Self::PieceFailed { .. } => AlertMask::PIECES,
            Self::PeerConnected { .. } | Self::PeerGone { .. } => AlertMask::PEERS,
            Self::PeerBanned { .. } => AlertMask::BANS,
            Self::TrackerReplied { .. } | Self::TrackerFailed { .. } => AlertMask::TRACKERS,
            Self::TrackerWarning { .. } | Self::Scraped { .. } => AlertMask::TRACKERS,
            Self::StopReached { .. } | Self::ReadFailed { .. } => AlertMask::STATUS,
            Self::Opened { .. } | Self::Checked { .. } | Self::Saved { .. } | Self::StorageRecovered { .. } => AlertMask::STATUS,
            Self::Recorded { .. } => AlertMask::STATUS,
            Self::Restored { .. } | Self::SessionFailed { .. } => AlertMask::NONE,
            Self::Finished { .. } | Self::StorageFailed { .. } | Self::Distrusted { .. } => AlertMask::NONE,
            Self::StorageMoved { .. } | Self::StorageMoveFailed { .. } => AlertMask::NONE,
            Self::FileRenamed { .. } | Self::FileRenameFailed { .. } => AlertMask::NONE,
            Self::DataDeleted { .. } | Self::DeleteFailed { .. } => AlertMask::NONE,
            Self::Removed { .. } | Self::Marked { .. } | Self::Dropped { .. } => AlertMask::NONE,
        }
    }
}
