//! How one event leads to the next: from the queue to a node, and from a node's wishes to the
//! queue.

use std::io::ErrorKind;

use super::*;

impl World {
    pub(super) fn schedule(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), event);
    }

    pub(super) fn host(&self, node: usize) -> &Host {
        match &self.nodes[node].body {
            Body::Engine(host) => host,
            _ => panic!("node {node} runs no engine"),
        }
    }

    pub(super) fn host_mut(&mut self, node: usize) -> &mut Host {
        match &mut self.nodes[node].body {
            Body::Engine(host) => host,
            _ => panic!("node {node} runs no engine"),
        }
    }

    pub(super) fn dispatch(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Connect { conn, addr } => self.connect(conn, addr),
            Event::Connected { conn } => self.connected(conn),
            Event::Refused { conn } => {
                self.ended(conn, 1, CloseCause::Io(ErrorKind::ConnectionRefused))
            }
            Event::NoRoute { conn } => self.no_route(conn),
            Event::Depart { conn, side, bytes } => self.departed(conn, side, bytes),
            Event::Arrive { conn, side, bytes } => self.arrived(conn, side, bytes),
            Event::End { conn, side, reset } => {
                let cause = if reset {
                    CloseCause::Io(ErrorKind::ConnectionReset)
                } else {
                    CloseCause::Eof
                };
                self.ended(conn, side, cause);
            }
            Event::Wake { node, life } => self.wake(node, life),
            Event::Run { node, life, job } if self.nodes[node].life == life => {
                let mut answers = Vec::new();
                let (what, piece) = job_name(&job);
                self.book.write(now, Deed::Job { node, what, piece, answered: false });
                let host = self.host_mut(node);
                host.disk.set_now(now);
                if let Job::Delete { spec, .. } = &*job {
                    // Not when it was asked for: until now, answers of other jobs have added to it.
                    host.forget_data(spec);
                }
                host.runner.run(vec![*job], &mut answers);
                if let Err(violation) = host.check_paths().and_then(|()| host.check_kept()) {
                    self.violated(node, &violation);
                }
                let delay = self.nodes[node].pace.draw(&mut self.rng);
                for done in answers {
                    self.schedule(now + delay, Event::Done { node, life, done: Box::new(done) });
                }
            }
            Event::Done { node, life, done } if self.nodes[node].life == life => {
                let clock = self.clock(node);
                self.host_mut(node).engine.handle_done(clock, *done);
                self.service(node);
            }
            Event::Run { .. } | Event::Done { .. } => {}
            Event::Resolved { node, life, host } if self.nodes[node].life == life => {
                self.resolved(node, &host)
            }
            Event::NoTracker { node, life, stream } if self.nodes[node].life == life => {
                self.no_tracker(node, stream)
            }
            Event::Resolved { .. } | Event::NoTracker { .. } => {}
            Event::Act(act) => act(self),
            Event::Again { conn, side } => self.again(conn, side),
            Event::Break { conn } => self.broken(conn),
            Event::Silent { conn } => self.dead(conn),
            Event::GiveUp { conn, side, since } => self.given_up(conn, side, since),
            Event::Letter { sender, ends, bytes } => {
                self.datagram_arrives(sender, ends[0], ends[1], &bytes)
            }
            Event::Multicast { from, to, bytes } => self.multicast_arrives(from, to, &bytes),
        }
    }

    pub(super) fn wake(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let now = self.clock(node);
        match &mut self.nodes[node].body {
            Body::Engine(host) => {
                host.engine.handle_timeout(now);
                let next = host.engine.poll_timeout().filter(|next| *next <= now);
                let what = || format!("a timer is stuck at {next:?}, it is {now:?}");
                let ahead =
                    next.map_or(Ok(()), |_| Err(Violation { name: "timers-ahead", what: what() }));
                if let Err(violation) = ahead.and_then(|()| host.count_wake(now)) {
                    self.violated(node, &violation);
                }
                if let Some(place) = self.nodes[node].wake.take() {
                    // A jump of its clock may have woken it.
                    self.queue.remove(&place);
                }
                self.service(node);
            }
            Body::Script(_) => self.act(node, |script, talk| script.tick(talk)),
        }
    }

    /// Carries out everything that a node's engine wants, then looks at it.
    pub(super) fn service(&mut self, node: usize) {
        let now = self.now;
        while let Some(effect) = self.host_mut(node).engine.poll_effect() {
            self.watch_for_leaks(node, &effect);
            match effect {
                Effect::Connect { stream: stream @ StreamId::Tracker(_), addr, .. }
                    if !self.directory.contains_key(&addr) =>
                {
                    self.dial_tracker(node, stream, addr)
                }
                Effect::Connect { stream, addr, .. } => {
                    let conn = self.dial(node, Some(stream), addr);
                    self.host_mut(node).streams.insert(stream, (conn, 0));
                    let dials = self.dials_of(node);
                    let host = self.host_mut(node);
                    let limit = host.conf.peers.max_dials;
                    if dials > limit {
                        let what = format!("{dials} dials at a time, {limit} are allowed");
                        self.violated(node, &Violation { name: "within-limits", what });
                    }
                }
                // There is none here: what is said is not read by others.
                Effect::Secure { stream, .. } => {
                    let clock = self.clock(node);
                    self.host_mut(node).engine.handle_connected(clock, stream);
                }
                Effect::Close { stream } => {
                    if let Some((conn, side)) = self.host_mut(node).streams.remove(&stream) {
                        self.hang_up(conn, side, node, false);
                    }
                }
                Effect::Flush { stream } => self.flush(node, stream),
                Effect::Resume { stream } => self.read_on(node, stream),
                Effect::Datagram { owner, to, data } => {
                    if !self.datagram_from(node, to, &data) {
                        let (clock, why) = (self.clock(node), ErrorKind::InvalidInput);
                        self.host_mut(node).engine.handle_unsent(clock, owner, why);
                    }
                }
                Effect::Segments { to, data, segment, unfragmented } => {
                    self.segments_from(node, to, data.chunks(segment.max(1)), unfragmented);
                }
                Effect::Multicast { data, .. } => self.multicast(node, &data),
                Effect::Resolve { host } => self.look_up(node, host),
                Effect::Job(job @ Job::Read { link, .. }) if self.is_hot(node) => {
                    let mut answers = Vec::new();
                    let clock = self.clock(node);
                    let host = self.host_mut(node);
                    host.disk.set_now(now);
                    host.runner.run(vec![job], &mut answers);
                    for mut done in answers {
                        if let Done::Read { cold, .. } = &mut done {
                            *cold = false;
                        }
                        host.engine.handle_done(clock, done);
                    }
                    self.flush(node, StreamId::Peer(link));
                }
                Effect::Job(job) => {
                    if let Job::Relocate { spec, .. } = &job {
                        let state = spec.state_file.as_deref().and_then(std::path::Path::parent);
                        let folders = [Some(spec.dir.clone()), state.map(ToOwned::to_owned)];
                        self.host_mut(node).folders.extend(folders.into_iter().flatten());
                    }
                    let n = &mut self.nodes[node];
                    let (mut delay, life) = (n.pace.draw(&mut self.rng), n.life);
                    if let Some((one_in, time)) = n.spikes
                        && self.rng.below(one_in) == 0
                    {
                        delay += time;
                    }
                    n.disk_free = n.disk_free.max(now) + n.pace.moving_time(&job);
                    let at = n.disk_free + delay;
                    self.schedule(at, Event::Run { node, life, job: Box::new(job) });
                }
            }
        }
        self.check(node);
    }

    /// Dials of a node's engine that no node has answered.
    fn dials_of(&self, node: usize) -> usize {
        let dialling = |conn| self.conns.get(conn).is_some_and(|c| !c.made && c.ends[0].open);
        let streams = self.host(node).streams.iter();
        let peers = streams.filter(|(stream, _)| matches!(stream, StreamId::Peer(_)));
        peers.filter(|(_, (conn, side))| *side == 0 && dialling(conn)).count()
    }

    /// Whether what a peer wants next is in the node's page cache.
    fn is_hot(&mut self, node: usize) -> bool {
        let hot = u64::from(self.nodes[node].pace.hot);
        hot > 0 && self.rng.below(100) < hot
    }
}
