//! A fetch of layers from peers that answer as `answer` has it, that lie, and that do not answer.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    base::{
        geometry::{BLOCK_LEN, Geometry},
        merkle::{self, Node},
        time::Instant,
        trees::Trees,
    },
    wire::hash_range::HashRange,
};

type Fetch = HashFetch<u32>;

fn at(s: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(s)
}

/// A file of so many blocks in pieces of so many, its tree with its layer, and its leaves.
fn file(blocks: u32, a_piece: u32) -> (Geometry, Trees, Vec<Node>) {
    let leaves: Vec<Node> = (0..blocks).map(|n| merkle::leaf(&n.to_be_bytes())).collect();
    let len = u64::from(blocks) * u64::from(BLOCK_LEN);
    let geometry = Geometry::of_files(a_piece * BLOCK_LEN, [len]).unwrap();
    let root = merkle::root(&leaves, 0, leaves.len().next_power_of_two()).unwrap();
    let mut trees = Trees::new(&geometry, [(0, len, root)]);
    let piece = |part: &[Node]| merkle::root(part, 0, a_piece as usize).unwrap();
    let layer: Vec<_> = leaves.chunks(a_piece as usize).map(piece).collect();
    if layer.len() > 1 {
        trees.set_layer(&root, &layer).unwrap();
    }
    (geometry, trees, leaves)
}

/// Each of the ranges that together are the piece layer.
fn chunks(trees: &Trees, chunk: u32) -> Vec<HashRange> {
    let tree = trees.files()[0];
    let (root, base) = (tree.root, trees.piece_height());
    let len = tree.pieces.next_power_of_two().min(chunk);
    let proofs = tree.height() - base - 1;
    let range = |index| HashRange { root, base, index, len, proofs };
    (0..tree.pieces).step_by(len as usize).map(range).collect()
}

#[test]
fn layer_is_fetched_in_chunks_that_are_proven() {
    for (blocks, a_piece, chunk) in [(5, 1, 2), (4, 2, 512), (1000, 4, 16), (3000, 2, 512)] {
        let (_, trees, _) = file(blocks, a_piece);
        let tree = trees.files()[0];
        let mut fetch = Fetch::new(HashLimits::default());
        let wanted = chunks(&trees, chunk);
        wanted.iter().for_each(|range| fetch.want(*range, tree.root));
        fetch.handle_peer(at(0), 1);
        let mut found = Vec::new();
        while let Some((peer, range)) = fetch.poll_request(at(0)) {
            let hashes = answer(&trees, &range).unwrap();
            assert_eq!(hashes.len() as u32, range.len + range.uncles());
            let nodes = fetch.handle_hashes(peer, &range, &hashes).unwrap().unwrap();
            found.push((range.index, nodes));
        }
        assert!(fetch.is_idle());
        let all: Vec<_> = found.into_iter().flat_map(|(_, nodes)| nodes).collect();
        assert_eq!(all[..tree.pieces as usize], *trees.layer(&tree).unwrap());
    }
}

#[test]
fn false_hashes_are_not_taken_and_asked_of_others() {
    let (_, trees, _) = file(64, 2);
    let root = trees.files()[0].root;
    let range = chunks(&trees, 8)[1];
    let truth = answer(&trees, &range).unwrap();
    let lies = |spoil: &dyn Fn(&mut Vec<Node>)| {
        let mut fetch = Fetch::new(HashLimits::default());
        fetch.want(range, root);
        (1..=2).for_each(|peer| fetch.handle_peer(at(0), peer));
        let (liar, asked) = fetch.poll_request(at(0)).unwrap();
        assert_eq!(asked, range);
        let mut hashes = truth.clone();
        spoil(&mut hashes);
        let fault = fetch.handle_hashes(liar, &range, &hashes).unwrap_err();
        // It is not asked again.
        let (other, _) = fetch.poll_request(at(0)).unwrap();
        assert_ne!(other, liar);
        assert_eq!(fetch.handle_hashes(other, &range, &truth).unwrap().unwrap(), truth[..8]);
        fault
    };
    for at in 0..truth.len() {
        assert_eq!(lies(&|hashes| hashes[at][7] ^= 1), HashFault::Unproven);
    }
    let want = truth.len();
    let count = |got| HashFault::Count { got, want };
    assert_eq!(lies(&|hashes| _ = hashes.pop()), count(want - 1));
    assert_eq!(lies(&|hashes| hashes.push([0; 32])), count(want + 1));
    assert_eq!(lies(&Vec::clear), count(0));
    assert_eq!(lies(&|hashes| hashes.swap(0, 1)), HashFault::Unproven);
    // What lies elsewhere in the tree is no answer.
    let elsewhere = answer(&trees, &chunks(&trees, 8)[2]).unwrap();
    assert_eq!(lies(&|hashes| *hashes = elsewhere.clone()), HashFault::Unproven);
}

#[test]
fn what_was_not_asked_for_is_ignored() {
    let (_, trees, _) = file(64, 2);
    let range = chunks(&trees, 8)[0];
    let hashes = answer(&trees, &range).unwrap();
    let mut fetch = Fetch::new(HashLimits::default());
    fetch.want(range, trees.files()[0].root);
    assert_eq!(fetch.handle_hashes(1, &range, &hashes), Ok(None));
    fetch.handle_peer(at(0), 1);
    assert_eq!(fetch.handle_hashes(1, &range, &hashes), Ok(None));
    fetch.handle_reject(at(0), 1, &range);
    assert_eq!(fetch.poll_request(at(0)), Some((1, range)));
    let other = HashRange { index: 8, ..range };
    assert_eq!(fetch.handle_hashes(1, &other, &hashes), Ok(None));
    // It is not wanted any more.
    fetch.forget(&range);
    assert_eq!(fetch.handle_hashes(1, &range, &hashes), Ok(None));
    assert!(fetch.is_idle());
}

#[test]
fn peer_that_rejects_or_is_silent_rests_longer_each_time() {
    let (_, trees, _) = file(64, 2);
    let ranges = chunks(&trees, 8);
    let mut fetch = Fetch::new(HashLimits { in_flight: 1, ..HashLimits::default() });
    ranges.iter().for_each(|range| fetch.want(*range, trees.files()[0].root));
    fetch.handle_peer(at(0), 1);
    assert_eq!(fetch.poll_request(at(0)), Some((1, ranges[0])));
    assert_eq!((fetch.poll_request(at(0)), fetch.next_deadline(at(0))), (None, Some(at(10))));
    fetch.handle_reject(at(1), 1, &ranges[0]);
    assert_eq!((fetch.poll_request(at(5)), fetch.next_deadline(at(5))), (None, Some(at(6))));
    assert_eq!(fetch.poll_request(at(6)), Some((1, ranges[0])));
    fetch.handle_time_out(at(15));
    assert_eq!(fetch.poll_request(at(15)), None);
    fetch.handle_time_out(at(16));
    assert_eq!((fetch.poll_request(at(25)), fetch.next_deadline(at(16))), (None, Some(at(26))));
    // Another peer is asked meanwhile, and for what the first had when that goes.
    fetch.handle_peer(at(16), 2);
    assert_eq!(fetch.poll_request(at(16)), Some((2, ranges[0])));
    fetch.handle_gone(2);
    assert_eq!(fetch.poll_request(at(26)), Some((1, ranges[0])));
}

#[test]
fn requests_that_cannot_be_answered_are_turned_down() {
    let (geometry, mut trees, _) = file(64, 4);
    let good = chunks(&trees, 8)[0];
    assert!(answer(&trees, &good).is_some());
    let wrong = [
        HashRange { root: [1; 32], ..good },
        HashRange { base: 1, ..good },
        HashRange { base: 49, ..good },
        HashRange { base: u32::MAX, ..good },
        HashRange { index: 4, ..good },
        HashRange { index: 16, ..good },
        HashRange { index: u32::MAX - 7, ..good },
        HashRange { len: 0, ..good },
        HashRange { len: 1, ..good },
        HashRange { len: 6, ..good },
        HashRange { len: 32, ..good },
        HashRange { len: 1 << 31, ..good },
        HashRange { proofs: 4, ..good },
        HashRange { proofs: u32::MAX, ..good },
    ];
    for range in wrong {
        assert_eq!(answer(&trees, &range), None, "{range:?}");
        assert_eq!(leaves_of(&trees, &geometry, &range), None, "{range:?}");
    }
    trees.forget_layers();
    assert_eq!(answer(&trees, &good), None, "it is not known");
    // The leaves of one piece at most.
    let leaves = HashRange { base: 0, index: 8, len: 4, proofs: 1, ..good };
    assert_eq!(leaves_of(&trees, &geometry, &leaves), Some(2));
    let two = HashRange { len: 8, ..leaves };
    assert_eq!(leaves_of(&trees, &geometry, &two), None);
}

#[test]
fn leaves_of_a_piece_are_proven_by_the_piece_or_by_the_root() {
    for (blocks, a_piece) in [(64, 4), (61, 8), (5, 8), (2, 1)] {
        let (geometry, trees, all) = file(blocks, a_piece);
        let tree = trees.files()[0];
        let width = geometry.leaves(geometry.piece(0).unwrap());
        for piece in geometry.pieces().filter(|_| width > 1) {
            let own = all.chunks(width as usize).nth(piece.get() as usize).unwrap();
            for proofs in [width.ilog2() - 1, tree.height() - 1] {
                let (root, index) = (tree.root, piece.get() * width);
                let range = HashRange { root, base: 0, index, len: width, proofs };
                assert_eq!(leaves_of(&trees, &geometry, &range), Some(piece.get()));
                let hashes = answer_leaves(&trees, &geometry, &range, own).unwrap();
                let to = if range.uncles() == 0 { trees.piece(piece).unwrap() } else { root };
                let mut fetch = Fetch::new(HashLimits::default());
                fetch.want(range, to);
                fetch.handle_peer(at(0), 1);
                let _ = fetch.poll_request(at(0));
                let nodes = fetch.handle_hashes(1, &range, &hashes).unwrap().unwrap();
                assert_eq!(nodes[..own.len()], *own);
                let mut rotten = own.to_vec();
                rotten[own.len() - 1][0] ^= 1;
                assert_eq!(answer_leaves(&trees, &geometry, &range, &rotten), None);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_part_of_a_layer_is_proven_by_what_is_answered(
        blocks in 2_u32..300, height in 0_u32..3, len in 1_u32..6, index in any::<u32>(),
    ) {
        let (_, trees, _) = file(blocks, 1 << height);
        let tree = trees.files()[0];
        prop_assume!(tree.has_layer());
        let (root, base) = (tree.root, trees.piece_height());
        let width = tree.pieces.next_power_of_two();
        let len = (1 << len).min(width);
        let index = index % (width / len) * len;
        let proofs = tree.height() - base - 1;
        let range = HashRange { root, base, index, len, proofs };
        let hashes = answer(&trees, &range).unwrap();
        let mut fetch = Fetch::new(HashLimits::default());
        fetch.want(range, root);
        fetch.handle_peer(at(0), 1);
        let _ = fetch.poll_request(at(0));
        let nodes = fetch.handle_hashes(1, &range, &hashes).unwrap().unwrap();
        let layer = trees.layer(&tree).unwrap();
        let known = layer.len().saturating_sub(index as usize).min(nodes.len());
        let own = layer.get(index as usize..).unwrap_or_default();
        prop_assert_eq!(&nodes[..known], &own[..known]);
    }
}
