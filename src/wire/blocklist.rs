//! Lists of addresses to block, in the formats that they are published in: to a filter, with an
//! account of what could not be read. Nothing here fetches a list or applies it.
//!
//! Each line of a text says by its look what it is, so that lists may be joined; a binary list says
//! so by its first bytes.
//!
//! | a line of | looks like |
//! |---|---|
//! | eMule's `ipfilter.dat` | `001.009.096.105 - 001.009.096.110 , 000 , description` |
//! | PeerGuardian text (P2P) | `description: with colons:1.2.3.4-1.2.3.5` |
//! | prefixes (CIDR) | `1.2.3.0/24` or `2001:db8::/32` |
//! | plain ranges and addresses | `1.2.3.4-1.2.3.5` or `2001:db8::1` |
//!
//! In `ipfilter.dat` the number behind the range is an access level: 128 or more blocks nothing.
//!
//! What comes after `#`, `;` or `//` at the start of a line or behind an address is a comment.
//! Leading zeros in IPv4 addresses mean nothing; no number is octal. Descriptions may be of any
//! encoding.

mod binary;
mod line;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use line::LineError;

use crate::base::ip_filter::{IpFilter, IpRanges};
use line::Line;

/// Bad lines that are told one by one; the others are only counted.
pub const MAX_BAD_LINES_TOLD: usize = 10;

/// What a list may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlocklistLimits {
    /// Bytes of input. Default 256 MiB; the largest lists in use have some 60.
    pub bytes: usize,
    /// Ranges before merging; each takes 8 bytes if it is IPv4 and 32 if it is IPv6, and up to
    /// three times that while it is read. Default 2,000,000; the largest lists in use have
    /// some 600,000.
    pub ranges: usize,
    /// Bytes of a line of a text; a longer one is a bad line. Default 4096.
    pub line: usize,
}

impl Default for BlocklistLimits {
    fn default() -> Self {
        Self { bytes: 256 << 20, ranges: 2_000_000, line: 4096 }
    }
}

/// What was read of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocklist {
    /// The addresses it blocks.
    pub filter: IpFilter,
    /// Ranges read, before merging.
    pub ranges: usize,
    /// Ranges with an access level that blocks nothing.
    pub allowed: usize,
    /// Lines, or entries of a binary list, that could not be read and were left out.
    pub bad: usize,
    /// The first of those, at most [`MAX_BAD_LINES_TOLD`].
    pub first_bad: Vec<BadLine>,
}

/// A line that was left out, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {error}")]
pub struct BadLine {
    /// Its number from 1; of a binary list, the number of the entry.
    pub line: usize,
    /// What is wrong with it.
    pub error: LineError,
}

/// Why a list was not taken at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlocklistError {
    /// It is too long.
    #[error("blocklist of {len} bytes exceeds {limit}")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// It has too many ranges.
    #[error("blocklist of more than {0} ranges")]
    TooManyRanges(usize),
    /// It is packed by gzip or zip and must be unpacked first.
    #[error("blocklist is compressed; it must be unpacked first")]
    Compressed,
    /// It is binary and of a version that is not known.
    #[error("binary blocklist of version {0}, where 1 to 3 are known")]
    Version(u8),
    /// It is binary and ends in the middle.
    #[error("binary blocklist ends within an entry, after {0} bytes")]
    Truncated(usize),
    /// Not one of its lines can be read: it is something else.
    #[error("not a blocklist: none of {bad} lines can be read; {first}")]
    NoLine {
        /// Lines that are neither empty nor comments.
        bad: usize,
        /// The first of them.
        first: BadLine,
    },
}

impl Blocklist {
    /// Reads a list of any of the formats.
    ///
    /// # Errors
    /// If it exceeds the default limits or is no list at all. Single bad lines are no error.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlocklistError> {
        Self::parse_with(bytes, &BlocklistLimits::default())
    }

    /// As [`parse`](Self::parse), within other limits.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with(bytes: &[u8], limits: &BlocklistLimits) -> Result<Self, BlocklistError> {
        if bytes.len() > limits.bytes {
            return Err(BlocklistError::TooLong { len: bytes.len(), limit: limits.bytes });
        }
        if bytes.starts_with(b"\x1f\x8b") || bytes.starts_with(b"PK\x03\x04") {
            return Err(BlocklistError::Compressed);
        }
        let mut reading =
            Reading { limit: limits.ranges, ranges: IpRanges::default(), list: Self::default() };
        if let Some(rest) = bytes.strip_prefix(binary::MAGIC) {
            binary::read(rest, bytes.len(), &mut reading)?;
        } else {
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            for (nth, line) in text.split(|&byte| byte == b'\n').enumerate() {
                reading.take(nth + 1, line::read(line, limits.line))?;
            }
        }
        reading.finish()
    }
}

/// A list as far as it has been read.
struct Reading {
    limit: usize,
    ranges: IpRanges,
    list: Blocklist,
}

impl Reading {
    /// Takes what the line or entry with this number says.
    fn take(&mut self, nth: usize, line: Result<Line, LineError>) -> Result<(), BlocklistError> {
        match line {
            Ok(Line::Nothing) => {}
            Ok(Line::Allowed) => self.list.allowed += 1,
            Ok(Line::Range(_)) if self.ranges.len() >= self.limit => {
                return Err(BlocklistError::TooManyRanges(self.limit));
            }
            Ok(Line::Range(range)) => self.ranges.push(range),
            Err(error) => {
                self.list.bad += 1;
                if self.list.first_bad.len() < MAX_BAD_LINES_TOLD {
                    self.list.first_bad.push(BadLine { line: nth, error });
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Blocklist, BlocklistError> {
        let Self { ranges, mut list, .. } = self;
        list.ranges = ranges.len();
        match list.first_bad.first() {
            Some(&first) if list.ranges + list.allowed == 0 => {
                Err(BlocklistError::NoLine { bad: list.bad, first })
            }
            _ => Ok(Blocklist { filter: ranges.into(), ..list }),
        }
    }
}
