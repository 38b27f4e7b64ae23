//! Whether trackers are to hear that the torrent was completed (BEP 3): once in its life, and not
//! if everything was there from the beginning or came by another way. It knows no trackers.

use crate::base::tracker_events::Completion;

/// See the module.
#[derive(Debug)]
pub(super) struct Completeness {
    /// What was seen of the data in this run.
    data: Data,
    /// Over all runs.
    completion: Completion,
}

/// What was seen of a torrent's data while it was active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// Nothing was missing, as far as is known.
    Unseen,
    /// Something was missing.
    Lacked,
    /// Something was missing, and then nothing was.
    Completed,
}

impl Completeness {
    /// Of a torrent that was never seen.
    pub(super) fn new() -> Self {
        Self { data: Data::Unseen, completion: Completion::None }
    }

    /// How far it was when an earlier run ended.
    pub(super) fn restore(&mut self, completion: Completion) {
        self.completion = completion;
    }

    /// How far it is, over all runs.
    pub(super) fn over_all_runs(&self) -> Completion {
        self.completion
    }

    /// Whether trackers hear that the torrent was completed in this run.
    pub(super) fn is_reached(&self) -> bool {
        self.data == Data::Completed
    }

    /// The torrent begins to speak with peers; `complete`: it has everything.
    pub(super) fn begin(&mut self, complete: bool) {
        if !complete {
            self.note_lack();
        } else if self.completion == Completion::Due {
            self.data = Data::Completed;
        }
    }

    /// Something is missing.
    pub(super) fn note_lack(&mut self) {
        if self.data == Data::Unseen {
            self.data = Data::Lacked;
        }
    }

    /// Everything is there; `downloaded`: and something of it was downloaded in any run. Returns
    /// whether trackers are to hear of it now.
    pub(super) fn reach(&mut self, downloaded: bool) -> bool {
        let is_new = match self.completion {
            Completion::None => self.data == Data::Lacked && downloaded,
            Completion::Due => true,
            Completion::Told => false,
        };
        let is_due = is_new && !self.is_reached();
        if is_due {
            (self.data, self.completion) = (Data::Completed, Completion::Due);
        }
        is_due
    }

    /// A tracker has heard of it.
    pub(super) fn handle_told(&mut self) {
        self.completion = Completion::Told;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_is_due_once_and_only_after_a_lack_and_a_download() {
        let mut whole = Completeness::new();
        whole.begin(true);
        assert!(!whole.reach(true) && !whole.is_reached(), "it was all there");
        let mut copied = Completeness::new();
        copied.begin(false);
        assert!(!copied.reach(false), "it came by another way");
        assert!(copied.reach(true) && !copied.reach(true) && copied.is_reached());
        copied.handle_told();
        let mut again = Completeness::new();
        again.restore(copied.over_all_runs());
        again.begin(false);
        assert!(!again.reach(true), "no tracker hears of it twice");
    }

    #[test]
    fn completion_that_no_tracker_heard_is_due_in_the_next_run() {
        let mut next = Completeness::new();
        next.restore(Completion::Due);
        next.begin(true);
        assert!(next.is_reached() && !next.reach(false));
    }
}
