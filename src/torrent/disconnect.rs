//! Why a connection ends: a kind for programs, and words for people. It knows nothing of what ends
//! it.

use std::fmt;

use crate::{alert::PeerGoneKind, torrent::peer_session::Fault};

/// See the module. A mere text is a reason of our own to let a peer go.
#[derive(Clone, Debug)]
pub(crate) struct Disconnect {
    pub(crate) kind: PeerGoneKind,
    pub(crate) text: String,
}

impl Disconnect {
    pub(crate) fn new(kind: PeerGoneKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// The torrent does not speak with peers for now, or any more.
    pub(crate) fn stopped(text: &str) -> Self {
        Self::new(PeerGoneKind::Stopped, text)
    }
}

impl From<&str> for Disconnect {
    fn from(text: &str) -> Self {
        Self::new(PeerGoneKind::LetGo, text)
    }
}

impl From<Fault> for Disconnect {
    fn from(fault: Fault) -> Self {
        let kind = match fault {
            Fault::Silent(_) | Fault::Useless(_) => PeerGoneKind::TimedOut,
            // Not its fault.
            Fault::Owed(_) | Fault::Unread(_) => PeerGoneKind::LetGo,
            _ => PeerGoneKind::Violation,
        };
        Self::new(kind, fault.to_string())
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
