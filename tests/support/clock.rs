//! The one place where the tests read a clock and wait. Nothing waits for a fixed time and hopes:
//! everything here ends as soon as what is waited for has come, and fails by name when it has not
//! come in time.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

/// Now.
pub fn now() -> Instant {
    Instant::now()
}

/// Asks `ready` again and again until it answers; panics with `what` after `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, ready: impl FnMut() -> Option<T>) -> T {
    try_wait_for(limit, ready).unwrap_or_else(|| panic!("{what}: not within {limit:?}"))
}

/// Asks `ready` again and again until it answers, `limit` long.
pub fn try_wait_for<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ready() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Holds a sender to its rate: returns when `bytes` since `start` are due at `rate` bytes per
/// second.
pub fn pace(start: Instant, bytes: u64, rate: u64) {
    let due = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
    if let Some(ahead) = due.checked_duration_since(Instant::now()) {
        std::thread::sleep(ahead);
    }
}

/// Returns at `when`, or at once if that is over.
pub fn until(when: Instant) {
    if let Some(ahead) = when.checked_duration_since(Instant::now()) {
        std::thread::sleep(ahead);
    }
}
