//! Plans that once failed, made small by the explorer: each is what it took to find a fault, and
//! must come to a good end for ever.

use crate::sim::explore::{self, Plan};

fn ends_well(plan: &str) {
    let plan: Plan = plan.parse().unwrap();
    if let Err(failure) = explore::run(&plan) {
        panic!("{failure}\n{plan}");
    }
}

cases! { ends_well:
    failed_syncs_then_restart_without_power_claim_nothing_lost =>
        "seed 3; torrent 0; file 0 len=426000; node 1 session=0 down=40000; \
         at 1930 node failsyncs=0; at 54002 node restart=0 power=0";
    failed_syncs_then_kill_without_power_claim_nothing_lost =>
        "seed 3; torrent 1; file 1 len=22000; node 1 session=0 down=2000; at 259 node failsyncs=0; \
         at 23038 node kill=0 power=0";
    state_of_a_torrent_that_was_not_recorded_is_not_another_ones =>
        "seed 2; torrent 0; file 0 len=70000; file 0 len=112000; file 0; file 0 len=251000; \
         tracker 0; tracker 1; node 1 session=0 disk=30; at 3833 node move; at 5951 node full=0; \
         at 8014 node again=0; at 36346 node kill=0";
    paused_session_torrent_with_all_skipped_wakes_when_wanted =>
        "seed 518987; torrent 0; file 0; node 1 session=0 skips; at 15952 node pause=0; \
         at 20924 node kill=0";
    stopped_session_torrent_with_all_skipped_wakes_when_wanted =>
        "seed 534081; torrent 0; file 0; node 2 session=0 seeding=0 skips; \
         at 29748 node=2 restart=0";
    peer_of_a_failing_disk_does_not_count_as_fetching =>
        "seed 1; torrent 0; file 0 len=201000; node 0 latency=190; node 2 segment=0 initial=0; \
         node 3 latency=160; at 2410 node=3 failwrites=0; at 3941";
    twins_that_adopt_a_folder_are_checked_despite_later_writes =>
        "seed 4; torrent 0; file 0; torrent 1 twin=0; node 0 spikes; at 1620 adopt";
    seed_that_adopts_an_empty_folder_late_is_restored =>
        "seed 3; torrent 0; file 0; file 0 len=78000; node 0 spikes=3; node 2 skips; at 1228 adopt";
    session_forgets_good_peer_that_rot_got_banned =>
        "seed 4; torrent 0; file 0; file 0; file 0; node 1 latency=80 session=0 peer-up=0; \
         at 727 node adopt=0; at 1542 rot; at 26030 node kill=0";
    sessions_forget_good_seed_that_rot_got_banned =>
        "seed 3; torrent 0; file 0 len=286000; node 0 super=0; node 1 session=0 up=20000; \
         node 2 session=0; at 2035 rot=2; at 3260 node=2 ratio=0; at 4056 node=2 kill=0; \
         at 7487 node restart=0";
    wish_in_a_check_that_cannot_read_is_met_when_it_can =>
        "seed 515666; torrent 0; file 0 len; file 0; node 1 skips=30; at 2151 node failsaves=0; \
         at 2571 node again=0 erase=0; at 3377 node failreads=0; at 8640 node restart=0; \
         at 9633 node file wish; at 10980";
    kill_after_a_failed_sync_leaves_its_pages_in_doubt =>
        "seed 600410; torrent 1; file 1; file 1; node 1 joins=7000; at 1467 node failsyncs=0; \
         at 26139 node kill=0; at 28232 node heal=0; at 50000 node kill=0 power=0";
    wish_while_a_session_torrent_sleeps_is_met_when_it_wakes =>
        "seed 702299; torrent 0; file 0; node 1 session=0; at 16126 node kill=0; \
         at 19715 node wish=0";
    wish_for_a_sleeping_torrent_waits_until_it_wakes =>
        "seed 2071; torrent 0; file 0; node 6 session=0; at 32341 node=6 kill=0; \
         at 46587 node=6 wish=0";
    wish_in_a_check_that_cannot_read_does_not_end_its_retries =>
        "seed 4; torrent 1; file 1 len=60000; node 0 jitter=5 window=200; node 2; \
         at 3527 cut=15000; at 7045 node=2 failreads=0; at 10433 node=2 kill=0; \
         at 12010 node=2 wish=0";
    recheck_while_opening_finds_all_gone_and_goes_on =>
        "seed 4; torrent 1; file 1 len=20500; node 0 latency=40 window=200; node 2 session=0; \
         at 3026 node=2 away=1900; at 62575 node=2 kill=0";
    move_in_a_check_that_cannot_read_does_not_end_its_retries =>
        "seed 94; torrent 0; file 0; node 3; at 519 node=3 bad=0; at 27744 node=3 recheck=0; \
         at 28962 node=3 move=0; at 29968";
    file_that_is_whole_in_the_part_file_alone_is_not_shared =>
        "seed 730808; torrent 0; file 0 len; file 0; torrent 1 twin=0; node 1 skips; \
         at 4705 slots=0";
    bad_data_for_a_file_of_another_torrent_is_no_disk_fault =>
        "seed 1; torrent 0; file 0; file 0; torrent 1 twin=0; node 0 seeding=0; node 3 run=0; \
         peer 18 torrent bad=0; at 4988 node=3 rename=0";
    owner_that_repairs_a_shared_file_lets_the_other_go_on =>
        "seed 4; torrent 0; file 0 len=29000; torrent 1 twin=0; node 2 latency=20 run=0; \
         at 53622 node=2 rot";
    half_sent_block_of_a_choked_peer_counts_while_it_is_reread =>
        "seed 4; torrent 0; file 0; torrent 1; file 1; node 0 sndbuf=0 unsent=0 uploads=0 slots; \
         node 1; node 3; at 23228";
    move_to_its_own_folder_without_the_drive_changes_nothing =>
        "seed 9657; torrent 1; file 1 len; file 1; node 2 session=0 skips=2; \
         at 27011 node=2 away=3000; at 28963 node=2 move=0";
    failed_first_sync_is_known_after_a_kill =>
        "seed 1; torrent 0; file 0; node 0 spikes=3; node 1; at 915 node failsyncs=0; \
         at 3973 node kill=50; at 4005 node heal=0; at 6858 node restart=0 power=0";
    failed_first_sync_of_a_session_is_known_after_a_kill =>
        "seed 1; torrent 0; file 0; node 0 spikes=3; node 1 session=0; at 915 node failsyncs=0; \
         at 3973 node kill=50; at 4005 node heal=0; at 6858 node restart=0 power=0";
    failed_syncs_of_a_session_are_known_after_two_kills =>
        "seed 4; torrent 1; file 1; node 0 disk=40; node 1 session=0; at 1391 node failsyncs=0; \
         at 4370 node kill=0; at 17850 node kill=0 power=0";
    failed_first_sync_then_power_cut_is_no_data_gone =>
        "seed 3; torrent 0; file 0; node 0 latency=78; node 2; at 642 node=2 failsyncs=0; \
         at 5235 node=2 kill=0 power=0";
    file_on_a_drive_that_is_away_is_not_the_one_in_the_part_file =>
        "seed 1001389; torrent 0; file 0; torrent 1; file 1 len; file 1 len=305000; \
         node 0 latency=79; node 1 jitter=30 disk=40 dials=0; at 1325 node down=0; \
         at 1785 node away=2000; at 2077 node kill=0; at 2900 node file wish=0";
    copies_of_a_move_that_fails_are_not_all_that_was_safe =>
        "seed 1; torrent 0; file 0 len=156000; node 0 latency=98; \
         node 1 latency=89 disk=79 joins=2670; at 2813 node nolinks=0; at 4451 node failsaves=0; \
         at 4725 node move; at 33172";
    killed_deletion_leaves_no_state_of_data_that_is_gone =>
        "seed 2; torrent 0 piece=0; file 0; node 1; at 6732 node hang=4000; \
         at 7784 node again=0 erase=0; at 9518 node kill=0";
    peer_that_never_answers_does_not_take_the_turn_of_others =>
        "seed 1; torrent 0; file 0; torrent 1; file 1; file 1; file 1; file 1; node 0 flaky; \
         node 1 nat=4 skips=20; node 2 skips=20; node 3 latency=35 nat=0 dials=0; at 48739";
    torrent_that_cannot_write_leaves_its_memory_to_others =>
        "seed 3; torrent 0; file 0 len=53000; torrent 1 twin=0; node 1 joins=9000 run=0 memory=0; \
         at 7315 node away=7000";
    torrent_is_not_shared_with_one_that_is_being_moved_away =>
        "seed 4; torrent 0; file 0 len=3000; torrent 1 twin=0; node 1 joins=5000; \
         at 6787 node hang=6000; at 8141 node move";
    sleeping_torrent_makes_its_files_for_another_that_reads_them =>
        "seed 1069421; torrent 0; file 0 len; file 0; torrent 1 twin=0; node 2 session=0 skips; \
         at 16160 node=2 restart=0";
    recheck_is_not_lost_behind_the_check_of_a_changed_file =>
        "seed 3; torrent 0 piece=0; file 0; file 0; node 0 disk=20; node 1 joins=1500; \
         node 2 knows=3938065886289908000; node 3 spikes=2; peer 18 dribble=0 nofast=0; \
         at 1131 node=3 misdirect";
    file_of_another_torrent_is_no_safer_than_that_one_knows =>
        "seed 2; torrent 0; file 0; torrent 1 twin=0; node 0 latency=40; node 1; \
         at 305 node failsyncs=0; at 4863 node heal=0; at 7683 node kill=0 power=0; \
         at 7864 node adopt";
    nothing_is_read_behind_what_a_killed_sender_has_forgotten =>
        "seed 2; torrent 0 piece=40000; file 0 len=465386; file 0 len=0 pad=0; file 0 len=51515; \
         file 0 len=76542; file 0 len=169495; node 0 bandwidth=1600000 sndbuf=32000 window=16380 \
         disk=70 suggest=0; node 1 latency=97 bandwidth=800000 nat=0 house disk=59 pipeline=2 \
         down=40000 sequential=0; node 2 latency=50 nat=0 suggest=0 run=131000 memory=4 save=296; \
         node 3 latency=191 segment=64 requests=0 joins=2830 run=32768 memory=3 peer-down=20000; \
         peer 16 latency=121 jitter=20 segment=1024; peer 17 share=12 which=150 reqq=287 \
         unchoke=331 block=48 jitter=34 bandwidth=800000 segment=1024 window=16384; \
         at 793 node failsaves; at 3315 node=3 kill=239; at 4028 node hang=2877; \
         at 6005 apart=16973828 time=6428; at 7414 node kill=92; at 8287 node=3 vanish=387; \
         at 37931";
    last_block_goes_to_the_oldest_connection =>
        "seed 3; torrent 0 piece=40000; file 0 len=88900; file 0 len=265900; node 0 \
         latency=110 segment=1024 disk=64; node 1 latency=96 segment=128 run=0 memory=7 \
         copies=0 down=0; peer 16 dribble=270 reqq=6; peer 17 share=6 which=0 reqq=0 \
         unchoke=400 latency=33 bandwidth=200000; peer 18 hello=2; peer 19 dials nofast=0 \
         unchoke=50; peer 20 flap=0 unchoke=370 segment=512; peer 21 dials=2 share=10 reqq=0 \
         unchoke=130 alive=2490; peer 22 share=5 which=900 dribble=335 latency=178; peer 23 \
         dials=2 share=6 which=300 dribble=133 block=66 alive=2410 bandwidth=100000; at 2381";
    misdirected_bytes_in_place_of_a_part_file_were_never_safe =>
        "seed 4; torrent 0 piece=40000; file 0 len=81920; file 0 len=250892; tracker 0; \
         node 0 bandwidth=200000 session=0 unsent=0 requests=4; \
         node 1 bandwidth=1600000 segment=8190 alone=0 hot; \
         node 2 bandwidth=800000 alone=0 disk=92 copies=0 save=800; node 3 joins=9000; \
         node 4 alone=0 session=0 disk=12 up=20000 joins=1062 initial=2 dials=2 save=100; \
         node 5 latency=60 alone=0 disk=32 joins=5200 initial=0 sequential=0; \
         node 6 jitter=24 alone=0 copies=0 save=0; at 1507 node=6 up=0; at 3563 node=5 misdirect";
    what_a_peer_said_before_the_metadata_is_delivered =>
        "seed 3; torrent 0; file 0; torrent 1; file 1; node 2 magnet=0; node 3 segment=0";
    what_peers_said_before_the_metadata_is_delivered =>
        "seed 3; torrent 1; file 1; node 0 segment=0; node 1; node 3 magnet=0";
    two_nodes_alone_in_their_dht_find_each_other =>
        "seed 4; torrent 1; file 1; node 1 dht=0";
    two_nodes_of_a_dht_find_each_other_after_a_partition =>
        "seed 4; torrent 1; file 1; node 1 dht joins=2000; at 1000 apart=1 time=300000";
    magnet_link_with_all_skipped_is_fetched_when_wanted =>
        "seed 637; torrent 1; file 1; node 1 skips magnet=0; node 2 latency=40";
    queued_magnet_link_with_all_skipped_is_fetched_when_wanted =>
        "seed 640; torrent 0; file 0; node 4 queued=0 total=0 skips magnet=0; \
         node 6 queued=0 downloads=0; at 67705";
    restarted_node_does_not_flood_the_only_other_one =>
        "seed 3; torrent 0; file 0 len=36000; torrent 1; file 1 len=116000; \
         node 0 bandwidth=200000; node 1 magnet=0 dht=0; at 7560 node kill=0";
    restarted_peer_of_a_dht_of_two_is_found_again =>
        "seed 3124; torrent 0; file 0 len=85000; node 0 super=0; node 1 latency=40 dht=0; \
         at 1072 node jump=156000; at 23020 node hang=1490; at 23561 node kill=0; \
         at 24499 node away=20";
    nodes_behind_routers_announce_where_they_are_reached =>
        "seed 2911; torrent 0; file 0; node 0 nat=0; node 1 nat=0 dht=0";
    dead_addresses_do_not_hold_up_a_peer_that_failed_once =>
        "seed 1; torrent 0; file 0; node 1 dials=0 magnet=0; peer 17 names=250 messages=4";
    addresses_that_a_peer_named_are_not_kept_over_a_restart =>
        "seed 2732586; torrent 0; file 0; node 0 queued=0 seeds=0; node 1 session=0; \
         peer 18 names=250 named=2 messages=10; at 5048 node restart=0";
    magnet_link_keeps_the_names_that_its_files_were_given_before =>
        "seed 5142; torrent 0; file 0; torrent 1; file 1 pad=0; file 1; node 2 magnet=0; \
         at 28251 node=2 rename; at 30123 node=2 vanish=0; at 71508";
    magnet_links_come_over_kills_before_and_after_their_metadata =>
        "seed 5; torrent 0; file 0 len=200000; node 0 latency=150; \
         node 1 magnet session down=40000; node 2 magnet down=40000; at 100 node=1 kill=200; \
         at 100 node=2 kill=200; at 3000 node=1 kill=200; at 3000 node=2 kill=200";
    magnet_link_comes_despite_liars_about_metadata_and_peers =>
        "seed 6; torrent 0; file 0 len=200000; node 0 latency=150; node 1 magnet; \
         peer 16 metadata names=2000 named=0 messages=5; peer 17 metadata=2 names=9 named=3; \
         peer 18 metadata=3 names=99 named=2; peer 19 metadata=4 names=999 named=1; \
         peer 20 metadata=5 names=5 named=4; peer 21 metadata=6; peer 22 metadata=7";
    reader_of_a_file_that_its_owner_writes_anew_checks_it =>
        "seed 4; torrent 0 piece=65500; file 0 len=68000; torrent 1 piece=20000 twin=0; \
         node 1 disk=40 joins=1000 run=0 memory=6; peer 18 bad=0 block=40; at 803 node misdirect; \
         at 32524 node again=0; web 0";
    piece_that_a_web_seed_has_no_memory_for_is_left_to_peers =>
        "seed 2; torrent 0 piece=40000; file 0; file 0 len=200000 pad=0; \
         node 1 run=0 memory=0 sequential=0 skips; peer 19 share=7 which bad=7 names=50; web 0";
    slot_given_as_a_waiting_session_begins_is_no_favour =>
        "seed 1; torrent 0 piece=65000; file 0 len=9300; file 0 len=253200; \
         file 0 len=81880; node 0 jitter sndbuf=1000 session=0 disk=5 peer-up=80000; node 1; \
         node 2 latency=33 jitter=0 disk=46 knows=0 peer-down=80000; \
         peer 16 reqq=100 unchoke=49 jitter=10 bandwidth=400000 segment=0 names=400; \
         at 349 node=2 failwrites=0; at 4029 node=2 kill=100; at 4595 node vanish=45000; \
         at 5004 longer=0; peer 17 flap=123 reqq=100 block=34 alive=665 jitter segment=250";
    peer_demanding_encryption_is_reached_with_little_room =>
        "seed 4; torrent 0; file 0; torrent 1; file 1; node 0 crypto=2; node 1; node 2 skips; \
         peer 18 names=400";
    state_of_a_new_place_is_not_recorded_before_the_place =>
        "seed 4; torrent 0 piece=65000; file 0 len=71000; file 0 len=81900; file 0 len=10000; \
         torrent 1 piece=20000; file 1 len=131000; file 1; node 0 segment=32000 sndbuf=0; \
         node 1 latency=146 session=0 disk=21 dials=4 copies=0 save=800; \
         node 2 bandwidth=100000 session=0 disk=40 hot run=0 initial=4 down=40000; \
         node 3 latency=27 unsent=0 knows=5114156315632057963; at 22955 node adopt; \
         at 25068 node full=0; at 26590 node adopt=0; at 62337 node kill=0";
    peer_of_utp_alone_that_demands_encryption_is_reached =>
        "seed 3077404; torrent 0; file 0; node 0 queued=0 seeds=0 crypto=2 utp=2; node 2; \
         at 25232";
    peer_without_the_metadata_makes_room_for_one_that_has_it =>
        "seed 4; torrent 0; file 0; node 1 torrent-links=0 magnet=0; peer 17 flap=0";
    word_that_waits_as_files_change_is_taken_back =>
        "seed 2; torrent 0 piece=0; file 0 len=118600; file 0 len=114688; file 0 len=234400; \
         torrent 1; file 1 len=98304; file 1 len=49152; file 1; \
         node 0 latency=0 bandwidth=800000 segment=4096 window=4096 disk=69 hot=100 peer-up=40000; \
         node 1 latency=154 bandwidth=100000 disk=59 hot=100 requests=35 copies save=232; \
         node 2 latency=190 disk=90 initial=7; node 3 latency=126 jitter=26 sequential; \
         peer 16 torrent dribble=172 reqq=94 block=11 alive=1723; \
         peer 17 torrent dials=14 share=10 which=600 flap=97 nofast block=3 latency=153 \
         jitter=15 bandwidth=400000 segment=256; \
         peer 18 share=4 flap=269 nofast latency=70 bandwidth=800000 segment=512; \
         at 368 node up=20000; at 2340 node=2 kill=368; at 2898 flaky=3607; \
         at 4341 node=3 cut=4014; at 6106 node longer=65";
    failed_sync_is_not_forgotten_with_its_torrent =>
        "seed 3073450; torrent 0; file 0; node 0 bandwidth=25000; node 1 session=0; \
         at 567 node failsyncs=0; at 1386 node again=0; at 29651 node heal=0; \
         at 36438 node kill=0 power=0";
    moved_file_that_a_twin_reads_does_not_stay_one_with_it =>
        "seed 3; torrent 0; file 0; file 0 len=58000; torrent 1 twin=0; node 0 latency=20; \
         node 1 disk=5 run=0; at 11742 node move; at 14914 node rot=3; web 0 manner=6 latency=20";
    doubt_of_a_removed_torrent_is_known_to_the_next_process =>
        "seed 2; torrent 1; file 1 len=122000; node 0 latency=140 utp=2; node 1 session=0; \
         at 3175 node failsyncs=0; at 4575 node again=0; at 8717 node kill=0; \
         at 19324 node restart=0 power=0";
    proxy_of_a_node_whose_disk_had_lied_is_forgiven =>
        "seed 3229979; torrent 0; file 0 len=28000; node 2 magnet=0 proxy=3; at 575 jump=11000; \
         at 2321 node=2 misdirect; at 36667 node=2 restart=0; at 37447 again=0 erase=0; \
         at 47710 node=2 kill=0";
    leaves_of_a_misdirected_piece_are_not_given =>
        "seed 4; torrent 1 piece=20000 format=2; file 1; file 1 len=49152; file 1 len=79000; \
         node 0 segment=0 window=1000 disk=0; node 1 magnet=0; node 2 latency bandwidth=0; \
         node 3 window=8000 magnet=0; at 715 node=3 misdirect; at 9308";
    relay_that_a_cut_keeps_from_being_made_is_asked_for_again =>
        "seed 5553; torrent 0; file 0; file 0; node 1 skips utp=2 proxy=3; at 501";
    relay_cut_after_a_vanished_node_is_back_is_asked_for_again =>
        "seed 454; torrent 1; file 1; node 2 latency=88 magnet=0 utp=2 proxy=0; \
         at 22686 node=2 vanish=450; at 23652";
    tracker_is_asked_by_a_relay_after_one_was_cut =>
        "seed 3119133; torrent 1; file 1; tracker 1; node 3 latency=50 alone=0 queued=0 magnet=0 \
         proxy=0; at 15407 node=3 restart=160; at 16090";
    what_a_check_passed_over_is_in_doubt_until_it_is_checked =>
        "seed 3; torrent 0 format; file 0 len=28000; node 1 lacks; peer 16 window=25; \
         at 1028 node failsyncs=0; at 3703 node heal=0; at 4382 node kill=0; \
         at 6868 node restart=0 power=0";
    node_that_has_flooded_the_other_of_a_dht_is_heard_again =>
        "seed 2; torrent 0; file 0; torrent 1; file 1; node 1 nat=4 dht=0; at 1117 node kill=0; \
         at 2356 node kill=0; at 4440 node restart=0; at 8122 node kill=0; \
         at 10384 node again=0 erase=0";
    file_that_was_never_safe_may_be_gone_after_a_power_cut =>
        "seed 1; torrent 0; file 0 len=51000; torrent 1; file 1; node 0 latency=150; \
         node 5 initial=0; at 1647 node=5 failsyncs=0; at 2612 node=5 bad=0; \
         at 3943 node=5 restart=0; at 6512 node=5 recheck=0; at 11937 node=5 restart=0 power=0";
    files_are_put_back_though_bad_blocks_are_on_their_way =>
        "seed 4; torrent 0 piece=20000 format; file 0 len=55760; node 0 nat disk=46; \
         node 1 magnet=0; node 2 torrent-links=0 skips; node 3 segment=2000 disk=96; \
         node 4 session=0 initial=0 torrent-links=8; node 5 segment=512; \
         peer 16 bad=3 latency=170 bandwidth=100000; at 62716 rot=7; peer 17 bad=2 metadata=3";
    allowed_fast_may_be_late_when_files_turn_out_changed =>
        "seed 2; torrent 0; file 0 len=290000; node 0 bandwidth=800000; \
         node 1 disk=10 up=40000 run=0 memory=0; node 3 down=0; at 577 node call answer=14; \
         at 1929";
    peer_that_has_all_of_a_bad_piece_gets_it_alone =>
        "seed 4; torrent 0 piece=131000 format=2; file 0; file 0; node 1 lacks=0; peer 17; \
         peer 18 bad=0; at 1618; peer 19 bad=0";
    twin_that_is_deleted_late_takes_its_safe_bytes_along =>
        "seed 3; torrent 0; file 0; torrent 1 twin=0; tracker 0; node 0 spikes=5; \
         node 1 latency=80 crypto censored=0; node 2 alone=0 hot crypto=2; \
         peer 17 torrent dials=3; at 40345 again=0 erase=0; peer 19 dials=6 share=0";
    files_of_a_drive_that_is_mounted_late_are_not_overwritten =>
        "seed 1; torrent 0 format; file 0; torrent 1 twin=0; node 1 spikes; \
         peer 18 bad=0 window=20; at 1823 away=1500; at 3042 again=0";
    peer_that_encrypts_comes_in_plain_where_a_torrent_does_not =>
        "seed 295; torrent 0; file 0; node 0 policies; node 1 segment=0 magnet=0 crypto";
    hybrid_that_contradicts_itself_is_told_and_the_other_arrives =>
        "seed 5; torrent 0 format=3; file 0 len=300000; torrent 1; file 1 len=50000; node 1; \
         node 2 lacks=1; node 3 lacks=2; peer 16 hashes=6; peer 17 hashes=4 dials=14";
    nodes_whose_policies_exclude_each_other_are_not_awaited =>
        "seed 5; torrent 0; file 0 len=100000; torrent 1; file 1 len=50000; node 0 policies=1; \
         node 1 policies=4; node 2 crypto=4; node 3 policies=24; at 900 node=2 policies=4";
    twin_that_comes_back_after_its_files_were_moved_is_fetched =>
        "seed 3458866; torrent 0; file 0; torrent 1 twin=0; node 2; at 72939 node=2 hang=151000; \
         at 76255 node=2 kill=0; at 77605 node=2 move";
    twin_whose_first_sleeps_with_all_skipped_gets_its_files =>
        "seed 1; torrent 0 piece=32000; file 0; file 0; torrent 1 twin=0; node 1 dht=0; \
         node 2 session=0 skips; at 38355 node edit; at 53006 node=2 kill=0";
    twin_that_moves_away_fetches_what_it_did_not_write =>
        "seed 4030432; torrent 0; file 0 len=31000; torrent 1 twin=0; node 1 run=0; \
         at 3591 node away=6000; at 9434 node move";
    byte_of_a_tiny_file_is_elsewhere_by_chance =>
        "seed 4; torrent 0 format; file 0 len; file 0; file 0 len=24400; \
         torrent 1 piece=40000 format=2; file 1 len=487846; file 1 len=222000; \
         node 0 latency=30 bandwidth=3200000 ratio=0 disk=0 peer-up=0; node 1 spikes joins=2000; \
         node 2 latency=37 bandwidth=800000 run=0 pipeline=2 dials=6 save=321; \
         node 3 window=0 hot=0 allowed=0 initial=0 torrent-links=0; \
         node 4 flaky=2340 nat=0 links=8 dials=3 magnet=0; \
         peer 16 reject=2 unchoke=350 latency=33 names=0 messages=2; \
         peer 17 torrent unchoke=0 latency=0 bandwidth=200000 segment=0; \
         peer 18 torrent dials=0 block=40 jitter=0 window=4000 names=0 named=0; \
         peer 19 dials=30 dribble=213 latency=13 bandwidth=200000 names=0; at 194 node=0; \
         at 1899 node=2 again=0 erase=0";
    sleeping_torrent_whose_file_is_skipped_for_a_while_shares_it =>
        "seed 4106282; torrent 0; file 0; torrent 1 twin=0; node 1 session=0 down=0; \
         at 18664 node restart=0; at 19798 node wish=0";
    peer_that_turns_all_down_leaves_memory_to_other_torrents =>
        "seed 3; torrent 0 piece=32000 format=3; file 0 len=71000; torrent 1 piece=32000; \
         file 1 len=231000; node 1 latency=100 run=32000 memory=0 proxy=0 lacks=0; \
         peer 17 reject=2";
    contradiction_on_a_drive_that_was_away_is_told_by_a_recheck =>
        "seed 1; torrent 0 format=3; file 0; node 0 spikes spike=1500; node 1; \
         at 2685 failreads=0; at 9390 node away=18000";
    contradiction_that_is_being_checked_is_waited_for_at_the_end =>
        "seed 4; torrent 0; file 0; torrent 1 format=3; file 1 len=49152; file 1 len=149010; \
         file 1 len=116721; file 1 len=454229; file 1 len=149580; node 0 latency=100; \
         node 1 queued=0 downloads=0 disk=80 magnet=0; at 16233; peer 17 torrent share=8 block=58";
    recheck_of_a_magnet_link_is_done_when_its_metadata_comes =>
        "seed 2; torrent 0 piece=20000 format=3; file 0 len=116180; file 0 len=267600; \
         node 2 sequential=0 magnet=0; node 3 jitter=18 initial=0; at 2338 node=3 recheck=0; \
         at 4595 node=2 vanish=0; at 5236 node=2 edit; at 10007 node=2 kill=0; \
         at 13790 restart=0; peer 16 latency=140";
    what_a_twin_found_may_be_overwritten_by_its_owner =>
        "seed 4226319; torrent 0 piece=32000; file 0 len=29000; torrent 1 twin=0; \
         node 0 latency=20; node 1 run=0; at 31528 node kill=0; at 32894 node edit; \
         web 0 manner=6";
    single_files_of_two_torrents_have_names_of_their_own =>
        "seed 4604915; torrent 0 format; file 0 pad=0; file 0 pad=0; file 0; torrent 1 format; \
         file 1 pad=0; file 1 pad=0; file 1";
    data_that_went_before_its_removal_was_recorded_is_missed =>
        "seed 8040738; torrent 0; file 0; node 0 session=0; at 1088 call=3 answer=3 times=2 done=0; \
         at 5795 failsyncs=0; at 8403 again=0 erase=0; at 10231 kill=0";
    contradiction_in_a_check_lets_the_node_shut_down =>
        "seed 3; torrent 0 piece=20000 format=3; file 0 len; file 0 len=203600; \
         node 1 disk=46 knows=14713519339822858700 skips; node 2; \
         peer 17 jitter=5 segment=100; peer 18 block=70";
}

/// A sync fails, and part of what it was about is never written, although it can be read until the
/// power is lost. A later sync that succeeds says nothing about it.
fn end_well_with_any_seed(events: &str) {
    for seed in 0..6 {
        ends_well(&format!(
            "seed {seed}; torrent 0; file 0 len=100000; file 0 len=30000; {events}"
        ));
    }
}

cases! { end_well_with_any_seed:
    failed_sync_is_not_believed_after_a_later_one =>
        "node 1 save=500 down=20000; at 100 node failsyncs; at 5000 node heal; \
         at 20000 node kill=100 power";
    failed_sync_of_a_session_is_not_believed_after_a_later_one =>
        "node 1 session save=500 down=20000; at 100 node failsyncs; at 5000 node heal; \
         at 20000 node kill=100 power";
    pages_dropped_by_a_failed_sync_are_rewritten_after_a_kill =>
        "node 1 save=500 down=20000; at 100 node failsyncs; at 4000 node kill=100; \
         at 4050 node heal; at 20000 node kill=100 power";
    doubt_of_a_session_outlives_torrent_and_process =>
        "node 1 session save=500 down=20000; at 100 node failsyncs; at 4000 node again=0; \
         at 4500 node kill=100; at 4550 node heal; at 20000 node kill=100 power";
    pages_dropped_by_a_failed_sync_are_rewritten_by_a_recheck =>
        "node 1 save=500 down=20000; at 100 node failsyncs; at 4000 node heal; \
         at 12000 node recheck; at 20000 node kill=100 power";
}
