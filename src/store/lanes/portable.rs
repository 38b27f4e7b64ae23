//! SHA-1 blocks where there is no multi-lane code: one stream at a time, by the `sha1` crate, which
//! knows its own platforms.

pub(super) fn compress(state: &mut [u32; 5], blocks: &[[u8; 64]]) {
    sha1::block_api::compress(state, blocks);
}
