//! What a preamble may leave behind for as long as a connection lasts: a cipher for each direction.

use std::fmt::Debug;

/// Enciphers or deciphers one direction of a stream, byte by byte and in order (as RC4 does).
pub(crate) trait Cipher: Debug + Send {
    /// Works on the next bytes of the stream where they lie.
    fn apply(&mut self, bytes: &mut [u8]);
}

/// One for each direction that is enciphered.
#[derive(Debug)]
pub(crate) struct Ciphers {
    pub(crate) incoming: Option<Box<dyn Cipher>>,
    pub(crate) outgoing: Option<Box<dyn Cipher>>,
}
