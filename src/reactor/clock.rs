//! The one file that reads a clock. Everything else is told the time.

use std::time::Duration;

use crate::base::time::Instant;

/// Monotonic time, in microseconds since this clock was made. On Linux and Android it goes on while
/// the machine sleeps, as what others hold for us does: leases of a router, intervals of trackers.
/// (A wait of the system does not: what became due in sleep is late by one wait at most.)
#[derive(Debug)]
pub(crate) struct Clock {
    start: Duration,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: elapsed() }
    }

    pub(crate) fn now(&self) -> Instant {
        let micros = elapsed().saturating_sub(self.start).as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// Time since the machine was started, sleep included: `std::time::Instant` stands still meanwhile.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn elapsed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(secs.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Time since this was asked first.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::disallowed_methods)]
fn elapsed() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    #[test]
    fn clock_counts_the_time_that_the_machine_has_slept() {
        let before = clock_gettime(ClockId::Boottime);
        let now = elapsed();
        let after = clock_gettime(ClockId::Boottime);
        let secs = i64::try_from(now.as_secs()).unwrap();
        assert!((before.tv_sec..=after.tv_sec).contains(&secs), "{before:?} {now:?} {after:?}");
    }
}
