//! Arguments, as all the programs take them.

use std::{
    env,
    ffi::{OsStr, OsString},
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use cratetorrent::Rate;
use pico_args::Arguments;

use super::Problem;

/// The value of an option, if it was given.
pub fn value<T: std::str::FromStr<Err: std::fmt::Display>>(
    args: &mut Arguments,
    option: &'static str,
) -> Result<Option<T>, Problem> {
    args.opt_value_from_str(option).map_err(|e| usage(option, &e))
}

/// A path given with an option.
pub fn path(args: &mut Arguments, option: &'static str) -> Result<Option<PathBuf>, Problem> {
    args.opt_value_from_os_str(option, filled_path).map_err(|e| usage(option, &e))
}

/// The same for an option that has a short form, which is the first of `keys`.
pub fn short_path(args: &mut Arguments, keys: [&'static str; 2], option: &str) -> Result<Option<PathBuf>, Problem> {
    args.opt_value_from_os_str(keys, filled_path).map_err(|e| usage(option, &e))
}

fn filled_path(arg: &OsStr) -> Result<PathBuf, &'static str> {
    if arg.is_empty() { Err("an empty path") } else { Ok(arg.into()) }
}

/// The values of an option that may be given more than once.
pub fn values(args: &mut Arguments, option: &'static str) -> Result<Vec<String>, Problem> {
    args.values_from_str(option).map_err(|e| usage(option, &e))
}

/// The addresses in all `--peer` options.
pub fn peers(args: &mut Arguments) -> Result<Vec<SocketAddr>, Problem> {
    let mut peers = Vec::new();
    for list in values(args, "--peer")? {
        resolve_all("--peer", &list, &mut peers)?;
    }
    Ok(peers)
}

/// Bytes per second, perhaps in KiB, MiB or GiB; zero is no limit.
pub fn rate(args: &mut Arguments, option: &'static str) -> Result<Option<Rate>, Problem> {
    let rate = |arg: &str| {
        let (number, unit) = match arg.strip_suffix(['K', 'k']) {
            Some(number) => (number, 1 << 10),
            None => match arg.strip_suffix(['M', 'm']) {
                Some(number) => (number, 1 << 20),
                None => arg.strip_suffix(['G', 'g']).map_or((arg, 1), |number| (number, 1 << 30)),
            },
        };
        let number: u64 = number.parse().map_err(|_| "a rate is a number, perhaps followed by K, M or G")?;
        Ok::<_, &str>(Rate::new(number.saturating_mul(unit)))
    };
    Ok(args.opt_value_from_fn(option, rate).map_err(|e| usage(option, &e))?.flatten())
}

/// What is left when all options were taken.
pub fn free(args: Arguments) -> Result<Vec<OsString>, Problem> {
    let free = args.finish();
    match free.iter().find(|arg| arg.to_string_lossy().starts_with('-')) {
        Some(unknown) => Err(Problem::usage(format!("there is no option {}; --help lists them", unknown.to_string_lossy()))),
        None => Ok(free),
    }
}

/// Set to nothing counts as not set.
pub fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

pub fn resolve_all(from: &str, list: &str, peers: &mut Vec<SocketAddr>) -> Result<(), Problem> {
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        // This waits for DNS, which is why it happens before there is an engine.
        let addrs =
            name.to_socket_addrs().map_err(|e| Problem::usage(format!("{from}: cannot make an address of {name:?}: {e}")))?;
        for addr in addrs {
            if addr.port() == 0 {
                return Err(Problem::usage(format!("{from}: nobody listens on port 0 of {name:?}")));
            }
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
