//! The ledger that all sessions of a torrent share: what we have, what is in progress, what is wanted next, who is to blame.
//!
//! A session sees the ledger and never another session. What its siblings must learn is left here as a [`Note`], which the
//! torrent delivers when the session is done.

#[cfg(any(test, feature = "sim"))]
mod audit;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crate::{
    base::{
        arena::Key,
        bitfield::Bitfield,
        digest::Digest,
        files::Priority,
        geometry::{Block, Geometry, PieceIndex},
        ids::InfoHash,
        job::{Job, Run, RunDone, StoreError},
        planted::planted,
        rate::RateMeter,
        time::Instant,
    },
    proto::pipeline::{Arrival, Pipeline},
    torrent::{
        blame::Blames,
        cx::Cx,
        parole::Paroles,
        picker::Picker,
        progress::{Contributor, Progress, Receipt},
        superseed::SuperSeed,
    },
};

/// Near the end a peer is given a few doubled orders at a time, so that it is not tied to what others deliver first.
const ENDGAME_DEPTH: usize = 8;

/// How long after a limit held a session back it counts as doing so: it does that again and again.
const HELD_MEMORY: Duration = Duration::from_secs(1);

/// A peer with so many on order can wait for memory.
const PATIENT_DEPTH: usize = 4;

/// What the siblings of a session must learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// We have this piece now.
    Have(PieceIndex),
    /// This piece was bad; so many had sent parts of it.
    Failed(PieceIndex, usize),
    /// This block has come: whoever else was asked for it is told to forget it.
    Cancel(Block, Key),
    /// This peer sent bad data.
    Ban(Contributor),
    /// This piece is at hand: peers that lack it may be told.
    AtHand(PieceIndex),
    /// The peer of this link, which dialled us, says that it can be dialled there.
    Reach(Key, SocketAddr),
}

/// What the torrent counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    pub(crate) down: RateMeter,
    pub(crate) up: RateMeter,
    pub(crate) wasted: u64,
    pub(crate) duplicate_blocks: u64,
    pub(crate) late_blocks: u64,
    pub(crate) unasked_blocks: u64,
    pub(crate) failed_pieces: u64,
    pub(crate) have_bytes: u64,
    /// Bytes of pieces that are not skipped; of those, the ones that are had; and how many such pieces are not.
    pub(crate) wanted_bytes: u64,
    pub(crate) wanted_have_bytes: u64,
    missing: u32,
}

/// Whose digests a worker is making.
#[derive(Debug)]
enum Digesting {
    Bad(Vec<Option<Contributor>>),
    Good,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Swarm {
    pub(crate) torrent: Key,
    pub(crate) info_hash: InfoHash,
    pub(crate) geometry: Geometry,
    hashes: Arc<[Digest]>,
    pub(crate) have: Bitfield,
    pub(crate) picker: Picker,
    active: BTreeMap<PieceIndex, Progress>,
    /// Free blocks of all active pieces.
    free: usize,
    pub(crate) paroles: Paroles,
    blames: Blames,
    digesting: BTreeMap<PieceIndex, Digesting>,
    pub(crate) notes: VecDeque<Note>,
    /// Somebody may find something to ask for now who did not before.
    pub(crate) refill: bool,
    /// Whether new orders may go out: not while the disk fails.
    pub(crate) requesting: bool,
    /// Something is done to all files: no job may begin.
    pub(crate) quiet: bool,
    /// The store could not be told which files are skipped: nothing may be written until it was.
    pub(crate) no_writes: bool,
    pub(crate) counters: Counters,
    /// Sessions that a limit holds back, which they share with others; and when the last one was let go on.
    held: usize,
    unheld: Option<Instant>,
    /// Peers that are choked and served all the same (BEP 6 allowed fast), and how many there may be.
    pub(crate) favoured: usize,
    pub(crate) max_favoured: usize,
    /// Jobs that workers have not answered.
    pub(crate) jobs_out: usize,
    /// Of those, the ones that write.
    pub(crate) runs_out: usize,
    /// What we pretend to have, while we pretend.
    pub(crate) super_seed: Option<Box<SuperSeed>>,
}

/// A session that wants something to ask for.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) link: Key,
    pub(crate) who: Contributor,
    pub(crate) has: &'a Bitfield,
    /// Pieces it works on.
    pub(crate) own: &'a mut Vec<PieceIndex>,
    pub(crate) pipeline: &'a Pipeline,
    /// While choked, only these (BEP 6 allowed fast).
    pub(crate) only: Option<&'a [PieceIndex]>,
    /// Pieces that the peer has at hand (BEP 6 suggest).
    pub(crate) suggested: &'a mut Vec<PieceIndex>,
}

impl Asker<'_> {
    fn may_ask(&self, piece: PieceIndex) -> bool {
        self.has.has(piece) && self.only.is_none_or(|only| only.contains(&piece))
    }

    /// When a block that is asked for now should be here.
    fn due(&self, cx: &Cx) -> Instant {
        cx.now + self.pipeline.expected()
    }
}

impl Swarm {
    pub(crate) fn new(
        torrent: Key,
        info_hash: InfoHash,
        geometry: Geometry,
        hashes: Arc<[Digest]>,
        now: Instant,
        picker: Picker,
    ) -> Self {
        let meter = RateMeter::new(now);
        let counters = Counters {
            down: meter,
            up: meter,
            wasted: 0,
            duplicate_blocks: 0,
            late_blocks: 0,
            unasked_blocks: 0,
            failed_pieces: 0,
            have_bytes: 0,
            wanted_bytes: 0,
            wanted_have_bytes: 0,
            missing: 0,
        };
        let mut swarm = Self {
            torrent,
            info_hash,
            geometry,
            hashes,
            have: Bitfield::none(geometry.piece_count()),
            picker,
            active: BTreeMap::new(),
            free: 0,
            paroles: Paroles::default(),
            blames: Blames::default(),
            digesting: BTreeMap::new(),
            notes: VecDeque::new(),
            refill: false,
            requesting: false,
            quiet: false,
            no_writes: false,
            counters,
            held: 0,
            unheld: None,
            favoured: 0,
            max_favoured: 1,
            jobs_out: 0,
            runs_out: 0,
            super_seed: None,
        };
        swarm.recount();
        swarm
    }

    /// Begins anew with these pieces. Nothing may be in progress.
    pub(crate) fn set_have(&mut self, have: Bitfield) {
        self.have = have;
        self.recount();
    }

    /// Counts anew what is had and wanted.
    pub(crate) fn recount(&mut self) {
        let Self { counters, geometry, have, picker, .. } = self;
        (counters.have_bytes, counters.wanted_bytes, counters.wanted_have_bytes, counters.missing) = (0, 0, 0, 0);
        for piece in geometry.pieces() {
            let (len, has) = (u64::from(geometry.piece_len(piece)), have.has(piece));
            let wanted = picker.level(piece) != Priority::Skip;
            counters.have_bytes += if has { len } else { 0 };
            counters.wanted_bytes += if wanted { len } else { 0 };
            counters.wanted_have_bytes += if wanted && has { len } else { 0 };
            counters.missing += u32::from(wanted && !has);
        }
    }

    /// A piece was found on disk and is good.
    pub(crate) fn add_checked(&mut self, piece: PieceIndex) {
        self.paroles.settle(piece);
        if self.have.set(piece) {
            let len = u64::from(self.geometry.piece_len(piece));
            self.counters.have_bytes += len;
            if self.picker.level(piece) != Priority::Skip {
                self.counters.wanted_have_bytes += len;
                self.counters.missing = self.counters.missing.saturating_sub(1);
            }
        }
    }

    /// Whether `piece` is to be had and is not.
    pub(crate) fn wants(&self, piece: PieceIndex) -> bool {
        !self.have.has(piece) && self.picker.level(piece) != Priority::Skip
    }

    /// Whether we have every piece that is wanted.
    pub(crate) fn is_finished(&self) -> bool {
        self.counters.missing == 0
    }

    /// From now on each piece is wanted as `level` says. When the sessions have called off their orders of what is skipped now, the
    /// rest of it is to be [forgone](Self::forgo_skipped).
    pub(crate) fn set_levels(&mut self, level: impl Fn(PieceIndex) -> Priority) {
        for piece in self.geometry.pieces() {
            let (old, new) = (self.picker.level(piece), level(piece));
            if old == new {
                continue;
            }
            self.picker.set_level(piece, new);
            let busy = self.active.contains_key(&piece) || self.digesting.contains_key(&piece);
            if old == Priority::Skip && !busy && !self.have.has(piece) {
                self.picker.put_back(piece);
            }
        }
        self.recount();
        self.refill = true;
    }

    /// Gives up what has come of pieces that are skipped, unless a worker has a part of them: then when that is answered.
    pub(crate) fn forgo_skipped(&mut self, cx: &mut Cx) {
        for piece in self.active.keys().copied().collect::<Vec<_>>() {
            self.forgo(piece, cx);
        }
    }

    /// The same for one piece.
    fn forgo(&mut self, piece: PieceIndex, cx: &mut Cx) {
        if self.picker.level(piece) == Priority::Skip
            && let Some(progress) = self.active.get(&piece).filter(|p| !p.is_out())
        {
            self.counters.wasted += progress.received_len();
            self.drop_piece(piece, cx);
            self.refill = true;
        }
    }

    pub(crate) fn is_skipped(&self, piece: PieceIndex) -> bool {
        self.picker.level(piece) == Priority::Skip
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    /// Whether we want no data and say so (BEP 21). A super-seed does not, or those who have what it showed would leave.
    pub(crate) fn is_upload_only(&self) -> bool {
        self.is_finished() && self.super_seed.is_none()
    }

    /// `piece` is in memory or in the system's cache now: it was just read from a slow disk for a peer, or written. Peers that lack it
    /// are told so, if [`Conf::suggest`](crate::Conf::suggest) is on.
    pub(crate) fn note_at_hand(&mut self, piece: PieceIndex, cx: &Cx) {
        if cx.conf.suggest && self.notes.back() != Some(&Note::AtHand(piece)) {
            self.notes.push_back(Note::AtHand(piece));
        }
    }

    pub(crate) fn expected(&self, piece: PieceIndex) -> Option<Digest> {
        self.hashes.get(piece.at()).copied()
    }

    /// Bytes received of pieces that are not whole.
    pub(crate) fn partial_bytes(&self) -> u64 {
        self.active.values().map(Progress::received_len).sum()
    }

    /// Whether pieces are in progress.
    pub(crate) fn is_busy(&self) -> bool {
        !self.active.is_empty()
    }

    /// Everything that is wanted and that any peer has is on order.
    pub(crate) fn is_endgame(&self) -> bool {
        self.picker.is_exhausted() && self.free == 0 && !self.active.is_empty()
    }

    /// Orders the best block for this session, if there is any.
    pub(crate) fn next_block(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        if !self.requesting {
            return None;
        }
        let block = self.ask_own(asker, cx);
        let block = block.or_else(|| self.ask_orphan(asker, cx));
        let block = block.or_else(|| self.ask_new(asker, cx));
        if block.is_none() && cx.memory_short && asker.pipeline.len() >= PATIENT_DEPTH {
            // Memory comes back as soon as something is written. Mixing in with the pieces of others meanwhile would leave gaps.
            return None;
        }
        let block = block.or_else(|| self.ask_others(asker, cx));
        block.or_else(|| self.doubled(asker, cx))
    }

    /// A piece that it has begun.
    fn ask_own(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        let mut at = 0;
        while let Some(&piece) = asker.own.get(at) {
            // On parole it is its owner's alone.
            let foreign = |p: &Progress| p.parole && p.owner.is_some_and(|owner| owner != asker.link);
            if self.active.get(&piece).is_none_or(|p| p.free() == 0 || foreign(p)) || self.is_skipped(piece) {
                asker.own.swap_remove(at);
                continue;
            }
            if asker.may_ask(piece)
                && let Some(block) = self.ask_free(piece, asker, cx)
            {
                return Some(block);
            }
            at += 1;
        }
        None
    }

    /// A piece that somebody began and left.
    fn ask_orphan(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        if self.free == 0 {
            return None;
        }
        if !self.paroles.is_empty() {
            self.take_over(asker, cx);
        }
        self.find(asker, cx, |progress, link| match progress.owner {
            Some(owner) => progress.parole && owner == link,
            None => !progress.parole,
        })
    }

    /// Looks for pieces on parole that were left, makes them this one's alone, and begins them anew if others had a part in them.
    fn take_over(&mut self, asker: &Asker<'_>, cx: &mut Cx) {
        let Self { active, paroles, picker, .. } = self;
        let mut spoilt = Vec::new();
        for (&piece, progress) in active {
            let left = progress.parole && progress.owner.is_none() && progress.free() > 0;
            if !left
                || !asker.may_ask(piece)
                || picker.level(piece) == Priority::Skip
                || !paroles.may_try(piece, asker.who, cx.now)
            {
                continue;
            }
            let alone = progress.contributors().iter().all(|who| *who == asker.who) && !progress.is_ordered();
            if alone || paroles.may_share(piece) {
                progress.owner = Some(asker.link);
            } else if !progress.is_ordered() && !progress.is_out() {
                spoilt.push(piece);
            }
        }
        for piece in spoilt {
            self.counters.wasted += self.active.get(&piece).map_or(0, Progress::received_len);
            self.drop_piece(piece, cx);
            self.picker.put_back(piece);
        }
    }

    /// A new piece: one that the peer has at hand, or the picker's choice.
    fn ask_new(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        if self.picker.len() == 0 {
            return None;
        }
        let may_try = |p| self.paroles.may_try(p, asker.who, cx.now);
        let hint = asker.suggested.iter().rposition(|&p| self.picker.is_wanted_most(p) && asker.may_ask(p) && may_try(p));
        let piece = match (hint, asker.only) {
            (Some(at), _) => asker.suggested.swap_remove(at),
            (None, Some(only)) => *only.iter().find(|&&p| self.picker.is_wanted(p) && asker.has.has(p) && may_try(p))?,
            (None, None) => self.picker.pick(asker.has, may_try)?,
        };
        let first_run = self.geometry.piece_len(piece).min(cx.conf.run_len) as usize;
        if !cx.memory.has_room(first_run) && !self.evict(first_run, cx) {
            cx.memory_short = true;
            return None;
        }
        self.begin(piece, Some(asker.link), cx);
        asker.own.push(piece);
        self.ask_free(piece, asker, cx)
    }

    /// Gives pieces up that somebody began, that nobody who is left can go on with, and that take the memory of others.
    pub(crate) fn evict(&mut self, room: usize, cx: &mut Cx) -> bool {
        let idle: Vec<PieceIndex> = self.active.iter().filter(|(_, p)| p.is_idle(cx.now)).map(|(&piece, _)| piece).collect();
        for piece in idle {
            self.counters.wasted += self.active.get(&piece).map_or(0, Progress::received_len);
            self.drop_piece(piece, cx);
            self.picker.put_back(piece);
            if cx.memory.has_room(room) {
                return true;
            }
        }
        false
    }

    fn begin(&mut self, piece: PieceIndex, owner: Option<Key>, cx: &Cx) {
        let mut progress = Progress::new(piece, self.geometry, cx.conf.run_len);
        progress.owner = owner;
        progress.parole = self.paroles.contains(piece);
        self.free += progress.free() as usize;
        self.active.insert(piece, progress);
        self.picker.take(piece);
    }

    /// A piece that somebody else works on.
    fn ask_others(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        self.find(asker, cx, |progress, link| !progress.parole || progress.owner == Some(link))
    }

    /// A block that others were asked for already: near the end, or when all memory waits for slower peers.
    fn doubled(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        let quick = asker.pipeline.is_quick();
        // While memory is short a newcomer has no other way to show what it can do than with a copy.
        let short = cx.memory_short && (quick || (asker.pipeline.is_new() && asker.pipeline.is_empty()));
        if !(self.is_endgame() || short) || asker.pipeline.len() >= ENDGAME_DEPTH {
            return None;
        }
        // Under a limit of our own it is not the others who are slow, and a copy would cost what it is to save.
        if self.held > 0 || self.unheld.is_some_and(|at| cx.now.since(at) < HELD_MEMORY) {
            return None;
        }
        // The last copies are for those who are known to deliver, however many others came before them.
        let limit = if quick { cx.conf.endgame_copies } else { cx.conf.endgame_copies.min(2) };
        // From a random place on, or all idle peers would double the same blocks.
        let skip = cx.rng.below(self.active.len() as u64) as usize;
        let Self { active, picker, .. } = self;
        let expected = asker.pipeline.expected();
        let (before, after): (Vec<_>, Vec<_>) = active.iter_mut().enumerate().partition(|(n, _)| *n < skip);
        after
            .into_iter()
            .chain(before)
            .map(|(_, entry)| entry)
            .filter(|(piece, _)| picker.level(**piece) != Priority::Skip)
            .filter(|(piece, progress)| asker.may_ask(**piece) && (!progress.parole || progress.owner == Some(asker.link)))
            .filter(|(_, progress)| progress.needs_help(cx.now, expected))
            .find_map(|(_, progress)| progress.ask_again(limit, |block| !asker.pipeline.is_asked(block)))
    }

    fn find(&mut self, asker: &mut Asker<'_>, cx: &mut Cx, fits: impl Fn(&Progress, Key) -> bool) -> Option<Block> {
        if self.free == 0 {
            return None;
        }
        for (&piece, progress) in &mut self.active {
            let skipped = self.picker.level(piece) == Priority::Skip;
            if progress.free() > 0 && !skipped && asker.may_ask(piece) && fits(progress, asker.link) {
                let before = progress.free();
                if let Some(block) = progress.ask_free(asker.due(cx), &mut cx.memory) {
                    self.free -= (before - progress.free()) as usize;
                    progress.owner.get_or_insert(asker.link);
                    if !asker.own.contains(&piece) {
                        asker.own.push(piece);
                    }
                    return Some(block);
                }
                cx.memory_short = true;
            }
        }
        None
    }

    fn ask_free(&mut self, piece: PieceIndex, asker: &Asker<'_>, cx: &mut Cx) -> Option<Block> {
        let progress = self.active.get_mut(&piece)?;
        let block = progress.ask_free(asker.due(cx), &mut cx.memory);
        match block {
            Some(_) => self.free -= 1,
            None => cx.memory_short = true,
        }
        block
    }

    /// An order is off: the peer left, choked, or was too slow.
    pub(crate) fn release(&mut self, block: Block, cx: &mut Cx) {
        let Some(progress) = self.active.get_mut(&block.piece) else { return };
        let before = progress.free();
        progress.release(block, &mut cx.memory);
        self.free += (progress.free() - before) as usize;
        self.refill = true;
        if progress.is_untouched() {
            self.drop_piece(block.piece, cx);
            self.picker.put_back(block.piece);
        }
    }

    /// A limit holds a session back, which it shares with others.
    pub(crate) fn hold(&mut self) {
        self.held += 1;
    }

    /// It may go on, or is gone.
    pub(crate) fn unhold(&mut self, now: Instant) {
        self.held = self.held.saturating_sub(1);
        self.unheld = Some(now);
    }

    /// This session works on nothing any more.
    pub(crate) fn disown(&mut self, link: Key, who: Contributor, own: &mut Vec<PieceIndex>, now: Instant) {
        own.clear();
        // Not only those that it would go on with: one that was wholly on order has left that list.
        for (&piece, progress) in self.active.iter_mut().filter(|(_, p)| p.owner == Some(link)) {
            progress.owner = None;
            if progress.parole && progress.is_awaited() {
                self.paroles.give_up(piece, who, now);
            }
        }
    }

    /// A block came. Returns whether it was of use.
    pub(crate) fn receive(
        &mut self,
        block: Block,
        data: &[u8],
        link: Key,
        from: Contributor,
        arrival: Arrival,
        cx: &mut Cx,
    ) -> bool {
        let len = data.len() as u64;
        self.counters.down.add(cx.now, len);
        cx.down.add(cx.now, len);
        if arrival == Arrival::Unasked {
            self.counters.unasked_blocks += 1;
            self.counters.wasted += len;
            return false;
        }
        let fresh = self.picker.is_wanted(block.piece) && !self.paroles.contains(block.piece);
        if arrival == Arrival::Late && fresh && cx.memory.has_room(cx.conf.run_len as usize) {
            // The piece was given up along with its last order; here it is all the same.
            self.begin(block.piece, None, cx);
        }
        let Some(progress) = self.active.get_mut(&block.piece) else {
            self.counters.duplicate_blocks += u64::from(self.have.has(block.piece));
            self.counters.wasted += len;
            return false;
        };
        if arrival == Arrival::Late && progress.parole && progress.owner != Some(link) {
            // It would be one more to blame.
            self.counters.wasted += len;
            return false;
        }
        let before = progress.free();
        let receipt = progress.receive(block, data, from, arrival == Arrival::Asked, &mut cx.memory, &mut cx.bufs);
        self.free -= (before - progress.free()) as usize;
        match receipt {
            Some(Receipt::New { others, run_whole }) => {
                self.counters.late_blocks += u64::from(arrival == Arrival::Late);
                if planted!("endgame_never_cancels", false, others > 0) {
                    self.notes.push_back(Note::Cancel(block, link));
                }
                if run_whole {
                    self.submit(block.piece, cx);
                }
                true
            }
            Some(Receipt::Duplicate) => {
                self.counters.duplicate_blocks += 1;
                self.counters.wasted += len;
                false
            }
            None => {
                self.counters.wasted += len;
                false
            }
        }
    }

    /// A worker answered. An error is the torrent's to deal with; the data is kept.
    pub(crate) fn handle_run(&mut self, mut done: RunDone, cx: &mut Cx) -> Result<(), StoreError> {
        let (piece, digests) = (done.piece, done.digests.take());
        self.refill = true;
        let Some(progress) = self.active.get_mut(&piece) else { return Ok(()) };
        let single = done.begin == 0;
        let verdict = progress.handle_run(done, &mut cx.memory, &mut cx.bufs);
        if !matches!(verdict, Ok(Some(_))) {
            self.forgo(piece, cx);
        }
        match verdict? {
            None => self.submit(piece, cx),
            Some(true) => self.good(piece, digests.filter(|_| single), cx),
            Some(false) => self.bad(piece, digests.filter(|_| single), cx),
        }
        Ok(())
    }

    /// Block digests came.
    pub(crate) fn handle_digests(&mut self, piece: PieceIndex, result: Result<Vec<Digest>, StoreError>, cx: &mut Cx) {
        match (self.digesting.remove(&piece), result) {
            (Some(Digesting::Good), Ok(digests)) => self.convict(piece, &digests),
            (Some(Digesting::Bad(senders)), result) => {
                match result {
                    Ok(digests) => self.blames.remember(piece, senders, digests, cx.conf.max_blames),
                    Err(error) => log::warn!("nobody can be blamed for piece {}: {error}", piece.get()),
                }
                self.picker.put_back(piece);
                self.refill = true;
            }
            _ => {}
        }
    }

    /// Tries again what a failed disk left undone.
    pub(crate) fn retry(&mut self, cx: &mut Cx) {
        for piece in self.active.keys().copied().collect::<Vec<_>>() {
            self.submit(piece, cx);
        }
    }

    /// Forgets everything in progress. No worker may have a part of it.
    pub(crate) fn abandon(&mut self, cx: &mut Cx) {
        for (_, progress) in std::mem::take(&mut self.active) {
            progress.dissolve(&mut cx.memory, &mut cx.bufs);
        }
        self.free = 0;
        self.digesting.clear();
    }

    fn submit(&mut self, piece: PieceIndex, cx: &mut Cx) {
        if self.quiet || self.no_writes {
            return;
        }
        let Some(expected) = self.expected(piece) else { return };
        let digests = self.blames.is_waiting(piece);
        let hurry = self.picker.len() == 0 && !self.active.values().any(Progress::is_awaited);
        let runs: Vec<Run> = self.active.get_mut(&piece).map(|p| p.poll_jobs(expected, digests, hurry)).unwrap_or_default();
        for run in runs {
            self.runs_out += 1;
            self.jobs_out += 1;
            cx.job(Job::Run { torrent: self.torrent, run });
        }
    }

    fn good(&mut self, piece: PieceIndex, digests: Option<Vec<Digest>>, cx: &mut Cx) {
        self.drop_piece(piece, cx);
        self.add_checked(piece);
        self.notes.push_back(Note::Have(piece));
        self.note_at_hand(piece, cx);
        if self.blames.is_waiting(piece) {
            match digests {
                Some(digests) => self.convict(piece, &digests),
                None => self.digest(piece, Digesting::Good, cx),
            }
        }
    }

    fn bad(&mut self, piece: PieceIndex, digests: Option<Vec<Digest>>, cx: &mut Cx) {
        let Some(progress) = self.drop_piece(piece, cx) else { return };
        let (contributors, senders) = progress;
        self.counters.failed_pieces += 1;
        self.counters.wasted += u64::from(self.geometry.piece_len(piece));
        self.paroles.fail(piece, &contributors, cx.now);
        self.notes.push_back(Note::Failed(piece, contributors.len()));
        if let [guilty] = contributors.as_slice() {
            self.notes.push_back(Note::Ban(*guilty));
            self.picker.put_back(piece);
        } else if let Some(digests) = digests {
            self.blames.remember(piece, senders, digests, cx.conf.max_blames);
            self.picker.put_back(piece);
        } else {
            // Its blocks are on disk; they must be looked at before they are overwritten.
            self.digest(piece, Digesting::Bad(senders), cx);
        }
    }

    fn digest(&mut self, piece: PieceIndex, what: Digesting, cx: &mut Cx) {
        self.digesting.insert(piece, what);
        self.jobs_out += 1;
        cx.job(Job::Digests { torrent: self.torrent, piece });
    }

    fn convict(&mut self, piece: PieceIndex, good: &[Digest]) {
        for guilty in self.blames.settle(piece, good) {
            self.notes.push_back(Note::Ban(guilty));
        }
    }

    fn drop_piece(&mut self, piece: PieceIndex, cx: &mut Cx) -> Option<(Vec<Contributor>, Vec<Option<Contributor>>)> {
        let progress = self.active.remove(&piece)?;
        self.free -= progress.free() as usize;
        let who = (progress.contributors().to_vec(), progress.block_senders());
        progress.dissolve(&mut cx.memory, &mut cx.bufs);
        Some(who)
    }
}
