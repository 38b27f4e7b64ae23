//! How the engine works, chapter by chapter: for those who change it, and for those who want to
//! know what it does with their data. DESIGN.md is the tour that comes before.
//!
//! - [`structure`]: what every state machine keeps to, and which owns which.
//! - [`downloading`]: how blocks are requested, received, verified and written; bad data.
//! - [`serving`]: which peers are unchoked, and how their requests are read and sent.
//! - [`rates`]: how rate limits are kept.
//! - [`connections`]: which addresses are dialled and which connections are accepted.
//! - [`encryption`]: which connections are encrypted, and how.
//! - [`port_mapping`]: how the router is asked to let peers in.
//! - [`proxies`]: what goes through a proxy, how, and what never passes it by.
//! - [`storage`]: saved state and restarts, names of files, priorities, moves, making torrents.
//! - [`trackers`]: which tracker is told what, and how.
//! - [`versions`]: version 2, hybrids, merkle trees.
//! - [`web_seeds`]: what is asked of web servers, and what becomes of those that fail.
//! - [`dht`]: the DHT node: table, look-ups, announces, storage, bootstrap.
//! - [`sessions`]: the queue, and the folder that holds all torrents of a user.
//! - [`embedding`]: the three doors, the end of an engine, alerts.
//! - [`simulator`]: the virtual world that tests run in, and what they promise.
//! - [`hostile_input`]: each attack, what bounds it, and the test of that.
//! - [`what_use_found`]: conditions that users met, what holds since, and the test of that.
//!
//! Paths of files are those of the repository; without a leading `src/` they are below it.
//! `tests/promises.rs` sees to it that each test and file that a chapter names is there.

#[doc = include_str!("guide/structure.md")]
pub mod structure {}

#[doc = include_str!("guide/downloading.md")]
pub mod downloading {}

#[doc = include_str!("guide/serving.md")]
pub mod serving {}

#[doc = include_str!("guide/rates.md")]
pub mod rates {}

#[doc = include_str!("guide/connections.md")]
pub mod connections {}

#[doc = include_str!("guide/encryption.md")]
pub mod encryption {}

#[doc = include_str!("guide/port_mapping.md")]
pub mod port_mapping {}

#[doc = include_str!("guide/proxies.md")]
pub mod proxies {}

#[doc = include_str!("guide/storage.md")]
pub mod storage {}

#[doc = include_str!("guide/trackers.md")]
pub mod trackers {}

#[doc = include_str!("guide/versions.md")]
pub mod versions {}

#[doc = include_str!("guide/web_seeds.md")]
pub mod web_seeds {}

#[doc = include_str!("guide/dht.md")]
pub mod dht {}

#[doc = include_str!("guide/utp.md")]
pub mod utp {}

#[doc = include_str!("guide/sessions.md")]
pub mod sessions {}

#[doc = include_str!("guide/embedding.md")]
pub mod embedding {}

#[doc = include_str!("guide/simulator.md")]
pub mod simulator {}

#[doc = include_str!("guide/hostile_input.md")]
pub mod hostile_input {}

#[doc = include_str!("guide/what_use_found.md")]
pub mod what_use_found {}
