//! What the user sees: a bar on a terminal, a line now and then elsewhere, nothing if so wished.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use cratetorrent::{CreateProgress, TorrentStats};
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::print;

/// Between two plain lines.
const PAUSE: Duration = Duration::from_secs(5);

pub enum Progress {
    Bar(ProgressBar),
    Lines { last: Instant },
    Quiet,
}

impl Progress {
    pub fn new(total: u64, quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if io::stdout().is_terminal() && io::stderr().is_terminal() {
            Self::Bar(ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_style(style()))
        } else {
            Self::Lines { last: Instant::now() }
        }
    }

    /// A torrent is being made for so long.
    pub fn hashing(&mut self, so_far: CreateProgress, since: Duration) {
        let CreateProgress { done, total } = so_far;
        match self {
            _ if total == 0 => {}
            Self::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(format!("hashing, {}", rate(done, since)));
            }
            _ => {
                let percent = done as f64 * 100.0 / total as f64;
                self.line(|| format!("hashing: {percent:.1} %, {}", rate(done, since)));
            }
        }
    }

    pub fn checking(&mut self, done: u32, total: u32) {
        let part = u64::from(done) * 1000 / u64::from(total.max(1));
        match self {
            Self::Bar(bar) => {
                bar.set_position(bar.length().unwrap_or(0) / 1000 * part);
                bar.set_message(format!("checking {done} of {total} pieces"));
            }
            _ => self.line(|| format!("checking: {done} of {total} pieces")),
        }
    }

    pub fn downloading(&mut self, stats: &TorrentStats) {
        let rate = stats.download_rate;
        let missing = stats.total_bytes.saturating_sub(stats.have_bytes);
        let eta = missing.checked_div(rate).map(|seconds| HumanDuration(Duration::from_secs(seconds)));
        let eta = eta.map_or_else(String::new, |eta| format!(", {eta:#} left"));
        let about = format!("{}/s, {}{eta}", HumanBytes(rate), peers(stats.peers));
        match self {
            Self::Bar(bar) => {
                bar.set_position(stats.have_bytes);
                bar.set_message(about);
            }
            _ => {
                let percent = stats.have_bytes as f64 * 100.0 / stats.total_bytes.max(1) as f64;
                self.line(|| format!("{percent:.1} %, {about}"));
            }
        }
    }

    pub fn seeding(&mut self, stats: &TorrentStats) {
        let ratio = stats.uploaded as f64 / stats.total_bytes.max(1) as f64;
        let about = || format!("seeding: {}/s to {}, ratio {ratio:.2}", HumanBytes(stats.upload_rate), peers(stats.peers));
        match self {
            Self::Bar(bar) => {
                bar.set_position(stats.have_bytes);
                bar.set_message(about());
            }
            _ if stats.upload_rate > 0 => self.line(about),
            _ => {}
        }
    }

    /// Something worth a line of its own.
    pub fn say(&self, line: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| print(line)),
            Self::Lines { .. } => print(line),
            Self::Quiet => {}
        }
    }

    /// Leaves the screen to what comes after.
    pub fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }

    fn line(&mut self, text: impl FnOnce() -> String) {
        if let Self::Lines { last } = self
            && last.elapsed() >= PAUSE
        {
            *last = Instant::now();
            print(&text());
        }
    }
}

/// "256.00 MiB in 0.4 s, 640.00 MiB/s"
pub fn pace(bytes: u64, took: Duration) -> String {
    format!("{} in {:.2} s, {}", HumanBytes(bytes), took.as_secs_f64(), rate(bytes, took))
}

fn rate(bytes: u64, took: Duration) -> String {
    format!("{}/s", HumanBytes((bytes as f64 / took.as_secs_f64().max(1e-6)) as u64))
}

fn peers(count: usize) -> String {
    if count == 1 { "1 peer".into() } else { format!("{count} peers") }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {percent:>3} % of {total_bytes}  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
