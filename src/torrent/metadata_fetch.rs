//! Fetching the info dictionary of a torrent that was added by a magnet link (BEP 9). What its
//! peers say of it goes to the machine that puts it together, what the machine asks for goes to the
//! peers, and the whole goes to a worker that parses it.
//!
//! It does not know what is in a dictionary; what comes of it is the engine's business.

use std::net::SocketAddr;

use crate::{
    alert::{Alert, AlertMask},
    base::{arena::Key, ids::Identity, time::Instant},
    proto::metadata::{
        MetadataEvent, MetadataFetch, MetadataLimits, MetadataProgress, MetadataStatus,
    },
    torrent::{
        METADATA, Torrent,
        computation::Computation,
        cx::Cx,
        info_parser::InfoParser,
        peer_session::{Fault, OnMetadata},
        progress::Contributor,
        swarm::Note,
    },
};

/// A peer that gives blocks: by its key, and as it is banned if it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Giver {
    peer: Key,
    addr: SocketAddr,
    incoming: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fetching {
    fetch: MetadataFetch<Giver>,
    /// What was told last.
    told: MetadataProgress,
}

impl Fetching {
    /// For the torrent with these hashes of its info dictionary.
    pub(super) fn new(identity: Identity, cx: &Cx) -> Self {
        let size = cx.conf.peers.max_metadata;
        let limits =
            MetadataLimits { size, memory: 2 * size as usize, ..MetadataLimits::default() };
        let fetch = MetadataFetch::new(identity, limits);
        Self { fetch, told: MetadataProgress::default() }
    }
}

fn giver(peer: Key, who: Contributor) -> Giver {
    Giver { peer, addr: who.addr, incoming: who.incoming }
}

impl Torrent {
    /// A peer has said this of the info dictionary.
    pub(super) fn handle_on_metadata(
        &mut self,
        peer: Key,
        said: Vec<OnMetadata>,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        let Some(who) = self.peers.early_mut(peer).map(|early| early.who()) else { return Ok(()) };
        let Some(fetching) = self.content.fetching_mut().filter(|_| !said.is_empty()) else {
            return Ok(());
        };
        let (fetch, giver) = (&mut fetching.fetch, giver(peer, who));
        for said in said {
            match said {
                OnMetadata::Offer(size) => {
                    if !fetch.handle_offer(cx.now, giver, size) && size > 0 {
                        log::info!(
                            "{} offers metadata of {size} bytes, which is too much",
                            who.addr
                        );
                    }
                }
                OnMetadata::Block { block, total, data } => {
                    fetch.handle_data(cx.now, giver, block, total, &data)?;
                }
                OnMetadata::Reject(block) => fetch.handle_reject(cx.now, giver, block)?,
            }
        }
        self.fetch_metadata(cx);
        Ok(())
    }

    /// A peer that may have given blocks is gone.
    pub(super) fn leave_metadata(&mut self, peer: Key, who: Contributor, cx: &mut Cx) {
        if let Some(fetching) = self.content.fetching_mut() {
            fetching.fetch.handle_gone(giver(peer, who));
            self.fetch_metadata(cx);
        }
    }

    /// What a peer does about the metadata; `None` if that is known.
    pub(crate) fn metadata_of(
        &self,
        peer: Key,
        who: Contributor,
        now: Instant,
    ) -> Option<MetadataStatus> {
        let fetching = self.content.fetching()?;
        Some(match fetching.fetch.offer(giver(peer, who), now) {
            None => MetadataStatus::NotOffered,
            Some(false) => MetadataStatus::Offered,
            Some(true) => MetadataStatus::Resting,
        })
    }

    /// Whether a peer has offered the metadata and is asked for it.
    pub(super) fn gives_metadata(&self, peer: Key, who: Contributor, now: Instant) -> bool {
        self.metadata_of(peer, who, now) == Some(MetadataStatus::Offered)
    }

    /// Draws the consequences of what has come or has not, and asks for what is missing.
    pub(super) fn fetch_metadata(&mut self, cx: &mut Cx) {
        let Some(Fetching { fetch, .. }) = self.content.fetching_mut() else { return };
        let mut complete = None;
        fetch.handle_time_out(cx.now);
        while let Some(event) = fetch.poll_event() {
            match event {
                MetadataEvent::Complete(info) => complete = Some(info),
                MetadataEvent::Liar(Giver { addr, incoming, .. }) => {
                    self.swarm.note(Note::Ban(Contributor { addr, incoming }));
                }
            }
        }
        while let Some((giver, block)) = fetch.poll_request(cx.now) {
            if let Some(early) = self.peers.early_mut(giver.peer) {
                early.request_metadata(block, cx);
                early.schedule(cx);
            }
        }
        match fetch.next_deadline(cx.now) {
            Some(at) => self.timers.set(METADATA, at.max(cx.now)),
            None => self.timers.stop(METADATA),
        }
        if let (Some(info), Some(magnet)) = (complete, self.content.magnet()) {
            // The answer is the engine's, which gives the torrent its content. Nothing waits for
            // it: a torrent that ends meanwhile does not miss it.
            let parser = InfoParser::new(info, magnet.clone());
            cx.job(Computation::Info(Box::new(parser)).job(self.identity.key()));
        }
        self.tell_of_metadata(cx);
        self.settle(cx);
    }

    fn tell_of_metadata(&mut self, cx: &mut Cx) {
        let id = self.identity.id();
        let Some(Fetching { fetch, told, .. }) = self.content.fetching_mut() else { return };
        let progress = fetch.progress(cx.now);
        if progress != *told && cx.alerts.wants(AlertMask::PROGRESS) {
            *told = progress;
            let MetadataProgress { peers, resting, have, total } = progress;
            cx.alerts.push(Alert::FetchingMetadata { torrent: id, peers, resting, have, total });
        }
    }
}
