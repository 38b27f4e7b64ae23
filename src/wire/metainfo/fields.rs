//! Single values of a metainfo file: text, sizes, counts within their limits.

use super::{Field, MetainfoError as Error};
use crate::wire::bencode::Value;

pub(super) type Result<T> = std::result::Result<T, Error>;

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn size(dict: Value<'_>, key: &[u8], field: Field) -> Result<u64> {
    let value = dict.get(key).ok_or(Error::Missing(field))?;
    let value = value.as_int().ok_or(Error::Type { field, wanted: "an integer" })?;
    u64::try_from(value).map_err(|_| Error::Negative { field, value })
}

pub(super) fn check_count(what: &'static str, count: usize, limit: usize) -> Result<()> {
    if count <= limit {
        Ok(())
    } else {
        Err(Error::Count { what, count: count as u64, limit: limit as u64 })
    }
}
