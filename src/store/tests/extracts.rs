//! What is read for users: bytes of verified pieces as they are, and blocks of others only if they
//! are what their leaves say.

use super::*;
use crate::base::{
    geometry::BLOCK_LEN,
    ids::ReadId,
    job::extract::{Extract, ExtractError, ExtractProof},
    merkle::{Node, leaf},
};

/// A torrent of two pieces, the last block of which is short.
fn fixture(dir: &Path) -> Fixture {
    Fixture::new(dir, 2 * BLOCK_LEN, &[("a", 10), ("b", u64::from(3 * BLOCK_LEN) + 90)])
}

fn extract(runner: &Runner, parts: Vec<Extract>) -> Result<Vec<u8>, ExtractError> {
    match runner.one(Job::Extract { torrent: KEY, read: ReadId(7), parts }) {
        Done::Extracted { torrent: KEY, read: ReadId(7), result } => result,
        other => panic!("{other:?}"),
    }
}

impl Fixture {
    fn part(&self, piece: u32, begin: u32, len: u32, proof: ExtractProof) -> Extract {
        Extract { range: self.spec.geometry.range(piece, begin, len).unwrap(), proof }
    }

    fn block(&self, piece: u32, nth: u32) -> &[u8] {
        self.bytes(piece).chunks(BLOCK_LEN as usize).nth(nth as usize).unwrap()
    }
}

fn proof(leaf: Node, block: Option<&[u8]>) -> ExtractProof {
    ExtractProof::Leaf { leaf, block: block.map(<[u8]>::to_vec) }
}

#[test]
fn parts_are_put_together_in_order_from_memory_and_disk() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = fixture(dir.path());
    fixture.lay_out();
    let runner = Runner::new(Arc::new(RealDisk::new(8)));
    runner.open(&fixture).unwrap();
    let (on_disk, short) = (leaf(fixture.block(0, 1)), leaf(fixture.block(1, 1)));
    let parts = vec![
        fixture.part(1, 3, 16_400, ExtractProof::Piece),
        fixture.part(0, BLOCK_LEN + 5, 7, proof(on_disk, None)),
        fixture.part(1, BLOCK_LEN + 90, 10, proof(short, None)),
        fixture.part(1, BLOCK_LEN, 100, proof(short, Some(fixture.block(1, 1)))),
        fixture.part(0, 0, 10, ExtractProof::Piece),
    ];
    let of = |piece: u32, from: usize, len: usize| &fixture.bytes(piece)[from..from + len];
    let block = BLOCK_LEN as usize;
    let expected = [
        of(1, 3, 16_400),
        of(0, block + 5, 7),
        of(1, block + 90, 10),
        of(1, block, 100),
        of(0, 0, 10),
    ];
    assert_eq!(extract(&runner, parts).unwrap(), expected.concat());
}

#[test]
fn block_that_is_not_what_its_leaf_says_gives_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = fixture(dir.path());
    fixture.lay_out();
    let runner = Runner::new(Arc::new(RealDisk::new(8)));
    runner.open(&fixture).unwrap();
    let right = leaf(fixture.block(0, 0));
    let mut spoilt = fixture.block(0, 0).to_vec();
    spoilt[BLOCK_LEN as usize - 1] ^= 1;
    let wrong = leaf(&spoilt);
    // The byte that is wrong need not be one that is wanted.
    for proof in [proof(right, Some(&spoilt)), proof(wrong, None)] {
        let parts = vec![fixture.part(1, 0, 5, ExtractProof::Piece), fixture.part(0, 0, 1, proof)];
        let error = extract(&runner, parts).unwrap_err();
        assert!(matches!(error, ExtractError::Bad(piece) if piece == fixture.piece(0)));
    }
    // A part of two blocks, of which the leaf is of the one.
    let parts = vec![fixture.part(0, BLOCK_LEN - 1, 2, proof(right, Some(fixture.block(0, 0))))];
    assert!(matches!(extract(&runner, parts), Err(ExtractError::Store(_))));
}

#[test]
fn file_that_is_gone_or_torrent_that_is_not_open_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = fixture(dir.path());
    fixture.lay_out();
    let runner = Runner::new(Arc::new(RealDisk::new(8)));
    let parts = || vec![fixture.part(1, 0, 5, ExtractProof::Piece)];
    assert!(matches!(extract(&runner, parts()), Err(ExtractError::Store(_))));
    runner.open(&fixture).unwrap();
    fs::remove_file(dir.path().join("torrent/b")).unwrap();
    let error = extract(&runner, parts()).unwrap_err();
    assert!(matches!(error, ExtractError::Store(error) if error.is_missing()));
}
