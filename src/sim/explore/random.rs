//! Plans by chance: small torrents, good, bad, slow and fickle peers, tight limits, and misfortune.

use super::{
    Item, Kind, Plan,
    cast::{self, HASH_MANNERS, PROXIES, WEB_MANNERS},
};
use crate::base::rng::Rng;

/// Peers' names begin here, so that nodes and peers share the bits of a mask.
const FIRST_PEER: u64 = 16;

/// Says a value of an item, once in `n` times.
fn sometimes(
    rng: &mut Rng,
    n: u64,
    item: &mut Item,
    key: &str,
    value: impl FnOnce(&mut Rng) -> u64,
) {
    if rng.below(n) == 0 {
        let value = value(rng);
        item.set(key, value);
    }
}

/// A number below `few`, or once in `n` times below `many`.
fn up_to(rng: &mut Rng, few: u64, many: u64, n: u64) -> u64 {
    let most = if rng.below(n) == 0 { many } else { few };
    rng.below(most)
}

impl Plan {
    /// The plan that follows from a seed.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let mut items = Vec::new();
        let torrents = 1 + rng.below(2);
        (0..torrents).for_each(|id| torrent(rng, id, &mut items));
        let nodes = 2 + up_to(rng, 3, 6, 4);
        let trackers = up_to(rng, 1, 3, 3);
        (0..trackers).for_each(|id| items.push(tracker(rng, id)));
        // Mostly all nodes or none.
        let alone = if trackers > 0 { [100, 0, 25][rng.below(3) as usize] } else { 0 };
        (0..nodes).for_each(|id| items.push(node(rng, id, alone)));
        let peers = up_to(rng, 4, 9, 4);
        (0..peers).for_each(|nth| items.push(peer(rng, FIRST_PEER + nth, torrents, nodes)));
        let mut at = 0;
        for _ in 0..rng.below(18) {
            at += up_to(rng, 1500, 30_000, 8);
            items.push(event(rng, at, nodes, trackers));
        }
        let mut plan = Self { seed, items };
        discovery(&mut plan, torrents, nodes);
        web_servers(&mut plan);
        encryption(&mut plan);
        transports(&mut plan);
        versions(&mut plan);
        proxies(&mut plan, nodes);
        contradictions(&mut plan, torrents, nodes);
        policies(&mut plan, nodes);
        reads(&mut plan, nodes);
        plan
    }
}

/// Magnet links, peers that lie about metadata and about others, and nodes that find each other by
/// the DHT. They came last and have chance of their own, so that all else of a seed's plan is as it
/// was before.
fn discovery(plan: &mut Plan, torrents: u64, nodes: u64) {
    let mut rng = Rng::new(plan.seed ^ 0x6d61_676e_6574_7321);
    let rng = &mut rng;
    let has_twins = plan.of(Kind::Torrent).iter().any(|torrent| torrent.get("twin").is_some());
    let (magnets, liars, dht) = (rng.below(3) == 0, rng.below(4) == 0, rng.below(6) == 0);
    for item in plan.items.iter_mut().filter(|item| item.kind == Kind::Node && item.id > 0) {
        if magnets && !has_twins {
            sometimes(rng, 2, item, "magnet", |_| 1);
        }
        if dht && rng.below(8) > 0 {
            item.set("dht", 1);
        }
    }
    let peers = plan.of(Kind::Peer).len() as u64;
    if liars {
        plan.items.push(peer(rng, FIRST_PEER + peers, torrents, nodes));
    }
    for item in plan.items.iter_mut().filter(|item| item.kind == Kind::Peer) {
        if magnets {
            sometimes(rng, 2, item, "metadata", |rng| rng.below(8));
        }
        if liars && rng.below(2) == 0 {
            item.set("names", [rng.below(20), rng.below(2000)][rng.below(2) as usize]);
            item.set("named", rng.below(5));
            item.set("messages", 1 + up_to(rng, 4, 100, 4));
            item.set("pause", [0, rng.below(1000), rng.below(70_000)][rng.below(3) as usize]);
        }
    }
    if dht && rng.below(2) == 0 {
        let mut event = Item::new(Kind::At, up_to(rng, 5000, 60_000, 4));
        event.set("apart", rng.below(1 << nodes));
        event.set("time", up_to(rng, 20_000, 600_000, 3));
        plan.items.push(event);
    }
}

/// Nodes that encrypt, and boxes that let nothing else through. With chance of its own, as what
/// came before.
fn encryption(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed ^ 0x6d73_6520_7065_2121);
    let rng = &mut rng;
    if rng.below(4) > 0 {
        return;
    }
    // Those that take only encrypted connections and those that take none never meet.
    let (policies, censored) =
        [(&[1, 2, 3, 5][..], true), (&[1, 4, 5], false)][rng.below(2) as usize];
    for item in plan.items.iter_mut().filter(|item| item.kind == Kind::Node) {
        sometimes(rng, 2, item, "crypto", |rng| {
            policies[rng.below(policies.len() as u64) as usize]
        });
        if censored {
            sometimes(rng, 3, item, "censored", |_| 1);
        }
    }
}

/// Nodes that speak uTP, some of them nothing else. With chance of its own, as what came before.
fn transports(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed ^ 0x7574_7020_7574_7021);
    let rng = &mut rng;
    if rng.below(4) > 0 {
        return;
    }
    // Those that speak uTP alone and those that speak TCP alone never meet.
    let alone = rng.below(2) == 0;
    for item in plan.items.iter_mut().filter(|item| item.kind == Kind::Node) {
        match alone {
            true => item.set("utp", 1 + rng.below(2)),
            false => sometimes(rng, 2, item, "utp", |_| 1),
        }
    }
}

/// Torrents of version 2 and hybrids, nodes that lack what others know of them, and liars about
/// trees. With chance of their own, as what came before.
fn versions(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed ^ 0x6265_7020_3532_2121);
    let rng = &mut rng;
    if rng.below(3) > 0 {
        return;
    }
    for item in &mut plan.items {
        match item.kind {
            Kind::Torrent => item.set("format", [1, 2, 2][rng.below(3) as usize]),
            Kind::Node if item.id > 0 => sometimes(rng, 3, item, "lacks", |rng| 1 + rng.below(2)),
            Kind::Peer => sometimes(rng, 3, item, "hashes", |rng| rng.below(4)),
            _ => {}
        }
    }
}

/// Nodes that reach all others by a proxy, some of which fail for a while. With chance of their
/// own, too. What finds peers by datagrams alone gets a proxy that carries them and says
/// where they come from.
fn proxies(plan: &mut Plan, nodes: u64) {
    let mut rng = Rng::new(plan.seed ^ 0x7072_6f78_6965_7321);
    let rng = &mut rng;
    if rng.below(5) > 0 {
        return;
    }
    let uses_utp = plan.of(Kind::Node).iter().any(|node| node.get("utp").is_some());
    for item in plan.items.iter_mut().filter(|item| item.kind == Kind::Node && item.id > 0) {
        let by_datagrams = uses_utp || cast::finds_peers_by_datagrams(item);
        let kinds = if by_datagrams { cast::RELAYS } else { &[0, 1, 2, 3, 4] };
        sometimes(rng, 2, item, "proxy", |rng| kinds[rng.below(kinds.len() as u64) as usize]);
    }
    for _ in 0..rng.below(3) {
        let mut event = Item::new(Kind::At, up_to(rng, 5000, 60_000, 4));
        event.set("node", rng.below(nodes));
        event.set("proxy", rng.below(PROXIES));
        event.set("time", up_to(rng, 5000, 100_000, 4));
        plan.items.push(event);
    }
}

/// Hybrids whose versions contradict each other, and more liars about trees. With chance of their
/// own, too.
fn contradictions(plan: &mut Plan, torrents: u64, nodes: u64) {
    let mut rng = Rng::new(plan.seed ^ 0x6c69_6172_2076_3221);
    let rng = &mut rng;
    if rng.below(5) > 0 {
        return;
    }
    // Where there are two, mostly the other is to arrive all the same.
    let lies = rng.below(2) == 0;
    let (liar, both) = (rng.below(torrents), rng.below(4) == 0);
    for item in plan.items.iter_mut().filter(|item| item.kind == Kind::Torrent) {
        match lies && (both || item.id == liar) {
            true => item.set("format", 3),
            false => item.set("format", 1 + rng.below(2)),
        }
    }
    for item in plan.items.iter_mut().filter(|item| item.kind == Kind::Node && item.id > 0) {
        sometimes(rng, 3, item, "lacks", |rng| 1 + rng.below(2));
    }
    let peers = plan.of(Kind::Peer).len() as u64;
    for nth in 0..rng.below(3) {
        plan.items.push(peer(rng, FIRST_PEER + peers + nth, torrents, nodes));
    }
    for item in plan.items.iter_mut().filter(|item| item.kind == Kind::Peer) {
        sometimes(rng, 2, item, "hashes", |rng| rng.below(HASH_MANNERS));
    }
}

/// Policies of encryption by torrent and by peer, of which some cannot meet. With chance of their
/// own, too.
fn policies(plan: &mut Plan, nodes: u64) {
    let mut rng = Rng::new(plan.seed ^ 0x706f_6c69_6369_6573);
    let rng = &mut rng;
    let has_twins = plan.of(Kind::Torrent).iter().any(|torrent| torrent.get("twin").is_some());
    if rng.below(5) > 0 || has_twins {
        return;
    }
    // Where all torrents have one, and where few have.
    let rare = 1 + rng.below(4);
    for item in plan.items.iter_mut().filter(|item| item.kind == Kind::Node) {
        sometimes(rng, 4, item, "crypto", |rng| 1 + rng.below(5));
        sometimes(rng, rare, item, "policies", |rng| rng.below(25));
    }
    for _ in 0..rng.below(4) {
        let mut event = Item::new(Kind::At, up_to(rng, 5000, 60_000, 4));
        event.set("node", rng.below(nodes));
        if rng.below(2) == 0 {
            event.set("policies", rng.below(25));
        } else {
            event.set("policy", rng.below(5));
            event.set("with", rng.below(nodes));
        }
        plan.items.push(event);
    }
}

/// Users who read bytes while they come, mostly of torrents of version 2 and hybrids, of which they
/// are told before their pieces are whole. With chance of their own, too.
fn reads(plan: &mut Plan, nodes: u64) {
    let mut rng = Rng::new(plan.seed ^ 0x7265_6164_7320_7632);
    let rng = &mut rng;
    let has_v2 = plan.of(Kind::Torrent).iter().any(|torrent| torrent.get("format").is_some());
    if rng.below(if has_v2 { 2 } else { 6 }) > 0 {
        return;
    }
    for _ in 0..1 + rng.below(12) {
        let mut event = Item::new(Kind::At, up_to(rng, 3000, 60_000, 3));
        event.set("node", rng.below(nodes));
        event.set("read", rng.below(1 << 20));
        plan.items.push(event);
    }
}

/// Web servers, mostly bad ones. They came later and have chance of their own, too.
fn web_servers(plan: &mut Plan) {
    let mut rng = Rng::new(plan.seed ^ 0x7765_6273_6565_6473);
    let rng = &mut rng;
    if rng.below(4) > 0 {
        return;
    }
    for id in 0..1 + rng.below(2) {
        let mut server = Item::new(Kind::Web, id);
        let item = &mut server;
        item.set("manner", rng.below(WEB_MANNERS));
        item.set("much", up_to(rng, 1000, 300_000, 2));
        line(rng, item);
        plan.items.push(server);
    }
}

fn torrent(rng: &mut Rng, id: u64, items: &mut Vec<Item>) {
    let mut torrent = Item::new(Kind::Torrent, id);
    torrent.set("piece", [16 * 1024, 20_000, 40_000, 64 * 1024, 256 * 1024][rng.below(5) as usize]);
    if id > 0 && rng.below(8) == 0 {
        torrent.set("twin", 0);
        items.push(torrent);
        return;
    }
    items.push(torrent);
    for _ in 0..1 + rng.below(4) {
        let mut file = Item::new(Kind::File, id);
        let len = [
            rng.below(3),
            rng.below(20_000),
            rng.below(200_000),
            16_384 * rng.below(10),
            rng.below(500_000),
        ];
        file.set("len", len[rng.below(5) as usize]);
        sometimes(rng, 6, &mut file, "pad", |_| 1);
        items.push(file);
    }
    // There must be something of it.
    let mut last = Item::new(Kind::File, id);
    last.set("len", 1 + rng.below(300_000));
    items.push(last);
}

fn line(rng: &mut Rng, item: &mut Item) {
    sometimes(rng, 2, item, "latency", |rng| rng.below(200));
    sometimes(rng, 3, item, "jitter", |rng| rng.below(40));
    sometimes(rng, 2, item, "bandwidth", |rng| 100_000 << rng.below(7));
    sometimes(rng, 2, item, "segment", |rng| 1 << (6 + rng.below(10)));
    sometimes(rng, 3, item, "sndbuf", |rng| 1 << (10 + rng.below(8)));
    sometimes(rng, 3, item, "window", |rng| 1 << (11 + rng.below(8)));
}

fn tracker(rng: &mut Rng, id: u64) -> Item {
    let mut tracker = Item::new(Kind::Tracker, id);
    let item = &mut tracker;
    sometimes(rng, 2, item, "interval", |rng| 20 + rng.below(280));
    match rng.below(8) {
        0 => item.set("hangs", 1),
        1 => item.set("unknown", 1),
        _ => {}
    }
    tracker
}

/// `alone`: how probable it is, in percent.
fn node(rng: &mut Rng, id: u64, alone: u64) -> Item {
    let mut node = Item::new(Kind::Node, id);
    let item = &mut node;
    line(rng, item);
    if rng.below(100) < alone {
        item.set("alone", 1);
    }
    sometimes(rng, 12, item, "flaky", |rng| 1000 + rng.below(10_000));
    sometimes(rng, 12, item, "spikes", |rng| 2 + rng.below(20));
    if item.get("spikes").is_some() {
        item.set("spike", rng.below(5000));
    }
    sometimes(rng, 6, item, "session", |_| 1);
    sometimes(rng, if id == 0 { 20 } else { 6 }, item, "nat", |rng| 1 + rng.below(4));
    if item.get("nat").is_some() {
        sometimes(rng, 3, item, "house", |rng| 1 + rng.below(2));
    }
    if rng.below(6) == 0 {
        item.set("queued", 1);
        sometimes(rng, 2, item, "downloads", |rng| rng.below(3));
        sometimes(rng, 2, item, "seeds", |rng| rng.below(3));
        sometimes(rng, 4, item, "total", |rng| rng.below(4));
    }
    sometimes(rng, 16, item, "ratio", |rng| rng.below(300));
    sometimes(rng, 16, item, "seeding", |rng| rng.below(30_000));
    sometimes(rng, 2, item, "disk", |rng| 1 + rng.below(100));
    sometimes(rng, 2, item, "hot", |rng| [50, 100][rng.below(2) as usize]);
    sometimes(rng, 2, item, "unsent", |rng| (16 * 1024) << rng.below(4));
    sometimes(rng, 4, item, "uploads", |rng| (64 * 1024) << rng.below(5));
    sometimes(rng, 3, item, "slots", |rng| 1 + rng.below(4));
    sometimes(rng, 4, item, "choking", |rng| rng.below(3));
    sometimes(rng, 6, item, "suggest", |_| 1);
    sometimes(rng, 4, item, "allowed", |rng| rng.below(20));
    sometimes(rng, 8, item, "up", |rng| 20_000 << rng.below(6));
    sometimes(rng, 12, item, "peer-up", |rng| 20_000 << rng.below(6));
    sometimes(rng, 2, item, "requests", |rng| 4 + rng.below(100));
    sometimes(rng, 10, item, "super", |_| 1);
    if id == 0 {
        return node;
    }
    sometimes(rng, 3, item, "joins", |rng| rng.below(10_000));
    sometimes(rng, 3, item, "knows", Rng::next_u64);
    sometimes(rng, 2, item, "run", |rng| (16 * 1024) << rng.below(4));
    sometimes(rng, 2, item, "memory", |rng| 2 + rng.below(6));
    sometimes(rng, 2, item, "pipeline", |rng| 2 + rng.below(60));
    sometimes(rng, 2, item, "initial", |rng| 1 + rng.below(8));
    sometimes(rng, 2, item, "links", |rng| 6 + rng.below(20));
    sometimes(rng, 2, item, "torrent-links", |rng| 4 + rng.below(10));
    sometimes(rng, 2, item, "dials", |rng| 1 + rng.below(6));
    sometimes(rng, 2, item, "copies", |rng| 1 + rng.below(4));
    sometimes(rng, 2, item, "save", |rng| 50 + rng.below(2000));
    sometimes(rng, 2, item, "checks", |rng| 1 + rng.below(4));
    sometimes(rng, 8, item, "down", |rng| 20_000 << rng.below(6));
    sometimes(rng, 12, item, "peer-down", |rng| 20_000 << rng.below(6));
    sometimes(rng, 6, item, "sequential", |_| 1);
    sometimes(rng, 8, item, "skips", |rng| 1 + rng.below(31));
    node
}

fn peer(rng: &mut Rng, id: u64, torrents: u64, nodes: u64) -> Item {
    let mut peer = Item::new(Kind::Peer, id);
    let item = &mut peer;
    sometimes(rng, 1, item, "torrent", |rng| rng.below(torrents));
    sometimes(rng, 3, item, "dials", |rng| 1 + rng.below((1 << nodes) - 1));
    sometimes(rng, 2, item, "share", |rng| rng.below(16));
    sometimes(rng, 1, item, "which", |rng| rng.below(1000));
    match rng.below(9) {
        0 => item.set("bad", 2 + rng.below(6)),
        1 => item.set("mute", 1 + rng.below(6)),
        2 => item.set("reject", 1 + rng.below(6)),
        3 => item.set("dribble", 1 + rng.below(500)),
        4 => item.set("hello", 1 + rng.below(3)),
        5 => item.set("flap", 20 + rng.below(300)),
        _ => {}
    }
    if item.get("reject").is_none() {
        sometimes(rng, 2, item, "nofast", |_| 1);
    }
    sometimes(rng, 2, item, "reqq", |rng| 1 + rng.below(300));
    sometimes(rng, 2, item, "unchoke", |rng| rng.below(500));
    sometimes(rng, 2, item, "block", |rng| rng.below(100));
    sometimes(rng, 2, item, "alive", |rng| 500 + rng.below(2000));
    line(rng, item);
    peer
}

fn event(rng: &mut Rng, at: u64, nodes: u64, trackers: u64) -> Item {
    let mut event = Item::new(Kind::At, at);
    let item = &mut event;
    // Mostly the leeches: they have more to lose.
    let node = if rng.below(8) == 0 { 0 } else { 1 + rng.below(nodes - 1) };
    item.set("node", node);
    match rng.below(16) {
        0..=2 => disk(rng, item),
        3 => liar(rng, item),
        4..=6 => process(rng, item),
        7 | 8 => net(rng, item, nodes, trackers),
        9..=11 => user(rng, item, nodes),
        12 => files(rng, item),
        13 => queue(rng, item),
        _ => item.set("heal", 1),
    }
    event
}

fn disk(rng: &mut Rng, item: &mut Item) {
    match rng.below(17) {
        0 => item.set("full", rng.below(400_000)),
        1 => item.set("readonly", 1),
        2 => item.set("failsaves", 1),
        3 => item.set("failsyncs", 1),
        4 => item.set("failreads", 1),
        5 => item.set("failwrites", 1),
        6 => item.set("short", 1),
        7 => item.set("nolinks", 1),
        8 => item.set("hang", up_to(rng, 5000, 200_000, 4)),
        9 => {
            item.set("spikes", 1 + rng.below(20));
            item.set("time", rng.below(5000));
        }
        10 | 11 => {
            item.set("away", up_to(rng, 10_000, 200_000, 4));
            sometimes(rng, 2, item, "bare", |_| 1);
        }
        13..=15 => {
            item.set("call", rng.below(14));
            item.set("answer", rng.below(16));
            sometimes(rng, 2, item, "after", |rng| rng.below(30));
            sometimes(rng, 2, item, "times", |rng| up_to(rng, 5, 1000, 4));
            sometimes(rng, 4, item, "done", |_| 1);
        }
        12 => item.set("longer", 1 + up_to(rng, 100, 100_000, 2)),
        _ => {
            item.set("bad", rng.below(200_000));
            item.set("len", 1 + rng.below(50_000));
        }
    }
}

fn liar(rng: &mut Rng, item: &mut Item) {
    match rng.below(7) {
        0 | 1 => item.set("lying", 1),
        2 => item.set("rot", 1 + rng.below(10)),
        3 => item.set("corrupt", 1 + rng.below(10)),
        4 => item.set("misdirect", 1 + rng.below(4)),
        5 => item.set("edit", 1 + rng.below(4)),
        _ => item.set(["dated", "backdated"][rng.below(2) as usize], 1 + rng.below(100_000)),
    }
}

fn process(rng: &mut Rng, item: &mut Item) {
    match rng.below(5) {
        0..=2 => item.set("kill", rng.below(500)),
        3 => item.set("vanish", up_to(rng, 2000, 200_000, 4)),
        _ => item.set("restart", rng.below(500)),
    }
    sometimes(rng, 2, item, "power", |_| 1);
}

fn net(rng: &mut Rng, item: &mut Item, nodes: u64, trackers: u64) {
    match rng.below(if trackers > 0 { 8 } else { 5 }) {
        0 => item.set("cut", up_to(rng, 5000, 200_000, 4)),
        1 => item.set("apart", rng.below(1 << nodes) | rng.below(1 << 9) << FIRST_PEER),
        2 => item.set("oneway", rng.below(nodes)),
        3 => item.set("flaky", [0, 1000 + rng.below(10_000)][rng.below(2) as usize]),
        4 => item.set("jump", up_to(rng, 20_000, 4_000_000, 2)),
        5 => item.set("announce", 1),
        _ => {
            item.set("tracker", rng.below(trackers));
            item.set(["silent", "refuse"][rng.below(2) as usize], 1);
        }
    }
    if ["apart", "oneway", "silent", "refuse"].iter().any(|key| item.get(key).is_some()) {
        item.set("time", up_to(rng, 10_000, 400_000, 4));
    }
}

fn user(rng: &mut Rng, item: &mut Item, nodes: u64) {
    match rng.below(14) {
        0 => item.set("pause", 1),
        1 => item.set("recheck", 1),
        2 => item.set("resume", 1),
        3 => item.set("slots", rng.below(4)),
        4 => item.set("down", 10_000 << rng.below(6)),
        5 => item.set("up", 10_000 << rng.below(6)),
        6 => item.set("sequential", rng.below(2)),
        7 => item.set("super", rng.below(2)),
        8 => item.set("meet", rng.below(nodes)),
        9 => item.set("torrent-down", 10_000 << rng.below(6)),
        10 => item.set("torrent-up", 10_000 << rng.below(6)),
        11 => item.set("save", 1),
        _ => {
            item.set("again", rng.below(1000));
            sometimes(rng, 3, item, "erase", |_| 1);
        }
    }
}

fn files(rng: &mut Rng, item: &mut Item) {
    match rng.below(8) {
        0..=2 => {
            item.set("file", rng.below(5));
            item.set("wish", rng.below(4));
        }
        3 | 4 => item.set("rename", rng.below(5)),
        5 | 6 => item.set("move", rng.below(4)),
        _ => item.set("adopt", rng.below(4)),
    }
}

fn queue(rng: &mut Rng, item: &mut Item) {
    match rng.below(7) {
        0 => item.set("queued", rng.below(2)),
        1 => item.set("position", rng.below(2)),
        2 => item.set("downloads", rng.below(3)),
        3 => item.set("seeds", rng.below(3)),
        4 => item.set("total", rng.below(4)),
        5 => item.set("ratio", rng.below(300)),
        _ => item.set("seeding", rng.below(30_000)),
    }
}
