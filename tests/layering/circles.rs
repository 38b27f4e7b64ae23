//! Modules side by side must not import each other in a circle. What a parent and its child know of
//! each other does not count: the parent is the folder's map.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Modules, items, modules};

/// Folders with circles, and how many of their modules are part of one, until these are taken
/// apart. An entry that is no longer needed is a fault.
const CIRCLES: &[(&str, usize)] = &[];

pub(super) type Path = Vec<String>;

/// Everything that `code` imports or names by a path, as paths from the crate's root.
fn references(module: &Path, code: &str, modules: &Modules) -> Vec<Path> {
    let mut named = Vec::new();
    let mut end = 0;
    for at in starts_of_paths(code) {
        if at >= end {
            end = at + path_len(&code[at..]);
            named.extend(expand(&code[at..end]));
        }
    }
    for part in code.split('\n').filter_map(|line| line.split_once("use ").map(|(_, tree)| tree)) {
        // `use child::Name;`, which needs no `self::`.
        let tree = &code[part.as_ptr() as usize - code.as_ptr() as usize..];
        let tree = &tree[..tree.find(';').unwrap_or(tree.len())];
        named.extend(expand(tree));
    }
    named.into_iter().filter_map(|path| absolute(module, &path, modules)).collect()
}

/// Where paths begin that say where they start from.
fn starts_of_paths(code: &str) -> BTreeSet<usize> {
    let starts = ["crate::", "super::", "self::"];
    let is_start = |at: &usize| {
        let before = code[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '$'))
    };
    let places = starts.iter().flat_map(|start| code.match_indices(start));
    places.map(|(at, _)| at).filter(is_start).collect()
}

/// The length of the path or tree of paths that `text` begins with.
fn path_len(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' if depth > 0 || text[..at].ends_with("::") => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' if depth > 1 => depth -= 1,
            _ if depth > 0 || c.is_alphanumeric() || matches!(c, '_' | ':') => {}
            _ => return at,
        }
    }
    text.len()
}

/// The paths of `a::{b, c::{d, e}}`.
fn expand(tree: &str) -> Vec<Path> {
    let tree = tree.trim();
    let plain = |text: &str| -> Path {
        let text = text.split(" as ").next().unwrap();
        text.split("::").map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect()
    };
    let Some((head, group)) = tree.split_once('{') else {
        return vec![plain(tree)];
    };
    let inner = items(group.trim_end().strip_suffix('}').unwrap_or(group));
    let join = |tail: Path| plain(head).into_iter().chain(tail).collect();
    inner.into_iter().flat_map(expand).map(join).collect()
}

/// The path from the root of one that `module` writes; `None` if it is another crate's.
fn absolute(module: &Path, path: &Path, modules: &Modules) -> Option<Path> {
    let mut base = module.clone();
    let mut parts = &path[..];
    match parts.first().map(String::as_str) {
        Some("crate") => (base, parts) = (Vec::new(), &parts[1..]),
        Some("self" | "super") => {
            while let Some("self" | "super") = parts.first().map(String::as_str) {
                if parts[0] == "super" {
                    base.pop();
                }
                parts = &parts[1..];
            }
        }
        Some(first) => {
            base.push(first.to_owned());
            if !modules.contains_key(&base) {
                return None;
            }
            base.pop();
        }
        None => return None,
    }
    base.extend(parts.iter().cloned());
    Some(base)
}

/// Which module defines what a path names, seen through what a module imports from its children.
pub(super) fn home(path: &[String], modules: &Modules, named: &BTreeMap<Path, Vec<Path>>) -> Path {
    let most = (0..=path.len()).rev().find(|&len| modules.contains_key(&path[..len])).unwrap();
    let module = &path[..most];
    let Some(item) = path.get(most) else {
        return module.to_vec();
    };
    let from_child = |target: &&Path| {
        target.last() == Some(item) && target.len() > most + 1 && target.starts_with(module)
    };
    match named.get(module).into_iter().flatten().find(from_child) {
        Some(target) => home(target, modules, named),
        None => module.to_vec(),
    }
}

/// What each module names of others.
pub(super) fn named(modules: &Modules) -> BTreeMap<Path, Vec<Path>> {
    let references = |(module, code): (&Path, &String)| references(module, code, modules);
    modules.iter().map(|one| (one.0.clone(), references(one))).collect()
}

/// Which modules import which of those beside them.
fn imports(modules: &Modules) -> BTreeMap<Path, BTreeSet<Path>> {
    let named = named(modules);
    let mut imports: BTreeMap<Path, BTreeSet<Path>> = BTreeMap::new();
    for (module, paths) in &named {
        for path in paths {
            let home = home(path, modules, &named);
            let same = module.iter().zip(&home).take_while(|(a, b)| a == b).count();
            if same < module.len().min(home.len()) {
                let beside = imports.entry(module[..=same].to_vec()).or_default();
                beside.insert(home[..=same].to_vec());
            }
        }
    }
    imports
}

/// The modules that can be reached from `from`.
fn reached(from: &Path, imports: &BTreeMap<Path, BTreeSet<Path>>) -> BTreeSet<Path> {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = todo.pop() {
        for next in imports.get(&module).into_iter().flatten() {
            if seen.insert(next.clone()) {
                todo.push(next.clone());
            }
        }
    }
    seen
}

/// The circles, each as lines that say which module imports which of it, by folder.
fn circles(modules: &Modules) -> BTreeMap<String, Vec<String>> {
    let imports = imports(modules);
    let reach: BTreeMap<&Path, BTreeSet<Path>> =
        imports.keys().map(|module| (module, reached(module, &imports))).collect();
    let mut circles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, beside) in &imports {
        if !reach[module].contains(module) {
            continue;
        }
        let back = |next: &&Path| reach.get(next).is_some_and(|all| all.contains(module));
        let next: Vec<String> = beside.iter().filter(back).map(|next| next.join("::")).collect();
        let line = format!("{} imports {}", module.join("::"), next.join(", "));
        circles.entry(module[..module.len() - 1].join("::")).or_default().push(line);
    }
    circles
}

fn faults(circles: &BTreeMap<String, Vec<String>>, known: &[(&str, usize)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (folder, lines) in circles {
        let allowed = known.iter().find(|(name, _)| name == folder).map_or(0, |known| known.1);
        if lines.len() > allowed {
            faults.push(format!(
                "{folder}: {} modules import each other in circles, {allowed} may:\n    {}",
                lines.len(),
                lines.join("\n    ")
            ));
        }
    }
    let gone = known.iter().filter(|(name, _)| !circles.contains_key(*name));
    faults.extend(gone.map(|(name, _)| format!("{name} has no circle: delete its exception")));
    faults
}

#[test]
fn modules_import_each_other_in_no_circle() {
    let circles = circles(&modules());
    for (folder, lines) in &circles {
        println!("{folder}:\n    {}", lines.join("\n    "));
    }
    let faults = faults(&circles, CIRCLES);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn circles_are_found() {
    let modules = |files: &[(&str, &str)]| -> Modules {
        let path = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
        let root = (Vec::new(), String::new());
        files.iter().map(|(name, code)| (path(name), (*code).into())).chain([root]).collect()
    };
    let circle = circles(&modules(&[
        ("m", "mod a;\nmod b;\nmod c;\npub use b::{B, other};\nuse a::A;"),
        ("m::a", "use crate::x::{Y, z};\nuse super::{B, c};"),
        ("m::b", "fn f(c: &super::c::C) {}"),
        ("m::b::child", "use super::B;"),
        ("m::c", "use crate::{\n    m::{\n        a::A,\n    },\n};"),
    ]));
    assert_eq!(circle["m"], ["m::a imports m::b, m::c", "m::b imports m::c", "m::c imports m::a"]);
    assert_eq!(faults(&circle, &[("m", 3)]), [""; 0]);
    assert_eq!(faults(&circle, &[("m", 2)]).len(), 1);
    assert_eq!(faults(&circle, &[("m", 3), ("n", 1)]), ["n has no circle: delete its exception"]);
    let line =
        circles(&modules(&[("m", "mod a;\nmod b;"), ("m::a", "use super::b::B;"), ("m::b", "")]));
    assert!(line.is_empty(), "{line:?}");
}
