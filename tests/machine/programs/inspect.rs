//! The `inspect` example as its user sees it: what it prints, where, and its exit status.
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use cratetorrent::wire::metainfo::{Format, MetainfoBuilder};

/// Where cargo puts the example; `cargo test` has built it, `cargo test --test inspect` alone may
/// not have.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let profile = test.ancestors().nth(2).unwrap_or(Path::new("."));
    let program = profile.join("examples/inspect");
    if !program.exists() {
        let release = profile.ends_with("release").then_some("--release");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--example", "inspect"])
            .args(release)
            .status();
        assert!(status.is_ok_and(|s| s.success()), "the example does not build");
    }
    program
}

#[track_caller]
fn inspect(args: &[&Path]) -> Output {
    match Command::new(program()).args(args).output() {
        Ok(output) => output,
        Err(e) => panic!("{}: {e}", program().display()),
    }
}

/// A file with these bytes, and the folder that keeps it alive.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap_or_else(|e| panic!("{e}"));
    (dir, path)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_torrent_is_told() {
    let mut b = MetainfoBuilder::new("a \x1b[31mred\u{202e} folder", 16_384);
    b.file(["dir", "fi\nle"], 10).pad(16_374).file(["a/b"], 16_385).file(["empty"], 0);
    b.tracker_tier(["http://one/announce", "http://two/announce"])
        .tracker_tier(["udp://three"])
        .web_seed("http://seed/")
        .node("router.test", 6881);
    b.private(true)
        .source("a site")
        .comment("it's \"fine\"")
        .created_by("ct")
        .creation_date(951_782_400);
    let (_dir, path) = file("t.torrent", &b.build(&[[1; 20]; 3]).unwrap());
    let out = inspect(&[&path]);
    let expected = "\
name        a \\u{1b}[31mred\\u{202e} folder
info-hash   HASH
size        32769 bytes (32.0 KiB)
pieces      3 of 16384 bytes (16.0 KiB)
private     yes
source      a site
created     2000-02-29 00:00:00 UTC
created by  ct
comment     it's \"fine\"
tracker     tier 1 http://one/announce
tracker     tier 1 http://two/announce
tracker     tier 2 udp://three
web seed    http://seed/
dht node    router.test:6881
magnet      magnet:?xt=urn:btih:HASH&dn=a%20%1B%5B31mred%E2%80%AE%20folder&xl=16395\
&tr=http%3A%2F%2Fone%2Fannounce\
&tr=http%3A%2F%2Ftwo%2Fannounce&tr=udp%3A%2F%2Fthree&ws=http%3A%2F%2Fseed%2F&dht=router.test:6881
files       4
    0              10  dir/fi\\nle
                       is stored as a _[31mred_ folder/dir/fi_le
    1           16374  .pad/16374  (pad)
    2           16385  a\\/b
                       is stored as a _[31mred_ folder/a_b
    3               0  empty
                       is stored as a _[31mred_ folder/empty
";
    let stdout = text(&out.stdout);
    let hash = stdout.lines().nth(1).and_then(|l| l.split_whitespace().nth(1)).unwrap_or_default();
    assert_eq!(hash.len(), 40);
    assert_eq!(stdout.replace(hash, "HASH"), expected);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
}

#[test]
fn a_single_file_is_told() {
    let (_dir, path) = file(
        "t.torrent",
        &MetainfoBuilder::new("f", 16_384).single_file(5).build(&[[1; 20]]).unwrap(),
    );
    let out = inspect(&[&path]);
    assert!(
        text(&out.stdout).ends_with("files       1\n    0               5  f\n"),
        "{}",
        text(&out.stdout)
    );
}

#[test]
fn hybrid_is_told_with_both_hashes_roots_and_layers() {
    let mut b = MetainfoBuilder::new("h", 16_384);
    b.format(Format::Hybrid).file(["a"], 20_000).file(["b"], 5).file(["c"], 0);
    let bytes = b.build_with(&[[1; 20]; 3], &[[1; 32], [2; 32], [0xab; 32]]).unwrap();
    let (_dir, path) = file("h.torrent", &bytes);
    let out = inspect(&[&path]);
    let said = text(&out.stdout);
    let hash = |word: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_default();
        line.trim().to_owned()
    };
    assert_eq!((hash("info-hash").len(), hash("version 2").len()), (40, 64), "{said}");
    assert!(said.contains("size        20005 bytes"), "{said}");
    assert!(said.contains(", layer of 2 pieces\n"), "{said}");
    let b = format!("    2               5  b\n{:>21}  root {}\n", "", "ab".repeat(32));
    assert!(said.contains(&b), "{said}");
    let out = inspect(&[Path::new("--json"), &path]);
    let object: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(object["info_hash_v2"].as_str(), Some(hash("version 2").as_str()));
    assert_eq!(object["files"][0]["layer_hashes"], 2);
    let magnet = object["magnet"].as_str().unwrap_or_default();
    assert!(magnet.contains("urn:btih:") && magnet.contains("urn:btmh:1220"), "{magnet}");
}

#[test]
fn input_that_is_no_torrent_gets_one_line() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "metainfo is not valid bencoding: it ends within a value, after 0 bytes"),
        ("bad\x1bname", b"d4:infodee", "metainfo has no `pieces`"),
        ("text", b"hello", "metainfo is not valid bencoding: unexpected byte 0x68 at 0"),
    ];
    for (name, bytes, problem) in cases {
        let (_dir, path) = file(name, bytes);
        let out = inspect(&[&path]);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(1), String::new()));
        let shown = path.to_string_lossy().replace('\x1b', "\\u{1b}");
        assert_eq!(text(&out.stderr), format!("inspect: cannot read {shown}: {problem}\n"));
    }
    for path in ["/nonexistent/t.torrent", "/"] {
        let out = inspect(&[Path::new(path)]);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(1), String::new()));
        let stderr = text(&out.stderr);
        assert!(
            stderr.starts_with(&format!("inspect: cannot read {path}: "))
                && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
}

#[test]
fn wrong_usage_is_told() {
    let a = Path::new("a");
    for args in [&[][..], &[Path::new("--what")], &[a, Path::new("-x")]] {
        let out = inspect(args);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(2), String::new()));
        assert_eq!(text(&out.stderr).lines().count(), 1);
    }
    for (link, why) in [
        ("magnet:?xt=urn:btih:00", "neither 40 hexadecimal nor 32 base32 digits"),
        ("https://example.org/a.torrent", "cannot be used yet"),
    ] {
        let out = inspect(&[Path::new(link)]);
        assert_eq!(out.status.code(), Some(2));
        assert!(text(&out.stderr).contains(why), "{}", text(&out.stderr));
    }
    for (option, begins) in
        [("--help", "Tells what torrent files and magnet"), ("--version", "inspect ")]
    {
        let out = inspect(&[Path::new(option)]);
        assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
        assert!(text(&out.stdout).starts_with(begins));
    }
}

#[test]
fn magnet_link_is_told_and_printed_in_one_form() {
    let hash = "c9e15763f722f23e98a29decdfae341b98d53056";
    let link = format!(
        "magnet:?tr.1=udp://t:80&dn=+%1Bx&xt=urn:btih:{}&x.pe=192.0.2.7:1&x.pe=h:1&so=3,0-1",
        hash.to_uppercase()
    );
    let out = inspect(&[Path::new(&link)]);
    let said = format!(
        "\
name         \\u{{1b}}x
info-hash   {hash}
tracker     udp://t:80
peer        192.0.2.7:1
files       0-1,3
magnet      magnet:?xt=urn:btih:{hash}&dn=%20%1Bx&tr=udp%3A%2F%2Ft%3A80&x.pe=192.0.2.7:1&so=0-1,3
"
    );
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), said));
    assert!(text(&out.stderr).contains("1 parts of the magnet link are ignored"));
    let out = inspect(&[Path::new(&link), Path::new("--json")]);
    let object: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&object["info_hash"], &object["peers"][0]), (&hash.into(), &"192.0.2.7:1".into()));
}

#[test]
fn several_torrents_are_told_and_what_is_wrong_with_one() {
    let bytes = MetainfoBuilder::new("f", 16_384).single_file(5).build(&[[1; 20]]).unwrap();
    let (dir, good) = file("t.torrent", &bytes);
    let trailing = dir.path().join("trailing.torrent");
    fs::write(&trailing, [&bytes[..], b"\nsigned by a site"].concat()).unwrap();
    let out = inspect(&[&good, Path::new("missing"), &trailing]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(text(&out.stdout).matches("name        f\n").count(), 2);
    let said = text(&out.stderr);
    assert!(said.contains("inspect: cannot read missing: "), "{said}");
    assert!(
        said.contains("trailing.torrent: 17 bytes after the end of the torrent are ignored"),
        "{said}"
    );
}

#[test]
fn json_holds_the_same_facts() {
    let (_dir, path) = file(
        "t.torrent",
        &MetainfoBuilder::new("f\n", 16_384).single_file(5).build(&[[1; 20]]).unwrap(),
    );
    let out = inspect(&[&path, Path::new("--json")]);
    let object: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&object["name"], &object["total_bytes"]), (&"f\n".into(), &5.into()));
    assert_eq!(object["files"][0]["path"][0], "f\n");
    assert_eq!(object["files"][0]["stored"], "f_");
    assert!(
        object["magnet"]
            .as_str()
            .is_some_and(|link| link.contains(object["info_hash"].as_str().unwrap_or("?")))
    );
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let (_dir, path) = file(
        "t.torrent",
        &MetainfoBuilder::new("f", 16_384).single_file(5).build(&[[1; 20]]).unwrap(),
    );
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let out = Command::new(program()).arg(&path).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).starts_with("inspect: cannot write to the standard output: "),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn closed_output_pipe_is_no_failure() {
    let mut b = MetainfoBuilder::new("many", 16_384);
    (0..20_000).for_each(|i| _ = b.file([format!("file {i}")], 1));
    let (_dir, path) = file("t.torrent", &b.build(&[[1; 20]; 2]).unwrap());
    let mut child = Command::new(program())
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
}
