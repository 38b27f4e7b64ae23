//! What we give, as logs of single sessions: what a choked peer may have, what is suggested, who wants nothing, what a super-seed shows,
//! and what those get who ask for more than their part.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod trace;

use std::{collections::BTreeSet, time::Duration};

use cratetorrent::{
    Alert, BLOCK_LEN, Bitfield, Conf,
    wire::{
        extension::{ExtensionHandshake, UPLOAD_ONLY_ID},
        message::Message,
    },
};
use trace::{PIECES, PeerNo, Trace, block};

const S: Duration = Duration::from_secs(1);

fn seed() -> Trace {
    Trace::seed(Conf::default())
}

fn leech() -> Trace {
    Trace::leech(Conf::default())
}

/// The pieces in lines like `have 3`.
fn pieces(said: &[String], what: &str) -> Vec<u32> {
    said.iter().filter_map(|line| line.strip_prefix(what)?.strip_prefix(' ')?.parse().ok()).collect()
}

fn count(said: &[String], what: &str) -> usize {
    said.iter().filter(|line| line.starts_with(what)).count()
}

fn hear_all(t: &mut Trace, peer: PeerNo, messages: impl IntoIterator<Item = Message<'static>>) {
    let mut bytes = Vec::new();
    messages.into_iter().for_each(|message| message.encode_into(&mut bytes));
    t.raw(peer, &bytes);
}

fn has(pieces: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut bits = vec![0; PIECES.div_ceil(8) as usize];
    pieces.into_iter().for_each(|piece| bits[piece as usize / 8] |= 0x80 >> (piece % 8));
    bits
}

fn hello(change: impl FnOnce(&mut ExtensionHandshake)) -> Vec<u8> {
    let mut hello = ExtensionHandshake::default();
    change(&mut hello);
    hello.encode()
}

fn greet(t: &mut Trace, peer: PeerNo, change: impl FnOnce(&mut ExtensionHandshake)) {
    t.hear(peer, Message::Extended { id: 0, payload: &hello(change) });
}

/// What the extension handshakes among these messages say of `upload_only`.
fn upload_only(extended: &[(u8, Vec<u8>)]) -> Vec<Option<bool>> {
    let hellos = extended.iter().filter(|(id, _)| *id == 0);
    hellos.map(|(_, payload)| ExtensionHandshake::decode(payload).unwrap().upload_only).collect()
}

/// `from`, which has everything, delivers until nothing is asked for.
fn complete(t: &mut Trace, from: PeerNo) {
    loop {
        let asked = t.asked(from);
        t.said(from);
        if asked.is_empty() {
            break;
        }
        asked.into_iter().for_each(|(piece, nth)| t.deliver(from, piece, nth));
    }
    assert_eq!(t.stats().have, PIECES);
}

// Allowed fast (BEP 6).

/// A seed and a peer that has nothing, with the pieces that the peer is allowed.
fn choked() -> (Trace, PeerNo, Vec<u32>) {
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::HaveNone);
    let said = t.said(peer);
    let allowed = pieces(&said, "allowed fast");
    assert_eq!((said.len(), allowed.len()), (5, 5), "{said:?}");
    (t, peer, allowed)
}

#[test]
fn a_starting_peer_is_served_its_allowed_pieces_while_it_is_choked_and_no_others() {
    let (mut t, peer, allowed) = choked();
    for piece in 0..PIECES {
        t.hear(peer, block(piece, 0).request());
        let said = t.said(peer);
        let want = if allowed.contains(&piece) { "piece" } else { "reject" };
        assert!(said.len() == 1 && said[0].starts_with(want), "{piece}: {said:?}");
    }
    // Nobody may use what is offered to another.
    let other = t.plain_peer();
    t.hear(other, block(allowed[0], 0).request());
    assert_eq!(t.said(other), [""; 0]);
}

#[test]
fn who_needs_no_allowed_pieces_is_offered_none() {
    let offered = |t: &mut Trace, peer: PeerNo| pieces(&t.said(peer), "allowed fast");
    // It has five pieces.
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::Bitfield(&has(0..5)));
    assert_eq!(offered(&mut t, peer), [0; 0]);
    // It has four; of those none is offered.
    let peer = t.peer();
    t.hear(peer, Message::Bitfield(&has(0..4)));
    assert!(offered(&mut t, peer).iter().all(|&piece| piece >= 4));
    // It knows no fast extension.
    let peer = t.plain_peer();
    t.hear(peer, Message::Have(0));
    assert_eq!(offered(&mut t, peer), [0; 0]);
    // It wants no data.
    let mut t = Trace::with(Conf::default(), 0..16);
    let peer = t.peer();
    greet(&mut t, peer, |h| h.upload_only = Some(true));
    t.hear(peer, Message::HaveNone);
    assert_eq!(offered(&mut t, peer), [0; 0]);
    // We want to offer none.
    let mut t = Trace::seed(Conf { allowed_fast: 0, ..Conf::default() });
    let peer = t.peer();
    t.hear(peer, Message::HaveNone);
    assert_eq!(offered(&mut t, peer), [0; 0]);
    // We want to offer all.
    let mut t = Trace::seed(Conf { allowed_fast: 100, ..Conf::default() });
    let peer = t.peer();
    t.hear(peer, Message::Have(3));
    assert_eq!(offered(&mut t, peer).len() as u32, PIECES - 1);
}

#[test]
fn only_what_we_have_is_offered_and_the_rest_when_it_comes() {
    let (.., set) = choked();
    let mut t = Trace::with(Conf::default(), [set[1]]);
    // Both are of the same network as the one above.
    let (from, peer) = (t.peer(), t.peer());
    hear_all(&mut t, from, [Message::HaveAll, Message::Unchoke]);
    t.hear(peer, Message::HaveNone);
    assert_eq!(pieces(&t.said(peer), "allowed fast"), [set[1]]);
    complete(&mut t, from);
    let said = t.said(peer);
    let later: BTreeSet<u32> = pieces(&said, "allowed fast").into_iter().collect();
    assert_eq!(later, set.iter().copied().filter(|&piece| piece != set[1]).collect());
    for &piece in &later {
        let at = |what: &str| said.iter().position(|line| *line == format!("{what} {piece}")).unwrap();
        assert!(at("have") < at("allowed fast"));
    }
}

#[test]
fn allowed_pieces_can_be_had_three_times_and_whoever_wants_more_is_let_go() {
    let (mut t, peer, allowed) = choked();
    for _ in 0..3 {
        hear_all(&mut t, peer, [block(allowed[0], 0).request(), block(allowed[0], 1).request()]);
        assert_eq!(count(&t.said(peer), "piece"), 2);
    }
    for n in 0..50 {
        t.hear(peer, block(allowed[0], n % 2).request());
        assert_eq!(count(&t.said(peer), "reject"), 1);
    }
    // The others are not used up.
    t.hear(peer, block(allowed[1], 0).request());
    assert_eq!(count(&t.said(peer), "piece"), 1);
    t.hear(peer, block(allowed[0], 0).request());
    assert!(t.is_closed(peer) && t.reason().contains("50 times too often"), "{}", t.reason());
}

#[test]
fn an_unchoked_peer_has_its_allowed_pieces_as_often_as_it_likes() {
    let (mut t, peer, allowed) = choked();
    t.hear(peer, Message::Interested);
    assert_eq!(t.said(peer), ["unchoke"]);
    for _ in 0..100 {
        t.hear(peer, block(allowed[0], 0).request());
    }
    assert_eq!(count(&t.said(peer), "piece"), 100);
}

#[test]
fn whoever_goes_on_asking_while_it_is_choked_is_let_go() {
    for fast in [true, false] {
        let mut t = Trace::seed(Conf { allowed_fast: 0, ..Conf::default() });
        let peer = if fast { t.peer() } else { t.plain_peer() };
        hear_all(&mut t, peer, (0..2000).map(|n| block(n % PIECES, 0).request()));
        assert_eq!(count(&t.said(peer), "reject"), if fast { 2000 } else { 0 });
        assert!(!t.is_closed(peer));
        t.hear(peer, block(0, 0).request());
        assert!(t.is_closed(peer) && t.reason().contains("while it was choked"), "{}", t.reason());
    }
}

// Suggest (BEP 6).

#[test]
fn a_piece_is_suggested_once_to_those_who_are_interested_and_lack_it() {
    let mut t = seed();
    let peers: Vec<PeerNo> = (0..4).map(|_| t.peer()).collect();
    let plain = t.plain_peer();
    t.hear(peers[0], Message::HaveNone);
    t.hear(peers[1], Message::Bitfield(&has([7])));
    t.hear(peers[2], Message::HaveNone);
    for peer in [peers[0], peers[1], plain] {
        t.hear(peer, Message::Interested);
    }
    peers.iter().chain([&plain]).for_each(|&peer| _ = t.said(peer));
    for _ in 0..3 {
        t.tell(|engine, id| engine.suggest_piece(id, 7)).unwrap();
    }
    assert_eq!(t.said(peers[0]), ["suggest 7"]);
    for peer in [peers[1], peers[2], peers[3], plain] {
        assert_eq!(t.said(peer), [""; 0]);
    }
}

#[test]
fn suggestions_wait_until_some_were_fetched() {
    let mut t = seed();
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    t.said(peer);
    (0..PIECES).for_each(|piece| t.tell(|engine, id| engine.suggest_piece(id, piece)).unwrap());
    assert_eq!(pieces(&t.said(peer), "suggest"), (0..8).collect::<Vec<_>>());
    t.hear(peer, Message::Have(3));
    for piece in [3, 9, 10] {
        t.tell(|engine, id| engine.suggest_piece(id, piece)).unwrap();
    }
    assert_eq!(pieces(&t.said(peer), "suggest"), [9], "what it has is not suggested again");
    // What there is not cannot be suggested.
    t.tell(|engine, id| engine.suggest_piece(id, PIECES)).unwrap();
    let mut t = Trace::with(Conf::default(), [1]);
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    t.said(peer);
    t.tell(|engine, id| engine.suggest_piece(id, 2)).unwrap();
    assert_eq!(t.said(peer), [""; 0]);
}

#[test]
fn what_was_just_completed_is_suggested_if_that_is_wanted() {
    for suggest in [true, false] {
        let mut t = Trace::with(Conf { suggest, allowed_fast: 0, ..Conf::default() }, [0]);
        let (from, to) = (t.peer(), t.peer());
        hear_all(&mut t, to, [Message::HaveNone, Message::Interested]);
        hear_all(&mut t, from, [Message::HaveAll, Message::Unchoke]);
        t.said(to);
        let piece = t.first_request(from);
        t.deliver(from, piece, 0);
        t.deliver(from, piece, 1);
        let have = format!("have {piece}");
        let suggestion = format!("suggest {piece}");
        assert_eq!(t.said(to), if suggest { vec![have, suggestion] } else { vec![have] });
    }
}

// Upload-only (BEP 21).

#[test]
fn a_seed_says_that_it_wants_nothing_and_a_leech_does_not() {
    let mut t = seed();
    let peer = t.peer();
    assert_eq!(upload_only(&t.extended(peer)), [Some(true)]);
    let mut t = Trace::with(Conf::default(), 0..16);
    let peer = t.peer();
    let extended = t.extended(peer);
    assert_eq!(upload_only(&extended), [None]);
    let hello = ExtensionHandshake::decode(&extended[0].1).unwrap();
    assert_eq!(hello.id_of(b"upload_only"), Some(UPLOAD_ONLY_ID));
}

#[test]
fn whoever_wants_nothing_is_not_interested_until_it_takes_that_back() {
    let say = |t: &mut Trace, peer, flag: &'static [u8]| t.hear(peer, Message::Extended { id: UPLOAD_ONLY_ID, payload: flag });
    let stands = |t: &Trace, peer| {
        let peer = t.peer_stats(peer);
        (peer.upload_only, peer.peer_interested, peer.peer_unchoked)
    };
    let mut t = Trace::with(Conf::default(), 0..16);
    let peer = t.peer();
    greet(&mut t, peer, |h| h.upload_only = Some(true));
    t.hear(peer, Message::Bitfield(&has([16])));
    t.hear(peer, Message::Interested);
    assert_eq!(stands(&t, peer), (true, false, false));
    // A handshake that does not speak of it changes nothing, nor does nonsense.
    greet(&mut t, peer, |_| ());
    say(&mut t, peer, b"\0\0");
    assert_eq!(stands(&t, peer), (true, false, false));
    say(&mut t, peer, b"\0");
    assert_eq!(stands(&t, peer), (false, true, true), "it has been interested all the time");
    say(&mut t, peer, b"\x01");
    assert!(stands(&t, peer).0 && !stands(&t, peer).1);
    greet(&mut t, peer, |h| h.upload_only = Some(false));
    assert!(!stands(&t, peer).0 && stands(&t, peer).1);
    assert!(!t.is_closed(peer));
    // Whoever has everything wants nothing, whatever it says.
    t.hear(peer, Message::Bitfield(&has(0..PIECES)));
    assert!(stands(&t, peer).0);
}

#[test]
fn a_leech_keeps_those_who_only_upload_and_a_seed_parts_from_them() {
    let mut t = Trace::with(Conf::default(), 0..16);
    let keeps = t.peer();
    greet(&mut t, keeps, |h| h.upload_only = Some(true));
    t.hear(keeps, Message::Bitfield(&has([16])));
    assert!(!t.is_closed(keeps));
    assert!(t.said(keeps).contains(&"interested".to_owned()));
    // When we have what was missing, nothing is left to do.
    t.hear(keeps, Message::Unchoke);
    complete(&mut t, keeps);
    assert!(t.is_closed(keeps) && t.reason() == "both only upload", "{}", t.reason());

    let mut t = seed();
    let peer = t.dial();
    t.raw(peer, &trace::hello(*b"-XX0000-peer........"));
    t.hear(peer, Message::Bitfield(&has([3])));
    t.pass(S);
    assert!(!t.is_closed(peer));
    t.hear(peer, Message::Extended { id: UPLOAD_ONLY_ID, payload: b"\x01" });
    assert!(t.is_closed(peer) && t.reason() == "both only upload", "{}", t.reason());
    t.pass(3600 * S);
    assert!(t.new_dials().is_empty(), "it is of no use to dial it again");
}

#[test]
fn on_completion_those_who_stay_are_told_as_they_wish() {
    let mut t = Trace::with(Conf::default(), 0..14);
    let (from, by_message, by_handshake, plain) = (t.peer(), t.peer(), t.peer(), t.plain_peer());
    greet(&mut t, by_message, |h| h.set(b"upload_only", 77).unwrap());
    greet(&mut t, by_handshake, |h| h.set(b"upload_only", 0).unwrap());
    for peer in [by_message, by_handshake, plain] {
        t.hear(peer, Message::Have(1));
        t.extended(peer);
    }
    hear_all(&mut t, from, [Message::HaveAll, Message::Unchoke]);
    complete(&mut t, from);
    assert!(t.is_closed(from), "both have everything");
    assert_eq!(t.extended(by_message), [(77, vec![1])]);
    assert_eq!(upload_only(&t.extended(by_handshake)), [Some(true)]);
    assert!(t.extended(plain).is_empty() && !t.is_closed(plain));
    assert!(t.alerts().iter().any(|a| matches!(a, Alert::Finished { .. })));
}

// What we have, and what they tell of it.

#[test]
fn what_we_have_is_told_in_the_shortest_way() {
    let told = |pieces: std::ops::Range<u32>| {
        let mut t = Trace::with(Conf::default(), pieces);
        t.peer();
        let fast = t.greeting().pop().unwrap();
        t.plain_peer();
        (fast, t.greeting().pop().unwrap())
    };
    assert_eq!(told(0..0), ("have none".into(), "hello".into()));
    assert_eq!(told(0..1), ("bitfield".into(), "bitfield".into()));
    assert_eq!(told(1..PIECES), ("bitfield".into(), "bitfield".into()));
    assert_eq!(told(0..PIECES), ("have all".into(), "bitfield".into()));
}

#[test]
fn however_a_peer_tells_that_it_has_everything_it_is_a_seed() {
    let all = has(0..PIECES);
    let ways: [&[Message<'_>]; 4] = [
        &[Message::HaveAll],
        &[Message::Bitfield(&all)],
        &[Message::Have(4), Message::HaveAll],
        &[Message::HaveNone, Message::Have(1), Message::Bitfield(&all)],
    ];
    for way in ways {
        let mut t = leech();
        let peer = t.peer();
        way.iter().for_each(|&message| t.hear(peer, message));
        assert_eq!((t.stats().seeds, t.peer_stats(peer).have), (1, PIECES), "{way:?}");
        t.hear(peer, Message::Unchoke);
        complete(&mut t, peer);
        assert!(t.is_closed(peer));
    }
    // By single Haves as well.
    let mut t = seed();
    let peer = t.peer();
    (0..PIECES).for_each(|piece| t.hear(peer, Message::Have(piece)));
    assert!(t.is_closed(peer) && t.reason() == "both have everything", "{}", t.reason());
}

// Super-seeding (BEP 16).

fn super_seed() -> Trace {
    Trace::super_seed(Conf::default())
}

/// A peer of a super-seed that has nothing and is interested in the first piece it is shown.
fn shown(t: &mut Trace) -> (PeerNo, u32) {
    let peer = t.peer();
    assert_eq!(t.greeting(), ["hello", "extended 0", "have none"]);
    assert_eq!(upload_only(&t.extended(peer)), [None], "or it would leave with its first piece");
    hear_all(t, peer, [Message::HaveNone, Message::Interested]);
    let said = t.said(peer);
    let first = pieces(&said, "have");
    assert_eq!((first.len(), count(&said, "allowed fast")), (1, 0), "{said:?}");
    (peer, first[0])
}

#[test]
fn a_super_seed_shows_each_peer_another_piece_and_serves_nothing_else() {
    let mut t = super_seed();
    let peers: Vec<_> = (0..4).map(|_| shown(&mut t)).collect();
    let different: BTreeSet<u32> = peers.iter().map(|&(_, piece)| piece).collect();
    assert_eq!(different.len(), 4);
    for &(peer, piece) in &peers {
        let hidden = (piece + 1) % PIECES;
        hear_all(&mut t, peer, [block(piece, 0).request(), block(hidden, 0).request()]);
        let said = t.said(peer);
        assert!(count(&said, "piece") == 1 && count(&said, "reject") == 1, "{said:?}");
    }
    // It has no part in that which it was not shown, however often it asks.
    let (peer, piece) = peers[0];
    hear_all(&mut t, peer, (0..300).map(|_| block((piece + 1) % PIECES, 0).request()));
    assert!(t.is_closed(peer));
    // Without the fast extension nothing is said of what we have, before a piece is shown.
    let plain = t.plain_peer();
    let said = t.said(plain);
    assert_eq!(t.greeting()[..1], ["hello"]);
    assert_eq!(pieces(&said, "have").len() + pieces(&t.greeting(), "have").len(), 1, "{said:?}");
}

#[test]
fn whoever_has_what_it_was_shown_already_is_shown_another_piece() {
    let mut t = super_seed();
    shown(&mut t);
    let plain = t.plain_peer();
    let mut said = t.greeting();
    said.extend(t.said(plain));
    let first = pieces(&said, "have")[0];
    t.hear(plain, Message::Bitfield(&has([first])));
    let second = pieces(&t.said(plain), "have");
    assert!(second.len() == 1 && second[0] != first, "{second:?}");
}

#[test]
fn the_next_piece_is_shown_when_the_last_was_passed_on() {
    let mut t = super_seed();
    let ((a, piece), (b, of_b)) = (shown(&mut t), shown(&mut t));
    hear_all(&mut t, a, [block(piece, 0).request(), block(piece, 1).request(), Message::Have(piece), Message::NotInterested]);
    assert_eq!(pieces(&t.said(a), "have"), [0; 0], "it has not passed it on");
    t.hear(b, Message::Have(piece));
    let next = pieces(&t.said(a), "have");
    assert!(next.len() == 1 && next[0] != piece && next[0] != of_b, "{next:?}");
    assert_eq!(pieces(&t.said(b), "have"), [0; 0], "what it was shown itself is still to be fetched");
    // Its own word does not count as another's.
    t.hear(a, Message::Have(next[0]));
    assert_eq!(pieces(&t.said(a), "have"), [0; 0]);
    // Somebody who comes with it does.
    let c = t.peer();
    t.hear(c, Message::Bitfield(&has([next[0]])));
    assert_eq!(pieces(&t.said(a), "have").len(), 1);
}

#[test]
fn a_lone_peer_is_shown_the_next_piece_as_soon_as_it_has_asked_for_the_last() {
    let mut t = super_seed();
    let (peer, mut piece) = shown(&mut t);
    let mut seen = BTreeSet::from([piece]);
    for n in 1.. {
        t.hear(peer, block(piece, 0).request());
        assert_eq!(pieces(&t.said(peer), "have"), [0; 0]);
        t.hear(peer, block(piece, 1).request());
        let next = pieces(&t.said(peer), "have");
        if next.is_empty() {
            assert_eq!(n, PIECES, "it was shown everything");
            break;
        }
        piece = next[0];
        assert!(next.len() == 1 && seen.insert(piece));
    }
    // One that wants nothing is nobody to pass it on to.
    let mut t = super_seed();
    let (peer, piece) = shown(&mut t);
    let (other, _) = shown(&mut t);
    hear_all(&mut t, peer, [Message::Have(piece)]);
    assert_eq!(pieces(&t.said(peer), "have"), [0; 0]);
    t.lose(other);
    assert_eq!(pieces(&t.said(peer), "have").len(), 1);
}

#[test]
fn peers_that_cannot_reach_each_other_are_shown_more_after_a_while() {
    let mut t = super_seed();
    let ((a, piece), (b, _)) = (shown(&mut t), shown(&mut t));
    t.pass(119 * S);
    t.hear(b, Message::KeepAlive);
    hear_all(&mut t, a, [block(piece, 0).request(), block(piece, 1).request()]);
    t.said(a);
    t.pass(119 * S);
    assert_eq!(pieces(&t.said(a), "have"), [0; 0]);
    t.pass(S);
    assert_eq!(pieces(&t.said(a), "have").len(), 1);
    t.hear(a, Message::KeepAlive);
    assert_eq!(pieces(&t.said(b), "have"), [0; 0], "it has not asked for what it was shown");
    t.pass(130 * S);
    assert_eq!(pieces(&t.said(a), "have"), [0; 0]);
}

#[test]
fn a_peer_that_leaves_with_a_piece_has_not_passed_it_on() {
    let mut t = super_seed();
    let shown_at_first: Vec<_> = (0..PIECES).map(|_| shown(&mut t)).collect();
    assert_eq!(shown_at_first.iter().map(|s| s.1).collect::<BTreeSet<_>>().len() as u32, PIECES);
    t.lose(shown_at_first[5].0);
    assert_eq!(shown(&mut t).1, shown_at_first[5].1, "it is the rarest again");
}

#[test]
fn super_seeding_can_end_and_begin() {
    let mut t = super_seed();
    let (peer, piece) = shown(&mut t);
    greet(&mut t, peer, |h| h.set(b"upload_only", 9).unwrap());
    t.tell(|engine, id| engine.set_super_seeding(id, false)).unwrap();
    let told: BTreeSet<u32> = pieces(&t.said(peer), "have").into_iter().collect();
    assert_eq!(told, (0..PIECES).filter(|&p| p != piece).collect());
    assert_eq!(t.extended(peer), [(9, vec![1])]);
    t.hear(peer, block((piece + 1) % PIECES, 0).request());
    assert_eq!(count(&t.said(peer), "piece"), 1);
    let open = t.peer();
    assert_eq!(t.greeting()[2], "have all");
    t.tell(|engine, id| engine.set_super_seeding(id, true)).unwrap();
    t.hear(open, Message::HaveNone);
    assert!(!t.is_closed(open), "it knows already and is served");
    shown(&mut t);
}

#[test]
fn a_leech_that_is_to_super_seed_begins_when_it_has_everything() {
    let mut t = leech();
    t.tell(|engine, id| engine.set_super_seeding(id, true)).unwrap();
    let (from, early) = (t.peer(), t.peer());
    t.hear(early, Message::HaveNone);
    hear_all(&mut t, from, [Message::HaveAll, Message::Unchoke]);
    t.extended(early);
    complete(&mut t, from);
    assert_eq!(pieces(&t.said(early), "have").len() as u32, PIECES);
    assert!(t.extended(early).is_empty());
    shown(&mut t);
}

// Attacks.

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
fn asking_and_cancelling_is_answered_once_each_and_has_no_more_read_than_asking() {
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
    assert!(t.jobs() <= conf.max_unsent / BLOCK_LEN as usize, "{} blocks are being read", t.jobs());
    t.hold_disk(false);
    let said = t.said(peer);
    assert_eq!((count(&said, "reject"), count(&said, "piece")), (10_000, 0));
}

#[test]
fn a_peer_that_does_not_know_whether_it_is_interested_is_not_answered_each_time() {
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::HaveNone);
    t.said(peer);
    hear_all(&mut t, peer, (0..10_000).flat_map(|_| [Message::Interested, Message::NotInterested]));
    hear_all(&mut t, peer, [Message::Interested]);
    let mut said = t.said(peer);
    // One message at a time, too.
    (0..10_000).for_each(|n| t.hear(peer, if n % 2 == 0 { Message::NotInterested } else { Message::Interested }));
    said.extend(t.said(peer));
    assert!(said.len() <= 20, "{} messages, such as {:?}", said.len(), &said[..20]);
    assert_eq!(said.len(), count(&said, "choke") + count(&said, "unchoke"));
    assert!(!t.is_closed(peer));
}

#[test]
fn flapping_between_wanting_and_not_wanting_data_is_not_answered_each_time() {
    let mut t = Trace::with(Conf::default(), 0..16);
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    t.said(peer);
    for n in 0..10_000 {
        let flag: &[u8] = if n % 2 == 0 { b"\x01" } else { b"\0" };
        t.hear(peer, Message::Extended { id: UPLOAD_ONLY_ID, payload: flag });
    }
    let said = t.said(peer);
    assert!(said.len() <= 20 && !t.is_closed(peer), "{} messages, such as {:?}", said.len(), &said[..20]);
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
fn whoever_cannot_be_told_no_is_let_go_when_nothing_can_be_read_for_it() {
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
fn a_failing_disk_is_told_of_once_a_minute_and_whoever_asks_on_and_on_is_let_go() {
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::Interested);
    t.fail_reads(true);
    for n in 0..45 {
        t.pass(2 * S);
        t.hear(peer, block(n % PIECES, 0).request());
    }
    let told = |t: &Trace| t.alerts().iter().filter(|a| matches!(a, Alert::ReadFailed { .. })).count();
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
fn one_host_with_many_connections_has_one_slot_of_a_seed_while_others_wait() {
    let mut t = Trace::seed(Conf { upload_slots: Some(4), ..Conf::default() });
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
    assert_eq!(unchoked(&t, thief), 4, "nobody else is there");
    let others: Vec<_> =
        (0..7u8).map(|n| (std::net::Ipv4Addr::new(21, 0, 0, n), come(&mut t, [21, 0, 0, n].into(), u16::from(n)))).collect();
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
        // It comes anew now and then, which makes it wait longer if anything.
        let away = thieves.remove(0);
        t.lose(away);
        thieves.push(come(&mut t, thief, 8 + round));
        thieves.iter().for_each(|&thief| t.hear(thief, Message::KeepAlive));
    }
    let least = *given.iter().min().unwrap();
    assert!(stolen <= least * 5 / 4 && least > 100, "{stolen} rounds for the thief, {given:?} for others");
    others.iter().for_each(|(_, peer)| t.lose(*peer));
    t.pass(20 * S);
    assert_eq!(unchoked(&t, thief), 4, "no slot stays empty for it");
}
