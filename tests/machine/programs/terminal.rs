//! The example programs on a terminal, and how they take signals.
#![cfg(unix)]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use crate::support::{
    clock,
    download::{Bench, QUIET, ours},
    ports,
    process::Process,
    seeder::Seeder,
    system::skip,
    terminal::Terminal,
    torrent::{Recipe, Torrent},
};
use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
};

const LIMIT: Duration = Duration::from_secs(45);

/// A download that takes some seconds, and its seeder.
fn slow() -> (Bench, Arc<Torrent>, Seeder) {
    let torrent =
        Arc::new(Recipe::single("some-file-with-a-long-name.bin", 900_000, 16 * 1024).make(3));
    let seeder = Seeder::slow(&torrent, 300_000);
    (Bench::new(&torrent), torrent, seeder)
}

#[test]
fn dumb_terminal_gets_progress_in_plain_lines() {
    let (bench, _, seeder) = slow();
    let mut terminal = Terminal::start(&mut quiet(bench.command(&[seeder.addr()])), "dumb", 80);
    let at = terminal.wait_for(0, " %, ", LIMIT);
    terminal.wait_for(at, "complete: ", LIMIT);
    assert!(terminal.wait(LIMIT).success());
    assert!(!terminal.text().contains('\x1b'), "{:?}", terminal.text());
}

#[test]
fn bar_is_never_wider_than_its_terminal() {
    let (bench, _, seeder) = slow();
    let mut terminal = Terminal::start(&mut quiet(bench.command(&[seeder.addr()])), "xterm", 40);
    let at = terminal.wait_for(0, " %  ", LIMIT);
    terminal.wait_for(at, "complete: ", LIMIT);
    assert!(terminal.wait(LIMIT).success());
    let drawn = terminal.drawn();
    let bars: Vec<_> = drawn.iter().filter(|line| line.contains(" %  ")).collect();
    assert!(!bars.is_empty() && bars.iter().all(|line| line.chars().count() <= 40), "{bars:?}");
}

#[test]
fn link_that_is_not_known_yet_has_no_bar() {
    let mut bench = Bench::new(&Recipe::single("file", 100_000, 16 * 1024).make(5));
    bench.torrent = format!("magnet:?xt=urn:btih:{}", "0c".repeat(20)).into();
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_port()));
    let mut command = quiet(bench.command(&[closed]));
    let mut terminal = Terminal::start(command.args(["--timeout", "3"]), "xterm", 80);
    let at = terminal.wait_for(0, "metadata: no peer is connected yet", LIMIT);
    terminal.wait_for(at, "no peer was connected for 3 s", LIMIT);
    assert_eq!(terminal.wait(LIMIT).code(), Some(1));
    assert!(!terminal.text().contains('%'), "{:?}", terminal.text());
}

/// Without the log, which is not for terminals.
fn quiet(mut command: Command) -> Command {
    command.env_remove("RUST_LOG");
    command
}

#[test]
fn typed_line_survives_news_and_history_comes_back() {
    let torrent = Arc::new(Recipe::single("file", 100_000, 16 * 1024).make(5));
    let dir = tempfile::tempdir().unwrap();
    fs::rename(torrent.write_metainfo(dir.path()), dir.path().join("t.torrent")).unwrap();
    let mut command = ours("session");
    let mut terminal =
        Terminal::start(command.current_dir(dir.path()).args(["s", "--port", "0"]), "xterm", 80);
    let at = terminal.wait_for(0, "> ", LIMIT);
    terminal.say("add t.torrent\r");
    let at = terminal.wait_for(at, "checked 1", LIMIT);
    // The download ends while the next line is being typed.
    let seeder = Seeder::slow(&torrent, 50_000);
    terminal.say(&format!("peer 1 {}\r", seeder.addr()));
    let at = terminal.wait_for(at, "told 1", LIMIT);
    let at = terminal.wait_for(at, "> ", LIMIT);
    terminal.say("half a line");
    let at = terminal.wait_for(at, "finished 1", LIMIT);
    terminal.wait_for(at, "> half a line", LIMIT);
    // Ctrl-U clears it; the arrow brings back what was entered last.
    terminal.say("\x15\x1b[A");
    terminal.wait_for(at, &format!("> peer 1 {}", seeder.addr()), LIMIT);
    terminal.say("\x15quit\r");
    assert!(terminal.wait(LIMIT).success(), "{}", terminal.text());
    torrent.assert_in(&dir.path().join("s/downloads"));

    // It is there at the next start, too.
    let mut terminal = Terminal::start(command.current_dir(dir.path()), "xterm", 80);
    let at = terminal.wait_for(0, "> ", LIMIT);
    terminal.say("\x1b[A\x1b[A");
    terminal.wait_for(at, &format!("> peer 1 {}", seeder.addr()), LIMIT);
}

#[test]
fn exploring_ends_in_time_though_its_reader_has_gone() {
    let mut child = ours("swarm_sim")
        .args(["--explore", "--for", "1s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = clock::wait_for("its end", LIMIT, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn hangup_ends_in_good_order() {
    // These tests may run below `nohup`, which ignores the signal for all that they start. One that
    // is caught is reset there.
    let _hangup = signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default()).unwrap();
    let (mut bench, _, seeder) = slow();
    let mut process = bench.start(&mut bench.command(&[seeder.addr()]));
    clock::wait_for("it downloads", LIMIT, || {
        process.output().contains("fetching the others").then_some(())
    });
    kill_process(Pid::from_raw(process.id().cast_signed()).unwrap(), Signal::HUP).unwrap();
    assert_eq!(process.wait(LIMIT).code(), Some(129), "{}", process.output());
    assert!(
        process.output().contains("stopped; what was downloaded is kept"),
        "{}",
        process.output()
    );
}

#[test]
fn signal_twice_in_a_moment_ends_once() {
    let (mut bench, _, seeder) = slow();
    let mut process = bench.start(&mut bench.command(&[seeder.addr()]));
    clock::wait_for("it downloads", LIMIT, || {
        process.output().contains("fetching the others").then_some(())
    });
    (0..20).for_each(|_| process.terminate());
    assert_eq!(process.wait(LIMIT).code(), Some(143), "{}", process.output());
    assert!(
        process.output().contains("stopped; what was downloaded is kept"),
        "{}",
        process.output()
    );
}

#[test]
fn name_that_does_not_resolve_is_a_failure_and_no_misuse() {
    let (bench, _, _seeder) = slow();
    for (peer, code) in
        [("host.invalid:6881", 1), ("127.0.0.1", 2), ("127.0.0.1:0", 2), ("::1:80", 2), (":80", 2)]
    {
        let status = bench.command(&[]).arg(format!("--peer={peer}")).output().unwrap().status;
        assert_eq!(status.code(), Some(code), "{peer}");
    }
}

#[test]
fn misuse_of_download_exits_with_2() {
    let (bench, _, _seeder) = slow();
    let cases: [(&[&str], &str); 6] = [
        (&["--dir", "elsewhere"], "--dir is given twice"),
        (&["--blocklist", "--quiet"], "--blocklist: no value is given"),
        (&["--name", "99=x"], "--name: "),
        (&["--name", "0=/abs"], "--name: "),
        (&["--name", "0="], "--name: "),
        (&["--select", "99"], "--select: "),
    ];
    for (args, sentence) in cases {
        let output = bench.command(&[]).env_remove("RUST_LOG").args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.starts_with(&format!("download: {sentence}")), "{args:?}: {said}");
    }
}

#[test]
fn peers_in_the_environment_without_a_torrent_are_misuse() {
    let mut command = ours("download");
    command.env_remove("METAINFO_PATH").env("SEED", "127.0.0.1:6881");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said, "download: no torrent given; --help tells how\n");
}

/// As process 1 of a container, which a signal ends only if it is caught. What the program waits
/// for before it starts is a torrent that comes through a pipe.
#[test]
fn process_1_obeys_a_signal_before_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let isolated = |program: &Path| {
        let mut command = Command::new("unshare");
        command.envs(QUIET).args(["-r", "--pid", "--fork", "--kill-child"]).arg(program);
        command
    };
    if !isolated(Path::new("true")).status().is_ok_and(|status| status.success()) {
        return skip(
            "process_1_obeys_a_signal_before_it_starts",
            "there are no process namespaces here",
        );
    }
    let mut command = isolated(Path::new(ours("download").get_program()));
    command.arg(&pipe).arg("--no-listen").env_remove("SEED");
    let mut process = Process::spawn("process-1", &mut command, dir.path());
    let children = format!("/proc/{0}/task/{0}/children", process.id());
    // A writer can open the pipe without waiting when the program waits for it.
    let writer = clock::wait_for("it reads the torrent", LIMIT, || {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        rustix::fs::open(&pipe, flags, Mode::empty()).ok()
    });
    let child = fs::read_to_string(children).unwrap();
    let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    kill_process(child, Signal::TERM).unwrap();
    assert_eq!(process.wait(Duration::from_secs(2)).code(), Some(143), "{}", process.output());
    drop(writer);
}

#[test]
fn selected_files_are_fetched_and_state_removed_when_whole() {
    let recipe =
        Recipe::folder("set", 16 * 1024).file("a", 50_000).file("b", 50_000).file("c", 50_000);
    let torrent = Arc::new(recipe.make(9));
    let seeder = Seeder::good(&torrent);
    let mut bench = Bench::new(&torrent);
    let run = |bench: &mut Bench, args: &[&str]| {
        let mut process = bench.start(bench.command(&[seeder.addr()]).args(args));
        (process.wait(LIMIT).code(), process.output())
    };
    let (code, said) = run(&mut bench, &["--select=0,2"]);
    assert_eq!(code, Some(0), "{said}");
    let there = |name: &str| bench.dir.join("set").join(name).exists();
    assert_eq!(["a", "b", "c"].map(there), [true, false, true]);
    assert!(bench.dir.join(".cratetorrent").exists(), "the rest may be wanted at the next start");
    let (code, said) = run(&mut bench, &["--select", "3"]);
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = run(&mut bench, &["--seed-time=1s"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("served as much as was asked for"), "{said}");
    torrent.assert_in(&bench.dir);
    assert!(!bench.dir.join(".cratetorrent").exists(), "nothing is left to be known");
}
