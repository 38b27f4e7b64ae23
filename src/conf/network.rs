//! Sockets: addresses, interface, rates, and how much is read at once.

use std::net::{IpAddr, SocketAddr};

use super::validate::{BLOCK, ConfError, at_least_one, check};
use crate::base::bucket::Limits;

/// What connections with peers are made by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transports {
    /// TCP alone.
    Tcp,
    /// uTP (BEP 29) alone.
    Utp,
    /// Peers may dial us by either. We dial by TCP, and by uTP if that fails or does not answer in
    /// a third of [`PeerConf::handshake_timeout`](super::PeerConf::handshake_timeout), or if a
    /// relay has both ends dial (BEP 55). Who does not answer to uTP within three seconds, or one
    /// where TCP was refused, is dialled by TCP alone the next two times.
    #[default]
    Both,
}

impl Transports {
    /// Whether TCP is among them.
    pub fn tcp(self) -> bool {
        self != Self::Utp
    }

    /// Whether uTP is among them.
    pub fn utp(self) -> bool {
        self != Self::Tcp
    }
}

/// How the engine uses the network as a whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NetworkConf {
    /// Addresses to accept peers on; port 0 lets the system choose. Empty: accept no peers.
    pub listen: Vec<SocketAddr>,
    /// The addresses of ours that everything leaves from: connections to peers and trackers, and
    /// datagrams. The first of a family is used; a family of which there is none is not used
    /// at all. Empty: as the system likes. What cannot leave from there does not leave.
    /// Looking names up is the system's, and not held to this.
    pub bind_addrs: Vec<IpAddr>,
    /// The network interface that everything leaves and comes by, on Linux (`SO_BINDTODEVICE`;
    /// elsewhere nothing leaves). One that is made anew by the same name, as a tunnel (VPN) is that
    /// connects again, is noticed within 5 s; what is listened on then is as before. Names are
    /// looked up by the system, as ever. Default: any.
    pub bind_interface: Option<String>,
    /// The first bytes of our peer id (BEP 20); the rest is random. At most 20 bytes, printable.
    pub client: String,
    /// How fast bytes may come and go, over all torrents and peers; see
    /// [`Verbs::set_limits`](crate::Verbs::set_limits). Default: no limits.
    pub limits: Limits,
    /// What connections with peers are made by. Default: both.
    pub transports: Transports,
    /// Bytes that may be on their way on one uTP connection, each way, at least 64 KiB. Default 4
    /// MiB: 13 MiB/s with a round trip of 300 ms.
    pub utp_window: usize,
    /// Bytes that all uTP connections together keep of what came behind a gap or was not read, at
    /// least [`utp_window`](Self::utp_window). Each may keep 16 KiB in any case, and one packet
    /// more, so that what it misses is never refused. Default 32 MiB.
    pub utp_memory: usize,
    /// Bytes read from one connection at once, at least 16 KiB. The scratch that they are read into
    /// has this size, or 64 KiB if that is more: datagrams may come so many at once. Default 256
    /// KiB.
    pub read_len: usize,
    /// Reads of one socket in a row before the others get their turn. Default 4.
    pub reads_a_turn: usize,
}

impl Default for NetworkConf {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            bind_addrs: Vec::new(),
            bind_interface: None,
            client: "-CT0200-".into(),
            limits: Limits::default(),
            transports: Transports::default(),
            utp_window: 4 << 20,
            utp_memory: 32 << 20,
            read_len: 256 * 1024,
            reads_a_turn: 4,
        }
    }
}

impl NetworkConf {
    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(
            self.client.len() <= 20 && self.client.bytes().all(|b| b.is_ascii_graphic()),
            "network.client",
            format_args!("{:?}", self.client),
            "at most 20 printable ASCII characters",
        )?;
        check(self.utp_window >= 1 << 16, "network.utp_window", self.utp_window, "65536 or more")?;
        check(
            self.utp_memory >= self.utp_window,
            "network.utp_memory",
            self.utp_memory,
            "network.utp_window or more",
        )?;
        check(self.read_len >= BLOCK, "network.read_len", self.read_len, "at least 16384")?;
        at_least_one(self.reads_a_turn, "network.reads_a_turn")
    }
}
