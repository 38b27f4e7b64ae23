#![no_main]
//! See `cratetorrent_fuzz::exchange::metadata_fetch`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::exchange::metadata_fetch(data));
