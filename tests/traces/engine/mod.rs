//! Sessions as logs: bytes in and bytes out of one engine, at virtual times, through the door
//! without I/O.

mod asked;
mod connections;
mod hearing;
mod ordering;
mod time;

use std::time::Duration;

use cratetorrent::{
    Alert, Bitfield, Conf,
    conf::Encryption,
    wire::{extension::ExtensionHandshake, message::Message, metainfo::BLOCK_LEN},
};

use crate::trace::{self, Trace, block, request};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn leech() -> Trace {
    Trace::leech(Conf::default())
}

fn seed() -> Trace {
    Trace::seed(Conf::default())
}
