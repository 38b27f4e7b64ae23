//! Peers that misbehave, disks that fail, processes that are killed: the `download` example must
//! finish with the right bytes where it can and end with a clear sentence where it can't, in
//! bounded time.

mod disk;
mod input;
mod limits;
mod line;
mod peers;
mod restart;

use std::{sync::Arc, time::Duration};

use crate::support::torrent::{Recipe, Torrent};

/// No run in these tests may last longer.
const LIMIT: Duration = Duration::from_secs(45);

const MIB: usize = 1 << 20;

/// A single file of so many MiB in pieces of 64 KiB.
fn torrent(mib: usize, seed: u64) -> Arc<Torrent> {
    Arc::new(Recipe::single("data.bin", mib * MIB, 64 * 1024).make(seed))
}
