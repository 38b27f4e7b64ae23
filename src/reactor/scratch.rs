//! Where every read goes first; hot in cache, as nothing else is.

/// See the module.
#[derive(Debug)]
pub(super) struct Scratch {
    bytes: Box<[u8]>,
}

impl Scratch {
    pub(super) fn new(len: usize) -> Self {
        Self { bytes: vec![0; len].into_boxed_slice() }
    }

    /// The most that one read may bring.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
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
