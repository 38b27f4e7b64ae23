//! Tests that count the memory of their process or change its limits. Each has a child of this
//! program for a process of its own.

#[path = "../../support/counting.rs"]
mod counting;
#[cfg(target_os = "linux")]
mod descriptors;
mod dht_memory;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
mod utp_memory;

use std::{env, process::Command, time::Duration};

use crate::support::process::Process;

/// The test that the child runs.
const ALONE: &str = "CRATETORRENT_ALONE";

/// Whether this process is there for the test alone. If not, a child runs it, for so long at most,
/// and what the child says is printed.
fn is_alone(module: &str, test: &str, limit: Duration) -> bool {
    let (_, module) = module.split_once("::").unwrap();
    let name = format!("{module}::{test}");
    if let Ok(of) = env::var(ALONE) {
        assert_eq!(of, name);
        return true;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", &name, "--nocapture"]).env(ALONE, &name);
    let mut child = Process::spawn(test, &mut command, dir.path());
    let status = child.wait(limit);
    let said = child.output();
    println!("{said}");
    assert!(status.success() && said.contains("1 passed"), "{test}: {status}\n{said}");
    false
}
