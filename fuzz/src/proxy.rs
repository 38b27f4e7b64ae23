//! The promises of the handshakes with proxies: whatever a proxy says, and however it is cut, they
//! end or wait for more, say only what they would have said, and take not a byte that is not
//! theirs. And of datagrams by a relay: what is sent is read again as it was.

use cratetorrent::{
    conf::ProxyServer,
    proxy_probe::run,
    wire::socks::{Target, decode_datagram, encode_datagram, header_len},
};

/// The longest that a handshake may say: greeting, password and request of SOCKS, or a CONNECT.
const MAX_SAID: usize = 4 + 513 + 262;
/// The longest that it may hear: an answer's head of HTTP.
const MAX_HEARD: usize = 8 * 1024;

/// The first byte is the setup, the next three are cuts, and what follows is what the proxy says.
pub fn proxy(data: &[u8]) {
    let Some((&[setup, cuts @ ..], heard)) = data.split_first_chunk::<4>() else { return };
    let urls = ["socks5://p:1", "socks5://me:password@p:1", "http://p:1", "http://me:password@p:1"];
    let server: ProxyServer = urls[usize::from(setup % 4)].parse().unwrap();
    let relay = setup % 4 < 2 && setup & 4 != 0;
    let whole = run(&server, relay, heard, &[]);
    let parts = run(&server, relay, heard, &cuts.map(usize::from));
    assert_eq!((&whole.end, &whole.said), (&parts.end, &parts.said));
    assert!(whole.said.len() <= MAX_SAID && whole.used <= heard.len());
    match &whole.end {
        Some(Ok(_)) => assert!(whole.used == parts.used && whole.used <= MAX_HEARD + 3),
        Some(Err(why)) => assert!(!why.contains("me:")),
        None => assert!(heard.len() <= MAX_HEARD || setup % 4 < 2),
    }
    if let Some(Ok(_)) = whole.end {
        // What follows is the tunnel's: it changes nothing.
        let more = [heard, b"more"].concat();
        assert_eq!(run(&server, relay, &more, &[]).used, whole.used);
    }
    if let Ok((from, data)) = decode_datagram(heard) {
        let mut again = Vec::new();
        encode_datagram(&from, data, &mut again);
        assert_eq!(again.len(), header_len(&from) + data.len());
        assert_eq!(decode_datagram(&again), Ok((from.clone(), data)));
        assert!(!matches!(from, Target::Name { ref host, .. } if host.is_empty()));
    }
}
