//! The sources as modules: the text of each without comments, literals and what only tests see.

use std::{collections::BTreeMap, fs};

use super::{root, sources};

/// Modules of the crate, by path from its root (`["torrent", "swarm"]`).
pub(super) type Modules = BTreeMap<Vec<String>, String>;

/// Reads `src/`. Modules that only tests see (`tests`, `audit`) are left out.
pub(super) fn modules() -> Modules {
    let src = root().join("src");
    let module = |file: std::path::PathBuf| {
        let relative = file.strip_prefix(&src).unwrap().with_extension("");
        let path = path_of(relative.to_str().unwrap());
        (path, code_of(&fs::read_to_string(file).unwrap()))
    };
    let mut modules: Modules = sources(&src).into_iter().map(module).collect();
    modules.retain(|path, _| !path.iter().any(|part| part == "tests" || part == "audit"));
    modules
}

/// `torrent/mod` and `torrent` are one module, `lib` is the root.
fn path_of(file: &str) -> Vec<String> {
    let parts = file.split('/').filter(|part| !matches!(*part, "mod" | "lib"));
    parts.map(str::to_owned).collect()
}

/// The text without comments, string and character literals, and inline test modules. Line breaks
/// stay.
pub(super) fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            literal_len(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#\"") {
            raw_literal_len(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'{'") || rest.starts_with("'}'") {
            3
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        rest = &rest[skipped..];
    }
    while let Some(at) = out.find("#[cfg(test)]\nmod ") {
        let end = match out[at..].find(['{', ';']).map(|found| at + found) {
            Some(open) if out[open..].starts_with('{') => open + group_len(&out[open..]),
            Some(semicolon) => semicolon + 1,
            None => out.len(),
        };
        out.replace_range(at..end, "");
    }
    out
}

fn literal_len(text: &str) -> usize {
    let mut escaped = true;
    for (at, c) in text.char_indices() {
        if c == '"' && !escaped {
            return at + 1;
        }
        escaped = at == 0 || (c == '\\' && !escaped);
        if at == 0 {
            escaped = false;
        }
    }
    text.len()
}

fn raw_literal_len(text: &str) -> usize {
    let open = text.find('"').unwrap();
    let close = format!("\"{}", &text[1..open]);
    text[open + 1..].find(&close).map_or(text.len(), |at| open + 1 + at + close.len())
}

/// The length of the group in braces that `text` begins with.
pub(super) fn group_len(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// What stands between the commas of `list` that are within no bracket.
pub(super) fn items(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut from, mut before) = (Vec::new(), 0, 0, ' ');
    for (at, c) in list.char_indices() {
        match c {
            '{' | '(' | '[' | '<' => depth += 1,
            // Not the end of `->`.
            '>' if before == '-' => {}
            '}' | ')' | ']' | '>' => depth -= 1,
            ',' if depth == 0 => {
                items.push(list[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    items.push(list[from..].trim());
    items.retain(|item| !item.is_empty());
    items
}

#[test]
fn code_is_without_comments_literals_and_tests() {
    assert_eq!(
        code_of(
            "a(\"x // \\\" {\", '{', r#\"\"{\"#); // b\nc\n#[cfg(test)]\nmod tests {\n {}\n}\nd"
        ),
        "a(, , ); \nc\n\nd"
    );
    assert_eq!(code_of("#[cfg(test)]\nmod tests;\nfn f<'a>() {}"), "\nfn f<'a>() {}");
    assert_eq!(
        items("a, b::{c, d}, f: fn(u8) -> Vec<(u8, u8)>,"),
        ["a", "b::{c, d}", "f: fn(u8) -> Vec<(u8, u8)>"]
    );
    assert_eq!(path_of("torrent/mod"), ["torrent"]);
}
