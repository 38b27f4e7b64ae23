//! The invariants themselves: each is broken on purpose and must be noticed, or it is worth
//! nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    alert::ReadBytes,
    base::ids::{PeerId, ReadId},
    sim::{
        invariants::Ears,
        node::{Body, Host},
        tests::*,
        violation::{INVARIANTS, Verdict},
    },
    store::Disk,
    wire::{
        handshake::{Handshake, Reserved},
        message::Message,
    },
};

/// A host that has all of a sample but the last piece, or says so, and what a peer hears of it.
struct Rig {
    host: Host,
    ears: Ears,
    sample: Arc<Sample>,
}

fn host(world: &mut World, node: NodeId) -> &mut Host {
    match &mut world.nodes[node.0].body {
        Body::Engine(host) => host,
        Body::Script(_) => panic!("{node:?} runs no engine"),
    }
}

fn bytes(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    bytes
}

fn greeting(sample: &Sample, reserved: Reserved) -> [u8; 68] {
    Handshake { reserved, info_hash: sample.metainfo.info_hash(), peer_id: PeerId([7; 20]) }
        .encode()
}

impl Rig {
    fn new(fast: bool) -> Self {
        let sample = file(100_000, 32 * 1024);
        let mut outcome =
            Scenario::swarm(1).sharing(&sample).having(|p| p < 3).leeches(1).seeds(0).begin();
        let leech = outcome.cast.leeches[0];
        assert!(outcome.world.run_until(|w| w.is_in(leech, Phase::Downloading), secs(5)));
        let fresh = Host::new(loud(), Arc::new(MemDisk::new(1)), 1, Instant::ZERO);
        let host = std::mem::replace(host(&mut outcome.world, leech), fresh);
        let mut rig = Self { host, ears: Ears::new(false), sample };
        let reserved = if fast { Reserved::default().with_fast() } else { Reserved::default() };
        let hello = greeting(&rig.sample, reserved);
        rig.ears.hear(&mut rig.host, &hello, drop);
        rig.ears.say(&mut rig.host, &hello, drop).unwrap();
        rig
    }

    fn hear(&mut self, message: Message<'_>) -> &mut Self {
        self.ears.hear(&mut self.host, &bytes(&message), drop);
        self
    }

    fn say(&mut self, message: Message<'_>) -> Verdict {
        self.ears.say(&mut self.host, &bytes(&message), drop)
    }

    /// Says something that breaks this.
    fn breaks(&mut self, name: &str, message: Message<'_>) {
        let broken = self.say(message).unwrap_err();
        assert_eq!(broken.name, name, "{broken:?}");
    }

    fn block(&self, piece: u32) -> Vec<u8> {
        let piece = self.sample.geometry().piece(piece).unwrap();
        self.sample.piece(piece)[..16 * 1024].to_vec()
    }
}

const ASK: Message<'static> = Message::Request { piece: 1, begin: 0, len: 16 * 1024 };

#[test]
fn a_served_byte_that_is_wrong_is_noticed() {
    let mut rig = Rig::new(true);
    let mut data = rig.block(1);
    data[100] ^= 1;
    rig.say(Message::Unchoke).unwrap();
    rig.hear(ASK).breaks("served-is-true", Message::Piece { piece: 1, begin: 0, data: &data });
}

#[test]
fn a_wrong_byte_of_a_disk_that_rots_is_not_the_engines_fault() {
    let mut rig = Rig::new(true);
    let mut data = rig.block(1);
    data[100] ^= 1;
    rig.say(Message::Unchoke).unwrap();
    rig.host.disk.rot(std::path::Path::new("/"), 1);
    rig.hear(ASK).say(Message::Piece { piece: 1, begin: 0, data: &data }).unwrap();
}

#[test]
fn a_block_of_a_piece_that_is_not_had_is_noticed() {
    let mut rig = Rig::new(true);
    rig.say(Message::Unchoke).unwrap();
    let data = rig.sample.piece(rig.sample.geometry().piece(3).unwrap()).to_vec();
    rig.hear(Message::Request { piece: 3, begin: 0, len: data.len() as u32 });
    rig.breaks("served-is-had", Message::Piece { piece: 3, begin: 0, data: &data });
}

#[test]
fn unrequested_and_repeated_blocks_break_an_invariant() {
    let mut rig = Rig::new(true);
    let data = rig.block(1);
    let piece = Message::Piece { piece: 1, begin: 0, data: &data };
    rig.say(Message::Unchoke).unwrap();
    rig.breaks("served-is-asked", piece);
    rig.hear(ASK).say(piece).unwrap();
    rig.breaks("served-is-asked", piece);
    rig.hear(ASK).say(Message::Reject { piece: 1, begin: 0, len: 16 * 1024 }).unwrap();
    rig.breaks("served-is-asked", piece);
}

#[test]
fn a_block_for_a_choked_peer_is_noticed_unless_it_is_allowed() {
    let mut rig = Rig::new(true);
    let data = rig.block(1);
    rig.hear(ASK).breaks("served-is-asked", Message::Piece { piece: 1, begin: 0, data: &data });
    rig.say(Message::AllowedFast(1)).unwrap();
    rig.hear(ASK).say(Message::Piece { piece: 1, begin: 0, data: &data }).unwrap();
    // Without the fast extension, a choke takes back what was asked for.
    let mut rig = Rig::new(false);
    rig.say(Message::Unchoke).unwrap();
    rig.hear(ASK).say(Message::Choke).unwrap();
    rig.say(Message::Unchoke).unwrap();
    rig.breaks("served-is-asked", Message::Piece { piece: 1, begin: 0, data: &data });
}

#[test]
fn telling_of_what_is_not_had_is_noticed() {
    Rig::new(true).breaks("served-is-had", Message::Have(3));
    Rig::new(true).breaks("served-is-had", Message::HaveAll);
    Rig::new(true).breaks("served-is-had", Message::Bitfield(&[0b1001_0000]));
    Rig::new(true).breaks("served-is-had", Message::AllowedFast(3));
    Rig::new(true).breaks("served-is-had", Message::Suggest(3));
    Rig::new(true).say(Message::Bitfield(&[0b1110_0000])).unwrap();
}

#[test]
fn what_is_said_of_a_piece_may_be_late_when_it_is_lost() {
    let mut rig = Rig::new(true);
    let piece = rig.sample.geometry().piece(3).unwrap();
    rig.host.held[0].lost.set(piece);
    for late in [Message::Have(3), Message::AllowedFast(3), Message::Suggest(3)] {
        rig.say(late).unwrap();
    }
    // What it has on the whole is said when that is known.
    rig.breaks("served-is-had", Message::HaveAll);
}

#[test]
fn asking_without_leave_is_noticed() {
    Rig::new(true).hear(Message::Unchoke).breaks("asks-with-leave", ASK);
    let mut rig = Rig::new(true);
    rig.hear(Message::HaveAll).hear(Message::Unchoke).say(ASK).unwrap();
    rig.breaks("asks-with-leave", Message::Request { piece: 1, begin: 100, len: 16 * 1024 });
    rig.breaks("asks-with-leave", Message::Request { piece: 4, begin: 0, len: 16 * 1024 });
    // What was about to be sent when the choke came may go out, what comes later may not.
    rig.hear(Message::Choke).say(ASK).unwrap();
    rig.ears.drained();
    rig.breaks("asks-with-leave", ASK);
    rig.hear(Message::AllowedFast(1)).say(ASK).unwrap();
}

#[test]
fn saying_it_twice_is_noticed() {
    Rig::new(true).breaks("says-it-once", Message::Choke);
    Rig::new(true).breaks("says-it-once", Message::NotInterested);
    let mut rig = Rig::new(true);
    rig.say(Message::Have(1)).unwrap();
    rig.breaks("says-it-once", Message::Have(1));
    rig.breaks("says-it-once", Message::HaveNone);
}

#[test]
fn another_protocol_is_noticed() {
    Rig::new(false).breaks("speaks-the-protocol", Message::HaveNone);
    Rig::new(true).breaks("speaks-the-protocol", Message::Extended { id: 0, payload: b"de" });
    Rig::new(true).breaks("speaks-the-protocol", Message::Unknown { id: 99, payload: b"" });
    Rig::new(true).breaks("speaks-the-protocol", Message::Have(4));
    let mut rig = Rig::new(true);
    assert_eq!(
        rig.ears.say(&mut rig.host, &[0, 0, 0, 2, 4, 0], drop).unwrap_err().name,
        "speaks-the-protocol"
    );
}

#[test]
fn files_outside_the_folders_are_noticed() {
    for (path, fine) in [
        ("/node1/data", false),
        ("/node0", false),
        ("/node0/../etc/passwd", false),
        ("/node0/f/x", true),
        ("/session/log", true),
        ("/node0x/f", false),
    ] {
        let mut rig = Rig::new(true);
        rig.host.check_paths().unwrap();
        rig.host.folders.push("/session".into());
        let _ = rig.host.disk.save(std::path::Path::new(path), b"x");
        let verdict = rig.host.check_paths();
        assert_eq!(
            verdict.as_ref().map_err(|v| v.name),
            if fine { Ok(&()) } else { Err("inside-the-folder") },
            "{path}"
        );
    }
}

#[test]
fn a_disk_that_disagrees_is_noticed() {
    let mut rig = Rig::new(true);
    rig.host.glance().unwrap();
    rig.host.held[0].seen = Bitfield::none(4);
    rig.host.glance().unwrap();
    rig.host.held[0].seen = Bitfield::none(4);
    rig.host.disk = Arc::new(MemDisk::new(9));
    assert_eq!(rig.host.glance().unwrap_err().name, "had-is-true");
}

#[test]
fn lost_verified_byte_is_noticed() {
    let path = std::path::Path::new("/node0/data-100000");
    let lost = |rig: &mut Rig| rig.host.check_kept().err().map(|violation| violation.name);
    let rig = || {
        let mut rig = Rig::new(true);
        rig.host.glance().unwrap();
        rig.host.check_kept().unwrap();
        rig
    };
    let mut removed = rig();
    assert!(
        removed
            .host
            .disk
            .remove(path.parent().unwrap(), path.strip_prefix("/node0").unwrap())
            .unwrap()
    );
    assert_eq!(lost(&mut removed), Some("loses-nothing"));
    let mut cut = rig();
    cut.host.disk.set_len(path, 60_000).unwrap();
    assert_eq!(lost(&mut cut), Some("loses-nothing"));
    let mut overwritten = rig();
    overwritten.host.disk.write_at(path, 100, &[1, 2, 3]).unwrap();
    assert_eq!(lost(&mut overwritten), Some("loses-nothing"));
    // The last piece was never there.
    let mut harmless = rig();
    harmless.host.disk.write_at(path, 99_000, &[1, 2, 3]).unwrap();
    assert_eq!(lost(&mut harmless), None);
    // Another name does not matter, but a copy must be as safe as what was removed.
    let (from, to) = (path.parent().unwrap(), std::path::Path::new("/node0/copy"));
    for synced in [true, false] {
        let mut copied = rig();
        let disk = copied.host.disk.clone();
        disk.create(to, 0, crate::base::storage::Allocation::Sparse).unwrap();
        disk.write_at(to, 0, &disk.content(path).unwrap()).unwrap();
        if synced {
            disk.sync(to).unwrap();
        }
        disk.remove(from, path.strip_prefix(from).unwrap()).unwrap();
        assert_eq!(lost(&mut copied), (!synced).then_some("loses-nothing"));
    }
}

#[test]
fn read_of_a_wrong_byte_and_second_answer_are_noticed() {
    let mut rig = Rig::new(true);
    let answer = |read, bytes: &[u8]| Alert::ReadDone {
        torrent: rig.host.held[0].id,
        read: ReadId(read),
        file: 0,
        offset: 7,
        result: Ok(ReadBytes(bytes.to_vec())),
    };
    let [first, wrong, again] =
        [answer(1, &rig.sample.data[7..9]), answer(2, &rig.sample.data[8..10]), answer(1, &[])];
    rig.host.rule_on_read(&first).unwrap();
    for broken in [wrong, again] {
        assert_eq!(rig.host.rule_on_read(&broken).unwrap_err().name, "read-is-true");
    }
}

#[test]
fn counts_that_disagree_with_the_wire_are_noticed() {
    let mut rig = Rig::new(true);
    rig.host.inspect().unwrap();
    rig.host.held[0].wire_up += 1;
    assert_eq!(rig.host.inspect().unwrap_err().name, "bytes-agree");
}

#[test]
fn limits_that_are_exceeded_are_noticed() {
    let mut outcome = Scenario::swarm(1).leeches(3).begin();
    let seed = outcome.cast.seeds[0];
    assert!(outcome.world.run_until(|w| w.engine(seed).connections() >= 2, secs(5)));
    let host = host(&mut outcome.world, seed);
    host.conf.peers.max_connections = 1;
    assert_eq!(host.glance().unwrap_err().name, "within-limits");
}

#[test]
fn waking_without_an_end_is_noticed() {
    let mut rig = Rig::new(true);
    let at = |n: u64| Instant::from_micros(n);
    assert!((0..50_000).all(|n| rig.host.count_wake(at(n)).is_ok()));
    assert_eq!(rig.host.count_wake(at(60_000)).unwrap_err().name, "does-not-spin");
    rig.host.count_wake(at(1_000_000)).unwrap();
}

#[test]
fn a_have_that_is_never_told_is_noticed() {
    let mut outcome = Scenario::swarm(1).on(Line { bandwidth: 200_000, ..Line::default() }).begin();
    let leech = outcome.cast.leeches[0];
    assert!(outcome.world.run_until(|w| w.stats(leech).have > 3, secs(20)));
    let host = host(&mut outcome.world, leech);
    let (&link, _) = host.streams.iter().next().unwrap();
    let mut deaf = Ears::new(false);
    deaf.rule_on_silence(host, link).unwrap();
    deaf.hear(host, &greeting(&outcome.sample, Reserved::default()), drop);
    assert_eq!(deaf.rule_on_silence(host, link).unwrap_err().name, "tells-all");
}

#[test]
fn a_download_that_stands_still_is_noticed() {
    // Its workers never answer, and the world was not told that the disk is to blame.
    let conf = loud().with(|conf| {
        conf.requests.run_len = 32 * 1024;
        conf.requests.max_piece_memory = 64 * 1024;
    });
    let mut outcome = Scenario::swarm(1)
        .leeches_with(conf)
        .on(Line { bandwidth: 100_000, ..Line::default() })
        .begin();
    let leech = outcome.cast.leeches[0];
    assert!(outcome.world.run_until(|w| w.stats(leech).have > 3, secs(20)));
    outcome.world.set_disk_pace(
        leech,
        DiskPace { min: secs(10_000), max: secs(10_000), ..DiskPace::default() },
    );
    let panic = catch_unwind(AssertUnwindSafe(|| outcome.world.run_for(secs(1000)))).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(
        text.starts_with("invariant not-stuck is broken at leech 0: "),
        "{}",
        text.lines().next().unwrap_or_default()
    );
    assert!(text.contains("\nseed 1, "), "the seed is told");
    assert!(text.contains("seed 0 -> leech 0: piece "), "and what went before");
}

#[test]
fn an_engine_that_changes_its_mind_is_woken_once() {
    let mut outcome = Scenario::swarm(1).leeches(3).begin();
    let nodes: Vec<NodeId> = outcome.cast.engines().collect();
    while outcome.world.now() < Instant::ZERO + secs(5) && outcome.world.step() {
        let wakes: Vec<usize> = nodes.iter().map(|&node| outcome.world.wakes_of(node)).collect();
        assert!(wakes.iter().all(|&wakes| wakes <= 1), "{wakes:?}");
    }
}

#[test]
fn every_name_is_explained() {
    let mut names: Vec<_> = INVARIANTS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), INVARIANTS.len());
}
