//! What needs root: small file systems of the test's own, taken away when it ends.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Says loudly that a test could not run here; fails where everything must run (`CI=true`).
pub fn skip(test: &str, why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{test}: {why}, and CI=true means that nothing may be left out"
    );
    // Not by eprintln!, which the test harness swallows when the test passes.
    let _ = std::io::stderr().write_all(format!("\n*** SKIPPED {test}: {why}\n").as_bytes());
}

/// Whether this process may mount and make namespaces.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a program to its end; the error says how it failed.
pub(super) fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let text = || format!("{program} {}", args.join(" "));
    let output: Output =
        Command::new(program).args(args).output().map_err(|e| format!("{}: {e}", text()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{}: {}: {}",
        text(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// A small file system in memory.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one of `mib` MiB at `path`, which is an empty folder.
    pub fn mount(path: &Path, mib: usize) -> Result<Self, String> {
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", path.to_str().unwrap()],
        )?;
        Ok(Self { path: path.into() })
    }

    /// Mounts it anew with other options.
    pub fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}"), self.path.to_str().unwrap()]).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", self.path.to_str().unwrap()]);
    }
}
