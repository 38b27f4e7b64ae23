//! A node of the DHT alone, on its own UDP sockets: `dht HASH --bootstrap HOST:PORT`.
//!
//! What it teaches: how to drive `cratetorrent::dht::Node`. Threads read the sockets and resolve
//! names, one loop owns the node: datagrams and times in, datagrams and events out.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]

mod picture;

use std::{
    collections::BTreeMap,
    fs, io,
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant as Clock},
};

use cratetorrent::{
    Instant,
    conf::{Bootstrap, DhtConf},
    dht::{Announce, DhtEvent, DhtState, Node, Output, SearchId, Step},
    wire::krpc::{Family, NodeId},
};
use picture::Picture;
use ring::rand::{SecureRandom, SystemRandom};

const HELP: &str = "\
Joins the DHT, looks for the peers of a torrent, and prints the look-up as it goes.

Usage: dht [HASH] [options]

  HASH                  the info-hash, 40 hexadecimal digits; without it, the node only takes part
  --bootstrap HOST:PORT where to begin; may be given again (default: nowhere)
  --dht-state FILE      begin with the nodes in FILE, and save them there at the end
  --listen ADDR:PORT    the UDP socket, one of each family at most (default 0.0.0.0:0)
  --announce PORT       announce a peer at PORT to the closest nodes
  --warm SECONDS        fill the table for so long first (default 5)
  --stay SECONDS        take part for so long afterwards, and answer (default 0)
  --read-only           answer nothing (BEP 43)
  --svg FILE            draw the look-up
  --quiet               print peers only
  --help

Exit status: 0 peers were found, or no HASH; 1 none, or a failure; 2 nonsense asked.";

fn main() -> ExitCode {
    match Options::parse() {
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(options)) => run(options).unwrap_or_else(|error| {
            eprintln!("dht: {error}");
            ExitCode::FAILURE
        }),
        Err(error) => {
            eprintln!("dht: {error}; --help tells how");
            ExitCode::from(2)
        }
    }
}

struct Options {
    hash: Option<NodeId>,
    bootstrap: Vec<Bootstrap>,
    state: Option<PathBuf>,
    listen: Vec<SocketAddr>,
    announce: Option<u16>,
    warm: Duration,
    stay: Duration,
    read_only: bool,
    svg: Option<PathBuf>,
    quiet: bool,
}

impl Options {
    fn parse() -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let mut args = pico_args::Arguments::from_env();
        if args.contains("--help") {
            return Ok(None);
        }
        let secs = |s: Option<u64>, default| Duration::from_secs(s.unwrap_or(default));
        let options = Self {
            bootstrap: args.values_from_fn("--bootstrap", bootstrap)?,
            state: args.opt_value_from_str("--dht-state")?,
            listen: args.values_from_str("--listen")?,
            announce: args.opt_value_from_str("--announce")?,
            warm: secs(args.opt_value_from_str("--warm")?, 5),
            stay: secs(args.opt_value_from_str("--stay")?, 0),
            read_only: args.contains("--read-only"),
            svg: args.opt_value_from_str("--svg")?,
            quiet: args.contains("--quiet"),
            hash: args.opt_free_from_fn(hash)?,
        };
        match args.finish().first() {
            Some(left) => Err(format!("{left:?} is not understood").into()),
            None => Ok(Some(options)),
        }
    }
}

fn bootstrap(text: &str) -> Result<Bootstrap, String> {
    let (host, port) = text.rsplit_once(':').ok_or(format!("{text:?} is not HOST:PORT"))?;
    let port = port.parse().map_err(|e| format!("port {port:?}: {e}"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Bootstrap { host, port, router: false })
}

fn hash(text: &str) -> Result<NodeId, String> {
    let wrong = || format!("{text:?} is not 40 hexadecimal digits");
    if text.len() != 40 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut id = NodeId::default();
    for (at, byte) in id.0.iter_mut().enumerate() {
        let digits = text.get(2 * at..2 * at + 2).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(id)
}

/// What threads tell the loop.
enum News {
    Datagram { from: SocketAddr, data: Vec<u8> },
    Resolved { host: String, port: u16, addrs: Vec<SocketAddr> },
}

/// The loop: the node, its sockets, and the clock.
struct Driver {
    node: Node,
    sockets: BTreeMap<Family, Arc<UdpSocket>>,
    news: Receiver<News>,
    tell: Sender<News>,
    began: Clock,
}

fn run(options: Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut driver = Driver::new(&options)?;
    let mut look = Look { quiet: options.quiet, ..Look::default() };
    driver.run_until(driver.now() + options.warm, &mut look)?;
    if !options.quiet {
        let stats = driver.node.stats(driver.now());
        println!("{} nodes of IPv4 and {} of IPv6 known", stats.nodes_v4, stats.nodes_v6);
    }
    if let Some(hash) = options.hash {
        let announce = options.announce;
        let announce = announce.map(|port| Announce { port, implied_port: false, seed: false });
        driver.node.set_trace(true);
        look.began = driver.now();
        look.search = Some(driver.node.find_peers(driver.now(), hash, announce));
        while !look.done {
            let end = driver.now() + Duration::from_secs(1);
            driver.run_until(end, &mut look)?;
        }
    }
    driver.run_until(driver.now() + options.stay, &mut look)?;
    if let Some(path) = &options.state {
        fs::write(path, driver.node.state().encode())?;
    }
    if let Some(path) = &options.svg {
        fs::write(path, look.picture.svg())?;
    }
    let found = options.hash.is_none() || look.peers > 0;
    Ok(if found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Driver {
    fn new(options: &Options) -> Result<Self, Box<dyn std::error::Error>> {
        let (tell, news) = mpsc::channel();
        let mut listen = options.listen.clone();
        if listen.is_empty() {
            listen.push(SocketAddr::from(([0, 0, 0, 0], 0)));
        }
        let mut sockets = BTreeMap::new();
        for addr in listen {
            let socket = Arc::new(UdpSocket::bind(addr)?);
            if !options.quiet {
                println!("listening on {}", socket.local_addr()?);
            }
            let (reader, tell) = (socket.clone(), tell.clone());
            thread::spawn(move || read(&reader, &tell));
            sockets.insert(Family::of(addr.ip()), socket);
        }
        let mut conf = DhtConf::default();
        conf.bootstrap = options.bootstrap.clone();
        conf.read_only = options.read_only;
        conf.validate()?;
        let state = match options.state.as_ref().map(fs::read) {
            Some(Ok(bytes)) => DhtState::decode(&bytes),
            Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
            _ => None,
        };
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| "the system has no random bytes")?;
        let families: Vec<_> = sockets.keys().copied().collect();
        let node = Node::new(conf, &families, &seed, state, Instant::ZERO);
        Ok(Self { node, sockets, news, tell, began: Clock::now() })
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.began.elapsed()
    }

    /// One turn after the other: what came, what is due, what goes out.
    fn run_until(&mut self, end: Instant, look: &mut Look) -> io::Result<()> {
        loop {
            self.settle(look)?;
            let now = self.now();
            // The end of the look-up is told once.
            if now >= end || look.done && look.search.take().is_some() {
                return Ok(());
            }
            let next = self.node.poll_timeout().map_or(end, |at| at.min(end));
            let news = match self.news.recv_timeout(next.since(now)) {
                Ok(news) => news,
                Err(RecvTimeoutError::Timeout) => {
                    self.node.handle_timeout(self.now());
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let now = self.now();
            match news {
                News::Datagram { from, data } => self.node.handle_datagram(now, from, &data),
                News::Resolved { host, port, addrs } => {
                    self.node.handle_resolved(now, &host, port, &addrs);
                }
            }
            if self.node.poll_timeout().is_some_and(|at| at <= now) {
                self.node.handle_timeout(now);
            }
        }
    }

    fn settle(&mut self, look: &mut Look) -> io::Result<()> {
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
        Ok(())
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

/// The look-up as it goes.
#[derive(Default)]
struct Look {
    quiet: bool,
    began: Instant,
    search: Option<SearchId>,
    peers: usize,
    done: bool,
    picture: Picture,
}

impl Look {
    fn note(&mut self, now: Instant, event: DhtEvent) {
        let ms = now.since(self.began).as_micros() as f64 / 1000.0;
        match event {
            DhtEvent::Step { step, .. } => {
                if !self.quiet {
                    print_step(ms, &step);
                }
                self.picture.note(ms, step);
            }
            DhtEvent::Peers { peers, from, .. } => {
                self.peers += peers.len();
                self.picture.note_peers(ms, from, peers.len());
                for peer in peers {
                    let line =
                        if self.quiet { String::new() } else { format!("{ms:8.1} ms  peer ") };
                    println!("{line}{peer}");
                }
            }
            DhtEvent::Finished { search, outcome, .. } if self.search == Some(search) => {
                self.done = true;
                if !self.quiet {
                    println!(
                        "{ms:8.1} ms  done: {} peers, {} queries, {} answers, stored by {} nodes",
                        outcome.peers, outcome.queries, outcome.answers, outcome.stored
                    );
                }
            }
            DhtEvent::Online { .. } | DhtEvent::Offline { .. } if !self.quiet => {
                println!("{event:?}");
            }
            DhtEvent::ExternalAddress { addr } if !self.quiet => println!("we are seen at {addr}"),
            _ => {}
        }
    }
}

fn print_step(ms: f64, step: &Step) {
    match step {
        Step::Asked { node, hop } => println!("{ms:8.1} ms  ask    hop {hop}  {}", node.addr),
        Step::Answered { node, hop, rtt, nodes, peers } => println!(
            "{ms:8.1} ms  answer hop {hop}  {} after {:.1} ms: {nodes} nodes, {peers} peers",
            node.addr,
            rtt.as_micros() as f64 / 1000.0
        ),
        Step::Slow { node, hop } => println!("{ms:8.1} ms  slow   hop {hop}  {}", node.addr),
        Step::Stored { node } => println!("{ms:8.1} ms  stored by {}", node.addr),
        _ => {}
    }
}
