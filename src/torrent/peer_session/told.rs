//! What a peer has said before its session begins, and what it knows of us. It does not know how
//! messages are read.

use crate::base::bitfield::Bitfield;

/// What a peer was told, and has not been told otherwise since.
#[derive(Debug)]
pub(super) struct Told {
    /// The pieces that we have.
    pub(super) have: Bitfield,
    /// That we want no data (BEP 21).
    pub(super) upload_only: bool,
    /// How many blocks we want of it: orders that were called off, which it may answer all the
    /// same.
    pub(super) orders: u32,
}

/// What the session of a peer begins with that was connected before there was content, or while the
/// torrent was opened anew.
#[derive(Debug)]
pub(super) struct Heard {
    /// Messages, as they came.
    pub(super) said: Vec<u8>,
    /// What it was told; `None`: that we have nothing.
    pub(super) told: Option<Box<Told>>,
    /// It was told that we are interested.
    pub(super) interested: bool,
}
