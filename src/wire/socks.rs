//! The messages of SOCKS version 5 (RFC 1928) and of its authentication by password (RFC 1929), as
//! a client says and hears them. Nothing is longer than 262 bytes but datagrams.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

pub use crate::base::target::Target;

/// What stands at the beginning of each message.
const VERSION: u8 = 5;
/// The version of the authentication by password (RFC 1929 §2).
const PASSWORD_VERSION: u8 = 1;
/// Bytes of the longest message that a server sends on a stream: a reply with a name of 255 bytes.
pub const MAX_MESSAGE: usize = 4 + 1 + 255 + 2;
/// Bytes of the longest name, user or password.
pub const MAX_WORD: usize = 255;

/// How a client may prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    None,
    /// By user and password.
    Password,
}

/// What a client wants of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A stream to the target.
    Connect,
    /// A relay for datagrams, for as long as the stream lasts.
    Associate,
}

/// Why a request was not granted (RFC 1928 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Code 1, or one that RFC 1928 does not know.
    #[error("general failure (code {0})")]
    General(u8),
    /// Code 2.
    #[error("its rules do not allow it")]
    NotAllowed,
    /// Code 3.
    #[error("the network is unreachable")]
    NetworkUnreachable,
    /// Code 4.
    #[error("the host is unreachable")]
    HostUnreachable,
    /// Code 5.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// Code 6.
    #[error("the time to live has expired")]
    Expired,
    /// Code 7.
    #[error("it does not know the command")]
    Command,
    /// Code 8.
    #[error("it does not know addresses of this kind")]
    AddressType,
}

/// What makes no sense in what a server has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SocksError {
    /// It does not speak SOCKS 5.
    #[error("SOCKS version {0} in place of 5")]
    Version(u8),
    /// It speaks another version of the authentication.
    #[error("version {0} of authentication in place of 1")]
    PasswordVersion(u8),
    /// It has chosen what was not offered.
    #[error("it chooses method {0:#04x}, which was not offered")]
    Method(u8),
    /// There is no such type of address.
    #[error("an address of unknown type {0}")]
    AddressType(u8),
    /// A name is empty or not printable ASCII.
    #[error("a name that is none")]
    Name,
    /// A datagram is cut off.
    #[error("a datagram that is too short")]
    Short,
    /// A datagram is a fragment, which are not taken (RFC 1928 §7).
    #[error("a fragment of a datagram")]
    Fragment,
}

/// A server's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Whether it is granted.
    pub granted: Result<(), Refusal>,
    /// Where the server is reached for it: of a relay, where it takes datagrams.
    pub bound: Target,
}

/// The first message: what we can prove ourselves by.
pub fn greeting(methods: &[Method]) -> Vec<u8> {
    let codes = methods.iter().map(|method| match method {
        Method::None => 0,
        Method::Password => 2,
    });
    let count = u8::try_from(methods.len()).unwrap_or(u8::MAX);
    [VERSION, count].into_iter().chain(codes).take(2 + usize::from(count)).collect()
}

/// What the server chooses of it, once it is whole; `Ok(Some(None))` if that is nothing.
///
/// # Errors
/// If it is no answer to a [`greeting`].
pub fn decode_method(input: &[u8]) -> Result<Option<Option<Method>>, SocksError> {
    match *input {
        [] => Ok(None),
        [VERSION] => Ok(None),
        [VERSION, code, ..] => Ok(Some(match code {
            0 => Some(Method::None),
            2 => Some(Method::Password),
            0xFF => None,
            other => return Err(SocksError::Method(other)),
        })),
        [other, ..] => Err(SocksError::Version(other)),
    }
}

/// User and password, of at most [`MAX_WORD`] bytes each; what is longer is cut off.
pub fn encode_password(user: &[u8], password: &[u8]) -> Vec<u8> {
    let mut out = vec![PASSWORD_VERSION];
    for word in [user, password] {
        push_word(&mut out, word);
    }
    out
}

/// Whether the server takes them, once it has said so.
///
/// # Errors
/// If it is no answer to them.
pub fn decode_password(input: &[u8]) -> Result<Option<bool>, SocksError> {
    match *input {
        [] | [_] => Ok(None),
        // Some servers answer with the version of SOCKS.
        [PASSWORD_VERSION | VERSION, status, ..] => Ok(Some(status == 0)),
        [other, ..] => Err(SocksError::PasswordVersion(other)),
    }
}

/// A request.
pub fn encode_request(command: Command, target: &Target) -> Vec<u8> {
    let command = match command {
        Command::Connect => 1,
        Command::Associate => 3,
    };
    let mut out = vec![VERSION, command, 0];
    push_target(&mut out, target);
    out
}

/// The answer to it, once it is whole, and how many bytes it has.
///
/// # Errors
/// If it is no answer to a request.
pub fn decode_reply(input: &[u8]) -> Result<Option<(Reply, usize)>, SocksError> {
    let granted = match *input {
        [] => return Ok(None),
        [VERSION] => return Ok(None),
        [VERSION, code, ..] => match code {
            0 => Ok(()),
            2 => Err(Refusal::NotAllowed),
            3 => Err(Refusal::NetworkUnreachable),
            4 => Err(Refusal::HostUnreachable),
            5 => Err(Refusal::ConnectionRefused),
            6 => Err(Refusal::Expired),
            7 => Err(Refusal::Command),
            8 => Err(Refusal::AddressType),
            other => Err(Refusal::General(other)),
        },
        [other, ..] => return Err(SocksError::Version(other)),
    };
    let Some(place) = input.get(3..) else { return Ok(None) };
    let found = decode_target(place)?;
    Ok(found.map(|(bound, len)| (Reply { granted, bound }, 3 + len)))
}

/// Bytes that a relayed datagram has before its data (RFC 1928 §7).
pub fn header_len(target: &Target) -> usize {
    3 + match target {
        Target::Addr(addr) if addr.ip().to_canonical().is_ipv4() => 1 + 4 + 2,
        Target::Addr(_) => 1 + 16 + 2,
        Target::Name { host, .. } => 1 + 1 + host.len().min(MAX_WORD) + 2,
    }
}

/// Appends a datagram for a relay to send on to `target`.
pub fn encode_datagram(target: &Target, data: &[u8], out: &mut Vec<u8>) {
    out.extend([0, 0, 0]);
    push_target(out, target);
    out.extend_from_slice(data);
}

/// Where a datagram of a relay came from, and what it was.
///
/// # Errors
/// If it is not whole, a fragment, or from nowhere.
pub fn decode_datagram(datagram: &[u8]) -> Result<(Target, &[u8]), SocksError> {
    let [_, _, fragment, place @ ..] = datagram else { return Err(SocksError::Short) };
    if *fragment != 0 {
        return Err(SocksError::Fragment);
    }
    let (from, len) = decode_target(place)?.ok_or(SocksError::Short)?;
    Ok((from, place.get(len..).unwrap_or_default()))
}

fn push_word(out: &mut Vec<u8>, word: &[u8]) {
    let word = word.get(..MAX_WORD).unwrap_or(word);
    out.push(u8::try_from(word.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(word);
}

fn push_target(out: &mut Vec<u8>, target: &Target) {
    match target {
        Target::Addr(addr) => match addr.ip().to_canonical() {
            IpAddr::V4(ip) => {
                out.push(1);
                out.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(4);
                out.extend(ip.octets());
            }
        },
        Target::Name { host, .. } => {
            out.push(3);
            push_word(out, host.as_bytes());
        }
    }
    out.extend(target.port().to_be_bytes());
}

/// A place and how many bytes it has, once it is whole.
fn decode_target(input: &[u8]) -> Result<Option<(Target, usize)>, SocksError> {
    let port = |bytes: &[u8]| bytes.first_chunk::<2>().map(|&two| u16::from_be_bytes(two));
    Ok(match input {
        [] => None,
        [1, rest @ ..] => rest.split_first_chunk::<4>().and_then(|(&ip, rest)| {
            let addr = SocketAddr::new(IpAddr::from(ip), port(rest)?);
            Some((addr.into(), 1 + 4 + 2))
        }),
        [4, rest @ ..] => rest.split_first_chunk::<16>().and_then(|(&ip, rest)| {
            let addr = SocketAddr::new(IpAddr::from(ip).to_canonical(), port(rest)?);
            Some((addr.into(), 1 + 16 + 2))
        }),
        [3, rest @ ..] => {
            let Some((&len, rest)) = rest.split_first() else { return Ok(None) };
            let Some((name, rest)) = rest.split_at_checked(usize::from(len)) else {
                return Ok(None);
            };
            let Some(port) = port(rest) else { return Ok(None) };
            if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
                return Err(SocksError::Name);
            }
            let host: String = name.iter().copied().map(char::from).collect();
            let len = 1 + 1 + name.len() + 2;
            // Some servers write addresses as text.
            Some(match host.parse::<IpAddr>() {
                Ok(ip) => (SocketAddr::new(ip.to_canonical(), port).into(), len),
                Err(_) => (Target::Name { host, port }, len),
            })
        }
        [other, ..] => return Err(SocksError::AddressType(*other)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addr(text: &str) -> Target {
        Target::Addr(text.parse().unwrap())
    }

    fn name(host: &str, port: u16) -> Target {
        Target::Name { host: host.into(), port }
    }

    #[test]
    fn messages_are_those_of_the_rfcs() {
        assert_eq!(greeting(&[Method::None]), [5, 1, 0]);
        assert_eq!(greeting(&[Method::None, Method::Password]), [5, 2, 0, 2]);
        assert_eq!(encode_password(b"me", b"pw!"), *b"\x01\x02me\x03pw!");
        let request = |target| encode_request(Command::Connect, &target);
        assert_eq!(request(addr("192.0.2.7:6881")), [5, 1, 0, 1, 192, 0, 2, 7, 0x1A, 0xE1]);
        assert_eq!(request(addr("[::ffff:192.0.2.7]:80")), [5, 1, 0, 1, 192, 0, 2, 7, 0, 80]);
        let v6 = request(addr("[2001:db8::1]:80"));
        assert_eq!((&v6[..8], v6.len()), (&[5, 1, 0, 4, 0x20, 1, 0x0D, 0xB8][..], 22));
        assert_eq!(request(name("a.test", 80)), *b"\x05\x01\x00\x03\x06a.test\x00\x50");
        let relay = encode_request(Command::Associate, &addr("0.0.0.0:0"));
        assert_eq!(relay, [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn long_words_are_cut_off_and_not_their_lengths() {
        let long = [b'a'; 300];
        assert_eq!(encode_password(&long, b"").len(), 1 + 1 + 255 + 1);
        let target = name(&"a".repeat(300), 1);
        let mut out = Vec::new();
        encode_datagram(&target, b"", &mut out);
        assert_eq!(out.len(), header_len(&target));
    }

    #[test]
    fn answers_are_read_once_they_are_whole() {
        assert_eq!(decode_method(&[5]), Ok(None));
        assert_eq!(decode_method(&[5, 0]), Ok(Some(Some(Method::None))));
        assert_eq!(decode_method(&[5, 2, 9]), Ok(Some(Some(Method::Password))));
        assert_eq!(decode_method(&[5, 0xFF]), Ok(Some(None)));
        assert_eq!(decode_method(&[5, 1]), Err(SocksError::Method(1)));
        assert_eq!(decode_method(b"HTTP"), Err(SocksError::Version(b'H')));
        assert_eq!(decode_password(&[1]), Ok(None));
        assert_eq!(decode_password(&[1, 0]), Ok(Some(true)));
        assert_eq!(decode_password(&[5, 1]), Ok(Some(false)));
        assert_eq!(decode_password(&[9, 0]), Err(SocksError::PasswordVersion(9)));
        for (bytes, bound, granted) in [
            (&b"\x05\x00\x00\x01\x0A\x00\x00\x01\x04\x38"[..], addr("10.0.0.1:1080"), Ok(())),
            (b"\x05\x05\x00\x03\x02ab\x00\x01", name("ab", 1), Err(Refusal::ConnectionRefused)),
            (b"\x05\x01\x00\x03\x07127.0.0\x00\x01", name("127.0.0", 1), Err(Refusal::General(1))),
            (
                b"\x05\x63\x00\x03\x07::1:2:3\x00\x01",
                addr("[::1:2:3]:1"),
                Err(Refusal::General(99)),
            ),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(decode_reply(&bytes[..cut]), Ok(None), "cut at {cut}");
            }
            let more = [bytes, b"more"].concat();
            assert_eq!(decode_reply(&more), Ok(Some((Reply { granted, bound }, bytes.len()))));
        }
        assert_eq!(decode_reply(&[5, 0, 0, 2]), Err(SocksError::AddressType(2)));
        assert_eq!(decode_reply(&[5, 0, 0, 3, 0, 0, 1]), Err(SocksError::Name));
        assert_eq!(decode_reply(&[4]), Err(SocksError::Version(4)));
    }

    #[test]
    fn datagrams_that_are_fragments_or_short_are_refused() {
        assert_eq!(decode_datagram(&[0, 0, 1, 1, 1, 2, 3, 4, 0, 1]), Err(SocksError::Fragment));
        assert_eq!(decode_datagram(&[0, 0, 0, 1, 1, 2, 3, 4, 0]), Err(SocksError::Short));
        assert_eq!(decode_datagram(&[0, 0]), Err(SocksError::Short));
        let whole = decode_datagram(&[0, 0, 0, 1, 1, 2, 3, 4, 0, 1]);
        assert_eq!(whole, Ok((addr("1.2.3.4:1"), &[][..])));
    }

    proptest! {
        #[test]
        fn datagrams_come_back_as_they_were_sent(
            ip: [u8; 16],
            v4: bool,
            host in "[a-z.]{0,255}",
            port: u16,
            data: Vec<u8>,
        ) {
            let ip = if v4 { IpAddr::from([ip[0], ip[1], ip[2], ip[3]]) } else { IpAddr::from(ip) };
            let target = match host.is_empty() || host.parse::<IpAddr>().is_ok() {
                true => Target::Addr(SocketAddr::new(ip.to_canonical(), port)),
                false => Target::Name { host, port },
            };
            let mut out = Vec::new();
            encode_datagram(&target, &data, &mut out);
            prop_assert_eq!(out.len(), header_len(&target) + data.len());
            prop_assert_eq!(decode_datagram(&out), Ok((target, &data[..])));
        }

        #[test]
        fn nothing_that_comes_is_read_beyond_its_end(bytes: Vec<u8>) {
            let _ = (decode_method(&bytes), decode_password(&bytes), decode_datagram(&bytes));
            if let Ok(Some((_, len))) = decode_reply(&bytes) {
                prop_assert!(len <= bytes.len() && len <= MAX_MESSAGE);
            }
        }
    }
}
