//! The disk of a trace: it knows the true bytes and answers jobs at once, or when it is let. It
//! hashes nothing.

use cratetorrent::{
    Bitfield, StoreError,
    driver::{
        Block, Digest, Done, Hasher, Job, Judgement, Opened, READ_GAP, Run, RunData, RunDone,
        StoreOp, Verdict,
    },
    wire::metainfo::{BLOCK_LEN, PieceIndex},
};

use super::{PIECE_LEN, PIECES, Trace};

/// The true bytes of a range.
pub(super) fn truth(piece: u32, begin: u32, len: u32) -> Vec<u8> {
    (begin..begin + len).map(|at| (at / 7 + piece * 31) as u8).collect()
}

impl Trace {
    /// Jobs that wait for the disk.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn hold_disk(&mut self, hold: bool) {
        self.hold_disk = hold;
        self.settle();
    }

    /// Nothing can be read.
    pub(crate) fn fail_reads(&mut self, fail: bool) {
        self.bad_disk = fail;
    }

    pub(super) fn work(&mut self, job: Job) -> Done {
        match job {
            Job::Open { torrent, .. } => {
                let mut have = Bitfield::none(PIECES);
                self.disk
                    .keys()
                    .for_each(|&piece| _ = have.set(self.geometry.piece(piece).unwrap()));
                let opened = Opened { have, ..Opened::empty(PIECES) };
                Done::Opened { torrent, result: Ok(opened) }
            }
            Job::Run { torrent, run } => Done::Run { torrent, run: self.judge(run) },
            Job::Read { torrent, link, blocks, buf } if self.bad_disk => {
                let error =
                    StoreError::new(StoreOp::Read, "f", std::io::Error::other("the disk is old"));
                Done::Read { torrent, link, blocks, buf, result: Err(error), cold: true }
            }
            Job::Read { torrent, link, blocks, mut buf } => {
                let mut at = 0;
                for &Block { piece, begin, len } in &blocks {
                    at += READ_GAP;
                    let from = &self.disk[&piece.get()][begin as usize..(begin + len) as usize];
                    buf.0[at..at + from.len()].copy_from_slice(from);
                    at += from.len();
                }
                Done::Read { torrent, link, blocks, buf, result: Ok(()), cold: true }
            }
            Job::Extract { torrent, read, .. } => {
                let none = std::io::ErrorKind::NotFound.into();
                let error = StoreError::new(StoreOp::Read, "trace", none);
                Done::Extracted { torrent, read, result: Err(error.into()) }
            }
            Job::Check { torrent, piece, .. } => {
                Done::Checked { torrent, piece, result: Ok(Judgement::Bad), root: None }
            }
            Job::Digests { torrent, piece } => {
                Done::Digests { torrent, piece, result: Ok(self.digests(piece)) }
            }
            Job::Leaves { torrent, piece } => {
                let none = std::io::ErrorKind::NotFound.into();
                let result = Err(StoreError::new(StoreOp::Read, "trace", none));
                Done::Leaves { torrent, piece, result }
            }
            Job::Save { torrent, .. } => Done::Saved { torrent, result: Ok(()), unfinished: None },
            Job::Arrange { torrent, .. } => Done::Arranged { torrent, result: Ok(()) },
            Job::Relocate { torrent, .. } => Done::Relocated { torrent, result: Ok(()) },
            Job::Look { torrent, .. } => Done::Looked { torrent, absent: false },
            Job::Tidy { torrent } => Done::Tidied { torrent, left: None },
            Job::Close { torrent } => Done::Closed { torrent },
            Job::Compute { torrent, mut task } => {
                task.run();
                Done::Computed { torrent, task }
            }
            // Peers of a trace do not encrypt.
            Job::KeyExchange { link, exchange } => Done::KeyExchange { link, exchange },
            Job::Info { torrent, .. } => {
                let none = std::io::ErrorKind::NotFound.into();
                Done::Info { torrent, result: Err(StoreError::new(StoreOp::Read, "trace", none)) }
            }
            Job::Delete { torrent, .. } => Done::Deleted { torrent, left: None },
            Job::Record { torrent, record } => {
                Done::Recorded { torrent, kind: record.kind, result: Ok(()) }
            }
        }
    }

    /// Pieces here have one run, and their bytes are compared instead of hashed.
    fn judge(&mut self, run: Run) -> RunDone {
        let RunData::Memory(buf) = run.data else { panic!("a run of a small piece is in memory") };
        assert_eq!(run.chain.map(|chain| chain.state), Some(Hasher::SHA1));
        let piece = run.piece.get();
        let good = buf.0 == truth(piece, 0, PIECE_LEN);
        let digests = (!good || run.digests).then(|| digests(&buf.0));
        if good {
            self.disk.insert(piece, buf.0.clone());
        }
        let verdict = if good { Verdict::Good } else { Verdict::Bad };
        let (piece, begin, buf) = (run.piece, run.begin, Some(buf));
        RunDone { piece, begin, buf, result: Ok(verdict), digests, root: None }
    }

    fn digests(&self, piece: PieceIndex) -> Vec<Digest> {
        digests(&self.disk[&piece.get()])
    }
}

fn digests(bytes: &[u8]) -> Vec<Digest> {
    let digest = |block: &[u8]| {
        let mut digest = [0; 20];
        block
            .iter()
            .enumerate()
            .for_each(|(at, byte)| digest[at % 20] ^= byte.rotate_left(at as u32 / 20));
        digest
    };
    bytes.chunks(BLOCK_LEN as usize).map(digest).collect()
}
