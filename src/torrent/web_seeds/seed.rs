//! One web seed: where it is, what it has as far as is known, how fast it is, and when it is asked
//! again after it has failed. It knows no connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    alert::{WebSeedError, WebSeedErrorKind, WebSeedStats, WebSeedStatus},
    base::{
        bitfield::Bitfield,
        files::FileKind,
        geometry::{BLOCK_LEN, PieceIndex},
        rate::RateMeter,
        time::Instant,
    },
    conf::Conf,
    proto::{
        http::HttpError,
        web_seed::{FetchError, FilePlace},
    },
    torrent::swarm::blocks_in,
    wire::{metainfo::Metainfo, tracker::UrlError, web_seed::WebSeedUrl},
};

/// Redirects that are remembered of a web seed, a file each: the oldest files are asked for by
/// their own address again.
const MAX_PLACES: usize = 256;
/// After so many files in a row that it does not have it is left alone for a while: its server is
/// not to be asked for thousands that are not there, one after the other.
const MISSES: u32 = 4;
/// How long one is left alone that has sent something before it failed; twice as long after each
/// further failure.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// What a server may take to answer that is not known yet.
const FIRST_LATENCY: Duration = Duration::from_secs(1);
/// What is asked for first, and at least where it does not take too long.
const FIRST_REQUEST: u64 = 1 << 20;
const LEAST_REQUEST: u64 = 256 * 1024;
/// How long a request is to take. A longer one keeps memory from others, and makes the end late.
const REQUEST_TIME: u64 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct WebSeed {
    text: String,
    url: Result<WebSeedUrl, UrlError>,
    added: bool,
    /// The pieces that it has all files of; made when it is first asked.
    has: Option<Bitfield>,
    missing: BTreeSet<usize>,
    /// Where redirects have led, by file.
    places: BTreeMap<usize, FilePlace>,
    /// It counts among those that have its pieces.
    counted: bool,
    banned: bool,
    /// The user has taken it away. Its number is not given to another: there may be pieces that it
    /// has sent parts of.
    removed: bool,
    failures: u32,
    misses: u32,
    error: Option<WebSeedError>,
    retry_at: Option<Instant>,
    /// The piece behind the one that it was asked for last.
    next: Option<PieceIndex>,
    rate: RateMeter,
    latency: Option<Duration>,
}

impl WebSeed {
    pub(super) fn new(text: String, added: bool, now: Instant) -> Self {
        let url = WebSeedUrl::parse(&text);
        let error = url
            .as_ref()
            .err()
            .map(|error| WebSeedError::new(WebSeedErrorKind::BadAddress, None, error.to_string()));
        Self {
            text,
            url,
            added,
            has: None,
            missing: BTreeSet::new(),
            places: BTreeMap::new(),
            counted: false,
            banned: false,
            removed: false,
            failures: 0,
            misses: 0,
            error,
            retry_at: None,
            next: None,
            rate: RateMeter::new(now),
            latency: None,
        }
    }

    /// Its address as it was given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the user has added it.
    pub(super) fn is_added(&self) -> bool {
        self.added
    }

    /// Whether the user has taken it away.
    pub(super) fn is_removed(&self) -> bool {
        self.removed
    }

    /// The user takes it away.
    pub(super) fn remove(&mut self) {
        self.removed = true;
    }

    /// Its address for users to see.
    pub(super) fn shown(&self) -> String {
        self.url.as_ref().map_or_else(|_| "…".to_owned(), ToString::to_string)
    }

    /// Whether it may be asked now.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        self.url.is_ok()
            && !self.banned
            && !self.removed
            && self.retry_at.is_none_or(|at| at <= now)
    }

    /// When it may be asked again, if that is to come.
    pub(super) fn retry_at(&self, now: Instant) -> Option<Instant> {
        self.retry_at.filter(|&at| at > now && !self.banned && !self.removed)
    }

    /// Whether it has given something since it failed last.
    pub(super) fn is_proven(&self) -> bool {
        self.counted
    }

    /// The pieces that it counts as having, if it does.
    pub(super) fn counted(&self) -> Option<&Bitfield> {
        self.has.as_ref().filter(|_| self.counted)
    }

    /// It counts among those that have its pieces, or no longer. Returns the pieces if that is new.
    pub(super) fn set_counted(&mut self, counted: bool) -> Option<&Bitfield> {
        let is_new = counted != std::mem::replace(&mut self.counted, counted);
        self.has.as_ref().filter(|_| is_new)
    }

    /// The pieces that it has.
    pub(super) fn has(&mut self, metainfo: &Metainfo) -> &Bitfield {
        self.has.get_or_insert_with(|| Bitfield::all(metainfo.geometry.piece_count()))
    }

    /// Where a file is.
    pub(super) fn place(&self, metainfo: &Metainfo, file: usize) -> Option<FilePlace> {
        let known = self.places.get(&file).cloned();
        known.or_else(|| Some(self.url.as_ref().ok()?.file(metainfo, file)?.into()))
    }

    /// A redirect has led there.
    pub(super) fn remember(&mut self, file: usize, place: FilePlace) {
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&file) {
            self.places.pop_first();
        }
        self.places.insert(file, place);
    }

    /// What a redirect had led to is of no use any more. Returns whether there was such.
    pub(super) fn forget_place(&mut self, file: usize) -> bool {
        self.places.remove(&file).is_some()
    }

    /// The piece behind the one that it was asked for last.
    pub(super) fn next(&self) -> Option<PieceIndex> {
        self.next
    }

    pub(super) fn set_next(&mut self, next: Option<PieceIndex>) {
        self.next = next;
    }

    // How fast it is.

    /// How many blocks to ask it for at a time, with so many connections in use.
    pub(super) fn request_len(&self, now: Instant, busy: usize, piece: u64, conf: &Conf) -> usize {
        let most = conf.web_seeds.max_request as u64;
        let rate = self.rate.rate(now) / busy.max(1) as u64;
        let bytes = match self.latency {
            None => FIRST_REQUEST,
            Some(_) => (rate * REQUEST_TIME).max(LEAST_REQUEST),
        };
        // Pieces are asked for as a whole if they are not too large.
        let bytes = if piece <= most { bytes.max(piece) } else { bytes };
        blocks_in(bytes.min(most))
    }

    /// How long so many bytes take on one of `busy` connections.
    pub(super) fn expected(&self, now: Instant, busy: usize, bytes: u64) -> Duration {
        let rate = self.rate.rate(now) / busy.max(1) as u64;
        let latency = self.latency.unwrap_or(FIRST_LATENCY);
        // One that has sent nothing of late is as slow as a slow line.
        latency + Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(64 * 1024))
    }

    /// Bytes came.
    pub(super) fn note_bytes(&mut self, now: Instant, bytes: u64) {
        self.rate.add(now, bytes);
    }

    /// So long after it was asked something came.
    pub(super) fn note_latency(&mut self, latency: Duration) {
        self.latency = Some(self.latency.map_or(latency, |before| (before * 7 + latency) / 8));
    }

    // What becomes of it.

    /// It has given what it was asked for.
    pub(super) fn succeed(&mut self) {
        (self.failures, self.misses) = (0, 0);
        (self.error, self.retry_at) = (None, None);
    }

    /// It has not: it is left alone for a while, or asked for other files. `gave`: something came
    /// before. Returns what there is to tell.
    pub(super) fn fail(
        &mut self,
        now: Instant,
        file: usize,
        error: &FetchError,
        gave: bool,
        metainfo: &Metainfo,
        conf: &Conf,
    ) -> (WebSeedError, Option<Duration>) {
        let of_file = error.is_of_file();
        let told = WebSeedError::new(kind(error), of_file.then_some(file), error.to_string());
        self.error = Some(told.clone());
        let conf = &conf.web_seeds;
        let grown = |pause: Duration, times: u32| {
            pause.saturating_mul(1 << times.saturating_sub(1).min(20)).min(conf.max_retry)
        };
        let pause = if of_file {
            self.lose(file, metainfo);
            self.misses = self.misses.saturating_add(1);
            (self.misses >= MISSES).then(|| grown(conf.retry, self.misses - MISSES + 1))
        } else {
            self.failures = self.failures.saturating_add(1);
            Some(match error.retry_after() {
                Some(time) => time.max(SHORT_PAUSE).min(conf.max_retry),
                None if error.lasts() => conf.max_retry,
                None if gave => grown(SHORT_PAUSE, self.failures).min(conf.retry),
                None => grown(conf.retry, self.failures),
            })
        };
        self.retry_at = pause.map(|pause| now + pause);
        (told, pause)
    }

    /// It has sent bad data of a file, or of several, one of which it must be. Returns what there
    /// is to tell of each.
    pub(super) fn accuse(&mut self, files: &[usize], metainfo: &Metainfo) -> Vec<WebSeedError> {
        let is_file = |kind: FileKind| kind == FileKind::Regular;
        let mut regular = metainfo.files.iter().filter(|f| is_file(f.kind) && f.len > 0);
        let only_one = regular.next().is_some() && regular.next().is_none();
        let said = "the web seed has sent bad data";
        let errors = if only_one {
            self.banned = true;
            vec![WebSeedError::new(WebSeedErrorKind::BadData, None, said)]
        } else {
            let new: Vec<usize> =
                files.iter().copied().filter(|&file| self.lose(file, metainfo)).collect();
            let error = |file| WebSeedError::new(WebSeedErrorKind::BadData, Some(file), said);
            new.into_iter().map(error).collect()
        };
        self.error = errors.last().cloned().or(self.error.take());
        errors
    }

    /// Whether it has sent bad data and is not asked any more.
    pub(super) fn is_banned(&self) -> bool {
        self.banned
    }

    /// Whether a file was not there.
    pub(super) fn is_without(&self, file: usize) -> bool {
        self.missing.contains(&file)
    }

    /// It does not have a file. Returns whether that is new.
    fn lose(&mut self, file: usize, metainfo: &Metainfo) -> bool {
        self.has(metainfo);
        if let (Some(entry), Some(has)) = (metainfo.files.get(file), &mut self.has) {
            let range = entry.offset..entry.offset.saturating_add(entry.len);
            metainfo.geometry.pieces_of(range).for_each(|piece| _ = has.unset(piece));
        }
        self.places.remove(&file);
        self.missing.insert(file)
    }

    /// How it stands, with so many connections, of which so many are in use.
    pub(super) fn stats(&self, now: Instant, connections: usize, busy: usize) -> WebSeedStats {
        let retry_in = self.retry_at(now).map(|at| at.since(now));
        let status = if self.url.is_err() || self.banned {
            WebSeedStatus::Disabled
        } else if busy > 0 {
            WebSeedStatus::Downloading
        } else if retry_in.is_some() {
            WebSeedStatus::Failing
        } else {
            WebSeedStatus::Idle
        };
        WebSeedStats {
            url: self.text.clone(),
            added: self.added,
            status,
            connections,
            downloaded: self.rate.total(),
            download_rate: self.rate.shown(now),
            missing_files: self.missing.len(),
            failures: self.failures,
            error: self.error.clone(),
            retry_in,
        }
    }
}

fn kind(error: &FetchError) -> WebSeedErrorKind {
    match error {
        FetchError::Timeout | FetchError::TooSlow => WebSeedErrorKind::TimedOut,
        FetchError::Resolve(_) | FetchError::NoAddress => WebSeedErrorKind::NameNotFound,
        FetchError::Refused(_) => WebSeedErrorKind::Forbidden,
        FetchError::Connect(_) => WebSeedErrorKind::Unreachable,
        FetchError::Proxy(_) => WebSeedErrorKind::Proxy,
        FetchError::Stream(_) | FetchError::Short(_) => WebSeedErrorKind::Broken,
        FetchError::Http(HttpError::Truncated) => WebSeedErrorKind::Broken,
        error if error.is_of_file() => WebSeedErrorKind::NoFile,
        FetchError::NoRanges => WebSeedErrorKind::NoRanges,
        FetchError::Redirects(_) | FetchError::Redirect(_) | FetchError::Scheme { .. } => {
            WebSeedErrorKind::Redirect
        }
        _ => WebSeedErrorKind::Http,
    }
}

/// Bytes that are expected to come soon, by which the time of a few blocks is told.
pub(super) const FEW: u64 = 16 * BLOCK_LEN as u64;
