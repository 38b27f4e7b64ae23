//! What befalls nodes, and what their users do: events of a plan, one by one, and what follows from
//! each later.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Failure, Item,
    act::Act,
    cast::{self, has, millis, span},
    run::Run,
};
use crate::{
    alert::{Phase, StopAt},
    base::{
        bucket::{Limits, Rate},
        ids::TorrentId,
        rng::Rng,
    },
    engine::{ActiveLimits, MoveMode, TorrentParams, Verbs},
    sim::{CallFault, NodeId, TrackerManners, Troubles},
    store::SessionFolder,
};

/// How long a node may take to shut down, whatever its disk does.
const LONGEST_END: Duration = Duration::from_secs(900);
/// Reads of each torrent at a time.
const READS: u32 = 4;

impl<'a> Run<'a> {
    fn is_up(&self, node: NodeId) -> bool {
        self.world.is_up(node) && !self.leaving.contains(&node)
    }

    pub(super) fn act(&mut self, node: NodeId, id: u64, act: Act<'a>) -> Result<(), Failure> {
        match act {
            Act::Join(_) if !self.is_up(node) => self.later(millis(100), id, act),
            Act::Join(item) => {
                self.join(node, item);
                self.try_twins_later(id);
            }
            Act::Event(item) => self.event(node, id, item),
            Act::Restart if !self.world.is_up(node) => self.restart(node),
            Act::Leave(since, item) if self.world.is_up(node) => {
                if self.world.engine(node).is_drained() {
                    self.end(node, id, item);
                } else if self.world.now().since(since) > LONGEST_END {
                    return Err(self.failure(format!("node {id} does not shut down")));
                } else {
                    self.later(millis(100), id, act);
                }
            }
            Act::Mend => self.world.set_cut(node, false),
            Act::Whole => self.world.partition(&[]),
            Act::Open(to) => self.world.set_way(node, to, false),
            Act::Back => self.world.disk(node).bring_back(&self.dir(node)),
            Act::Tracker(tracker) => self.world.set_tracker_manners(tracker, TrackerManners::Good),
            Act::AddAll(since) if self.is_up(node) && self.joined.contains(&node) => {
                if !self.add_all(node) {
                    if self.world.now().since(since) > LONGEST_END {
                        // It cannot go as long as its disk takes nothing, and its user sees that in
                        // the end.
                        self.world.disk(node).set(|t| *t = Troubles::default());
                    }
                    self.later(Duration::from_secs(1), id, act);
                }
            }
            Act::Proxy => self.mend_proxy(node),
            Act::Restart | Act::Leave(..) | Act::AddAll(_) => {}
        }
        Ok(())
    }

    /// A node's proxy gets somewhere again.
    pub(super) fn mend_proxy(&mut self, node: NodeId) {
        if let Some(&(proxy, kind)) = self.proxies.get(&node) {
            let (_, manners) = cast::proxy(kind % cast::GOOD_PROXIES);
            self.world.set_proxy_manners(proxy, manners);
        }
    }

    /// A process ends, and is started again later.
    fn end(&mut self, node: NodeId, id: u64, item: &Item) {
        self.leaving.remove(&node);
        let (kill, vanish, restart) = (item.get("kill"), item.get("vanish"), item.get("restart"));
        if vanish.is_some() {
            self.world.vanish(node);
        } else {
            self.world.kill(node);
        }
        if item.get("power").is_some() {
            self.world.disk(node).lose_power();
            if self.unsynced.contains(&node) {
                self.deprived.insert(node);
            }
        }
        let time = vanish.or(kill).or(restart).unwrap_or(0);
        self.later(span(time), id, Act::Restart);
    }

    fn restart(&mut self, node: NodeId) {
        if self.world.keeps_session(node) {
            // Without its session it does not start: its user sees to that first, and knows that
            // the last words may be lost.
            let disk = self.world.disk(node);
            disk.set(|t| *t = Troubles::default());
            if disk.is_spoilt()
                && SessionFolder::open(disk.clone(), Path::new(cast::SESSION), [0; 16]).is_err()
            {
                disk.paths()
                    .iter()
                    .filter(|path| path.starts_with(cast::SESSION))
                    .for_each(|path| disk.delete(path));
            }
            self.careless.insert(node);
        }
        self.world.restart(node);
    }

    /// Adds the torrents that a node does not have; false if some are still being removed.
    pub(super) fn add_all(&mut self, node: NodeId) -> bool {
        let known: Vec<_> =
            self.acquaintances(node, |_| true).iter().map(|&node| self.world.addr(node)).collect();
        for sample in self.samples.clone() {
            let engine = self.world.engine(node);
            match engine.find(sample.metainfo.info_hash()) {
                Some(torrent)
                    if engine.stats(torrent).is_some_and(|stats| stats.phase == Phase::Closing) =>
                {
                    return false;
                }
                Some(_) => {}
                None => {
                    let params = self
                        .world
                        .params_again(node, &sample)
                        .unwrap_or_else(|| self.new_params(node, &sample));
                    self.add(node, &sample, TorrentParams { peers: known.clone(), ..params });
                }
            }
        }
        true
    }

    /// Users try now and then whether a torrent that was refused is taken.
    fn try_twins_later(&mut self, id: u64) {
        let wanted = self.world.now();
        let times: &[u64] = if self.twins.is_empty() { &[] } else { &[5, 20, 60, 180] };
        for &secs in times {
            self.later(Duration::from_secs(secs), id, Act::AddAll(wanted));
        }
    }

    fn event(&mut self, node: NodeId, id: u64, item: &'a Item) {
        let time = item.get("time").unwrap_or(1000);
        for &(key, value) in &item.values {
            let is_up = self.is_up(node);
            match key {
                "cut" => {
                    self.world.set_cut(node, true);
                    self.later(span(value), id, Act::Mend);
                }
                "apart" => {
                    let part = self
                        .nodes
                        .iter()
                        .chain(&self.peers)
                        .filter(|(id, _)| has(value, **id))
                        .map(|(_, &node)| node);
                    self.world.partition(&[&part.collect::<Vec<_>>()]);
                    self.later(span(time), id, Act::Whole);
                }
                "oneway" => {
                    let Some(&to) = self.nodes.get(&value).filter(|&&to| to != node) else {
                        continue;
                    };
                    self.world.set_way(node, to, true);
                    self.later(span(time), id, Act::Open(to));
                }
                "flaky" => self.world.set_flaky(node, cast::flaky(value)),
                "jump" => self.world.jump_clock(node, span(value)),
                "silent" | "refuse" => {
                    let name = item.get("tracker").unwrap_or(0);
                    let Some(&tracker) = self.trackers.get(&name) else { continue };
                    let refuses = || TrackerManners::Refuses("not now".into());
                    self.world.set_tracker_manners(
                        tracker,
                        if key == "silent" { TrackerManners::Silent } else { refuses() },
                    );
                    self.later(span(time), id, Act::Tracker(tracker));
                }
                "proxy" => {
                    let Some(&(proxy, _)) = self.proxies.get(&node) else { continue };
                    let (_, manners) = cast::proxy(value);
                    self.world.set_proxy_manners(proxy, manners);
                    self.world.break_all(proxy);
                    self.later(span(time), id, Act::Proxy);
                }
                "kill" | "vanish" if is_up => self.end(node, id, item),
                "away" => {
                    self.world.disk(node).take_away(&self.dir(node), item.get("bare").is_some());
                    self.later(span(value), id, Act::Back);
                }
                "restart" if is_up => {
                    self.leaving.insert(node);
                    self.world.tell(node, |engine| engine.shutdown());
                    self.later(millis(1), id, Act::Leave(self.world.now(), item));
                }
                "again" if is_up => self.remove_all(node, id, item),
                _ => {
                    self.disk_event(node, key, value, item);
                    if is_up {
                        self.user_event(node, key, value, item);
                    }
                }
            }
        }
    }

    /// Something is wrong with a disk from now on, or nothing is any more.
    fn disk_event(&mut self, node: NodeId, key: &str, value: u64, item: &Item) {
        let (disk, count) = (self.world.disk(node), u32::try_from(value).unwrap_or(u32::MAX));
        disk.set_now(self.world.now());
        let (from, len) = (value, item.get("len").unwrap_or(1));
        match key {
            "full" => disk.set(|t| t.capacity = Some(value)),
            "readonly" => disk.set(|t| t.read_only = true),
            "failsaves" => disk.set(|t| t.fail_saves = true),
            "failsyncs" => {
                self.unsynced.insert(node);
                disk.set(|t| t.fail_syncs = true);
            }
            "failreads" => {
                disk.set(|t| t.fail_reads = true);
                self.unread.insert(node);
            }
            "failwrites" => disk.set(|t| t.fail_writes = true),
            "nolinks" => disk.set(|t| t.no_links = true),
            "short" => disk.set(|t| t.short = true),
            "heal" => disk.set(|t| *t = Troubles::default()),
            "lying" => disk.set(|t| t.lying_syncs = true),
            "rot" => disk.rot(&self.dir(node), count.min(1000)),
            "longer" => disk.lengthen(&self.dir(node), value.min(1 << 20)),
            "edit" => disk.edit(&self.dir(node), count.min(1000)),
            "corrupt" => disk.set(|t| t.corrupt_reads = count),
            "misdirect" => disk.set(|t| t.misdirected_writes = count),
            "bad" => {
                disk.set(|t| t.bad_stretches.push((String::new(), from, from.saturating_add(len))))
            }
            "dated" => disk.shift_clock(value.min(1 << 30) as i64),
            "backdated" => disk.shift_clock(-(value.min(1 << 30) as i64)),
            "call" => {
                let fault = CallFault::numbered(value, item.get("answer").unwrap_or(0));
                let times = item.get("times").unwrap_or(1).max(1);
                let fault = fault
                    .after(item.get("after").unwrap_or(0))
                    .times(times)
                    .done(item.get("done").is_some());
                disk.set(|t| t.calls.push(fault));
                self.misled.insert(node);
            }
            "hang" => self.world.hang_disk(node, span(value)),
            "spikes" => {
                self.world.set_disk_spikes(node, value, span(item.get("time").unwrap_or(1000)))
            }
            _ => {}
        }
    }

    fn user_event(&mut self, node: NodeId, key: &str, value: u64, item: &Item) {
        let rate = Rate::new(value.max(1000));
        let count = usize::try_from(value).unwrap_or(usize::MAX);
        match key {
            "pause" => self.all(node, |engine, id| engine.pause(id)),
            "resume" => self.all(node, |engine, id| engine.resume(id)),
            "recheck" => self.all(node, |engine, id| engine.recheck(id)),
            "save" => self.world.tell(node, |engine| engine.save_session()),
            "read" => self.read_some(node, value),
            "announce" => self.all(node, |engine, id| engine.announce_now(id)),
            "slots" => self.all(node, |engine, id| engine.set_upload_slots(id, Some(count))),
            "sequential" => self.all(node, |engine, id| engine.set_sequential(id, value > 0)),
            "super" => self.all(node, |engine, id| engine.set_super_seeding(id, value > 0)),
            "down" => self
                .world
                .tell(node, |engine| engine.set_limits(Limits { down: rate, ..engine.limits() })),
            "up" => self
                .world
                .tell(node, |engine| engine.set_limits(Limits { up: rate, ..engine.limits() })),
            "torrent-down" => self.limit(node, |limits| Limits { down: rate, ..limits }),
            "torrent-up" => self.limit(node, |limits| Limits { up: rate, ..limits }),
            "meet" => {
                let Some(&other) = self.nodes.get(&value) else { return };
                let addr = self.world.addr(other);
                self.all(node, |engine, id| engine.add_peer(id, addr));
            }
            "policies" if self.twins.is_empty() => {
                for (nth, sample) in self.samples.clone().iter().enumerate() {
                    let (hash, own) =
                        (sample.metainfo.info_hash(), cast::policy(value, nth as u32));
                    self.world.tell(node, |engine| {
                        let id = engine.find(hash);
                        id.is_some_and(|id| engine.set_encryption(id, own).is_ok())
                    });
                }
            }
            "policy" if self.twins.is_empty() => {
                let Some(&other) = self.nodes.get(&item.get("with").unwrap_or(0)) else { return };
                let (addr, own) = (self.world.addr(other), cast::policy(value, 0));
                self.all(node, |engine, id| engine.set_peer_encryption(id, addr, own).map(|_| ()));
            }
            "wish" => {
                let file = item.get("file").unwrap_or(0) as usize;
                self.all(node, |engine, id| engine.set_file_priority(id, file, cast::wish(value)));
            }
            "rename" => {
                // Another name each time, and that of nothing else: not even of another torrent in
                // the same folder.
                let (file, nth) = (count, self.next_act);
                self.all(node, |engine, id| {
                    engine.rename_file(id, file, format!("other/{nth}-{file}-{id}"))
                });
            }
            "move" | "adopt" => {
                self.careless.insert(node);
                let mode = if key == "move" { MoveMode::FailIfExists } else { MoveMode::Adopt };
                let dir = self.folder(node, value);
                self.world.allow_folder(node, dir.clone());
                self.all(node, |engine, id| engine.move_storage(id, dir.clone(), mode));
            }
            "queued" => self.all(node, |engine, id| engine.set_queued(id, value > 0)),
            "position" => self.all(node, |engine, id| engine.set_queue_position(id, count)),
            "downloads" => self.let_run(node, |limits| ActiveLimits { downloads: count, ..limits }),
            "seeds" => self.let_run(node, |limits| ActiveLimits { seeds: count, ..limits }),
            "total" => self.let_run(node, |limits| ActiveLimits { total: count, ..limits }),
            "ratio" | "seeding" => {
                let stop: StopAt = cast::stop(item);
                self.all(node, |engine, id| engine.set_stop(id, Some(stop)));
            }
            _ => {}
        }
    }

    /// The user reads some bytes of each torrent; the world looks whether they are true.
    fn read_some(&mut self, node: NodeId, seed: u64) {
        let mut rng = Rng::new(seed);
        self.world.tell(node, |engine| {
            for id in engine.torrents() {
                let files: Vec<u64> = engine.files(id).iter().map(|file| file.len).collect();
                for _ in 0..READS {
                    let file = rng.below(files.len().max(1) as u64) as usize;
                    let len = files.get(file).copied().unwrap_or(0);
                    let offset = rng.below(len.max(1));
                    let most = (len - offset.min(len)).min([100, 40_000][rng.below(2) as usize]);
                    // What cannot be read is refused.
                    let _ = engine.read(id, file, offset, 1 + rng.below(most.max(1)) as usize);
                }
            }
        });
    }

    fn remove_all(&mut self, node: NodeId, id: u64, item: &Item) {
        if item.get("erase").is_some() {
            self.careless.insert(node);
            self.all(node, |engine, id| engine.remove_with_data(id));
        } else {
            self.all(node, |engine, id| engine.remove(id));
        }
        let after = item.get("again").unwrap_or(0).max(100);
        let wanted = self.world.now();
        self.later(span(after), id, Act::AddAll(wanted));
    }

    fn let_run(&mut self, node: NodeId, change: impl Fn(ActiveLimits) -> ActiveLimits) {
        self.world.tell(node, |engine| engine.set_active_limits(change(engine.active_limits())));
    }

    pub(super) fn limit(&mut self, node: NodeId, change: impl Fn(Limits) -> Limits) {
        self.all(node, |engine, id| {
            let limits = engine.torrent_limits(id)?;
            engine.set_torrent_limits(id, change(limits))
        });
    }

    pub(super) fn all<E>(
        &mut self,
        node: NodeId,
        verb: impl Fn(&mut Verbs<'_>, TorrentId) -> Result<(), E>,
    ) {
        self.world
            .tell(node, |engine| engine.torrents().into_iter().for_each(|id| _ = verb(engine, id)));
    }

    /// Where a node has its torrents at first.
    pub(super) fn dir(&self, node: NodeId) -> PathBuf {
        format!("/node{}", node.0).into()
    }

    /// Another folder of a node; 0 is that of the beginning.
    fn folder(&self, node: NodeId, nth: u64) -> PathBuf {
        if nth == 0 { self.dir(node) } else { format!("/node{}-{nth}", node.0).into() }
    }
}
