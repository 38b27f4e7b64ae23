//! Our queries under way: their nodes, their purposes, and when they count as slow, late or lost.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{event::SearchId, secret::Transactions};
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
    packet: Vec<u8>,
    age: Age,
    /// The age at which it is slow.
    slow: Duration,
}

impl Call {
    /// The round trip that an answer now would measure; `None` if the query may have been sent
    /// again, so that it cannot be told which of the two is answered.
    pub(super) fn measured(&self, now: Instant) -> Option<Duration> {
        let once = matches!(self.purpose, Purpose::Ping | Purpose::Bootstrap);
        (once || self.age == Age::Fresh).then(|| now.since(self.sent))
    }

    /// The age at which nothing waits for it any more: if it was sent again, it has twice as long
    /// as at first.
    fn late(&self, conf: &DhtConf) -> Duration {
        (3 * self.slow).min(2 * conf.slow_after)
    }
}

/// How old a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// Older than most round trips are.
    Slow,
    /// Much older than that: nothing waits for it any more.
    Late,
    /// Older than `query_timeout`: it is gone.
    Lost,
}

/// A query that became older.
#[derive(Debug)]
pub(super) struct Aged {
    pub(super) age: Age,
    pub(super) to: SocketAddr,
    pub(super) sent: Instant,
    pub(super) purpose: Purpose,
    /// What was sent, if it is now slow.
    pub(super) packet: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Calls {
    transactions: Transactions,
    pending: BTreeMap<u32, Call>,
    deadlines: Deadlines<u32>,
    counts: CallCounts,
}

/// What is counted of queries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CallCounts {
    /// That were answered.
    pub(super) answers: u64,
    /// That are lost.
    pub(super) timeouts: u64,
    /// Answers to none.
    pub(super) strays: u64,
}

impl Calls {
    pub(super) fn new(transactions: Transactions) -> Self {
        let (pending, deadlines) = (BTreeMap::new(), Deadlines::new());
        Self { transactions, pending, deadlines, counts: CallCounts::default() }
    }

    pub(super) fn counts(&self) -> CallCounts {
        self.counts
    }

    /// Whether no further query may be under way.
    pub(super) fn is_full(&self, conf: &DhtConf) -> bool {
        self.pending.len() >= conf.max_pending
    }

    /// Begins to wait for an answer, which is slow if it takes longer than `slow`. Returns the
    /// packet to send, which `encode` makes of the transaction id.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        to: SocketAddr,
        purpose: Purpose,
        slow: Duration,
        encode: impl FnOnce([u8; 4]) -> Vec<u8>,
    ) -> Vec<u8> {
        let transaction = loop {
            let transaction = self.transactions.next_id();
            if !self.pending.contains_key(&transaction) {
                break transaction;
            }
        };
        let packet = encode(transaction.to_be_bytes());
        let call = Call { to, sent: now, purpose, packet: packet.clone(), age: Age::Fresh, slow };
        self.pending.insert(transaction, call);
        self.deadlines.push(now + slow, transaction);
        packet
    }

    /// The query that an answer belongs to: of this transaction, and sent to its source.
    pub(super) fn answered(&mut self, transaction: &[u8], from: SocketAddr) -> Option<Call> {
        let call = self.take(transaction, from);
        let count = if call.is_some() { &mut self.counts.answers } else { &mut self.counts.strays };
        *count += 1;
        call
    }

    /// Whether an answer of this transaction and source belongs to a query.
    pub(super) fn awaits(&self, transaction: &[u8], from: SocketAddr) -> bool {
        self.find(transaction, from).is_some()
    }

    fn take(&mut self, transaction: &[u8], from: SocketAddr) -> Option<Call> {
        let transaction = self.find(transaction, from)?;
        self.pending.remove(&transaction)
    }

    fn find(&self, transaction: &[u8], from: SocketAddr) -> Option<u32> {
        let transaction = u32::from_be_bytes(transaction.try_into().ok()?);
        let call = self.pending.get(&transaction)?;
        let same = call.to.port() == from.port()
            && call.to.ip().to_canonical() == from.ip().to_canonical();
        same.then_some(transaction)
    }

    /// The next query that became slow, late or lost. One that is lost is forgotten.
    pub(super) fn pop_due(&mut self, now: Instant, conf: &DhtConf) -> Option<Aged> {
        while let Some((at, transaction)) = self.deadlines.pop_due(now) {
            let Some(call) = self.pending.get_mut(&transaction) else { continue };
            let late = call.late(conf);
            let lost = conf.query_timeout.max(late);
            let (age, since, next) = match call.age {
                Age::Fresh => (Age::Slow, call.slow, late),
                Age::Slow => (Age::Late, late, lost),
                Age::Late | Age::Lost => (Age::Lost, lost, lost),
            };
            // An entry of an earlier query of the same transaction comes too early.
            if at < call.sent + since {
                continue;
            }
            call.age = age;
            let (to, sent, purpose) = (call.to, call.sent, call.purpose);
            let packet = if age == Age::Slow { call.packet.clone() } else { Vec::new() };
            if age == Age::Lost {
                self.pending.remove(&transaction);
                self.counts.timeouts += 1;
            } else {
                self.deadlines.push(sent + next, transaction);
            }
            return Some(Aged { age, to, sent, purpose, packet });
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

#[cfg(test)]
mod tests {
    use super::{super::secret::Secret, *};

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// When a call becomes older that is slow after so many ms.
    fn ages(purpose: Purpose, slow: u64) -> (Calls, Vec<(u64, Age)>) {
        let conf = DhtConf::default();
        let mut calls = Calls::new(Secret::new(&[1; 32]).transactions());
        let to = "192.0.2.1:1".parse().unwrap();
        calls.begin(at(0), to, purpose, Duration::from_millis(slow), |id| id.to_vec());
        let mut ages = Vec::new();
        while let Some(next) = calls.next_deadline() {
            let aged = calls.pop_due(next, &conf).unwrap();
            ages.push((next.as_micros() / 1000, aged.age));
        }
        (calls, ages)
    }

    #[test]
    fn query_is_slow_by_its_own_measure_then_late_then_lost() {
        let (calls, early) = ages(Purpose::Ping, 200);
        assert_eq!(early, [(200, Age::Slow), (600, Age::Late), (6000, Age::Lost)]);
        assert!(calls.pending.is_empty());
        let (_, patient) = ages(Purpose::Ping, 1000);
        assert_eq!(patient, [(1000, Age::Slow), (2000, Age::Late), (6000, Age::Lost)]);
    }

    #[test]
    fn answer_to_a_query_sent_twice_measures_nothing() {
        let conf = DhtConf::default();
        let node = NodeInfo { id: Default::default(), addr: "192.0.2.1:1".parse().unwrap() };
        for (purpose, measures) in
            [(Purpose::Ping, true), (Purpose::Lookup { lookup: 1, node }, false)]
        {
            let mut calls = Calls::new(Secret::new(&[1; 32]).transactions());
            let mut begin = |ms| {
                calls.begin(at(0), node.addr, purpose, Duration::from_millis(ms), |id| id.to_vec())
            };
            let (slow, fast) = (begin(200), begin(900));
            assert!(calls.pop_due(at(300), &conf).is_some());
            let fast = calls.answered(&fast, node.addr).unwrap();
            assert_eq!(fast.measured(at(300)), Some(Duration::from_millis(300)));
            let slow = calls.answered(&slow, node.addr).unwrap();
            assert_eq!(slow.measured(at(300)).is_some(), measures);
        }
    }
}
