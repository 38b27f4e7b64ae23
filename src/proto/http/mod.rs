//! One GET over a byte stream (RFC 9110, 9112): the request out, a bounded response in, however it
//! is cut. The stream is closed after it.
//!
//! It follows no redirect and knows nothing of what is fetched. Only what a small client needs is
//! here: no other method, no reuse of streams, and of the codings only the chunked one and gzip.

mod gzip;
#[cfg(test)]
mod tests;

use thiserror::Error;

use gzip::Gunzip;

/// The longest head, with informational responses (1xx) before it, in bytes. Servers themselves
/// seldom accept more than 8 KiB.
pub(crate) const MAX_HEAD: usize = 32 * 1024;

/// What to fetch.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    /// Host and port as the `Host` header has them.
    pub(crate) authority: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// `user:password`.
    pub(crate) credentials: Option<&'a [u8]>,
    /// What we call ourselves; nothing if empty.
    pub(crate) user_agent: &'a str,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Where a redirect leads; then there is no body.
    pub(crate) location: Option<Vec<u8>>,
    /// Decoded and unpacked.
    pub(crate) body: Vec<u8>,
}

/// Why there is no response in what came.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum HttpError {
    #[error("the HTTP response has {0}")]
    Head(&'static str),
    #[error("the head of the HTTP response exceeds {MAX_HEAD} bytes")]
    HeadTooLong,
    #[error("the HTTP response exceeds {0} bytes")]
    BodyTooLong(usize),
    #[error("the HTTP response ends too early")]
    Truncated,
    #[error("the HTTP response has a broken chunk")]
    Chunk,
    #[error("the HTTP response has a content coding that was not asked for")]
    Coding,
    #[error("the HTTP response has a broken gzip body: {0}")]
    Gzip(&'static str),
}

/// A GET and the response to it.
#[derive(Debug)]
pub(crate) struct Get {
    out: Vec<u8>,
    sent: usize,
    state: State,
    head: Head,
    /// The line that is coming in.
    line: Vec<u8>,
    /// Bytes that lines may still have: those of the head, then those between chunks.
    lines_left: usize,
    body: Body,
    /// Bytes that the body may still have as it comes, and both ways at most.
    body_left: usize,
    max_body: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Status,
    Headers,
    /// So many more bytes.
    Length(u64),
    ChunkLen,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilEnd,
    Done,
}

#[derive(Debug, Default)]
struct Head {
    status: u16,
    location: Option<Vec<u8>>,
    length: Option<u64>,
    chunked: bool,
    gzip: bool,
}

#[derive(Debug)]
enum Body {
    Plain(Vec<u8>),
    Gzip(Box<Gunzip>),
}

impl Get {
    /// A response of at most `max_body` bytes is accepted, as it comes and unpacked.
    pub(crate) fn new(request: &Request<'_>, max_body: usize) -> Self {
        let mut out = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", request.target, request.authority);
        if !request.user_agent.is_empty() {
            out += &format!("User-Agent: {}\r\n", request.user_agent);
        }
        if let Some(both) = request.credentials {
            out += &format!("Authorization: Basic {}\r\n", base64(both));
        }
        out += "Accept-Encoding: gzip\r\nConnection: close\r\n\r\n";
        Self {
            out: out.into_bytes(),
            sent: 0,
            state: State::Status,
            head: Head::default(),
            line: Vec::new(),
            lines_left: MAX_HEAD,
            body: Body::Plain(Vec::new()),
            body_left: max_body,
            max_body,
        }
    }

    /// The status, once its line came.
    pub(crate) fn status(&self) -> Option<u16> {
        (self.head.status >= 200).then_some(self.head.status)
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

    /// Bytes came. The response, once it is whole; what comes after it is ignored.
    pub(crate) fn handle_data(&mut self, data: &[u8]) -> Result<Option<Response>, HttpError> {
        let mut input = data;
        while !input.is_empty() && self.state != State::Done {
            match self.state {
                State::Length(left) => {
                    let taken = self.take_body(&mut input, left)?;
                    self.state =
                        if taken == left { State::Done } else { State::Length(left - taken) };
                }
                State::Chunk(left) => {
                    let taken = self.take_body(&mut input, left)?;
                    self.state =
                        if taken == left { State::ChunkEnd } else { State::Chunk(left - taken) };
                }
                State::UntilEnd => _ = self.take_body(&mut input, u64::MAX)?,
                State::Done => break,
                State::Status
                | State::Headers
                | State::ChunkLen
                | State::ChunkEnd
                | State::Trailers => {
                    let Some(line) = self.take_line(&mut input)? else { break };
                    self.state = self.handle_line(&line)?;
                }
            }
            if self.state == State::Done {
                return self.finish().map(Some);
            }
        }
        Ok(None)
    }

    /// The other side closed the stream.
    pub(crate) fn handle_end(&mut self) -> Result<Response, HttpError> {
        match self.state {
            State::UntilEnd => {
                self.state = State::Done;
                self.finish()
            }
            _ => Err(HttpError::Truncated),
        }
    }

    fn finish(&mut self) -> Result<Response, HttpError> {
        let body = match std::mem::replace(&mut self.body, Body::Plain(Vec::new())) {
            Body::Plain(body) => body,
            Body::Gzip(gunzip) => gunzip.finish()?,
        };
        Ok(Response { status: self.head.status, location: self.head.location.take(), body })
    }

    fn take_body(&mut self, input: &mut &[u8], most: u64) -> Result<u64, HttpError> {
        let len = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
        let (part, rest) = input.split_at_checked(len).unwrap_or((*input, &[]));
        *input = rest;
        let fits = part.get(..self.body_left).unwrap_or(part);
        match &mut self.body {
            Body::Plain(body) => body.extend_from_slice(fits),
            Body::Gzip(gunzip) => gunzip.handle_data(fits)?,
        }
        self.body_left =
            self.body_left.checked_sub(len).ok_or(HttpError::BodyTooLong(self.max_body))?;
        Ok(len as u64)
    }

    /// The next line without its end, once it is whole. A lone LF ends it too (RFC 9112 §2.2).
    fn take_line(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, HttpError> {
        let end = input.iter().position(|&b| b == b'\n');
        let (part, rest) =
            input.split_at_checked(end.map_or(input.len(), |at| at + 1)).unwrap_or((*input, &[]));
        *input = rest;
        let left = self.lines_left.checked_sub(part.len());
        let in_head = matches!(self.state, State::Status | State::Headers);
        self.lines_left =
            left.ok_or(if in_head { HttpError::HeadTooLong } else { HttpError::Chunk })?;
        self.line.extend_from_slice(part);
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn handle_line(&mut self, line: &[u8]) -> Result<State, HttpError> {
        match self.state {
            State::Status => {
                self.head = Head {
                    status: status(line).ok_or(HttpError::Head("no status line"))?,
                    ..Head::default()
                };
                Ok(State::Headers)
            }
            State::Headers if line.is_empty() => self.handle_head(),
            State::Headers => self.head.add(line).map(|()| State::Headers),
            State::ChunkLen => {
                let len = chunk_len(line).ok_or(HttpError::Chunk)?;
                match len {
                    0 => Ok(State::Trailers),
                    _ if usize::try_from(len).is_ok_and(|len| len <= self.body_left) => {
                        Ok(State::Chunk(len))
                    }
                    _ => Err(HttpError::BodyTooLong(self.max_body)),
                }
            }
            State::ChunkEnd if line.is_empty() => Ok(State::ChunkLen),
            State::ChunkEnd => Err(HttpError::Chunk),
            State::Trailers if line.is_empty() => Ok(State::Done),
            state => Ok(state),
        }
    }

    /// The head is whole: what comes next (RFC 9112 §6.3)?
    fn handle_head(&mut self) -> Result<State, HttpError> {
        let redirects = matches!(self.head.status, 301 | 302 | 303 | 307 | 308);
        match self.head.status {
            101 => return Err(HttpError::Head("another protocol")),
            100..200 => return Ok(State::Status),
            204 | 304 => return Ok(State::Done),
            _ if redirects && self.head.location.is_some() => return Ok(State::Done),
            _ => self.head.location = None,
        }
        if self.head.gzip {
            self.body = Body::Gzip(Box::new(Gunzip::new(self.max_body)));
        }
        // Between two bytes of the body there may be a chunk's border, but few servers make chunks
        // so small.
        self.lines_left = self.max_body.saturating_add(MAX_HEAD);
        match self.head.length {
            // A server that sends both may not mean what we think it does; the chunked coding
            // wins, and the stream ends here.
            _ if self.head.chunked => Ok(State::ChunkLen),
            Some(0) => Ok(State::Done),
            Some(len) if usize::try_from(len).is_ok_and(|len| len <= self.max_body) => {
                Ok(State::Length(len))
            }
            Some(_) => Err(HttpError::BodyTooLong(self.max_body)),
            None => Ok(State::UntilEnd),
        }
    }
}

impl Head {
    fn add(&mut self, line: &[u8]) -> Result<(), HttpError> {
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
            let len = length(value).ok_or(HttpError::Head("a malformed content length"))?;
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
        }
        Ok(())
    }
}

/// `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> Option<u16> {
    match line.strip_prefix(b"HTTP/1.")? {
        [b'0'..=b'9', b' ', code @ ..] => {
            let (code, rest) = code.split_at_checked(3)?;
            let ends = rest.is_empty() || rest.starts_with(b" ");
            let code = length(code).and_then(|code| u16::try_from(code).ok())?;
            (ends && (100..600).contains(&code)).then_some(code)
        }
        _ => None,
    }
}

/// Digits only, at least one.
fn length(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Hexadecimal digits, perhaps followed by an extension (RFC 9112 §7.1).
fn chunk_len(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&b| b == b';').next()?.trim_ascii_end();
    let hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    hex.then(|| u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()).flatten()
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let word =
            part.iter().fold(0u32, |word, &b| word << 8 | u32::from(b)) << (8 * (3 - part.len()));
        for at in 0..4 {
            let letter =
                LETTERS.get((word >> (18 - 6 * at) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if at <= part.len() { char::from(letter) } else { '=' });
        }
    }
    out
}
