//! The engine, counted anew: what its counters, queues and shortcuts say must be what its links and torrents say. For tests and the
//! simulator, which call it every so often; it looks at everything and is slow.

use crate::{
    base::{arena::Key, geometry::PieceIndex, ids::TorrentId},
    engine::{Engine, link::Link},
    torrent::session::Session,
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
    /// The first thing that is wrong, in words. Between two inputs, when all effects were fetched.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let conf = &self.cx.conf;
        let links = || self.links.iter().map(|(_, link)| link);
        let dialing = links().filter(|link| link.is_dialing()).count();
        let greetings = links().filter(|link| link.is_greeting() && link.who.incoming).count();
        let fetchers = self.torrents.iter().flat_map(|(_, t)| t.sessions.iter()).filter(|(_, s)| s.is_fetching()).count();
        let memory: usize = self.torrents.iter().map(|(_, t)| t.piece_memory()).sum();
        for (what, found, counted, limit) in [
            ("links are being dialled", dialing, self.dials, conf.max_dials),
            ("accepted links have not greeted", greetings, self.greetings, conf.max_greetings),
            ("peers may be asked", fetchers, self.cx.fetchers, conf.max_links),
            ("bytes of pieces are in memory", memory, self.cx.memory.used(), conf.max_piece_memory),
        ] {
            if found != counted {
                return Err(format!("{found} {what} and {counted} are counted"));
            }
            if found > limit {
                return Err(format!("{found} {what}, {limit} are allowed"));
            }
        }
        for (key, torrent) in self.torrents.iter() {
            torrent.audit(conf)?;
            let dials = links().filter(|l| l.torrent == Some(key) && !l.who.incoming && l.session().is_none()).count();
            if dials != torrent.dials {
                return Err(format!("a torrent has {dials} links to be and counts {}", torrent.dials));
            }
            let sessions = links().filter(|l| l.torrent == Some(key) && l.session().is_some()).count();
            if sessions != torrent.sessions.len() {
                return Err(format!("a torrent has {sessions} greeted links and {} sessions", torrent.sessions.len()));
            }
        }
        if !self.cx.effects.is_empty() || !self.cx.dirty.is_empty() {
            return Err("effects were left over".into());
        }
        Ok(())
    }

    /// Alerts that wait.
    pub(crate) fn alerts_waiting(&self) -> usize {
        self.cx.alerts.len()
    }

    /// The session on a link.
    fn session_on(&self, link: Key) -> Option<&Session> {
        let (session, torrent) = self.links.get(link).and_then(|l: &Link| l.session().zip(l.torrent))?;
        self.torrents.get(torrent)?.sessions.get(session)
    }

    /// Whether a torrent lacks a piece that it is to fetch.
    pub(crate) fn wants(&self, id: TorrentId, piece: PieceIndex) -> bool {
        self.torrents.get(id.0).is_some_and(|t| t.wants(piece))
    }

    /// How a link that has been greeted stands.
    pub(crate) fn link_view(&self, link: Key) -> Option<LinkView> {
        self.session_on(link).map(|s| LinkView {
            unsent: s.tx.len(),
            hiding: s.is_hiding(),
            choking: s.choking,
            interested: s.interested,
        })
    }
}
