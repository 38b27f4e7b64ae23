//! What came of an encrypted handshake, gathered and taken piece by piece. It knows lengths and no
//! meaning.

use super::{MAX_PAD, MseError};

/// No handshake is longer, up to where it is over: 96 bytes of a key, 40 of hashes, 16 of options,
/// and twice as much padding as there may be.
const ROOM: usize = 96 + 40 + 16 + 2 * MAX_PAD;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Heard {
    bytes: Vec<u8>,
    /// What lies before this was taken.
    at: usize,
}

impl Heard {
    /// All that came.
    pub(super) fn all(&self) -> &[u8] {
        &self.bytes
    }

    /// What was not taken.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Adds as much of `data` as there is room for; returns how much.
    pub(super) fn fill(&mut self, data: &[u8]) -> usize {
        let data = data.get(..ROOM.saturating_sub(self.bytes.len())).unwrap_or(data);
        self.bytes.extend_from_slice(data);
        data.len()
    }

    /// The next `len` bytes, once they are there.
    pub(super) fn take(&mut self, len: usize) -> Option<&mut [u8]> {
        let taken = self.bytes.get_mut(self.at..)?.get_mut(..len)?;
        self.at += len;
        Some(taken)
    }

    /// The same, of a length that is known.
    pub(super) fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Takes padding and the mark behind it, once the mark is there.
    pub(super) fn take_until(&mut self, mark: &[u8]) -> Result<bool, MseError> {
        let most = MAX_PAD + mark.len();
        let rest = self.rest();
        let searched = rest.get(..most).unwrap_or(rest);
        match searched.windows(mark.len()).position(|window| window == mark) {
            Some(at) => {
                self.at += at + mark.len();
                Ok(true)
            }
            None if rest.len() >= most => Err(MseError::OutOfStep),
            None => Ok(false),
        }
    }
}
