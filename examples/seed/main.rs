//! Serves a torrent, or a file or folder of which it makes one first.
//!
//! What it teaches: a torrent that is added at rest and goes on when it is known to be whole; trust
//! in files that need no check, and what to do when it turns out to be misplaced; room for many
//! peers.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]
// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]

mod args;
#[path = "../common/mod.rs"]
mod common;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::program(args::help, args::parse, serve::run)
}
