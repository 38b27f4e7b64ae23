//! Peers that break the protocol, or use it to the limit: each thing has its right outcome, at the
//! right time, for a seed as for a leech.

use std::collections::VecDeque;

use super::*;
use crate::{
    base::ids::{InfoHash, PeerId},
    sim::tap::{Tap, Word},
    wire::{
        handshake::{Handshake, Reserved},
        message::Message,
    },
};

/// Dials a node, greets, and says things at their times whatever it hears.
#[derive(Debug)]
struct Raw {
    goal: SocketAddr,
    /// What it says, and how long after it was connected.
    lines: VecDeque<(Duration, Vec<u8>)>,
    conn: Option<(ConnId, Instant)>,
    tap: Tap,
    heard: Vec<(Instant, String)>,
    ended: Option<Instant>,
}

impl Raw {
    /// It has a greeting to begin with, then `lines`.
    fn new(goal: SocketAddr, hello: Vec<u8>, lines: Vec<(Duration, Vec<u8>)>) -> Self {
        let lines = std::iter::once((Duration::ZERO, hello)).chain(lines).collect();
        Self { goal, lines, conn: None, tap: Tap::default(), heard: Vec::new(), ended: None }
    }

    fn times(&self, what: &str) -> Vec<Duration> {
        let began = self.conn.map_or(Instant::ZERO, |(_, at)| at);
        self.heard
            .iter()
            .filter(|(_, heard)| heard.starts_with(what))
            .map(|(at, _)| at.since(began))
            .collect()
    }

    /// How long after it was connected the other side closed.
    fn lasted(&self) -> Option<Duration> {
        Some(self.ended?.since(self.conn?.1))
    }
}

impl Script for Raw {
    fn connected(&mut self, talk: &mut Talk<'_>, conn: ConnId, _: bool) {
        self.conn = Some((conn, talk.now()));
        self.tick(talk);
    }

    fn data(&mut self, talk: &mut Talk<'_>, _: ConnId, bytes: &[u8]) {
        let (now, heard) = (talk.now(), &mut self.heard);
        self.tap.take(bytes, |word| {
            heard.push((
                now,
                if let Word::Message(message) = word {
                    format!("{message:?}")
                } else {
                    format!("{word:?}")
                },
            ));
        });
        assert!(!self.tap.is_lost(), "the engine sent something that cannot be read");
    }

    fn closed(&mut self, talk: &mut Talk<'_>, _: ConnId) {
        self.ended = Some(talk.now());
    }

    fn tick(&mut self, talk: &mut Talk<'_>) {
        let Some((conn, began)) = self.conn else { return talk.dial(self.goal) };
        while let Some((after, _)) = self.lines.front() {
            let due = began + *after;
            if due > talk.now() {
                talk.wake_after(due.since(talk.now()));
                break;
            }
            let Some((_, bytes)) = self.lines.pop_front() else { break };
            if self.ended.is_none() {
                talk.send(conn, bytes);
            }
        }
    }
}

/// What it is done to.
#[derive(Clone, Copy, Debug)]
enum To {
    Seed,
    Leech,
}

use To::{Leech, Seed};

fn sample() -> Arc<Sample> {
    file(640 * KIB, 32 * 1024)
}

fn hello(fast: bool, extended: bool) -> Vec<u8> {
    let mut reserved = Reserved::default();
    if fast {
        reserved = reserved.with_fast();
    }
    if extended {
        reserved = reserved.with_extensions();
    }
    Handshake {
        reserved,
        info_hash: sample().metainfo.info_hash(),
        peer_id: PeerId(*b"-RAW000-abcdefghijkl"),
    }
    .encode()
    .to_vec()
}

fn plain() -> Vec<u8> {
    hello(false, false)
}

fn fast() -> Vec<u8> {
    hello(true, false)
}

fn extended() -> Vec<u8> {
    hello(true, true)
}

fn says(messages: &[Message<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode_into(&mut bytes));
    bytes
}

/// The same again and again.
fn often(times: usize, messages: &[Message<'_>]) -> Vec<u8> {
    says(messages).repeat(times)
}

/// A world in which this is done to an engine.
fn play(to: To, hello: Vec<u8>, lines: Vec<(Duration, Vec<u8>)>) -> (World, NodeId, NodeId) {
    let sample = sample();
    let mut world = World::new(1);
    let node = world.node(loud());
    match to {
        Seed => _ = world.seed_with(node, &sample),
        Leech => _ = world.download(node, &sample, &[]),
    }
    world.run_for(secs(1));
    let goal = world.addr(node);
    let raw = world.scripted(Raw::new(goal, hello, lines));
    (world, node, raw)
}

/// After the greeting and a second this is said; the peer must be let go for this reason, or stay
/// if there is none.
fn said(to: To, hello: Vec<u8>, bytes: Vec<u8>, reason: &str) {
    let (mut world, node, raw) = play(to, hello, vec![(secs(1), bytes)]);
    world.run_for(secs(30));
    let parted = partings(&world, node);
    let ended = world.script::<Raw>(raw).lasted();
    if reason.is_empty() {
        assert_eq!((parted, ended, world.stats(node).peers), (vec![], None, 1));
    } else {
        let [(addr, why)] = &parted[..] else { panic!("{parted:?}, it lasted {ended:?}") };
        assert!(addr.ip() == world.addr(raw).ip() && why.contains(reason), "{why}");
        assert!(ended.is_some_and(|time| time >= secs(1)) && world.stats(node).peers == 0);
    }
    assert_eq!((world.stats(node).banned, world.stats(node).failed_pieces), (0, 0));
}

fn frame(len: u32, body: &[u8]) -> Vec<u8> {
    [&len.to_be_bytes()[..], body].concat()
}

const FULL: &[u8] = &[0xff, 0xff, 0xf0];
const ASK: Message<'static> = Message::Request { piece: 0, begin: 0, len: 16 * 1024 };
const BLOCK: &[u8] = &[0; 16 * 1024];

cases! { said:
    // What cannot be read.
    a_frame_that_is_too_long => Seed, fast(), frame(70_000, &[7]), "exceeds the limit";
    a_frame_of_four_gigabytes => Seed, fast(), frame(u32::MAX, &[7]), "exceeds the limit";
    a_have_that_is_too_short => Leech, fast(), frame(4, &[4, 0, 0, 0]), "bad frame";
    a_choke_with_a_body => Leech, fast(), frame(2, &[0, 0]), "bad frame";
    a_request_that_is_too_long => Seed, fast(), frame(14, &[6; 14]), "bad frame";
    // What there is not.
    a_have_of_a_piece_that_there_is_not => Leech, fast(), says(&[Message::Have(20)]), "spoke of";
    a_have_of_the_last_number_there_is =>
        Leech, fast(), says(&[Message::Have(u32::MAX)]), "spoke of";
    a_bitfield_that_is_too_short => Leech, fast(), says(&[Message::Bitfield(&[0xff])]), "it sent";
    a_bitfield_that_is_too_long =>
        Leech, fast(), says(&[Message::Bitfield(&[0xff, 0xff, 0xf0, 0])]), "it sent";
    a_bitfield_with_spare_bits => Leech, fast(), says(&[Message::Bitfield(&[0xff; 3])]), "it sent";
    a_block_of_a_piece_that_there_is_not =>
        Leech, fast(), says(&[Message::Piece { piece: 20, begin: 0, data: BLOCK }]), "spoke of";
    a_block_that_is_none =>
        Leech, fast(), says(&[Message::Piece { piece: 0, begin: 5, data: BLOCK }]), "spoke of";
    a_block_without_data =>
        Leech, fast(), says(&[Message::Piece { piece: 0, begin: 0, data: &[] }]), "spoke of";
    // The fast extension, unasked.
    have_all_without_the_fast_extension =>
        Leech, plain(), says(&[Message::HaveAll]), "fast extension";
    have_none_without_the_fast_extension =>
        Leech, plain(), says(&[Message::HaveNone]), "fast extension";
    a_reject_without_the_fast_extension =>
        Leech, plain(), says(&[Message::Reject { piece: 0, begin: 0, len: 16384 }]),
        "fast extension";
    a_suggestion_without_the_fast_extension =>
        Leech, plain(), says(&[Message::Suggest(0)]), "fast extension";
    an_allowance_without_the_fast_extension =>
        Leech, plain(), says(&[Message::AllowedFast(0)]), "fast extension";
    // Too much of it.
    have_all_again_and_again => Leech, fast(), often(10, &[Message::HaveAll]), "more than 8 times";
    have_none_again_and_again =>
        Leech, fast(), often(10, &[Message::HaveNone]), "more than 8 times";
    a_few_bitfields => Leech, fast(), often(20, &[Message::Bitfield(FULL)]), "";
    a_bitfield_for_ever =>
        Leech, fast(), often(40, &[Message::Bitfield(FULL)]), "more than 28 times";
    a_bitfield_after_a_have =>
        Leech, fast(), says(&[Message::Have(3), Message::Bitfield(FULL)]), "";
    one_unrequested_block =>
        Leech, fast(), says(&[Message::Piece { piece: 0, begin: 0, data: BLOCK }]), "";
    flood_of_unrequested_blocks =>
        Leech, fast(), often(1001, &[Message::Piece { piece: 0, begin: 0, data: BLOCK }]),
        "were not asked for";
    one_reject_of_nothing =>
        Leech, fast(), says(&[Message::Reject { piece: 0, begin: 0, len: 16384 }]), "";
    a_flood_of_rejects_of_nothing =>
        Leech, fast(), often(1001, &[Message::Reject { piece: 0, begin: 0, len: 16384 }]),
        "were not asked for";
    a_reject_of_a_piece_that_there_is_not =>
        Leech, fast(), says(&[Message::Reject { piece: 99, begin: 0, len: 1 }]), "spoke of";
    a_request_that_makes_no_sense =>
        Seed, fast(), says(&[Message::Request { piece: 99, begin: 0, len: 16384 }]), "";
    a_request_for_nothing =>
        Seed, fast(), says(&[Message::Request { piece: 0, begin: 0, len: 0 }]), "";
    a_request_beyond_the_end =>
        Seed, fast(), says(&[Message::Request { piece: 0, begin: 32_000, len: 16384 }]), "";
    a_request_that_wraps_around =>
        Seed, fast(), says(&[Message::Request { piece: 0, begin: u32::MAX, len: u32::MAX }]), "";
    request_for_a_missing_piece => Leech, fast(), says(&[ASK]), "";
    three_hundred_requests_that_make_no_sense =>
        Seed, fast(), often(300, &[Message::Request { piece: 99, begin: 0, len: 1 }]), "";
    more_requests_that_make_no_sense =>
        Seed, fast(), often(301, &[Message::Request { piece: 99, begin: 0, len: 1 }]),
        "make no sense";
    requests_while_it_is_choked => Seed, plain(), often(2000, &[ASK]), "";
    more_requests_while_it_is_choked => Seed, plain(), often(2001, &[ASK]), "while it was choked";
    // What means nothing, as often as it likes.
    unknown_kinds_of_messages =>
        Seed, fast(), often(100, &[Message::Unknown { id: 99, payload: b"?" }]), "";
    ports => Seed, fast(), often(1000, &[Message::Port(6881)]), "";
    keep_alives => Seed, fast(), often(5000, &[Message::KeepAlive]), "";
    chokes_and_unchokes => Leech, fast(), often(1000, &[Message::Choke, Message::Unchoke]), "";
    interest_on_and_off =>
        Seed, fast(), often(1000, &[Message::Interested, Message::NotInterested]), "";
    interest_of_a_peer_that_said_that_it_has_everything =>
        Leech, fast(), says(&[Message::HaveAll, Message::Interested, Message::Have(3)]), "";
    cancels_of_nothing =>
        Seed, fast(), often(1000, &[Message::Cancel { piece: 0, begin: 0, len: 16384 }]), "";
    cancels_of_missing_pieces =>
        Seed, fast(), often(1000, &[Message::Cancel { piece: 99, begin: 0, len: 0 }]), "";
    allowed_fast_of_missing_pieces => Leech, fast(), often(1000, &[Message::AllowedFast(99)]), "";
    suggestions_of_missing_pieces => Leech, fast(), often(1000, &[Message::Suggest(99)]), "";
    allowances_and_suggestions_without_end =>
        Leech, fast(), often(200, &[
            Message::AllowedFast(1),
            Message::Suggest(2),
            Message::AllowedFast(3),
            Message::Suggest(4),
        ]), "";
    haves_of_the_same_piece => Leech, fast(), often(1000, &[Message::Have(7)]), "";
    // The extension protocol.
    an_extension_handshake_that_is_none =>
        Seed, extended(), says(&[Message::Extended { id: 0, payload: b"not a dictionary" }]),
        "extension handshake";
    an_empty_extension_handshake =>
        Seed, extended(), says(&[Message::Extended { id: 0, payload: b"de" }]), "";
    message_of_an_unknown_extension =>
        Seed, extended(), often(100, &[Message::Extended { id: 77, payload: b"??" }]), "";
    a_word_of_wanting_no_data_that_is_too_long =>
        Seed, extended(), often(10, &[Message::Extended { id: 3, payload: &[1, 2, 3] }]), "";
    extension_handshakes_without_end =>
        Seed, extended(),
        often(300, &[Message::Extended { id: 0, payload: b"d1:v4:test4:reqqi1ee" }]), "";
}

/// Before any greeting this is sent; the connection must last so long, within a little.
fn greets_with(hello: Vec<u8>, lines: Vec<(Duration, Vec<u8>)>, lasts: Option<Duration>) {
    let (mut world, node, raw) = play(Seed, hello, lines);
    world.run_for(secs(60));
    let lasted = world.script::<Raw>(raw).lasted();
    let close = |time: Duration, want: Duration| {
        time >= want.saturating_sub(millis(15)) && time < want + millis(50)
    };
    assert!(
        lasted.zip(lasts).is_none_or(|(time, want)| close(time, want))
            && lasted.is_some() == lasts.is_some(),
        "{lasted:?}"
    );
    assert_eq!(world.engine(node).connections(), usize::from(lasts.is_none()));
}

fn byte_by_byte(pause: Duration) -> Vec<(Duration, Vec<u8>)> {
    fast().iter().enumerate().map(|(n, &byte)| (pause * n as u32, vec![byte])).collect()
}

fn other(change: impl FnOnce(&mut Handshake)) -> Vec<u8> {
    let mut greeting = Handshake {
        reserved: Reserved::default(),
        info_hash: sample().metainfo.info_hash(),
        peer_id: PeerId([b'x'; 20]),
    };
    change(&mut greeting);
    greeting.encode().to_vec()
}

cases! { greets_with:
    silence_is_borne_for_ten_seconds => Vec::new(), vec![], Some(secs(10));
    half_a_greeting_is_borne_for_ten_seconds => fast()[..34].to_vec(), vec![], Some(secs(10));
    a_greeting_but_for_its_last_byte_is_borne_for_ten_seconds =>
        fast()[..67].to_vec(), vec![], Some(secs(10));
    a_greeting_byte_by_byte_in_time_is_one => Vec::new(), byte_by_byte(millis(100)), None;
    a_greeting_byte_by_byte_that_takes_too_long_is_none =>
        Vec::new(), byte_by_byte(millis(200)), Some(secs(10));
    // Whatever is no handshake may be the beginning of a key.
    another_protocol_is_borne_until_the_time_out =>
        b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![], Some(secs(10));
    one_wrong_byte_is_borne_until_the_time_out =>
        b"\x13BitTorrent protocoL".to_vec(), vec![], Some(secs(10));
    another_protocol_of_many_bytes_is_not_borne => b"GET /".repeat(200), vec![], Some(millis(20));
    another_torrent_is_not_served =>
        other(|h| h.info_hash = InfoHash([9; 20])), vec![], Some(millis(20));
    a_greeting_with_all_bits_set_is_welcome =>
        other(|h| h.reserved = Reserved([0xff; 8])), vec![], None;
    a_greeting_with_an_id_of_zeroes_is_welcome =>
        other(|h| h.peer_id = PeerId([0; 20])), vec![], None;
}

#[test]
fn silent_peer_gets_keepalive_then_timeout() {
    let (mut world, node, raw) = play(Seed, plain(), vec![]);
    world.run_for(secs(300));
    let raw = world.script::<Raw>(raw);
    let near = |time: Duration, want: u64| {
        time >= secs(want) - millis(20) && time < secs(want) + millis(50)
    };
    assert!(raw.lasted().is_some_and(|time| near(time, 140)), "{:?}", raw.lasted());
    let alive = raw.times("KeepAlive");
    assert!(alive.len() == 1 && near(alive[0], 100), "{alive:?}");
    assert!(partings(&world, node)[0].1.contains("silent for 140s"));
}

#[test]
fn a_keep_alive_now_and_then_keeps_it() {
    let lines = (1..10).map(|n| (secs(130 * n), says(&[Message::KeepAlive]))).collect();
    let (mut world, node, raw) = play(Seed, plain(), lines);
    world.run_for(secs(1200));
    assert_eq!((world.script::<Raw>(raw).lasted(), world.stats(node).peers), (None, 1));
}

#[test]
fn peer_with_our_own_id_is_refused() {
    let sample = sample();
    let mut world = World::new(1);
    let node = world.node(loud());
    world.seed_with(node, &sample);
    world.run_for(secs(1));
    let id = world.engine(node).peer_id();
    let (goal, hello) = (world.addr(node), other(|h| h.peer_id = id));
    let raw = world.scripted(Raw::new(goal, hello, vec![]));
    world.run_for(secs(12));
    // It is told which peer it has reached, in case it is us, and no more.
    let raw = world.script::<Raw>(raw);
    assert!(
        raw.lasted().is_some_and(|time| time < secs(10) + millis(50)) && raw.heard.len() == 1,
        "{:?}",
        raw.heard
    );
    assert_eq!((world.engine(node).connections(), world.stats(node).peers), (0, 0));
}

#[test]
fn rejected_requests_are_answered_one_by_one() {
    let bad = Message::Request { piece: 99, begin: 0, len: 16384 };
    let (mut world, _, raw) = play(Seed, fast(), vec![(secs(1), often(7, &[bad]))]);
    world.run_for(secs(5));
    assert_eq!(
        world.script::<Raw>(raw).times("Reject { piece: 99, begin: 0, len: 16384 }").len(),
        7
    );
}

#[test]
fn request_is_served_once_and_cancelled_one_is_answered() {
    let ask = |piece| Message::Request { piece, begin: 0, len: 16384 };
    let cancel = Message::Cancel { piece: 5, begin: 0, len: 16384 };
    let lines = vec![
        (secs(1), says(&[Message::Interested])),
        (secs(3), says(&[ask(1), ask(2), ask(1), ask(5), cancel])),
    ];
    let (mut world, node, raw) = play(Seed, fast(), lines);
    world.run_for(secs(5));
    let raw = world.script::<Raw>(raw);
    assert_eq!((raw.times("Piece { piece: 1").len(), raw.times("Piece { piece: 2").len()), (2, 1));
    assert_eq!(raw.times("Piece { piece: 5").len() + raw.times("Reject { piece: 5").len(), 1);
    assert_eq!(world.stats(node).uploaded % 16384, 0);
}

#[test]
fn requests_beyond_the_queue_are_rejected() {
    let lines = vec![(secs(1), says(&[Message::Interested])), (secs(3), often(2000, &[ASK]))];
    let (mut world, node, raw) = play(Seed, fast(), lines);
    world.set_disk_pace(
        node,
        DiskPace { min: millis(200), max: millis(200), ..DiskPace::default() },
    );
    world.run_for(secs(100));
    let raw = world.script::<Raw>(raw);
    let (served, turned_down) = (raw.times("Piece").len(), raw.times("Reject").len());
    assert_eq!(served + turned_down, 2000);
    assert!(
        served >= Conf::default().uploads.max_requests && turned_down > 1000,
        "{served} and {turned_down}"
    );
}

#[test]
fn choked_peer_gets_allowed_pieces_three_times_at_most() {
    let (mut world, node, raw) =
        play(Seed, fast(), vec![(millis(500), says(&[Message::HaveNone]))]);
    world.tell(node, |engine| engine.set_upload_slots(engine.torrents()[0], Some(0))).unwrap();
    world.run_for(secs(2));
    let allowed = world
        .script::<Raw>(raw)
        .heard
        .iter()
        .filter(|(_, heard)| heard.starts_with("AllowedFast"))
        .count();
    assert_eq!(allowed, 5);
    let first =
        world.script::<Raw>(raw).heard.iter().find_map(|(_, heard)| {
            heard.strip_prefix("AllowedFast(")?.strip_suffix(')')?.parse().ok()
        });
    let ask = |begin| Message::Request { piece: first.unwrap(), begin, len: 16384 };
    let goal = world.addr(node);
    let lines =
        vec![(millis(500), says(&[Message::HaveNone])), (secs(1), often(5, &[ask(0), ask(16384)]))];
    // The same host again: the set follows from its address.
    world.kill(raw);
    let again = world.scripted(Raw::new(goal, fast(), lines));
    let _ = again;
    world.run_for(secs(5));
    assert_eq!(world.stats(node).uploaded % 16384, 0);
    assert!(world.stats(node).uploaded <= 3 * 32 * KIB);
}

#[test]
fn leech_requests_only_from_peers_that_unchoke_it() {
    let lines = vec![(secs(1), says(&[Message::HaveAll])), (secs(20), says(&[Message::Unchoke]))];
    let (mut world, _, raw) = play(Leech, fast(), lines);
    world.run_for(secs(15));
    assert_eq!(world.script::<Raw>(raw).times("Interested").len(), 1);
    assert!(world.script::<Raw>(raw).times("Request").is_empty());
    world.run_for(secs(10));
    let asked = world.script::<Raw>(raw).times("Request");
    assert!(
        asked.len() >= Conf::default().requests.initial_pipeline && asked[0] >= secs(20),
        "{asked:?}"
    );
}

#[test]
fn a_leech_that_is_choked_asks_for_what_it_is_allowed() {
    let lines = vec![(
        secs(1),
        says(&[Message::HaveAll, Message::AllowedFast(4), Message::AllowedFast(11)]),
    )];
    let (mut world, _, raw) = play(Leech, fast(), lines);
    world.run_for(secs(5));
    let raw = world.script::<Raw>(raw);
    assert_eq!(raw.times("Request").len(), 4);
    assert_eq!(raw.times("Request { piece: 4").len() + raw.times("Request { piece: 11").len(), 4);
}

#[test]
fn a_leech_begins_with_what_is_suggested() {
    let lines = vec![(secs(1), says(&[Message::HaveAll, Message::Suggest(13), Message::Unchoke]))];
    let (mut world, _, raw) = play(Leech, fast(), lines);
    world.run_for(secs(2));
    let first = world
        .script::<Raw>(raw)
        .heard
        .iter()
        .find(|(_, heard)| heard.starts_with("Request"))
        .map(|(_, heard)| heard.clone());
    assert!(
        first.as_ref().is_some_and(|heard| heard.starts_with("Request { piece: 13")),
        "{first:?}"
    );
}

#[test]
fn a_leech_is_interested_when_there_is_a_reason_and_not_before() {
    let lines = vec![(secs(1), says(&[Message::HaveNone])), (secs(5), says(&[Message::Have(3)]))];
    let (mut world, _, raw) = play(Leech, fast(), lines);
    world.run_for(secs(10));
    let at = world.script::<Raw>(raw).times("Interested");
    assert!(at.len() == 1 && at[0] >= secs(5) && at[0] < secs(5) + millis(50), "{at:?}");
}

#[test]
fn slow_owner_of_a_piece_on_parole_leaves_it_to_a_seed() {
    let sample = file(2 << 20, 2 << 20);
    let mut world = World::new(1);
    let bad = Manners { answer: Box::new(|_| Answer::Bad), ..Manners::default() };
    let liar = world.scripted(Remote::seed(&sample, 1, bad));
    let leech = world.node(loud());
    let id = world.download(leech, &sample, &[liar]);
    assert!(world.run_until(|w| !banned(w, leech).is_empty(), secs(30)));
    let slow = Manners { block_time: secs(50), ..Manners::default() };
    let slow = world.scripted(Remote::seed(&sample, 2, slow));
    let addr = world.addr(slow);
    world.tell(leech, |engine| engine.add_peer(id, addr)).unwrap();
    world.run_for(secs(60));
    let seed = world.scripted(Remote::seed(&sample, 3, Manners::default()));
    let addr = world.addr(seed);
    world.tell(leech, |engine| engine.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(400)), "{:?}", world.stats(leech));
}
