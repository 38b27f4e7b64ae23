//! Our queries under way: their nodes, their purposes, and when they count as slow, late or lost.

use std::{collections::BTreeMap, net::SocketAddr};

use super::event::SearchId;
use crate::{
    base::{time::Instant, timers::Deadlines},
    conf::DhtConf,
    wire::krpc::NodeInfo,
};

/// What a query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether a node is there.
    Ping,
    /// To learn of nodes at all.
    Bootstrap,
    /// A step of a look-up.
    Lookup { lookup: u64, node: NodeInfo },
    /// To store what a search ends with.
    Store { search: SearchId, node: NodeInfo },
}

/// One query.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) to: SocketAddr,
    pub(super) sent: Instant,
    pub(super) purpose: Purpose,
    /// To send once more.
    pub(super) packet: Vec<u8>,
    age: Age,
}

/// How old a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// Older than `slow_after`.
    Slow,
    /// Older than twice that: nothing waits for it any more.
    Late,
    /// Older than `query_timeout`: it is gone.
    Lost,
}

/// A query that became older.
#[derive(Debug)]
pub(super) struct Aged {
    pub(super) age: Age,
    pub(super) to: SocketAddr,
    pub(super) purpose: Purpose,
    /// What was sent, if it is now slow.
    pub(super) packet: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Calls {
    pending: BTreeMap<u32, Call>,
    deadlines: Deadlines<u32>,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self { pending: BTreeMap::new(), deadlines: Deadlines::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn contains(&self, transaction: u32) -> bool {
        self.pending.contains_key(&transaction)
    }

    /// Begins to wait for an answer.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        transaction: u32,
        to: SocketAddr,
        purpose: Purpose,
        packet: Vec<u8>,
        conf: &DhtConf,
    ) {
        let call = Call { to, sent: now, purpose, packet, age: Age::Fresh };
        self.pending.insert(transaction, call);
        self.deadlines.push(now + conf.slow_after, transaction);
    }

    /// The query that an answer belongs to: of this transaction, and sent to its source.
    pub(super) fn answered(&mut self, transaction: &[u8], from: SocketAddr) -> Option<Call> {
        let transaction = u32::from_be_bytes(transaction.try_into().ok()?);
        let call = self.pending.get(&transaction)?;
        let same = call.to.port() == from.port()
            && call.to.ip().to_canonical() == from.ip().to_canonical();
        if same { self.pending.remove(&transaction) } else { None }
    }

    /// The next query that became slow, late or lost. One that is lost is forgotten.
    pub(super) fn pop_due(&mut self, now: Instant, conf: &DhtConf) -> Option<Aged> {
        while let Some((at, transaction)) = self.deadlines.pop_due(now) {
            let Some(call) = self.pending.get_mut(&transaction) else { continue };
            let late = 2 * conf.slow_after;
            let lost = conf.query_timeout.max(late);
            let (age, since, next) = match call.age {
                Age::Fresh => (Age::Slow, conf.slow_after, late),
                Age::Slow => (Age::Late, late, lost),
                Age::Late | Age::Lost => (Age::Lost, lost, lost),
            };
            // An entry of an earlier query of the same transaction comes too early.
            if at < call.sent + since {
                continue;
            }
            call.age = age;
            let (to, purpose) = (call.to, call.purpose);
            let packet = if age == Age::Slow { call.packet.clone() } else { Vec::new() };
            if age == Age::Lost {
                self.pending.remove(&transaction);
            } else {
                self.deadlines.push(call.sent + next, transaction);
            }
            return Some(Aged { age, to, purpose, packet });
        }
        None
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    /// When the next query may become older.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }
}
