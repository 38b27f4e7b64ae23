//! PeerGuardian's binary lists (P2B): entries of a label and two IPv4 addresses. Labels are
//! skipped.

use nom::{
    IResult, Parser,
    bytes::complete::{tag, take_till},
    number::complete::be_u32,
    sequence::{pair, terminated},
};

use super::{BlocklistError, LineError, Reading, line::Line};
use crate::base::ip_filter::IpRange;

/// How a binary list begins; the version comes next.
pub(super) const MAGIC: &[u8] = b"\xff\xff\xff\xffP2B";

/// Reads what comes after the magic in a list of `len` bytes.
pub(super) fn read(bytes: &[u8], len: usize, reading: &mut Reading) -> Result<(), BlocklistError> {
    let truncated = |_| BlocklistError::Truncated(len);
    let (&version, mut rest) = bytes.split_first().ok_or(BlocklistError::Truncated(len))?;
    match version {
        // The versions differ in the encoding of labels.
        1 | 2 => {
            let mut nth = 0;
            while !rest.is_empty() {
                nth += 1;
                let (left, (_, range)) = pair(label, range).parse(rest).map_err(truncated)?;
                rest = left;
                reading.take(nth, range)?;
            }
        }
        // All labels come first, each once, and what comes after the entries is ignored. No count
        // is trusted: each entry must be there.
        3 => {
            let (mut rest, labels) = be_u32(rest).map_err(truncated)?;
            for _ in 0..labels {
                rest = label(rest).map_err(truncated)?.0;
            }
            let (mut rest, entries) = be_u32(rest).map_err(truncated)?;
            for nth in 1..=entries as usize {
                let (left, (_, range)) = pair(be_u32, range).parse(rest).map_err(truncated)?;
                rest = left;
                reading.take(nth, range)?;
            }
        }
        version => return Err(BlocklistError::Version(version)),
    }
    Ok(())
}

/// A label and the zero that ends it.
fn label(bytes: &[u8]) -> IResult<&[u8], &[u8]> {
    terminated(take_till(|byte| byte == 0), tag(&[0][..])).parse(bytes)
}

fn range(bytes: &[u8]) -> IResult<&[u8], Result<Line, LineError>> {
    let addr = |bits| std::net::Ipv4Addr::from_bits(bits).into();
    let (rest, (first, last)) = pair(be_u32, be_u32).parse(bytes)?;
    Ok((rest, IpRange::new(addr(first), addr(last)).map(Line::Range).map_err(LineError::Range)))
}
