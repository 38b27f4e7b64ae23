//! Which pieces a peer may ask for while it is choked (BEP 6, allowed fast set generation): a
//! computation and nothing else. It does not know which of them we have, nor what the peer makes of
//! them.

use std::net::IpAddr;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::base::{
    geometry::{Geometry, PieceIndex},
    ids::InfoHash,
};

/// Digests that are made for one set at most. A hundred pieces of 101 take about 110.
const MAX_ROUNDS: usize = 1000;

/// The first `k` pieces of the set of a peer at `ip`: every client computes the same `k`. If there
/// are no more than `k` pieces, all of them.
///
/// Peers of one network have the same set, so that no peer gets more by having many addresses: an
/// IPv4 network is a /24, as BEP 6 says. BEP 6 does not speak of IPv6; there it is the /64, which
/// one subscriber has at the least.
pub(crate) fn allowed_fast(
    ip: IpAddr,
    info_hash: InfoHash,
    geometry: &Geometry,
    k: usize,
) -> Vec<PieceIndex> {
    if k >= geometry.piece_count() as usize {
        return geometry.pieces().collect();
    }
    let mut x = match ip.to_canonical() {
        IpAddr::V4(ip) => (u32::from(ip) & 0xffff_ff00).to_be_bytes().to_vec(),
        IpAddr::V6(ip) => (u128::from(ip) & (u128::MAX << 64)).to_be_bytes().to_vec(),
    };
    x.extend(info_hash.0);
    let mut set = Vec::with_capacity(k);
    for _ in 0..MAX_ROUNDS {
        let next = digest(&SHA1_FOR_LEGACY_USE_ONLY, &x);
        x.clear();
        x.extend(next.as_ref());
        for word in x.chunks_exact(4) {
            if set.len() >= k {
                return set;
            }
            let y = word.iter().fold(0, |y, &byte| y << 8 | u32::from(byte));
            if let Ok(piece) = geometry.piece(y % geometry.piece_count())
                && !set.contains(&piece)
            {
                set.push(piece);
            }
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ip: &str, pieces: u32, k: usize) -> Vec<u32> {
        let geometry = Geometry::new(u64::from(pieces), 1).unwrap();
        allowed_fast(ip.parse().unwrap(), InfoHash([0xaa; 20]), &geometry, k)
            .into_iter()
            .map(PieceIndex::get)
            .collect()
    }

    #[test]
    fn the_examples_of_bep_6() {
        assert_eq!(set("80.4.4.200", 1313, 7), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(set("80.4.4.200", 1313, 9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn a_network_has_one_set() {
        let v4 = set("80.4.4.200", 1313, 9);
        assert_eq!(set("80.4.4.1", 1313, 9), v4);
        assert_eq!(set("::ffff:80.4.4.7", 1313, 9), v4, "an IPv4 address written as an IPv6 one");
        assert_ne!(set("80.4.5.200", 1313, 9), v4);
        let v6 = set("2001:db8:1:2::1", 1313, 9);
        assert_eq!(set("2001:db8:1:2:ffff:ffff:ffff:ffff", 1313, 9), v6);
        assert_ne!(set("2001:db8:1:3::1", 1313, 9), v6);
    }

    #[test]
    fn allowed_fast_set_ends_for_every_torrent_size() {
        assert_eq!(set("10.0.0.1", 3, 5), [0, 1, 2]);
        assert_eq!(set("10.0.0.1", 1313, 0), [0; 0]);
        for pieces in 1..120 {
            for k in [1, 5, 100] {
                let mut found = set("10.0.0.1", pieces, k);
                found.sort_unstable();
                found.dedup();
                assert_eq!(found.len(), k.min(pieces as usize), "{k} of {pieces}");
            }
        }
    }
}
