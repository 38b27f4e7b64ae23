//! Driving a node: threads read the sockets and resolve names, one loop owns the node: datagrams
//! and times in, datagrams and events out.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant as Clock},
};

use cratetorrent::{
    Instant,
    conf::DhtConf,
    dht::{DhtState, Node, Output},
    wire::krpc::Family,
};
use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    args::Options,
    common::{Problem, complain},
    look::Look,
};

/// The longest wait for news, whatever is due: no clock overflows by it.
const LONG: Duration = Duration::from_secs(3600);

/// What threads tell the loop.
pub enum News {
    Datagram {
        from: SocketAddr,
        data: Vec<u8>,
    },
    Resolved {
        host: String,
        port: u16,
        addrs: Vec<SocketAddr>,
    },
    /// The user wants an end.
    Stop,
}

/// The loop: the node, its sockets, and the clock.
pub struct Driver {
    pub node: Node,
    sockets: BTreeMap<Family, Arc<UdpSocket>>,
    news: Receiver<News>,
    tell: Sender<News>,
    began: Clock,
    stopped: bool,
    /// Names that were told not to be found.
    lost_names: BTreeSet<(String, u16)>,
}

/// A socket for this address alone: one of IPv6 leaves IPv4 to a socket of its own, also on the
/// same port.
fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

impl Driver {
    pub fn new(options: &Options, look: &Look) -> Result<Self, Problem> {
        let mut conf = DhtConf::default();
        conf.bootstrap = options.bootstrap.clone();
        conf.read_only = options.read_only;
        conf.validate().map_err(Problem::of)?;
        let bytes = options.state.as_ref().map(|file| file.read()).transpose()?;
        let state = bytes.and_then(|bytes| DhtState::decode(&bytes));
        let begins_nowhere =
            conf.bootstrap.is_empty() && state.as_ref().is_none_or(|state| state.nodes.is_empty());
        if begins_nowhere && !options.hashes.is_empty() {
            let why = "no node to begin at: name one with --bootstrap, or a file that has some \
                       with --dht-state";
            return Err(Problem::usage(why));
        }
        let (tell, news) = mpsc::channel();
        let mut sockets = BTreeMap::new();
        for &addr in &options.listen {
            let cannot =
                |e: io::Error| Problem::new(format!("--listen: cannot listen on {addr}: {e}"));
            let socket = Arc::new(bind(addr).map_err(cannot)?);
            look.listening(socket.local_addr().map_err(cannot)?);
            let (reader, tell) = (socket.clone(), tell.clone());
            thread::spawn(move || read(&reader, &tell));
            sockets.insert(Family::of(addr.ip()), socket);
        }
        let mut seed = [0; 32];
        let random = SystemRandom::new().fill(&mut seed);
        random.map_err(|_| Problem::new("the system has no random bytes"))?;
        let families: Vec<_> = sockets.keys().copied().collect();
        let node = Node::new(conf, &families, &seed, state, Instant::ZERO);
        let (began, stopped, lost_names) = (Clock::now(), false, BTreeSet::new());
        Ok(Self { node, sockets, news, tell, began, stopped, lost_names })
    }

    /// Where threads tell their news.
    pub fn tell(&self) -> Sender<News> {
        self.tell.clone()
    }

    pub fn now(&self) -> Instant {
        Instant::ZERO + self.began.elapsed()
    }

    /// Whether the user wanted an end.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// One turn after the other until `end`, or until it `is_over` otherwise: what came, what is
    /// due, what goes out.
    pub fn run_until(&mut self, end: Instant, look: &mut Look, is_over: impl Fn(&Look) -> bool) {
        loop {
            self.settle(look);
            let now = self.now();
            if now >= end || self.stopped || is_over(look) {
                return;
            }
            let next = self.node.poll_timeout().map_or(end, |at| at.min(end));
            match self.news.recv_timeout(next.since(now).min(LONG)) {
                Ok(News::Datagram { from, data }) => {
                    self.node.handle_datagram(self.now(), from, &data);
                }
                Ok(News::Resolved { host, port, addrs }) => {
                    self.node.handle_resolved(self.now(), &host, port, &addrs);
                    if addrs.is_empty() && self.lost_names.insert((host.clone(), port)) {
                        complain(&format!("the address of {host:?} cannot be found"));
                    }
                }
                Ok(News::Stop) => self.stopped = true,
                // Neither happens: it has a sender itself.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            let now = self.now();
            if self.node.poll_timeout().is_some_and(|at| at <= now) {
                self.node.handle_timeout(now);
            }
        }
    }

    fn settle(&mut self, look: &mut Look) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, data } => {
                    if let Some(socket) = self.sockets.get(&Family::of(to.ip())) {
                        // A datagram that cannot be sent is as good as lost.
                        _ = socket.send_to(&data, to);
                    }
                }
                Output::Resolve { host, port } => {
                    let tell = self.tell.clone();
                    thread::spawn(move || {
                        let addrs = (host.as_str(), port).to_socket_addrs();
                        let addrs = addrs.map(Iterator::collect).unwrap_or_default();
                        _ = tell.send(News::Resolved { host, port, addrs });
                    });
                }
            }
        }
        let now = self.now();
        while let Some(event) = self.node.poll_event() {
            look.note(now, event);
        }
    }
}

fn read(socket: &UdpSocket, tell: &Sender<News>) {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                let data = buffer.get(..len).unwrap_or_default().to_vec();
                if tell.send(News::Datagram { from, data }).is_err() {
                    return;
                }
            }
            // On some systems, what an earlier datagram met.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
    }
}
