//! How large a struct may grow, and who may reach into a large one.
//!
//! Rust shows private fields to all modules below the one that defines the struct. So a struct of
//! more than [`LARGE`] fields must not be defined in a module with children: then "private" is
//! "private to the file". Nor may its fields have a visibility between private and that of plain
//! data (`pub(super)`, `pub(in …)`), which would open them to the folder around.
//!
//! The exception is a coordinator: what the files of a folder work on together (`Torrent`, and the
//! files of `src/torrent/`). Its fields are private to the folder, and each is a part: a type that
//! keeps its own fields from all of these files. Then any of them can reach a part, and none can
//! break one: what must hold between two fields is in one part, behind its methods. A flag, a
//! counter or a collection is no part, since each file could change it.

use std::collections::BTreeMap;

use super::{
    circles::{Path, home, named},
    modules::{Modules, group_len, items, modules},
};

const MAX_FIELDS: usize = 20;
const MAX_BOOLS: usize = 4;
/// Structs with more fields keep them to their file.
const LARGE: usize = 8;

/// Structs that are larger than they may be, with what they may have until they are split: fields
/// and bools. An entry that is no longer needed is a fault.
const TOO_LARGE: &[(&str, usize, usize)] = &[];

/// Around a part: some of it, or many.
const AROUND: &[&str] = &["Option", "Box", "Arena"];
/// Types of other crates that are parts.
const FOREIGN: &[&str] = &["Events", "Poll"];
/// What a part may show although it is no part: values that nothing must agree with.
const VALUES: &[&str] = &["Conf", "Instant", "PeerId", "Rng"];

/// A struct with named fields.
#[derive(Debug)]
struct Struct {
    /// With the path of its module.
    name: String,
    module: Path,
    fields: Vec<Field>,
    /// Whether its module has children, other than tests.
    has_children: bool,
}

#[derive(Debug)]
struct Field {
    name: String,
    visibility: String,
    kind: String,
}

impl Struct {
    fn bools(&self) -> usize {
        self.fields.iter().filter(|field| field.kind == "bool").count()
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
                let module = module.clone();
                all.push(Struct { name: path.join("::"), module, fields, has_children });
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
    let (visibility, name) = name.rsplit_once(char::is_whitespace).unwrap_or(("", name));
    Some(Field {
        name: name.into(),
        visibility: visibility.trim().into(),
        kind: kind.trim().into(),
    })
}

/// What is known of the types of the crate.
struct Types<'a> {
    structs: &'a [Struct],
    modules: &'a Modules,
    /// What each module names of others.
    named: BTreeMap<Path, Vec<Path>>,
}

impl<'a> Types<'a> {
    /// What the module `from` means by `kind`, which may have parameters.
    fn find(&self, kind: &str, from: &Path) -> Option<&'a Struct> {
        let kind = kind.split('<').next()?;
        let (path, last) = kind.rsplit_once("::").unwrap_or(("", kind));
        let import = self.named[from].iter().find(|import| match path {
            "" => import.last().is_some_and(|name| name == last),
            _ => import.ends_with(&kind.split("::").map(str::to_owned).collect::<Vec<_>>()),
        });
        let module = import.map_or(from.clone(), |path| home(path, self.modules, &self.named));
        self.structs.iter().find(|s| s.module == module && s.name.rsplit("::").next() == Some(last))
    }

    /// Why a field is no part of a coordinator of the module `of`, whose fields the modules below
    /// `of` reach. `from`: the module of the struct that has the field.
    fn not_a_part(&self, field: &Field, from: &Path, of: &Path) -> Option<String> {
        let name = &field.name;
        let bare = || Some(format!("{name} is a bare {}", field.kind));
        let mut kind = field.kind.as_str();
        while let Some((around, inner)) = kind.split_once('<')
            && AROUND.contains(&around)
        {
            let Some(inner) = inner.strip_suffix('>') else { return bare() };
            kind = inner;
        }
        if from != of && VALUES.contains(&field.kind.as_str()) {
            return None;
        }
        let Some(part) = self.find(kind, from) else {
            return if FOREIGN.contains(&kind) { None } else { bare() };
        };
        if of.starts_with(&part.module) {
            return Some(format!("{name} is a {}, whose fields these files reach", part.name));
        }
        let shown = part.fields.iter().filter(|field| !field.visibility.is_empty());
        let mut faults = shown.filter_map(|field| self.not_a_part(field, &part.module, of));
        faults.next().map(|fault| format!("{name}.{fault}"))
    }

    /// What hinders a struct from being a coordinator.
    fn not_a_coordinator(&self, one: &Struct) -> Vec<String> {
        let shown = one.fields.iter().filter(|field| !field.visibility.is_empty());
        let shown = shown.map(|field| format!("{} is {}", field.name, field.visibility));
        let parts = one.fields.iter();
        let bare = parts.filter_map(|field| self.not_a_part(field, &one.module, &one.module));
        shown.chain(bare).collect()
    }
}

/// Everything that is wrong with the structs, given the exceptions.
fn faults(modules: &Modules, too_large: &[(&str, usize, usize)]) -> Vec<String> {
    let mut faults = Vec::new();
    let structs = structs(modules);
    let types = Types { structs: &structs, modules, named: named(modules) };
    let mut large: BTreeMap<&str, (usize, usize)> =
        too_large.iter().map(|&(name, fields, bools)| (name, (fields, bools))).collect();
    for one in &structs {
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
        let hindrances = if is_open { types.not_a_coordinator(one) } else { Vec::new() };
        if !hindrances.is_empty() {
            faults.push(format!(
                "{}: other files reach its {fields} fields. Make them private, and move it to a \
                 file without child modules; or make it of parts:\n    {}",
                one.name,
                hindrances.join("\n    ")
            ));
        }
    }
    faults.extend(large.into_keys().map(|name| format!("{name} is gone: delete its exception")));
    faults
}

#[test]
fn structs_are_small_and_keep_their_fields() {
    let modules = modules();
    let structs = structs(&modules).len();
    assert!(structs > 100, "only {structs} structs");
    let faults = faults(&modules, TOO_LARGE);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn large_and_open_structs_are_found() {
    let code = |fields: &str, bools: usize, others: usize| {
        let bools = (0..bools).map(|n| format!("{fields} b{n}: bool,\n"));
        let others = (0..others).map(|n| format!("#[a]\n{fields} o{n}: Vec<(u8, bool)>,\n"));
        format!("pub struct A<T> where T: B {{\n{}}}", bools.chain(others).collect::<String>())
    };
    let check = |module: &str, code: String, child: bool, large: &[(&str, usize, usize)]| {
        let mut modules = Modules::from([(Vec::new(), String::new()), (path(module), code)]);
        if child {
            modules.insert(path(&format!("{module}::child")), String::new());
        }
        faults(&modules, large)
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

fn path(path: &str) -> Path {
    path.split("::").map(str::to_owned).collect()
}

#[test]
fn coordinator_is_of_parts_that_keep_their_fields() {
    let check = |fields: &str, more: &str| -> Vec<String> {
        let many = (0..9).map(|n| format!("p{n}: Part,\n")).collect::<String>();
        let owner = "use part::{Part, More, Open};\nstruct Near { a: u8 }\n";
        let owner = format!("{owner}struct A {{\n{many}{fields}}}");
        let parts = "struct Part {\n a: bool,\n}\nstruct Open {\n pub(super) a: u8,\n}";
        let code = [
            ("m", owner),
            ("m::part", format!("{parts}\nstruct More {{ b: u8, {more} }}")),
            ("m::user", String::new()),
        ];
        let root = (Vec::new(), String::new());
        let modules: Modules =
            code.into_iter().map(|(name, code)| (path(name), code)).chain([root]).collect();
        let faults = faults(&modules, &[]);
        faults.iter().flat_map(|fault| fault.lines().skip(1)).map(|l| l.trim().to_owned()).collect()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(check("", ""), none);
    assert_eq!(check("a: Option<Box<More>>, b: Arena<Part>, c: Poll", ""), none);
    assert_eq!(check("a: More", "pub(super) part: Part, pub(super) now: Instant"), none);
    assert_eq!(check("pub(crate) a: Part", ""), ["a is pub(crate)"]);
    assert_eq!(check("a: bool, b: Vec<Part>", ""), ["a is a bare bool", "b is a bare Vec<Part>"]);
    assert_eq!(check("a: Instant", ""), ["a is a bare Instant"]);
    assert_eq!(check("a: Near", ""), ["a is a m::Near, whose fields these files reach"]);
    assert_eq!(check("a: Open", ""), ["a.a is a bare u8"]);
    assert_eq!(check("a: More", "pub(super) part: Open"), ["a.part.a is a bare u8"]);
}
