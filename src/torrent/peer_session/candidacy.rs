//! Where a connected peer can be dialled, and what becomes of that candidate when the connection
//! ends. It does not know the torrent's candidates.

use std::net::SocketAddr;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Candidacy {
    /// It makes room for others and is not to blame.
    pub(super) let_go: bool,
    /// Where the peer can be dialled, if it has dialled us: by its own word, or since we did and
    /// it was the same.
    pub(super) reach: Option<SocketAddr>,
    /// The candidate at `reach` counts as busy as long as this session lasts.
    pub(super) holds: bool,
}
