//! What the programs of `examples` do: their words, their files, how they end. One binary, so that
//! those of its tests that wait do so side by side.

// In a test, a failed unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "programs/create.rs"]
mod create;
#[path = "programs/dht_example.rs"]
mod dht_example;
#[path = "programs/files.rs"]
mod files;
#[path = "programs/inspect.rs"]
mod inspect;
#[path = "programs/odd_torrents.rs"]
mod odd_torrents;
#[path = "programs/outside.rs"]
mod outside;
#[path = "programs/seed.rs"]
mod seed;
#[path = "programs/session_example.rs"]
mod session_example;
mod support;
#[path = "programs/terminal.rs"]
mod terminal;
