//! Bytes to values and back, without time, policy or trust in a length that the other side claims.

pub mod bencode;
pub mod blocklist;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod hash_range;
pub mod krpc;
pub mod lsd;
pub mod magnet;
pub mod message;
pub mod metainfo;
pub mod port_mapping;
pub mod resume;
pub mod session;
pub mod socks;
pub mod tracker;
mod tracker_events;
pub mod ut_holepunch;
pub mod ut_metadata;
pub mod ut_pex;
pub mod utp;
pub mod web_seed;
