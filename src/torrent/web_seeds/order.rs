//! What is on order with a web seed: blocks, and the parts of files that they lie in. Bytes of
//! files become blocks here, whole ones, wherever files end. It knows no server.

use std::collections::VecDeque;

use crate::base::{
    files::{FileEntry, FileKind, Span, spans},
    geometry::{Block, Geometry},
};

/// A block that is whole.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub(super) block: Block,
    /// It has not come from elsewhere.
    pub(super) wanted: bool,
    pub(super) bytes: &'a [u8],
    /// Of those, the ones that came: all but padding.
    pub(super) came: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Order {
    /// Those that have not come, and whether they are of use still.
    blocks: VecDeque<(Block, bool)>,
    /// Where their bytes are that have not come.
    parts: VecDeque<Part>,
    /// What there is of the first of them, which is less than all; how much of it is padding.
    begun: Vec<u8>,
    padding: u64,
    /// Bytes that have come.
    got: u64,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) span: Span,
    /// Zeros that are not asked for (BEP 47).
    is_pad: bool,
}

/// Zeros, as many as are made at a time.
const ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

impl Order {
    /// Of blocks that follow each other.
    pub(super) fn new(blocks: Vec<Block>, geometry: &Geometry, files: &[FileEntry]) -> Self {
        let mut parts: VecDeque<Part> = VecDeque::new();
        for block in &blocks {
            let start = geometry.offset(block.piece) + u64::from(block.begin);
            for span in spans(files, start..start + u64::from(block.len)) {
                match parts.back_mut().map(|part| &mut part.span) {
                    Some(last)
                        if last.file == span.file && last.offset + last.len == span.offset =>
                    {
                        last.len += span.len;
                    }
                    _ => {
                        let is_pad = files.get(span.file).is_some_and(|f| f.kind == FileKind::Pad);
                        parts.push_back(Part { span, is_pad });
                    }
                }
            }
        }
        let blocks = blocks.into_iter().map(|block| (block, true)).collect();
        Self { blocks, parts, begun: Vec::new(), padding: 0, got: 0 }
    }

    /// The blocks that are on order.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.blocks.iter().filter(|(_, wanted)| *wanted).map(|(block, _)| *block)
    }

    /// Whether `block` is on order.
    pub(super) fn has(&self, block: Block) -> bool {
        self.blocks().any(|ordered| ordered == block)
    }

    /// Whether something of this file is.
    pub(super) fn touches(&self, file: usize) -> bool {
        self.parts.iter().any(|part| part.span.file == file)
    }

    /// `block` has come from elsewhere. Returns whether it was on order.
    pub(super) fn cancel(&mut self, block: Block) -> bool {
        let found = self.blocks.iter_mut().find(|(ordered, wanted)| *wanted && *ordered == block);
        found.map(|(_, wanted)| *wanted = false).is_some()
    }

    /// The file that is being fetched.
    pub(super) fn file(&self) -> Option<usize> {
        self.parts.front().map(|part| part.span.file)
    }

    /// The orders for blocks that are `meant` are off. Returns those.
    pub(super) fn cancel_all(&mut self, meant: impl Fn(Block) -> bool) -> Vec<Block> {
        let meant = self.blocks.iter_mut().filter(|(block, wanted)| *wanted && meant(*block));
        meant.map(|(block, wanted)| (*wanted = false, *block).1).collect()
    }

    /// Bytes that have come.
    pub(super) fn got(&self) -> u64 {
        self.got
    }

    /// The next part to be asked for; `None` if all has come. Padding before it is filled in.
    pub(super) fn next_part(&mut self, mut deliver: impl FnMut(Delivery<'_>)) -> Option<Span> {
        while let Some(&Part { span, is_pad }) = self.parts.front() {
            if !is_pad {
                return Some(span);
            }
            let mut left = span.len;
            while left > 0 {
                let zeros = ZEROS.get(..left.min(ZEROS.len() as u64) as usize).unwrap_or(&ZEROS);
                self.fill(zeros, true, &mut deliver);
                left -= zeros.len() as u64;
            }
            self.parts.pop_front();
        }
        None
    }

    /// The part that is being fetched has come.
    pub(super) fn end_part(&mut self) {
        self.parts.pop_front();
    }

    /// Bytes came. Each block that is whole is delivered.
    pub(super) fn take(&mut self, bytes: &[u8], mut deliver: impl FnMut(Delivery<'_>)) {
        self.got = self.got.saturating_add(bytes.len() as u64);
        self.fill(bytes, false, &mut deliver);
    }

    fn fill(&mut self, mut bytes: &[u8], is_pad: bool, deliver: &mut impl FnMut(Delivery<'_>)) {
        while let Some(&(block, wanted)) = self.blocks.front() {
            let missing = (block.len as usize).saturating_sub(self.begun.len());
            let Some((part, rest)) = bytes.split_at_checked(missing) else {
                self.begun.extend_from_slice(bytes);
                self.padding += if is_pad { bytes.len() as u64 } else { 0 };
                return;
            };
            self.blocks.pop_front();
            self.padding += if is_pad { part.len() as u64 } else { 0 };
            let came = u64::from(block.len).saturating_sub(std::mem::take(&mut self.padding));
            if self.begun.is_empty() {
                deliver(Delivery { block, wanted, bytes: part, came });
            } else {
                self.begun.extend_from_slice(part);
                deliver(Delivery { block, wanted, bytes: &self.begun, came });
                self.begun.clear();
            }
            bytes = rest;
            if bytes.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::BLOCK_LEN;

    const B: u64 = BLOCK_LEN as u64;

    /// Files of these lengths, pads where so said, in pieces of two blocks.
    fn rig(lens: &[(u64, FileKind)]) -> (Geometry, Vec<FileEntry>, Vec<Block>) {
        let mut offset = 0;
        let file = |&(len, kind): &(u64, FileKind)| {
            offset += len;
            FileEntry { path: vec![], len, offset: offset - len, kind }
        };
        let files: Vec<_> = lens.iter().map(file).collect();
        let geometry = Geometry::new(offset, 2 * BLOCK_LEN).unwrap();
        let all = |p| (0..geometry.block_count(p)).filter_map(move |n| (p, n).into());
        let blocks = geometry.pieces().flat_map(all);
        let blocks = blocks.filter_map(|(p, n)| geometry.nth_block(p, n)).collect();
        (geometry, files, blocks)
    }

    /// Fetches all of it, in reads of `read` bytes: the parts that were asked for and the bytes of
    /// the blocks.
    fn fetch(lens: &[(u64, FileKind)], read: usize) -> (Vec<(usize, u64, u64)>, Vec<u8>, u64) {
        let (geometry, files, blocks) = rig(lens);
        let mut order = Order::new(blocks.clone(), &geometry, &files);
        let (mut parts, mut delivered, mut data) = (Vec::new(), Vec::new(), Vec::new());
        let mut came = 0;
        loop {
            let mut deliver = |delivery: Delivery<'_>| {
                delivered.push(delivery.block);
                data.extend_from_slice(delivery.bytes);
                came += delivery.came;
            };
            let next = order.next_part(&mut deliver);
            let Some(span) = next else { break };
            parts.push((span.file, span.offset, span.len));
            let bytes: Vec<u8> = (0..span.len).map(|_| span.file as u8 + 1).collect();
            for read in bytes.chunks(read) {
                order.take(read, &mut deliver);
            }
            order.end_part();
        }
        assert_eq!(delivered, blocks);
        assert!(order.blocks().next().is_none() && order.begun.is_empty());
        (parts, data, came)
    }

    #[test]
    fn blocks_over_borders_of_files_are_put_together() {
        use FileKind::{Pad, Regular};
        let lens = [(B + 5, Regular), (0, Regular), (7, Regular), (2 * B, Regular), (1, Regular)];
        for read in [1, 1000, BLOCK_LEN as usize, 1 << 20] {
            let (parts, data, came) = fetch(&lens, read);
            assert_eq!(came, data.len() as u64);
            assert_eq!(parts, [(0, 0, B + 5), (2, 0, 7), (3, 0, 2 * B), (4, 0, 1)]);
            let want = [vec![1; B as usize + 5], vec![3; 7], vec![4; 2 * B as usize], vec![5]];
            assert!(data == want.concat(), "reads of {read}");
        }
        let (parts, data, came) =
            fetch(&[(5, Regular), (2 * B - 5, Pad), (9, Regular), (3, Pad)], 4);
        assert_eq!(parts, [(0, 0, 5), (2, 0, 9)], "padding is not asked for");
        assert_eq!(came, 14, "nor does it count as having come");
        let want = [vec![1; 5], vec![0; 2 * B as usize - 5], vec![3; 9], vec![0; 3]];
        assert!(data == want.concat());
    }

    #[test]
    fn cancelled_blocks_are_delivered_as_of_no_use() {
        let (geometry, files, blocks) = rig(&[(4 * B, FileKind::Regular)]);
        let mut order = Order::new(blocks.clone(), &geometry, &files);
        assert!(order.cancel(blocks[1]) && !order.cancel(blocks[1]) && !order.has(blocks[1]));
        assert_eq!(order.cancel_all(|block| block.piece.get() == 1), blocks[2..]);
        let mut got = Vec::new();
        order.take(&vec![0; 4 * B as usize], |d| got.push((d.block, d.wanted)));
        let wanted: Vec<bool> = got.iter().map(|(_, wanted)| *wanted).collect();
        assert_eq!((wanted, order.got()), (vec![true, false, false, false], 4 * B));
        assert!(order.touches(0) && !order.touches(1));
    }
}
