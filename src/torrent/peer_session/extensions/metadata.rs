//! `ut_metadata` (BEP 9) with a peer of a torrent whose metainfo is known: blocks of the info
//! dictionary are given, a few times at once and then at a rate.
//!
//! Asking for them is the affair of peers before there is content.

use super::{Extension, Extensions};
use crate::{
    proto::metadata::MetadataServe,
    torrent::{
        cx::Cx,
        info::Want,
        peer_session::{Fault, PeerSession},
        swarm::{Note, Swarm},
    },
    wire::{
        extension::UT_METADATA_ID,
        message::Message,
        ut_metadata::{METADATA_BLOCK, MetadataMessage, UT_METADATA},
    },
};

/// What one peer is given.
#[derive(Debug, Default)]
pub(super) struct MetadataGiven {
    /// Which of its requests are answered.
    serve: MetadataServe,
    /// Blocks that are still to be given, since they are being read.
    owed: Vec<u32>,
}

pub(super) const EXTENSION: Extension = Extension { name: UT_METADATA, id: UT_METADATA_ID, handle };

/// A request is answered with the block or a reject. Other messages answer what was asked before
/// the metainfo was known; they and what is no message do no harm, and are ignored.
fn handle(
    session: &mut PeerSession,
    payload: &[u8],
    swarm: &mut Swarm,
    cx: &mut Cx,
) -> Result<(), Fault> {
    if let Ok(MetadataMessage::Request { block }) = MetadataMessage::decode(payload) {
        let (unsent, serve) =
            (session.outgoing.tx().len(), &mut session.peer.extensions.metadata.serve);
        let total = swarm.info().and_then(|info| u32::try_from(info.len()).ok());
        let may = total.is_some_and(|total| serve.handle_request(cx.now, block, total, unsent));
        session.give_metadata(block, may, swarm, cx);
    }
    Ok(())
}

impl Extensions {
    /// Under which id the peer wants messages of this extension; 0: under none.
    pub(in crate::torrent::peer_session) fn metadata_id(&self) -> u8 {
        self.remote(&EXTENSION).unwrap_or(0)
    }
}

impl PeerSession {
    /// Answers with a block of the info dictionary, unless that has to be read at first; or turns
    /// the peer down.
    fn give_metadata(&mut self, block: u32, may: bool, swarm: &mut Swarm, cx: &mut Cx) {
        let Some(id) = self.peer.extensions.remote(&EXTENSION) else { return };
        let info = swarm.info_mut().filter(|_| may);
        let payload = match info {
            None => MetadataMessage::Reject { block }.encode(),
            Some(info) => {
                let want = info.want(cx.leases.infos());
                match (answer(info.bytes(cx.now), block), want) {
                    (Some(answer), _) => answer,
                    (None, Want::Refused) => MetadataMessage::Reject { block }.encode(),
                    (None, want) => {
                        self.peer.extensions.metadata.owed.push(block);
                        if want == Want::Read {
                            swarm.note(Note::ReadInfo);
                        }
                        return;
                    }
                }
            }
        };
        self.outgoing.say(&Message::Extended { id, payload: &payload }, cx);
    }

    /// The dictionary has been read, or could not be: the peer gets the blocks that it waits for,
    /// or is turned down.
    pub(crate) fn give_owed_metadata(&mut self, swarm: &mut Swarm, cx: &mut Cx) {
        for block in std::mem::take(&mut self.peer.extensions.metadata.owed) {
            let is_here = swarm.info_mut().is_some_and(|info| info.bytes(cx.now).is_some());
            self.give_metadata(block, is_here, swarm, cx);
        }
    }
}

/// The message with this block of the dictionary; a reject if it has no such block, and nothing if
/// its bytes are not there.
fn answer(info: Option<&[u8]>, block: u32) -> Option<Vec<u8>> {
    let info = info?;
    let block_at = |info: &[u8]| {
        let total = u32::try_from(info.len()).ok()?;
        let begin = usize::try_from(u64::from(block) * u64::from(METADATA_BLOCK)).ok()?;
        let rest = info.get(begin..).filter(|rest| !rest.is_empty())?;
        let data = rest.get(..METADATA_BLOCK as usize).unwrap_or(rest);
        Some(MetadataMessage::Data { block, total, data }.encode())
    };
    Some(block_at(info).unwrap_or_else(|| MetadataMessage::Reject { block }.encode()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        torrent::{
            info::Info,
            peer_session::testing::{hear, leech, peers, sent, world},
        },
        wire::extension::ExtensionHandshake,
    };

    fn ask(session: &mut PeerSession, block: u32, swarm: &mut Swarm, cx: &mut Cx) {
        let payload = MetadataMessage::Request { block }.encode();
        hear(session, &[Message::Extended { id: UT_METADATA_ID, payload: &payload }], swarm, cx);
    }

    #[test]
    fn blocks_are_given_and_what_lies_beyond_the_end_is_rejected() {
        let mut cx = world();
        let mut swarm = leech(&mut cx);
        // The dictionary begins behind 3 bytes of its file.
        let file: Arc<[u8]> = (0..40_000_u32).map(|n| n as u8).collect();
        swarm.set_info(Some(Info::Here(file.clone(), 3..40_000)));
        let mut sessions = peers(1, &swarm, &mut cx);
        let session = &mut sessions[0];
        sent(session);
        ask(session, 0, &mut swarm, &mut cx);
        assert!(sent(session).is_empty(), "the peer has not said under which id");
        let mut hello = ExtensionHandshake::default();
        hello.set(UT_METADATA, 9).unwrap();
        let payload = hello.encode();
        hear(session, &[Message::Extended { id: 0, payload: &payload }], &mut swarm, &mut cx);
        for block in 0..4 {
            ask(session, block, &mut swarm, &mut cx);
            let begin = 3 + (block * METADATA_BLOCK) as usize;
            let end = file.len().min(begin + METADATA_BLOCK as usize);
            let answer = if begin < end {
                MetadataMessage::Data { block, total: 39_997, data: &file[begin..end] }
            } else {
                MetadataMessage::Reject { block }
            };
            let mut expected = Vec::new();
            Message::Extended { id: 9, payload: &answer.encode() }.encode_into(&mut expected);
            assert_eq!(sent(session), expected, "block {block}");
        }
    }
}
