//! The rules that the compiler does not know: which layer may import which, who may read a clock,
//! where `unsafe` may stand, and that each file says what it is for. It reads the sources as text.
#![allow(clippy::unwrap_used)]

#[path = "layering/circles.rs"]
mod circles;
#[path = "layering/modules.rs"]
mod modules;
#[path = "layering/planted.rs"]
mod planted;
#[path = "layering/quiet.rs"]
mod quiet;
#[path = "layering/sizes.rs"]
mod sizes;
#[path = "layering/words.rs"]
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file's place: the first folder below `src/`, or its own name at the top.
fn layer(file: &str) -> &str {
    file.split_once('/').map_or(file.trim_end_matches(".rs"), |(folder, _)| folder)
}

/// What each layer may import besides itself; `None` for one that this test has not heard of.
fn may_see(layer: &str) -> Option<&'static [&'static str]> {
    Some(match layer {
        "base" | "guide" => &[],
        "wire" | "alert" | "error" => &["base"],
        // The set of alerts that are wanted is a setting.
        "conf" => &["base", "alert"],
        "proto" => &["base", "wire", "conf"],
        "store" => &["base", "wire"],
        "torrent" => &["base", "wire", "proto", "conf", "alert", "error"],
        "create" => &["base", "wire", "store", "error"],
        "engine" => &["base", "wire", "proto", "torrent", "conf", "alert", "error"],
        "reactor" => {
            &["base", "wire", "proto", "torrent", "engine", "store", "conf", "alert", "error"]
        }
        // Names only, for those who drive an engine.
        "driver" => &["base", "engine"],
        "handle" => &[
            "base", "wire", "proto", "torrent", "engine", "store", "reactor", "conf", "alert",
            "error",
        ],
        "sim" => &["base", "wire", "proto", "torrent", "engine", "store", "conf", "alert", "error"],
        _ => return None,
    })
}

/// Everything that is wrong with one file; `file` is its path below `src/`.
fn faults(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push("opens without //!".into());
    }
    let code = without_comments(text);
    faults.extend(foreign_imports(file, &code));
    for runtime in ["tokio", "async_std", "async-std", "futures", "smol"] {
        if words(&code).any(|word| word == runtime) {
            faults.push(format!("mentions {runtime}"));
        }
    }
    if file != "reactor/clock.rs" {
        for call in ["Instant::now", "SystemTime::now", "thread::sleep"] {
            // Our own Instant has no now(); code that adds one is caught here as well.
            if code.contains(call) {
                faults.push(format!("calls {call}"));
            }
        }
    }
    if !file.starts_with("store/lanes") && words(&code).any(|word| word == "unsafe") {
        faults.push("unsafe".into());
    }
    faults
}

/// Imports that point to the right. In lib.rs everything is allowed: it is the map.
fn foreign_imports(file: &str, code: &str) -> Vec<String> {
    let layer = layer(file);
    if layer == "lib" {
        return Vec::new();
    }
    let Some(allowed) = may_see(layer) else {
        return vec![format!("layer {layer} is unknown to this test")];
    };
    let foreign = imports(code)
        .into_iter()
        .filter(|import| import != layer && !allowed.contains(&import.as_str()));
    foreign.map(|import| format!("{layer} sees {import}")).collect()
}

/// The first path elements after each `crate::`, also in `crate::{a, b::{c, d}}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        // `$crate` and `othercrate::` are not ours.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.push(head(rest)),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// The first element of each path in `a, b::{c, d}, e}…`.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = vec![head(group.trim_start())];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.push(head(group[at + 1..].trim_start())),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn head(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
}

/// Line comments are prose and may mention anything.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.find("//").map_or(line, |at| &line[..at]))
        .collect::<Vec<_>>()
        .join("\n")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder, in the order of their paths.
fn below(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        paths.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

/// Those of Rust.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = below(folder);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files
}

#[test]
fn sources_keep_the_rules() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&src);
    assert!(files.len() > 10, "only {} files below {}", files.len(), src.display());
    let mut all = Vec::new();
    for path in files {
        let file = path.strip_prefix(&src).unwrap().to_str().unwrap();
        all.extend(
            faults(file, &fs::read_to_string(&path).unwrap())
                .into_iter()
                .map(|fault| format!("src/{file}: {fault}")),
        );
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn no_target_uses_an_async_runtime() {
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for runtime in ["tokio", "async-std", "futures", "smol", "async-executor"] {
        assert!(!words(&manifest).any(|word| word == runtime), "Cargo.toml mentions {runtime}");
    }
}

#[test]
fn this_test_can_fail() {
    let check = |file: &str, code: &str| faults(file, &format!("//! What it is for.\n{code}"));
    assert_eq!(check("base/a.rs", "use crate::base::time::Instant;"), [""; 0]);
    assert_eq!(check("base/a.rs", "use crate::wire::bencode;"), ["base sees wire"]);
    assert_eq!(
        check(
            "proto/a.rs",
            "use crate::{\n    base::{\n        ids::TorrentId, time::Instant,\n    },\n    \
             torrent::Swarm, alert,\n};"
        ),
        ["proto sees torrent", "proto sees alert"]
    );
    assert_eq!(
        check("engine/a/b.rs", "fn f(a: &crate::reactor::Poll) {}"),
        ["engine sees reactor"]
    );
    assert_eq!(
        check("sim/a.rs", "use crate::{engine::Engine, handle::spawn};"),
        ["sim sees handle"]
    );
    assert_eq!(
        check("create/a.rs", "use crate::{engine::Engine, store::Disk, wire::metainfo};"),
        ["create sees engine"]
    );
    assert_eq!(check("conf.rs", "fn f() -> crate::engine::Engine {}"), ["conf sees engine"]);
    assert_eq!(
        check("conf.rs", "use crate::{alert::AlertMask, base::storage::Allocation};"),
        [""; 0]
    );
    assert_eq!(
        check("torrent/a.rs", "use crate::{conf::Conf, alert::Alert, error::Error};"),
        [""; 0]
    );
    assert_eq!(check("lib.rs", "pub use crate::handle::spawn;"), [""; 0]);
    assert_eq!(check("utils/a.rs", ""), ["layer utils is unknown to this test"]);
    assert_eq!(check("wire/a.rs", "use other_crate::engine::Engine; // crate::engine"), [""; 0]);
    assert_eq!(
        check("reactor/a.rs", "let now = std::time::Instant::now();"),
        ["calls Instant::now"]
    );
    assert_eq!(check("reactor/clock.rs", "let now = std::time::Instant::now();"), [""; 0]);
    assert_eq!(check("handle.rs", "use tokio::sync::mpsc;"), ["mentions tokio"]);
    assert_eq!(check("store/files.rs", "unsafe { f() }"), ["unsafe"]);
    assert_eq!(check("store/lanes/x86.rs", "unsafe { f() }"), [""; 0]);
    assert_eq!(check("base/a.rs", "#![deny(unsafe_code)] // nothing unsafe"), [""; 0]);
    assert_eq!(faults("base/a.rs", "use std::fmt;"), ["opens without //!"]);
}
