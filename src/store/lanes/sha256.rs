//! SHA-256 of several independent blocks at once: the leaves of merkle trees (BEP 52).
//!
//! Knows nothing of trees. What the machine can do is asked of std at each call, so there is no
//! state here.

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

use super::Kind;
#[cfg(target_arch = "x86_64")]
use super::sha_ni::ShaNi;

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

/// How many streams go through one core at the price of little more than one. 1 where more do not
/// pay.
pub fn sha256_lanes() -> usize {
    Kind::detect().lanes()
}

/// The SHA-256 of each chunk of `len` bytes; the last may be short. `len` is at least 1.
pub fn sha256_chunks(bytes: &[u8], len: usize, out: &mut Vec<Digest>) {
    let kind = Kind::detect();
    chunks(kind, kind.lanes(), bytes, len.max(1), out);
}

/// The same with so many lanes, or as many as there are; for measuring.
#[doc(hidden)]
pub fn sha256_chunks_in(lanes: usize, bytes: &[u8], len: usize, out: &mut Vec<Digest>) {
    chunks(Kind::detect(), lanes, bytes, len.max(1), out);
}

/// In so many lanes, or one by one with ring, which has its own way on each machine.
fn chunks(kind: Kind, lanes: usize, bytes: &[u8], len: usize, out: &mut Vec<Digest>) {
    match kind {
        #[cfg(target_arch = "x86_64")]
        Kind::ShaNi(sha_ni) => in_lanes(sha_ni, lanes, bytes, len, out),
        Kind::Portable => {
            debug_assert!(lanes > 0, "there is always one");
            out.extend(bytes.chunks(len).map(by_ring));
        }
    }
}

fn by_ring(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// Chunks of equal length go side by side; what is left over goes alone.
#[cfg(target_arch = "x86_64")]
fn in_lanes(sha_ni: ShaNi, lanes: usize, bytes: &[u8], len: usize, out: &mut Vec<Digest>) {
    let mut chunks = bytes.chunks(len);
    loop {
        let mut group = chunks.clone().take_while(|chunk| chunk.len() == len);
        match (group.next(), group.next(), group.next()) {
            (Some(a), Some(b), Some(c)) if lanes >= 3 => {
                out.extend(together(sha_ni, [a, b, c]));
                chunks.nth(2);
            }
            (Some(a), Some(b), _) if lanes >= 2 => {
                out.extend(together(sha_ni, [a, b]));
                chunks.nth(1);
            }
            _ => match chunks.next() {
                Some(chunk) => out.extend(together(sha_ni, [chunk])),
                None => return,
            },
        }
    }
}

/// The digests of messages of one length.
#[cfg(target_arch = "x86_64")]
fn together<const N: usize>(sha_ni: ShaNi, messages: [&[u8]; N]) -> [Digest; N] {
    let mut states = [INITIAL; N];
    sha_ni.compress_sha256(&mut states, messages.map(|message| message.as_chunks::<64>().0));

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
    sha_ni.compress_sha256(&mut states, ends.each_ref().map(|end| &end[..blocks]));
    states.map(|state| {
        let mut digest = [0; 32];
        for (out, word) in digest.chunks_exact_mut(4).zip(state) {
            out.copy_from_slice(&word.to_be_bytes());
        }
        digest
    })
}
