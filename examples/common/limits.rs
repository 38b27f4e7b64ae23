//! How many connections the system grants, and settings to match.

use cratetorrent::Conf;

/// Takes as many descriptors as the system grants, and lets the engine have as many connections as
/// that allows beside its files.
pub fn use_all_descriptors(conf: &mut Conf) {
    conf.fit_descriptors(raise().unwrap_or(u64::MAX));
    log::info!(
        "room for {} connections and {} open files",
        conf.peers.max_connections,
        conf.storage.max_open_files
    );
}

/// Raises the limit of descriptors as far as it goes without being root. `None` is no limit.
#[cfg(unix)]
fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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

/// Elsewhere memory is the limit.
#[cfg(not(unix))]
fn raise() -> Option<u64> {
    None
}
