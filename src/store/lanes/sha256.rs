//! SHA-256 of several independent blocks at once: the leaves of merkle trees (BEP 52).
//!
//! Knows nothing of trees. What the machine can do is asked of std at each call, so there is no
//! state here.

#[cfg(target_arch = "x86_64")]
mod ni;
#[cfg(target_arch = "x86_64")]
mod wide;

#[cfg(test)]
mod tests;

use super::{Kind, ShaNi, WIDTH};

/// Where the machine has both, the wide lanes are better from so many messages on (RESEARCH.md).
const WIDE_FROM: usize = 11;

/// A SHA-256 digest.
type Digest = [u8; 32];

/// The state before any input (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The constants of the rounds (FIPS 180-4, 4.2.2), four a group.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// How many streams go through one core at the price of little more than one. 1 where more do not
/// pay.
pub fn sha256_lanes() -> usize {
    Kind::detect().lanes()
}

/// The SHA-256 of each chunk of `len` bytes; the last may be short. `len` is at least 1.
pub fn sha256_chunks(bytes: &[u8], len: usize, out: &mut Vec<Digest>) {
    each(Kind::detect(), bytes.chunks(len.max(1)), out);
}

/// The same with so many lanes, or as many as there are; for measuring.
#[doc(hidden)]
pub fn sha256_chunks_in(lanes: usize, bytes: &[u8], len: usize, out: &mut Vec<Digest>) {
    each(Kind::detect().at_most(lanes), bytes.chunks(len.max(1)), out);
}

/// Messages of equal length that follow each other go side by side; what is left over goes alone.
fn each<'a>(
    kind: Kind,
    mut messages: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<Digest>,
) {
    loop {
        let mut rest = messages.clone();
        let Some(first) = rest.next() else { return };
        let alike = rest.take_while(|message| message.len() == first.len());
        // One more than fill the lanes need not be looked at.
        let mut group = [first; WIDTH];
        let mut count = 1;
        for (place, message) in group.iter_mut().skip(1).zip(alike) {
            *place = message;
            count += 1;
        }
        let taken = match (kind, group) {
            (Kind { wide: Some(wide), .. }, _) if count >= kind.wide_from(WIDE_FROM) => {
                out.extend(
                    together(&group, |states, blocks| {
                        wide.compress_sha256(states, *blocks);
                    })
                    .into_iter()
                    .take(count),
                );
                count
            }
            (Kind { sha_ni: Some(sha_ni), narrow, .. }, [a, b, c, ..]) => {
                match count.min(narrow) {
                    3.. => out.extend(by_sha_ni(sha_ni, [a, b, c])),
                    2 => out.extend(by_sha_ni(sha_ni, [a, b])),
                    _ => out.extend(by_sha_ni(sha_ni, [a])),
                }
                count.min(narrow).clamp(1, 3)
            }
            _ => {
                out.push(by_ring(first));
                1
            }
        };
        messages.nth(taken - 1);
    }
}

fn by_ring(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

fn by_sha_ni<const N: usize>(sha_ni: ShaNi, messages: [&[u8]; N]) -> [Digest; N] {
    together(&messages, |states, blocks| sha_ni.compress_sha256(states, *blocks))
}

/// The digests of messages of one length, with what absorbs blocks of so many.
fn together<const N: usize>(
    messages: &[&[u8]; N],
    compress: impl Fn(&mut [[u32; 8]; N], &[&[[u8; 64]]; N]),
) -> [Digest; N] {
    let mut states = [INITIAL; N];
    compress(&mut states, &messages.map(|message| message.as_chunks::<64>().0));

    // One bit, zeroes, and the length in bits in the last eight bytes of a block (FIPS 180-4,
    // 5.1.1).
    let mut ends = [[[0; 64]; 2]; N];
    let mut blocks = 1;
    for (end, message) in ends.iter_mut().zip(messages) {
        let rest = message.as_chunks::<64>().1;
        let flat = end.as_flattened_mut();
        flat[..rest.len()].copy_from_slice(rest);
        flat[rest.len()] = 0x80;
        blocks = if rest.len() < 56 { 1 } else { 2 };
        let bits = (message.len() as u64) << 3;
        flat[blocks * 64 - 8..blocks * 64].copy_from_slice(&bits.to_be_bytes());
    }
    compress(&mut states, &ends.each_ref().map(|end| &end[..blocks]));
    states.map(|state| {
        let mut digest = [0; 32];
        for (out, word) in digest.chunks_exact_mut(4).zip(state) {
            out.copy_from_slice(&word.to_be_bytes());
        }
        digest
    })
}
