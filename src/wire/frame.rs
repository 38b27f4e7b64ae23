//! A stream of bytes to frames, at the speed of the loop.
//!
//! Frames that lie whole in the input are lent from it; only the one that straddles two inputs is
//! put together in a carry, which grows as bytes come and never by the length that a frame claims.
//! What a frame means is [`Message`](super::message::Message)'s business, but a length that its id
//! does not allow is refused before the body is gathered.

use nom::{IResult, number::streaming::be_u32};
use thiserror::Error;

use super::message::{MessageError, check_len};

/// Bytes of a frame's length.
const LEN: usize = 4;
/// Memory that an empty carry keeps once the input is used up: an idle peer holds little.
const KEEP: usize = 4 * 1024;
/// Memory that it keeps within an input, where the next frame is likely to need it again.
const KEEP_BUSY: usize = 32 * 1024;
/// The longest frame unless told otherwise, as `PeerConf::max_frame`.
const MAX_FRAME: u32 = 512 * 1024;

/// A frame that cannot be right. The stream is lost: nothing tells where the next frame would
/// begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame claims to be too long.
    #[error("frame of {len} bytes exceeds the limit of {max}")]
    TooLong {
        /// The claim.
        len: u32,
        /// The limit.
        max: u32,
    },
    /// The frame's length is not one that its id allows.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Cuts a stream into frames.
///
/// ```
/// use cratetorrent::wire::{frame::Decoder, message::Message};
///
/// let mut decoder = Decoder::default();
/// let mut have = Vec::new();
/// for mut input in [&b"\0\0\0\x05\x04\0\0"[..], b"\0\x07\0\0\0\0"] {
///     while let Some(frame) = decoder.next(&mut input)? {
///         have.push(Message::decode(frame)? == Message::Have(7));
///     }
/// }
/// assert_eq!(have, [true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    /// The beginning of a frame whose end has not come, its length included; or a whole frame that
    /// is lent.
    carry: Vec<u8>,
    /// Whether the carry is the frame that was lent last.
    lent: bool,
    max_frame: u32,
}

impl Default for Decoder {
    /// For frames of at most 512 KiB. It holds no memory.
    fn default() -> Self {
        Self::new(MAX_FRAME)
    }
}

impl Decoder {
    /// For frames of at most `max_frame` bytes, their length not counted. It holds no memory.
    pub fn new(max_frame: u32) -> Self {
        Self { carry: Vec::new(), lent: false, max_frame }
    }

    /// Bytes of memory held for a frame that has not come whole.
    pub fn held(&self) -> usize {
        self.carry.capacity()
    }

    /// The beginning of the frame that is being put together, its length included; empty if the
    /// last frame has come whole.
    pub(crate) fn begun(&self) -> &[u8] {
        if self.lent { &[] } else { &self.carry }
    }

    /// The id of the frame that is being put together, once it is known, and how many bytes of it
    /// have come, its length included.
    pub fn partial(&self) -> Option<(u8, usize)> {
        let id = self.carry.get(LEN).filter(|_| !self.lent)?;
        Some((*id, self.carry.len()))
    }

    /// The next frame, without its length, and `input` after it. `None` when `input` has been taken
    /// in entirely and more is needed.
    ///
    /// The frame is lent from `input` or from the decoder; ask again when it has been dealt with.
    ///
    /// # Errors
    /// If a frame is too long, as soon as its length is known, or cannot have that length with its
    /// id, as soon as the id is known. No frame can be had after that.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<&'a [u8]>, FrameError> {
        if self.lent {
            self.lent = false;
            self.carry.clear();
            self.release(KEEP_BUSY);
        }
        if !self.carry.is_empty() {
            return self.next_carried(input);
        }
        let whole: &'i [u8] = input;
        if let Some(len) = self.frame_len(whole)?
            && let Some((frame, rest)) = whole.split_at_checked(len)
        {
            *input = rest;
            return Ok(frame.get(LEN..));
        }
        if whole.is_empty() {
            self.release(KEEP);
        }
        self.carry.extend_from_slice(whole);
        *input = &[];
        Ok(None)
    }

    /// Tops the carry up until its frame is whole: up to the length first, then to the id, and to
    /// the end only if both are right.
    fn next_carried(&mut self, input: &mut &[u8]) -> Result<Option<&[u8]>, FrameError> {
        self.top_up(LEN, input);
        if let Some(len) = self.frame_len(&self.carry)? {
            self.top_up(len.min(LEN + 1), input);
        }
        let Some(len) = self.frame_len(&self.carry)? else {
            return Ok(None);
        };
        self.top_up(len, input);
        if self.carry.len() < len {
            return Ok(None);
        }
        self.lent = true;
        Ok(self.carry.get(LEN..len))
    }

    fn top_up(&mut self, want: usize, input: &mut &[u8]) {
        let take = want.saturating_sub(self.carry.len()).min(input.len());
        let (more, rest) = input.split_at(take);
        let len = self.carry.len().saturating_add(take);
        if len > self.carry.capacity() {
            // Twice as much each time, but never more than the frame is long.
            let room = self.carry.capacity().saturating_mul(2).min(want).max(len);
            self.carry.reserve_exact(room.saturating_sub(self.carry.len()));
        }
        self.carry.extend_from_slice(more);
        *input = rest;
    }

    /// The length of the frame that `bytes` begin with, its own four bytes included, checked as far
    /// as it is there.
    fn frame_len(&self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let Ok((body, len)) = length(bytes) else {
            return Ok(None);
        };
        if len > self.max_frame {
            return Err(FrameError::TooLong { len, max: self.max_frame });
        }
        if let Some(&id) = body.first().filter(|_| len > 0) {
            check_len(id, len)?;
        }
        Ok(Some(LEN.saturating_add(len as usize)))
    }

    /// Gives the memory of the empty carry back if it is more than `keep`.
    fn release(&mut self, keep: usize) {
        if self.carry.capacity() > keep {
            self.carry = Vec::new();
        }
    }
}

fn length(input: &[u8]) -> IResult<&[u8], u32> {
    be_u32(input)
}

#[cfg(test)]
mod tests;
