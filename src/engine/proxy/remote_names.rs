//! Names of DHT nodes that the proxy looks up: it is sent a ping for the name, and the address that
//! answers is the name's. There is no other way to ask a SOCKS proxy for an address, and the DHT
//! deals in addresses (BEP 5).

use std::{collections::VecDeque, time::Duration};

use crate::{
    base::{rng::Rng, target::Target, time::Instant},
    conf::Traffic,
    engine::{DatagramOwner, Engine},
    wire::krpc::{Body, Message, Method, NodeId, Query},
};

/// Pings that may be answered; the oldest are forgotten.
const MAX_OUT: usize = 64;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of our transaction ids: other than those of the node.
const ID_LEN: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct RemoteNames {
    pings: VecDeque<Ping>,
}

#[derive(Debug)]
struct Ping {
    id: [u8; ID_LEN],
    host: String,
    port: u16,
    sent: Instant,
}

impl RemoteNames {
    /// A ping for a name.
    fn ping(&mut self, now: Instant, host: String, port: u16, rng: &mut Rng) -> Vec<u8> {
        let (mut id, mut node) = ([0; ID_LEN], [0; 20]);
        rng.fill(&mut id);
        rng.fill(&mut node);
        if self.pings.len() >= MAX_OUT {
            self.pings.pop_front();
        }
        self.pings.push_back(Ping { id, host, port, sent: now });
        let query = Query { read_only: true, ..Query::new(NodeId(node), Method::Ping) };
        Message::query(&id, query).encode()
    }

    /// The name that a datagram answers for, if it answers one of these pings.
    pub(in crate::engine) fn found(&mut self, now: Instant, data: &[u8]) -> Option<(String, u16)> {
        self.pings.front()?;
        let message = Message::decode(data).ok()?;
        // A refusal shows as well where the name is.
        if matches!(message.body, Body::Query(_)) {
            return None;
        }
        let at = self.pings.iter().position(|ping| ping.id[..] == message.transaction[..])?;
        let ping = self.pings.remove(at)?;
        (now.since(ping.sent) <= PATIENCE).then_some((ping.host, ping.port))
    }
}

impl Engine {
    /// Has the proxy look for a node of the DHT.
    pub(in crate::engine) fn find_remotely(&mut self, host: String, port: u16) {
        let (now, rng) = (self.cx.now, &mut self.cx.rng);
        let data = self.ways.proxy.remote_names.ping(now, host.clone(), port, rng);
        self.send_datagram(DatagramOwner::Dht, Traffic::Dht, Target::Name { host, port }, data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::krpc::Response;

    #[test]
    fn answers_name_what_was_asked_for_once_and_in_time() {
        let (mut names, mut rng, now) = (RemoteNames::default(), Rng::new(1), Instant::ZERO);
        let ids: Vec<Vec<u8>> = (0..3)
            .map(|n| {
                let ping = names.ping(now, format!("host{n}"), n, &mut rng);
                assert_eq!(names.found(now, &ping), None, "a question is no answer");
                Message::decode(&ping).unwrap().transaction
            })
            .collect();
        let answer = |id: &[u8]| Message::response(id, Response::default()).encode();
        assert_eq!(names.found(now, &answer(&ids[1])), Some(("host1".into(), 1)));
        assert_eq!(names.found(now, &answer(&ids[1])), None);
        assert_eq!(names.found(now, &answer(b"aa")), None);
        assert_eq!(names.found(now + PATIENCE * 2, &answer(&ids[0])), None, "too late");
        for n in 0..1000 {
            names.ping(now, String::new(), n, &mut rng);
            assert!(names.pings.len() <= MAX_OUT);
        }
    }
}
