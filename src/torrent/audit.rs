//! One torrent, counted anew. For tests and the simulator.

use crate::{
    base::geometry::PieceIndex,
    conf::Conf,
    torrent::{Torrent, peer_session::PeerSession, web_seeds::WebSeeds},
};

impl Torrent {
    /// Bytes of piece memory in use.
    pub(crate) fn piece_memory(&self) -> usize {
        self.swarm.piece_memory()
    }

    /// Bytes of it that have a buffer.
    pub(crate) fn backed_memory(&self) -> usize {
        self.swarm.backed_memory()
    }

    /// Its web seeds.
    pub(crate) fn web_seeds(&self) -> Option<&WebSeeds> {
        self.web_seeds.as_deref()
    }

    /// Whether it lacks a piece that it is to fetch.
    pub(crate) fn wants(&self, piece: PieceIndex) -> bool {
        self.swarm.wants(piece)
    }

    /// Whether something is to be done to its files as a whole, or is being done.
    pub(crate) fn is_rearranging(&self) -> bool {
        self.storage.operations.is_pending()
    }

    /// Reads of its user's that are not answered.
    pub(crate) fn open_reads(&self) -> usize {
        self.storage.reads.len()
    }

    /// What is wrong with it, if anything. What it has is not settled before it is open.
    pub(crate) fn audit(&self, conf: &Conf) -> Result<(), String> {
        if self.peers.partings() > 0 {
            return Err(format!("{} links were to be closed and are not", self.peers.partings()));
        }
        if self.lifecycle.is_oversleeping(self.swarm.is_finished()) {
            return Err("it is dormant, may run, and lacks something that is wanted".into());
        }
        if !self.lifecycle.is_open() || self.lifecycle.is_pending() {
            return Ok(());
        }
        if !self.swarm.may_write()
            && !self.lifecycle.is_failing()
            && !self.storage.operations.is_arranging()
        {
            return Err(
                "it writes nothing until its files are arranged, and nothing arranges them".into(),
            );
        }
        let sessions: Vec<&PeerSession> = self.peers.iter().map(|(_, s)| s).collect();
        sessions.iter().try_for_each(|s| s.audit(&self.swarm, conf))?;
        self.audit_slots()?;
        let favoured = sessions.iter().filter(|s| s.is_favoured()).count();
        if favoured != self.swarm.favoured() {
            return Err(format!(
                "{favoured} choked peers are served and {} are counted",
                self.swarm.favoured()
            ));
        }
        self.swarm.audit(&sessions, self.web_seeds.as_deref(), conf)
    }
}
