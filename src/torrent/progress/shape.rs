//! Where the blocks and runs of one piece lie. It knows nothing of what has come.

use std::ops::Range;

use crate::base::geometry::{BLOCK_LEN, Block, Geometry, PieceIndex};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    piece: PieceIndex,
    geometry: Geometry,
    /// Of every run but the last, which may be shorter.
    run_len: u32,
    blocks: u32,
}

impl Shape {
    pub(super) fn new(piece: PieceIndex, geometry: Geometry, run_len: u32) -> Self {
        let blocks = geometry.block_count(piece);
        Self { piece, geometry, run_len, blocks }
    }

    pub(super) fn piece(&self) -> PieceIndex {
        self.piece
    }

    pub(super) fn block_count(&self) -> u32 {
        self.blocks
    }

    /// Blocks whose hashes its own is made of (BEP 52).
    pub(super) fn leaves(&self) -> u32 {
        self.geometry.leaves(self.piece)
    }

    pub(super) fn block(&self, nth: usize) -> Option<Block> {
        self.geometry.nth_block(self.piece, u32::try_from(nth).ok()?)
    }

    /// The bytes of each run.
    pub(super) fn run_lens(&self) -> impl Iterator<Item = u32> + use<> {
        let (len, run_len) = (self.geometry.piece_len(self.piece), self.run_len);
        (0..len.div_ceil(run_len)).map(move |run| run_len.min(len - run * run_len))
    }

    fn blocks_a_run(&self) -> u32 {
        self.run_len / BLOCK_LEN
    }

    /// The run that a block lies in.
    pub(super) fn run_of(&self, nth: u32) -> usize {
        (nth / self.blocks_a_run()) as usize
    }

    /// The blocks of a run, by number.
    pub(super) fn blocks_of(&self, run: usize) -> Range<usize> {
        let start = run * self.blocks_a_run() as usize;
        start..(start + self.blocks_a_run() as usize).min(self.blocks as usize)
    }

    /// Where a run begins in the piece.
    pub(super) fn begin(&self, run: usize) -> u32 {
        run as u32 * self.run_len
    }

    /// The run that begins there.
    pub(super) fn run_at(&self, begin: u32) -> usize {
        (begin / self.run_len) as usize
    }

    /// Where a block lies in its run.
    pub(super) fn within_run(&self, block: Block) -> usize {
        (block.begin % self.run_len) as usize
    }
}
