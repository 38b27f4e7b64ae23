//! The `session` example as a script drives it, by its pipes.
#![cfg(unix)]

use std::{
    fs::{self, File},
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    time::Duration,
};

use crate::support::{
    clock,
    download::ours,
    system::{Tmpfs, is_root, skip},
    torrent::{Recipe, Torrent},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(45);

/// A session that runs. Dropping it kills it.
struct Session {
    child: Child,
    input: Option<ChildStdin>,
    out: PathBuf,
    err: PathBuf,
    seen: usize,
}

impl Session {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let (out, err) = (dir.join("out"), dir.join("err"));
        let mut child = ours("session")
            .current_dir(dir)
            .args(["s", "--port", "0"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        Self { child, input, out, err, seen: 0 }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn lines(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        // The last one may be half written.
        text.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(str::to_owned)
            .collect()
    }

    /// The next line that begins so.
    fn line(&mut self, start: &str) -> String {
        let mut seen = self.seen;
        let found = clock::try_wait_for(LIMIT, || {
            let lines = Self::lines(&self.out);
            let at = (seen..lines.len()).find(|&at| lines[at].starts_with(start))?;
            seen = at + 1;
            Some(lines[at].clone())
        });
        self.seen = seen;
        found.unwrap_or_else(|| {
            panic!(
                "no line begins with {start:?}:\n{}\n{}",
                fs::read_to_string(&self.out).unwrap(),
                self.errors()
            )
        })
    }

    fn errors(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Says something that makes no sense; what it is told.
    fn complaint(&mut self, line: &str) -> String {
        let before = Self::lines(&self.err).len();
        self.say(line);
        clock::wait_for(line, LIMIT, || Self::lines(&self.err).get(before).cloned())
    }

    /// Where it can be reached, on the loopback.
    fn addr(&mut self) -> SocketAddr {
        let line = self.line("ready on ");
        let addr: SocketAddr = line.split(' ').nth(2).unwrap().parse().unwrap();
        ([127, 0, 0, 1], addr.port()).into()
    }

    fn wait(&mut self) -> ExitStatus {
        clock::wait_for("its end", LIMIT, || self.child.try_wait().unwrap())
    }

    #[track_caller]
    fn assert_ends(&mut self, code: i32) {
        assert_eq!(
            self.wait().code(),
            Some(code),
            "{}\n{}",
            fs::read_to_string(&self.out).unwrap(),
            self.errors()
        );
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn small(name: &str, seed: u64) -> Torrent {
    Recipe::single(name, 300_000, 32 * 1024).make(seed)
}

#[test]
fn two_sessions_exchange_files_as_scripts_say() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let torrents = [small("one", 1), small("two two", 2), small("three", 3)];
    let folder = to.path().join("torrents of mine");
    fs::create_dir(&folder).unwrap();
    for torrent in &torrents {
        torrent.write_files(from.path());
    }
    for (dir, name) in [(from.path(), "x"), (folder.as_path(), "y")] {
        for (n, torrent) in torrents.iter().enumerate() {
            fs::rename(torrent.write_metainfo(dir), dir.join(format!("{name}{n}.torrent")))
                .unwrap();
        }
    }

    let mut seed = Session::start(from.path(), &["--downloads", "."]);
    let addr = seed.addr();
    seed.say("add x0.torrent x1.torrent x2.torrent");
    seed.say("wait all --for 40");
    assert_eq!(seed.line("waited"), "waited");
    seed.say("list");
    for n in 1..=3 {
        let line = seed.line(&format!("{n}\t"));
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(
            (fields[1], fields[2], fields[3], fields[8]),
            ("seeding", "300000", "300000", "-"),
            "{line}"
        );
    }

    let mut leech = Session::start(to.path(), &["--active", "1"]);
    leech.addr();
    leech.say("# a remark, and an empty line");
    leech.say("");
    leech.say("add 'torrents of mine' --paused");
    let hash = leech.line("added 1 ").split(' ').nth(2).unwrap().to_owned();
    assert!(leech.line("added 2 ").ends_with(" two two"));
    leech.line("added 3 ");
    leech.say("queue 3 top");
    assert_eq!(leech.line("queued "), "queued 3 0");
    leech.say(&format!("label {} \"some words\" more", &hash[..8]));
    leech.line("labelled 1");
    leech.say("list more");
    assert!(leech.line("1\t").ends_with("\tone"));
    leech.say("show 1");
    leech.line("state: paused");
    leech.line("labels: some words more");
    for n in 1..=3 {
        leech.say(&format!("peer {n} {addr}"));
    }
    leech.say("stop 2 0 1");
    leech.say("resume all");
    leech.say("wait all --for 40");
    assert_eq!(leech.line("finished "), "finished 3", "it is the first in the queue");
    assert_eq!(
        (leech.line("finished "), leech.line("finished ")),
        ("finished 1".into(), "finished 2".into())
    );
    leech.line("waited");
    assert_eq!(leech.line("stopped "), "stopped 2 time");
    leech.say("stats");
    leech.line("torrents: 3: ");
    leech.say("move 1 elsewhere");
    leech.line("moved 1 ");
    leech.say("remove 3 --data");
    leech.line("deleted 3");
    leech.line("removed 3");
    leech.say("list");
    leech.say("quit");
    leech.assert_ends(0);
    torrents[0].compare(&to.path().join("elsewhere")).unwrap();
    torrents[1].compare(&to.path().join("s/downloads")).unwrap();
    assert!(
        !to.path().join("s/downloads/three").exists()
            && !to.path().join("s/downloads/one").exists()
    );
    assert_eq!(
        Session::lines(&leech.out).last().unwrap().split('\t').next(),
        Some("2"),
        "the last of the list"
    );

    // The end of the input is the end.
    drop(seed.input.take());
    seed.assert_ends(0);
}

/// A link has no name and no files until a peer tells; it is there at the next start all the same.
#[test]
fn session_takes_a_magnet_link_and_knows_it_after_a_restart() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let torrent = small("one", 5);
    torrent.write_files(from.path());
    fs::rename(torrent.write_metainfo(from.path()), from.path().join("x.torrent")).unwrap();
    let mut seed = Session::start(from.path(), &["--downloads", "."]);
    let addr = seed.addr();
    seed.say("add x.torrent");
    let hash = seed.line("added 1 ").split(' ').nth(2).unwrap().to_owned();

    let mut leech = Session::start(to.path(), &[]);
    leech.addr();
    leech.say(&format!("add magnet:?xt=urn:btih:{hash}"));
    assert_eq!(leech.line("added 1 "), format!("added 1 {hash} -"));
    leech.say("quit");
    leech.assert_ends(0);

    let mut leech = Session::start(to.path(), &[]);
    leech.addr();
    leech.say("list");
    assert!(leech.line("1\t").starts_with("1\twaiting for metadata\t"));
    leech.say(&format!("peer {} {addr}", &hash[..6]));
    leech.say("wait 1 --for 40");
    assert_eq!(leech.line("known "), "known 1 one");
    leech.line("finished 1");
    leech.line("waited");
    // A second link is nothing new, but for the files that it chooses.
    leech.say(&format!("add magnet:?xt=urn:btih:{hash}&so=0,7"));
    assert_eq!(leech.line("wanted "), "wanted 1 files 0,7");
    leech.say(&format!("add magnet:?xt=urn:btih:{hash}"));
    clock::wait_for("it is there already", LIMIT, || {
        leech.errors().contains("the torrent is there already").then_some(())
    });
    leech.say("quit");
    leech.assert_ends(1);
    torrent.compare(&to.path().join("s/downloads")).unwrap();
}

#[test]
fn signal_ends_the_session_despite_waits() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = small("lonely", 4);
    let file = torrent.write_metainfo(dir.path());
    for signal in [Signal::TERM, Signal::INT] {
        let mut session = Session::start(dir.path(), &[]);
        session.addr();
        session.say(&format!("add '{}'", file.display()));
        session.line("checked 1 0 pieces");
        session.say("wait all --for 0");
        clock::wait_for("it does not wait", LIMIT, || {
            session.errors().contains("it took too long").then_some(())
        });
        session.say("wait all");
        kill_process(Pid::from_child(&session.child), signal).unwrap();
        session.assert_ends(1);
    }
}

#[test]
fn json_session_answers_in_objects_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = small("one", 1);
    torrent.write_files(dir.path());
    fs::rename(torrent.write_metainfo(dir.path()), dir.path().join("x.torrent")).unwrap();
    let mut session = Session::start(dir.path(), &["--downloads", ".", "--json"]);
    session.say("add x.torrent");
    session.say("wait all --for 40");
    [
        "list",
        "show 1",
        "peers 1",
        "limit 500K 0",
        "queue 1 off",
        "stats",
        "sequential 1 on",
        "help",
    ]
    .iter()
    .for_each(|line| session.say(line));
    session.say("quit");
    session.assert_ends(0);
    let object = |line: String| -> serde_json::Value { serde_json::from_str(&line).expect(&line) };
    let objects: Vec<_> = Session::lines(&session.out).into_iter().map(object).collect();
    let find = |event: &str| objects.iter().find(|object| object["event"] == event).expect(event);
    assert!(find("ready")["addresses"][0].is_string());
    assert_eq!((&find("added")["torrent"], &find("added")["name"]), (&1.into(), &"one".into()));
    assert_eq!(find("checked")["pieces"], 10);
    find("waited");
    let listed = find("torrent");
    assert_eq!((&listed["state"], &listed["bytes"]), (&"seeding".into(), &300_000.into()));
    assert_eq!(find("details")["files"][0]["total_bytes"], 300_000);
    assert_eq!(find("limits")["limits"]["down_bytes_per_s"], 500 << 10);
    assert!(find("limits")["limits"]["up_bytes_per_s"].is_null());
    assert!(find("queued")["position"].is_null());
    assert_eq!(find("session")["states"]["seeding"], 1);
    assert_eq!(
        (&find("sequential")["on"], &find("sequential")["torrent"]),
        (&true.into(), &1.into())
    );
    assert!(find("help")["text"].as_str().unwrap().contains("quit"));
}

#[test]
fn nonsense_is_told_in_a_sentence_and_does_not_stop_a_script() {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let mut session = Session::start(dir.path(), &[]);
    session.addr();
    for (line, sentence) in [
        ("dance", "there is no command \"dance\"; help lists them"),
        ("add", "usage: add FILE|DIR|MAGNET… [--dir D] [--paused] [--now]"),
        (
            "add nothing.torrent",
            "cannot read nothing.torrent: No such file or directory (os error 2)",
        ),
        ("add s", "there is no torrent in s"),
        ("show 7", "there is no torrent 7"),
        ("pause abcd", "there is no torrent abcd"),
        ("limit fast 3", "limit: \"fast\" is not a number that makes sense here"),
        ("queue 1 sideways", "usage: queue N up|down|top|bottom|POSITION|on|off"),
        ("list --all", "list: there is no option --all; help lists them"),
        ("show 'one", "a ' is not closed"),
        (
            "peer 1 127.0.0.1:0",
            "peer: peer: \"127.0.0.1:0\" has port 0, on which no peer can listen",
        ),
        ("remove all", "usage: remove N… [--data]"),
    ] {
        assert_eq!(session.complaint(line), format!("session: {sentence}"));
    }
    // What can be added is, whatever else is in the folder.
    fs::create_dir(dir.path().join("many")).unwrap();
    fs::write(dir.path().join("many/a.torrent"), "no torrent").unwrap();
    for (name, seed) in [("b", 1), ("c", 2)] {
        fs::rename(
            small(name, seed).write_metainfo(dir.path()),
            dir.path().join(format!("many/{name}.torrent")),
        )
        .unwrap();
    }
    assert!(session.complaint("add many").starts_with("session: cannot read many/a.torrent: "));
    session.line("added 2 ");
    session.complaint("add -- many/b.torrent many/c.torrent");
    clock::wait_for("the sum", LIMIT, || {
        session.errors().contains("session: 0 added, 2 not\n").then_some(())
    });
    session.say("limit 500K 0");
    assert_eq!(session.line("limits "), "limits down 500.00 KiB/s, up none");
    session.say("help");
    session.line("  quit ");
    session.say("quit");
    session.assert_ends(1);

    for (args, sentence) in [
        (&[][..], "no folder for the session given; --help tells how"),
        (&["a", "b"], "one folder, not 2"),
        (&["a", "--what"], "there is no option --what; --help lists them"),
    ] {
        let output = ours("session").args(args).stdin(Stdio::null()).output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr),
            (Some(2), format!("session: {sentence}\n").into_bytes())
        );
    }
}

#[test]
fn blocked_peer_of_a_restored_session_is_not_dialled() {
    let dir = tempfile::tempdir().unwrap();
    fs::rename(small("one", 8).write_metainfo(dir.path()), dir.path().join("x.torrent")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut session = Session::start(dir.path(), &["--transport", "tcp"]);
    session.say("add x.torrent");
    session.line("added 1 ");
    session.say(&format!("peer 1 {}", listener.local_addr().unwrap()));
    // It is kept since it was connected.
    drop(listener.accept().unwrap());
    session.say("quit");
    session.assert_ends(0);

    listener.set_nonblocking(true).unwrap();
    // It may be dialled again at once, the other way.
    let forget = || while listener.accept().is_ok() {};
    let connects = || clock::try_wait_for(Duration::from_secs(3), || listener.accept().ok());
    forget();
    let mut session = Session::start(dir.path(), &["--transport", "tcp"]);
    session.line("ready on ");
    assert!(connects().is_some(), "the peer was not kept");
    session.say("quit");
    session.assert_ends(0);
    forget();

    // A long list takes its time to be read.
    let mut list: String =
        (0..200_000).map(|n| format!("10.{}.{}.{}\n", n >> 16, n >> 8 & 255, n & 255)).collect();
    list += "127.0.0.0/8\n";
    fs::write(dir.path().join("list"), list).unwrap();
    let mut session = Session::start(dir.path(), &["--transport", "tcp", "--blocklist", "list"]);
    session.line("ready on ");
    assert!(connects().is_none(), "a blocked peer was dialled");
    session.say("quit");
    session.assert_ends(0);
}

#[test]
fn limit_of_a_start_changes_that_limit_alone() {
    let dir = tempfile::tempdir().unwrap();
    let starts: [(&[&str], &str); 4] = [
        (&["--limit-down", "2M"], "limits down 2.00 MiB/s, up none"),
        (&["--limit-up", "1M"], "limits down 2.00 MiB/s, up 1.00 MiB/s"),
        (&["--limit-down", "0"], "limits down none, up 1.00 MiB/s"),
        (&[], "limits down none, up 1.00 MiB/s"),
    ];
    for (args, limits) in starts {
        let mut session = Session::start(dir.path(), args);
        session.say("limit");
        assert_eq!(session.line("limits "), limits, "{args:?}");
        // A time beyond the clock's end is no limit.
        session.say("wait all --for 9999999999999999999");
        session.line("waited");
        session.say("quit");
        session.assert_ends(0);
    }
}

#[test]
fn session_resumes_and_locks_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = small("kept", 9);
    torrent.write_files(dir.path());
    fs::rename(torrent.write_metainfo(dir.path()), dir.path().join("kept.torrent")).unwrap();
    let mut first = Session::start(dir.path(), &["--downloads", "."]);
    first.say("add kept.torrent");
    first.line("checked 1 10 pieces");
    first.say("label 1 music");
    first.line("labelled 1");
    first.say("limit 100K 50K");
    first.line("limits ");

    let other =
        ours("session").current_dir(dir.path()).args(["s", "--port", "0"]).output().unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        !other.status.success()
            && said.contains("in use")
            && said.contains(&first.child.id().to_string()),
        "{said}"
    );
    first.say("quit");
    first.assert_ends(0);

    let mut second = Session::start(dir.path(), &[]);
    second.line("restored 1");
    second.say("list");
    assert!(second.line("1\tseeding\t300000\t300000").ends_with("\tkept"));
    second.say("show 1");
    assert!(second.line("labels").contains("music"));
    second.say("limit");
    assert_eq!(second.line("limits "), "limits down 100.00 KiB/s, up 50.00 KiB/s");
    second.say("remove 1 --data");
    second.line("removed 1");
    second.say("quit");
    second.assert_ends(0);
    assert!(!dir.path().join("kept").exists() && dir.path().join("kept.torrent").exists());
}

#[test]
fn session_log_that_was_cut_is_kept_aside_and_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("s")).unwrap();
    fs::write(dir.path().join("s/session.ct"), b"ctsess\r\n").unwrap();
    let mut session = Session::start(dir.path(), &[]);
    let told = session.line("failed 0 ");
    assert!(told.contains("cannot be read") && told.contains("session.ct.damaged-1"), "{told}");
    session.say("quit");
    session.assert_ends(0);
    assert_eq!(fs::read(dir.path().join("s/session.ct.damaged-1")).unwrap(), b"ctsess\r\n");
}

#[test]
fn move_that_turns_out_impossible_is_told_and_fails_the_script() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = small("one", 1);
    torrent.write_files(dir.path());
    torrent.write_metainfo(dir.path());
    let mut session = Session::start(dir.path(), &["--downloads", "."]);
    for line in ["add test.torrent", "wait 1", "move 1 test.torrent/below"] {
        session.say(line);
    }
    assert!(session.line("failed 1 ").contains("test.torrent/below"));
    session.say("quit");
    session.assert_ends(1);
    // Its end may come before what becomes of the move.
    let mut session = Session::start(dir.path(), &["--downloads", "."]);
    for line in ["wait 1", "move 1 test.torrent/below", "quit"] {
        session.say(line);
    }
    session.assert_ends(1);
    torrent.compare(dir.path()).unwrap();
}

#[test]
fn session_that_cannot_be_recorded_says_so_and_ends_in_failure() {
    if !is_root() {
        return skip(
            "session_that_cannot_be_recorded_says_so_and_ends_in_failure",
            "it needs root",
        );
    }
    let dir = tempfile::tempdir().unwrap();
    // Its metainfo does not fit into the page that the log has.
    let torrent = Recipe::single("lost", 4_000_000, 16 * 1024).make(10);
    torrent.write_files(dir.path());
    fs::rename(torrent.write_metainfo(dir.path()), dir.path().join("lost.torrent")).unwrap();
    fs::create_dir(dir.path().join("s")).unwrap();
    let small_disk = match Tmpfs::mount(&dir.path().join("s"), 1) {
        Ok(disk) => disk,
        Err(why) => {
            return skip("session_that_cannot_be_recorded_says_so_and_ends_in_failure", &why);
        }
    };
    let mut session = Session::start(dir.path(), &["--downloads", "."]);
    session.addr();
    let full = fs::write(dir.path().join("s/filler"), vec![1; 2 << 20]);
    assert!(full.is_err(), "it does not fit");
    session.say("add lost.torrent");
    assert!(session.line("failed 0 ").contains("No space left"));
    session.say("quit");
    session.assert_ends(1);
    assert!(session.errors().contains("No space left"), "{}", session.errors());
    drop(small_disk);
}
