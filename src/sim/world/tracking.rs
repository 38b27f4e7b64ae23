//! Trackers, and how nodes reach them. What they say takes the same time always: only that it takes
//! time matters.

use std::io::ErrorKind;

use super::*;
use crate::{
    engine::TrackerEffect,
    sim::tracker::{self, SimTracker, Told, TrackerId, TrackerManners},
};

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

    pub(super) fn serve_call(&mut self, node: usize, effect: TrackerEffect) {
        let life = self.nodes[node].life;
        let at = self.now + LATENCY;
        match effect {
            TrackerEffect::Resolve { host } => {
                self.schedule(at, Event::Resolved { node, life, host })
            }
            TrackerEffect::Datagram { to, data, .. } => {
                let tracker = (0..self.trackers.len()).find(|&nth| tracker::addr(nth) == to);
                if let Some(tracker) = tracker.filter(|_| !self.nodes[node].cut) {
                    self.schedule(at, Event::Packet { node, life, tracker, data });
                }
            }
            // Streams hang if there is a tracker and are refused if there is none.
            TrackerEffect::Connect { call, addr, .. } => {
                if !(0..self.trackers.len()).any(|nth| tracker::addr(nth).ip() == addr.ip()) {
                    self.schedule(at, Event::NoTracker { node, life, call });
                }
            }
            TrackerEffect::Flush { .. } | TrackerEffect::Close { .. } => {}
        }
    }

    pub(super) fn resolved(&mut self, node: usize, host: &str) {
        let clock = self.clock(node);
        let known = (0..self.trackers.len()).find(|&nth| tracker::name(nth) == host);
        let result =
            known.map(|nth| vec![tracker::addr(nth).ip()]).ok_or_else(|| "no such name".to_owned());
        self.host_mut(node).engine.handle_resolved(clock, host, result);
        self.service(node);
    }

    pub(super) fn packet(&mut self, node: usize, life: u32, tracker: usize, data: &[u8]) {
        let (now, addr) = (self.now, self.addr(NodeId(node)));
        if let Some(data) = self.trackers[tracker].handle_packet(now, NodeId(node), addr, data) {
            self.schedule(
                now + LATENCY,
                Event::Datagram { node, life, from: Box::new(tracker::addr(tracker)), data },
            );
        }
    }

    pub(super) fn datagram(&mut self, node: usize, from: SocketAddr, data: &[u8]) {
        let clock = self.clock(node);
        if !self.nodes[node].cut {
            self.host_mut(node).engine.handle_datagram(clock, from, data);
            self.service(node);
        }
    }

    pub(super) fn no_tracker(&mut self, node: usize, call: Key) {
        let clock = self.clock(node);
        self.host_mut(node).engine.handle_tracker_ended(
            clock,
            call,
            Err(ErrorKind::ConnectionRefused.to_string()),
        );
        self.service(node);
    }
}
