//! What a web seed is asked for next: blocks that lie next to each other, of as few pieces as may
//! be. It goes on with what was begun, then takes whole pieces where most that are missing lie
//! together, so that peers are left the rare ones (BEP 19), and near the end copies what others are
//! too slow with. It knows neither files nor URLs.

use std::{cmp::Reverse, time::Duration};

use super::Swarm;
use crate::{
    base::{
        bitfield::Bitfield,
        files::Priority,
        geometry::{BLOCK_LEN, Block, PieceIndex},
        time::Instant,
    },
    torrent::{
        cx::Cx,
        progress::{OrderKey, Progress, Supplier},
    },
};

/// Blocks that are copied at a time near the end: no more than a few peers may have on order.
const COPIES: usize = 32;

/// A connection with a web seed that wants something to ask for.
#[derive(Debug)]
pub(crate) struct RowAsker<'a> {
    pub(crate) key: OrderKey,
    pub(crate) who: Supplier,
    pub(crate) has: &'a Bitfield,
    /// The piece behind the one that it was asked for last: its server has that at hand.
    pub(crate) next: Option<PieceIndex>,
    /// Blocks at most.
    pub(crate) most: usize,
    /// How long a few blocks will take.
    pub(crate) expected: Duration,
    /// When all that is asked for now should be here.
    pub(crate) due: Instant,
}

impl RowAsker<'_> {
    fn may_ask(&self, piece: PieceIndex) -> bool {
        self.has.has(piece)
    }
}

impl Swarm {
    /// Orders the best blocks for a web seed, ascending and without a gap; none if there are none,
    /// or no memory for them. `is_ordered`: whether a block is on order with any web seed.
    pub(crate) fn next_row(
        &mut self,
        asker: &RowAsker<'_>,
        is_ordered: impl Fn(Block) -> bool,
        cx: &mut Cx,
    ) -> Vec<Block> {
        if !self.work.may_order() {
            return Vec::new();
        }
        self.leave_to_others(cx);
        let key = asker.key;
        let mut row = self.ask_begun_row(asker, cx, |p| match p.owner {
            Some(owner) => owner == key,
            None => !p.parole,
        });
        if row.is_empty() {
            row = self.ask_new_row(asker, cx);
        }
        if row.is_empty() && !cx.leases.is_short() {
            row = self.ask_begun_row(asker, cx, |p| !p.parole || p.owner == Some(key));
            if row.is_empty() {
                row = self.copy_row(asker, is_ordered, cx);
            }
        }
        row
    }

    /// This connection asks for nothing of what it has begun any more.
    pub(crate) fn disown_row(&mut self, key: OrderKey, who: Supplier, now: Instant) {
        self.disown(key, who, &mut Vec::new(), now);
    }

    /// There was no row for this connection: pieces that it has taken over all the same, and has no
    /// memory to go on with, are for others. It may be dropped, and would own them for ever.
    pub(crate) fn leave_rows(&mut self, key: OrderKey) {
        for (_, progress) in self.active.iter_mut().filter(|(_, p)| p.owner == Some(key)) {
            progress.owner = None;
        }
    }

    /// Free blocks of a piece that was begun and that `fits`.
    fn ask_begun_row(
        &mut self,
        asker: &RowAsker<'_>,
        cx: &mut Cx,
        fits: impl Fn(&Progress) -> bool,
    ) -> Vec<Block> {
        if self.active.free() == 0 {
            return Vec::new();
        }
        if !self.paroles.is_empty() {
            self.take_over(asker.key, asker.who, |piece| asker.may_ask(piece), cx);
        }
        let fits = |&(&piece, progress): &(&PieceIndex, &Progress)| {
            let wanted = progress.free() > 0 && self.picker.level(piece) != Priority::Skip;
            wanted && asker.may_ask(piece) && fits(progress)
        };
        let pieces: Vec<PieceIndex> =
            self.active.iter().filter(fits).map(|(&piece, _)| piece).collect();
        for piece in pieces {
            let row = self.ask_row_from(piece, asker, cx);
            if !row.is_empty() {
                return row;
            }
        }
        Vec::new()
    }

    /// Pieces of which nothing was asked for.
    fn ask_new_row(&mut self, asker: &RowAsker<'_>, cx: &mut Cx) -> Vec<Block> {
        match self.first_of_row(asker, cx.now) {
            Some(first) => self.ask_row_from(first, asker, cx),
            None => Vec::new(),
        }
    }

    fn may_begin(&self, piece: PieceIndex, asker: &RowAsker<'_>, now: Instant) -> bool {
        self.picker.is_wanted(piece)
            && asker.may_ask(piece)
            && (self.paroles.may_try(piece, asker.who, now) || self.picker.availability(piece) <= 1)
    }

    /// Where to begin: behind the last request, or where the longest stretch of pieces of the
    /// highest priority is that no peer works on. In sequential mode at the first.
    fn first_of_row(&mut self, asker: &RowAsker<'_>, now: Instant) -> Option<PieceIndex> {
        if self.picker.len() == 0 {
            return None;
        }
        if self.picker.is_sequential() {
            let Self { picker, paroles, .. } = self;
            return picker.pick(asker.has, |picker, piece| {
                paroles.may_try(piece, asker.who, now) || picker.availability(piece) <= 1
            });
        }
        let goes_on =
            |&p: &PieceIndex| self.picker.is_wanted_most(p) && self.may_begin(p, asker, now);
        asker.next.filter(goes_on).or_else(|| self.longest_gap(asker, now))
    }

    fn longest_gap(&self, asker: &RowAsker<'_>, now: Instant) -> Option<PieceIndex> {
        let mut best: Option<(Priority, u32, Reverse<PieceIndex>)> = None;
        let mut gap: Option<(Priority, u32, Reverse<PieceIndex>)> = None;
        for piece in self.geometry.pieces() {
            if !self.may_begin(piece, asker, now) {
                gap = None;
                continue;
            }
            let level = self.picker.level(piece);
            let grown = match gap {
                Some((same, len, first)) if same == level => (level, len + 1, first),
                _ => (level, 1, Reverse(piece)),
            };
            gap = Some(grown);
            best = best.max(gap);
        }
        best.map(|(_, _, Reverse(first))| first)
    }

    /// Orders blocks from `first` on, into the pieces behind it as long as those are wanted as
    /// much, not begun, and fit in as a whole.
    fn ask_row_from(&mut self, first: PieceIndex, asker: &RowAsker<'_>, cx: &mut Cx) -> Vec<Block> {
        let level = self.picker.level(first);
        let (mut row, mut piece): (Vec<Block>, PieceIndex) = (Vec::new(), first);
        loop {
            let whole = self.geometry.block_count(piece) as usize;
            let left = asker.most.saturating_sub(row.len());
            if left == 0 || (!row.is_empty() && left < whole) {
                break;
            }
            if !self.active.contains(piece) && !self.begin_row(piece, asker, cx) {
                break;
            }
            let ask = |p: &mut Progress| {
                let range = p.ask_row(left, asker.due, cx.leases.pieces_mut())?;
                p.owner.get_or_insert(asker.key);
                Some(range)
            };
            let Some(range) = self.active.change(piece, ask).flatten() else {
                cx.leases.note_shortage();
                break;
            };
            let ends = range.end as usize == whole;
            row.extend(range.filter_map(|nth| self.geometry.nth_block(piece, nth)));
            let Ok(behind) = self.geometry.piece(piece.get() + 1) else { break };
            // A piece that was begun may have blocks already.
            if !ends || self.picker.level(behind) != level || !self.may_begin(behind, asker, cx.now)
            {
                break;
            }
            piece = behind;
        }
        row
    }

    /// Begins a piece, if there is memory for its first run.
    fn begin_row(&mut self, piece: PieceIndex, asker: &RowAsker<'_>, cx: &mut Cx) -> bool {
        let first_run = self.geometry.piece_len(piece).min(cx.conf.requests.run_len) as usize;
        if !cx.leases.pieces().has_room(first_run) && !self.evict(first_run, cx) {
            cx.leases.note_shortage();
            return false;
        }
        self.begin(piece, Some((asker.key, asker.who)), cx);
        true
    }

    /// Blocks that others were asked for and will take long to deliver, near the end.
    fn copy_row(
        &mut self,
        asker: &RowAsker<'_>,
        is_ordered: impl Fn(Block) -> bool,
        cx: &Cx,
    ) -> Vec<Block> {
        if !self.is_endgame() || self.is_held_back(cx) {
            return Vec::new();
        }
        let (limit, most) = (cx.conf.requests.endgame_copies, asker.most.min(COPIES));
        let Self { active, picker, geometry, .. } = self;
        for (&piece, progress) in active.iter_mut() {
            let foreign = progress.parole && progress.owner != Some(asker.key);
            if foreign
                || !asker.may_ask(piece)
                || picker.level(piece) == Priority::Skip
                || !progress.needs_help(cx.now, asker.expected, Duration::ZERO)
            {
                continue;
            }
            if let Some(range) = progress.ask_row_again(most, limit, |block| !is_ordered(block)) {
                return range.filter_map(|nth| geometry.nth_block(piece, nth)).collect();
            }
        }
        Vec::new()
    }
}

/// Blocks in so many bytes, at least one.
pub(crate) fn blocks_in(bytes: u64) -> usize {
    usize::try_from(bytes / u64::from(BLOCK_LEN)).unwrap_or(usize::MAX).max(1)
}
