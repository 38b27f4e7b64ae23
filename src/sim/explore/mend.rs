//! The end of all troubles: everything is mended, and users take back what keeps them from their
//! torrents.

use std::time::Duration;

use super::{
    Failure,
    cast::nat,
    run::{GLANCE, LONGEST_CHECK, Run},
};
use crate::{
    alert::{Phase, StopAt},
    base::{bucket::Limits, files::Priority},
    engine::ActiveLimits,
    sim::{NodeId, Sample, TrackerManners, Troubles, World},
};

/// How often files are taken from a copy, at most.
const COPIES: u32 = 3;

impl Run<'_> {
    /// Mends everything, and takes back what the users did that keeps them from their torrents.
    pub(super) fn end_troubles(&mut self) -> Result<(), Failure> {
        let nodes: Vec<_> = self.nodes.values().copied().collect();
        self.world.mend();
        self.trackers
            .values()
            .for_each(|&tracker| self.world.set_tracker_manners(tracker, TrackerManners::Good));
        nodes.iter().for_each(|&node| self.mend_proxy(node));
        // One node must be there that all others can dial.
        self.world.set_nat_rule(nodes[0], nat(0));
        for &node in &nodes {
            self.world.set_cut(node, false);
            self.world.set_flaky(node, None);
            self.world.set_disk_spikes(node, 0, Duration::ZERO);
            let disk = self.world.disk(node);
            disk.set(|t| *t = Troubles::default());
            disk.bring_all_back();
            if disk.is_spoilt() {
                self.spoilt.insert(node);
            }
        }
        self.forget_spoilt_metainfo();
        self.add_what_was_lost(&nodes)?;
        nodes.iter().for_each(|&node| self.free(node));
        self.find_what_is_spoilt(&nodes)?;
        self.make_peace();
        self.meet_again();
        Ok(())
    }

    /// A session records the peers of a torrent without those that are banned. Where a disk has
    /// lied good peers are banned, and a session that was restarted meanwhile has forgotten
    /// both them and the ban: its user names them again.
    fn meet_again(&mut self) {
        if self.spoilt.is_empty() {
            return;
        }
        for node in self.nodes.values().copied().collect::<Vec<_>>() {
            if self.world.keeps_session(node) {
                let known: Vec<_> = self
                    .acquaintances(node, |_| true)
                    .iter()
                    .map(|&node| self.world.addr(node))
                    .collect();
                known
                    .into_iter()
                    .for_each(|addr| self.all(node, |engine, id| engine.add_peer(id, addr)));
            }
        }
    }

    /// What a lying disk made of a session may be the metainfo that others ask for: who has the
    /// torrent's file adds it anew.
    fn forget_spoilt_metainfo(&mut self) {
        if self.by_link.is_empty() {
            return;
        }
        for node in self.spoilt.clone().difference(&self.by_link.clone()) {
            self.all(*node, |engine, id| engine.remove(id));
        }
    }

    /// A user who removed a torrent, or killed a session before it was recorded, adds it again.
    fn add_what_was_lost(&mut self, nodes: &[NodeId]) -> Result<(), Failure> {
        let limit = self.world.now() + LONGEST_CHECK;
        loop {
            let missing = nodes.iter().filter(|&&node| !self.add_all(node)).count();
            if missing == 0 {
                return Ok(());
            }
            if self.world.now() > limit {
                return Err(self.failure("a torrent that is not removed"));
            }
            self.world.run_for(Duration::from_secs(1));
        }
    }

    /// Each node has the first of twins whole now, so the other can be had: as soon as files that
    /// were skipped have their places.
    pub(super) fn add_twins(&mut self) -> Result<(), Failure> {
        let nodes: Vec<_> = self.nodes.values().copied().collect();
        let limit = self.world.now() + LONGEST_CHECK;
        loop {
            nodes.iter().for_each(|&node| _ = self.add_all(node));
            let lacks = |node: &&NodeId| {
                let engine = self.world.engine(**node);
                self.samples.iter().any(|sample| engine.find(sample.metainfo.info_hash()).is_none())
            };
            let Some(node) = nodes.iter().find(lacks) else { return Ok(()) };
            if self.world.now() > limit {
                let what =
                    format!("{node:?} refuses a torrent though the other with its files is whole");
                return Err(self.failure(what));
            }
            self.world.run_for(GLANCE);
        }
    }

    fn free(&mut self, node: NodeId) {
        let is_first = node == self.nodes[&0];
        // One that never ends would keep its place for ever.
        let is_owed_all = self.is_owed_all(node);
        self.world.tell(node, |engine| engine.set_default_stop(StopAt::default()));
        for other in self.nodes.values().copied().collect::<Vec<_>>() {
            let addr = self.world.addr(other);
            self.all(node, |engine, id| engine.set_peer_encryption(id, addr, None).map(|_| ()));
        }
        self.all(node, |engine, id| engine.set_stop(id, None));
        self.all(node, |engine, id| engine.resume(id));
        self.all(node, |engine, id| engine.set_upload_slots(id, None));
        self.all(node, |engine, id| engine.set_super_seeding(id, false));
        self.limit(node, |_| Limits::default());
        self.world.tell(node, |engine| engine.set_limits(Limits::default()));
        self.world.tell(node, |engine| engine.set_default_peer_limits(Limits::default()));
        self.world.tell(node, |engine| {
            // A queue that lets anything run lets everything run by and by; seeds take turns that
            // are longer than anybody waits.
            let ActiveLimits { downloads, total, checks, .. } = engine.active_limits();
            let is_free = is_first || downloads == 0 || total == 0 || !is_owed_all;
            let downloads = if is_free { 100 } else { downloads };
            engine.set_active_limits(ActiveLimits { downloads, seeds: 100, total: 200, checks });
        });
        // A file that is shared comes only if the torrent that it belongs to wants it.
        if is_first || !self.twins.is_empty() {
            self.all(node, |engine, id| engine.set_file_priorities(id, Vec::new()));
        }
    }

    /// A node whose disk has lied has everything checked, and from then on the disk is to be true
    /// again.
    fn find_what_is_spoilt(&mut self, nodes: &[NodeId]) -> Result<(), Failure> {
        let first = nodes[0];
        let spoilt: Vec<_> = self.spoilt.iter().copied().collect();
        self.await_metadata(&spoilt)?;
        spoilt.iter().for_each(|&node| self.all(node, |engine, id| engine.recheck(id)));
        self.await_checks(nodes)?;
        let saw_all = self.has_everything(first) && self.has_told_contradictions(first);
        if !spoilt.contains(&first) && !saw_all {
            // What it could not read it may take for missing, and no other node has it.
            self.all(first, |engine, id| engine.recheck(id));
        }
        self.await_checks(nodes)?;
        let may_lack = spoilt.contains(&first)
            || self.careless.contains(&first)
            || self.unread.contains(&first);
        if !self.has_everything(first) && may_lack {
            self.take_from_a_copy(nodes, first)?;
            self.world.disk(first).absolve();
        }
        for node in spoilt {
            if !self.world.is_honest(node) {
                return Err(self.failure("a check that lets something pass that is not true"));
            }
            self.world.disk(node).absolve();
        }
        Ok(())
    }

    /// A node gets its files from a copy that was kept elsewhere, and once more if what it was
    /// fetching meanwhile was written over them.
    fn take_from_a_copy(&mut self, nodes: &[NodeId], node: NodeId) -> Result<(), Failure> {
        for _ in 0..COPIES {
            for sample in self.samples.clone() {
                self.restore_files(node, &sample);
            }
            self.all(node, |engine, id| engine.recheck(id));
            self.await_checks(nodes)?;
            if self.has_everything(node) {
                break;
            }
        }
        Ok(())
    }

    /// What has no metadata cannot be checked; it is to come as long as the disks may lie.
    fn await_metadata(&mut self, nodes: &[NodeId]) -> Result<(), Failure> {
        let limit = self.world.now() + LONGEST_CHECK;
        let knows = |run: &Self, node| run.world.knows_metainfo(node, |t| run.is_owed(node, t));
        while let Some(&node) = nodes.iter().find(|&&node| !knows(self, node)) {
            if self.world.now() > limit {
                return Err(self.failure(format!("node {} does not get its metadata", node.0)));
            }
            self.make_peace();
            self.meet_again();
            self.world.run_for(Duration::from_secs(1));
        }
        Ok(())
    }

    fn await_checks(&mut self, nodes: &[NodeId]) -> Result<(), Failure> {
        // A twin stalls until the torrent that its files belong to has them, which may be when all
        // is checked.
        let has_twins = !self.twins.is_empty();
        let looks = |phase| match phase {
            Phase::Stalled => !has_twins,
            phase => matches!(phase, Phase::Opening | Phase::Checking | Phase::Missing),
        };
        let limit = self.world.now() + LONGEST_CHECK;
        // A move or an adoption that was asked for before waits for its turn: until then it is not
        // known what is missing.
        let waits = |world: &World, node| {
            world.is_rearranging(node)
                || world.stats_of(node).iter().any(|stats| looks(stats.phase))
        };
        while nodes.iter().any(|&node| waits(&self.world, node)) {
            if self.world.now() > limit {
                let node = nodes
                    .iter()
                    .copied()
                    .find(|&node| waits(&self.world, node))
                    .unwrap_or(nodes[0]);
                let phases: Vec<_> =
                    self.world.stats_of(node).iter().map(|stats| stats.phase).collect();
                let moving = if self.world.is_rearranging(node) { ", to be moved" } else { "" };
                return Err(self.failure(format!(
                    "a check without an end: node {}, {phases:?}{moving}",
                    node.0
                )));
            }
            nodes.iter().for_each(|&node| self.give_up_missing(node));
            self.world.run_for(GLANCE);
        }
        Ok(())
    }

    /// Of twins whose files the other has taken along to another folder nothing comes back by
    /// itself; a state that could not be deleted with its data speaks of data that has gone; and so
    /// does one of what was still to be checked, and was never safe before the power was cut. Their
    /// users say so.
    pub(super) fn give_up_missing(&mut self, node: NodeId) {
        let is_left_over = self.misled.contains(&node) && self.careless.contains(&node);
        if !self.twins.is_empty() || is_left_over || self.deprived.contains(&node) {
            self.all(node, |engine, id| {
                let is_missing =
                    engine.stats(id).is_some_and(|stats| stats.phase == Phase::Missing);
                if is_missing { engine.recheck(id) } else { Ok(()) }
            });
        }
    }

    /// Each node lifts its bans of other nodes: the disk of the banned one, or the node's own, may
    /// have lied.
    pub(super) fn make_peace(&mut self) {
        if self.spoilt.is_empty() {
            return;
        }
        let addrs: Vec<_> =
            self.nodes.values().map(|&node| (node, self.world.addr(node))).collect();
        for node in self.nodes.values().copied().collect::<Vec<_>>() {
            for &(_, addr) in addrs.iter().filter(|(other, _)| *other != node) {
                if self.world.tell(node, |engine| engine.unban(addr.ip())) {
                    self.all(node, |engine, id| engine.add_peer(id, addr));
                }
            }
            // Those behind a proxy come from there, and cannot be dialled.
            for &(proxy, _) in self.proxies.values() {
                let ip = self.world.addr(proxy).ip();
                self.world.tell(node, |engine| engine.unban(ip));
            }
        }
    }

    /// Whether anybody but node 0 does not want some file.
    pub(super) fn any_node_skips(&self) -> bool {
        self.nodes.values().any(|&node| {
            let engine = self.world.engine(node);
            engine
                .torrents()
                .into_iter()
                .any(|id| engine.file_priorities(id).contains(&Priority::Skip))
        })
    }

    pub(super) fn want_everything(&mut self) {
        for node in self.nodes.values().copied().collect::<Vec<_>>() {
            self.all(node, |engine, id| engine.set_file_priorities(id, Vec::new()));
        }
    }

    /// Puts the files of a torrent where a node looks for them, from a copy that was kept
    /// elsewhere.
    pub(super) fn restore_files(&mut self, node: NodeId, sample: &Sample) {
        let (disk, dir) = (self.world.disk(node), self.dir_of(node, sample));
        disk.set_now(self.world.now());
        let engine = self.world.engine(node);
        let Some(id) = engine.find(sample.metainfo.info_hash()) else {
            return sample.files_in(&dir).for_each(|(path, _, bytes)| disk.put(&path, bytes));
        };
        for (file, entry) in engine.files(id).into_iter().zip(sample.metainfo.files.iter()) {
            let bytes = sample.data.get(entry.offset as usize..(entry.offset + entry.len) as usize);
            if let (Some(path), Some(bytes)) = (file.path, bytes) {
                disk.put(&path, bytes);
            }
        }
    }
}
