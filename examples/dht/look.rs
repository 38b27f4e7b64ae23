//! The look-up as it goes, in words or in JSON objects.

use std::{collections::BTreeSet, net::SocketAddr};

use cratetorrent::{
    Instant,
    dht::{DhtEvent, DhtStats, SearchId, SearchOutcome, Step},
    wire::krpc::Family,
};
use serde_json::{Value, json};

use crate::{
    common::{print, progress::Show},
    picture::Picture,
};

/// See the module.
#[derive(Default)]
pub struct Look {
    pub show: Show,
    pub began: Instant,
    /// Searches that have not ended.
    pub searches: BTreeSet<SearchId>,
    pub peers: usize,
    pub picture: Picture,
}

impl Look {
    pub fn listening(&self, addr: SocketAddr) {
        let address = addr.to_string();
        self.tell(
            || format!("listening on {addr}"),
            || json!({"event": "listening", "address": address}),
        );
    }

    /// The table has so many nodes when the look-up begins, if there is to be one (`looks`).
    pub fn table(&self, stats: &DhtStats, looks: bool) {
        let &DhtStats { nodes_v4: v4, nodes_v6: v6, .. } = stats;
        let none = match (v4 + v6, looks) {
            (0, false) => "; no node has answered",
            (0, true) => "; no node has answered, and the look-up waits for one, 30 s at most",
            _ => "",
        };
        self.tell(
            || format!("{v4} nodes of IPv4 and {v6} of IPv6 known{none}"),
            || json!({"event": "table", "nodes_v4": v4, "nodes_v6": v6}),
        );
    }

    /// A line of words, or an object.
    fn tell(&self, line: impl FnOnce() -> String, object: impl FnOnce() -> Value) {
        match self.show {
            Show::Words => print(&line()),
            Show::Json => print(&object().to_string()),
            Show::Nothing => {}
        }
    }

    pub fn note(&mut self, now: Instant, event: DhtEvent) {
        let ms = now.since(self.began).as_micros() as f64 / 1000.0;
        match event {
            DhtEvent::Step { step, .. } => {
                self.step(ms, &step);
                self.picture.note(ms, step);
            }
            DhtEvent::Peers { peers, from, .. } => {
                self.peers += peers.len();
                self.picture.note_peers(ms, from, peers.len());
                peers.into_iter().for_each(|peer| self.peer(ms, peer));
            }
            DhtEvent::Finished { search, outcome, .. } if self.searches.remove(&search) => {
                self.done(ms, &outcome);
            }
            DhtEvent::Online { family } => self.network("online", family),
            DhtEvent::Offline { family } => self.network("offline", family),
            DhtEvent::ExternalAddress { addr } => {
                let address = addr.to_string();
                self.tell(
                    || format!("we are seen at {addr}"),
                    || json!({"event": "external", "address": address}),
                );
            }
            _ => {}
        }
    }

    fn network(&self, event: &str, family: Family) {
        let family = if family == Family::V4 { "IPv4" } else { "IPv6" };
        self.tell(
            || match event {
                "online" => format!("nodes of {family} answer"),
                _ => format!("no node of {family} answers any more"),
            },
            || json!({"event": event, "family": family}),
        );
    }

    fn peer(&self, ms: f64, peer: SocketAddr) {
        match self.show {
            Show::Nothing => print(&peer.to_string()),
            _ => self.tell(
                || format!("{ms:8.1} ms  peer {peer}"),
                || json!({"event": "peer", "ms": ms, "address": peer.to_string()}),
            ),
        }
    }

    fn done(&self, ms: f64, outcome: &SearchOutcome) {
        let &SearchOutcome { peers, queries, answers, stored, .. } = outcome;
        self.tell(
            || {
                format!(
                    "{ms:8.1} ms  done: {peers} peers, {queries} queries, {answers} answers, \
                     stored by {stored} nodes"
                )
            },
            || {
                json!({
                    "event": "done",
                    "ms": ms,
                    "peers": peers,
                    "queries": queries,
                    "answers": answers,
                    "stored": stored,
                })
            },
        );
    }

    fn step(&self, ms: f64, step: &Step) {
        match step {
            Step::Asked { node, hop } => self.tell(
                || format!("{ms:8.1} ms  ask    hop {hop}  {}", node.addr),
                || step_object("ask", ms, node.addr, Some(*hop)),
            ),
            Step::Answered { node, hop, rtt, nodes, peers } => {
                let rtt = rtt.as_micros() as f64 / 1000.0;
                self.tell(
                    || {
                        format!(
                            "{ms:8.1} ms  answer hop {hop}  {} after {rtt:.1} ms: {nodes} nodes, \
                             {peers} peers",
                            node.addr
                        )
                    },
                    || {
                        json!({
                            "event": "answer",
                            "ms": ms,
                            "node": node.addr.to_string(),
                            "hop": hop,
                            "round_trip_ms": rtt,
                            "nodes": nodes,
                            "peers": peers,
                        })
                    },
                );
            }
            Step::Slow { node, hop } => self.tell(
                || format!("{ms:8.1} ms  slow   hop {hop}  {}", node.addr),
                || step_object("slow", ms, node.addr, Some(*hop)),
            ),
            Step::Stored { node } => self.tell(
                || format!("{ms:8.1} ms  stored by {}", node.addr),
                || step_object("stored", ms, node.addr, None),
            ),
            _ => {}
        }
    }
}

fn step_object(event: &str, ms: f64, node: SocketAddr, hop: Option<u32>) -> Value {
    let mut object = json!({"event": event, "ms": ms, "node": node.to_string()});
    if let (Some(hop), Some(object)) = (hop, object.as_object_mut()) {
        object.insert("hop".into(), hop.into());
    }
    object
}
