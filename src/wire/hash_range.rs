//! What messages about merkle trees speak of (BEP 52, "peer messages"): a range of hashes of one
//! layer, and how many layers above it the proof has.
//!
//! Numbers are the other side's claims; whether there is such a file is not known here.

use nom::{IResult, Parser, bytes::complete::take, combinator::map, number::complete::be_u32};

use crate::base::merkle::{MAX_HEIGHT, Node};

/// Bytes of a range in a message.
pub const HASH_RANGE_LEN: usize = 48;

/// A range of a layer of a file's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRange {
    /// The root of the tree, which names the file.
    pub root: Node,
    /// The layer, counted from that of the leaves, which is 0.
    pub base: u32,
    /// The first hash within the layer.
    pub index: u32,
    /// How many hashes.
    pub len: u32,
    /// How many layers above the base have part in the proof.
    pub proofs: u32,
}

impl HashRange {
    /// Whether the numbers are such as BEP 52 allows: a power of two of hashes, at least 2, that
    /// begin at a multiple of it.
    pub fn is_sound(&self) -> bool {
        let Self { base, index, len, proofs, .. } = *self;
        len >= 2
            && len.is_power_of_two()
            && index.is_multiple_of(len)
            && base <= MAX_HEIGHT
            && proofs <= MAX_HEIGHT
    }

    /// Layers between the base and the node that all of its hashes are below.
    pub fn height(&self) -> u32 {
        self.len.max(1).ilog2()
    }

    /// How many uncles follow the hashes: of the layers of the proof, those below the node that
    /// all hashes are below need none.
    pub fn uncles(&self) -> u32 {
        (self.proofs + 1).saturating_sub(self.height())
    }

    pub(super) fn encode(&self) -> [u8; HASH_RANGE_LEN] {
        let mut out = [0; HASH_RANGE_LEN];
        let (root, numbers) = out.split_at_mut(32);
        root.copy_from_slice(&self.root);
        let said = [self.base, self.index, self.len, self.proofs];
        for (to, number) in numbers.chunks_exact_mut(4).zip(said) {
            to.copy_from_slice(&number.to_be_bytes());
        }
        out
    }

    pub(super) fn parse(input: &[u8]) -> IResult<&[u8], Self> {
        let root = map(take(32_usize), |bytes: &[u8]| Node::try_from(bytes).unwrap_or_default());
        let all = (root, be_u32, be_u32, be_u32, be_u32);
        map(all, |(root, base, index, len, proofs)| Self { root, base, index, len, proofs })
            .parse(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(index: u32, len: u32, proofs: u32) -> HashRange {
        HashRange { root: [7; 32], base: 1, index, len, proofs }
    }

    #[test]
    fn length_is_a_power_of_two_and_divides_the_index() {
        let sound = |index, len| range(index, len, 3).is_sound();
        assert!(sound(0, 2) && sound(2, 2) && sound(512, 512) && sound(1 << 31, 1 << 31));
        assert!(!sound(0, 0) && !sound(0, 1) && !sound(0, 3) && !sound(1, 2) && !sound(256, 512));
        assert!(!range(0, 2, 49).is_sound());
    }

    #[test]
    fn first_layers_of_a_proof_need_no_uncle() {
        let uncles = |len, proofs| range(0, len, proofs).uncles();
        // As BEP 52 has it: length and proof layers, without the first log2(length) - 1 of these.
        assert_eq!([uncles(2, 0), uncles(2, 1), uncles(2, 5)], [0, 1, 5]);
        assert_eq!([uncles(8, 0), uncles(8, 2), uncles(8, 3), uncles(8, 9)], [0, 0, 1, 7]);
    }

    #[test]
    fn range_is_read_as_it_is_written() {
        let range = HashRange { root: [9; 32], base: 1, index: 2, len: 3, proofs: 4 };
        let bytes = range.encode();
        assert_eq!(bytes[32..], [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]);
        assert_eq!(HashRange::parse(&bytes), Ok((&[][..], range)));
    }
}
