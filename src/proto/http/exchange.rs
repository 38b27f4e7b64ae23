//! One request and the response to it, whose body is handed on as it comes: nothing of it is kept
//! but the line or the part of a packed block that is incomplete.

use super::{
    HttpError, Request,
    gzip::Gunzip,
    head::{Head, Keeps, MAX_HEAD, chunk_len},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Exchange {
    out: Vec<u8>,
    sent: usize,
    range: Option<super::Range>,
    state: State,
    head: Head,
    /// The line that is coming in.
    line: Vec<u8>,
    /// Bytes that lines may still have: those of the head, then those between chunks.
    lines_left: usize,
    gunzip: Option<Box<Gunzip>>,
    /// The head is whole, and no body follows that is accepted.
    is_refused: bool,
    /// Bytes that the body may still have as it comes, and both ways at most.
    body_left: u64,
    max_body: u64,
    /// The same of a response that is the whole, though a range of it was asked for.
    max_whole: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Status,
    Headers,
    /// The head is whole, and the owner has not heard of it. What comes next.
    Whole(Next),
    Body(Next),
    ChunkLen,
    ChunkEnd,
    Trailers,
    Done,
}

/// What comes after the head, or of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// So many more bytes.
    Length(u64),
    /// So many more bytes of a chunk.
    Chunk(u64),
    Chunks,
    UntilEnd,
    Nothing,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The head; once, before all else.
    Head(&'a Head),
    /// A part of the body, decoded and unpacked; not empty.
    Body(&'a [u8]),
    /// The end. What is left of the input belongs to the response after this one.
    End,
}

impl Exchange {
    /// A response of at most `max_body` bytes is accepted, as it comes and unpacked.
    pub(crate) fn new(request: &Request<'_>, max_body: u64) -> Self {
        Self {
            out: request.encode(),
            sent: 0,
            range: request.range,
            state: State::Status,
            head: Head::default(),
            line: Vec::new(),
            lines_left: MAX_HEAD,
            gunzip: None,
            is_refused: false,
            body_left: max_body,
            max_body,
            max_whole: max_body,
        }
    }

    /// The whole in place of a range of it may have so many bytes.
    pub(crate) fn or_whole(self, max_whole: u64) -> Self {
        Self { max_whole, ..self }
    }

    /// The status, once its line came.
    pub(crate) fn status(&self) -> Option<u16> {
        (self.head.status >= 200).then_some(self.head.status)
    }

    /// What the head says, once it is whole.
    pub(crate) fn head(&self) -> Option<&Head> {
        let is_whole = !matches!(self.state, State::Status | State::Headers) || self.is_refused;
        is_whole.then_some(&self.head)
    }

    /// Whether nothing of a response has come.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.state == State::Status && self.line.is_empty()
    }

    /// Whether the response is whole and the stream may carry another request.
    pub(crate) fn is_reusable(&self) -> bool {
        let delimited = self.head.chunked != self.head.length.is_some();
        let sent = self.sent >= self.out.len();
        self.state == State::Done && self.head.keeps == Keeps::Yes && delimited && sent
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

    /// The next part of what came; `input` is cut down to what is behind it. To be called until it
    /// is `None`: more must come then.
    pub(crate) fn handle_data<'a, 'd: 'a>(
        &'a mut self,
        input: &mut &'d [u8],
    ) -> Result<Option<Part<'a>>, HttpError> {
        loop {
            if let Some(gunzip) = self.gunzip.as_mut().filter(|gunzip| gunzip.has_more()) {
                let len = gunzip.unpack(&mut &[][..])?;
                if len > 0 {
                    return Ok(Some(Part::Body(self.unpacked(len))));
                }
            }
            match self.state {
                State::Whole(next) => {
                    self.state = match next {
                        Next::Chunks => State::ChunkLen,
                        Next::Nothing => State::Done,
                        next => State::Body(next),
                    };
                    self.check_whole()?;
                    return Ok(Some(Part::Head(&self.head)));
                }
                State::Body(next) => {
                    let left = match next {
                        Next::Length(left) | Next::Chunk(left) => left,
                        Next::Chunks | Next::UntilEnd | Next::Nothing => u64::MAX,
                    };
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let most = usize::try_from(left).map_or(input.len(), |l| l.min(input.len()));
                    let part = input.get(..most).unwrap_or_default();
                    let (used, unpacked) = match &mut self.gunzip {
                        None => (part.len(), 0),
                        Some(gunzip) => {
                            let mut packed = part;
                            let unpacked = gunzip.unpack(&mut packed)?;
                            (part.len() - packed.len(), unpacked)
                        }
                    };
                    *input = input.get(used..).unwrap_or_default();
                    self.spend(used, next)?;
                    if self.gunzip.is_none() {
                        return Ok(Some(Part::Body(part)));
                    }
                    if unpacked > 0 {
                        return Ok(Some(Part::Body(self.unpacked(unpacked))));
                    }
                }
                State::Done => return Ok(Some(Part::End)),
                State::Status
                | State::Headers
                | State::ChunkLen
                | State::ChunkEnd
                | State::Trailers => {
                    let Some(line) = self.take_line(input)? else { return Ok(None) };
                    self.state = self.handle_line(&line)?;
                }
            }
        }
    }

    /// The other side closed the stream: the body may end with it.
    pub(crate) fn handle_end(&mut self) -> Result<(), HttpError> {
        let ends = matches!(self.state, State::Body(Next::UntilEnd));
        if !ends || self.gunzip.as_ref().is_some_and(|gunzip| !gunzip.is_whole()) {
            return Err(HttpError::Truncated);
        }
        self.state = State::Done;
        Ok(())
    }

    fn unpacked(&self, len: usize) -> &[u8] {
        self.gunzip.as_ref().map_or(&[], |gunzip| gunzip.unpacked(len))
    }

    /// So many bytes of the body came.
    fn spend(&mut self, bytes: usize, next: Next) -> Result<(), HttpError> {
        let bytes = bytes as u64;
        self.body_left =
            self.body_left.checked_sub(bytes).ok_or(HttpError::BodyTooLong(self.max_body))?;
        self.state = match next {
            Next::Length(left) if left <= bytes => State::Done,
            Next::Length(left) => State::Body(Next::Length(left - bytes)),
            Next::Chunk(left) if left <= bytes => State::ChunkEnd,
            Next::Chunk(left) => State::Body(Next::Chunk(left - bytes)),
            next => State::Body(next),
        };
        self.check_whole()
    }

    /// At the end of the body what was packed must be whole.
    fn check_whole(&self) -> Result<(), HttpError> {
        let broken = self.gunzip.as_ref().is_some_and(|gunzip| !gunzip.is_whole());
        if self.state == State::Done && broken { Err(HttpError::Truncated) } else { Ok(()) }
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
                self.head = Head::begin(line).ok_or(HttpError::Head("no status line"))?;
                Ok(State::Headers)
            }
            State::Headers if line.is_empty() => self.handle_head(),
            State::Headers => self.head.add(line).map(|()| State::Headers),
            State::ChunkLen => match chunk_len(line).ok_or(HttpError::Chunk)? {
                0 => Ok(State::Trailers),
                len if len <= self.body_left => Ok(State::Body(Next::Chunk(len))),
                _ => Err(HttpError::BodyTooLong(self.max_body)),
            },
            State::ChunkEnd if line.is_empty() => Ok(State::ChunkLen),
            State::ChunkEnd => Err(HttpError::Chunk),
            State::Trailers if line.is_empty() => {
                self.state = State::Done;
                self.check_whole()?;
                Ok(State::Done)
            }
            state => Ok(state),
        }
    }

    /// The head is whole: what comes next (RFC 9112 §6.3)?
    fn handle_head(&mut self) -> Result<State, HttpError> {
        let next = self.next_of_head();
        self.is_refused = next.is_err();
        next
    }

    fn next_of_head(&mut self) -> Result<State, HttpError> {
        match self.head.status {
            101 => return Err(HttpError::Head("another protocol")),
            100..200 => return Ok(State::Status),
            206 if self.head.part.is_none_or(|(range, _)| Some(range) != self.range) => {
                return Err(HttpError::Head("another range than was asked for"));
            }
            204 | 304 => {
                (self.head.length, self.head.location) = (Some(0), None);
                return Ok(State::Whole(Next::Nothing));
            }
            // What a redirect says to people is not read, so the stream is of no use any more.
            _ if self.head.redirects() => {
                self.head.keeps = Keeps::Closes;
                return Ok(State::Whole(Next::Nothing));
            }
            _ => self.head.location = None,
        }
        if self.head.status == 200 && self.range.is_some() {
            (self.body_left, self.max_body) = (self.max_whole, self.max_whole);
        }
        // A part of something packed is of no use, and was not asked for.
        if self.head.gzip && self.range.is_some() {
            return Err(HttpError::Coding);
        }
        if self.head.gzip {
            self.gunzip = Some(Box::new(Gunzip::new(self.max_body)));
        }
        // Between two bytes of the body there may be a chunk's border, but few servers make chunks
        // so small.
        let border = usize::try_from(self.max_body).unwrap_or(usize::MAX);
        self.lines_left = border.saturating_add(MAX_HEAD);
        Ok(State::Whole(match self.head.length {
            // A server that sends both may not mean what we think it does; the chunked coding
            // wins, and the stream ends here.
            _ if self.head.chunked => Next::Chunks,
            Some(0) => Next::Nothing,
            Some(len) if len <= self.max_body => Next::Length(len),
            Some(_) => return Err(HttpError::BodyTooLong(self.max_body)),
            None => Next::UntilEnd,
        }))
    }
}
