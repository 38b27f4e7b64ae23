//! The metainfo of a torrent that was added by a magnet link, once it is known.

use std::{collections::BTreeSet, sync::Arc};

use thiserror::Error;

use crate::{
    alert::Alert,
    base::{
        arena::Key,
        ids::{Identity, TorrentId},
        job::task::Task,
    },
    engine::{
        AddError, Engine, NoSuchTorrent, Verbs,
        files::{check_renames, refused_renames},
    },
    torrent::{Torrent, computation::Computation},
    wire::metainfo::{Metainfo, MetainfoError},
};

/// Why a torrent does not take a metainfo.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetainfoRefused {
    /// There is no such torrent.
    #[error(transparent)]
    NoSuchTorrent(#[from] NoSuchTorrent),
    /// The torrent has its metainfo already.
    #[error("the torrent {0} has its metainfo already")]
    Known(TorrentId),
    /// The torrent was removed, or the engine is shutting down.
    #[error("the torrent {0} is ending")]
    Ending(TorrentId),
    /// The metainfo is another torrent's.
    #[error("the metainfo has another info-hash than the torrent {0}")]
    OtherTorrent(TorrentId),
    /// The torrent could not have been added with it.
    #[error(transparent)]
    Add(#[from] AddError),
}

impl Engine {
    /// The metainfo of a torrent; `None` if there is no such torrent, or its metainfo is not known
    /// yet. Of a torrent in a session folder it is without its [`raw`](Metainfo::raw) bytes.
    pub fn metainfo(&self, id: TorrentId) -> Option<Arc<Metainfo>> {
        self.torrents.get(id.0)?.content().metainfo().cloned()
    }

    /// A worker has computed something for a torrent.
    pub(super) fn handle_computed(&mut self, key: Key, task: Box<dyn Task>) {
        let (Some(computation), Some(torrent)) =
            (Computation::of(task), self.torrents.get_mut(key))
        else {
            return;
        };
        match computation {
            Computation::Info(parser) => {
                let parsed = parser.into_parsed();
                return parsed.into_iter().for_each(|parsed| self.handle_info(key, parsed));
            }
            Computation::Hashes(answer) => torrent.handle_answer(answer, &mut self.cx),
            Computation::Layer(proof) => torrent.handle_layer_proof(proof, &mut self.cx),
        }
        self.settle(key);
    }

    /// The info dictionary of a torrent, which came from its peers, is parsed: that is the
    /// torrent's metainfo, with the trackers and web seeds of its magnet link, unless the user has
    /// given it one meanwhile, or its end has begun.
    fn handle_info(&mut self, key: Key, parsed: Result<Metainfo, MetainfoError>) {
        let has_use = |torrent: &Torrent| !torrent.content().is_known() && !torrent.is_ending();
        if !self.torrents.get(key).is_some_and(has_use) {
            return;
        }
        let id = TorrentId(key);
        let error = match parsed {
            Ok(metainfo) => match self.verbs().set_metainfo(id, Arc::new(metainfo)) {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        self.cx.alerts.push(Alert::MetadataRefused { torrent: id, error });
    }
}

impl Verbs<'_> {
    /// Gives a torrent that was added by a magnet link
    /// ([`Source::Magnet`](crate::Source::Magnet)) its metainfo. The torrent is opened, as one that
    /// was added with it, and keeps its peers. Its trackers join those of the link; those of a
    /// private torrent replace them (BEP 27).
    ///
    /// # Errors
    /// If there is no such torrent, it has its metainfo already, its end has begun, the metainfo is
    /// another torrent's, the torrent would write to a file of another, or it cannot be kept in the
    /// session's folder. Then it goes on waiting.
    pub fn set_metainfo(
        &mut self,
        id: TorrentId,
        metainfo: Arc<Metainfo>,
    ) -> Result<(), MetainfoRefused> {
        let Engine { torrents, cx, queue, .. } = &*self.engine;
        let torrent = torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        if torrent.content().is_known() {
            return Err(MetainfoRefused::Known(id));
        }
        if torrent.is_ending() {
            return Err(MetainfoRefused::Ending(id));
        }
        if !is_same(torrent.identity().hashes(), &metainfo.identity) {
            return Err(MetainfoRefused::OtherTorrent(id));
        }
        let mut renames = torrent.location().renames().to_vec();
        let unfit = check_renames(&metainfo, &renames).err();
        let unused = if unfit.is_some() { std::mem::take(&mut renames) } else { Vec::new() };
        if !torrent.location().has_own_storage() {
            self.engine.check_place(&metainfo, torrent.location().dir(), &renames)?;
        }
        if cx.recorder.is_on() {
            let order = queue.download_ord(id.0);
            let limits = self.engine.limits_of(id.0);
            let mut params = torrent.params(cx.now, order, limits);
            params.source = metainfo.clone().into();
            params.renames.clone_from(&renames);
            self.engine.check_record(&params)?;
        }
        self.engine.merge_twins(id.0, &metainfo);
        self.engine.cx.alerts.push(Alert::MetadataReceived { torrent: id });
        if let Some((culprit, error)) = unfit {
            for (file, error) in refused_renames(unused, culprit, error) {
                self.engine.cx.alerts.push(Alert::FileRenameFailed { torrent: id, file, error });
            }
        }
        self.engine.with(id, |torrent, cx| torrent.set_metainfo(metainfo, renames, cx))?;
        self.engine.take_place(id.0);
        self.engine.settle(id.0);
        Ok(())
    }
}

impl Engine {
    /// A torrent turns out to be a hybrid (BEP 52): it is known by both hashes from now on. If
    /// there is a torrent of the other hash, which still waits for the same metainfo, the two
    /// become one. One whose end has begun leaves nothing but its record.
    fn merge_twins(&mut self, key: Key, metainfo: &Metainfo) {
        let identity = &metainfo.identity;
        let others: BTreeSet<Key> =
            identity.wire_hashes().filter_map(|hash| self.by_hash.by_wire_hash(hash)).collect();
        for other in others.into_iter().filter(|&other| other != key) {
            let Some(twin) = self.torrents.get_mut(other) else { continue };
            // Also of one that is removed, or its removal would delete the other's record.
            twin.give_up_record(identity, &mut self.cx);
            if twin.is_ending() {
                self.settle(other);
                continue;
            }
            let trackers = twin.announcer().set_by_user().unwrap_or_default();
            let known = twin.peers().candidates();
            let mut peers = known.worth_keeping(usize::MAX);
            // They count as the user's from now on.
            peers.retain(|addr| !metainfo.private || known.is_allowed_in_private(addr));
            log::info!("{} and {} are one torrent", TorrentId(key), TorrentId(other));
            let _ = self.verbs().remove(TorrentId(other));
            if let Some(torrent) = self.torrents.get_mut(key) {
                torrent.join_twin(trackers, &peers, &mut self.cx);
            }
            let (torrent, twin) = (TorrentId(key), TorrentId(other));
            self.cx.alerts.push(Alert::Merged { torrent, twin });
        }
        if let Some(torrent) = self.torrents.get(key) {
            self.by_hash.remove(torrent.identity().hashes(), key);
            self.by_hash.insert(identity, key);
        }
    }
}

/// Whether both have a hash in common and no different ones.
fn is_same(a: &Identity, b: &Identity) -> bool {
    let v1 = a.v1().zip(b.v1()).map(|(a, b)| a == b);
    let v2 = a.v2().zip(b.v2()).map(|(a, b)| a == b);
    v1.or(v2) == Some(true) && v1 != Some(false) && v2 != Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{InfoHash, InfoHashV2};

    #[test]
    fn metainfo_fits_if_a_hash_agrees_and_none_differs() {
        let (one, two) = (InfoHash([1; 20]), InfoHash([2; 20]));
        let hybrid = Identity::hybrid(one, InfoHashV2([3; 32]));
        assert!(is_same(&Identity::of_v1(one), &Identity::of_v1(one)));
        assert!(is_same(&hybrid, &Identity::of_v1(one)));
        assert!(is_same(&hybrid, &Identity::of_v2(InfoHashV2([3; 32]))));
        assert!(!is_same(&Identity::of_v1(one), &Identity::of_v1(two)));
        assert!(!is_same(&hybrid, &Identity::hybrid(one, InfoHashV2([4; 32]))));
        assert!(!is_same(&Identity::of_v1(one), &Identity::of_v2(InfoHashV2([3; 32]))));
    }
}
