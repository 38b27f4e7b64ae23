//! The head of a response: its status line and those of its headers that matter. It reads no body.

use std::time::Duration;

use super::{
    HttpError, Range,
    date::{Retry, number},
};

/// The longest head, with informational responses (1xx) before it, in bytes. Servers themselves
/// seldom accept more than 8 KiB.
pub(crate) const MAX_HEAD: usize = 32 * 1024;

/// What the head of a response says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Where it redirects to, if it does.
    pub(crate) location: Option<Vec<u8>>,
    /// Bytes of the body as it comes.
    pub(crate) length: Option<u64>,
    /// The part of the whole that the body is (status 206), and the length of that whole, if it is
    /// said.
    pub(crate) part: Option<(Range, Option<u64>)>,
    retry: Retry,
    pub(super) chunked: bool,
    pub(super) gzip: bool,
    pub(super) keeps: Keeps,
}

/// Whether the server keeps the stream for another request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Keeps {
    Yes,
    /// As servers of HTTP/1.0 do.
    #[default]
    No,
    /// It said so, and whatever else it says does not count (RFC 9112 §9.3).
    Closes,
}

impl Head {
    /// Begins with a status line: `HTTP/1.1 200 OK`.
    pub(super) fn begin(line: &[u8]) -> Option<Self> {
        match line.strip_prefix(b"HTTP/1.")? {
            [minor @ b'0'..=b'9', b' ', code @ ..] => {
                let (code, rest) = code.split_at_checked(3)?;
                let ends = rest.is_empty() || rest.starts_with(b" ");
                let code = number(code).and_then(|code| u16::try_from(code).ok())?;
                let keeps = if *minor > b'0' { Keeps::Yes } else { Keeps::No };
                let head = Self { status: code, keeps, ..Self::default() };
                (ends && (100..600).contains(&code)).then_some(head)
            }
            _ => None,
        }
    }

    /// Takes in a header line.
    pub(super) fn add(&mut self, line: &[u8]) -> Result<(), HttpError> {
        // Folded lines were given up because programs read them differently (RFC 9112 §5.2).
        let colon = line
            .iter()
            .position(|&b| b == b':')
            .ok_or(HttpError::Head("a header line without a colon"))?;
        let (name, value) = line.split_at_checked(colon).unwrap_or_default();
        if name.is_empty() || name.iter().any(|b| !b.is_ascii_graphic()) {
            return Err(HttpError::Head("a malformed header name"));
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("content-length") {
            let len = number(value).ok_or(HttpError::Head("a malformed content length"))?;
            if self.length.is_some_and(|before| before != len) {
                return Err(HttpError::Head("two content lengths"));
            }
            self.length = Some(len);
        } else if is("transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HttpError::Head("an unknown transfer coding"));
            }
            self.chunked = true;
        } else if is("content-encoding")
            && !value.is_empty()
            && !value.eq_ignore_ascii_case(b"identity")
        {
            if self.gzip
                || ![&b"gzip"[..], b"x-gzip"].iter().any(|known| value.eq_ignore_ascii_case(known))
            {
                return Err(HttpError::Coding);
            }
            self.gzip = true;
        } else if is("location") && self.location.is_none() {
            self.location = Some(value.to_vec());
        } else if is("retry-after") {
            self.retry.set(value);
        } else if is("date") {
            self.retry.set_now(value);
        } else if is("connection") {
            let says = |word: &[u8]| {
                value.split(|&b| b == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
            };
            if says(b"close") {
                self.keeps = Keeps::Closes;
            } else if says(b"keep-alive") && self.keeps != Keeps::Closes {
                self.keeps = Keeps::Yes;
            }
        } else if is("content-range") && self.status == 206 {
            let (range, whole) =
                range(value).ok_or(HttpError::Head("a malformed content range"))?;
            if self.part.is_some_and(|(before, _)| before != range) {
                return Err(HttpError::Head("two content ranges"));
            }
            self.part = Some((range, whole));
        }
        Ok(())
    }

    /// How long the server wants not to be asked, if it says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry.after()
    }

    pub(super) fn redirects(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.location.is_some()
    }
}

/// `bytes 0-499/1234` (RFC 9110 §14.4), and the length of the whole, which may be `*`.
fn range(value: &[u8]) -> Option<(Range, Option<u64>)> {
    let value = value.strip_prefix(b"bytes ")?.trim_ascii();
    let (slash, dash) =
        (value.iter().position(|&b| b == b'/')?, value.iter().position(|&b| b == b'-')?);
    let (first, last) = (number(value.get(..dash)?)?, number(value.get(dash + 1..slash)?)?);
    let whole = match value.get(slash + 1..)? {
        b"*" => None,
        whole => Some(number(whole)?),
    };
    let fits = first <= last && whole.is_none_or(|whole| last < whole);
    fits.then_some((Range { first, last }, whole))
}

/// Hexadecimal digits, perhaps followed by an extension (RFC 9112 §7.1).
pub(super) fn chunk_len(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&b| b == b';').next()?.trim_ascii_end();
    let hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    hex.then(|| u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()).flatten()
}
