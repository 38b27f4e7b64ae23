#![no_main]
//! See `cratetorrent_fuzz::proxy`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::proxy::proxy(data));
