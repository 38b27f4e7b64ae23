//! Bytes of a torrent that its user reads. Those of verified pieces are read as for a peer; those
//! of a piece that is not whole (BEP 52) once the leaves of its blocks are known, which peers are
//! asked for. Each read is answered once, by an alert, whatever becomes of the torrent.
//!
//! A read waits for nothing but a storage that is being opened or moved, leaves, and blocks that
//! are being written, and for these no longer than the settings say. It is looked at again at the
//! end of every input. Here nothing is read or hashed: that is a worker's, who hands out no byte
//! that it has not read or hashed itself.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
};

use crate::{
    alert::{Alert, ReadBytes, ReadFailure},
    base::{
        geometry::{BLOCK_LEN, Block, Geometry, PieceIndex},
        ids::ReadId,
        job::{
            Job,
            extract::{Extract, ExtractError, ExtractProof},
        },
        merkle::Node,
        time::Instant,
    },
    torrent::{Torrent, cx::Cx, progress::BlockPlace},
    wire::hash_range::HashRange,
};

/// What is read of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadRequest {
    /// The file, by number.
    pub(crate) file: usize,
    /// The first byte within it.
    pub(crate) offset: u64,
    /// The same bytes within the torrent; at least one, and all of them in pieces.
    pub(crate) range: Range<u64>,
}

/// A read that was begun.
#[derive(Debug)]
struct Read {
    request: ReadRequest,
    /// When it has waited long enough; `None` once a worker has it.
    until: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reads {
    reads: BTreeMap<ReadId, Read>,
    /// Leaves that reads wait for, and that no other asks for.
    asked: BTreeMap<PieceIndex, HashRange>,
    leaves: KeptLeaves,
}

impl Reads {
    /// When the first of those that wait has waited long enough.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.reads.values().filter_map(|read| read.until).min()
    }

    /// Reads that are not answered.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.reads.len()
    }

    /// Leaves came that are proven: those of this range of a tree.
    pub(super) fn handle_leaves(&mut self, range: &HashRange, nodes: &[Node], most: usize) {
        // Equal files have equal trees.
        while let Some((&piece, _)) = self.asked.iter().find(|(_, asked)| *asked == range) {
            self.asked.remove(&piece);
            self.leaves.keep(piece, nodes, most);
        }
    }

    /// This piece is whole: its leaves are not needed any more.
    pub(super) fn forget(&mut self, piece: PieceIndex) {
        self.leaves.forget(piece);
    }
}

/// Leaves of pieces that are not whole, the oldest first.
#[derive(Debug, Default)]
struct KeptLeaves(VecDeque<(PieceIndex, Vec<Node>)>);

impl KeptLeaves {
    /// Those of a piece, in place of the oldest if there are more than `most` bytes of them. A
    /// read over the border of two pieces needs those of both.
    fn keep(&mut self, piece: PieceIndex, nodes: &[Node], most: usize) {
        self.forget(piece);
        self.0.push_back((piece, nodes.to_vec()));
        let mut all: usize = self.0.iter().map(|(_, nodes)| size_of_val(nodes.as_slice())).sum();
        while all > most && self.0.len() > 2 {
            let oldest = self.0.pop_front();
            all -= oldest.map_or(0, |(_, nodes)| size_of_val(nodes.as_slice()));
        }
    }

    fn of(&self, piece: PieceIndex) -> Option<&[Node]> {
        self.0.iter().find(|(own, _)| *own == piece).map(|(_, nodes)| nodes.as_slice())
    }

    fn forget(&mut self, piece: PieceIndex) {
        self.0.retain(|(own, _)| *own != piece);
    }
}

/// What comes next for a read.
enum Step {
    Fail(ReadFailure),
    /// It waits; and if that takes too long, it fails so.
    Wait(ReadFailure),
    /// The same, for the leaves of these pieces.
    Ask(Vec<PieceIndex>),
    Begin(Vec<Extract>),
}

impl Torrent {
    /// Its user reads some of it.
    pub(crate) fn read(&mut self, id: ReadId, request: ReadRequest, cx: &mut Cx) {
        let until = Some(cx.now + cx.conf.reads.max_wait);
        self.storage.reads.reads.insert(id, Read { request, until });
        // One that sleeps is opened for it, in its turn.
        self.line_up();
        self.settle(cx);
    }

    /// Whether bytes of it can be read, now or soon.
    pub(crate) fn is_readable(&self) -> bool {
        let lifecycle = &self.lifecycle;
        let has_failed = lifecycle.is_unopened() && lifecycle.is_failing();
        lifecycle.end().is_none()
            && !lifecycle.is_over()
            && !lifecycle.has_lost_data()
            && !lifecycle.awaits_metadata()
            && !has_failed
    }

    /// Goes on with what its user reads; called at the end of every input.
    pub(super) fn tend_reads(&mut self, cx: &mut Cx) {
        if self.storage.reads.reads.is_empty() {
            return;
        }
        let mut awaited = BTreeSet::new();
        let waiting = self.storage.reads.reads.iter().filter(|(_, read)| read.until.is_some());
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(read) = self.storage.reads.reads.get(&id) else { continue };
            let is_late = read.until.is_some_and(|until| until <= cx.now);
            match self.next_step(&read.request.range) {
                Step::Begin(parts) => self.begin_to_read(id, parts, cx),
                Step::Fail(failure) => self.answer_read(id, Err(failure), cx),
                Step::Wait(failure) if is_late => self.answer_read(id, Err(failure), cx),
                Step::Wait(_) => {}
                Step::Ask(pieces) => {
                    let refused =
                        pieces.iter().copied().find(|_| is_late || !self.may_ask_leaves());
                    match refused {
                        Some(piece) => {
                            self.answer_read(id, Err(ReadFailure::NotVerified(piece)), cx);
                        }
                        None => awaited.extend(pieces),
                    }
                }
            }
        }
        self.ask_for_leaves(&awaited, cx);
    }

    fn next_step(&self, range: &Range<u64>) -> Step {
        if self.lifecycle.end().is_some() || self.lifecycle.is_over() {
            return Step::Fail(ReadFailure::Closed);
        }
        if !self.is_readable() {
            return Step::Fail(ReadFailure::NotOpen);
        }
        if !self.lifecycle.is_savable() || self.lifecycle.is_pending() || self.swarm.is_quiet() {
            return Step::Wait(ReadFailure::NotOpen);
        }
        let (mut lacking, mut busy) = (Vec::new(), None);
        for part in parts(self.swarm.geometry(), range.clone()) {
            let piece = part.piece;
            if self.swarm.have().has(piece) {
                continue;
            }
            for (block, _) in self.blocks(part) {
                match self.swarm.place_of(block) {
                    BlockPlace::Nowhere => return Step::Fail(ReadFailure::NotThere(piece)),
                    BlockPlace::Worker => busy = Some(piece),
                    BlockPlace::Memory(_) | BlockPlace::Disk => {}
                }
            }
            if self.leaf(piece, 0).is_none() {
                if self.swarm.range_of_leaves(piece).is_none() {
                    return Step::Fail(ReadFailure::NotVerified(piece));
                }
                lacking.push(piece);
            }
        }
        match busy {
            _ if !lacking.is_empty() => Step::Ask(lacking),
            Some(piece) => Step::Wait(ReadFailure::NotVerified(piece)),
            None => self.extracts(range).map_or(Step::Wait(ReadFailure::NotOpen), Step::Begin),
        }
    }

    /// What a worker is to put together.
    fn extracts(&self, range: &Range<u64>) -> Option<Vec<Extract>> {
        let mut extracts = Vec::new();
        for part in parts(self.swarm.geometry(), range.clone()) {
            if self.swarm.have().has(part.piece) {
                extracts.push(Extract { range: part, proof: ExtractProof::Piece });
                continue;
            }
            for (whole, range) in self.blocks(part) {
                let leaf = *self.leaf(part.piece, whole.nth())?;
                let block = match self.swarm.place_of(whole) {
                    BlockPlace::Memory(bytes) => Some(bytes.to_vec()),
                    BlockPlace::Disk => None,
                    BlockPlace::Nowhere | BlockPlace::Worker => return None,
                };
                extracts.push(Extract { range, proof: ExtractProof::Leaf { leaf, block } });
            }
        }
        Some(extracts)
    }

    /// The blocks of our own grid that a stretch of a piece is in, and what of it is in each.
    fn blocks(&self, part: Block) -> impl Iterator<Item = (Block, Block)> + use<'_> {
        let end = part.begin.saturating_add(part.len);
        let blocks = part.begin / BLOCK_LEN..end.div_ceil(BLOCK_LEN);
        blocks.filter_map(move |nth| {
            let whole = self.swarm.geometry().nth_block(part.piece, nth)?;
            let begin = whole.begin.max(part.begin);
            let len = (whole.begin + whole.len).min(end).checked_sub(begin)?;
            Some((whole, Block { begin, len, ..whole }))
        })
    }

    /// The leaf of a block, if it is known.
    fn leaf(&self, piece: PieceIndex, nth: u32) -> Option<&Node> {
        let kept = self.storage.reads.leaves.of(piece);
        if kept.is_none() && self.swarm.geometry().leaves(piece) == 1 {
            // It is the hash of its piece.
            return self.swarm.hashes().trees()?.known(piece).filter(|_| nth == 0);
        }
        kept?.get(nth as usize)
    }

    fn begin_to_read(&mut self, id: ReadId, parts: Vec<Extract>, cx: &mut Cx) {
        if let Some(read) = self.storage.reads.reads.get_mut(&id) {
            read.until = None;
            self.swarm.begin_job();
            cx.job(Job::Extract { torrent: self.identity.key(), read: id, parts });
        }
    }

    /// A worker has put together what is read, or could not.
    pub(super) fn handle_extracted(
        &mut self,
        id: ReadId,
        result: Result<Vec<u8>, ExtractError>,
        cx: &mut Cx,
    ) {
        let result = result.map(ReadBytes).map_err(|error| match error {
            ExtractError::Bad(piece) => ReadFailure::Wrong(piece),
            ExtractError::Store(error) => {
                log::warn!("{error}: {} cannot be read", self.content.name());
                self.suspect_read(&error, cx);
                ReadFailure::Storage(error)
            }
        });
        self.answer_read(id, result, cx);
    }

    fn answer_read(&mut self, id: ReadId, result: Result<ReadBytes, ReadFailure>, cx: &mut Cx) {
        let Some(Read { request, .. }) = self.storage.reads.reads.remove(&id) else { return };
        let (torrent, ReadRequest { file, offset, .. }) = (self.identity.id(), request);
        cx.alerts.push(Alert::ReadDone { torrent, read: id, file, offset, result });
    }

    // Leaves.

    /// Whether a peer is there that may know leaves.
    fn may_ask_leaves(&self) -> bool {
        self.peers.iter().any(|(_, session)| session.speaks_of_trees())
    }

    /// The leaves of these pieces are what reads wait for.
    fn ask_for_leaves(&mut self, awaited: &BTreeSet<PieceIndex>, cx: &mut Cx) {
        let asked = &self.storage.reads.asked;
        if awaited.len() == asked.len() && awaited.iter().all(|piece| asked.contains_key(piece)) {
            return;
        }
        let forgone = self.storage.reads.asked.extract_if(.., |piece, _| !awaited.contains(piece));
        for (_, range) in forgone.collect::<Vec<_>>() {
            // The same piece of an equal file has the same leaves.
            if self.storage.reads.asked.values().all(|asked| *asked != range) {
                self.forgo_leaves_to_read(&range);
            }
        }
        for &piece in awaited {
            if !self.storage.reads.asked.contains_key(&piece)
                && let Some(range) = self.want_leaves_to_read(piece)
            {
                self.storage.reads.asked.insert(piece, range);
            }
        }
        self.fetch_hashes(cx);
    }
}

/// What of a range of the torrent is in each of its pieces.
fn parts(geometry: &Geometry, range: Range<u64>) -> impl Iterator<Item = Block> + use<'_> {
    let Range { start, end } = range;
    geometry.pieces_of(start..end).filter_map(move |piece| {
        let (offset, len) = (geometry.offset(piece), u64::from(geometry.piece_len(piece)));
        let from = start.max(offset) - offset;
        let to = end.saturating_sub(offset).min(len);
        let len = u32::try_from(to.checked_sub(from)?).ok()?;
        geometry.range(piece.get(), u32::try_from(from).ok()?, len).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(geometry: &Geometry, nth: u32) -> PieceIndex {
        geometry.piece(nth).unwrap()
    }

    #[test]
    fn range_is_cut_at_the_ends_of_pieces_and_files() {
        let v1 = Geometry::new(100, 40).unwrap();
        let cut = |geometry: &Geometry, range| {
            let parts = parts(geometry, range);
            parts.map(|part| (part.piece.get(), part.begin, part.len)).collect::<Vec<_>>()
        };
        assert_eq!(cut(&v1, 39..81), [(0, 39, 1), (1, 0, 40), (2, 0, 1)]);
        assert_eq!(cut(&v1, 80..100), [(2, 0, 20)]);
        let v2 = Geometry::of_files(BLOCK_LEN, [5, 20_000]).unwrap();
        assert_eq!(cut(&v2, 4..5), [(0, 4, 1)]);
        let second = u64::from(BLOCK_LEN);
        assert_eq!(cut(&v2, second + 1..second + 20_000), [(1, 1, 16_383), (2, 0, 3616)]);
    }

    #[test]
    fn oldest_leaves_make_room_and_the_last_stay() {
        let geometry = Geometry::new(40, 10).unwrap();
        let mut kept = KeptLeaves::default();
        (0..3).for_each(|nth| kept.keep(piece(&geometry, nth), &[[nth as u8; 32]; 2], 128));
        let has = |kept: &KeptLeaves| [0, 1, 2].map(|nth| kept.of(piece(&geometry, nth)).is_some());
        assert_eq!(has(&kept), [false, true, true]);
        kept.keep(piece(&geometry, 1), &[[9; 32]; 8], 128);
        assert_eq!(has(&kept), [false, true, true], "those of two, however many they are");
        kept.keep(piece(&geometry, 0), &[[9; 32]; 2], 128);
        assert_eq!(has(&kept), [true, true, false]);
        kept.forget(piece(&geometry, 1));
        assert_eq!(has(&kept), [true, false, false]);
    }
}
