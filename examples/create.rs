//! Makes a torrent of a file or a folder: `create PATH`.
//!
//! What it teaches: `create` with its progress and its end on request. The work with files and
//! words is in `common/make.rs`.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]
// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]

#[path = "common/mod.rs"]
mod common;

use std::process::ExitCode;

use common::{
    Problem,
    args::{self, Args},
    make::{self, Make},
    print,
    progress::Show,
    signals::Interrupt,
};
use serde_json::json;

const HELP: &str = "\
Makes a torrent of a file or a folder.

Usage: create PATH [options]

  --name NAME           what the torrent is called (default: as PATH)
";
const END: &str = "
  --quiet               print the info-hash only
  --json                print one JSON object with what was made
  --help, --version

Exit status: 0 made; 1 failed; 2 nonsense asked; 130 or 143 stopped by Ctrl-C or SIGTERM.";

fn main() -> ExitCode {
    common::program(|| format!("{HELP}{}{END}", make::HELP), Ok, run)
}

fn run(mut args: Args) -> Result<ExitCode, Problem> {
    let make = Make::parse(&mut args)?;
    let name = args::value(&mut args, "--name")?;
    let show = Show::parse(&mut args)?;
    let path = match args::free(args)?.as_slice() {
        [path] if !path.is_empty() => path.into(),
        [] | [_] => return Err(Problem::usage("no file or folder given; --help tells how")),
        many => {
            return Err(Problem::usage(format!(
                "one file or folder at a time, not {}",
                many.len()
            )));
        }
    };
    // The signal is looked for wherever progress is told.
    let interrupt = Interrupt::catch(|| {})?;
    let (created, out) = make.run(path, name, show, &interrupt)?;
    // The standard output has the torrent.
    let Some(out) = out else { return Ok(ExitCode::SUCCESS) };
    let metainfo = created.metainfo;
    let (v1, v2) = (metainfo.identity.v1(), metainfo.identity.v2());
    let (v1, v2) = (v1.map(|hash| hash.to_string()), v2.map(|hash| hash.to_string()));
    let (info_hash, geometry) = (v1.clone().or(v2.clone()).unwrap_or_default(), &metainfo.geometry);
    match show {
        Show::Nothing => print(&info_hash),
        Show::Json => print(
            &json!({
                "info_hash": v1,
                "info_hash_v2": v2,
                "torrent": out.to_string_lossy(),
                "name": metainfo.name,
                "total_bytes": geometry.held_len(),
                "pieces": geometry.piece_count(),
                "piece_bytes": geometry.nominal_piece_len(),
                "magnet": metainfo.magnet().to_string(),
            })
            .to_string(),
        ),
        Show::Words => {
            print(&format!(
                "pieces    {} of {} KiB",
                geometry.piece_count(),
                geometry.nominal_piece_len() / 1024
            ));
            if let Some(v1) = v1 {
                print(&format!("info-hash {v1}"));
            }
            if let Some(v2) = v2 {
                print(&format!("version 2 {v2}"));
            }
            print(&format!("torrent   {}", out.display()));
            print(&format!("magnet    {}", metainfo.magnet()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
