//! As much of XML as routers' descriptions and answers need: elements by their local names, and
//! their text. It allocates nothing, follows no entity but the five that XML has, and reads no
//! declarations of a document's own.

/// Elements within each other beyond which nothing is read.
const MAX_DEPTH: usize = 32;
/// Tags beyond which nothing is read.
const MAX_TAGS: usize = 4096;

/// What comes next in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// An element begins; its name without a prefix.
    Open(&'a str),
    /// An element ends.
    Close(&'a str),
    /// Text, as it is written, without white space around.
    Text(&'a str),
}

/// Reads a document token by token. It ends at what it does not understand.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a str,
    /// An element that ends where it began.
    closing: Option<&'a str>,
    depth: usize,
    tags: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, closing: None, depth: 0, tags: 0 }
    }

    fn tag(&mut self, tag: &'a str) -> Option<Token<'a>> {
        self.tags += 1;
        if self.tags > MAX_TAGS {
            return None;
        }
        let name = |text: &'a str| {
            let end = text.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(text.len());
            let name = text.get(..end).unwrap_or_default();
            name.rsplit(':').next().unwrap_or(name)
        };
        if let Some(closed) = tag.strip_prefix('/') {
            self.depth = self.depth.saturating_sub(1);
            return Some(Token::Close(name(closed)));
        }
        let name = name(tag);
        if tag.ends_with('/') {
            self.closing = Some(name);
        } else {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return None;
            }
        }
        Some(Token::Open(name))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(name) = self.closing.take() {
            return Some(Token::Close(name));
        }
        loop {
            let Some(open) = self.rest.find('<') else {
                self.rest = "";
                return None;
            };
            let text = self.rest.get(..open)?.trim();
            if !text.is_empty() {
                self.rest = self.rest.get(open..)?;
                return Some(Token::Text(text));
            }
            let behind = self.rest.get(open + 1..)?;
            let skip = |begin: &str, end: &str| {
                let inner = behind.strip_prefix(begin)?;
                Some(inner.find(end).and_then(|at| inner.get(at + end.len()..)).unwrap_or(""))
            };
            if let Some(rest) = skip("!--", "-->").or_else(|| skip("?", "?>")) {
                self.rest = rest;
                continue;
            }
            if behind.starts_with('!') {
                // A declaration, or text that is marked: neither belongs there.
                self.rest = "";
                return None;
            }
            let end = behind.find('>')?;
            self.rest = behind.get(end + 1..)?;
            return self.tag(behind.get(..end)?);
        }
    }
}

/// The text of the first element of this name, without escapes; at most `most` bytes.
pub fn text_of(document: &str, name: &str, most: usize) -> Option<String> {
    let mut inside = false;
    for token in Reader::new(document) {
        match token {
            Token::Open(open) => inside = open == name,
            Token::Text(text) if inside => {
                return (text.len() <= most).then(|| unescape(text));
            }
            Token::Close(_) if inside => return Some(String::new()),
            _ => inside = false,
        }
    }
    None
}

/// The five entities that XML has by itself.
pub fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (entity, c) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
    {
        if out.contains('&') {
            out = out.replace(entity, c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_is_read_by_local_names() {
        let text = "<?xml version=\"1.0\"?><!-- <x> --><s:a b=\"c\">\n t &amp; u <d/></s:a>";
        let tokens: Vec<_> = Reader::new(text).collect();
        let want = [
            Token::Open("a"),
            Token::Text("t &amp; u"),
            Token::Open("d"),
            Token::Close("d"),
            Token::Close("a"),
        ];
        assert_eq!(tokens, want);
        assert_eq!(text_of(text, "a", 100).as_deref(), Some("t & u"));
        assert_eq!(text_of(text, "a", 3), None);
        assert_eq!(text_of(text, "e", 100), None);
        assert_eq!(text_of("<a></a>", "a", 9).as_deref(), Some(""));
    }

    #[test]
    fn xml_bombs_end() {
        assert!(Reader::new(&"<a>".repeat(100_000)).count() <= MAX_DEPTH);
        assert!(Reader::new(&"<a/>".repeat(100_000)).count() <= 2 * MAX_TAGS);
        assert_eq!(Reader::new("<!DOCTYPE x [<!ENTITY a \"b\">]><a>&a;</a>").count(), 0);
        for text in ["<", "<a", "<!--", "<?", "</", "<>", "a", "", "<ü>ü</ü>"] {
            assert!(Reader::new(text).count() < 4, "{text}");
        }
    }
}
