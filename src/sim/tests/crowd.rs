//! Silent connections where there are few: they make room for candidates that wait.

use super::*;
use crate::sim::remote::Hello;

/// Its handshake has an answer, and nothing else ever comes.
fn mute() -> Manners {
    Manners { fast: false, has: None, unchoke_after: None, ..Manners::default() }
}

/// It takes the connection and answers no handshake.
fn silent() -> Manners {
    Manners { hello: Hello::Silent, ..Manners::default() }
}

/// How long a leech with few connections needs that knows three silent peers and a good one.
fn time(seed: u64, conf: Conf, manners: fn() -> Manners) -> Duration {
    let sample = file(100_000, 32 * 1024);
    let mut world = World::new(seed);
    let mut peers: Vec<NodeId> =
        (0..3).map(|n| world.scripted(Remote::new(&sample, n, manners()))).collect();
    let leech = world.node(conf);
    let good = world.node(loud());
    world.seed_with(good, &sample);
    world.run_for(secs(5));
    let start = world.now();
    // They are dialled first.
    let id = world.download(leech, &sample, &peers);
    world.run_for(secs(1));
    peers.push(good);
    let addr = world.addr(good);
    world.tell(leech, |engine| engine.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(600)), "seed {seed}");
    world.now().since(start)
}

#[test]
fn silent_peers_before_a_good_one_make_room_within_seconds() {
    for seed in 0..5 {
        for links in [1, 2] {
            let conf = || loud().with(|conf| conf.peers.max_connections = links);
            let few = || loud().with(|conf| conf.peers.max_per_torrent = links);
            for conf in [conf(), few()] {
                let unanswered = time(seed, conf.clone(), silent);
                assert!(unanswered < secs(20), "{unanswered:?}");
                let mute = time(seed, conf, mute);
                assert!(mute < secs(45), "{mute:?}");
            }
        }
    }
}

#[test]
fn silent_connection_keeps_its_time_while_there_is_room() {
    let sample = file(100_000, 32 * 1024);
    let mut world = World::new(7);
    let peer = world.scripted(Remote::new(&sample, 1, mute()));
    let leech = world.node(loud());
    world.download(leech, &sample, &[peer]);
    world.run_for(secs(100));
    assert_eq!(world.stats(leech).peers, 1);
}
