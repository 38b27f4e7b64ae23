//! One engine as a log: bytes in and bytes out, jobs and what is asked of the driver, at virtual
//! times, through the door without I/O.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "traces/access.rs"]
mod access;
#[path = "traces/choking.rs"]
mod choking;
#[path = "traces/engine/mod.rs"]
mod engine;
#[path = "traces/serving/mod.rs"]
mod serving;
#[path = "traces/trace/mod.rs"]
mod trace;
#[path = "traces/trackers.rs"]
mod trackers;
