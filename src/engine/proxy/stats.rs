//! How the proxy stands, for users.

use super::relay::RelayStatus;
use crate::{alert::ProxyError, engine::Engine};

/// How the proxy stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyStats {
    /// What it speaks, and where it is, without user and password.
    pub server: String,
    /// Whether it has ever let us in.
    pub was_reached: bool,
    /// Why it does not work, as long as it does not.
    pub error: Option<ProxyError>,
    /// Streams that it is being asked for.
    pub opening: usize,
    /// Streams that it has opened since the start.
    pub opened: u64,
    /// Streams that it could not open for the target's sake, or would not.
    pub refused: u64,
    /// How the relay for datagrams stands.
    pub relay: RelayStatus,
    /// Why there is none, as long as it has failed.
    pub relay_error: Option<ProxyError>,
    /// Datagrams sent through it.
    pub datagrams_sent: u64,
    /// Datagrams that came through it.
    pub datagrams_received: u64,
    /// Datagrams that were dropped because there was no relay.
    pub datagrams_dropped: u64,
}

impl Engine {
    /// How the proxy stands; `None` if there is none.
    pub fn proxy_stats(&self) -> Option<ProxyStats> {
        let server = self.cx.conf.proxy.server.as_ref()?;
        let proxy = &self.ways.proxy;
        let (datagrams_sent, datagrams_received, datagrams_dropped) = proxy.relay.counts();
        Some(ProxyStats {
            server: server.to_string(),
            was_reached: proxy.health.is_known,
            error: proxy.health.error().cloned(),
            opening: proxy.openings.len(),
            opened: proxy.counts.opened,
            refused: proxy.counts.refused,
            relay: proxy.relay.status(),
            relay_error: proxy.relay.error().cloned(),
            datagrams_sent,
            datagrams_received,
            datagrams_dropped,
        })
    }
}
