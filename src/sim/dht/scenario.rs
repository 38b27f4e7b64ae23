//! What a network is measured by: are announced torrents found, and how soon?

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{Body, Net, NetConf, libtorrent};
use crate::{
    base::time::Instant,
    proto::dht::{Announce, DhtEvent, SearchId, SearchOutcome, Step},
    wire::krpc::NodeId,
};

/// The steps of a look-up, and how long after its begin they were taken.
pub type Steps = Vec<(Duration, Step)>;

/// No look-up takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Lookups {
    /// The network.
    pub net: NetConf,
    /// Before anything is announced.
    pub warm_up: Duration,
    /// Torrents, each announced by one node that stays.
    pub torrents: usize,
    /// Between the announces and the first look-up.
    pub pause: Duration,
    /// Look-ups of random torrents by random nodes.
    pub lookups: usize,
    /// Between two beginnings.
    pub every: Duration,
    /// Whether libtorrent's algorithm looks for the same torrent from the same node, with the same
    /// table, at the same time.
    pub beside: bool,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Of our look-ups.
    pub ours: Figures,
    /// Of those by libtorrent's algorithm.
    pub libtorrent: Option<Figures>,
    /// Our look-ups that found none.
    pub missed: Vec<Miss>,
    /// The steps of our look-up whose first peer came last, up to that, and when they happened.
    pub slowest: Steps,
    /// Nodes of a table, on average.
    pub table: usize,
    /// Datagrams a node and second, over the whole time.
    pub rate: f64,
}

/// The figures of many look-ups.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Look-ups that found a peer, and all.
    pub found: (usize, usize),
    /// Time to the first peer, sorted.
    pub first: Vec<Duration>,
    /// Time to the end of the look-up, sorted.
    pub whole: Vec<Duration>,
    /// Look-ups by the hop of the node that told the first peer.
    pub hops: BTreeMap<u32, usize>,
    /// Queries of all look-ups.
    pub queries: u64,
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
    /// Nodes that store the torrent, and those of them that are behind no router.
    pub stored: (usize, usize),
    /// How the look-up went; zeros if it did not end.
    pub outcome: SearchOutcome,
}

/// A look-up under way.
struct Running {
    slot: usize,
    /// Which tenant of the place looks.
    life: u32,
    torrent: usize,
    search: SearchId,
    begin: Instant,
    seen: Vec<(Duration, DhtEvent)>,
    ended: Option<SearchOutcome>,
    beside: Option<libtorrent::Outcome>,
}

impl Figures {
    /// A percentile of the time to the first peer.
    pub fn first_peer(&self, percent: usize) -> Option<Duration> {
        percentile(&self.first, percent)
    }

    fn note(&mut self, first: Option<(Duration, u32)>, whole: Duration, queries: u64) {
        self.found.1 += 1;
        self.whole.push(whole);
        self.queries += queries;
        if let Some((first, hop)) = first {
            self.found.0 += 1;
            self.first.push(first);
            *self.hops.entry(hop).or_default() += 1;
        }
    }

    fn sort(&mut self) {
        self.first.sort_unstable();
        self.whole.sort_unstable();
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent).div_ceil(100)).copied()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |times: &[Duration], p| percentile(times, p).unwrap_or_default().as_millis();
        writeln!(f, "found              {} of {}", self.found.0, self.found.1)?;
        for (name, times) in [("first peer, ms", &self.first), ("look-up ends, ms", &self.whole)] {
            let [p50, p90, p99, max] = [50, 90, 99, 100].map(|p| ms(times, p));
            writeln!(f, "{name:<18} p50 {p50}  p90 {p90}  p99 {p99}  max {max}")?;
        }
        let hops = self.hops.iter().map(|(hop, n)| format!("{hop}: {n}")).collect::<Vec<_>>();
        writeln!(f, "hop of first peer  {}", hops.join("  "))?;
        let queries = self.queries as f64 / self.found.1.max(1) as f64;
        writeln!(f, "queries a look-up  {queries:.1}")
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ours)?;
        if let Some(figures) = &self.libtorrent {
            write!(f, "by libtorrent's algorithm:\n{figures}")?;
        }
        write!(f, "table              {} nodes; {:.1} datagrams/s a node", self.table, self.rate)
    }
}

/// Runs a measurement.
pub fn measure(plan: &Lookups) -> Measured {
    let mut net = Net::new(plan.net.clone());
    net.run_for(plan.warm_up);
    let torrents = announce(&mut net, plan.torrents);
    net.run_for(plan.pause);
    let libtorrent = plan.beside.then(Figures::default);
    let mut measured = Measured { libtorrent, ..Measured::default() };
    let mut running: Vec<Running> = Vec::new();
    let mut begun = 0;
    while begun < plan.lookups || !running.is_empty() {
        if begun < plan.lookups {
            running.extend(Running::begin(&mut net, &torrents, &running, plan.beside));
            begun += 1;
        }
        net.run_for(plan.every);
        for mut lookup in std::mem::take(&mut running) {
            if lookup.is_gone(&net) {
                // Who looked has left; another looks.
                begun -= 1;
            } else if lookup.has_ended(&mut net, plan.beside) {
                measured.note(&mut net, &torrents, lookup);
            } else {
                running.push(lookup);
            }
        }
    }
    measured.ours.sort();
    measured.libtorrent.iter_mut().for_each(Figures::sort);
    let tables: usize = (0..net.len()).map(|slot| net.stats(slot).nodes_v4).sum();
    measured.table = tables / net.len().max(1);
    let seconds = net.now().as_micros() as f64 / 1e6;
    measured.rate = net.datagrams() as f64 / seconds / net.len().max(1) as f64;
    measured
}

/// Random torrents, and who announces each.
fn announce(net: &mut Net, torrents: usize) -> Vec<(usize, NodeId)> {
    let nodes = net.len() as u64;
    let one = |_| {
        let hash = net.random_id();
        let slot = net.below(nodes) as usize;
        // Who announces stays: a torrent without peers is not to be found.
        net.keep(slot);
        let (port_v4, implied_port, seed) = (Some(6881), false, true);
        let announce = Announce { port_v4, port_v6: None, implied_port, seed };
        net.with(slot, |node, now| node.announce(now, hash, Some(announce)));
        net.run_for(Duration::from_millis(50));
        (slot, hash)
    };
    (0..torrents).map(one).collect()
}

impl Running {
    /// A random node that has been here for a while, so that its table is warm, looks for a random
    /// torrent.
    fn begin(
        net: &mut Net,
        torrents: &[(usize, NodeId)],
        running: &[Self],
        beside: bool,
    ) -> Option<Self> {
        let torrent = net.below(torrents.len() as u64) as usize;
        let &(owner, hash) = torrents.get(torrent)?;
        let slot = loop {
            let slot = net.below(net.len() as u64) as usize;
            let busy = slot == owner || running.iter().any(|other| other.slot == slot);
            if !busy && net.stats(slot).nodes_v4 >= 8 {
                break slot;
            }
        };
        net.take_events(slot);
        if beside {
            net.begin_beside(slot, hash);
        }
        let search = net.with(slot, |node, now| {
            node.set_trace(true);
            node.find_peers(now, hash, None)
        });
        Some(Self {
            slot,
            life: net.life(slot),
            torrent,
            search,
            begin: net.now(),
            seen: Vec::new(),
            ended: None,
            beside: None,
        })
    }

    fn is_gone(&self, net: &Net) -> bool {
        !net.is_life(self.slot, self.life)
    }

    /// Fetches what has happened. True if nothing more will.
    fn has_ended(&mut self, net: &mut Net, beside: bool) -> bool {
        let events = net.take_events(self.slot);
        self.seen.extend(events.into_iter().map(|(at, event)| (at.since(self.begin), event)));
        let of_this = |event: &DhtEvent| match event {
            DhtEvent::Finished { search, outcome, .. } => {
                (*search == self.search).then_some(*outcome)
            }
            _ => None,
        };
        self.ended = self.ended.or(self.seen.iter().find_map(|(_, event)| of_this(event)));
        if self.ended.is_some() {
            net.with(self.slot, |node, _| node.set_trace(false));
        }
        self.beside = self.beside.or(net.take_beside(self.slot));
        let all = self.ended.is_some() && (self.beside.is_some() || !beside);
        all || net.now().since(self.begin) > PATIENCE
    }

    /// When the first peer came and over how many hops, and the steps up to that.
    fn first(&self) -> (Option<(Duration, u32)>, Steps) {
        let (mut hop, mut steps) = (0, Vec::new());
        for (at, event) in &self.seen {
            match event {
                DhtEvent::Step { search, step } if *search == self.search => {
                    steps.push((*at, step.clone()));
                    if let Step::Answered { hop: of_node, .. } = step {
                        hop = *of_node;
                    }
                }
                DhtEvent::Peers { search, after, .. } if *search == self.search => {
                    return (Some((*after, hop)), steps);
                }
                _ => {}
            }
        }
        (None, steps)
    }
}

impl Measured {
    /// Notes a look-up that has ended.
    fn note(&mut self, net: &mut Net, torrents: &[(usize, NodeId)], lookup: Running) {
        let (first, steps) = lookup.first();
        let outcome = lookup.ended.unwrap_or_default();
        match first {
            Some((first, _)) if self.ours.first.iter().all(|&other| other < first) => {
                self.slowest = steps;
            }
            Some(_) => {}
            None => {
                let Running { torrent, slot, .. } = lookup;
                let table = net.stats(slot).nodes_v4;
                let stored = torrents.get(torrent).map_or((0, 0), |(_, hash)| net.storing(hash));
                self.missed.push(Miss { torrent, slot, table, stored, outcome });
            }
        }
        self.ours.note(first, outcome.time, outcome.queries.into());
        if let Some((figures, theirs)) = self.libtorrent.as_mut().zip(lookup.beside) {
            figures.note(theirs.first, theirs.whole, theirs.queries);
        }
    }
}

impl Net {
    /// Nodes that store a torrent, and those of them that are behind no router.
    fn storing(&self, hash: &NodeId) -> (usize, usize) {
        let stores = |slot: &&super::Slot| match &slot.body {
            Body::Node(node) => node.stores(hash),
            Body::Script(_) => false,
        };
        let all: Vec<_> = self.slots.iter().filter(stores).collect();
        (all.len(), all.iter().filter(|slot| slot.holes.is_none()).count())
    }

    fn life(&self, slot: usize) -> u32 {
        self.slots.get(slot).map_or(0, |slot| slot.life)
    }
}
