//! What can be seen of a world and its nodes.

use super::*;

impl World {
    /// The time in this world, from zero.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A digest of every event so far with its time and its bytes, and of every alert.
    pub fn transcript(&self) -> u64 {
        self.transcript.0
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// A node's engine.
    pub fn engine(&self, node: NodeId) -> &Engine {
        &self.host(node.0).engine
    }

    /// A node's disk, which outlives its engine.
    pub fn disk(&self, node: NodeId) -> Arc<MemDisk> {
        match &self.nodes[node.0].body {
            Body::Engine(host) => host.disk.clone(),
            Body::Script(_) => panic!("{node:?} is scripted and has no disk"),
        }
    }

    /// How a node's torrents stand, first one first.
    pub fn stats_of(&self, node: NodeId) -> Vec<TorrentStats> {
        let host = self.host(node.0);
        host.held.iter().filter_map(|held| host.engine.stats(held.id)).collect()
    }

    /// How a node's first torrent stands.
    pub fn stats(&self, node: NodeId) -> TorrentStats {
        self.stats_of(node).into_iter().next().unwrap_or_default()
    }

    /// Whether a node runs: it was not killed, or was started again.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes[node.0].up
    }

    /// Whether a node has all of its torrents.
    pub fn is_complete(&self, node: NodeId) -> bool {
        self.has_all_of(node, |_| true)
    }

    /// Whether a node has all of those of its torrents that count.
    pub(in crate::sim) fn has_all_of(
        &self,
        node: NodeId,
        counts: impl Fn(InfoHash) -> bool,
    ) -> bool {
        let is_whole = |host: &Host, id| host.engine.have(id).is_some_and(Bitfield::is_full);
        self.is_up(node) && self.all_of(node, counts, is_whole)
    }

    /// Whether a node has the metainfo of those of its torrents that count.
    pub(in crate::sim) fn knows_metainfo(
        &self,
        node: NodeId,
        counts: impl Fn(InfoHash) -> bool,
    ) -> bool {
        let is_known = |host: &Host, id| host.engine.metainfo(id).is_some();
        self.is_up(node) && self.all_of(node, counts, is_known)
    }

    /// Whether a node has all that is wanted of those of its torrents that count.
    pub(in crate::sim) fn is_satisfied(
        &self,
        node: NodeId,
        counts: impl Fn(InfoHash) -> bool,
    ) -> bool {
        let is_open = |phase| matches!(phase, Phase::Seeding | Phase::Paused | Phase::Queued);
        let is_satisfied = |host: &Host, id| {
            let Some(stats) = host.engine.stats(id) else { return true };
            // What is wanted of a magnet link is not known before its metadata.
            let known = stats.pieces > 0;
            is_open(stats.phase) && known && stats.wanted_have_bytes == stats.wanted_bytes
        };
        self.is_up(node) && self.all_of(node, counts, is_satisfied)
    }

    fn all_of(
        &self,
        node: NodeId,
        counts: impl Fn(InfoHash) -> bool,
        is: impl Fn(&Host, TorrentId) -> bool,
    ) -> bool {
        let Node { body: Body::Engine(host), .. } = &self.nodes[node.0] else { return false };
        let held = host.held.iter();
        held.filter(|held| counts(held.sample.metainfo.info_hash())).all(|held| is(host, held.id))
    }

    /// Whether a move, a rename or the like of some torrent's files is asked for and not done.
    pub(in crate::sim) fn is_rearranging(&self, node: NodeId) -> bool {
        let host = self.host(node.0);
        host.held.iter().any(|held| host.engine.is_rearranging(held.id))
    }

    /// Whether a node keeps its session in a folder.
    pub fn keeps_session(&self, node: NodeId) -> bool {
        self.host(node.0).conf.session.dir.is_some()
    }

    /// What a node's user would add a torrent with again: in the folder and with the names that it
    /// had at last, as it had been added else. `None` if it never had that.
    pub fn params_again(&self, node: NodeId, sample: &Sample) -> Option<TorrentParams> {
        let host = self.host(node.0);
        host.held(sample.metainfo.info_hash()).map(|held| held.params_now(&host.engine))
    }

    /// Whether each piece that a node says it has is on its disk now, byte for byte. (Whenever it
    /// says so of one more the world looks at that one; here it looks at all.) What a torrent reads
    /// of another's files does not count as long as that one fetches it anew.
    pub fn is_honest(&self, node: NodeId) -> bool {
        let host = self.host(node.0);
        host.held.iter().all(|held| {
            let (places, have) = (Places::of(&host.engine, held), host.engine.have(held.id));
            let mut pieces = held.sample.geometry().pieces();
            have.is_none_or(|have| {
                pieces.all(|piece| {
                    !have.has(piece)
                        || held.is_true(&host.disk, &places, piece)
                        || host.engine.reads_what_is_written(held.id, piece)
                })
            })
        })
    }

    /// Whether a node's first torrent is in this phase.
    pub fn is_in(&self, node: NodeId, phase: Phase) -> bool {
        self.stats(node).phase == phase
    }

    /// A node's first torrent.
    ///
    /// # Panics
    /// If it has none.
    pub fn torrent(&self, node: NodeId) -> TorrentId {
        match self.host(node.0).held.first() {
            Some(held) => held.id,
            None => panic!("{node:?} has no torrent"),
        }
    }

    /// What a node told its user so far, and when.
    pub fn alerts(&self, node: NodeId) -> &[(Instant, Alert)] {
        match &self.nodes[node.0].body {
            Body::Engine(host) => &host.alerts,
            Body::Script(_) => &[],
        }
    }

    /// When a node first told its user something that `is`.
    pub fn told(&self, node: NodeId, is: impl Fn(&Alert) -> bool) -> Option<Instant> {
        self.alerts(node).iter().find(|(_, alert)| is(alert)).map(|(at, _)| *at)
    }

    /// Bytes, of any kind, that a node's engine has read so far of what `from` sent.
    pub fn bytes_read(&self, node: NodeId, from: NodeId) -> u64 {
        self.read.get(&(node.0, from.0)).copied().unwrap_or_default()
    }

    /// Bytes, of any kind, that a node's engine has sent so far to `to`.
    pub fn bytes_sent(&self, node: NodeId, to: NodeId) -> u64 {
        self.sent.get(&(node.0, to.0)).copied().unwrap_or_default()
    }

    /// The most piece memory that a node ever used, in bytes.
    pub fn peak_memory(&self, node: NodeId) -> usize {
        self.host(node.0).peak_memory
    }

    /// The most memory for blocks on their way out that a node ever used, in bytes.
    pub fn peak_upload_memory(&self, node: NodeId) -> usize {
        self.host(node.0).peak_upload_memory
    }

    /// A node's script, as what it is.
    ///
    /// # Panics
    /// If the node has another one, or none.
    pub fn script<S: Script>(&self, node: NodeId) -> &S {
        let found = match &self.nodes[node.0].body {
            Body::Script(scripted) => (&*scripted.script as &dyn std::any::Any).downcast_ref(),
            _ => None,
        };
        let Some(script) = found else { panic!("{node:?} has no such script") };
        script
    }

    /// The last few hundred things that happened, a line each, in words: what a run that fails
    /// prints.
    pub fn trace(&self) -> String {
        self.book.tell(|node| self.nodes.get(node).map_or("?", |n| n.name.as_str()))
    }

    /// What a node is called in a [`trace`](Self::trace).
    pub fn name(&self, node: NodeId) -> &str {
        &self.nodes[node.0].name
    }
}
