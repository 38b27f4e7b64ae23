//! Whole swarms without sockets, disks or waiting: the same [`Engine`](crate::Engine) and the same
//! workers' code on a virtual network, virtual disks and a virtual clock.
//!
//! A [`World`] has nodes. Most run an engine; some are [scripted](Script), to behave as no engine
//! would. Everything that is left to chance (delays, segments, the order in which workers answer)
//! follows from one seed, so a run can be repeated event by event,
//! and its [transcript](World::transcript) compared. After every event the world holds what engines
//! claim and say against the truth: [`INVARIANTS`] lists what. A violation panics, with the seed
//! and the last few hundred [things that happened](World::trace).
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
//! A [`Scenario`] says the same in a sentence:
//!
//! ```
//! use std::time::Duration;
//! use cratetorrent::sim::{Line, Nat, Scenario, Troubles, When};
//!
//! Scenario::swarm(7)
//!     .seeds(1)
//!     .leeches(4)
//!     .on(Line::mobile())
//!     .behind(Nat::Restricted)
//!     .with_disk(Troubles { short: true, ..Troubles::default() })
//!     .doing(When::At(Duration::from_secs(1)), |world, cast| world.partition(&[&cast.seeds]))
//!     .doing(When::At(Duration::from_secs(9)), |world, _| world.mend())
//!     .run()
//!     .completes()
//!     .honestly()
//!     .then_all_shut_down();
//! ```
//!
//! What can go wrong: lines are slow and cut everything to pieces ([`Line`]), the world [falls
//! apart](World::partition), connections [break](World::set_flaky), peers [vanish](World::vanish),
//! routers let only some in ([`Nat`]), datagrams fare badly ([`Air`]), clocks
//! [jump](World::jump_clock), disks are full, slow, unreliable or liars ([`Troubles`],
//! [`DiskPace`]), single calls to a disk [fail](CallFault), processes are killed at [any
//! step](World::at_event) and started again.
//!
//! It holds no second copy of any logic: what is simulated is what the reactor and the real disk
//! would do, nothing else.

mod book;
pub mod dht;
mod disk;
pub mod explore;
mod invariants;
mod keepsakes;
mod nat;
mod net;
mod node;
mod proxy;
mod remote;
mod sample;
mod scenario;
mod script;
mod tap;
mod tracker;
pub mod utp;
mod violation;
mod web_server;
mod world;

pub use disk::{CallFault, DiskCall, MemDisk, Troubles};
pub use nat::Nat;
pub use net::Line;
pub use node::{DiskPace, NodeId};
pub use proxy::{ProxyHost, ProxyManners};
pub use remote::{
    Answer, Asked, Gossip, HashManner, Heard, Hello, Manners, MetadataManner, Remote,
};
pub use sample::{Sample, SampleFile};
pub use scenario::{Cast, Kill, Outcome, Scenario, When, Who};
pub use script::{ConnId, Script, Talk};
pub use tracker::{Told, TrackerId, TrackerManners};
pub use violation::INVARIANTS;
pub use web_server::{WebManners, WebRequest, WebServer};
pub use world::{Air, World};

#[cfg(test)]
mod tests;
