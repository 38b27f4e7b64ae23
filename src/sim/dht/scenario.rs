//! What a network is measured by: are announced torrents found, and how soon?

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use super::{Net, NetConf};
use crate::proto::dht::{Announce, DhtEvent, SearchId, SearchOutcome, Step};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Lookups {
    /// The network.
    pub net: NetConf,
    /// Before anything is announced.
    pub warm_up: Duration,
    /// Torrents, each announced by one node behind no router.
    pub torrents: usize,
    /// Between the announces and the first look-up.
    pub pause: Duration,
    /// Look-ups of random torrents by random nodes.
    pub lookups: usize,
    /// Between two of them.
    pub every: Duration,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Look-ups that found a peer, and all.
    pub found: (usize, usize),
    /// Look-ups that found none.
    pub missed: Vec<Miss>,
    /// Time to the first peer, sorted.
    pub first: Vec<Duration>,
    /// Time to the end of the look-up, sorted.
    pub whole: Vec<Duration>,
    /// Look-ups by the hop of the node that told the first peer.
    pub hops: BTreeMap<u32, usize>,
    /// The steps of the look-up whose first peer came last, up to that, and when they happened.
    pub slowest: Vec<(Duration, Step)>,
    /// Queries of all look-ups.
    pub queries: u64,
    /// Nodes of a table, on average.
    pub table: usize,
    /// Datagrams a node and second, over the whole time.
    pub rate: f64,
}

/// A look-up that found no peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Miss {
    /// The torrent.
    pub torrent: usize,
    /// The node that looked for it.
    pub slot: usize,
    /// The nodes that it knew.
    pub table: usize,
    /// How the look-up went; zeros if it did not end.
    pub outcome: SearchOutcome,
}

impl Figures {
    /// A percentile of the time to the first peer.
    pub fn first_peer(&self, percent: usize) -> Option<Duration> {
        percentile(&self.first, percent)
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent).div_ceil(100)).copied()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |times: &[Duration], p| percentile(times, p).unwrap_or_default().as_millis();
        let missed: BTreeSet<_> = self.missed.iter().map(|miss| miss.torrent).collect();
        writeln!(f, "found              {} of {}", self.found.0, self.found.1)?;
        writeln!(f, "torrents missed    {}", missed.len())?;
        for (name, times) in [("first peer, ms", &self.first), ("look-up ends, ms", &self.whole)] {
            let [p50, p90, p99, max] = [50, 90, 99, 100].map(|p| ms(times, p));
            writeln!(f, "{name:<18} p50 {p50}  p90 {p90}  p99 {p99}  max {max}")?;
        }
        let hops = self.hops.iter().map(|(hop, n)| format!("{hop}: {n}")).collect::<Vec<_>>();
        writeln!(f, "hop of first peer  {}", hops.join("  "))?;
        let queries = self.queries as f64 / self.found.1.max(1) as f64;
        writeln!(f, "queries a look-up  {queries:.1}")?;
        write!(f, "table              {} nodes; {:.1} datagrams/s a node", self.table, self.rate)
    }
}

/// Runs a measurement.
pub fn measure(plan: &Lookups) -> Figures {
    let mut net = Net::new(plan.net.clone());
    net.run_for(plan.warm_up);
    let nodes = net.len() as u64;
    let mut torrents = Vec::new();
    for _ in 0..plan.torrents {
        let hash = net.random_id();
        let slot = net.below(nodes) as usize;
        // Who announces stays: a torrent without peers is not to be found.
        net.keep(slot);
        let announce = Announce { port: 6881, implied_port: false, seed: true };
        net.with(slot, |node, now| node.announce(now, hash, Some(announce)));
        torrents.push((slot, hash));
        net.run_for(Duration::from_millis(50));
    }
    net.run_for(plan.pause);
    let mut figures = Figures::default();
    for _ in 0..plan.lookups {
        let torrent = net.below(torrents.len() as u64) as usize;
        let Some(&(owner, hash)) = torrents.get(torrent) else { break };
        let slot = loop {
            let slot = net.below(nodes) as usize;
            // One that has been here for a while: its table is warm.
            if slot != owner && net.stats(slot).nodes_v4 >= 8 {
                break slot;
            }
        };
        net.take_events(slot);
        let begin = net.now();
        let search = net.with(slot, |node, now| {
            node.set_trace(true);
            node.find_peers(now, hash, None)
        });
        let end = net.now() + Duration::from_secs(40);
        let mut seen = Vec::new();
        net.run_until(end, |net| {
            let events = net.take_events(slot);
            let done = events.iter().any(|(_, event)| match event {
                DhtEvent::Finished { search: ended, .. } => *ended == search,
                _ => false,
            });
            seen.extend(events.into_iter().map(|(at, event)| (at.since(begin), event)));
            done
        });
        let (found, outcome) = figures.note(search, &seen);
        if !found {
            figures.missed.push(Miss { torrent, slot, table: net.stats(slot).nodes_v4, outcome });
        }
        net.run_for(plan.every);
    }
    figures.first.sort_unstable();
    figures.whole.sort_unstable();
    let tables: usize = (0..net.len()).map(|slot| net.stats(slot).nodes_v4).sum();
    figures.table = tables / net.len().max(1);
    let seconds = net.now().as_micros() as f64 / 1e6;
    figures.rate = net.datagrams() as f64 / seconds / net.len().max(1) as f64;
    figures
}

impl Figures {
    /// Notes a look-up: whether it found a peer, and how it went.
    fn note(&mut self, search: SearchId, events: &[(Duration, DhtEvent)]) -> (bool, SearchOutcome) {
        self.found.1 += 1;
        let (mut first, mut hop, mut steps) = (None, 0, Vec::new());
        let mut ended = SearchOutcome::default();
        for (at, event) in events {
            match event {
                DhtEvent::Step { search: of, step } if *of == search && first.is_none() => {
                    steps.push((*at, step.clone()));
                    if let Step::Answered { hop: of_node, .. } = step {
                        hop = *of_node;
                    }
                }
                DhtEvent::Peers { search: of, after, .. } if *of == search && first.is_none() => {
                    first = Some(*after);
                }
                DhtEvent::Finished { search: of, outcome, .. } if *of == search => {
                    ended = *outcome;
                    self.queries += u64::from(outcome.queries);
                    self.whole.push(outcome.time);
                }
                _ => {}
            }
        }
        if let Some(first) = first {
            self.found.0 += 1;
            if self.first.iter().all(|&other| other < first) {
                self.slowest = steps;
            }
            self.first.push(first);
            *self.hops.entry(hop).or_default() += 1;
        }
        (first.is_some(), ended)
    }
}
