//! One foreign name to one safe component of a path: which names a platform takes, as a value, so
//! that the rules of each platform are tested on every other.
//!
//! Pure text: knows neither the other names of a torrent nor a disk.

use super::STATE_FOLDER;

/// Bytes of an extension that survives cutting.
const MAX_EXTENSION: usize = 32;

/// The names that a platform takes as they are. Every other name is changed to one that it takes.
///
/// On all platforms a name is changed if it is empty, `.` or `..`, or has separators (`/`, `\`),
/// control characters or marks of text direction, with which `gpj.exe` shows as `exe.jpg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameRules {
    /// What is cut off at the ends of a name.
    trim: Trim,
    /// Devices such as `AUX`, with any extension, are no names of files.
    devices: bool,
    /// `<`, `>`, `:`, `"`, `|`, `?` and `*` are not allowed.
    punctuation: bool,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trim {
    Nothing,
    /// Dots and spaces at the end, which Windows drops: that would make two names one, and `..` of
    /// `.. `.
    End,
    /// Those, and white space on both sides.
    Both,
}

/// The length of one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Bytes(usize),
    /// Units of UTF-16, as NTFS counts.
    Units(usize),
}

impl NameRules {
    /// Linux, macOS and other Unix systems: their file systems take 255 bytes of anything but `/`
    /// and NUL.
    pub(crate) const UNIX: Self =
        Self { trim: Trim::Nothing, devices: false, punctuation: false, limit: Limit::Bytes(255) };
    /// Windows (Microsoft, "Naming Files, Paths, and Namespaces"); NTFS takes 255 units of UTF-16.
    pub(crate) const WINDOWS: Self =
        Self { trim: Trim::End, devices: true, punctuation: true, limit: Limit::Units(255) };
    /// Version 0.2, which changed names alike everywhere but for the punctuation that only Windows
    /// forbids. Files that it has written are still looked for under its names.
    pub(crate) const V0_2: Self = Self {
        trim: Trim::Both,
        devices: true,
        punctuation: cfg!(windows),
        limit: Limit::Bytes(240),
    };

    /// Those of the platform that this is compiled for.
    pub(crate) const fn here() -> Self {
        if cfg!(windows) { Self::WINDOWS } else { Self::UNIX }
    }

    /// One foreign name as one safe, non-empty component.
    pub(super) fn component(&self, name: &str) -> String {
        let clean: String = name.chars().map(|c| if self.is_unsafe(c) { '_' } else { c }).collect();
        let trimmed = self.trimmed(&clean);
        if matches!(trimmed, "" | "." | "..") {
            return "_".into();
        }
        let mut safe = String::with_capacity(trimmed.len() + 1);
        if self.devices && is_device(trimmed) {
            safe.push('_');
        }
        safe.push_str(trimmed);
        if self.limit.len(&safe) > self.limit.max() {
            let (stem, extension) = split_extension(&safe);
            safe = format!("{}{extension}", self.cut(stem, extension));
            safe.truncate(self.trimmed_end(&safe).len());
        }
        safe
    }

    /// The first component, which must not be the states' folder, in whatever case.
    pub(super) fn top_component(&self, name: &str) -> String {
        let safe = self.component(name);
        if safe.to_lowercase() == STATE_FOLDER { format!("_{safe}") } else { safe }
    }

    /// `name.ext` to `name.1.ext`, within the limit.
    pub(super) fn numbered(&self, name: &str, number: u32) -> String {
        let (stem, extension) = split_extension(name);
        let suffix = format!(".{number}{extension}");
        format!("{}{suffix}", self.cut(stem, &suffix))
    }

    fn trimmed<'a>(&self, name: &'a str) -> &'a str {
        match self.trim {
            Trim::Nothing | Trim::End => self.trimmed_end(name),
            Trim::Both => self.trimmed_end(name.trim()),
        }
    }

    fn trimmed_end<'a>(&self, name: &'a str) -> &'a str {
        match self.trim {
            Trim::Nothing => name,
            Trim::End => name.trim_end_matches(['.', ' ']),
            Trim::Both => name.trim_end_matches(|c: char| c == '.' || c.is_whitespace()),
        }
    }

    /// As much of `stem`, cut between characters, as leaves room for `suffix`.
    fn cut<'a>(&self, stem: &'a str, suffix: &str) -> &'a str {
        let room = self.limit.max().saturating_sub(self.limit.len(suffix));
        let mut len = 0;
        let over = stem.char_indices().find(|(_, c)| {
            len += self.limit.char_len(*c);
            len > room
        });
        over.map_or(stem, |(at, _)| stem.split_at(at).0)
    }

    fn is_unsafe(&self, c: char) -> bool {
        matches!(c,
            '/' | '\\'
            // Marks, embeddings, overrides and isolates of text direction.
            | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}' | '\u{feff}')
            || c.is_control()
            || (self.punctuation && matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*'))
    }
}

impl Limit {
    const fn max(self) -> usize {
        match self {
            Self::Bytes(max) | Self::Units(max) => max,
        }
    }

    fn char_len(self, c: char) -> usize {
        match self {
            Self::Bytes(_) => c.len_utf8(),
            Self::Units(_) => c.len_utf16(),
        }
    }

    fn len(self, text: &str) -> usize {
        text.chars().map(|c| self.char_len(c)).sum()
    }
}

/// Names that mean devices on Windows, with any extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CLOCK$" | "CONIN$" | "CONOUT$" => true,
        _ => ["COM", "LPT"].iter().any(|port| {
            let mut number = stem.strip_prefix(port).unwrap_or("").chars();
            matches!((number.next(), number.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        }),
    }
}

/// Into name and extension with its dot; the extension is empty if there is none worth keeping.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= MAX_EXTENSION => name.split_at(at),
        _ => (name, ""),
    }
}
