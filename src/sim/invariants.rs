//! What must hold after every event of every run, by name. What an engine says on the wire is held
//! against what it has, what it heard and the torrent's true bytes; what it counts against what
//! passed; its insides against themselves.
//!
//! It sees hosts, words and disks. How things get from one to the other is the world's business.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path},
    time::Duration,
};

use super::{
    book::Said,
    node::{Held, Host, Places},
    tap::{Tap, Word},
    violation::{Verdict, Violation, broken},
};
use crate::{
    alert::{Alert, Phase},
    base::{
        bitfield::Bitfield,
        geometry::{Block, Geometry, PieceIndex},
        ids::InfoHash,
        time::Instant,
    },
    engine::StreamId,
    wire::{extension::LT_DONTHAVE_ID, message::Message},
};

/// How often an engine may be woken in a second of its time.
const MAX_WAKES: u32 = 50_000;
/// How long a download may stand still although it could go on.
pub(super) const MAX_STANDSTILL: Duration = Duration::from_secs(300);

fn must(holds: bool, name: &'static str, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { broken(name, what()) }
}

/// What one side of a connection has said so far.
#[derive(Debug)]
struct Part {
    tap: Tap,
    fast: bool,
    extended: bool,
    choking: bool,
    interested: bool,
    has: Option<Bitfield>,
    /// Pieces that it has taken back (BEP 54), to which what is on its way may still refer.
    lost: Vec<PieceIndex>,
    /// Pieces that the other side has taken back: that this one has them may be said once more.
    again: BTreeSet<PieceIndex>,
    allowed: BTreeSet<u32>,
}

impl Part {
    fn new() -> Self {
        let tap = Tap::default();
        Self {
            tap,
            fast: false,
            extended: false,
            choking: true,
            interested: false,
            has: None,
            lost: Vec::new(),
            again: BTreeSet::new(),
            allowed: BTreeSet::new(),
        }
    }

    fn has(&self, piece: PieceIndex) -> bool {
        self.has.as_ref().is_some_and(|has| has.has(piece))
    }

    fn add(&mut self, piece: PieceIndex, count: u32) -> bool {
        self.lost.retain(|&lost| lost != piece);
        self.has.get_or_insert_with(|| Bitfield::none(count)).set(piece)
    }

    /// Nothing refers any more to what was taken back.
    fn forget_lost(&mut self) {
        for piece in std::mem::take(&mut self.lost) {
            self.has.iter_mut().for_each(|has| _ = has.unset(piece));
        }
    }
}

/// The piece that is taken back by an extended message under this id and with this payload.
fn taken_back(geometry: &Geometry, id: u8, payload: &[u8]) -> Option<PieceIndex> {
    let piece = u32::from_be_bytes(payload.try_into().ok()?);
    geometry.piece(piece).ok().filter(|_| id == LT_DONTHAVE_ID)
}

/// An engine's end of a connection: what it has said and heard there.
#[derive(Debug)]
pub(super) struct Ears {
    hash: Option<InfoHash>,
    said: Part,
    heard: Part,
    /// What it had when the message began that it has not sent whole.
    had: Option<Bitfield>,
    /// Requests that it has heard and not answered.
    owed: BTreeMap<Block, u32>,
    /// The peer chokes, and everything that was to be sent when it began to has been.
    choked_for_sure: bool,
    /// The peer is a script, which may say anything.
    pub(super) with_script: bool,
}

impl Ears {
    pub(super) fn new(with_script: bool) -> Self {
        let (said, heard) = (Part::new(), Part::new());
        Self {
            hash: None,
            said,
            heard,
            had: None,
            owed: BTreeMap::new(),
            choked_for_sure: false,
            with_script,
        }
    }

    /// Bytes of blocks that it has sent and read.
    pub(super) fn payload(&self) -> (u64, u64) {
        (self.said.tap.payload(), self.heard.tap.payload())
    }

    /// The engine has put these bytes into its socket.
    pub(super) fn say(
        &mut self,
        host: &mut Host,
        bytes: &[u8],
        mut note: impl FnMut(Said),
    ) -> Verdict {
        let mut verdict = Ok(());
        let mut tap = std::mem::take(&mut self.said.tap);
        let before = tap.payload();
        let mut goes_on = tap.is_amid();
        tap.take(bytes, |word| {
            if !std::mem::take(&mut goes_on) {
                self.had = None;
            }
            note(Said::of(&word));
            if verdict.is_ok() {
                verdict = self.rule_on(host, word);
            }
        });
        if let Some(held) = self.hash.and_then(|hash| host.held_mut(hash)) {
            held.wire_up += tap.payload() - before;
        }
        if !goes_on {
            let held = self.hash.and_then(|hash| host.held(hash)).filter(|_| tap.is_amid());
            self.had = held.and_then(|held| host.engine.have(held.id)).cloned();
        }
        self.said.tap = tap;
        verdict
    }

    /// The engine has read these bytes.
    pub(super) fn hear(&mut self, host: &mut Host, bytes: &[u8], mut note: impl FnMut(Said)) {
        let mut tap = std::mem::take(&mut self.heard.tap);
        tap.take(bytes, |word| {
            note(Said::of(&word));
            self.learn(host, word);
        });
        self.heard.tap = tap;
    }

    /// What was to be sent is sent.
    pub(super) fn drained(&mut self) {
        self.choked_for_sure = self.heard.choking;
        self.heard.forget_lost();
    }

    fn learn(&mut self, host: &mut Host, word: Word<'_>) {
        let with_script = self.with_script;
        if let Word::Greeting(greeting) = &word {
            self.hash = Some(greeting.info_hash);
            (self.heard.fast, self.heard.extended) =
                (greeting.reserved.fast(), greeting.reserved.extensions());
        }
        let Some(held) = self.hash.and_then(|hash| host.held_mut(hash)) else { return };
        held.met_script |= with_script;
        let Word::Message(message) = word else { return };
        let geometry = held.sample.geometry();
        let count = geometry.piece_count();
        let part = &mut self.heard;
        match message {
            Message::Choke => part.choking = true,
            Message::Unchoke => (part.choking, self.choked_for_sure) = (false, false),
            Message::Interested => part.interested = true,
            Message::NotInterested => part.interested = false,
            Message::Have(piece) => _ = geometry.piece(piece).map(|piece| part.add(piece, count)),
            Message::HaveAll => part.has = Some(Bitfield::all(count)),
            Message::Bitfield(bits) => {
                if let Ok(bits) = Bitfield::from_wire(bits, count) {
                    bits.ones()
                        .filter_map(|p| geometry.piece(p).ok())
                        .for_each(|p| _ = part.add(p, count));
                }
            }
            Message::AllowedFast(piece) => _ = part.allowed.insert(piece),
            Message::Extended { id, payload } => {
                if let Some(piece) = taken_back(&geometry, id, payload).filter(|&p| part.has(p)) {
                    part.lost.push(piece);
                    // It is to hear again that this one has it: it may not have been told.
                    self.said.has.iter_mut().for_each(|has| _ = has.unset(piece));
                    self.said.again.insert(piece);
                }
            }
            Message::Request { piece, begin, len } => {
                if let Ok(block) = geometry.range_with_pad(piece, begin, len) {
                    *self.owed.entry(block).or_default() += 1;
                }
            }
            Message::Piece { piece, begin, data }
                if geometry.block(piece, begin, data.len() as u32).is_ok() =>
            {
                held.wire_down += data.len() as u64;
            }
            _ => {}
        }
    }

    /// Whether the engine may say this.
    fn rule_on(&mut self, host: &Host, word: Word<'_>) -> Verdict {
        let message = match word {
            Word::Garbage => {
                return broken("speaks-the-protocol", "it sent something that cannot be read");
            }
            Word::Greeting(greeting) => {
                self.hash = Some(greeting.info_hash);
                (self.said.fast, self.said.extended) =
                    (greeting.reserved.fast(), greeting.reserved.extensions());
                return Ok(());
            }
            Word::Message(message) => message,
        };
        if self
            .hash
            .is_some_and(|hash| host.held(hash).is_none() && host.engine.find(hash).is_some())
        {
            // The world does not know what it should be.
            return Ok(());
        }
        let Some(held) = self.hash.and_then(|hash| host.held(hash)) else {
            return broken("speaks-the-protocol", "it speaks of a torrent that it does not have");
        };
        let (fast, extended) =
            (self.said.fast && self.heard.fast, self.said.extended && self.heard.extended);
        let geometry = held.sample.geometry();
        let had = |piece: PieceIndex| host.engine.have(held.id).is_some_and(|have| have.has(piece));
        // What was to be said of a piece when the files turned out to be changed is said late, and
        // the piece is taken back then if it is lost. Who asks for it meanwhile is turned down.
        let had_lately = |piece: PieceIndex| had(piece) || held.lost.has(piece);
        let twice =
            |what: &str| Violation { name: "says-it-once", what: format!("it says {what} twice") };
        let is_fast = matches!(
            message,
            Message::HaveAll
                | Message::HaveNone
                | Message::Reject { .. }
                | Message::AllowedFast(_)
                | Message::Suggest(_)
        );
        must(fast || !is_fast, "speaks-the-protocol", || {
            "it speaks the fast extension and has not agreed to it".into()
        })?;
        match message {
            Message::Choke | Message::Unchoke => {
                let choking = message == Message::Choke;
                if std::mem::replace(&mut self.said.choking, choking) == choking {
                    return Err(twice(if choking { "choke" } else { "unchoke" }));
                }
                if choking && !fast {
                    self.owed.clear();
                }
            }
            Message::Interested | Message::NotInterested => {
                let interested = message == Message::Interested;
                if std::mem::replace(&mut self.said.interested, interested) == interested {
                    return Err(twice(if interested { "interested" } else { "not interested" }));
                }
            }
            Message::Have(piece) => {
                let Ok(piece) = geometry.piece(piece) else {
                    return broken(
                        "speaks-the-protocol",
                        format!("it has a piece {piece} that there is not"),
                    );
                };
                must(had_lately(piece), "served-is-had", || {
                    format!("it tells of piece {} and does not have it", piece.get())
                })?;
                let news = self.said.add(piece, geometry.piece_count());
                if !news && !self.said.again.remove(&piece) {
                    return Err(twice(&format!("that it has piece {}", piece.get())));
                }
            }
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => {
                let told = match message {
                    Message::Bitfield(bits) => {
                        match Bitfield::from_wire(bits, geometry.piece_count()) {
                            Ok(told) => told,
                            Err(error) => return broken("speaks-the-protocol", error.to_string()),
                        }
                    }
                    Message::HaveAll => Bitfield::all(geometry.piece_count()),
                    _ => Bitfield::none(geometry.piece_count()),
                };
                let lie = geometry.pieces().find(|&p| told.has(p) && !had(p)).map(PieceIndex::get);
                must(lie.is_none(), "served-is-had", || {
                    format!("it tells of piece {lie:?} and does not have it")
                })?;
                if self.said.has.replace(told).is_some() {
                    return Err(twice("all that it has"));
                }
            }
            Message::Request { piece, begin, len } => {
                let Ok(block) = geometry.block(piece, begin, len) else {
                    return broken(
                        "asks-with-leave",
                        format!(
                            "it asks for {len} bytes of piece {piece} from {begin}, \
                             which is no block"
                        ),
                    );
                };
                let what = || format!("it asks for {block:?}");
                must(self.heard.has(block.piece), "asks-with-leave", || {
                    format!("{} of a peer that does not have it", what())
                })?;
                let leave = !self.heard.choking
                    || self.heard.allowed.contains(&piece)
                    || !self.choked_for_sure;
                must(leave, "asks-with-leave", || format!("{} while it is choked", what()))?;
            }
            Message::Cancel { piece, begin, len } => {
                must(geometry.block(piece, begin, len).is_ok(), "asks-with-leave", || {
                    "it takes back what is no block".into()
                })?;
            }
            Message::Piece { piece, begin, data } => {
                self.rule_on_block(host, held, piece, begin, data)?
            }
            Message::Reject { piece, begin, len } => {
                if let Ok(block) = geometry.range_with_pad(piece, begin, len) {
                    self.answer(block);
                }
            }
            Message::AllowedFast(piece) => {
                let known = geometry.piece(piece).is_ok_and(had_lately);
                must(known, "served-is-had", || {
                    format!("it allows piece {piece} and does not have it")
                })?;
                self.said.allowed.insert(piece);
            }
            Message::Suggest(piece) => {
                let known = geometry.piece(piece).is_ok_and(had_lately);
                must(known, "served-is-had", || {
                    format!("it suggests piece {piece} and does not have it")
                })?;
            }
            Message::Extended { id, payload } => {
                must(extended, "speaks-the-protocol", || {
                    "it speaks the extension protocol and has not agreed to it".into()
                })?;
                if let Some(piece) = taken_back(&geometry, id, payload) {
                    self.said.lost.push(piece);
                    self.said.forget_lost();
                }
            }
            Message::HashRequest(_) | Message::Hashes { .. } | Message::HashReject(_) => {
                let v2 = held.sample.metainfo.identity.v2().map(|hash| hash.truncated());
                must(v2.is_some() && v2 == self.hash, "speaks-the-protocol", || {
                    "it speaks of trees on a connection of version 1".into()
                })?;
                if let Message::Hashes { range, hashes } = message {
                    let truth = held.sample.hashes(&range);
                    must(truth.is_none_or(|truth| truth == hashes), "served-is-true", || {
                        format!("it sends false hashes for {range:?}")
                    })?;
                }
            }
            Message::KeepAlive | Message::Port(_) => {}
            Message::Unknown { id, .. } => {
                return broken("speaks-the-protocol", format!("it sends a message of kind {id}"));
            }
        }
        Ok(())
    }

    fn rule_on_block(
        &mut self,
        host: &Host,
        held: &Held,
        piece: u32,
        begin: u32,
        data: &[u8],
    ) -> Verdict {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let Ok(block) = held.sample.geometry().range_with_pad(piece, begin, len) else {
            return broken(
                "speaks-the-protocol",
                format!("it sends {len} bytes of piece {piece} from {begin}"),
            );
        };
        let had = host.engine.have(held.id).is_some_and(|have| have.has(block.piece));
        // One that began when it had the piece is sent to its end.
        let had = had || self.had.as_ref().is_some_and(|had| had.has(block.piece));
        must(had, "served-is-had", || format!("it sends {block:?} and does not have the piece"))?;
        let same = *held.sample.block(block) == *data;
        must(same || host.disk.is_spoilt(), "served-is-true", || {
            format!("it sends {block:?} and the bytes are wrong")
        })?;
        must(self.answer(block), "served-is-asked", || {
            format!("it sends {block:?}, which was not asked for")
        })?;
        let allowed = !self.said.choking || self.said.allowed.contains(&piece);
        must(allowed, "served-is-asked", || format!("it sends {block:?} to a peer that it chokes"))
    }

    /// A request is answered; false if there was none.
    fn answer(&mut self, block: Block) -> bool {
        let Some(times) = self.owed.get_mut(&block) else { return false };
        *times -= 1;
        if *times == 0 {
            self.owed.remove(&block);
        }
        true
    }

    /// Everything that was to be said on this link has been: whether that is all that there is to
    /// say.
    pub(super) fn rule_on_silence(&self, host: &Host, link: StreamId) -> Verdict {
        let Some(view) = host.engine.connection_view(link).filter(|view| view.unsent == 0) else {
            return Ok(());
        };
        let Some(held) = self.hash.and_then(|hash| host.held(hash)) else { return Ok(()) };
        let Some(have) = host.engine.have(held.id) else { return Ok(()) };
        if host.engine.stats(held.id).is_none_or(|s| {
            !matches!(s.phase, Phase::Downloading | Phase::Seeding | Phase::Stalled)
        }) {
            return Ok(());
        }
        let unsaid = held
            .sample
            .geometry()
            .pieces()
            .find(|&p| have.has(p) && !self.said.has(p) && !self.heard.has(p));
        must(view.hiding || unsaid.is_none(), "tells-all", || {
            format!(
                "it has piece {} and never said so to a peer that lacks it",
                unsaid.map_or(0, PieceIndex::get)
            )
        })?;
        let stale = held.sample.geometry().pieces().find(|&p| self.said.has(p) && !have.has(p));
        must(stale.is_none(), "tells-all", || {
            format!(
                "it said that it has piece {} and has not taken that back",
                stale.map_or(0, PieceIndex::get)
            )
        })?;
        must(view.interested == self.said.interested, "tells-all", || {
            format!("interested: it is {} and said {}", view.interested, self.said.interested)
        })?;
        must(view.choking == self.said.choking, "tells-all", || {
            format!("choking: it is {} and said {}", view.choking, self.said.choking)
        })
    }

    /// Whether the peer has told of a piece that is missing, and lets this engine ask.
    pub(super) fn could_give(&self, host: &Host) -> Option<InfoHash> {
        let held = self.hash.and_then(|hash| host.held(hash))?;
        let lacks = held
            .sample
            .geometry()
            .pieces()
            .any(|p| self.heard.has(p) && host.engine.wants(held.id, p));
        (lacks && !self.heard.choking && !self.with_script)
            .then(|| held.sample.metainfo.info_hash())
    }
}

impl Host {
    /// What is looked at after every event.
    pub(super) fn glance(&mut self) -> Verdict {
        let waiting = self.engine.alerts_waiting();
        let most = self.conf.alerts.max + 64 * (self.held.len() + 1);
        must(waiting <= most, "within-limits", || format!("{waiting} alerts wait"))?;
        let (memory, limit) = (self.engine.piece_memory(), self.conf.requests.max_piece_memory);
        must(memory <= limit, "within-limits", || {
            format!("{memory} bytes of pieces in memory, {limit} are allowed")
        })?;
        self.peak_memory = self.peak_memory.max(memory);
        let (uploads, limit) = (self.engine.upload_memory(), self.conf.uploads.max_memory);
        must(uploads <= limit, "within-limits", || {
            format!("{uploads} bytes of blocks on their way out, {limit} are allowed")
        })?;
        self.peak_upload_memory = self.peak_upload_memory.max(uploads);
        let links = self.engine.connections();
        must(links <= self.conf.peers.max_connections, "within-limits", || {
            format!("{links} links")
        })?;
        for held in &mut self.held {
            let Some(have) = self.engine.have(held.id) else { continue };
            if *have == held.seen {
                continue;
            }
            let places = Places::of(&self.engine, held);
            for piece in
                held.sample.geometry().pieces().filter(|&p| have.has(p) && !held.seen.has(p))
            {
                let same = self.disk.is_spoilt()
                    || held.is_true(&self.disk, &places, piece)
                    || self.engine.reads_what_is_written(held.id, piece);
                must(same, "had-is-true", || {
                    format!("it claims piece {} and its disk disagrees", piece.get())
                })?;
                // Whose layers come later may have what version 1 says until all is checked anew.
                let known = held.params.source.metainfo();
                let lies =
                    known.is_some_and(|known| held.sample.contradicts_itself_in(piece, known));
                must(!lies, "had-is-true", || {
                    format!("it claims piece {}, of which the versions disagree", piece.get())
                })?;
            }
            for piece in
                held.sample.geometry().pieces().filter(|&p| held.seen.has(p) && !have.has(p))
            {
                held.lost.set(piece);
            }
            held.seen = have.clone();
            self.kept.add(&held.sample, have);
        }
        Ok(())
    }

    /// The user has an answer: to what was read, and with the bytes that are there.
    pub(super) fn rule_on_read(&mut self, alert: &Alert) -> Verdict {
        let Alert::ReadDone { torrent, read, file, offset, result } = alert else { return Ok(()) };
        let is_first = self.answered.insert(*read);
        must(is_first, "read-is-true", || format!("read {read} is answered twice"))?;
        let (Ok(bytes), Some(held)) = (result, self.held.iter().find(|held| held.id == *torrent))
        else {
            return Ok(());
        };
        let entry = held.sample.metainfo.files.get(*file);
        let start = entry.map_or(u64::MAX, |entry| entry.offset.saturating_add(*offset)) as usize;
        let truth = held.sample.data.get(start..start.saturating_add(bytes.0.len()));
        must(truth == Some(&bytes.0) || self.disk.is_spoilt(), "read-is-true", || {
            format!("what is read of file {file} at {offset} is not the torrent's")
        })
    }

    /// What is looked at every so often.
    pub(super) fn inspect(&self) -> Verdict {
        self.engine.audit().or_else(|what| broken("consistent", what))?;
        for held in &self.held {
            let Some(stats) = self.engine.stats(held.id) else { continue };
            let (peers, candidates) = (stats.peers, stats.candidates);
            must(peers <= self.conf.peers.max_per_torrent, "within-limits", || {
                format!("{peers} peers of a torrent")
            })?;
            must(candidates <= self.conf.peers.max_candidates, "within-limits", || {
                format!("{candidates} candidates")
            })?;
            let have = self.engine.have(held.id).map_or(0, Bitfield::count);
            must(have == stats.have, "consistent", || {
                format!("it has {have} pieces and says {}", stats.have)
            })?;
            let counts = || {
                format!("{} bytes were sent and {} came: {stats:?}", held.wire_up, held.wire_down)
            };
            if held.unheard {
                continue;
            }
            if self.conf.network.transports.utp() {
                // What uTP carries is not seen on the wire as what it is.
                let came = stats.downloaded >= held.wire_down || held.met_script;
                let seen = stats.uploaded >= held.wire_up && came;
                must(seen, "bytes-agree", counts)?;
                continue;
            }
            must(stats.uploaded == held.wire_up, "bytes-agree", counts)?;
            let all_came = stats.downloaded == held.wire_down
                || (held.met_script && stats.downloaded <= held.wire_down);
            must(all_came, "bytes-agree", counts)?;
        }
        Ok(())
    }

    /// The engine was woken.
    pub(super) fn count_wake(&mut self, now: Instant) -> Verdict {
        let second = now.as_micros() / 1_000_000;
        self.wakes = if self.wakes.0 == second { (second, self.wakes.1 + 1) } else { (second, 1) };
        must(self.wakes.1 <= MAX_WAKES, "does-not-spin", || {
            format!("it was woken {MAX_WAKES} times in a second")
        })
    }

    /// Whether its jobs have left what they found.
    pub(super) fn check_kept(&mut self) -> Verdict {
        let Self { kept, disk, engine, .. } = self;
        kept.check(disk, |hash, piece| {
            let Some(id) = engine.find(hash) else { return false };
            let have = engine.have(id).is_some_and(|have| have.has(piece));
            have && !engine.reads_what_is_written(id, piece)
        })
    }

    /// Where its jobs have been.
    pub(super) fn check_paths(&self) -> Verdict {
        for path in self.disk.take_touched() {
            let plain = path
                .components()
                .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
            let below = |dir: &Path| path != dir && path.starts_with(dir);
            let own = self.held.iter().any(|held| {
                let state = held.params.state_file.as_deref();
                below(&held.params.dir)
                    || self.engine.dir(held.id).is_some_and(below)
                    || state.is_some_and(|state| path.starts_with(state.parent().unwrap_or(state)))
            });
            let own = own
                || self
                    .engine
                    .torrents()
                    .into_iter()
                    .any(|id| self.engine.dir(id).is_some_and(below));
            let own = own || self.conf.session.dir.as_deref().is_some_and(below);
            let fine = plain && (own || self.folders.iter().any(|dir| below(dir)));
            must(fine, "inside-the-folder", || format!("it touches {}", path.display()))?;
        }
        Ok(())
    }
}
