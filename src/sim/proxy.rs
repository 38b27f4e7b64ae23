//! Proxies of a world, by SOCKS 5 or HTTP, good ones and others. What they send on comes from their
//! own address. It is a [`Script`]: what engines say to it goes through the same lines as all else.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    node,
    script::{ConnId, Script, Talk},
    tracker,
};
use crate::{
    base::{target::Target, time::Instant},
    wire::socks,
};

/// How a proxy behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyManners {
    /// As it should.
    #[default]
    Good,
    /// It lets everybody in and reaches nothing.
    Refuses,
    /// It takes no password but "pw" of "me".
    Password,
    /// It takes connections and says nothing.
    Silent,
    /// Each of its answers comes this much later.
    Slow(Duration),
    /// It says where things are by names, and calls the sender of a datagram by name, too.
    Names,
    /// It has no relay for datagrams.
    NoDatagrams,
    /// It does not answer who asks for one.
    NoRelayAnswer,
    /// What it says is neither SOCKS nor HTTP.
    Garbage,
}

/// A proxy of a world.
#[derive(Debug)]
pub struct ProxyHost {
    manners: ProxyManners,
    clients: BTreeMap<ConnId, Client>,
    /// Whose stream a connection with a target is.
    targets: BTreeMap<ConnId, ConnId>,
    /// Whose the dials are that the world has not made yet.
    dials: VecDeque<ConnId>,
    /// Who a datagram from outside is for: who has sent one there last.
    remotes: BTreeMap<SocketAddr, SocketAddr>,
    late: VecDeque<(Instant, ConnId, Vec<u8>)>,
    asked: Vec<Target>,
    datagrams: u64,
    /// Bytes of the longest datagram of a client, with the header that is for the relay.
    longest: usize,
}

#[derive(Debug, Default)]
struct Client {
    heard: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Proving,
    Asking,
    /// The target is dialled, by SOCKS or by CONNECT.
    Dialling {
        http: bool,
    },
    Linked(ConnId),
    /// Requests are sent on with a head of the proxy's own.
    Forwarding(Option<ConnId>),
    Relay,
}

/// The address of a name of the world.
fn look_up(target: &Target) -> Option<SocketAddr> {
    let (host, port) = match target {
        Target::Addr(addr) => return Some(*addr),
        Target::Name { host, port } => (host, *port),
    };
    let nth = |before: &str, after: &str| -> Option<usize> {
        host.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
    };
    let node = nth("node", ".sim").map(|nth| node::addr(nth).ip());
    let ip = node.or_else(|| nth("tracker", ".test").map(|nth| tracker::addr(nth).ip()));
    ip.map(|ip| SocketAddr::new(ip, port))
}

impl ProxyHost {
    pub(super) fn new(manners: ProxyManners) -> Self {
        Self {
            manners,
            clients: BTreeMap::new(),
            targets: BTreeMap::new(),
            dials: VecDeque::new(),
            remotes: BTreeMap::new(),
            late: VecDeque::new(),
            asked: Vec::new(),
            datagrams: 0,
            longest: 0,
        }
    }

    /// Changes how it behaves from now on.
    pub fn set_manners(&mut self, manners: ProxyManners) {
        self.manners = manners;
    }

    /// What it was asked for, in order: names as names.
    pub fn asked(&self) -> &[Target] {
        &self.asked
    }

    /// Datagrams of clients that it has sent on.
    pub fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// Bytes of the longest of them, with the header that is for the relay.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Connections with clients.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Clients of a relay.
    pub fn relays(&self) -> usize {
        self.clients.values().filter(|client| client.state == State::Relay).count()
    }

    fn say(&mut self, talk: &mut Talk<'_>, conn: ConnId, bytes: Vec<u8>) {
        match self.manners {
            ProxyManners::Silent => {}
            ProxyManners::Slow(time) => {
                self.late.push_back((talk.now() + time, conn, bytes));
                talk.wake_after(time);
            }
            _ => talk.send(conn, bytes),
        }
    }

    fn drop_client(&mut self, talk: &mut Talk<'_>, conn: ConnId) {
        talk.close(conn);
        self.forget_client(talk, conn);
    }

    fn forget_client(&mut self, talk: &mut Talk<'_>, conn: ConnId) {
        self.clients.remove(&conn);
        self.late.retain(|(_, late, _)| *late != conn);
        let targets: Vec<ConnId> =
            self.targets.iter().filter(|(_, c)| **c == conn).map(|(&t, _)| t).collect();
        for target in targets {
            self.targets.remove(&target);
            talk.close(target);
        }
    }

    /// A reply of SOCKS.
    fn reply(&self, code: u8, port: u16) -> Vec<u8> {
        match self.manners {
            ProxyManners::Names => {
                let mut out = vec![5, code, 0, 3, 5];
                out.extend(b"proxy");
                out.extend(port.to_be_bytes());
                out
            }
            _ => [&[5, code, 0, 1, 0, 0, 0, 0][..], &port.to_be_bytes()].concat(),
        }
    }

    /// A client has said something, or what it said before may go on.
    fn go_on(&mut self, talk: &mut Talk<'_>, conn: ConnId) {
        loop {
            let Some(client) = self.clients.get_mut(&conn) else { return };
            let heard = std::mem::take(&mut client.heard);
            let used = match (client.state, heard.first()) {
                (State::Linked(target), Some(_)) => {
                    talk.send(target, heard);
                    return;
                }
                (State::New, Some(5)) => self.greeted(talk, conn, &heard),
                (State::Proving, Some(_)) => self.proved(talk, conn, &heard),
                (State::Asking, Some(_)) => self.socks_asked(talk, conn, &heard),
                (State::New | State::Forwarding(_), Some(_)) => self.http_asked(talk, conn, &heard),
                _ => 0,
            };
            let Some(client) = self.clients.get_mut(&conn) else { return };
            client.heard = heard.get(used..).unwrap_or_default().to_vec();
            if used == 0 {
                return;
            }
        }
    }

    fn set(&mut self, conn: ConnId, state: State) {
        if let Some(client) = self.clients.get_mut(&conn) {
            client.state = state;
        }
    }

    fn greeted(&mut self, talk: &mut Talk<'_>, conn: ConnId, heard: &[u8]) -> usize {
        let [5, count, methods @ ..] = heard else { return 0 };
        let Some(methods) = methods.get(..usize::from(*count)) else { return 0 };
        let (answer, next) = match self.manners {
            ProxyManners::Garbage => (b"220 mail.test ready\r\n".to_vec(), State::New),
            ProxyManners::Password if methods.contains(&2) => (vec![5, 2], State::Proving),
            ProxyManners::Password => (vec![5, 0xFF], State::New),
            _ => (vec![5, 0], State::Asking),
        };
        self.set(conn, next);
        self.say(talk, conn, answer);
        2 + usize::from(*count)
    }

    fn proved(&mut self, talk: &mut Talk<'_>, conn: ConnId, heard: &[u8]) -> usize {
        let right = b"\x01\x02me\x02pw";
        if heard.starts_with(right) {
            self.set(conn, State::Asking);
            self.say(talk, conn, vec![1, 0]);
            return right.len();
        }
        if heard.len() < 3 || right.starts_with(heard) {
            return 0;
        }
        talk.send(conn, vec![1, 1]);
        self.drop_client(talk, conn);
        0
    }

    fn socks_asked(&mut self, talk: &mut Talk<'_>, conn: ConnId, heard: &[u8]) -> usize {
        // A request is built as a reply is.
        let [5, command, 0, _, ..] = heard else { return 0 };
        let as_reply = [&[5, 0], heard.get(2..).unwrap_or_default()].concat();
        let Ok(Some((reply, len))) = socks::decode_reply(&as_reply) else { return 0 };
        let target = reply.bound;
        if *command == 3 && self.manners == ProxyManners::NoRelayAnswer {
            return len;
        }
        if *command == 3 {
            let code = if self.manners == ProxyManners::NoDatagrams { 7 } else { 0 };
            self.set(conn, State::Relay);
            let answer = self.reply(code, node::PORT);
            self.say(talk, conn, answer);
        } else {
            self.asked.push(target.clone());
            match look_up(&target).filter(|_| self.manners != ProxyManners::Refuses) {
                Some(addr) => {
                    self.set(conn, State::Dialling { http: false });
                    self.dials.push_back(conn);
                    talk.dial(addr);
                }
                None => {
                    let answer = self.reply(4, 0);
                    self.say(talk, conn, answer);
                }
            }
        }
        len
    }

    fn http_asked(&mut self, talk: &mut Talk<'_>, conn: ConnId, heard: &[u8]) -> usize {
        let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else { return 0 };
        let head = String::from_utf8_lossy(&heard[..end]).into_owned();
        let used = end + 4;
        let refuse = |status: u16| format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        match self.manners {
            ProxyManners::Garbage => {
                self.say(talk, conn, b"220 mail.test ready\r\n".to_vec());
                return used;
            }
            ProxyManners::Password if !head.contains("Proxy-Authorization: Basic bWU6cHc=") => {
                self.say(talk, conn, refuse(407).into_bytes());
                return used;
            }
            ProxyManners::Refuses => {
                self.say(talk, conn, refuse(502).into_bytes());
                return used;
            }
            _ => {}
        }
        let mut words = head.split(' ');
        let (method, what) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let place = what.strip_prefix("http://").unwrap_or(what);
        let (place, path) = place.split_once('/').unwrap_or((place, ""));
        let target = place.parse().map(Target::Addr).ok().or_else(|| {
            let (host, port) = place.rsplit_once(':').unwrap_or((place, "80"));
            Some(Target::Name { host: host.into(), port: port.parse().ok()? })
        });
        let Some((target, addr)) = target.and_then(|t| Some((t.clone(), look_up(&t)?))) else {
            self.say(talk, conn, refuse(502).into_bytes());
            return used;
        };
        let state = self.clients.get(&conn).map(|client| client.state);
        if method == "CONNECT" {
            self.asked.push(target);
            self.set(conn, State::Dialling { http: true });
            self.dials.push_back(conn);
            talk.dial(addr);
            return used;
        }
        let rest: Vec<&str> =
            head.split("\r\n").skip(1).filter(|line| !line.starts_with("Proxy-")).collect();
        let ours = format!("{method} /{path} HTTP/1.1\r\n{}\r\n\r\n", rest.join("\r\n"));
        match state {
            Some(State::Forwarding(Some(to))) => {
                talk.send(to, ours.into_bytes());
                used
            }
            // It waits for the target.
            Some(State::Forwarding(None)) => 0,
            _ => {
                self.asked.push(target);
                self.set(conn, State::Forwarding(None));
                self.dials.push_back(conn);
                talk.dial(addr);
                0
            }
        }
    }

    /// The client that a connection with a target belongs to, and how it stands.
    fn client_of(&self, target: ConnId) -> Option<(ConnId, State)> {
        let conn = *self.targets.get(&target)?;
        Some((conn, self.clients.get(&conn)?.state))
    }
}

impl Script for ProxyHost {
    fn dialling(&mut self, conn: ConnId, _: SocketAddr) {
        if let Some(client) = self.dials.pop_front() {
            self.targets.insert(conn, client);
        }
    }

    fn connected(&mut self, talk: &mut Talk<'_>, conn: ConnId, incoming: bool) {
        if incoming {
            self.clients.insert(conn, Client::default());
            return;
        }
        match self.client_of(conn) {
            Some((client, State::Dialling { http })) => {
                self.set(client, State::Linked(conn));
                let answer = if http {
                    b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec()
                } else {
                    self.reply(0, 1)
                };
                self.say(talk, client, answer);
                self.go_on(talk, client);
            }
            Some((client, State::Forwarding(_))) => {
                self.set(client, State::Forwarding(Some(conn)));
                self.go_on(talk, client);
            }
            _ => talk.close(conn),
        }
    }

    fn data(&mut self, talk: &mut Talk<'_>, conn: ConnId, bytes: &[u8]) {
        if let Some((client, _)) = self.client_of(conn) {
            // Behind what is late.
            if self.late.iter().any(|(_, late, _)| *late == client) {
                self.say(talk, client, bytes.to_vec());
            } else {
                talk.send(client, bytes.to_vec());
            }
        } else if let Some(client) = self.clients.get_mut(&conn) {
            client.heard.extend_from_slice(bytes);
            self.go_on(talk, conn);
        }
    }

    fn closed(&mut self, talk: &mut Talk<'_>, conn: ConnId) {
        if self.clients.contains_key(&conn) {
            return self.forget_client(talk, conn);
        }
        let Some((client, state)) = self.client_of(conn) else { return };
        self.targets.remove(&conn);
        match state {
            State::Dialling { http: false } => {
                let answer = self.reply(5, 0);
                self.say(talk, client, answer);
            }
            State::Dialling { http: true } | State::Forwarding(None) => {
                self.say(talk, client, b"HTTP/1.1 502 Bad Gateway\r\n\r\n".to_vec());
            }
            _ => self.drop_client(talk, client),
        }
    }

    fn datagram(&mut self, talk: &mut Talk<'_>, from: SocketAddr, bytes: &[u8]) {
        if let Some(&client) = self.remotes.get(&from) {
            let sender = match self.manners {
                ProxyManners::Names => Target::Name { host: "sender".into(), port: from.port() },
                _ => from.into(),
            };
            let mut out = Vec::new();
            socks::encode_datagram(&sender, bytes, &mut out);
            return talk.send_fragmented(client, out);
        }
        if self.relays() == 0 {
            return;
        }
        let Ok((target, data)) = socks::decode_datagram(bytes) else { return };
        let is_loop = |ip: IpAddr| ip == from.ip();
        if let Some(addr) = look_up(&target).filter(|addr| !is_loop(addr.ip())) {
            if let Target::Name { .. } = target {
                self.asked.push(target);
            }
            self.datagrams += 1;
            self.longest = self.longest.max(bytes.len());
            self.remotes.insert(addr, from);
            talk.send_fragmented(addr, data.to_vec());
        }
    }

    fn tick(&mut self, talk: &mut Talk<'_>) {
        while self.late.front().is_some_and(|(at, ..)| *at <= talk.now()) {
            if let Some((_, conn, bytes)) = self.late.pop_front() {
                talk.send(conn, bytes);
            }
        }
    }
}
