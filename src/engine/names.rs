//! Names that are being looked up and that were: all who want the same one share a look-up, and for
//! a while its answer.
//!
//! It looks nothing up itself; its owner does.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::{
    base::{arena::Key, time::Instant},
    engine::Engine,
};

/// The system's resolver does not tell for how long an answer is good.
const KEPT: Duration = Duration::from_secs(60);
const FAILURE_KEPT: Duration = Duration::from_secs(10);
/// Answers kept, and names looked up at a time.
const MAX_KEPT: usize = 256;
const MAX_OUT: usize = 256;

/// What a look-up brought.
pub(super) type Resolved = Result<Vec<IpAddr>, String>;

/// Which part of the engine wants to know a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A question to a tracker.
    Tracker(Key),
    /// The DHT node, for all names that it wants.
    Dht,
    /// A torrent, for one of its connections with web seeds.
    WebSeed(Key, Key),
    /// All that goes through the proxy.
    Proxy,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names {
    kept: BTreeMap<String, (Instant, Resolved)>,
    waiting: BTreeMap<String, Vec<Asker>>,
}

/// What is to be done for a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Nothing: this is the answer.
    Known(Resolved),
    /// Nothing: the answer is on its way.
    Shared,
    /// It must be asked for.
    Ask,
}

impl Names {
    /// `asker` wants to know a name.
    pub(super) fn look_up(&mut self, now: Instant, asker: Asker, host: &str) -> Lookup {
        match self.kept.get(host) {
            Some((until, known)) if *until > now => return Lookup::Known(known.clone()),
            _ => _ = self.kept.remove(host),
        }
        if let Some(askers) = self.waiting.get_mut(host) {
            askers.push(asker);
            return Lookup::Shared;
        }
        if self.waiting.len() >= MAX_OUT {
            return Lookup::Known(Err("too many names are being looked up".into()));
        }
        self.waiting.insert(host.to_owned(), vec![asker]);
        Lookup::Ask
    }

    /// An answer came. Returns those who wait for it.
    pub(super) fn handle_resolved(
        &mut self,
        now: Instant,
        host: &str,
        result: &Resolved,
    ) -> Vec<Asker> {
        let Some(askers) = self.waiting.remove(host) else { return Vec::new() };
        if self.kept.len() >= MAX_KEPT {
            self.kept.retain(|_, (until, _)| *until > now);
        }
        if self.kept.len() >= MAX_KEPT
            && let Some(oldest) =
                self.kept.iter().min_by_key(|(_, (until, _))| *until).map(|(name, _)| name.clone())
        {
            self.kept.remove(&oldest);
        }
        let until = now + if result.is_ok() { KEPT } else { FAILURE_KEPT };
        self.kept.insert(host.to_owned(), (until, result.clone()));
        askers
    }

    /// `asker` does not wait any more.
    pub(super) fn forget(&mut self, asker: Asker) {
        self.waiting.values_mut().for_each(|askers| askers.retain(|&waiting| waiting != asker));
    }
}

impl Engine {
    /// A name was looked up for [`Effect::Resolve`](crate::driver::Effect::Resolve), or why that
    /// failed.
    pub fn handle_resolved(
        &mut self,
        now: Instant,
        host: &str,
        result: Result<Vec<IpAddr>, String>,
    ) {
        self.handle_tick(now);
        for asker in self.io.names.handle_resolved(self.cx.now, host, &result) {
            match asker {
                Asker::Tracker(call) => self.call_resolved(call, result.clone()),
                Asker::Dht => self.dht_resolved(host, &result),
                Asker::Proxy => self.proxy_resolved(),
                Asker::WebSeed(torrent, fetch) => {
                    self.web_seed_resolved(torrent, fetch, result.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(n: u32) -> Asker {
        Asker::Tracker(Key { index: n, generation: n })
    }

    #[test]
    fn one_lookup_serves_all_calls_and_those_soon_after() {
        let mut names = Names::default();
        let (now, here) = (Instant::ZERO, || Ok(vec![IpAddr::from([9, 0, 0, 1])]));
        assert_eq!(names.look_up(now, call(1), "a"), Lookup::Ask);
        assert_eq!(names.look_up(now, call(2), "a"), Lookup::Shared);
        assert_eq!(names.look_up(now, call(3), "a"), Lookup::Shared);
        names.forget(call(2));
        assert_eq!(names.handle_resolved(now, "a", &here()), [call(1), call(3)]);
        assert_eq!(names.handle_resolved(now, "a", &here()), []);
        assert_eq!(names.look_up(now + KEPT / 2, call(4), "a"), Lookup::Known(here()));
        assert_eq!(names.look_up(now + KEPT, call(4), "a"), Lookup::Ask);
    }

    #[test]
    fn names_kept_and_looked_up_are_bounded() {
        let mut names = Names::default();
        for n in 0..3 * MAX_KEPT as u64 {
            let (now, name) = (Instant::from_micros(n), n.to_string());
            assert_eq!(names.look_up(now, call(1), &name), Lookup::Ask);
            names.handle_resolved(now, &name, &Err("no".into()));
            assert!(names.kept.len() <= MAX_KEPT);
        }
        for n in 0..2 * MAX_OUT {
            let asked = names.look_up(Instant::from_micros(1 << 40), call(1), &n.to_string());
            assert_eq!(asked == Lookup::Ask, n < MAX_OUT);
        }
    }
}
