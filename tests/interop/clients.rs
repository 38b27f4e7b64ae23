//! How each client is told to seed one torrent on one port and to leave the rest of the world alone: no DHT, no local
//! discovery, no port mapping, no trackers, settings of its own in a folder of the test's.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::{bencode, clock, download::Bench, process::Process, system::Cable, torrent::Torrent};

/// A client that we did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Libtorrent,
    Transmission,
    Aria2,
    Qbittorrent,
    Rqbit,
}

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Serve files that are there.
    Seed,
    /// Fetch them from the peers that the torrent's tracker names.
    Leech,
}

use Client::{Aria2, Libtorrent, Qbittorrent, Rqbit, Transmission};

impl Client {
    /// The error says what is missing.
    pub(crate) fn find(self) -> Result<(), String> {
        let question = if self == Libtorrent { "-cimport libtorrent" } else { "--version" };
        match Command::new(self.program()).arg(question).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{}: {}", self.program().display(), String::from_utf8_lossy(&output.stderr))),
            Err(e) => Err(format!("{}: {e}; scripts/install_clients installs it", self.program().display())),
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Libtorrent => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/venv/bin/python")),
            Transmission => "transmission-daemon".into(),
            Aria2 => "aria2c".into(),
            Qbittorrent => "qbittorrent-nox".into(),
            Rqbit => "rqbit".into(),
        }
    }

    /// Transmission takes no peers from loopback addresses, so it gets a network of its own.
    pub(crate) fn needs_cable(self) -> bool {
        self == Transmission
    }

    /// Starts it on `port` of its end of the cable or of loopback with the bench's torrent: as a seed, whose files are in
    /// `folder`, or as a leech that is to put them there.
    pub(crate) fn start(self, role: Role, bench: &Bench, folder: &Path, port: u16, cable: Option<&Cable>) -> Process {
        let home = bench.path().join("home");
        fs::create_dir(&home).unwrap();
        let mut command = match cable {
            Some(cable) => cable.command(0, self.program()),
            None => Command::new(self.program()),
        };
        match self {
            Libtorrent => {
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/run_libtorrent.py"));
                command.arg(&bench.torrent).arg(folder).arg(port.to_string());
                command.args((role == Role::Seed).then_some("seed"));
            }
            Transmission => transmission(&mut command, &home, bench, folder, port),
            Aria2 => aria2(&mut command, role, bench, folder, port),
            Qbittorrent => qbittorrent(&mut command, role, &home, bench, folder, port),
            Rqbit => rqbit(&mut command, role, bench, folder, port),
        }
        command.env("HOME", &home).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME").env_remove("XDG_CACHE_HOME");
        Process::spawn(&format!("{self:?}"), &mut command, bench.path())
    }
}

fn transmission(command: &mut Command, home: &Path, bench: &Bench, folder: &Path, port: u16) {
    let watched = bench.path().join("watched");
    fs::create_dir(&watched).unwrap();
    fs::copy(&bench.torrent, watched.join("test.torrent")).unwrap();
    let settings = format!(
        r#"{{
            "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "port-forwarding-enabled": false, "utp-enabled": false,
            "peer-port": {port}, "peer-port-random-on-start": false, "encryption": 0,
            "rpc-enabled": false, "ratio-limit-enabled": false, "idle-seeding-limit-enabled": false,
            "watch-dir-enabled": true, "watch-dir": {watched:?}, "download-dir": {folder:?}, "incomplete-dir-enabled": false,
            "rename-partial-files": false
        }}"#
    );
    fs::write(home.join("settings.json"), settings).unwrap();
    command.args(["--foreground", "--log-info", "--config-dir"]).arg(home);
}

fn aria2(command: &mut Command, role: Role, bench: &Bench, folder: &Path, port: u16) {
    command.args([
        "--no-conf",
        "--enable-dht=false",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
    ]);
    command.args(["--seed-ratio=0", "--file-allocation=none", "--interface=127.0.0.1"]);
    command.args((role == Role::Seed).then_some("--bt-seed-unverified=true"));
    command.arg(format!("--listen-port={port}")).arg("--dir").arg(folder).arg(&bench.torrent);
}

fn qbittorrent(command: &mut Command, role: Role, home: &Path, bench: &Bench, folder: &Path, port: u16) {
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n\
        [Preferences]\nWebUI\\Enabled=false\nGeneral\\Locale=en\n\
        [BitTorrent]\nSession\\Port={port}\nSession\\Interface=lo\nSession\\InterfaceName=lo\nSession\\InterfaceAddress=127.0.0.1\n\
        Session\\DHTEnabled=false\nSession\\LSDEnabled=false\nSession\\PeXEnabled=false\nSession\\BTProtocol=TCP\n\
        Session\\GlobalMaxRatio=-1\nSession\\QueueingSystemEnabled=false\nSession\\DisableAutoTMMByDefault=true\n\
        [Network]\nPortForwardingEnabled=false\n"
    );
    let config = home.join("qBittorrent/config");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("qBittorrent.conf"), settings).unwrap();
    command.arg(format!("--profile={}", home.display())).arg(format!("--save-path={}", folder.display()));
    command.args((role == Role::Seed).then_some("--skip-hash-check"));
    command.args(["--add-paused=false", "--skip-dialog=true"]).arg(&bench.torrent);
}

fn rqbit(command: &mut Command, role: Role, bench: &Bench, folder: &Path, port: u16) {
    command.args(["--disable-dht", "--disable-lsd", "--disable-upnp-port-forward"]);
    command.args(["--listen-ip", "127.0.0.1", "--listen-port", &port.to_string()]);
    command.args((role == Role::Seed).then_some("--disable-trackers"));
    command.args(["download", "--disable-http-api", "--overwrite", "--output-folder"]).arg(folder).arg(&bench.torrent);
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A tracker of the kind that needs no program: a web server whose file `announce` names `peer` and nobody else. It runs at
/// our end of the cable or on loopback; what is returned beside it is its URL.
pub(crate) fn tracker(bench: &Bench, peer: SocketAddr, cable: Option<&Cable>) -> (Process, String) {
    let SocketAddr::V4(peer) = peer else { panic!("{peer} is not IPv4") };
    let folder = bench.path().join("tracker");
    fs::create_dir(&folder).unwrap();
    let compact = [&peer.ip().octets()[..], &peer.port().to_be_bytes()].concat();
    let answer = bencode::dict(&[("interval", bencode::int(1800)), ("peers", bencode::string(compact))]);
    fs::write(folder.join("announce"), answer).unwrap();
    let port = free_port().to_string();
    let mut command = cable.map_or_else(|| Command::new("python3"), |cable| cable.command(1, "python3"));
    command.args(["-u", "-m", "http.server", &port, "--bind", &peer.ip().to_string(), "--directory"]).arg(folder);
    let process = Process::spawn("tracker", &mut command, bench.path());
    clock::wait_for("the tracker is up", Duration::from_secs(20), || process.output().contains("Serving HTTP").then_some(()));
    (process, format!("http://{}:{port}/announce", peer.ip()))
}

/// Whether a peer at `addr` takes a greeting for `torrent` and then says that it has all of it.
pub(crate) fn serves(bench: &Bench, torrent: &Torrent, addr: SocketAddr, cable: Option<&Cable>) -> bool {
    let mut greeting: [u8; 68] = *b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0IIIIIIIIIIIIIIIIIIII-PROBE--IS-IT-READY-";
    greeting[28..48].copy_from_slice(&torrent.info_hash);
    let enough = |answer: &[u8]| {
        answer.get(28..48) == Some(&torrent.info_hash[..]) && has_all(torrent, answer.get(68..).unwrap_or_default())
    };
    match cable {
        Some(cable) => enough(&probe_by_cable(bench, &greeting, addr, cable)),
        None => probe(&greeting, addr, enough).unwrap_or(false),
    }
}

/// Some clients look at their sockets once a second.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Sends `greeting` and reads until it is `enough` or nothing comes any more.
fn probe(greeting: &[u8], addr: SocketAddr, enough: impl Fn(&[u8]) -> bool) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect_timeout(&addr, PROBE_LIMIT)?;
    socket.set_read_timeout(Some(PROBE_LIMIT))?;
    socket.write_all(greeting)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !enough(&answer) {
        match socket.read(&mut buffer)? {
            0 => return Ok(false),
            n => answer.extend(&buffer[..n]),
        }
    }
    Ok(true)
}

/// The same from the other end of a cable, which this process is not in: what comes in that time.
fn probe_by_cable(bench: &Bench, greeting: &[u8], addr: SocketAddr, cable: &Cable) -> Vec<u8> {
    let file = bench.path().join("greeting");
    fs::write(&file, greeting).unwrap();
    let (ip, port, file, limit) = (addr.ip(), addr.port(), file.display(), PROBE_LIMIT.as_secs_f64());
    let script = format!("exec 3<>/dev/tcp/{ip}/{port} && cat {file} >&3 && timeout {limit} cat <&3");
    cable.command(1, "bash").args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap().stdout
}

/// Whether the frames in `answer` say that the peer has every piece: Bitfield, or the fast extension's Have All.
fn has_all(torrent: &Torrent, mut answer: &[u8]) -> bool {
    while let Some((len, rest)) = answer.split_first_chunk() {
        let len = u32::from_be_bytes(*len) as usize;
        let Some(frame) = rest.get(..len) else { return false };
        match frame.split_first() {
            Some((5, bits)) => return bits.iter().map(|bits| bits.count_ones()).sum::<u32>() as usize == torrent.pieces(),
            Some((14, [])) => return true,
            _ => answer = &rest[len..],
        }
    }
    false
}
