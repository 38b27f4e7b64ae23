//! Secrets of a tracker's address in the tracker's own words: trackers echo passkeys in failures
//! and warnings, which end in logs and on screens. What of an address is secret is decided as for
//! showing it.

use super::TrackerUrl;

/// Shorter parts of an address are no secrets, but parts of words.
const LEAST: usize = 4;
/// A part of a path with letters only is a word up to this length.
const LONGEST_WORD: usize = 12;

impl TrackerUrl {
    /// `text` without the secrets of this address: user and password, values of the query, and
    /// parts of the path that are not plain words. Each becomes "…".
    pub(crate) fn redacted(&self, text: &str) -> String {
        let mut secrets = self.secrets();
        // Of two that overlap the longer one must not be cut.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text.to_owned(), |text, secret| without(&text, &secret))
    }

    fn secrets(&self) -> Vec<String> {
        let credentials = self
            .credentials()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default();
        let target = self.target();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let is_word = |part: &&str| {
            part.len() <= LONGEST_WORD && part.bytes().all(|b| b.is_ascii_alphabetic() || b == b'.')
        };
        let values = query
            .split(['&', ';'])
            .map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        let written = path.split('/').filter(|part| !is_word(part)).chain(values).chain([query]);
        let written = written.chain(credentials.split(':')).map(str::to_owned);
        let all = written.flat_map(|secret| [unescaped(&secret), Some(secret)]).flatten();
        all.filter(|secret| secret.chars().count() >= LEAST).collect()
    }
}

/// `text` with every `secret` in it replaced, in whichever case it is written.
fn without(text: &str, secret: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match rest.get(..secret.len()) {
            Some(head) if head.eq_ignore_ascii_case(secret) => {
                out.push('…');
                rest = rest.get(secret.len()..).unwrap_or_default();
            }
            _ => {
                out.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
            }
        }
    }
    out
}

/// `text` with its `%XX` decoded; `None` if that is not text, or nothing else.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            bytes.push(u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|decoded| decoded != text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_address_are_hidden_in_the_trackers_words() {
        for (url, said, shown) in [
            ("http://t/a1b2c3/announce", "unknown passkey A1B2C3!", "unknown passkey …!"),
            ("http://t/announce?passkey=s3cret&x=1", "no user s3cret (s3cret)", "no user … (…)"),
            ("http://t/announce?pa%73%73word", "a password is pa%73%73word", "a … is …"),
            ("http://user:hunter2@t/announce", "USER with hunter2 refused", "… with … refused"),
            (
                "udp://t:5/tracker/announce.php",
                "the tracker announce.php is down",
                "the tracker announce.php is down",
            ),
            (
                "udp://t:5/abcdefghijklmnop",
                "abcdefghijklmnopq ä abcdefghijklmno",
                "…q ä abcdefghijklmno",
            ),
            ("http://t/x/announce?k=ab", "ab x k", "ab x k"),
        ] {
            assert_eq!(TrackerUrl::parse(url).unwrap().redacted(said), shown, "{url}");
        }
    }
}
