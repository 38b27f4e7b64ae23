//! What can go wrong: processes, cables, routers, clocks and disks.

use super::*;

/// When a system that is to keep a silent connection alive takes it for dead: as Linux does, after
/// nine questions, one in half a minute as the reactor wants it.
const KEEP_ALIVE: Duration = Duration::from_secs(300);

/// Torrents whose data was deleted in this life. On a full disk that goes before their record, and
/// after a kill in between they are there without it.
fn deleted_in_this_life(host: &Host) -> Vec<InfoHash> {
    let begin = host.alerts.iter().rposition(|(_, alert)| matches!(alert, Alert::Restored { .. }));
    let life = host.alerts.get(begin.unwrap_or(0)..).unwrap_or_default();
    let is_deleted = |id| {
        let of = |alert: &Alert| matches!(alert, Alert::DataDeleted { torrent } if *torrent == id);
        life.iter().any(|(_, alert)| of(alert))
    };
    let deleted = host.held.iter().filter(|held| is_deleted(held.id));
    deleted.map(|held| held.sample.metainfo.info_hash()).collect()
}

impl World {
    /// A node's process is killed: its connections are reset, what its workers were doing is half
    /// done, its disk stays.
    pub fn kill(&mut self, node: NodeId) {
        self.interrupt_jobs(node.0);
        self.bring_down(node.0, "is killed");
        for conn in self.conns_of(node.0) {
            for side in 0..2 {
                self.hang_up(conn, side, node.0, true);
            }
        }
    }

    /// A killed node is started again, with the same torrents and what its user had last said of
    /// their files, or with those that its session folder has.
    pub fn restart(&mut self, node: NodeId) {
        let (seed, now) = (self.rng.next_u64(), self.now);
        let clock = self.clock(node.0);
        let n = &mut self.nodes[node.0];
        let Body::Engine(old) = &n.body else { panic!("{node:?} has no engine to start") };
        assert!(!n.up, "{node:?} is not down");
        let mut host = Host::new(old.conf.clone(), old.disk.clone(), seed, clock);
        host.alerts = old.alerts.clone();
        host.folders = old.folders.clone();
        host.kept = old.kept.clone();
        // What was moved when it died may be at the one place or the other.
        host.folders.extend(old.held.iter().map(|held| held.params.dir.clone()));
        let deleted = deleted_in_this_life(old);
        let torrents: Vec<_> = old
            .held
            .iter()
            .map(|held| (held.sample.clone(), held.params_now(&old.engine)))
            .collect();
        (n.body, n.up) = (Body::Engine(Box::new(host)), true);
        self.book.write(now, Deed::At { node: node.0, what: "is started again" });
        self.answer_strangers(node.0);
        if self.nodes[node.0].lan.is_some() {
            self.tell_interfaces(node.0);
        }
        if self.nodes[node.0].tells_place {
            self.set_reachable(node);
        }
        if self.host(node.0).conf.session.dir.is_some() {
            for (sample, params) in torrents {
                let host = self.host_mut(node.0);
                if let Some(id) = host.engine.find(sample.metainfo.info_hash()) {
                    if deleted.contains(&sample.metainfo.info_hash()) {
                        host.disk.note_gone();
                    }
                    host.hold(id, sample, params);
                }
            }
            return self.service(node.0);
        }
        for (sample, params) in torrents {
            // One that reads what another has is not taken before it is known that the other has
            // it: its user tries again.
            match self.try_add_torrent(node, &sample, params) {
                Ok(_) | Err(AddError::PathTaken { .. }) => {}
                Err(error) => panic!("{node:?} does not take the torrent: {error}"),
            }
        }
    }

    /// The same, without holding what its torrents claim against the truth: of those that sleep it
    /// is what was saved.
    #[cfg(test)]
    pub(in crate::sim) fn restart_unchecked(&mut self, node: NodeId) {
        let held = std::mem::take(&mut self.host_mut(node.0).held);
        self.restart(node);
        drop(held);
    }

    /// A node's cable is cut (or mended): nothing reaches it or leaves it, and no peer is told.
    /// Connections do not survive that.
    pub fn set_cut(&mut self, node: NodeId, cut: bool) {
        self.nodes[node.0].cut = cut;
        self.book.write(
            self.now,
            Deed::At { node: node.0, what: if cut { "is cut off" } else { "is connected again" } },
        );
        for id in self.conns_of(node.0) {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            let was_cut = std::mem::replace(&mut conn.cut, true);
            let is_relay = |end: &End| matches!(end.key, Some(StreamId::Relay(_)));
            if conn.made && !was_cut && conn.ends.iter().any(is_relay) {
                self.schedule(self.now + KEEP_ALIVE, Event::Silent { conn: id });
            }
        }
    }

    /// A node's cable is [cut](Self::set_cut), and its machine knows it: it has no address, and
    /// dials fail at once. Connections that are there stand still, as there.
    pub fn set_offline(&mut self, node: NodeId, offline: bool) {
        self.nodes[node.0].routeless = offline;
        self.set_cut(node, offline);
    }

    /// A node's machine goes away without a word: no end and no reset reaches anybody, then or
    /// later. When it is [started again](Self::restart) it does not know its old connections,
    /// and says so to the peers that use them.
    pub fn vanish(&mut self, node: NodeId) {
        self.interrupt_jobs(node.0);
        self.bring_down(node.0, "vanishes");
        for conn in self.conns_of(node.0) {
            self.orphan(conn, node.0);
        }
    }

    fn bring_down(&mut self, node: usize, what: &'static str) {
        let n = &mut self.nodes[node];
        n.life += 1;
        n.wake = None;
        n.up = false;
        if let Body::Engine(host) = &n.body {
            host.disk.close_all();
        }
        self.book.write(self.now, Deed::At { node, what });
    }

    /// `node` forgets a connection, and the other side is not told, unless that is `node`, too.
    pub(super) fn orphan(&mut self, id: u64, node: usize) {
        while self.orphan_end(id, node) {}
    }

    /// Of its ends the first that is open. False if there is none.
    fn orphan_end(&mut self, id: u64, node: usize) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else { return false };
        let Some(side) = conn.ends.iter().position(|end| end.node == node && end.open) else {
            return false;
        };
        conn.ends[side].open = false;
        conn.orphan = Some(side);
        conn.pipes[side].reset();
        conn.pipes[side].ending = false;
        conn.pipes[side].gap |= !conn.held[side].is_empty();
        conn.held[side].clear();
        if !conn.ends[1 - side].open {
            self.conns.remove(&id);
        }
        true
    }

    /// A peer that still sends to a connection that a node has forgotten is told so, when it sends
    /// again.
    fn answer_strangers(&mut self, node: usize) {
        let forgotten = |c: &Conn| {
            c.orphan.is_some_and(|side| c.ends[side].node == node && !c.pipes[1 - side].is_idle())
        };
        let conns: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, c)| forgotten(c))
            .map(|(&id, c)| (id, c.orphan.unwrap_or(0)))
            .collect();
        for (conn, side) in conns {
            let after = Duration::from_millis(200 + self.rng.below(3000));
            self.schedule(self.now + after, Event::End { conn, side, reset: true });
        }
    }

    /// The world falls apart: each of `parts` reaches only itself, and so does the rest together.
    /// Connections across stand still, what was sent is sent again until it arrives or is
    /// [given up](Self::GIVE_UP); dials get no answer.
    pub fn partition(&mut self, parts: &[&[NodeId]]) {
        self.nodes.iter_mut().for_each(|n| n.part = 0);
        for (nth, part) in parts.iter().enumerate() {
            part.iter().for_each(|node| self.nodes[node.0].part = 1 + nth as u32);
        }
        self.book
            .write(self.now, Deed::Note(format!("the world falls into {} parts", parts.len() + 1)));
        self.send_again();
    }

    /// Everybody reaches everybody again, but those whose [cable is cut](Self::set_cut).
    pub fn mend(&mut self) {
        self.nodes.iter_mut().for_each(|n| n.part = 0);
        self.dead_ways.clear();
        self.book.write(self.now, Deed::Note("the world is whole again".into()));
        self.send_again();
    }

    /// Nothing gets from one node to the other any more, as in a [partition](Self::partition); the
    /// other way round it does. Until that is mended: `dead` false.
    pub fn set_way(&mut self, from: NodeId, to: NodeId, dead: bool) {
        if dead {
            self.dead_ways.insert((from.0, to.0));
        } else {
            self.dead_ways.remove(&(from.0, to.0));
        }
        self.send_again();
    }

    /// How long something is sent again and again before the sender gives a connection up: as Linux
    /// does, after 15 tries.
    pub const GIVE_UP: Duration = Duration::from_secs(924);

    fn send_again(&mut self) {
        let ids: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, c)| c.held.iter().any(|h| !h.is_empty()))
            .map(|(&id, _)| id)
            .collect();
        for id in ids {
            for side in 0..2 {
                let Some(conn) = self.conns.get(&id) else { continue };
                let (from, to) = (conn.ends[side].node, conn.ends[1 - side].node);
                if conn.held[side].is_empty() || !self.reaches(from, to) {
                    continue;
                }
                let again = Duration::from_millis(self.rng.below(1000)) + self.delay(from, to);
                self.schedule(self.now + again, Event::Again { conn: id, side });
            }
        }
    }

    /// What was held is sent again, and arrives if it can.
    pub(super) fn again(&mut self, id: u64, side: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (from, to) = (conn.ends[side].node, conn.ends[1 - side].node);
        if !self.reaches(from, to) {
            return;
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.held_since[side] = None;
        for late in std::mem::take(&mut conn.held[side]) {
            match late {
                Late::Bytes(bytes) => self.arrived(id, side, bytes),
                Late::End => self.ended(id, side, CloseCause::Eof),
            }
        }
    }

    /// All connections of a node break, for both ends.
    pub fn break_all(&mut self, node: NodeId) {
        let is_its = |conn: &Conn| conn.ends.iter().any(|end| end.node == node.0);
        let all: Vec<u64> =
            self.conns.iter().filter(|(_, conn)| is_its(conn)).map(|(&id, _)| id).collect();
        all.into_iter().for_each(|id| self.broken(id));
    }

    /// A node's connections break, each after twice this time at the latest: both ends are told.
    pub fn set_flaky(&mut self, node: NodeId, every: Option<Duration>) {
        self.nodes[node.0].flaky = every;
    }

    /// Whether a box on a node's line reads what passes, and resets connections that begin with the
    /// handshake (BEP 3) in plain.
    pub fn set_censored(&mut self, node: NodeId, censored: bool) {
        self.nodes[node.0].censored = censored;
    }

    /// Puts a node behind a router of its own.
    pub fn set_nat(&mut self, node: NodeId, rule: Nat) {
        self.share_nat(&[node], rule);
    }

    /// Puts nodes behind one router: to others they are one host. They can dial each other by their
    /// own addresses only, and a router forgets the addresses they spoke with after [two
    /// minutes](Self::set_nat_ttl).
    pub fn share_nat(&mut self, nodes: &[NodeId], rule: Nat) {
        let nat = self.nats.len();
        let ip = [11, (nat >> 8) as u8, nat as u8, 1].into();
        self.nats.push(NatBox::new(rule, ip, Duration::from_secs(120)));
        for (nth, node) in nodes.iter().enumerate() {
            let n = &mut self.nodes[node.0];
            (n.nat, n.outer_port) = (Some(nat), 20_000 + nth as u16);
            let addr = self.addr(*node);
            self.directory.insert(addr, node.0);
        }
    }

    /// The router of a node shows the port to others that the node listens on, as most do where it
    /// is free; so what the node says of its port is true.
    pub fn keep_port(&mut self, node: NodeId) {
        self.directory.remove(&self.addr(node));
        self.nodes[node.0].outer_port = self.nodes[node.0].addr.port();
        self.directory.insert(self.addr(node), node.0);
    }

    /// From now on the router of a node lets senders in by this rule.
    pub fn set_nat_rule(&mut self, node: NodeId, rule: Nat) {
        if let Some(nat) = self.nodes[node.0].nat.and_then(|nat| self.nats.get_mut(nat)) {
            nat.rule = rule;
        }
    }

    /// How long the router of a node remembers the addresses it spoke with.
    pub fn set_nat_ttl(&mut self, node: NodeId, ttl: Duration) {
        if let Some(nat) = self.nodes[node.0].nat.and_then(|nat| self.nats.get_mut(nat)) {
            nat.ttl = ttl;
        }
    }

    /// A node's clock jumps ahead, as after its machine has slept. (It never goes back:
    /// [`Instant`](crate::Instant) does not. The clock that files are dated by may:
    /// [`MemDisk::shift_clock`](crate::sim::MemDisk::shift_clock).)
    pub fn jump_clock(&mut self, node: NodeId, by: Duration) {
        self.nodes[node.0].skew += by;
        self.book.write(self.now, Deed::At { node: node.0, what: "finds its clock ahead" });
        if self.nodes[node.0].up {
            let life = self.nodes[node.0].life;
            self.wake(node.0, life);
        }
    }

    /// A node's disk does nothing for a while; what it was to do comes after that.
    pub fn hang_disk(&mut self, node: NodeId, time: Duration) {
        let n = &mut self.nodes[node.0];
        n.disk_free = n.disk_free.max(self.now) + time;
        let waiting = self
            .queue
            .extract_if(.., |_, event| matches!(event, Event::Run { node: n, .. } if *n == node.0));
        let waiting: Vec<_> = waiting.collect();
        self.book.write(self.now, Deed::At { node: node.0, what: "has a disk that hangs" });
        waiting.into_iter().for_each(|((at, _), event)| self.schedule(at + time, event));
    }

    /// One in `one_in` jobs of a node takes so much longer; 0 for none.
    pub fn set_disk_spikes(&mut self, node: NodeId, one_in: u64, time: Duration) {
        self.nodes[node.0].spikes = (one_in > 0).then_some((one_in, time));
    }

    /// Whether something that `from` sends gets to `to`.
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        let (a, b) = (&self.nodes[from], &self.nodes[to]);
        !a.cut && !b.cut && a.part == b.part && !self.dead_ways.contains(&(from, to))
    }

    /// Jobs that no worker has begun are done as far as chance has it; the engine is not told.
    fn interrupt_jobs(&mut self, node: usize) {
        let Body::Engine(host) = &mut self.nodes[node].body else { return };
        let disk = host.disk.clone();
        disk.set_now(self.now);
        disk.set(|troubles| troubles.writes_left = Some(self.rng.below(100_000)));
        let begun = self
            .queue
            .extract_if(.., |_, event| matches!(event, Event::Run { node: n, .. } if *n == node));
        for (_, event) in begun.collect::<Vec<_>>() {
            if let Event::Run { job, .. } = event {
                if let Job::Delete { spec, .. } = &*job {
                    host.forget_data(spec);
                }
                host.runner.run(vec![*job], &mut Vec::new());
            }
        }
        disk.set(|troubles| troubles.writes_left = None);
    }
}
