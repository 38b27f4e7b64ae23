//! What needs root: small file systems and network namespaces of the test's own, taken away when it ends.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

/// Says loudly that a test could not run here; fails where everything must run (`CI=true`).
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {why}, and CI=true means that nothing may be left out");
    // Not by eprintln!, which the test harness swallows when the test passes.
    let _ = std::io::stderr().write_all(format!("\n*** SKIPPED {test}: {why}\n").as_bytes());
}

/// Whether this process may mount and make namespaces.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let text = || format!("{program} {}", args.join(" "));
    let output: Output = Command::new(program).args(args).output().map_err(|e| format!("{}: {e}", text()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}: {}", text(), output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// A small file system in memory.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one of `mib` MiB at `path`, which is an empty folder.
    pub fn mount(path: &Path, mib: usize) -> Result<Self, String> {
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", path.to_str().unwrap()])?;
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

/// Two network namespaces with a cable between them and nothing else.
#[derive(Debug)]
pub struct Cable {
    names: [String; 2],
    addresses: [String; 2],
}

impl Cable {
    /// Lays it.
    pub fn lay() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{n}", std::process::id());
        // Namespaces are apart from each other, so the addresses need not differ from those of other cables.
        let this =
            Self { names: [format!("ct-a-{id}"), format!("ct-b-{id}")], addresses: ["10.77.0.1".into(), "10.77.0.2".into()] };
        this.names.iter().try_for_each(|name| run("ip", &["netns", "add", name]))?;
        let [a, b] = [&this.names[0], &this.names[1]];
        run("ip", &["-n", a, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b])?;
        for (name, address) in this.names.iter().zip(&this.addresses) {
            run("ip", &["-n", name, "address", "add", &format!("{address}/30"), "dev", "eth0"])?;
            run("ip", &["-n", name, "link", "set", "eth0", "up"])?;
            run("ip", &["-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(this)
    }

    /// The address at this end.
    pub fn address(&self, end: usize) -> &str {
        &self.addresses[end]
    }

    /// A command that runs at this end.
    pub fn command(&self, end: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[end]]).arg(program);
        command
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = run("ip", &["netns", "del", name]);
        }
    }
}
