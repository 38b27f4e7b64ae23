//! The mistakes of `scripts/planted/*.edit`: small edits to the sources, which a copy of the tree
//! gets and which the simulator must find there. What is checked in stays free of them. An edit
//! names the right text, not its file and line, so it survives moves; white space does not count.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{below, root, sources, words};

/// One mistake: its name, and the texts to replace.
struct Mistake {
    name: String,
    edits: Vec<Edit>,
}

struct Edit {
    right: String,
    wrong: String,
}

/// What the copy of the tree asks, built once for all mistakes: is this one made in this run?
const SWITCH: &str = r#"//! Generated: the mistake that `PLANTED` names is made.

pub(crate) fn is_made(name: &str) -> bool {
    static MADE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    MADE.get_or_init(|| std::env::var("PLANTED").unwrap_or_default()) == name
}
"#;

/// All mistakes, in the order of their names.
fn mistakes() -> Vec<Mistake> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("scripts/planted"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "edit"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        parse(name, &fs::read_to_string(path).unwrap())
    };
    files.iter().map(read).collect()
}

/// What the mistake is, then one or more of `--- right` and `--- wrong`. `MADE` in the wrong text
/// is true in a run that makes the mistake.
fn parse(name: &str, text: &str) -> Mistake {
    let mut edits = Vec::new();
    for part in text.split("--- right\n").skip(1) {
        let (right, wrong) =
            part.split_once("--- wrong\n").unwrap_or_else(|| panic!("{name}.edit: no wrong text"));
        let made = format!("crate::planted::is_made(\"{name}\")");
        let wrong = wrong.trim().replace("MADE", &made);
        edits.push(Edit { right: right.trim().into(), wrong });
    }
    assert!(!edits.is_empty(), "{name}.edit: no right text");
    Mistake { name: name.into(), edits }
}

/// Where `wanted` stands in `text`, as byte ranges; white space and trailing commas do not count.
fn places(text: &str, wanted: &str) -> Vec<std::ops::Range<usize>> {
    let longest = words(wanted).max_by_key(|word| word.len()).unwrap();
    if !text.contains(longest) {
        return Vec::new();
    }
    let text = significant(text);
    let wanted: Vec<char> = significant(wanted).into_iter().map(|(_, c)| c).collect();
    let is_there = |part: &&[(usize, char)]| part.iter().map(|(_, c)| c).eq(wanted.iter());
    let range = |part: &[(usize, char)]| {
        let (last, c) = part[part.len() - 1];
        part[0].0..last + c.len_utf8()
    };
    text.windows(wanted.len()).filter(is_there).map(range).collect()
}

/// The characters that count, with their places.
fn significant(text: &str) -> Vec<(usize, char)> {
    let mut out: Vec<(usize, char)> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        if matches!(c, ')' | ']' | '}') {
            out.pop_if(|(_, before)| *before == ',');
        }
        out.push((at, c));
    }
    out
}

/// Makes the edits of `mistake` in `files`, or says which does not apply.
fn apply(mistake: &Mistake, files: &mut BTreeMap<PathBuf, String>) -> Result<(), String> {
    for Edit { right, wrong } in &mistake.edits {
        let mut found = Vec::new();
        for (file, text) in files.iter() {
            found.extend(places(text, right).into_iter().map(|place| (file.clone(), place)));
        }
        let [(file, place)] = &found[..] else {
            return Err(format!(
                "edit {} does not apply: update scripts/planted/{0}.edit. Its text stands {} times \
                 in the sources and should once: {right}",
                mistake.name,
                found.len()
            ));
        };
        files.get_mut(file).unwrap().replace_range(place.clone(), wrong);
    }
    Ok(())
}

/// The sources that ship: without the simulator and tests, whose text is not production's.
fn production() -> BTreeMap<PathBuf, String> {
    let src = root().join("src");
    let ships = |path: &PathBuf| {
        let mut parts = path.strip_prefix(&src).unwrap().iter();
        !parts.any(|part| part == "sim" || part == "tests" || part == "tests.rs")
    };
    let text = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    sources(&src).into_iter().filter(ships).map(text).collect()
}

fn with_all_mistakes() -> BTreeMap<PathBuf, String> {
    let mut files = production();
    let failed: Vec<String> =
        mistakes().iter().filter_map(|mistake| apply(mistake, &mut files).err()).collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    files
}

/// Also the first half of `scripts/planted/run`, which has the copy of the tree written to the
/// folder that it names in `PLANTED_TREE`.
#[test]
fn planted_mistakes_apply_to_the_sources() {
    assert!(mistakes().len() >= 15);
    let wrong = with_all_mistakes();
    if let Some(tree) = std::env::var_os("PLANTED_TREE") {
        write(Path::new(&tree), wrong);
    }
}

/// Writes the tree with the files that are `wrong` in it. Files that are as they should be keep
/// their time, so that not all is built again.
fn write(tree: &Path, wrong: BTreeMap<PathBuf, String>) {
    let mut files = BTreeMap::new();
    for part in ["src", "examples"] {
        for path in below(&root().join(part)) {
            files.insert(path.clone(), fs::read_to_string(path).unwrap());
        }
    }
    // The manifest names these tests, so that they must be there; they are not built.
    for name in ["tests/interop.rs", "tests/dht_interop.rs"] {
        let path = root().join(name);
        files.insert(path.clone(), fs::read_to_string(path).unwrap());
    }
    for name in ["Cargo.toml", "Cargo.lock"] {
        let path = root().join(name);
        files.insert(path.clone(), renamed(name, &fs::read_to_string(path).unwrap()));
    }
    files.extend(wrong);
    files.get_mut(&root().join("src/lib.rs")).unwrap().push_str("\nmod planted;\n");
    files.insert(root().join("src/planted.rs"), SWITCH.into());

    let mut stale = below(&tree.join("src"));
    for (path, text) in files {
        let to = tree.join(path.strip_prefix(root()).unwrap());
        stale.retain(|old| *old != to);
        if fs::read_to_string(&to).is_ok_and(|there| there == text) {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text).unwrap();
    }
    stale.iter().for_each(|old| fs::remove_file(old).unwrap());
}

/// The manifest or the lock file with another name of the package, though not of the library: what
/// cargo builds of the copy must not stand for what it builds of the tree, which goes to the same
/// folder. Its version is told to peers, so that stays.
fn renamed(file: &str, text: &str) -> String {
    let manifest = [
        ("name = \"cratetorrent\"\nversion", "name = \"planted\"\nversion"),
        ("cratetorrent = { path", "cratetorrent = { package = \"planted\", path"),
        ("[profile.dev.package.cratetorrent]", "[profile.dev.package.planted]"),
        ("[features]", "[lib]\nname = \"cratetorrent\"\n\n[features]"),
    ];
    let lock = [
        ("name = \"cratetorrent\"", "name = \"planted\""),
        (" \"cratetorrent\",", " \"planted\","),
    ];
    let changes = if file == "Cargo.toml" { &manifest[..] } else { &lock };
    changes.iter().fold(text.to_owned(), |text, (own, new)| {
        assert_eq!(text.matches(own).count(), 1, "{own:?} in {file}");
        text.replace(own, new)
    })
}

#[test]
fn copy_is_a_package_of_its_own() {
    for file in ["Cargo.toml", "Cargo.lock"] {
        let text = renamed(file, &fs::read_to_string(root().join(file)).unwrap());
        assert!(text.contains("name = \"planted\"\n"), "{file}");
    }
}

#[test]
fn edit_survives_formatting_and_refuses_doubt() {
    let mistake =
        parse("m", "Why.\n\n--- right\nf(a, b)\n--- wrong\nif MADE { 0 } else { f(a, b) }\n");
    let files = |text: &str| BTreeMap::from([(Path::new("a.rs").to_owned(), text.to_owned())]);
    let mut reflowed = files("let x = f(\n    a,\n    b,\n);");
    apply(&mistake, &mut reflowed).unwrap();
    assert_eq!(
        reflowed[Path::new("a.rs")],
        "let x = if crate::planted::is_made(\"m\") { 0 } else { f(a, b) };"
    );
    let refused = |text| apply(&mistake, &mut files(text)).unwrap_err();
    assert!(refused("f(a)").starts_with("edit m does not apply"));
    assert!(refused("f(a, b); f(a, b)").contains("stands 2 times"));
}
