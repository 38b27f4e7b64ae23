//! Whole swarms in one thread, on a virtual network, disk and clock: one to look at, random ones in
//! search of faults, and huge ones.
//!
//! What it teaches: the simulator from outside. [`show`] builds a world and looks on; [`explore`]
//! runs plans by chance and makes those that fail small; [`scale`] measures how a flash crowd
//! grows.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]
// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]

/// A line to stdout. `println!` would panic where the reader has gone.
macro_rules! say {
    ($($text:tt)*) => { crate::common::print(&format!($($text)*)) };
}

mod args;
#[path = "../common/mod.rs"]
mod common;
mod explore;
mod scale;
mod show;
mod svg;

use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    common::start_log();
    let outcome = match args::parse() {
        Ok(Command::Help) => {
            common::print(args::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Ok(Command::Version) => {
            common::print(concat!("swarm_sim ", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Command::Show(options)) => show::run(&options),
        Ok(Command::Explore(options)) => explore::run(&options),
        Ok(Command::Plan(plan)) => explore::run_plan(&plan),
        Ok(Command::Scale(options)) => scale::run(&options),
        Err(problem) => Err(problem),
    };
    common::end(outcome)
}
