//! Peer exchange (BEP 11): [`PexLog`] says what connected peers are told of each other,
//! [`PexHeard`] what is taken of what one of them tells. It knows addresses and no connections.

mod heard;
mod log;
#[cfg(test)]
mod tests;

pub use heard::{PexFlood, PexHeard};
pub use log::{PexLog, PexTold};
