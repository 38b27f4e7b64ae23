//! What the user can tell the engine. The reactor lends it and the handle ships closures to it, so
//! every verb lives here once.

use std::{net::SocketAddr, ops::Deref};

use crate::{
    alert::{Alert, TorrentStats},
    base::{
        arena::Key,
        bitfield::Bitfield,
        ids::{InfoHash, PeerId, TorrentId, Version},
        ports::ListenPorts,
    },
    conf::{CryptoMethod, SeedChoking},
    engine::{Engine, NoSuchTorrent},
    proto::metadata::MetadataStatus,
    torrent::{
        Torrent,
        candidates::{PeerSource, Source},
        disconnect::Disconnect,
        lifecycle::End,
        peer_session::PeerBeforeContent,
    },
};

/// How one peer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Where it is.
    pub addr: SocketAddr,
    /// Whether it dialled us.
    pub incoming: bool,
    /// Whether it is connected by uTP (BEP 29), not by TCP.
    pub utp: bool,
    /// Whether the connection is about the v2 hash of the torrent (BEP 52).
    pub v2: bool,
    /// What it calls itself on the wire.
    pub id: PeerId,
    /// The program it says it is (BEP 10).
    pub client: Option<String>,
    /// How its connection is encrypted, if it began encrypted (MSE).
    pub encryption: Option<CryptoMethod>,
    /// What it does about the metainfo, as long as that is not known.
    pub metadata: Option<MetadataStatus>,
    /// Pieces it has.
    pub have: u32,
    /// We want something it has.
    pub interested: bool,
    /// It lets us ask.
    pub unchoked: bool,
    /// It wants something we have.
    pub peer_interested: bool,
    /// We let it ask.
    pub peer_unchoked: bool,
    /// It wants no data: it has everything, or says so (BEP 21).
    pub upload_only: bool,
    /// We let it ask to see what it gives, not for what it gave (BEP 3, optimistic unchoking).
    pub optimistic: bool,
    /// It does not deliver what we ask for.
    pub snubbed: bool,
    /// Blocks on order.
    pub pipeline: usize,
    /// Bytes of blocks received.
    pub downloaded: u64,
    /// Bytes of blocks sent.
    pub uploaded: u64,
    /// Bytes per second of blocks arriving, over the last ten seconds.
    pub download_rate: u64,
    /// Bytes per second sent to it, over some 20 s.
    pub upload_rate: u64,
}

/// What a user may do with an engine: every verb, and by [`Deref`] every getter of [`Engine`].
///
/// [`EngineHandle::call`](crate::EngineHandle::call) lends it to a closure,
/// [`Reactor::verbs`](crate::Reactor::verbs) and [`Engine::verbs`] to their owner. The methods of a
/// driver (`handle_*`, `poll_*`) take the engine mutably and cannot be reached through it, so that
/// no closure takes an effect or an alert that the driver must carry out or hand on.
///
/// ```compile_fail
/// # let (engine, _alerts) = cratetorrent::spawn(cratetorrent::Conf::default()).unwrap();
/// engine.call(|engine| engine.poll_effect().is_some());
/// ```
#[derive(Debug)]
pub struct Verbs<'a> {
    pub(super) engine: &'a mut Engine,
}

/// The getters.
impl Deref for Verbs<'_> {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        self.engine
    }
}

/// How a peer stands before there is content.
fn early_stats(early: &PeerBeforeContent, metadata: Option<MetadataStatus>) -> PeerStats {
    PeerStats {
        addr: early.who().addr,
        incoming: early.who().incoming,
        utp: early.terms().utp,
        v2: early.terms().version == Version::V2,
        id: early.terms().peer_id,
        client: None,
        encryption: early.terms().encryption,
        metadata,
        have: 0,
        interested: false,
        unchoked: !early.is_peer_choking(),
        peer_interested: early.is_peer_interested(),
        peer_unchoked: false,
        upload_only: false,
        optimistic: false,
        snubbed: false,
        pipeline: 0,
        downloaded: 0,
        uploaded: 0,
        download_rate: 0,
        upload_rate: 0,
    }
}

impl Verbs<'_> {
    /// Lets a torrent's peers go, saves its state, closes its files and forgets it, in the
    /// session's folder too. Its data stays. [`Alert::Removed`] tells when that is done.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn remove(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.close(End::Remove, cx))?;
        self.engine.close_connections_of(id.0, "the torrent is removed");
        Ok(())
    }

    /// Lets a torrent's peers go and saves its state. Pieces in progress stay in memory.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn pause(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, Torrent::pause)?;
        self.engine.close_connections_of(id.0, "the torrent is paused");
        Ok(())
    }

    /// Ends a pause; a torrent whose disk failed tries again at once. One that the queue looks
    /// after runs when it is its turn.
    ///
    /// What a torrent was paused for ([`Alert::StopReached`]) no longer stops it: what it has
    /// reached of its [`StopAt`](crate::StopAt) is lifted, and [`stop_at`](Engine::stop_at)
    /// tells what is left.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn resume(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, Torrent::resume)
    }

    /// Hashes everything that is there, whatever was known of it. A torrent whose [data is
    /// gone](Alert::DataGone) goes on with what there is, be it nothing: then it is downloaded
    /// again. What a magnet link names is hashed as soon as its metainfo is known.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn recheck(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, Torrent::recheck)
    }

    /// Downloads a torrent again whose [data is gone](Alert::DataGone), to where it was. Nothing
    /// happens to one whose data is there.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn download_anew(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, Torrent::download_anew)
    }

    /// Fetches pieces in order, or rarest first.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_sequential(&mut self, id: TorrentId, sequential: bool) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.set_sequential(sequential, cx))
    }

    /// Super-seeds as long as the torrent has everything (BEP 16), or ceases to: peers that come
    /// are shown nothing but one piece at a time, and the next when another peer was seen with
    /// it, so that little more than one copy of the data is sent before there are other seeds.
    /// It is for the first seed of a torrent; with others about it only slows peers down. Those who
    /// are connected when it begins go on seeing everything, and see everything when it ends.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_super_seeding(&mut self, id: TorrentId, on: bool) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.set_super_seeding(on, cx))
    }

    /// Suggests a piece to the connected peers that are interested and lack it (BEP 6), whatever
    /// [`UploadConf::suggest`](crate::conf::UploadConf::suggest) says: each is told once, and of
    /// eight pieces at most that it has not fetched. Nothing happens if the torrent does not
    /// have it.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn suggest_piece(&mut self, id: TorrentId, piece: u32) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| {
            if let Ok(piece) = torrent.geometry().piece(piece) {
                torrent.suggest(piece, cx);
            }
        })
    }

    /// How many peers a torrent serves at a time: `None` as many as seem right, `Some(0)` none. At
    /// once, but a peer that was let in less than
    /// [`UploadConf::choke_interval`](crate::conf::UploadConf::choke_interval) ago is the last to
    /// go.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_upload_slots(
        &mut self,
        id: TorrentId,
        slots: Option<usize>,
    ) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.set_upload_slots(slots, cx))
    }

    /// Which peers a torrent serves when it has everything and more want it than there are slots.
    /// From the next round on.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_seed_choking(
        &mut self,
        id: TorrentId,
        policy: SeedChoking,
    ) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.set_seed_choking(policy, cx))
    }

    /// Tells a torrent of a peer. Nothing happens if it is known, banned, or one too many.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn add_peer(&mut self, id: TorrentId, addr: SocketAddr) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| {
            torrent.add_candidate(addr, Source::User, cx);
        })
    }

    /// Tells a torrent of a peer that was found in another way than by the user: each way has its
    /// part of what there is room for, and a private torrent takes peers only from the user and
    /// from trackers (BEP 27).
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn add_peer_from(
        &mut self,
        id: TorrentId,
        addr: SocketAddr,
        source: PeerSource,
    ) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| {
            torrent.add_candidate(addr, source.into(), cx);
        })
    }

    /// Puts a mark into the line of alerts: [`Alert::Marked`] with this number comes behind
    /// everything that is told by now and before all that is told later. What the engine says
    /// when asked is ahead of the alerts that wait; a program that goes by both can so tell when
    /// the alerts have caught up.
    ///
    /// ```
    /// use cratetorrent::{Alert, Conf};
    ///
    /// let (engine, alerts) = cratetorrent::spawn(Conf::default())?;
    /// let torrents = engine.call(|engine| {
    ///     engine.mark(7);
    ///     engine.torrents().len()
    /// })?;
    /// // Whatever made it `torrents` has been told when the mark comes.
    /// assert!(alerts.into_iter().any(|alert| matches!(alert, Alert::Marked { mark: 7 })));
    /// # assert_eq!(torrents, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mark(&mut self, mark: u64) {
        self.engine.cx.alerts.push(Alert::Marked { mark });
    }

    /// Ends everything in good order: connections are closed, trackers told (for
    /// [`TrackerConf::stopped_timeout`](crate::conf::TrackerConf::stopped_timeout) at most), states
    /// saved, files closed. [`is_drained`](Engine::is_drained) tells when that is done; until
    /// then the driver goes on as ever. Called again it does nothing.
    pub fn shutdown(&mut self) {
        if self.engine.shutdown.begin() {
            return;
        }
        self.engine.record_for_the_last_time();
        // Torrents first: then their peers are let go one by one without the others being asked for
        // what those leave.
        for key in self.engine.torrents.keys() {
            if let Some(torrent) = self.engine.torrents.get_mut(key) {
                torrent.close(End::Shutdown, &mut self.engine.cx);
            }
            self.engine.settle(key);
        }
        for key in self.engine.connections.keys() {
            self.engine.close(key, Disconnect::stopped("the engine is shutting down"));
        }
        self.engine.shut_down_calls();
        self.engine.shut_down_mapping();
    }
}

impl Engine {
    /// Tells the engine which port it can be reached on over IPv4 and IPv6, for peers and trackers
    /// to know.
    pub fn set_listen_port(&mut self, port: Option<u16>) {
        let port = port.filter(|_| self.cx.conf.listens());
        self.cx.leases.set_ports(ListenPorts::both(port));
        self.refresh_interfaces();
        self.note_ports();
    }

    /// Tells the engine where it listens: peers and trackers of each family (BEP 7, BEP 10 `p`)
    /// hear of that family's first port.
    pub fn set_listen_addrs(&mut self, addrs: impl IntoIterator<Item = SocketAddr>) {
        let addrs = addrs.into_iter().filter(|_| self.cx.conf.listens());
        self.cx.leases.set_ports(ListenPorts::of_listeners(addrs));
        self.refresh_interfaces();
        self.note_ports();
    }

    /// The torrents, in no order that means anything.
    pub fn torrents(&self) -> Vec<TorrentId> {
        self.torrents.iter().map(|(key, _)| TorrentId(key)).collect()
    }

    /// The torrent with this info-hash, of version 1 or (cut to 20 bytes) of version 2.
    pub fn find(&self, info_hash: InfoHash) -> Option<TorrentId> {
        self.by_hash.named(info_hash).map(TorrentId)
    }

    /// How a torrent stands, if there is one.
    pub fn stats(&self, id: TorrentId) -> Option<TorrentStats> {
        let mut stats = self.torrents.get(id.0)?.stats(self.cx.now);
        self.complete(id, &mut stats);
        Some(stats)
    }

    /// What a torrent does not know of how it stands: its place among others, and the proxy.
    pub(super) fn complete(&self, id: TorrentId, stats: &mut TorrentStats) {
        stats.queue_position = self.queue.position(id.0);
        stats.no_peers.iter_mut().for_each(|no_peers| self.ways.proxy.explain(no_peers));
    }

    /// The verified pieces of a torrent. Of one that sleeps ([`restore`](Self::restore)), those
    /// that its saved state tells of.
    pub fn have(&self, id: TorrentId) -> Option<&Bitfield> {
        self.torrents.get(id.0).map(Torrent::have)
    }

    /// How a torrent's connected peers stand.
    pub fn peers(&self, id: TorrentId) -> Vec<PeerStats> {
        let Some(torrent) = self.torrents.get(id.0) else { return Vec::new() };
        let peer = |s: &crate::torrent::peer_session::PeerSession| PeerStats {
            addr: s.who().addr,
            incoming: s.who().incoming,
            utp: s.is_utp(),
            v2: s.speaks_of_trees(),
            id: s.peer_id(),
            client: s.client().map(str::to_owned),
            encryption: s.encryption(),
            metadata: None,
            have: s.has().count(),
            interested: s.is_interested(),
            unchoked: !s.is_peer_choking(),
            peer_interested: s.is_peer_interested(),
            peer_unchoked: !s.is_choking(),
            upload_only: s.is_upload_only(),
            optimistic: s.standing().is_optimistic(),
            snubbed: s.is_snubbed(),
            pipeline: s.pipeline().len(),
            downloaded: s.pipeline().total(),
            uploaded: s.bytes_sent(),
            download_rate: s.pipeline().shown_rate(self.cx.now),
            upload_rate: s.sent_rate(self.cx.now),
        };
        let early = torrent.peers().all_early().map(|(key, early)| {
            early_stats(early, torrent.metadata_of(key, early.who(), self.cx.now))
        });
        torrent.peers().iter().map(|(_, s)| peer(s)).chain(early).collect()
    }

    /// Connections in all, handshaking ones included.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Whether [`shutdown`](Verbs::shutdown) was called and is over.
    pub fn is_drained(&self) -> bool {
        let told =
            self.calls.is_idle() && !self.cx.told.has_farewells() && self.cx.recorder.is_idle();
        let rest = told && self.discovery.mapping.is_over();
        self.shutdown.has_begun() && self.torrents.len() == 0 && self.connections.len() == 0 && rest
    }

    /// Ends what a torrent's own partings do not reach: connections that have not become sessions.
    pub(super) fn close_connections_of(&mut self, torrent: Key, reason: &str) {
        for key in self.connections.keys() {
            if self.connections.get(key).is_some_and(|l| l.torrent() == Some(torrent)) {
                self.close(key, Disconnect::stopped(reason));
            }
        }
    }

    pub(super) fn with(
        &mut self,
        id: TorrentId,
        act: impl FnOnce(&mut Torrent, &mut crate::torrent::cx::Cx),
    ) -> Result<(), NoSuchTorrent> {
        let key: Key = id.0;
        let torrent = self.torrents.get_mut(key).ok_or(NoSuchTorrent(id))?;
        act(torrent, &mut self.cx);
        self.settle(key);
        Ok(())
    }
}
