//! Downloads from libtorrent through proxies that we did not write: dante (SOCKS 5, with
//! datagrams), microsocks (SOCKS 5 with a password) and tinyproxy (HTTP). Each program is in a
//! network namespace of its own around a switch that leads nowhere else, and a capture beside ours
//! shows that not one packet goes anywhere but to the proxy: no name is looked up, nothing is
//! multicast, no peer, tracker or node of the DHT is spoken with. Only the proxy knows the names.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    LIMIT,
    clients::{self, Client, Role, Told},
    create, single_file,
    support::{
        clock,
        download::{self, Bench},
        network::{Place, Switch},
        ports,
        process::Process,
        system::{is_root, skip},
        torrent::Torrent,
    },
};

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxy {
    Dante,
    /// It asks for a password.
    Microsocks,
    Tinyproxy,
}

const USER: &str = "user";
const PASSWORD: &str = "open-sesame";

impl Proxy {
    fn program(self) -> &'static str {
        match self {
            Self::Dante => "danted",
            Self::Microsocks => "microsocks",
            Self::Tinyproxy => "tinyproxy",
        }
    }

    /// Starts it at `place`; settings and all that it writes are in `home`.
    fn start(self, place: &Place, home: &Path) -> (Process, SocketAddr) {
        let at = place.at(ports::free_port());
        let (ip, port) = (at.ip().to_string(), at.port().to_string());
        let conf = home.join("proxy.conf");
        let mut command = place.command(self.program());
        match self {
            Self::Dante => {
                let all = "from: 0.0.0.0/0 to: 0.0.0.0/0";
                let text = format!(
                    "logoutput: stderr\ninternal: {ip} port = {port}\nexternal: {ip}\n\
                     clientmethod: none\nsocksmethod: none\nuser.privileged: root\n\
                     user.unprivileged: root\nclient pass {{ {all} }}\nsocks pass {{ {all} }}\n"
                );
                fs::write(&conf, text).unwrap();
                command.arg("-f").arg(&conf).arg("-p").arg(home.join("danted.pid"));
            }
            Self::Microsocks => {
                command.args(["-i", &ip, "-p", &port, "-u", USER, "-P", PASSWORD]);
            }
            Self::Tinyproxy => {
                let text = format!(
                    "Port {port}\nListen {ip}\nTimeout 60\nAllow 10.77.0.0/24\n\
                     BasicAuth {USER} {PASSWORD}\nLogLevel Info\n"
                );
                fs::write(&conf, text).unwrap();
                command.args(["-d", "-c"]).arg(&conf);
            }
        }
        let mut process = Process::spawn(self.program(), &mut command, home);
        clock::wait_for(&format!("{self:?} is up"), LIMIT, || {
            assert!(process.ended().is_none(), "{self:?} ended; it said:\n{}", process.tail());
            accepts(place, at).then_some(())
        });
        (process, at)
    }

    fn url(self, at: SocketAddr, password: &str) -> String {
        match self {
            Self::Dante => format!("socks5://{at}"),
            Self::Microsocks => format!("socks5://{USER}:{password}@{at}"),
            Self::Tinyproxy => format!("http://{USER}:{password}@{at}"),
        }
    }
}

/// Whether something accepts connections there.
fn accepts(place: &Place, addr: SocketAddr) -> bool {
    let script = format!("exec 3<>/dev/tcp/{}/{}", addr.ip(), addr.port());
    let mut command = place.command("bash");
    command.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_there(program: &str) -> bool {
    let mut question = Command::new("sh");
    question.args(["-c", &format!("command -v {program}")]).stdout(Stdio::null());
    question.status().is_ok_and(|status| status.success())
}

/// The packets of ours that have to do with anything but the proxy. What the system says by itself
/// of IPv6, in ICMP, has nothing to do with us; of groups it says it behind a header for each hop.
struct Capture {
    process: Process,
}

impl Capture {
    fn start(ours: &Place, proxy: &Place, home: &Path) -> Self {
        let filter = format!("not host {} and not icmp6 and not ip6[6] = 0", proxy.host());
        let mut command = ours.command("tcpdump");
        command.args(["-i", "eth0", "-n", "-l", "-p", "-Z", "root", &filter]);
        let process = Process::spawn("tcpdump", &mut command, home);
        clock::wait_for("the capture runs", LIMIT, || {
            process.output().contains("listening on").then_some(())
        });
        Self { process }
    }

    /// Ends it; panics if it has seen anything.
    #[track_caller]
    fn assert_silence(mut self) {
        // What was sent last is to be seen, too.
        clock::until(clock::now() + Duration::from_secs(1));
        self.process.terminate();
        self.process.wait(LIMIT);
        let said = self.process.output();
        let seen: Vec<&str> = said.lines().filter(|line| line.contains("> ")).collect();
        assert!(seen.is_empty(), "packets pass the proxy by:\n{}", seen.join("\n"));
        assert!(said.contains("0 packets captured"), "{said}");
    }
}

/// Everything but the download.
struct Scene {
    bench: Bench,
    torrent: Torrent,
    ours: Place,
    proxy: Place,
    at: SocketAddr,
    seed: SocketAddr,
    kept: (Switch, Vec<Process>),
}

/// A tracker and libtorrent as a seed, with names that only the proxy knows, and the proxy.
fn scene(test: &str, proxy: Proxy) -> Option<Scene> {
    for program in [proxy.program(), "tcpdump"] {
        if !is_there(program) {
            skip(test, &format!("{program} is missing; scripts/install_clients installs it"));
            return None;
        }
    }
    if let Err(why) = Client::Libtorrent.find() {
        skip(test, &why);
        return None;
    }
    let switch = match Switch::lay(3) {
        Ok(switch) => switch,
        Err(why) if !is_root() => {
            skip(test, &why);
            return None;
        }
        Err(why) => panic!("{why}"),
    };
    let [ours, theirs, seeds] = [0, 1, 2].map(|n| switch.place(n));
    theirs.set_hosts(&format!("{} tracker.test router.test\n", switch.hub().host()));
    let torrent = single_file();
    let bench = Bench::new(&torrent);
    let source = bench.path().join("source");
    fs::create_dir(&source).unwrap();
    torrent.write_files(&source);
    let port = ports::free_port();
    let seed = seeds.at(port);
    let (tracker, url) = clients::tracker(&bench, &[seed], &switch.hub());
    let url = url.replace(&switch.hub().host().to_string(), "tracker.test");
    fs::write(&bench.torrent, create(&torrent, &source, Some(&url))).unwrap();
    let told = Told::new(Role::Seed, &bench, &source, &seeds, port);
    let client = Client::Libtorrent.start_as(&told);
    clock::wait_for("libtorrent seeds", LIMIT, || {
        clients::serves(&bench, &torrent, seed, &switch.hub()).then_some(())
    });
    let (process, at) = proxy.start(&theirs, bench.path());
    let kept = (switch, vec![tracker, client, process]);
    Some(Scene { bench, torrent, ours, proxy: theirs, at, seed, kept })
}

impl Scene {
    /// Ours, with all that could leak switched on.
    fn download(&mut self, url: &str, more: &[&str]) -> Process {
        let mut command = self.ours.command(download::program());
        self.bench.arguments(&mut command, &[]);
        command.env_remove("NO_DHT").env_remove("NO_LSD");
        command.args(["--proxy", url, "--bootstrap", "router.test:6881"]).args(more);
        self.bench.start(&mut command)
    }
}

fn fetch(proxy: Proxy, transport: &str) {
    let test = format!("download through {proxy:?} by {transport}");
    let Some(mut scene) = scene(&test, proxy) else { return };
    let capture = Capture::start(&scene.ours, &scene.proxy, scene.bench.path());
    let started = clock::now();
    let url = proxy.url(scene.at, PASSWORD);
    let mut process = scene.download(&url, &["--transport", transport]);
    let status = process.wait(LIMIT);
    assert!(status.success(), "{test}: {status}:\n{}", process.tail());
    scene.torrent.assert_in(&scene.bench.dir);
    println!("{} MiB, {test}, in {:.1?}", scene.torrent.len() >> 20, clock::now() - started);
    assert!(!process.output().contains(PASSWORD), "the password is shown");
    capture.assert_silence();
    drop(scene.kept);
}

#[test]
fn dante_carries_a_download() {
    fetch(Proxy::Dante, "both");
}

#[test]
fn dante_carries_datagrams_of_utp() {
    fetch(Proxy::Dante, "utp");
}

#[test]
fn microsocks_takes_our_password() {
    fetch(Proxy::Microsocks, "both");
}

#[test]
fn tinyproxy_carries_a_download() {
    fetch(Proxy::Tinyproxy, "both");
}

/// Nothing comes, and nothing goes anywhere else; what is wrong is said.
fn fails(proxy: Proxy, url: impl FnOnce(&Scene) -> String, says: &str) {
    let Some(mut scene) = scene(&format!("{proxy:?} that fails"), proxy) else { return };
    let capture = Capture::start(&scene.ours, &scene.proxy, scene.bench.path());
    let url = url(&scene);
    let seed = scene.seed.to_string();
    let more = ["--transport", "both", "--timeout", "6", "--peer", &seed];
    let mut process = scene.download(&url, &more);
    let status = process.wait(LIMIT);
    assert!(!status.success());
    let said = process.output();
    assert!(said.contains(says), "{said}");
    assert!(!said.contains(PASSWORD) && !said.contains("mistaken"), "{said}");
    capture.assert_silence();
}

#[test]
fn wrong_password_leaks_nothing() {
    let wrong = |proxy: Proxy| move |scene: &Scene| proxy.url(scene.at, "mistaken");
    for proxy in [Proxy::Microsocks, Proxy::Tinyproxy] {
        fails(proxy, wrong(proxy), "the proxy refuses user and password");
    }
}

#[test]
fn proxy_that_is_down_leaks_nothing() {
    let closed = |scene: &Scene| format!("socks5://{}", scene.proxy.at(1));
    fails(Proxy::Dante, closed, "the proxy cannot be reached");
}
