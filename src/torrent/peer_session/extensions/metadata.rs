//! `ut_metadata` (BEP 9) with a peer of a torrent whose metainfo is known: blocks of the info
//! dictionary are given, a few times at once and then at a rate.
//!
//! Asking for them is the affair of peers before there is content.

use super::Extension;
use crate::{
    torrent::{
        cx::Cx,
        peer_session::{Fault, PeerSession},
        swarm::Swarm,
    },
    wire::{
        extension::UT_METADATA_ID,
        message::Message,
        ut_metadata::{METADATA_BLOCK, MetadataMessage, UT_METADATA},
    },
};

pub(super) const EXTENSION: Extension = Extension { name: UT_METADATA, id: UT_METADATA_ID, handle };

/// A request is answered with the block or a reject. Other messages answer what was asked before
/// the metainfo was known; they and what is no message do no harm, and are ignored.
fn handle(
    session: &mut PeerSession,
    payload: &[u8],
    swarm: &mut Swarm,
    cx: &mut Cx,
) -> Result<(), Fault> {
    let Ok(MetadataMessage::Request { block }) = MetadataMessage::decode(payload) else {
        return Ok(());
    };
    let Some(id) = session.peer.extensions.remote(&EXTENSION) else { return Ok(()) };
    let (unsent, serve) = (session.outgoing.tx().len(), &mut session.peer.extensions.serve);
    let given = swarm.info().and_then(|info| {
        let total = u32::try_from(info.len()).ok()?;
        let begin = usize::try_from(u64::from(block) * u64::from(METADATA_BLOCK)).ok()?;
        let rest = info.get(begin..).filter(|rest| !rest.is_empty())?;
        let data = rest.get(..METADATA_BLOCK as usize).unwrap_or(rest);
        serve.handle_request(cx.now, block, total, unsent).then_some(MetadataMessage::Data {
            block,
            total,
            data,
        })
    });
    let payload = given.unwrap_or(MetadataMessage::Reject { block }).encode();
    session.outgoing.say(&Message::Extended { id, payload: &payload }, cx);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        torrent::{
            peer_session::testing::{hear, leech, peers, sent, world},
            swarm::InfoBytes,
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
        swarm.set_info(Some(InfoBytes { file: file.clone(), span: 3..40_000 }));
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
