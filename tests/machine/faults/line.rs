//! Bad lines: real sockets behind a proxy that delays, throttles, cuts, resets, stalls and
//! corrupts.

use std::time::Duration;

use super::{LIMIT, MIB, torrent};
use crate::support::{
    download::Bench,
    proxy::{Proxy, Weather},
    seeder::Seeder,
};

const KIB: u64 = 1024;

#[test]
fn line_with_a_long_round_trip_is_filled() {
    let torrent = torrent(16, 40);
    let seeder = Seeder::good(&torrent);
    let far = Proxy::start(
        seeder.addr(),
        Weather { delay: Duration::from_millis(100), ..Weather::default() },
    );
    Bench::new(&torrent).complete(&torrent, &[far.addr()], LIMIT);
    assert_eq!(far.connections(), 1);
    assert_eq!(seeder.seen().bytes, torrent.len(), "what is late is not lost");
    seeder.assert_no_offence();
}

#[test]
fn cut_connections_are_made_again_and_little_is_fetched_twice() {
    let torrent = torrent(8, 41);
    for reset in [false, true] {
        let seeder = Seeder::good(&torrent);
        let weather = Weather {
            cut_after: Some(3 * MIB as u64 + 4321),
            reset,
            rate: Some(16 * MIB as u64),
            ..Weather::default()
        };
        let bad = Proxy::start(seeder.addr(), weather);
        Bench::new(&torrent).complete(&torrent, &[bad.addr()], LIMIT);
        assert!(bad.connections() >= 3, "{} connections", bad.connections());
        // A piece that was cut is gone on with; what was on its way is lost.
        assert!(
            bad.bytes() < torrent.len() * 5 / 4,
            "{} bytes for a torrent of {}",
            bad.bytes(),
            torrent.len()
        );
    }
}

#[test]
fn slow_line_completes() {
    let torrent = torrent(1, 42);
    let seeder = Seeder::good(&torrent);
    let thin = Proxy::start(
        seeder.addr(),
        Weather { rate: Some(256 * KIB), delay: Duration::from_millis(30), ..Weather::default() },
    );
    Bench::new(&torrent).complete(&torrent, &[thin.addr()], LIMIT);
    assert_eq!((thin.connections(), seeder.seen().bytes), (1, torrent.len()));
    seeder.assert_no_offence();
}

#[test]
fn a_line_that_goes_dead_does_not_hold_up_the_end() {
    let torrent = torrent(8, 43);
    let (one, two) = (Seeder::good(&torrent), Seeder::slow(&torrent, 4 * MIB as u64));
    let dead = Proxy::start(
        one.addr(),
        Weather { stall_after: Some(2 * MIB as u64), ..Weather::default() },
    );
    Bench::new(&torrent).complete(&torrent, &[dead.addr(), two.addr()], LIMIT);
    assert!(dead.bytes() > 2 * MIB as u64, "it was not used");
    two.assert_no_offence();
}

#[test]
fn corrupting_line_does_no_harm() {
    // Bits are wrong in lengths, in headers and in data: bad frames, nonsense, failed pieces, bans.
    // Whatever it is, the data is right.
    let torrent = torrent(8, 44);
    for every in [150_001, 16_397, 999] {
        let (one, two) = (Seeder::good(&torrent), Seeder::slow(&torrent, 8 * MIB as u64));
        let bad =
            Proxy::start(one.addr(), Weather { corrupt_every: Some(every), ..Weather::default() });
        Bench::new(&torrent).complete(&torrent, &[bad.addr(), two.addr()], LIMIT);
        assert!(bad.connections() > 0);
        two.assert_no_offence();
    }
}

#[test]
fn torrent_survives_all_line_faults_at_once() {
    let torrent = torrent(8, 45);
    let seeders: Vec<_> = (0..4).map(|_| Seeder::slow(&torrent, 4 * MIB as u64)).collect();
    let (delay, rate) = (Duration::from_millis(60), Some(MIB as u64));
    let weathers = [
        Weather { delay, cut_after: Some(700_001), ..Weather::default() },
        Weather { rate, reset: true, cut_after: Some(1_234_567), ..Weather::default() },
        Weather { corrupt_every: Some(400_009), delay: delay / 3, ..Weather::default() },
        Weather { delay, rate, ..Weather::default() },
    ];
    let proxies: Vec<_> = seeders
        .iter()
        .zip(weathers)
        .map(|(seeder, weather)| Proxy::start(seeder.addr(), weather))
        .collect();
    let addrs: Vec<_> = proxies.iter().map(Proxy::addr).collect();
    Bench::new(&torrent).complete(&torrent, &addrs, LIMIT);
}
