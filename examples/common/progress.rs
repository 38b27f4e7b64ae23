//! What the user sees of something that takes time: a bar on a terminal, a line now and then
//! elsewhere, a JSON object a line for a program, nothing if so wished. Knows no engine.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use console::Term;
use cratetorrent::{TorrentStats, create::CreateProgress};
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{args, print};

/// Between two plain lines.
const PAUSE: Duration = Duration::from_secs(5);
/// Before the first of them, so that what is quick tells nothing in between.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The same before a line is told once more that says nothing new.
const REPEAT: Duration = Duration::from_secs(60);
/// Between two JSON objects that tell of progress.
const JSON_PAUSE: Duration = Duration::from_secs(1);
/// Columns below which there is no room for a bar beside the words.
const NARROW: u16 = 60;
/// Columns from which the bar has its full length.
const WIDE: u16 = 100;

/// How to tell of progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// For a person: a bar if there is a terminal.
    #[default]
    Words,
    /// Errors only.
    Nothing,
    /// For a program: one object a line.
    Json,
}

impl Show {
    /// What `--quiet` and `--json` ask for.
    pub fn parse(args: &mut args::Args) -> Result<Self, super::Problem> {
        match (args.contains("--quiet"), args.contains("--json")) {
            (true, true) => Err(super::Problem::usage("--quiet and --json exclude each other")),
            (true, false) => Ok(Self::Nothing),
            (false, true) => Ok(Self::Json),
            (false, false) => Ok(Self::Words),
        }
    }
}

/// How what a magnet link stands for is coming.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetadataProgress {
    /// Peers that offer it.
    pub offer: usize,
    /// Those of them that have refused or not answered lately.
    pub rest: usize,
    pub have: u32,
    /// 0 before any peer has told.
    pub total: u32,
    /// Nodes of the DHT that are known, if it is asked for peers.
    pub nodes: Option<usize>,
}

pub enum Progress {
    Bar(Bar),
    Lines(Lines),
    Json { last: Instant },
    Quiet,
}

impl Progress {
    pub fn new(show: Show) -> Self {
        // As if the last had been so long ago that the first is due soon.
        let (now, wait) = (Instant::now(), PAUSE - FIRST_PAUSE);
        match show {
            Show::Nothing => Self::Quiet,
            Show::Json => Self::Json { last: now.checked_sub(JSON_PAUSE).unwrap_or(now) },
            Show::Words if can_draw() => Self::Bar(Bar::new()),
            Show::Words => Self::Lines(Lines::new(now.checked_sub(wait).unwrap_or(now))),
        }
    }

    /// What it goes up to, in bytes.
    pub fn set_total(&self, total: u64) {
        if let Self::Bar(bar) = self {
            bar.bar.set_length(total);
        }
    }

    /// A torrent is being made for so long.
    pub fn hashing(&mut self, so_far: CreateProgress, since: Duration) {
        let CreateProgress { done, total, .. } = so_far;
        if total == 0 {
            return;
        }
        self.set_total(total);
        let percent = percent(done, total);
        self.tell(
            done,
            || format!("hashing, {}", rate(done, since)),
            || format!("hashing: {percent}, {}", rate(done, since)),
            || json!({"event": "hashing", "bytes": done, "total_bytes": total}),
        );
    }

    pub fn checking(&mut self, done: u32, total: u32) {
        let part = u64::from(done) * 1000 / u64::from(total.max(1));
        let at = match self {
            Self::Bar(bar) => bar.bar.length().unwrap_or(0) / 1000 * part,
            _ => 0,
        };
        self.tell(
            at,
            || format!("checking {done} of {total} pieces"),
            || format!("checking: {done} of {total} pieces"),
            || json!({"event": "checking", "pieces": done, "total_pieces": total}),
        );
    }

    /// What a magnet link stands for is asked for; so many peers are connected.
    pub fn metadata(&mut self, connected: usize, metadata: &MetadataProgress) {
        let &MetadataProgress { offer, rest, have, total, nodes } = metadata;
        let about = || {
            let offers = match (offer, rest) {
                _ if connected == 0 => {
                    let dht = match nodes {
                        None => String::new(),
                        Some(0) => ", and no node of the DHT has answered".to_owned(),
                        Some(1) => ", 1 node of the DHT is known".to_owned(),
                        Some(n) => format!(", {n} nodes of the DHT are known"),
                    };
                    return format!("metadata: no peer is connected yet{dht}");
                }
                (_, 0) => format!("{offer} of them offer it"),
                _ => format!("{offer} of them offer it, {rest} do not answer"),
            };
            let size = HumanBytes(total.into());
            let part = match total {
                0 => String::new(),
                _ => format!(", {} of {size}", HumanBytes(have.into())),
            };
            format!("metadata: {}, {offers}{part}", peers(connected))
        };
        self.set_total(total.into());
        self.tell(have.into(), about, about, || {
            json!({
                "event": "metadata",
                "bytes": have,
                "total_bytes": total,
                "peers": connected,
                "offering": offer,
                "resting": rest,
                "dht_nodes": nodes,
            })
        });
    }

    pub fn downloading(&mut self, stats: &TorrentStats) {
        let about = || {
            let eta = stats.eta.map(HumanDuration);
            let eta = eta.map_or_else(String::new, |eta| format!(", {eta:#} left"));
            format!("{}/s, {}{eta}", HumanBytes(stats.download_rate), peers(stats.peers))
        };
        let percent = percent(stats.wanted_have_bytes, stats.wanted_bytes);
        self.set_total(stats.wanted_bytes);
        self.tell(
            stats.wanted_have_bytes,
            about,
            || format!("{percent}, {}", about()),
            || {
                json!({
                    "event": "downloading",
                    "bytes": stats.wanted_have_bytes,
                    "total_bytes": stats.wanted_bytes,
                    "down_bytes_per_s": stats.download_rate,
                    "up_bytes_per_s": stats.upload_rate,
                    "peers": stats.peers,
                    "seconds_left": stats.eta.map(|eta| eta.as_secs()),
                })
            },
        );
    }

    pub fn seeding(&mut self, stats: &TorrentStats) {
        if matches!(self, Self::Lines(_)) && stats.upload_rate == 0 {
            return;
        }
        let ratio = stats.uploaded as f64 / stats.total_bytes.max(1) as f64;
        let about = || {
            let (rate, peers) = (HumanBytes(stats.upload_rate), peers(stats.peers));
            format!("seeding: {rate}/s to {peers}, ratio {ratio:.2}")
        };
        self.tell(stats.have_bytes, about, about, || {
            json!({
                "event": "seeding",
                "up_bytes_per_s": stats.upload_rate,
                "uploaded_bytes": stats.uploaded,
                "peers": stats.peers,
            })
        });
    }

    /// All is there, and is made safe on disk: so many of its files are, if that is told.
    pub fn writing(&mut self, done: usize, total: usize) {
        let end = match self {
            Self::Bar(bar) => bar.bar.length().unwrap_or(0),
            _ => 0,
        };
        let about = || match total {
            0 => "writing to disk".to_owned(),
            _ => format!("writing to disk: {done} of {total} files are safe"),
        };
        self.tell(
            end,
            about,
            about,
            || json!({"event": "writing", "files": done, "total_files": total}),
        );
    }

    /// Something worth a line of its own.
    pub fn say(&self, line: &str) {
        match self {
            Self::Bar(bar) => bar.bar.suspend(|| print(line)),
            Self::Lines(_) => print(line),
            Self::Json { .. } => print(&json!({"event": "note", "text": line}).to_string()),
            Self::Quiet => {}
        }
    }

    /// A fact: a line for a person, an object for a program.
    pub fn fact(&self, line: &str, object: &Value) {
        match self {
            Self::Json { .. } => print(&object.to_string()),
            _ => self.say(line),
        }
    }

    /// Leaves the screen to what comes after.
    pub fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.bar.finish_and_clear();
        }
    }

    fn tell(
        &mut self,
        at: u64,
        on_bar: impl FnOnce() -> String,
        line: impl FnOnce() -> String,
        object: impl FnOnce() -> Value,
    ) {
        match self {
            Self::Bar(bar) => bar.draw(at, on_bar()),
            Self::Lines(lines) => lines.tell(line),
            Self::Json { last } => {
                if is_due(last, JSON_PAUSE) {
                    print(&object().to_string());
                }
            }
            Self::Quiet => {}
        }
    }
}

fn is_due(last: &mut Instant, pause: Duration) -> bool {
    let is_due = last.elapsed() >= pause;
    if is_due {
        *last = Instant::now();
    }
    is_due
}

/// A line now and then. One that says the same as the one before comes once a minute, for a log
/// that grows while nothing happens.
pub struct Lines {
    last: Instant,
    /// What was told last, and when.
    told: String,
    at: Instant,
}

impl Lines {
    fn new(last: Instant) -> Self {
        Self { last, told: String::new(), at: last }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if !is_due(&mut self.last, PAUSE) {
            return;
        }
        let line = line();
        if line != self.told || self.at.elapsed() >= REPEAT {
            print(&line);
            (self.told, self.at) = (line, self.last);
        }
    }
}

/// A bar that fits its terminal, whose width may change.
pub struct Bar {
    bar: ProgressBar,
    term: Term,
    columns: u16,
    /// It is not known where the bar ends.
    is_endless: bool,
    /// Columns that the line takes as it was last drawn.
    drawn: usize,
}

impl Bar {
    fn new() -> Self {
        let term = Term::stderr();
        let columns = columns(&term);
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(0), target).with_style(style(columns, true));
        Self { bar, term, columns, is_endless: true, drawn: 0 }
    }

    fn draw(&mut self, at: u64, message: String) {
        // Without an end there is nothing to be a part of.
        let columns = columns(&self.term);
        let is_endless = self.bar.length().is_none_or(|end| end == 0);
        if std::mem::replace(&mut self.is_endless, is_endless) != is_endless {
            self.bar.set_style(style(columns, is_endless));
        }
        if columns != self.columns {
            // A narrower terminal has broken the line into several, and the cursor stands in the
            // last of them.
            let above = self.drawn.saturating_sub(1) / usize::from(columns);
            self.bar.suspend(|| {
                let _ = write!(io::stderr(), "{}", "\x1b[1A\x1b[2K".repeat(above));
            });
            self.bar.set_style(style(columns, is_endless));
            self.columns = columns;
        }
        let bar = match columns {
            _ if is_endless => 0,
            ..NARROW => 7,
            NARROW..WIDE => 24 + HumanBytes(self.bar.length().unwrap_or(0)).to_string().len(),
            _ => 42 + HumanBytes(self.bar.length().unwrap_or(0)).to_string().len(),
        };
        self.drawn = (bar + message.chars().count()).min(columns.into());
        self.bar.set_position(at);
        self.bar.set_message(message);
    }
}

/// Whether there is a terminal that can go back to the start of a line.
pub fn can_draw() -> bool {
    let is_dumb = args::variable("TERM").is_none_or(|term| term == "dumb") && cfg!(unix);
    !is_dumb && io::stdout().is_terminal() && io::stderr().is_terminal()
}

fn columns(term: &Term) -> u16 {
    term.size_checked().map_or(80, |(_, columns)| columns.max(1))
}

/// "256.00 MiB in 0.4 s, 640.00 MiB/s"
pub fn pace(bytes: u64, took: Duration) -> String {
    format!("{} in {:.2} s, {}", HumanBytes(bytes), took.as_secs_f64(), rate(bytes, took))
}

fn rate(bytes: u64, took: Duration) -> String {
    format!("{}/s", HumanBytes((bytes as f64 / took.as_secs_f64().max(1e-6)) as u64))
}

/// Rounded down, so that 100 % is all of it.
fn percent(part: u64, whole: u64) -> String {
    let thousandths = (part as f64 / whole.max(1) as f64 * 1000.0).floor();
    format!("{:.1} %", if whole == 0 { 100.0 } else { thousandths / 10.0 })
}

fn peers(count: usize) -> String {
    if count == 1 { "1 peer".into() } else { format!("{count} peers") }
}

/// The message takes the rest of the line and is cut at its end, so that no line is ever broken.
fn style(columns: u16, is_endless: bool) -> ProgressStyle {
    let template = match columns {
        _ if is_endless => "{wide_msg}",
        ..NARROW => "{percent:>3} %  {wide_msg}",
        NARROW..WIDE => "{bar:12} {percent:>3} % of {total_bytes}  {wide_msg}",
        _ => "{bar:30} {percent:>3} % of {total_bytes}  {wide_msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
