//! What those get who ask for more than their part, or flap.

use super::*;

#[test]
fn a_million_cancels_of_nothing_cost_nothing() {
    let mut t = seed();
    t.hold_disk(true);
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    // The queue is full, so that each is looked for among many.
    hear_all(&mut t, peer, (0..512).map(|n| block(n % 16, 0).request()));
    t.said(peer);
    let jobs = t.jobs();
    let mut bytes = Vec::new();
    for n in 0..1000 {
        // Blocks that it did not ask for, that are none, and pieces that are not there.
        let (piece, begin) = ((n % 64) * (n % 3 + 1), if n % 5 == 0 { 7 } else { BLOCK_LEN });
        Message::Cancel { piece, begin, len: BLOCK_LEN - n % 2 }.encode_into(&mut bytes);
    }
    for _ in 0..1000 {
        t.raw(peer, &bytes);
    }
    assert!(!t.is_closed(peer) && t.said(peer).is_empty());
    assert_eq!((t.jobs(), t.waiting(peer)), (jobs, 0));
    t.hold_disk(false);
    assert_eq!(count(&t.said(peer), "piece"), 512, "and nothing else was forgotten");
}

#[test]
fn cancelled_requests_are_answered_once_and_read_no_more() {
    let mut t = seed();
    t.hold_disk(true);
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    t.said(peer);
    for n in 0..10_000 {
        let block = block(n % PIECES, n % 2);
        hear_all(&mut t, peer, [block.request(), block.cancel()]);
    }
    let conf = Conf::default();
    assert!(
        t.jobs() <= conf.uploads.max_unsent / BLOCK_LEN as usize,
        "{} blocks are being read",
        t.jobs()
    );
    t.hold_disk(false);
    let said = t.said(peer);
    assert_eq!((count(&said, "reject"), count(&said, "piece")), (10_000, 0));
}

#[test]
fn flapping_interest_is_not_answered_each_time() {
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::HaveNone);
    t.said(peer);
    hear_all(&mut t, peer, (0..10_000).flat_map(|_| [Message::Interested, Message::NotInterested]));
    hear_all(&mut t, peer, [Message::Interested]);
    let mut said = t.said(peer);
    // One message at a time, too.
    (0..10_000).for_each(|n| {
        t.hear(peer, if n % 2 == 0 { Message::NotInterested } else { Message::Interested })
    });
    said.extend(t.said(peer));
    assert!(said.len() <= 20, "{} messages, such as {:?}", said.len(), &said[..20]);
    assert_eq!(said.len(), count(&said, "choke") + count(&said, "unchoke"));
    assert!(!t.is_closed(peer));
}

#[test]
fn flapping_upload_only_is_not_answered_each_time() {
    let mut t = Trace::with(Conf::default(), 0..16);
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    t.said(peer);
    for n in 0..10_000 {
        let flag: &[u8] = if n % 2 == 0 { b"\x01" } else { b"\0" };
        t.hear(peer, Message::Extended { id: UPLOAD_ONLY_ID, payload: flag });
    }
    let said = t.said(peer);
    assert!(
        said.len() <= 20 && !t.is_closed(peer),
        "{} messages, such as {:?}",
        said.len(),
        &said[..20]
    );
}

#[test]
fn a_peer_that_allows_and_rejects_for_ever_is_let_go() {
    let mut t = leech();
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveAll, Message::AllowedFast(5)]);
    let mut turned_down = 0;
    while !t.is_closed(peer) {
        let asked = t.take_asked(peer);
        assert!(turned_down <= 1100, "it is still asked");
        for (piece, nth) in asked {
            turned_down += 1;
            t.hear(peer, block(piece, nth).reject());
        }
        t.hear(peer, Message::AllowedFast(5));
        t.pass(S / 10);
    }
    assert!(t.reason().contains("turned down more than"), "{}", t.reason());
}

#[test]
fn a_bitfield_of_an_upload_only_peer_is_checked_like_any_other() {
    let mut t = leech();
    let peer = t.peer();
    greet(&mut t, peer, |h| h.upload_only = Some(true));
    let mut bits = Bitfield::all(PIECES).to_wire();
    *bits.last_mut().unwrap() |= 1;
    t.hear(peer, Message::Bitfield(&bits));
    assert!(t.is_closed(peer));
}

// What cannot be read.

#[test]
fn peer_without_reject_is_let_go_when_its_reads_fail() {
    let mut t = seed();
    let (plain, fast) = (t.plain_peer(), t.peer());
    for peer in [plain, fast] {
        t.hear(peer, Message::Interested);
        assert_eq!(t.said(peer).last().unwrap(), "unchoke");
    }
    t.fail_reads(true);
    t.hear(fast, block(1, 0).request());
    assert_eq!(t.said(fast), [format!("reject 1:0+{BLOCK_LEN}")]);
    // It waits for the block, and nothing in BEP 3 says that it will not come.
    t.hear(plain, block(1, 0).request());
    assert!(t.is_closed(plain) && t.reason().contains("cannot be read"), "{}", t.reason());
}

#[test]
fn failing_disk_is_told_once_a_minute_and_ends_greedy_peers() {
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::Interested);
    t.fail_reads(true);
    for n in 0..45 {
        t.pass(2 * S);
        t.hear(peer, block(n % PIECES, 0).request());
    }
    let told =
        |t: &Trace| t.alerts().iter().filter(|a| matches!(a, Alert::ReadFailed { .. })).count();
    assert_eq!((told(&t), t.is_closed(peer)), (2, false));
    // It works again for a moment, so they were not fifty in a row.
    t.fail_reads(false);
    t.hear(peer, block(0, 0).request());
    t.fail_reads(true);
    for n in 0..50 {
        t.hear(peer, block(n % PIECES, 0).request());
    }
    assert!(!t.is_closed(peer));
    t.hear(peer, block(0, 0).request());
    assert!(t.is_closed(peer), "it would go on for ever");
    assert_eq!(told(&t), 2);
}

// Slots.

/// Who of these is unchoked.
fn unchoked(t: &Trace, from: std::net::Ipv4Addr) -> usize {
    t.engine.peers(t.torrent).iter().filter(|p| p.addr.ip() == from && p.peer_unchoked).count()
}

#[test]
fn host_with_many_connections_has_one_slot_while_others_wait() {
    let mut t = Trace::seed(Conf::default().with(|conf| conf.uploads.slots = Some(4)));
    let thief = std::net::Ipv4Addr::new(20, 0, 0, 1);
    let come = |t: &mut Trace, ip: std::net::Ipv4Addr, n: u16| {
        let peer = t.accept_at((ip, 1000 + n)).unwrap();
        let mut id = *b"-XX0000-............";
        id[16..].copy_from_slice(&ip.octets());
        id[14..16].copy_from_slice(&n.to_be_bytes());
        t.raw(peer, &trace::hello(id));
        t.hear(peer, Message::HaveNone);
        t.hear(peer, Message::Interested);
        peer
    };
    let mut thieves: Vec<PeerNo> = (0..8).map(|n| come(&mut t, thief, n)).collect();
    assert_eq!(unchoked(&t, thief), 4, "no other peer is there");
    let others: Vec<_> = (0..7u8)
        .map(|n| {
            (std::net::Ipv4Addr::new(21, 0, 0, n), come(&mut t, [21, 0, 0, n].into(), u16::from(n)))
        })
        .collect();
    t.pass(40 * S);
    let (mut stolen, mut given) = (0, vec![0; others.len()]);
    for round in 0..360u16 {
        t.pass(10 * S);
        stolen += unchoked(&t, thief);
        assert!(unchoked(&t, thief) <= 1, "round {round}");
        for ((ip, peer), given) in others.iter().zip(&mut given) {
            *given += unchoked(&t, *ip);
            t.hear(*peer, Message::KeepAlive);
        }
        // It comes anew now and then.
        let away = thieves.remove(0);
        t.lose(away);
        thieves.push(come(&mut t, thief, 8 + round));
        thieves.iter().for_each(|&thief| t.hear(thief, Message::KeepAlive));
    }
    let least = *given.iter().min().unwrap();
    // A host's part would be 180.
    assert!(stolen <= 240 && least >= 150, "{stolen} rounds for the thief, {given:?} for others");
    others.iter().for_each(|(_, peer)| t.lose(*peer));
    t.pass(20 * S);
    assert_eq!(unchoked(&t, thief), 4, "no slot stays empty for it");
}
