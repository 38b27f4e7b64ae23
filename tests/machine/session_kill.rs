//! A session that is killed at random moments of adding, removing, moving, pausing and saving: the
//! next start always restores it, with each torrent either as it was before or as it is after what
//! was under way, and with everything that was acknowledged.
//!
//! The session is this very program, started again as a child that tells what it does line by line.

#![allow(clippy::disallowed_methods)]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use cratetorrent::{
    Alert, Conf, InfoHash, MoveMode, Phase, Reactor, TorrentParams,
    wire::metainfo::{Metainfo, MetainfoBuilder},
};
use tempfile::TempDir;

const ROUNDS: u64 = 200;
const TORRENTS: u64 = 12;
const PIECES: usize = 4;
const PIECE_LEN: usize = 16 * 1024;
/// Where the child finds its folder, and the number that its choices follow from.
const FOLDER: &str = "CRATETORRENT_KILL_FOLDER";
const SEED: &str = "CRATETORRENT_KILL_SEED";

/// What is known of a torrent: whether it is there, at rest, in order.
type Wish = Option<(bool, bool)>;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn metainfo(n: u64) -> Arc<Metainfo> {
    let mut builder = MetainfoBuilder::new(format!("torrent {n}"), PIECE_LEN as u32);
    builder.single_file((PIECES * PIECE_LEN) as u64);
    let digests: Vec<_> = data(n).chunks(PIECE_LEN).map(cratetorrent::store::sha1).collect();
    Arc::new(Metainfo::from_bytes(&builder.build(&digests).unwrap()).unwrap())
}

fn data(n: u64) -> Vec<u8> {
    (0..PIECES * PIECE_LEN).map(|at| ((at as u64 * (n + 3)) >> 5) as u8).collect()
}

/// The two folders that torrents are moved between.
fn dirs(folder: &Path) -> [PathBuf; 2] {
    ["a", "b"].map(|name| folder.join(name))
}

/// Where the data of a torrent is, if it has any.
fn place(folder: &Path, n: u64) -> PathBuf {
    let [a, b] = dirs(folder);
    if b.join(format!("torrent {n}")).exists() { b } else { a }
}

fn conf(folder: &Path) -> Conf {
    Conf::default().with(|conf| {
        conf.session.dir = Some(folder.join("session"));
        conf.storage.workers = 2;
        conf.alerts.max = 10_000;
    })
}

// The child.

/// Tells what is there, then goes on changing it until it is killed.
#[test]
fn child() {
    let (Ok(folder), Ok(seed)) = (env::var(FOLDER), env::var(SEED)) else { return };
    let (folder, mut rng) = (PathBuf::from(folder), Rng(seed.parse().unwrap()));
    let mut out = std::io::stdout();
    let mut say = |line: String| {
        out.write_all(format!("@ {line}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    };
    let mut reactor = Reactor::new(conf(&folder)).unwrap();
    let hashes: Vec<InfoHash> = (0..TORRENTS).map(|n| metainfo(n).info_hash()).collect();
    let mut wishes = [None; TORRENTS as usize];
    let mut leaving = [false; TORRENTS as usize];
    for (n, hash) in hashes.iter().enumerate() {
        let engine = reactor.verbs();
        let Some(id) = engine.find(*hash) else { continue };
        let (params, stats) = (engine.params(id).unwrap(), engine.stats(id).unwrap());
        wishes[n] = Some((params.paused, params.sequential));
        // Whatever it says to have was saved.
        say(format!(
            "there {n} {} {} {} {}",
            params.paused,
            params.sequential,
            stats.have,
            params.dir.display()
        ));
        assert!(stats.phase != Phase::Stalled);
    }
    say("restored".into());
    loop {
        let n = rng.below(TORRENTS);
        let (at, mut engine) = (n as usize, reactor.verbs());
        let id = engine.find(hashes[at]);
        let busy = id.is_some_and(|id| engine.stats(id).unwrap().phase == Phase::Closing);
        match (id, rng.below(9)) {
            _ if busy => {}
            (None, _) => {
                wishes[at] = Some((rng.below(4) == 0, rng.below(2) == 0));
                let (paused, sequential) = wishes[at].unwrap();
                say(format!("wish {n} here {paused} {sequential}"));
                let params = TorrentParams::new(metainfo(n), place(&folder, n));
                reactor
                    .verbs()
                    .add_torrent(TorrentParams { paused, sequential, ..params })
                    .unwrap();
            }
            (Some(id), 0 | 1) => {
                (wishes[at], leaving[at]) = (None, true);
                say(format!("wish {n} gone"));
                engine.remove(id).unwrap();
            }
            (Some(id), 2 | 3) => {
                let (paused, sequential) = wishes[at].unwrap();
                wishes[at] = Some((!paused, sequential));
                say(format!("wish {n} here {} {sequential}", !paused));
                if paused { engine.resume(id) } else { engine.pause(id) }.unwrap();
            }
            (Some(id), 4 | 5) => {
                let (paused, sequential) = wishes[at].unwrap();
                wishes[at] = Some((paused, !sequential));
                say(format!("wish {n} here {paused} {}", !sequential));
                engine.set_sequential(id, !sequential).unwrap();
            }
            (Some(id), 6) => {
                say(format!("checking {n}"));
                reactor.verbs().recheck(id).unwrap();
            }
            (Some(id), 7) => {
                let [a, b] = dirs(&folder);
                let to = if engine.dir(id) == Some(&a) { b } else { a };
                engine.move_storage(id, to, MoveMode::FailIfExists).unwrap();
            }
            (Some(_), _) => engine.save_session(),
        }
        // Sometimes several things are under way.
        for _ in 0..rng.below(4) {
            reactor.poll(Some(Duration::from_millis(1))).unwrap();
        }
        while let Some(alert) = reactor.next_alert() {
            let find = |hash: &InfoHash, reactor: &mut Reactor, id| {
                reactor.verbs().find(*hash) == Some(id)
            };
            let mut whose =
                |id| (0..TORRENTS as usize).find(|&n| find(&hashes[n], &mut reactor, id));
            match alert {
                Alert::Recorded { torrent } => whose(torrent).map(|n| say(format!("recorded {n}"))),
                Alert::Saved { torrent, .. } => whose(torrent).map(|n| say(format!("saved {n}"))),
                Alert::StorageMoved { torrent, .. } => {
                    whose(torrent).map(|n| say(format!("moved {n}")))
                }
                Alert::StorageFailed { error, .. } | Alert::SessionFailed { error, .. } => {
                    panic!("{error}")
                }
                _ => None,
            };
        }
        // One that is being removed is known by its hash until that is recorded.
        for (n, hash) in hashes.iter().enumerate() {
            if leaving[n] && reactor.verbs().find(*hash).is_none() {
                say(format!("removed {n}"));
                leaving[n] = false;
            }
        }
    }
}

// The parent.

/// What a torrent may be at the next start: everything since what was acknowledged last.
#[derive(Clone, Debug)]
struct Possible {
    wishes: Vec<Wish>,
    /// A state was saved since it was added.
    saved: bool,
    /// A check was asked for. It may be done again at the next start, and until it is nothing is
    /// claimed.
    checked: bool,
}

impl Default for Possible {
    fn default() -> Self {
        Self { wishes: vec![None], saved: false, checked: false }
    }
}

impl Possible {
    fn wish(&mut self, wish: Wish) {
        // What is saved of one that is removed goes with it.
        self.saved &= wish.is_some() && self.wishes.last().is_some_and(Option::is_some);
        self.wishes.push(wish);
    }

    /// The last is safe. It is not told which record that was, but one of a torrent is written at a
    /// time: it is that of the wish before, at least.
    fn recorded(&mut self) {
        let last = self.wishes.len() - 1;
        let first_here = self.wishes.iter().rposition(Option::is_none).map_or(0, |at| at + 1);
        // It was here when that was recorded, so it has been added.
        if first_here <= last && self.wishes.len() > 1 {
            self.wishes.drain(..first_here.min(last));
        }
    }
}

#[test]
fn killed_at_any_moment_a_session_is_as_before_or_as_after() {
    if env::var(FOLDER).is_ok() {
        return;
    }
    let dir = TempDir::new().unwrap();
    dirs(dir.path()).iter().for_each(|dir| fs::create_dir(dir).unwrap());
    for n in (0..TORRENTS).filter(|n| n % 2 == 0) {
        fs::write(dirs(dir.path())[0].join(format!("torrent {n}")), data(n)).unwrap();
    }
    let mut rng = Rng(99);
    let mut possible: BTreeMap<u64, Possible> =
        (0..TORRENTS).map(|n| (n, Possible::default())).collect();
    let (mut acknowledged, mut restored, mut states, mut moves) = (0, 0, 0, 0);
    for round in 0..ROUNDS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "session_kill::child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, dir.path())
            .env(SEED, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || {
            lines
                .next()
                .and_then(Result::ok)
                .map(|line| line.split_once("@ ").map(|(_, l)| l.to_owned()).unwrap_or_default())
        };
        let mut there: BTreeMap<u64, (Wish, usize)> = BTreeMap::new();
        loop {
            let Some(line) = next() else {
                let mut why = String::new();
                child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
                panic!("round {round}: the session was not restored: {why}");
            };
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["there", n, paused, sequential, have, place] => {
                    let wish = Some((paused == "true", sequential == "true"));
                    let n: u64 = n.parse().unwrap();
                    // Wherever it is said to be, all of it is.
                    let found = fs::read(Path::new(place).join(format!("torrent {n}")));
                    assert!(
                        n % 2 == 1 || found.is_ok_and(|found| found == data(n)),
                        "round {round}: torrent {n} is not in {place}"
                    );
                    there.insert(n, (wish, have.parse().unwrap()));
                }
                ["restored"] => break,
                _ => {}
            }
        }
        for (n, possible) in &mut possible {
            let (wish, have) = there.get(n).copied().unwrap_or_default();
            assert!(
                possible.wishes.contains(&wish),
                "round {round}: torrent {n} is {wish:?}, it may be {possible:?}"
            );
            restored += usize::from(wish.is_some());
            // What is saved of one that is whole is all of it.
            let whole = if n % 2 == 0 { PIECES } else { 0 };
            // A check that was not over may have found a part of it.
            assert!(have <= whole, "round {round}: torrent {n} has {have}");
            if wish.is_some() && possible.saved {
                assert_eq!(have, whole, "round {round}: torrent {n}, whose state was saved");
                states += 1;
            }
            *possible = Possible {
                wishes: vec![wish],
                saved: possible.saved && wish.is_some(),
                checked: possible.checked && wish.is_some() && have != whole,
            };
        }
        // So many lines later, and so many microseconds after that, it is killed.
        for _ in 0..rng.below(120) {
            if next()
                .map(|line| note(&line, &mut possible, &mut acknowledged, &mut moves))
                .is_none()
            {
                break;
            }
        }
        let pause = Duration::from_micros(rng.below(3000));
        let until = std::time::Instant::now() + pause;
        while std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        while let Some(line) = next() {
            note(&line, &mut possible, &mut acknowledged, &mut moves);
        }
        let status = child.wait().unwrap();
        let mut why = String::new();
        child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        assert!(status.code().is_none(), "round {round}: it ended by itself: {why}");
    }
    assert!(
        acknowledged > 500 && restored > 200 && states > 100 && moves > 50,
        "{acknowledged}, {restored}, {states}, {moves}"
    );
}

fn note(
    line: &str,
    possible: &mut BTreeMap<u64, Possible>,
    acknowledged: &mut u32,
    moves: &mut u32,
) {
    let words: Vec<&str> = line.split(' ').collect();
    let Some(entry) = words.get(1).and_then(|n| possible.get_mut(&n.parse().ok()?)) else { return };
    match words[..] {
        ["wish", _, "here", paused, sequential] => {
            entry.wish(Some((paused == "true", sequential == "true")))
        }
        ["wish", _, "gone"] => entry.wish(None),
        ["recorded", _] => entry.recorded(),
        ["removed", _] => *entry = Possible::default(),
        ["saved", _] => entry.saved = !entry.checked,
        ["checking", _] => {
            (entry.checked, entry.saved) = (true, false);
            return;
        }
        ["moved", _] => *moves += 1,
        _ => return,
    }
    *acknowledged += u32::from(words[0] != "wish");
}
