//! Whether the router of the network is asked to let peers in, and for how long.

use std::time::Duration;

use super::validate::{ConfError, check, lasting};

/// How ports are mapped by the router of the network: by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP
/// IGD, whichever it speaks. Over IPv4 alone, and only on Linux: elsewhere no router is found.
/// Nothing is mapped when peers go through a proxy.
///
/// ```
/// use cratetorrent::conf::PortMappingConf;
///
/// let mut conf = PortMappingConf::default();
/// conf.enabled = true;
/// assert!(conf.validate().is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortMappingConf {
    /// Whether the port of the first IPv4 listener is mapped: of TCP, and of UDP if uTP or the DHT
    /// are on. Default off.
    pub enabled: bool,
    /// How long a mapping lasts that is not renewed; it is renewed at three quarters of that.
    /// Default 1 h, at least 2 min.
    pub lifetime: Duration,
    /// How long the end of a session may wait until mappings are taken back. Default 2 s.
    pub remove_timeout: Duration,
    /// How often the driver looks whether there is another router. Default 30 s.
    pub look_interval: Duration,
}

impl Default for PortMappingConf {
    fn default() -> Self {
        Self {
            enabled: false,
            lifetime: Duration::from_secs(3600),
            remove_timeout: Duration::from_secs(2),
            look_interval: Duration::from_secs(30),
        }
    }
}

impl PortMappingConf {
    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(
            (Duration::from_secs(120)..=Duration::from_secs(7 * 24 * 3600))
                .contains(&self.lifetime),
            "port_mapping.lifetime",
            format_args!("{:?}", self.lifetime),
            "2 min to 7 days",
        )?;
        lasting(self.look_interval, "port_mapping.look_interval")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_mapping_conf_defaults_are_valid_and_nonsense_is_named() {
        assert_eq!(PortMappingConf::default().validate(), Ok(()));
        let refused = |change: fn(&mut PortMappingConf)| {
            let mut conf = PortMappingConf::default();
            change(&mut conf);
            conf.validate().unwrap_err().field
        };
        assert_eq!(refused(|c| c.lifetime = Duration::ZERO), "port_mapping.lifetime");
        assert_eq!(refused(|c| c.look_interval = Duration::ZERO), "port_mapping.look_interval");
    }
}
