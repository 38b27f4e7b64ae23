//! Sessions as logs: bytes in and bytes out of one engine, at virtual times, through the door
//! without I/O.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "engine_traces/asked.rs"]
mod asked;
#[path = "engine_traces/connections.rs"]
mod connections;
#[path = "engine_traces/hearing.rs"]
mod hearing;
#[path = "engine_traces/ordering.rs"]
mod ordering;
#[path = "engine_traces/time.rs"]
mod time;
mod trace;

use std::time::Duration;

use cratetorrent::{
    Alert, Bitfield, Conf,
    conf::Encryption,
    wire::{extension::ExtensionHandshake, message::Message, metainfo::BLOCK_LEN},
};
use trace::{Trace, block, request};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn leech() -> Trace {
    Trace::leech(Conf::default())
}

fn seed() -> Trace {
    Trace::seed(Conf::default())
}
