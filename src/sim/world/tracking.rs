//! Trackers, and how nodes find them. What is said in datagrams goes the way of all datagrams; a
//! look-up and a refused stream take the same time always, since only that they take time matters.

use std::io::ErrorKind;

use super::*;
use crate::sim::tracker::{self, SimTracker, Told, TrackerId, TrackerManners};

const LATENCY: Duration = Duration::from_millis(30);

impl World {
    /// A tracker that wants to be told every half hour.
    pub fn tracker(&mut self) -> TrackerId {
        self.trackers.push(SimTracker::new(1800));
        TrackerId(self.trackers.len() - 1)
    }

    /// A tracker's address, for torrents to have.
    pub fn tracker_url(&self, tracker: TrackerId) -> String {
        format!("udp://{}:80/announce", tracker::name(tracker.0))
    }

    /// Changes how a tracker behaves.
    pub fn set_tracker_manners(&mut self, tracker: TrackerId, manners: TrackerManners) {
        self.trackers[tracker.0].manners = manners;
    }

    /// Changes how often a tracker wants to be told, in seconds.
    pub fn set_tracker_interval(&mut self, tracker: TrackerId, interval: u32) {
        self.trackers[tracker.0].interval = interval;
    }

    /// What a tracker has heard so far.
    pub fn told_to(&self, tracker: TrackerId) -> &[Told] {
        &self.trackers[tracker.0].told
    }

    /// A name that leads to a node's address.
    pub fn host_name(&self, node: NodeId) -> String {
        format!("node{}.sim", node.0)
    }

    pub(super) fn look_up(&mut self, node: usize, host: String) {
        let life = self.nodes[node].life;
        self.schedule(self.now + LATENCY, Event::Resolved { node, life, host });
    }

    /// Streams hang if there is a tracker and are refused if there is none.
    pub(super) fn dial_tracker(&mut self, node: usize, stream: StreamId, addr: SocketAddr) {
        let life = self.nodes[node].life;
        if !(0..self.trackers.len()).any(|nth| tracker::addr(nth).ip() == addr.ip()) {
            self.schedule(self.now + LATENCY, Event::NoTracker { node, life, stream });
        }
    }

    pub(super) fn resolved(&mut self, node: usize, host: &str) {
        let clock = self.clock(node);
        let known = (0..self.trackers.len()).find(|&nth| tracker::name(nth) == host);
        let of_tracker = known.map(|nth| tracker::addr(nth).ip());
        let nodes = || (0..self.nodes.len()).map(NodeId);
        let of_node = || nodes().find(|&node| self.host_name(node) == host);
        let ip = of_tracker.or_else(|| of_node().map(|node| self.addr(node).ip()));
        let result = ip.map(|ip| vec![ip]).ok_or_else(|| "no such name".to_owned());
        self.host_mut(node).engine.handle_resolved(clock, host, result);
        self.service(node);
    }

    /// A datagram that `node` has sent, and that seems to come from `from`, reaches a tracker.
    pub(super) fn tracker_gets(&mut self, nth: usize, node: usize, from: SocketAddr, data: &[u8]) {
        // It tells others where a node can be dialled, whatever the port that is announced.
        let (now, addr) = (self.now, self.addr(NodeId(node)));
        if let Some(answer) = self.trackers[nth].handle_packet(now, NodeId(node), addr, data) {
            self.fly(Party::Tracker(nth), now, [tracker::addr(nth), from], &answer);
        }
    }

    pub(super) fn no_tracker(&mut self, node: usize, stream: StreamId) {
        let clock = self.clock(node);
        let refused = CloseCause::Io(ErrorKind::ConnectionRefused);
        self.host_mut(node).engine.handle_closed(clock, stream, refused);
        self.service(node);
    }
}
