//! What is known of the next turn before it begins: effects that are left, and what the owner was
//! told or has done meanwhile.

use crate::engine::Effect;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct NextTurn {
    /// The next effect, taken early to know that there is one.
    pub(super) effect: Option<Effect>,
    /// The last turn fetched as many events as it could: there may be more.
    pub(super) more_events: bool,
    /// The verbs were lent since the last turn: there may be effects that are not known.
    pub(super) lent: bool,
    /// The owner had a turn to notice that alerts wait. An owner who does not care for them may
    /// wait in peace.
    pub(super) alerts_told: bool,
}
