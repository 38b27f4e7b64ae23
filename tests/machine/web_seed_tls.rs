//! Web seeds over HTTPS (BEP 19), on loopback: a server that proves who it is is fetched from, by
//! its name and its address, and no byte is taken from one that cannot.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{
    authority::Authority,
    clock,
    torrent::{Recipe, Torrent},
};
use cratetorrent::{
    Alert, AlertMask, Conf, TorrentParams,
    alert::{WebSeedError, WebSeedErrorKind},
    spawn,
    wire::metainfo::Metainfo,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that has one file, whose connections stay for several requests.
struct Server {
    addr: SocketAddr,
    /// Requests that it answered.
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(authority: &Authority, file: Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (addr, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (conf, file, counter) = (authority.server.clone(), Arc::new(file), asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), conf) = (stream, conf.clone()) else { return };
                let (file, counter) = (file.clone(), counter.clone());
                thread::spawn(move || serve(stream, conf, &file, &counter));
            }
        });
        Self { addr, asked }
    }
}

/// Answers requests for ranges until the other side has enough.
fn serve(
    stream: TcpStream,
    conf: Arc<rustls::ServerConfig>,
    file: &[u8],
    asked: &AtomicUsize,
) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let conn = rustls::ServerConnection::new(conf).ok()?;
    let mut reader = BufReader::new(rustls::StreamOwned::new(conn, stream));
    loop {
        let (mut range, mut line) = (None, String::new());
        while reader.read_line(&mut line).ok()? > 2 {
            if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
                let (first, last) = value.trim().split_once('-')?;
                range = Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?));
            }
            line.clear();
        }
        let (first, last) = range?;
        let body = file.get(first..=last)?;
        asked.fetch_add(1, Ordering::Relaxed);
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{}\r\n\
             Content-Length: {}\r\n\r\n",
            file.len(),
            body.len()
        );
        let out = reader.get_mut();
        out.write_all(head.as_bytes()).ok()?;
        out.write_all(body).ok()?;
        out.flush().ok()?;
    }
}

fn torrent() -> Torrent {
    Recipe::single("over tls", 5 * 256 * 1024 + 7, 256 * 1024).make(7)
}

/// A download from this web seed alone, until it has everything or the web seed has failed.
fn download(torrent: &Torrent, url: String, authority: &Authority) -> Result<(), WebSeedError> {
    let conf = Conf::default().with(|conf| {
        conf.network.listen = Vec::new();
        conf.alerts.mask = AlertMask::ALL;
        conf.trackers.tls_roots = vec![authority.root.clone()];
    });
    let dir = tempfile::tempdir().unwrap();
    let (engine, alerts) = spawn(conf).unwrap();
    let metainfo = Arc::new(Metainfo::from_bytes(&torrent.metainfo).unwrap());
    let params = TorrentParams { web_seeds: vec![url], ..TorrentParams::new(metainfo, dir.path()) };
    engine.call(|engine| engine.add_torrent(params)).unwrap().unwrap();
    let end = clock::now() + PATIENCE;
    let result = loop {
        match alerts.recv_timeout(end - clock::now()).unwrap() {
            Alert::Finished { .. } => break Ok(()),
            Alert::WebSeedFailed { error, .. } => break Err(error),
            _ => {}
        }
    };
    engine.shutdown();
    engine.join().unwrap();
    if result.is_ok() {
        torrent.assert_in(dir.path());
    }
    result
}

fn file(torrent: &Torrent) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    torrent.write_files(dir.path());
    std::fs::read(dir.path().join("over tls")).unwrap()
}

#[test]
fn verified_https_server_is_a_web_seed() {
    let (torrent, authority) = (torrent(), Authority::new(&["localhost", "127.0.0.1"]));
    let server = Server::start(&authority, file(&torrent));
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}/over%20tls", server.addr.port());
        download(&torrent, url, &authority).unwrap();
    }
    assert!(server.asked.load(Ordering::Relaxed) >= 2);
}

#[test]
fn https_web_seed_that_cannot_prove_its_name_is_not_used() {
    let torrent = torrent();
    let (known, unknown) = (Authority::new(&["elsewhere.test"]), Authority::new(&["127.0.0.1"]));
    for (authority, why) in [(&known, "not valid for"), (&unknown, "unknown")] {
        let server = Server::start(authority, file(&torrent));
        let url = format!("https://{}/over%20tls", server.addr);
        let error = download(&torrent, url, &known).unwrap_err();
        assert_eq!(error.kind, WebSeedErrorKind::Unreachable, "{error}");
        let text = error.to_string().to_lowercase();
        assert!(text.contains("certificate") && text.contains(why), "{error}");
        assert_eq!(server.asked.load(Ordering::Relaxed), 0);
    }
}
