//! Work for a worker that is about no storage: what would hold up the loop, such as parsing what is
//! long.
//!
//! A job is a word of this layer, and such work is often about values of a higher one. So a task
//! carries them behind a trait, there and back.

use std::{any::Any, fmt};

/// See the module. What it computes stays in it; its owner gets it back by
/// [`Done::Computed`](super::Done::Computed), and takes it for what it was (it is `Any`).
pub trait Task: Any + Send + fmt::Debug {
    /// Does the work. Called once, on any thread.
    fn run(&mut self);
}
