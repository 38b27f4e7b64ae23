//! Downloads a torrent, or shows itself at work when it is given nothing to do.
//!
//! What it teaches: `spawn` an engine, ship verbs to it with `call`, follow its alerts, let it save its state before the
//! end. `demo.rs` drives a second kind of engine from its own loop.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]
// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]

mod args;
#[path = "../common/mod.rs"]
mod common;
mod demo;
mod fetch;

use std::process::ExitCode;

use args::Command;
use common::Problem;

fn main() -> ExitCode {
    common::start_log();
    let outcome = match args::parse() {
        Ok(Command::Help) => {
            common::print(args::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Ok(Command::Version) => {
            common::print(concat!("download ", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Command::Demo) => demo::run(),
        Ok(Command::Fetch(options)) => fetch::run(*options),
        Err(problem) => Err(problem),
    };
    common::end(outcome)
}
