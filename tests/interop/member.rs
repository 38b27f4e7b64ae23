//! One program in a swarm: where it is, what it is to fetch or serve, and how far it is.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    clients::{Client, Role},
    support::{
        download::{self, Bench},
        network::Place,
        ports,
        process::Process,
        torrent::Torrent,
    },
};

/// One of the swarm.
pub(crate) struct Member {
    // First, so that it has ended when its folder goes.
    pub(crate) process: Option<Process>,
    pub(crate) name: String,
    pub(crate) bench: Bench,
    pub(crate) folder: PathBuf,
    pub(crate) place: Place,
    pub(crate) port: u16,
    pub(crate) done: bool,
}

impl Member {
    pub(crate) fn new(name: String, torrent: &Torrent, place: Place) -> Self {
        let bench = Bench::new(torrent);
        let folder = bench.dir.clone();
        Self { process: None, name, bench, folder, place, port: ports::free_port(), done: false }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.place.at(self.port)
    }

    pub(crate) fn start_ours(&mut self, peers: &[SocketAddr]) {
        let mut command = self.place.command(download::program());
        self.bench.arguments(&mut command, peers);
        self.process =
            Some(self.bench.start(command.args(["--seed", "--port", &self.port.to_string()])));
    }

    /// Looks whether it has everything by now.
    pub(crate) fn look(&mut self, torrent: &Torrent) -> bool {
        let process = self.process.as_mut().unwrap();
        assert!(process.ended().is_none(), "{} ended; it said:\n{}", self.name, process.tail());
        self.done = self.done || torrent.compare(&self.folder).is_ok();
        self.done
    }

    pub(crate) fn start_theirs(&mut self, client: Client, role: Role) {
        self.process = Some(client.start(role, &self.bench, &self.folder, &self.place, self.port));
    }
}
