//! When to look again at what the system does not tell of, as long as the engine wants it.

use crate::base::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Which interfaces there are.
    pub(super) interfaces: NextLook,
    /// Which router there is.
    pub(super) gateway: NextLook,
    /// What we send from.
    pub(super) addresses: NextLook,
    /// Whether the interface that everything is held to was made anew.
    pub(super) held: NextLook,
    /// How many datagrams were dropped, when that is asked for.
    pub(super) dropped: NextLook,
}

impl Looks {
    /// When the next look is due that is not asked for.
    pub(super) fn next(&self) -> Option<Instant> {
        let looks = [&self.interfaces, &self.gateway, &self.addresses, &self.held];
        looks.iter().filter_map(|look| look.at).min()
    }
}

/// When to look at one thing again.
#[derive(Debug, Default)]
pub(super) struct NextLook {
    /// `None` while the engine does not want it.
    at: Option<Instant>,
}

impl NextLook {
    /// Whether looks go on.
    pub(super) fn is_on(&self) -> bool {
        self.at.is_some()
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| at <= now)
    }

    /// The next look is at `at`.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = Some(at);
    }

    /// The engine wants it no longer. Returns whether it did.
    pub(super) fn stop(&mut self) -> bool {
        self.at.take().is_some()
    }
}
