//! What is no sense is refused by name.

use std::time::Duration;

use super::*;

#[test]
fn nonsense_is_named() {
    assert_eq!(Conf::default().validate(), Ok(()));
    let e = Conf::default().with(|conf| conf.requests.run_len = 1000).validate().unwrap_err();
    assert_eq!(e.to_string(), "Conf::requests.run_len is 1000: a multiple of 16384");
    assert_eq!(
        Conf::default()
            .with(|conf| conf.requests.max_piece_memory = 1)
            .validate()
            .unwrap_err()
            .field,
        "requests.max_piece_memory"
    );
    for (field, conf) in [
        (
            "alerts.progress_interval",
            Conf::default().with(|conf| conf.alerts.progress_interval = Duration::ZERO),
        ),
        ("peers.keep_alive", Conf::default().with(|conf| conf.peers.keep_alive = Duration::ZERO)),
        ("network.utp_window", Conf::default().with(|conf| conf.network.utp_window = 65_535)),
        ("network.utp_memory", Conf::default().with(|conf| conf.network.utp_memory = 1 << 20)),
        ("peers.max_per_torrent", Conf::default().with(|conf| conf.peers.max_per_torrent = 65_536)),
        ("peers.max_per_torrent", Conf::default().with(|conf| conf.peers.max_per_torrent = 0)),
        ("reads.max_len", Conf::default().with(|conf| conf.reads.max_len = 0)),
        ("reads.max_len", Conf::default().with(|conf| conf.reads.max_len = (64 << 20) + 1)),
        ("reads.max_reads", Conf::default().with(|conf| conf.reads.max_reads = 0)),
        ("reads.max_wait", Conf::default().with(|conf| conf.reads.max_wait = Duration::ZERO)),
        ("reads.max_leaves", Conf::default().with(|conf| conf.reads.max_leaves = 65_535)),
        ("uploads.max_unsent", Conf::default().with(|conf| conf.uploads.max_unsent = 0)),
        ("uploads.allowed_fast", Conf::default().with(|conf| conf.uploads.allowed_fast = 101)),
        (
            "uploads.choke_interval",
            Conf::default().with(|conf| conf.uploads.choke_interval = Duration::ZERO),
        ),
        ("queue.max_active_checks", Conf::default().with(|conf| conf.queue.max_active_checks = 0)),
        ("queue.seed_turn", Conf::default().with(|conf| conf.queue.seed_turn = Duration::ZERO)),
        (
            "peers.turnover_interval",
            Conf::default().with(|conf| conf.peers.turnover_interval = Duration::ZERO),
        ),
        ("trackers.max_announces", Conf::default().with(|conf| conf.trackers.max_announces = 0)),
        (
            "trackers.announces_per_second",
            Conf::default().with(|conf| conf.trackers.announces_per_second = 0),
        ),
        (
            "trackers.min_interval",
            Conf::default().with(|conf| conf.trackers.min_interval = Duration::ZERO),
        ),
        (
            "trackers.max_interval",
            Conf::default().with(|conf| conf.trackers.max_interval = Duration::from_secs(59)),
        ),
        (
            "trackers.max_per_torrent",
            Conf::default().with(|conf| conf.trackers.max_per_torrent = 10_001),
        ),
        (
            "trackers.timeout",
            Conf::default().with(|conf| conf.trackers.timeout = Duration::from_millis(999)),
        ),
        ("trackers.max_reply", Conf::default().with(|conf| conf.trackers.max_reply = 1023)),
        ("trackers.max_reply", Conf::default().with(|conf| conf.trackers.max_reply = usize::MAX)),
        ("trackers.max_redirects", Conf::default().with(|conf| conf.trackers.max_redirects = 21)),
        (
            "trackers.user_agent",
            Conf::default().with(|conf| conf.trackers.user_agent = "a\r\nb".into()),
        ),
    ] {
        assert_eq!(conf.validate().unwrap_err().field, field);
    }
    assert_eq!(
        Conf::default().with(|conf| conf.network.client = "é".into()).validate().unwrap_err().field,
        "network.client"
    );
}

#[test]
fn few_large_pieces_are_checked_at_a_time() {
    let mut storage = StorageConf::default();
    let checks = |storage: &StorageConf| {
        [0, 1 << 14, 1 << 20, 1 << 22, 1 << 24, u32::MAX].map(|len| storage.checks_of(len))
    };
    assert_eq!(checks(&storage), [64, 64, 64, 16, 16, 16]);
    storage.max_checks = 2;
    assert_eq!(checks(&storage), [2; 6]);
}
