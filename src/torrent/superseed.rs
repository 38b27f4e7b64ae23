//! Super-seeding (BEP 16): a lone seed pretends to have nothing and shows each peer one piece at a
//! time, so that it sends little more than one copy of the data before there are other seeds.
//!
//! A peer is shown the next piece when it has passed the last one on: another peer is seen with it.
//! What a peer has itself it often does not say, since it believes that we have it too; that it has
//! asked for all of it, or lost interest, is taken for that. A peer that has waited long for a peer
//! to pass its piece on to is shown another piece all the same, or peers that cannot reach each
//! other would wait for ever.
//! Here is the ledger of which piece is shown to which peer; the sessions keep what each of them
//! has ever been shown.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    base::{
        arena::Key,
        bitfield::Bitfield,
        geometry::{Block, Geometry, PieceIndex},
        rng::Rng,
        time::Instant,
    },
    torrent::{SHOW, Torrent, cx::Cx, picker::Picker},
};

/// Pieces that are compared for each choice. Which ones is left to chance; in a torrent of fewer
/// pieces it is all of them.
const COMPARED: usize = 4096;
/// How long a peer that has its piece waits for another peer to have it too.
const PATIENCE: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug)]
pub(crate) struct SuperSeed {
    /// All pieces, in random order.
    order: Vec<PieceIndex>,
    /// Where in `order` the next choice begins.
    at: usize,
    /// How many peers each piece was shown to, those not counted that left with it.
    shown: Vec<u16>,
    /// What each peer was shown last, by link.
    last: BTreeMap<Key, Shown>,
    /// A peer may be due for another piece.
    due: bool,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    piece: PieceIndex,
    /// Bytes of it that the peer asked for since.
    asked: u32,
    /// Since when the peer has it, as far as can be known.
    had: Option<Instant>,
    /// Another peer was seen with it since.
    passed_on: bool,
    /// There is nothing else to show.
    all: bool,
}

impl SuperSeed {
    pub(crate) fn new(geometry: &Geometry, rng: &mut Rng) -> Self {
        let mut order: Vec<_> = geometry.pieces().collect();
        rng.shuffle(&mut order);
        let shown = vec![0; order.len()];
        Self { order, at: 0, shown, last: BTreeMap::new(), due: true }
    }

    /// A peer came or changed.
    pub(crate) fn look_again(&mut self) {
        self.due = true;
    }

    /// The peer at `link` has `piece` now.
    pub(crate) fn handle_have(&mut self, now: Instant, link: Key, piece: PieceIndex) {
        for (&owner, last) in self.last.iter_mut().filter(|(_, last)| last.piece == piece) {
            if owner == link {
                last.had.get_or_insert(now);
            } else {
                last.passed_on = true;
            }
            self.due = true;
        }
    }

    /// The peer at `link` tells for the first time what it has.
    pub(crate) fn handle_bitfield(&mut self, link: Key, has: &Bitfield) {
        // If it had already what it was shown, it is due for another one.
        self.last
            .get_mut(&link)
            .into_iter()
            .filter(|last| has.has(last.piece))
            .for_each(|last| last.passed_on = true);
        self.due = true;
    }

    /// The peer at `link` asks for `block` and will get it.
    pub(crate) fn handle_request(
        &mut self,
        now: Instant,
        link: Key,
        block: Block,
        geometry: &Geometry,
    ) {
        if let Some(last) = self.last.get_mut(&link).filter(|last| last.piece == block.piece) {
            last.asked = last.asked.saturating_add(block.len);
            if last.asked >= geometry.piece_len(block.piece) && last.had.is_none() {
                last.had = Some(now);
                self.due = true;
            }
        }
    }

    /// The peer at `link` wants nothing of all that it was shown.
    pub(crate) fn handle_not_interested(&mut self, now: Instant, link: Key) {
        if let Some(last) = self.last.get_mut(&link).filter(|last| last.had.is_none()) {
            last.had = Some(now);
            self.due = true;
        }
    }

    /// The peer at `link` is gone, and what it had alone with it.
    pub(crate) fn forget(&mut self, link: Key) {
        if let Some(last) = self.last.remove(&link).filter(|last| !last.passed_on)
            && let Some(shown) = self.shown.get_mut(last.piece.at())
        {
            *shown = shown.saturating_sub(1);
        }
        self.due = true;
    }

    /// Whether a peer may be due for another piece, once.
    pub(crate) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.due)
    }

    /// The next piece to show the peer at `link`, if it is due for one. It has `has` and was shown
    /// `before`; `alone`: there is no peer to pass it on to.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        link: Key,
        (has, before): (&Bitfield, &Bitfield),
        alone: bool,
        picker: &Picker,
    ) -> Option<PieceIndex> {
        self.is_due(now, link, has, alone, picker)
            .then(|| self.choose(link, has, before, picker))?
    }

    /// Whether the peer at `link`, which has `has`, is to be shown another piece. `alone`: there is
    /// no peer to pass it on to.
    fn is_due(
        &self,
        now: Instant,
        link: Key,
        has: &Bitfield,
        alone: bool,
        picker: &Picker,
    ) -> bool {
        self.last.get(&link).is_none_or(|last| {
            let elsewhere = || picker.availability(last.piece) > u32::from(has.has(last.piece));
            let had = |since: Instant| alone || elsewhere() || since + PATIENCE <= now;
            !last.all && (last.passed_on || last.had.is_some_and(had))
        })
    }

    /// When the next peer will have waited long enough. One that is past that has a reason of its
    /// own, such as wanting nothing.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = self.last.values().filter(|last| !last.all).filter_map(|last| last.had);
        waiting.map(|since| since + PATIENCE).filter(|&at| at > now).min()
    }

    /// The piece to show a peer that has `has` and was shown `before`: what was shown to fewest,
    /// then what fewest have.
    fn choose(
        &mut self,
        link: Key,
        has: &Bitfield,
        before: &Bitfield,
        picker: &Picker,
    ) -> Option<PieceIndex> {
        let (first, last) = self.order.split_at(self.at.min(self.order.len()));
        let rarity = |p: PieceIndex| {
            (self.shown.get(p.at()).copied().unwrap_or(u16::MAX), picker.availability(p))
        };
        let mut best = None;
        let fresh =
            last.iter().chain(first).enumerate().filter(|&(_, &p)| !has.has(p) && !before.has(p));
        for (n, &piece) in fresh.take(COMPARED) {
            let this = (rarity(piece), n, piece);
            if best.is_none_or(|best| this < best) {
                best = Some(this);
            }
            if this.0 == (0, 0) {
                break;
            }
        }
        let Some((_, n, piece)) = best else {
            self.last.entry(link).and_modify(|last| last.all = true);
            return None;
        };
        self.at = (self.at + n + 1) % self.order.len();
        if let Some(shown) = self.shown.get_mut(piece.at()) {
            *shown = shown.saturating_add(1);
        }
        self.last.insert(link, Shown { piece, asked: 0, had: None, passed_on: false, all: false });
        Some(piece)
    }
}

impl Torrent {
    /// Pretends from now on to those who come, or shows everything to those who are here.
    pub(crate) fn set_super_seeding(&mut self, on: bool, cx: &mut Cx) {
        if !self.modes.set_super_seed(on) {
            return;
        }
        self.settings_changed(cx);
        if on {
            self.begin_super_seeding(cx);
        } else if self.swarm.end_super_seeding() {
            let Self { peers, swarm, .. } = self;
            let mut partings = Vec::new();
            for (_, session) in peers.iter_mut() {
                if !session.show_all(swarm, cx) {
                    partings.push(session.link());
                } else if swarm.is_upload_only() && !session.is_upload_only() {
                    session.tell_upload_only(true, cx);
                }
                session.schedule(cx);
            }
            for link in partings {
                peers.part(link, "it has too much to be told");
            }
        }
        self.settle(cx);
    }

    /// Begins to pretend, if that is wanted and there is something to pretend.
    pub(super) fn begin_super_seeding(&mut self, cx: &mut Cx) {
        if self.modes.is_super_seed()
            && self.lifecycle.is_finished()
            && !self.is_dormant()
            && self.swarm.is_complete()
            && !self.swarm.is_super_seeding()
        {
            self.swarm.begin_super_seeding(&mut cx.rng);
        }
    }

    /// Shows pieces to those who are due.
    pub(super) fn show_pieces(&mut self, cx: &mut Cx) {
        if !self.swarm.is_show_due() {
            return;
        }
        let alone = self.peers.iter().filter(|(_, s)| !s.is_upload_only()).count() == 1;
        for (_, session) in
            self.peers.iter_mut().filter(|(_, s)| s.is_known() && !s.is_upload_only())
        {
            let Some(before) = session.shown() else { continue };
            let (link, has) = (session.link(), session.has());
            if let Some(piece) = self.swarm.poll_show(cx.now, link, has, before, alone) {
                session.show(piece, cx);
                session.schedule(cx);
            }
        }
        match self.swarm.next_show(cx.now) {
            Some(at) => self.timers.set(SHOW, at),
            None => self.timers.stop(SHOW),
        }
    }
}
