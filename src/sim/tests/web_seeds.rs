//! Downloads from web servers (BEP 19), good ones and bad ones, alone and with peers.

use super::*;
use crate::{
    alert::{WebSeedErrorKind, WebSeedStats, WebSeedStatus},
    base::{bucket::Rate, files::Priority},
    engine::TorrentParams,
    wire::metainfo::Metainfo,
};

/// A folder with files in the middle of pieces, an empty one, odd names and padding.
fn folder() -> Arc<Sample> {
    let files = [
        ("a", 300_000),
        ("b c/ü+#?.bin", 5),
        ("empty", 0),
        ("d", 700_000),
        ("", 20_000),
        ("e%20f", 1_234_567),
    ];
    Sample::folder("folder é", &files, 64 * 1024, 1).unwrap()
}

fn with_seeds(
    world: &World,
    node: NodeId,
    sample: &Arc<Sample>,
    seeds: &[NodeId],
) -> TorrentParams {
    let web_seeds = seeds.iter().map(|&seed| world.web_url(seed)).collect();
    TorrentParams { web_seeds, ..world.params(node, sample, &[]) }
}

/// A leech with these web servers, and no peers.
fn leech(world: &mut World, conf: Conf, sample: &Arc<Sample>, seeds: &[NodeId]) -> NodeId {
    let node = world.node(conf);
    let params = with_seeds(world, node, sample, seeds);
    world.add_torrent(node, sample, params);
    node
}

/// A world with one web server of these manners, and a leech that knows it alone.
fn alone(manners: WebManners, sample: &Arc<Sample>) -> (World, NodeId, NodeId) {
    let mut world = World::new(7);
    let server = world.web_server(std::slice::from_ref(sample), manners);
    let node = leech(&mut world, loud(), sample, &[server]);
    (world, server, node)
}

fn seeds(world: &World, node: NodeId) -> Vec<WebSeedStats> {
    world.engine(node).web_seeds(world.torrent(node))
}

/// The failures that were told, with the files that they are about.
fn failures(world: &World, node: NodeId) -> Vec<(WebSeedErrorKind, Option<usize>)> {
    let failure = |alert: &Alert| match alert {
        Alert::WebSeedFailed { error, .. } => Some((error.kind, error.file)),
        _ => None,
    };
    world.alerts(node).iter().filter_map(|(_, alert)| failure(alert)).collect()
}

fn requests(world: &World, server: NodeId) -> Vec<WebRequest> {
    world.script::<WebServer>(server).requests().to_vec()
}

/// The torrent is fetched whole from a server of these manners.
fn completes(manners: WebManners) {
    for sample in [folder(), file(3_000_000, 256 * 1024)] {
        let (mut world, server, node) = alone(manners, &sample);
        assert!(world.run_until(|w| w.is_complete(node), secs(300)), "{manners:?}");
        assert_eq!(failures(&world, node), []);
        let stats = world.stats(node);
        assert_eq!((stats.wasted, stats.failed_pieces), (0, 0));
        world.run_for(secs(1));
        assert_eq!(world.script::<WebServer>(server).connections(), 0, "nothing is left open");
    }
}

cases! { completes:
    torrents_are_fetched_from_a_web_seed_alone => WebManners::Good;
    connections_that_are_closed_each_time_are_made_anew => WebManners::Closes;
    chunked_bodies_are_read => WebManners::Chunked;
}

#[test]
fn requests_are_long_ranges_on_few_connections() {
    let sample = file(20_000_000, 256 * 1024);
    let (mut world, server, node) = alone(WebManners::Good, &sample);
    assert!(world.run_until(|w| w.is_complete(node), secs(300)));
    let requests = requests(&world, server);
    let lens = || requests.iter().filter_map(|r| r.range).map(|(first, last)| last + 1 - first);
    assert_eq!(lens().sum::<u64>(), 20_000_000, "each byte once, and always by range");
    assert!(lens().all(|len| len <= 4 << 20) && requests.len() < 60, "{}", requests.len());
    let mut conns: Vec<u64> = requests.iter().map(|r| r.conn).collect();
    conns.sort_unstable();
    conns.dedup();
    assert!(conns.len() <= 2, "{} connections", conns.len());
    let aligned = requests.iter().filter_map(|r| r.range).all(|(first, _)| first % 262_144 == 0);
    assert!(aligned && requests.iter().all(|r| r.head.contains("Accept-Encoding: identity\r\n")));
}

#[test]
fn padding_is_not_asked_for() {
    let (mut world, server, node) = alone(WebManners::Good, &folder());
    assert!(world.run_until(|w| w.is_complete(node), secs(300)));
    let targets: Vec<String> = requests(&world, server).into_iter().map(|r| r.target).collect();
    assert!(!targets.iter().any(|target| target.contains(".pad") || target.contains("empty")));
    assert!(
        targets.iter().any(|t| t == "/folder%20%C3%A9/b%20c/%C3%BC%2B%23%3F.bin"),
        "{targets:?}"
    );
}

#[test]
fn web_seed_that_sends_shows_in_its_figures() {
    let (mut world, _, node) = alone(WebManners::Good, &folder());
    assert!(world.run_until(|w| w.stats(node).web_seeds == 1, secs(9)));
    let [seed] = &seeds(&world, node)[..] else { panic!("there is one") };
    assert_eq!((seed.status, seed.added), (WebSeedStatus::Downloading, true));
    assert!(seed.downloaded > 0 && seed.connections > 0, "{seed:?}");
    assert!(world.run_until(|w| w.is_complete(node), secs(300)));
    assert_eq!(seeds(&world, node)[0].status, WebSeedStatus::Idle);
    assert_eq!(world.stats(node).downloaded, 2_234_572, "padding does not count");
}

/// What goes wrong with a web seed of these manners within half an hour: nothing comes that is not
/// right, memory stays within bounds (as always), and the server is not asked too often.
fn fails(manners: WebManners, kind: WebSeedErrorKind, most: usize) {
    let sample = file(3_000_000, 256 * 1024);
    let (mut world, server, node) = alone(manners, &sample);
    assert!(!world.run_until(|w| w.is_complete(node), secs(1800)), "{manners:?}");
    let failures = failures(&world, node);
    assert!(failures.iter().all(|(failed, _)| *failed == kind), "{failures:?}");
    assert!(!failures.is_empty() && failures.len() < 12, "{}", failures.len());
    let asked = requests(&world, server).len();
    assert!(asked <= most, "{asked} requests");
    assert!(world.stats(node).no_peers.is_some(), "a download that gets nowhere is not silent");
    // A peer is enough all the same.
    let peer = world.node(loud());
    world.seed_with(peer, &sample);
    let (id, addr) = (world.torrent(node), world.addr(peer));
    world.tell(node, |engine| engine.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.is_complete(node), secs(300)));
}

use WebSeedErrorKind as Kind;

cases! { fails:
    server_that_sends_another_range_is_left_alone => WebManners::OtherRange, Kind::Http, 8;
    server_error_lets_the_pause_grow => WebManners::Status(500), Kind::Http, 8;
    redirects_in_circles_end => WebManners::RedirectsInCircles, Kind::Redirect, 60;
    endless_body_ends_with_the_range => WebManners::Endless, Kind::Http, 12;
    packed_body_is_refused => WebManners::Packs, Kind::Http, 8;
    silent_server_times_out => WebManners::Silent, Kind::TimedOut, 8;
    server_that_trickles_is_too_slow => WebManners::Trickles(5000), Kind::TimedOut, 12;
    garbage_is_no_answer => WebManners::Garbage, Kind::Http, 8;
}

#[test]
fn missing_file_of_a_single_file_torrent_is_asked_for_once() {
    let (mut world, server, node) = alone(WebManners::Status(404), &file(3_000_000, 256 * 1024));
    world.run_for(secs(1800));
    assert_eq!(failures(&world, node), [(Kind::NoFile, Some(0))]);
    assert_eq!(requests(&world, server).len(), 1);
}

#[test]
fn whole_file_without_a_range_is_taken() {
    let sample = Sample::folder("w", &[("a", 500_000), ("b", 9), ("c", 400_000)], 1 << 20, 3);
    let sample = sample.unwrap();
    let (mut world, _, node) = alone(WebManners::NoRanges, &sample);
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
    assert_eq!(failures(&world, node), []);
}

#[test]
fn server_without_ranges_is_read_from_the_start_in_one_go() {
    let sample = file(30_000_000, 256 * 1024);
    let (mut world, server, node) = alone(WebManners::NoRanges, &sample);
    assert!(world.run_until(|w| w.is_complete(node), secs(300)), "{:?}", world.stats(node));
    assert_eq!(failures(&world, node), []);
    let (stats, asked) = (world.stats(node), requests(&world, server).len());
    assert!(asked <= 2 && stats.wasted < 2_000_000, "{asked} requests, {stats:?}");
}

#[test]
fn server_without_ranges_is_not_read_past_too_much() {
    let sample = file(30_000_000, 256 * 1024);
    let mut world = World::new(7);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::NoRanges);
    let conf = loud().with(|conf| conf.web_seeds.max_skip = 1 << 20);
    let node = world.node(conf);
    // It lacks the end.
    let mut pieces = Bitfield::all(sample.geometry().piece_count());
    let last = sample.geometry().piece(sample.geometry().piece_count() - 1).unwrap();
    pieces.unset(last);
    world.put_pieces(node, &sample, &pieces);
    let params = with_seeds(&world, node, &sample, &[server]);
    world.add_torrent(node, &sample, params);
    world.run_for(secs(600));
    assert!(!world.is_complete(node));
    assert_eq!(failures(&world, node), [(Kind::NoRanges, None)]);
}

#[test]
fn busy_server_is_asked_again_when_it_says_so() {
    let sample = file(1_000_000, 256 * 1024);
    let (mut world, server, node) = alone(WebManners::Busy(3, 100), &sample);
    assert!(world.run_until(|w| w.is_complete(node), secs(350)));
    let times: Vec<_> = requests(&world, server).iter().map(|r| r.at).collect();
    assert!(times.windows(2).take(3).all(|two| two[1].since(two[0]) >= secs(100)), "{times:?}");
    assert_eq!(failures(&world, node), [(Kind::Http, None); 3]);
}

/// One server has everything but what these manners spoil of a file, another has all; and one file
/// is given up of the first.
fn file_is_given_up(manners: WebManners, kind: WebSeedErrorKind) {
    let sample = folder();
    let (mut world, server, node) = alone(manners, &sample);
    assert!(!world.run_until(|w| w.is_complete(node), secs(120)), "{manners:?}");
    let [seed] = &seeds(&world, node)[..] else { panic!("there is one") };
    // Of a piece with bad data that several files have a part in all of them may be bad.
    assert!((1..=3).contains(&seed.missing_files), "{seed:?}");
    assert_eq!(seed.status, WebSeedStatus::Idle);
    let failed = failures(&world, node);
    assert!(failed.contains(&(kind, Some(3))), "{failed:?}");
    assert!(world.stats(node).have > 15, "the other files are there");
    let before = requests(&world, server).len();
    let other = world.web_server(&[sample], WebManners::Good);
    let (id, url) = (world.torrent(node), world.web_url(other));
    world.tell(node, |engine| engine.add_web_seed(id, &url)).unwrap();
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
    assert_eq!(requests(&world, server).len(), before, "it is not asked for them again");
}

cases! { file_is_given_up:
    server_that_lacks_a_file_gives_the_others => WebManners::Lacks(3), Kind::NoFile;
    server_with_bad_data_of_a_file_gives_the_others => WebManners::Lies(3), Kind::BadData;
}

#[test]
fn file_that_is_cut_off_counts_as_missing() {
    let sample = file(3_000_000, 256 * 1024);
    let (mut world, _, node) = alone(WebManners::CutOff, &sample);
    world.run_for(secs(60));
    assert_eq!(failures(&world, node), [(Kind::NoFile, Some(0))]);
    assert!(world.stats(node).have > 0);
}

#[test]
fn server_of_a_single_file_with_bad_data_is_banned() {
    let sample = file(3_000_000, 256 * 1024);
    let (mut world, server, node) = alone(WebManners::LiesAlways, &sample);
    world.run_for(secs(3600));
    assert_eq!(failures(&world, node), [(Kind::BadData, None)]);
    assert_eq!(seeds(&world, node)[0].status, WebSeedStatus::Disabled);
    let stats = world.stats(node);
    assert!((1..=4).contains(&stats.failed_pieces) && stats.have == 0, "{stats:?}");
    assert!(requests(&world, server).len() < 4);
}

#[test]
fn redirects_are_followed_and_remembered_file_by_file() {
    let sample = folder();
    let mut world = World::new(3);
    let target = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Redirects(target));
    let node = leech(&mut world, loud(), &sample, &[server]);
    assert!(world.run_until(|w| w.is_complete(node), secs(300)));
    let mut asked: Vec<String> = requests(&world, server).into_iter().map(|r| r.target).collect();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    assert!(asked.len() == 4 && all <= 8, "{all} requests for {asked:?}");
    assert_eq!(failures(&world, node), []);
}

#[test]
fn connection_that_breaks_costs_what_did_not_come() {
    let sample = file(3_000_000, 256 * 1024);
    let (mut world, _, node) = alone(WebManners::EndsEarly(400_000), &sample);
    assert!(world.run_until(|w| w.is_complete(node), secs(600)));
    assert!(failures(&world, node).iter().all(|(kind, _)| *kind == Kind::Broken));
    assert!(world.stats(node).downloaded < 3_300_000);
}

/// How long a download takes from a web server and a peer with lines of these rates (bytes/s), 0:
/// without.
fn mixed(web: u64, peer: u64) -> (Duration, World, NodeId) {
    let sample = file(8_000_000, 256 * 1024);
    let mut world = World::new(5);
    let line = |bandwidth| Line { bandwidth, ..Line::default() };
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    world.set_line(server, line(web.max(1)));
    let seed = world.node(loud());
    world.set_line(seed, line(peer.max(1)));
    world.seed_with(seed, &sample);
    world.run_for(secs(3));
    let node = world.node(loud());
    let params = TorrentParams {
        web_seeds: if web > 0 { vec![world.web_url(server)] } else { vec![] },
        ..world.params(node, &sample, if peer > 0 { std::slice::from_ref(&seed) } else { &[] })
    };
    let began = world.now();
    world.add_torrent(node, &sample, params);
    assert!(world.run_until(|w| w.is_complete(node), secs(3600)), "{web} {peer}");
    (world.now().since(began), world, node)
}

#[test]
fn mix_is_no_slower_than_the_better_of_the_two() {
    for (web, peer) in [(1_000_000, 1_000_000), (4_000_000, 200_000), (200_000, 4_000_000)] {
        let (of_web, of_peer) = (mixed(web, 0).0, mixed(0, peer).0);
        let (both, world, node) = mixed(web, peer);
        let better = of_web.min(of_peer);
        assert!(both <= better + millis(300), "{both:?} of {of_web:?} and {of_peer:?}");
        let stats = world.stats(node);
        assert!(stats.wasted < 1_200_000, "{web} {peer}: {stats:?}");
        assert_eq!(stats.failed_pieces, 0);
    }
    assert!(mixed(1_000_000, 1_000_000).0 < secs(6), "they share the work");
}

#[test]
fn dead_web_seed_does_not_slow_peers_down() {
    let (alone, ..) = mixed(0, 1_000_000);
    let (with_dead, world, node) = mixed(100, 1_000_000);
    assert!(with_dead <= alone + secs(1), "{with_dead:?} instead of {alone:?}");
    assert_eq!(world.stats(node).failed_pieces, 0);
}

#[test]
fn pause_closes_streams_and_resume_goes_on() {
    let sample = file(8_000_000, 256 * 1024);
    let (mut world, server, node) = alone(WebManners::Good, &sample);
    world.set_line(server, Line { bandwidth: 1_000_000, ..Line::default() });
    world.run_for(secs(2));
    let id = world.torrent(node);
    assert!(world.script::<WebServer>(server).connections() > 0);
    world.tell(node, |engine| engine.pause(id)).unwrap();
    assert_eq!(seeds(&world, node)[0].connections, 0);
    world.run_for(secs(2));
    assert_eq!(world.script::<WebServer>(server).connections(), 0);
    let before = requests(&world, server).len();
    world.run_for(secs(60));
    assert_eq!(requests(&world, server).len(), before);
    world.tell(node, |engine| engine.resume(id)).unwrap();
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
}

#[test]
fn removed_torrent_leaves_nothing() {
    let sample = file(8_000_000, 256 * 1024);
    let (mut world, server, node) = alone(WebManners::Good, &sample);
    world.set_line(server, Line { bandwidth: 1_000_000, ..Line::default() });
    world.run_for(secs(2));
    let id = world.torrent(node);
    world.tell(node, |engine| engine.remove(id)).unwrap();
    assert!(world.run_until(|w| w.engine(node).torrents().is_empty(), secs(5)));
    world.run_for(secs(1));
    assert_eq!(world.script::<WebServer>(server).connections(), 0);
    assert_eq!(world.engine(node).piece_memory(), 0);
    assert_eq!(world.engine(node).audit(), Ok(()));
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(5)));
}

#[test]
fn download_limit_holds_a_web_seed_back() {
    let sample = file(2_000_000, 256 * 1024);
    let mut world = World::new(11);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    let conf = loud().with(|conf| conf.network.limits.down = Rate::new(20_000));
    let node = leech(&mut world, conf, &sample, &[server]);
    world.run_for(secs(60));
    let came = world.stats(node).downloaded;
    assert!((1_000_000..=1_300_000).contains(&came), "{came} bytes in a minute");
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
    assert_eq!(failures(&world, node), [], "what we hold back is not late");
}

#[test]
fn skipped_files_are_not_asked_for() {
    let sample = Sample::folder("s", &[("a", 300_000), ("b", 900_000), ("c", 300_000)], 16384, 9);
    let sample = sample.unwrap();
    let mut world = World::new(1);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    let node = world.node(loud());
    let params = TorrentParams {
        priorities: vec![Priority::Normal, Priority::Skip],
        ..with_seeds(&world, node, &sample, &[server])
    };
    world.add_torrent(node, &sample, params);
    assert!(world.run_until(|w| w.stats(node).phase == Phase::Seeding, secs(60)));
    let of_b: u64 = requests(&world, server)
        .iter()
        .filter(|request| request.target == "/s/b")
        .filter_map(|request| request.range)
        .map(|(first, last)| last + 1 - first)
        .sum();
    assert!(of_b < 4 * 16384, "{of_b} bytes of a file that is skipped");
}

#[test]
fn file_that_is_skipped_on_the_way_is_given_up() {
    let sample = Sample::folder("s", &[("a", 4_000_000), ("b", 300_000)], 65536, 9).unwrap();
    let (mut world, server, node) = alone(WebManners::Good, &sample);
    world.set_line(server, Line { bandwidth: 300_000, ..Line::default() });
    world.run_for(secs(3));
    let id = world.torrent(node);
    world.tell(node, |engine| engine.set_file_priorities(id, vec![Priority::Skip])).unwrap();
    assert!(world.run_until(|w| w.stats(node).phase == Phase::Seeding, secs(20)));
    assert!(world.script::<WebServer>(server).sent() < 3_000_000);
}

/// A liar and an honest source work on the same pieces: the liar alone is blamed.
#[test]
fn lying_peer_is_blamed_and_not_the_web_seed() {
    let sample = file(6_000_000, 1 << 20);
    let mut world = World::new(4);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    world.set_line(server, Line { bandwidth: 400_000, ..Line::default() });
    let has = Some(Bitfield::all(sample.geometry().piece_count()));
    let manners = Manners { has, answer: Box::new(|_| Answer::Bad), ..Manners::default() };
    let liar = world.scripted(Remote::new(&sample, 1, manners));
    let node = world.node(loud());
    let params = TorrentParams {
        peers: vec![world.addr(liar)],
        ..with_seeds(&world, node, &sample, &[server])
    };
    world.add_torrent(node, &sample, params);
    assert!(world.run_until(|w| w.is_complete(node), secs(900)));
    assert_eq!(banned(&world, node).len(), 1);
    assert_eq!(failures(&world, node), []);
}

#[test]
fn lying_web_seed_is_blamed_and_not_the_peer() {
    let sample = file(6_000_000, 1 << 20);
    let mut world = World::new(4);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::LiesAlways);
    let peer = world.node(loud());
    world.set_line(peer, Line { bandwidth: 400_000, ..Line::default() });
    world.seed_with(peer, &sample);
    let node = world.node(loud());
    let params = TorrentParams {
        peers: vec![world.addr(peer)],
        ..with_seeds(&world, node, &sample, &[server])
    };
    world.add_torrent(node, &sample, params);
    assert!(world.run_until(|w| w.is_complete(node), secs(900)));
    assert_eq!(banned(&world, node), []);
    assert_eq!(failures(&world, node), [(Kind::BadData, None)]);
}

#[test]
fn connections_with_web_seeds_are_bounded_over_all_torrents() {
    let mut world = World::new(2);
    let samples: Vec<_> = (0..5).map(|n| file(2_000_000 + n, 256 * 1024)).collect();
    let server = world.web_server(&samples, WebManners::Good);
    let node = world.node(loud().with(|conf| conf.web_seeds.max_connections = 2));
    for sample in &samples {
        let params = with_seeds(&world, node, sample, &[server]);
        world.add_torrent(node, sample, params);
    }
    let mut most = 0;
    assert!(world.run_until(
        |w| {
            most = most.max(w.script::<WebServer>(server).connections());
            w.is_complete(node)
        },
        secs(600)
    ));
    assert!(most <= 4, "{most} connections, those that are being closed among them");
}

#[test]
fn web_seeds_of_a_magnet_link_are_used() {
    let sample = folder();
    let mut world = World::new(6);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    // It has the metainfo and none of the data.
    let peer = world.node(loud());
    world.download(peer, &sample, &[]);
    let node = world.node(loud());
    let mut magnet = crate::wire::magnet::Magnet::new(sample.metainfo.identity);
    magnet.web_seeds = vec![world.web_url(server)];
    magnet.peers = vec![world.addr(peer)];
    let params = TorrentParams::from_magnet(magnet, format!("/node{}", 2));
    world.add_torrent(node, &sample, params);
    assert!(world.run_until(|w| w.is_complete(node), secs(120)));
    assert_eq!(seeds(&world, node).len(), 1, "the metainfo has it, too");
}

#[test]
fn private_magnet_forgets_web_seeds_of_its_link_alone() {
    let sample = folder();
    for private in [true, false] {
        let mut world = World::new(6);
        let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
        let node = world.node(loud());
        let mut magnet = crate::wire::magnet::Magnet::new(sample.metainfo.identity);
        magnet.web_seeds = vec!["http://198.51.100.9/".into()];
        let params = TorrentParams::from_magnet(magnet, "/node1");
        let id = world.add_torrent(node, &sample, params);
        let url = world.web_url(server);
        world.tell(node, |engine| engine.add_web_seed(id, &url)).unwrap();
        let metainfo = Metainfo { private, ..Metainfo::clone(&sample.metainfo) };
        world.tell(node, |engine| engine.set_metainfo(id, Arc::new(metainfo))).unwrap();
        let is_of_link = |seed: &WebSeedStats| seed.url.starts_with("http://198.51.100.9/");
        let seeds = seeds(&world, node);
        assert!(seeds.iter().any(|seed| seed.url == url), "{private}: {seeds:?}");
        assert_eq!(seeds.iter().any(is_of_link), !private, "{seeds:?}");
        assert!(world.run_until(|w| w.is_complete(node), secs(120)));
    }
}

#[test]
fn web_seeds_are_not_asked_where_they_are_turned_off() {
    let sample = file(1_000_000, 256 * 1024);
    let mut world = World::new(6);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    let conf = loud().with(|conf| conf.web_seeds.enabled = false);
    let node = leech(&mut world, conf, &sample, &[server]);
    world.run_for(secs(60));
    assert_eq!((requests(&world, server).len(), seeds(&world, node).len()), (0, 1));
}

#[test]
fn added_web_seed_is_kept_in_the_session() {
    let sample = file(8_000_000, 256 * 1024);
    let mut world = World::new(6);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    world.set_line(server, Line { bandwidth: 1_000_000, ..Line::default() });
    let node = world.node(loud().with(|conf| conf.session.dir = Some("/session".into())));
    let params = world.params(node, &sample, &[]);
    let id = world.add_torrent(node, &sample, params);
    let url = world.web_url(server);
    world.tell(node, |engine| {
        engine.add_web_seed(id, &url).unwrap();
        engine.add_web_seed(id, &url).unwrap();
        engine.add_web_seed(id, "udp://h:1/").unwrap_err();
    });
    world.run_for(secs(2));
    world.kill(node);
    world.restart(node);
    let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
    let seeds = world.engine(node).web_seeds(id);
    assert_eq!(seeds.iter().map(|seed| seed.url.as_str()).collect::<Vec<_>>(), [url]);
    assert!(world.run_until(|w| w.engine(node).have(id).is_some_and(Bitfield::is_full), secs(90)));
}

#[test]
fn web_seed_is_asked_at_once_though_nothing_else_happens() {
    let sample = file(3_000_000, 256 * 1024);
    let mut world = World::new(7);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    let conf = loud().with(|conf| conf.alerts.mask = AlertMask::NONE);
    let node = leech(&mut world, conf, &sample, &[server]);
    assert!(world.run_until(|w| w.is_complete(node), secs(20)), "{:?}", world.stats(node));
}

#[test]
fn removed_web_seed_ends_and_its_blocks_come_from_others() {
    let sample = file(8_000_000, 256 * 1024);
    let mut world = World::new(8);
    let [slow, good] =
        [(); 2].map(|()| world.web_server(std::slice::from_ref(&sample), WebManners::Good));
    world.set_line(slow, Line { bandwidth: 100_000, ..Line::default() });
    let node = leech(&mut world, loud(), &sample, &[slow]);
    world.run_for(secs(5));
    let (id, url, other) = (world.torrent(node), world.web_url(slow), world.web_url(good));
    assert_eq!(seeds(&world, node)[0].status, WebSeedStatus::Downloading);
    let asked = requests(&world, slow).len();
    world.tell(node, |engine| {
        assert_eq!(engine.remove_web_seed(id, "http://unknown/"), Ok(false));
        assert_eq!(engine.remove_web_seed(id, &url), Ok(true));
        assert_eq!(engine.remove_web_seed(id, &url), Ok(false));
    });
    world.run_for(secs(5));
    assert_eq!((seeds(&world, node).len(), requests(&world, slow).len()), (0, asked));
    world.tell(node, |engine| engine.add_web_seed(id, &other)).unwrap();
    assert!(world.run_until(|w| w.is_complete(node), secs(60)), "{:?}", world.stats(node));
    assert_eq!(requests(&world, slow).len(), asked);
    // One that was removed may be added again.
    world.tell(node, |engine| engine.add_web_seed(id, &url)).unwrap();
    assert_eq!(seeds(&world, node).len(), 2);
}

/// The torrent, whose metainfo names this web seed, in the file that a session keeps, too.
fn naming(sample: &Arc<Sample>, url: &str) -> Arc<Sample> {
    let web_seeds = vec![url.to_owned()];
    let metainfo = Metainfo { web_seeds, ..Metainfo::clone(&sample.metainfo) };
    let bytes = metainfo.file_with(metainfo.info().unwrap());
    sample.with_metainfo(Metainfo::from_bytes(&bytes).unwrap())
}

#[test]
fn removed_web_seed_of_the_metainfo_stays_away() {
    let sample = file(8_000_000, 256 * 1024);
    let mut world = World::new(9);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    world.set_line(server, Line { bandwidth: 100_000, ..Line::default() });
    let url = world.web_url(server);
    let sample = naming(&sample, &url);
    let node = world.node(loud().with(|conf| conf.session.dir = Some("/session".into())));
    let params = world.params(node, &sample, &[]);
    world.add_torrent(node, &sample, params);
    world.run_for(secs(2));
    world.kill(node);
    world.restart(node);
    let id = world.torrent(node);
    assert_eq!(world.engine(node).web_seeds(id).len(), 1);
    assert_eq!(world.tell(node, |engine| engine.remove_web_seed(id, &url)), Ok(true));
    world.run_for(secs(2));
    world.kill(node);
    world.restart(node);
    world.run_for(secs(2));
    let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
    assert_eq!(world.engine(node).web_seeds(id).len(), 0);
}

#[test]
fn download_whose_web_seed_lacks_the_rest_is_not_silent() {
    let (mut world, _, node) = alone(WebManners::Lacks(3), &folder());
    let told = |world: &World| world.stats(node).no_peers.is_some();
    assert!(world.run_until(told, secs(300)));
    assert!(world.stats(node).have > 15);
}

#[test]
fn web_seed_that_may_not_be_asked_is_tried_once_and_later() {
    let sample = file(1_000_000, 64 * 1024);
    for url in
        ["http://0.0.0.0/", "http://224.0.0.1/a", "http://10.0.0.1/get?f=", "http://127.0.0.1/?x"]
    {
        let mut world = World::new(3);
        let node = world.node(loud());
        let web_seeds = vec![url.to_owned()];
        let params = TorrentParams { web_seeds, ..world.params(node, &sample, &[]) };
        world.add_torrent(node, &sample, params);
        world.run_for(secs(5));
        assert_eq!(failures(&world, node).len(), 1, "{url}: {:?}", failures(&world, node));
        let [seed] = &seeds(&world, node)[..] else { panic!("{url}") };
        assert!(seed.error.is_some(), "{url}: {seed:?}");
    }
}

#[test]
fn removed_web_seed_stays_away_however_it_was_named() {
    // It is in the metainfo, and the user had named it, too; or there is room for one alone, which
    // another gets.
    for (named, limit) in [(true, 50), (false, 1)] {
        let sample = file(8_000_000, 256 * 1024);
        let mut world = World::new(9);
        let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
        world.set_line(server, Line { bandwidth: 10_000, ..Line::default() });
        let (url, other) = (world.web_url(server), "http://other.test/".to_owned());
        let sample = naming(&sample, &url);
        let node = world.node(loud().with(|conf| {
            conf.session.dir = Some("/session".into());
            conf.web_seeds.max_per_torrent = limit;
        }));
        let web_seeds = if named { vec![url.clone()] } else { Vec::new() };
        let params = TorrentParams { web_seeds, ..world.params(node, &sample, &[]) };
        let mut id = world.add_torrent(node, &sample, params);
        assert_eq!(world.tell(node, |engine| engine.remove_web_seed(id, &url)), Ok(true));
        if !named {
            world.tell(node, |engine| engine.add_web_seed(id, &other)).unwrap();
        }
        for _ in 0..2 {
            world.run_for(secs(2));
            world.kill(node);
            world.restart(node);
            world.run_for(secs(2));
            id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
            let left = world.engine(node).web_seeds(id);
            assert!(left.iter().all(|seed| seed.url != url), "{left:?}");
            // The other goes, too; what was removed before it is still known.
            let _ = world.tell(node, |engine| engine.remove_web_seed(id, &other));
        }
    }
}

#[test]
fn short_longest_pause_and_retry_after_go_together() {
    let sample = file(1_000_000, 64 * 1024);
    let mut world = World::new(7);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Busy(1, 1));
    let conf = loud().with(|conf| {
        (conf.web_seeds.retry, conf.web_seeds.max_retry) = (millis(100), millis(500));
    });
    let node = leech(&mut world, conf, &sample, &[server]);
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
}
