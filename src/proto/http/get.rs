//! An exchange whose body is small enough to be collected: a tracker's reply. The stream is closed
//! after it.

use super::{Exchange, HttpError, Part, Request};

/// What came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Where a redirect leads; then there is no body.
    pub(crate) location: Option<Vec<u8>>,
    /// Decoded and unpacked.
    pub(crate) body: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Get {
    exchange: Exchange,
    response: Response,
}

impl Get {
    /// A response of at most `max_body` bytes is accepted, as it comes and unpacked.
    pub(crate) fn new(request: &Request<'_>, max_body: usize) -> Self {
        Self { exchange: Exchange::new(request, max_body as u64), response: Response::default() }
    }

    /// The status, once its line came.
    pub(crate) fn status(&self) -> Option<u16> {
        self.exchange.status()
    }

    /// What goes out next.
    #[must_use]
    pub(crate) fn poll_transmit(&self) -> &[u8] {
        self.exchange.poll_transmit()
    }

    /// So many bytes went out.
    pub(crate) fn handle_sent(&mut self, bytes: usize) {
        self.exchange.handle_sent(bytes);
    }

    /// Bytes came. The response, once it is whole; what comes after it is ignored.
    pub(crate) fn handle_data(&mut self, data: &[u8]) -> Result<Option<Response>, HttpError> {
        let mut input = data;
        while let Some(part) = self.exchange.handle_data(&mut input)? {
            match part {
                Part::Head(head) => {
                    self.response.status = head.status;
                    self.response.location = head.location.clone();
                }
                Part::Body(part) => self.response.body.extend_from_slice(part),
                Part::End => return Ok(Some(std::mem::take(&mut self.response))),
            }
        }
        Ok(None)
    }

    /// The other side closed the stream.
    pub(crate) fn handle_end(&mut self) -> Result<Response, HttpError> {
        self.exchange.handle_end()?;
        Ok(std::mem::take(&mut self.response))
    }
}
