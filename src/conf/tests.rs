//! What is no sense is refused by name.

use super::*;

#[test]
fn nonsense_is_named() {
    assert_eq!(Conf::default().validate(), Ok(()));
    let e = Conf { run_len: 1000, ..Conf::default() }.validate().unwrap_err();
    assert_eq!(e.to_string(), "Conf::run_len is 1000: a multiple of 16384");
    assert_eq!(
        Conf { max_piece_memory: 1, ..Conf::default() }.validate().unwrap_err().field,
        "max_piece_memory"
    );
    for (field, conf) in [
        ("progress_interval", Conf { progress_interval: Duration::ZERO, ..Conf::default() }),
        ("keep_alive", Conf { keep_alive: Duration::ZERO, ..Conf::default() }),
        ("max_links_per_torrent", Conf { max_links_per_torrent: 65_536, ..Conf::default() }),
        ("max_links_per_torrent", Conf { max_links_per_torrent: 0, ..Conf::default() }),
        ("max_unsent", Conf { max_unsent: 0, ..Conf::default() }),
        ("allowed_fast", Conf { allowed_fast: 101, ..Conf::default() }),
        ("choke_interval", Conf { choke_interval: Duration::ZERO, ..Conf::default() }),
        ("max_active_checks", Conf { max_active_checks: 0, ..Conf::default() }),
        ("seed_queue_turn", Conf { seed_queue_turn: Duration::ZERO, ..Conf::default() }),
        ("turnover_interval", Conf { turnover_interval: Duration::ZERO, ..Conf::default() }),
        ("max_announces", Conf { max_announces: 0, ..Conf::default() }),
        ("announces_per_second", Conf { announces_per_second: 0, ..Conf::default() }),
        (
            "min_announce_interval",
            Conf { min_announce_interval: Duration::ZERO, ..Conf::default() },
        ),
        (
            "max_announce_interval",
            Conf { max_announce_interval: Duration::from_secs(59), ..Conf::default() },
        ),
        ("max_trackers", Conf { max_trackers: 10_001, ..Conf::default() }),
        (
            "tracker_timeout",
            Conf { tracker_timeout: Duration::from_millis(999), ..Conf::default() },
        ),
        ("max_tracker_reply", Conf { max_tracker_reply: 1023, ..Conf::default() }),
        ("max_tracker_reply", Conf { max_tracker_reply: usize::MAX, ..Conf::default() }),
        ("max_tracker_redirects", Conf { max_tracker_redirects: 21, ..Conf::default() }),
        ("user_agent", Conf { user_agent: "a\r\nb".into(), ..Conf::default() }),
    ] {
        assert_eq!(conf.validate().unwrap_err().field, field);
    }
    assert_eq!(
        Conf { client: "é".into(), ..Conf::default() }.validate().unwrap_err().field,
        "client"
    );
}
