//! The limits and choices of local service discovery.

use std::time::Duration;

use super::validate::{ConfError, check, lasting};

/// How peers of the local network are found (BEP 14).
///
/// ```
/// use cratetorrent::conf::LsdConf;
///
/// let mut conf = LsdConf::default();
/// conf.enabled = true;
/// assert!(conf.validate().is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LsdConf {
    /// Whether public torrents are announced to the local network, and announces of others are
    /// heard. Default off.
    pub enabled: bool,
    /// How often a torrent is announced on an interface; less often if there are more torrents
    /// than [`pause`](Self::pause) allows. Default 5 min (BEP 14), at least 1 min.
    pub interval: Duration,
    /// The least time between two packets on an interface, each of which names up to 20 torrents.
    /// Default 1 min (BEP 14), at least 1 s.
    pub pause: Duration,
    /// How often the driver looks which interfaces there are. Default 15 s.
    pub look_interval: Duration,
    /// Interfaces to announce on, each family counted. Default 64, at most 64.
    pub max_interfaces: usize,
    /// Packets that one neighbour may send at once before they are ignored; afterwards it may send
    /// one a second. Default 100.
    pub burst: u32,
    /// Neighbours whose packets are counted; the one that was heard longest ago is forgotten
    /// first. Default 256.
    pub max_neighbours: usize,
}

impl Default for LsdConf {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(5 * 60),
            pause: Duration::from_secs(60),
            look_interval: Duration::from_secs(15),
            max_interfaces: 64,
            burst: 100,
            max_neighbours: 256,
        }
    }
}

impl LsdConf {
    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(
            self.interval >= Duration::from_secs(60),
            "lsd.interval",
            format_args!("{:?}", self.interval),
            "at least 1 min",
        )?;
        check(
            self.pause >= Duration::from_secs(1),
            "lsd.pause",
            format_args!("{:?}", self.pause),
            "at least 1 s",
        )?;
        lasting(self.look_interval, "lsd.look_interval")?;
        check(
            (1..=64).contains(&self.max_interfaces),
            "lsd.max_interfaces",
            self.max_interfaces,
            "1 to 64",
        )?;
        check(self.burst >= 1, "lsd.burst", self.burst, "at least 1")?;
        check(self.max_neighbours >= 1, "lsd.max_neighbours", self.max_neighbours, "at least 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsd_conf_defaults_are_valid_and_nonsense_is_named() {
        assert_eq!(LsdConf::default().validate(), Ok(()));
        let refused = |change: fn(&mut LsdConf)| {
            let mut conf = LsdConf::default();
            change(&mut conf);
            conf.validate().unwrap_err().field
        };
        assert_eq!(refused(|c| c.interval = Duration::from_secs(1)), "lsd.interval");
        assert_eq!(refused(|c| c.pause = Duration::ZERO), "lsd.pause");
        assert_eq!(refused(|c| c.look_interval = Duration::ZERO), "lsd.look_interval");
        assert_eq!(refused(|c| c.max_interfaces = 65), "lsd.max_interfaces");
        assert_eq!(refused(|c| c.burst = 0), "lsd.burst");
        assert_eq!(refused(|c| c.max_neighbours = 0), "lsd.max_neighbours");
    }
}
