//! Values that the DHT stores (BEP 44): immutable ones under their hash, mutable ones under a
//! public key and signed.

use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use thiserror::Error;

use super::{ErrorCode, NodeId};
use crate::wire::bencode::{BencodeError, Document, Kind, Limits, Value};

/// The longest value, bytes of its bencoding.
pub const MAX_VALUE: usize = 1000;
/// The longest salt, bytes.
pub const MAX_SALT: usize = 64;

/// A value with what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// It is stored under its own hash.
    Immutable {
        /// The value, bencoded; at most [`MAX_VALUE`] bytes.
        value: Vec<u8>,
    },
    /// It is stored under a key, and can be replaced by the key's owner.
    Mutable(Box<Mutable>),
}

/// A mutable value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutable {
    /// The value, bencoded; at most [`MAX_VALUE`] bytes.
    pub value: Vec<u8>,
    /// The public key (ed25519).
    pub key: [u8; 32],
    /// Tells several values of one key apart; at most [`MAX_SALT`] bytes, none if empty.
    pub salt: Vec<u8>,
    /// Goes up with each change; not negative.
    pub seq: i64,
    /// The owner's signature.
    pub signature: [u8; 64],
}

/// Why a value cannot be stored, or is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The value is too long.
    #[error("a value of {0} bytes exceeds {MAX_VALUE}")]
    ValueTooLong(usize),
    /// The salt is too long.
    #[error("a salt of {0} bytes exceeds {MAX_SALT}")]
    SaltTooLong(usize),
    /// The value is not bencoded.
    #[error("the value is not valid bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// A dictionary's keys are not sorted, or one is there twice.
    #[error("the keys of a dictionary are not in order")]
    Unsorted,
    /// A negative sequence number.
    #[error("the sequence number {0} is negative")]
    NegativeSeq(i64),
    /// The signature does not fit.
    #[error("the signature does not fit")]
    Signature,
    /// The value or key is not that of the target.
    #[error("the value does not belong to the target")]
    Target,
}

impl ItemError {
    /// The code to refuse with.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ValueTooLong(_) => ErrorCode::ValueTooLong,
            Self::SaltTooLong(_) => ErrorCode::SaltTooLong,
            Self::Signature => ErrorCode::Signature,
            _ => ErrorCode::Protocol,
        }
    }
}

impl Item {
    /// The value, bencoded.
    pub fn value(&self) -> &[u8] {
        match self {
            Self::Immutable { value } => value,
            Self::Mutable(item) => &item.value,
        }
    }

    /// The sequence number of a mutable value.
    pub fn seq(&self) -> Option<i64> {
        match self {
            Self::Immutable { .. } => None,
            Self::Mutable(item) => Some(item.seq),
        }
    }

    /// Where it is stored.
    pub fn target(&self) -> NodeId {
        match self {
            Self::Immutable { value } => immutable_target(value),
            Self::Mutable(item) => Mutable::target(&item.key, &item.salt),
        }
    }

    /// Checks all that BEP 44 asks for: lengths, bencoding, signature.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), ItemError> {
        check_value(self.value())?;
        let Self::Mutable(item) = self else { return Ok(()) };
        if item.salt.len() > MAX_SALT {
            return Err(ItemError::SaltTooLong(item.salt.len()));
        }
        if item.seq < 0 {
            return Err(ItemError::NegativeSeq(item.seq));
        }
        let signed = Mutable::signed(&item.salt, item.seq, &item.value);
        UnparsedPublicKey::new(&ED25519, item.key)
            .verify(&signed, &item.signature)
            .map_err(|_| ItemError::Signature)
    }
}

/// Where an immutable value is stored: the SHA-1 of its bencoding.
pub fn immutable_target(value: &[u8]) -> NodeId {
    sha1(&[value])
}

impl Mutable {
    /// Where a key's value is stored: the SHA-1 of key and salt.
    pub fn target(key: &[u8; 32], salt: &[u8]) -> NodeId {
        sha1(&[key, salt])
    }

    /// Signs a value.
    ///
    /// # Errors
    /// If the value or the salt is too long, the value is not canonical bencoding, or the sequence
    /// number is negative.
    pub fn sign(
        key: &SigningKey,
        salt: &[u8],
        seq: i64,
        value: Vec<u8>,
    ) -> Result<Self, ItemError> {
        let mut signature = [0; 64];
        let signed = Self::signed(salt, seq, &value);
        signature.copy_from_slice(key.0.sign(&signed).as_ref());
        let item = Self { value, key: key.public(), salt: salt.to_vec(), seq, signature };
        Item::Mutable(Box::new(item.clone())).verify()?;
        Ok(item)
    }

    /// What is signed (BEP 44, "Signature Verification").
    fn signed(salt: &[u8], seq: i64, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(salt.len() + value.len() + 48);
        if !salt.is_empty() {
            out.extend_from_slice(format!("4:salt{}:", salt.len()).as_bytes());
            out.extend_from_slice(salt);
        }
        out.extend_from_slice(format!("3:seqi{seq}e1:v").as_bytes());
        out.extend_from_slice(value);
        out
    }
}

/// The private half of a key (ed25519).
#[derive(Debug)]
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The key of a 32-byte seed, which must be random and kept secret. `None` if the seed is not
    /// accepted.
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        key
    }
}

/// Whether a value is short enough, and bencoding in the one form that all write it in.
pub(super) fn check_value(value: &[u8]) -> Result<(), ItemError> {
    if value.len() > MAX_VALUE {
        return Err(ItemError::ValueTooLong(value.len()));
    }
    let document = Document::parse_with(value, &Limits::default())?;
    if is_sorted(document.root()) { Ok(()) } else { Err(ItemError::Unsorted) }
}

/// Whether the keys of all dictionaries within ascend.
fn is_sorted(root: Value<'_>) -> bool {
    let mut left = vec![root];
    while let Some(value) = left.pop() {
        match value.kind() {
            Kind::List => left.extend(value.as_list().into_iter().flatten()),
            Kind::Dict => {
                let mut last: Option<&[u8]> = None;
                for (key, inner) in value.as_dict().into_iter().flatten() {
                    if last.is_some_and(|last| last >= key) {
                        return false;
                    }
                    last = Some(key);
                    left.push(inner);
                }
            }
            Kind::Int | Kind::Bytes => {}
        }
    }
    true
}

fn sha1(parts: &[&[u8]]) -> NodeId {
    let mut out = [0; 20];
    out.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, &parts.concat()).as_ref());
    NodeId(out)
}
