//! Nodes of the DHT: those that the user names, and the file that keeps those that are known.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use cratetorrent::{
    EngineHandle,
    conf::Bootstrap,
    dht::{DhtState, MAX_STATE},
};

use super::{
    Problem,
    args::{Args, path, values},
    complain, shown, whole,
};

/// How often the nodes that are known are saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(20);

/// What `--help` says of `--dht-state`.
pub const HELP_STATE: &str = "\
\x20 --dht-state FILE      join the DHT by the nodes in FILE, and keep those that are known there";

/// The nodes of all `--bootstrap` options.
pub fn bootstrap(args: &mut Args) -> Result<Vec<Bootstrap>, Problem> {
    let named = values(args, "--bootstrap")?;
    let node = |text: &String| {
        place(text).ok_or_else(|| {
            let form = "is not HOST:PORT, ADDR:PORT or [V6]:PORT, with a port from 1 to 65535";
            Problem::usage(format!("--bootstrap: {text:?} {form}"))
        })
    };
    named.iter().map(node).collect()
}

/// An address of IPv6 without brackets could be meant with its port or without.
fn place(text: &str) -> Option<Bootstrap> {
    let (host, port) = text.rsplit_once(':')?;
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = match inner {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None => host.to_owned(),
    };
    let fits = (1..=255).contains(&host.len()) && (inner.is_some() || !host.contains(':'));
    let port = port.parse().ok().filter(|&port| fits && port != 0)?;
    Some(Bootstrap { host, port, router: false })
}

/// The file of `--dht-state`.
#[derive(Clone, Debug)]
pub struct StateFile(PathBuf);

impl StateFile {
    /// Takes the option.
    pub fn parse(args: &mut Args) -> Result<Option<Self>, Problem> {
        Ok(path(args, "--dht-state")?.map(Self))
    }

    /// What is in it; nothing if it is not there yet, or empty. It can be written to: a program
    /// that runs for days tells so at its start. What is something else than such a state stays as
    /// it is.
    pub fn read(&self) -> Result<Vec<u8>, Problem> {
        let Self(path) = self;
        let cannot = |what: &str, e: &dyn std::fmt::Display| {
            Problem::new(format!("--dht-state: cannot {what} {}: {e}", shown(path)))
        };
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(cannot("read", &e)),
        };
        if !bytes.is_empty() && DhtState::decode(&bytes).is_none() {
            let sentence = format!(
                "--dht-state: {} holds no nodes of the DHT, and is left as it is; remove it, or \
                 name another file",
                shown(path)
            );
            return Err(Problem::new(sentence));
        }
        self.write(&bytes).map_err(|e| cannot("write", &e))?;
        Ok(bytes)
    }

    /// Writes it, whole or not at all; in place where no other can be put into its place: if it is
    /// mounted alone, or only its folder is read-only. On a full disk what is there stays.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let Self(path) = self;
        match whole::replace(path, bytes) {
            Err(e) if holds_its_place(&e) && path.exists() => whole::overwrite(path, bytes),
            done => done,
        }
    }
}

/// Whether it is the place that lets no other file in.
fn holds_its_place(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::CrossesDevices
    )
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = MAX_STATE as u64 + 1;
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, most), &mut bytes)?;
    Ok(bytes)
}

/// Keeps the nodes that an engine knows in a file, if there is one: now and then, and at the end.
#[derive(Clone, Debug)]
pub struct Nodes {
    engine: EngineHandle,
    kept: Option<Arc<Mutex<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    file: StateFile,
    /// What the engine knew last, and what of that is in the file.
    known: Vec<u8>,
    saved: Vec<u8>,
    /// A failure was told.
    told: bool,
}

impl Nodes {
    /// For an engine that began with what the file has.
    pub fn keep(engine: &EngineHandle, file: Option<StateFile>) -> Self {
        let kept = |file| Kept { file, known: Vec::new(), saved: Vec::new(), told: false };
        let kept = file.map(|file| Arc::new(Mutex::new(kept(file))));
        let nodes = Self { engine: engine.clone(), kept };
        if nodes.kept.is_some() {
            let nodes = nodes.clone();
            thread::spawn(move || {
                loop {
                    thread::sleep(SAVE_INTERVAL);
                    if !nodes.note() {
                        return;
                    }
                    nodes.save();
                }
            });
        }
        nodes
    }

    /// Asks the engine, which must not have ended. False if it has.
    pub fn note(&self) -> bool {
        let Some(kept) = &self.kept else { return false };
        match self.engine.call(|engine| engine.dht_state()) {
            Ok(Some(known)) => {
                kept.lock().unwrap_or_else(PoisonError::into_inner).known = known;
                true
            }
            _ => false,
        }
    }

    /// Saves what was noted last.
    pub fn save(&self) {
        let Some(kept) = &self.kept else { return };
        let kept = &mut *kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.known == kept.saved {
            return;
        }
        match kept.file.write(&kept.known) {
            Ok(()) => (kept.saved, kept.told) = (kept.known.clone(), false),
            Err(e) if !kept.told => {
                complain(&format!("--dht-state: cannot write {}: {e}", shown(&kept.file.0)));
                kept.told = true;
            }
            Err(_) => {}
        }
    }
}
