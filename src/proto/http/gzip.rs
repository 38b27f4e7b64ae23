//! Unpacking a gzip stream (RFC 1952) piece by piece into bounded memory. The DEFLATE in it is
//! `miniz_oxide`'s.

use std::fmt;

use miniz_oxide::{
    DataFormat, MZError, MZFlush, MZStatus,
    inflate::stream::{InflateState, inflate},
};

use super::HttpError;

/// The longest header that is accepted. It may hold a name and a comment, which are not needed.
const MAX_HEADER: usize = 1024;
/// Unpacked at once.
const STEP: usize = 4096;

const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const HEADER_CRC: u8 = 2;

/// Of several members only the first is unpacked, and what follows it is ignored.
pub(super) struct Gunzip {
    part: Part,
    inflate: Box<InflateState>,
    /// What was unpacked last.
    step: Box<[u8; STEP]>,
    /// That filled the step, so that more may be had without more input.
    more: bool,
    /// Bytes unpacked so far.
    len: u64,
    limit: u64,
    crc: u32,
}

enum Part {
    Header(Vec<u8>),
    Deflate,
    Trailer(Vec<u8>),
    Done,
}

impl Gunzip {
    /// Unpacks at most `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            part: Part::Header(Vec::new()),
            inflate: InflateState::new_boxed(DataFormat::Raw),
            step: Box::new([0; STEP]),
            more: false,
            len: 0,
            limit,
            crc: !0,
        }
    }

    /// Whether something is left that needs no more input.
    pub(super) fn has_more(&self) -> bool {
        self.more
    }

    /// Whether the stream is at its end, and was as it should be.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.part, Part::Done)
    }

    /// The first `len` bytes of what was unpacked last.
    pub(super) fn unpacked(&self, len: usize) -> &[u8] {
        self.step.get(..len).unwrap_or_default()
    }

    /// Unpacks a part of `data`, which is cut down to what is left of it. Returns how many bytes
    /// came of it; 0 if all of `data` is used and more must come.
    pub(super) fn unpack(&mut self, data: &mut &[u8]) -> Result<usize, HttpError> {
        loop {
            match &mut self.part {
                Part::Header(header) => {
                    let before = header.len();
                    let room = MAX_HEADER - before.min(MAX_HEADER);
                    header.extend_from_slice(data.get(..room).unwrap_or(data));
                    match header_len(header)? {
                        Some(len) => {
                            *data = data.get(len.saturating_sub(before)..).unwrap_or_default();
                            self.part = Part::Deflate;
                        }
                        None if header.len() >= MAX_HEADER => {
                            return Err(HttpError::Gzip("its header is too long"));
                        }
                        None => {
                            *data = &[];
                            return Ok(0);
                        }
                    }
                }
                Part::Deflate => {
                    let (len, ends) = self.inflate(data)?;
                    if ends {
                        self.part = Part::Trailer(Vec::new());
                    }
                    if len > 0 || !ends {
                        return Ok(len);
                    }
                }
                Part::Trailer(trailer) => {
                    let missing = 8 - trailer.len().min(8);
                    let (part, rest) = data.split_at_checked(missing).unwrap_or((*data, &[]));
                    trailer.extend_from_slice(part);
                    *data = rest;
                    let Some((crc, len)) = trailer.split_first_chunk::<4>() else { return Ok(0) };
                    let Ok(len) = <[u8; 4]>::try_from(len) else { return Ok(0) };
                    if u32::from_le_bytes(*crc) != !self.crc
                        || u32::from_le_bytes(len) != self.len as u32
                    {
                        return Err(HttpError::Gzip("its checksum is wrong"));
                    }
                    self.part = Part::Done;
                }
                Part::Done => {
                    *data = &[];
                    return Ok(0);
                }
            }
        }
    }

    /// One step. Returns how many bytes it brought, which is 0 only if all of `data` is used or the
    /// packed data has ended, and whether it has.
    fn inflate(&mut self, data: &mut &[u8]) -> Result<(usize, bool), HttpError> {
        loop {
            let result = inflate(&mut self.inflate, data, self.step.as_mut_slice(), MZFlush::None);
            *data = data.get(result.bytes_consumed..).unwrap_or_default();
            let unpacked = self.step.get(..result.bytes_written).unwrap_or_default();
            self.len = self.len.saturating_add(unpacked.len() as u64);
            if self.len > self.limit {
                return Err(HttpError::BodyTooLong(self.limit));
            }
            self.crc = crc32(self.crc, unpacked);
            let (len, ends) = (unpacked.len(), result.status == Ok(MZStatus::StreamEnd));
            self.more = len == STEP && !ends;
            match result.status {
                _ if len > 0 || ends => return Ok((len, ends)),
                Ok(_) if result.bytes_consumed > 0 => {}
                // It wants more.
                Ok(_) | Err(MZError::Buf) => {
                    *data = &[];
                    return Ok((0, false));
                }
                Err(_) => return Err(HttpError::Gzip("its data is corrupt")),
            }
        }
    }
}

impl fmt::Debug for Gunzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gunzip").field("unpacked", &self.len).field("limit", &self.limit).finish()
    }
}

/// How long the header is, once it is whole (RFC 1952 §2.3).
fn header_len(bytes: &[u8]) -> Result<Option<usize>, HttpError> {
    let magic = [0x1F, 0x8B, 8];
    if bytes.iter().zip(&magic).any(|(a, b)| a != b) {
        return Err(HttpError::Gzip("it does not begin like one"));
    }
    Ok(bytes.get(3).and_then(|&flags| {
        let mut at = 10;
        if flags & EXTRA != 0 {
            let len = bytes.get(at..at + 2).and_then(|len| <[u8; 2]>::try_from(len).ok())?;
            at += 2 + usize::from(u16::from_le_bytes(len));
        }
        for flag in [NAME, COMMENT] {
            if flags & flag != 0 {
                at += bytes.get(at..)?.iter().position(|&b| b == 0)? + 1;
            }
        }
        if flags & HEADER_CRC != 0 {
            at += 2;
        }
        (bytes.len() >= at).then_some(at)
    }))
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// RFC 1952 §8; begins with all ones and is inverted at the end.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &b| crc >> 8 ^ CRC_TABLE[usize::from(crc as u8 ^ b)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(!crc32(!0, b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn gzip_headers_of_every_kind_are_skipped() {
        let full = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x02\0xyname\0comment\0\x12\x34";
        for len in 0..full.len() {
            assert_eq!(header_len(&full[..len]), Ok(None), "{len}");
        }
        assert_eq!(header_len(full), Ok(Some(full.len())));
        assert_eq!(header_len(b"\x1f\x8b\x08\0\0\0\0\0\0\x03more"), Ok(Some(10)));
        assert!(header_len(b"\x1f\x8c").is_err() && header_len(b"\x1f\x8b\x07").is_err());
        let mut long = Gunzip::new(10);
        let name = [&b"\x1f\x8b\x08\x08\0\0\0\0\0\x03"[..], &[b'n'; 2000]].concat();
        assert_eq!(
            name.chunks(7).try_for_each(|mut part| long.unpack(&mut part).map(drop)),
            Err(HttpError::Gzip("its header is too long"))
        );
    }
}
