//! Downloads a torrent, or shows itself at work when it is given nothing to do.
//!
//! What it teaches: `spawn` an engine, ship verbs to it with `call`, follow its alerts, let it save
//! its state before the end. `demo.rs` drives a second kind of engine from its own loop.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]
// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]

mod args;
#[path = "../common/mod.rs"]
mod common;
mod demo;
mod fetch;
mod link;
mod patience;

use std::process::ExitCode;

use args::Command;
use common::Problem;

fn main() -> ExitCode {
    common::program(args::help, args::parse, |command| match command {
        Command::Demo => demo::run(),
        Command::Fetch(options) => fetch::run(*options),
    })
}
