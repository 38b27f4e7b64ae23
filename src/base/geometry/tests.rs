//! Shapes of both versions: how pieces and blocks tile them, and what is refused.

use proptest::prelude::*;

use super::*;

#[test]
fn last_piece_and_block_are_short() {
    let g = Geometry::new(20_000 * 2 + 5, 20_000).unwrap();
    assert_eq!(g.piece_count(), 3);
    let last = g.piece(2).unwrap();
    assert_eq!((g.piece_len(last), g.block_count(last), g.offset(last)), (5, 1, 40_000));
    let first = g.piece(0).unwrap();
    assert_eq!(g.nth_block(first, 1).unwrap().len, 20_000 - BLOCK_LEN);
    assert_eq!(g.nth_block(first, 2), None);
    assert_eq!(g.nth_block(first, u32::MAX), None);
    assert!(g.piece(3).is_err());
}

#[test]
fn foreign_range_outside_its_piece_is_refused() {
    let g = Geometry::new(100_000, 50_000).unwrap();
    assert!(g.range(0, 49_999, 1).is_ok());
    assert!(g.range(0, 49_999, 2).is_err());
    assert!(g.range(0, 0, 0).is_err());
    assert!(g.range(0, u32::MAX, u32::MAX).is_err());
    assert!(g.range(2, 0, 1).is_err());
    assert!(g.block(1, BLOCK_LEN, BLOCK_LEN).is_ok());
    assert!(g.block(1, 3 * BLOCK_LEN, 50_000 - 3 * BLOCK_LEN).is_ok());
    assert!(g.block(1, 1, BLOCK_LEN).is_err());
    assert!(g.block(1, 0, 5).is_err());
}

#[test]
fn impossible_shape_is_refused() {
    assert_eq!(Geometry::new(0, 1), Err(GeometryError::Empty));
    assert_eq!(Geometry::new(1, 0), Err(GeometryError::PieceLength));
    assert!(matches!(Geometry::new(u64::MAX, 1), Err(GeometryError::TooManyPieces(_))));
}

#[test]
fn blocks_tile_every_piece() {
    for (total, len) in [
        (1, 1),
        (1, 1 << 20),
        (16_384, 16_384),
        (16_385, 16_384),
        (3_000_001, 20_000),
        (5 << 20, 1 << 20),
    ] {
        let g = Geometry::new(total, len).unwrap();
        let sum: u64 = g
            .pieces()
            .flat_map(|p| {
                let g = &g;
                (0..g.block_count(p)).map(move |n| u64::from(g.nth_block(p, n).unwrap().len))
            })
            .sum();
        assert_eq!(sum, total);
    }
}

#[test]
fn pieces_of_v2_end_with_their_files() {
    let piece = 2 * BLOCK_LEN;
    let full = u64::from(piece);
    let g = Geometry::of_files(piece, [0, full + 1, 5, 0, 2 * full, 3]).unwrap();
    let lens: Vec<_> = g.pieces().map(|p| g.piece_len(p)).collect();
    assert_eq!(lens, [piece, 1, 5, piece, piece, 3]);
    assert_eq!((g.piece_count(), g.total_len()), (6, 5 * full + 3));
    let leaves: Vec<_> = g.pieces().map(|p| g.leaves(p)).collect();
    assert_eq!(leaves, [2, 2, 1, 2, 2, 1]);
    // What lies behind the end of a file is in no piece.
    let of = |range| g.pieces_of(range).map(PieceIndex::get).collect::<Vec<_>>();
    assert_eq!(of(full..full + 1), [1]);
    assert_eq!(of(full + 1..2 * full), []);
    assert_eq!(of(full + 1..2 * full + 1), [2]);
    assert!(g.range(1, 0, 1).is_ok() && g.range(1, 0, 2).is_err() && g.block(1, 0, 1).is_ok());
}

#[test]
fn impossible_shape_of_v2_is_refused() {
    for len in [0, 1, BLOCK_LEN / 2, BLOCK_LEN + 1, 3 * BLOCK_LEN] {
        assert_eq!(Geometry::of_files(len, [1]), Err(GeometryError::PieceLengthV2(len)));
    }
    assert_eq!(Geometry::of_files(BLOCK_LEN, []), Err(GeometryError::Empty));
    assert_eq!(Geometry::of_files(BLOCK_LEN, [0, 0]), Err(GeometryError::Empty));
    let many = Geometry::of_files(BLOCK_LEN, [u64::MAX]);
    assert!(matches!(many, Err(GeometryError::TooManyPieces(_))));
    let many = Geometry::of_files(BLOCK_LEN, [1 << 45, 1 << 45, 1 << 45]);
    assert!(matches!(many, Err(GeometryError::TooManyPieces(_))));
}

/// The bytes of a piece, from its blocks.
fn tiled(g: &Geometry, piece: PieceIndex) -> u64 {
    let mut end = 0;
    for nth in 0..g.block_count(piece) {
        let block = g.nth_block(piece, nth).unwrap();
        assert_eq!((block.piece, block.begin, block.nth()), (piece, end, nth));
        assert_eq!(g.block(piece.get(), block.begin, block.len), Ok(block));
        end += block.len;
    }
    assert_eq!((g.nth_block(piece, g.block_count(piece)), end), (None, g.piece_len(piece)));
    u64::from(end)
}

proptest! {
    #[test]
    fn v1_shape_is_cut_as_if_all_files_were_one(
        total in 1_u64..2_000_000, piece_len in 1_u32..200_000,
    ) {
        let g = Geometry::new(total, piece_len).unwrap();
        let mut end = 0;
        for piece in g.pieces() {
            prop_assert_eq!(g.offset(piece), end);
            let last = piece.get() + 1 == g.piece_count();
            prop_assert!(last || g.piece_len(piece) == piece_len);
            end += tiled(&g, piece);
        }
        prop_assert_eq!(end, total);
        prop_assert!(g.piece(g.piece_count()).is_err());
    }

    #[test]
    fn v2_shape_tiles_each_file_with_pieces_of_its_own(
        lens in prop::collection::vec(0_u64..300_000, 1..30), shift in 0_u32..4,
    ) {
        prop_assume!(lens.iter().any(|len| *len > 0));
        let piece_len = BLOCK_LEN << shift;
        let g = Geometry::of_files(piece_len, lens.iter().copied()).unwrap();
        let mut pieces = g.pieces();
        let mut next = 0;
        for &len in &lens {
            let file = next..next + len;
            let count = g.pieces_of(file.clone()).count() as u64;
            prop_assert_eq!(count, len.div_ceil(piece_len.into()));
            let count = len.div_ceil(piece_len.into());
            let mut left = len;
            for nth in 0..count {
                let piece = pieces.next().unwrap();
                prop_assert_eq!(g.offset(piece), next);
                let bytes = tiled(&g, piece);
                prop_assert_eq!(bytes, left.min(piece_len.into()));
                let leaves = g.leaves(piece);
                prop_assert!(leaves.is_power_of_two() && leaves >= g.block_count(piece));
                let whole = piece_len / BLOCK_LEN;
                let is_fitting = if count > 1 { leaves == whole } else { leaves <= whole };
                prop_assert!(is_fitting);
                prop_assert!(count > 1 || leaves < 2 * g.block_count(piece));
                prop_assert!(nth + 1 == count || bytes == u64::from(piece_len));
                left -= bytes;
                next += u64::from(piece_len);
            }
            prop_assert_eq!(left, 0);
        }
        prop_assert!(pieces.next().is_none());
    }

    #[test]
    fn range_is_minted_only_inside_its_piece(
        lens in prop::collection::vec(1_u64..100_000, 1..6),
        piece in 0_u32..20, begin in 0_u32..40_000, len in 0_u32..40_000,
    ) {
        let v2 = Geometry::of_files(BLOCK_LEN, lens.iter().copied()).unwrap();
        let v1 = Geometry::new(lens.iter().sum(), BLOCK_LEN).unwrap();
        for g in [v1, v2] {
            let piece_len = g.piece(piece).map_or(0, |piece| g.piece_len(piece));
            let is_inside = len > 0 && begin.checked_add(len).is_some_and(|end| end <= piece_len);
            prop_assert_eq!(g.range(piece, begin, len).is_ok(), is_inside);
            let is_block = is_inside
                && begin % BLOCK_LEN == 0
                && len == BLOCK_LEN.min(piece_len - begin);
            prop_assert_eq!(g.block(piece, begin, len).is_ok(), is_block);
        }
    }
}

#[test]
fn shortest_run_is_that_of_a_single_short_piece() {
    let shortest = |total, piece_len| Geometry::new(total, piece_len).unwrap().shortest_run(100);
    assert_eq!((shortest(1000, 500), shortest(1000, 250), shortest(1000, 50)), (100, 50, 50));
    assert_eq!((shortest(130, 500), shortest(30, 500), shortest(501, 500)), (30, 30, 100));
    assert_eq!(Geometry::of_files(BLOCK_LEN, [5, 20_000]).unwrap().shortest_run(100), 1);
}
