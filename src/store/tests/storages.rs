//! Jobs over a storage that is not files, and pieces whose hash is a merkle root.

use super::*;
use crate::{
    base::{merkle::MerkleState, storage::Storage},
    store::MemoryStorage,
};

const BLOCK: u32 = crate::base::geometry::BLOCK_LEN;

fn root(bytes: &[u8], leaves: u32) -> PieceHash {
    let mut tree = MerkleState::new(leaves);
    tree.update(bytes);
    PieceHash::Merkle(tree.root())
}

/// A torrent of version 2: a file of three pieces and a block, and one shorter than a piece.
fn v2(dir: &Path) -> Fixture {
    let lens = [u64::from(3 * 4 * BLOCK + BLOCK), u64::from(BLOCK) + 5];
    let pad = u64::from(3 * BLOCK);
    let mut t = Fixture::new(dir, 4 * BLOCK, &[("a", lens[0]), ("pad", pad), ("b", lens[1])]);
    t.spec.geometry = Geometry::of_files(4 * BLOCK, lens).unwrap();
    assert_eq!(t.spec.geometry.total_len(), lens[0] + pad + lens[1]);
    t
}

fn tree(t: &Fixture, index: u32) -> PieceHash {
    root(t.bytes(index), t.spec.geometry.leaves(t.piece(index)))
}

#[test]
fn pieces_with_merkle_roots_are_judged_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let t = v2(dir.path());
    let runner = real();
    runner.open(&t).unwrap();
    for index in 0..5 {
        let expected = tree(&t, index);
        let leaves = t.spec.geometry.leaves(t.piece(index));
        let chain = Chain { state: Hasher::new(&expected, leaves), expected: Some(expected) };
        let mut bad = Run { chain: Some(chain.clone()), ..t.run(index) };
        let RunData::Memory(buf) = &mut bad.data else { panic!("a run in memory") };
        buf.0[3] ^= 1;
        assert_eq!(runner.write(bad).result.unwrap(), Verdict::Bad);
        assert!(!runner.check(t.piece(index), expected).unwrap(), "nothing was written");
        let run = Run { chain: Some(chain), ..t.run(index) };
        assert_eq!(runner.write(run).result.unwrap(), Verdict::Good);
        assert!(runner.check(t.piece(index), expected).unwrap());
        assert!(runner.check(t.piece(index), t.digest(index)).unwrap(), "SHA-1 of the same");
    }
    // The last piece of the first file is as wide as any, the only one of the second is not.
    assert_eq!((t.spec.geometry.leaves(t.piece(3)), t.spec.geometry.leaves(t.piece(4))), (4, 2));
}

#[test]
fn merkle_tree_goes_on_from_run_to_run_at_borders_of_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let t = v2(dir.path());
    let runner = real();
    runner.open(&t).unwrap();
    let expected = tree(&t, 0);
    let part = |from: u32, to: u32, state, ends: bool| {
        let data = RunData::Memory(Buf(t.bytes(0)[from as usize..to as usize].to_vec()));
        let chain = Some(Chain { state, expected: ends.then_some(expected) });
        Run { piece: t.piece(0), begin: from, data, chain, digests: false, hurry: false }
    };
    let begin = || Hasher::new(&expected, 4);
    assert!(runner.write(part(0, BLOCK + 64, begin(), false)).result.is_err(), "within a block");
    let first = runner.write(part(0, 3 * BLOCK, begin(), false)).result.unwrap();
    let Verdict::Going(state) = first else { panic!("{first:?}") };
    let last = runner.write(part(3 * BLOCK, 4 * BLOCK, state, true)).result.unwrap();
    assert_eq!(last, Verdict::Good);
    assert!(runner.check(t.piece(0), expected).unwrap());
}

#[test]
fn memory_storage_takes_all_jobs_and_no_file_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = Fixture::new(&dir.path().join("unused"), 40_000, &[("a", 100_000), ("b", 30_000)]);
    let memory = Arc::new(MemoryStorage::new(130_000));
    t.spec.storage = Some(memory.clone() as Arc<dyn Storage>);
    let runner = real();
    let opened = runner.open(&t).unwrap();
    assert!(opened.have.is_clear() && opened.check.is_clear());
    for index in t.all() {
        assert!(!runner.check(t.piece(index), t.digest(index)).unwrap(), "not there yet");
        assert_eq!(runner.write(t.run(index)).result.unwrap(), Verdict::Good);
        assert!(runner.check(t.piece(index), t.digest(index)).unwrap());
    }
    let block = t.spec.geometry.range(1, 5, 1000).unwrap();
    let mut buf = Buf(Vec::new());
    runner.try_read(KEY, &[block], &mut buf).unwrap().unwrap();
    assert_eq!(buf.0[READ_GAP..], t.bytes(1)[5..1005]);
    assert_eq!(memory.file(0).unwrap(), t.data[..100_000]);

    let have = t.have(&t.all());
    runner.save(have.clone(), false).unwrap();
    assert_eq!(runner.open(&t).unwrap().have, have);
    assert!(!dir.path().join("unused").exists());

    let spec = Box::new(t.spec.clone());
    let Done::Deleted { left, .. } = runner.one(Job::Delete { torrent: KEY, spec }) else {
        panic!("it is deleted")
    };
    assert!(left.is_none() && memory.used() == 0);
}
