//! A session of many torrents in a folder, driven by commands on standard input: by a person at a terminal, or by a script.
//!
//! What it teaches: one engine for everything; who runs is the queue's to decide; the verbs are called where the commands are, and
//! what happens meanwhile is told by alerts.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]
// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]

mod act;
mod args;
mod book;
mod command;
#[path = "../common/mod.rs"]
mod common;
mod run;
mod show;

use std::process::ExitCode;

use args::Wanted;

fn main() -> ExitCode {
    common::start_log();
    let outcome = match args::parse() {
        Ok(Wanted::Help) => {
            common::print(&args::help());
            Ok(ExitCode::SUCCESS)
        }
        Ok(Wanted::Version) => {
            common::print(concat!("session ", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Wanted::Session(options)) => run::run(*options),
        Err(problem) => Err(problem),
    };
    common::end(outcome)
}
