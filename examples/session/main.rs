//! A session of many torrents in a folder, driven by commands on standard input: by a person at a
//! terminal, or by a script.
//!
//! What it teaches: one engine for everything; who runs is the queue's to decide; the verbs are
//! called where the commands are, and what happens meanwhile is told by alerts.

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
mod input;
mod objects;
mod run;
mod show;
mod style;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::program(args::help, args::parse, run::run)
}
