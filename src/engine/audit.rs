//! The engine, counted anew: what its counters, queues and shortcuts say must be what its
//! connections and torrents say. For tests and the simulator, which call it every so often; it
//! looks at everything and is slow.

use crate::{
    base::{arena::Key, geometry::PieceIndex, ids::TorrentId},
    conf::Traffic,
    engine::{Engine, StreamId, connection::Connection},
    torrent::peer_session::PeerSession,
};

/// How a connection stands, as the engine sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionView {
    /// Bytes that wait to be sent.
    pub(crate) unsent: usize,
    /// The peer is not shown all that we have (BEP 16).
    pub(crate) hiding: bool,
    /// We choke it.
    pub(crate) choking: bool,
    /// We are interested in what it has.
    pub(crate) interested: bool,
}

impl Engine {
    /// Whether a move, a rename or the like of a torrent's files is asked for and not done.
    pub(crate) fn is_rearranging(&self, id: TorrentId) -> bool {
        self.torrents.get(id.0).is_some_and(|torrent| torrent.is_rearranging())
    }

    /// The first thing that is wrong, in words. Between two inputs, when all effects were fetched.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let conf = &self.cx.conf;
        let connections = || self.connections.iter().map(|(_, connection)| connection);
        let dialing = connections().filter(|connection| connection.is_connecting()).count();
        let handshakes = connections()
            .filter(|connection| connection.is_in_handshake() && connection.who().incoming)
            .count();
        let fetchers = self
            .torrents
            .iter()
            .flat_map(|(_, t)| t.peers().iter())
            .filter(|(_, s)| s.is_fetching())
            .count();
        let (mut web, mut fetching) = (0, 0);
        for (_, torrent) in self.torrents.iter() {
            let seeds = torrent.web_seeds();
            let (all, busy, _) = seeds.map_or((0, 0, 0), |seeds| seeds.connections());
            (web, fetching) = (web + all, fetching + busy);
        }
        let unanswered: usize = self.torrents.iter().map(|(_, t)| t.open_reads()).sum();
        let memory: usize = self.torrents.iter().map(|(_, t)| t.piece_memory()).sum();
        for (what, found, counted, limit) in [
            ("connections are being dialled", dialing, self.dialing.count(), conf.peers.max_dials),
            (
                "accepted connections have not greeted",
                handshakes,
                self.access.handshakes(),
                conf.peers.max_handshakes,
            ),
            (
                "peers and web seeds may be asked",
                fetchers + fetching,
                self.cx.leases.fetchers(),
                conf.peers.max_connections + conf.web_seeds.max_connections,
            ),
            (
                "connections with web seeds",
                web,
                self.cx.leases.web_connections(),
                conf.web_seeds.max_connections,
            ),
            (
                "reads are not answered, or their answers not fetched",
                unanswered + self.cx.alerts.answers(),
                self.cx.leases.reads().open(),
                conf.reads.max_reads,
            ),
            (
                "bytes of pieces are in memory",
                memory,
                self.cx.leases.pieces().used(),
                conf.requests.max_piece_memory,
            ),
        ] {
            if found != counted {
                return Err(format!("{found} {what} and {counted} are counted"));
            }
            if found > limit {
                return Err(format!("{found} {what}, {limit} are allowed"));
            }
        }
        let greeted = connections().filter(|connection| connection.session().is_some()).count();
        if greeted != self.tally.peers() {
            return Err(format!(
                "{greeted} peers are greeted and {} are counted",
                self.tally.peers()
            ));
        }
        self.access.audit(connections().map(|connection| {
            (connection.who().addr.ip(), connection.is_in_handshake() && connection.who().incoming)
        }))?;
        self.audit_lines()?;
        self.cx.leases.pieces().audit()?;
        self.cx.leases.uploads().audit()?;
        let backed: usize = self.torrents.iter().map(|(_, t)| t.backed_memory()).sum();
        if backed != self.cx.leases.pieces().backed() {
            return Err(format!(
                "pieces have {backed} bytes of buffers and {} are counted",
                self.cx.leases.pieces().backed()
            ));
        }
        for (key, torrent) in self.torrents.iter() {
            torrent.audit(conf)?;
            let dials = connections()
                .filter(|l| l.torrent() == Some(key) && !l.who().incoming && l.session().is_none())
                .count();
            if dials != torrent.peers().dials() {
                return Err(format!(
                    "a torrent has {dials} connections to be and counts {}",
                    torrent.peers().dials()
                ));
            }
            let sessions =
                connections().filter(|l| l.torrent() == Some(key) && l.session().is_some()).count();
            if sessions != torrent.peers().len() {
                return Err(format!(
                    "a torrent has {sessions} greeted connections and {} sessions",
                    torrent.peers().len()
                ));
            }
        }
        if !self.io.is_empty(&self.cx.outbox) || !self.cx.outbox.is_fetched() {
            return Err("effects were left over".into());
        }
        Ok(())
    }

    /// A connection that counts as waiting waits: for tokens, or for its turn at the disk.
    fn audit_lines(&self) -> Result<(), String> {
        for (key, connection) in self.connections.iter() {
            let Some(session) = self.session_on(key) else { continue };
            if session.is_held_with_others() && !self.throttle.down.is_queued(StreamId::Peer(key)) {
                return Err(format!(
                    "{} is held back by a limit and waits for nothing",
                    connection.who().addr
                ));
            }
            let times = self.cx.outbox.times_in_line(key);
            if times != usize::from(session.is_in_line()) {
                return Err(format!(
                    "{} is in line {times} times: {}",
                    connection.who().addr,
                    session.is_in_line()
                ));
            }
        }
        Ok(())
    }

    /// Bytes of buffers that lie idle.
    #[cfg(test)]
    pub(crate) fn idle_memory(&self) -> usize {
        self.cx.leases.pieces().idle() + self.cx.leases.uploads().idle()
    }

    /// Alerts that wait.
    pub(crate) fn alerts_waiting(&self) -> usize {
        self.cx.alerts.len()
    }

    /// The session on a connection.
    fn session_on(&self, connection: Key) -> Option<&PeerSession> {
        let (session, torrent) =
            self.connections.get(connection).and_then(|l: &Connection| l.session_and_torrent())?;
        self.torrents.get(torrent)?.peers().get(session)
    }

    /// Whether a torrent lacks a piece that it is to fetch.
    pub(crate) fn wants(&self, id: TorrentId, piece: PieceIndex) -> bool {
        self.torrents.get(id.0).is_some_and(|t| t.wants(piece))
    }

    /// Whether it still knows a connection.
    pub(crate) fn has_connection(&self, stream: StreamId) -> bool {
        match stream {
            StreamId::Peer(connection) => self.connections.get(connection).is_some(),
            StreamId::WebSeed(key) => self.io.web_streams.get(key).is_some(),
            StreamId::Tracker(key) => self.has_call(key),
            StreamId::Relay(key) => self.ways.proxy.has_relay(key),
            StreamId::PortMapping(key) => self.discovery.mapping.has(key),
        }
    }

    /// Which torrent a stream to a web seed belongs to.
    pub(crate) fn web_seed_of(&self, stream: StreamId) -> Option<TorrentId> {
        let StreamId::WebSeed(key) = stream else { return None };
        self.io.web_streams.get(key).map(|stream| TorrentId(stream.torrent()))
    }

    /// Whether a connection is encrypted or becomes so, or leads to a proxy: what is sent on it
    /// cannot be read.
    pub(crate) fn is_encrypted(&self, stream: StreamId) -> bool {
        let StreamId::Peer(connection) = stream else { return false };
        self.cx.conf.proxy.carries(Traffic::Peers)
            || self.connections.get(connection).is_some_and(Connection::is_encrypted)
    }

    /// How a connection that has been greeted stands.
    pub(crate) fn connection_view(&self, stream: StreamId) -> Option<ConnectionView> {
        let StreamId::Peer(connection) = stream else { return None };
        self.session_on(connection).map(|s| ConnectionView {
            unsent: s.tx().len(),
            hiding: s.is_hiding(),
            choking: s.is_choking(),
            interested: s.is_interested(),
        })
    }
}
