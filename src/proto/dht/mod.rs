//! A node of the DHT without I/O: BEP 5 in both families (BEP 32), with scrapes (BEP 33), ids that
//! follow from addresses (BEP 42), read-only mode (BEP 43), stored values (BEP 44) and samples
//! (BEP 51).
//!
//! [`Node`] is a state machine: datagrams, resolved names and times go in by its `handle_*`
//! methods, datagrams, names to resolve and events come out by its `poll_*` methods. It reads no
//! clock and opens no socket, and runs the same way for the same seed and inputs.
//!
//! ```
//! use cratetorrent::{Instant, conf::DhtConf, dht::{Node, Output}, wire::krpc::{Family, NodeId}};
//!
//! let mut now = Instant::ZERO;
//! let seed = [7; 32]; // 32 random bytes
//! let mut node = Node::new(DhtConf::default(), &[Family::V4], &seed, None, now);
//! node.add_node(now, "192.0.2.1:6881".parse()?);
//! node.find_peers(now, NodeId([1; 20]), None);
//! while let Some(at) = node.poll_timeout().filter(|&at| at < Instant::from_micros(1_000_000)) {
//!     now = at;
//!     node.handle_timeout(now);
//!     while let Some(Output::Send { to, data }) = node.poll_output() {
//!         assert_eq!(to, "192.0.2.1:6881".parse()?);
//!         assert!(data.ends_with(b"1:y1:qe"));
//!     }
//! }
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

mod announces;
mod bootstrap;
mod calls;
mod event;
mod external;
mod found_peers;
mod guard;
mod lookup;
mod node;
mod outbox;
mod probes;
mod round_trip;
mod search;
mod searches;
mod secret;
mod server;
mod side;
mod state;
mod storage;
mod subnet;
mod table;
#[cfg(test)]
mod tests;
mod upkeep;

pub use announces::Announce;
pub use event::{DhtEvent, DhtStats, Output, SearchId, SearchOutcome, Step};
pub use node::Node;
pub use state::{DhtState, MAX_STATE};
pub use table::Contact;
