#![no_main]
//! See `cratetorrent_fuzz::port_mapping`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::port_mapping::port_mapping(data));
