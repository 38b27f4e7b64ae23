//! The vocabulary that every layer shares: time, ids, arithmetic on pieces, buffers, and the words
//! of the workers.
//!
//! Nothing here does I/O or decides policy.

pub(crate) mod arena;
pub(crate) mod bitfield;
pub(crate) mod bucket;
pub(crate) mod buf;
pub(crate) mod distrust;
pub(crate) mod files;
pub(crate) mod geometry;
pub(crate) mod hash;
pub(crate) mod ids;
pub(crate) mod ip_filter;
pub(crate) mod job;
pub mod merkle;
pub(crate) mod partial;
pub(crate) mod paths;
pub(crate) mod ports;
pub(crate) mod rate;
pub(crate) mod rng;
pub(crate) mod storage;
pub(crate) mod target;
pub(crate) mod time;
pub(crate) mod timers;
pub(crate) mod totals;
pub(crate) mod tracker_events;
pub(crate) mod trees;
