#![no_main]
//! See `cratetorrent_fuzz::wire::message_roundtrip`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::wire::message_roundtrip(data));
