//! Whole swarms without sockets, disks or waiting: the same [`Engine`](crate::Engine) and the same workers' code on a virtual
//! network, virtual disks and a virtual clock.
//!
//! A [`World`] has nodes. Most run an engine; some are [scripted](Script), to behave as no engine would. Everything that is left
//! to chance (delays, segments, the order in which workers answer) follows from one seed, so a run can be repeated event by event,
//! and its [transcript](World::transcript) compared. After every event the world compares what engines claim with the truth: each
//! piece that one says it has must be on its disk, byte for byte; memory, links, dials and candidates must be within their limits;
//! no timer may be stuck. A violation panics.
//!
//! ```
//! use std::time::Duration;
//! use cratetorrent::{Conf, sim::{Sample, World}};
//!
//! let mut world = World::new(7);
//! let sample = Sample::file("data", 300_000, 32 * 1024, 1)?;
//! let (seed, leech) = (world.node(Conf::default()), world.node(Conf::default()));
//! world.seed_with(seed, &sample);
//! world.download(leech, &sample, &[seed]);
//! assert!(world.run_until(|w| w.is_complete(leech), Duration::from_secs(20)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It holds no second copy of any logic: what is simulated is what the reactor and the real disk would do, nothing else.

mod disk;
mod net;
mod node;
mod remote;
mod sample;
mod script;
mod tracker;
mod world;

pub use disk::{MemDisk, Troubles};
pub use net::Line;
pub use node::{DiskPace, NodeId};
pub use remote::{Answer, Asked, Heard, Hello, Manners, Remote};
pub use sample::{Sample, SampleFile};
pub use script::{ConnId, Script, Talk};
pub use tracker::{Told, TrackerId, TrackerManners};
pub use world::World;

#[cfg(test)]
mod tests;
