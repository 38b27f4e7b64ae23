//! One peer: who it is, what it has, how both ends stand, what it speaks. Its requests and uploads
//! know this and do not change it.

use super::{Terms, availability::Availability, choke_state::ChokeState, extensions::Extensions};
use crate::{
    base::arena::Key,
    torrent::progress::{Contributor, OrderKey, Supplier},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its key in the torrent.
    pub(super) key: Key,
    /// The connection.
    pub(super) link: Key,
    pub(super) who: Contributor,
    pub(super) terms: Terms,
    pub(super) availability: Availability,
    pub(super) choke: ChokeState,
    pub(super) extensions: Extensions,
}

impl Peer {
    /// What a block is on order with.
    pub(super) fn order_key(&self) -> OrderKey {
        OrderKey::Peer(self.link)
    }

    /// Who sends a block.
    pub(super) fn supplier(&self) -> Supplier {
        Supplier::Peer(self.who)
    }

    /// Whether it wants no data: it has everything, or says so (BEP 21).
    pub(super) fn is_upload_only(&self) -> bool {
        self.extensions.says_upload_only() || self.availability.is_seed()
    }

    /// Whether it wants something of us: by its own word, unless it wants no data at all.
    pub(super) fn is_interested(&self) -> bool {
        self.choke.says_interested() && !self.extensions.says_upload_only()
    }
}
