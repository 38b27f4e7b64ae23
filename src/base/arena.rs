//! A slab whose keys carry a generation, so that a late answer for a reused slot finds nothing.

use slab::Slab;

/// The key of a value in an arena: a slot and the generation of its tenant.
///
/// Whatever leaves the engine's thread (a socket, a job) carries one. A key outlives its value
/// harmlessly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The slot in the arena: small, dense, reused.
    pub index: u32,
    /// Counts the tenants of all slots; never repeats within a run.
    pub generation: u32,
}

/// Values by generational key. Iteration is in slot order.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slab: Slab<(u32, T)>,
    next_generation: u32,
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), next_generation: 1 }
    }

    /// Makes room for exactly so many more.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.slab.reserve_exact(count);
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Inserts what `make` makes of the key to be.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let entry = self.slab.vacant_entry();
        let key = Key { index: entry.key() as u32, generation };
        entry.insert((generation, make(key)));
        key
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.slab.get(key.index as usize) {
            Some((generation, value)) if is_tenant(*generation, key) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slab.get_mut(key.index as usize) {
            Some((generation, value)) if is_tenant(*generation, key) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.slab.remove(key.index as usize).1)
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slab.iter().map(|(index, (generation, value))| {
            (Key { index: index as u32, generation: *generation }, value)
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.slab.iter_mut().map(|(index, (generation, value))| {
            (Key { index: index as u32, generation: *generation }, value)
        })
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }
}

fn is_tenant(generation: u32, key: Key) -> bool {
    generation == key.generation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut arena = Arena::new();
        let a = arena.insert("a");
        assert_eq!(arena.remove(a), Some("a"));
        let b = arena.insert("b");
        assert_eq!(a.index, b.index);
        assert_eq!(arena.get(a), None);
        assert_eq!(arena.remove(a), None);
        assert_eq!(arena.get_mut(b), Some(&mut "b"));
        assert_eq!(arena.keys(), [b]);
        assert_eq!(arena.len(), 1);
    }
}
