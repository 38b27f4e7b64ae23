//! What is on its way out takes bounded memory, even if peers ask and do not read, and every byte
//! arrives.

use super::*;
use crate::{
    base::ids::PeerId,
    sim::{ConnId, Script, Talk},
    wire::{
        handshake::{Handshake, Reserved},
        message::Message,
    },
};

/// A seed with little memory for uploads, on a thin line, and leeches that take little at a time.
fn thin(leeches: usize, max_upload_memory: usize) -> (World, NodeId) {
    let sample = file(1 << 20, 128 * 1024);
    let mut world = World::new(3);
    let seed = world.node(shy().with(|conf| {
        conf.uploads.max_unsent = 32 * 1024;
        conf.uploads.max_request = 16 * 1024;
        conf.uploads.max_memory = max_upload_memory;
    }));
    world.seed_with(seed, &sample);
    let nodes: Vec<_> = (0..leeches)
        .map(|_| {
            let leech = world.node(loud());
            world.set_line(leech, Line { window: 4_000, segment: (1, 1_400), ..Line::default() });
            world.download(leech, &sample, &[seed]);
            leech
        })
        .collect();
    world.set_line(seed, Line { send_buffer: 8_000, bandwidth: 4_000_000, ..Line::default() });
    let done = world.run_until(|w| nodes.iter().all(|&n| w.is_complete(n)), secs(600));
    assert!(done, "{:?}", nodes.iter().map(|&n| world.stats(n).have).collect::<Vec<_>>());
    (world, seed)
}

#[test]
fn with_little_memory_many_slow_peers_get_everything() {
    let limit = 128 * 1024;
    let (world, seed) = thin(30, limit);
    let peak = world.peak_upload_memory(seed);
    assert!(peak <= limit && peak > limit / 2, "it was scarce: {peak}");
    assert_eq!(world.engine(seed).upload_memory(), 0);
    // What is given up and read again is sent once.
    assert_eq!(world.stats(seed).uploaded, 30 << 20);
}

/// Asks for everything, over and over, and reads nothing after the unchoke.
#[derive(Debug)]
struct Glutton(Arc<Sample>, SocketAddr);

impl Script for Glutton {
    fn tick(&mut self, talk: &mut Talk<'_>) {
        talk.dial(self.1);
    }

    fn connected(&mut self, talk: &mut Talk<'_>, conn: ConnId, _: bool) {
        let greeting = Handshake {
            reserved: Reserved::default(),
            info_hash: self.0.metainfo.info_hash(),
            peer_id: PeerId([b'g'; 20]),
        };
        let mut bytes = greeting.encode().to_vec();
        Message::Interested.encode_into(&mut bytes);
        talk.send(conn, bytes);
    }

    fn data(&mut self, talk: &mut Talk<'_>, conn: ConnId, _: &[u8]) {
        // The unchoke has come, or will before this arrives.
        let mut bytes = Vec::new();
        for n in 0..400_u32 {
            Message::Request { piece: n % 8, begin: 0, len: 16 * 1024 }.encode_into(&mut bytes);
        }
        talk.send(conn, bytes);
        talk.read(conn, false);
    }
}

#[test]
fn peers_that_ask_and_do_not_read_hold_no_slot_beyond_a_trial() {
    let sample = file(1 << 20, 128 * 1024);
    let mut world = World::new(5);
    let seed = world.node(loud());
    world.seed_with(seed, &sample);
    let addr = world.addr(seed);
    for _ in 0..100 {
        let glutton = world.scripted(Glutton(sample.clone(), addr));
        world.set_line(glutton, Line { window: 4_000, ..Line::default() });
    }
    world.run_for(secs(5));
    assert_eq!(world.engine(seed).connections(), 100);
    let honest = world.node(loud());
    let id = world.download(honest, &sample, &[seed]);
    assert!(world.run_until(|w| w.is_complete(honest), secs(45)), "{:?}", world.stats(honest));
    // Those that went on not reading come last from then on.
    world.tell(honest, |engine| engine.pause(id)).unwrap();
    let late = world.node(loud());
    world.run_for(secs(30));
    world.download(late, &sample, &[seed]);
    assert!(world.run_until(|w| w.is_complete(late), secs(15)), "{:?}", world.stats(late));
}

#[test]
fn requesting_peers_that_do_not_read_keep_to_their_memory_share() {
    let sample = file(1 << 20, 128 * 1024);
    let mut world = World::new(5);
    let limit = 256 * 1024;
    let seed = world.node(loud().with(|conf| {
        conf.uploads.max_unsent = 64 * 1024;
        conf.uploads.max_request = 16 * 1024;
        conf.uploads.max_memory = limit;
    }));
    world.seed_with(seed, &sample);
    let addr = world.addr(seed);
    for _ in 0..40 {
        let glutton = world.scripted(Glutton(sample.clone(), addr));
        world.set_line(glutton, Line { window: 4_000, ..Line::default() });
    }
    world.run_for(secs(5));
    assert_eq!(world.engine(seed).connections(), 40);
    let honest = world.node(loud());
    world.download(honest, &sample, &[seed]);
    assert!(world.run_until(|w| w.is_complete(honest), secs(30)), "{:?}", world.stats(honest));
    assert!(world.peak_upload_memory(seed) <= limit);
}
