//! What uTP tells its owner, what it is told to keep to, and what it counts.

use std::net::SocketAddr;

use crate::base::arena::Key;

/// Limits of all sockets together, and of each.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UtpLimits {
    /// Sockets in all, those that are closing included.
    pub max_sockets: usize,
    /// Sockets of those that have dialled us and not shown that they hear us.
    pub max_unconfirmed: usize,
    /// Bytes that one side may have on their way to us, and ours to it.
    pub max_window: usize,
    /// Bytes of all sockets that have come and were not read, or came behind a gap. Each may keep
    /// 16 KiB in any case, and one packet more, so that what it misses is never refused.
    pub max_memory: usize,
    /// Whether datagrams go by a relay that wants a header of its own before each, of 22 bytes at
    /// most (SOCKS 5). Packets have 1210 bytes then: with the headers a relay of either family is
    /// reached by every path, and larger ones might be lost for good.
    pub relayed: bool,
}

impl Default for UtpLimits {
    fn default() -> Self {
        Self {
            max_sockets: 1000,
            max_unconfirmed: 100,
            max_window: 4 << 20,
            max_memory: 32 << 20,
            relayed: false,
        }
    }
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UtpClose {
    /// The other side closed it, and all that it sent was read.
    End,
    /// The other side does not know it, or not any more.
    Reset,
    /// The other side did not answer.
    TimedOut,
}

/// What happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UtpEvent {
    /// A connection that was dialled is made: bytes may be written.
    Connected {
        /// The socket.
        socket: Key,
    },
    /// A peer has dialled us and shown that it hears us.
    Accepted {
        /// The socket.
        socket: Key,
        /// The peer.
        from: SocketAddr,
    },
    /// There is something to read.
    Readable {
        /// The socket.
        socket: Key,
    },
    /// There is room to write.
    Writable {
        /// The socket.
        socket: Key,
    },
    /// It is over, and forgotten by its owner.
    Closed {
        /// The socket.
        socket: Key,
        /// Why.
        cause: UtpClose,
        /// The reason that the other side gave, if it gave one (libtorrent's `close_reason_t`).
        reason: Option<u16>,
    },
}

/// Datagrams to be sent: what was written to the buffer, in segments of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtpTransmit {
    /// Where to.
    pub to: SocketAddr,
    /// Bytes of each datagram; the last may be shorter.
    pub segment: usize,
    /// It must not be fragmented: it is a single one that tries a size.
    pub is_probe: bool,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UtpStats {
    /// Sockets now.
    pub sockets: usize,
    /// Packets that came, and belonged to a connection.
    pub packets_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Packets sent once more.
    pub resent: u64,
    /// Times that nothing was acknowledged in time.
    pub timeouts: u64,
    /// Times that the last packet was sent once more before that, to learn what is missing.
    pub tail_probes: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets for which there was no room.
    pub refused: u64,
    /// Resets that were sent.
    pub resets_out: u64,
    /// Bytes that came and were not read, or came behind a gap.
    pub memory: usize,
}
