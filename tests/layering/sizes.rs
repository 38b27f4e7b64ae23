//! How large a struct may grow, and who may reach into a large one.
//!
//! Rust shows private fields to all modules below the one that defines the struct. So a struct of
//! more than [`LARGE`] fields must not be defined in a module with children: then "private" is
//! "private to the file". Nor may its fields have a visibility between private and that of plain
//! data (`pub(super)`, `pub(in …)`), which would open them to the folder around.

use std::collections::BTreeMap;

use super::modules::{Modules, group_len, items, modules};

const MAX_FIELDS: usize = 20;
const MAX_BOOLS: usize = 4;
/// Structs with more fields keep them to their file.
const LARGE: usize = 8;

/// Structs that are larger than they may be, with what they may have until they are split: fields
/// and bools. An entry that is no longer needed is a fault.
const TOO_LARGE: &[(&str, usize, usize)] = &[];

/// Large structs whose fields more than their file reaches. An entry that is no longer needed is a
/// fault.
const OPEN: &[&str] =
    &["engine::Engine", "reactor::Reactor", "torrent::Torrent", "torrent::swarm::Swarm"];

/// A struct with named fields.
#[derive(Debug)]
struct Struct {
    /// With the path of its module.
    name: String,
    fields: Vec<Field>,
    /// Whether its module has children, other than tests.
    has_children: bool,
}

#[derive(Debug)]
struct Field {
    visibility: String,
    is_bool: bool,
}

impl Struct {
    fn bools(&self) -> usize {
        self.fields.iter().filter(|field| field.is_bool).count()
    }

    /// Settings, statistics and the simulator are lists by nature.
    fn may_be_a_list(&self) -> bool {
        let lists = ["sim::", "conf::"];
        lists.iter().any(|list| self.name.starts_with(list)) || self.name.ends_with("Stats")
    }

    /// Whether more than its file can reach a field, and it is not plain data, whose fields are all
    /// as visible as each other.
    fn is_open(&self) -> bool {
        let first = &self.fields[0].visibility;
        let is_plain = !first.is_empty() && self.fields.iter().all(|f| f.visibility == *first);
        let is_private = self.fields.iter().all(|field| field.visibility.is_empty());
        !is_plain && (self.has_children || !is_private)
    }
}

/// All structs with named fields, in the order of their names.
fn structs(modules: &Modules) -> Vec<Struct> {
    let mut all = Vec::new();
    for (module, code) in modules {
        let has_children = modules
            .keys()
            .any(|other| other.len() == module.len() + 1 && other.starts_with(module));
        for (at, _) in code.match_indices("struct ") {
            let rest = &code[at + "struct ".len()..];
            let Some(open) = rest.find(['{', ';', '(']).filter(|&at| rest[at..].starts_with('{'))
            else {
                continue;
            };
            let own = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            let body = &rest[open..][..group_len(&rest[open..])];
            let fields: Vec<Field> =
                items(&body[1..body.len() - 1]).into_iter().filter_map(field).collect();
            let path = module.iter().map(String::as_str).chain([own]).collect::<Vec<_>>();
            if !fields.is_empty() {
                all.push(Struct { name: path.join("::"), fields, has_children });
            }
        }
    }
    all
}

fn field(item: &str) -> Option<Field> {
    let mut item = item;
    while item.starts_with('#') {
        item = item[item.find(']')? + 1..].trim_start();
    }
    let (name, kind) = item.split_once(": ").or_else(|| item.split_once(':'))?;
    let (visibility, _) = name.rsplit_once(char::is_whitespace).unwrap_or_default();
    Some(Field { visibility: visibility.trim().into(), is_bool: kind.trim() == "bool" })
}

/// Everything that is wrong with the structs, given the exceptions.
fn faults(structs: &[Struct], too_large: &[(&str, usize, usize)], open: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut large: BTreeMap<&str, (usize, usize)> =
        too_large.iter().map(|&(name, fields, bools)| (name, (fields, bools))).collect();
    let mut opened: Vec<&str> = open.to_vec();
    for one in structs {
        let (fields, bools) = (one.fields.len(), one.bools());
        let most = large.remove(one.name.as_str());
        let limit = (
            most.map_or(MAX_FIELDS, |most| most.0.max(MAX_FIELDS)),
            most.map_or(MAX_BOOLS, |most| most.1.max(MAX_BOOLS)),
        );
        if (fields > limit.0 || bools > limit.1) && !one.may_be_a_list() {
            faults.push(format!("{}: {fields} fields, {bools} bools: split it", one.name));
        }
        if most.is_some() && fields <= MAX_FIELDS && bools <= MAX_BOOLS {
            faults.push(format!("{} is small enough: delete its exception", one.name));
        }
        let is_open = fields > LARGE && one.is_open() && !one.may_be_a_list();
        let known = opened.iter().position(|name| *name == one.name);
        known.map(|at| opened.swap_remove(at));
        match (is_open, known) {
            (true, None) => faults.push(format!(
                "{}: other files reach its {fields} fields. Make them private, and move it to a \
                 file without child modules",
                one.name
            )),
            (false, Some(_)) => {
                faults.push(format!("{} keeps its fields: delete its exception", one.name));
            }
            _ => {}
        }
    }
    let gone = large.into_keys().chain(opened);
    faults.extend(gone.map(|name| format!("{name} is gone: delete its exception")));
    faults
}

#[test]
fn structs_are_small_and_keep_their_fields() {
    let structs = structs(&modules());
    assert!(structs.len() > 100, "only {} structs", structs.len());
    let faults = faults(&structs, TOO_LARGE, OPEN);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn large_and_open_structs_are_found() {
    let code = |fields: &str, bools: usize, others: usize| {
        let bools = (0..bools).map(|n| format!("{fields} b{n}: bool,\n"));
        let others = (0..others).map(|n| format!("#[a]\n{fields} o{n}: Vec<(u8, bool)>,\n"));
        format!("pub struct A<T> where T: B {{\n{}}}", bools.chain(others).collect::<String>())
    };
    let path = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let check = |module: &str, code: String, child: bool, large: &[(&str, usize, usize)]| {
        let mut modules = Modules::from([(path(module), code)]);
        if child {
            modules.insert(path(&format!("{module}::child")), String::new());
        }
        faults(&structs(&modules), large, &[])
    };
    assert_eq!(check("m", code("", 4, 16), false, &[]), [""; 0]);
    assert_eq!(check("m", code("", 5, 0), false, &[]), ["m::A: 5 fields, 5 bools: split it"]);
    assert_eq!(check("m", code("", 0, 21), false, &[]), ["m::A: 21 fields, 0 bools: split it"]);
    assert_eq!(check("m", code("", 0, 21), false, &[("m::A", 21, 0)]), [""; 0]);
    assert_eq!(
        check("m", code("", 0, 20), false, &[("m::A", 21, 0), ("m::B", 1, 1)]),
        ["m::A is small enough: delete its exception", "m::B is gone: delete its exception"]
    );
    assert_eq!(check("m", code("pub", 0, 20), true, &[]), [""; 0]);
    assert_eq!(check("m", code("", 0, 8), true, &[]), [""; 0]);
    assert_eq!(check("m", code("", 0, 9), true, &[]).len(), 1);
    assert_eq!(check("m", code("pub(super)", 0, 8) + "struct B { a: u8 }", false, &[]), [""; 0]);
    let mixed = code("", 0, 9).replacen(" o0", " pub(super) o0", 1);
    assert_eq!(check("m", mixed, false, &[]).len(), 1);
    let found = structs(&Modules::from([(path("m"), "struct T(u8);\nstruct U;".into())]));
    assert!(found.is_empty(), "{found:?}");
}
