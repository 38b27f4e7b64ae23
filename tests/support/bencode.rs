//! Bencode, written only (BEP 3). Dictionaries keep the order they are given in, so that odd ones
//! can be made.

/// `i<n>e`
pub fn int(n: u64) -> Vec<u8> {
    format!("i{n}e").into_bytes()
}

/// `<length>:<bytes>`
pub fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{}:", bytes.len()).as_bytes(), bytes].concat()
}

/// A list of values that are encoded already.
pub fn list(values: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = vec![b'l'];
    values.into_iter().for_each(|value| out.extend(value));
    out.push(b'e');
    out
}

/// A dictionary in the order given; the values are encoded already.
pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![b'd'];
    for (key, value) in entries {
        out.extend(string(key));
        out.extend(value);
    }
    out.push(b'e');
    out
}
