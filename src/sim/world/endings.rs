//! How connections end: in good order, by a reset, because a router forgot them or because the
//! other side does not answer any more.

use super::*;

impl World {
    /// `node` closes its end, if this side is its end.
    pub(super) fn hang_up(&mut self, id: u64, side: usize, node: usize, reset: bool) {
        let now = self.now;
        let Some(conn) =
            self.conns.get_mut(&id).filter(|c| c.ends[side].node == node && c.ends[side].open)
        else {
            return;
        };
        conn.ends[side].open = false;
        if !conn.made && side == 0 {
            // No answer has come yet; the other side, if it did answer, hears of it.
            conn.made = true;
        }
        let pipe = &mut conn.pipes[side];
        pipe.ending = true;
        if reset {
            pipe.reset();
            // What is leaving arrives, and then the reset; there is no end in good order.
            pipe.ending = false;
        }
        if reset || pipe.is_empty() {
            let (from, to) = (conn.ends[side].node, conn.ends[1 - side].node);
            let delay = self.delay(from, to);
            let at =
                self.conns.get_mut(&id).map_or(now, |conn| conn.pipes[side].departed(now, delay));
            self.schedule(at, Event::End { conn: id, side, reset });
        }
    }

    /// The other side of `side` learns that the connection is over.
    pub(super) fn ended(&mut self, id: u64, side: usize, cause: CloseCause) {
        let Some(conn) = self.conns.get(&id) else { return };
        if conn.cut {
            return;
        }
        let (from, other) = (conn.ends[side].node, &conn.ends[1 - side]);
        let (node, key, open) = (other.node, other.key, other.open);
        let behind = cause == CloseCause::Eof && !conn.held[side].is_empty();
        if behind || !self.reaches(from, node) {
            // An end is sent again until it arrives, a reset and a refusal are not.
            if cause == CloseCause::Eof {
                self.hold(id, side, Late::End);
            } else if let Some(conn) = self.conns.get_mut(&id) {
                conn.orphan = Some(side);
            }
            return;
        }
        if open
            && cause == CloseCause::Eof
            && !conn.pipes[side].unread.is_empty()
            && matches!(self.nodes[node].body, Body::Engine(_))
        {
            // The end is behind what was not read yet.
            self.conns.entry(id).and_modify(|conn| conn.pipes[side].over = true);
            return;
        }
        let Some(conn) = self.conns.remove(&id) else { return };
        if !open {
            return;
        }
        let what = match cause {
            CloseCause::Eof => "has closed its connection to",
            CloseCause::Io(std::io::ErrorKind::ConnectionRefused) => "refuses",
            _ => "resets its connection to",
        };
        self.book.write(self.now, Deed::Between { from, to: node, what });
        let Pipe { put, got, .. } = conn.pipes[side];
        if cause == CloseCause::Eof
            && put != got
            && matches!(self.nodes[node].body, Body::Engine(_))
        {
            let what = format!(
                "{put} bytes were sent on a connection that ended in good order, and {got} arrived"
            );
            self.violated(node, &Violation { name: "bytes-agree", what });
        }
        if let [Some(ours), Some(theirs)] = [&conn.ears[1 - side], &conn.ears[side]]
            && cause == CloseCause::Eof
            && ours.payload().1 != theirs.payload().0
        {
            let what = format!(
                "{} bytes of blocks were sent and {} were read",
                theirs.payload().0,
                ours.payload().1
            );
            self.violated(node, &Violation { name: "bytes-agree", what });
        }
        self.tell_ended(id, node, key, cause);
    }

    /// A dial has failed on the dialler's own machine.
    pub(super) fn no_route(&mut self, id: u64) {
        let Some(conn) = self.conns.remove(&id) else { return };
        let [End { node, key, open }, _] = conn.ends;
        if open {
            let cause = CloseCause::Io(std::io::ErrorKind::NetworkUnreachable);
            self.tell_ended(id, node, key, cause);
        }
    }

    /// A node learns that a connection is over.
    fn tell_ended(&mut self, id: u64, node: usize, key: Option<StreamId>, cause: CloseCause) {
        let clock = self.clock(node);
        match &mut self.nodes[node].body {
            Body::Engine(host) => {
                if let Some(key) = key {
                    host.streams.remove(&key);
                    host.engine.handle_closed(clock, key, cause);
                    self.service(node);
                }
            }
            Body::Script(_) => self.act(node, |script, talk| script.closed(talk, ConnId(id))),
        }
    }

    /// A router on the way has forgotten a connection, and both sides find out.
    pub(super) fn broken(&mut self, id: u64) {
        if self.conns.get(&id).is_some_and(|conn| !conn.cut) {
            self.dead(id);
        }
    }

    /// Both sides of a connection find out that nothing gets to the other.
    pub(super) fn dead(&mut self, id: u64) {
        let Some(conn) = self.conns.remove(&id) else { return };
        let [a, b] = &conn.ends;
        self.book.write(
            self.now,
            Deed::Between { from: a.node, to: b.node, what: "loses its connection to" },
        );
        for end in conn.ends.iter().filter(|end| end.open) {
            self.tell_ended(
                id,
                end.node,
                end.key,
                CloseCause::Io(std::io::ErrorKind::ConnectionReset),
            );
        }
    }

    /// Something does not get to the other side for now, and is sent again until it does or its
    /// sender gives up.
    pub(super) fn hold(&mut self, id: u64, side: usize, late: Late) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.held[side].push_back(late);
        if conn.held_since[side].is_none() {
            conn.held_since[side] = Some(now);
            self.schedule(now + Self::GIVE_UP, Event::GiveUp { conn: id, side, since: now });
        }
    }

    /// What `side` has sent since then was never acknowledged.
    pub(super) fn given_up(&mut self, id: u64, side: usize, since: Instant) {
        let Some(conn) = self.conns.get(&id).filter(|c| c.held_since[side] == Some(since)) else {
            return;
        };
        let (node, key, open) = (conn.ends[side].node, conn.ends[side].key, conn.ends[side].open);
        self.book.write(
            self.now,
            Deed::Between {
                from: node,
                to: conn.ends[1 - side].node,
                what: "gives up its connection to",
            },
        );
        self.orphan(id, node);
        if open {
            self.tell_ended(id, node, key, CloseCause::Io(std::io::ErrorKind::TimedOut));
        }
    }
}
