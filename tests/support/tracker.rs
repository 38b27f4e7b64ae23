//! A tracker with bad manners on request: HTTP (BEP 3, 7, 23), HTTPS and UDP (BEP 15) on loopback,
//! in threads, one swarm for all of them. It writes down what it hears.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use super::bencode;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client said to the tracker.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// `http`, `https`, `udp`; with ` scrape` behind it if it was one.
    pub via: String,
    /// The path and query, over HTTP.
    pub target: String,
    pub from: Option<SocketAddr>,
    pub info_hash: [u8; 20],
    pub peer_id: Vec<u8>,
    pub port: u16,
    pub uploaded: u64,
    pub downloaded: u64,
    pub left: u64,
    /// Empty if there is none.
    pub event: String,
    pub numwant: Option<i64>,
    pub key: String,
    pub user_agent: String,
}

/// How it behaves.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Seconds.
    pub interval: u32,
    pub min_interval: Option<u32>,
    /// Refuses with these words.
    pub failure: Option<String>,
    pub warning: Option<String>,
    /// Takes everything and says nothing.
    pub hang: bool,
    /// Says what address it sees (BEP 24).
    pub tell_address: bool,
    /// Sends requests over HTTP there, with the same query.
    pub redirect: Option<String>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            interval: 1800,
            min_interval: None,
            failure: None,
            warning: None,
            hang: false,
            tell_address: false,
            redirect: None,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    said: Vec<Said>,
    swarms: BTreeMap<[u8; 20], BTreeMap<SocketAddr, u64>>,
    downloads: BTreeMap<[u8; 20], u32>,
    manners: Manners,
    /// Connections that get no answer.
    hanging: Vec<TcpStream>,
    /// Where threads wait for something to come.
    tcp: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
    closing: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    heard: Condvar,
}

/// See the module. It ends with this value.
#[derive(Debug, Default)]
pub struct Tracker {
    shared: Arc<Shared>,
}

impl Tracker {
    pub fn new() -> Self {
        Self::default()
    }

    /// It can be reached over HTTP here from now on. Port 0: any.
    pub fn http(&self, at: SocketAddr) -> SocketAddr {
        self.listen(at, None)
    }

    /// It can be reached over HTTPS here from now on.
    pub fn https(&self, at: SocketAddr, conf: Arc<rustls::ServerConfig>) -> SocketAddr {
        self.listen(at, Some(conf))
    }

    /// HTTP at the same port in both families.
    pub fn http_both(&self) -> u16 {
        loop {
            let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = v4.local_addr().unwrap().port();
            if let Ok(v6) = TcpListener::bind(format!("[::1]:{port}")) {
                self.serve_on(v4, None);
                self.serve_on(v6, None);
                return port;
            }
        }
    }

    /// UDP at the same port in both families.
    pub fn udp_both(&self) -> u16 {
        loop {
            let v4 = UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = v4.local_addr().unwrap().port();
            if let Ok(v6) = UdpSocket::bind(format!("[::1]:{port}")) {
                self.answer_on(v4);
                self.answer_on(v6);
                return port;
            }
        }
    }

    /// It can be reached over UDP here from now on.
    pub fn udp(&self, at: SocketAddr) -> SocketAddr {
        let socket = UdpSocket::bind(at).unwrap();
        self.answer_on(socket)
    }

    /// How it behaves from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Manners)) {
        let mut state = lock(&self.shared);
        change(&mut state.manners);
        if !state.manners.hang {
            state.hanging.clear();
        }
    }

    /// What it heard so far.
    pub fn said(&self) -> Vec<Said> {
        lock(&self.shared).said.clone()
    }

    /// Waits until `enough` of what was said.
    pub fn wait_for(&self, enough: impl Fn(&[Said]) -> bool) -> Vec<Said> {
        let state = lock(&self.shared);
        let (state, late) = self
            .shared
            .heard
            .wait_timeout_while(state, PATIENCE, |state| !enough(&state.said))
            .unwrap();
        assert!(!late.timed_out(), "it has heard only {:#?}", state.said);
        state.said.clone()
    }

    fn listen(&self, at: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
        self.serve_on(TcpListener::bind(at).unwrap(), tls)
    }

    fn serve_on(
        &self,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> SocketAddr {
        let addr = listener.local_addr().unwrap();
        lock(&self.shared).tcp.push(addr);
        let shared = self.shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if lock(&shared).closing {
                    break;
                }
                let (Ok(stream), shared, tls) = (stream, shared.clone(), tls.clone()) else {
                    continue;
                };
                thread::spawn(move || serve(&shared, stream, tls));
            }
        });
        addr
    }

    fn answer_on(&self, socket: UdpSocket) -> SocketAddr {
        let addr = socket.local_addr().unwrap();
        lock(&self.shared).udp.push(addr);
        let shared = self.shared.clone();
        thread::spawn(move || {
            let mut buf = [0; 2048];
            while let Ok((len, from)) = socket.recv_from(&mut buf) {
                if lock(&shared).closing {
                    break;
                }
                if let Some(reply) = datagram(&shared, &buf[..len], from) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        addr
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let (tcp, udp) = {
            let mut state = lock(&self.shared);
            state.closing = true;
            state.hanging.clear();
            (std::mem::take(&mut state.tcp), std::mem::take(&mut state.udp))
        };
        for addr in tcp {
            let _ = TcpStream::connect(addr);
        }
        for addr in udp {
            let any = if addr.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let _ = UdpSocket::bind(any).and_then(|socket| socket.send_to(&[0], addr));
        }
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Notes what was said; true if there is to be an answer.
fn note(shared: &Shared, said: Said) -> bool {
    let mut state = lock(shared);
    if said.via.ends_with("scrape") || state.manners.failure.is_some() || state.manners.hang {
        // Such a request adds no peer to the swarm.
    } else if let Some(from) = said.from {
        let peer = SocketAddr::new(from.ip(), said.port);
        let swarm = state.swarms.entry(said.info_hash).or_default();
        match said.event.as_str() {
            "stopped" => _ = swarm.remove(&peer),
            _ => _ = swarm.insert(peer, said.left),
        }
        if said.event == "completed" {
            *state.downloads.entry(said.info_hash).or_default() += 1;
        }
    }
    let hang = state.manners.hang;
    state.said.push(said);
    drop(state);
    shared.heard.notify_all();
    !hang
}

// HTTP.

fn serve(shared: &Shared, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let Ok(from) = stream.peer_addr() else { return };
    let kept = stream.try_clone();
    match tls {
        Some(conf) => {
            let Ok(conn) = rustls::ServerConnection::new(conf) else { return };
            let mut stream = rustls::StreamOwned::new(conn, stream);
            if let Some(reply) = request(shared, &mut stream, from, "https") {
                let _ = stream.write_all(&reply);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
        None => match request(shared, &mut &stream, from, "http") {
            Some(reply) => _ = (&stream).write_all(&reply),
            None => {
                // A client that gets no answer keeps the connection.
                let mut state = lock(shared);
                if state.manners.hang {
                    state.hanging.extend(kept);
                }
            }
        },
    }
}

fn request(
    shared: &Shared,
    stream: &mut impl Read,
    from: SocketAddr,
    via: &str,
) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut said =
        Said { via: via.into(), target: target.clone(), from: Some(from), ..Said::default() };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("user-agent") => {
                said.user_agent = value.trim().to_owned()
            }
            Some(_) => {}
            None => break,
        }
    }
    let manners = lock(shared).manners.clone();
    if let Some(to) = manners.redirect {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        return Some(
            format!(
                "HTTP/1.1 302 Found\r\nLocation: {to}?{query}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            )
            .into(),
        );
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    if path.ends_with("scrape") {
        said.via += " scrape";
    }
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let bytes = percent_decoded(value);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let number = || text.parse().unwrap_or_default();
        match name {
            "info_hash" => said.info_hash = bytes.try_into().unwrap_or_default(),
            "peer_id" => said.peer_id = bytes,
            "port" => said.port = text.parse().unwrap_or_default(),
            "uploaded" => said.uploaded = number(),
            "downloaded" => said.downloaded = number(),
            "left" => said.left = number(),
            "event" => said.event = text,
            "numwant" => said.numwant = text.parse().ok(),
            "key" => said.key = text,
            _ => {}
        }
    }
    let (hash, scrape) = (said.info_hash, said.via.ends_with("scrape"));
    let (me, numwant) = (SocketAddr::new(from.ip(), said.port), said.numwant);
    if !note(shared, said) {
        return None;
    }
    let state = lock(shared);
    let body = if let Some(failure) = &state.manners.failure {
        bencode::dict(&[("failure reason", bencode::string(failure))])
    } else if scrape {
        let (seeds, leeches, downloads) = counts(&state, hash);
        let numbers = bencode::dict(&[
            ("complete", bencode::int(u64::from(seeds))),
            ("downloaded", bencode::int(u64::from(downloads))),
            ("incomplete", bencode::int(u64::from(leeches))),
        ]);
        let mut files = b"d20:".to_vec();
        files.extend(hash);
        files.extend(numbers);
        files.push(b'e');
        bencode::dict(&[("files", files)])
    } else {
        announced(&state, hash, me, numwant)
    };
    let mut reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    reply.extend(body);
    Some(reply)
}

fn announced(state: &State, hash: [u8; 20], me: SocketAddr, numwant: Option<i64>) -> Vec<u8> {
    let (seeds, leeches, _) = counts(state, hash);
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for peer in others(state, hash, me, numwant) {
        match peer.ip() {
            IpAddr::V4(ip) => v4.extend(ip.octets().into_iter().chain(peer.port().to_be_bytes())),
            IpAddr::V6(ip) => v6.extend(ip.octets().into_iter().chain(peer.port().to_be_bytes())),
        }
    }
    let mut entries = vec![
        ("complete", bencode::int(u64::from(seeds))),
        ("incomplete", bencode::int(u64::from(leeches))),
        ("interval", bencode::int(u64::from(state.manners.interval))),
        ("peers", bencode::string(v4)),
        ("peers6", bencode::string(v6)),
    ];
    if let Some(min) = state.manners.min_interval {
        entries.push(("min interval", bencode::int(u64::from(min))));
    }
    if let Some(warning) = &state.manners.warning {
        entries.push(("warning message", bencode::string(warning)));
    }
    if state.manners.tell_address {
        let ip = match me.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        entries.push(("external ip", bencode::string(ip)));
    }
    entries.sort_by_key(|(key, _)| *key);
    bencode::dict(&entries)
}

fn others(state: &State, hash: [u8; 20], me: SocketAddr, numwant: Option<i64>) -> Vec<SocketAddr> {
    let limit = usize::try_from(numwant.unwrap_or(50)).unwrap_or(50);
    state
        .swarms
        .get(&hash)
        .into_iter()
        .flatten()
        .map(|(addr, _)| *addr)
        .filter(|addr| *addr != me)
        .take(limit)
        .collect()
}

fn counts(state: &State, hash: [u8; 20]) -> (u32, u32, u32) {
    let all = || state.swarms.get(&hash).into_iter().flatten();
    let seeds = all().filter(|(_, left)| **left == 0).count() as u32;
    (seeds, all().count() as u32 - seeds, state.downloads.get(&hash).copied().unwrap_or_default())
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit =
                    || char::from(bytes.next().unwrap_or(b'0')).to_digit(16).unwrap_or(0) as u8;
                digit() << 4 | digit()
            }
            byte => byte,
        });
    }
    out
}

// UDP.

const MAGIC: u64 = 0x0417_2710_1980;
const CONNECTION: u64 = 0x1234_5678_9abc_def0;

fn datagram(shared: &Shared, packet: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let u32_at =
        |at: usize| packet.get(at..at + 4).map(|b| u32::from_be_bytes(b.try_into().unwrap()));
    let u64_at =
        |at: usize| packet.get(at..at + 8).map(|b| u64::from_be_bytes(b.try_into().unwrap()));
    let (id, action, transaction) = (u64_at(0)?, u32_at(8)?, u32_at(12)?);
    let answer = |action: u32, body: Vec<u8>| {
        let mut reply = action.to_be_bytes().to_vec();
        reply.extend(transaction.to_be_bytes());
        reply.extend(body);
        Some(reply)
    };
    if lock(shared).manners.hang {
        note(shared, Said { via: "udp".into(), from: Some(from), ..Said::default() });
        return None;
    }
    match action {
        0 if id == MAGIC => answer(0, CONNECTION.to_be_bytes().to_vec()),
        1 if id == CONNECTION => {
            let event = ["", "completed", "started", "stopped"]
                .get(u32_at(80)? as usize)
                .copied()
                .unwrap_or("?");
            let said = Said {
                via: "udp".into(),
                from: Some(from),
                info_hash: packet.get(16..36)?.try_into().ok()?,
                peer_id: packet.get(36..56)?.to_vec(),
                downloaded: u64_at(56)?,
                left: u64_at(64)?,
                uploaded: u64_at(72)?,
                event: event.into(),
                key: u32_at(88)?.to_string(),
                numwant: Some(i64::from(u32_at(92)? as i32)),
                port: packet.get(96..98).map(|b| u16::from_be_bytes(b.try_into().unwrap()))?,
                ..Said::default()
            };
            let (hash, me, numwant) =
                (said.info_hash, SocketAddr::new(from.ip(), said.port), said.numwant);
            note(shared, said);
            let state = lock(shared);
            if let Some(failure) = &state.manners.failure {
                return answer(3, failure.clone().into_bytes());
            }
            let (seeds, leeches, _) = counts(&state, hash);
            let mut body = Vec::new();
            for number in [state.manners.interval, leeches, seeds] {
                body.extend(number.to_be_bytes());
            }
            for peer in others(&state, hash, me, numwant) {
                match (peer.ip(), from.is_ipv4()) {
                    (IpAddr::V4(ip), true) => body.extend(ip.octets()),
                    (IpAddr::V6(ip), false) => body.extend(ip.octets()),
                    _ => continue,
                }
                body.extend(peer.port().to_be_bytes());
            }
            answer(1, body)
        }
        2 if id == CONNECTION => {
            let info_hash: [u8; 20] = packet.get(16..36)?.try_into().ok()?;
            note(
                shared,
                Said { via: "udp scrape".into(), from: Some(from), info_hash, ..Said::default() },
            );
            let (seeds, leeches, downloads) = counts(&lock(shared), info_hash);
            answer(2, [seeds, downloads, leeches].into_iter().flat_map(u32::to_be_bytes).collect())
        }
        _ => answer(3, b"no such action".to_vec()),
    }
}
