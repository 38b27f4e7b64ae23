//! A saved state as data: what is worth what is decided in `state`.

use crate::base::{bitfield::Bitfield, partial::PartialPiece};

/// A state as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) have: Bitfield,
    /// Whether we may have written after it was saved.
    pub(super) dirty: bool,
    /// Pieces of which some blocks are there.
    pub(super) partial: Vec<PartialPiece>,
    /// Pieces that a check had not come to.
    pub(super) unchecked: Bitfield,
    /// Length and time of change of each file; `None` where it was not there or is not vouched
    /// for.
    pub(super) files: Vec<Option<(u64, i64)>>,
    /// The same of the part file.
    pub(super) parts: Option<(u64, i64)>,
    /// When the state file itself was written, in nanoseconds since 1970.
    pub(super) saved_at_ns: i64,
}
