//! From a run that is whole to the verdict on its piece: jobs for the workers, their answers, and
//! who is to blame for what is bad. It knows disks only as jobs, and leaves what follows for peers
//! as notes.

use super::{Note, Swarm, failures::Digesting};
use crate::{
    base::{
        files::Priority,
        geometry::PieceIndex,
        hash::Digest,
        job::{Job, RunDone, Verdict},
        merkle::Node,
        partial::PartialPiece,
        storage::StoreError,
    },
    torrent::{
        cx::Cx,
        progress::{Progress, Supplier},
    },
};

impl Swarm {
    /// A worker answered. An error is the torrent's to deal with; the data is kept.
    pub(crate) fn handle_run(&mut self, mut done: RunDone, cx: &mut Cx) -> Result<(), StoreError> {
        self.work.end_run();
        let (piece, digests, root) = (done.piece, done.digests.take(), done.root);
        let single = done.begin == 0;
        let contradiction = matches!(done.result, Ok(Verdict::Contradiction));
        let handle = |progress: &mut Progress| progress.handle_run(done, cx.leases.pieces_mut());
        let Some(verdict) = self.active.change(piece, handle) else {
            self.refills.want();
            return Ok(());
        };
        if !matches!(verdict, Ok(Some(_))) {
            self.forgo(piece, cx);
        }
        // What a good run sets free is memory, and sessions that went short of it are told of that
        // by the engine. Near the end the copies of its blocks make room for others.
        let is_news = !matches!(verdict, Ok(None | Some(true))) || self.is_endgame();
        self.refills.want_if(is_news);
        match verdict? {
            None => self.submit(piece, cx),
            Some(_) if contradiction => {
                // No peer is to blame: whatever they send, one of the hashes does not fit.
                self.active.remove(piece, cx.leases.pieces_mut());
                self.picker.put_back(piece);
                self.notes.leave(Note::Contradiction(piece));
            }
            Some(true) => {
                self.good(piece, digests.filter(|_| single), cx);
                if let Some(root) = root {
                    self.notes.leave(Note::Root(piece, root));
                }
            }
            Some(false) => self.bad(piece, digests.filter(|_| single), cx),
        }
        Ok(())
    }

    /// Block digests came.
    pub(crate) fn handle_digests(
        &mut self,
        piece: PieceIndex,
        result: Result<Vec<Digest>, StoreError>,
        cx: &mut Cx,
    ) {
        match (self.failures.take_awaited(piece), result) {
            (Some(Digesting::Good), Ok(digests)) => self.convict(piece, &digests),
            (Some(Digesting::Bad(senders)), result) => match result {
                Ok(digests) => self.look_for_culprit(piece, senders, digests, cx),
                Err(error) => {
                    log::warn!("no peer can be blamed for piece {}: {error}", piece.get());
                    self.fetch_anew(piece);
                }
            },
            _ => {}
        }
    }

    /// Tries again what a failed disk left undone.
    pub(crate) fn retry(&mut self, cx: &mut Cx) {
        for piece in self.active.pieces() {
            self.submit(piece, cx);
        }
    }

    pub(super) fn submit(&mut self, piece: PieceIndex, cx: &mut Cx) {
        if !self.work.may_submit() {
            return;
        }
        let Some(expected) = self.expected(piece) else { return };
        let digests = self.failures.is_waiting(piece);
        let hurry = self.picker.len() == 0 && !self.active.iter().any(|(_, p)| p.is_awaited());
        let torrent = self.torrent();
        for run in self.active.poll_jobs(piece, expected, digests, hurry) {
            self.work.begin_run();
            cx.job(Job::Run { torrent, run });
        }
    }

    fn good(&mut self, piece: PieceIndex, digests: Option<Vec<Digest>>, cx: &mut Cx) {
        self.active.remove(piece, cx.leases.pieces_mut());
        self.add_checked(piece);
        if self.is_finished() {
            self.active.rest();
        }
        self.notes.leave(Note::Have(piece));
        self.notes.leave_at_hand(piece, cx);
        if self.failures.is_waiting(piece) {
            match digests {
                Some(digests) => self.convict(piece, &digests),
                None => self.digest(piece, Digesting::Good, cx),
            }
        }
    }

    fn bad(&mut self, piece: PieceIndex, digests: Option<Vec<Digest>>, cx: &mut Cx) {
        let Some(progress) = self.active.get(piece) else { return };
        let restored = progress.is_restored();
        let contributors = progress.contributors().to_vec();
        let mut senders = progress.block_senders();
        self.active.remove(piece, cx.leases.pieces_mut());
        self.counters.note_failed_piece();
        self.notes.leave(Note::Failed(piece, contributors.len()));
        if !restored {
            self.paroles.fail(piece, &contributors, cx.now);
        }
        // What came from an earlier run may be to blame as well as the contributors: blocks are
        // compared when the piece is good.
        if let [guilty] = contributors.as_slice()
            && !restored
        {
            self.accuse(*guilty, piece);
            if self.range_of_leaves(piece).is_none() {
                return self.fetch_anew(piece);
            }
            // What of it is good may still be kept.
            senders.fill(None);
        }
        match digests {
            Some(digests) => self.look_for_culprit(piece, senders, digests, cx),
            // Its blocks are on disk; they must be looked at before they are overwritten.
            None => self.digest(piece, Digesting::Bad(senders), cx),
        }
    }

    /// The digests of a bad piece are known. Who is to blame for it, and what of it is good, is
    /// known before it is good if its leaves can be had.
    fn look_for_culprit(
        &mut self,
        piece: PieceIndex,
        senders: Vec<Option<Supplier>>,
        digests: Vec<Digest>,
        cx: &mut Cx,
    ) {
        self.failures.remember(piece, senders, digests, cx.conf.requests.max_blames);
        if self.failures.is_waiting(piece) && self.range_of_leaves(piece).is_some() {
            self.failures.await_answer(piece, Digesting::Leaves);
            self.notes.leave(Note::Culprit(piece));
        } else {
            self.fetch_anew(piece);
        }
    }

    /// Nothing of a bad piece can be kept.
    fn fetch_anew(&mut self, piece: PieceIndex) {
        self.counters.waste(u64::from(self.geometry.piece_len(piece)));
        self.picker.put_back(piece);
        self.refills.want();
    }

    /// The leaves of a bad piece are not waited for any more.
    pub(crate) fn forgo_leaves(&mut self, piece: PieceIndex) {
        if self.failures.awaits_leaves(piece) {
            self.failures.take_awaited(piece);
            self.fetch_anew(piece);
        }
    }

    /// The leaves of a piece came, and are proven: those who sent other blocks are to blame, and
    /// what is right stays, if it was waited for: it is on disk.
    pub(crate) fn handle_leaves(&mut self, piece: PieceIndex, leaves: &[Node], cx: &mut Cx) {
        let blocks = self.geometry.block_count(piece) as usize;
        let good: Vec<_> = leaves.iter().take(blocks).map(short).collect();
        let same = self.failures.same(piece, &good);
        self.convict(piece, &good);
        if !self.failures.awaits_leaves(piece) {
            return;
        }
        let kept = same.filter(|blocks| blocks.ones() > 0);
        let Some(blocks) = kept.filter(|_| self.picker.level(piece) != Priority::Skip) else {
            return self.forgo_leaves(piece);
        };
        self.failures.take_awaited(piece);
        let bad = (0..self.geometry.block_count(piece)).filter(|&nth| !blocks.has(nth));
        let bad = bad.filter_map(|nth| self.geometry.nth_block(piece, nth));
        self.counters.waste(bad.map(|block| u64::from(block.len)).sum::<u64>());
        // It is known who is to blame: the rest may come from all others.
        self.paroles.settle(piece);
        self.picker.put_back(piece);
        self.restore(&PartialPiece { piece, blocks }, cx);
        self.refills.want();
    }

    fn digest(&mut self, piece: PieceIndex, what: Digesting, cx: &mut Cx) {
        self.failures.await_answer(piece, what);
        self.work.begin();
        cx.job(Job::Digests { torrent: self.torrent(), piece });
    }

    pub(super) fn convict(&mut self, piece: PieceIndex, good: &[Digest]) {
        for guilty in self.failures.settle(piece, good) {
            self.accuse(guilty, piece);
        }
    }

    /// `guilty` has sent bad data of `piece`.
    fn accuse(&mut self, guilty: Supplier, piece: PieceIndex) {
        self.notes.leave(match guilty {
            Supplier::Peer(peer) => Note::Ban(peer),
            Supplier::WebSeed(seed) => Note::BadWebSeed(seed, piece),
        });
    }
}

/// A leaf in the room of a digest: what blocks of trees are compared by.
fn short(leaf: &Node) -> Digest {
    leaf.first_chunk().copied().unwrap_or_default()
}
