//! The info dictionary of a torrent, as its peers may have it (BEP 9). That of a torrent in a
//! session folder is not kept in memory: it is read back when a peer asks, and let go of when none
//! has asked for a while. How much is held so over all torrents is bounded.
//!
//! It knows no job and no peer.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::base::time::Instant;

/// How long a dictionary that was read back stays after it was asked for.
const KEPT: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) enum Info {
    /// A part of the file that it was read from.
    Here(Arc<[u8]>, Range<usize>),
    /// This part of the torrent's metainfo file in the session folder.
    Stored(Range<usize>, Copy),
}

/// Whether what is stored is in memory, too.
#[derive(Debug, Default)]
pub(crate) enum Copy {
    #[default]
    None,
    /// A worker reads it.
    Coming(Held),
    /// It is, and was asked for last at `used`.
    Held { bytes: Vec<u8>, used: Instant, _memory: Held },
}

/// What comes of wanting to have a dictionary at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// There is no memory for it.
    Refused,
    /// It is to be read: this part of the metainfo file.
    Read,
    /// It is being read, or is here.
    Coming,
}

impl Info {
    pub(crate) fn stored(span: Range<usize>) -> Self {
        Self::Stored(span, Copy::None)
    }

    /// Its bytes in all.
    pub(crate) fn len(&self) -> usize {
        let (Self::Here(_, span) | Self::Stored(span, _)) = self;
        span.len()
    }

    /// Its bytes, if they are in memory.
    pub(crate) fn bytes(&mut self, now: Instant) -> Option<&[u8]> {
        match self {
            Self::Here(file, span) => file.get(span.clone()),
            Self::Stored(_, Copy::Held { bytes, used, .. }) => {
                *used = now;
                Some(bytes)
            }
            Self::Stored(..) => None,
        }
    }

    /// It is needed in memory.
    #[must_use]
    pub(crate) fn want(&mut self, memory: &InfoMemory) -> Want {
        let len = self.len();
        match self {
            Self::Stored(_, copy @ Copy::None) => match memory.take(len) {
                Some(held) => {
                    *copy = Copy::Coming(held);
                    Want::Read
                }
                None => Want::Refused,
            },
            _ => Want::Coming,
        }
    }

    /// Which part of the metainfo file it is.
    pub(crate) fn span(&self) -> Range<usize> {
        let (Self::Here(_, span) | Self::Stored(span, _)) = self;
        span.clone()
    }

    /// It was read, or could not be.
    pub(crate) fn handle_read(&mut self, now: Instant, bytes: Option<Vec<u8>>) {
        let len = self.len();
        if let Self::Stored(_, copy @ Copy::Coming(_)) = self
            && let Copy::Coming(memory) = std::mem::take(copy)
            && let Some(bytes) = bytes.filter(|bytes| bytes.len() == len)
        {
            *copy = Copy::Held { bytes, used: now, _memory: memory };
        }
    }

    /// Lets go of what was not asked for lately. When it is to be looked at again, if ever.
    pub(crate) fn let_go(&mut self, now: Instant) -> Option<Instant> {
        let Self::Stored(_, copy) = self else { return None };
        let Copy::Held { used, .. } = copy else { return None };
        let due = *used + KEPT;
        if due <= now {
            *copy = Copy::None;
            return None;
        }
        Some(due)
    }
}

/// The memory for dictionaries that are read back, over all torrents.
#[derive(Debug)]
pub(crate) struct InfoMemory {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// Memory that comes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl InfoMemory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    fn take(&self, bytes: usize) -> Option<Held> {
        let used = self.used.load(Ordering::Relaxed);
        if used.saturating_add(bytes) > self.limit {
            return None;
        }
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Some(Held { used: self.used.clone(), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    #[test]
    fn stored_dictionary_is_read_when_wanted_and_let_go_later() {
        let memory = InfoMemory::new(10);
        let mut info = Info::stored(5..12);
        assert_eq!((info.len(), info.bytes(at(0))), (7, None));
        assert_eq!(info.want(&memory), Want::Read);
        assert_eq!(info.want(&memory), Want::Coming);
        info.handle_read(at(1), Some(vec![9; 7]));
        assert_eq!(info.bytes(at(20)), Some(&[9; 7][..]));
        assert_eq!(info.let_go(at(40)), Some(at(50)));
        assert_eq!((info.let_go(at(50)), info.bytes(at(50))), (None, None));
        assert_eq!(info.want(&memory), Want::Read, "the memory came back");
        info.handle_read(at(51), Some(vec![9; 8]));
        assert_eq!(info.bytes(at(51)), None, "it is another one");
        assert_eq!(info.want(&memory), Want::Read);
    }

    #[test]
    fn memory_is_bounded_over_all_torrents_and_comes_back() {
        let memory = InfoMemory::new(10);
        let (mut one, mut other) = (Info::stored(0..7), Info::stored(0..4));
        assert_eq!(one.want(&memory), Want::Read);
        assert_eq!(other.want(&memory), Want::Refused);
        drop(one);
        assert_eq!(other.want(&memory), Want::Read);
    }
}
