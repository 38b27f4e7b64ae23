//! Where every read goes first; hot in cache, as nothing else is.

/// What many datagrams that are read by one call have at most (`UDP_GRO`). The rest of them would
/// be gone, and the last one be cut.
const LEAST: usize = 1 << 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Scratch {
    bytes: Box<[u8]>,
}

impl Scratch {
    /// For reads of `len` bytes, and of datagrams.
    pub(super) fn new(len: usize) -> Self {
        Self { bytes: vec![0; len.max(LEAST)].into_boxed_slice() }
    }

    /// All of it, to be read into.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `len` bytes: to be read into, or what was read.
    pub(super) fn first(&mut self, len: usize) -> &mut [u8] {
        self.bytes.get_mut(..len).unwrap_or_default()
    }
}
