//! What the system knows of this process.

use std::{error::Error, fs};

/// A size in `/proc/self/status`, in KiB.
pub(crate) fn kib(name: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.ok_or("no such size")?.trim().trim_end_matches(" kB").parse()?)
}

/// Processor time of all threads, in nanoseconds.
pub(crate) fn cpu_ns() -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += stat.split_whitespace().next().ok_or("no schedstat")?.parse::<u64>()?;
    }
    Ok(sum)
}
