//! Bencoding (BEP 3): a slice of bytes to a flat table of tokens, and values back to bytes.
//!
//! The parser neither recurses nor copies: a [`Document`] holds eight bytes a value, a [`Value`] is
//! a view that knows its exact span in the original bytes. It knows nothing of what the values
//! mean.

mod encode;
mod lexeme;
#[cfg(test)]
mod tests;

use std::fmt;

use thiserror::Error;

pub use encode::Encoder;

/// What a parse may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of input. Default 64 MiB, at most 2^32 - 1 whatever is set.
    pub bytes: usize,
    /// Lists and dictionaries within each other. Default 100.
    pub depth: usize,
    /// Entries of the token table, 8 bytes each: one a value or key, one more a list or
    /// dictionary. Default 3,000,000, at most 2^29 - 2 whatever is set.
    pub tokens: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, depth: 100, tokens: 3_000_000 }
    }
}

/// Why bytes are not bencoding that we accept. Positions are bytes from the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BencodeError {
    /// The input ends inside a value.
    #[error("it ends within a value, after {len} bytes")]
    Truncated {
        /// Bytes of input.
        len: usize,
    },
    /// No value begins or goes on with this byte.
    #[error("unexpected byte {byte:#04x} at {at}")]
    Unexpected {
        /// Where.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// A number with leading zeros, which BEP 3 forbids.
    #[error("number with leading zeros at {at}")]
    LeadingZero {
        /// Where its value begins.
        at: usize,
    },
    /// `-0`, which BEP 3 forbids.
    #[error("negative zero at {at}")]
    NegativeZero {
        /// Where its value begins.
        at: usize,
    },
    /// An integer outside the 64-bit signed range.
    #[error("integer at {at} exceeds 64 bits")]
    IntegerRange {
        /// Where its value begins.
        at: usize,
    },
    /// A dictionary key that is not a string.
    #[error("dictionary key at {at} is not a string")]
    KeyNotString {
        /// Where the key begins.
        at: usize,
    },
    /// A dictionary that ends after a key.
    #[error("dictionary key without a value at {at}")]
    MissingValue {
        /// Where its value should begin.
        at: usize,
    },
    /// Lists and dictionaries are nested too deeply.
    #[error("more than {limit} levels of nesting at {at}")]
    Depth {
        /// Where the level too many begins.
        at: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many values.
    #[error("more than {limit} tokens")]
    Tokens {
        /// The limit.
        limit: usize,
    },
    /// The input is too long.
    #[error("{len} bytes exceed the limit of {limit}")]
    TooLong {
        /// Bytes of input.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// Something follows the value.
    #[error("{extra} bytes follow the value, which ends at {at}")]
    Trailing {
        /// Where the value ends.
        at: usize,
        /// Bytes that follow.
        extra: usize,
    },
}

/// What a [`Value`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An integer.
    Int,
    /// A byte string.
    Bytes,
    /// A list.
    List,
    /// A dictionary.
    Dict,
}

/// One entry of the table: the first byte of a value, its kind, and the entry after all that it
/// contains. A list or dictionary has one more for its `e`, and the table ends with one for the end
/// of the value, so a value's last byte is before the first byte of its `next`.
#[derive(Clone, Copy)]
struct Token {
    start: u32,
    /// The kind in the upper three bits, the next entry in the others.
    packed: u32,
}

const INT: u32 = 0;
const BYTES: u32 = 1;
const LIST: u32 = 2;
const DICT: u32 = 3;
const END: u32 = 4;

const NEXT_BITS: u32 = 29;
const NEXT_MASK: u32 = (1 << NEXT_BITS) - 1;

impl Token {
    fn new(start: usize, kind: u32, next: usize) -> Self {
        Self { start: start as u32, packed: kind << NEXT_BITS | (next as u32 & NEXT_MASK) }
    }

    fn kind(self) -> u32 {
        self.packed >> NEXT_BITS
    }

    fn next(self) -> usize {
        (self.packed & NEXT_MASK) as usize
    }

    fn set_next(&mut self, next: usize) {
        self.packed = self.packed & !NEXT_MASK | (next as u32 & NEXT_MASK);
    }
}

/// One parsed value with all that it contains. It borrows the bytes it was parsed from.
#[derive(Clone)]
pub struct Document<'a> {
    bytes: &'a [u8],
    tokens: Vec<Token>,
}

impl<'a> Document<'a> {
    /// Parses exactly one value within the default [`Limits`].
    ///
    /// Keys of a dictionary may be unsorted, as many are in the wild, and may repeat;
    /// [`Value::get`] then finds the first.
    ///
    /// # Errors
    /// If the bytes are not one value, or exceed a limit.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BencodeError> {
        Self::parse_with(bytes, &Limits::default())
    }

    /// Parses exactly one value within `limits`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with(bytes: &'a [u8], limits: &Limits) -> Result<Self, BencodeError> {
        match Self::parse_prefix(bytes, limits)? {
            (document, end) if end == bytes.len() => Ok(document),
            (_, at) => Err(BencodeError::Trailing { at, extra: bytes.len() - at }),
        }
    }

    /// Parses the value that `bytes` begin with, and tells its length; anything may follow it (as
    /// in BEP 9's data messages).
    ///
    /// # Errors
    /// If the bytes do not begin with a value, or exceed a limit.
    pub fn parse_prefix(bytes: &'a [u8], limits: &Limits) -> Result<(Self, usize), BencodeError> {
        let (tokens, end) = tokenize(bytes, limits)?;
        Ok((Self { bytes, tokens }, end))
    }

    /// The value.
    pub fn root(&self) -> Value<'_> {
        Value { bytes: self.bytes, tokens: &self.tokens, at: 0 }
    }
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("bytes", &self.bytes.len())
            .field("tokens", &self.tokens.len())
            .finish()
    }
}

/// A list or dictionary whose end has not come yet.
struct Open {
    token: usize,
    wants: Wants,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Item,
    Key,
    /// The value of a key.
    Value,
}

fn tokenize(bytes: &[u8], limits: &Limits) -> Result<(Vec<Token>, usize), BencodeError> {
    let max_bytes = limits.bytes.min(u32::MAX as usize);
    if bytes.len() > max_bytes {
        return Err(BencodeError::TooLong { len: bytes.len(), limit: max_bytes });
    }
    let max_tokens = limits.tokens.min(NEXT_MASK as usize - 1);
    let mut tokens: Vec<Token> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let &first = rest.first().ok_or(BencodeError::Truncated { len: bytes.len() })?;
        let wants = open.last().map_or(Wants::Item, |o| o.wants);
        if tokens.len() >= max_tokens {
            return Err(BencodeError::Tokens { limit: max_tokens });
        }
        let next = tokens.len() + 1;
        match first {
            b'e' if !open.is_empty() => {
                if wants == Wants::Value {
                    return Err(BencodeError::MissingValue { at });
                }
                tokens.push(Token::new(at, END, next));
                if let Some(token) = open.pop().and_then(|o| tokens.get_mut(o.token)) {
                    token.set_next(next);
                }
                at += 1;
            }
            b'0'..=b'9' => {
                tokens.push(Token::new(at, BYTES, next));
                at += lexeme::string(rest).map_err(|e| e.at(at, bytes))?.len;
            }
            _ if wants == Wants::Key => return Err(BencodeError::KeyNotString { at }),
            b'i' => {
                tokens.push(Token::new(at, INT, next));
                at += lexeme::integer(rest).map_err(|e| e.at(at, bytes))?.len;
            }
            b'l' | b'd' => {
                if open.len() >= limits.depth {
                    return Err(BencodeError::Depth { at, limit: limits.depth });
                }
                let (kind, wants) =
                    if first == b'l' { (LIST, Wants::Item) } else { (DICT, Wants::Key) };
                open.push(Open { token: tokens.len(), wants });
                tokens.push(Token::new(at, kind, next));
                at += 1;
                // What comes next is inside it; its own place in its parent is settled when it
                // ends.
                continue;
            }
            byte => return Err(BencodeError::Unexpected { at, byte }),
        }
        // A value (or a key) is complete.
        match open.last_mut() {
            None => {
                tokens.push(Token::new(at, END, next + 1));
                return Ok((tokens, at));
            }
            Some(o) => {
                o.wants = match o.wants {
                    Wants::Item => Wants::Item,
                    Wants::Key => Wants::Value,
                    Wants::Value => Wants::Key,
                }
            }
        }
    }
}

/// A view of one value in a [`Document`].
#[derive(Clone, Copy)]
pub struct Value<'a> {
    bytes: &'a [u8],
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Value<'a> {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.token().kind() {
            INT => Kind::Int,
            BYTES => Kind::Bytes,
            LIST => Kind::List,
            _ => Kind::Dict,
        }
    }

    /// The exact bytes it was parsed from.
    pub fn raw(&self) -> &'a [u8] {
        let token = self.token();
        let end = self.tokens.get(token.next()).map_or(token.start, |t| t.start);
        self.bytes.get(token.start as usize..end as usize).unwrap_or_default()
    }

    /// Its integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        (self.kind() == Kind::Int)
            .then(|| lexeme::integer(self.raw()).ok())
            .flatten()
            .map(|i| i.value)
    }

    /// Its bytes, if it is a string.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        (self.kind() == Kind::Bytes)
            .then(|| lexeme::string(self.raw()).ok())
            .flatten()
            .map(|s| s.value)
    }

    /// Its text, if it is a string and valid UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        self.as_bytes().and_then(|b| std::str::from_utf8(b).ok())
    }

    /// Its items in order, if it is a list.
    pub fn as_list(&self) -> Option<Items<'a>> {
        (self.kind() == Kind::List).then(|| Items(self.inside()))
    }

    /// Its keys and values in the original order, duplicates included, if it is a dictionary.
    pub fn as_dict(&self) -> Option<Entries<'a>> {
        (self.kind() == Kind::Dict).then(|| Entries(self.inside()))
    }

    /// The value of `key`, if it is a dictionary that has it. Of equal keys the first counts. The
    /// time is linear in the number of keys.
    pub fn get(&self, key: &[u8]) -> Option<Value<'a>> {
        self.as_dict()?.find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    fn inside(&self) -> Siblings<'a> {
        Siblings { bytes: self.bytes, tokens: self.tokens, at: self.at + 1 }
    }

    fn token(&self) -> Token {
        self.tokens.get(self.at).copied().unwrap_or(Token::new(0, END, self.at))
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(\"{}\")", self.kind(), self.raw().escape_ascii())
    }
}

/// Walks over values up to an end token.
#[derive(Clone)]
struct Siblings<'a> {
    bytes: &'a [u8],
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Iterator for Siblings<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let token = self.tokens.get(self.at).filter(|t| t.kind() != END)?;
        let value = Value { bytes: self.bytes, tokens: self.tokens, at: self.at };
        self.at = token.next();
        Some(value)
    }
}

/// The items of a list.
#[derive(Clone)]
pub struct Items<'a>(Siblings<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.0.next()
    }
}

impl fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// The keys and values of a dictionary.
#[derive(Clone)]
pub struct Entries<'a>(Siblings<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.next()?.as_bytes()?;
        Some((key, self.0.next()?))
    }
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone().map(|(k, v)| (k.escape_ascii().to_string(), v))).finish()
    }
}
