//! The engine in the midst of a download takes no memory for a block: what blocks, pieces and
//! messages need is there from those before. Counted by an allocator around the engine's own calls.

#![allow(clippy::unwrap_used)]
// An allocator cannot be written without it.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::VecDeque,
    io::IoSlice,
    sync::Arc,
    time::Duration,
};

use cratetorrent::{
    AlertMask, Conf, Engine, Instant, PeerId, TorrentParams,
    driver::{Digest, Done, Effect, Job, Opened, RunData, RunDone, StreamId, Verdict},
    wire::{
        frame::Decoder,
        handshake::{HANDSHAKE_LEN, Handshake, Reserved},
        message::{Message, piece_header},
        metainfo::{BLOCK_LEN, Metainfo, MetainfoBuilder},
    },
};

thread_local! {
    /// Allocations of this thread while they are counted.
    static COUNTED: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Counting;

fn count() {
    let _ = COUNTED.try_with(|counted| counted.set(counted.get().map(|n| n + 1)));
}

// SAFETY: everything is handed on to the system's allocator; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BLOCKS: u32 = 16;
const PIECES: u32 = 600;

/// One engine that downloads from peers which answer each request at once. It counts what the
/// engine allocates, and nothing of its own.
struct Rig {
    engine: Engine,
    now: Instant,
    peers: Vec<Peer>,
    effects: Vec<Effect>,
    /// Of the engine, since it was last set to zero.
    allocations: u64,
    /// Blocks that came.
    blocks: u64,
}

struct Peer {
    stream: StreamId,
    decoder: Decoder,
    requests: VecDeque<(u32, u32, u32)>,
    message: Vec<u8>,
}

impl Rig {
    fn new(peers: u8) -> Self {
        let mut builder = MetainfoBuilder::new("steady", BLOCKS * BLOCK_LEN);
        builder.single_file(u64::from(PIECES * BLOCKS * BLOCK_LEN));
        let digests: Vec<Digest> = (0..PIECES).map(|n| [n as u8; 20]).collect();
        let metainfo = Metainfo::from_bytes(&builder.build(&digests).unwrap()).unwrap();
        let metainfo = Arc::new(metainfo);
        let conf = Conf::default().with(|conf| conf.alerts.mask = AlertMask::NONE);
        let mut rig = Self {
            engine: Engine::new(conf, 7, Instant::ZERO).unwrap(),
            now: Instant::ZERO,
            peers: Vec::new(),
            effects: Vec::with_capacity(1024),
            allocations: 0,
            blocks: 0,
        };
        let params = TorrentParams::new(metainfo.clone(), "/nowhere");
        rig.engine.verbs().add_torrent(params).unwrap();
        rig.carry_out();
        for n in 1..=peers {
            let stream = rig.engine.handle_accepted(rig.now, ([10, 0, 0, n], 5000).into()).unwrap();
            let hello = Handshake {
                reserved: Reserved::default().with_fast(),
                info_hash: metainfo.info_hash(),
                peer_id: PeerId([n; 20]),
            };
            rig.peers.push(Peer {
                stream,
                decoder: Decoder::default(),
                requests: VecDeque::with_capacity(1024),
                message: Vec::with_capacity(2 * BLOCK_LEN as usize),
            });
            let mut bytes = hello.encode().to_vec();
            Message::HaveAll.encode_into(&mut bytes);
            Message::Unchoke.encode_into(&mut bytes);
            rig.engine.handle_data(rig.now, stream, &mut bytes);
            // Its handshake is no message.
            let mut slices = [IoSlice::new(&[]); 8];
            assert!(rig.engine.poll_transmit(stream, &mut slices) > 0);
            rig.engine.handle_sent(rig.now, stream, HANDSHAKE_LEN);
            rig.carry_out();
        }
        rig
    }

    /// What `act` does with the engine is counted.
    fn counted<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> R {
        COUNTED.set(Some(0));
        let result = act(self);
        self.allocations += COUNTED.take().unwrap_or_default();
        result
    }

    /// Does what the engine wants done: good pieces, and requests read.
    fn carry_out(&mut self) {
        loop {
            self.counted(|rig| {
                while let Some(effect) = rig.engine.poll_effect() {
                    rig.effects.push(effect);
                }
            });
            if self.effects.is_empty() {
                return;
            }
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Job(Job::Open { torrent, .. }) => {
                        let done = Done::Opened { torrent, result: Ok(Opened::empty(PIECES)) };
                        self.engine.handle_done(self.now, done);
                    }
                    Effect::Job(Job::Run { torrent, run }) => {
                        let RunData::Memory(buf) = run.data else { panic!("it is in memory") };
                        let run = RunDone {
                            piece: run.piece,
                            begin: run.begin,
                            buf: Some(buf),
                            result: Ok(Verdict::Good),
                            digests: None,
                            root: None,
                        };
                        let done = Done::Run { torrent, run };
                        self.counted(|rig| rig.engine.handle_done(rig.now, done));
                    }
                    Effect::Flush { stream } => self.transmit(stream),
                    other => panic!("{other:?}"),
                }
            }
            self.effects = effects;
        }
    }

    fn transmit(&mut self, stream: StreamId) {
        let nth = self.peers.iter().position(|peer| peer.stream == stream).unwrap();
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            COUNTED.set(Some(0));
            let used = self.engine.poll_transmit(stream, &mut slices);
            self.allocations += COUNTED.take().unwrap_or_default();
            let Peer { decoder, requests, .. } = &mut self.peers[nth];
            let mut sent = 0;
            for slice in &slices[..used] {
                sent += slice.len();
                let mut input: &[u8] = slice;
                while let Some(frame) = decoder.next(&mut input).unwrap() {
                    if let Message::Request { piece, begin, len } = Message::decode(frame).unwrap()
                    {
                        requests.push_back((piece, begin, len));
                    }
                }
            }
            if sent == 0 {
                return;
            }
            self.counted(|rig| rig.engine.handle_sent(rig.now, stream, sent));
        }
    }

    /// Each peer in turn answers its first request, until so many blocks have come.
    fn run(&mut self, blocks: u64) {
        let end = self.blocks + blocks;
        while self.blocks < end {
            let mut any = false;
            for nth in 0..self.peers.len() {
                let peer = &mut self.peers[nth];
                let Some((piece, begin, len)) = peer.requests.pop_front() else { continue };
                let (stream, mut message) = (peer.stream, std::mem::take(&mut peer.message));
                message.clear();
                message.extend_from_slice(&piece_header(piece, begin, len));
                message.resize(message.len() + len as usize, 7);
                self.now = self.now + Duration::from_micros(50);
                self.counted(|rig| rig.engine.handle_data(rig.now, stream, &mut message));
                self.peers[nth].message = message;
                self.blocks += 1;
                self.carry_out();
                any = true;
            }
            assert!(any, "nothing is asked for");
        }
    }
}

fn allocations_a_block(peers: u8) -> f64 {
    let mut rig = Rig::new(peers);
    rig.run(200 * u64::from(BLOCKS));
    rig.allocations = 0;
    let before = rig.blocks;
    rig.run(200 * u64::from(BLOCKS));
    let (allocations, blocks) = (rig.allocations, rig.blocks - before);
    println!("{allocations} allocations for {blocks} blocks from {peers} peers");
    allocations as f64 / blocks as f64
}

#[test]
fn steady_download_from_one_peer_allocates_nothing_a_block() {
    assert!(allocations_a_block(1) < 0.01);
}

#[test]
fn steady_download_from_eight_peers_allocates_nothing_a_block() {
    assert!(allocations_a_block(8) < 0.01);
}
