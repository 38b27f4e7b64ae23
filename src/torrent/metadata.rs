//! A torrent gets its metainfo, which it was added without (a magnet link). It does not know where
//! the metainfo comes from.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use crate::{
    torrent::{Torrent, candidates::Source, cx::Cx},
    wire::metainfo::Metainfo,
};

impl Torrent {
    /// The metainfo is known now, and is this torrent's: the torrent is opened in its turn. Its
    /// peers stay, and wait until it is open. `renames`: those of the names that it was added with
    /// that fit its files.
    pub(crate) fn set_metainfo(
        &mut self,
        metainfo: Arc<Metainfo>,
        renames: Vec<(usize, PathBuf)>,
        cx: &mut Cx,
    ) {
        if self.content.is_known() {
            return;
        }
        self.location.set_renames(renames);
        let before = self.identity.hashes().key();
        self.identity.set_hashes(metainfo.identity);
        let of_link = self.content.magnet().map(|link| link.web_seeds.clone());
        self.content.set_metainfo(metainfo.clone());
        let earlier = self.replace_swarm(cx);
        self.swarm.inherit_traffic(&earlier);
        if metainfo.private {
            self.peers.set_private();
        }
        self.lifecycle.handle_metadata();
        self.join_trackers(&metainfo, cx);
        self.join_web_seeds(&metainfo, &of_link.unwrap_or_default(), cx);
        if cx.recorder.is_on() {
            self.keep(cx);
            self.forget_record(before);
        }
        self.settle(cx);
    }

    /// A torrent of another link is the same, and was known by the other hash of the hybrid: its
    /// trackers and peers are this torrent's from now on.
    pub(crate) fn join_twin(
        &mut self,
        trackers: Vec<Vec<String>>,
        peers: &[SocketAddr],
        cx: &mut Cx,
    ) {
        for &addr in peers {
            self.peers.candidates_mut().add(cx.now, addr, Source::User, &cx.conf);
        }
        let mut tiers = self.trackers.announcer().set_by_user().unwrap_or_default();
        let known: Vec<String> = tiers.iter().flatten().cloned().collect();
        let new = |tier: Vec<String>| tier.into_iter().filter(|url| !known.contains(url)).collect();
        let before = tiers.len();
        tiers.extend(trackers.into_iter().map(new).filter(|tier: &Vec<String>| !tier.is_empty()));
        if tiers.len() > before {
            self.set_trackers(tiers, cx);
        }
    }

    /// The trackers of the metainfo join those that the link or the user has named. Those of a
    /// private torrent replace them: no other tracker may hear of it (BEP 27).
    fn join_trackers(&mut self, metainfo: &Metainfo, cx: &mut Cx) {
        self.trackers.set_private(metainfo.private);
        let mut tiers = if metainfo.private {
            Vec::new()
        } else {
            self.trackers.announcer().set_by_user().unwrap_or_default()
        };
        let known: Vec<String> = tiers.iter().flatten().cloned().collect();
        for tier in &metainfo.trackers {
            let new: Vec<String> =
                tier.iter().filter(|url| !known.contains(url)).cloned().collect();
            tiers.extend(Some(new).filter(|tier| !tier.is_empty()));
        }
        if !tiers.is_empty() || metainfo.private {
            self.set_trackers(tiers, cx);
        }
    }

    /// The torrent is open: peers that were connected before have sessions from now on.
    pub(super) fn begin_sessions(&mut self, cx: &mut Cx) {
        let early: Vec<_> = self.peers.all_early().map(|(key, _)| key).collect();
        for key in early {
            self.peers.begin_session(key, &mut self.swarm, cx);
            if let Some(session) = self.peers.get_mut(key) {
                self.slots.consider(session, cx);
                // The rest of a block may be on its way to it, which one that has a slot now is
                // not served as a favour.
                session.count_favour(&mut self.swarm);
                session.schedule(cx);
            }
        }
        self.expect_peer_exchange(cx);
        self.fetch_hashes(cx);
        self.deliver_all(cx);
    }
}
