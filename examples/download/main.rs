//! Downloads a torrent, or shows itself at work when it is given nothing to do.
//!
//! What it teaches: `spawn` an engine, ship verbs to it with `call`, follow its alerts, let it save its state before the
//! end. `demo.rs` drives a second kind of engine from its own loop.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]
// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]

mod args;
mod demo;
mod fetch;
mod progress;
mod signals;

use std::process::ExitCode;

use args::Command;

/// What goes wrong, in a sentence for the user, and the exit code that goes with it.
#[derive(Debug)]
struct Problem {
    sentence: String,
    code: u8,
}

impl Problem {
    /// Something failed.
    fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: 1 }
    }

    /// The user asked for something that makes no sense.
    fn usage(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: 2 }
    }
}

fn main() -> ExitCode {
    // What the user must know is said in sentences; the log is for who asks for it.
    if args::variable("RUST_LOG").is_some() {
        let _ = pretty_env_logger::try_init();
    }
    let outcome = match args::parse() {
        Ok(Command::Help) => {
            progress::print(args::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Ok(Command::Version) => {
            progress::print(concat!("download ", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Command::Demo) => demo::run(),
        Ok(Command::Fetch(options)) => fetch::run(*options),
        Err(problem) => Err(problem),
    };
    outcome.unwrap_or_else(|problem| {
        progress::complain(&problem.sentence);
        ExitCode::from(problem.code)
    })
}
