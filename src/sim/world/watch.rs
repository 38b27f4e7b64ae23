//! When the [invariants](crate::sim::INVARIANTS) are looked at, and what happens when one is
//! broken.

use super::*;
use crate::{
    base::{bucket::Limits, ids::InfoHash},
    sim::{invariants::MAX_STANDSTILL, violation::broken},
};

/// How often it is looked at who gets on.
const WATCH: Duration = Duration::from_secs(20);
/// Events at one moment after which time seems to stand still.
const MAX_AT_ONCE: u64 = 5_000_000;
/// A slower line is no wonder.
const SLOW_LINE: u64 = 1000;

fn is_free(limits: Limits) -> bool {
    limits == Limits::default()
}

impl World {
    /// How many looks at an engine there are between two at everything it is: 64 unless told
    /// otherwise, 0 for never. More often finds a fault closer to its cause and takes longer.
    pub fn set_scrutiny(&mut self, every: u32) {
        self.scrutiny = every;
    }

    /// How many things a [`trace`](Self::trace) tells: 400 unless told otherwise.
    pub fn set_trace_length(&mut self, length: usize) {
        self.book.set_length(length);
    }

    /// A world that is dropped in a panic prints its seed and its trace, unless this is `true`.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Whether the user of a node's engine lets its alerts wait. What is told late has the time at
    /// which it was fetched.
    pub fn set_deaf(&mut self, node: NodeId, deaf: bool) {
        self.host_mut(node.0).deaf = deaf;
    }

    /// What must hold after every event; and sees to it that the engine is woken.
    pub(super) fn check(&mut self, node: usize) {
        let (now, clock, scrutiny) = (self.now, self.clock(node), self.scrutiny);
        let host = self.host_mut(node);
        let before = host.alerts.len();
        let glanced = host.glance();
        let told = host.fetch_alerts(now);
        let inspect = host.is_inspection_due(scrutiny);
        let news: Vec<(bool, String)> = host.alerts[before..]
            .iter()
            .map(|(_, alert)| (!matches!(alert, Alert::Progress { .. }), format!("{alert:?}")))
            .collect();
        let next = host.engine.poll_timeout();
        for (telling, alert) in news {
            self.transcript.add_bytes(alert.as_bytes());
            if telling {
                self.book.write(now, Deed::Told { node, alert });
            }
        }
        let verdict =
            glanced.and(told).and_then(|()| if inspect { self.inspect(node) } else { Ok(()) });
        if let Err(violation) = verdict {
            self.violated(node, &violation);
        }
        if let Some(next) = next.map(|next| now + next.since(clock))
            && self.nodes[node].wake.is_none_or(|(wake, _)| next < wake)
        {
            let life = self.nodes[node].life;
            if let Some(later) = self.nodes[node].wake {
                self.queue.remove(&later);
            }
            self.schedule(next, Event::Wake { node, life });
            self.nodes[node].wake = Some((next.max(now), self.sequence));
        }
    }

    /// Times at which a node is to be woken.
    #[cfg(test)]
    pub(in crate::sim) fn wakes_of(&self, node: NodeId) -> usize {
        self.queue
            .values()
            .filter(|event| matches!(event, Event::Wake { node: n, .. } if *n == node.0))
            .count()
    }

    /// Looks at everything that a node's engine is and has said.
    fn inspect(&self, node: usize) -> Result<(), Violation> {
        let host = self.host(node);
        host.inspect()?;
        for (&link, &(id, side)) in &host.streams {
            if let Some(ears) = self.conns.get(&id).and_then(|conn| conn.ears[side].as_ref()) {
                ears.rule_on_silence(host, link)?;
            }
        }
        Ok(())
    }

    /// Every so often: whether those who could get on do.
    pub(super) fn watch(&mut self) {
        if self.at_once > MAX_AT_ONCE {
            let what = format!("{MAX_AT_ONCE} things happen at once and there is no end to it");
            self.violated(0, &Violation { name: "does-not-spin", what });
        }
        if self.now < self.next_watch {
            return;
        }
        self.next_watch = self.now + WATCH;
        for node in 0..self.nodes.len() {
            if let Err(violation) = self.watch_node(node) {
                self.violated(node, &violation);
            }
        }
    }

    fn watch_node(&mut self, node: usize) -> Result<(), Violation> {
        let (now, n) = (self.now, &self.nodes[node]);
        let Body::Engine(host) = &n.body else { return Ok(()) };
        let unlimited = |host: &Host| {
            is_free(host.engine.limits())
                && is_free(host.conf.peers.limits)
                && is_free(host.conf.network.limits)
        };
        let fit = |n: &Node| n.up && !n.cut && n.line.bandwidth >= SLOW_LINE && n.disk_free <= now;
        let mut open_to: BTreeSet<InfoHash> = BTreeSet::new();
        if fit(n) && unlimited(host) && host.disk.is_well() {
            for &(id, side) in host.streams.values() {
                let Some(conn) =
                    self.conns.get(&id).filter(|c| c.made && !c.cut && c.orphan.is_none())
                else {
                    continue;
                };
                let other = conn.ends[1 - side].node;
                let Body::Engine(giver) = &self.nodes[other].body else { continue };
                let both = self.reaches(node, other)
                    && self.reaches(other, node)
                    && conn.ends.iter().all(|end| end.open);
                if !both || !fit(&self.nodes[other]) || !unlimited(giver) || !giver.disk.is_well() {
                    continue;
                }
                let could = conn.ears[side].as_ref().and_then(|ears| ears.could_give(host));
                let free = |host: &Host, hash| {
                    let limits =
                        host.engine.find(hash).and_then(|id| host.engine.torrent_limits(id).ok());
                    limits.is_some_and(is_free)
                };
                open_to.extend(could.filter(|&hash| free(host, hash) && free(giver, hash)));
            }
        }
        let host = self.host_mut(node);
        for held in &mut host.held {
            let stats = host.engine.stats(held.id);
            let waits = stats.is_some_and(|s| s.phase == Phase::Downloading)
                && open_to.contains(&held.sample.metainfo.info_hash());
            let down = match host.engine.stats(held.id) {
                Some(stats) if held.unheard => stats.downloaded,
                _ => held.wire_down,
            };
            match held.got_on.filter(|&(before, _)| waits && before == down) {
                None => held.got_on = Some((down, now)),
                Some((_, since)) if now.since(since) >= MAX_STANDSTILL => {
                    return broken(
                        "not-stuck",
                        format!("nothing has come since {since:?} and a peer could give"),
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Tells what is wrong and what went before, and ends.
    pub(super) fn violated(&mut self, node: usize, violation: &Violation) -> ! {
        self.quiet = true;
        let name = self.nodes.get(node).map_or("no node", |n| n.name.as_str());
        let Violation { name: invariant, what } = violation;
        let trace = self.trace();
        panic!(
            "invariant {invariant} is broken at {name}: {what}\nseed {}, {:?}, event {}. \
             What went before:\n{trace}",
            self.seed, self.now, self.events
        );
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.quiet {
            eprintln!(
                "seed {}, {:?}, event {}. What went before:\n{}",
                self.seed,
                self.now,
                self.events,
                self.trace()
            );
        }
    }
}
