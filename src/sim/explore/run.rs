//! Carries a plan out, and holds what comes of it against what must be true: when the troubles end
//! every node gets everything, no good node is banned, and at the end nothing is left over. What
//! the world checks after each event holds all along.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{
    Failure, Item, Kind, Plan,
    act::Act,
    cast::{self, has, millis},
};
use crate::{
    alert::Alert,
    base::{files::Priority, ids::InfoHash, time::Instant},
    conf::{Conf, Transports},
    engine::{AddError, ConnectionParams, Source, TorrentParams},
    sim::{Manners, NodeId, Remote, Sample, TrackerId, World},
    wire::magnet::Magnet,
};

/// How long the nodes have to get everything once the troubles are over. A node that was cut off
/// is missed after two minutes only, and turns of peers take their time.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How often users look whether a good node is banned, in a world in which disks have lied.
const LOOK: Duration = Duration::from_secs(60);
/// How often it is looked whether something is over.
pub(super) const GLANCE: Duration = Duration::from_millis(200);
/// How long removals and checks may take, whatever disks did before.
pub(super) const LONGEST_CHECK: Duration = Duration::from_secs(900);
/// A scenario that keeps busier than this goes in circles.
const MAX_EVENTS: u64 = 20_000_000;

/// What came of a plan that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// See [`World::transcript`].
    pub transcript: u64,
    /// Events in all.
    pub events: u64,
    /// When everybody had everything and had shut down.
    pub end: Instant,
}

/// Carries a plan out. The same plan does the same each time.
///
/// # Errors
/// What was wrong: a panic of the engine or of the world's checks, a node that did not get
/// everything, or anything else that must not be. A plan without a torrent with data fails, too.
pub fn run(plan: &Plan) -> Result<Outcome, Failure> {
    run_with(plan, true)
}

/// The same, and if the engine panics the world's [trace](World::trace) is printed.
///
/// # Errors
/// As [`run`].
pub fn run_aloud(plan: &Plan) -> Result<Outcome, Failure> {
    run_with(plan, false)
}

fn run_with(plan: &Plan, quiet: bool) -> Result<Outcome, Failure> {
    catch_unwind(AssertUnwindSafe(|| Run::new(plan, quiet)?.finish())).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let (what, details) = text
            .map_or(("a panic", ""), |text| text.split_at(text.find('\n').unwrap_or(text.len())));
        Err(Failure { what: what.to_owned(), details: details.to_owned() })
    })
}

/// A plan that is being carried out.
pub(super) struct Run<'a> {
    pub(super) world: World,
    pub(super) samples: Vec<Arc<Sample>>,
    /// Those that have the files of another.
    pub(super) twins: BTreeSet<InfoHash>,
    pub(super) nodes: BTreeMap<u64, NodeId>,
    pub(super) peers: BTreeMap<u64, NodeId>,
    pub(super) trackers: BTreeMap<u64, TrackerId>,
    /// Proxies by the nodes that they are for, and their kinds.
    pub(super) proxies: BTreeMap<NodeId, (NodeId, u64)>,
    /// What torrents are told of them.
    tiers: Vec<Vec<String>>,
    /// Nodes that know less of the torrents than there is to know: what they lack.
    lacking: BTreeMap<NodeId, u64>,
    /// Where web servers are.
    web_seeds: Vec<String>,
    /// Torrents whose versions contradict each other: no node gets all of them.
    contradictions: BTreeSet<InfoHash>,
    /// Nodes behind boxes that reset what is not encrypted.
    censored: BTreeSet<NodeId>,
    /// What the torrents of a node have for policies of their own, as their user has said it.
    policies: BTreeMap<NodeId, u64>,
    /// Nodes that know trackers or the DHT only.
    alone: BTreeSet<NodeId>,
    /// Nodes whose users have magnet links.
    pub(super) by_link: BTreeSet<NodeId>,
    /// Nodes that know the others by the DHT.
    pub(super) in_dht: BTreeSet<NodeId>,
    /// Nodes that have come.
    pub(super) joined: BTreeSet<NodeId>,
    /// Nodes that are shutting down, to be started again.
    pub(super) leaving: BTreeSet<NodeId>,
    /// Nodes whose users did something that may lose data.
    pub(super) careless: BTreeSet<NodeId>,
    /// Their disks failed a call, and may have done what it was for or not.
    pub(super) misled: BTreeSet<NodeId>,
    /// Their disks failed to read: what they had may have been fetched again, and written over by
    /// one that lies.
    pub(super) unread: BTreeSet<NodeId>,
    /// Their disks failed to sync.
    pub(super) unsynced: BTreeSet<NodeId>,
    /// Those of them whose power was cut after that: files that were never safe may have gone.
    pub(super) deprived: BTreeSet<NodeId>,
    /// Nodes whose disks did not keep what they were given.
    pub(super) spoilt: BTreeSet<NodeId>,
    /// In order of time, then as they came.
    pub(super) acts: BTreeMap<(Instant, usize), (u64, Act<'a>)>,
    pub(super) next_act: usize,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, quiet: bool) -> Result<Self, Failure> {
        let mut world = World::new(plan.seed);
        world.set_quiet(quiet);
        let torrents = plan.of(Kind::Torrent);
        let twins = torrents.iter().filter(|torrent| cast::twin_of(plan, torrent).is_some());
        let twins = twins
            .filter_map(|torrent| cast::sample(plan, torrent).ok())
            .map(|sample| sample.metainfo.info_hash())
            .collect();
        let samples = torrents
            .into_iter()
            .map(|torrent| cast::sample(plan, torrent))
            .collect::<Result<Vec<_>, _>>()?;
        if samples.is_empty() {
            return Err(Failure::new("a plan without a torrent"));
        }
        let contradictions = samples.iter().filter(|sample| sample.is_contradiction());
        let contradictions = contradictions.map(|sample| sample.metainfo.info_hash()).collect();
        let mut run = Self {
            world,
            samples,
            twins,
            nodes: BTreeMap::new(),
            peers: BTreeMap::new(),
            trackers: BTreeMap::new(),
            proxies: BTreeMap::new(),
            tiers: Vec::new(),
            lacking: BTreeMap::new(),
            web_seeds: Vec::new(),
            contradictions,
            censored: BTreeSet::new(),
            policies: BTreeMap::new(),
            alone: BTreeSet::new(),
            by_link: BTreeSet::new(),
            in_dht: BTreeSet::new(),
            joined: BTreeSet::new(),
            leaving: BTreeSet::new(),
            careless: BTreeSet::new(),
            misled: BTreeSet::new(),
            unread: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            deprived: BTreeSet::new(),
            spoilt: BTreeSet::new(),
            acts: BTreeMap::new(),
            next_act: 0,
        };
        let some_answer = plan
            .of(Kind::Tracker)
            .into_iter()
            .map(|item| run.make_tracker(item))
            .fold(false, |a, b| a | b);
        run.make_nodes(plan, some_answer);
        for item in plan.of(Kind::At) {
            let at = Instant::ZERO + millis(item.id);
            run.acts
                .insert((at, run.acts.len()), (item.get("node").unwrap_or(0), Act::Event(item)));
        }
        plan.of(Kind::Peer).into_iter().for_each(|item| run.make_peer(item));
        plan.of(Kind::Web).into_iter().for_each(|item| run.make_web_server(item));
        let default = Item::new(Kind::Node, 0);
        run.begin(plan.of(Kind::Node).into_iter().find(|item| item.id == 0).unwrap_or(&default));
        run.next_act = run.acts.len();
        Ok(run)
    }

    /// Whether it answers.
    fn make_tracker(&mut self, item: &Item) -> bool {
        if self.trackers.contains_key(&item.id) {
            return false;
        }
        let tracker = self.world.tracker();
        self.world.set_tracker_interval(
            tracker,
            item.get("interval").unwrap_or(300).clamp(10, 600) as u32,
        );
        self.trackers.insert(item.id, tracker);
        let (url, hangs, unknown) =
            (self.world.tracker_url(tracker), item.get("hangs"), item.get("unknown"));
        self.tiers.push(vec![match (hangs, unknown) {
            (Some(_), _) => url.replace("udp:", "http:"),
            (_, Some(_)) => format!("udp://nowhere{}.test:80/announce", item.id),
            _ => url,
        }]);
        hangs.is_none() && unknown.is_none()
    }

    fn make_nodes(&mut self, plan: &'a Plan, trackers: bool) {
        let mut items = plan.of(Kind::Node);
        let uses_dht = |item: &Item| item.get("dht").is_some();
        let any_dht = items.iter().any(|item| uses_dht(item));
        let any_utp = items.iter().any(|item| item.get("utp") == Some(2));
        let conf_of = |item: &Item, first: Option<SocketAddr>| {
            let mut conf = cast::conf(item);
            // Those that speak uTP alone and those that speak TCP alone would never meet.
            if any_utp && conf.network.transports == Transports::Tcp {
                conf.network.transports = Transports::Both;
            }
            let has_dht = uses_dht(item) || (any_dht && item.id == 0);
            if has_dht { cast::with_dht(conf, first) } else { conf }
        };
        if items.first().is_none_or(|first| first.id > 0) {
            let node = self.world.node(conf_of(&Item::new(Kind::Node, 0), None));
            self.nodes.insert(0, node);
        }
        items.dedup_by_key(|item| item.id);
        let mut houses: BTreeMap<u64, (u64, Vec<NodeId>)> = BTreeMap::new();
        for item in items {
            let first = self.nodes.get(&0).map(|&first| self.world.addr(first));
            let mut conf = conf_of(item, first);
            let proxy = cast::proxy_of(plan, item).filter(|_| item.id > 0);
            let proxy = proxy.map(|kind| (self.make_proxy(kind, &mut conf), kind));
            let node = self.world.node(conf);
            self.proxies.extend(proxy.map(|proxy| (node, proxy)));
            self.world.set_line(node, cast::line(item));
            self.world.set_disk_pace(node, cast::pace(item));
            self.world.set_flaky(node, item.get("flaky").and_then(cast::flaky));
            self.world.set_censored(node, item.get("censored").is_some());
            self.censored.extend(item.get("censored").map(|_| node));
            self.policies.extend(item.get("policies").map(|policies| (node, policies)));
            self.world.set_disk_spikes(
                node,
                item.get("spikes").unwrap_or(0),
                cast::span(item.get("spike").unwrap_or(1000)),
            );
            self.nodes.insert(item.id, node);
            // Node 0 is for all to dial, and no router looks back at itself. A DHT table has one
            // node an address (BEP 42): of two behind one router only one is told of others for
            // sure.
            let house = item.get("house").filter(|_| item.id > 0 && !uses_dht(item)).unwrap_or(0);
            match (item.get("nat"), house) {
                (Some(rule), 0) => self.world.set_nat(node, cast::nat(rule)),
                (Some(rule), house) => {
                    houses.entry(house).or_insert((rule, Vec::new())).1.push(node)
                }
                (None, _) => {}
            }
            if (trackers && item.get("alone").is_some()) || (uses_dht(item) && item.id > 0) {
                self.alone.insert(node);
            }
            if uses_dht(item) && item.id > 0 {
                self.in_dht.insert(node);
            }
            if item.get("magnet").is_some() && item.id > 0 && self.twins.is_empty() {
                self.by_link.insert(node);
            }
            let lacks = item.get("lacks").filter(|_| item.get("session").is_none());
            if let Some(lacks) = lacks.filter(|_| item.id > 0 && self.twins.is_empty()) {
                // Peers tell those who have a link only of both versions.
                let lacks = if self.by_link.contains(&node) { 1 } else { 1 + (lacks + 1) % 2 };
                self.lacking.insert(node, lacks);
            }
            if item.id > 0 {
                let at = Instant::ZERO + millis(item.get("joins").unwrap_or(0));
                self.acts.insert((at, self.acts.len()), (item.id, Act::Join(item)));
            }
        }
        houses
            .into_values()
            .for_each(|(rule, nodes)| self.world.share_nat(&nodes, cast::nat(rule)));
        if any_dht {
            // What they announce is where their routers let others in, if they do.
            self.nodes.values().for_each(|&node| self.world.set_reachable(node));
        }
    }

    fn make_proxy(&mut self, kind: u64, conf: &mut Conf) -> NodeId {
        // One that gets nowhere is for the time of an event.
        let (scheme, manners) = cast::proxy(kind % cast::GOOD_PROXIES);
        let proxy = self.world.proxy(manners);
        conf.proxy.server = self.world.proxy_url(proxy, scheme).parse().ok();
        conf.proxy.retry_max = Duration::from_secs(3);
        proxy
    }

    fn make_peer(&mut self, item: &Item) {
        let torrent = item.get("torrent").unwrap_or(0) as usize % self.samples.len();
        let mask = item.get("dials").unwrap_or(0);
        let dials = self
            .nodes
            .iter()
            .filter(|(id, _)| has(mask, **id))
            .map(|(_, &node)| self.world.addr(node))
            .collect();
        let sample = &self.samples[torrent];
        let nodes: Vec<_> = self.nodes.values().map(|&node| self.world.addr(node)).collect();
        let gossip = cast::gossip(item, &nodes);
        let manners = Manners { dials, gossip, ..cast::manners(item, sample) };
        let peer = self.world.scripted(Remote::new(sample, item.id as u8, manners));
        self.world.set_line(peer, cast::line(item));
        self.peers.insert(item.id, peer);
    }

    fn make_web_server(&mut self, item: &Item) {
        let server = self.world.web_server(&self.samples, cast::web(item));
        self.world.set_line(server, cast::line(item));
        self.web_seeds.push(self.world.web_url(server));
    }

    /// Node 0 has everything.
    fn begin(&mut self, item: &Item) {
        let node = self.nodes[&0];
        for sample in self.samples.clone() {
            self.restore_files(node, &sample);
            let params = self.params(node, item, &sample, &[]);
            let id = self.world.add_torrent(
                node,
                &sample,
                TorrentParams { super_seed: false, ..params },
            );
            if item.get("super").is_some() {
                let _ = self.world.tell(node, |engine| engine.set_super_seeding(id, true));
            }
        }
        self.joined.insert(node);
    }

    /// What a node adds a torrent with, as its item has it.
    fn params(
        &self,
        node: NodeId,
        item: &Item,
        sample: &Sample,
        known: &[NodeId],
    ) -> TorrentParams {
        let skips = item.get("skips").unwrap_or(0);
        let files = 0..sample.metainfo.files.len() as u64;
        let wish = |file| if has(skips, file) { Priority::Skip } else { Priority::Normal };
        TorrentParams {
            peers: known.iter().map(|&node| self.world.addr(node)).collect(),
            sequential: item.get("sequential").is_some(),
            super_seed: item.get("super").is_some(),
            queued: item.get("queued").is_some(),
            priorities: if skips > 0 { files.map(wish).collect() } else { Vec::new() },
            ..self.new_params(node, sample)
        }
    }

    /// What anybody adds a torrent with who does not know it.
    pub(super) fn new_params(&self, node: NodeId, sample: &Sample) -> TorrentParams {
        let trackers = (!self.tiers.is_empty()).then(|| self.tiers.clone());
        let is_this =
            |other: &Arc<Sample>| other.metainfo.info_hash() == sample.metainfo.info_hash();
        let nth = self.samples.iter().position(is_this).unwrap_or(0) as u32;
        let policies = self.policies.get(&node).filter(|_| self.twins.is_empty());
        let encryption = policies.and_then(|&policies| cast::policy(policies, nth));
        let params = TorrentParams {
            trackers,
            web_seeds: self.web_seeds.clone(),
            connections: ConnectionParams { encryption, ..ConnectionParams::default() },
            ..TorrentParams::new(sample.metainfo.clone(), self.dir_of(node, sample))
        };
        if self.by_link.contains(&node) {
            let source = Magnet::new(sample.metainfo.identity).into();
            return TorrentParams { source, ..params };
        }
        params
    }

    /// Where a node has a torrent at first. Node 0 has twins in two folders, since it must have
    /// both from the beginning.
    pub(super) fn dir_of(&self, node: NodeId, sample: &Sample) -> PathBuf {
        let is_apart = node == self.nodes[&0] && self.twins.contains(&sample.metainfo.info_hash());
        if is_apart { format!("/node{}-twin", node.0).into() } else { self.dir(node) }
    }

    /// A torrent as a node sees it that lacks something.
    fn seen_by(&self, node: NodeId, sample: &Arc<Sample>) -> Arc<Sample> {
        match self.lacking.get(&node) {
            Some(2) if sample.metainfo.identity.v1().is_some() => sample.as_v1(),
            Some(1) => sample.without_layers(),
            _ => sample.clone(),
        }
    }

    /// Adds a torrent, unless another has its files and is not whole, or is not known to be: then
    /// its user tries again later.
    pub(super) fn add(
        &mut self,
        node: NodeId,
        sample: &Arc<Sample>,
        params: TorrentParams,
    ) -> bool {
        let sample = &self.seen_by(node, sample);
        let params = match params.source {
            Source::Metainfo(_) => {
                TorrentParams { source: sample.metainfo.clone().into(), ..params }
            }
            Source::Magnet(_) => params,
        };
        match self.world.try_add_torrent(node, sample, params) {
            Ok(_) => true,
            Err(AddError::PathTaken { .. }) => false,
            Err(error) => panic!("{node:?} does not take the torrent: {error}"),
        }
    }

    pub(super) fn join(&mut self, node: NodeId, item: &Item) {
        let mask = item.get("knows").unwrap_or(u64::MAX);
        let known = self.acquaintances(node, |id| id == 0 || has(mask, id));
        for sample in self.samples.clone() {
            let params = self.params(node, item, &sample, &known);
            self.add(node, &sample, params);
        }
        self.joined.insert(node);
    }

    /// Which nodes a node knows, of those that it could know.
    pub(super) fn acquaintances(&self, node: NodeId, could: impl Fn(u64) -> bool) -> Vec<NodeId> {
        let everybody = self
            .nodes
            .iter()
            .chain(&self.peers)
            .filter(|&(id, &other)| other != node && could(*id));
        if self.alone.contains(&node) {
            Vec::new()
        } else {
            everybody.map(|(_, &node)| node).collect()
        }
    }

    fn finish(mut self) -> Result<Outcome, Failure> {
        while let Some(((at, _), (id, act))) = self.acts.pop_first() {
            self.world.run_for(at.since(self.world.now()));
            if let Some(&node) = self.nodes.get(&id) {
                self.act(node, id, act)?;
            }
        }
        self.end_troubles()?;
        if !self.by_link.is_empty() {
            // Which files it skips is not known before.
            let knows = |run: &Self, node| run.world.knows_metainfo(node, |t| run.is_owed(node, t));
            self.everybody(knows, "its metadata")?;
        }
        if self.any_node_skips() {
            let has = |run: &Self, node| run.world.is_satisfied(node, |t| run.is_owed(node, t));
            self.everybody(has, "what it wants")?;
            self.want_everything();
        }
        self.everybody(Self::has_everything, "everything")?;
        if !self.twins.is_empty() {
            self.add_twins()?;
            self.want_everything();
            self.everybody(Self::has_everything, "everything, of twins too")?;
        }
        self.contradictions_are_told()?;
        self.contradictions_are_not_claimed()?;
        self.all_is_true()?;
        self.no_good_node_is_banned()?;
        let nodes: Vec<_> = self.nodes.values().copied().collect();
        nodes.iter().for_each(|&node| self.world.tell(node, |engine| engine.shutdown()));
        if !self.world.run_until(
            |w| nodes.iter().all(|&n| w.engine(n).is_drained()),
            Duration::from_secs(900),
        ) {
            return Err(self.failure("a node that does not shut down"));
        }
        for (id, &node) in &self.nodes {
            let engine = self.world.engine(node);
            let left = (engine.piece_memory(), engine.upload_memory());
            if left != (0, 0) {
                return Err(Failure::new(format!(
                    "node {id} has memory left after its end, for pieces and uploads: {left:?}"
                )));
            }
        }
        Ok(Outcome {
            transcript: self.world.transcript(),
            events: self.world.events(),
            end: self.world.now(),
        })
    }

    /// Waits until everybody `is` so.
    pub(super) fn everybody(
        &mut self,
        is: impl Fn(&Self, NodeId) -> bool,
        what: &str,
    ) -> Result<(), Failure> {
        let nodes: Vec<_> = self.nodes.values().copied().collect();
        let limit = self.world.now() + PATIENCE;
        let mut look = self.world.now() + LOOK;
        while !nodes.iter().all(|&node| is(self, node))
            && self.world.now() < limit
            && self.world.events() <= MAX_EVENTS
        {
            self.world.run_for(GLANCE);
            if self.world.now() >= look {
                look = self.world.now() + LOOK;
                self.make_peace();
                // A twin may have come after the first had taken the files along.
                nodes.iter().for_each(|&node| self.give_up_missing(node));
            }
        }
        if self.world.events() > MAX_EVENTS {
            return Err(self.failure("a swarm that keeps busy without an end"));
        }
        match self.nodes.iter().find(|(_, node)| !is(self, **node)) {
            Some((id, _)) => {
                Err(self.failure(format!("node {id} does not get {what} until {limit:?}")))
            }
            None => Ok(()),
        }
    }

    pub(super) fn failure(&self, what: impl fmt::Display) -> Failure {
        Failure { details: self.standing(), ..Failure::new(what) }
    }

    /// What went before, and how everybody stands who lacks something.
    fn standing(&self) -> String {
        let mut text = format!("\n{}", self.world.trace());
        for (id, &node) in self.nodes.iter().filter(|(_, node)| !self.world.is_complete(**node)) {
            text += &format!("\nnode {id}: {:#?}", self.world.stats_of(node));
            let engine = self.world.engine(node);
            for torrent in engine.torrents() {
                text += &format!("\n{:?}\n{:#?}", engine.have(torrent), engine.peers(torrent));
            }
        }
        text
    }

    /// Whether a node has all that it can get.
    pub(super) fn has_everything(&self, node: NodeId) -> bool {
        self.world.has_all_of(node, |torrent| self.is_owed(node, torrent))
    }

    /// Whether a node gets everything of a torrent for sure: from node 0, which all can dial. Of
    /// what contradicts itself no node gets everything, and a node that cannot speak with node 0
    /// may get it from others or not.
    pub(super) fn is_owed(&self, node: NodeId, torrent: InfoHash) -> bool {
        let first = self.nodes[&0];
        if self.contradictions.contains(&torrent) {
            return false;
        }
        let policy = |node| {
            let engine = self.world.engine(node);
            engine.find(torrent).and_then(|id| engine.encryption(id).ok())
        };
        let Some((own, other)) = policy(node).zip(policy(first)).filter(|_| node != first) else {
            return true;
        };
        let is_censored = [node, first].iter().any(|node| self.censored.contains(node));
        let in_plain = own.may_be_plain() && other.may_be_plain() && !is_censored;
        in_plain || (own.may_encrypt() && other.may_encrypt())
    }

    /// Whether a node gets all of its torrents for sure.
    pub(super) fn is_owed_all(&self, node: NodeId) -> bool {
        self.samples.iter().all(|sample| self.is_owed(node, sample.metainfo.info_hash()))
    }

    /// Node 0 knows both versions of a hybrid, and had all of its files: it has told of their
    /// contradiction, unless something became of them.
    fn contradictions_are_told(&self) -> Result<(), Failure> {
        let first = self.nodes[&0];
        let touched = [&self.careless, &self.misled, &self.spoilt];
        if touched.iter().any(|nodes| nodes.contains(&first)) {
            return Ok(());
        }
        if !self.has_told_contradictions(first) {
            return Err(self.failure("node 0 does not tell that a torrent contradicts itself"));
        }
        Ok(())
    }

    pub(super) fn has_told_contradictions(&self, node: NodeId) -> bool {
        let told = |alert: &Alert| matches!(alert, Alert::HashesContradict { .. });
        let count = self.world.alerts(node).iter().filter(|(_, alert)| told(alert)).count();
        count >= self.contradictions.len()
    }

    /// A node that has learned of both versions, however late, does not have what they contradict
    /// each other in. Everything else may have come while its jobs are still out, or while it
    /// checks its pieces by both: nothing before has waited for this torrent.
    fn contradictions_are_not_claimed(&mut self) -> Result<(), Failure> {
        let limit = self.world.now() + LONGEST_CHECK;
        while let Some(id) = self.claimant_of_a_contradiction() {
            if self.world.now() > limit {
                let what = format!("node {id} claims what a torrent contradicts itself in");
                return Err(self.failure(what));
            }
            self.world.run_for(GLANCE);
        }
        Ok(())
    }

    /// A node that has a piece of which the versions that it knows say different things.
    fn claimant_of_a_contradiction(&self) -> Option<u64> {
        let claims = |node: NodeId, sample: &Sample| {
            let engine = self.world.engine(node);
            let torrent = engine.find(sample.metainfo.info_hash());
            let known = torrent.and_then(|torrent| engine.metainfo(torrent));
            let have = torrent.and_then(|torrent| engine.have(torrent));
            known.zip(have).is_some_and(|(known, have)| {
                let is_wrong =
                    |piece| have.has(piece) && sample.contradicts_itself_in(piece, &known);
                sample.geometry().pieces().any(is_wrong)
            })
        };
        let samples = || self.samples.iter().filter(|sample| sample.is_contradiction());
        let node =
            self.nodes.iter().find(|(_, node)| samples().any(|sample| claims(**node, sample)));
        node.map(|(id, _)| *id)
    }

    /// What everybody has is on their disks still.
    fn all_is_true(&self) -> Result<(), Failure> {
        match self.nodes.iter().find(|(_, node)| !self.world.is_honest(**node)) {
            Some((id, _)) => Err(self.failure(format!(
                "node {id} does not have on its disk what it says it has, at the end"
            ))),
            None => Ok(()),
        }
    }

    /// Whose disk has lied blames others for it, and is blamed together with everybody behind its
    /// router.
    fn no_good_node_is_banned(&self) -> Result<(), Failure> {
        // Others see the proxy of a node that has one.
        let seen_as = |node: NodeId| self.proxies.get(&node).map_or(node, |(proxy, _)| *proxy);
        let ip = |node: NodeId| self.world.addr(seen_as(node)).ip();
        let suspects: BTreeSet<IpAddr> = self.spoilt.iter().map(|&node| ip(node)).collect();
        for (id, &node) in self.nodes.iter().filter(|(_, node)| !self.spoilt.contains(node)) {
            for (other, &good) in
                self.nodes.iter().filter(|(_, node)| !suspects.contains(&ip(**node)))
            {
                let ip = ip(good);
                if self
                    .world
                    .told(
                        node,
                        |alert| matches!(alert, Alert::PeerBanned { addr, .. } if addr.ip() == ip),
                    )
                    .is_some()
                {
                    return Err(Failure::new(format!(
                        "node {id} has banned node {other}, which is good"
                    )));
                }
            }
        }
        Ok(())
    }

    pub(super) fn later(&mut self, after: Duration, id: u64, act: Act<'a>) {
        // Behind whatever was planned for the same time before.
        self.next_act += 1;
        self.acts.insert((self.world.now() + after, self.next_act), (id, act));
    }
}
