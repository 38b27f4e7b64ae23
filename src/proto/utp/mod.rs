//! uTP (BEP 29) without I/O: streams over datagrams that give way to other traffic.
//!
//! [`UtpSockets`] is a state machine: datagrams and times go in, datagrams and events come out. It
//! reads no clock and opens no socket, and runs the same way for the same seed and inputs. Its
//! owner reads all datagrams that wait, says that they are read
//! ([`handle_drained`](UtpSockets::handle_drained)), takes the events, and sends what
//! [`poll_transmit`](UtpSockets::poll_transmit) gives: bursts of packets of one length, as systems
//! take them at once.

mod base_delay;
mod congestion;
mod event;
mod mtu;
mod number;
mod outflow;
mod receive;
mod round_trip;
mod send;
mod slow_down;
mod socket;
mod table;
mod target;

pub use event::{UtpClose, UtpEvent, UtpLimits, UtpStats, UtpTransmit};
pub use table::UtpSockets;
