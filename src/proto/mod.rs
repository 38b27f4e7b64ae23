//! Protocol state machines without I/O: bytes, messages and times in, decisions out.
//!
//! # The contract of every state machine
//!
//! Four kinds of method and nothing else:
//!
//! - **getters** take `&self` and cost next to nothing;
//! - **inputs** are called `handle_*` and take the time at which something happened;
//! - the **owner's verbs** say what the owner wants done (`ask`, `choke`, `push`);
//! - **outputs** are called `poll_*` or return their result at once, and must be used.
//!
//! Time is an argument. Timers are explicit, and a time-out that is not due does nothing. Nothing
//! here knows a socket, a file, a clock or the picker.

pub(crate) mod allowed_fast;
pub(crate) mod cipher;
pub mod dht;
pub(crate) mod handshake;
pub mod hashes;
pub(crate) mod holepunch;
pub(crate) mod http;
pub mod lsd;
pub mod metadata;
pub(crate) mod mse;
mod mse_error;
pub mod pex;
pub(crate) mod pipeline;
pub(crate) mod port_mapping;
pub(crate) mod preamble;
pub(crate) mod preambles;
pub(crate) mod proxy;
pub(crate) mod tracker;
pub(crate) mod tx;
pub(crate) mod upload_queue;
pub mod utp;
pub(crate) mod web_seed;
