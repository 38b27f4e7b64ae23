//! What needs the machine: programs and how they end, sockets, disks, real time. All in one binary,
//! so that tests that wait do so side by side. Those that must have a process to themselves have a
//! child for it.

// In a test, a failed unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

// The first in the order of names: they take longest.
#[cfg(unix)]
#[path = "machine/alone/mod.rs"]
mod alone;
#[path = "machine/faults/mod.rs"]
mod faults;
#[path = "machine/programs/mod.rs"]
mod programs;
#[cfg(unix)]
#[path = "machine/session_kill.rs"]
mod session_kill;
mod support;
#[cfg(unix)]
#[path = "machine/trackers.rs"]
mod trackers;
#[cfg(all(unix, feature = "tls"))]
#[path = "machine/web_seed_tls.rs"]
mod web_seed_tls;
