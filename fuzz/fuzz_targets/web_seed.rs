#![no_main]
//! See `cratetorrent_fuzz::web_seed`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::web_seed::fetch(data));
