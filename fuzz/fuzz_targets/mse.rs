#![no_main]
//! See `cratetorrent_fuzz::mse`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::mse::mse(data));
