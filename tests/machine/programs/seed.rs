//! The `seed` example as its user sees it, with the `download` example at the other end.
#![cfg(unix)]

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::Duration,
};

use crate::support::{
    clock,
    download::{Bench, QUIET, example, ours},
    process::Process,
    torrent::{Recipe, Torrent},
};
use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(45);

fn served() -> (TempDir, Torrent) {
    super::unusual_folder(5_000_000)
}

fn start(dir: &Path, args: &[&str]) -> Process {
    start_as("seed", dir, args)
}

/// One of several whose output is kept apart.
fn start_as(name: &str, dir: &Path, args: &[&str]) -> Process {
    Process::spawn(name, ours("seed").current_dir(dir).args(["--port", "0"]).args(args), dir)
}

/// The addresses it says it listens on, on the loopback.
fn addrs(process: &mut Process) -> Vec<SocketAddr> {
    let line =
        || process.output().lines().find(|line| line.starts_with("seeding   ")).map(str::to_owned);
    let line = clock::wait_for("it serves", LIMIT, line);
    let addrs = line
        .split_whitespace()
        .filter_map(|word| word.trim_end_matches(';').parse::<SocketAddr>().ok());
    let addrs: Vec<_> = addrs.collect();
    assert!(!addrs.is_empty(), "no address in {line:?}");
    let local = |addr: SocketAddr| match addr {
        SocketAddr::V4(v4) => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) => (Ipv6Addr::LOCALHOST, v6.port()).into(),
    };
    addrs.into_iter().map(local).collect()
}

#[track_caller]
fn assert_ends(process: &mut Process, code: i32, last: &str) {
    let status = process.wait(LIMIT);
    assert_eq!(status.code(), Some(code), "{}", process.output());
    assert_eq!(process.output().lines().last(), Some(last), "{}", process.output());
}

#[test]
fn a_folder_is_made_a_torrent_and_served_on_every_address() {
    let (dir, torrent) = served();
    let mut seed = start(dir.path(), &["größe", "--piece-length", "64K", "--no-date"]);
    let addrs = addrs(&mut seed);
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        assert_eq!(addrs.len(), 2, "IPv4 and IPv6");
    }
    for addr in &addrs {
        let mut bench = Bench::new(&torrent);
        fs::copy(dir.path().join("größe.torrent"), &bench.torrent).unwrap();
        bench.complete(&torrent, &[*addr], LIMIT);
    }
    seed.terminate();
    assert!(seed.wait(LIMIT).success());
    let output = seed.output();
    let last = output.lines().last().unwrap();
    assert!(
        last.starts_with("stopped: ") && last.ends_with(&format!("ratio {}.00", addrs.len())),
        "{output}"
    );
    let hash: String = torrent.info_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(
        output.contains(&format!("info-hash {hash}\n"))
            && output.contains("torrent   größe.torrent\n"),
        "{output}"
    );
    assert!(
        !dir.path().join(".cratetorrent").exists(),
        "nothing is written beside the user's data but the torrent"
    );
}

#[test]
fn the_same_command_serves_again_what_it_made_before() {
    let (dir, torrent) = served();
    let made = || fs::read(dir.path().join("größe.torrent")).ok();
    let mut first = None;
    let starts = [
        ("first", &["--piece-length", "64K", "--source", "s"][..]),
        ("second", &["--source", "s"]),
        ("third", &[]),
    ];
    for (name, options) in starts {
        let mut seed = start_as(name, dir.path(), &[&["größe"], options].concat());
        let addr = addrs(&mut seed)[0];
        assert_eq!(*first.get_or_insert(made()), made());
        assert!(seed.output().contains("torrent   größe.torrent\n"), "{}", seed.output());
        let mut bench = Bench::new(&torrent);
        fs::copy(dir.path().join("größe.torrent"), &bench.torrent).unwrap();
        bench.complete(&torrent, &[addr], LIMIT);
        seed.terminate();
        assert!(seed.wait(LIMIT).success());
    }
    let exists = "seed: größe.torrent exists already: seed it, or replace it by --force";
    for option in [["--format", "v2"], ["--comment", "c"], ["--web-seed", "http://w.example/"]] {
        assert_ends(&mut start(dir.path(), &[&["größe"], &option[..]].concat()), 1, exists);
    }
    // A torrent of what was there is none of what is there.
    fs::write(dir.path().join("größe/new"), "new").unwrap();
    assert_ends(&mut start(dir.path(), &["größe"]), 1, exists);
    assert_eq!(first, Some(made()));
}

#[test]
fn comment_and_web_seed_are_no_obstacle_to_the_second_start() {
    let (dir, _) = served();
    let given = ["größe", "--comment", "c", "--web-seed", "http://w.example/"];
    for (name, args) in [("first", &given[..]), ("second", &given), ("third", &given[..1])] {
        let mut seed = start_as(name, dir.path(), args);
        addrs(&mut seed);
        seed.terminate();
        assert!(seed.wait(LIMIT).success());
    }
}

#[test]
fn changed_data_is_told_to_need_another_torrent() {
    let (dir, _) = served();
    fs::write(dir.path().join("one.txt"), [1; 1000]).unwrap();
    for (data, file) in [("größe", "größe/z"), ("one.txt", "one.txt")] {
        let file = dir.path().join(file);
        let mut first = start_as("first", dir.path(), &[data]);
        addrs(&mut first);
        first.terminate();
        assert!(first.wait(LIMIT).success());
        fs::remove_file(dir.path().join("first.log")).unwrap();
        let torrent = dir.path().join(format!("{data}.torrent"));
        let mut bytes = fs::read(&file).unwrap();
        bytes[500] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let made = fs::read(&torrent).unwrap();
        let changed = format!(
            "seed: {data} was changed since {data}.torrent was made of it; --force makes it anew"
        );
        assert_ends(&mut start_as(data, dir.path(), &[data]), 1, &changed);
        assert_eq!((fs::read(&file).unwrap(), fs::read(&torrent).unwrap()), (bytes, made));
    }
}

#[test]
fn smallest_seed_ratio_is_not_reached_by_sending_nothing() {
    let (dir, torrent) = served();
    torrent.write_metainfo(dir.path());
    let mut seed = start(dir.path(), &["test.torrent"]);
    let addr = addrs(&mut seed)[0];
    let mut bench = Bench::new(&torrent);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ratio = ["--seed-ratio", "0.001", "--port", &port.to_string()];
    let mut first = bench.start(bench.command(&[addr]).args(ratio));
    clock::wait_for("it is complete", LIMIT, || {
        first.output().contains("complete: ").then_some(())
    });
    seed.terminate();
    assert!(seed.wait(LIMIT).success());
    // It serves until it has sent a piece or so, and no longer.
    let mut other = Bench::new(&torrent);
    let second = other.start(&mut other.command(&[([127, 0, 0, 1], port).into()]));
    assert!(first.wait(LIMIT).success(), "{}", first.output());
    assert!(second.output().contains("is connected"), "{}", second.output());
}

#[test]
fn a_torrent_is_served_from_its_folder_once_it_is_checked() {
    let (dir, torrent) = served();
    let torrents = tempfile::tempdir().unwrap();
    let path = torrent.write_metainfo(torrents.path());
    let mut seed =
        start(torrents.path(), &[path.to_str().unwrap(), "--dir", dir.path().to_str().unwrap()]);
    let addr = addrs(&mut seed)[0];
    Bench::new(&torrent).complete(&torrent, &[addr], LIMIT);
    seed.terminate();
    assert!(seed.wait(LIMIT).success());
}

#[test]
fn incomplete_data_is_neither_served_nor_touched() {
    let (dir, torrent) = served();
    torrent.write_metainfo(dir.path());
    let file = dir.path().join("größe/z");
    let mut bytes = fs::read(&file).unwrap();
    bytes[299_999] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let sentence = "seed: größe in . is not whole: 80 of 81 pieces are right; the download example \
                    fetches the others";
    assert_ends(&mut start(dir.path(), &["test.torrent"]), 1, sentence);
    assert_eq!(fs::read(&file).unwrap(), bytes);
    let elsewhere = tempfile::tempdir().unwrap();
    let args = ["test.torrent", "--dir", elsewhere.path().to_str().unwrap(), "--no-check"];
    let nothing = format!("seed: nothing of größe is in {}", elsewhere.path().display());
    assert_ends(&mut start(dir.path(), &args), 1, &nothing);
}

#[test]
fn longer_files_are_told_of_served_and_left() {
    let (dir, torrent) = served();
    torrent.write_metainfo(dir.path());
    let files = ["größe/a/日本", "größe/z"].map(|file| dir.path().join(file));
    for file in &files {
        let mut bytes = fs::read(file).unwrap();
        bytes.extend_from_slice(b"more");
        fs::write(file, bytes).unwrap();
    }
    let before = files.clone().map(|file| fs::read(file).unwrap());
    let mut seed = start(dir.path(), &["test.torrent"]);
    let addr = addrs(&mut seed)[0];
    Bench::new(&torrent).complete(&torrent, &[addr], LIMIT);
    seed.terminate();
    assert!(seed.wait(LIMIT).success());
    let told = "a/日本 and 1 more of its files are longer than the torrent says; they are served, \
                and left as they are";
    assert!(seed.output().lines().any(|line| line == told), "{}", seed.output());
    assert_eq!(files.map(|file| fs::read(file).unwrap()), before);
}

#[test]
fn single_file_is_told_of_by_name_and_served_by_dialling() {
    let (dir, torrent) =
        (tempfile::tempdir().unwrap(), Recipe::single("one.bin", 9, 16384).make(7));
    torrent.write_files(dir.path());
    torrent.write_metainfo(dir.path());
    fs::write(dir.path().join("one.bin"), [torrent.data.as_slice(), b"more"].concat()).unwrap();
    let args = ["test.torrent", "--no-listen"];
    let mut seed = Process::spawn("seed", ours("seed").current_dir(&dir).args(args), dir.path());
    for told in [
        "seeding   one.bin to peers that it connects to; Ctrl-C ends it",
        "one.bin is longer than the torrent says; it is served, and left as it is",
    ] {
        clock::wait_for(told, LIMIT, || seed.output().lines().find(|line| *line == told).map(drop));
    }
    seed.terminate();
    assert!(seed.wait(LIMIT).success());
}

#[test]
fn unchecked_files_are_served_until_a_read_fails() {
    let (dir, torrent) = served();
    torrent.write_metainfo(dir.path());
    let mut seed = start(dir.path(), &["test.torrent", "--no-check"]);
    let addr = addrs(&mut seed)[0];
    assert!(!seed.output().contains("checking"));
    Bench::new(&torrent).complete(&torrent, &[addr], LIMIT);

    let file = dir.path().join("größe/a/b");
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(2_000_000).unwrap();
    let mut bench = Bench::new(&torrent);
    let _download = bench.start(&mut bench.command(&[addr]));
    let sentence = "seed: größe in . is not whole: 34 of 81 pieces are right; the download example \
                    fetches the others";
    assert_ends(&mut seed, 1, sentence);
    let told =
        "seed: cannot read ./größe/a/b: another program has changed it; everything is checked now";
    assert!(seed.output().lines().any(|line| line == told), "{}", seed.output());
    assert_eq!(fs::metadata(file).unwrap().len(), 2_000_000, "nothing is written to it");
}

#[test]
fn as_many_connections_as_the_system_grants_are_taken() {
    let (dir, torrent) = served();
    torrent.write_metainfo(dir.path());
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let room = hard.saturating_sub(40 + 64).min(20_000);
    for name in ["seed", "download"] {
        let mut command = Command::new("sh");
        command.current_dir(dir.path()).env("RUST_LOG", "info").args([
            "-c",
            "ulimit -Sn 100 && exec \"$@\"",
            "-",
        ]);
        command.envs(QUIET).arg(example(name));
        command.args(["test.torrent", "--port", "0"]);
        let process = Process::spawn(name, &mut command, dir.path());
        let told = format!("room for {room} connections");
        clock::wait_for(&told, LIMIT, || process.output().contains(&told).then_some(()));
    }
}

#[test]
fn nonsense_is_told_in_a_sentence() {
    let (dir, torrent) = served();
    torrent.write_metainfo(dir.path());
    for (args, code, sentence) in [
        (&[][..], 2, "no torrent, file or folder given; --help tells how"),
        (&["a", "b"], 2, "one torrent, file or folder at a time, not 2"),
        (&["--what", "größe"], 2, "there is no option --what; --help lists them"),
        (&["größe", "--dir", "."], 2, "--dir is for a .torrent, which größe is not"),
        (
            &["größe", "--no-check"],
            2,
            "--no-check or --recheck is for a .torrent, which größe is not",
        ),
        (
            &["test.torrent", "--no-check", "--recheck"],
            2,
            "--no-check and --recheck exclude each other",
        ),
        (
            &["test.torrent", "--private"],
            2,
            "--private is for making a torrent, and test.torrent is one already",
        ),
        (
            &["test.torrent", "--peer", "127.0.0.1:0"],
            2,
            "--peer: \"127.0.0.1:0\" has port 0, on which no peer can listen",
        ),
        (
            &["test.torrent", "--bind", "127.0.0.1:6881"],
            2,
            "--bind: 127.0.0.1:6881 has a port, which is for --port to say",
        ),
        (&["none.torrent"], 1, "cannot read none.torrent: No such file or directory (os error 2)"),
        (&["none"], 1, "cannot read none: No such file or directory (os error 2)"),
    ] {
        let mut seed = start(dir.path(), args);
        assert_ends(&mut seed, code, &format!("seed: {sentence}"));
        fs::remove_file(dir.path().join("seed.log")).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn interface_that_is_not_there_is_named() {
    let (dir, torrent) = served();
    torrent.write_metainfo(dir.path());
    let mut seed = start(dir.path(), &["test.torrent", "--bind", "nosuchif0"]);
    let wrong = "cannot listen on 0.0.0.0:0: No such device (os error 19)";
    assert_ends(&mut seed, 1, &format!("seed: --bind nosuchif0: {wrong}"));
}

#[test]
fn peers_tell_a_download_once_what_its_link_stands_for() {
    let (dir, torrent) = served();
    let mut seed = start(dir.path(), &["größe", "--piece-length", "64K", "--no-date"]);
    let addr = addrs(&mut seed)[0];
    let hash: String = torrent.info_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut bench = Bench::new(&torrent);
    bench.torrent = format!("magnet:?xt=urn:btih:{hash}").into();
    let kept = bench.dir.join(format!(".cratetorrent/{hash}.torrent"));
    let mut first = bench.start(bench.command(&[addr]).args(["--limit-down", "500K"]));
    clock::wait_for("it downloads", LIMIT, || {
        first.output().contains("0 of 81 pieces are there, fetching the others").then_some(())
    });
    assert!(first.output().contains("asking peers what the torrent is"));
    assert!(kept.exists());
    first.terminate();
    assert_eq!(first.wait(LIMIT).code(), Some(143));
    seed.terminate();
    seed.wait(LIMIT);

    // No peer is there any more, and none is needed for that.
    let mut second = bench.start(bench.command(&[addr]).args(["--timeout", "1s"]));
    assert_eq!(second.wait(LIMIT).code(), Some(1));
    let said = second.output();
    assert!(said.contains(" of 81 pieces are there, fetching the others"), "{said}");
    assert!(!said.contains("asking peers"), "{said}");
    // What the link names besides counts at each start.
    let place = "127.0.0.1:9";
    bench.torrent = format!("magnet:?xt=urn:btih:{hash}&tr=http://{place}/announce").into();
    let mut tracked = bench.start(bench.command(&[addr]).args(["--timeout", "1s"]));
    assert_eq!(tracked.wait(LIMIT).code(), Some(1));
    assert!(tracked.output().contains(place), "{}", tracked.output());
    bench.torrent = format!("magnet:?xt=urn:btih:{hash}").into();
    // Whatever else lies there is not believed.
    let learned = fs::read(&kept).unwrap();
    for other in [&b"de"[..], &learned[..learned.len() - 9]] {
        fs::write(&kept, other).unwrap();
        let mut third = bench.start(bench.command(&[addr]).args(["--timeout", "1s"]));
        assert_eq!(third.wait(LIMIT).code(), Some(1));
        assert!(third.output().contains("asking peers what the torrent is"));
    }

    // A link that chooses nothing that there is says so, and one that does is followed.
    let mut seed = start_as("again", dir.path(), &["größe"]);
    let addr = addrs(&mut seed)[0];
    for known in [false, true] {
        bench.torrent = format!("magnet:?xt=urn:btih:{hash}&so=7-9").into();
        assert_eq!(kept.exists() && fs::read(&kept).unwrap() == learned, known);
        let ended = bench.run(&[addr], LIMIT);
        ended.assert_failure(&["chooses none of the torrent's files (so=7-9)", "0 to 3"]);
    }
    bench.torrent = format!("magnet:?xt=urn:btih:{hash}&so=1-2").into();
    let ended = bench.run(&[addr], LIMIT);
    ended.assert_success();
    ended.assert_says(&["complete", "the selected files"]);
    bench.torrent = format!("magnet:?xt=urn:btih:{hash}").into();
    bench.complete(&torrent, &[addr], LIMIT);
    assert!(!kept.exists());
}
