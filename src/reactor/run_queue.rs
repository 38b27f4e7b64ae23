//! Which sockets have work left. Readiness is told once (edge-triggered), so a socket that is not
//! served to the end must be remembered.
//!
//! Knows slots only. A slot that changed its tenant meanwhile is looked at once in vain.

use std::collections::VecDeque;

use fixedbitset::FixedBitSet;

/// Slots in the order in which they asked, each at most once.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    order: VecDeque<usize>,
    waiting: FixedBitSet,
}

impl RunQueue {
    /// Appends `slot` unless it waits already.
    pub(crate) fn push(&mut self, slot: usize) {
        self.waiting.grow(slot + 1);
        if !self.waiting.put(slot) {
            self.order.push_back(slot);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<usize> {
        let slot = self.order.pop_front()?;
        self.waiting.set(slot, false);
        Some(slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
