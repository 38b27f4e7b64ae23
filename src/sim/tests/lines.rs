//! The same swarms on every kind of line.

use super::*;

/// Two seeds and three leeches, all on this line; the leeches must have everything within so many
/// seconds.
fn swarm_on(line: Line, limit: u64) {
    // The finer the line cuts, the more there is to do.
    let (len, piece_len) = if line.segment.1 < 10 || line.window < 1000 {
        (80_000, 16 * 1024)
    } else {
        (640 * KIB, 32 * 1024)
    };
    let sample = file(len, piece_len);
    for seed in 0..2 {
        let scenario = Scenario::swarm(seed)
            .seeds(2)
            .leeches(3)
            .sharing(&sample)
            .on(line.clone())
            .within(secs(limit));
        // So little data is all endgame.
        scenario.run().completes().honestly().wasting_at_most(len).then_all_shut_down();
    }
}

/// A seed on this line and a leech on that.
fn pair_on(from: Line, to: Line, limit: u64) {
    let outcome = Scenario::swarm(9).seeds_on(from).leeches_on(to).within(secs(limit)).run();
    outcome.completes().honestly().wasting_at_most(0);
}

cases! { swarm_on:
    a_swarm_in_one_room => Line::lan(), 3;
    a_swarm_on_fibre => Line::fibre(), 3;
    a_swarm_on_dsl => Line::dsl(), 5;
    a_swarm_of_telephones => Line::mobile(), 20;
    a_swarm_by_satellite => Line::satellite(), 60;
    a_swarm_that_gets_crumbs => Line::crumbs(), 20;
    a_swarm_with_tiny_windows => Line { window: 500, send_buffer: 300, ..Line::default() }, 200;
    a_swarm_with_a_byte_at_a_time =>
        Line { segment: (1, 1), bandwidth: 2_000_000, ..Line::default() }, 20;
    a_swarm_on_lines_without_delay =>
        Line { latency: Duration::ZERO, jitter: Duration::ZERO, ..Line::default() }, 5;
    a_swarm_at_a_seconds_distance =>
        Line { latency: millis(500), jitter: millis(300), ..Line::default() }, 120;
}

cases! { pair_on:
    from_a_modem_to_fibre => Line::modem(), Line::fibre(), 200;
    from_fibre_to_a_modem => Line::fibre(), Line::modem(), 200;
    from_a_satellite_to_a_telephone => Line::satellite(), Line::mobile(), 60;
    from_crumbs_to_a_satellite => Line::crumbs(), Line::satellite(), 60;
}

/// One seed and a leech with this sample.
fn shape(sample: &Arc<Sample>, conf: Conf) {
    for seed in 0..2 {
        let outcome = Scenario::swarm(seed)
            .leeches(2)
            .sharing(sample)
            .with(conf.clone())
            .on(Line::dsl())
            .run();
        outcome.completes().honestly().then_all_shut_down();
    }
}

fn folder(files: &[SampleFile<'_>], piece_len: u32) -> Arc<Sample> {
    Sample::folder("folder", files, piece_len, 3).unwrap()
}

fn runs_of(run_len: u32) -> Conf {
    loud().with(|conf| {
        conf.requests.run_len = run_len;
        conf.requests.max_piece_memory = 4 * run_len as usize;
    })
}

cases! { shape:
    a_torrent_of_one_byte => &file(1, 16 * 1024), loud();
    a_torrent_whose_last_piece_is_a_byte => &file(16 * KIB + 1, 16 * 1024), loud();
    a_torrent_whose_last_block_is_a_byte => &file(64 * KIB + 16 * KIB + 1, 64 * 1024), loud();
    a_torrent_of_odd_pieces => &file(300_001, 20_000), loud();
    a_torrent_of_many_tiny_files =>
        &folder(
            &[("a", 1), ("b", 2), ("c", 0), ("d", 3), ("e/f", 16_000), ("g", 0)],
            16 * 1024,
        ), loud();
    a_torrent_with_pads_between_files =>
        &folder(&[("a", 5), ("", 16_379), ("b", 5), ("", 16_379), ("c", 100)], 16 * 1024), loud();
    a_torrent_of_one_large_piece => &file(2_000_000, 4 * 1024 * 1024), loud();
    a_torrent_of_large_pieces_in_small_runs => &file(1_500_000, 512 * 1024), runs_of(32 * 1024);
    a_torrent_whose_last_run_is_a_byte =>
        &file(256 * KIB + 64 * KIB + 1, 256 * 1024), runs_of(64 * 1024);
    a_torrent_of_four_hundred_pieces => &file(400 * 16 * KIB, 16 * 1024), loud();
}
