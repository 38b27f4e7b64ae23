//! Metadata of magnet links from peers, honest ones and others.

use std::collections::BTreeMap;

use super::*;
use crate::{
    base::ids::{InfoHash, PeerId},
    conf::Bootstrap,
    engine::TorrentParams,
    proto::metadata::MetadataStatus,
    sim::tap::{Tap, Word},
    torrent::candidates::PeerSource,
    wire::{
        extension::ExtensionHandshake,
        handshake::{Handshake, Reserved},
        magnet::Magnet,
        message::Message,
        metainfo::Metainfo,
        ut_metadata::{METADATA_BLOCK, MetadataMessage, UT_METADATA},
    },
};

/// The id under which the scripted peers want messages.
const ID: u8 = 7;

/// How a scripted peer deals with requests for metadata.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    /// False bytes.
    Lies,
    /// False bytes of another size.
    OtherSize,
    Rejects,
    Silent,
    /// Blocks that are not asked for.
    Floods,
}

/// A peer that has metadata and nothing else.
#[derive(Debug)]
struct Giver {
    hash: InfoHash,
    info: Vec<u8>,
    manner: Manner,
    conns: BTreeMap<ConnId, (Tap, u8)>,
}

impl Giver {
    fn new(sample: &Sample, manner: Manner) -> Self {
        let mut info = sample.metainfo.info().unwrap().to_vec();
        match manner {
            Manner::Lies => info.iter_mut().for_each(|byte| *byte ^= 0x55),
            Manner::OtherSize => info.push(b'e'),
            _ => {}
        }
        let hash = sample.metainfo.info_hash();
        Self { hash, info, manner, conns: BTreeMap::new() }
    }

    fn block(&self, block: u32) -> MetadataMessage<'_> {
        let begin = (block * METADATA_BLOCK) as usize;
        let end = self.info.len().min(begin + METADATA_BLOCK as usize);
        let total = self.info.len() as u32;
        MetadataMessage::Data { block, total, data: &self.info[begin..end] }
    }
}

fn say(talk: &mut Talk<'_>, conn: ConnId, id: u8, payload: &[u8]) {
    let mut bytes = Vec::new();
    Message::Extended { id, payload }.encode_into(&mut bytes);
    talk.send(conn, bytes);
}

impl Script for Giver {
    fn connected(&mut self, talk: &mut Talk<'_>, conn: ConnId, _: bool) {
        self.conns.insert(conn, (Tap::default(), 0));
        let reserved = Reserved::default().with_extensions();
        let peer_id = PeerId([self.manner as u8 + b'0'; 20]);
        talk.send(conn, Handshake { reserved, info_hash: self.hash, peer_id }.encode());
        let mut hello = ExtensionHandshake::default();
        hello.set(UT_METADATA, ID).unwrap();
        hello.metadata_size = Some(self.info.len() as u64);
        say(talk, conn, 0, &hello.encode());
        if self.manner == Manner::Floods {
            let payload = self.block(0).encode();
            say(talk, conn, crate::wire::extension::UT_METADATA_ID, &payload);
        }
    }

    fn data(&mut self, talk: &mut Talk<'_>, conn: ConnId, bytes: &[u8]) {
        let Some((tap, theirs)) = self.conns.get_mut(&conn) else { return };
        let mut asked = Vec::new();
        tap.take(bytes, |word| {
            if let Word::Message(Message::Extended { id, payload }) = word {
                if id == 0 {
                    let hello = ExtensionHandshake::decode(payload).unwrap();
                    *theirs = hello
                        .extensions()
                        .find(|&(name, _)| name == UT_METADATA)
                        .map_or(0, |(_, id)| id);
                } else if id == ID
                    && let Ok(MetadataMessage::Request { block }) = MetadataMessage::decode(payload)
                {
                    asked.push(block);
                }
            }
        });
        let theirs = *theirs;
        for block in asked {
            let answer = match self.manner {
                Manner::Silent => continue,
                Manner::Rejects => MetadataMessage::Reject { block },
                _ => self.block(block),
            };
            say(talk, conn, theirs, &answer.encode());
        }
    }
}

fn by_link(world: &World, node: NodeId, sample: &Arc<Sample>, peers: &[NodeId]) -> TorrentParams {
    let link = Magnet::new(sample.metainfo.identity);
    TorrentParams { source: link.into(), ..world.params(node, sample, peers) }
}

/// A sample whose info dictionary has several blocks.
fn wide() -> Arc<Sample> {
    file(60_000_000, 16 * 1024)
}

#[test]
fn magnet_torrent_gets_metadata_despite_lying_peers() {
    let sample = wide();
    assert!(sample.metainfo.info().unwrap().len() > 4 * METADATA_BLOCK as usize);
    let mut world = World::new(1);
    let manners =
        [Manner::Lies, Manner::OtherSize, Manner::Rejects, Manner::Silent, Manner::Honest];
    let givers: Vec<NodeId> =
        manners.iter().map(|&manner| world.scripted(Giver::new(&sample, manner))).collect();
    let leech = world.node(loud());
    let params = by_link(&world, leech, &sample, &givers);
    world.add_torrent(leech, &sample, params);
    let known = |w: &World| w.stats(leech).phase != Phase::Metadata;
    assert!(world.run_until(known, secs(60)), "{:?}", world.stats(leech));
    assert_eq!(world.stats(leech).pieces, sample.metainfo.geometry.piece_count());
    let banned = banned(&world, leech);
    assert!(banned.contains(&world.addr(givers[0])), "{banned:?}");
    for honest in &givers[2..] {
        assert!(!banned.contains(&world.addr(*honest)), "{banned:?}");
    }
    let told = world.told(leech, |a| matches!(a, Alert::FetchingMetadata { peers: 1.., .. }));
    assert!(told.is_some());
}

#[test]
fn metadata_from_a_peer_is_kept_in_the_session_folder_at_once() {
    let sample = file(500_000, 32 * 1024);
    let kept = loud().with(|conf| conf.session.dir = Some("/session".into()));
    let mut world = World::new(2);
    let giver = world.scripted(Giver::new(&sample, Manner::Honest));
    let leech = world.node(kept);
    let params = by_link(&world, leech, &sample, &[giver]);
    world.add_torrent(leech, &sample, params);
    let known = |w: &World| w.stats(leech).phase != Phase::Metadata;
    assert!(world.run_until(known, secs(30)));
    world.run_for(secs(5));
    world.kill(leech);
    world.restart(leech);
    // No peer is asked again: it is known from the first moment.
    assert_ne!(world.stats(leech).phase, Phase::Metadata);
    assert_eq!(world.stats(leech).pieces, sample.metainfo.geometry.piece_count());
}

#[test]
fn block_that_was_not_asked_for_ends_the_connection() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(3);
    let giver = world.scripted(Giver::new(&sample, Manner::Floods));
    let leech = world.node(loud());
    let params = by_link(&world, leech, &sample, &[giver]);
    world.add_torrent(leech, &sample, params);
    world.run_for(secs(10));
    let (_, reason) = partings(&world, leech).remove(0);
    assert!(reason.contains("metadata block 0 was not asked for"), "{reason}");
}

#[test]
fn metainfo_of_the_user_wins_over_one_that_is_being_parsed() {
    let sample = wide();
    let mut world = World::new(4);
    let giver = world.scripted(Giver::new(&sample, Manner::Honest));
    let leech = world.node(loud());
    world.set_disk_pace(leech, DiskPace { min: secs(5), max: secs(5), ..DiskPace::default() });
    let params = by_link(&world, leech, &sample, &[giver]);
    let id = world.add_torrent(leech, &sample, params);
    let begun = |a: &Alert| matches!(a, Alert::FetchingMetadata { have: 1.., .. });
    assert!(world.run_until(|w| w.told(leech, begun).is_some(), secs(30)));
    world.run_for(secs(3));
    assert_eq!(world.stats(leech).phase, Phase::Metadata, "the loop has not parsed it itself");
    world.tell(leech, |e| e.set_metainfo(id, sample.metainfo.clone())).unwrap();
    world.run_for(secs(60));
    assert_eq!(world.stats(leech).phase, Phase::Downloading);
    let refused = |a: &Alert| matches!(a, Alert::MetadataRefused { .. });
    assert!(world.told(leech, refused).is_none());
}

#[test]
fn node_gives_metadata_except_of_a_private_torrent() {
    let whole = wide();
    for private in [false, true] {
        let metainfo = Arc::new(Metainfo { private, ..Metainfo::clone(&whole.metainfo) });
        let sample = whole.with_metainfo(metainfo);
        let mut world = World::new(4);
        let (seed, leech) = (world.node(loud()), world.node(loud()));
        world.seed_with(seed, &sample);
        let params = by_link(&world, leech, &sample, &[seed]);
        world.add_torrent(leech, &sample, params);
        let known = |w: &World| w.stats(leech).phase != Phase::Metadata;
        assert_eq!(world.run_until(known, secs(30)), !private, "{:?}", world.stats(leech));
    }
}

#[test]
fn session_gives_metadata_that_it_reads_back_from_its_folder() {
    let sample = wide();
    let kept = loud().with(|conf| conf.session.dir = Some("/session".into()));
    let mut world = World::new(6);
    let seed = world.node(kept);
    world.seed_with(seed, &sample);
    world.run_for(secs(5));
    for _ in 0..2 {
        let leech = world.node(loud());
        let params = by_link(&world, leech, &sample, &[seed]);
        world.add_torrent(leech, &sample, params);
        let known = |w: &World| w.stats(leech).phase != Phase::Metadata;
        assert!(world.run_until(known, secs(30)), "{:?}", world.stats(leech));
        world.kill(seed);
        world.restart(seed);
    }
}

#[test]
fn session_without_memory_for_metadata_turns_peers_down() {
    let sample = wide();
    let kept = loud().with(|conf| {
        conf.session.dir = Some("/session".into());
        conf.uploads.max_metadata_memory = sample.metainfo.info().unwrap().len() - 1;
    });
    let mut world = World::new(7);
    let (seed, leech) = (world.node(kept), world.node(loud()));
    world.seed_with(seed, &sample);
    let params = by_link(&world, leech, &sample, &[seed]);
    world.add_torrent(leech, &sample, params);
    world.run_for(secs(60));
    assert_eq!(world.stats(leech).phase, Phase::Metadata);
    assert_eq!(world.stats(leech).peers, 1, "it is no reason to part");
}

#[test]
fn leech_that_got_metadata_from_a_peer_gives_it_to_the_next() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(5);
    let giver = world.scripted(Giver::new(&sample, Manner::Honest));
    let (first, second) = (world.node(loud()), world.node(loud()));
    let params = by_link(&world, first, &sample, &[giver]);
    world.add_torrent(first, &sample, params);
    assert!(world.run_until(|w| w.stats(first).phase != Phase::Metadata, secs(30)));
    let params = by_link(&world, second, &sample, &[first]);
    world.add_torrent(second, &sample, params);
    assert!(world.run_until(|w| w.stats(second).phase != Phase::Metadata, secs(30)));
}

#[test]
fn peers_tell_what_they_do_about_the_metadata() {
    let sample = wide();
    let mut world = World::new(8);
    let [rejects, silent, honest] = [Manner::Rejects, Manner::Silent, Manner::Honest]
        .map(|manner| world.scripted(Giver::new(&sample, manner)));
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    let untold = Arc::new(Metainfo { raw: None, ..Metainfo::clone(&sample.metainfo) });
    world.seed_with(seed, &sample.with_metainfo(untold));
    let params = by_link(&world, leech, &sample, &[rejects, silent, seed]);
    let id = world.add_torrent(leech, &sample, params);
    assert!(world.run_until(|w| w.stats(leech).peers == 3, secs(3)));
    world.run_for(secs(1));
    let status = |world: &World, node| {
        let (addr, peers) = (world.addr(node), world.engine(leech).peers(id));
        peers.iter().find(|peer| peer.addr == addr).and_then(|peer| peer.metadata)
    };
    let told = [rejects, silent, seed].map(|node| status(&world, node));
    let expected = [MetadataStatus::Resting, MetadataStatus::Offered, MetadataStatus::NotOffered];
    assert_eq!(told, expected.map(Some));
    let addr = world.addr(honest);
    world.tell(leech, |engine| engine.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.stats(leech).phase != Phase::Metadata, secs(30)));
    assert!(world.engine(leech).peers(id).iter().all(|peer| peer.metadata.is_none()));
}

#[test]
fn link_that_turns_out_private_leaves_dht_and_local_network() {
    let open = file(500_000, 32 * 1024);
    let untold =
        open.with_metainfo(Arc::new(Metainfo { raw: None, ..Metainfo::clone(&open.metainfo) }));
    for source in [PeerSource::Dht, PeerSource::Lsd, PeerSource::Pex, PeerSource::Tracker] {
        let mut world = World::new(9);
        let (seed, member) =
            (world.node(loud()), world.node(loud().with(|c| c.dht.enabled = true)));
        world.set_reachable(member);
        let place = world.addr(member);
        let leech = world.node(loud().with(|conf| {
            (conf.dht.enabled, conf.lsd.enabled) = (true, true);
            let (host, port) = (place.ip().to_string(), place.port());
            conf.dht.bootstrap = vec![Bootstrap { host, port, router: false }];
        }));
        world.lay_lan(&[leech]);
        world.seed_with(seed, &untold);
        let params = by_link(&world, leech, &open, &[]);
        let id = world.add_torrent(leech, &open, params);
        let addr = world.addr(seed);
        world.tell(leech, |engine| engine.add_peer_from(id, addr, source)).unwrap();
        world.run_for(secs(20));
        let stored = |w: &World| w.engine(member).dht_stats().map(|stats| stats.stored_torrents);
        assert_eq!((world.stats(leech).peers, stored(&world)), (1, Some(1)));
        assert!(world.engine(leech).wants_multicast());
        assert!(world.tell(leech, |engine| engine.is_on_dht(id)));

        let private = Metainfo { private: true, ..Metainfo::clone(&open.metainfo) };
        world.tell(leech, |engine| engine.set_metainfo(id, Arc::new(private))).unwrap();
        assert!(!world.engine(leech).wants_multicast());
        assert!(!world.tell(leech, |engine| engine.is_on_dht(id)));
        let stats = world.stats(leech);
        // Trackers are asked by private torrents, too.
        let kept = usize::from(source == PeerSource::Tracker);
        assert_eq!((stats.peers, stats.candidates), (kept, 0), "{source:?}");
        assert_eq!(world.engine(leech).dht_stats().map(|stats| stats.tracked), Some(0));
        // Nothing brings them back.
        world.run_for(secs(1000));
        assert_eq!(stored(&world), Some(1), "what is stored is forgotten later");
        world.run_for(secs(2000));
        assert_eq!(stored(&world), Some(0));
    }
}

#[test]
fn fifty_candidates_are_dialled_at_once_for_the_metadata() {
    let sample = file(500_000, 32 * 1024);
    for place in [0, 25, 49] {
        let mut world = World::new(10 + place as u64);
        let (seed, leech) = (world.node(loud()), world.node(loud()));
        world.seed_with(seed, &sample);
        let mut params = by_link(&world, leech, &sample, &[]);
        // Where nothing answers, not even that there is nothing.
        let dead = (1..50).map(|n| SocketAddr::from(([198, 51, n, 1], 6881)));
        params.peers = dead.collect();
        params.peers.insert(place, world.addr(seed));
        world.add_torrent(leech, &sample, params);
        let known = |w: &World| w.stats(leech).phase != Phase::Metadata;
        assert!(world.run_until(known, secs(1)), "{place}: {:?}", world.stats(leech));
    }
}
