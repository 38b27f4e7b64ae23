//! Tells what a torrent file holds: `inspect TORRENT`.
//!
//! Exit status 0, 1 if the file is no torrent or cannot be read, 2 if it was called wrongly.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use cratetorrent::{
    FileKind,
    wire::metainfo::{Metainfo, MetainfoLimits},
};

const USAGE: &str = "usage: inspect TORRENT\n\nTells what a torrent file holds.\n";

fn main() -> ExitCode {
    let mut args = pico_args::Arguments::from_env();
    if args.contains(["-h", "--help"]) {
        return printed(io::stdout().write_all(USAGE.as_bytes()));
    }
    let Some(path) = only_argument(args) else {
        complain(USAGE.trim_end());
        return ExitCode::from(2);
    };
    match read(&path) {
        Ok(metainfo) => {
            let mut out = BufWriter::new(io::stdout().lock());
            printed(print(&metainfo, &mut out).and_then(|()| out.flush()))
        }
        Err(problem) => {
            complain(&format!("inspect: {}: {problem}", printable(&path.to_string_lossy())));
            ExitCode::FAILURE
        }
    }
}

/// The one path that was given, if it was just that.
fn only_argument(mut args: pico_args::Arguments) -> Option<PathBuf> {
    let path = args.free_from_os_str(|s| Ok::<_, Infallible>(PathBuf::from(s))).ok()?;
    let is_option = path.as_os_str().as_encoded_bytes().starts_with(b"-");
    (!is_option && args.finish().is_empty()).then_some(path)
}

fn read(path: &Path) -> Result<Metainfo, String> {
    // One byte beyond the limit is enough to be told that it is exceeded.
    let limit = MetainfoLimits::default().bytes as u64 + 1;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    file.take(limit).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Metainfo::from_bytes(&bytes).map_err(|e| e.to_string())
}

fn print(m: &Metainfo, out: &mut impl Write) -> io::Result<()> {
    let g = &m.geometry;
    writeln!(out, "name        {}", printable(&m.name))?;
    writeln!(out, "info-hash   {}", m.info_hash)?;
    writeln!(out, "size        {}", size(g.total_len()))?;
    writeln!(out, "pieces      {} of {}", g.piece_count(), size(u64::from(g.nominal_piece_len())))?;
    writeln!(out, "private     {}", if m.private { "yes" } else { "no" })?;
    if let Some(date) = m.creation_date {
        writeln!(out, "created     {}", utc(date))?;
    }
    if let Some(program) = &m.created_by {
        writeln!(out, "created by  {}", printable(program))?;
    }
    if let Some(comment) = &m.comment {
        writeln!(out, "comment     {}", printable(comment))?;
    }
    for (i, tier) in m.trackers.iter().enumerate() {
        for url in tier {
            writeln!(out, "tracker     tier {} {}", i + 1, printable(url))?;
        }
    }
    for url in &m.web_seeds {
        writeln!(out, "web seed    {}", printable(url))?;
    }
    writeln!(out, "files       {}", m.files.len())?;
    for file in m.files.iter() {
        let path = if m.single_file { printable(&m.name) } else { join(&file.path) };
        let mark = match file.kind {
            FileKind::Regular => "",
            FileKind::Pad => "  (pad)",
            FileKind::Symlink => "  (link)",
        };
        writeln!(out, "{:>15}  {path}{mark}", file.len)?;
    }
    Ok(())
}

/// A path whose components cannot be mistaken for more of them.
fn join(path: &[String]) -> String {
    path.iter().map(|component| printable(component).replace('/', "\\/")).collect::<Vec<_>>().join("/")
}

/// Foreign text with whatever a terminal might obey escaped.
fn printable(text: &str) -> String {
    let escape = |c: char| match c {
        '\'' | '"' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    text.chars().map(escape).collect()
}

fn size(bytes: u64) -> String {
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    match ["", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].get(unit) {
        Some(name) if unit > 0 => format!("{bytes} bytes ({:.1} {name})", bytes as f64 / (1_u64 << (10 * unit)) as f64),
        _ => format!("{bytes} bytes"),
    }
}

/// The time in words, for the years that have four digits.
fn utc(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400);
    let time = seconds.rem_euclid(86_400);
    if !(0..2_932_897).contains(&days) {
        return format!("{seconds} seconds after 1970");
    }
    // Years begin in March here, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    let year = year + year_of_era + era * 400;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", time / 3600, time / 60 % 60, time % 60)
}

/// A reader that has seen enough is no failure.
fn printed(result: io::Result<()>) -> ExitCode {
    match result {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("inspect: standard output: {e}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// One line for the user. If even that cannot be written, nobody is there to be told.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
