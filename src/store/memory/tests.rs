//! Bytes there and back, the limit, and what is believed when a torrent is opened again.

use super::*;
use crate::{
    base::{
        bitfield::Bitfield,
        ids::InfoHash,
        partial::{BlockSet, PartialPiece},
    },
    store::testing,
};

const PIECE: u32 = 32 << 10;

/// Files of these lengths, one after the other; a pad where a length is negative.
fn spec(lens: &[i64]) -> StoreSpec {
    let kind = |len: i64| if len < 0 { FileKind::Pad } else { FileKind::Regular };
    testing::spec("unused", PIECE, lens.iter().map(|&len| ("file", len.unsigned_abs(), kind(len))))
}

fn state(have: Bitfield) -> Box<SaveState> {
    Box::new(SaveState { downloaded: 5, uploaded: 6, ..SaveState::new(have) })
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8 + 1).collect()
}

fn read(memory: &MemoryStorage, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
    let mut buf = vec![9; len];
    let read = memory.read(&mut [ReadPart { offset, buf: &mut buf }], Reading::AtHand)?;
    assert!(read, "no worker is writing");
    Ok(buf)
}

#[test]
fn bytes_come_back_across_chunks_and_files() {
    let memory = MemoryStorage::new(1 << 20);
    memory.open(&spec(&[100_000, 50_000])).unwrap();
    let data = bytes(150_000);
    memory.write(0, &data[..60_000], false).unwrap();
    assert!(memory.file(0).is_none() && read(&memory, 60_000, 50_000).is_err());
    memory.write(60_000, &data[60_000..], true).unwrap();
    assert_eq!(read(&memory, 60_000, 80_000).unwrap(), data[60_000..140_000]);
    assert_eq!(memory.file(0).unwrap(), data[..100_000]);
    assert_eq!(memory.file(1).unwrap(), data[100_000..]);
    assert_eq!((memory.file(2), memory.used()), (None, 150_000));
    assert!(read(&memory, 149_999, 2).is_err(), "beyond the end");
}

#[test]
fn pad_is_not_stored_and_reads_as_zeroes() {
    let memory = MemoryStorage::new(1 << 20);
    let big = 3 * CHUNK as i64;
    memory.open(&spec(&[10, -big, 10])).unwrap();
    memory.write(0, &bytes(20 + big as usize), false).unwrap();
    assert_eq!(read(&memory, 10, big as usize).unwrap(), vec![0; big as usize]);
    assert_eq!(memory.file(2).unwrap(), bytes(20 + big as usize)[10 + big as usize..]);
    assert!(memory.used() < 2 * CHUNK);
}

#[test]
fn limit_is_named_when_a_torrent_or_a_write_exceeds_it() {
    let memory = MemoryStorage::new(100_000);
    let error = memory.open(&spec(&[100_001])).unwrap_err();
    assert_eq!((error.op, error.source.kind()), (StoreOp::Open, ErrorKind::StorageFull));
    assert!(error.to_string().contains("100001 bytes exceed 100000"), "{error}");
    memory.delete(&spec(&[100_001]));

    // Skipped files do not count before something of them comes.
    let skipping = StoreSpec { skipped: vec![false, true], ..spec(&[65_536, 65_536]) };
    memory.open(&skipping).unwrap();
    memory.write(0, &bytes(65_536), true).unwrap();
    let error = memory.write(65_536, &bytes(1), true).unwrap_err();
    assert_eq!((error.op, error.source.kind()), (StoreOp::Write, ErrorKind::StorageFull));
    assert!(error.to_string().contains("131072 bytes exceed 100000"), "{error}");
    assert_eq!(memory.used(), 65_536);
}

#[test]
fn what_was_saved_is_believed_when_opened_again() {
    let memory = MemoryStorage::new(1 << 20);
    let spec = spec(&[5 * i64::from(PIECE)]);
    let geometry = spec.geometry.clone();
    let opened = memory.open(&spec).unwrap();
    assert!(opened.have.is_clear() && opened.check.is_clear());

    let piece = |n| geometry.piece(n).unwrap();
    memory.write(0, &bytes(4 * PIECE as usize), true).unwrap();
    let unsaved = memory.open(&spec).unwrap();
    assert_eq!((unsaved.have.count(), unsaved.check.count()), (0, 4));

    let mut have = Bitfield::none(5);
    [0, 1, 4].into_iter().for_each(|n| _ = have.set(piece(n)));
    let mut blocks = BlockSet::none(geometry.block_count(piece(2)));
    blocks.set(0);
    let partial = vec![PartialPiece { piece: piece(2), blocks }];
    let both_versions = true;
    let saved = SaveState { partial: partial.clone(), both_versions, ..*state(have.clone()) };
    memory.save(Box::new(saved), 0);
    let opened = memory.open(&spec).unwrap();
    assert!(opened.have.has(piece(0)) && opened.have.has(piece(1)));
    assert!(!opened.have.has(piece(4)), "it was never written");
    assert_eq!((opened.check.count(), opened.partial), (0, partial.clone()));
    assert_eq!((opened.downloaded, opened.uploaded), (5, 6));
    assert!(opened.both_versions);

    // Whatever may have been written after the state was saved is hashed.
    memory.save(Box::new(SaveState { dirty: true, partial, ..*state(have.clone()) }), 0);
    let dirty = memory.open(&spec).unwrap();
    assert_eq!((dirty.have.count(), dirty.check.count(), dirty.partial), (2, 2, Vec::new()));
    let recheck = StoreSpec { trust: Trust::Nothing, ..spec.clone() };
    let all = memory.open(&recheck).unwrap();
    assert_eq!((all.have.count(), all.check.count()), (0, 4));
}

#[test]
fn storage_of_another_torrent_is_refused_until_that_is_deleted() {
    let memory = MemoryStorage::new(1 << 20);
    let first = spec(&[10]);
    let second = StoreSpec { identity: Identity::of_v1(InfoHash([8; 20])), ..spec(&[10]) };
    memory.open(&first).unwrap();
    memory.write(0, &bytes(10), true).unwrap();
    let error = memory.open(&second).unwrap_err();
    assert!(error.to_string().contains("holds another torrent"), "{error}");
    assert!(memory.delete(&second).is_none() && memory.file(0).is_some());
    memory.close();
    assert!(memory.file(0).is_some(), "closing deletes nothing");
    assert!(memory.delete(&first).is_none());
    assert_eq!((memory.used(), memory.file(0)), (0, None));
    memory.open(&second).unwrap();
}

#[test]
fn hole_is_what_was_never_written() {
    let memory = MemoryStorage::new(1 << 20);
    memory.open(&spec(&[3 * CHUNK as i64])).unwrap();
    memory.write(CHUNK, &bytes(1), false).unwrap();
    assert!(memory.is_hole(0..CHUNK) && memory.is_hole(2 * CHUNK..3 * CHUNK));
    assert!(!memory.is_hole(0..CHUNK + 1) && !memory.is_hole(CHUNK + 100..CHUNK + 101));
}
