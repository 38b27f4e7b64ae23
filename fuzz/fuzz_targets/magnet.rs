#![no_main]
//! See `cratetorrent_fuzz::wire::magnet`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::wire::magnet(data));
