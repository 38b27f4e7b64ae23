//! What each job does on real files.

use super::*;

fn three_files(dir: &Path) -> Fixture {
    Fixture::new(dir, 32 * 1024, &[("a", 20_000), ("empty", 0), ("sub/b", 50_000), ("pad1", 1000), ("sub/c", 100_001)])
}

#[test]
fn a_download_from_nothing_to_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let t = three_files(dir.path());
    let runner = real();
    let opened = runner.open(&t).unwrap();
    assert!(opened.have.is_empty() && opened.check.is_empty() && opened.distrust.is_none());
    assert!(!dir.path().join("torrent").exists(), "opening creates nothing");

    for index in t.all() {
        let done = runner.write(t.run(index));
        assert_eq!(done.result.unwrap(), Verdict::Good);
        assert_eq!(done.buf.unwrap().0, t.bytes(index));
        assert_eq!(done.digests, None);
    }
    for index in t.all() {
        assert!(runner.check(t.piece(index), t.digest(index)).unwrap());
        assert!(!runner.check(t.piece(index), [0; 20]).unwrap());
        assert_eq!(runner.read(&t, index, 3, 40).unwrap(), t.bytes(index)[3..43]);
    }
    runner.save(t.have(&t.all()), false).unwrap();
    runner.close();

    let at = |name: &str| fs::read(dir.path().join("torrent").join(name)).unwrap();
    assert_eq!(at("a"), t.data[..20_000]);
    assert_eq!(at("sub/b"), t.data[20_000..70_000]);
    assert_eq!(at("sub/c"), t.data[71_000..]);
    assert_eq!(at("empty"), []);
    assert!(!dir.path().join("torrent/pad1").exists());

    let again = real().open(&t).unwrap();
    assert!(again.have.is_full() && again.check.is_empty());
    assert_eq!((again.downloaded, again.uploaded, again.distrust), (11, 22, None));
}
