//! Servers that know no ranges and send the whole file: what comes before the part that was asked
//! for is passed over, and what comes behind it waits for the next request, unread but for a
//! little. It does not know the head of a response.

use super::{FilePlace, FileRequest, Running};
use crate::base::time::Instant;

/// What is kept of what comes behind a part that was asked for: as soon as there is so much the
/// stream is not read any more.
pub(super) const MAX_AHEAD: usize = 256 * 1024;
/// A turn may have read that much at once before.
const MAX_READ: usize = 1 << 20;

/// A body that goes on behind what was asked for.
#[derive(Debug)]
pub(super) struct Rest {
    place: FilePlace,
    /// Where in the file it goes on.
    at: u64,
    file_len: u64,
    /// What has come of it.
    ahead: Vec<u8>,
}

impl Rest {
    /// Of a request that is over; `behind` has come already.
    pub(super) fn of(running: Running, behind: &[u8]) -> Self {
        let Running { what, pos, .. } = running;
        Self { place: what.place, at: pos, file_len: what.file_len, ahead: behind.to_vec() }
    }

    /// More of it has come. False if it is too much.
    pub(super) fn add(&mut self, bytes: &[u8]) -> bool {
        let len = self.ahead.len().saturating_add(bytes.len());
        let fits =
            len <= MAX_AHEAD + MAX_READ && self.at.saturating_add(len as u64) <= self.file_len;
        if fits {
            self.ahead.extend_from_slice(bytes);
        }
        fits
    }

    /// Whether no more is to be read of it for now.
    pub(super) fn is_enough(&self) -> bool {
        self.ahead.len() >= MAX_AHEAD
    }

    /// Whether it leads to this part, past no more than `skip` bytes.
    pub(super) fn leads_to(&self, what: &FileRequest, skip: u64) -> bool {
        let before = what.first.checked_sub(self.at);
        self.place == what.place && before.is_some_and(|before| before <= skip)
    }

    /// It is read on for this part. Returns what has come of it already.
    pub(super) fn go_on(self, now: Instant, what: FileRequest) -> (Running, Vec<u8>) {
        let running = Running {
            what,
            redirects: 0,
            got: 0,
            again: true,
            pos: self.at,
            is_whole: true,
            looked: (now, self.at),
        };
        (running, self.ahead)
    }
}

impl Running {
    /// Bytes of the file came, from `pos` on: those that were asked for are taken. Returns how many
    /// are passed over, and how many lie behind once all is there.
    pub(super) fn absorb(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> (u64, Option<usize>) {
        let before = self.what.first.saturating_sub(self.pos).min(bytes.len() as u64) as usize;
        let rest = bytes.get(before..).unwrap_or_default();
        let missing = self.what.len.saturating_sub(self.got).min(rest.len() as u64) as usize;
        let own = rest.get(..missing).unwrap_or_default();
        self.pos = self.pos.saturating_add((before + own.len()) as u64);
        self.got = self.got.saturating_add(own.len() as u64);
        if !own.is_empty() {
            take(own);
        }
        let is_over = self.got >= self.what.len;
        (before as u64, is_over.then_some(rest.len() - own.len()))
    }
}
