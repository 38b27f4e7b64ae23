#![no_main]
//! See `cratetorrent_fuzz::utp::utp`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::utp::utp(data));
