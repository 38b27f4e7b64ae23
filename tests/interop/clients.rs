//! How each client is told to seed or fetch one torrent on one port and to leave the rest of the
//! world alone: no DHT, no local discovery or peer exchange unless the test is about that, no port
//! mapping, settings of its own in a folder of the test's.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::{
    clock, download::Bench, network::Place, ports, process::Process, torrent::Torrent,
};

/// A client that we did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Libtorrent,
    Transmission,
    Aria2,
    Qbittorrent,
    Rtorrent,
    Rqbit,
}

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Serve files that are there.
    Seed,
    /// Fetch them from the peers that the torrent's tracker or the magnet link names.
    Leech,
    /// The same at [`SLOW`] bytes per second, for libtorrent and rqbit alone.
    Slow,
}

/// What a slow leech may receive, in bytes per second.
pub(crate) const SLOW: u32 = 20 * 1024;

use Client::{Aria2, Libtorrent, Qbittorrent, Rqbit, Rtorrent, Transmission};

impl Client {
    /// The error says what is missing.
    pub(crate) fn find(self) -> Result<(), String> {
        let question = match self {
            Libtorrent => "-cimport libtorrent",
            Rtorrent => "-h",
            _ => "--version",
        };
        match Command::new(self.program()).arg(question).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!(
                "{}: {}",
                self.program().display(),
                String::from_utf8_lossy(&output.stderr)
            )),
            Err(e) => Err(format!(
                "{}: {e}; scripts/install_clients installs it",
                self.program().display()
            )),
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Libtorrent => PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/target/interop/venv/bin/python"
            )),
            Transmission => "transmission-daemon".into(),
            Aria2 => "aria2c".into(),
            Qbittorrent => "qbittorrent-nox".into(),
            Rtorrent => "rtorrent".into(),
            Rqbit => "rqbit".into(),
        }
    }

    /// Transmission takes no peers from loopback addresses, so it gets a network of its own.
    pub(crate) fn needs_network(self) -> bool {
        self == Transmission
    }

    /// rtorrent takes no torrent without a tracker, even as a seed.
    pub(crate) fn needs_tracker(self) -> bool {
        self == Rtorrent
    }

    /// Starts it at `place` and listening on `port`, with the bench's torrent: as a seed, whose
    /// files are in `folder`, or as a leech that is to put them there.
    pub(crate) fn start(
        self,
        role: Role,
        bench: &Bench,
        folder: &Path,
        place: &Place,
        port: u16,
    ) -> Process {
        self.start_as(&Told::new(role, bench, folder, place, port))
    }

    /// Starts it as it is told.
    pub(crate) fn start_as(self, told: &Told<'_>) -> Process {
        let home = told.home();
        fs::create_dir(&home).unwrap();
        let mut command = told.place.command(self.program());
        match self {
            Libtorrent => libtorrent(&mut command, told),
            Transmission => transmission(&mut command, told),
            Aria2 => aria2(&mut command, told),
            Qbittorrent => qbittorrent(&mut command, told),
            Rtorrent => rtorrent(&mut command, told),
            Rqbit => rqbit(&mut command, told),
        }
        command
            .env("HOME", &home)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CACHE_HOME");
        Process::spawn(&format!("{self:?}"), &mut command, told.bench.path())
    }
}

/// What a client is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) role: Role,
    /// Has the `.torrent` file or the magnet link, and room for the client's own things.
    pub(crate) bench: &'a Bench,
    /// Where the torrent's files are or are to be.
    pub(crate) folder: &'a Path,
    pub(crate) place: &'a Place,
    pub(crate) port: u16,
    /// Whether it hears of peers from peers (BEP 11). libtorrent always does.
    pub(crate) exchange: bool,
    /// Whether libtorrent looks for peers in the local network (BEP 14). The others never do.
    pub(crate) local: bool,
    /// Whether it takes no connections but encrypted ones.
    pub(crate) encrypted: bool,
    /// Whether libtorrent dials by uTP alone, and transmission by uTP, too.
    pub(crate) utp: bool,
}

impl<'a> Told<'a> {
    /// What a client is told that does nothing beyond its role.
    pub(crate) fn new(
        role: Role,
        bench: &'a Bench,
        folder: &'a Path,
        place: &'a Place,
        port: u16,
    ) -> Self {
        let (exchange, local, encrypted, utp) = (false, false, false, false);
        Self { role, bench, folder, place, port, exchange, local, encrypted, utp }
    }

    /// A folder for its own things.
    fn home(&self) -> PathBuf {
        self.bench.path().join("home")
    }
}

fn libtorrent(command: &mut Command, told: &Told<'_>) {
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/run_libtorrent.py"));
    command.arg(&told.bench.torrent).arg(told.folder).arg(told.place.at(told.port).to_string());
    match told.role {
        Role::Seed => command.arg("seed"),
        Role::Leech => command,
        Role::Slow => command.arg(SLOW.to_string()),
    };
    command.args(told.local.then_some("local"));
    command.args(told.encrypted.then_some("encrypted"));
    command.args(told.utp.then_some("utp"));
}

fn transmission(command: &mut Command, told: &Told<'_>) {
    let Told { bench, folder, port, exchange, utp, .. } = told;
    let home = told.home();
    let encryption = if told.encrypted { 2 } else { 0 };
    let watched = home.join("watched");
    fs::create_dir(&watched).unwrap();
    fs::copy(&bench.torrent, watched.join("test.torrent")).unwrap();
    let settings = format!(
        r#"{{
            "dht-enabled": false, "lpd-enabled": false, "pex-enabled": {exchange},
            "port-forwarding-enabled": false, "utp-enabled": {utp},
            "peer-port": {port}, "peer-port-random-on-start": false, "encryption": {encryption},
            "rpc-enabled": false, "ratio-limit-enabled": false, "idle-seeding-limit-enabled": false,
            "watch-dir-enabled": true, "watch-dir": {watched:?}, "download-dir": {folder:?},
            "incomplete-dir-enabled": false,
            "rename-partial-files": false
        }}"#
    );
    fs::write(home.join("settings.json"), settings).unwrap();
    command.args(["--foreground", "--log-info", "--config-dir"]).arg(&home);
}

fn aria2(command: &mut Command, told: &Told<'_>) {
    let Told { role, bench, folder, place, port, exchange, .. } = told;
    let home = told.home();
    // Its UDP trackers need its DHT, which knows no node and stays alone: no other client here has
    // any.
    command.arg("--enable-dht=true").arg(format!("--dht-listen-port={port}"));
    command.arg(format!("--dht-file-path={}", home.join("dht.dat").display()));
    command.args(["--no-conf", "--enable-dht6=false", "--bt-enable-lpd=false"]);
    command.arg(format!("--enable-peer-exchange={exchange}"));
    command
        .args(["--seed-ratio=0", "--file-allocation=none"])
        .arg(format!("--interface={}", place.host()));
    command.args((*role == Role::Seed).then_some("--bt-seed-unverified=true"));
    if told.encrypted {
        command.args(["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"]);
    }
    command.arg(format!("--listen-port={port}")).arg("--dir").arg(folder);
    command.arg(&bench.torrent);
}

fn qbittorrent(command: &mut Command, told: &Told<'_>) {
    let Told { role, bench, folder, place, port, exchange, .. } = told;
    let home = told.home();
    let (interface, host) = (place.interface(), place.host());
    let encryption = if told.encrypted { 1 } else { 0 };
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n\
        [Preferences]\nWebUI\\Enabled=false\nGeneral\\Locale=en\n\
        [BitTorrent]\nSession\\Port={port}\nSession\\Interface={interface}\n\
        Session\\InterfaceName={interface}\nSession\\InterfaceAddress={host}\n\
        Session\\DHTEnabled=false\nSession\\LSDEnabled=false\nSession\\PeXEnabled={exchange}\n\
        Session\\BTProtocol=TCP\nSession\\Encryption={encryption}\n\
        Session\\GlobalMaxRatio=-1\nSession\\QueueingSystemEnabled=false\n\
        Session\\DisableAutoTMMByDefault=true\n\
        [Network]\nPortForwardingEnabled=false\n"
    );
    let config = home.join("qBittorrent/config");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("qBittorrent.conf"), settings).unwrap();
    command
        .arg(format!("--profile={}", home.display()))
        .arg(format!("--save-path={}", folder.display()));
    // Without a screen it insists on its web server, and ends when the port is another's.
    command.arg(format!("--webui-port={}", ports::free_port()));
    command.args((*role == Role::Seed).then_some("--skip-hash-check"));
    command.args(["--add-paused=false", "--skip-dialog=true"]).arg(&bench.torrent);
}

/// It finds out by itself whether the files are there.
fn rtorrent(command: &mut Command, told: &Told<'_>) {
    let Told { bench, folder, place, port, .. } = told;
    let home = told.home();
    let log = home.join("log");
    let encryption = match told.encrypted {
        true => "protocol.encryption.set = allow_incoming, require, require_RC4\n",
        false => "",
    };
    let settings = format!(
        "system.daemon.set = true\n\
        directory.default.set = {folder:?}\n\
        network.bind_address.set = {}\n\
        network.port_range.set = {port}-{port}\n\
        network.port_random.set = no\n\
        dht.mode.set = disable\n\
        protocol.pex.set = no\n\
        trackers.use_udp.set = no\n\
        log.open_file = \"log\", {log:?}\n\
        log.add_output = \"info\", \"log\"\n\
        {encryption}",
        place.host()
    );
    let file = home.join("rtorrent.rc");
    fs::write(&file, settings).unwrap();
    command.arg("-n").arg("-o").arg(format!("import={}", file.display())).arg(&bench.torrent);
}

fn rqbit(command: &mut Command, told: &Told<'_>) {
    let Told { role, bench, folder, place, port, .. } = told;
    command.args(["--disable-dht", "--disable-lsd", "--disable-upnp-port-forward"]);
    command.args(["--listen-ip", &place.host().to_string(), "--listen-port", &port.to_string()]);
    command.args((*role == Role::Seed).then_some("--disable-trackers"));
    if *role == Role::Slow {
        command.args(["--ratelimit-download", &SLOW.to_string()]);
    }
    command
        .args(["download", "--disable-http-api", "--overwrite", "--output-folder"])
        .arg(folder)
        .arg(&bench.torrent);
}

/// A tracker at `place` that names `peers` from the start, and each other peer that announces;
/// what is returned beside it is its URL.
pub(crate) fn tracker(bench: &Bench, peers: &[SocketAddr], place: &Place) -> (Process, String) {
    let port = ports::free_port();
    let mut command = place.command("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/tracker.py"));
    command
        .arg(place.host().to_string())
        .arg(port.to_string())
        .args(peers.iter().map(SocketAddr::to_string));
    let process = Process::spawn("tracker", &mut command, bench.path());
    clock::wait_for("the tracker is up", Duration::from_secs(20), || {
        process.output().contains("tracking").then_some(())
    });
    (process, format!("http://{}/announce", place.at(port)))
}

/// Whether a peer takes a greeting for `torrent` at `addr`, which `place` can reach, and then says
/// that it has all of it.
pub(crate) fn serves(bench: &Bench, torrent: &Torrent, addr: SocketAddr, place: &Place) -> bool {
    answers(bench, torrent, addr, place, |rest| has_all(torrent, rest))
}

/// Whether a peer takes a greeting for `torrent` there.
pub(crate) fn greets(bench: &Bench, torrent: &Torrent, addr: SocketAddr, place: &Place) -> bool {
    answers(bench, torrent, addr, place, |_| true)
}

/// Whether a peer takes a greeting for `torrent` there, and what follows its own is `enough`.
fn answers(
    bench: &Bench,
    torrent: &Torrent,
    addr: SocketAddr,
    place: &Place,
    enough: impl Fn(&[u8]) -> bool,
) -> bool {
    let mut greeting: [u8; 68] =
        *b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0IIIIIIIIIIIIIIIIIIII-PROBE--IS-IT-READY-";
    greeting[28..48].copy_from_slice(&torrent.info_hash);
    let enough = |answer: &[u8]| {
        answer.get(28..48) == Some(&torrent.info_hash[..])
            && enough(answer.get(68..).unwrap_or_default())
    };
    if place.is_loopback() {
        return probe(&greeting, addr, enough).unwrap_or(false);
    }
    enough(&probe_from(bench, &greeting, addr, place))
}

/// Some clients look at their sockets once a second.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Sends `greeting` and reads until it is `enough` or nothing comes any more.
fn probe(
    greeting: &[u8],
    addr: SocketAddr,
    enough: impl Fn(&[u8]) -> bool,
) -> std::io::Result<bool> {
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

/// The same from a place that this process is not in: what comes in that time.
fn probe_from(bench: &Bench, greeting: &[u8], addr: SocketAddr, place: &Place) -> Vec<u8> {
    let file = bench.path().join("greeting");
    fs::write(&file, greeting).unwrap();
    let (ip, port, file, limit) =
        (addr.ip(), addr.port(), file.display(), PROBE_LIMIT.as_secs_f64());
    let script =
        format!("exec 3<>/dev/tcp/{ip}/{port} && cat {file} >&3 && timeout {limit} cat <&3");
    place
        .command("bash")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap()
        .stdout
}

/// Whether the frames in `answer` say that the peer has every piece: Bitfield, or the fast
/// extension's Have All.
fn has_all(torrent: &Torrent, mut answer: &[u8]) -> bool {
    while let Some((len, rest)) = answer.split_first_chunk() {
        let len = u32::from_be_bytes(*len) as usize;
        let Some(frame) = rest.get(..len) else { return false };
        match frame.split_first() {
            Some((5, bits)) => {
                return bits.iter().map(|bits| bits.count_ones()).sum::<u32>() as usize
                    == torrent.pieces();
            }
            Some((14, [])) => return true,
            _ => answer = &rest[len..],
        }
    }
    false
}
