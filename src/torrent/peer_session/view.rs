//! What the parts of a peer session may know of the others, and do not change.

use super::{Terms, availability::Availability, choke_state::ChokeState, extensions::Extensions};
use crate::{base::arena::Key, torrent::progress::Contributor};

/// One peer as its requests and uploads see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// Its key in the torrent.
    pub(super) key: Key,
    /// The connection.
    pub(super) link: Key,
    pub(super) who: Contributor,
    /// Both speak the fast extension (BEP 6).
    pub(super) fast: bool,
    pub(super) availability: &'a Availability,
    pub(super) choke: &'a ChokeState,
    extensions: &'a Extensions,
}

impl<'a> View<'a> {
    pub(super) fn new(
        key: Key,
        link: Key,
        who: Contributor,
        terms: &Terms,
        availability: &'a Availability,
        choke: &'a ChokeState,
        extensions: &'a Extensions,
    ) -> Self {
        Self { key, link, who, fast: terms.fast, availability, choke, extensions }
    }

    /// Whether the peer wants no data: it has everything, or says so (BEP 21).
    pub(super) fn is_upload_only(&self) -> bool {
        self.extensions.says_upload_only() || self.availability.is_seed()
    }

    /// Whether the peer wants something of us.
    pub(super) fn is_interested(&self) -> bool {
        self.choke.says_interested() && !self.extensions.says_upload_only()
    }
}
