#![no_main]
//! See `cratetorrent_fuzz::wire::lsd`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::wire::lsd(data));
