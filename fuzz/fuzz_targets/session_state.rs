#![no_main]
//! See `cratetorrent_fuzz::wire::session_state`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::wire::session_state(data));
