//! The disk in memory: full, without power, and in trouble.

use super::*;

#[test]
fn a_full_disk_takes_what_fits_and_then_nothing() {
    let disk = MemDisk::new(1);
    let path = Path::new("/d/f");
    disk.set(|t| t.capacity = Some(3 * PAGE));
    disk.create(path, 0, Allocation::Sparse).unwrap();
    assert_eq!(disk.write_at(path, 5 * PAGE, &[1; 100]).unwrap(), 100);
    assert_eq!(disk.write_at(path, 0, &[2; 3 * PAGE as usize]).unwrap(), 2 * PAGE as usize);
    assert_eq!(disk.write_at(path, 3 * PAGE, &[3; 1]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.write_at(path, 5 * PAGE, &[4; 50]).unwrap(), 50, "space that it has already");
    assert!(disk.is_hole(path, 3 * PAGE, 2 * PAGE) && !disk.is_hole(path, 4 * PAGE, 2 * PAGE));
    assert_eq!(disk.used(), 3 * PAGE);
    disk.set(|t| t.capacity = None);
    assert!(disk.write_at(path, 3 * PAGE, &[3; 1]).is_ok());
}

#[test]
fn a_power_cut_keeps_what_was_synced() {
    for seed in 0..20 {
        let disk = MemDisk::new(seed);
        let path = Path::new("/d/f");
        disk.create(path, 0, Allocation::Sparse).unwrap();
        disk.write_at(path, 0, &[1; 10_000]).unwrap();
        disk.sync(path).unwrap();
        disk.write_at(path, 40_000, &[2; 10_000]).unwrap();
        disk.lose_power();
        assert!(disk.holds(path, 0, &[1; 10_000]), "seed {seed}");
    }
}

#[test]
fn hard_links_are_names_of_one_file() {
    let disk = MemDisk::new(1);
    let (one, other) = (Path::new("/d/one"), Path::new("/e/other"));
    disk.create(one, 0, Allocation::Sparse).unwrap();
    disk.write_at(one, 0, &[1; 100]).unwrap();
    disk.link(one, other).unwrap();
    disk.write_at(one, 50, &[2; 50]).unwrap();
    assert!(disk.holds(other, 50, &[2; 50]));
    disk.sync(one).unwrap();
    disk.remove(Path::new("/d"), Path::new("one")).unwrap();
    disk.lose_power();
    assert!(disk.holds(other, 0, &[1; 50]) && disk.holds(other, 50, &[2; 50]));
}

#[test]
fn troubles_show() {
    let disk = MemDisk::new(1);
    let path = Path::new("/d/f");
    disk.put(path, &[7; 1000]);
    let mut buf = [0; 1000];
    disk.set(|t| t.corrupt_reads = 1);
    assert_eq!(disk.read_at(path, 0, &mut buf).unwrap(), 1000);
    assert_ne!(buf, [7; 1000]);
    assert_eq!(disk.read_at(path, 0, &mut buf).unwrap(), 1000);
    assert_eq!(buf, [7; 1000]);
    disk.set(|t| (t.short, t.read_only) = (true, true));
    assert!((0..20).any(|_| disk.read_at(path, 0, &mut buf).unwrap() < 1000));
    assert_eq!(disk.write_at(path, 0, &[1]).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    disk.set(|t| *t = Troubles { writes_left: Some(10), ..Troubles::default() });
    assert_eq!(disk.write_at(path, 0, &[1; 100]).unwrap(), 10);
    assert!(disk.write_at(path, 10, &[1; 100]).is_err());
}
