#![no_main]
//! See `cratetorrent_fuzz::dht`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| cratetorrent_fuzz::dht::dht_node(data));
