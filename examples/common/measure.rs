//! What measuring programs ask the system about themselves (Linux), and the time for which they let
//! an engine be.

use std::{
    error::Error,
    fs,
    time::{Duration, Instant},
};

use cratetorrent::Reactor;

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

/// Lets an engine do what it has to do, for so long.
pub(crate) fn poll_for(reactor: &mut Reactor, time: Duration) -> Result<(), Box<dyn Error>> {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    {
        reactor.poll(Some(left))?;
        while reactor.next_alert().is_some() {}
    }
    Ok(())
}
