//! What leaves, in which order, however it is cut, given up or overtaken.

use super::*;
use crate::base::geometry::Geometry;

fn geometry() -> Geometry {
    Geometry::new(100, 100).unwrap()
}

fn batch(blocks: &[Block]) -> Buf {
    let mut buf = Buf::default();
    prepare(blocks, &mut buf);
    fill(blocks, &mut buf);
    buf
}

/// Byte n of the torrent is n.
fn fill(blocks: &[Block], buf: &mut Buf) {
    let mut at = 0;
    for block in blocks {
        at += READ_GAP;
        (0..block.len).for_each(|n| buf.0[at + n as usize] = (block.begin + n) as u8);
        at += block.len as usize;
    }
}

fn next(tx: &mut Tx, at_once: usize, payload: &mut u64) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 2];
    let n = tx.poll_transmit(&mut slices, at_once);
    let next: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
    assert!(next.len() <= at_once);
    *payload += tx.handle_sent(next.len(), drop);
    next
}

fn queue() -> Tx {
    let mut tx = Tx::default();
    fill_queue(&mut tx);
    tx
}

fn fill_queue(tx: &mut Tx) {
    let g = geometry();
    let blocks = [g.range(0, 5, 3).unwrap(), g.range(0, 50, 4).unwrap()];
    tx.push(&Message::Choke);
    tx.push(&Message::Have(7));
    tx.push_batch(blocks.into(), batch(&blocks));
    tx.push(&Message::Unchoke);
    assert_eq!(tx.len(), 5 + 9 + 13 + 3 + 13 + 4 + 5);
}

fn bytes() -> Vec<u8> {
    let mut want = vec![0, 0, 0, 1, 0, 0, 0, 0, 5, 4, 0, 0, 0, 7];
    want.extend([0, 0, 0, 12, 7, 0, 0, 0, 0, 0, 0, 0, 5, 5, 6, 7]);
    want.extend([0, 0, 0, 13, 7, 0, 0, 0, 0, 0, 0, 0, 50, 50, 51, 52, 53, 0, 0, 0, 1, 1]);
    want
}

#[test]
fn order_is_kept_however_it_is_cut() {
    for at_once in [1, 2, 3, 7, 1000] {
        let mut tx = queue();
        let (mut got, mut payload) = (Vec::new(), 0);
        while tx.len() > 0 {
            got.extend(next(&mut tx, at_once, &mut payload));
        }
        assert_eq!((got, payload), (bytes(), 7));
        assert!(next(&mut tx, 1, &mut payload).is_empty());
    }
}

#[test]
fn a_queue_that_is_never_empty_does_not_keep_what_is_gone() {
    let mut tx = Tx::default();
    let mut payload = 0;
    let held = |tx: &Tx| tx.chunks.iter().map(|chunk| chunk.bytes().len()).sum::<usize>();
    (0..1000).for_each(|n| tx.push(&Message::Have(n)));
    for n in 0..100_000 {
        tx.push(&Message::Have(n));
        next(&mut tx, 9, &mut payload);
    }
    assert_eq!(tx.len(), 9000);
    assert!(held(&tx) <= tx.len() + GATHERED, "{}", held(&tx));
}

/// Thousands of peers hear what we have and nothing more; those that work reuse their buffers.
#[test]
fn introduction_leaves_no_memory_behind_later_messages_do() {
    let mut tx = Tx::default();
    for _ in 0..2 {
        tx.expect_introduction();
        tx.push_bytes(&[7; 300]);
        while !next(&mut tx, 100, &mut 0).is_empty() {}
        assert_eq!((tx.chunks.capacity(), tx.spare.capacity()), (0, 0));
    }
    tx.push(&Message::Unchoke);
    while !next(&mut tx, 100, &mut 0).is_empty() {}
    assert!(tx.chunks.capacity() > 0 && tx.spare.capacity() > 0);
}

#[test]
fn urgent_message_overtakes_blocks_that_have_not_begun() {
    let g = geometry();
    let blocks =
        [g.range(0, 5, 3).unwrap(), g.range(0, 50, 4).unwrap(), g.range(0, 60, 2).unwrap()];
    let plain = || {
        let mut tx = Tx::default();
        tx.push(&Message::Choke);
        tx.push_batch(blocks.into(), batch(&blocks));
        tx
    };
    let drain = |tx: &mut Tx, at_once: usize, payload: &mut u64| {
        let mut got = Vec::new();
        while tx.len() > 0 {
            while let Some(owed) = tx.owed() {
                assert!(tx.fill_owed(batch(&[owed])).is_none());
            }
            got.extend(next(tx, at_once, payload));
        }
        got
    };
    let all = drain(&mut plain(), 1000, &mut 0);
    let ends = [5, 21, 38, 53];
    assert_eq!(all.len(), 53);
    let mut urgent = vec![0, 0, 0, 5, 4, 0, 0, 0, 9];
    urgent.extend([0, 0, 0, 1, 1]);
    for cut in 0..53 {
        for at_once in [1, 7, 1000] {
            let mut tx = plain();
            let (mut got, mut payload) = (Vec::new(), 0);
            while got.len() < cut {
                got.extend(next(&mut tx, cut - got.len(), &mut payload));
            }
            tx.push_urgent(&Message::Have(9));
            tx.push_urgent(&Message::Unchoke);
            let end = *ends.iter().find(|&&end| end >= cut).unwrap();
            assert_eq!(tx.len(), 53 - cut + urgent.len());
            let first = if end == cut || cut < 5 { end - cut + urgent.len() } else { 0 };
            assert_eq!(tx.urgent(), first, "cut after {cut}");
            if at_once == 7 {
                // What is not in memory any more comes all the same.
                let not_begun = tx.rewind(drop);
                assert!(!tx.holds_blocks());
                got.extend(drain(&mut tx, at_once, &mut payload));
                tx.push_batch(not_begun.clone(), batch(&not_begun));
            }
            if at_once == 1 {
                let withdrawn = tx.withdraw(drop);
                got.extend(drain(&mut tx, at_once, &mut payload));
                assert_eq!(got.len(), end + urgent.len());
                tx.push_batch(withdrawn.clone(), batch(&withdrawn));
            }
            got.extend(drain(&mut tx, at_once, &mut payload));
            let mut want = all.clone();
            want.splice(end..end, urgent.iter().copied());
            assert_eq!((got, payload), (want, 9), "cut after {cut}");
        }
    }
}

#[test]
fn memory_given_up_at_any_byte_loses_none() {
    for cut in 0..bytes().len() {
        let mut tx = queue();
        let (mut got, mut payload) = (Vec::new(), 0);
        while got.len() < cut {
            got.extend(next(&mut tx, cut - got.len(), &mut payload));
        }
        let not_begun = tx.rewind(drop);
        assert!(!tx.holds_blocks());
        assert_eq!(
            tx.len() + not_begun.iter().map(|b| READ_GAP + b.len as usize).sum::<usize>(),
            bytes().len() - cut
        );
        loop {
            while let Some(owed) = tx.owed() {
                assert!(
                    next(&mut tx, 1, &mut payload).is_empty(),
                    "nothing overtakes what is owed"
                );
                assert!(tx.fill_owed(batch(&[owed])).is_none());
                // Again, after one byte.
                got.extend(next(&mut tx, 1, &mut payload));
                assert!(tx.rewind(drop).is_empty());
            }
            let more = next(&mut tx, 3, &mut payload);
            if more.is_empty() {
                break;
            }
            got.extend(more);
        }
        assert_eq!(tx.len(), 0);
        // What was not begun is asked for again, and comes after what had been queued behind it.
        let unchoke = got.len();
        if !not_begun.is_empty() {
            tx.push_batch(not_begun.clone(), batch(&not_begun));
        }
        while tx.len() > 0 {
            got.extend(next(&mut tx, 9, &mut payload));
        }
        let mut want = bytes();
        if !not_begun.is_empty() {
            let last = want.split_off(want.len() - 5);
            want.splice(unchoke - 5..unchoke - 5, last);
        }
        assert_eq!((got, payload), (want, 7), "cut after {cut}");
    }
}

#[test]
fn cancelled_blocks_leave_the_send_queue() {
    let g = geometry();
    let blocks = [0, 10, 20].map(|begin| g.range(0, begin, 10).unwrap());
    for wanted in 0..8 {
        let mut buf = batch(&blocks);
        let marked: Vec<_> =
            blocks.iter().enumerate().map(|(n, &b)| (b, wanted >> n & 1 == 1)).collect();
        let kept = keep_wanted(&marked, &mut buf);
        assert_eq!(buf, batch(&kept));
        assert_eq!(kept.len(), (wanted as u32).count_ones() as usize);
    }
}

/// Inverts every byte, so that what is enciphered twice is plain again.
#[derive(Debug)]
struct Invert;

impl Cipher for Invert {
    fn apply(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
}

#[test]
fn enciphered_bytes_are_enciphered_once_however_they_are_cut() {
    for at_once in [1, 2, 3, 7, 1000] {
        let mut tx = Tx::default();
        tx.seal_with(Box::new(Invert));
        fill_queue(&mut tx);
        let (mut got, mut payload) = (Vec::new(), 0);
        while tx.len() > 0 {
            // Offered, and not taken.
            let mut slices = [IoSlice::new(&[]); 2];
            assert_eq!(tx.poll_transmit(&mut slices, at_once + 3), 1);
            got.extend(next(&mut tx, at_once, &mut payload));
        }
        Invert.apply(&mut got);
        assert_eq!((got, payload), (bytes(), 7));
        assert!(next(&mut tx, 1, &mut payload).is_empty());
    }
}

#[test]
fn sealed_bytes_are_neither_given_up_nor_overtaken() {
    let g = geometry();
    let (first, second) = (g.range(0, 5, 3).unwrap(), g.range(0, 50, 4).unwrap());
    for sealed in 1..=35 {
        let mut tx = Tx::default();
        tx.seal_with(Box::new(Invert));
        tx.push_batch([first, second].into(), batch(&[first, second]));
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(tx.poll_transmit(&mut slices, sealed), 1);
        let shown: Vec<u8> = slices[0].to_vec();
        tx.push_urgent(&Message::Choke);
        let mut given_up = tx.rewind(drop);
        given_up.extend(tx.withdraw(drop));
        assert!(given_up.len() <= 2);
        let (mut got, mut payload) = (Vec::new(), 0);
        while tx.len() > 0 {
            if let Some(owed) = tx.owed() {
                let mut buf = Buf::default();
                prepare(&[owed], &mut buf);
                fill(&[owed], &mut buf);
                assert!(tx.fill_owed(buf).is_none());
            }
            got.extend(next(&mut tx, 1000, &mut payload));
        }
        assert_eq!(got[..sealed.min(33)], shown[..], "what was shown is what is sent");
        Invert.apply(&mut got);
        // Whole messages in their order, those that were given up left out.
        let first_on = [&[0, 0, 0, 12, 7, 0, 0, 0, 0, 0, 0, 0, 5, 5, 6, 7][..], &[0, 0, 0, 1, 0]];
        let second_on = [0, 0, 0, 13, 7, 0, 0, 0, 0, 0, 0, 0, 50, 50, 51, 52, 53];
        let want = match sealed {
            ..=16 => first_on.concat(),
            _ => [first_on[0], &second_on, first_on[1]].concat(),
        };
        assert_eq!(got, want, "{sealed} sealed");
    }
}

#[test]
fn little_is_enciphered_ahead_of_the_socket() {
    let mut tx = Tx::default();
    tx.seal_with(Box::new(Invert));
    (0..100_000).for_each(|n| tx.push(&Message::Have(n)));
    let mut slices = [IoSlice::new(&[]); 2];
    assert_eq!(tx.poll_transmit(&mut slices, usize::MAX), 1);
    assert_eq!(slices[0].len(), SEALED_AHEAD);
    assert_eq!(tx.len(), 900_000);
}
