//! The one file that reads a clock. Everything else is told the time.

use crate::base::time::Instant;

/// Monotonic time, in microseconds since this clock was made.
#[derive(Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

#[allow(clippy::disallowed_methods)]
impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        let micros = self.start.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}
