//! The words of validation that all groups share: an error that names the setting, and the usual
//! conditions.

use std::{fmt::Display, time::Duration};

use thiserror::Error;

use crate::base::geometry::BLOCK_LEN;

/// A block, in bytes.
pub(super) const BLOCK: usize = BLOCK_LEN as usize;

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Conf::{field} is {value}: {needs}")]
#[non_exhaustive]
pub struct ConfError {
    /// The setting, as `requests.run_len`.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub needs: &'static str,
}

pub(super) fn check(
    ok: bool,
    field: &'static str,
    value: impl Display,
    needs: &'static str,
) -> Result<(), ConfError> {
    if ok { Ok(()) } else { Err(ConfError { field, value: value.to_string(), needs }) }
}

pub(super) fn at_least_one(value: usize, field: &'static str) -> Result<(), ConfError> {
    check(value > 0, field, value, "at least 1")
}

/// A time that is not zero.
pub(super) fn lasting(time: Duration, field: &'static str) -> Result<(), ConfError> {
    check(!time.is_zero(), field, format_args!("{time:?}"), "more than 0")
}
