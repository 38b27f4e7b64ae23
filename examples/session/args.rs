//! What the user wants of the program as a whole.

use std::path::PathBuf;

use cratetorrent::Rate;

use crate::{
    command,
    common::{
        Problem,
        args::{Args, free, given_rate, path, value},
        listen::{self, Place},
    },
};

const HELP: &str = "\
Runs a session of torrents and does what is said on standard input, until `quit`, its end,
Ctrl-C or SIGTERM.

Usage: session DIR [options]

  DIR                   the session's folder; it is made if it is not there
  --downloads DIR       where data goes unless `add` says otherwise (default: DIR/downloads)
";
const MORE: &str = "
  --blocklist FILE      addresses to have nothing to do with (eMule, PeerGuardian, CIDR)
  --limit-down RATE     receive at most RATE bytes per second over all torrents, as 500K,
                        2M or 1G (of 1024s); 0: no limit
  --limit-up RATE       the same for sending
  --active N            downloads at a time (default: 3)
  --seeds N             seeds at a time (default: 5)
  --json                print JSON objects, one a line
  --help, --version

Commands, one a line; words with blanks in them are put in \"quotes\":
";
const END: &str = "
N is the number that `list` shows, or the first four or more digits of an info-hash.
To a pipe, `list` and `peers` write fields with tabs between them: bytes, bytes per second, and
- for nothing. With --json every line is an object: its `event` says what it is, and its `torrent`
is N.
What happens meanwhile is told in lines that begin with: known (what a magnet link stands for),
checked, finished, stopped, moved, deleted, removed, merged, banned, mapped, waiting (for peers),
failed.
Exit status: 0 ended in good order; 1 failed, or a command from a file or pipe did;
2 nonsense asked.";

pub fn help() -> String {
    format!("{HELP}{}{MORE}{}{END}", listen::HELP, command::help())
}

pub struct Options {
    pub dir: PathBuf,
    pub downloads: PathBuf,
    pub place: Place,
    pub blocklist: Option<PathBuf>,
    /// Limits, where they were given; inside, `None` lifts one.
    pub down: Option<Option<Rate>>,
    pub up: Option<Option<Rate>>,
    pub active: Option<usize>,
    pub seeds: Option<usize>,
    pub json: bool,
}

pub fn parse(mut args: Args) -> Result<Options, Problem> {
    let downloads = path(&mut args, "--downloads")?;
    let place = Place::parse(&mut args)?;
    let blocklist = path(&mut args, "--blocklist")?;
    let down = given_rate(&mut args, "--limit-down")?;
    let up = given_rate(&mut args, "--limit-up")?;
    let json = args.contains("--json");
    let (active, seeds) = (value(&mut args, "--active")?, value(&mut args, "--seeds")?);
    let dir = match free(args)?.as_slice() {
        [dir] if !dir.is_empty() => PathBuf::from(dir),
        [] | [_] => {
            return Err(Problem::usage("no folder for the session given; --help tells how"));
        }
        many => return Err(Problem::usage(format!("one folder, not {}", many.len()))),
    };
    let downloads = downloads.unwrap_or_else(|| dir.join("downloads"));
    Ok(Options { dir, downloads, place, blocklist, down, up, active, seeds, json })
}
