//! Questions to trackers: one [`Call`] is one question to one tracker, all the way to its answer.
//!
//! Nothing here knows the torrent's other trackers or when to ask again.

mod ask;
mod call;
mod places;
#[doc(hidden)]
pub mod probe;
#[cfg(test)]
mod tests;
mod udp;

pub(crate) use ask::{Answer, Ask, CallError, Connection, Family, Question};
pub(crate) use call::Call;
pub(crate) use udp::CONNECTION_TIME;
