//! A line of input: its words, and what they ask for. Knows no torrents.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use cratetorrent::{
    Limits, Rate,
    conf::{CryptoMethod, CryptoMethods},
};

use crate::common::{
    Problem,
    args::{Args, Time, free, path, resolve_all, value},
    listen::Policy,
};

/// The commands with what follows them, and what they do.
const COMMANDS: &[(&str, &str)] = &[
    (
        "add FILE|DIR|MAGNET… [--dir D] [--paused] [--now]",
        "add torrents, those of a folder too; --now: not by the queue",
    ),
    ("list [LABEL]", "how the torrents stand"),
    ("show N", "all about one"),
    ("peers N", "its connected peers"),
    ("peer N HOST:PORT…", "tell it of peers"),
    ("trackers N", "where it announces itself"),
    ("web-seeds N", "the web servers that have its files"),
    ("web-seed N URL [off]", "tell it of one; off: do not ask that one"),
    ("pause N…|all", "let its peers go"),
    ("resume N…|all", "go on"),
    ("remove N… [--data]", "forget it; --data: delete what it has written"),
    ("limit [N] [DOWN UP]", "bytes per second, as 500K or 2M; 0: no limit"),
    ("queue N up|down|top|bottom|POSITION|on|off", "its place, from 0; off: it runs at once"),
    ("active DOWNLOADS SEEDS", "how many of the queue run at a time"),
    (
        "stop N [PERCENT] [TIME]",
        "pause it at a ratio, or a time of seeding, as 90s or 2h; 0: never",
    ),
    ("sequential N on|off", "fetch its pieces in order"),
    ("priority N FILE off|low|normal|high", "how much a file is wanted, counted from 0"),
    (
        "encryption N off|allow|prefer|require|usual",
        "which connections with its peers are encrypted; usual: as for all torrents",
    ),
    (
        "cipher N plain|rc4|only-plain|only-rc4|usual",
        "what encrypted connections with its peers go on with; usual: as for all torrents",
    ),
    ("move N DIR", "move its data"),
    ("rename N FILE PATH", "store a file under another path below its folder; files count from 0"),
    ("recheck N…|all", "hash what is there"),
    ("anew N…|all", "download again what is gone from its folder"),
    ("label N [WORD…]", "file it under these words"),
    ("stats", "the session as a whole"),
    ("wait N…|all [--for TIME]", "until it has everything"),
    ("help", "this list"),
    ("quit", "save everything and end; so does the end of the input"),
];

/// The list of commands.
pub fn help() -> String {
    COMMANDS.iter().map(|(usage, what)| help_on(usage, what)).collect()
}

/// What a command is for stands beside it, in lines of 98 columns at most, or below it if the
/// command itself is long.
fn help_on(usage: &str, what: &str) -> String {
    const LEFT: usize = 44;
    const RIGHT: usize = 52;
    let (mut text, mut line) = (format!("  {usage:<LEFT$}"), 0);
    if usage.chars().count() >= LEFT {
        text.push_str(&format!("\n  {:LEFT$}", ""));
    }
    for word in what.split(' ') {
        let len = word.chars().count();
        if line > 0 && line + 1 + len > RIGHT {
            text.push_str(&format!("\n  {:LEFT$}", ""));
            line = 0;
        }
        if line > 0 {
            text.push(' ');
            line += 1;
        }
        text.push_str(word);
        line += len;
    }
    text + "\n"
}

/// Which torrents are meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Which {
    All,
    These(Vec<String>),
}

/// What is to become of a place in the queue.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    Up,
    Down,
    Top,
    Bottom,
    At(usize),
    On,
    Off,
}

/// How much a file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Off,
    Low,
    Normal,
    High,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Add { paths: Vec<PathBuf>, dir: Option<PathBuf>, paused: bool, now: bool },
    List(Option<String>),
    Show(String),
    Peers(String),
    Peer(String, Vec<SocketAddr>),
    Trackers(String),
    WebSeeds(String),
    WebSeed(String, String),
    NoWebSeed(String, String),
    Pause(Which),
    Resume(Which),
    Remove { which: Which, data: bool },
    ShowLimits(Option<String>),
    Limit(Option<String>, Limits),
    Queue(String, Place),
    Active(usize, usize),
    Stop { torrent: String, percent: Option<u32>, seeding: Option<Duration> },
    Sequential(String, bool),
    Priority { torrent: String, file: usize, level: Level },
    Encryption(String, Option<Policy>),
    Cipher(String, Option<CryptoMethods>),
    Move(String, PathBuf),
    Rename { torrent: String, file: usize, path: PathBuf },
    Recheck(Which),
    Anew(Which),
    Label(String, Vec<String>),
    Stats,
    Wait { which: Which, limit: Option<Duration> },
    Help,
    Quit,
}

/// What a line asks for; nothing if it is empty or begins with `#`.
pub fn parse(line: &str) -> Result<Option<Command>, Problem> {
    let mut words = words(line)?.into_iter();
    let Some(name) = words.next().filter(|word| !word.starts_with('#')) else { return Ok(None) };
    let Some(&(usage, _)) =
        COMMANDS.iter().find(|(usage, _)| usage.split(' ').next() == Some(&name))
    else {
        return Err(Problem::usage(format!("there is no command {name:?}; help lists them")));
    };
    let args = Args::new(words.map(OsString::from).collect());
    match command(&name, args) {
        Ok(command) => Ok(Some(command)),
        Err(Some(problem)) => Err(Problem::usage(format!("{name}: {}", problem.sentence))),
        Err(None) => Err(Problem::usage(format!("usage: {usage}"))),
    }
}

/// Either what is wrong, or that it is not as it must be.
type Fault = Option<Problem>;

fn command(name: &str, mut args: Args) -> Result<Command, Fault> {
    let dir = if name == "add" { path(&mut args, "--dir")? } else { None };
    let (paused, now) = if name == "add" {
        (args.contains("--paused"), args.contains("--now"))
    } else {
        (false, false)
    };
    let data = name == "remove" && args.contains("--data");
    let limit: Option<Time> = if name == "wait" { value(&mut args, "--for")? } else { None };
    let words: Vec<String> = free(args)
        .map_err(in_session)?
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match (name, words.as_slice()) {
        ("add", [_, ..]) => {
            Command::Add { paths: words.iter().map(PathBuf::from).collect(), dir, paused, now }
        }
        ("list", []) => Command::List(None),
        ("list", [label]) => Command::List(Some((*label).into())),
        ("show", [torrent]) => Command::Show((*torrent).into()),
        ("peers", [torrent]) => Command::Peers((*torrent).into()),
        ("peer", [torrent, addrs @ ..]) if !addrs.is_empty() => {
            let mut peers = Vec::new();
            addrs
                .iter()
                .try_for_each(|list| resolve_all("peer", list, &mut peers))
                .map_err(Some)?;
            Command::Peer((*torrent).into(), peers)
        }
        ("trackers", [torrent]) => Command::Trackers((*torrent).into()),
        ("web-seeds", [torrent]) => Command::WebSeeds((*torrent).into()),
        ("web-seed", [torrent, url]) => Command::WebSeed((*torrent).into(), (*url).into()),
        ("web-seed", [torrent, url, "off"]) => Command::NoWebSeed((*torrent).into(), (*url).into()),
        ("pause", [_, ..]) => Command::Pause(which(&words)),
        ("resume", [_, ..]) => Command::Resume(which(&words)),
        ("recheck", [_, ..]) => Command::Recheck(which(&words)),
        ("anew", [_, ..]) => Command::Anew(which(&words)),
        ("wait", [_, ..]) => {
            Command::Wait { which: which(&words), limit: limit.map(|time| time.0) }
        }
        ("remove", [_, ..]) if !words.contains(&"all") => {
            Command::Remove { which: which(&words), data }
        }
        ("limit", []) => Command::ShowLimits(None),
        ("limit", [torrent]) => Command::ShowLimits(Some((*torrent).into())),
        ("limit", [down, up]) => Command::Limit(None, limits(down, up)?),
        ("limit", [torrent, down, up]) => {
            Command::Limit(Some((*torrent).into()), limits(down, up)?)
        }
        ("queue", [torrent, place]) => Command::Queue((*torrent).into(), self::place(place)?),
        ("active", [downloads, seeds]) => Command::Active(number(downloads)?, number(seeds)?),
        ("stop", [torrent, rest @ ..]) if rest.len() <= 2 => {
            let percent = rest
                .first()
                .map(|word| number::<u32>(word))
                .transpose()?
                .filter(|&percent| percent > 0);
            let seeding = rest
                .get(1)
                .map(|word| number::<Time>(word))
                .transpose()?
                .map(|time| time.0)
                .filter(|time| !time.is_zero());
            Command::Stop { torrent: (*torrent).into(), percent, seeding }
        }
        ("sequential", [torrent, "on"]) => Command::Sequential((*torrent).into(), true),
        ("sequential", [torrent, "off"]) => Command::Sequential((*torrent).into(), false),
        ("priority", [torrent, file, level]) => {
            let level = match *level {
                "off" => Level::Off,
                "low" => Level::Low,
                "normal" => Level::Normal,
                "high" => Level::High,
                _ => return Err(None),
            };
            Command::Priority { torrent: (*torrent).into(), file: number(file)?, level }
        }
        ("rename", [torrent, file, path]) => {
            Command::Rename { torrent: (*torrent).into(), file: number(file)?, path: path.into() }
        }
        ("encryption", [torrent, "usual"]) => Command::Encryption((*torrent).into(), None),
        ("encryption", [torrent, policy]) => {
            Command::Encryption((*torrent).into(), Some(policy.parse().map_err(|_| None)?))
        }
        ("cipher", [torrent, "usual"]) => Command::Cipher((*torrent).into(), None),
        ("cipher", [torrent, methods]) => {
            let name = methods.strip_prefix("only-").unwrap_or(methods);
            let preferred = match name {
                "plain" => CryptoMethod::Plaintext,
                "rc4" => CryptoMethod::Rc4,
                _ => return Err(None),
            };
            let methods = CryptoMethods { preferred, only: name != *methods };
            Command::Cipher((*torrent).into(), Some(methods))
        }
        ("move", [torrent, dir]) => Command::Move((*torrent).into(), dir.into()),
        ("label", [torrent, labels @ ..]) => {
            Command::Label((*torrent).into(), labels.iter().map(|&l| l.to_owned()).collect())
        }
        ("stats", []) => Command::Stats,
        ("help", []) => Command::Help,
        ("quit", []) => Command::Quit,
        _ => return Err(None),
    })
}

/// `--help` is for the program as a whole.
fn in_session(problem: Problem) -> Problem {
    Problem { sentence: problem.sentence.replace("--help", "help"), ..problem }
}

fn which(words: &[&str]) -> Which {
    match words {
        ["all"] => Which::All,
        _ => Which::These(words.iter().map(|&word| word.to_owned()).collect()),
    }
}

fn place(word: &str) -> Result<Place, Fault> {
    Ok(match word {
        "up" => Place::Up,
        "down" => Place::Down,
        "top" => Place::Top,
        "bottom" => Place::Bottom,
        "on" => Place::On,
        "off" => Place::Off,
        _ => Place::At(word.parse().map_err(|_| None)?),
    })
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, Fault> {
    word.parse()
        .map_err(|_| Some(Problem::new(format!("{word:?} is not a number that makes sense here"))))
}

fn limits(down: &str, up: &str) -> Result<Limits, Fault> {
    Ok(Limits { down: rate(down)?, up: rate(up)? })
}

fn rate(word: &str) -> Result<Option<Rate>, Fault> {
    let (digits, unit) = match word.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&word[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&word[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&word[..at], 1 << 30),
        _ => (word, 1),
    };
    Ok(Rate::new(number::<u64>(digits)?.saturating_mul(unit)))
}

/// Words with blanks between them. Quotes keep blanks, and a backslash keeps whatever follows it.
fn words(line: &str) -> Result<Vec<String>, Problem> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(Problem::usage("the line ends with a backslash")),
            },
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        Some(quote) => Err(Problem::usage(format!("a {quote} is not closed"))),
        None => Ok(words),
    }
}
