//! Random swarms from a seed, run until something is wrong, and made small when it is.
//!
//! A [`Plan`] is plain data: who is there, how they behave, what befalls them and when. It is
//! written and read as one line of text, so that a failure can be handed around. [`run`] builds the
//! world of a plan and holds it against everything that must be true; [`shrink`] takes away
//! whatever a failure does not need.
//!
//! ```
//! use cratetorrent::sim::explore::{self, Plan};
//!
//! let plan = Plan::random(7);
//! let outcome = explore::run(&plan)?;
//! assert_eq!(explore::run(&plan.to_string().parse()?)?, outcome);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod act;
mod acts;
mod cast;
mod failure;
mod mend;
mod plan;
mod random;
mod run;
mod shrink;

pub use failure::Failure;
pub use plan::{Item, Kind, Plan, PlanError};
pub use run::{Outcome, run, run_aloud};
pub use shrink::shrink;

#[cfg(test)]
mod tests;
