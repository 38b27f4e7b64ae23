//! The lists of pieces that were in progress, for those that are begun next: in a download at full
//! speed pieces come and go, and need no memory of their own.

use super::runs::Spare;

/// Lists that are kept for pieces to come.
const MAX_SPARES: usize = 8;
/// Blocks of the largest piece whose lists are kept: 64 MiB.
const MAX_BLOCKS: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<Spare>);

impl Spares {
    /// Lists for a piece that is begun.
    pub(crate) fn take(&mut self) -> Spare {
        self.0.pop().unwrap_or_default()
    }

    /// A piece has left its lists.
    pub(crate) fn give(&mut self, spare: Spare) {
        if self.0.len() < MAX_SPARES && spare.blocks.capacity() <= MAX_BLOCKS {
            self.0.push(spare);
        }
    }

    /// No piece will be begun for now.
    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare(blocks: usize) -> Spare {
        Spare { blocks: Vec::with_capacity(blocks), ..Spare::default() }
    }

    #[test]
    fn spares_are_bounded_in_number_and_size() {
        let mut spares = Spares::default();
        spares.give(spare(MAX_BLOCKS + 1));
        assert!(spares.0.is_empty());
        (0..20).for_each(|_| spares.give(spare(16)));
        assert_eq!(spares.0.len(), MAX_SPARES);
        assert!(spares.take().blocks.capacity() >= 16);
        spares.clear();
        assert_eq!((spares.0.capacity(), spares.take().blocks.capacity()), (0, 0));
    }
}
