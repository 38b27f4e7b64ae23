//! Whole exchanges for the fuzz targets, which see nothing of the crate but what is public. Not
//! part of the API.

use super::{Exchange, Part, Range, Request};

/// What an exchange came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The status of the response.
    pub status: u16,
    /// Its body, put together.
    pub body: Vec<u8>,
    /// Bytes that came behind it.
    pub rest: usize,
    /// Whether the stream may carry another request.
    pub reusable: bool,
}

/// A request for the bytes of `range`, ends included, or for all, whose response comes in these
/// parts and is then closed. `max_body` bounds the body.
///
/// # Errors
/// What is wrong with the response, in words.
pub fn exchange(
    parts: &[&[u8]],
    range: Option<(u64, u64)>,
    max_body: u64,
) -> Result<Outcome, String> {
    let range = range.map(|(first, last)| Range { first, last });
    let request = Request {
        forwarder: None,
        post: None,
        authority: "host",
        target: "/",
        credentials: None,
        user_agent: "",
        range,
        keep_alive: true,
    };
    let mut exchange = Exchange::new(&request, max_body);
    exchange.handle_sent(exchange.poll_transmit().len());
    let (mut outcome, mut whole) =
        (Outcome { status: 0, body: Vec::new(), rest: 0, reusable: false }, false);
    for &part in parts {
        let mut input = part;
        while !whole
            && let Some(part) = exchange.handle_data(&mut input).map_err(|e| e.to_string())?
        {
            match part {
                Part::Head(head) => outcome.status = head.status,
                Part::Body(bytes) => outcome.body.extend_from_slice(bytes),
                Part::End => whole = true,
            }
        }
        outcome.rest += input.len();
    }
    if !whole {
        exchange.handle_end().map_err(|e| e.to_string())?;
    }
    outcome.reusable = exchange.is_reusable();
    Ok(outcome)
}
