//! What kind of end a connection had, for programs. It says nothing of when that is told.

/// Why a connection ended, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PeerGoneKind {
    /// It could not be made: refused, unreachable, or no answer.
    Unreachable,
    /// The proxy has failed that it was to be reached through, or was.
    Proxy,
    /// The peer closed it.
    Closed,
    /// The system broke it: reset, timed out, no descriptors left.
    Broken,
    /// The peer was silent or of no use for too long.
    TimedOut,
    /// The peer broke the protocol.
    Violation,
    /// The peer sent bad data and is banned.
    BadData,
    /// We let it go or did not take it: no room, another connection with the peer, its address is
    /// blocked, or neither has anything to give to the other.
    LetGo,
    /// The torrent is paused, checked, removed or waits its turn, or the engine is shutting down.
    Stopped,
}
