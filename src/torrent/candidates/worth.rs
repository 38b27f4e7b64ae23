//! Which candidate makes room for a new one when there are as many as may be. Those that failed go
//! first, what any host may have named before what a tracker has, the most often failed before the
//! others; one that the user has named goes for another of the user's alone. Of those never tried,
//! the kind of source that has named the most gives way, and of its sources (trackers, peers) the
//! one that has. One that was connected before does only after many failures. Only idle candidates
//! stand here; when one is dialled is not decided here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::source::{PeerSource, Source, Standing};
use crate::base::time::Instant;

/// After so many failures in a row it does not count any more that a candidate was connected once:
/// a swarm's peers of hours ago must not take the room of new ones.
const MANY_FAILURES: u32 = 8;

/// What a candidate is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worth {
    pub(super) source: Source,
    /// It was connected once.
    pub(super) proven: bool,
    /// Dials in a row that were of no use.
    pub(super) failures: u32,
    /// Since when it is idle, or will be.
    pub(super) since: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Failed ones by whose word they are and how often they failed.
    failed: BTreeSet<(Standing, u32, Instant, SocketAddr)>,
    /// Those never tried by source, the newest last.
    fresh: BTreeMap<Source, BTreeSet<(Instant, SocketAddr)>>,
}

impl Room {
    pub(super) fn insert(&mut self, addr: SocketAddr, worth: Worth) {
        match worth {
            Worth { proven: true, failures: ..MANY_FAILURES, .. } => {}
            Worth { failures: 0, source, since, .. } => {
                _ = self.fresh.entry(source).or_default().insert((since, addr))
            }
            Worth { failures, source, since, .. } => {
                _ = self.failed.insert((source.standing(), failures, since, addr));
            }
        }
    }

    pub(super) fn remove(&mut self, addr: SocketAddr, worth: Worth) {
        match worth {
            Worth { proven: true, failures: ..MANY_FAILURES, .. } => {}
            Worth { failures: 0, source, since, .. } => {
                if let Some(fresh) = self.fresh.get_mut(&source) {
                    fresh.remove(&(since, addr));
                    if fresh.is_empty() {
                        self.fresh.remove(&source);
                    }
                }
            }
            Worth { failures, source, since, .. } => {
                _ = self.failed.remove(&(source.standing(), failures, since, addr));
            }
        }
    }

    /// The one that makes room for a new one of `source`, if any is worth less.
    pub(super) fn least(&self, source: Source) -> Option<SocketAddr> {
        if let Some(&(standing, .., addr)) = self.failed.last()
            && (standing > Standing::User || source == Source::User)
        {
            return Some(addr);
        }
        let kinds = self.kinds();
        let own = kinds.get(&source.kind()).copied().unwrap_or(0);
        let (&kind, &most) = kinds.iter().max_by_key(|&(_, &fresh)| fresh)?;
        // Otherwise two kinds, or two sources of one, would take the last place from each other on
        // and on.
        let kind = if most > own + 1 { kind } else { source.kind() };
        let limit = if kind == source.kind() { self.fresh_of(source) + 1 } else { 0 };
        let fullest = self.fresh.iter().filter(|(from, _)| from.kind() == kind);
        let (_, fullest) = fullest.max_by_key(|(_, fresh)| fresh.len())?;
        if fullest.len() > limit { fullest.last().map(|&(_, addr)| addr) } else { None }
    }

    /// Candidates of this source that were never tried.
    pub(super) fn fresh_of(&self, source: Source) -> usize {
        self.fresh.get(&source).map_or(0, BTreeSet::len)
    }

    /// The one of these that is known for the longest time.
    pub(super) fn oldest_of(&self, source: Source) -> Option<SocketAddr> {
        self.fresh.get(&source)?.first().map(|&(_, addr)| addr)
    }

    fn kinds(&self) -> BTreeMap<PeerSource, usize> {
        let mut kinds = BTreeMap::new();
        for (source, fresh) in &self.fresh {
            *kinds.entry(source.kind()).or_default() += fresh.len();
        }
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torrent::announcer::TrackerNo;

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], n))
    }

    #[test]
    fn failed_then_largest_source_make_room_and_proven_never() {
        let worth = |source, failures, proven, at| Worth {
            source,
            failures,
            proven,
            since: Instant::from_micros(at),
        };
        let (a, b) = (Source::Tracker(TrackerNo::from(1)), Source::Tracker(TrackerNo::from(2)));
        let mut room = Room::default();
        room.insert(addr(1), worth(a, 0, true, 1));
        assert_eq!(room.least(b), None);
        for n in 2..=5 {
            room.insert(addr(n), worth(a, 0, false, n.into()));
        }
        assert_eq!((room.least(a), room.least(b)), (None, Some(addr(5))));
        room.insert(addr(6), worth(b, 0, false, 6));
        room.insert(addr(7), worth(b, 0, false, 7));
        assert_eq!(room.least(Source::User), Some(addr(5)));
        room.insert(addr(8), worth(b, 1, false, 8));
        room.insert(addr(9), worth(a, 3, false, 9));
        assert_eq!(room.least(a), Some(addr(9)));
        room.remove(addr(9), worth(a, 3, false, 9));
        assert_eq!(room.least(a), Some(addr(8)));
        room.remove(addr(8), worth(b, 1, false, 8));
        (2..=5).for_each(|n| room.remove(addr(n), worth(a, 0, false, n.into())));
        assert_eq!((room.least(a), room.least(b)), (Some(addr(7)), None));
    }

    #[test]
    fn peer_once_connected_makes_room_after_many_failures() {
        let since = Instant::from_micros(1);
        let worth = |failures| Worth { source: Source::Dht, proven: true, failures, since };
        let mut room = Room::default();
        room.insert(addr(1), worth(MANY_FAILURES - 1));
        assert_eq!(room.least(Source::User), None);
        room.insert(addr(2), worth(MANY_FAILURES));
        assert_eq!(room.least(Source::Dht), Some(addr(2)));
        room.remove(addr(2), worth(MANY_FAILURES));
        assert_eq!(room.least(Source::User), None);
    }

    #[test]
    fn failed_peer_of_the_user_makes_room_for_no_other_source() {
        let failed = |source, failures| Worth {
            source,
            failures,
            proven: false,
            since: Instant::from_micros(1),
        };
        let tracker = Source::Tracker(TrackerNo::from(1));
        let mut room = Room::default();
        room.insert(addr(1), failed(Source::User, 9));
        for source in [tracker, Source::Pex([192, 0, 2, 1].into()), Source::Dht, Source::Lsd] {
            assert_eq!(room.least(source), None, "{source:?}");
        }
        assert_eq!(room.least(Source::User), Some(addr(1)));
        // What any host may have named goes before what a tracker has.
        room.insert(addr(2), failed(tracker, 5));
        assert_eq!(room.least(Source::Dht), Some(addr(2)));
        room.insert(addr(3), failed(Source::Dht, 1));
        assert_eq!(room.least(tracker), Some(addr(3)));
    }

    #[test]
    fn kinds_of_sources_share_the_room_however_many_sources_one_has() {
        let mut room = Room::default();
        let fresh = |source, n: u16| Worth {
            source,
            failures: 0,
            proven: false,
            since: Instant::from_micros(n.into()),
        };
        let tracker = Source::Tracker(TrackerNo::from(1));
        let pex = |n: u16| Source::Pex([192, 0, 2, (n % 100) as u8].into());
        // A hundred peers name one each, a tracker as many as all of them.
        (0..100).for_each(|n| room.insert(addr(n), fresh(pex(n), n)));
        (100..200).for_each(|n| room.insert(addr(n), fresh(tracker, n)));
        assert_eq!((room.least(tracker), room.least(pex(1))), (None, None));
        assert!(room.least(Source::Dht).is_some());
        // One of the peers names ten more: they are the ones that give way.
        (200..210).for_each(|n| room.insert(addr(n), fresh(pex(7), n)));
        assert_eq!((room.least(tracker), room.least(pex(1))), (Some(addr(209)), Some(addr(209))));
        assert_eq!(room.least(pex(7)), None);
        assert_eq!((room.fresh_of(pex(7)), room.oldest_of(pex(7))), (11, Some(addr(7))));
    }
}
