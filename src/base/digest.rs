//! SHA-1 values that travel between the engine and the workers. The arithmetic is the store's.

/// A SHA-1 digest.
pub type Digest = [u8; 20];

/// A SHA-1 computation paused at a 64-byte border, so that a large piece can be hashed in runs by
/// whichever worker is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha1State {
    /// The five chaining words (FIPS 180-4, 6.1).
    pub words: [u32; 5],
    /// Bytes hashed so far; a multiple of 64.
    pub len: u64,
}

impl Sha1State {
    /// The state before any input (FIPS 180-4, 5.3.1).
    pub const INITIAL: Self =
        Self { words: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0], len: 0 };
}

impl Default for Sha1State {
    fn default() -> Self {
        Self::INITIAL
    }
}
