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
use pico_args::{Arguments, Keys};

use super::Problem;

/// What is left of the arguments.
#[derive(Debug)]
pub struct Args {
    options: Arguments,
    /// What came after `--`: none of it is an option, whatever it begins with.
    after: Vec<OsString>,
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
        Self { options: Arguments::from_vec(words.into_iter().flat_map(split).collect()), after }
    }

    /// Takes a flag out; whether it was there.
    pub fn contains(&mut self, keys: impl Into<Keys>) -> bool {
        self.options.contains(keys)
    }
}

/// `--option=value` is as good as the two words.
fn split(word: OsString) -> Vec<OsString> {
    let bytes = word.as_encoded_bytes();
    let at = bytes.iter().position(|&b| b == b'=').filter(|&at| at > 2 && bytes.starts_with(b"--"));
    let option = at.and_then(|at| bytes.get(2..at));
    match (at, option) {
        (Some(at), Some(option)) if option.iter().all(|b| b.is_ascii_lowercase() || *b == b'-') => {
            let (option, value) =
                (format!("--{}", String::from_utf8_lossy(option)), tail(&word, at + 1));
            vec![option.into(), value]
        }
        _ => vec![word],
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
    args.options.opt_value_from_str(option).map_err(|e| usage(option, &e))
}

/// A path given with an option.
pub fn path(args: &mut Args, option: &'static str) -> Result<Option<PathBuf>, Problem> {
    args.options.opt_value_from_os_str(option, filled_path).map_err(|e| usage(option, &e))
}

/// The same for an option that has a short form, which is the first of `keys`.
pub fn short_path(
    args: &mut Args,
    keys: [&'static str; 2],
    option: &str,
) -> Result<Option<PathBuf>, Problem> {
    args.options.opt_value_from_os_str(keys, filled_path).map_err(|e| usage(option, &e))
}

fn filled_path(arg: &OsStr) -> Result<PathBuf, &'static str> {
    if arg.is_empty() { Err("an empty path") } else { Ok(arg.into()) }
}

/// The values of an option that may be given more than once.
pub fn values(args: &mut Args, option: &'static str) -> Result<Vec<String>, Problem> {
    args.options.values_from_str(option).map_err(|e| usage(option, &e))
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
    args.options.opt_value_from_fn(option, rate).map_err(|e| usage(option, &e))
}

/// What is left when all options were taken. A lone `-` is no option.
pub fn free(args: Args) -> Result<Vec<OsString>, Problem> {
    let mut free = args.options.finish();
    let is_option = |arg: &&OsString| arg.len() > 1 && arg.as_encoded_bytes().starts_with(b"-");
    match free.iter().find(is_option) {
        Some(unknown) => {
            let what =
                format!("there is no option {}; --help lists them", unknown.to_string_lossy());
            Err(Problem::usage(what))
        }
        None => {
            free.extend(args.after);
            Ok(free)
        }
    }
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

fn usage(option: &str, e: &pico_args::Error) -> Problem {
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
