//! The extension protocol (BEP 10) with one peer: a table of the extensions that we know, and under
//! which ids the peer wants to hear them.
//!
//! A new extension is a file below this folder with an [`Extension`] in it, a line in [`TABLE`],
//! and a test. What an extension remembers of a peer is a field of [`Extensions`], with a type of
//! its own where it is more than a number.

mod donthave;
mod holepunch;
mod metadata;
mod peer_exchange;
mod upload_only;

use std::net::IpAddr;

use self::{holepunch::Holepunch, metadata::MetadataGiven, peer_exchange::PeerExchange};
use super::{Fault, PeerSession};
use crate::{
    torrent::{cx::Cx, progress::Contributor, swarm::Swarm},
    wire::extension::ExtensionHandshake,
};

/// One extension of BEP 10.
pub(super) struct Extension {
    /// Its name in the handshake's `m`.
    name: &'static [u8],
    /// The id under which we want its messages, unique in the table and not 0.
    id: u8,
    /// What a message of it does: the payload without the id, as it came.
    handle: fn(&mut PeerSession, &[u8], &mut Swarm, &mut Cx) -> Result<(), Fault>,
}

/// All extensions that we know.
const TABLE: [Extension; 5] = [
    upload_only::EXTENSION,
    donthave::EXTENSION,
    metadata::EXTENSION,
    peer_exchange::EXTENSION,
    holepunch::EXTENSION,
];

/// What our handshakes with one peer offer beyond what each torrent's do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offered {
    /// Requests for metadata are answered, or we have some ourselves (BEP 9).
    pub(super) metadata: bool,
    /// The bytes of the info dictionary that we give.
    pub(super) metadata_size: Option<u64>,
    /// Peers are told of each other (BEP 11).
    pub(super) peers: bool,
    /// They are helped to connect (BEP 55).
    pub(super) punches: bool,
}

impl Offered {
    /// What a torrent with content offers.
    fn of(swarm: &Swarm) -> Self {
        let size = swarm.info().and_then(|info| u64::try_from(info.len()).ok());
        let peers = swarm.exchanges_peers();
        Self { metadata: size.is_some(), metadata_size: size, peers, punches: peers }
    }

    /// Whether the handshake names this extension.
    fn names(self, extension: &Extension) -> bool {
        (self.metadata || extension.id != metadata::EXTENSION.id)
            && (self.peers || extension.id != peer_exchange::EXTENSION.id)
            && (self.punches || extension.id != holepunch::EXTENSION.id)
    }
}

/// What one peer told in its extension handshakes.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    /// Under which id the peer wants messages of each extension of the table; 0: it wants none.
    remote: [u8; TABLE.len()],
    /// The peer says that it wants no data (BEP 21).
    upload_only: bool,
    /// The peer's program and version, as it calls them.
    client: Option<String>,
    /// The peer has said what our address is.
    told_our_address: bool,
    offered: Offered,
    metadata: MetadataGiven,
    peer_exchange: PeerExchange,
    holepunch: Holepunch,
}

impl Extensions {
    /// For a peer of a torrent with content.
    pub(super) fn new(swarm: &Swarm) -> Self {
        Self { offered: Offered::of(swarm), ..Self::default() }
    }

    /// What our handshakes offer to the peer.
    pub(super) fn offered(&self) -> Offered {
        self.offered
    }

    /// The id under which the peer wants messages of `extension`.
    fn remote(&self, extension: &Extension) -> Option<u8> {
        let at = TABLE.iter().position(|known| known.id == extension.id)?;
        self.remote.get(at).copied().filter(|&id| id != 0)
    }

    /// The peer's program and version, as it calls them.
    pub(super) fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// A handshake, the first or a later one: what it does not mention has not changed. Id 0 takes
    /// an extension back.
    pub(super) fn handle_handshake(&mut self, hello: &ExtensionHandshake) {
        for (name, id) in hello.extensions() {
            let known = TABLE.iter().zip(&mut self.remote).find(|(known, _)| known.name == name);
            if let Some((_, remote)) = known {
                *remote = id;
            }
        }
        if let Some(version) = &hello.version {
            self.client = Some(version.clone());
        }
    }

    /// A handshake that would say what the peer has said in all of its, as far as it still counts
    /// and is kept here.
    pub(super) fn as_told(&self) -> ExtensionHandshake {
        let mut hello = ExtensionHandshake::default();
        for (known, &id) in TABLE.iter().zip(&self.remote).filter(|&(_, &id)| id != 0) {
            // There is room for more names than the table has.
            let _ = hello.set(known.name, id);
        }
        hello.version.clone_from(&self.client);
        hello.upload_only = Some(self.upload_only);
        hello
    }

    /// What the peer says our address is, if it says so for the first time. As long as the
    /// connection lasts the address is the same, so a peer that says another lies.
    pub(super) fn our_address(&mut self, hello: &ExtensionHandshake) -> Option<IpAddr> {
        hello.your_ip.filter(|_| !std::mem::replace(&mut self.told_our_address, true))
    }
}

/// Our own extension handshake, for a peer at `who`.
pub(super) fn our_handshake(
    who: &Contributor,
    upload_only: Option<bool>,
    offered: Offered,
    cx: &Cx,
) -> ExtensionHandshake {
    let ip = who.addr.ip();
    let mut hello = ExtensionHandshake::default();
    hello.version = Some(concat!("cratetorrent ", env!("CARGO_PKG_VERSION")).to_owned());
    hello.port = cx.leases.ports().towards(ip);
    hello.your_ip = Some(ip.to_canonical());
    hello.reqq = u32::try_from(cx.conf.uploads.max_requests).ok();
    hello.upload_only = upload_only;
    hello.metadata_size = offered.metadata_size;
    for extension in TABLE.iter().filter(|extension| offered.names(extension)) {
        // There is room for more names than the table has.
        let _ = hello.set(extension.name, extension.id);
    }
    hello
}

impl PeerSession {
    /// An extended message that is no handshake. One that we do not know is ignored.
    pub(super) fn handle_extended(
        &mut self,
        id: u8,
        payload: &[u8],
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        match TABLE.iter().find(|extension| extension.id == id) {
            Some(extension) => (extension.handle)(self, payload, swarm, cx),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(names: &[(&[u8], u8)]) -> ExtensionHandshake {
        let mut hello = ExtensionHandshake::default();
        names.iter().for_each(|&(name, id)| hello.set(name, id).unwrap());
        hello
    }

    #[test]
    fn table_has_unique_names_and_ids_and_no_id_zero() {
        for (nth, one) in TABLE.iter().enumerate() {
            assert!(one.id != 0 && !one.name.is_empty());
            for other in TABLE.iter().skip(nth + 1) {
                assert!(one.id != other.id && one.name != other.name);
            }
        }
    }

    #[test]
    fn remote_ids_are_the_peers_and_change_with_its_handshakes() {
        let mut extensions = Extensions::default();
        let id = |e: &Extensions| e.remote(&upload_only::EXTENSION);
        assert_eq!(id(&extensions), None);
        extensions.handle_handshake(&hello(&[(b"upload_only", 9), (b"unknown", 3)]));
        assert_eq!(id(&extensions), Some(9));
        extensions.handle_handshake(&hello(&[(b"unknown", 4)]));
        assert_eq!(id(&extensions), Some(9), "what is not mentioned has not changed");
        extensions.handle_handshake(&hello(&[(b"upload_only", 0)]));
        assert_eq!(id(&extensions), None);
    }

    #[test]
    fn peer_tells_our_address_once_and_its_version_at_any_time() {
        let mut extensions = Extensions::default();
        let mut first = hello(&[]);
        first.your_ip = Some([10, 0, 0, 1].into());
        first.version = Some("one".into());
        assert_eq!(extensions.our_address(&first), first.your_ip);
        extensions.handle_handshake(&first);
        let mut second = hello(&[]);
        second.your_ip = Some([10, 0, 0, 2].into());
        assert_eq!(extensions.our_address(&second), None);
        extensions.handle_handshake(&second);
        assert_eq!(extensions.client(), Some("one"));
    }
}
