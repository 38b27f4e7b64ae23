//! One line of a text list, whichever format it is of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{take_while_m_n, take_while1},
    character::complete::{char, space0},
    combinator::{map_opt, opt},
    sequence::{delimited, preceded},
};
use thiserror::Error;

use crate::base::ip_filter::{IpRange, IpRangeError};

/// The longest IPv6 address, in characters.
const MAX_ADDR: usize = 45;
/// Access levels from this on block nothing.
const ALLOWED: u8 = 128;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is empty or a comment.
    Nothing,
    /// It names addresses that are not blocked.
    Allowed,
    /// It blocks these.
    Range(IpRange),
}

/// Why a line could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is too long.
    #[error("{len} bytes exceed {limit}")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// It is of no known format.
    #[error("no address, range or prefix where one should be")]
    Unknown,
    /// Its addresses are no range.
    #[error(transparent)]
    Range(#[from] IpRangeError),
    /// Its access level is no number up to 255.
    #[error("an access level that is no number from 0 to 255")]
    Level,
}

/// Reads a line without its line feed.
pub(super) fn read(line: &[u8], limit: usize) -> Result<Line, LineError> {
    if line.len() > limit {
        return Err(LineError::TooLong { len: line.len(), limit });
    }
    let line = line.trim_ascii();
    if is_end(line) {
        return Ok(Line::Nothing);
    }
    // A description may look like an address, so what begins with one is given up only at its end.
    match addresses_first(line) {
        Some(result) => result,
        None => addresses_last(line).unwrap_or(Err(LineError::Unknown)),
    }
}

/// Nothing, or a comment.
fn is_end(text: &[u8]) -> bool {
    text.is_empty() || [&b"#"[..], b";", b"//"].iter().any(|mark| text.starts_with(mark))
}

/// A line that begins with its addresses: DAT, a plain range, a prefix, an address. `None` if it is
/// none of them.
fn addresses_first(line: &[u8]) -> Option<Result<Line, LineError>> {
    let (rest, first) = addr(line).ok()?;
    if let Ok((rest, len)) = preceded(char('/'), number).parse(rest) {
        return is_end(rest.trim_ascii_start()).then(|| {
            let len = u8::try_from(len).unwrap_or(u8::MAX);
            Ok(Line::Range(IpRange::cidr(first, len)?))
        });
    }
    let (rest, last) = opt(preceded(dash, addr)).parse(rest).ok()?;
    let range =
        IpRange::new(first, last.unwrap_or(first)).map(Line::Range).map_err(LineError::from);
    match rest.trim_ascii_start() {
        rest if is_end(rest) => Some(range),
        [b',', rest @ ..] if last.is_some() => Some(level(rest).and_then(|level| match range {
            Ok(_) if level >= ALLOWED => Ok(Line::Allowed),
            range => range,
        })),
        _ => None,
    }
}

/// The access level before the next comma; an empty one blocks.
fn level(text: &[u8]) -> Result<u8, LineError> {
    let level = text.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
    if level.is_empty() {
        return Ok(0);
    }
    let (rest, level) = number(level).map_err(|_| LineError::Level)?;
    u8::try_from(level).ok().filter(|_| rest.is_empty()).ok_or(LineError::Level)
}

/// A line that ends with its addresses: P2P, whose description may hold colons and dashes.
fn addresses_last(line: &[u8]) -> Option<Result<Line, LineError>> {
    let at = line.iter().rposition(|&byte| byte == b'-')?;
    let (before, last) = (line.get(..at)?.trim_ascii_end(), line.get(at + 1..)?);
    let last = whole_addr(last.trim_ascii_start())?;
    let first = match last {
        IpAddr::V4(_) => after(before, before.iter().rposition(|&byte| byte == b':')?)?,
        // Its own colons look like that which ends the description: the longest address counts.
        IpAddr::V6(_) => {
            let from = before.len().saturating_sub(MAX_ADDR + 1);
            let colons = (from..before.len()).filter(|&at| before.get(at) == Some(&b':'));
            colons.filter_map(|at| after(before, at)).find(IpAddr::is_ipv6)?
        }
    };
    Some(IpRange::new(first, last).map(Line::Range).map_err(LineError::from))
}

/// The address that is all there is behind the colon at `at`.
fn after(text: &[u8], at: usize) -> Option<IpAddr> {
    whole_addr(text.get(at + 1..)?.trim_ascii_start())
}

fn whole_addr(text: &[u8]) -> Option<IpAddr> {
    addr(text).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, addr)| addr)
}

fn dash(text: &[u8]) -> IResult<&[u8], char> {
    delimited(space0, char('-'), space0).parse(text)
}

fn addr(text: &[u8]) -> IResult<&[u8], IpAddr> {
    alt((ipv6.map(IpAddr::V6), ipv4.map(IpAddr::V4))).parse(text)
}

/// Four decimal numbers of up to three digits.
fn ipv4(text: &[u8]) -> IResult<&[u8], Ipv4Addr> {
    let octet = || map_opt(number, |n| u8::try_from(n).ok());
    let dot = || char('.');
    let mut octets =
        (octet(), preceded(dot(), octet()), preceded(dot(), octet()), preceded(dot(), octet()));
    let (rest, (a, b, c, d)) = octets.parse(text)?;
    Ok((rest, Ipv4Addr::new(a, b, c, d)))
}

fn ipv6(text: &[u8]) -> IResult<&[u8], Ipv6Addr> {
    let of_addr = take_while1(|byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
    map_opt(of_addr, |word: &[u8]| {
        let word = std::str::from_utf8(word).ok()?;
        if word.len() <= MAX_ADDR { word.parse().ok() } else { None }
    })
    .parse(text)
}

/// Up to three digits.
fn number(text: &[u8]) -> IResult<&[u8], u16> {
    map_opt(take_while_m_n(1, 3, |byte: u8| byte.is_ascii_digit()), |digits: &[u8]| {
        Some(digits.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0')))
    })
    .parse(text)
}
