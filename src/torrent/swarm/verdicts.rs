//! From a run that is whole to the verdict on its piece: jobs for the workers, their answers, and
//! who is to blame for what is bad. It knows disks only as jobs, and leaves what follows for peers
//! as notes.

use super::{Digesting, Note, Swarm};
use crate::{
    base::{
        geometry::PieceIndex,
        hash::Digest,
        job::{Job, RunDone, Verdict},
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
        let (piece, digests) = (done.piece, done.digests.take());
        let single = done.begin == 0;
        let contradiction = matches!(done.result, Ok(Verdict::Contradiction));
        let handle = |progress: &mut Progress| progress.handle_run(done, cx.leases.pieces_mut());
        let Some(verdict) = self.active.change(piece, handle) else {
            self.refill = true;
            return Ok(());
        };
        if !matches!(verdict, Ok(Some(_))) {
            self.forgo(piece, cx);
        }
        // What a good run sets free is memory, and sessions that went short of it are told of that
        // by the engine. Near the end the copies of its blocks make room for others.
        self.refill |= !matches!(verdict, Ok(None | Some(true))) || self.is_endgame();
        match verdict? {
            None => self.submit(piece, cx),
            Some(_) if contradiction => {
                // No peer is to blame: whatever they send, one of the hashes does not fit.
                self.active.remove(piece, cx.leases.pieces_mut());
                self.picker.put_back(piece);
                self.notes.push_back(Note::Contradiction(piece));
            }
            Some(true) => self.good(piece, digests.filter(|_| single), cx),
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
        match (self.failures.digesting.remove(&piece), result) {
            (Some(Digesting::Good), Ok(digests)) => self.convict(piece, &digests),
            (Some(Digesting::Bad(senders)), result) => {
                match result {
                    Ok(digests) => {
                        let limit = cx.conf.requests.max_blames;
                        self.failures.blames.remember(piece, senders, digests, limit);
                        self.ask_for_culprit(piece);
                    }
                    Err(error) => {
                        log::warn!("no peer can be blamed for piece {}: {error}", piece.get())
                    }
                }
                self.picker.put_back(piece);
                self.refill = true;
            }
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
        if self.quiet || self.no_writes {
            return;
        }
        let Some(expected) = self.expected(piece) else { return };
        let digests = self.failures.blames.is_waiting(piece);
        let hurry = self.picker.len() == 0 && !self.active.iter().any(|(_, p)| p.is_awaited());
        let torrent = self.torrent();
        for run in self.active.poll_jobs(piece, expected, digests, hurry) {
            self.runs_out += 1;
            self.jobs_out += 1;
            cx.job(Job::Run { torrent, run });
        }
    }

    fn good(&mut self, piece: PieceIndex, digests: Option<Vec<Digest>>, cx: &mut Cx) {
        self.active.remove(piece, cx.leases.pieces_mut());
        self.add_checked(piece);
        if self.is_finished() {
            self.active.rest();
        }
        self.notes.push_back(Note::Have(piece));
        self.note_at_hand(piece, cx);
        if self.failures.blames.is_waiting(piece) {
            match digests {
                Some(digests) => self.convict(piece, &digests),
                None => self.digest(piece, Digesting::Good, cx),
            }
        }
    }

    fn bad(&mut self, piece: PieceIndex, digests: Option<Vec<Digest>>, cx: &mut Cx) {
        let Some(progress) = self.active.get(piece) else { return };
        let restored = progress.is_restored();
        let (contributors, senders) = (progress.contributors().to_vec(), progress.block_senders());
        self.active.remove(piece, cx.leases.pieces_mut());
        self.counters.failed_pieces += 1;
        self.counters.wasted += u64::from(self.geometry.piece_len(piece));
        self.notes.push_back(Note::Failed(piece, contributors.len()));
        if !restored {
            self.paroles.fail(piece, &contributors, cx.now);
        }
        // What came from an earlier run may be to blame as well as the contributors: blocks are
        // compared when the piece is good.
        if let [guilty] = contributors.as_slice()
            && !restored
        {
            self.accuse(*guilty, piece);
            self.picker.put_back(piece);
        } else if let Some(digests) = digests {
            self.failures.blames.remember(piece, senders, digests, cx.conf.requests.max_blames);
            self.ask_for_culprit(piece);
            self.picker.put_back(piece);
        } else {
            // Its blocks are on disk; they must be looked at before they are overwritten.
            self.digest(piece, Digesting::Bad(senders), cx);
        }
    }

    /// Who is to blame is known before the piece is good if its leaves can be had.
    fn ask_for_culprit(&mut self, piece: PieceIndex) {
        let waits = self.failures.blames.is_waiting(piece);
        if waits && self.hashes().trees().is_some_and(|trees| trees.piece(piece).is_some()) {
            self.notes.push_back(Note::Culprit(piece));
        }
    }

    fn digest(&mut self, piece: PieceIndex, what: Digesting, cx: &mut Cx) {
        self.failures.digesting.insert(piece, what);
        self.jobs_out += 1;
        cx.job(Job::Digests { torrent: self.torrent(), piece });
    }

    pub(super) fn convict(&mut self, piece: PieceIndex, good: &[Digest]) {
        for guilty in self.failures.blames.settle(piece, good) {
            self.accuse(guilty, piece);
        }
    }

    /// `guilty` has sent bad data of `piece`.
    fn accuse(&mut self, guilty: Supplier, piece: PieceIndex) {
        self.notes.push_back(match guilty {
            Supplier::Peer(peer) => Note::Ban(peer),
            Supplier::WebSeed(seed) => Note::BadWebSeed(seed, piece),
        });
    }
}
