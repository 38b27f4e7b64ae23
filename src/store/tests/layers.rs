//! Piece layers beside the state: kept, found at the next opening, moved and deleted with it.

use super::*;
use crate::base::{geometry::BLOCK_LEN, merkle, trees::Trees};

/// The trees of two files of three and of two pieces, as they are known without their layers, and
/// whole.
fn trees() -> (Trees, Trees) {
    let (a, b) = ([[1; 32], [2; 32], [3; 32]], [[4; 32], [5; 32]]);
    let root = |layer: &[[u8; 32]]| merkle::root(layer, 0, layer.len().next_power_of_two());
    let (root_a, root_b) = (root(&a).unwrap(), root(&b).unwrap());
    let lens = [3, 2].map(|blocks| blocks * u64::from(BLOCK_LEN));
    let geometry = Geometry::of_files(BLOCK_LEN, lens).unwrap();
    let lacking = Trees::new(&geometry, [(0, lens[0], root_a), (1, lens[1], root_b)]);
    let mut whole = lacking.clone();
    whole.set_layer(&root_a, &a).unwrap();
    whole.set_layer(&root_b, &b).unwrap();
    (lacking, whole)
}

fn keep(runner: &Runner, t: &Fixture, layers: Trees) {
    let state = SaveState { layers: Some(layers), ..SaveState::new(t.have(&[])) };
    let done = runner.one(Job::Save { torrent: KEY, state: Box::new(state), synced: 0 });
    assert!(matches!(done, Done::Saved { result: Ok(()), .. }), "{done:?}");
}

#[test]
fn layers_are_kept_beside_the_state_and_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (lacking, whole) = trees();
    let mut t = Fixture::new(&dir.path().join("one"), 1000, &[("a", 1500)]);
    t.spec.trees = Some(lacking);
    let runner = real();
    assert_eq!(runner.open(&t).unwrap().trees, None);
    keep(&runner, &t, whole.clone());
    runner.close();
    assert_eq!(real().open(&t).unwrap().trees, Some(whole.clone()));
    // Who knows them, or keeps them elsewhere, does not ask for them.
    for spec in [
        StoreSpec { trees: None, ..t.spec.clone() },
        StoreSpec { in_session: true, ..t.spec.clone() },
    ] {
        assert_eq!(real().open(&Fixture { spec, ..t.clone() }).unwrap().trees, None);
    }
    // They move with the state.
    let mut moved = t.clone();
    moved.spec.dir = dir.path().join("two");
    moved.spec.state_file = Some(moved.spec.dir.join(".cratetorrent/state"));
    runner.open(&t).unwrap();
    let done =
        runner.one(Job::Relocate { torrent: KEY, spec: Box::new(moved.spec.clone()), state: None });
    assert!(matches!(done, Done::Relocated { result: Ok(()), .. }), "{done:?}");
    runner.one(Job::Tidy { torrent: KEY });
    runner.close();
    assert_eq!(real().open(&t).unwrap().trees, None);
    assert_eq!(real().open(&moved).unwrap().trees, Some(whole));
    let path = moved.spec.layers_file().unwrap();
    assert!(path.exists());
    runner.one(Job::Delete { torrent: KEY, spec: Box::new(moved.spec.clone()) });
    assert!(!path.exists());
}

#[test]
fn state_tells_whether_both_versions_vouch_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let t = Fixture::new(dir.path(), 1000, &[("a", 1500)]);
    let runner = real();
    assert!(!runner.open(&t).unwrap().both_versions);
    for both_versions in [true, false] {
        let state = SaveState { both_versions, ..SaveState::new(t.have(&[])) };
        let done = runner.one(Job::Save { torrent: KEY, state: Box::new(state), synced: 0 });
        assert!(matches!(done, Done::Saved { result: Ok(()), .. }), "{done:?}");
        assert_eq!(real().open(&t).unwrap().both_versions, both_versions);
    }
}

#[test]
fn layers_that_are_not_below_the_roots_are_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (lacking, whole) = trees();
    let mut t = Fixture::new(dir.path(), 1000, &[("a", 1500)]);
    t.spec.trees = Some(lacking.clone());
    let runner = real();
    runner.open(&t).unwrap();
    keep(&runner, &t, whole);
    runner.close();
    let path = t.spec.layers_file().unwrap();
    let kept = fs::read(&path).unwrap();
    for at in 0..kept.len() {
        let mut spoilt = kept.clone();
        spoilt[at] ^= 0x21;
        fs::write(&path, spoilt).unwrap();
        let found = real().open(&t).unwrap().trees;
        assert!(found.is_none_or(|found| found == lacking), "byte {at}");
    }
    for bytes in [&kept[..kept.len() - 1], &[kept.as_slice(), &kept].concat(), b""] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(real().open(&t).unwrap().trees, None);
    }
}
