//! Arguments, as all the programs take them: `--option value` or `--option=value`, and after `--`
//! no options.

use std::{
    env,
    ffi::{OsStr, OsString},
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use cratetorrent::Rate;

use super::Problem;

/// What is left of the arguments.
#[derive(Debug)]
pub struct Args {
    /// Those that were taken leave a gap, so that none becomes the neighbour of another.
    words: Vec<Option<Word>>,
    /// What came after `--`: none of it is an option, whatever it begins with.
    after: Vec<OsString>,
    /// Options that were looked for, and whether each is a flag.
    known: Vec<(&'static str, bool)>,
}

/// A word of the command line. What came by `=` stays with its option, so that no other option can
/// take it for a word of its own.
#[derive(Debug)]
struct Word {
    text: OsString,
    value: Option<OsString>,
}

impl Args {
    /// The arguments of this process.
    pub fn from_env() -> Self {
        Self::new(env::args_os().skip(1).collect())
    }

    /// These words.
    pub fn new(mut words: Vec<OsString>) -> Self {
        let mut after = Vec::new();
        if let Some(at) = words.iter().position(|word| word == "--") {
            after = words.split_off(at);
            after.remove(0);
        }
        Self {
            words: words.into_iter().map(|word| Some(split(word))).collect(),
            after,
            known: Vec::new(),
        }
    }

    /// Takes a flag out; whether it was there.
    pub fn contains(&mut self, flag: &'static str) -> bool {
        self.known.push((flag, true));
        let is_flag = |word: &mut Word| word.text == flag && word.value.is_none();
        self.words.iter_mut().any(|word| word.take_if(is_flag).is_some())
    }

    /// Takes an option and its value out. A word that begins with `--` is an option and no value of
    /// another, whichever of them is looked for first.
    fn take(&mut self, option: &'static str) -> Result<Option<OsString>, Problem> {
        self.known.push((option, false));
        let mut words = self.words.iter_mut();
        let taken = words.find_map(|word| word.take_if(|word| word.text == option));
        let Some(Word { value, .. }) = taken else { return Ok(None) };
        if value.is_some() {
            return Ok(value);
        }
        let Some(next) = words.next() else {
            return Err(Problem::usage(format!("{option}: no value is given")));
        };
        // A gap was an option or belonged to one.
        let is_value = |word: &mut Word| !word.text.as_encoded_bytes().starts_with(b"--");
        next.take_if(is_value).map(|word| Some(word.text)).ok_or_else(|| {
            Problem::usage(format!(
                "{option}: no value is given; one that begins with -- is given as {option}=VALUE"
            ))
        })
    }

    /// The same for a value of text, read by `parse`.
    fn parsed<T, E: std::fmt::Display>(
        &mut self,
        option: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.take(option)? else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| usage(option, &"the value is not UTF-8"))?;
        let wrong = |e| usage(option, &format_args!("cannot use {text:?}: {e}"));
        parse(text).map(Some).map_err(wrong)
    }
}

/// Takes `--option=value` apart.
fn split(word: OsString) -> Word {
    let bytes = word.as_encoded_bytes();
    let at = bytes.iter().position(|&b| b == b'=').filter(|&at| at > 2 && bytes.starts_with(b"--"));
    let option = at.and_then(|at| bytes.get(2..at));
    match (at, option) {
        (Some(at), Some(option)) if option.iter().all(|b| b.is_ascii_lowercase() || *b == b'-') => {
            let text = format!("--{}", String::from_utf8_lossy(option)).into();
            Word { text, value: Some(tail(&word, at + 1)) }
        }
        _ => Word { text: word, value: None },
    }
}

/// What follows the first `at` bytes, which are ASCII.
fn tail(word: &OsStr, at: usize) -> OsString {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        OsStr::from_bytes(word.as_bytes().get(at..).unwrap_or_default()).to_owned()
    }
    #[cfg(not(unix))]
    {
        word.to_string_lossy().get(at..).unwrap_or_default().into()
    }
}

/// The value of an option, if it was given.
pub fn value<T: std::str::FromStr<Err: std::fmt::Display>>(
    args: &mut Args,
    option: &'static str,
) -> Result<Option<T>, Problem> {
    args.parsed(option, str::parse)
}

/// A path given with an option.
pub fn path(args: &mut Args, option: &'static str) -> Result<Option<PathBuf>, Problem> {
    let filled = |value: OsString| filled_path(&value).map_err(|e| usage(option, &e));
    args.take(option)?.map(filled).transpose()
}

/// The same for an option that has a short form, which is the first of `keys`.
pub fn short_path(
    args: &mut Args,
    [short, long]: [&'static str; 2],
) -> Result<Option<PathBuf>, Problem> {
    match (path(args, short)?, path(args, long)?) {
        (Some(_), Some(_)) => Err(given_twice(long)),
        (short, long) => Ok(short.or(long)),
    }
}

fn filled_path(arg: &OsStr) -> Result<PathBuf, &'static str> {
    if arg.is_empty() { Err("an empty path") } else { Ok(arg.into()) }
}

/// The values of an option that may be given more than once.
pub fn values(args: &mut Args, option: &'static str) -> Result<Vec<String>, Problem> {
    let mut values = Vec::new();
    while let Some(value) = value(args, option)? {
        values.push(value);
    }
    Ok(values)
}

/// The addresses in all `--peer` options.
pub fn peers(args: &mut Args) -> Result<Vec<SocketAddr>, Problem> {
    let mut peers = Vec::new();
    for list in values(args, "--peer")? {
        resolve_all("--peer", &list, &mut peers)?;
    }
    Ok(peers)
}

/// Bytes per second, perhaps in KiB, MiB or GiB; zero is no limit, as is none given.
pub fn rate(args: &mut Args, option: &'static str) -> Result<Option<Rate>, Problem> {
    Ok(given_rate(args, option)?.flatten())
}

/// The same where it matters whether one was given: `Some(None)` lifts a limit.
pub fn given_rate(args: &mut Args, option: &'static str) -> Result<Option<Option<Rate>>, Problem> {
    let rate = |arg: &str| {
        let (number, unit) = match arg.strip_suffix(['K', 'k']) {
            Some(number) => (number, 1 << 10),
            None => match arg.strip_suffix(['M', 'm']) {
                Some(number) => (number, 1 << 20),
                None => arg.strip_suffix(['G', 'g']).map_or((arg, 1), |number| (number, 1 << 30)),
            },
        };
        let number: u64 =
            number.parse().map_err(|_| "a rate is a number, perhaps followed by K, M or G")?;
        Ok::<_, &str>(Rate::new(number.saturating_mul(unit)))
    };
    args.parsed(option, rate)
}

/// What is left when all options were taken. A lone `-` is no option.
pub fn free(args: Args) -> Result<Vec<OsString>, Problem> {
    let Args { words, after, known } = args;
    let is_option =
        |word: &&Word| word.text.len() > 1 && word.text.as_encoded_bytes().starts_with(b"-");
    let words: Vec<_> = words.into_iter().flatten().collect();
    if let Some(Word { text, value }) = words.iter().find(is_option) {
        return Err(match known.iter().find(|(option, _)| text == option) {
            Some((flag, true)) if value.is_some() => {
                Problem::usage(format!("{flag} takes no value"))
            }
            Some((option, _)) => given_twice(option),
            None => Problem::usage(format!(
                "there is no option {}; --help lists them",
                text.to_string_lossy()
            )),
        });
    }
    Ok(words.into_iter().map(|word| word.text).chain(after).collect())
}

fn given_twice(option: &str) -> Problem {
    Problem::usage(format!("{option} is given twice"))
}

/// Set to nothing counts as not set.
pub fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Set when names are not to be looked up by this machine.
static LOOK_UP_NOTHING: AtomicBool = AtomicBool::new(false);

/// From now on peers have to be named by their addresses.
pub fn look_up_nothing() {
    LOOK_UP_NOTHING.store(true, Ordering::Relaxed);
}

/// The addresses of all `host:port` of a list. A name that does not resolve is a failure and not a
/// mistake of the user's: in a container it may be there at the next start.
pub fn resolve_all(from: &str, list: &str, peers: &mut Vec<SocketAddr>) -> Result<(), Problem> {
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let usage = |why: &str| Problem::usage(format!("{from}: {name:?} {why}"));
        let Some((host, port)) = name.rsplit_once(':') else {
            return Err(usage("has no port; a peer is host:port or [v6]:port"));
        };
        match port.parse::<u16>() {
            Ok(0) => return Err(usage("has port 0, on which no peer can listen")),
            Ok(_) if host.is_empty() => {
                return Err(usage("has no host; a peer is host:port or [v6]:port"));
            }
            Ok(_) if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) => {
                return Err(usage(
                    "is an IPv6 address without brackets; a peer is host:port or [v6]:port",
                ));
            }
            Ok(_) => {}
            Err(_) => {
                return Err(usage("has no port from 1 to 65535; a peer is host:port or [v6]:port"));
            }
        }
        if LOOK_UP_NOTHING.load(Ordering::Relaxed) && name.parse::<SocketAddr>().is_err() {
            return Err(usage("is a name, and none is looked up here when a proxy is used"));
        }
        // This waits for DNS, which is why it happens before there is an engine.
        let cannot = |e| Problem::new(format!("{from}: cannot find the address of {name:?}: {e}"));
        for addr in name.to_socket_addrs().map_err(cannot)? {
            if !peers.contains(&addr) {
                peers.push(addr);
            }
        }
    }
    Ok(())
}

fn usage(option: &str, e: &dyn std::fmt::Display) -> Problem {
    Problem::usage(format!("{option}: {e}"))
}

/// A time, as `90s`, `30m` or `2h`; a bare number is seconds.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub Duration);

impl std::str::FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = match unit {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err("a time is a number with s, m, h or d behind it"),
        };
        let number: u64 = number.parse().map_err(|_| "a time begins with a number")?;
        Ok(Self(Duration::from_secs(number.saturating_mul(unit))))
    }
}
