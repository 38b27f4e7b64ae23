//! How one event leads to the next: from the queue to a node, and from a node's wishes to the queue.

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
            Event::Refused { conn } => self.ended(conn, 1, CloseCause::Io(std::io::ErrorKind::ConnectionRefused)),
            Event::Depart { conn, side, bytes } => self.departed(conn, side, bytes),
            Event::Arrive { conn, side, bytes } => self.arrived(conn, side, &bytes),
            Event::End { conn, side, reset } => {
                let cause = if reset { CloseCause::Io(std::io::ErrorKind::ConnectionReset) } else { CloseCause::Eof };
                self.ended(conn, side, cause);
            }
            Event::Wake { node, life } => self.wake(node, life),
            Event::Run { node, life, job } if self.nodes[node].life == life => {
                let mut answers = Vec::new();
                let host = self.host_mut(node);
                host.disk.set_now(now);
                host.runner.run(vec![job], &mut answers);
                let delay = self.nodes[node].pace.draw(&mut self.rng);
                for done in answers {
                    self.schedule(now + delay, Event::Done { node, life, done });
                }
            }
            Event::Done { node, life, done } if self.nodes[node].life == life => {
                self.host_mut(node).engine.handle_done(now, done);
                self.service(node);
            }
            Event::Run { .. } | Event::Done { .. } => {}
            Event::Packet { node, life, tracker, data } => self.packet(node, life, tracker, &data),
            Event::Resolved { node, life, host } if self.nodes[node].life == life => self.resolved(node, &host),
            Event::Datagram { node, life, from, data } if self.nodes[node].life == life => self.datagram(node, from, &data),
            Event::NoTracker { node, life, call } if self.nodes[node].life == life => self.no_tracker(node, call),
            Event::Resolved { .. } | Event::Datagram { .. } | Event::NoTracker { .. } => {}
            Event::Act(act) => act(self),
        }
    }

    pub(super) fn wake(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let now = self.now;
        match &mut self.nodes[node].body {
            Body::Engine(host) => {
                host.engine.handle_timeout(now);
                let next = host.engine.poll_timeout();
                assert!(next.is_none_or(|next| next > now), "node {node}: a timer is stuck at {next:?}, it is {now:?}");
                self.nodes[node].wake = None;
                self.service(node);
            }
            Body::Script(_) => self.act(node, |script, talk| script.tick(talk)),
        }
    }

    /// Carries out everything that a node's engine wants, then looks at it.
    pub(super) fn service(&mut self, node: usize) {
        let now = self.now;
        while let Some(effect) = self.host_mut(node).engine.poll_effect() {
            match effect {
                Effect::Dial { link, addr } => {
                    let conn = self.dial(node, Some(link), addr);
                    let dials = self.conns.values().filter(|c| !c.made && c.ends[0].node == node && c.ends[0].open).count();
                    let host = self.host_mut(node);
                    host.links.insert(link, (conn, 0));
                    assert!(dials <= host.conf.max_dials, "node {node}: {dials} dials at a time");
                }
                Effect::Close { link } => {
                    if let Some((conn, side)) = self.host_mut(node).links.remove(&link) {
                        self.hang_up(conn, side, node, false);
                    }
                }
                Effect::Flush { link } => self.flush(node, link),
                Effect::Resume { link } => self.read_on(node, link),
                Effect::Tracker(effect) => self.serve_call(node, effect),
                Effect::Job(job @ Job::Read { link, .. }) if self.is_hot(node) => {
                    let mut answers = Vec::new();
                    let host = self.host_mut(node);
                    host.disk.set_now(now);
                    host.runner.run(vec![job], &mut answers);
                    for mut done in answers {
                        if let Done::Read { cold, .. } = &mut done {
                            *cold = false;
                        }
                        host.engine.handle_done(now, done);
                    }
                    self.flush(node, link);
                }
                Effect::Job(job) => {
                    let n = &mut self.nodes[node];
                    let (delay, life) = (n.pace.draw(&mut self.rng), n.life);
                    n.disk_free = n.disk_free.max(now) + n.pace.moving_time(&job);
                    let at = n.disk_free + delay;
                    self.schedule(at, Event::Run { node, life, job });
                }
            }
        }
        self.check(node);
    }

    /// Whether what a peer wants next is in the node's page cache.
    fn is_hot(&mut self, node: usize) -> bool {
        let hot = u64::from(self.nodes[node].pace.hot);
        hot > 0 && self.rng.below(100) < hot
    }

    /// What must hold after every event.
    pub(super) fn check(&mut self, node: usize) {
        let now = self.now;
        let host = self.host_mut(node);
        let before = host.alerts.len();
        host.check(node, now);
        let news: Vec<String> = host.alerts[before..].iter().map(|(_, alert)| format!("{alert:?}")).collect();
        let next = host.engine.poll_timeout();
        news.iter().for_each(|alert| self.transcript.add_bytes(alert.as_bytes()));
        if let Some(next) = next.map(|next| next.max(now))
            && self.nodes[node].wake.is_none_or(|wake| next < wake)
        {
            let life = self.nodes[node].life;
            self.nodes[node].wake = Some(next);
            self.schedule(next, Event::Wake { node, life });
        }
    }
}
