//! What a torrent's trackers have heard of it and what they have still to hear, as it is kept from
//! one run to the next. Plain values: when an event is due, and who sends it, is decided elsewhere.

use crate::base::ids::PeerId;

/// Bytes that the kept events of a torrent may take together; the oldest are dropped first.
const MAX_OWED: usize = 2048;
/// Bytes of one event besides the tracker's address, generously.
const OVERHEAD: usize = 160;

/// How far the `completed` event (BEP 3) of a torrent is. It is sent once in the torrent's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completion {
    /// The torrent never became complete by downloading.
    #[default]
    None,
    /// It did, and no tracker has acknowledged that.
    Due,
    /// A tracker has acknowledged it.
    Told,
}

/// An event that a tracker never acknowledged, with the numbers that it would have heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedEvent {
    /// The tracker's address.
    pub url: String,
    /// True for `completed`, false for `stopped`.
    pub completed: bool,
    /// The peer that the tracker knows.
    pub peer_id: PeerId,
    /// The `key` that belongs to that peer (BEP 7).
    pub key: u32,
    /// Bytes sent, as the event says.
    pub uploaded: u64,
    /// Bytes received, as the event says.
    pub downloaded: u64,
    /// Bytes missing, as the event says.
    pub left: u64,
}

/// See the module. [`Engine::params`](crate::Engine::params) tells it, and the session folder and
/// the state file keep it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackerEvents {
    /// How far `completed` is.
    pub completion: Completion,
    /// Events that were never acknowledged, oldest first, some 2 KiB at most.
    pub owed: Vec<OwedEvent>,
}

impl TrackerEvents {
    /// Takes an event in; of a tracker's earlier ones of the same kind and peer, the last counts.
    pub(crate) fn owe(&mut self, event: OwedEvent) {
        self.owed.retain(|known| !known.is_like(&event));
        self.owed.push(event);
        self.bound();
    }

    /// Drops the oldest events beyond what may be kept.
    pub(crate) fn bound(&mut self) {
        let len = |event: &OwedEvent| event.url.len().saturating_add(OVERHEAD);
        let mut total: usize = self.owed.iter().map(len).fold(0, usize::saturating_add);
        self.owed.retain(|event| {
            let keep = total <= MAX_OWED;
            if !keep {
                total = total.saturating_sub(len(event));
            }
            keep
        });
    }
}

impl OwedEvent {
    fn is_like(&self, other: &Self) -> bool {
        (self.completed, self.peer_id, &self.url) == (other.completed, other.peer_id, &other.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(url: &str, completed: bool, uploaded: u64) -> OwedEvent {
        let peer_id = PeerId([1; 20]);
        OwedEvent { url: url.into(), completed, peer_id, key: 1, uploaded, downloaded: 0, left: 0 }
    }

    #[test]
    fn owed_events_are_bounded_and_the_newest_stay() {
        let mut events = TrackerEvents::default();
        for n in 0..1000 {
            events.owe(event(&format!("udp://t{n}/{}", "x".repeat(100)), n % 2 == 0, n));
        }
        assert!((2..=MAX_OWED / OVERHEAD).contains(&events.owed.len()));
        assert_eq!(events.owed.last().map(|e| e.uploaded), Some(999));
        events.owe(event(&"u".repeat(5000), true, 0));
        assert_eq!(events.owed, []);
        events.owe(event("a", false, 1));
        events.owe(event("a", true, 2));
        events.owe(event("a", false, 3));
        assert_eq!(events.owed.iter().map(|e| e.uploaded).collect::<Vec<_>>(), [2, 3]);
    }
}
