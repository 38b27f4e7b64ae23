//! What a session asks for next, and what becomes of orders that are called off. Blocks of its own
//! pieces first, then of pieces that were left, of new ones, of those of others, and near the end
//! what others were asked for already. It sees who asks as an [`Asker`], and never a session or a
//! message.

use std::time::Duration;

use super::{Note, Swarm};
use crate::{
    base::{
        bitfield::Bitfield,
        files::Priority,
        geometry::{Block, PieceIndex},
        time::Instant,
    },
    proto::pipeline::Pipeline,
    torrent::{
        cx::Cx,
        picker::Picker,
        progress::{OrderKey, Progress, Supplier},
    },
};

/// Near the end a peer is given a few doubled orders at a time, so that it is not tied to what
/// others deliver first.
const ENDGAME_DEPTH: usize = 8;

/// Where memory is short, copies are for what is late by so much. With hundreds of quick peers the
/// memory is always on order and all of it comes back within that: copies of what is a little late
/// made two fifths of what 512 seeds sent.
const SHORTAGE_PATIENCE: Duration = Duration::from_millis(250);

/// A peer with so many on order can wait for memory.
const PATIENT_DEPTH: usize = 4;

/// A session that wants something to ask for.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) link: OrderKey,
    pub(crate) who: Supplier,
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
    /// Everything that is wanted and that any peer has is on order.
    pub(crate) fn is_endgame(&self) -> bool {
        // What no connected peer has cannot be asked for, and is no reason to wait.
        let waits = |(&piece, progress): (&PieceIndex, &Progress)| {
            progress.free() > 0 && self.picker.availability(piece) > 0
        };
        self.picker.is_exhausted()
            && !self.active.is_empty()
            && (self.active.free() == 0 || !self.active.iter().any(waits))
    }

    /// Orders the best block for this session, if there is any.
    pub(crate) fn next_block(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        if !self.work.may_order() {
            return None;
        }
        let is_dry = self.is_dry(cx);
        let mut block = None;
        if !is_dry {
            block = self.ask_own(asker, cx);
            block = block.or_else(|| self.ask_orphan(asker, cx));
            block = block.or_else(|| self.ask_new(asker, cx));
        } else if self.active.free() > 0 || self.picker.len() > 0 {
            cx.leases.note_shortage();
        }
        if block.is_none() && cx.leases.is_short() && asker.pipeline.len() >= PATIENT_DEPTH {
            // Memory comes back as soon as something is written. Mixing in with the pieces of
            // others meanwhile would leave gaps.
            return None;
        }
        if block.is_none() && !is_dry {
            block = self.ask_others(asker, cx);
        }
        block.or_else(|| self.doubled(asker, cx))
    }

    /// There is no memory for another run, and no free block in one that has memory: whichever
    /// session looks for one, it looks in vain. With hundreds of peers that is the rule.
    pub(crate) fn is_dry(&mut self, cx: &mut Cx) -> bool {
        self.leave_to_others(cx);
        self.paroles.is_empty()
            && !cx
                .leases
                .pieces()
                .has_room(self.geometry.shortest_run(cx.conf.requests.run_len) as usize)
            && !self.active.may_have_idle(cx.now)
            && !self.active.has_ready()
    }

    /// The same of sessions that would not be asking for copies either: all wait for memory.
    pub(crate) fn is_in_want(&mut self, cx: &mut Cx) -> bool {
        cx.leases.is_short() && self.is_dry(cx) && !self.is_endgame()
    }

    /// What this torrent asks for leaves memory to others that have none.
    pub(super) fn leave_to_others(&mut self, cx: &mut Cx) {
        let run = cx.conf.requests.run_len as usize;
        cx.leases.pieces_mut().leave_to_others(run, || self.active.holds_memory());
    }

    /// A piece that it has begun.
    fn ask_own(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        let mut at = 0;
        while let Some(&piece) = asker.own.get(at) {
            // On parole it is its owner's alone.
            let foreign =
                |p: &Progress| p.parole && p.owner.is_some_and(|owner| owner != asker.link);
            if self.active.get(piece).is_none_or(|p| p.free() == 0 || foreign(p))
                || self.is_skipped(piece)
            {
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

    /// A piece that a peer began and left.
    fn ask_orphan(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        if self.active.free() == 0 {
            return None;
        }
        if !self.paroles.is_empty() {
            self.take_over(asker.link, asker.who, |piece| asker.may_ask(piece), cx);
        }
        self.find(asker, cx, |progress, link| match progress.owner {
            Some(owner) => progress.parole && owner == link,
            None => !progress.parole,
        })
    }

    /// Looks for a piece on parole that was left, and makes it this one's alone, unless it has one
    /// that it can go on with. Such pieces are begun anew if others had a part in them.
    pub(super) fn take_over(
        &mut self,
        link: OrderKey,
        who: Supplier,
        may_ask: impl Fn(PieceIndex) -> bool,
        cx: &mut Cx,
    ) {
        let Self { active, paroles, picker, .. } = self;
        let mut spoilt = Vec::new();
        for (&piece, progress) in active.iter_mut() {
            let on_trial = progress.parole && progress.free() > 0;
            if on_trial && progress.owner == Some(link) && may_ask(piece) {
                break;
            }
            if !(on_trial && progress.owner.is_none() && may_ask(piece))
                || picker.level(piece) == Priority::Skip
                || !(paroles.may_try(piece, who, cx.now) || picker.availability(piece) <= 1)
            {
                continue;
            }
            let alone =
                progress.contributors().iter().all(|other| *other == who) && !progress.is_ordered();
            if alone || paroles.may_share(piece, who) {
                progress.owner = Some(link);
                paroles.begin_tenure(piece, link, who, cx.now);
                break;
            } else if !progress.is_ordered() && !progress.is_out() {
                spoilt.push(piece);
            }
        }
        for piece in spoilt {
            self.counters.waste(self.active.get(piece).map_or(0, Progress::received_len));
            self.active.remove(piece, cx.leases.pieces_mut());
            self.picker.put_back(piece);
        }
    }

    /// A new piece: one that the peer has at hand, or the picker's choice. In sequential mode it is
    /// the picker's choice or none.
    fn ask_new(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        if self.picker.len() == 0 {
            return None;
        }
        // A peer that had a part in a failure waits for others to try it, if there are any.
        let may_try = |picker: &Picker, p| {
            self.paroles.may_try(p, asker.who, cx.now) || picker.availability(p) <= 1
        };
        let in_order = self.picker.is_sequential();
        let hint = |&p: &PieceIndex| {
            self.picker.is_wanted_most(p) && asker.may_ask(p) && may_try(&self.picker, p)
        };
        let hint = if in_order { None } else { asker.suggested.iter().rposition(hint) };
        let piece = match (hint, asker.only) {
            (Some(at), _) => asker.suggested.swap_remove(at),
            // In order means in order: what a choked peer allows waits until it is next.
            (None, Some(only)) if in_order => {
                self.picker.pick(asker.has, may_try).filter(|p| only.contains(p))?
            }
            (None, Some(only)) => *only.iter().find(|&&p| {
                self.picker.is_wanted(p) && asker.has.has(p) && may_try(&self.picker, p)
            })?,
            (None, None) => self.picker.pick(asker.has, may_try)?,
        };
        let first_run = self.geometry.piece_len(piece).min(cx.conf.requests.run_len) as usize;
        if !cx.leases.pieces().has_room(first_run) && !self.evict(first_run, cx) {
            cx.leases.note_shortage();
            return None;
        }
        self.begin(piece, Some((asker.link, asker.who)), cx);
        asker.own.push(piece);
        self.ask_free(piece, asker, cx)
    }

    /// Gives up what is in memory of pieces that no connected peer goes on with, since others need
    /// the memory. What is on disk of them is kept.
    pub(crate) fn evict(&mut self, room: usize, cx: &mut Cx) -> bool {
        let now = cx.now;
        let is_enough = self.shed(room, cx, |progress| progress.is_idle(now));
        if !is_enough {
            self.active.note_none_idle(now);
        }
        is_enough
    }

    /// The same of all pieces that nothing is on order of, and that no worker has: none can be
    /// written. Whether there were any.
    pub(crate) fn give_up(&mut self, cx: &mut Cx) -> bool {
        let before = cx.leases.pieces().used();
        self.shed(usize::MAX, cx, |progress| !progress.is_ordered() && !progress.is_out());
        cx.leases.pieces().used() < before
    }

    fn shed(&mut self, room: usize, cx: &mut Cx, may_go: impl Fn(&Progress) -> bool) -> bool {
        let held = self.active.iter().filter(|(_, p)| may_go(p) && p.holds_memory());
        let held: Vec<PieceIndex> = held.map(|(&piece, _)| piece).collect();
        for piece in held {
            let shed = |progress: &mut Progress| {
                (progress.shed(cx.leases.pieces_mut()), progress.is_untouched())
            };
            let Some((wasted, untouched)) = self.active.change(piece, shed) else { continue };
            self.counters.waste(wasted);
            if untouched {
                self.active.remove(piece, cx.leases.pieces_mut());
                self.picker.put_back(piece);
            }
            if cx.leases.pieces().has_room(room) {
                return true;
            }
        }
        false
    }

    pub(super) fn begin(
        &mut self,
        piece: PieceIndex,
        owner: Option<(OrderKey, Supplier)>,
        cx: &Cx,
    ) {
        let mut progress = self.active.make(piece, self.geometry.clone(), cx.conf.requests.run_len);
        progress.owner = owner.map(|(key, _)| key);
        progress.parole = self.paroles.contains(piece);
        if let Some((key, who)) = owner.filter(|_| progress.parole) {
            self.paroles.begin_tenure(piece, key, who, cx.now);
        }
        self.active.insert(piece, progress);
        self.picker.take(piece);
    }

    /// A piece that another peer works on.
    fn ask_others(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        self.find(asker, cx, |progress, link| !progress.parole || progress.owner == Some(link))
    }

    /// A block that others were asked for already: near the end, or when all memory waits for
    /// slower peers.
    fn doubled(&mut self, asker: &mut Asker<'_>, cx: &mut Cx) -> Option<Block> {
        let quick = asker.pipeline.is_quick();
        // While memory is short a newcomer has no other way to show what it can do than with a
        // copy.
        let short = cx.leases.is_short()
            && (quick || (asker.pipeline.is_new() && asker.pipeline.is_empty()));
        let endgame = self.is_endgame();
        if !(endgame || short) || asker.pipeline.len() >= ENDGAME_DEPTH {
            return None;
        }
        // Under a limit of our own it is not the others who are slow, and a copy would cost what it
        // is to save.
        if self.is_held_back(cx) {
            return None;
        }
        // The last copies are for those who are known to deliver, however many others came before
        // them.
        let limit = if quick {
            cx.conf.requests.endgame_copies
        } else {
            cx.conf.requests.endgame_copies.min(2)
        };
        // From a random place on, or all idle peers would double the same blocks.
        let skip = cx.rng.below(self.active.len() as u64) as usize;
        let Self { active, picker, .. } = self;
        let expected = asker.pipeline.expected();
        let patience = if endgame { Duration::ZERO } else { SHORTAGE_PATIENCE };
        [(skip, active.len()), (0, skip)].into_iter().find_map(|(from, to)| {
            active
                .iter_mut()
                .take(to)
                .skip(from)
                .filter(|(piece, _)| picker.level(**piece) != Priority::Skip)
                .filter(|(piece, progress)| {
                    let foreign = progress.parole && progress.owner != Some(asker.link);
                    asker.may_ask(**piece) && !foreign
                })
                .filter(|(_, progress)| progress.needs_help(cx.now, expected, patience))
                .find_map(|(_, progress)| {
                    progress.ask_again(limit, |block| !asker.pipeline.is_asked(block))
                })
        })
    }

    fn find(
        &mut self,
        asker: &mut Asker<'_>,
        cx: &mut Cx,
        fits: impl Fn(&Progress, OrderKey) -> bool,
    ) -> Option<Block> {
        if self.active.free() == 0 {
            return None;
        }
        let Self { active, picker, .. } = self;
        let (mut short, due) = (false, asker.due(cx));
        let found = active.find(|piece, progress| {
            let skipped = picker.level(piece) == Priority::Skip;
            let may = progress.free() > 0 && !skipped && asker.may_ask(piece);
            if !may || !fits(progress, asker.link) {
                return None;
            }
            let block = progress.ask_free(due, cx.leases.pieces_mut());
            match block {
                Some(_) => _ = progress.owner.get_or_insert(asker.link),
                None => short = true,
            }
            block
        });
        if short {
            cx.leases.note_shortage();
        }
        let (piece, block) = found?;
        if !asker.own.contains(&piece) {
            asker.own.push(piece);
        }
        Some(block)
    }

    fn ask_free(&mut self, piece: PieceIndex, asker: &Asker<'_>, cx: &mut Cx) -> Option<Block> {
        let due = asker.due(cx);
        let block = self.active.change(piece, |p| p.ask_free(due, cx.leases.pieces_mut()))?;
        if block.is_none() {
            cx.leases.note_shortage();
        }
        block
    }

    /// An order is off: the peer left, choked, or was too slow.
    pub(crate) fn release(&mut self, block: Block, cx: &mut Cx) {
        let release = |progress: &mut Progress| {
            progress.release(block, cx.leases.pieces_mut());
            progress.is_untouched()
        };
        let Some(untouched) = self.active.change(block.piece, release) else { return };
        self.refills.want();
        if untouched {
            self.active.remove(block.piece, cx.leases.pieces_mut());
            self.picker.put_back(block.piece);
        }
    }

    /// Pieces on parole may be tried again by those whose time is over. A peer that has had one
    /// alone for too long leaves it to others that have it, or a slow one could hold it for ever.
    pub(crate) fn look_at_paroles(&mut self, now: Instant) {
        for (piece, owner, who) in self.paroles.poll_tenures(now) {
            let Some(progress) = self.active.get_mut(piece) else { continue };
            if progress.owner != Some(owner) || !progress.is_awaited() {
                continue;
            }
            if self.picker.availability(piece) <= 1 {
                self.paroles.begin_tenure(piece, owner, who, now);
                continue;
            }
            progress.owner = None;
            self.paroles.give_up(piece, who, now);
            self.notes.leave(Note::Recall(owner, piece));
        }
        self.paroles.look_again(now);
        self.refills.want();
    }

    /// When that is so next.
    pub(crate) fn next_parole(&self) -> Option<Instant> {
        self.paroles.next_due()
    }

    /// Whether a piece in progress is to be finished with this session.
    pub(crate) fn is_owner(&self, piece: PieceIndex, link: OrderKey) -> bool {
        self.active.get(piece).is_some_and(|progress| progress.owner == Some(link))
    }

    /// This session works on nothing any more.
    pub(crate) fn disown(
        &mut self,
        link: OrderKey,
        who: Supplier,
        own: &mut Vec<PieceIndex>,
        now: Instant,
    ) {
        own.clear();
        // Not only those that it would go on with: one that was wholly on order has left that list.
        for (&piece, progress) in self.active.iter_mut().filter(|(_, p)| p.owner == Some(link)) {
            progress.owner = None;
            if progress.parole && progress.is_awaited() {
                self.paroles.give_up(piece, who, now);
            }
        }
    }
}
