//! Whole handshakes for the fuzz targets, which see nothing of the crate but what is public. Not
//! part of the API.

use super::Tunnel;
use crate::{base::target::Target, conf::ProxyServer};

/// What came of a handshake: bytes taken in all, bytes said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes of the input that belonged to it.
    pub used: usize,
    /// All that was said.
    pub said: Vec<u8>,
    /// `None`: it waits for more. `Some(Ok)`: where the proxy says that it is.
    pub end: Option<Result<Option<String>, String>>,
}

/// Feeds `input` to a handshake, cut at `cuts`.
pub fn run(server: &ProxyServer, relay: bool, input: &[u8], cuts: &[usize]) -> Outcome {
    let target = Target::Name { host: "peer.test".into(), port: 6881 };
    let mut tunnel = if relay { Tunnel::relay(server) } else { Tunnel::to(server, &target) };
    let (mut used, mut said) = (0, Vec::new());
    let mut say = |tunnel: &mut Tunnel| {
        let out = tunnel.poll_transmit().to_vec();
        tunnel.handle_sent(out.len());
        said.extend(out);
    };
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    cuts.push(input.len());
    cuts.sort_unstable();
    let mut at = 0;
    let mut end = None;
    for cut in cuts {
        say(&mut tunnel);
        let part = input.get(at..cut).unwrap_or_default();
        at = cut;
        match tunnel.handle_data(part) {
            Ok(None) => used += part.len(),
            Ok(Some(made)) => {
                used += made.used;
                end = Some(Ok(made.bound.map(|bound| bound.to_string())));
                break;
            }
            Err(e) => {
                end = Some(Err(e.to_string()));
                break;
            }
        }
    }
    say(&mut tunnel);
    Outcome { used, said, end }
}
