//! The two primitives of bencoding, integers and strings, cut off the front of a slice. They know
//! no nesting.

use nom::{
    Err, IResult, Parser,
    bytes::streaming::take,
    character::streaming::{char, digit1},
    combinator::opt,
    sequence::{delimited, terminated},
};

use super::BencodeError;

/// A primitive and the number of bytes it was written in.
pub(super) struct Lexeme<T> {
    pub(super) value: T,
    pub(super) len: usize,
}

/// Why there is none.
pub(super) enum Fault {
    Truncated,
    /// The grammar ends so many bytes before the end of the slice.
    Unexpected {
        left: usize,
    },
    LeadingZero,
    NegativeZero,
    Range,
}

impl Fault {
    /// The fault of the value that begins at `at` in `bytes`.
    pub(super) fn at(self, at: usize, bytes: &[u8]) -> BencodeError {
        match self {
            Self::Truncated => BencodeError::Truncated { len: bytes.len() },
            Self::Unexpected { left } => {
                let at = bytes.len().saturating_sub(left);
                BencodeError::Unexpected { at, byte: bytes.get(at).copied().unwrap_or_default() }
            }
            Self::LeadingZero => BencodeError::LeadingZero { at },
            Self::NegativeZero => BencodeError::NegativeZero { at },
            Self::Range => BencodeError::IntegerRange { at },
        }
    }
}

impl From<Err<nom::error::Error<&[u8]>>> for Fault {
    fn from(error: Err<nom::error::Error<&[u8]>>) -> Self {
        match error {
            Err::Incomplete(_) => Self::Truncated,
            Err::Error(e) | Err::Failure(e) => Self::Unexpected { left: e.input.len() },
        }
    }
}

/// `i`, an optional `-`, digits, `e`.
pub(super) fn integer(input: &[u8]) -> Result<Lexeme<i64>, Fault> {
    let (rest, (minus, digits)) = signed(input)?;
    if leads_with_zero(digits) {
        return Err(Fault::LeadingZero);
    }
    let negative = minus.is_some();
    if negative && digits == b"0" {
        return Err(Fault::NegativeZero);
    }
    let step = |n: i64, digit: &u8| {
        let digit = i64::from(digit - b'0');
        let n = n.checked_mul(10)?;
        if negative { n.checked_sub(digit) } else { n.checked_add(digit) }
    };
    let value = digits.iter().try_fold(0, step).ok_or(Fault::Range)?;
    Ok(Lexeme { value, len: input.len() - rest.len() })
}

/// Digits, `:`, and as many bytes.
pub(super) fn string(input: &[u8]) -> Result<Lexeme<&[u8]>, Fault> {
    let (rest, digits) = length(input)?;
    if leads_with_zero(digits) {
        return Err(Fault::LeadingZero);
    }
    // A length that fits no usize reaches beyond any input.
    let step = |n: usize, digit: &u8| n.checked_mul(10)?.checked_add(usize::from(digit - b'0'));
    let len = digits.iter().try_fold(0, step).ok_or(Fault::Truncated)?;
    let (rest, value) = exactly(len, rest)?;
    Ok(Lexeme { value, len: input.len() - rest.len() })
}

fn signed(input: &[u8]) -> IResult<&[u8], (Option<char>, &[u8])> {
    delimited(char('i'), (opt(char('-')), digit1), char('e')).parse(input)
}

fn length(input: &[u8]) -> IResult<&[u8], &[u8]> {
    terminated(digit1, char(':')).parse(input)
}

fn exactly(len: usize, input: &[u8]) -> IResult<&[u8], &[u8]> {
    take(len).parse(input)
}

fn leads_with_zero(digits: &[u8]) -> bool {
    matches!(digits, [b'0', _, ..])
}
