//! Programs of ours that tests and scripts run keep off the DHT, the local network and the router.
//! Whether nothing of them leaves the machine then is what `tests/machine/programs/outside.rs`
//! finds out.

use std::fs;

use super::{below, root, sources};

/// Lines of a test by which a program may look for peers on its own. `create` has no network.
fn loud_in_test(text: &str) -> Vec<&str> {
    let by_bench = text.contains(".arguments(&mut command");
    let is_loud = |line: &&str| {
        let example = line.contains("example(") && !line.contains(r#"example("create")"#);
        let program = line.contains("download::program()") || line.contains(".arg(program())");
        let keeps_off = line.contains("quiet(") || line.contains("envs(QUIET)");
        (example || program && !by_bench) && !keeps_off
    };
    text.lines().filter(is_loud).collect()
}

/// The same of a script.
fn loud_in_script(text: &str) -> Vec<String> {
    let is_loud = |line: &&str| {
        let runs = ["download", "seed", "session"].iter().any(|name| {
            let program = format!("release/examples/{name}");
            [" ", "\" "].iter().any(|end| line.contains(&format!("{program}{end}")))
        });
        let options = ["--no-dht", "--no-lsd", "--no-port-mapping"];
        runs && !options.iter().all(|option| line.contains(option))
    };
    let exports = |name| text.contains(&format!("\nexport {name}=1\n"));
    if ["NO_DHT", "NO_LSD", "NO_PORT_MAPPING"].into_iter().all(exports) {
        return Vec::new();
    }
    text.replace("\\\n", " ").lines().filter(is_loud).map(str::to_owned).collect()
}

#[test]
fn tests_and_scripts_keep_programs_from_discovery() {
    let mut loud = Vec::new();
    for path in sources(&root().join("tests")) {
        let file = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        // The first has the doors themselves, the last finds out what they are good for.
        let doors = ["tests/support/download.rs", "tests/machine/programs/outside.rs"]
            .contains(&file.as_str());
        if !doors && !file.starts_with("tests/layering") {
            let text = fs::read_to_string(&path).unwrap();
            loud.extend(loud_in_test(&text).into_iter().map(|line| format!("{file}: {line}")));
        }
    }
    for path in below(&root().join("scripts")) {
        loud.extend(loud_in_script(&fs::read_to_string(&path).unwrap_or_default()));
    }
    assert!(loud.is_empty(), "\n{}", loud.join("\n"));
}

#[test]
fn loud_programs_are_found() {
    let loud = r#"let c = Command::new(example("seed"));"#;
    assert_eq!(loud_in_test(loud), [loud]);
    assert_eq!(loud_in_test(r#"(ours("seed"), example("create"))"#), [""; 0]);
    assert_eq!(loud_in_test("quiet(Command::new(example(name)))"), [""; 0]);
    let place = "let mut command = place.command(download::program());";
    assert_eq!(loud_in_test(place), [place]);
    let bench = format!("{place}\nbench.arguments(&mut command, &[]);");
    assert_eq!(loud_in_test(&bench), [""; 0]);
    let script = "target/release/examples/download x \\\n  --quiet";
    assert_eq!(loud_in_script(script).len(), 1);
    assert_eq!(loud_in_script(&format!("{script} --no-dht")).len(), 1);
    assert_eq!(loud_in_script(&format!("{script} --no-dht --no-lsd")).len(), 1);
    let all = "--no-dht --no-lsd --no-port-mapping";
    assert_eq!(loud_in_script(&format!("{script} {all}")).len(), 0);
    let exports = "#!/bin/sh\nexport NO_DHT=1\nexport NO_LSD=1\nexport NO_PORT_MAPPING=1\n";
    assert_eq!(loud_in_script(&format!("{exports}{script}")).len(), 0);
}
