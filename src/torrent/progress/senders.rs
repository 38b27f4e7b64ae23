//! Who sent which block of a piece, for blame. It does not know what was right.

use super::Supplier;

/// In place of one that is not known: of an earlier run of the process, or beyond the first 255.
const UNKNOWN: u8 = u8::MAX;

/// The lists of [`Senders`], empty.
#[derive(Debug, Default)]
pub(super) struct SpareSenders {
    by: Vec<u8>,
    suppliers: Vec<Supplier>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Senders {
    /// Which supplier each block came from.
    by: Vec<u8>,
    suppliers: Vec<Supplier>,
    /// Some of it came in an earlier run of the process.
    restored: bool,
}

impl Senders {
    /// Of so many blocks, none of which has come, in lists that another piece has left.
    pub(super) fn new(count: u32, spare: SpareSenders) -> Self {
        let SpareSenders { mut by, suppliers } = spare;
        by.resize(count as usize, 0);
        Self { by, suppliers, restored: false }
    }

    /// The lists, empty, for another piece.
    pub(super) fn into_spare(self) -> SpareSenders {
        let Self { mut by, mut suppliers, .. } = self;
        by.clear();
        suppliers.clear();
        SpareSenders { by, suppliers }
    }

    /// What is here came in an earlier run of the process.
    pub(super) fn forget(&mut self) {
        self.restored = true;
        self.by.fill(UNKNOWN);
    }

    pub(super) fn is_restored(&self) -> bool {
        self.restored
    }

    /// A block came from this one. The 256th supplier and later are not remembered: they cannot be
    /// blamed, and no other is in their place.
    pub(super) fn note(&mut self, nth: u32, from: Supplier) {
        let known = self.suppliers.iter().position(|supplier| *supplier == from);
        let at = match known.map(u8::try_from) {
            Some(at) => at.unwrap_or(UNKNOWN),
            None if self.suppliers.len() < usize::from(UNKNOWN) => {
                self.suppliers.push(from);
                (self.suppliers.len() - 1) as u8
            }
            None => UNKNOWN,
        };
        if let Some(by) = self.by.get_mut(nth as usize) {
            *by = at;
        }
    }

    /// All that have sent something.
    pub(super) fn all(&self) -> &[Supplier] {
        &self.suppliers
    }

    /// Who sent each block.
    pub(super) fn by_block(&self) -> Vec<Option<Supplier>> {
        self.by.iter().map(|&by| self.suppliers.get(usize::from(by)).copied()).collect()
    }
}
