//! A live engine under arbitrary peers, workers and time: whatever happens, it neither panics nor
//! exceeds its limits nor gets stuck.

use std::{collections::VecDeque, io, io::IoSlice, net::SocketAddr, sync::Arc, time::Duration};

use cratetorrent::{
    Bitfield, Conf, Engine, InfoHash, Instant, Limits, MoveMode, PeerId, Priority, Rate,
    StoreError, TorrentId, TorrentParams,
    driver::{
        CloseCause, Done, Effect, Job, Judgement, Opened, RunData, RunDone, StoreOp, StreamId,
        Verdict,
    },
    wire::{
        handshake::{Handshake, Reserved},
        message::Message,
        metainfo::{Metainfo, MetainfoBuilder},
    },
};

const PIECE_LEN: u32 = 40_000;
const TOTAL: u64 = 4 * 40_000 + 12_345;
const MAX_LINKS: usize = 6;

/// The operations, as they come.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        head
    }
}

struct Host {
    engine: Engine,
    now: Instant,
    torrent: TorrentId,
    info_hash: InfoHash,
    links: Vec<StreamId>,
    jobs: VecDeque<Job>,
    limit: usize,
}

/// Plays `data` as operations against an engine with one torrent.
pub fn session(data: &[u8]) {
    let mut script = Script(data);
    let Some(mut host) = Host::new(script.byte().unwrap_or(0)) else { return };
    let mut ops = 0;
    while let Some(op) = script.byte() {
        host.play(op, &mut script);
        host.check();
        ops += 1;
        if ops > 2_000 {
            break;
        }
    }
    host.end();
}

fn metainfo() -> Option<Metainfo> {
    let mut builder = MetainfoBuilder::new("fuzz", PIECE_LEN);
    builder.file(["a"], 50_000).file(["b"], TOTAL - 50_000);
    let digests: Vec<[u8; 20]> =
        (0..TOTAL.div_ceil(PIECE_LEN.into())).map(|n| [n as u8; 20]).collect();
    Metainfo::from_bytes(&builder.build(&digests).ok()?).ok()
}

impl Host {
    fn new(flags: u8) -> Option<Self> {
        let run_len = if flags & 1 == 0 { 16_384 } else { 1 << 20 };
        let conf = Conf::default().with(|conf| {
            conf.requests.run_len = run_len;
            conf.requests.max_piece_memory = 2 * run_len as usize + 3 * 16_384;
            conf.peers.max_connections = MAX_LINKS;
            conf.peers.max_handshakes = 3;
            conf.peers.max_dials = 2;
            conf.uploads.max_requests = 8;
            conf.requests.max_pipeline = 16;
            conf.uploads.max_request = 16_384;
            conf.uploads.max_unsent = 16_384;
            conf.uploads.max_memory = 5 * 16_384;
        });
        let limit = conf.requests.max_piece_memory;
        let mut engine = Engine::new(conf, u64::from(flags), Instant::ZERO).ok()?;
        let metainfo = Arc::new(metainfo()?);
        let info_hash = metainfo.info_hash();
        let mut params = TorrentParams::new(metainfo, "fuzz");
        params.peers = vec![addr(1), addr(2)];
        params.sequential = flags & 2 != 0;
        let torrent = engine.verbs().add_torrent(params).ok()?;
        let mut host = Self {
            engine,
            now: Instant::ZERO,
            torrent,
            info_hash,
            links: Vec::new(),
            jobs: VecDeque::new(),
            limit,
        };
        host.carry_out();
        if flags & 4 == 0 {
            host.answer(0, flags);
        }
        Some(host)
    }

    fn play(&mut self, op: u8, script: &mut Script<'_>) {
        let arg = script.byte().unwrap_or(0);
        let link = self.links.get(usize::from(op >> 4) % self.links.len().max(1)).copied();
        match op & 15 {
            0 | 1 => self.feed(link, script.take(usize::from(arg))),
            2 | 3 => self.say(link, arg, script),
            4 => self.pass(Duration::from_millis(1 << (arg % 20))),
            5 | 6 => self.answer(usize::from(op >> 4), arg),
            7 => self.accept(arg),
            8 => {
                if let Some(link) = link {
                    self.engine.handle_connected(self.now, link);
                }
            }
            9 => self.greet(link, arg),
            10 => {
                if let Some(link) = link {
                    self.engine.handle_closed(self.now, link, CloseCause::Eof);
                }
            }
            11 => drop(self.drain(link, usize::from(arg))),
            12 => self.verb(arg),
            13 => self.deliver(link),
            14 => self.limit(link, arg),
            _ => self.answer(0, 0),
        }
        self.carry_out();
    }

    fn feed(&mut self, link: Option<StreamId>, bytes: &[u8]) {
        if let Some(link) = link {
            self.engine.handle_data(self.now, link, &mut bytes.to_vec());
        }
    }

    /// A well-formed message, so that the deeper states are reached.
    fn say(&mut self, link: Option<StreamId>, which: u8, script: &mut Script<'_>) {
        let piece = u32::from(script.byte().unwrap_or(0)) % 6;
        let begin = u32::from(script.byte().unwrap_or(0) % 4) * 16_384;
        let start = u64::from(piece) * u64::from(PIECE_LEN) + u64::from(begin);
        let whole = u64::from(PIECE_LEN - begin.min(PIECE_LEN));
        let len = TOTAL.saturating_sub(start).min(whole).min(16_384) as u32;
        let data = vec![which; len as usize];
        let bits = [script.byte().unwrap_or(0xf8)];
        let message = match which % 20 {
            0 => Message::Choke,
            1 | 2 => Message::Unchoke,
            3 => Message::Interested,
            4 => Message::NotInterested,
            5 => Message::Have(piece),
            6 => Message::Bitfield(&bits),
            7 | 8 => Message::Request { piece, begin, len },
            9 | 10 => Message::Piece { piece, begin, data: &data },
            11 => Message::Cancel { piece, begin, len },
            12 => Message::Suggest(piece),
            13 => Message::HaveAll,
            14 => Message::HaveNone,
            15 => Message::Reject { piece, begin, len },
            16 => Message::AllowedFast(piece),
            17 => Message::Extended { id: 0, payload: b"d4:reqqi3ee" },
            18 => Message::KeepAlive,
            _ => Message::Bitfield(&[0xf8]),
        };
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        self.feed(link, &bytes);
    }

    /// Limits of one kind or another, perhaps none, and a look at what may be read.
    fn limit(&mut self, link: Option<StreamId>, arg: u8) {
        let rate = |n: u8| Rate::new([0, 1, 1_000, 1_000_000][usize::from(n & 3)]);
        let limits = Limits { down: rate(arg), up: rate(arg >> 2) };
        match arg >> 4 & 3 {
            0 => self.engine.verbs().set_limits(limits),
            1 => _ = self.engine.verbs().set_torrent_limits(self.torrent, limits),
            2 => self.engine.verbs().set_default_peer_limits(limits),
            _ => {
                _ = self.engine.verbs().set_peer_limits(
                    self.torrent,
                    ([127, 0, 0, 1], 1).into(),
                    limits,
                )
            }
        }
        if let Some(link) = link {
            let _ = self.engine.read_quota(self.now, link);
        }
    }

    /// Whatever was asked for on this link comes.
    fn deliver(&mut self, link: Option<StreamId>) {
        let Some(link) = link else { return };
        let sent = self.drain(Some(link), usize::MAX);
        let mut rest = &sent[..];
        while let Some((head, tail)) = rest.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*head) as usize;
            let Some(frame) = tail.get(..len) else { break };
            rest = &tail[len..];
            if let Ok(Message::Request { piece, begin, len }) = Message::decode(frame) {
                let data = vec![0; len as usize];
                let mut bytes = Vec::new();
                Message::Piece { piece, begin, data: &data }.encode_into(&mut bytes);
                self.engine.handle_data(self.now, link, &mut bytes);
            }
        }
    }

    fn greet(&mut self, link: Option<StreamId>, arg: u8) {
        let reserved = if arg & 1 == 0 {
            Reserved::default().with_fast().with_extensions()
        } else {
            Reserved::default()
        };
        let info_hash = if arg & 0x70 == 0x70 { InfoHash([0; 20]) } else { self.info_hash };
        let hello = Handshake { reserved, info_hash, peer_id: PeerId([arg; 20]) };
        self.feed(link, &hello.encode());
    }

    fn accept(&mut self, arg: u8) {
        if let Some(link) = self.engine.handle_accepted(self.now, addr(100 + u16::from(arg))) {
            self.links.push(link);
            self.greet(Some(link), 0);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.engine.handle_timeout(self.now);
        assert!(self.engine.poll_timeout().is_none_or(|at| at > self.now), "a timer is stuck");
    }

    fn verb(&mut self, arg: u8) {
        let _ = match arg % 9 {
            6 => {
                let wish = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High];
                self.engine
                    .verbs()
                    .set_file_priorities(self.torrent, vec![wish[usize::from((arg / 9) & 3)]])
            }
            7 => {
                let mode = if arg & 8 == 0 { MoveMode::FailIfExists } else { MoveMode::Adopt };
                self.engine.verbs().move_storage(self.torrent, format!("/{arg}"), mode)
            }
            8 => {
                let _ = self.engine.verbs().rename_file(
                    self.torrent,
                    usize::from((arg / 9) & 1),
                    format!("{arg}"),
                );
                Ok(())
            }
            0 => self.engine.verbs().pause(self.torrent),
            1 | 2 => self.engine.verbs().resume(self.torrent),
            3 => self.engine.verbs().recheck(self.torrent),
            4 => self.engine.verbs().add_peer(self.torrent, addr(u16::from(arg))),
            _ => self.engine.verbs().set_sequential(self.torrent, arg & 8 == 0),
        };
    }

    /// A worker answers the `nth` job that waits: as it should, with an error, or with a bad
    /// verdict.
    fn answer(&mut self, nth: usize, how: u8) {
        if self.jobs.is_empty() {
            return;
        }
        let nth = nth % self.jobs.len();
        let Some(job) = self.jobs.remove(nth) else { return };
        let fails = how % 7 == 6;
        let error = || StoreError::new(StoreOp::Write, "fuzz", io::ErrorKind::StorageFull.into());
        let done = match job {
            Job::Open { torrent, spec } => {
                let count = spec.geometry.piece_count();
                let check = if how & 8 == 0 { Bitfield::none(count) } else { Bitfield::all(count) };
                let opened = Opened {
                    check,
                    arrange: how & 2 != 0,
                    lost: u32::from(how & 16 != 0) * count,
                    too_long: if how & 32 != 0 { vec![0] } else { Vec::new() },
                    ..Opened::empty(count)
                };
                Done::Opened { torrent, result: if fails { Err(error()) } else { Ok(opened) } }
            }
            Job::Extract { torrent, read, parts } => {
                let len = parts.iter().map(|part| part.range.len as usize).sum();
                let result = if fails { Err(error().into()) } else { Ok(vec![0; len]) };
                Done::Extracted { torrent, read, result }
            }
            Job::Run { torrent, run } => {
                let verdict = match run.chain {
                    None => Verdict::Unhashed,
                    Some(chain) if chain.expected.is_none() => Verdict::Going(chain.state),
                    Some(_) if how % 5 == 4 => Verdict::Bad,
                    Some(_) => Verdict::Good,
                };
                let (buf, len) = match run.data {
                    RunData::Memory(buf) | RunData::Stretches(buf, _) => {
                        let len = buf.0.len();
                        (Some(buf), len)
                    }
                    RunData::Disk(len) => (None, len as usize),
                };
                let wanted = run.digests || verdict == Verdict::Bad;
                let digests = wanted.then(|| vec![[how; 20]; len.div_ceil(16_384)]);
                let result = if fails { Err(error()) } else { Ok(verdict) };
                Done::Run {
                    torrent,
                    run: RunDone {
                        piece: run.piece,
                        begin: run.begin,
                        buf,
                        result,
                        digests,
                        root: None,
                    },
                }
            }
            Job::Read { torrent, link, blocks, buf } => Done::Read {
                torrent,
                link,
                blocks,
                buf,
                result: if fails { Err(error()) } else { Ok(()) },
                cold: true,
            },
            Job::Check { torrent, piece, .. } => Done::Checked {
                torrent,
                piece,
                result: match how & 1 {
                    _ if fails => Err(error()),
                    0 => Ok(Judgement::Good),
                    _ => Ok(Judgement::Bad),
                },
                root: None,
            },
            Job::Digests { torrent, piece } => Done::Digests {
                torrent,
                piece,
                result: if fails { Err(error()) } else { Ok(vec![[how; 20]; 3]) },
            },
            Job::Leaves { torrent, piece } => Done::Leaves {
                torrent,
                piece,
                result: if fails { Err(error()) } else { Ok(vec![[how; 32]; 3]) },
            },
            Job::Save { torrent, .. } => {
                let result = if fails { Err(error()) } else { Ok(()) };
                Done::Saved { torrent, result, unfinished: (how & 16 != 0).then(error) }
            }
            Job::Arrange { torrent, .. } => {
                Done::Arranged { torrent, result: if fails { Err(error()) } else { Ok(()) } }
            }
            Job::Relocate { torrent, .. } => {
                Done::Relocated { torrent, result: if fails { Err(error()) } else { Ok(()) } }
            }
            Job::Look { torrent, .. } => Done::Looked { torrent, absent: how & 1 == 0 },
            Job::Tidy { torrent } => Done::Tidied { torrent, left: None },
            Job::Close { torrent } => Done::Closed { torrent },
            Job::Compute { torrent, mut task } => {
                task.run();
                Done::Computed { torrent, task }
            }
            Job::KeyExchange { link, mut exchange } => {
                // Any numbers will do, or none.
                if !fails {
                    exchange.ours = Some([how; 96]);
                    exchange.shared = exchange.theirs.map(|_| [how; 96]);
                }
                Done::KeyExchange { link, exchange }
            }
            Job::Info { torrent, span, .. } => {
                // Its length may be another than was asked for.
                let info = vec![how; span.len() + usize::from(how & 1)];
                Done::Info { torrent, result: if fails { Err(error()) } else { Ok(info) } }
            }
            Job::Delete { torrent, .. } => Done::Deleted { torrent, left: None },
            Job::Record { torrent, record } => {
                Done::Recorded { torrent, kind: record.kind, result: Ok(()) }
            }
        };
        self.engine.handle_done(self.now, done);
    }

    fn drain(&mut self, link: Option<StreamId>, at_most: usize) -> Vec<u8> {
        let Some(link) = link else { return Vec::new() };
        let mut slices = [IoSlice::new(&[]); 4];
        let mut all = Vec::new();
        loop {
            let used = self.engine.poll_transmit(link, &mut slices);
            let next: Vec<u8> = slices[..used]
                .iter()
                .flat_map(|s| s.iter().copied())
                .take(at_most - all.len())
                .collect();
            slices = [IoSlice::new(&[]); 4];
            if next.is_empty() {
                // Who takes no more than so much has a full socket, until it is looked at again.
                self.engine.handle_writable(self.now, link, all.len() < at_most);
                return all;
            }
            self.engine.handle_sent(self.now, link, next.len());
            all.extend(next);
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Connect { stream, .. } => self.links.push(stream),
                Effect::Close { stream } => self.links.retain(|&l| l != stream),
                Effect::Flush { .. } | Effect::Resume { .. } => {}
                Effect::Segments { .. } | Effect::Secure { .. } => {}
                Effect::Datagram { .. } | Effect::Multicast { .. } | Effect::Resolve { .. } => {}
                Effect::Job(job) => self.jobs.push_back(job),
            }
        }
        if self.links.len() > 2 * MAX_LINKS {
            self.links.remove(0);
        }
        while self.engine.poll_alert().is_some() {}
    }

    fn check(&self) {
        assert!(self.engine.piece_memory() <= self.limit, "{} bytes", self.engine.piece_memory());
        assert!(
            self.engine.upload_memory() <= self.engine.conf().uploads.max_memory,
            "{} bytes",
            self.engine.upload_memory()
        );
        assert!(self.engine.connections() <= MAX_LINKS);
        if let Some(stats) = self.engine.stats(self.torrent) {
            assert!(stats.have <= stats.pieces && stats.have_bytes <= stats.total_bytes);
            assert!(stats.have_bytes + stats.partial_bytes <= stats.total_bytes);
        }
    }

    /// However it got here, it ends in good order and gives everything back.
    fn end(&mut self) {
        self.engine.verbs().shutdown();
        for _ in 0..10_000 {
            self.carry_out();
            if self.jobs.is_empty() {
                break;
            }
            self.answer(0, 0);
        }
        assert!(self.engine.is_drained(), "{:?}", self.engine);
        assert_eq!((self.engine.piece_memory(), self.engine.upload_memory()), (0, 0));
    }
}

fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], n))
}
