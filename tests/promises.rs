//! The chapters in `src/guide/` say which test holds which promise. Here their lists are held
//! against the tree: a test, a fuzz target, a module or a file that they name is there. So are the
//! paths in DESIGN.md, CONTRIBUTING.md and all chapters. A picture is that of its table.
#![allow(clippy::unwrap_used)]

#[path = "promises/utp_figure.rs"]
mod utp_figure;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Chapters with a list whose entries end with the names of what tests them, and the least number
/// of entries.
const LISTS: [(&str, usize); 3] =
    [("hostile_input.md", 55), ("simulator.md", 15), ("what_use_found.md", 38)];

/// What there is to be named.
struct Tree {
    root: PathBuf,
    tests: BTreeSet<String>,
    fuzz: BTreeSet<String>,
}

impl Tree {
    fn read() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let sources = [root.join("src"), root.join("tests")]
            .iter()
            .flat_map(|folder| files(folder))
            .collect::<Vec<_>>();
        let tests =
            sources.iter().flat_map(|path| tests_in(&fs::read_to_string(path).unwrap())).collect();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let fuzz = files(&root.join("fuzz/fuzz_targets")).into_iter().map(stem).collect();
        Self { root, tests, fuzz }
    }

    /// Whether there is a test, or something with tests, of this name.
    fn has(&self, name: &str) -> bool {
        if let Some(beginning) = name.strip_suffix('*') {
            return self.tests.iter().any(|test| test.starts_with(beginning));
        }
        if name.contains('/') {
            return self.root.join(name).exists();
        }
        if name.contains("::") {
            let module = self.root.join("src").join(name.replace("::", "/"));
            let below = if module.is_dir() { files(&module) } else { Vec::new() };
            let all = below.into_iter().chain([module.with_extension("rs")]);
            return all
                .filter_map(|path| fs::read_to_string(path).ok())
                .any(|text| !tests_in(&text).is_empty());
        }
        self.tests.contains(name) || self.fuzz.contains(name)
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
    out
}

/// Names of tests: functions behind `#[test]`, and the cases of a `cases!`.
fn tests_in(text: &str) -> Vec<String> {
    let (mut tests, mut test, mut cases) = (Vec::new(), false, false);
    let word = |text: &str| {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    for line in text.lines() {
        test |= line.trim() == "#[test]";
        cases = (cases || line.starts_with("cases! {")) && line != "}";
        let line = line.trim();
        if let Some(name) = line.strip_prefix("fn ").filter(|_| test) {
            test = false;
            tests.push(word(name));
        } else if cases && line[word(line).len()..].starts_with(" =>") {
            tests.push(word(line));
        }
    }
    tests
}

/// The entries of a list, `- **what**: what holds. Tests: names.`, as what and names. Lines that
/// are indented go on with an entry.
fn entries(text: &str) -> Vec<(String, String)> {
    let mut entries: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if line.starts_with("- **") {
            entries.push(line.into());
            open = true;
        } else if open && line.starts_with("  ") {
            entries.last_mut().unwrap().push_str(&line[1..]);
        } else {
            open = false;
        }
    }
    let split = |entry: String| {
        let what = entry.trim_start_matches("- **").split("**").next().unwrap().to_owned();
        let tests = entry.rsplit_once("Tests: ").map_or(String::new(), |(_, tests)| tests.into());
        (what, tests)
    };
    entries.into_iter().map(split).collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Everything that is wrong with the list of a chapter.
fn faults(chapter: &str, text: &str, least: usize, tree: &Tree) -> Vec<String> {
    let entries = entries(text);
    let mut faults = Vec::new();
    if entries.len() < least {
        faults.push(format!("{chapter}: {} entries", entries.len()));
    }
    for (what, tests) in entries {
        if quoted(&tests).count() == 0 {
            faults.push(format!("{what}: no test"));
        }
        let absent = quoted(&tests).filter(|name| !tree.has(name));
        faults.extend(absent.map(|name| format!("{what}: there is no {name}")));
    }
    faults
}

/// Paths of files and folders that a text names, between backquotes or in a drawing. Those below
/// `src/` may leave that out.
fn paths(text: &str) -> BTreeSet<&str> {
    let (mut paths, mut drawing) = (BTreeSet::new(), false);
    let is_path = |word: &&str| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        let code = word.ends_with(".rs") || word.ends_with(".md") || word.ends_with(".py");
        plain && word.len() > 1 && (code && word.contains('/') || word.ends_with('/'))
    };
    for line in text.lines() {
        drawing ^= line.starts_with("```text") || (drawing && line.starts_with("```"));
        if drawing {
            paths.extend(line.split_whitespace().filter(is_path));
        } else {
            paths.extend(quoted(line).filter(is_path));
        }
    }
    paths
}

#[test]
fn chapters_name_tests_that_are_there() {
    let tree = Tree::read();
    let mut all = Vec::new();
    for (chapter, least) in LISTS {
        let text = fs::read_to_string(tree.root.join("src/guide").join(chapter)).unwrap();
        all.extend(faults(chapter, &text, least, &tree));
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn documents_name_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chapters = fs::read_dir(root.join("src/guide")).unwrap().map(|e| e.unwrap().path());
    let documents = ["DESIGN.md", "CONTRIBUTING.md"].map(|name| root.join(name));
    let mut absent = Vec::new();
    for document in documents.into_iter().chain(chapters) {
        let text = fs::read_to_string(&document).unwrap();
        let is_absent =
            |path: &&str| !root.join(path).exists() && !root.join("src").join(path).exists();
        let name = document.file_name().unwrap().to_str().unwrap();
        absent.extend(
            paths(&text).into_iter().filter(is_absent).map(|path| format!("{name}: {path}")),
        );
    }
    assert!(absent.is_empty(), "not there:\n{}", absent.join("\n"));
}

#[test]
fn this_test_can_fail() {
    let tree = Tree::read();
    for there in [
        "tests/promises.rs",
        "this_test_can_fail",
        "this_test_can_*",
        "sim::tests::violations",
        "wire::frame",
        "bencode",
    ] {
        assert!(tree.has(there), "{there}");
    }
    // A function that is no test, a module without any, a file that is gone.
    for absent in [
        "tests_in",
        "absent_test",
        "also_absent_*",
        "wire::nothing",
        "tests/nothing.rs",
        "no_fuzz_target",
    ] {
        assert!(!tree.has(absent), "{absent}");
    }
    let list = "Prose.\n- **an attack**: a limit\n  of two lines.\n  Tests: `gone`,\n  \
                `this_test_can_fail`.\n\n- **a b**: none.\n";
    assert_eq!(
        faults("x.md", list, 3, &tree),
        ["x.md: 2 entries", "an attack: there is no gone", "a b: no test"]
    );
    let text = "`a/b.rs` c/d.rs `e.rs` `f/`\n```text\n g/h.rs, i/j.rs k/\n```\n l/m.rs";
    assert_eq!(paths(text).into_iter().collect::<Vec<_>>(), ["a/b.rs", "f/", "i/j.rs", "k/"]);
    assert_eq!(
        tests_in(
            "    #[test]\n    fn a() {\n}\nfn b() {}\ncases! { x:\n    // y\n    \
             c => 1;\n    d => 2;\n}\n    e => 3;\n"
        ),
        ["a", "c", "d"]
    );
}

/// The blocks of Rust in a text.
fn rust_blocks(text: &str) -> Vec<String> {
    let (mut blocks, mut open): (Vec<String>, _) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            open = !open && (line.starts_with("```rust") || line == "```no_run");
            if open {
                blocks.push(String::new());
            }
        } else if open && let Some(block) = blocks.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks
}

/// The crate's documentation is compiled, so what it shows compiles wherever it is shown.
#[test]
fn readme_program_is_the_one_of_the_crate_docs() {
    let read =
        |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let docs = read("src/lib.rs")
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .fold(String::new(), |text, line| text + line.strip_prefix(' ').unwrap_or(line) + "\n");
    let program = |block: &String| block.contains("fn main()") && block.contains("spawn(");
    let shown: Vec<String> = rust_blocks(&docs).into_iter().filter(program).collect();
    assert_eq!(shown.len(), 1);
    assert!(
        rust_blocks(&read("README.md"))
            .iter()
            .filter(|block| program(block))
            .all(|block| *block == shown[0])
    );
}
