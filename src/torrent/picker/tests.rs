//! The picker on its own: rarest, first, or most wanted; and its buckets under random changes.

use super::*;

fn geometry(n: u64) -> Geometry {
    Geometry::new(n, 1).unwrap()
}

fn field(g: &Geometry, pieces: &[u32]) -> Bitfield {
    let mut f = Bitfield::none(g.piece_count());
    pieces.iter().for_each(|&p| {
        f.set(g.piece(p).unwrap());
    });
    f
}

#[test]
fn the_rarest_that_the_peer_has_comes_first() {
    let g = geometry(5);
    let mut p = Picker::new(g.clone(), &Bitfield::none(5), Vec::new(), false, &mut Rng::new(1));
    p.add_peer(&field(&g, &[0, 1, 2, 3]));
    p.add_peer(&field(&g, &[0, 1, 2]));
    p.add_peer(&field(&g, &[0, 2]));
    p.add_peer(&Bitfield::all(5));
    p.check();
    let all = Bitfield::all(5);
    let mut got = Vec::new();
    while let Some(piece) = p.pick(&all, |_, _| true) {
        p.take(piece);
        p.check();
        got.push(piece.get());
    }
    assert_eq!(&got[..3], [4, 3, 1]);
    assert_eq!(p.availability(g.piece(4).unwrap()), 1);
    p.put_back(g.piece(3).unwrap());
    p.put_back(g.piece(0).unwrap());
    p.check();
    assert_eq!(p.pick(&all, |_, _| true), g.piece(3).ok());
    assert_eq!(p.pick(&field(&g, &[0, 1]), |_, _| true), g.piece(0).ok());
    assert_eq!(p.pick(&field(&g, &[1]), |_, _| true), None);
}

#[test]
fn first_pieces_are_random_and_reproducible() {
    let g = geometry(1000);
    let first = |seed| {
        Picker::new(g.clone(), &Bitfield::none(1000), Vec::new(), false, &mut Rng::new(seed))
            .pick(&Bitfield::all(1000), |_, _| true)
    };
    assert_eq!(first(1), first(1));
    assert!((2..10).any(|seed| first(seed) != first(1)));
}

#[test]
fn sequential_picker_returns_to_pieces_put_back() {
    let g = geometry(6);
    let mut p = Picker::new(g.clone(), &field(&g, &[1]), Vec::new(), true, &mut Rng::new(1));
    assert!(p.is_exhausted());
    p.add_peer(&field(&g, &[5]));
    assert!(!p.is_exhausted());
    let all = Bitfield::all(6);
    for want in [0, 2, 3] {
        let piece = p.pick(&all, |_, _| true).unwrap();
        assert_eq!(piece.get(), want);
        p.take(piece);
    }
    p.put_back(g.piece(2).unwrap());
    assert_eq!(p.pick(&all, |_, _| true), g.piece(2).ok());
    assert_eq!(p.pick(&field(&g, &[4, 5]), |_, _| true), g.piece(4).ok());
}

#[test]
fn higher_priority_is_picked_first_and_skipped_never() {
    use Priority::{High, Low, Normal, Skip};
    for sequential in [false, true] {
        let g = geometry(8);
        let levels = vec![Low, Normal, High, Skip, High, Normal, Low, Skip];
        let mut p = Picker::new(g.clone(), &field(&g, &[5]), levels, sequential, &mut Rng::new(1));
        p.add_peer(&Bitfield::all(8));
        // Rarity counts among equals only.
        p.add_peer(&field(&g, &[0, 2, 3]));
        assert!(
            p.len() == 5
                && p.is_wanted_most(g.piece(2).unwrap())
                && !p.is_wanted_most(g.piece(1).unwrap())
        );
        let mut got = Vec::new();
        while let Some(piece) = p.pick(&Bitfield::all(8), |_, _| true) {
            p.take(piece);
            p.check();
            got.push(piece.get());
        }
        assert_eq!(got, if sequential { [2, 4, 1, 0, 6] } else { [4, 2, 1, 6, 0] });
        assert!(p.is_exhausted());
        // Skipped, it stays away; wanted again, it has to be put back.
        p.put_back(g.piece(3).unwrap());
        assert!(!p.is_wanted(g.piece(3).unwrap()));
        p.set_level(g.piece(3).unwrap(), Normal);
        p.put_back(g.piece(3).unwrap());
        p.put_back(g.piece(0).unwrap());
        assert_eq!(p.pick(&Bitfield::all(8), |_, _| true), g.piece(3).ok());
        p.set_level(g.piece(0).unwrap(), High);
        p.check();
        assert_eq!(p.pick(&Bitfield::all(8), |_, _| true), g.piece(0).ok());
        assert_eq!(p.pick(&field(&g, &[1, 3]), |_, _| true), g.piece(3).ok());
    }
}

#[test]
fn random_changes_keep_the_buckets_right() {
    let g = geometry(40);
    let mut rng = Rng::new(3);
    let mut p = Picker::new(g.clone(), &Bitfield::none(40), Vec::new(), false, &mut rng);
    let mut peers: Vec<Bitfield> = Vec::new();
    for _ in 0..3000 {
        let piece = g.piece(rng.below(40) as u32).unwrap();
        match rng.below(7) {
            6 => {
                use Priority::{High, Low, Normal, Skip};
                let was = p.is_wanted(piece);
                let level = [Skip, Low, Normal, High][rng.below(4) as usize];
                p.set_level(piece, level);
                assert_eq!(p.is_wanted(piece), was && level != Skip);
            }
            0 => {
                let mut f = Bitfield::none(40);
                g.pieces().filter(|_| rng.below(2) == 0).for_each(|p| {
                    f.set(p);
                });
                p.add_peer(&f);
                peers.push(f);
            }
            1 if !peers.is_empty() => {
                p.remove_peer(&peers.swap_remove(rng.below(peers.len() as u64) as usize))
            }
            2 if !peers.is_empty() => {
                let at = rng.below(peers.len() as u64) as usize;
                if peers[at].set(piece) {
                    p.add_piece(piece, &peers[at].clone());
                }
            }
            3 => p.take(piece),
            _ => p.put_back(piece),
        }
        p.check();
        let has = peers.iter().filter(|f| f.has(piece)).count() as u32;
        assert_eq!(p.availability(piece), has);
    }
}
