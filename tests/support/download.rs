//! Runs the `download` example as a user would.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use tempfile::TempDir;

use super::{process::Process, torrent::Torrent};

/// The program: the example that `cargo test` has built beside the tests, or the one that
/// `CRATETORRENT_DOWNLOAD` names (another program with the same command line, to test the tests).
pub fn program() -> PathBuf {
    if let Some(path) = env::var_os("CRATETORRENT_DOWNLOAD") {
        return path.into();
    }
    example("download")
}

/// An example that `cargo test` has built beside the tests.
pub fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --example {name}", path.display());
    path
}

/// One of our programs that keeps off the DHT and the local network.
pub fn ours(name: &str) -> Command {
    quiet(Command::new(example(name)))
}

/// What keeps our programs off the DHT, the local network and the router.
pub const QUIET: [(&str, &str); 3] = [("NO_DHT", "1"), ("NO_LSD", "1"), ("NO_PORT_MAPPING", "1")];

/// Has one of our programs that `command` begins keep off the DHT, the local network and the
/// router: nothing of a test leaves the machine.
pub fn quiet(mut command: Command) -> Command {
    command.envs(QUIET);
    command
}

/// A download folder with a torrent file beside it.
#[derive(Debug)]
pub struct Bench {
    /// Everything of the test; removed with it.
    pub root: TempDir,
    /// The download folder.
    pub dir: PathBuf,
    /// The `.torrent` file, or a magnet link.
    pub torrent: PathBuf,
    runs: u32,
}

impl Bench {
    /// A fresh folder for `torrent`.
    pub fn new(torrent: &Torrent) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("download");
        std::fs::create_dir(&dir).unwrap();
        let torrent = torrent.write_metainfo(root.path());
        Self { root, dir, torrent, runs: 0 }
    }

    /// The command that downloads from `peers`.
    pub fn command(&self, peers: &[SocketAddr]) -> Command {
        let mut command = quiet(Command::new(program()));
        self.arguments(&mut command, peers);
        command
    }

    /// Adds the arguments that download from `peers`.
    pub fn arguments(&self, command: &mut Command, peers: &[SocketAddr]) {
        command
            .arg(&self.torrent)
            .arg("--dir")
            .arg(&self.dir)
            .env_remove("SEED")
            .env_remove("METAINFO_PATH");
        command.env_remove("DOWNLOAD_DIR").env("RUST_LOG", "debug");
        command.envs(QUIET);
        for peer in peers {
            command.arg("--peer").arg(peer.to_string());
        }
    }

    /// Starts it.
    pub fn start(&mut self, command: &mut Command) -> Process {
        self.runs += 1;
        Process::spawn(&format!("download-{}", self.runs), command, self.root.path())
    }

    /// Runs it to its end.
    pub fn run(&mut self, peers: &[SocketAddr], limit: Duration) -> Ended {
        let mut process = self.start(&mut self.command(peers));
        let status = process.wait(limit);
        Ended { status, output: process.output() }
    }

    /// Runs it and panics unless it succeeds and the folder holds what it should.
    pub fn complete(&mut self, torrent: &Torrent, peers: &[SocketAddr], limit: Duration) -> Ended {
        let ended = self.run(peers, limit);
        ended.assert_success();
        torrent.assert_in(&self.dir);
        ended
    }

    /// The folder of the test.
    pub fn path(&self) -> &Path {
        self.root.path()
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub output: String,
}

impl Ended {
    /// Panics with the output unless it succeeded.
    pub fn assert_success(&self) {
        assert!(
            self.status.success(),
            "download ended with {}; it said:\n{}",
            self.status,
            self.output
        );
    }

    /// Panics unless it failed in an orderly way and said all of `words` (in any case of letters)
    /// in one line.
    pub fn assert_failure(&self, words: &[&str]) {
        assert!(
            self.status.code().is_some_and(|code| code != 0 && code != 101),
            "{}; it said:\n{}",
            self.status,
            self.output
        );
        self.assert_says(words);
    }

    /// Panics unless one line has all of `words`, in any case of letters.
    pub fn assert_says(&self, words: &[&str]) {
        let said = self
            .output
            .lines()
            .map(str::to_lowercase)
            .any(|line| words.iter().all(|w| line.contains(&w.to_lowercase())));
        assert!(said, "no line with all of {words:?} in:\n{}", self.output);
    }
}
