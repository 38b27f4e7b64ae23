//! Bytes to values and back, without time, policy or trust in a length that the other side claims.

pub mod metainfo;
