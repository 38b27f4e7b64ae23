//! Scenarios that read like a sentence: who is there, on what lines and disks, what goes wrong, and
//! how it must end.

mod outcome;

use std::{sync::Arc, time::Duration};

pub use self::outcome::Outcome;
use super::{
    disk::Troubles,
    nat::Nat,
    net::Line,
    node::{DiskPace, NodeId},
    remote::{Manners, Remote},
    sample::Sample,
    world::World,
};
use crate::{alert::AlertMask, base::bitfield::Bitfield, conf::Conf, engine::TorrentParams};

/// A node of a [`Scenario`], counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// One that has everything from the start.
    Seed(usize),
    /// One that has nothing, or [some of it](Scenario::having).
    Leech(usize),
    /// A scripted one.
    Remote(usize),
}

/// A moment of a [`Scenario`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So long after the beginning.
    At(Duration),
    /// When so many events have happened: for going through all of them one by one.
    Event(u64),
}

/// The end of a process, and perhaps its next beginning.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    who: Who,
    when: When,
    power: bool,
    silently: bool,
    back: Option<Duration>,
}

impl Kill {
    /// `who` is killed at `when`, and stays down.
    pub fn of(who: Who, when: When) -> Self {
        Self { who, when, power: false, silently: false, back: None }
    }

    /// With it goes its machine's power: what was not synced may be gone.
    #[must_use]
    pub fn losing_power(self) -> Self {
        Self { power: true, ..self }
    }

    /// No peer is told; see [`World::vanish`].
    #[must_use]
    pub fn silently(self) -> Self {
        Self { silently: true, ..self }
    }

    /// It is started again after this time.
    #[must_use]
    pub fn back_after(self, time: Duration) -> Self {
        Self { back: Some(time), ..self }
    }
}

/// Who plays.
#[derive(Clone, Debug, Default)]
pub struct Cast {
    /// Those that have everything from the start.
    pub seeds: Vec<NodeId>,
    /// Those that want it.
    pub leeches: Vec<NodeId>,
    /// Scripted ones.
    pub remotes: Vec<NodeId>,
}

impl Cast {
    /// The node that `who` names.
    ///
    /// # Panics
    /// If there is no such one.
    pub fn of(&self, who: Who) -> NodeId {
        let (all, nth) = match who {
            Who::Seed(n) => (&self.seeds, n),
            Who::Leech(n) => (&self.leeches, n),
            Who::Remote(n) => (&self.remotes, n),
        };
        match all.get(nth) {
            Some(&node) => node,
            None => panic!("there is no {who:?}"),
        }
    }

    /// Everybody that runs an engine.
    pub fn engines(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.seeds.iter().chain(&self.leeches).copied()
    }
}

/// How the nodes of one kind are.
#[derive(Clone, Debug)]
struct Group {
    count: usize,
    conf: Conf,
    line: Line,
    nat: Option<Nat>,
    together: bool,
    pace: DiskPace,
    troubles: Troubles,
    flaky: Option<Duration>,
    sequential: bool,
    super_seed: bool,
}

/// The same settings, with every alert told and none dropped.
pub(super) fn loud(conf: Conf) -> Conf {
    conf.with(|conf| {
        conf.alerts.mask = AlertMask::ALL;
        conf.alerts.max = 100_000;
    })
}

type Act = Box<dyn FnOnce(&mut World, &Cast) + Send>;

/// Who is there and what happens; see the methods.
///
/// ```
/// use std::time::Duration;
/// use cratetorrent::sim::{Kill, Line, Nat, Scenario, When, Who};
///
/// let after = Duration::from_secs;
/// let outcome = Scenario::swarm(7)
///     .seeds(1)
///     .leeches(3)
///     .on(Line::dsl())
///     .behind(Nat::Symmetric)
///     .killing(Kill::of(Who::Leech(0), When::At(after(1))).back_after(after(2)))
///     .run();
/// outcome.completes().honestly();
/// ```
#[must_use = "it does nothing until it is run"]
pub struct Scenario {
    seed: u64,
    sample: Option<Arc<Sample>>,
    seeds: Group,
    leeches: Group,
    remotes: Vec<Remotely>,
    /// What leeches have from the start.
    having: Option<Box<dyn Fn(u32) -> bool>>,
    acquainted: bool,
    acts: Vec<(When, Act)>,
    limit: Duration,
}

type Remotely = Box<dyn FnOnce(&Arc<Sample>, u8) -> Remote>;

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scenario")
            .field("seed", &self.seed)
            .field("seeds", &self.seeds)
            .field("leeches", &self.leeches)
            .finish()
    }
}

impl Scenario {
    /// A swarm of one seed and one leech on usual lines and disks. Everything that is left to
    /// chance follows from `seed`.
    pub fn swarm(seed: u64) -> Self {
        let group = Group {
            count: 1,
            conf: loud(Conf::default()),
            line: Line::default(),
            nat: None,
            together: false,
            pace: DiskPace::default(),
            troubles: Troubles::default(),
            flaky: None,
            sequential: false,
            super_seed: false,
        };
        Self {
            seed,
            sample: None,
            seeds: group.clone(),
            leeches: group,
            remotes: Vec::new(),
            having: None,
            acquainted: true,
            acts: Vec::new(),
            limit: Duration::from_secs(600),
        }
    }

    /// So many have everything from the start.
    pub fn seeds(mut self, count: usize) -> Self {
        self.seeds.count = count;
        self
    }

    /// So many want it.
    pub fn leeches(mut self, count: usize) -> Self {
        self.leeches.count = count;
        self
    }

    /// This is what they share. Unless told otherwise, 640 KiB in pieces of 32 KiB.
    pub fn sharing(mut self, sample: &Arc<Sample>) -> Self {
        self.sample = Some(sample.clone());
        self
    }

    /// Everybody's line.
    pub fn on(self, line: Line) -> Self {
        self.seeds_on(line.clone()).leeches_on(line)
    }

    /// The seeds' lines.
    pub fn seeds_on(mut self, line: Line) -> Self {
        self.seeds.line = line;
        self
    }

    /// The leeches' lines.
    pub fn leeches_on(mut self, line: Line) -> Self {
        self.leeches.line = line;
        self
    }

    /// Each leech is behind a router of its own.
    pub fn behind(mut self, nat: Nat) -> Self {
        self.leeches.nat = Some(nat);
        self
    }

    /// All leeches are behind one router.
    pub fn behind_one(mut self, nat: Nat) -> Self {
        (self.leeches.nat, self.leeches.together) = (Some(nat), true);
        self
    }

    /// Each seed is behind a router of its own.
    pub fn seeds_behind(mut self, nat: Nat) -> Self {
        self.seeds.nat = Some(nat);
        self
    }

    /// Everybody's settings; those for alerts are kept as they are, so that all are told.
    pub fn with(self, conf: Conf) -> Self {
        self.seeds_with(conf.clone()).leeches_with(conf)
    }

    /// The seeds' settings.
    pub fn seeds_with(mut self, conf: Conf) -> Self {
        self.seeds.conf = loud(conf);
        self
    }

    /// The leeches' settings.
    pub fn leeches_with(mut self, conf: Conf) -> Self {
        self.leeches.conf = loud(conf);
        self
    }

    /// What is wrong with the leeches' disks.
    pub fn with_disk(mut self, troubles: Troubles) -> Self {
        self.leeches.troubles = troubles;
        self
    }

    /// What is wrong with the seeds' disks.
    pub fn seeds_with_disk(mut self, troubles: Troubles) -> Self {
        self.seeds.troubles = troubles;
        self
    }

    /// How fast everybody's disks are.
    pub fn paced(mut self, pace: DiskPace) -> Self {
        (self.seeds.pace, self.leeches.pace) = (pace.clone(), pace);
        self
    }

    /// The leeches' connections break, each after twice this time at the latest.
    pub fn losing_connections(mut self, every: Duration) -> Self {
        self.leeches.flaky = Some(every);
        self
    }

    /// The leeches fetch pieces in order.
    pub fn sequentially(mut self) -> Self {
        self.leeches.sequential = true;
        self
    }

    /// The seeds show one piece at a time (BEP 16).
    pub fn shyly(mut self) -> Self {
        self.seeds.super_seed = true;
        self
    }

    /// The leeches have these pieces from the start.
    pub fn having(mut self, piece: impl Fn(u32) -> bool + 'static) -> Self {
        self.having = Some(Box::new(piece));
        self
    }

    /// The leeches know the seeds and scripted ones only. Otherwise each knows the leeches before
    /// it, too.
    pub fn strangers(mut self) -> Self {
        self.acquainted = false;
        self
    }

    /// A scripted one that has everything, and these manners.
    pub fn and(self, manners: Manners) -> Self {
        self.and_remote(move |sample, name| Remote::seed(sample, name, manners))
    }

    /// A scripted one of the caller's making, from what is shared and a name.
    pub fn and_remote(mut self, make: impl FnOnce(&Arc<Sample>, u8) -> Remote + 'static) -> Self {
        self.remotes.push(Box::new(make));
        self
    }

    /// A node is killed.
    pub fn killing(self, kill: Kill) -> Self {
        self.doing(kill.when, move |world, cast| {
            let node = cast.of(kill.who);
            if kill.silently {
                world.vanish(node);
            } else {
                world.kill(node);
            }
            if kill.power {
                world.disk(node).lose_power();
            }
            if let Some(time) = kill.back {
                world.after(time, move |world| world.restart(node));
            }
        })
    }

    /// Anything else happens.
    pub fn doing(
        mut self,
        when: When,
        act: impl FnOnce(&mut World, &Cast) + Send + 'static,
    ) -> Self {
        self.acts.push((when, Box::new(act)));
        self
    }

    /// How long it may take until all leeches have everything. Ten minutes unless told otherwise.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the scene, for a test that plays it by hand.
    pub fn begin(mut self) -> Outcome {
        let sample = self.sample.take().unwrap_or_else(usual);
        let mut world = World::new(self.seed);
        let mut cast = Cast::default();
        for (name, group) in [("seed", &self.seeds), ("leech", &self.leeches)] {
            let nodes: Vec<NodeId> =
                (0..group.count).map(|nth| world.made(group, format!("{name} {nth}"))).collect();
            match group.nat {
                Some(nat) if group.together => world.share_nat(&nodes, nat),
                Some(nat) => nodes.iter().for_each(|&node| world.set_nat(node, nat)),
                None => {}
            }
            *(if name == "seed" { &mut cast.seeds } else { &mut cast.leeches }) = nodes;
        }
        for (nth, make) in self.remotes.into_iter().enumerate() {
            let node = world.scripted(make(&sample, nth as u8));
            world.set_name(node, format!("remote {nth}"));
            cast.remotes.push(node);
        }
        for &seed in &cast.seeds {
            let params = TorrentParams {
                super_seed: self.seeds.super_seed,
                ..world.params(seed, &sample, &[])
            };
            world.put_pieces(seed, &sample, &Bitfield::all(sample.geometry().piece_count()));
            world.add_torrent(seed, &sample, params);
        }
        let mut known: Vec<NodeId> = cast.seeds.iter().chain(&cast.remotes).copied().collect();
        for &leech in &cast.leeches {
            if let Some(having) = &self.having {
                let mut pieces = Bitfield::none(sample.geometry().piece_count());
                sample
                    .geometry()
                    .pieces()
                    .filter(|p| having(p.get()))
                    .for_each(|p| _ = pieces.set(p));
                world.put_pieces(leech, &sample, &pieces);
            }
            let params = TorrentParams {
                sequential: self.leeches.sequential,
                ..world.params(leech, &sample, &known)
            };
            world.add_torrent(leech, &sample, params);
            if self.acquainted {
                known.push(leech);
            }
        }
        for (when, act) in self.acts {
            let cast = cast.clone();
            let act = move |world: &mut World| act(world, &cast);
            match when {
                When::At(time) => world.after(time, act),
                When::Event(event) => world.at_event(event, act),
            }
        }
        Outcome { world, cast, sample, complete: false, limit: self.limit }
    }

    /// Plays it until all leeches have everything, or its time is over.
    pub fn run(self) -> Outcome {
        let mut outcome = self.begin();
        outcome.go_on();
        outcome
    }
}

impl World {
    fn made(&mut self, group: &Group, name: String) -> NodeId {
        let node = self.node(group.conf.clone());
        self.set_name(node, name);
        self.set_line(node, group.line.clone());
        self.set_disk_pace(node, group.pace.clone());
        self.set_flaky(node, group.flaky);
        self.disk(node).set(|troubles| *troubles = group.troubles.clone());
        node
    }
}

fn usual() -> Arc<Sample> {
    match Sample::file("usual", 640 * 1024, 32 * 1024, 5) {
        Ok(sample) => sample,
        Err(error) => panic!("there can be no such torrent: {error}"),
    }
}
