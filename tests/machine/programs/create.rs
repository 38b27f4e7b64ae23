//! The `create` example as its user sees it: what it makes, prints and refuses, and its exit
//! status.
#![cfg(unix)]

use std::{
    fs,
    io::Read,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use crate::support::{
    clock,
    download::example,
    process::Process,
    torrent::{Recipe, Torrent},
};
use cratetorrent::wire::metainfo::Metainfo;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(45);

/// Runs it in `dir`.
fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(example("create")).current_dir(dir).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder() -> (TempDir, Torrent) {
    super::unusual_folder(100_000)
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: PathBuf) -> Metainfo {
    Metainfo::from_bytes(&fs::read(path).unwrap()).unwrap()
}

#[track_caller]
fn assert_fails(out: &Output, code: i32, sentence: &str) {
    assert_eq!(
        (out.status.code(), text(&out.stdout), text(&out.stderr)),
        (Some(code), String::new(), format!("create: {sentence}\n"))
    );
}

#[test]
fn folder_becomes_the_torrent_that_libtorrent_would_make() {
    let (dir, torrent) = folder();
    let out = run(dir.path(), &["größe", "--piece-length", "64K"]);
    let lines = format!(
        "pieces    7 of 64 KiB\ninfo-hash {}\ntorrent   größe.torrent\n",
        hex(&torrent.info_hash)
    );
    assert!(text(&out.stdout).contains(&lines), "{}{}", text(&out.stdout), text(&out.stderr));
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
    let metainfo = read(dir.path().join("größe.torrent"));
    assert_eq!(metainfo.info_hash().0, torrent.info_hash);
    assert!(
        metainfo.creation_date > Some(1_700_000_000)
            && metainfo.created_by.is_some_and(|by| by.starts_with("cratetorrent"))
    );
}

#[test]
fn pads_and_single_files_are_those_of_others_too() {
    let dir = tempfile::tempdir().unwrap();
    let padded = Recipe::folder("padded", 16 * 1024)
        .file("a", 20_000)
        .pad()
        .file("b", 16 * 1024)
        .file("c", 1)
        .pad()
        .file("d", 5);
    let single = Recipe::single("single", 1_000_000, 32 * 1024);
    for (recipe, args) in [
        (padded, &["padded", "--pads", "--piece-length", "16384", "--quiet"][..]),
        (single, &["single", "--piece-length", "32KiB", "--quiet"]),
    ] {
        let torrent = recipe.make(3);
        torrent.write_files(dir.path());
        let out = run(dir.path(), args);
        assert_eq!(
            (text(&out.stdout), text(&out.stderr)),
            (format!("{}\n", hex(&torrent.info_hash)), String::new())
        );
    }
}

#[test]
fn created_torrent_has_all_options() {
    let (dir, _) = folder();
    let args = "größe --out t --name other --private --comment hello --source here --no-date \
                --threads 2 --pads --skip-special \
                --tracker http://a/announce,udp://b:1 --tracker http://c/ \
                --web-seed http://w/ --web-seed http://v/";
    std::os::unix::fs::symlink("z", dir.path().join("größe/link")).unwrap();
    let out = run(dir.path(), &args.split_whitespace().collect::<Vec<_>>());
    assert!(out.status.success(), "{}", text(&out.stderr));
    let m = read(dir.path().join("t"));
    assert_eq!((m.name.as_str(), m.private, m.comment.as_deref()), ("other", true, Some("hello")));
    assert_eq!((m.creation_date, m.created_by), (None, None));
    assert_eq!(m.trackers, [vec!["http://a/announce", "udp://b:1"], vec!["http://c/"]]);
    assert_eq!(m.web_seeds, ["http://w/", "http://v/"]);
    // The same again, byte for byte.
    let again: Vec<_> = args
        .replace("--out t", "--out again --threads 1")
        .replace("--threads 2", "")
        .split_whitespace()
        .map(String::from)
        .collect();
    assert!(
        run(dir.path(), &again.iter().map(String::as_str).collect::<Vec<_>>()).status.success()
    );
    assert_eq!(
        fs::read(dir.path().join("t")).unwrap(),
        fs::read(dir.path().join("again")).unwrap()
    );
}

#[test]
fn existing_torrent_file_is_replaced_only_with_force() {
    let (dir, torrent) = folder();
    let path = dir.path().join("größe.torrent");
    fs::write(&path, b"mine").unwrap();
    assert_fails(
        &run(dir.path(), &["größe"]),
        1,
        "größe.torrent exists already: seed it, or replace it by --force",
    );
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let other = dir.path().join("größe.torrent.new");
    fs::write(&other, b"mine").unwrap();
    assert!(run(dir.path(), &["größe", "--force", "--piece-length", "64K"]).status.success());
    assert_eq!(read(path).info_hash().0, torrent.info_hash);
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["größe", "größe.torrent", "größe.torrent.new"]);
    assert_eq!(fs::read(&other).unwrap(), b"mine", "no file of another's is written over");
}

#[test]
fn force_replaces_neither_the_data_nor_a_folder() {
    let (dir, _) = folder();
    let data = dir.path().join("größe/z");
    let before = fs::read(&data).unwrap();
    std::os::unix::fs::symlink("größe/z", dir.path().join("link")).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let refused = |out: &str, what: &str| {
        for force in [&[][..], &["--force"]] {
            let ended = run(dir.path(), &[&["größe/z", "-o", out], force].concat());
            let sentence = format!("{out} is {what}; --out says where else to write");
            assert_fails(&ended, 2, &sentence);
        }
    };
    for out in ["größe/z", "größe/../größe/z", "link"] {
        refused(out, "what the torrent is to be made of");
    }
    refused("folder", "a folder");
    assert_eq!(fs::read(&data).unwrap(), before);
    assert!(dir.path().join("link").is_symlink() && dir.path().join("folder").is_dir());
}

#[test]
fn pipe_or_device_is_written_to_and_not_replaced() {
    let (dir, _) = folder();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (link, to) in [("to-pipe", "pipe"), ("to-null", "/dev/null")] {
        std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
    }
    assert!(run(dir.path(), &["größe", "--no-date"]).status.success());
    let torrent = fs::read(dir.path().join("größe.torrent")).unwrap();
    for out in ["pipe", "to-pipe"] {
        // With both ends, opening waits for no other side.
        let mut reader = fs::File::options().read(true).write(true).open(&pipe).unwrap();
        let ended = run(dir.path(), &["größe", "--no-date", "-o", out, "--force", "--quiet"]);
        assert!(ended.status.success(), "{}", text(&ended.stderr));
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo(), "{out}");
        let mut read = vec![0; torrent.len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(read, torrent);
    }
    // As /dev/stdout is, when that is redirected.
    std::os::unix::fs::symlink("to-replace", dir.path().join("to-file")).unwrap();
    fs::write(dir.path().join("to-replace"), "mine").unwrap();
    assert!(run(dir.path(), &["größe", "--no-date", "-o", "to-file", "--force"]).status.success());
    assert!(dir.path().join("to-file").is_symlink());
    assert_eq!(fs::read(dir.path().join("to-replace")).unwrap(), torrent);
    // By a link: a program that replaced it would cost the machine its device otherwise.
    let ended = run(dir.path(), &["größe", "-o", "to-null", "--force"]);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(dir.path().join("to-null").is_symlink());
}

#[test]
fn too_long_name_is_told_before_hashing() {
    let dir = tempfile::tempdir().unwrap();
    let name = "n".repeat(255);
    fs::write(dir.path().join(&name), "data").unwrap();
    let sentence = format!("cannot write {name}.torrent: File name too long (os error 36)");
    for force in [&[][..], &["--force"]] {
        assert_fails(&run(dir.path(), &[&[name.as_str()], force].concat()), 1, &sentence);
    }
    // What is written for the time being has a name of its own length.
    for _ in 0..2 {
        let ended = run(dir.path(), &[&name, "-o", &"o".repeat(255), "--force"]);
        assert!(ended.status.success(), "{}", text(&ended.stderr));
    }
}

#[test]
fn the_folder_it_is_started_in_has_a_name_too() {
    let (dir, torrent) = folder();
    let out = run(&dir.path().join("größe"), &[".", "--piece-length", "64K"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(read(dir.path().join("größe.torrent")).info_hash().0, torrent.info_hash);
    let out = run(&dir.path().join("größe"), &[".", "-o", "a/t.torrent"]);
    assert_fails(
        &out,
        2,
        "a/t.torrent would lie in the folder that it is made of; --out says where else",
    );
}

#[test]
fn torrent_goes_to_the_standard_output_if_asked() {
    let (dir, _) = folder();
    let out = run(dir.path(), &["größe", "--out=-", "--no-date"]);
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
    assert!(run(dir.path(), &["größe", "-o", "t", "--no-date"]).status.success());
    assert_eq!(out.stdout, fs::read(dir.path().join("t")).unwrap());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(example("create"));
    let out =
        command.current_dir(dir.path()).args(["größe", "-o", "-"]).stdout(full).output().unwrap();
    assert_fails(
        &out,
        1,
        "cannot write to the standard output: No space left on device (os error 28)",
    );
}

#[test]
fn nonsense_is_told_in_a_sentence() {
    let (dir, _) = folder();
    for (args, sentence) in [
        (&[][..], "no file or folder given; --help tells how"),
        (&[""], "no file or folder given; --help tells how"),
        (&["a", "b"], "one file or folder at a time, not 2"),
        (&["größe", "--what"], "there is no option --what; --help lists them"),
        (
            &["größe", "--piece-length", "1G"],
            "--piece-length: \"1G\" is no size such as 16K, 1M or 65536",
        ),
        (
            &["größe", "--piece-length", "9999999M"],
            "--piece-length: \"9999999M\" is no size such as 16K, 1M or 65536",
        ),
        (
            &["größe", "--piece-length", "é"],
            "--piece-length: \"é\" is no size such as 16K, 1M or 65536",
        ),
        (
            &["größe", "--piece-length", "17K"],
            "a piece length of 17408 bytes, which is not a power of two from 16 KiB to 512 MiB",
        ),
        (
            &["größe", "--tracker", "example.org"],
            "--tracker: \"example.org\" is no URL such as http://example.org/announce",
        ),
        (
            &["größe", "--tracker", "http://a/,"],
            "--tracker: \"\" is no URL such as http://example.org/announce",
        ),
        (
            &["größe", "--web-seed", "http://"],
            "--web-seed: \"http://\" is no URL such as http://example.org/announce",
        ),
        (
            &["größe", "--tracker", "http://a b/"],
            "\"http://a b/\" is not the address of a tracker or web seed",
        ),
        (&["größe", "--name", "a/b"], "a torrent cannot be called \"a/b\""),
        (&["größe", "--out", ""], "--out: an empty path"),
        (&["größe", "--comment", "a", "--comment", "b"], "--comment is given twice"),
        (&["größe", "--private", "--private"], "--private is given twice"),
        (&["größe", "--private=yes"], "--private takes no value"),
        (&["größe", "--comment"], "--comment: no value is given"),
        (
            &["--comment", "--private", "größe"],
            "--comment: no value is given; one that begins with -- is given as --comment=VALUE",
        ),
    ] {
        let out = run(dir.path(), args);
        assert_fails(&out, 2, sentence);
    }
    assert!(!dir.path().join("größe.torrent").exists());
}

#[test]
fn value_after_equals_is_no_other_option() {
    let (dir, _) = folder();
    let out = run(dir.path(), &["größe", "--comment=--private", "-o", "t"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(!read(dir.path().join("t")).private);
    let bytes = fs::read(dir.path().join("t")).unwrap();
    assert!(text(&bytes).contains("7:comment9:--private"), "{}", text(&bytes));
}

#[test]
fn create_failure_is_told_in_a_sentence() {
    let (dir, _) = folder();
    fs::create_dir(dir.path().join("none")).unwrap();
    fs::create_dir(dir.path().join("links")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("links/l")).unwrap();
    for (args, sentence) in [
        (&["missing"][..], "cannot read missing: No such file or directory (os error 2)"),
        (&["none"], "none holds no data"),
        (
            &["links"],
            "links/l is a symbolic link, which a torrent cannot hold; --skip-special \
             leaves such things out",
        ),
        (&["links", "--skip-special"], "links holds no data"),
        (&["größe", "--out", "no/t"], "cannot write no/t: No such file or directory (os error 2)"),
    ] {
        assert_fails(&run(dir.path(), args), 1, sentence);
    }
}

#[test]
fn help_and_version_are_no_failure() {
    for (arg, begins) in
        [("--help", "Makes a torrent of a file or a folder.\n"), ("--version", "create ")]
    {
        let out = run(Path::new("."), &[arg]);
        assert!(
            text(&out.stdout).starts_with(begins) && out.status.success() && out.stderr.is_empty()
        );
    }
}

#[test]
fn terminated_half_way_it_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing but a hole, which takes long enough to read.
    fs::File::create(dir.path().join("big")).unwrap().set_len(200 << 30).unwrap();
    let mut command = Command::new(example("create"));
    let mut process = Process::spawn(
        "create",
        command.current_dir(dir.path()).args(["big", "--threads", "1"]),
        dir.path(),
    );
    clock::wait_for("it hashes", LIMIT, || {
        process.output().contains("hashing   big, 200.00 GiB").then_some(())
    });
    process.terminate();
    assert_eq!(process.wait(LIMIT).code(), Some(143));
    assert!(
        process.output().ends_with("create: stopped; no torrent was written\n"),
        "{}",
        process.output()
    );
    assert!(!dir.path().join("big.torrent").exists());
}
