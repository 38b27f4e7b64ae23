//! Swarms in the simulator, by what they are about.

/// Tests that are the same but for what they are given, each with a name of its own.
macro_rules! cases {
    ($run:ident: $($name:ident => $($arg:expr),+;)+) => {
        $(#[test]
        fn $name() {
            $run($($arg),+);
        })+
    };
}

mod access;
mod bad_disks;
mod chaos;
mod choking;
mod crowd;
mod datagrams;
mod dht;
mod disk;
mod disk_calls;
mod encryption;
mod files;
mod gone;
mod holepunch;
mod kills;
mod limits;
mod lines;
mod local;
mod magnet;
mod memory;
mod metadata;
mod names;
mod network;
mod no_peers;
mod one_way;
mod outside;
mod partitions;
mod peer_exchange;
mod peers;
mod places;
mod plans;
mod prior;
mod proxies;
mod queue;
mod reads;
mod rechecks;
mod records;
mod routers;
mod rules;
mod session;
mod status;
mod stops;
mod storages;
mod storms;
mod superseed;
mod swarm;
mod tracker_events;
mod trackers;
mod uploads;
mod utp;
mod version_agreement;
mod versions;
mod violations;
mod web_seeds;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::*;
use crate::{
    alert::{Alert, AlertMask, Phase},
    base::{bitfield::Bitfield, time::Instant},
    conf::{Conf, Transports},
};

const KIB: u64 = 1024;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Settings that tell everything.
fn loud() -> Conf {
    super::scenario::loud(Conf::default().with(|conf| {
        // What is cut off or counted here is TCP; uTP has its own tests.
        conf.network.transports = Transports::Tcp;
        // Small torrents, too, take a check of several rounds.
        conf.storage.max_checks = 16;
    }))
}

/// The same of a node whose peers learn of no others from it.
fn shy() -> Conf {
    loud().with(|conf| conf.peers.exchange = false)
}

fn file(len: u64, piece_len: u32) -> Arc<Sample> {
    Sample::file(&format!("data-{len}"), len, piece_len, len).unwrap()
}

/// Of all blocks, this many, by a number that looks random.
fn one_in(n: u32) -> impl Fn(Asked) -> bool {
    move |asked| {
        (asked.block.piece.get() * 7919 + asked.block.begin / 16384 * 104_729 + 13) % n == 0
    }
}

fn banned(world: &World, node: NodeId) -> Vec<SocketAddr> {
    let addr =
        |alert: &Alert| if let Alert::PeerBanned { addr, .. } = alert { Some(*addr) } else { None };
    world.alerts(node).iter().filter_map(|(_, alert)| addr(alert)).collect()
}

/// Why peers went, by address.
fn partings(world: &World, node: NodeId) -> Vec<(SocketAddr, String)> {
    let parting = |alert: &Alert| match alert {
        Alert::PeerGone { addr, reason, .. } => Some((*addr, reason.clone())),
        _ => None,
    };
    world.alerts(node).iter().filter_map(|(_, alert)| parting(alert)).collect()
}
