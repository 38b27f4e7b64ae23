//! Nodes that run no engine: bytes out and bytes in as a test wants them.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    net::SocketAddr,
    time::Duration,
};

use crate::base::{rng::Rng, time::Instant};

/// A connection of a scripted node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub(super) u64);

/// What a scripted node does. All methods do nothing unless written.
pub trait Script: Debug + Send + Any {
    /// A connection was made, by another node (`incoming`) or by us.
    fn connected(&mut self, talk: &mut Talk<'_>, conn: ConnId, incoming: bool) {
        let _ = (talk, conn, incoming);
    }

    /// A connection that it wants to dial has this name.
    fn dialling(&mut self, conn: ConnId, addr: SocketAddr) {
        let _ = (conn, addr);
    }

    /// Bytes came.
    fn data(&mut self, talk: &mut Talk<'_>, conn: ConnId, bytes: &[u8]) {
        let _ = (talk, conn, bytes);
    }

    /// The other side closed a connection, or could not be reached.
    fn closed(&mut self, talk: &mut Talk<'_>, conn: ConnId) {
        let _ = (talk, conn);
    }

    /// A datagram came.
    fn datagram(&mut self, talk: &mut Talk<'_>, from: SocketAddr, bytes: &[u8]) {
        let _ = (talk, from, bytes);
    }

    /// A datagram came to the group of its local network.
    fn multicast(&mut self, talk: &mut Talk<'_>, from: SocketAddr, bytes: &[u8]) {
        let _ = (talk, from, bytes);
    }

    /// A time that it asked for has come.
    fn tick(&mut self, talk: &mut Talk<'_>) {
        let _ = talk;
    }
}

/// What a script may do.
#[derive(Debug)]
pub struct Talk<'a> {
    pub(super) now: Instant,
    pub(super) rng: &'a mut Rng,
    pub(super) actions: &'a mut Vec<Action>,
}

impl Talk<'_> {
    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A number in `0..n`.
    pub fn chance(&mut self, n: u64) -> u64 {
        self.rng.below(n)
    }

    /// Sends bytes. They wait for as long as it takes.
    pub fn send(&mut self, conn: ConnId, bytes: impl Into<Vec<u8>>) {
        self.actions.push(Action::Send(conn, bytes.into()));
    }

    /// Closes a connection, once what was sent is gone.
    pub fn close(&mut self, conn: ConnId) {
        self.actions.push(Action::Close(conn));
    }

    /// Wants to be told after a while.
    pub fn wake_after(&mut self, time: Duration) {
        self.actions.push(Action::Wake(time));
    }

    /// Stops or goes on reading a connection.
    pub fn read(&mut self, conn: ConnId, reading: bool) {
        self.actions.push(Action::Read(conn, reading));
    }

    /// Sends a datagram. If it is too long, nothing happens.
    pub fn send_datagram(&mut self, to: SocketAddr, bytes: impl Into<Vec<u8>>) {
        self.actions.push(Action::Datagram(to, bytes.into()));
    }

    /// Sends a datagram, in fragments if it is too long.
    pub fn send_fragmented(&mut self, to: SocketAddr, bytes: impl Into<Vec<u8>>) {
        self.actions.push(Action::Fragments(to, bytes.into()));
    }

    /// Sends a datagram to the group of its local network, if it is in one.
    pub fn send_multicast(&mut self, bytes: impl Into<Vec<u8>>) {
        self.actions.push(Action::Multicast(bytes.into()));
    }

    /// Dials an address.
    pub fn dial(&mut self, addr: SocketAddr) {
        self.actions.push(Action::Dial(addr));
    }
}

#[derive(Debug)]
pub(super) enum Action {
    Send(ConnId, Vec<u8>),
    Close(ConnId),
    Wake(Duration),
    Read(ConnId, bool),
    Dial(SocketAddr),
    Datagram(SocketAddr, Vec<u8>),
    Fragments(SocketAddr, Vec<u8>),
    Multicast(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct ScriptNode {
    pub(super) script: Box<dyn Script>,
    outboxes: BTreeMap<ConnId, VecDeque<u8>>,
    /// Connections that it does not read.
    unread: BTreeSet<ConnId>,
}

impl ScriptNode {
    pub(super) fn new(script: Box<dyn Script>) -> Self {
        Self { script, outboxes: BTreeMap::new(), unread: BTreeSet::new() }
    }

    pub(super) fn outbox(&mut self, conn: ConnId) -> &mut VecDeque<u8> {
        self.outboxes.entry(conn).or_default()
    }

    pub(super) fn forget(&mut self, conn: ConnId) {
        self.outboxes.remove(&conn);
    }

    pub(super) fn is_reading(&self, conn: ConnId) -> bool {
        !self.unread.contains(&conn)
    }

    pub(super) fn set_reading(&mut self, conn: ConnId, reading: bool) {
        if reading {
            self.unread.remove(&conn);
        } else {
            self.unread.insert(conn);
        }
    }
}
