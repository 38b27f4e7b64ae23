//! Makes a torrent of a file or a folder: `create PATH`.
//!
//! What it teaches: `create` with its progress and its end on request. The work with files and words is in `common/make.rs`.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]
// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]

#[path = "common/mod.rs"]
mod common;

use std::process::ExitCode;

use common::{
    Problem, args,
    make::{self, Make},
    print,
    signals::Interrupt,
};
use pico_args::Arguments;

const HELP: &str = "\
Makes a torrent of a file or a folder.

Usage: create PATH [options]

  --name NAME           what the torrent is called (default: as PATH)
";
const END: &str = "
  --quiet               print the info-hash only
  --help, --version

Exit status: 0 made; 1 failed; 2 nonsense asked; 130 or 143 stopped by Ctrl-C or SIGTERM.";

fn main() -> ExitCode {
    common::program(|| format!("{HELP}{}{END}", make::HELP), Ok, run)
}

fn run(mut args: Arguments) -> Result<ExitCode, Problem> {
    let make = Make::parse(&mut args)?;
    let name = args::value(&mut args, "--name")?;
    let quiet = args.contains("--quiet");
    let path = match args::free(args)?.as_slice() {
        [path] if !path.is_empty() => path.into(),
        [] | [_] => return Err(Problem::usage("no file or folder given; --help tells how")),
        many => return Err(Problem::usage(format!("one file or folder at a time, not {}", many.len()))),
    };
    // The signal is looked for wherever progress is told.
    let interrupt = Interrupt::catch(|| {})?;
    let (created, out) = make.run(path, name, quiet, &interrupt)?;
    let info_hash = created.metainfo.info_hash;
    if quiet {
        print(&info_hash.to_string());
    } else {
        let geometry = created.metainfo.geometry;
        print(&format!("pieces    {} of {} KiB", geometry.piece_count(), geometry.nominal_piece_len() / 1024));
        print(&format!("info-hash {info_hash}"));
        print(&format!("torrent   {}", out.display()));
    }
    Ok(ExitCode::SUCCESS)
}
