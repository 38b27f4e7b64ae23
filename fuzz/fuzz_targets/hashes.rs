#![no_main]
//! See `cratetorrent_fuzz::exchange::hashes`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::exchange::hashes(data));
