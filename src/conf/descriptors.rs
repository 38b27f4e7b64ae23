//! How a process's descriptors are shared between files, connections and everything else. What the
//! limit is, and how it is raised, is the program's affair.

use super::Conf;

/// More connections than one engine has a use for.
const MOST_LINKS: usize = 20_000;
/// Descriptors for the standard streams, listeners, wakers, trackers, web seeds, the log and
/// whatever libraries hold; a quarter of them all if there are few.
const RESERVE: usize = 64;

impl Conf {
    /// Settings for a process that may have so many `descriptors` open:
    /// [`StorageConf::max_open_files`](super::StorageConf::max_open_files) stays unless it takes
    /// more than a third, and connections get what is left, 20,000 at most. Web seeds get 32, or
    /// an eighth of all if there are few.
    ///
    /// ```
    /// let mut conf = cratetorrent::Conf::default();
    /// conf.fit_descriptors(64);
    /// let (connections, files) = (conf.peers.max_connections, conf.storage.max_open_files);
    /// assert!(connections >= 24 && connections + files <= 48);
    /// ```
    pub fn fit_descriptors(&mut self, descriptors: u64) {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let free = descriptors - RESERVE.min(descriptors / 4);
        self.storage.max_open_files = self.storage.max_open_files.min(free / 3).max(1);
        let of_web_seeds = (descriptors - free) / 2;
        self.web_seeds.max_connections = self.web_seeds.max_connections.min(of_web_seeds).max(1);
        let links = free.saturating_sub(self.storage.max_open_files).clamp(1, MOST_LINKS);
        self.peers.max_connections = links;
        self.peers.max_per_torrent = links;
        // When thousands come at once, a hundred that are being greeted would keep the others out;
        // where there are few connections, neither those that come nor those that are
        // dialled may take all.
        self.peers.max_handshakes =
            (links / 4).max(self.peers.max_handshakes.min(links.div_ceil(2)));
        self.peers.max_dials = self.peers.max_dials.min(links.div_ceil(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_shared_between_files_and_connections() {
        for (descriptors, files, links) in
            [(64, 16, 32), (100, 25, 50), (256, 40, 152), (1024, 40, 920), (u64::MAX, 40, 20_000)]
        {
            let mut conf = Conf::default();
            conf.fit_descriptors(descriptors);
            assert_eq!(
                (conf.storage.max_open_files, conf.peers.max_connections),
                (files, links),
                "{descriptors}"
            );
        }
        for descriptors in 0..2000 {
            let mut conf = Conf::default();
            conf.fit_descriptors(descriptors);
            assert_eq!(conf.validate(), Ok(()), "{descriptors}");
            assert!(
                descriptors < 4
                    || ((conf.peers.max_connections + conf.storage.max_open_files) as u64)
                        < descriptors,
                "{descriptors}"
            );
        }
    }
}
