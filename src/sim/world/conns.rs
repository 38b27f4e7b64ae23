//! Connections from dial to the last byte, and the nodes that are scripted.

use super::*;
use crate::wire::handshake::PROTOCOL;

impl World {
    pub(super) fn conns_of(&self, node: usize) -> Vec<u64> {
        let of_node = |c: &Conn| c.ends.iter().any(|end| end.node == node);
        self.conns.iter().filter(|(_, c)| of_node(c)).map(|(&id, _)| id).collect()
    }

    pub(super) fn delay(&mut self, a: usize, b: usize) -> Duration {
        self.nodes[a].line.delay_to(&self.nodes[b].line, &mut self.rng)
    }

    pub(super) fn dial(&mut self, from: usize, key: Option<StreamId>, addr: SocketAddr) -> u64 {
        let conn = self.next_conn;
        self.next_conn += 1;
        let to = self.directory.get(&addr).copied();
        let end = |node, key| End { node, key, open: true };
        let ends = [end(from, key), End { open: false, ..end(to.unwrap_or(from), None) }];
        let cut = self.nodes[from].cut || to.is_none_or(|to| self.nodes[to].cut);
        if let Some(nat) = self.nodes[from].nat.and_then(|nat| self.nats.get_mut(nat)) {
            nat.note(from, addr, self.now);
        }
        let with_script = to.is_none_or(|to| matches!(self.nodes[to].body, Body::Script(_)));
        // What is said with a web server is no talk of peers.
        let is_peer = matches!(key, Some(StreamId::Peer(_)));
        let ears = [is_peer.then(|| Box::new(Ears::new(with_script))), None];
        let (pipes, held) = ([Pipe::new(), Pipe::new()], [VecDeque::new(), VecDeque::new()]);
        self.conns.insert(
            conn,
            Conn {
                ends,
                pipes,
                made: false,
                cut,
                orphan: None,
                held,
                held_since: [None, None],
                ears,
            },
        );
        self.book.write(self.now, Deed::Between { from, to: to.unwrap_or(from), what: "dials" });
        if self.nodes[from].routeless {
            self.schedule(self.now, Event::NoRoute { conn });
            return conn;
        }
        let delay = self.delay(from, to.unwrap_or(from));
        self.schedule(self.now + delay, Event::Connect { conn, addr });
        conn
    }

    /// A dial arrives.
    pub(super) fn connect(&mut self, id: u64, addr: SocketAddr) {
        let now = self.now;
        let Some(conn) = self.conns.get(&id).filter(|c| !c.cut) else { return };
        let (from, to) = (conn.ends[0].node, conn.ends[1].node);
        if !self.reaches(from, to) || !self.is_let_in(from, to, addr) {
            // No answer comes: the node that dials must give up.
            self.conns.entry(id).and_modify(|conn| conn.cut = true);
            return;
        }
        let back = now + self.delay(from, to);
        let node = &mut self.nodes[to];
        let takes = match &node.body {
            Body::Engine(host) => host.conf.network.transports.tcp(),
            _ => true,
        };
        if !node.listening || !takes || node.cut || !node.up {
            return self.schedule(back, Event::Refused { conn: id });
        }
        let addr = self.source_addr(from, to, id);
        let clock = self.clock(to);
        let key = match &mut self.nodes[to].body {
            Body::Engine(host) => {
                let key = host.engine.handle_accepted(clock, addr);
                key.inspect(|&key| _ = host.streams.insert(key, (id, 1)))
            }
            _ => None,
        };
        let taken = key.is_some() || matches!(self.nodes[to].body, Body::Script(_));
        self.schedule(back, Event::Connected { conn: id });
        let with_script = matches!(self.nodes[from].body, Body::Script(_));
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.ends[1] = End { node: to, key, open: taken };
        conn.ears[1] = key.map(|_| Box::new(Ears::new(with_script)));
        // Nothing that the acceptor sends overtakes its answer.
        let _ = conn.pipes[1].departed(back, Duration::ZERO);
        match &self.nodes[to].body {
            Body::Engine(_) if taken => self.service(to),
            // It had no room, and closes what the system has accepted for it.
            Body::Engine(_) => self.schedule(back, Event::End { conn: id, side: 1, reset: false }),
            _ => self.act(to, |script, talk| script.connected(talk, ConnId(id), true)),
        }
    }

    pub(super) fn connected(&mut self, id: u64) {
        let Some(conn) = self.conns.get(&id).filter(|c| !c.cut && c.ends[0].open) else { return };
        let (node, key, other) = (conn.ends[0].node, conn.ends[0].key, conn.ends[1].node);
        if !self.reaches(other, node) {
            return;
        }
        self.conns.entry(id).and_modify(|conn| conn.made = true);
        self.book.write(self.now, Deed::Between { from: node, to: other, what: "is connected to" });
        let flaky = [node, other].iter().filter_map(|&n| self.nodes[n].flaky).min();
        if let Some(every) = flaky {
            let after = Duration::from_micros(self.rng.below(every.as_micros() as u64 * 2 + 1));
            self.schedule(self.now + after, Event::Break { conn: id });
        }
        let now = self.clock(node);
        match (&mut self.nodes[node].body, key) {
            (Body::Engine(host), Some(key)) => {
                host.engine.handle_connected(now, key);
                self.service(node);
            }
            (Body::Script(_), _) => {
                self.act(node, |script, talk| script.connected(talk, ConnId(id), false))
            }
            _ => {}
        }
    }

    /// Moves what an engine has to send into its socket, as far as that takes it.
    pub(super) fn flush(&mut self, node: usize, key: StreamId) {
        let (at, now) = (self.now, self.clock(node));
        let Self { nodes, conns, sent, book, .. } = self;
        let n = &mut nodes[node];
        let Body::Engine(host) = &mut n.body else { return };
        let Some(&(id, side)) = host.streams.get(&key) else { return };
        let Some(conn) = conns.get_mut(&id) else { return };
        let to = conn.ends[1 - side].node;
        let (pipe, ears) = (&mut conn.pipes[side], &mut conn.ears[side]);
        let mut verdict = Ok(());
        let mut put = Vec::new();
        loop {
            let room = pipe.room(&n.line);
            let mut slices = [IoSlice::new(&[]); 16];
            let used = host.engine.poll_transmit(key, &mut slices);
            if used == 0 {
                break;
            }
            if room == 0 {
                pipe.blocked = true;
                host.engine.handle_writable(now, key, false);
                break;
            }
            let mut left = room;
            for slice in &slices[..used] {
                let part = &slice[..slice.len().min(left)];
                pipe.push(part);
                put.extend_from_slice(part);
                left -= part.len();
            }
            assert!(left < room, "node {node}: nothing to send, in {used} slices");
            host.engine.handle_sent(now, key, room - left);
            *sent.entry((node, to)).or_default() += (room - left) as u64;
        }
        if !put.is_empty() && host.engine.is_encrypted(key) {
            *ears = None;
            host.held.iter_mut().for_each(|held| held.unheard = true);
        }
        if let Some(ears) = ears {
            verdict =
                ears.say(host, &put, |said| book.write(at, Deed::Said { from: node, to, said }));
            if host.engine.connection_view(key).is_some_and(|view| view.unsent == 0) {
                ears.drained();
            }
        }
        if let Err(violation) = verdict {
            self.violated(node, &violation);
        }
        self.pump(id, side);
    }

    /// Lets the next segment leave.
    pub(super) fn pump(&mut self, id: u64, side: usize) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let n = &mut self.nodes[conn.ends[side].node];
        let pipe = &mut conn.pipes[side];
        if let Some(bytes) = pipe.depart(&n.line, &mut self.rng) {
            let leaves = n.line_free.max(now) + n.line.sending_time(bytes.len());
            n.line_free = leaves;
            self.schedule(leaves, Event::Depart { conn: id, side, bytes });
        }
    }

    pub(super) fn departed(&mut self, id: u64, side: usize, bytes: Vec<u8>) {
        let now = self.now;
        let Some(conn) = self.conns.get(&id) else { return };
        let (from, to) = (conn.ends[side].node, conn.ends[1 - side].node);
        // Behind an encrypted greeting the same bytes mean nothing.
        let is_plain = bytes.starts_with(PROTOCOL) && conn.pipes[side].begins_with(bytes.len());
        if is_plain && [from, to].iter().any(|&n| self.nodes[n].censored) {
            return self.schedule(now, Event::Break { conn: id });
        }
        let delay = self.delay(from, to);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let pipe = &mut conn.pipes[side];
        let at = pipe.departed(now, delay);
        let (blocked, over) = (std::mem::take(&mut pipe.blocked), pipe.ending && pipe.is_empty());
        let key = conn.ends[side].key.filter(|_| conn.ends[side].open);
        self.schedule(at, Event::Arrive { conn: id, side, bytes });
        if over {
            self.schedule(at, Event::End { conn: id, side, reset: false });
        } else if let Some(key) = key
            && blocked
        {
            let clock = self.clock(from);
            if let Body::Engine(host) = &mut self.nodes[from].body {
                host.engine.handle_writable(clock, key, true);
            }
            self.flush(from, key);
            self.service(from);
        } else {
            self.feed(from, id);
        }
        self.pump(id, side);
    }

    pub(super) fn arrived(&mut self, id: u64, side: usize, bytes: Vec<u8>) {
        let Some(conn) = self.conns.get(&id).filter(|c| !c.cut) else { return };
        let (from, to) = (conn.ends[side].node, &conn.ends[1 - side]);
        let (node, key, open, orphan) = (to.node, to.key, to.open, conn.orphan == Some(1 - side));
        let behind = !conn.held[side].is_empty();
        let (reaches, forgotten) = (self.reaches(from, node), conn.orphan == Some(side));
        if forgotten && (behind || !reaches || conn.pipes[side].gap) {
            // Nothing sends it again.
            self.conns.entry(id).and_modify(|conn| conn.pipes[side].gap = true);
            return;
        }
        if behind || !reaches || (orphan && !self.nodes[node].up) {
            return self.hold(id, side, Late::Bytes(bytes));
        }
        if orphan {
            let back = self.now + self.delay(node, from);
            return self.schedule(back, Event::End { conn: id, side: 1 - side, reset: true });
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let bytes = &bytes[..];
        conn.pipes[side].arrived(bytes.len());
        if !open {
            return;
        }
        match &mut self.nodes[node].body {
            Body::Engine(host) => {
                if let Some(key) = key.filter(|key| host.streams.contains_key(key)) {
                    conn.pipes[side].unread.extend_from_slice(bytes);
                    self.read_on(node, key);
                    self.service(node);
                }
            }
            Body::Script(scripted) if scripted.is_reading(ConnId(id)) => {
                conn.pipes[side].got += bytes.len() as u64;
                self.act(node, |script, talk| script.data(talk, ConnId(id), bytes));
            }
            Body::Script(_) => conn.pipes[side].unread.extend_from_slice(bytes),
        }
        self.pump(id, side);
    }

    /// An engine reads what has arrived for one of its links, as far as its limits allow; the rest
    /// stays and fills the window.
    pub(super) fn read_on(&mut self, node: usize, key: StreamId) {
        let (at, now) = (self.now, self.clock(node));
        let Self { nodes, conns, read, book, .. } = self;
        let Body::Engine(host) = &mut nodes[node].body else { return };
        let Some(&(id, side)) = host.streams.get(&key) else { return };
        let Some(conn) = conns.get_mut(&id) else { return };
        let from = conn.ends[1 - side].node;
        let (pipe, ears) = (&mut conn.pipes[1 - side], &mut conn.ears[side]);
        // Bytes behind those that made the engine end the link are not read.
        while !pipe.unread.is_empty() && host.engine.has_connection(key) {
            let quota = host
                .engine
                .read_quota(now, key)
                .min(host.conf.network.read_len)
                .min(pipe.unread.len());
            if quota == 0 {
                break;
            }
            let rest = pipe.unread.split_off(quota);
            let mut bytes = std::mem::replace(&mut pipe.unread, rest);
            pipe.got += bytes.len() as u64;
            if let Some(ears) = ears {
                let scripted = ears.with_script;
                ears.hear(host, &bytes, |said| {
                    if scripted {
                        book.write(at, Deed::Said { from, to: node, said });
                    }
                });
            }
            Self::count_web_bytes(host, key, bytes.len());
            host.engine.handle_data(now, key, &mut bytes);
            *read.entry((node, from)).or_default() += quota as u64;
        }
        let over = pipe.over && pipe.unread.is_empty();
        self.pump(id, 1 - side);
        if over {
            self.ended(id, 1 - side, CloseCause::Eof);
        }
    }

    /// What a node's clock says.
    pub(super) fn clock(&self, node: usize) -> Instant {
        self.nodes[node].clock(self.now)
    }

    /// Whether routers let a dial in.
    fn is_let_in(&self, from: usize, to: usize, addr: SocketAddr) -> bool {
        let (a, b) = (&self.nodes[from], &self.nodes[to]);
        let inner = addr == b.addr;
        match b.nat.and_then(|nat| self.nats.get(nat)) {
            None => true,
            // They are in one house: its own addresses work, and its router does not look back at
            // itself.
            Some(_) if a.nat == b.nat => inner,
            Some(nat) => !inner && nat.admits(to, self.addr(NodeId(from)), self.now),
        }
    }

    /// Where a connection that `from` made seems to `to` to come from.
    fn source_addr(&self, from: usize, to: usize, conn: u64) -> SocketAddr {
        let near = self.nodes[from].nat.is_none() || self.nodes[from].nat == self.nodes[to].nat;
        let ip = if near { self.nodes[from].addr.ip() } else { self.addr(NodeId(from)).ip() };
        SocketAddr::new(ip, 30_000 + (conn % 30_000) as u16)
    }

    // Scripts.

    /// Lets a script react, and does what it wants.
    pub(super) fn act(&mut self, node: usize, react: impl FnOnce(&mut dyn Script, &mut Talk<'_>)) {
        let Self { nodes, rng, now, .. } = self;
        let Body::Script(scripted) = &mut nodes[node].body else { return };
        let mut actions = Vec::new();
        react(&mut *scripted.script, &mut Talk { now: *now, rng, actions: &mut actions });
        for action in actions {
            self.carry_out(node, action);
        }
    }

    pub(super) fn carry_out(&mut self, node: usize, action: Action) {
        let Body::Script(scripted) = &mut self.nodes[node].body else { return };
        match action {
            Action::Send(conn, bytes) => {
                scripted.outbox(conn).extend(bytes);
                self.feed(node, conn.0);
            }
            Action::Close(conn) => {
                scripted.forget(conn);
                (0..2).for_each(|side| self.hang_up(conn.0, side, node, false));
            }
            Action::Wake(after) => {
                let (at, life) = (self.now + after, self.nodes[node].life);
                self.schedule(at, Event::Wake { node, life });
            }
            Action::Read(conn, reading) => {
                scripted.set_reading(conn, reading);
                let Some(c) = self.conns.get_mut(&conn.0).filter(|_| reading) else { return };
                let Some(side) = c.ends.iter().position(|end| end.node == node) else { return };
                let unread = std::mem::take(&mut c.pipes[1 - side].unread);
                c.pipes[1 - side].got += unread.len() as u64;
                if !unread.is_empty() {
                    self.act(node, |script, talk| script.data(talk, conn, &unread));
                    self.pump(conn.0, 1 - side);
                }
            }
            Action::Datagram(to, bytes) => _ = self.datagram_from(node, to, &bytes),
            Action::Fragments(to, bytes) => {
                self.segments_from(node, to, std::iter::once(&bytes[..]), false);
            }
            Action::Multicast(bytes) => self.multicast(node, &bytes),
            Action::Dial(addr) => {
                let conn = self.dial(node, None, addr);
                self.act(node, |script, _| script.dialling(ConnId(conn), addr));
            }
        }
    }

    /// Moves what a script has to send into its socket.
    pub(super) fn feed(&mut self, node: usize, id: u64) {
        let Self { nodes, conns, .. } = self;
        let n = &mut nodes[node];
        let Body::Script(scripted) = &mut n.body else { return };
        let Some(conn) = conns.get_mut(&id) else { return };
        let Some(side) = conn.ends.iter().position(|end| end.node == node && end.open) else {
            return;
        };
        let outbox = scripted.outbox(ConnId(id));
        let take = conn.pipes[side].room(&n.line).min(outbox.len());
        let (front, back) = outbox.as_slices();
        let part = front.len().min(take);
        conn.pipes[side].push(&front[..part]);
        conn.pipes[side].push(&back[..take - part]);
        outbox.drain(..take);
        self.pump(id, side);
    }
}
