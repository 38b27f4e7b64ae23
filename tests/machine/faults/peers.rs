//! Peers that misbehave beside one that does not.

use super::{LIMIT, MIB, torrent};
use crate::support::{
    download::Bench,
    seeder::{Manners, Nonsense, Seeder},
};

#[test]
fn another_peer_takes_over_when_one_dies_half_way() {
    let torrent = torrent(8, 1);
    let blocks = torrent.len() / 16384;
    let first =
        Seeder::start(&torrent, Manners { die_after: Some(blocks / 2), ..Manners::default() });
    let second = Seeder::slow(&torrent, 4 * MIB as u64);
    Bench::new(&torrent).complete(&torrent, &[first.addr(), second.addr()], LIMIT);
    assert!(first.seen().blocks > 0, "the first peer was not used");
    // What the first had served whole is not fetched again, but for the pieces it left unfinished.
    let total = first.seen().bytes + second.seen().bytes;
    assert!(
        total < torrent.len() * 5 / 4,
        "{total} bytes served for a torrent of {}",
        torrent.len()
    );
    second.assert_no_offence();
}

#[test]
fn corrupter_is_banned() {
    let torrent = torrent(16, 2);
    let bad = Seeder::start(&torrent, Manners { corrupt_every: Some(100), ..Manners::default() });
    let good = Seeder::slow(&torrent, 6 * MIB as u64);
    let ended = Bench::new(&torrent).complete(&torrent, &[bad.addr(), good.addr()], LIMIT);
    let (bad_seen, good_seen) = (bad.seen(), good.seen());
    assert!(bad_seen.corrupted > 0, "the bad peer was not used");
    let dropped = bad_seen.hung_up.first().expect("the bad peer was kept to the end");
    let end = good_seen.hung_up.iter().max().expect("the good peer saw no end");
    assert!(dropped < end, "the bad peer was kept to the end");
    assert_eq!(
        bad_seen.newest_requests, bad_seen.requests,
        "the bad peer was asked again after it had been dropped"
    );
    assert_eq!(good_seen.connections, 1, "the good peer was dropped as well");
    ended.assert_says(&["ban", &bad.addr().to_string()]);
}

#[test]
fn silent_peer_does_not_hold_up_the_end() {
    let torrent = torrent(8, 3);
    let silent = Seeder::start(&torrent, Manners { silent_after: Some(100), ..Manners::default() });
    let good = Seeder::slow(&torrent, 8 * MIB as u64);
    Bench::new(&torrent).complete(&torrent, &[silent.addr(), good.addr()], LIMIT);
    let seen = silent.seen();
    assert!(seen.requests > seen.blocks, "the silent peer was not asked for more than it gave");
    good.assert_no_offence();
}

#[test]
fn dribbled_bytes_are_put_together() {
    let torrent = torrent(1, 4);
    let seeder = Seeder::start(&torrent, Manners { dribble: true, ..Manners::default() });
    Bench::new(&torrent).complete(&torrent, &[seeder.addr()], LIMIT);
    seeder.assert_no_offence();
}

#[test]
fn peer_that_chokes_all_the_time() {
    let torrent = torrent(4, 5);
    let seeder = Seeder::start(&torrent, Manners { choke_every: Some(7), ..Manners::default() });
    Bench::new(&torrent).complete(&torrent, &[seeder.addr()], LIMIT);
    assert!(seeder.seen().bytes < torrent.len() * 11 / 10, "{} bytes served", seeder.seen().bytes);
    seeder.assert_no_offence();
}

#[test]
fn peer_that_chokes_and_rejects_all_the_time() {
    let torrent = torrent(4, 6);
    let seeder =
        Seeder::start(&torrent, Manners { choke_every: Some(7), fast: true, ..Manners::default() });
    Bench::new(&torrent).complete(&torrent, &[seeder.addr()], LIMIT);
    assert!(seeder.seen().bytes < torrent.len() * 11 / 10, "{} bytes served", seeder.seen().bytes);
    seeder.assert_no_offence();
}

/// The one that talks nonsense is dropped while the good one still serves, the log says why, and
/// the download completes.
fn survives(nonsense: Nonsense) {
    let torrent = torrent(4, 7);
    let bad = Seeder::start(&torrent, Manners { nonsense: Some(nonsense), ..Manners::default() });
    let good = Seeder::slow(&torrent, 4 * MIB as u64);
    let mut bench = Bench::new(&torrent);
    let mut process = bench.start(&mut bench.command(&[bad.addr(), good.addr()]));
    bad.wait("the peer that talks nonsense is dropped", LIMIT, |seen| !seen.hung_up.is_empty());
    let status = process.wait(LIMIT);
    assert!(status.success(), "{status}");
    torrent.assert_in(&bench.dir);
    let dropped = bad.seen().hung_up[0];
    let end = *good.seen().hung_up.iter().max().expect("the good peer saw no end");
    assert!(dropped < end, "{nonsense:?} was kept to the end");
    let output = process.output();
    assert!(output.contains(&bad.addr().to_string()), "no word of {} in:\n{output}", bad.addr());
    good.assert_no_offence();
}

#[test]
fn noise_for_a_greeting() {
    survives(Nonsense::Greeting);
}

#[test]
fn greeting_of_another_torrent() {
    survives(Nonsense::OtherTorrent);
}

#[test]
fn noise_after_the_greeting() {
    survives(Nonsense::AfterGreeting);
}

#[test]
fn oversized_frame() {
    survives(Nonsense::Oversized);
}

#[test]
fn bitfield_too_long() {
    survives(Nonsense::LongBitfield);
}

#[test]
fn bitfield_too_short() {
    survives(Nonsense::ShortBitfield);
}

#[test]
fn block_of_no_piece() {
    survives(Nonsense::NoSuchPiece);
}

#[test]
fn have_of_no_piece() {
    survives(Nonsense::NoSuchHave);
}

#[test]
fn request_too_short() {
    survives(Nonsense::StuntedRequest);
}
