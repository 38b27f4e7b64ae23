//! The `dht` example as its user sees it, and the file of nodes that `download` shares with it. All
//! nodes are on this machine.
#![cfg(unix)]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use crate::support::{
    clock,
    download::{Ended, ours, quiet},
    process::Process,
};
use cratetorrent::dht::DhtState;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(40);
const HASH: &str = "aabbccddeeff00112233445566778899aabbccdd";
/// No name: resolvers refuse it without asking anyone.
const NAMELESS: &str =
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.test:1";

fn dht(args: &[&str]) -> Command {
    let mut command = ours("dht");
    command.args(["--listen", "127.0.0.1:0"]).args(args);
    command
}

fn run(command: &mut Command) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::spawn("dht", command, dir.path());
    Ended { status: process.wait(LIMIT), output: process.output() }
}

fn objects(output: &str, event: &str) -> Vec<Value> {
    let object = |line: &str| serde_json::from_str::<Value>(line).expect(line);
    output.lines().map(object).filter(|object| object["event"] == event).collect()
}

/// A node that takes part until its test ends, and where it is.
fn node(dir: &Path) -> (Process, String) {
    let process = Process::spawn("node", &mut dht(&["--json", "--warm", "0", "--stay=2m"]), dir);
    let address = clock::wait_for("the node listens", LIMIT, || {
        let output = process.output();
        // The line may be on its way.
        let line = output.split_once('\n')?.0;
        Some(objects(line, "listening").first()?["address"].as_str()?.to_owned())
    });
    (process, address)
}

fn nodes_in(file: &Path) -> usize {
    DhtState::decode(&fs::read(file).unwrap()).unwrap().nodes.len()
}

#[test]
fn announced_peer_is_found_drawn_and_found_by_state_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, first) = node(dir.path());
    let (state, svg) = (dir.path().join("state"), dir.path().join("look.svg"));
    let (file, picture) = (state.to_str().unwrap(), svg.to_str().unwrap());
    // Nothing is there yet, but it is stored at the first node.
    let args = [HASH, "--bootstrap", &first, "--announce", "4444", "--warm", "1s"];
    let ended = run(dht(&args).args(["--dht-state", file]));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    ended.assert_says(&["done: 0 peers", "stored by 1 nodes"]);
    assert_eq!(nodes_in(&state), 1);
    // The node is known by the file.
    let link = format!("magnet:?xt=urn:btih:{}", HASH.to_uppercase());
    let ended =
        run(&mut dht(&[&link, "--dht-state", file, "--svg", picture, "--warm", "1", "--json"]));
    assert!(ended.status.success(), "{}", ended.output);
    let told = |event| objects(&ended.output, event);
    assert_eq!(told("table")[0]["nodes_v4"], 1);
    assert_eq!(told("ask")[0]["node"], *first);
    assert_eq!(told("answer")[0]["node"], *first);
    assert!(told("answer")[0]["round_trip_ms"].as_f64() > Some(0.0));
    assert_eq!(told("peer")[0]["address"], "127.0.0.1:4444");
    assert_eq!((&told("done")[0]["peers"], told("done").len()), (&Value::from(1), 1));
    assert!(fs::read_to_string(&svg).unwrap().ends_with("</svg>\n"));
    // A link names places to begin, too.
    let link = format!("{link}&dht={first}");
    let ended = run(dht(&[&link, "--warm", "1s"]).arg("--quiet"));
    assert_eq!((ended.status.code(), &ended.output[..]), (Some(0), "127.0.0.1:4444\n"));
}

#[test]
fn both_families_share_a_port() {
    let free = std::net::UdpSocket::bind("[::]:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut command = ours("dht");
    command.args(["--warm", "1s", "--json"]);
    for family in ["0.0.0.0", "[::]"] {
        command.args(["--listen", &format!("{family}:{port}")]);
    }
    let ended = run(&mut command);
    ended.assert_success();
    assert_eq!(objects(&ended.output, "listening").len(), 2, "{}", ended.output);
}

#[test]
fn wrong_usage_of_dht_is_told() {
    let other = format!("magnet:?xt=urn:btih:{HASH}&xt=urn:btih:{}", "0a".repeat(20));
    let cases: [(&[&str], &str); 14] = [
        (&["zz"], "neither 40 hexadecimal digits nor a magnet link"),
        (&[&HASH[1..]], "neither 40 hexadecimal digits"),
        (&["magnet:?dn=x"], "names no torrent"),
        (&[&other], "two different btih hashes"),
        (&[HASH, HASH], "one torrent at a time"),
        (&["--bootstrap", "127.0.0.1:70000"], "port from 1 to 65535"),
        (&["--bootstrap", "127.0.0.1:0"], "port from 1 to 65535"),
        (&["--bootstrap", "::1:80"], "[V6]:PORT"),
        (&["--bootstrap", ":80"], "HOST:PORT"),
        (&["--listen", "127.0.0.1:1"], "second address of its family"),
        (&["--warm", "5x"], "a time is a number with s, m, h or d"),
        (&[HASH, "--announce", "0"], "port 0"),
        (&["--announce", "1"], "no HASH"),
        (&["--what"], "there is no option --what"),
    ];
    for (args, words) in cases {
        let ended = run(&mut dht(args));
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {}", ended.output);
        ended.assert_says(&["dht: ", words]);
    }
    let ended = run(&mut dht(&[HASH]));
    assert_eq!(ended.status.code(), Some(2), "{}", ended.output);
    ended.assert_says(&["no node to begin at", "--bootstrap", "--dht-state"]);
    let ended = run(&mut dht(&["--warm", "1s", "--bootstrap", NAMELESS]));
    ended.assert_success();
    ended.assert_says(&["the address of", "cannot be found"]);
    ended.assert_says(&["0 nodes of IPv4", "no node has answered"]);
    for (option, words) in [("--help", "--warm TIME"), ("-h", "Usage"), ("--version", "dht 0.")] {
        let ended = run(&mut dht(&[option]));
        ended.assert_success();
        ended.assert_says(&[words]);
    }
}

#[test]
fn file_that_holds_no_nodes_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, first) = node(dir.path());
    let (garbage, empty) = (dir.path().join("garbage"), dir.path().join("empty"));
    let missing = dir.path().join("missing/file");
    fs::write(&garbage, "my diary").unwrap();
    fs::write(&empty, "").unwrap();
    let link = format!("magnet:?xt=urn:btih:{HASH}");
    for file in [&garbage, &missing, &dir.path().to_owned()] {
        let state = ["--dht-state", file.to_str().unwrap(), "--bootstrap", &first];
        let mut download = ours("download");
        download.args([&link, "--no-listen", "--dir"]).arg(dir.path());
        download.env_remove("NO_DHT");
        for mut command in [dht(&["--warm", "1s"]), download] {
            let ended = run(command.args(state));
            assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
            ended.assert_says(&["--dht-state: ", file.to_str().unwrap()]);
        }
    }
    assert_eq!(fs::read_to_string(&garbage).unwrap(), "my diary");
    assert!(!missing.exists());
    // What cannot be replaced stays.
    let kept = dir.path().join("kept");
    run(dht(&["--warm", "1s", "--bootstrap", &first]).arg("--dht-state").arg(&kept))
        .assert_success();
    let before = fs::read(&kept).unwrap();
    let mut sh = quiet(Command::new("sh"));
    sh.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "-"]).arg(ours("dht").get_program());
    sh.args(["--listen", "127.0.0.1:0", "--warm", "1s", "--dht-state"]).arg(&kept);
    // Through pipes, since no file may grow.
    let Output { status, stderr, .. } = sh.output().unwrap();
    let ended = Ended { status, output: String::from_utf8_lossy(&stderr).into_owned() };
    ended.assert_failure(&["--dht-state: cannot write", "kept"]);
    assert_eq!(fs::read(&kept).unwrap(), before);
    // A file of nothing is as good as none.
    let state = ["--dht-state", empty.to_str().unwrap(), "--bootstrap", &first];
    run(dht(&["--warm", "1s"]).args(state)).assert_success();
    assert_eq!(nodes_in(&empty), 1);
}

#[test]
fn short_download_keeps_the_nodes_that_it_met() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, first) = node(dir.path());
    let link = format!("magnet:?xt=urn:btih:{HASH}");
    for (name, signal) in [("given-up", None), ("stopped", Some(Signal::TERM))] {
        let state = dir.path().join(name);
        let mut command = ours("download");
        command.args([
            &link,
            "--bind",
            "127.0.0.1",
            "--port",
            "0",
            "--bootstrap",
            &first,
            "--json",
        ]);
        command.arg("--dht-state").arg(&state).arg("--dir").arg(dir.path()).env_remove("NO_DHT");
        if signal.is_none() {
            command.arg("--timeout=2s");
        }
        let mut process = Process::spawn(name, &mut command, dir.path());
        clock::wait_for("a node of the DHT is told", LIMIT, || {
            process.output().contains(r#""dht_nodes":1"#).then_some(())
        });
        if let Some(signal) = signal {
            let id = Pid::from_raw(process.id().cast_signed()).unwrap();
            kill_process(id, signal).unwrap();
        }
        process.wait(LIMIT);
        assert_eq!(nodes_in(&state), 1, "{name}: {}", process.output());
    }
    // Without a node, that is a reason for having no peer.
    let mut command = ours("download");
    command.args([&link, "--bind", "127.0.0.1", "--port", "0", "--bootstrap", NAMELESS]);
    command.args(["--timeout", "2s", "--dir"]).arg(dir.path()).env_remove("NO_DHT");
    let ended = run(&mut command);
    ended.assert_failure(&["no peer was connected for 2 s", "no node of the DHT answers"]);
}

#[test]
fn signal_ends_a_node_in_good_order() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, first) = node(dir.path());
    // Nothing is looked for, or not any more: that is how it ends.
    for (signal, hash, code) in
        [(Signal::TERM, None, 0), (Signal::INT, None, 0), (Signal::TERM, Some(HASH), 143)]
    {
        let state = dir.path().join("state");
        let _ = fs::remove_file(&state);
        let args = ["--bootstrap", &first, "--warm", "1m", "--dht-state"];
        let mut command = dht(&args);
        command.arg(&state).args(hash);
        let mut process = Process::spawn(&format!("{signal:?}{hash:?}"), &mut command, dir.path());
        clock::wait_for("it is online", LIMIT, || {
            process.output().contains("nodes of IPv4 answer").then_some(())
        });
        kill_process(Pid::from_raw(process.id().cast_signed()).unwrap(), signal).unwrap();
        assert_eq!(process.wait(LIMIT).code(), Some(code), "{}", process.output());
        assert_eq!(nodes_in(&state), 1);
    }
}

#[test]
fn signal_does_not_hide_a_state_that_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, first) = node(dir.path());
    let folder = dir.path().join("gone");
    fs::create_dir(&folder).unwrap();
    let mut command = dht(&[HASH, "--bootstrap", &first, "--warm", "1m", "--dht-state"]);
    let mut process = Process::spawn("lost", command.arg(folder.join("state")), dir.path());
    clock::wait_for("it is online", LIMIT, || {
        process.output().contains("nodes of IPv4 answer").then_some(())
    });
    fs::remove_dir_all(&folder).unwrap();
    process.terminate();
    assert_eq!(process.wait(LIMIT).code(), Some(143), "{}", process.output());
    assert!(process.output().contains("--dht-state: what is known"), "{}", process.output());
}

#[test]
fn reader_that_goes_away_ends_nothing() {
    let mut command = dht(&["--warm", "1s"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
