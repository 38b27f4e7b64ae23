//! What is known of the next turn before it begins: effects that are left, and what the owner was
//! told or has done meanwhile.

use crate::engine::Effect;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct NextTurn {
    /// The next effect, taken early to know that there is one.
    effect: Option<Effect>,
    /// The last turn fetched as many events as it could: there may be more.
    more_events: bool,
    /// The verbs were lent since the last turn: there may be effects that are not known.
    lent: bool,
    /// The owner had a turn to notice that alerts wait. An owner who does not care for them may
    /// wait in peace.
    alerts_told: bool,
}

impl NextTurn {
    /// The verbs are lent to the owner.
    pub(super) fn lend(&mut self) {
        self.lent = true;
    }

    /// Whether there may be effects that are not known.
    pub(super) fn is_lent(&self) -> bool {
        self.lent
    }

    /// It was looked whether there is an effect, and this one was found.
    pub(super) fn note_effect(&mut self, effect: Option<Effect>) {
        self.effect = effect;
        self.lent = false;
    }

    pub(super) fn has_effect(&self) -> bool {
        self.effect.is_some()
    }

    /// The effect that was found.
    pub(super) fn take_effect(&mut self) -> Option<Effect> {
        self.effect.take()
    }

    /// Events were fetched, as many as could be or fewer.
    pub(super) fn note_events(&mut self, all_that_could_be: bool) {
        self.more_events = all_that_could_be;
    }

    /// Whether there may be events that were not fetched.
    pub(super) fn has_more_events(&self) -> bool {
        self.more_events
    }

    /// The owner has a turn to notice that alerts wait, if they do.
    pub(super) fn note_alerts(&mut self, wait: bool) {
        self.alerts_told = wait;
    }

    /// The owner fetches alerts.
    pub(super) fn forget_alerts(&mut self) {
        self.alerts_told = false;
    }

    /// Whether the owner has had a turn to notice that alerts wait.
    pub(super) fn has_told_alerts(&self) -> bool {
        self.alerts_told
    }
}
