#![no_main]
//! See `cratetorrent_fuzz::wire::ut_pex`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::wire::ut_pex(data));
