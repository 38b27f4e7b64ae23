//! Trackers of a world: UDP (BEP 15), as far as engines speak it, with manners on request. Over a
//! stream they can be reached and say nothing, or refuse.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{net::Line, node::NodeId};
use crate::{
    base::{ids::InfoHash, time::Instant},
    wire::tracker::AnnounceEvent,
};

const MAGIC: u64 = 0x0417_2710_1980;

/// A tracker of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackerId(pub(super) usize);

/// How a tracker behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrackerManners {
    /// It does what it should.
    #[default]
    Good,
    /// Whatever comes is lost.
    Silent,
    /// It hears what it is told, and its answers are lost.
    Mute,
    /// It refuses, with these words.
    Refuses(String),
}

/// What a tracker heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Instant,
    /// By which node.
    pub node: NodeId,
    /// Of which torrent.
    pub info_hash: InfoHash,
    /// What.
    pub event: AnnounceEvent,
    /// Bytes that it lacks.
    pub left: u64,
    /// How many peers it wants.
    pub numwant: i32,
}

#[derive(Debug)]
pub(super) struct SimTracker {
    pub(super) manners: TrackerManners,
    /// Seconds.
    pub(super) interval: u32,
    pub(super) told: Vec<Told>,
    swarms: BTreeMap<InfoHash, BTreeSet<SocketAddr>>,
}

/// Where the `nth` tracker of a world is.
pub(super) fn addr(nth: usize) -> SocketAddr {
    SocketAddr::from(([10, 250, (nth / 256) as u8, (nth % 256) as u8], 80))
}

/// How trackers are connected: 25 ms away from everything, with room for all that comes.
pub(super) fn line() -> Line {
    Line { latency: Duration::from_millis(25), jitter: Duration::ZERO, ..Line::lan() }
}

/// The name of the `nth` tracker of a world.
pub(super) fn name(nth: usize) -> String {
    format!("tracker{nth}.test")
}

impl SimTracker {
    /// A good one, that no node has told anything.
    pub(super) fn new(interval: u32) -> Self {
        Self { manners: TrackerManners::Good, interval, told: Vec::new(), swarms: BTreeMap::new() }
    }

    /// What it answers to a packet of `node`, which can be dialled at `addr`.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        node: NodeId,
        addr: SocketAddr,
        packet: &[u8],
    ) -> Option<Vec<u8>> {
        if self.manners == TrackerManners::Silent {
            return None;
        }
        let (id, action, transaction) =
            (u64_at(packet, 0)?, u32_at(packet, 8)?, u32_at(packet, 12)?);
        let answer = |action: u32, body: &[u8]| {
            Some([&action.to_be_bytes(), &transaction.to_be_bytes(), body].concat())
        };
        if let (TrackerManners::Refuses(why), true) = (&self.manners, action > 0) {
            return answer(3, why.as_bytes());
        }
        match action {
            0 if id == MAGIC => answer(0, &now.as_micros().to_be_bytes()),
            1 => {
                let info_hash = InfoHash(packet.get(16..36)?.try_into().ok()?);
                let event = match u32_at(packet, 80)? {
                    1 => AnnounceEvent::Completed,
                    2 => AnnounceEvent::Started,
                    3 => AnnounceEvent::Stopped,
                    _ => AnnounceEvent::None,
                };
                let (left, numwant) = (u64_at(packet, 64)?, u32_at(packet, 92)? as i32);
                self.told.push(Told { at: now, node, info_hash, event, left, numwant });
                let swarm = self.swarms.entry(info_hash).or_default();
                if event == AnnounceEvent::Stopped {
                    swarm.remove(&addr);
                } else {
                    swarm.insert(addr);
                }
                let others: Vec<_> = swarm
                    .iter()
                    .filter(|&&other| other != addr)
                    .take(numwant.max(0) as usize)
                    .collect();
                if self.manners == TrackerManners::Mute {
                    return None;
                }
                let mut body =
                    [self.interval, others.len() as u32, 0].map(u32::to_be_bytes).concat();
                for peer in others {
                    if let IpAddr::V4(ip) = peer.ip() {
                        body.extend(ip.octets());
                        body.extend(peer.port().to_be_bytes());
                    }
                }
                answer(1, &body)
            }
            _ => answer(3, b"no such action"),
        }
    }
}

fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn u64_at(packet: &[u8], at: usize) -> Option<u64> {
    packet.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}
