//! Whether a proxy, or its relay, works: since when not, why, and when it is tried again. Each
//! failure in a row doubles the pause.

use std::time::Duration;

use crate::{alert::ProxyError, base::time::Instant, conf::ProxyConf};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Health {
    failing: Option<Failing>,
    /// It has worked at least once.
    pub(super) is_known: bool,
}

#[derive(Debug)]
struct Failing {
    error: ProxyError,
    pause: Duration,
    retry_at: Instant,
}

impl Health {
    /// It has failed. True if it has not before.
    pub(super) fn fail(&mut self, now: Instant, error: &ProxyError, conf: &ProxyConf) -> bool {
        match &mut self.failing {
            None => {
                let (pause, retry_at) = (conf.retry_min, now + conf.retry_min);
                self.failing = Some(Failing { error: error.clone(), pause, retry_at });
                true
            }
            // Many may have been on their way to it when it failed.
            Some(failing) if failing.retry_at > now => false,
            Some(failing) => {
                failing.error = error.clone();
                failing.pause = failing.pause.saturating_mul(2).min(conf.retry_max);
                failing.retry_at = now + failing.pause;
                false
            }
        }
    }

    /// It works. True if it has failed before.
    pub(super) fn recover(&mut self) -> bool {
        self.is_known = true;
        self.failing.take().is_some()
    }

    /// When it is tried again, if it has failed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.failing.as_ref().map(|failing| failing.retry_at)
    }

    /// The last pause.
    pub(super) fn pause(&self) -> Duration {
        self.failing.as_ref().map_or(Duration::ZERO, |failing| failing.pause)
    }

    /// What it has failed with.
    pub(super) fn error(&self) -> Option<&ProxyError> {
        self.failing.as_ref().map(|failing| &failing.error)
    }

    /// The same in words.
    pub(super) fn why(&self) -> String {
        self.error().map(ToString::to_string).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::ProxyErrorKind;

    #[test]
    fn pauses_double_once_for_all_that_fail_together() {
        let conf = ProxyConf::default();
        let (mut health, mut now) = (Health::default(), Instant::ZERO);
        let error = ProxyError::new(ProxyErrorKind::Unreachable, "no");
        let mut pauses = Vec::new();
        for n in 0..8 {
            for sibling in 0..3 {
                assert_eq!(health.fail(now, &error, &conf), n == 0 && sibling == 0);
            }
            let at = health.retry_at().unwrap();
            pauses.push(at.since(now).as_secs());
            now = at;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(health.recover() && !health.recover());
        assert!(health.retry_at().is_none());
        assert!(health.fail(now, &error, &conf));
        assert_eq!(health.pause(), conf.retry_min);
    }
}
