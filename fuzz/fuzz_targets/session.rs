#![no_main]
//! See `cratetorrent_fuzz::session`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::session::session(data));
