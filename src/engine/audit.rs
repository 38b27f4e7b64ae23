//! The engine, counted anew: what its counters, queues and shortcuts say must be what its links and
//! torrents say. For tests and the simulator, which call it every so often; it looks at everything
//! and is slow.

use crate::{
    base::{arena::Key, geometry::PieceIndex, ids::TorrentId},
    engine::{Engine, StreamId, connection::Connection},
    torrent::peer_session::PeerSession,
};

/// How a link stands, as the engine sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkView {
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
        let links = || self.connections.iter().map(|(_, link)| link);
        let dialing = links().filter(|link| link.is_connecting()).count();
        let greetings = links().filter(|link| link.is_greeting() && link.who.incoming).count();
        let fetchers = self
            .torrents
            .iter()
            .flat_map(|(_, t)| t.peers.iter())
            .filter(|(_, s)| s.is_fetching())
            .count();
        let memory: usize = self.torrents.iter().map(|(_, t)| t.piece_memory()).sum();
        for (what, found, counted, limit) in [
            ("links are being dialled", dialing, self.dialing.count, conf.peers.max_dials),
            (
                "accepted links have not greeted",
                greetings,
                self.handshakes,
                conf.peers.max_handshakes,
            ),
            ("peers may be asked", fetchers, self.cx.leases.fetchers(), conf.peers.max_connections),
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
        let greeted = links().filter(|link| link.session().is_some()).count();
        if greeted != self.tally.peers {
            return Err(format!(
                "{greeted} peers are greeted and {} are counted",
                self.tally.peers
            ));
        }
        self.access.audit(
            links().map(|link| (link.who.addr.ip(), link.is_greeting() && link.who.incoming)),
        )?;
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
            let dials = links()
                .filter(|l| l.torrent == Some(key) && !l.who.incoming && l.session().is_none())
                .count();
            if dials != torrent.peers.dials() {
                return Err(format!(
                    "a torrent has {dials} links to be and counts {}",
                    torrent.peers.dials()
                ));
            }
            let sessions =
                links().filter(|l| l.torrent == Some(key) && l.session().is_some()).count();
            if sessions != torrent.peers.len() {
                return Err(format!(
                    "a torrent has {sessions} greeted links and {} sessions",
                    torrent.peers.len()
                ));
            }
        }
        if !self.io.is_empty(&self.cx.outbox) || !self.cx.outbox.is_fetched() {
            return Err("effects were left over".into());
        }
        Ok(())
    }

    /// A link that counts as waiting waits: for tokens, or for its turn at the disk.
    fn audit_lines(&self) -> Result<(), String> {
        for (key, link) in self.connections.iter() {
            let Some(session) = self.session_on(key) else { continue };
            if session.is_held_with_others() && !self.throttle.down.is_queued(key) {
                return Err(format!(
                    "{} is held back by a limit and waits for nothing",
                    link.who.addr
                ));
            }
            let times = self.cx.outbox.times_in_line(key);
            if times != usize::from(session.is_in_line()) {
                return Err(format!(
                    "{} is in line {times} times: {}",
                    link.who.addr,
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

    /// The session on a link.
    fn session_on(&self, link: Key) -> Option<&PeerSession> {
        let (session, torrent) =
            self.connections.get(link).and_then(|l: &Connection| l.session().zip(l.torrent))?;
        self.torrents.get(torrent)?.peers.get(session)
    }

    /// Whether a torrent lacks a piece that it is to fetch.
    pub(crate) fn wants(&self, id: TorrentId, piece: PieceIndex) -> bool {
        self.torrents.get(id.0).is_some_and(|t| t.wants(piece))
    }

    /// Whether it still knows a link.
    pub(crate) fn has_link(&self, stream: StreamId) -> bool {
        matches!(stream, StreamId::Peer(link) if self.connections.get(link).is_some())
    }

    /// How a link that has been greeted stands.
    pub(crate) fn link_view(&self, stream: StreamId) -> Option<LinkView> {
        let StreamId::Peer(link) = stream else { return None };
        self.session_on(link).map(|s| LinkView {
            unsent: s.tx.len(),
            hiding: s.is_hiding(),
            choking: s.choking,
            interested: s.interested,
        })
    }
}
