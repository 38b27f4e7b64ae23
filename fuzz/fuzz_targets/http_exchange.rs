#![no_main]
//! See `cratetorrent_fuzz::tracker`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::tracker::http_exchange(data));
