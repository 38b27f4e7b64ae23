//! Slots as a log: who is told what and when, through the door without I/O.

use std::time::Duration;

use cratetorrent::{Conf, Limits, Rate, conf::SeedChoking, wire::message::Message};

use crate::trace::{Trace, block};

const S: Duration = Duration::from_secs(1);
const NOTHING: [&str; 0] = [];

fn seed(slots: usize) -> Trace {
    Trace::seed(Conf::default().with(|conf| {
        conf.uploads.slots = Some(slots);
        conf.alerts.progress_interval = 1_000_000 * S;
    }))
}

#[test]
fn a_free_slot_is_given_at_once_and_a_freed_one_too() {
    let mut t = seed(1);
    let (a, b, c) = (t.peer(), t.peer(), t.peer());
    t.hear(a, Message::Interested);
    assert_eq!(t.said(a), ["unchoke"]);
    t.hear(b, Message::Interested);
    t.pass(S);
    t.hear(c, Message::Interested);
    assert_eq!((t.said(b), t.said(c)), (vec![], vec![]), "all slots are taken");
    t.hear(a, Message::NotInterested);
    assert_eq!(t.said(a), ["choke"], "it wanted no more, and another peer waits");
    assert_eq!(t.said(b), ["unchoke"], "it waited longest");
    t.lose(b);
    assert_eq!(t.said(c), ["unchoke"]);
    assert_eq!(t.said(a), NOTHING);
}

#[test]
fn flapping_interest_changes_nothing_while_slots_are_free() {
    let mut t = seed(2);
    let peer = t.peer();
    for n in 0..50 {
        t.hear(peer, Message::Interested);
        assert_eq!(t.said(peer), if n == 0 { vec!["unchoke"] } else { vec![] });
        t.hear(peer, Message::NotInterested);
        t.pass(S);
    }
    assert_eq!(t.said(peer), NOTHING);
}

#[test]
fn peer_that_has_everything_gets_no_slot() {
    let mut t = seed(1);
    let (a, b) = (t.peer(), t.peer());
    t.hear(a, Message::Interested);
    t.said(a);
    t.hear(b, Message::Interested);
    t.hear(a, Message::HaveAll);
    assert_eq!(t.said(b), ["unchoke"], "it does not matter what the other says that it wants");
}

#[test]
fn a_choke_comes_after_a_full_turn_and_answers_every_request() {
    let mut t = seed(1);
    let (a, b) = (t.peer(), t.peer());
    t.hear(a, Message::Interested);
    t.hear(b, Message::Interested);
    t.hear(a, block(0, 0).request());
    assert_eq!(t.said(a), ["unchoke", "piece 0:0+16384 good"]);
    for piece in 1..6 {
        t.pass(20 * S);
        t.hear(a, block(piece, 0).request());
        assert_eq!(t.said(a), [format!("piece {piece}:0+16384 good")]);
    }
    assert_eq!(t.said(b), ["keep-alive"]);
    t.hold_disk(true);
    t.hear(a, block(6, 0).request());
    t.pass(20 * S);
    assert_eq!(
        (t.said(a), t.said(b)),
        (vec!["choke".to_owned(), "reject 6:0+16384".to_owned()], vec!["unchoke".to_owned()])
    );
}

#[test]
fn turn_of_a_peer_without_requests_ends_after_thirty_seconds() {
    let mut t = seed(1);
    let (a, b) = (t.peer(), t.peer());
    t.hear(a, Message::Interested);
    t.hear(b, Message::Interested);
    t.hear(a, block(0, 0).request());
    assert_eq!(t.said(a), ["unchoke", "piece 0:0+16384 good"]);
    t.pass(29 * S);
    assert_eq!((t.said(a), t.said(b)), (vec![], vec![]));
    t.pass(11 * S);
    assert_eq!((t.said(a), t.said(b)), (vec!["choke".to_owned()], vec!["unchoke".to_owned()]));
}

#[test]
fn slots_and_policy_can_be_changed_while_running() {
    let mut t = seed(1);
    let peers: Vec<_> = (0..5).map(|_| t.peer()).collect();
    peers.iter().for_each(|&peer| t.hear(peer, Message::Interested));
    let unchoked =
        |t: &mut Trace| t.engine.peers(t.torrent).iter().filter(|p| p.peer_unchoked).count();
    let tell = |t: &mut Trace, slots| {
        t.engine.verbs().set_upload_slots(t.torrent, slots).unwrap();
        t.pass(Duration::ZERO);
    };
    assert_eq!(unchoked(&mut t), 1);
    tell(&mut t, Some(3));
    assert_eq!(unchoked(&mut t), 3);
    tell(&mut t, None);
    assert_eq!(unchoked(&mut t), 5);
    tell(&mut t, Some(2));
    assert_eq!(unchoked(&mut t), 2, "fewer slots are fewer at once");
    tell(&mut t, Some(0));
    assert_eq!(unchoked(&mut t), 0);
    tell(&mut t, Some(2));
    t.engine.verbs().set_seed_choking(t.torrent, SeedChoking::FastestUpload).unwrap();
    t.pass(31 * S);
    let optimistic =
        t.engine.peers(t.torrent).iter().filter(|p| p.peer_unchoked && p.optimistic).count();
    assert!(unchoked(&mut t) == 2 && optimistic >= 1, "{optimistic} of the two are tried");
}

#[test]
fn upload_limit_lowers_the_number_of_slots() {
    let mut t = Trace::seed(Conf::default());
    let peers: Vec<_> = (0..20).map(|_| t.peer()).collect();
    peers.iter().for_each(|&peer| t.hear(peer, Message::Interested));
    let unchoked =
        |t: &mut Trace| t.engine.peers(t.torrent).iter().filter(|p| p.peer_unchoked).count();
    assert_eq!(unchoked(&mut t), 20);
    let limits = |kib: u64| Limits { down: None, up: Rate::new(kib * 1024) };
    t.tell(|engine, torrent| engine.set_torrent_limits(torrent, limits(100))).unwrap();
    assert_eq!(unchoked(&mut t), 7);
    t.tell(|engine, _| engine.set_limits(limits(5)));
    assert_eq!(unchoked(&mut t), 2, "the tighter one counts");
    t.tell(|engine, _| engine.set_limits(limits(0)));
    assert_eq!(unchoked(&mut t), 7);
    t.tell(|engine, torrent| engine.set_torrent_limits(torrent, limits(0))).unwrap();
    assert_eq!(unchoked(&mut t), 20);
}

#[test]
fn choke_timer_is_idle_while_no_peer_waits_for_a_slot() {
    let mut t = seed(2);
    let peers: Vec<_> = (0..3).map(|_| t.peer()).collect();
    t.hear(peers[0], Message::Interested);
    t.hear(peers[1], Message::Interested);
    // The time that greetings may take is over then.
    t.pass(11 * S);
    let next = |t: &Trace| t.engine.poll_timeout().unwrap().since(t.now).as_secs();
    assert!(next(&t) > 60, "{}", next(&t));
    t.hear(peers[2], Message::Interested);
    assert!((9..=10).contains(&next(&t)), "{}", next(&t));
    t.hear(peers[2], Message::NotInterested);
    t.pass(11 * S);
    assert!(next(&t) > 60, "{}", next(&t));
}
