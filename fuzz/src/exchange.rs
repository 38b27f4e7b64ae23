//! The promises of fetching an info dictionary: whatever peers offer, answer and leave out, in
//! whatever order, memory is bounded, what is complete is true, and only liars are accused.

use std::{collections::BTreeSet, time::Duration};

use cratetorrent::{
    Identity, InfoHash, Instant,
    hashes::{HashFetch, HashLimits, answer, answer_leaves, leaves_of},
    metadata::{MetadataEvent, MetadataFetch, MetadataLimits},
    wire::{
        hash_range::HashRange,
        metainfo::{Geometry, Node, Trees},
        ut_metadata::{METADATA_BLOCK, metadata_block_len},
    },
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// Bytes of the true dictionary.
const LEN: u32 = 40_000;

/// A run of operations of four bytes each: what, which peer, and two for the rest.
pub fn metadata_fetch(data: &[u8]) {
    let truth: Vec<u8> = (0..LEN).map(|n| (n % 251) as u8).collect();
    let mut hash = InfoHash([0; 20]);
    hash.0.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, &truth).as_ref());
    let limits = MetadataLimits {
        size: 100_000,
        memory: 120_000,
        assemblies: 3,
        in_flight: 4,
        copies: 2,
        ..MetadataLimits::default()
    };
    let mut fetch = MetadataFetch::new(Identity::of_v1(hash), limits);
    let mut now = Instant::ZERO;
    let mut open: Vec<(u8, u32)> = Vec::new();
    let mut claims = [0; 8];
    let (mut liars, mut complete) = (BTreeSet::new(), false);
    for &[op, peer, a, b] in data.as_chunks::<4>().0.iter().take(2000) {
        let peer = peer % 8;
        let known = fetch.offer(peer, now).is_some();
        let asked = open.iter().position(|&(other, _)| other == peer);
        match op % 7 {
            0 => {
                let totals = [0, 5, 16_384, 16_385, 50_000, limits.size + 1, LEN, LEN];
                let total = totals[usize::from(a % 8)];
                let useful = fetch.handle_offer(now, peer, u64::from(total));
                assert_eq!(useful, total != 0 && total <= limits.size);
                // What is open under another claim cannot be answered rightly any more.
                if !useful || claims[usize::from(peer)] != total {
                    open.retain(|&(other, _)| other != peer);
                }
                claims[usize::from(peer)] = total;
            }
            1 => {
                fetch.handle_gone(peer);
                open.retain(|&(other, _)| other != peer);
                claims[usize::from(peer)] = 0;
            }
            2 | 3 if known => {
                let Some((_, block)) = asked.map(|at| open.remove(at)) else { continue };
                let total = claims[usize::from(peer)];
                let Some(len) = metadata_block_len(total, block) else { continue };
                let begin = (block * METADATA_BLOCK) as usize;
                let right = truth.get(begin..begin + len as usize).filter(|_| total == LEN);
                let data = match right {
                    Some(right) if op % 7 == 2 => right.to_vec(),
                    _ => {
                        liars.insert(peer);
                        vec![b; len as usize]
                    }
                };
                assert_eq!(fetch.handle_data(now, peer, block, total, &data), Ok(()));
            }
            4 if known => {
                let Some((_, block)) = asked.map(|at| open.remove(at)) else { continue };
                assert_eq!(fetch.handle_reject(now, peer, block), Ok(()));
            }
            5 => {
                now = now + Duration::from_millis(u64::from(a) * 64 + u64::from(b));
                fetch.handle_time_out(now);
            }
            _ if asked.is_none() && !complete => {
                let unasked = fetch.handle_data(now, peer, u32::from(a), u32::from(b), &[]);
                // An answer under an earlier claim is one that was asked for.
                assert!(known || unasked.is_err());
            }
            _ => {}
        }
        for _ in 0..b % 4 {
            let Some((peer, block)) = fetch.poll_request(now) else { break };
            assert!(!complete && fetch.offer(peer, now) == Some(false));
            assert!(metadata_block_len(claims[usize::from(peer)], block).is_some());
            open.push((peer, block));
        }
        while let Some(event) = fetch.poll_event() {
            match event {
                MetadataEvent::Complete(bytes) => {
                    assert!(bytes == truth && !std::mem::replace(&mut complete, true));
                    open.clear();
                }
                MetadataEvent::Liar(peer) => {
                    assert!(liars.contains(&peer), "{peer} never lied");
                    open.retain(|&(other, _)| other != peer);
                }
            }
        }
        assert!(fetch.held() <= limits.memory);
        assert!(fetch.progress(now).peers <= 8);
        assert!(!complete || fetch.next_deadline(now).is_none());
    }
}

/// Blocks of the file whose tree is asked for, in pieces of two.
const BLOCKS: u32 = 75;

/// The file's shape, its tree, and its leaves.
fn tree() -> Option<(Geometry, Trees, Vec<Node>)> {
    let sha256 = |bytes: &[u8]| {
        let mut node = [0; 32];
        node.copy_from_slice(digest(&SHA256, bytes).as_ref());
        node
    };
    let leaves: Vec<Node> = (0..BLOCKS).map(|n| sha256(&n.to_be_bytes())).collect();
    let mut layer = leaves.clone();
    layer.resize(128, [0; 32]);
    let (mut layers, mut pieces) = (layer, Vec::new());
    while layers.len() > 1 {
        layers = layers.chunks(2).map(|pair| sha256(pair.as_flattened())).collect();
        if layers.len() == 64 {
            pieces = layers[..BLOCKS.div_ceil(2) as usize].to_vec();
        }
    }
    let (len, root) = (u64::from(BLOCKS) * 16_384, *layers.first()?);
    let geometry = Geometry::of_files(32_768, [len]).ok()?;
    let mut trees = Trees::new(&geometry, [(0, len, root)]);
    trees.set_layer(&root, &pieces).ok()?;
    Some((geometry, trees, leaves))
}

/// A run of operations of eight bytes each: what, which peer, and six for the rest. Only what is
/// true is taken; any range is answered with what proves it, or not at all.
pub fn hashes(data: &[u8]) {
    let Some((geometry, trees, leaves)) = tree() else { return };
    let root = trees.files()[0].root;
    let truth = |range: &HashRange| {
        answer(&trees, range).or_else(|| {
            let piece = leaves_of(&trees, &geometry, range)? as usize;
            let own = leaves.get(2 * piece..(2 * piece + 2).min(leaves.len()))?;
            answer_leaves(&trees, &geometry, range, own)
        })
    };
    let mut fetch = HashFetch::new(HashLimits::default());
    let (mut now, mut asked) = (Instant::ZERO, Vec::new());
    for &[op, peer, a, b, c, d, e, f] in data.as_chunks::<8>().0.iter().take(1000) {
        let range = HashRange {
            root,
            base: u32::from(a % 4),
            index: u32::from(b) * u32::from(c % 3),
            len: if c < 128 { 1 << (c % 10) } else { u32::from(c) },
            proofs: u32::from(d % 12),
        };
        match op % 6 {
            0 if range.is_sound() && truth(&range).is_some() => {
                // Those that lead to the root.
                let proofs = 7 - 1 - range.base;
                fetch.want(HashRange { proofs, ..range }, root);
            }
            0 => {}
            1 => fetch.handle_peer(now, peer % 4),
            2 => fetch.handle_gone(peer % 4),
            3 => asked.extend(fetch.poll_request(now)),
            4 => {
                now = now + std::time::Duration::from_secs(u64::from(e));
                fetch.handle_time_out(now);
            }
            _ if asked.is_empty() => {}
            _ => {
                let (peer, range) = asked.swap_remove(usize::from(b) % asked.len());
                let right = truth(&range).unwrap_or_default();
                let mut said = right.clone();
                match e % 4 {
                    0 => {}
                    1 => said.truncate(usize::from(f)),
                    2 => said.push([f; 32]),
                    _ => {
                        let at = usize::from(f) % said.len().max(1);
                        said.get_mut(at)
                            .into_iter()
                            .for_each(|node| node[usize::from(d % 32)] ^= c | 1);
                    }
                }
                if let Ok(Some(taken)) = fetch.handle_hashes(peer, &range, &said) {
                    assert_eq!(taken, right[..range.len as usize]);
                }
            }
        }
    }
}
