//! The list of a torrent's trackers: made of the metainfo's addresses or of the user's in their
//! place, and made anew when those change. Addresses stay where they are; a tracker knows only its
//! place among them.

use super::{Announcer, Tracker, TrackerNo};
use crate::{base::rng::Rng, conf::Conf};

/// A tracker that is not in the list any more and must hear that we are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) url: String,
    /// What it wants to be sent back to it.
    pub(crate) tracker_id: Option<Vec<u8>>,
    /// It has to hear of the completion first.
    pub(crate) completed: bool,
}

impl Announcer {
    /// Makes a list of the addresses, tiers shuffled (BEP 12). What is known of one that was in the
    /// list before stays; returns those that are not in it any more.
    pub(super) fn list(
        &mut self,
        theirs: &[Vec<String>],
        mut before: Vec<(String, Tracker)>,
        rng: &mut Rng,
        conf: &Conf,
    ) -> Vec<(String, Tracker)> {
        let tiers = self.own.as_deref().unwrap_or(theirs);
        let mut trackers: Vec<Tracker> = Vec::new();
        for (tier, urls) in tiers.iter().enumerate() {
            let from = trackers.len();
            for (nth, url) in urls.iter().enumerate() {
                let (Ok(tier), Ok(nth)) = (u16::try_from(tier), u16::try_from(nth)) else {
                    continue;
                };
                let full = trackers.len() >= conf.trackers.max_per_torrent;
                if full || trackers.iter().any(|t| address(tiers, t.tier, t.nth) == url) {
                    continue;
                }
                match before.iter().position(|(known, _)| known == url) {
                    Some(at) => trackers.push(Tracker { tier, nth, ..before.swap_remove(at).1 }),
                    None => {
                        trackers.push(Tracker::new(TrackerNo(self.next_no), tier, nth));
                        self.next_no = self.next_no.wrapping_add(1);
                    }
                }
            }
            rng.shuffle(trackers.get_mut(from..).unwrap_or_default());
        }
        trackers.shrink_to_fit();
        self.trackers = trackers;
        before
    }

    /// Other addresses from now on. Returns those that know of us and are not in the list any more.
    pub(crate) fn set(
        &mut self,
        own: Vec<Vec<String>>,
        theirs: &[Vec<String>],
        rng: &mut Rng,
        conf: &Conf,
    ) -> Vec<Gone> {
        let tiers = self.own.replace(own);
        let tiers = tiers.as_deref().unwrap_or(theirs);
        let named = |t: Tracker| (address(tiers, t.tier, t.nth).to_owned(), t);
        let before = std::mem::take(&mut self.trackers).into_iter().map(named).collect();
        let gone = self.list(theirs, before, rng, conf);
        self.refresh(conf);
        let completed = self.completeness.is_reached();
        let knows = |(url, t): (String, Tracker)| {
            let tracker_id = t.words.and_then(|words| words.tracker_id);
            let completed = completed && !t.told_completed;
            (t.started || t.calls.out > 0).then_some(Gone { url, tracker_id, completed })
        };
        gone.into_iter().filter_map(knows).collect()
    }

    /// The addresses that the user has set in place of the metainfo's.
    pub(crate) fn set_by_user(&self) -> Option<Vec<Vec<String>>> {
        self.own.clone()
    }

    /// The addresses in use, by tier.
    pub(crate) fn tiers<'a>(&'a self, theirs: &'a [Vec<String>]) -> &'a [Vec<String>] {
        self.own.as_deref().unwrap_or(theirs)
    }

    pub(crate) fn len(&self) -> usize {
        self.trackers.len()
    }

    /// A tracker's address.
    pub(crate) fn url<'a>(&'a self, no: TrackerNo, theirs: &'a [Vec<String>]) -> Option<&'a str> {
        self.get(no).map(|t| self.address_of(t, theirs))
    }

    pub(super) fn address_of<'a>(
        &'a self,
        tracker: &Tracker,
        theirs: &'a [Vec<String>],
    ) -> &'a str {
        address(self.tiers(theirs), tracker.tier, tracker.nth)
    }
}

fn address(tiers: &[Vec<String>], tier: u16, nth: u16) -> &str {
    tiers
        .get(usize::from(tier))
        .and_then(|tier| tier.get(usize::from(nth)))
        .map_or("", String::as_str)
}
