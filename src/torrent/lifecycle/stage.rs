//! How far a torrent's storage is, from "nothing is known" over opening and checking to open. It
//! does not know whether the torrent may run or is about to end.

use super::disk::Disk;
use crate::{alert::Phase, torrent::checker::Checker};

/// What the user knows of a storage that is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Nothing: every step is told.
    New,
    /// The torrent came from the session folder and nothing contradicts its saved state: there is
    /// nothing to tell.
    Restored,
    /// The metainfo came from peers, which stay connected meanwhile: every step is told.
    Fetched,
}

#[derive(Debug)]
enum Kind {
    /// The metainfo is not known, so there is nothing to open.
    Metadata,
    /// The torrent waits for its turn to be opened.
    Waiting { course: Course },
    /// The torrent is known from the session folder, and nothing of it was looked at.
    Dormant { course: Course },
    /// A worker opens it, or has failed to: then only the user can help.
    Opening { course: Course, failed: bool },
    /// What is on disk is hashed.
    Checking { course: Course, checker: Checker, disk: Disk },
    /// What is on disk is known.
    Open {
        disk: Disk,
        /// The consequences of having all that is wanted were drawn.
        finished: bool,
    },
    /// None of the torrent's files is where they were.
    Missing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Stage(Kind);

impl Stage {
    /// A torrent that was added: it waits to be opened, or for its metainfo, if that is not
    /// `known`.
    pub(super) fn added(known: bool) -> Self {
        if known { Self::reopening() } else { Self(Kind::Metadata) }
    }

    /// One of the session folder: it is dormant, or waits to be opened. `confirmed`: its saved
    /// state says what it has.
    pub(super) fn restored(confirmed: bool, dormant: bool) -> Self {
        let course = if confirmed { Course::Restored } else { Course::New };
        Self(if dormant { Kind::Dormant { course } } else { Kind::Waiting { course } })
    }

    /// It waits to be opened, whatever was before.
    pub(super) fn reopening() -> Self {
        Self(Kind::Waiting { course: Course::New })
    }

    /// None of its files is there, and nothing is open any more.
    pub(super) fn missing() -> Self {
        Self(Kind::Missing)
    }

    // Which one it is.

    /// Whether the metainfo is not known.
    pub(super) fn awaits_metadata(&self) -> bool {
        matches!(self.0, Kind::Metadata)
    }

    /// Whether it waits for its turn to be opened.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.0, Kind::Waiting { .. })
    }

    pub(super) fn is_dormant(&self) -> bool {
        matches!(self.0, Kind::Dormant { .. })
    }

    /// Whether a worker opens it or hashes what is on disk.
    pub(super) fn is_check_going(&self) -> bool {
        matches!(self.0, Kind::Opening { failed: false, .. } | Kind::Checking { .. })
    }

    /// Whether nothing is open and nothing is being opened, though that is its turn or was tried.
    pub(super) fn is_unopened(&self) -> bool {
        matches!(self.0, Kind::Waiting { .. } | Kind::Opening { failed: true, .. })
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.0, Kind::Open { .. })
    }

    /// Whether there is a state to save: a check that is not over has one, too.
    pub(super) fn is_savable(&self) -> bool {
        matches!(self.0, Kind::Checking { .. } | Kind::Open { .. })
    }

    /// Whether the store has, or makes, an open storage of it.
    pub(super) fn is_in_store(&self) -> bool {
        self.is_savable() || matches!(self.0, Kind::Opening { .. })
    }

    /// Whether its data is missing and nothing is open.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.0, Kind::Missing)
    }

    /// How an opening was begun, as long as it is not over and has not failed.
    fn course(&self) -> Option<Course> {
        match &self.0 {
            Kind::Waiting { course }
            | Kind::Dormant { course }
            | Kind::Opening { course, failed: false } => Some(*course),
            Kind::Checking { course, disk, .. } if !disk.is_failing() => Some(*course),
            _ => None,
        }
    }

    /// Whether there is, or is about to be, something to say to peers.
    pub(super) fn has_use_of_peers(&self) -> bool {
        self.is_open() || self.awaits_metadata() || self.course() == Some(Course::Fetched)
    }

    /// Whether it will be open soon, if its files are as they were, and has no peers yet.
    pub(super) fn is_waking(&self) -> bool {
        self.course().is_some_and(|course| course != Course::Fetched)
    }

    /// Whether it is dormant or reopens, and its saved state has not been contradicted.
    pub(super) fn is_on_its_way(&self) -> bool {
        self.course() == Some(Course::Restored)
    }

    /// The phase of a torrent that may run and whose disk works; `finished`: all that is wanted is
    /// there.
    pub(super) fn phase(&self, finished: bool) -> Phase {
        match self.0 {
            Kind::Metadata => Phase::Metadata,
            Kind::Waiting { .. } | Kind::Opening { .. } => Phase::Opening,
            Kind::Checking { .. } => Phase::Checking,
            Kind::Open { .. } | Kind::Dormant { .. } if finished => Phase::Seeding,
            // What it lacks shows when it is open.
            Kind::Dormant { .. } | Kind::Missing => Phase::Opening,
            Kind::Open { .. } => Phase::Downloading,
        }
    }

    // Steps from one to the next.

    /// The metainfo has come: the torrent is opened in turn, and its peers stay.
    pub(super) fn handle_metadata(&mut self) {
        if self.awaits_metadata() {
            self.0 = Kind::Waiting { course: Course::Fetched };
        }
    }

    /// A dormant torrent is to be opened in turn. Returns whether it was dormant.
    pub(super) fn wake(&mut self) -> bool {
        let Kind::Dormant { course } = self.0 else { return false };
        self.0 = Kind::Waiting { course };
        true
    }

    /// A torrent that waits for it is opened now. Returns whether it waited.
    pub(super) fn open(&mut self) -> bool {
        let Kind::Waiting { course } = self.0 else { return false };
        self.0 = Kind::Opening { course, failed: false };
        true
    }

    /// The storage could not be opened.
    pub(super) fn handle_open_failed(&mut self) {
        if let Kind::Opening { failed, .. } = &mut self.0 {
            *failed = true;
        }
    }

    /// A storage that could not be opened is opened in turn. Returns whether it is one.
    pub(super) fn retry_open(&mut self) -> bool {
        let Kind::Opening { course, failed: true } = self.0 else { return false };
        self.0 = Kind::Waiting { course };
        true
    }

    /// The storage is open, and is checked. `as_saved`: all is as the saved state says. Returns
    /// whether the user is to hear of it.
    pub(super) fn check(&mut self, checker: Checker, as_saved: bool) -> bool {
        let course = match self.0 {
            Kind::Opening { course: Course::Restored, .. } if as_saved => Course::Restored,
            Kind::Opening { course: Course::Fetched, .. } => Course::Fetched,
            _ => Course::New,
        };
        self.0 = Kind::Checking { course, checker, disk: Disk::default() };
        course != Course::Restored
    }

    pub(super) fn checker(&self) -> Option<&Checker> {
        match &self.0 {
            Kind::Checking { checker, .. } => Some(checker),
            _ => None,
        }
    }

    pub(super) fn checker_mut(&mut self) -> Option<&mut Checker> {
        match &mut self.0 {
            Kind::Checking { checker, .. } => Some(checker),
            _ => None,
        }
    }

    /// The check is over. Returns whether the user is to hear of it.
    pub(super) fn finish_check(&mut self) -> bool {
        let is_news = !matches!(self.0, Kind::Checking { course: Course::Restored, .. });
        self.0 = Kind::Open { disk: Disk::default(), finished: false };
        is_news
    }

    /// The missing files are back: it is opened in turn. Returns whether they were missing.
    pub(super) fn handle_data_back(&mut self) -> bool {
        let is_new = self.is_missing();
        if is_new {
            *self = Self::reopening();
        }
        is_new
    }

    // The disk, and whether all is there.

    /// Whether the storage could not be opened, or its disk fails.
    pub(super) fn is_failing(&self) -> bool {
        match &self.0 {
            Kind::Opening { failed, .. } => *failed,
            Kind::Checking { disk, .. } | Kind::Open { disk, .. } => disk.is_failing(),
            _ => false,
        }
    }

    /// The disk of a storage that is open.
    pub(super) fn disk_mut(&mut self) -> Option<&mut Disk> {
        match &mut self.0 {
            Kind::Checking { disk, .. } | Kind::Open { disk, .. } => Some(disk),
            _ => None,
        }
    }

    /// Whether it is open and the consequences of having all that is wanted were drawn.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.0, Kind::Open { finished: true, .. })
    }

    /// An open torrent has all that is wanted, or no longer. Returns whether that is new.
    pub(super) fn set_finished(&mut self, to: bool) -> bool {
        match &mut self.0 {
            Kind::Open { finished, .. } => std::mem::replace(finished, to) != to,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bitfield::Bitfield;

    fn checker() -> Checker {
        Checker::new(Bitfield::none(3))
    }

    #[test]
    fn steps_happen_in_order_and_once() {
        let mut stage = Stage::added(true);
        assert!(!stage.wake() && !stage.retry_open() && !stage.handle_data_back());
        assert!(stage.is_waiting() && stage.is_unopened() && !stage.is_in_store());
        assert!(stage.open() && !stage.open());
        assert!(stage.is_check_going() && stage.is_in_store() && !stage.is_savable());
        assert!(stage.check(checker(), true) && stage.checker().is_some());
        assert!(stage.is_check_going() && stage.is_savable() && !stage.set_finished(true));
        assert!(stage.finish_check() && stage.is_open() && stage.checker().is_none());
        assert!(stage.set_finished(true) && !stage.set_finished(true) && stage.is_finished());
    }

    #[test]
    fn opening_that_failed_waits_for_another_attempt() {
        let mut stage = Stage::added(true);
        stage.open();
        assert!(!stage.retry_open() && stage.is_waking());
        stage.handle_open_failed();
        assert!(stage.is_failing() && stage.is_unopened() && stage.is_in_store());
        assert!(!stage.is_waking() && !stage.is_check_going());
        assert!(stage.retry_open() && stage.is_waiting() && !stage.is_failing());
    }

    #[test]
    fn restored_torrent_is_on_its_way_until_contradicted() {
        for (confirmed, as_saved) in [(true, true), (true, false), (false, true)] {
            let mut stage = Stage::restored(confirmed, true);
            assert_eq!((stage.is_dormant(), stage.is_on_its_way()), (true, confirmed));
            assert!(stage.wake() && stage.open());
            assert_eq!(stage.check(checker(), as_saved), !(confirmed && as_saved));
            assert_eq!(stage.is_on_its_way(), confirmed && as_saved);
            assert_eq!(stage.finish_check(), !(confirmed && as_saved));
        }
        // Nor is one on its way whose disk fails.
        let mut stage = Stage::restored(true, false);
        stage.open();
        stage.check(checker(), true);
        stage.disk_mut().unwrap().handle_failure();
        assert!(stage.is_failing() && !stage.is_on_its_way());
    }
}
