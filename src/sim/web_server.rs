//! A web server of a world, which has the files of samples (BEP 19): good, or bad in one of the
//! ways that web servers are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    sample::Sample,
    script::{ConnId, Script, Talk},
};
use crate::{
    base::{files::FileKind, time::Instant},
    wire::web_seed::WebSeedUrl,
};

/// How a web server behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebManners {
    /// It does what it should.
    #[default]
    Good,
    /// It closes each connection after a response.
    Closes,
    /// It sends bodies in chunks.
    Chunked,
    /// It knows no ranges, and sends whole files.
    NoRanges,
    /// It sends the range before the one that was asked for, and says so.
    OtherRange,
    /// The bytes of one file, by its index, are wrong.
    Lies(usize),
    /// All bytes are wrong.
    LiesAlways,
    /// It does not have one file, by its index.
    Lacks(usize),
    /// Its files end in the middle: it answers that there is no such range behind it.
    CutOff,
    /// For so many requests it is too busy, and wants to be asked again after so many seconds.
    Busy(u32, u64),
    /// It answers with this status, whatever it is asked for.
    Status(u16),
    /// It redirects to the same file at the web server at this node's address.
    Redirects(super::node::NodeId),
    /// It redirects to itself, for ever.
    RedirectsInCircles,
    /// It ends the connection after so many bytes of each body.
    EndsEarly(u64),
    /// It sends more than it said, and never ends.
    Endless,
    /// It packs what it sends.
    Packs,
    /// It accepts connections and says nothing.
    Silent,
    /// It sends a byte every so many milliseconds.
    Trickles(u64),
    /// What it sends is not HTTP.
    Garbage,
}

/// A request that a web server has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebRequest {
    /// When.
    pub at: Instant,
    /// On which of its connections, counted.
    pub conn: u64,
    /// Path and query.
    pub target: String,
    /// The first and the last byte, if it was for a range.
    pub range: Option<(u64, u64)>,
    /// All headers.
    pub head: String,
}

/// See the module.
#[derive(Debug)]
pub struct WebServer {
    samples: Vec<Arc<Sample>>,
    manners: WebManners,
    requests: Vec<WebRequest>,
    heard: BTreeMap<ConnId, Vec<u8>>,
    /// What trickles out.
    waiting: BTreeMap<ConnId, Vec<u8>>,
    /// Bodies of bytes that it has sent.
    sent: u64,
    /// Where redirects lead to.
    other: String,
}

impl WebServer {
    /// One that has the files of these samples, below `/`.
    pub fn new(samples: &[Arc<Sample>], manners: WebManners) -> Self {
        Self {
            samples: samples.to_vec(),
            manners,
            requests: Vec::new(),
            heard: BTreeMap::new(),
            waiting: BTreeMap::new(),
            sent: 0,
            other: String::new(),
        }
    }

    /// Redirects lead to what this address begins.
    pub(super) fn set_other(&mut self, other: String) {
        self.other = other;
    }

    /// Changes how it behaves.
    pub fn set_manners(&mut self, manners: WebManners) {
        self.manners = manners;
    }

    /// What it has heard so far.
    pub fn requests(&self) -> &[WebRequest] {
        &self.requests
    }

    /// Bytes of bodies that it has sent, or has begun to.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.heard.len()
    }

    /// The file that is asked for: its index, its bytes.
    fn find(&self, target: &str) -> Option<(usize, &[u8])> {
        let root = WebSeedUrl::parse("http://h/").ok()?;
        let path = target.split('?').next()?;
        for sample in &self.samples {
            let files = sample.metainfo.files.iter().enumerate();
            for (nth, file) in files.filter(|(_, file)| file.kind == FileKind::Regular) {
                let known = root.file(&sample.metainfo, nth)?;
                if known.expose().strip_prefix("http://h") == Some(path) {
                    let range = file.offset as usize..(file.offset + file.len) as usize;
                    return Some((nth, sample.data.get(range)?));
                }
            }
        }
        None
    }

    fn answer(&mut self, talk: &mut Talk<'_>, conn: ConnId, head: &str) {
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let range = head.lines().find_map(|line| {
            let (first, last) = line.strip_prefix("Range: bytes=")?.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        let request =
            WebRequest { at: talk.now(), conn: conn.0, target, range, head: head.to_owned() };
        self.requests.push(request.clone());
        let (response, ends) = self.respond(&request);
        match self.manners {
            WebManners::Silent => {}
            WebManners::Trickles(millis) => {
                self.waiting.entry(conn).or_default().extend(response);
                talk.wake_after(Duration::from_millis(millis));
            }
            _ => talk.send(conn, response),
        }
        if ends {
            self.heard.remove(&conn);
            talk.close(conn);
        }
    }

    /// The bytes of a response, and whether the connection ends behind it.
    fn respond(&mut self, request: &WebRequest) -> (Vec<u8>, bool) {
        let plain = |status: &str, headers: &str| {
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n").into_bytes()
        };
        let found = self.find(&request.target).map(|(nth, bytes)| (nth, bytes.to_vec()));
        let Some((nth, mut bytes)) = found else { return (plain("404 Not Found", ""), false) };
        let len = bytes.len() as u64;
        match self.manners {
            WebManners::Lies(bad) if bad == nth => bytes.iter_mut().for_each(|b| *b ^= 0x55),
            WebManners::LiesAlways => bytes.iter_mut().for_each(|b| *b ^= 0x55),
            WebManners::Lacks(lacks) if lacks == nth => {
                return (plain("404 Not Found", ""), false);
            }
            WebManners::CutOff if request.range.is_some_and(|(_, last)| last >= len / 2) => {
                let headers = format!("Content-Range: bytes */{}\r\n", len / 2);
                return (plain("416 Range Not Satisfiable", &headers), false);
            }
            WebManners::Busy(left, secs) if left > 0 => {
                self.manners = WebManners::Busy(left - 1, secs);
                let headers = format!("Retry-After: {secs}\r\n");
                return (plain("503 Service Unavailable", &headers), false);
            }
            WebManners::Status(status) => return (plain(&format!("{status} No"), ""), false),
            WebManners::Redirects(_) => {
                let headers = format!("Location: {}{}\r\n", self.other, request.target);
                return (plain("302 Found", &headers), false);
            }
            WebManners::RedirectsInCircles => {
                let headers = format!("Location: {}\r\n", request.target);
                return (plain("301 Moved", &headers), false);
            }
            WebManners::Garbage => return (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), false),
            _ => {}
        }
        let asked = request.range.filter(|_| self.manners != WebManners::NoRanges);
        let (first, last) = asked.unwrap_or((0, len.saturating_sub(1)));
        let last = last.min(len.saturating_sub(1));
        if first > last {
            return (plain("416 Range Not Satisfiable", ""), false);
        }
        let (first, last) = match self.manners {
            WebManners::OtherRange if first > 0 => (first - 1, last - 1),
            WebManners::OtherRange => (first + 1, last.max(first + 1)),
            _ => (first, last),
        };
        let range = first as usize..(last + 1).min(len) as usize;
        let mut body = bytes.get(range).unwrap_or_default().to_vec();
        let mut head = match asked {
            Some(_) => {
                format!("HTTP/1.1 206 Part\r\nContent-Range: bytes {first}-{last}/{len}\r\n")
            }
            None => "HTTP/1.1 200 OK\r\n".to_owned(),
        };
        let mut ends = false;
        match self.manners {
            WebManners::Chunked => {
                head += "Transfer-Encoding: chunked\r\n";
                let chunk = |chunk: &[u8]| {
                    [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()
                };
                body = body.chunks(5000).flat_map(chunk).collect();
                body.extend_from_slice(b"0\r\n\r\n");
            }
            WebManners::Endless => {
                head += "Transfer-Encoding: chunked\r\n";
                body = [b"7fffffff\r\n", &body[..], &vec![7; 4 << 20]].concat();
            }
            WebManners::Packs => {
                head += &format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", body.len());
            }
            _ => head += &format!("Content-Length: {}\r\n", body.len()),
        }
        if let WebManners::EndsEarly(most) = self.manners {
            ends = (most as usize) < body.len();
            body.truncate(most as usize);
        }
        if self.manners == WebManners::Closes {
            // The other side closes, which has all that it asked for.
            head += "Connection: close\r\n";
        }
        self.sent += body.len() as u64;
        ([head.as_bytes(), b"\r\n", &body].concat(), ends)
    }
}

impl Script for WebServer {
    fn connected(&mut self, _: &mut Talk<'_>, conn: ConnId, _: bool) {
        self.heard.insert(conn, Vec::new());
    }

    fn data(&mut self, talk: &mut Talk<'_>, conn: ConnId, bytes: &[u8]) {
        let Some(heard) = self.heard.get_mut(&conn) else { return };
        heard.extend_from_slice(bytes);
        while let Some(heard) = self.heard.get_mut(&conn)
            && let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head: Vec<u8> = heard.drain(..end + 4).collect();
            self.answer(talk, conn, &String::from_utf8_lossy(&head));
        }
    }

    fn closed(&mut self, _: &mut Talk<'_>, conn: ConnId) {
        self.heard.remove(&conn);
        self.waiting.remove(&conn);
    }

    fn tick(&mut self, talk: &mut Talk<'_>) {
        let WebManners::Trickles(millis) = self.manners else { return };
        for (&conn, bytes) in &mut self.waiting {
            if !bytes.is_empty() {
                talk.send(conn, vec![bytes.remove(0)]);
            }
        }
        if self.waiting.values().any(|bytes| !bytes.is_empty()) {
            talk.wake_after(Duration::from_millis(millis));
        }
    }
}
