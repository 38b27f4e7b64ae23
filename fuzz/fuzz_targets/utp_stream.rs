#![no_main]
//! See `cratetorrent_fuzz::utp::utp_stream`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::utp::utp_stream(data));
