//! The `inspect` example as its user sees it: what it prints, where, and its exit status.
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use cratetorrent::wire::metainfo::MetainfoBuilder;

/// Where cargo puts the example; `cargo test` has built it, `cargo test --test inspect` alone may not have.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let profile = test.ancestors().nth(2).unwrap_or(Path::new("."));
    let program = profile.join("examples/inspect");
    if !program.exists() {
        let release = profile.ends_with("release").then_some("--release");
        let status = Command::new(env!("CARGO")).args(["build", "--quiet", "--example", "inspect"]).args(release).status();
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
    b.tracker_tier(["http://one/announce", "http://two/announce"]).tracker_tier(["udp://three"]).web_seed("http://seed/");
    b.private(true).comment("it's \"fine\"").created_by("ct").creation_date(951_782_400);
    let (_dir, path) = file("t.torrent", &b.build(&[[1; 20]; 3]).unwrap());
    let out = inspect(&[&path]);
    let expected = "\
name        a \\u{1b}[31mred\\u{202e} folder
info-hash   HASH
size        32769 bytes (32.0 KiB)
pieces      3 of 16384 bytes (16.0 KiB)
private     yes
created     2000-02-29 00:00:00 UTC
created by  ct
comment     it's \"fine\"
tracker     tier 1 http://one/announce
tracker     tier 1 http://two/announce
tracker     tier 2 udp://three
web seed    http://seed/
files       4
             10  dir/fi\\nle
          16374  .pad/16374  (pad)
          16385  a\\/b
              0  empty
";
    let stdout = text(&out.stdout);
    let hash = stdout.lines().nth(1).and_then(|l| l.split_whitespace().nth(1)).unwrap_or_default();
    assert_eq!(hash.len(), 40);
    assert_eq!(stdout.replace(hash, "HASH"), expected);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
}

#[test]
fn a_single_file_is_told() {
    let (_dir, path) = file("t.torrent", &MetainfoBuilder::new("f", 16_384).single_file(5).build(&[[1; 20]]).unwrap());
    let out = inspect(&[&path]);
    assert!(text(&out.stdout).ends_with("files       1\n              5  f\n"), "{}", text(&out.stdout));
}

#[test]
fn what_is_no_torrent_gets_one_line() {
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
        assert_eq!(text(&out.stderr), format!("inspect: {shown}: {problem}\n"));
    }
    for path in ["/nonexistent/t.torrent", "/"] {
        let out = inspect(&[Path::new(path)]);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(1), String::new()));
        let stderr = text(&out.stderr);
        assert!(stderr.starts_with(&format!("inspect: {path}: ")) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn wrong_usage_is_told() {
    let (a, b) = (Path::new("a"), Path::new("b"));
    for args in [&[][..], &[a, b], &[Path::new("--what")], &[a, Path::new("-x")]] {
        let out = inspect(args);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(2), String::new()));
        assert!(text(&out.stderr).starts_with("usage: inspect TORRENT"));
    }
    let out = inspect(&[Path::new("--help")]);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
    assert!(text(&out.stdout).starts_with("usage: inspect TORRENT"));
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let mut b = MetainfoBuilder::new("many", 16_384);
    (0..20_000).for_each(|i| _ = b.file([format!("file {i}")], 1));
    let (_dir, path) = file("t.torrent", &b.build(&[[1; 20]; 2]).unwrap());
    let mut child = Command::new(program()).arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
}
