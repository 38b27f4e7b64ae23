//! How text looks, in every file that is kept: lines of 100 columns at most where no formatter sees
//! to it, names of tests of 60 characters at most, and none of the pronouns that leave open which
//! connection, peer or torrent is meant.

use std::{fs, path::PathBuf};

use super::{below, root};

const MAX_COLUMNS: usize = 100;
const MAX_TEST_NAME: usize = 60;

/// Spelt in halves, so that this file keeps its own rule.
const PRONOUNS: [(&str, &str); 4] =
    [("who", "ever"), ("who", "m"), ("some", "body"), ("no", "body")];

/// Files of these folders, and those beside them.
const FOLDERS: [&str; 6] = ["src", "tests", "examples", "scripts", "fuzz", ".ci"];

/// What is written by hand and read by people.
fn texts() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = FOLDERS.iter().flat_map(|f| below(&root().join(f))).collect();
    files.extend(fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()));
    let is_text = |path: &PathBuf| {
        let skipped = ["corpus", "artifacts", "coverage", "target", "__pycache__"];
        let mut parts = path.strip_prefix(root()).unwrap().iter();
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file()
            && !parts.any(|part| skipped.iter().any(|skipped| part == *skipped))
            && matches!(extension, None | Some("rs" | "md" | "py" | "mjs" | "sh" | "toml" | "edit"))
            && !path.file_name().unwrap().to_str().unwrap().starts_with("LICENSE")
    };
    files.retain(is_text);
    files
}

/// Names of functions behind `#[test]`, and of the cases of a `cases!`.
fn tests(text: &str) -> Vec<&str> {
    let (mut tests, mut is_next, mut cases) = (Vec::new(), false, false);
    let name = |text| str::split(text, |c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
    for line in text.lines() {
        cases = (cases || line.starts_with("cases! {")) && line != "}";
        let line = line.trim();
        is_next |= line == "#[test]";
        if let Some(function) = line.strip_prefix("fn ").filter(|_| is_next) {
            tests.push(name(function));
            is_next = false;
        } else if cases && line[name(line).len()..].starts_with(" =>") {
            tests.push(name(line));
        }
    }
    tests
}

/// What is wrong with a text. The formatter keeps to the columns in Rust, but for literals; TOML
/// cannot break what is longer.
fn faults(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let columns = line.chars().count();
        // The words of a string may be a message that has to stay whole.
        let may_be_wide = name.ends_with(".toml") || (name.ends_with(".rs") && line.contains('"'));
        if columns > MAX_COLUMNS && !may_be_wide {
            faults.push(format!("{name}:{number}: {columns} columns"));
        }
        let words = line.split(|c: char| !c.is_alphanumeric());
        for word in words.map(str::to_lowercase) {
            if PRONOUNS.iter().any(|(a, b)| word.strip_prefix(a) == Some(b)) {
                faults.push(format!("{name}:{number}: \"{word}\": name the thing that is meant"));
            }
        }
    }
    if name.ends_with(".rs") {
        let long = tests(text).into_iter().filter(|test| test.len() > MAX_TEST_NAME);
        faults.extend(long.map(|test| format!("{name}: {test} has {} characters", test.len())));
    }
    faults
}

#[test]
fn texts_keep_to_columns_and_name_what_they_mean() {
    let files = texts();
    assert!(files.len() > 400, "only {} files", files.len());
    let check = |path: &PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        faults(name, &text)
    };
    let faults: Vec<String> = files.iter().flat_map(check).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn wide_lines_and_pronouns_are_found() {
    let pronoun = PRONOUNS[3].0.to_owned() + PRONOUNS[3].1;
    assert_eq!(faults("a.md", &"ä".repeat(100)), [""; 0]);
    assert_eq!(faults("a.md", &"ä".repeat(101)), ["a.md:1: 101 columns"]);
    assert_eq!(faults("a.rs", &"ä".repeat(101)), ["a.rs:1: 101 columns"]);
    assert_eq!(faults("a.rs", &format!("\"{}\"", "ä".repeat(101))), [""; 0]);
    for text in [pronoun.clone(), format!("a_{pronoun}_b"), format!("({})", pronoun.to_uppercase())]
    {
        assert_eq!(faults("a.rs", &text).len(), 1, "{text}");
    }
    assert_eq!(faults("a.rs", &format!("{pronoun}s")), [""; 0]);
    let test = |len| format!("#[test]\n#[should_panic]\nfn {}() {{", "a".repeat(len));
    let case = |len| format!("cases! {{ run:\n    {} => 1;\n}}", "a".repeat(len));
    assert_eq!(faults("a.rs", &(test(60) + "\n" + &case(60))), [""; 0]);
    assert_eq!(faults("a.rs", &test(61)).len(), 1);
    assert_eq!(faults("a.rs", &case(61)).len(), 1);
}
