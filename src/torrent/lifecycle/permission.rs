//! Whether a torrent may run: the user can pause it, and the engine's queue can hold it. It does
//! not know what there is to run.

/// How the torrent stands with the engine's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queueing {
    /// The queue has no say.
    Outside,
    Inside {
        /// The queue does not let it run.
        held: bool,
        /// Where it gets in line for the first time; `None`: at the end.
        order: Option<u64>,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Permission {
    /// The user wants it to rest.
    paused: bool,
    queueing: Queueing,
}

impl Permission {
    /// Of a torrent that was added. One that is `queued` is held, and gets in line at `order`.
    pub(super) fn new(paused: bool, queued: bool, order: Option<u64>) -> Self {
        let queueing =
            if queued { Queueing::Inside { held: true, order } } else { Queueing::Outside };
        Self { paused, queueing }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether the queue decides when it runs.
    pub(super) fn is_queued(&self) -> bool {
        matches!(self.queueing, Queueing::Inside { .. })
    }

    /// Whether the queue does not let it run.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.queueing, Queueing::Inside { held: true, .. })
    }

    /// Where it gets in line for the first time; `None`: at the end.
    pub(super) fn order(&self) -> Option<u64> {
        match self.queueing {
            Queueing::Inside { order, .. } => order,
            Queueing::Outside => None,
        }
    }

    /// The user wants it to rest. Returns whether that is new.
    pub(super) fn pause(&mut self) -> bool {
        let is_new = !std::mem::replace(&mut self.paused, true);
        if is_new {
            // Afterwards it gets in line again.
            self.line_up_again();
        }
        is_new
    }

    /// The user lets it run. Returns whether that is new.
    pub(super) fn unpause(&mut self) -> bool {
        std::mem::take(&mut self.paused)
    }

    /// The queue wants it to rest, or lets it run. Returns whether that is new.
    pub(super) fn set_held(&mut self, to: bool) -> bool {
        match &mut self.queueing {
            Queueing::Inside { held, .. } => std::mem::replace(held, to) != to,
            Queueing::Outside => false,
        }
    }

    /// The queue decides from now on, or no longer. One that `runs` goes on until the queue says
    /// otherwise. Returns whether that is new.
    pub(super) fn set_queued(&mut self, queued: bool, runs: bool) -> bool {
        if self.is_queued() == queued {
            return false;
        }
        self.queueing =
            if queued { Queueing::Inside { held: !runs, order: None } } else { Queueing::Outside };
        true
    }

    /// The queue has to let it run once more.
    pub(super) fn line_up_again(&mut self) {
        self.set_held(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_puts_queued_torrent_in_line_again() {
        let mut permission = Permission::new(false, true, Some(7));
        assert!(permission.is_held() && permission.order() == Some(7));
        assert!(permission.set_held(false) && !permission.set_held(false));
        assert!(permission.pause() && !permission.pause());
        assert!(permission.is_paused() && permission.is_held());
        permission.set_held(false);
        assert!(!permission.pause() && !permission.is_held(), "it is paused already");
        assert!(permission.unpause() && !permission.unpause());
    }

    #[test]
    fn queue_holds_what_does_not_run_when_it_begins_to_decide() {
        for runs in [false, true] {
            let mut permission = Permission::new(false, false, Some(7));
            assert!(!permission.is_queued() && !permission.set_held(true));
            assert!(permission.set_queued(true, runs) && !permission.set_queued(true, runs));
            assert_eq!((permission.is_held(), permission.order()), (!runs, None));
            assert!(permission.set_queued(false, runs) && !permission.is_held());
        }
    }
}
