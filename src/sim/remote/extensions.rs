//! What a [`Remote`](super::Remote) says by the extension protocol (BEP 10), true or not: the info
//! dictionary (BEP 9) and other peers (BEP 11). It knows nothing of blocks and choking.

use std::{net::SocketAddr, time::Duration};

use crate::{
    sim::sample::Sample,
    wire::{
        extension::ExtensionHandshake,
        ut_metadata::{METADATA_BLOCK, MetadataMessage, UT_METADATA},
        ut_pex::{MAX_PEX_CONTACTS, PexFlags, PexMessage, UT_PEX},
    },
};

/// The ids under which it wants messages.
pub(super) const METADATA_ID: u8 = 7;
const PEX_ID: u8 = 1;

/// What a [`Remote`](super::Remote) that offers the info dictionary makes of requests for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataManner {
    /// The true blocks.
    Honest,
    /// Blocks of the right size with false bytes.
    FalseBytes,
    /// A dictionary that is a byte longer than the true one, as it claims from the beginning.
    OtherSize,
    /// The true size in the handshake, and another in each block.
    OtherTotal,
    /// A claim of 4 GiB, and nothing.
    HugeSize,
    /// A reject.
    Rejects,
    /// Nothing.
    Silent,
    /// The true blocks, the first of them without being asked.
    Floods,
}

/// How a [`Remote`](super::Remote) names other peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gossip {
    /// The peers of all messages, each with up to 200 of them, over and over.
    pub named: Vec<SocketAddr>,
    /// How many messages it sends on each connection.
    pub messages: u32,
    /// The time between two.
    pub pause: Duration,
    /// Messages are something that cannot be read.
    pub garbage: bool,
}

/// The ids under which the other side wants messages; 0 for not at all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    pub(super) metadata: u8,
    pub(super) pex: u8,
}

impl Ids {
    pub(super) fn of(hello: &ExtensionHandshake) -> Self {
        let id = |name: &[u8]| hello.extensions().find(|(n, _)| *n == name).map_or(0, |(_, id)| id);
        Self { metadata: id(UT_METADATA), pex: id(UT_PEX) }
    }
}

impl MetadataManner {
    /// The size that it claims in its handshake.
    fn size(self, info: &[u8]) -> u64 {
        match self {
            Self::HugeSize => 1 << 32,
            Self::OtherSize => info.len() as u64 + 1,
            _ => info.len() as u64,
        }
    }

    /// What it answers to a request.
    pub(super) fn answer(self, sample: &Sample, block: u32) -> Option<Vec<u8>> {
        let mut info = sample.metainfo.info().unwrap_or_default().to_vec();
        match self {
            Self::Silent | Self::HugeSize => return None,
            Self::Rejects => return Some(MetadataMessage::Reject { block }.encode()),
            Self::FalseBytes => info.iter_mut().for_each(|byte| *byte ^= 0x55),
            Self::OtherSize | Self::OtherTotal => info.push(b'e'),
            Self::Honest | Self::Floods => {}
        }
        let begin = (block as usize).saturating_mul(METADATA_BLOCK as usize);
        let end = info.len().min(begin.saturating_add(METADATA_BLOCK as usize));
        let total = u32::try_from(info.len()).unwrap_or(u32::MAX);
        info.get(begin..end).map(|data| MetadataMessage::Data { block, total, data }.encode())
    }
}

impl Gossip {
    /// The payload of a message.
    pub(super) fn message(&self, nth: u32) -> Vec<u8> {
        if self.garbage {
            return b"d5:added3:abce".to_vec();
        }
        let first = (nth as usize).wrapping_mul(MAX_PEX_CONTACTS);
        let count = self.named.len();
        let added = (0..count.min(MAX_PEX_CONTACTS))
            .filter_map(|n| self.named.get(first.wrapping_add(n) % count))
            .map(|&addr| (addr, PexFlags::REACHABLE | PexFlags::SEED))
            .collect();
        PexMessage { added, dropped: Vec::new() }.encode()
    }
}

/// Its extension handshake; `None` if it has nothing to say in it.
pub(super) fn hello(
    sample: &Sample,
    reqq: Option<u32>,
    metadata: Option<MetadataManner>,
    gossip: Option<&Gossip>,
) -> Option<Vec<u8>> {
    if reqq.is_none() && metadata.is_none() && gossip.is_none() {
        return None;
    }
    let mut hello = ExtensionHandshake::default();
    hello.reqq = reqq;
    if let Some(manner) = metadata {
        hello.set(UT_METADATA, METADATA_ID).ok()?;
        hello.metadata_size = Some(manner.size(sample.metainfo.info().unwrap_or_default()));
    }
    if gossip.is_some() {
        hello.set(UT_PEX, PEX_ID).ok()?;
    }
    Some(hello.encode())
}
