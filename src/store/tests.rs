//! Jobs from opening to closing, on real files and on disks that fail.

use std::{fs, path::Path, sync::Arc};

use super::*;
use crate::base::{
    arena::Key,
    bitfield::Bitfield,
    buf::Buf,
    files::{FileEntry, FileKind},
    geometry::{Geometry, PieceIndex},
    hash::{Hasher, Judgement, PieceHash},
    ids::{Identity, InfoHash},
    job::{Chain, Done, Job, READ_GAP, Run, RunData, RunDone, Verdict},
    partial::{BlockSet, PartialPiece},
    rng::Rng,
    storage::{Allocation, Opened, RecordKind, SaveState, SessionRecord},
    storage::{StoreError, StoreOp, StoreSpec, Trust},
};

mod doubts;
mod extracts;
pub(super) mod faults;
mod jobs;
mod layers;
mod names;
mod outside;
mod resuming;
mod storages;
mod syncing;

pub(super) const KEY: Key = Key { index: 0, generation: 1 };

/// A torrent with noise for data.
#[derive(Clone)]
pub(super) struct Fixture {
    pub(super) spec: StoreSpec,
    pub(super) data: Vec<u8>,
}

impl Fixture {
    /// Files by name and length; a name that begins with `pad` is one.
    pub(super) fn new(dir: &Path, piece_len: u32, files: &[(&str, u64)]) -> Self {
        let kind = |path: &str| {
            if path.starts_with("pad") { FileKind::Pad } else { FileKind::Regular }
        };
        let files = files.iter().map(|&(path, len)| (path, len, kind(path)));
        let spec = StoreSpec {
            state_file: Some(dir.join(".cratetorrent/state")),
            ..testing::spec(dir, piece_len, files)
        };
        let mut data = vec![0; spec.geometry.total_len() as usize];
        Rng::new(data.len() as u64).fill(&mut data);
        for pad in spec.files.iter().filter(|f| f.kind == FileKind::Pad) {
            data[pad.offset as usize..][..pad.len as usize].fill(0);
        }
        Self { spec, data }
    }

    pub(super) fn piece(&self, index: u32) -> PieceIndex {
        self.spec.geometry.piece(index).unwrap()
    }

    pub(super) fn bytes(&self, index: u32) -> &[u8] {
        let g = &self.spec.geometry;
        let piece = self.piece(index);
        &self.data[g.offset(piece) as usize..][..g.piece_len(piece) as usize]
    }

    pub(super) fn digest(&self, index: u32) -> PieceHash {
        PieceHash::Sha1(sha1(self.bytes(index)))
    }

    /// A whole piece as one run.
    pub(super) fn run(&self, index: u32) -> Run {
        let chain = Chain { state: Hasher::SHA1, expected: Some(self.digest(index)) };
        let data = RunData::Memory(Buf(self.bytes(index).to_vec()));
        Run {
            piece: self.piece(index),
            begin: 0,
            data,
            chain: Some(chain),
            digests: false,
            hurry: false,
        }
    }

    pub(super) fn have(&self, pieces: &[u32]) -> Bitfield {
        let mut have = Bitfield::none(self.spec.geometry.piece_count());
        for &piece in pieces {
            have.set(self.piece(piece));
        }
        have
    }

    pub(super) fn all(&self) -> Vec<u32> {
        (0..self.spec.geometry.piece_count()).collect()
    }

    /// The files as another program would have left them.
    pub(super) fn lay_out(&self) {
        for file in self.spec.files.iter().filter(|f| f.kind == FileKind::Regular) {
            let path =
                file.path.iter().fold(self.spec.dir.join("torrent"), |path, part| path.join(part));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &self.data[file.offset as usize..][..file.len as usize]).unwrap();
        }
    }
}

pub(super) trait Jobs {
    fn one(&self, job: Job) -> Done;

    fn open(&self, fixture: &Fixture) -> Result<Opened, StoreError> {
        match self.one(Job::Open { torrent: KEY, spec: Box::new(fixture.spec.clone()) }) {
            Done::Opened { torrent: KEY, result } => result,
            other => panic!("{other:?}"),
        }
    }

    fn write(&self, run: Run) -> RunDone {
        match self.one(Job::Run { torrent: KEY, run }) {
            Done::Run { torrent: KEY, run } => run,
            other => panic!("{other:?}"),
        }
    }

    fn check(&self, piece: PieceIndex, expected: PieceHash) -> Result<bool, StoreError> {
        match self.one(Job::Check { torrent: KEY, piece, expected, len: 0 }) {
            Done::Checked { torrent: KEY, piece: same, result, .. } if same == piece => {
                result.map(|judgement| judgement == Judgement::Good)
            }
            other => panic!("{other:?}"),
        }
    }

    fn read(
        &self,
        fixture: &Fixture,
        piece: u32,
        begin: u32,
        len: u32,
    ) -> Result<Vec<u8>, StoreError> {
        let block = fixture.spec.geometry.range(piece, begin, len).unwrap();
        let buf = Buf(vec![0xee; READ_GAP + len as usize]);
        match self.one(Job::Read { torrent: KEY, link: KEY, blocks: vec![block], buf }) {
            Done::Read { torrent: KEY, link: KEY, buf, result, .. } => {
                result.map(|()| buf.0[READ_GAP..].to_vec())
            }
            other => panic!("{other:?}"),
        }
    }

    fn save(&self, have: Bitfield, dirty: bool) -> Result<(), StoreError> {
        self.save_with(have, dirty, Vec::new(), None)
    }

    fn save_with(
        &self,
        have: Bitfield,
        dirty: bool,
        partial: Vec<PartialPiece>,
        unchecked: Option<Bitfield>,
    ) -> Result<(), StoreError> {
        let state = SaveState {
            dirty,
            downloaded: 11,
            uploaded: 22,
            partial,
            unchecked,
            ..SaveState::new(have)
        };
        match self.one(Job::Save { torrent: KEY, state: Box::new(state), synced: 0 }) {
            Done::Saved { torrent: KEY, result, .. } => result,
            other => panic!("{other:?}"),
        }
    }

    fn close(&self) {
        assert!(matches!(self.one(Job::Close { torrent: KEY }), Done::Closed { torrent: KEY }));
    }
}

impl Jobs for Runner {
    fn one(&self, job: Job) -> Done {
        let mut done = Vec::new();
        self.run(vec![job], &mut done);
        assert_eq!(done.len(), 1);
        done.remove(0)
    }
}

pub(super) fn real() -> Runner {
    Runner::new(Arc::new(RealDisk::new(8)))
}
