//! Addresses of web seeds (BEP 19): which are accepted, where each file of a torrent is, and what
//! is shown of them. It asks nothing of them.

use std::fmt;

use super::{
    metainfo::Metainfo,
    tracker::{
        Scheme, TrackerUrl, UrlError,
        url::{MAX_URL, escaped},
    },
};

/// The longest address of a file, in bytes: what servers take at least, without the rest of a head.
const MAX_FILE_URL: usize = 8000;

/// The address of a web seed. [`Display`](fmt::Display) shows neither credentials nor the query.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WebSeedUrl(TrackerUrl);

impl WebSeedUrl {
    /// Reads an address of `http` or `https`. It is encoded already and stays as it is; only blanks
    /// and letters beyond ASCII, which no address has, are encoded.
    ///
    /// # Errors
    /// If it is none that a web seed may have.
    ///
    /// ```
    /// use cratetorrent::wire::web_seed::WebSeedUrl;
    ///
    /// let url = WebSeedUrl::parse("http://me:secret@host/a folder/?key=1")?;
    /// assert_eq!(url.to_string(), "http://host/a%20folder/?…");
    /// assert!(WebSeedUrl::parse("ftp://host/").is_err());
    /// # Ok::<(), cratetorrent::wire::tracker::UrlError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = TrackerUrl::parse(&encoded(text)?)?;
        if url.scheme() == Scheme::Udp { Err(UrlError::NotHttp) } else { Ok(Self(url)) }
    }

    /// Where the `nth` file of a torrent is; `None` if there is no such file or that would be too
    /// long. The address of a torrent of one file is the file's, unless it ends with a slash; that
    /// of one with several is the folder's that has the torrent's folder.
    pub fn file(&self, metainfo: &Metainfo, nth: usize) -> Option<FileUrl> {
        let file = metainfo.files.get(nth)?;
        // Scripts take the path as the last part of their query.
        let mut target = self.end().to_owned();
        if metainfo.single_file {
            if target.ends_with('/') {
                push_encoded(&mut target, &metainfo.name)?;
            }
        } else {
            if !target.ends_with('/') {
                target.push('/');
            }
            let parts = [&metainfo.name].into_iter().chain(&file.path);
            for (at, part) in parts.filter(|part| !part.is_empty()).enumerate() {
                if at > 0 {
                    target.push('/');
                }
                push_encoded(&mut target, part)?;
            }
        }
        let path = self.0.path().to_owned();
        let url = match self.0.query() {
            Some(_) => self.0.with_target(path, Some(target)),
            None => self.0.with_target(target, None),
        };
        (url.target().len() <= MAX_FILE_URL).then_some(FileUrl(url))
    }

    /// What the name of a file is appended to.
    fn end(&self) -> &str {
        self.0.query().unwrap_or_else(|| self.0.path())
    }

    /// The whole address with all its secrets: to be kept, not to be shown.
    pub fn expose(&self) -> String {
        self.0.expose()
    }
}

impl fmt::Display for WebSeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.0.scheme(), self.0.authority(), self.0.path())?;
        if self.0.query().is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for WebSeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSeedUrl({self})")
    }
}

/// Where a file is, at a web seed or where that redirects to. It shows as little of itself as a
/// [`WebSeedUrl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileUrl(TrackerUrl);

impl FileUrl {
    /// The parts of it.
    pub(crate) fn url(&self) -> &TrackerUrl {
        &self.0
    }

    /// Where a `Location` leads from here; see [`TrackerUrl::join`]. What servers forgot to encode
    /// is encoded.
    ///
    /// # Errors
    /// If that is no address of `http` or `https`.
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        let url = self.0.join(&encoded(location)?)?;
        if url.scheme() == Scheme::Udp { Err(UrlError::NotHttp) } else { Ok(Self(url)) }
    }

    /// The whole address with all its secrets: to be asked for, not to be shown.
    pub fn expose(&self) -> String {
        self.0.expose()
    }
}

/// Appends a part of a path, percent-encoded (RFC 3986 §2.1); `None` if it is too long.
fn push_encoded(target: &mut String, part: &str) -> Option<()> {
    if target.len() + part.len() > MAX_FILE_URL {
        return None;
    }
    part.bytes().for_each(|byte| target.push_str(&escaped(byte)));
    Some(())
}

/// Encodes what an address may not have and people and servers write all the same.
fn encoded(text: &str) -> Result<String, UrlError> {
    if text.len() > MAX_URL {
        return Err(UrlError::TooLong(text.len()));
    }
    // Not in the host: it would not be a name any more, and is refused as it is.
    let end = |at: usize| {
        let host = text.get(at + 3..).unwrap_or_default();
        at + 3 + host.find(['/', '?']).unwrap_or(host.len())
    };
    let path = text.find("://").map_or(0, end);
    let (host, rest) = text.split_at_checked(path).unwrap_or((text, ""));
    let encode = |b: u8| {
        if b == b' ' || !b.is_ascii() { escaped(b) } else { char::from(b).to_string() }
    };
    Ok(host.to_owned() + &rest.bytes().map(encode).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::metainfo::MetainfoBuilder;

    fn metainfo(name: &str, files: &[&[&str]]) -> Metainfo {
        let mut builder = MetainfoBuilder::new(name, 1 << 20);
        match files {
            [] => _ = builder.single_file(5),
            files => files.iter().for_each(|path| _ = builder.file(path.iter().copied(), 5)),
        }
        Metainfo::from_bytes(&builder.build(&[[0; 20]]).unwrap()).unwrap()
    }

    fn file(url: &str, metainfo: &Metainfo, nth: usize) -> String {
        WebSeedUrl::parse(url).unwrap().file(metainfo, nth).unwrap().expose()
    }

    #[test]
    fn single_file_is_at_the_address_or_below_its_slash() {
        let one = metainfo("a b+c#.iso", &[]);
        assert_eq!(file("http://h/x.iso", &one, 0), "http://h/x.iso");
        assert_eq!(file("http://h", &one, 0), "http://h/a%20b%2Bc%23.iso");
        assert_eq!(file("https://u:p@h:81/d/", &one, 0), "https://u:p@h:81/d/a%20b%2Bc%23.iso");
        assert_eq!(file("http://h/get?f=x/", &one, 0), "http://h/get?f=x/a%20b%2Bc%23.iso");
        assert!(WebSeedUrl::parse("http://h/").unwrap().file(&one, 1).is_none());
    }

    #[test]
    fn files_of_a_folder_are_encoded_part_by_part_and_once() {
        let many = metainfo("N\u{e9}", &[&["d?", "x%20y"], &["a/b"]]);
        assert_eq!(file("http://h/r%20t", &many, 0), "http://h/r%20t/N%C3%A9/d%3F/x%2520y");
        assert_eq!(file("http://h/r%20t/", &many, 1), "http://h/r%20t/N%C3%A9/a%2Fb");
        assert_eq!(file("http://h/get?f=", &many, 1), "http://h/get?f=/N%C3%A9/a%2Fb");
    }

    #[test]
    fn badly_encoded_addresses_are_encoded_and_odd_ones_refused() {
        let one = metainfo("n", &[]);
        assert_eq!(file("http://h/a b/\u{e9}?q=\u{e9}", &one, 0), "http://h/a%20b/%C3%A9?q=%C3%A9");
        for odd in
            ["udp://h:1/", "ftp://h/", "h/x", "http://h/\u{7}", "http://\u{e9}/", "http://a b/"]
        {
            assert!(WebSeedUrl::parse(odd).is_err(), "{odd}");
        }
        let from = WebSeedUrl::parse("http://u:p@h/d/").unwrap().file(&one, 0).unwrap();
        let to = |location| from.join(location).map(|url| url.expose());
        assert_eq!(to("b c?d e"), Ok("http://u:p@h/d/b%20c?d%20e".into()));
        assert_eq!(to("//h2/x"), Ok("http://h2/x".into()), "credentials stay at home");
        assert_eq!(to("udp://h:1/x"), Err(UrlError::NotHttp));
    }

    #[test]
    fn address_of_a_file_is_bounded() {
        let long = metainfo(&"\u{1}".repeat(4000), &[]);
        assert_eq!(WebSeedUrl::parse("http://h/").unwrap().file(&long, 0), None);
        let name = "x".repeat(5000);
        let deep = metainfo("n", &[&[&name, &name]]);
        assert_eq!(WebSeedUrl::parse("http://h/").unwrap().file(&deep, 0), None);
        let error = WebSeedUrl::parse(&format!("http://h/{}", "x".repeat(MAX_URL)));
        assert!(matches!(error, Err(UrlError::TooLong(_))));
    }

    #[test]
    fn secrets_are_not_shown() {
        let url = WebSeedUrl::parse("https://me:pw@h/dir/?token=1").unwrap();
        assert_eq!(url.to_string(), "https://h/dir/?…");
        assert!(!format!("{url:?}").contains("pw"));
    }
}
