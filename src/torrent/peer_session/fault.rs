//! Why a peer is let go, and how often it may do what a peer should not.
//!
//! It counts nothing itself.

use std::time::Duration;

use crate::{
    base::{bitfield::BitfieldError, geometry::GeometryError, storage::StoreError},
    proto::{metadata::MetadataFault, pex::PexFlood},
    wire::{
        extension::ExtensionError, frame::FrameError, message::MessageError,
        ut_metadata::MetadataMessageError,
    },
};

/// Requests that make no sense, after which a peer is let go.
pub(super) const MAX_INVALID_REQUESTS: u32 = 300;
/// Blocks that were not asked for, after which a peer is let go.
pub(super) const MAX_UNASKED: u32 = 1000;
/// Requests for allowed pieces beyond what it may have of them while choked (BEP 6), after which a
/// peer is let go.
pub(super) const MAX_GREEDY: u32 = 50;
/// Other requests in one choke, after which a peer is let go. What was on its way when the choke
/// came is less.
pub(super) const MAX_CHOKED_REQUESTS: u32 = 2000;
/// Orders turned down in a row, after which a peer is let go. What a choke turns down counts as
/// one: BEP 6 wants it so.
pub(super) const MAX_REJECTS: u32 = 1000;
/// Batches for a peer in a row that could not be read, after which it is let go: it would go on
/// asking for what it does not get.
pub(super) const MAX_UNREAD: u32 = 50;

/// Why a peer is let go.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it sent a bad frame: {0}")]
    Frame(#[from] FrameError),
    #[error("it sent a bad message: {0}")]
    Message(#[from] MessageError),
    #[error("it sent {0}")]
    Bitfield(#[from] BitfieldError),
    #[error("it spoke of {0}")]
    Geometry(#[from] GeometryError),
    #[error("its extension handshake is wrong: {0}")]
    Extension(#[from] ExtensionError),
    #[error("it sent a bad metadata message: {0}")]
    MetadataMessage(#[from] MetadataMessageError),
    #[error("it broke the rules of the metadata exchange: {0}")]
    Metadata(#[from] MetadataFault),
    #[error("it sent {0}")]
    PeerExchange(#[from] PexFlood),
    #[error("it told more than {0} times all that it has")]
    Retold(u32),
    #[error("it lost pieces more than {0} times")]
    Lost(u32),
    #[error("it uses the fast extension without having agreed to it")]
    NotFast,
    #[error("it made more than {MAX_INVALID_REQUESTS} requests that make no sense")]
    InvalidRequests,
    #[error("it made more than {MAX_CHOKED_REQUESTS} requests while it was choked")]
    ChokedRequests,
    #[error("it asked {MAX_GREEDY} times too often for pieces that it may have while choked")]
    Greedy,
    #[error("it sent or turned down more than {MAX_UNASKED} blocks that were not asked for")]
    Unasked,
    #[error("it turned down more than {MAX_REJECTS} requests in a row")]
    Rejects,
    #[error("it asks and does not read the answers: {0} bytes are waiting")]
    Backlog(usize),
    #[error("the rest of a block for it cannot be read: {0}")]
    Owed(StoreError),
    #[error("what it asks for cannot be read: {0}")]
    Unread(StoreError),
    #[error("it said more than {0} bytes of its pieces before they are known")]
    TooMuchBeforeContent(usize),
    #[error("it asked for or sent blocks {0} times before they are known")]
    Pointless(u32),
    #[error("it was silent for {0:?}")]
    Silent(Duration),
    #[error("it sent nothing useful for {0:?}")]
    Useless(Duration),
}
