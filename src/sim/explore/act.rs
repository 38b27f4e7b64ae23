//! What is done to nodes, as data; `acts` does it.

use super::Item;
use crate::{
    base::time::Instant,
    sim::{NodeId, TrackerId},
};

/// What is done to a node: what its event says, or what follows from an earlier one.
#[derive(Clone, Copy)]
pub(super) enum Act<'a> {
    Join(&'a Item),
    Event(&'a Item),
    Restart,
    /// A node that has been shutting down since then may be done.
    Leave(Instant, &'a Item),
    Mend,
    /// The world is whole again.
    Whole,
    /// This way is open again.
    Open(NodeId),
    /// Its drive is mounted again.
    Back,
    /// It works again.
    Tracker(TrackerId),
    /// Its proxy is as it was.
    Proxy,
    /// Since when it is wanted.
    AddAll(Instant),
}
