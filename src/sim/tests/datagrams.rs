//! Datagrams of scripts, engines and trackers: what the air does to them, and routers.

use super::*;
use crate::{alert::TrackerStatus, engine::TorrentParams};

/// Keeps what it gets, and answers if told to.
#[derive(Debug, Default)]
struct Post {
    got: Vec<(Instant, SocketAddr, Vec<u8>)>,
    answers: bool,
}

impl Script for Post {
    fn datagram(&mut self, talk: &mut Talk<'_>, from: SocketAddr, bytes: &[u8]) {
        self.got.push((talk.now(), from, bytes.to_vec()));
        if self.answers {
            talk.send_datagram(from, &b"answer"[..]);
        }
    }
}

fn post(answers: bool) -> Post {
    Post { answers, ..Post::default() }
}

/// A thousand numbered datagrams through this air; what came.
fn thousand(air: Air) -> Vec<u32> {
    let mut world = World::new(5);
    let (a, b) = (world.scripted(post(false)), world.scripted(post(false)));
    world.set_air(air);
    let to = world.addr(b);
    for n in 0..1000_u32 {
        assert!(world.send_datagram(a, to, &n.to_be_bytes()));
        world.run_for(millis(1));
    }
    world.run_for(secs(5));
    let number = |bytes: &[u8]| bytes.try_into().map_or(u32::MAX, u32::from_be_bytes);
    world.script::<Post>(b).got.iter().map(|(_, _, bytes)| number(bytes)).collect()
}

#[test]
fn in_clear_air_everything_arrives_in_order_once() {
    let calm = thousand(Air::default());
    assert!(calm.len() == 1000 && calm.is_sorted());
}

#[test]
fn flaky_air_loses_some_datagrams() {
    let some = thousand(Air { lost: 200, ..Air::default() });
    assert!((740..860).contains(&some.len()), "{}", some.len());
}

#[test]
fn flaky_air_doubles_some_datagrams() {
    let twice = thousand(Air { doubled: 100, ..Air::default() });
    assert!((1060..1140).contains(&twice.len()), "{}", twice.len());
}

#[test]
fn flaky_air_reorders_some_datagrams() {
    let mut late = thousand(Air { late: 300, ..Air::default() });
    assert!(!late.is_sorted() && late.len() == 1000);
    late.sort_unstable();
    assert!(late.iter().copied().eq(0..1000));
}

#[test]
fn flaky_air_changes_some_datagrams() {
    let all = thousand(Air { spoilt: 100, ..Air::default() });
    let wrong = all.iter().enumerate().filter(|&(n, &got)| got != n as u32).count();
    assert!((60..140).contains(&wrong), "{wrong}");
}

#[test]
fn rough_air_is_all_of_that_and_the_same_each_time() {
    let rough = thousand(Air::rough());
    assert!(rough.len() > 900 && rough == thousand(Air::rough()));
}

#[test]
fn too_long_datagram_is_refused() {
    let mut world = World::new(1);
    let (a, b) = (world.scripted(post(false)), world.scripted(post(false)));
    let to = world.addr(b);
    assert!(world.send_datagram(a, to, &[0; 1472]) && !world.send_datagram(a, to, &[0; 1473]));
    world.run_for(secs(1));
    assert_eq!(world.script::<Post>(b).got.len(), 1);
}

#[test]
fn datagram_across_a_partition_or_to_no_node_is_lost() {
    let mut world = World::new(1);
    let (a, b) = (world.scripted(post(false)), world.scripted(post(false)));
    let to = world.addr(b);
    world.partition(&[&[a]]);
    world.send_datagram(a, to, b"x");
    world.send_datagram(a, SocketAddr::from(([9, 9, 9, 9], 9)), b"x");
    world.run_for(secs(1));
    world.mend();
    world.run_for(secs(100));
    assert!(world.script::<Post>(b).got.is_empty());
    world.send_datagram(a, to, b"x");
    world.run_for(secs(1));
    assert_eq!(world.script::<Post>(b).got.len(), 1);
}

/// `inside` is behind a router. Whether it gets an answer from the node it wrote to, a letter from
/// another, and the answer after the router has forgotten.
fn routed(rule: Nat, stranger: bool) {
    let mut world = World::new(1);
    let (inside, friend, other) =
        (world.scripted(post(false)), world.scripted(post(true)), world.scripted(post(false)));
    world.set_nat(inside, rule);
    world.set_nat_ttl(inside, secs(60));
    let to = world.addr(friend);
    let got = |world: &World| world.script::<Post>(inside).got.len();
    let seen = |world: &World| world.script::<Post>(friend).got.last().map(|(_, from, _)| *from);
    world.send_datagram(inside, to, b"hello");
    world.run_for(secs(1));
    assert_eq!(got(&world), 1, "an answer gets in");
    let hole = seen(&world).unwrap();
    assert_ne!(
        hole.ip(),
        SocketAddr::from(([10, 0, 0, 1], 6881)).ip(),
        "its own address is not shown"
    );
    world.send_datagram(other, hole, b"you do not know me");
    world.run_for(secs(1));
    assert_eq!(got(&world), 1 + usize::from(stranger));
    world.run_for(secs(100));
    world.send_datagram(friend, hole, b"late");
    world.run_for(secs(1));
    assert_eq!(got(&world), 1 + usize::from(stranger), "it has forgotten");
    world.send_datagram(inside, to, b"hello");
    world.run_for(secs(1));
    assert_eq!(got(&world), 2 + usize::from(stranger));
}

cases! { routed:
    a_full_cone_lets_any_datagram_in_for_a_while => Nat::FullCone, true;
    a_restricted_cone_lets_answers_in_for_a_while => Nat::Restricted, false;
    a_port_restricted_cone_lets_answers_in_for_a_while => Nat::PortRestricted, false;
    a_symmetric_router_lets_answers_in_for_a_while => Nat::Symmetric, false;
}

/// A seed whose tracker is all it has; the tracker.
fn told(world: &mut World, sample: &Arc<Sample>) -> (NodeId, TrackerId) {
    let (tracker, node) = (world.tracker(), world.node(loud()));
    let trackers = Some(vec![vec![world.tracker_url(tracker)]]);
    let params = TorrentParams { trackers, ..world.params(node, sample, &[]) };
    world.put_pieces(node, sample, &Bitfield::all(sample.geometry().piece_count()));
    world.add_torrent(node, sample, params);
    (node, tracker)
}

#[test]
fn tracker_is_told_through_bad_air_in_the_end() {
    let mut world = World::new(7);
    world.set_air(Air { lost: 300, ..Air::rough() });
    let sample = file(100_000, 32 * 1024);
    let (node, tracker) = told(&mut world, &sample);
    let working = |w: &World| {
        w.engine(node).trackers(w.torrent(node)).iter().any(|t| t.status == TrackerStatus::Working)
    };
    assert!(world.run_until(working, secs(600)));
    assert!(!world.told_to(tracker).is_empty());
}

#[test]
fn tracker_hears_as_late_as_the_line_is_long() {
    let told_at = |line: Line| {
        let mut world = World::new(7);
        let sample = file(100_000, 32 * 1024);
        let (node, tracker) = told(&mut world, &sample);
        world.set_line(node, line);
        assert!(world.run_until(|w| !w.told_to(tracker).is_empty(), secs(60)));
        world.told_to(tracker)[0].at
    };
    // To it, back, and to it again: a connection comes before an announce (BEP 15).
    let (near, far) = (told_at(Line::lan()), told_at(Line::satellite()));
    let later = far.since(near);
    assert!((millis(890)..millis(930)).contains(&later), "{later:?}");
}

/// Whether the answers of a tracker get in by a router.
fn routed_tracker(rule: Nat) {
    let mut world = World::new(7);
    let sample = file(100_000, 32 * 1024);
    let (node, tracker) = told(&mut world, &sample);
    world.set_nat(node, rule);
    assert!(world.run_until(|w| !w.told_to(tracker).is_empty(), secs(60)));
}

cases! { routed_tracker:
    tracker_answers_through_a_full_cone => Nat::FullCone;
    tracker_answers_through_a_restricted_cone => Nat::Restricted;
    tracker_answers_through_a_port_restricted_cone => Nat::PortRestricted;
    tracker_answers_through_a_symmetric_router => Nat::Symmetric;
}

#[test]
fn line_that_is_full_takes_no_more_datagrams() {
    let mut world = World::new(1);
    let (a, b) = (world.scripted(post(false)), world.scripted(post(false)));
    world.set_line(a, Line { bandwidth: 1000, ..Line::default() });
    let to = world.addr(b);
    (0..100).for_each(|_| assert!(world.send_datagram(a, to, &[0; 100])));
    world.run_for(secs(60));
    assert_eq!(world.script::<Post>(b).got.len(), 20, "two seconds of its line");
}

#[test]
fn foreign_datagrams_mean_nothing_to_an_engine() {
    let mut world = World::new(1);
    let (node, other) = (world.node(loud()), world.scripted(post(false)));
    let to = world.addr(node);
    for bytes in [&b"d1:q4:ping1:y1:qe"[..], &[0x41; 20], &[0, 0, 0, 1, 1, 2, 3, 4], b"", b"?"] {
        assert!(world.send_datagram(other, to, bytes));
    }
    world.run_for(secs(10));
    assert!(world.script::<Post>(other).got.is_empty());
}
