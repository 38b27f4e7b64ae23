//! The beginning of a stream through a proxy: what is said to the proxy until the stream leads to
//! its target, or the proxy has a relay for our datagrams. What comes then is not its business.
//!
//! A [`Tunnel`] is fed with what comes, however it is cut, and takes not a byte too many.

mod connect;
mod error;
#[doc(hidden)]
pub mod probe;
mod socks;
#[cfg(test)]
mod tests;

pub(crate) use error::{Refused, TunnelError};

use crate::{
    base::target::Target,
    conf::{ProxyKind, ProxyServer},
};
use connect::Connect;
use socks::Socks;

/// See the module.
pub(crate) struct Tunnel {
    out: Vec<u8>,
    sent: usize,
    /// The message that is coming in.
    heard: Vec<u8>,
    speaker: Speaker,
}

/// Without what is said, which may be a password.
impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").field("speaker", &self.speaker).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Speaker {
    Socks(Socks),
    Http(Connect),
}

/// What a message of the proxy leads to.
#[derive(Debug)]
enum Step {
    /// It is not whole.
    Incomplete,
    /// It is, and this is our answer.
    Say(Vec<u8>),
    /// The tunnel is made. What the proxy says of where it is.
    Made(Option<Target>),
}

/// The end of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// Bytes of what came last that belonged to it.
    pub(crate) used: usize,
    /// Where the proxy says it is reached: of a relay, where it takes datagrams.
    pub(crate) bound: Option<Target>,
}

impl Tunnel {
    /// Begins a stream to `target`.
    pub(crate) fn to(server: &ProxyServer, target: &Target) -> Self {
        match server.kind() {
            ProxyKind::Socks5 => Self::socks(Socks::connect(server, target.clone())),
            ProxyKind::Http => {
                let (speaker, out) = Connect::begin(server, target);
                Self::new(Speaker::Http(speaker), out)
            }
        }
    }

    /// Begins a relay for datagrams.
    pub(crate) fn relay(server: &ProxyServer) -> Self {
        Self::socks(Socks::associate(server))
    }

    fn socks((speaker, out): (Socks, Vec<u8>)) -> Self {
        Self::new(Speaker::Socks(speaker), out)
    }

    fn new(speaker: Speaker, out: Vec<u8>) -> Self {
        Self { out, sent: 0, heard: Vec::new(), speaker }
    }

    /// Whether the proxy has let us in: what fails after this is about the target.
    pub(crate) fn is_let_in(&self) -> bool {
        match &self.speaker {
            Speaker::Socks(socks) => socks.is_let_in(),
            // Says all it has to say at once.
            Speaker::Http(_) => false,
        }
    }

    /// Bytes came. The end, once it is there.
    pub(crate) fn handle_data(&mut self, data: &[u8]) -> Result<Option<Made>, TunnelError> {
        for (at, &byte) in data.iter().enumerate() {
            self.heard.push(byte);
            let step = match &mut self.speaker {
                Speaker::Socks(socks) => socks.handle_message(&self.heard)?,
                Speaker::Http(connect) => connect.handle_head(&self.heard)?,
            };
            match step {
                Step::Incomplete => {}
                Step::Say(out) => {
                    self.heard.clear();
                    self.out.drain(..self.sent);
                    self.sent = 0;
                    self.out.extend(out);
                }
                Step::Made(bound) => return Ok(Some(Made { used: at + 1, bound })),
            }
        }
        Ok(None)
    }

    /// What goes out next.
    #[must_use]
    pub(crate) fn poll_transmit(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// So many bytes went out.
    pub(crate) fn handle_sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes).min(self.out.len());
    }
}
