//! Web servers that we did not write, as web seeds (BEP 19) of the `download` example: it fetches
//! everything from one alone, by the address in the torrent or one that the user names.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    LIMIT, create, folder, single_file,
    support::{clock, download::Bench, ports, process::Process, system::skip, torrent::Torrent},
};

/// A web server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Nginx,
    Lighttpd,
}

impl Server {
    fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Lighttpd => "lighttpd",
        }
    }

    /// The error says what is missing.
    fn find(self) -> Result<(), String> {
        let mut question = Command::new(self.program());
        match question.arg("-v").stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{self:?}: {}", String::from_utf8_lossy(&output.stderr))),
            Err(e) => Err(format!("{self:?}: {e}; scripts/install_clients installs it")),
        }
    }

    /// Starts it on loopback, with what is in `files`; settings and all that it writes are in
    /// `home`.
    fn start(self, home: &Path, files: &Path) -> (Process, SocketAddr) {
        let addr = SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
        let (port, files, at) = (addr.port(), files.display(), home.display());
        let conf = home.join("conf");
        let text = match self {
            Self::Nginx => {
                let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
                let temp: String =
                    temp.iter().map(|name| format!("{name}_temp_path {at}/{name};\n")).collect();
                format!(
                    "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr;\n\
                     events {{}}\nhttp {{\naccess_log off;\n{temp}server {{\n\
                     listen 127.0.0.1:{port};\nroot \"{files}\";\n}}\n}}\n"
                )
            }
            Self::Lighttpd => format!(
                "server.document-root = \"{files}\"\nserver.bind = \"127.0.0.1\"\n\
                 server.port = {port}\nserver.upload-dirs = ( \"{at}\" )\n"
            ),
        };
        fs::write(&conf, text).unwrap();
        let mut command = Command::new(self.program());
        match self {
            Self::Nginx => command.arg("-p").arg(home).args(["-e", "stderr", "-c"]).arg(&conf),
            Self::Lighttpd => command.args(["-D", "-f"]).arg(&conf),
        };
        let mut server = Process::spawn(self.program(), &mut command, home);
        clock::wait_for(&format!("{self:?} serves"), LIMIT, || {
            assert!(server.ended().is_none(), "{self:?} ended; it said:\n{}", server.tail());
            TcpStream::connect(addr).ok()
        });
        (server, addr)
    }
}

/// Ours downloads both torrents from `server` alone.
fn download_from(server: Server) {
    if let Err(why) = server.find() {
        return skip(&format!("web seed {server:?}"), &why);
    }
    for torrent in [single_file(), folder()] {
        download_one(server, &torrent);
    }
}

fn download_one(server: Server, torrent: &Torrent) {
    let mut bench = Bench::new(torrent);
    let source = bench.path().join("source");
    let home = bench.path().join("server");
    fs::create_dir(&source).unwrap();
    fs::create_dir(&home).unwrap();
    torrent.write_files(&source);
    fs::write(&bench.torrent, create(torrent, &source, None)).unwrap();
    let (_server, addr) = server.start(&home, &source);

    let started = clock::now();
    let mut command = bench.command(&[]);
    command.args(["--no-listen", "--web-seed", &format!("http://{addr}/")]);
    let mut process = bench.start(&mut command);
    let status = process.wait(LIMIT);
    assert!(status.success(), "download from {server:?}: {status}:\n{}", process.tail());
    torrent.assert_in(&bench.dir);
    println!("{} MiB from {server:?} in {:?}", torrent.len() >> 20, clock::now() - started);
}

#[test]
fn nginx_is_a_web_seed() {
    download_from(Server::Nginx);
}

#[test]
fn lighttpd_is_a_web_seed() {
    download_from(Server::Lighttpd);
}
