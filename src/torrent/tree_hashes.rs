//! Hashes of merkle trees (BEP 52) that a torrent asks of its peers, and that they ask of it.
//!
//! Asked for are piece layers that the metainfo came without, and the leaves of pieces that were
//! bad and had several senders: they tell at once whose block it was. Peers get piece layers, and
//! leaves of pieces that are had; workers hash what that takes, one request of a torrent at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    base::{
        arena::Key, bitfield::Bitfield, geometry::PieceIndex, job::Job, merkle::Node,
        storage::StoreError, time::Instant, trees::Trees,
    },
    proto::hashes::{CHUNK, HashFetch, HashLimits, leaves_of},
    torrent::{
        TREES, Torrent, computation::Computation, cx::Cx, found_roots::FoundRoots,
        hash_answer::HashAnswer, hash_talk::HashTalk, swarm::Note,
    },
    wire::{hash_range::HashRange, message::Message},
};

/// Requests of all peers of a torrent that wait; of others more are turned down.
const MAX_WAITING: usize = 256;
/// The same of one peer.
const MAX_OF_PEER: usize = 8;
/// The longest piece that is read for its leaves, in bytes.
const MAX_READ: u32 = 16 << 20;
/// Pieces whose leaves are asked for at a time.
const MAX_CULPRITS: usize = 64;
/// Ranges that are wanted, above which no leaves are asked for to read a piece.
const MAX_READ_LEAVES: usize = 256;
/// How long a bad piece waits for its leaves, which tell what of it is good. Then all of it is
/// fetched again.
const LEAVES_WAIT: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct TreeHashes {
    fetch: HashFetch<Key>,
    /// What peers wait for, in the order in which they asked.
    waiting: VecDeque<(Key, HashRange)>,
    /// The request that a worker has a part of.
    serving: Option<(Key, HashRange)>,
    /// Pieces on disk that the last check passed over, since it was not known what they should be.
    passed_over: Option<Bitfield>,
    /// The info dictionary is read back, to be kept with the layers that have come.
    keeping: bool,
    /// Whether the layers that have come are kept beside the state of a torrent that is in no
    /// session folder.
    beside_state: Kept,
    pub(super) roots: FoundRoots,
    /// Bad pieces that wait for these leaves, and until when.
    held: BTreeMap<PieceIndex, (HashRange, Instant)>,
}

/// How far something is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kept {
    /// It is, or need not be.
    #[default]
    Yes,
    /// It is to be.
    Due,
    /// A worker keeps it.
    Out,
}

impl TreeHashes {
    pub(super) fn new() -> Self {
        Self {
            fetch: HashFetch::new(HashLimits::default()),
            waiting: VecDeque::new(),
            serving: None,
            passed_over: None,
            keeping: false,
            beside_state: Kept::default(),
            roots: FoundRoots::default(),
            held: BTreeMap::new(),
        }
    }

    /// A check has passed over a piece, of `count` that there are.
    pub(super) fn pass_over(&mut self, piece: PieceIndex, count: u32) {
        self.passed_over.get_or_insert_with(|| Bitfield::none(count)).set(piece);
    }

    /// What the last check passed over, if it did. Until it is checked a saved state has to say so:
    /// what lies there may be good, and may not be safe.
    pub(super) fn passed_over(&self) -> Option<&Bitfield> {
        self.passed_over.as_ref()
    }

    /// Whether layers that have come are to be kept beside the state.
    pub(super) fn keeps_beside_state(&self) -> bool {
        self.beside_state != Kept::Yes
    }

    /// The state is saved, and the layers beside it, if they are to be.
    pub(super) fn begin_to_keep(&mut self) {
        if self.beside_state == Kept::Due {
            self.beside_state = Kept::Out;
        }
    }

    /// That is done, or has failed. What has come meanwhile is still to be kept.
    pub(super) fn end_keeping(&mut self, is_kept: bool) {
        if self.beside_state == Kept::Out {
            self.beside_state = if is_kept { Kept::Yes } else { Kept::Due };
        }
    }

    /// The torrent was opened: a check begins that looks at all that is not believed.
    pub(super) fn handle_opened(&mut self) {
        self.passed_over = None;
        self.roots.clear();
    }
}

impl Torrent {
    /// The torrent is open: piece layers that it lacks are asked for.
    pub(super) fn begin_layers(&mut self, cx: &mut Cx) {
        let Some(trees) = self.swarm.hashes().trees().filter(|trees| !trees.is_complete()) else {
            return;
        };
        let base = trees.piece_height();
        let mut wanted = Vec::new();
        for tree in trees.files().iter().filter(|tree| tree.has_layer()) {
            let first = trees.of_root(&tree.root).map(|tree| tree.first).min();
            if trees.layer(tree).is_some() || first != Some(tree.first) {
                continue;
            }
            let len = tree.pieces.next_power_of_two().min(CHUNK);
            let proofs = tree.height().saturating_sub(base + 1);
            let indices = (0..tree.pieces).step_by(len as usize);
            let range = |index| HashRange { root: tree.root, base, index, len, proofs };
            wanted.extend(indices.map(range));
        }
        let hashes = self.content.tree_hashes_mut();
        wanted.into_iter().for_each(|range| hashes.fetch.want(range, range.root));
        self.prove_whole_files(cx);
        self.fetch_hashes(cx);
    }

    /// Asks peers for what is missing, if something is.
    pub(super) fn fetch_hashes(&mut self, cx: &mut Cx) {
        let is_at_work =
            |hashes: &&mut TreeHashes| !hashes.fetch.is_idle() || !hashes.held.is_empty();
        let Some(hashes) = self.content.tree_hashes().filter(is_at_work) else { return };
        for (key, session) in self.peers.iter_mut() {
            if session.speaks_of_trees() {
                hashes.fetch.handle_peer(cx.now, key);
            }
        }
        hashes.fetch.handle_time_out(cx.now);
        let held = hashes.held.iter().filter(|&(_, &(_, until))| until <= cx.now);
        for piece in held.map(|(&piece, _)| piece).collect::<Vec<_>>() {
            hashes.held.remove(&piece);
            self.swarm.forgo_leaves(piece);
        }
        while let Some((peer, range)) = hashes.fetch.poll_request(cx.now) {
            match self.peers.get_mut(peer) {
                Some(session) => {
                    session.say_of_trees(&Message::HashRequest(range), cx);
                    session.schedule(cx);
                }
                None => hashes.fetch.handle_gone(peer),
            }
        }
        let held = hashes.held.values().map(|&(_, until)| until);
        match hashes.fetch.next_deadline(cx.now).into_iter().chain(held).min() {
            Some(at) => self.timers.set(TREES, at.max(cx.now)),
            None => self.timers.stop(TREES),
        }
    }

    /// A peer is gone.
    pub(super) fn leave_hashes(&mut self, peer: Key, cx: &mut Cx) {
        if let Some(hashes) = self.content.tree_hashes() {
            hashes.fetch.handle_gone(peer);
            hashes.waiting.retain(|(waiting, _)| *waiting != peer);
            self.fetch_hashes(cx);
        }
    }

    /// A peer spoke of trees.
    pub(super) fn handle_hash_talk(&mut self, peer: Key, talk: HashTalk, cx: &mut Cx) {
        match talk {
            HashTalk::Request(range) => self.handle_hash_request(peer, range, cx),
            HashTalk::Hashes(range, hashes) => self.handle_hashes(peer, &range, &hashes, cx),
            HashTalk::Reject(range) => {
                if let Some(hashes) = self.content.tree_hashes() {
                    hashes.fetch.handle_reject(cx.now, peer, &range);
                    self.fetch_hashes(cx);
                }
            }
        }
    }

    fn handle_hashes(&mut self, peer: Key, range: &HashRange, nodes: &[Node], cx: &mut Cx) {
        let Some(hashes) = self.content.tree_hashes() else { return };
        match hashes.fetch.handle_hashes(peer, range, nodes) {
            Ok(None) => {}
            Ok(Some(nodes)) => {
                let most = cx.conf.reads.max_leaves;
                self.storage.reads.handle_leaves(range, &nodes, most);
                self.take_hashes(range, &nodes, cx);
            }
            Err(fault) => {
                if let Some(session) = self.peers.get(peer) {
                    log::warn!("{}: {fault}", session.who().addr);
                    self.swarm.note(Note::Ban(session.who()));
                }
            }
        }
        self.fetch_hashes(cx);
    }

    /// Hashes came that are proven.
    fn take_hashes(&mut self, range: &HashRange, nodes: &[Node], cx: &mut Cx) {
        let Some(trees) = self.swarm.hashes().trees() else { return };
        let is_layer = range.base == trees.piece_height()
            && trees.of_root(&range.root).any(|tree| tree.has_layer());
        if is_layer {
            return self.take_layer(&range.root, range.index, nodes, cx);
        }
        for piece in self.pieces_of_leaves(range) {
            self.content.tree_hashes_mut().held.remove(&piece);
            self.swarm.handle_leaves(piece, nodes, cx);
        }
    }

    /// The pieces that have these leaves: equal files have equal ones.
    fn pieces_of_leaves(&self, range: &HashRange) -> Vec<PieceIndex> {
        let (trees, geometry) = (self.swarm.hashes().trees(), self.swarm.geometry());
        let Some(trees) = trees else { return Vec::new() };
        let Some(first) = trees.of_root(&range.root).next() else { return Vec::new() };
        let nth =
            leaves_of(trees, geometry, range).and_then(|piece| piece.checked_sub(first.first));
        let Some(nth) = nth else { return Vec::new() };
        // A root may be claimed for files of several lengths.
        let alike = trees.of_root(&range.root).filter(|tree| nth < tree.pieces);
        let alike = alike.filter_map(|tree| tree.first.checked_add(nth));
        alike.filter_map(|piece| geometry.piece(piece).ok()).collect()
    }

    /// A part of a piece layer is proven.
    pub(super) fn take_layer(&mut self, root: &Node, index: u32, nodes: &[Node], cx: &mut Cx) {
        let agrees = self.agree_with_layer(root, index, nodes);
        self.swarm.learn_layer(root, index, nodes);
        let Some(trees) = self.swarm.hashes().trees() else { return };
        let (is_complete, base) = (trees.is_complete(), trees.piece_height());
        let is_known = trees.of_root(root).all(|tree| trees.layer(tree).is_some());
        if is_known {
            // All of it may have come from its own pieces.
            self.content.tree_hashes_mut().fetch.forget_layer(root, base);
        }
        match agrees {
            false => self.doubt_all(cx),
            true if is_complete => self.layers_complete(cx),
            true => {}
        }
    }

    /// All piece layers are known: they are kept with the metainfo, and what lay on disk before is
    /// looked at.
    fn layers_complete(&mut self, cx: &mut Cx) {
        log::info!("{} has all its piece layers", self.content.name());
        let hashes = self.content.tree_hashes_mut();
        if hashes.passed_over.is_some() {
            self.keep_layers(cx);
            // Its user has not said that it may go on without its files.
            if self.lifecycle.end().is_none() {
                self.distrust_all(cx);
            }
        } else if hashes.roots.may_keep() {
            self.keep_layers(cx);
        }
    }

    /// The leaves of a bad piece are wanted, which tell whose blocks were bad, and which are good.
    pub(super) fn want_leaves(&mut self, piece: PieceIndex, cx: &mut Cx) {
        let Some((range, to)) = self.swarm.range_of_leaves(piece) else { return };
        let hashes = self.content.tree_hashes_mut();
        let asks = hashes.held.len() < MAX_CULPRITS;
        if asks {
            hashes.fetch.want(range, to);
        }
        if asks && self.peers.iter().any(|(_, session)| session.speaks_of_trees()) {
            hashes.held.insert(piece, (range, cx.now + LEAVES_WAIT));
        } else {
            self.swarm.forgo_leaves(piece);
        }
        self.fetch_hashes(cx);
    }

    /// The leaves of a piece are wanted, to read some of it. `None` if there is no room, or they
    /// cannot be known; and if they are asked for already, they need not be called off.
    pub(super) fn want_leaves_to_read(&mut self, piece: PieceIndex) -> Option<HashRange> {
        let (range, to) = self.swarm.range_of_leaves(piece)?;
        let fetch = &mut self.content.tree_hashes_mut().fetch;
        if fetch.len() >= MAX_READ_LEAVES && !fetch.wants(&range) {
            return None;
        }
        fetch.want(range, to);
        Some(range)
    }

    /// No read wants these leaves any more. A bad piece may: its own, or one of an equal file.
    pub(super) fn forgo_leaves_to_read(&mut self, range: &HashRange) {
        if let Some(hashes) = self.content.tree_hashes()
            && hashes.held.values().all(|(held, _)| held != range)
        {
            hashes.fetch.forget(range);
        }
    }

    // What peers ask for.

    fn handle_hash_request(&mut self, peer: Key, range: HashRange, cx: &mut Cx) {
        let hashes = self.content.tree_hashes_mut();
        let own = hashes.waiting.iter().filter(|(waiting, _)| *waiting == peer).count();
        if hashes.waiting.len() >= MAX_WAITING || own >= MAX_OF_PEER {
            return self.answer_hashes(peer, &range, None, cx);
        }
        hashes.waiting.push_back((peer, range));
        self.serve_hashes(cx);
    }

    /// The next request is served, unless one is.
    fn serve_hashes(&mut self, cx: &mut Cx) {
        loop {
            let Some(hashes) = self.content.tree_hashes().filter(|h| h.serving.is_none()) else {
                return;
            };
            let Some((peer, range)) = hashes.waiting.pop_front() else { return };
            match self.begin_to_serve(&range) {
                Some(job) => {
                    self.content.tree_hashes_mut().serving = Some((peer, range));
                    if let Job::Leaves { .. } = job {
                        self.swarm.begin_job();
                    }
                    cx.job(job);
                }
                None => self.answer_hashes(peer, &range, None, cx),
            }
        }
    }

    /// What a worker has to do for an answer; `None` if there is none.
    fn begin_to_serve(&self, range: &HashRange) -> Option<Job> {
        let (torrent, geometry) = (self.identity.key(), self.swarm.geometry());
        let trees = self.swarm.hashes().trees()?;
        let tree = trees.of_root(&range.root).next()?;
        if range.base == trees.piece_height() && tree.has_layer() {
            trees.layer(tree)?;
            let answer = HashAnswer::layer(trees.clone(), *range);
            return Some(Computation::Hashes(answer).job(torrent));
        }
        // Any of them that is had will do.
        let mut alike = self.pieces_of_leaves(range).into_iter();
        let had = alike.find(|&piece| self.swarm.have().has(piece));
        let piece = had.filter(|&piece| geometry.piece_len(piece) <= MAX_READ)?;
        (!self.swarm.is_quiet() && self.lifecycle.is_open())
            .then_some(Job::Leaves { torrent, piece })
    }

    /// The leaves of a piece were read for a peer.
    pub(super) fn handle_read_leaves(
        &mut self,
        result: Result<Vec<Node>, StoreError>,
        cx: &mut Cx,
    ) {
        let serving = self.content.tree_hashes().and_then(|hashes| hashes.serving);
        let Some((peer, range)) = serving else { return };
        match (result, self.swarm.hashes().trees()) {
            (Ok(leaves), Some(trees)) => {
                let (trees, geometry) = (trees.clone(), self.swarm.geometry().clone());
                let answer = HashAnswer::leaves(trees, geometry, range, leaves);
                cx.job(Computation::Hashes(answer).job(self.identity.key()));
            }
            (result, _) => {
                if let Err(error) = result {
                    self.note_unread(&error, cx);
                }
                self.content.tree_hashes_mut().serving = None;
                self.answer_hashes(peer, &range, None, cx);
                self.serve_hashes(cx);
            }
        }
    }

    /// A worker has an answer for a peer.
    pub(crate) fn handle_answer(&mut self, answer: HashAnswer, cx: &mut Cx) {
        let hashes = self.content.tree_hashes_mut();
        let Some((peer, range)) = hashes.serving.take() else { return };
        self.answer_hashes(peer, &range, answer.into_hashes(), cx);
        self.serve_hashes(cx);
        self.settle(cx);
    }

    fn answer_hashes(
        &mut self,
        peer: Key,
        range: &HashRange,
        hashes: Option<Vec<Node>>,
        cx: &mut Cx,
    ) {
        let Some(session) = self.peers.get_mut(peer) else { return };
        match &hashes {
            Some(hashes) => session.say_of_trees(&Message::Hashes { range: *range, hashes }, cx),
            None => session.say_of_trees(&Message::HashReject(*range), cx),
        }
        session.schedule(cx);
    }

    // Layers that have come are kept.

    /// The metainfo is to have the layers that have come, in the session folder, too; without one
    /// they are kept beside the torrent's state.
    pub(super) fn keep_layers(&mut self, cx: &mut Cx) {
        let Some(trees) = self.swarm.hashes().trees().cloned() else { return };
        self.content.set_trees(trees);
        // The state says from now on that both versions vouch for it.
        self.changed(cx);
        if !self.persistence.is_on() {
            self.content.tree_hashes_mut().beside_state = Kept::Due;
            return;
        }
        let Some(metainfo) = self.content.metainfo() else { return };
        let span = metainfo.info_span.clone();
        if let Some(info) = self.persistence.raw().and_then(|raw| raw.get(span.clone())) {
            let info = info.to_vec();
            return self.keep_with_layers(&info, cx);
        }
        self.content.tree_hashes_mut().keeping = true;
        let (torrent, info_hash) = (self.identity.key(), self.identity.hashes().key());
        self.swarm.begin_job();
        cx.job(Job::Info { torrent, info_hash, span });
    }

    /// The layers that are to be kept beside the state.
    pub(super) fn layers_to_keep(&self) -> Option<Trees> {
        let keeps = !self.persistence.is_on() && self.content.keeps_layers();
        self.content.metainfo().filter(|_| keeps)?.trees.clone()
    }

    /// Layers that an earlier run has kept.
    pub(super) fn restore_layers(&mut self, trees: Trees) {
        log::debug!("{} lacks the layers of {} pieces", self.content.name(), trees.unknown());
        self.content.set_trees(trees.clone());
        self.swarm.set_trees(trees);
    }

    /// The info dictionary was read back, maybe to be kept with the layers.
    pub(super) fn keep_read_info(&mut self, info: Option<&[u8]>, cx: &mut Cx) {
        let keeping =
            self.content.tree_hashes().is_some_and(|hashes| std::mem::take(&mut hashes.keeping));
        if let Some(info) = info.filter(|_| keeping) {
            self.keep_with_layers(info, cx);
        }
    }

    fn keep_with_layers(&mut self, info: &[u8], cx: &mut Cx) {
        let Some(file) = self.content.metainfo().map(|metainfo| metainfo.file_with(info)) else {
            return;
        };
        if !self.has_room_for(&file, cx.now) {
            // The next start asks peers for the layers again.
            return log::warn!("{} is too large to be kept with its layers", self.content.name());
        }
        if let Some(span) = self.content.set_file(&file) {
            log::debug!("{} is kept with its layers, {span:?}", self.content.name());
            self.swarm.set_info(self.content.info(true));
            self.keep_file(file.into(), cx);
        }
    }
}
