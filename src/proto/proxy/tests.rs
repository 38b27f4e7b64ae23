//! Handshakes with proxies as the RFCs have them, cut anywhere.

use proptest::prelude::*;

use super::{
    Made, Refused, Tunnel, TunnelError,
    connect::MAX_HEAD,
    probe::{Outcome, run},
};
use crate::{
    base::target::Target,
    conf::ProxyServer,
    wire::socks::{Refusal, SocksError},
};

fn server(url: &str) -> ProxyServer {
    url.parse().unwrap()
}

fn name() -> Target {
    Target::Name { host: "t.test".into(), port: 80 }
}

/// Takes what is to be sent.
fn said(tunnel: &mut Tunnel) -> Vec<u8> {
    let out = tunnel.poll_transmit().to_vec();
    tunnel.handle_sent(out.len());
    out
}

#[test]
fn socks_without_password_asks_by_name() {
    let mut tunnel = Tunnel::to(&server("socks5://p:1"), &name());
    assert_eq!(said(&mut tunnel), [5, 1, 0]);
    assert_eq!(tunnel.handle_data(&[5]), Ok(None));
    assert!(!tunnel.is_let_in());
    assert_eq!(tunnel.handle_data(&[0]), Ok(None));
    assert!(tunnel.is_let_in());
    assert_eq!(said(&mut tunnel), *b"\x05\x01\x00\x03\x06t.test\x00\x50");
    let reply = b"\x05\x00\x00\x01\x01\x02\x03\x04\x00\x09behind";
    let bound = Some(Target::Addr("1.2.3.4:9".parse().unwrap()));
    assert_eq!(tunnel.handle_data(reply), Ok(Some(Made { used: 10, bound })));
}

#[test]
fn socks_password_is_said_only_when_it_is_asked_for() {
    let with = server("socks5://me:pw@p:1");
    let mut tunnel = Tunnel::to(&with, &name());
    assert_eq!(said(&mut tunnel), [5, 2, 0, 2]);
    assert_eq!(tunnel.handle_data(&[5, 0]), Ok(None));
    assert_eq!(said(&mut tunnel)[..3], [5, 1, 0], "it asks for none");
    let mut tunnel = Tunnel::to(&with, &name());
    said(&mut tunnel);
    assert_eq!(tunnel.handle_data(&[5, 2]), Ok(None));
    assert_eq!(said(&mut tunnel), *b"\x01\x02me\x02pw");
    assert!(!tunnel.is_let_in());
    assert_eq!(tunnel.handle_data(&[1, 0]), Ok(None));
    assert_eq!(said(&mut tunnel)[..4], [5, 1, 0, 3]);
    assert!(!format!("{tunnel:?}").contains("112, 119"), "the password is not shown");
}

#[test]
fn relay_is_asked_for_with_no_address() {
    let mut tunnel = Tunnel::relay(&server("socks5://p:1"));
    said(&mut tunnel);
    assert_eq!(tunnel.handle_data(&[5, 0]), Ok(None));
    assert_eq!(said(&mut tunnel), [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    let refused = tunnel.handle_data(&[5, 7, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(refused, Err(TunnelError::NoRelay(Refusal::Command)));
}

#[test]
fn what_a_proxy_refuses_is_told_apart() {
    let end = |url: &str, heard: &[u8]| Tunnel::to(&server(url), &name()).handle_data(heard);
    let (plain, with) = ("socks5://p:1", "socks5://me:pw@p:1");
    assert_eq!(end(plain, &[5, 0xFF]), Err(TunnelError::NoPassword));
    assert_eq!(end(plain, &[5, 2]), Err(TunnelError::NoPassword));
    assert_eq!(end(with, &[5, 0xFF]), Err(TunnelError::NoMethod));
    assert_eq!(end(with, &[5, 2, 1, 9]), Err(TunnelError::Password));
    assert_eq!(end(plain, b"HTTP"), Err(TunnelError::Socks(SocksError::Version(b'H'))));
    let refused = end(plain, &[5, 0, 5, 4, 0, 1, 0, 0, 0, 0, 0, 0]);
    let why = Refused::Socks(Refusal::HostUnreachable);
    assert_eq!(refused, Err(TunnelError::Refused(why)));
    let (plain, with) = ("http://p:1", "http://me:pw@p:1");
    let status = |code: u16| format!("HTTP/1.1 {code} Words\r\nA: b\r\n\r\n").into_bytes();
    assert_eq!(end(plain, &status(407)), Err(TunnelError::NoPassword));
    assert_eq!(end(with, &status(407)), Err(TunnelError::Password));
    assert_eq!(end(with, &status(401)), Err(TunnelError::Password));
    assert_eq!(end(with, &status(503)), Err(TunnelError::Refused(Refused::Http(503))));
    assert_eq!(end(with, b"\x05\x00"), Err(TunnelError::NotHttp));
    assert_eq!(end(with, b"HTTP/1.1 20\r\n\r\n"), Err(TunnelError::NotHttp));
    assert_eq!(end(with, b"HTTP/1.1 099 x\r\n\r\n"), Err(TunnelError::NotHttp));
}

#[test]
fn connect_names_the_target_and_reads_no_byte_too_many() {
    let mut tunnel = Tunnel::to(&server("http://me:pw@p:1"), &name());
    let want = "CONNECT t.test:80 HTTP/1.1\r\nHost: t.test:80\r\n\
                Proxy-Authorization: Basic bWU6cHc=\r\n\r\n";
    assert_eq!(String::from_utf8(said(&mut tunnel)).unwrap(), want);
    let heard = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let used = heard.len() - 5;
    assert_eq!(tunnel.handle_data(heard), Ok(Some(Made { used, bound: None })));
    let v6 = Target::Addr("[2001:db8::1]:6881".parse().unwrap());
    let mut tunnel = Tunnel::to(&server("http://p:1"), &v6);
    let want = "CONNECT [2001:db8::1]:6881 HTTP/1.1\r\nHost: [2001:db8::1]:6881\r\n\r\n";
    assert_eq!(String::from_utf8(said(&mut tunnel)).unwrap(), want);
}

#[test]
fn endless_heads_of_proxies_end() {
    let end = |line: &[u8]| {
        let mut tunnel = Tunnel::to(&server("http://p:1"), &name());
        tunnel.handle_data(b"HTTP/1.1 200 OK\r\n").unwrap();
        let lines = (0..MAX_HEAD).find_map(|_| tunnel.handle_data(line).err());
        assert!(tunnel.heard.len() <= MAX_HEAD);
        lines
    };
    assert_eq!(end(b"A: b\r\n"), Some(TunnelError::TooLong(MAX_HEAD)));
    assert_eq!(end(b"aaaaaaaaaaaaaaaaaaaaaaaaaaaa"), Some(TunnelError::TooLong(MAX_HEAD)));
    let mut tunnel = Tunnel::to(&server("http://p:1"), &name());
    let again = b"HTTP/1.1 102 Wait\r\n\r\n";
    let ended = (0..MAX_HEAD).find_map(|_| tunnel.handle_data(again).err());
    assert_eq!(ended, Some(TunnelError::TooLong(MAX_HEAD)));
}

/// What proxies may say, whole or not.
fn heard() -> impl Strategy<Value = Vec<u8>> {
    let socks = prop_oneof![
        Just(b"\x05\x00\x05\x00\x00\x01\x01\x02\x03\x04\x00\x09more".to_vec()),
        Just(b"\x05\x02\x01\x00\x05\x00\x00\x03\x03abc\x00\x09more".to_vec()),
        Just(b"\x05\x02\x01\x01".to_vec()),
        Just(b"\x05\x00\x05\x05\x00\x04".to_vec()),
    ];
    let http = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nmore".to_vec()),
        Just(b"HTTP/1.0 407 No\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\n\nmore".to_vec()),
    ];
    prop_oneof![socks, http, any::<Vec<u8>>()]
}

proptest! {
    #[test]
    fn handshakes_are_the_same_however_they_are_cut(
        heard in heard(),
        cuts: Vec<usize>,
        kind in 0..4usize,
        relay: bool,
    ) {
        let urls = ["socks5://p:1", "socks5://a:b@p:1", "http://p:1", "http://a:b@p:1"];
        let server = server(urls[kind]);
        let relay = relay && kind < 2;
        let whole = run(&server, relay, &heard, &[]);
        let Outcome { used, end, said } = run(&server, relay, &heard, &cuts);
        prop_assert_eq!(&end, &whole.end);
        prop_assert_eq!(said, whole.said);
        if matches!(end, Some(Ok(_))) {
            prop_assert_eq!(used, whole.used);
        }
        prop_assert!(used <= heard.len());
    }
}
