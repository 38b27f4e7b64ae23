//! What was wrong in a run of a plan. It knows no plan.

use std::fmt;

use thiserror::Error;

/// What was wrong.
#[derive(Clone, Debug, Error)]
#[error("{what}{details}")]
pub struct Failure {
    /// In one line.
    pub what: String,
    /// More, beginning with a line's end, or nothing.
    pub details: String,
}

impl Failure {
    pub(super) fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), details: String::new() }
    }

    /// Whether it is of the same kind: numbers do not matter.
    pub fn is_like(&self, other: &Self) -> bool {
        let kind =
            |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect::<String>();
        kind(&self.what) == kind(&other.what)
    }
}
