//! Encrypted handshakes (MSE) as far as they are the engine's: which connections begin with one,
//! the key exchanges that workers compute for them, and the second dial to a peer that did not
//! answer the first.
//!
//! Each exchange costs a worker a tenth of a millisecond or two, and any host may ask for one by
//! connecting. So there are some at a time, fewer of one host, and the others wait their turn,
//! which are no more than the connections that have not greeted.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
};

use super::{
    crypto::{Crypto, UNFIT},
    hash_index::HashIndex,
};
use crate::{
    base::{
        arena::{Arena, Key},
        ids::{InfoHash, TorrentId},
        ip_filter::host_of,
        job::{Job, key_exchange::KeyExchange},
        rng::Rng,
    },
    conf::{Conf, CryptoMethods, Encryption, EncryptionConf},
    engine::{Engine, NoSuchTorrent, Verbs},
    proto::{
        handshake,
        mse::{Draw, Initiator, Responder},
        preamble::{Preamble, PreambleCx, TorrentMarks},
        preambles::Preambles,
    },
    torrent::{Torrent, candidates::Opening, disconnect::Disconnect},
    wire::handshake::Handshake,
};

/// See the module.
#[derive(Debug)]
pub(super) struct KeyExchanges {
    /// For secrets: nothing that it gives is ever sent.
    rng: Rng,
    /// Those that wait, with the host that they are for.
    waiting: VecDeque<(Key, IpAddr, Box<KeyExchange>)>,
    /// Those that workers have.
    running: BTreeMap<Key, IpAddr>,
}

impl KeyExchanges {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, waiting: VecDeque::new(), running: BTreeMap::new() }
    }

    /// The next one that a worker may have.
    fn poll(&mut self, conf: &EncryptionConf) -> Option<(Key, Box<KeyExchange>)> {
        if self.running.len() >= conf.max_exchanges {
            return None;
        }
        let running = |host: &IpAddr| self.running.values().filter(|other| *other == host).count();
        let may_run = |(_, host, _): &(Key, IpAddr, _)| running(host) < conf.max_exchanges_per_host;
        let at = self.waiting.iter().position(may_run)?;
        let (link, host, exchange) = self.waiting.remove(at)?;
        self.running.insert(link, host);
        Some((link, exchange))
    }

    /// A connection is over. What a worker has of it still counts.
    pub(super) fn forget(&mut self, link: Key) {
        self.waiting.retain(|(waiting, ..)| *waiting != link);
    }
}

impl Engine {
    /// What comes before the handshake on a connection that has come.
    pub(super) fn incoming_preambles(&mut self) -> Preambles {
        let conf = &self.cx.conf.encryption;
        let mut before: Vec<Box<dyn Preamble>> = Vec::new();
        if conf.policy.may_encrypt() {
            let draw = Draw::new(&mut self.exchanges.rng);
            let takes_plain = conf.policy.may_be_plain();
            before.push(Box::new(Responder::begin(conf.methods(), takes_plain, draw)));
        }
        Preambles::incoming(before)
    }

    /// A connection that we dialled for `info_hash` is made: it begins. The peer may answer with
    /// the hash `upgrade` instead.
    pub(super) fn begin_preambles(
        &mut self,
        key: Key,
        info_hash: InfoHash,
        upgrade: Option<InfoHash>,
    ) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (id, dht) = (self.cx.peer_id, self.cx.conf.dht.enabled);
        let ours = handshake::ours(info_hash, id, dht, upgrade.is_some());
        match connection.opening() {
            Opening::Plain => {
                let preambles = Preambles::outgoing(info_hash, upgrade, Vec::new());
                connection.begin_preambles(preambles);
                connection.hello().push_bytes(&ours);
                self.cx.outbox.flush(key);
            }
            Opening::Encrypted => {
                let draw = Draw::new(&mut self.exchanges.rng);
                let torrent = connection.torrent().and_then(|torrent| self.torrents.get(torrent));
                let methods = torrent.map(|torrent| torrent.crypto_methods(&self.cx.conf));
                let methods = methods.unwrap_or(self.cx.conf.encryption.methods());
                let first = Box::new(Initiator::begin(info_hash, methods, ours.to_vec(), draw));
                let preambles = Preambles::outgoing(info_hash, upgrade, vec![first]);
                connection.begin_preambles(preambles);
                self.feed_preambles(key, &mut []);
            }
        }
    }

    /// Bytes came before the handshake is over, or with it. Returns the handshake if it is whole,
    /// and how many of `data` came no later than it.
    pub(super) fn feed_preambles(
        &mut self,
        key: Key,
        data: &mut [u8],
    ) -> Option<(Handshake, usize)> {
        let connection = self.connections.get_mut(key)?;
        let host = host_of(connection.who().addr.ip());
        let (preambles, hello, crypto) = connection.preambles()?;
        let said = hello.len();
        let torrents =
            Encrypting { by_hash: &self.by_hash, torrents: &self.torrents, conf: &self.cx.conf };
        let mut cx = PreambleCx { tx: hello, torrents: &torrents };
        let result = preambles.handle_data(data, &mut cx);
        if hello.len() > said {
            self.cx.outbox.flush(key);
        }
        if let Ok(Some(_)) = result {
            (crypto.method, crypto.incoming) = (preambles.method(), preambles.take_cipher());
        }
        let exchange = preambles.poll_exchange();
        if let Some(exchange) = exchange {
            self.exchanges.waiting.push_back((key, host, exchange));
            self.pump_exchanges();
        }
        result.unwrap_or_else(|error| {
            self.fail_preambles(key, error);
            None
        })
    }

    /// A worker has computed what a handshake needs.
    pub(super) fn handle_exchange(&mut self, key: Key, exchange: &KeyExchange) {
        self.exchanges.running.remove(&key);
        self.pump_exchanges();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some((preambles, hello, _)) = connection.preambles() else { return };
        let said = hello.len();
        let torrents =
            Encrypting { by_hash: &self.by_hash, torrents: &self.torrents, conf: &self.cx.conf };
        let mut cx = PreambleCx { tx: hello, torrents: &torrents };
        let result = preambles.handle_exchange(exchange, &mut cx);
        if hello.len() > said {
            self.cx.outbox.flush(key);
        }
        if let Err(error) = result {
            self.fail_preambles(key, error);
        }
    }

    fn pump_exchanges(&mut self) {
        while let Some((link, exchange)) = self.exchanges.poll(&self.cx.conf.encryption) {
            self.cx.job(Job::KeyExchange { link, exchange });
        }
    }

    /// A connection was not greeted, and it may be that the peer does not speak as we did: it is
    /// dialled the other way, at once, and no further. False if that is not to be; then nothing has
    /// changed.
    pub(super) fn dial_other_way(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get(key) else { return false };
        let (who, opening) = (connection.who(), connection.opening());
        let Some(torrent) = connection.torrent().filter(|_| !who.incoming) else { return false };
        if connection.is_second_dial() || self.shutdown.has_begun() {
            return false;
        }
        let has_room = self.has_room_to_dial();
        let Some(t) = self.torrents.get_mut(torrent) else { return false };
        let policy = t.encryption(&self.cx.conf);
        // One that is connected the other way round has no use for a second connection.
        let has_come = t.peers().may_have_come(who.addr);
        if !t.is_active() || has_come || !t.peers().candidates().has_other_opening(who.addr, policy)
        {
            return false;
        }
        if !has_room {
            t.put_off_opening(who.addr, opening.other());
            return false;
        }
        log::debug!("{} was not greeted, and is dialled the other way", who.addr);
        t.end_dial();
        self.forget_connection(key);
        self.dial_as(torrent, who.addr, Crypto::new(opening.other(), true));
        true
    }
}

/// The torrents that peers may speak of encrypted. Of the others they hear no more than of one that
/// is not there: a peer that was answered first would not try in plain.
struct Encrypting<'a> {
    by_hash: &'a HashIndex,
    torrents: &'a Arena<Torrent>,
    conf: &'a Conf,
}

impl TorrentMarks for Encrypting<'_> {
    fn by_mark(&self, mark: &[u8; 20]) -> Option<InfoHash> {
        let hash = self.by_hash.by_mark(mark)?;
        let torrent = self.torrents.get(self.by_hash.named(hash)?)?;
        torrent.encryption(self.conf).may_encrypt().then_some(hash)
    }

    fn methods(&self, hash: InfoHash) -> Option<CryptoMethods> {
        let torrent = self.torrents.get(self.by_hash.named(hash)?)?;
        Some(torrent.crypto_methods(self.conf))
    }
}

impl Verbs<'_> {
    /// Which connections with a torrent's peers are encrypted; `None`: as
    /// [`EncryptionConf::policy`](crate::conf::EncryptionConf::policy) has it. Where that is
    /// [`Off`](Encryption::Off) or [`Required`](Encryption::Required) it holds for every torrent,
    /// whatever is said here ([`Encryption::of_part`]). Connections that do not fit end at once. It
    /// is kept in the session's folder.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_encryption(
        &mut self,
        id: TorrentId,
        own: Option<Encryption>,
    ) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.set_encryption(own, cx))?;
        self.engine.close_unfit(id.0);
        Ok(())
    }

    /// Which methods the encrypted connections with a torrent's peers may have; `None`: as
    /// [`EncryptionConf::methods`](crate::conf::EncryptionConf::methods) has it. Where that is one
    /// method only it holds for every torrent ([`CryptoMethods::of_part`]). Encrypted connections
    /// that do not fit end at once, and a peer that offers only what does not is turned down. It is
    /// kept in the session's folder.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_crypto_methods(
        &mut self,
        id: TorrentId,
        own: Option<CryptoMethods>,
    ) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.set_crypto_methods(own, cx))?;
        self.engine.close_unfit(id.0);
        Ok(())
    }

    /// Which connections are encrypted that we make with one peer of a torrent; `None`: as the
    /// torrent has it. Where that is [`Off`](Encryption::Off) or [`Required`](Encryption::Required)
    /// it holds for every peer. From the next dial on; a peer that dials us comes from another
    /// port, and is treated as any other. It is forgotten with the peer. False if the torrent does
    /// not know the peer ([`add_peer`](Self::add_peer)).
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_peer_encryption(
        &mut self,
        id: TorrentId,
        addr: SocketAddr,
        own: Option<Encryption>,
    ) -> Result<bool, NoSuchTorrent> {
        let torrent = self.engine.torrents.get_mut(id.0).ok_or(NoSuchTorrent(id))?;
        Ok(torrent.set_peer_policy(addr, own))
    }
}

impl Engine {
    /// Which connections with a torrent's peers are encrypted: its own policy as far as
    /// [`EncryptionConf::policy`](crate::conf::EncryptionConf::policy) lets it have one, and else
    /// that.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn encryption(&self, id: TorrentId) -> Result<Encryption, NoSuchTorrent> {
        self.torrents.get(id.0).map(|t| t.encryption(&self.cx.conf)).ok_or(NoSuchTorrent(id))
    }

    /// Which methods the encrypted connections with a torrent's peers may have: its own as far as
    /// [`EncryptionConf::methods`](crate::conf::EncryptionConf::methods) lets it have some, and
    /// else those.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn crypto_methods(&self, id: TorrentId) -> Result<CryptoMethods, NoSuchTorrent> {
        self.torrents.get(id.0).map(|t| t.crypto_methods(&self.cx.conf)).ok_or(NoSuchTorrent(id))
    }

    /// Ends the connections of a torrent that its policy or its methods exclude.
    fn close_unfit(&mut self, torrent: Key) {
        for key in self.connections.keys() {
            let Some(t) = self.torrents.get(torrent) else { return };
            let is_unfit = self.connections.get(key).is_some_and(|connection| {
                let is_greeted = connection.session().is_some() || connection.is_waiting();
                let fits = connection.fits(t, &self.cx.conf);
                connection.torrent() == Some(torrent) && is_greeted && !fits
            });
            if is_unfit {
                self.close(key, Disconnect::stopped(UNFIT));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::arena::Arena;

    #[test]
    fn exchanges_are_bounded_in_all_and_for_each_host() {
        let mut links = Arena::new();
        let mut exchanges = KeyExchanges::new(Rng::new(1));
        let exchange = KeyExchange { secret: [0; 20], ours: None, theirs: None, shared: None };
        // Host 1 floods before the others come.
        let hosts = [1, 1, 1, 1, 2, 3, 4, 5].map(|n| IpAddr::from([10, 0, 0, n]));
        let links = hosts.map(|host| {
            let link = links.insert(());
            exchanges.waiting.push_back((link, host, Box::new(exchange.clone())));
            link
        });
        let mut conf = EncryptionConf::default();
        (conf.max_exchanges, conf.max_exchanges_per_host) = (4, 2);
        let take = |exchanges: &mut KeyExchanges| -> Vec<Key> {
            std::iter::from_fn(|| exchanges.poll(&conf).map(|(link, _)| link)).collect()
        };
        assert_eq!(take(&mut exchanges), [links[0], links[1], links[4], links[5]]);
        // One that ends while it waits is not computed; one that a worker has counts on.
        exchanges.forget(links[2]);
        exchanges.forget(links[0]);
        assert_eq!(take(&mut exchanges), []);
        exchanges.running.remove(&links[1]);
        assert_eq!(take(&mut exchanges), [links[3]]);
        exchanges.running.remove(&links[4]);
        assert_eq!(take(&mut exchanges), [links[6]]);
    }
}
