//! What uTP promises, on virtual time. The large table of paths is in `examples/utp_table.rs`.

use super::*;
use crate::wire::utp::{HEADER_LEN, Header, Kind, Packet, encode_header};

const MB: u64 = 1_000_000;
const MBIT: u64 = 125_000;

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A path, and one back that is as long and has room.
fn world(seed: u64, set: impl FnOnce(&mut Path)) -> UtpWorld {
    let there = Path::default().with(set);
    let back = Path { rate: 0, ..there.clone() };
    UtpWorld::new(seed, there, back, UtpLimits::default())
}

/// Sends `bytes`, closes, and sees that all of it came, in order, and nothing is left.
fn carries(world: &mut UtpWorld, key: Key, bytes: u64) {
    assert!(world.run_until(bytes, at(120_000)).is_some(), "{} of {bytes}", world.read());
    world.close(key);
    world.run(at(60_000));
    assert!(!world.is_broken());
    assert_eq!(world.closed(1), [(UtpClose::End, Some(7))]);
    assert_eq!([0, 1].map(|host| world.stats(host).sockets), [0, 0]);
    assert_eq!([0, 1].map(|host| world.stats(host).memory), [0, 0]);
}

fn packet(kind: Kind, connection: u16, seq: u16, ack: u16, payload: &[u8]) -> Vec<u8> {
    let header = Header { kind, connection, timestamp: 9, delay: 0, window: 1 << 20, seq, ack };
    let mut bytes = Vec::new();
    encode_header(&header, &[], None, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn stranger(n: u32) -> SocketAddr {
    let [_, b, c, d] = n.to_be_bytes();
    SocketAddr::from(([11, b, c, d], 1000))
}

#[test]
fn bytes_arrive_in_order_whatever_happens_on_the_way() {
    for seed in 0..20 {
        let mut world = world(seed, |p| {
            (p.rate, p.loss, p.late, p.twice) = (2 * MB, 1000 * seed, 20_000, 5_000);
        });
        let key = world.dial(500_000);
        carries(&mut world, key, 500_000);
    }
}

#[test]
fn stream_survives_the_wrap_of_every_counter() {
    for (id, seq, now, skew) in [
        (0xFFFF, 0xFFFF, 1, 0),
        (0xFFFE, 0xFFF0, (1 << 32) - 500_000, 0),
        (0, 0, 1, (1 << 32) - 20_000),
        (7, 0x7FF0, 1, (1 << 31) - 20_000),
    ] {
        let mut world = world(1, |p| (p.rate, p.loss) = (MB, 2000));
        world.set_now(Instant::from_micros(now));
        world.set_skew(1, Duration::from_micros(skew));
        let key = world.dial_as(500_000, id, seq);
        carries(&mut world, key, 500_000);
    }
}

#[test]
fn streams_run_both_ways_at_once() {
    let mut world = world(1, |p| p.loss = 5000);
    let key = world.dial(MB);
    world.run(at(200));
    world.answer(MB);
    world.run(at(60_000));
    assert_eq!((world.read(), world.read_back(), world.is_broken()), (MB, MB, false));
    world.close(key);
    world.run(at(10_000));
    assert_eq!(world.stats(1).sockets, 0);
}

#[test]
fn lost_syn_its_lost_answer_and_a_lost_end_are_made_good() {
    for (to, from, until) in [(1, 0, 500), (0, 0, 500), (1, 500, 900), (0, 500, 900)] {
        let mut world = world(3, |_| {});
        world.run(at(1));
        if from == 0 {
            world.path_mut(to).loss = 1_000_000;
        }
        let key = world.dial(1000);
        world.run(at(from));
        if from > 0 {
            world.path_mut(to).loss = 1_000_000;
            world.close(key);
        }
        world.run(at(until - from));
        world.path_mut(to).loss = 0;
        carries(&mut world, key, 1000);
    }
}

#[test]
fn peer_that_never_answers_is_given_up() {
    let mut world = world(1, |p| p.loss = 1_000_000);
    world.dial(1000);
    world.run(at(9_000));
    assert_eq!(world.closed(0), [(UtpClose::TimedOut, None)]);
    assert_eq!(world.stats(0).packets_out, 3);
}

#[test]
fn connection_whose_path_breaks_ends_within_a_minute_or_two() {
    let mut world = world(1, |p| p.rate = MB);
    world.dial(100 * MB);
    world.run(at(2_000));
    assert!(world.read() > 0);
    world.path_mut(1).loss = 1_000_000;
    world.run(at(120_000));
    assert_eq!(world.closed(0), [(UtpClose::TimedOut, None)]);
}

#[test]
fn idle_connection_is_kept_alive_and_keeps_no_memory() {
    let mut world = world(1, |_| {});
    world.dial(MB);
    world.run(at(20_000));
    let before = world.stats(0).packets_out;
    world.run(at(300_000));
    let alive = world.stats(0).packets_out - before;
    assert!((10..=11).contains(&alive), "{alive} in five minutes");
    assert_eq!((world.stats(0).memory, world.stats(1).memory), (0, 0));
    assert_eq!((world.stats(0).sockets, world.stats(1).sockets), (1, 1));
}

/// 1280 bytes with the headers of IPv6 and UDP: a larger one may be lost on any path, for good.
#[test]
fn packets_by_ipv6_are_as_large_as_every_path_carries() {
    for mtu in [1280 - 48, 1500 - 48] {
        let mut world = world(1, |p| (p.mtu, p.rate, p.loss) = (mtu, MB, 5_000));
        world.set_v6();
        let key = world.dial(MB);
        let mut largest = 0;
        for _ in 0..500 {
            world.run(at(1));
            largest = largest.max(world.last().len());
        }
        assert_eq!(largest, 1280 - 48);
        carries(&mut world, key, MB);
        assert_eq!(world.stats(0).timeouts, 0);
    }
}

#[test]
fn packets_grow_to_what_the_path_carries() {
    for (mtu, least) in [(1472, 1452), (1300, 1270), (1232, 1210)] {
        let mut world = world(1, |p| (p.mtu, p.rate) = (mtu, MB));
        let key = world.dial(3 * MB);
        world.run(at(2_000));
        assert!(world.last().len() <= mtu);
        carries(&mut world, key, 3 * MB);
        let sent = world.stats(0).packets_out;
        assert!(sent < 3 * MB / (least - 30), "{sent} packets with {mtu}");
    }
}

#[test]
fn flood_of_spoofed_syns_is_bounded_and_never_amplified() {
    let mut world = world(1, |_| {});
    let limits = UtpLimits::default();
    for n in 0..20_000 {
        world.inject(1, stranger(n), &packet(Kind::Syn, n as u16, 1, 0, b""));
    }
    assert_eq!(world.stats(1).sockets, limits.max_unconfirmed);
    let (came, sent) = world.traffic();
    assert!(sent <= came / 100, "{sent} for {came}");
    assert_eq!(world.sockets(1).poll_event(), None);
    world.run(at(3_001));
    assert_eq!(world.stats(1).sockets, 0);
    let (_, after) = world.traffic();
    assert_eq!(after, sent, "an address that may be another's is told once");
}

#[test]
fn one_host_has_a_share_of_unconfirmed_sockets() {
    let mut world = world(1, |_| {});
    for n in 0..1000 {
        world.inject(1, stranger(7), &packet(Kind::Syn, n * 2, 1, 0, b""));
    }
    assert_eq!(world.stats(1).sockets, UtpLimits::default().max_unconfirmed / 4);
}

#[test]
fn accepted_socket_counts_when_its_peer_has_shown_that_it_hears() {
    let mut world = world(1, |_| {});
    let from = stranger(1);
    world.inject(1, from, &packet(Kind::Syn, 10, 100, 0, b""));
    let answer = Packet::decode(world.last()).unwrap().header;
    assert_eq!((answer.kind, answer.connection, answer.ack), (Kind::State, 10, 100));
    // Its number is not guessed.
    world.inject(1, from, &packet(Kind::Data, 11, 101, answer.seq, b"x"));
    assert_eq!(world.read(), 0);
    world.inject(1, from, &packet(Kind::Data, 11, 101, answer.seq.wrapping_sub(1), b"x"));
    assert_eq!(world.stats(1).packets_in, 1);
}

#[test]
fn reset_counts_only_with_a_number_that_is_on_its_way() {
    let mut world = world(1, |_| {});
    world.dial_as(MB, 500, 1000);
    world.run(at(300));
    let ours = world.addr(1);
    for ack in (0..u16::MAX).step_by(7).filter(|ack| !(900..5000).contains(ack)) {
        world.inject(0, ours, &packet(Kind::Reset, 501, 0, ack, b""));
        world.inject(0, stranger(1), &packet(Kind::Reset, 501, 0, ack, b""));
    }
    assert_eq!(world.closed(0), []);
    world.run(at(20_000));
    assert_eq!(world.read(), MB);
    // The other end has lost its memory, and says so of the last packet.
    let last = 1000 + (MB / 1212) as u16;
    (last - 200..last + 200)
        .for_each(|ack| world.inject(0, ours, &packet(Kind::Reset, 501, 0, ack, b"")));
    assert_eq!(world.closed(0), [(UtpClose::Reset, None)]);
}

#[test]
fn strays_are_answered_once_and_resets_and_states_never() {
    let mut world = world(1, |_| {});
    for round in 0..5 {
        for n in 0..3000 {
            world.inject(1, stranger(n), &packet(Kind::Data, 5, 9, 9, b"hello"));
            world.inject(1, stranger(n), &packet(Kind::Reset, 5, 9, 9, b""));
            world.inject(1, stranger(n), &packet(Kind::State, 5, 9, 9, b""));
        }
        assert_eq!(world.stats(1).resets_out, 1000, "{round}");
    }
    world.run(at(10_000));
    world.inject(1, stranger(1), &packet(Kind::Data, 5, 9, 9, b""));
    assert_eq!(world.stats(1).resets_out, 1001);
    assert_eq!(world.stats(1).sockets, 0);
}

#[test]
fn acknowledgement_of_what_was_never_sent_is_ignored() {
    let mut world = world(1, |p| p.rate = MB);
    world.dial_as(10 * MB, 500, 1000);
    world.run(at(300));
    let ours = world.addr(1);
    let before = world.read();
    for ack in (20_000..50_000).step_by(100) {
        world.inject(0, ours, &packet(Kind::State, 500, 1, ack, b""));
    }
    world.run(at(60_000));
    assert!(world.read() == 10 * MB && before < world.read() && !world.is_broken());
}

#[test]
fn wild_delays_do_not_stop_a_stream() {
    let mut world = world(1, |p| (p.rate, p.queue) = (10 * MBIT, at(500)));
    world.dial_as(100 * MB, 500, 1000);
    world.run(at(5_000));
    let ours = world.addr(1);
    for (n, delay) in [1u32 << 31, (1 << 31) - 2, u32::MAX, 0x7FFF_FFFF, 3].into_iter().enumerate()
    {
        let mut bytes = packet(Kind::State, 500, 1, 999, b"");
        bytes[8..12].copy_from_slice(&delay.wrapping_add(n as u32).to_be_bytes());
        world.inject(0, ours, &bytes);
    }
    let before = world.read();
    world.run(at(10_000));
    let part = (world.read() - before) as f64 / (12.5 * MB as f64);
    assert!(part > 0.9, "{part}");
}

#[test]
fn memory_behind_gaps_is_bounded_over_all_sockets() {
    let limits = UtpLimits { max_memory: 1 << 20, ..UtpLimits::default() };
    let mut world = UtpWorld::new(1, Path::default(), Path::default(), limits);
    for n in 0..40u16 {
        let from = stranger(u32::from(n));
        world.inject(1, from, &packet(Kind::Syn, 10, 100, 0, b""));
        let seq = Packet::decode(world.last()).unwrap().header.seq;
        for gap in 0..2000 {
            let bytes = packet(Kind::Data, 11, 102 + gap, seq.wrapping_sub(1), &[0; 1000]);
            world.inject(1, from, &bytes);
        }
    }
    let stats = world.stats(1);
    assert!(stats.memory <= (1 << 20) + 40 * 20_000, "{}", stats.memory);
    assert!(stats.refused > 0 && stats.sockets == 40);
}

/// What came behind a lost packet may take all the room there is.
#[test]
fn stream_that_uses_its_whole_window_survives_a_loss() {
    for (window, rate, delay, bytes) in
        [(65_536, 10 * MBIT, 26, 20 * MB), (4 << 20, 100 * MB, 25, 100 * MB)]
    {
        let path = Path { rate, delay: at(delay), loss: 1000, ..Path::default() };
        let limits = UtpLimits { max_window: window, ..UtpLimits::default() };
        let mut world = UtpWorld::new(1, path.clone(), Path { rate: 0, ..path }, limits);
        let key = world.dial(bytes);
        carries(&mut world, key, bytes);
    }
}

/// A receiver of 64 KiB whose program stops to read at once, for so long that its window is shut;
/// it is sent more than that.
fn shut(bytes: u64) -> (UtpWorld, Key) {
    let limits = UtpLimits { max_window: 65_536, ..UtpLimits::default() };
    let mut world = UtpWorld::new(1, Path::default(), Path::default(), limits);
    world.set_holds(1, true);
    let key = world.dial(bytes);
    world.run(at(5_000));
    assert!(world.read() == 0 && world.stats(1).memory > 64_000);
    (world, key)
}

#[test]
fn peer_that_does_not_read_for_minutes_is_kept() {
    let (mut world, key) = shut(MB);
    world.run(at(300_000));
    assert_eq!((world.read(), world.closed(0)), (0, vec![]));
    world.set_holds(1, false);
    carries(&mut world, key, MB);
}

#[test]
fn shut_window_is_tried_after_15_s_if_its_opening_is_lost() {
    // The second is written whole, and closed: it has no keep-alive, and 20 s.
    for bytes in [MB, 67_000] {
        let (mut world, key) = shut(bytes);
        world.close(key);
        world.path_mut(0).loss = 1_000_000;
        world.set_holds(1, false);
        world.path_mut(0).loss = 0;
        let before = world.read();
        world.run(at(9_000));
        assert_eq!(world.read(), before, "what opened it is lost");
        assert!(world.run_until(before + 1, at(2_000)).is_some());
        carries(&mut world, key, bytes);
    }
}

#[test]
fn rest_of_a_burst_is_one_shorter_packet_and_no_slivers() {
    let mut world = world(1, |_| {});
    world.dial(100_000);
    world.run(at(10_000));
    let packets = world.stats(0).packets_out;
    // SYN, the data in packets of 1212 bytes or more, a probe.
    assert!(packets <= 100_000 / 1212 + 4, "{packets}");
}

#[test]
fn connection_alone_fills_its_path_and_keeps_the_queue_short() {
    for (mbit, rtt, queue) in [(1, 50, 500), (10, 50, 500), (10, 100, 2000), (50, 20, 100)] {
        let mut world = world(1, |p| {
            (p.rate, p.delay, p.queue) = (mbit * MBIT, at(rtt / 2), at(queue));
        });
        world.dial(u64::MAX / 2);
        world.run(at(10_000));
        _ = world.take_waits();
        let before = world.bottleneck().0;
        world.run(at(20_000));
        let used = (world.bottleneck().0 - before) as f64 / (mbit * MBIT * 20) as f64;
        let [_, wait] = world.take_waits();
        assert!(used >= 0.95 && wait <= at(125), "{mbit} {rtt} {queue}: {used} {wait:?}");
    }
}

#[test]
fn connection_yields_to_a_stream_that_saturates() {
    for (mbit, rtt, queue) in [(10, 50, 500), (10, 50, 100), (50, 20, 2000)] {
        let mut world = world(1, |p| {
            (p.rate, p.delay, p.queue) = (mbit * MBIT, at(rtt / 2), at(queue));
        });
        world.dial(u64::MAX / 2);
        world.run(at(5_000));
        world.add_rival();
        world.run(at(10_000));
        let (ours, rivals) = (world.read(), world.rivals());
        world.run(at(30_000));
        let (ours, rivals) = ((world.read() - ours) as f64, (world.rivals() - rivals) as f64);
        let share = ours / (ours + rivals);
        assert!(share <= 0.1, "{mbit} {rtt} {queue}: {share}");
    }
}

#[test]
fn connections_that_begin_together_get_equal_shares() {
    for (mbit, rtt, queue) in [(10, 50, 500), (10, 300, 500), (10, 50, 100), (10, 50, 20)] {
        let mut world = world(1, |p| {
            (p.rate, p.delay, p.queue) = (mbit * MBIT, at(rtt / 2), at(queue));
        });
        (0..4).for_each(|_| _ = world.dial(u64::MAX / 2));
        world.run(at(60_000));
        let before = world.read_each();
        world.run(at(60_000));
        let got: Vec<u64> = world.read_each().iter().zip(before).map(|(a, b)| a - b).collect();
        let mean = got.iter().sum::<u64>() as f64 / 4.0;
        let is_fair = got.iter().all(|&got| (got as f64 / mean - 1.0).abs() <= 0.1);
        assert!(is_fair, "{mbit} {rtt} {queue}: {got:?}");
    }
}

#[test]
fn one_that_comes_late_gets_its_share_and_no_more() {
    for (mbit, rtt, queue) in [(10, 50, 500), (10, 300, 500), (50, 20, 2000)] {
        let mut world = world(1, |p| {
            (p.rate, p.delay, p.queue) = (mbit * MBIT, at(rtt / 2), at(queue));
        });
        world.dial(u64::MAX / 2);
        world.run(at(15_000));
        world.dial(u64::MAX / 2);
        world.run(at(60_000));
        let before = world.read_each();
        world.run(at(60_000));
        let got: Vec<u64> = world.read_each().iter().zip(before).map(|(a, b)| a - b).collect();
        let late = got[1] as f64 / got.iter().sum::<u64>() as f64;
        assert!((0.4..=0.6).contains(&late), "{mbit} {rtt} {queue}: {got:?}");
    }
}

#[test]
fn socket_that_is_idle_takes_little_memory() {
    assert!(UtpSockets::socket_size() + 64 <= 3 * 1024, "{}", UtpSockets::socket_size());
    assert_eq!(HEADER_LEN, 20);
}

#[test]
fn lost_end_of_a_burst_is_made_good_before_the_timeout() {
    // How many of ten packets are lost, the last, and how long the burst may take: a round trip for
    // what has arrived, two of silence (and 100 ms if one is missing), and what the answer to the
    // probe takes to bring the rest. The time-out would come after 580 ms.
    for (lost, most) in [(1, 400), (2, 380), (5, 380), (10, 380)] {
        let mut world = world(1, |p| p.delay = at(40));
        world.dial(20_000);
        world.run(at(2_000));
        assert_eq!(world.read(), 20_000);
        let full = 1452;
        world.add((10 - lost) * full);
        world.path_mut(1).loss = 1_000_000;
        world.add(lost * full);
        world.path_mut(1).loss = 0;
        let took = world.run_until(20_000 + 10 * full, at(2_000)).unwrap();
        assert!(took <= at(most), "{lost} lost: {took:?}");
        let stats = world.stats(0);
        assert_eq!((stats.tail_probes, stats.timeouts), (1, 0), "{lost} lost");
    }
}

#[test]
fn lines_that_are_slow_are_used_where_packets_are_lost() {
    // A packet takes 12 ms, which looks like a queue beside the delay of the SYN.
    for rtt in [50, 100] {
        let set = |p: &mut Path| {
            (p.rate, p.delay, p.queue, p.loss) = (MBIT, at(rtt / 2), at(500), 5_000);
        };
        let mut world = world(1, set);
        world.dial(u64::MAX / 2);
        world.run(at(10_000));
        let before = world.bottleneck().0;
        world.run(at(60_000));
        let used = (world.bottleneck().0 - before) as f64 / (MBIT * 60) as f64;
        assert!(used >= 0.7, "{rtt}: {used}");
    }
}

#[test]
fn tail_is_probed_once_and_not_on_a_path_that_answers() {
    let mut world = world(1, |p| p.rate = MB);
    world.dial(5 * MB);
    world.run(at(20_000));
    assert_eq!((world.read(), world.stats(0).tail_probes), (5 * MB, 0));
    // Nothing answers any more: one probe, then the time-outs.
    world.path_mut(1).loss = 1_000_000;
    world.add(5000);
    world.run(at(5_000));
    let stats = world.stats(0);
    assert!(stats.tail_probes == 1 && stats.timeouts >= 3, "{stats:?}");
}

#[test]
fn socket_of_a_busy_receiver_is_seldom_overrun() {
    // Linux's 208 KiB hold some ninety packets. No delay tells that they are full. Microseconds to
    // begin to read, and for each packet.
    for (wake, read) in [(20, 5), (200, 5), (50, 20)] {
        let mut world = world(1, |p| {
            (p.delay, p.room) = (Duration::from_micros(20), 90);
            (p.wake, p.read) = (Duration::from_micros(wake), Duration::from_micros(read));
        });
        world.dial(u64::MAX / 2);
        world.run(at(1000));
        let begun = (world.read(), world.stats(0).packets_out, world.overrun());
        world.run(at(1000));
        let read_all = 90_000_000 / (40 + wake + 90 * read);
        let part = (world.read() - begun.0) as f64 / 1452.0 / read_all as f64;
        let (sent, lost) = (world.stats(0).packets_out - begun.1, world.overrun() - begun.2);
        println!("{wake} {read}: {part:.2}, {lost} of {sent} lost, {} before", begun.2);
        assert!(part >= 0.65 && lost * 200 < sent && begun.2 < 600, "{wake} {read}");
    }
}

#[test]
fn answer_that_tells_of_no_gap_brings_a_probe_at_once() {
    let mut world = world(1, |p| p.delay = Duration::from_micros(100));
    world.dial_as(20_000, 500, 1000);
    world.run(at(2_000));
    assert_eq!(world.read(), 20_000);
    let told = Packet::decode(world.last()).unwrap().header;
    assert_eq!(told.connection, 500);
    // The other side's own data come, and nothing of what it says of ours.
    world.path_mut(0).loss = 1_000_000;
    world.add(5 * 1452);
    let from = world.addr(1);
    for (n, probes) in (0..6).zip([1, 2, 3, 3, 3, 3]) {
        let seq = told.seq.wrapping_add(n);
        world.inject(0, from, &packet(Kind::Data, 500, seq, told.ack, b"x"));
        world.run(at(5));
        assert_eq!(world.stats(0).tail_probes, probes, "{n}");
    }
    assert_eq!(world.stats(0).timeouts, 0);
}
