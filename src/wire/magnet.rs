//! Magnet links (BEP 9, "magnet URI format"): the link of a torrent that is at hand. Knows no peers
//! and no engine.

use std::fmt::Write;

use super::metainfo::Metainfo;

/// Trackers and web seeds that a link carries, each; more make links that mail programs and shells
/// cut.
const MAX_ADDRESSES: usize = 20;

impl Metainfo {
    /// The magnet link of this torrent: its info-hashes in hex (`xt`), its name (`dn`), its size
    /// (`xl`, bytes), its trackers (`tr`, tier by tier) and web seeds (`ws`), the first 20 of
    /// each.
    ///
    /// ```
    /// use cratetorrent::wire::metainfo::Metainfo;
    ///
    /// let bytes = b"d8:announce10:udp://a:804:infod6:lengthi5e4:name3:a b\
    ///     12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    /// let link = Metainfo::from_bytes(bytes)?.magnet();
    /// assert!(link.starts_with("magnet:?xt=urn:btih:"));
    /// assert!(link.ends_with("&dn=a%20b&xl=5&tr=udp%3A%2F%2Fa%3A80"));
    /// # Ok::<(), cratetorrent::wire::metainfo::MetainfoError>(())
    /// ```
    pub fn magnet(&self) -> String {
        let v1 = self.identity.v1().map(|hash| format!("xt=urn:btih:{hash}"));
        // A multihash: 0x12 for SHA-256, 0x20 for its 32 bytes (BEP 9).
        let v2 = self.identity.v2().map(|hash| format!("xt=urn:btmh:1220{hash}"));
        let topics: Vec<_> = v1.into_iter().chain(v2).collect();
        let mut link = format!("magnet:?{}", topics.join("&"));
        let mut add = |key: &str, value: &str| {
            let _ = write!(link, "&{key}=");
            escape(value, &mut link);
        };
        if !self.name.is_empty() {
            add("dn", &self.name);
        }
        add("xl", &self.geometry.total_len().to_string());
        self.trackers.iter().flatten().take(MAX_ADDRESSES).for_each(|url| add("tr", url));
        self.web_seeds.iter().take(MAX_ADDRESSES).for_each(|url| add("ws", url));
        link
    }
}

/// Percent-encodes everything but what RFC 3986, section 2.3, calls unreserved.
fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte))
            }
            _ => _ = write!(into, "%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::metainfo::{Metainfo, MetainfoBuilder};

    #[test]
    fn magnet_link_escapes_foreign_words_and_bounds_addresses() {
        let mut builder = MetainfoBuilder::new("größe & more\n", 16_384);
        builder.single_file(3).web_seed("http://w/?a=b");
        for n in 0..30 {
            builder.tracker_tier([format!("http://t{n}/announce?key=ä")]);
        }
        let metainfo = Metainfo::from_bytes(&builder.build(&[[1; 20]]).unwrap()).unwrap();
        let link = metainfo.magnet();
        let begin = format!(
            "magnet:?xt=urn:btih:{}&dn=gr%C3%B6%C3%9Fe%20%26%20more%0A&xl=3&tr=http",
            metainfo.info_hash()
        );
        assert!(link.starts_with(&begin), "{link}");
        assert_eq!(link.matches("&tr=").count(), 20);
        assert!(link.contains("&tr=http%3A%2F%2Ft19%2Fannounce%3Fkey%3D%C3%A4"), "{link}");
        assert!(link.ends_with("&ws=http%3A%2F%2Fw%2F%3Fa%3Db"), "{link}");
        assert!(link.is_ascii() && !link.contains([' ', '\n']));
    }
}
