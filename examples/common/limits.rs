//! How many connections the system grants, and settings to match.

use cratetorrent::Conf;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More connections than one engine has a use for.
const MAX_LINKS: usize = 20_000;
/// Descriptors for the standard streams, listeners, wakers, the log and whatever libraries hold.
const RESERVE: usize = 64;

/// Takes as many descriptors as the system grants, and lets the engine have as many connections as that allows beside its files.
pub fn use_all_descriptors(conf: &mut Conf) {
    let links = links(raise(), conf.max_open_files);
    log::info!("room for {links} connections");
    conf.max_links = links;
    conf.max_links_per_torrent = links;
    // When thousands come at once, a hundred that are being greeted would keep the others out.
    conf.max_greetings = conf.max_greetings.max(links / 4);
}

/// Raises the limit of descriptors as far as it goes without being root. `None` is no limit.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(e) => {
            log::info!("the limit of {:?} open files stays: {e}", limit.current);
            limit.current
        }
    }
}

fn links(descriptors: Option<u64>, files: usize) -> usize {
    let descriptors = descriptors.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    descriptors.saturating_sub(files + RESERVE).clamp(1, MAX_LINKS)
}
