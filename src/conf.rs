//! Every limit and choice, in groups, with its default and the reason for it.
//!
//! Each group knows which of its settings make sense together; none knows of another group.

mod alerts;
mod descriptors;
mod dht;
mod encryption;
mod lsd;
mod network;
mod peers;
mod port_mapping;
mod proxy;
mod queue;
mod reads;
mod requests;
mod session;
mod storage;
#[cfg(test)]
mod tests;
mod trackers;
mod uploads;
mod validate;
mod web_seeds;

use self::validate::check;
pub use self::{
    alerts::AlertConf,
    dht::{Bootstrap, DhtConf},
    encryption::{CryptoMethod, CryptoMethods, Encryption, EncryptionConf},
    lsd::LsdConf,
    network::{NetworkConf, Transports},
    peers::PeerConf,
    port_mapping::PortMappingConf,
    proxy::{ProxyConf, ProxyKind, ProxyServer, ProxyUrlError, Traffic},
    queue::QueueConf,
    reads::ReadConf,
    requests::RequestConf,
    session::SessionConf,
    storage::StorageConf,
    trackers::TrackerConf,
    uploads::{SeedChoking, UploadConf},
    validate::ConfError,
    web_seeds::WebSeedConf,
};

/// How an engine behaves and what it may use. Everything that a peer or a file controls has its
/// bound here.
///
/// ```
/// use cratetorrent::Conf;
///
/// let mut conf = Conf::default();
/// conf.peers.max_connections = 50;
/// assert!(conf.validate().is_ok());
/// // The same in one expression:
/// let conf = Conf::default().with(|conf| conf.peers.max_connections = 50);
/// # assert!(conf.validate().is_ok());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Conf {
    /// Addresses, interface, rates of the engine as a whole.
    pub network: NetworkConf,
    /// The proxy, and what goes through it.
    pub proxy: ProxyConf,
    /// What the router of the network is asked for.
    pub port_mapping: PortMappingConf,
    /// Connections with peers.
    pub peers: PeerConf,
    /// Which connections with peers are encrypted.
    pub encryption: EncryptionConf,
    /// What is requested of peers, and the memory for pieces in progress.
    pub requests: RequestConf,
    /// Who is served, and the memory for what is sent.
    pub uploads: UploadConf,
    /// How many torrents run at a time.
    pub queue: QueueConf,
    /// Announces and their replies.
    pub trackers: TrackerConf,
    /// Servers that have the files.
    pub web_seeds: WebSeedConf,
    /// The DHT node.
    pub dht: DhtConf,
    /// Peers of the local network.
    pub lsd: LsdConf,
    /// Workers, files, checks, saving.
    pub storage: StorageConf,
    /// What its user reads of torrents.
    pub reads: ReadConf,
    /// The session folder, and how a session ends.
    pub session: SessionConf,
    /// What the program is told.
    pub alerts: AlertConf,
}

impl Conf {
    /// These settings, changed by `set`.
    #[must_use]
    pub fn with(mut self, set: impl FnOnce(&mut Self)) -> Self {
        set(&mut self);
        self
    }

    /// Whether [`NetworkConf::listen`] counts: it does not when peers are reached through a proxy,
    /// since no peer is to learn of our address.
    pub fn listens(&self) -> bool {
        !self.proxy.carries(Traffic::Peers)
    }

    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        self.network.validate()?;
        self.proxy.validate()?;
        self.port_mapping.validate()?;
        self.peers.validate()?;
        self.encryption.validate()?;
        self.requests.validate()?;
        self.uploads.validate()?;
        self.queue.validate()?;
        self.trackers.validate()?;
        self.web_seeds.validate()?;
        self.dht.validate()?;
        self.lsd.validate()?;
        self.storage.validate()?;
        self.reads.validate()?;
        self.alerts.validate()?;
        check(
            self.network.transports.tcp() || self.proxy.may_send_datagrams(Traffic::Peers),
            "network.transports",
            format_args!("{:?}", self.network.transports),
            "Tcp or Both where the proxy carries no datagrams",
        )
    }
}
