//! The ledger, counted anew: every piece is in exactly one place, and every count is what it
//! counts. For tests and the simulator.

use std::collections::BTreeMap;

use super::Swarm;
use crate::{
    base::{
        bitfield::Bitfield,
        geometry::{Block, PieceIndex},
    },
    conf::Conf,
    torrent::{peer_session::PeerSession, web_seeds::WebSeeds},
};

impl Swarm {
    /// Bytes of piece memory that its pieces in progress hold or were promised.
    pub(crate) fn piece_memory(&self) -> usize {
        self.active.iter().map(|(_, p)| p.memory()).sum()
    }

    /// Of those, the bytes that have a buffer.
    pub(crate) fn backed_memory(&self) -> usize {
        self.active.iter().map(|(_, p)| p.backed()).sum()
    }

    /// What is wrong with a torrent that is open, if anything.
    pub(crate) fn audit(
        &self,
        sessions: &[&PeerSession],
        web_seeds: Option<&WebSeeds>,
        conf: &Conf,
    ) -> Result<(), String> {
        self.picker.audit()?;
        self.audit_places()?;
        let free: usize = self.active.iter().map(|(_, p)| p.free() as usize).sum();
        if free != self.active.free() {
            return Err(format!(
                "{free} blocks of pieces in progress are free and {} are counted",
                self.active.free()
            ));
        }
        self.active.iter().try_for_each(|(_, p)| p.audit())?;
        let bytes = |of: &dyn Fn(PieceIndex) -> bool| -> u64 {
            self.geometry
                .pieces()
                .filter(|&p| of(p))
                .map(|p| u64::from(self.geometry.piece_len(p)))
                .sum()
        };
        let missing = self.geometry.pieces().filter(|&p| self.wants(p)).count() as u64;
        for (what, found, counted) in [
            ("bytes are had", bytes(&|p| self.stock.have().has(p)), self.have_bytes()),
            ("bytes are wanted", bytes(&|p| !self.is_skipped(p)), self.wanted_bytes()),
            (
                "wanted bytes are had",
                bytes(&|p| !self.is_skipped(p) && self.stock.have().has(p)),
                self.wanted_have_bytes(),
            ),
            ("wanted pieces are missing", missing, u64::from(self.stock.missing())),
        ] {
            if found != counted {
                return Err(format!("{found} {what} and {counted} are counted"));
            }
        }
        let of_web_seeds = web_seeds.map_or(0, |seeds| seeds.connections().2);
        let held = sessions.iter().filter(|s| s.is_held_with_others()).count() + of_web_seeds;
        if held != self.holdback.sessions() {
            return Err(format!(
                "{held} sessions are held back together and {} are counted",
                self.holdback.sessions()
            ));
        }
        if self.has_notes() {
            return Err(format!("{} notes were not delivered", self.notes.len()));
        }
        if self.failures.waiting() > conf.requests.max_blames {
            return Err(format!(
                "{} pieces wait for a peer to blame, {} may",
                self.failures.waiting(),
                conf.requests.max_blames
            ));
        }
        self.audit_orders(sessions, web_seeds)?;
        self.audit_availability(sessions, web_seeds)
    }

    /// A piece is had, or skipped, or wanted, or in progress, or looked at because it failed: never
    /// two of these, and never none. The hash of one that a saved state says is had, or that is
    /// skipped, need not be known.
    fn audit_places(&self) -> Result<(), String> {
        for piece in self.geometry.pieces() {
            let busy = self.active.contains(piece) || self.failures.is_looked_at(piece);
            let had = self.stock.have().has(piece);
            let places = [
                ("skipped", self.is_skipped(piece) && !had && !busy),
                ("had", had),
                ("wanted", self.picker.is_wanted(piece)),
                ("in progress", self.active.contains(piece)),
                (
                    "without its hash",
                    self.expected(piece).is_none() && !had && !self.is_skipped(piece),
                ),
                ("looked at", self.failures.is_bad(piece)),
            ];
            let found: Vec<&str> =
                places.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
            if found.len() != 1 {
                return Err(format!(
                    "piece {} is {}",
                    piece.get(),
                    if found.is_empty() { "nowhere".into() } else { found.join(" and ") }
                ));
            }
        }
        Ok(())
    }

    /// What is on order is on order with as many peers as are counted.
    fn audit_orders(
        &self,
        sessions: &[&PeerSession],
        web_seeds: Option<&WebSeeds>,
    ) -> Result<(), String> {
        let mut orders: BTreeMap<Block, u8> = BTreeMap::new();
        sessions
            .iter()
            .flat_map(|s| s.pipeline().asked())
            .chain(web_seeds.into_iter().flat_map(WebSeeds::ordered))
            .for_each(|block| *orders.entry(block).or_default() += 1);
        for (block, times) in self.active.iter().flat_map(|(_, p)| p.asked()) {
            let with = orders.get(&block).copied().unwrap_or_default();
            if with != times {
                return Err(format!("{block:?} is on order {times} times, with {with} peers"));
            }
        }
        Ok(())
    }

    fn audit_availability(
        &self,
        sessions: &[&PeerSession],
        web_seeds: Option<&WebSeeds>,
    ) -> Result<(), String> {
        let told = sessions.iter().filter_map(|s| s.told());
        let told: Vec<&Bitfield> =
            told.chain(web_seeds.into_iter().flat_map(WebSeeds::counted)).collect();
        for piece in self.geometry.pieces() {
            let having = told.iter().filter(|has| has.has(piece)).count();
            let counted = self.picker.availability(piece);
            if having != counted as usize {
                return Err(format!(
                    "{having} peers have piece {} and {counted} are counted",
                    piece.get()
                ));
            }
        }
        Ok(())
    }
}
