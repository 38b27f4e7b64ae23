//! What the user has said of a torrent, and of the session as a whole, as records have it: bencoded
//! dictionaries, so that a later version can add to them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use crate::base::{
    bucket::{Limits, Rate},
    files::Priority,
    storage::Trust,
    totals::Totals,
    tracker_events::TrackerEvents,
};

use super::super::{
    bencode::{BencodeError, Document, Encoder, Limits as Bounds, Value},
    tracker_events,
};

/// All that a user can say of a torrent. The fields are those of
/// [`TorrentParams`](crate::TorrentParams).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TorrentSettings {
    /// The magnet link of a torrent whose metainfo is not known.
    pub magnet: Option<String>,
    /// The download folder.
    pub dir: PathBuf,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// Trackers by tier instead of the metainfo's.
    pub trackers: Option<Vec<Vec<String>>>,
    /// Web seeds beside the metainfo's.
    pub web_seeds: Vec<String>,
    /// Those of the metainfo that are not to be asked.
    pub removed_web_seeds: Vec<String>,
    /// In order instead of rarest first.
    pub sequential: bool,
    /// What may go unchecked.
    pub trust: Trust,
    /// At rest.
    pub paused: bool,
    /// BEP 16.
    pub super_seed: bool,
    /// A file each.
    pub priorities: Vec<Priority>,
    /// Files that have another name on disk.
    pub renames: Vec<(usize, PathBuf)>,
    /// Whether the queue decides.
    pub queued: bool,
    /// Where in the queue.
    pub queue_order: Option<u64>,
    /// What it did in all runs.
    pub totals: Totals,
    /// What its trackers have still to hear.
    pub tracker_events: TrackerEvents,
    /// When it has served enough: per cent of its size, time.
    pub stop: Option<(Option<u32>, Option<Duration>)>,
    /// Words.
    pub labels: Vec<String>,
    /// Its own limits.
    pub limits: Limits,
    /// Which connections are encrypted.
    pub encryption: EncryptionSettings,
}

/// What a user has said of how a torrent's connections are encrypted; `None`: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncryptionSettings {
    /// Its own policy: none, allowed, preferred, required (0 to 3).
    pub policy: Option<u8>,
    /// Its own methods: plain data preferred, RC4 preferred, plain data only, RC4 only (0 to 3).
    pub methods: Option<u8>,
}

/// What a user has said of a session as a whole; `None` where nothing was said, and the program's
/// own settings count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSettings {
    /// Over all torrents and peers.
    pub limits: Option<Limits>,
    /// Of each peer that has none of its own.
    pub peer_limits: Option<Limits>,
    /// Queued torrents at work at a time: downloads, seeds, all, checks.
    pub active: Option<[usize; 4]>,
    /// When a torrent has served enough that has no wish of its own: per cent of its size, time.
    pub stop: Option<(Option<u32>, Option<Duration>)>,
}

/// Why settings cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// They are not bencoded.
    #[error("settings are not valid bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// Something is missing, of a wrong type, or out of range.
    #[error("settings without a valid `{0}`")]
    Field(&'static str),
}

pub(super) type Result<T> = std::result::Result<T, SettingsError>;

impl TorrentSettings {
    /// Their bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict();
        push_flag(&mut e, b"check", !self.trust.is_any());
        e.key(b"dir").bytes(path_bytes(&self.dir).as_ref());
        push_flag(&mut e, b"elsewhere", self.trust == Trust::Elsewhere);
        if let Some(policy) = self.encryption.policy {
            e.key(b"encryption").uint(policy.into());
        }
        if let Some(methods) = self.encryption.methods {
            e.key(b"encryption methods").uint(methods.into());
        }
        push_texts(&mut e, b"labels", &self.labels);
        push_limits(&mut e, b"limits", self.limits);
        if let Some(magnet) = &self.magnet {
            e.key(b"magnet").bytes(magnet.as_bytes());
        }
        if let Some(order) = self.queue_order {
            // An integer of bencoding has 63 bits.
            e.key(b"order").bytes(&order.to_be_bytes());
        }
        push_flag(&mut e, b"paused", self.paused);
        if !self.peers.is_empty() {
            e.key(b"peers").list();
            self.peers.iter().for_each(|peer| _ = e.bytes(peer.to_string().as_bytes()));
            e.end();
        }
        if !self.priorities.is_empty() {
            e.key(b"priorities")
                .bytes(&self.priorities.iter().copied().map(priority_code).collect::<Vec<_>>());
        }
        push_flag(&mut e, b"queued", self.queued);
        push_texts(&mut e, b"removed web seeds", &self.removed_web_seeds);
        if !self.renames.is_empty() {
            e.key(b"renames").list();
            for (file, path) in &self.renames {
                e.list().uint(*file as u64).bytes(path_bytes(path).as_ref()).end();
            }
            e.end();
        }
        push_flag(&mut e, b"sequential", self.sequential);
        push_stop(&mut e, self.stop);
        push_flag(&mut e, b"super", self.super_seed);
        if self.totals != Totals::default() {
            let Totals { downloaded, uploaded, active, seeding } = self.totals;
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            e.key(b"totals")
                .dict()
                .key(b"active")
                .uint(millis(active))
                .key(b"down")
                .uint(downloaded);
            e.key(b"seeding").uint(millis(seeding)).key(b"up").uint(uploaded).end();
        }
        tracker_events::push(&mut e, b"tracker events", &self.tracker_events);
        if let Some(tiers) = &self.trackers {
            e.key(b"trackers").list();
            for tier in tiers {
                e.list();
                tier.iter().for_each(|url| _ = e.bytes(url.as_bytes()));
                e.end();
            }
            e.end();
        }
        push_flag(&mut e, b"trust", self.trust == Trust::Files);
        push_texts(&mut e, b"web seeds", &self.web_seeds);
        e.end();
        e.finish()
    }

    /// Reads them. What is not known is passed over.
    ///
    /// # Errors
    /// If they are not settings.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let document = parse(bytes)?;
        let root = document.root();
        let mut out = Self { dir: path(root.get(b"dir"), "dir")?, ..Self::default() };
        let choice = |name| match uint(root, name)? {
            Some(code @ 0..4) => Ok(Some(code as u8)),
            Some(_) => Err(SettingsError::Field(name)),
            None => Ok(None),
        };
        out.encryption = EncryptionSettings {
            policy: choice("encryption")?,
            methods: choice("encryption methods")?,
        };
        for label in list(root.get(b"labels"), "labels")? {
            out.labels.push(text(label, "labels")?);
        }
        out.limits = limits(root.get(b"limits"), "limits")?;
        out.magnet = root.get(b"magnet").map(|link| text(link, "magnet")).transpose()?;
        if let Some(order) = root.get(b"order") {
            let bytes = order
                .as_bytes()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(SettingsError::Field("order"))?;
            out.queue_order = Some(u64::from_be_bytes(bytes));
        }
        out.paused = flag(root, "paused")?;
        for peer in list(root.get(b"peers"), "peers")? {
            out.peers
                .push(text(peer, "peers")?.parse().map_err(|_| SettingsError::Field("peers"))?);
        }
        if let Some(priorities) = root.get(b"priorities") {
            let codes = priorities.as_bytes().ok_or(SettingsError::Field("priorities"))?;
            out.priorities = codes.iter().map(|&code| priority(code)).collect::<Result<_>>()?;
        }
        out.queued = flag(root, "queued")?;
        for url in list(root.get(b"removed web seeds"), "removed web seeds")? {
            out.removed_web_seeds.push(text(url, "removed web seeds")?);
        }
        for rename in list(root.get(b"renames"), "renames")? {
            let mut pair = list(Some(rename), "renames")?;
            let file = pair.next().and_then(|file| usize::try_from(file.as_int()?).ok());
            out.renames.push((
                file.ok_or(SettingsError::Field("renames"))?,
                path(pair.next(), "renames")?,
            ));
        }
        out.sequential = flag(root, "sequential")?;
        out.stop = stop(root)?;
        out.super_seed = flag(root, "super")?;
        if let Some(totals) = root.get(b"totals") {
            let time = |key| {
                Ok::<_, SettingsError>(Duration::from_millis(uint(totals, key)?.unwrap_or(0)))
            };
            let bytes = |key| Ok::<_, SettingsError>(uint(totals, key)?.unwrap_or(0));
            out.totals = Totals {
                downloaded: bytes("down")?,
                uploaded: bytes("up")?,
                active: time("active")?,
                seeding: time("seeding")?,
            };
        }
        out.tracker_events = tracker_events::read(root.get(b"tracker events"));
        if root.get(b"trackers").is_some() {
            let mut tiers = Vec::new();
            for tier in list(root.get(b"trackers"), "trackers")? {
                let mut urls = Vec::new();
                for url in list(Some(tier), "trackers")? {
                    urls.push(text(url, "trackers")?);
                }
                tiers.push(urls);
            }
            out.trackers = Some(tiers);
        }
        for url in list(root.get(b"web seeds"), "web seeds")? {
            out.web_seeds.push(text(url, "web seeds")?);
        }
        // What was saved of it before a check was asked for does not count any more, until the
        // check is over and that is saved.
        out.trust = match (flag(root, "check")?, flag(root, "elsewhere")?, flag(root, "trust")?) {
            (true, false, _) => Trust::Nothing,
            (true, true, _) => Trust::Elsewhere,
            (false, _, true) => Trust::Files,
            (false, _, false) => Trust::State,
        };
        Ok(out)
    }
}

impl SessionSettings {
    /// Their bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict();
        if let Some(active) = self.active {
            e.key(b"active").list();
            active.into_iter().for_each(|count| _ = e.uint(count as u64));
            e.end();
        }
        for (key, limits) in [(&b"limits"[..], self.limits), (b"peer limits", self.peer_limits)] {
            if let Some(limits) = limits {
                e.key(key);
                limits_dict(&mut e, limits);
            }
        }
        push_stop(&mut e, self.stop);
        e.end();
        e.finish()
    }

    /// Reads them. What is not known is passed over.
    ///
    /// # Errors
    /// If they are not settings.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let document = parse(bytes)?;
        let root = document.root();
        let mut active = None;
        if root.get(b"active").is_some() {
            let counts = list(root.get(b"active"), "active")?;
            let counts: Vec<usize> =
                counts.filter_map(|count| usize::try_from(count.as_int()?).ok()).collect();
            active = Some(counts.try_into().map_err(|_| SettingsError::Field("active"))?);
        }
        let said = |key: &'static str| {
            root.get(key.as_bytes()).map(|value| limits(Some(value), key)).transpose()
        };
        Ok(Self {
            limits: said("limits")?,
            peer_limits: said("peer limits")?,
            active,
            stop: stop(root)?,
        })
    }
}

/// The log is ours: what was written once is read again, however much it is, since a record has its
/// limit.
pub(super) fn parse(bytes: &[u8]) -> Result<Document<'_>> {
    Ok(Document::parse_with(
        bytes,
        &Bounds { bytes: super::MAX_PAYLOAD, depth: 8, tokens: usize::MAX },
    )?)
}

fn push_flag(e: &mut Encoder, key: &[u8], on: bool) {
    if on {
        e.key(key).int(1);
    }
}

fn push_texts(e: &mut Encoder, key: &[u8], texts: &[String]) {
    if !texts.is_empty() {
        e.key(key).list();
        texts.iter().for_each(|text| _ = e.bytes(text.as_bytes()));
        e.end();
    }
}

fn push_limits(e: &mut Encoder, key: &[u8], limits: Limits) {
    if limits == Limits::default() {
        return;
    }
    e.key(key);
    limits_dict(e, limits);
}

fn limits_dict(e: &mut Encoder, limits: Limits) {
    e.dict();
    for (key, rate) in [(&b"down"[..], limits.down), (b"up", limits.up)] {
        if let Some(rate) = rate {
            e.key(key).uint(rate.get());
        }
    }
    e.end();
}

fn limits(value: Option<Value<'_>>, name: &'static str) -> Result<Limits> {
    let Some(value) = value else { return Ok(Limits::default()) };
    value.as_dict().ok_or(SettingsError::Field(name))?;
    Ok(Limits {
        down: uint(value, "down")?.and_then(Rate::new),
        up: uint(value, "up")?.and_then(Rate::new),
    })
}

type Stop = Option<(Option<u32>, Option<Duration>)>;

fn push_stop(e: &mut Encoder, stop: Stop) {
    let Some((ratio, seeding)) = stop else { return };
    e.key(b"stop").dict();
    if let Some(ratio) = ratio {
        e.key(b"ratio").uint(ratio.into());
    }
    if let Some(seeding) = seeding {
        e.key(b"seeding").uint(seeding.as_millis().try_into().unwrap_or(u64::MAX));
    }
    e.end();
}

fn stop(root: Value<'_>) -> Result<Stop> {
    let Some(stop) = root.get(b"stop") else { return Ok(None) };
    let ratio = uint(stop, "ratio")?.map(|ratio| u32::try_from(ratio).unwrap_or(u32::MAX));
    Ok(Some((ratio, uint(stop, "seeding")?.map(Duration::from_millis))))
}

pub(super) fn flag(root: Value<'_>, key: &'static str) -> Result<bool> {
    match root.get(key.as_bytes()).map(|value| value.as_int()) {
        None | Some(Some(0)) => Ok(false),
        Some(Some(1)) => Ok(true),
        _ => Err(SettingsError::Field(key)),
    }
}

fn uint(root: Value<'_>, key: &'static str) -> Result<Option<u64>> {
    let Some(value) = root.get(key.as_bytes()) else { return Ok(None) };
    value
        .as_int()
        .and_then(|int| u64::try_from(int).ok())
        .map(Some)
        .ok_or(SettingsError::Field(key))
}

/// The items of a list, none if it is not there.
pub(super) fn list<'a>(
    value: Option<Value<'a>>,
    name: &'static str,
) -> Result<impl Iterator<Item = Value<'a>>> {
    let items = match value {
        None => None,
        Some(value) => Some(value.as_list().ok_or(SettingsError::Field(name))?),
    };
    Ok(items.into_iter().flatten())
}

fn text(value: Value<'_>, name: &'static str) -> Result<String> {
    value.as_str().map(str::to_owned).ok_or(SettingsError::Field(name))
}

fn path(value: Option<Value<'_>>, name: &'static str) -> Result<PathBuf> {
    value.and_then(|value| value.as_bytes()).and_then(bytes_path).ok_or(SettingsError::Field(name))
}

fn priority_code(priority: Priority) -> u8 {
    match priority {
        Priority::Skip => 0,
        Priority::Low => 1,
        Priority::Normal => 2,
        Priority::High => 3,
    }
}

fn priority(code: u8) -> Result<Priority> {
    match code {
        0 => Ok(Priority::Skip),
        1 => Ok(Priority::Low),
        2 => Ok(Priority::Normal),
        3 => Ok(Priority::High),
        _ => Err(SettingsError::Field("priorities")),
    }
}

#[cfg(unix)]
pub(super) fn path_bytes(path: &Path) -> std::borrow::Cow<'_, [u8]> {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).into()
}

#[cfg(unix)]
pub(super) fn bytes_path(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    Some(std::ffi::OsStr::from_bytes(bytes).into())
}

#[cfg(not(unix))]
pub(super) fn path_bytes(path: &Path) -> std::borrow::Cow<'_, [u8]> {
    path.to_string_lossy().into_owned().into_bytes().into()
}

#[cfg(not(unix))]
pub(super) fn bytes_path(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}
