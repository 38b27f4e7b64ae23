//! The promises of fetching an info dictionary: whatever peers offer, answer and leave out, in
//! whatever order, memory is bounded, what is complete is true, and only liars are accused.

use std::{collections::BTreeSet, time::Duration};

use cratetorrent::{
    InfoHash, Instant,
    metadata::{MetadataEvent, MetadataFetch, MetadataLimits},
    wire::ut_metadata::{METADATA_BLOCK, metadata_block_len},
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

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
    let mut fetch = MetadataFetch::new(hash, limits);
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
