//! Tells what torrent files and magnet links hold: `inspect TORRENT…`.
//!
//! What it teaches: reading a metainfo file or a magnet link without an engine, and what is foreign
//! in it.

// In a program, `pub` says: for the other files.
#![allow(unreachable_pub)]
#![allow(clippy::disallowed_methods)]

#[path = "common/mod.rs"]
mod common;

use std::{
    collections::HashMap,
    fmt::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use common::{
    Problem,
    args::{self, Args},
    complain, print, printable, read_magnet, read_metainfo,
};
use cratetorrent::wire::{
    magnet::Magnet,
    metainfo::{FileKind, Metainfo},
    tracker::url::Host,
};
use serde_json::json;

const HELP: &str = "\
Tells what torrent files and magnet links hold.

Usage: inspect TORRENT… [options]

A TORRENT is a torrent file or a magnet link.

  --json                print one JSON object a torrent
  --magnet              print the magnet link only
  --help, --version

Files are numbered as --select of download takes them.
Exit status: 0 all were read; 1 one was not; 2 nonsense asked.";

struct Options {
    paths: Vec<PathBuf>,
    json: bool,
    magnet: bool,
}

fn main() -> ExitCode {
    common::program(|| HELP.to_owned(), parse, run)
}

fn parse(mut args: Args) -> Result<Options, Problem> {
    let (json, magnet) = (args.contains("--json"), args.contains("--magnet"));
    if json && magnet {
        return Err(Problem::usage("--json has the magnet link, too"));
    }
    let paths: Vec<PathBuf> = args::free(args)?.into_iter().map(PathBuf::from).collect();
    if paths.is_empty() {
        return Err(Problem::usage("no torrent given; --help tells how"));
    }
    Ok(Options { paths, json, magnet })
}

/// One that cannot be read is no reason not to tell of the others.
fn run(options: Options) -> Result<ExitCode, Problem> {
    let mut worst = 0;
    for (nth, path) in options.paths.iter().enumerate() {
        let read = match read_magnet(path) {
            Some(magnet) => magnet.map(Torrent::Magnet),
            None => read_metainfo(path).map(Torrent::File),
        };
        match read {
            Ok(torrent) if options.json => print(&torrent.object().to_string()),
            Ok(torrent) if options.magnet => print(&torrent.magnet().to_string()),
            Ok(torrent) => {
                if nth > 0 {
                    print("");
                }
                let mut words = String::new();
                torrent.tell(&mut words).map_err(Problem::of)?;
                print(words.trim_end_matches('\n'));
            }
            Err(problem) => {
                complain(&problem.sentence);
                worst = worst.max(problem.code);
            }
        }
    }
    Ok(ExitCode::from(worst))
}

/// What was named.
enum Torrent {
    File(Metainfo),
    Magnet(Magnet),
}

impl Torrent {
    fn magnet(&self) -> Magnet {
        match self {
            Self::File(metainfo) => metainfo.magnet(),
            Self::Magnet(magnet) => magnet.clone(),
        }
    }

    fn tell(&self, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::File(metainfo) => tell(metainfo, out),
            Self::Magnet(magnet) => tell_magnet(magnet, out),
        }
    }

    fn object(&self) -> serde_json::Value {
        match self {
            Self::File(metainfo) => object(metainfo),
            Self::Magnet(magnet) => magnet_object(magnet),
        }
    }
}

fn tell_magnet(m: &Magnet, out: &mut impl Write) -> fmt::Result {
    if let Some(name) = &m.name {
        writeln!(out, "name        {}", printable(name))?;
    }
    if let Some(hash) = m.identity.v1() {
        writeln!(out, "info-hash   {hash}")?;
    }
    if let Some(hash) = m.identity.v2() {
        writeln!(out, "version 2   {hash}")?;
    }
    if let Some(len) = m.len {
        writeln!(out, "size        {}", size(len))?;
    }
    for url in &m.trackers {
        writeln!(out, "tracker     {}", printable(url))?;
    }
    for url in &m.web_seeds {
        writeln!(out, "web seed    {}", printable(url))?;
    }
    for peer in &m.peers {
        writeln!(out, "peer        {peer}")?;
    }
    tell_nodes(&m.nodes, out)?;
    if let Some(files) = &m.select {
        writeln!(out, "files       {files}")?;
    }
    writeln!(out, "magnet      {m}")
}

fn tell_nodes(nodes: &[(Host, u16)], out: &mut impl Write) -> fmt::Result {
    nodes.iter().try_for_each(|(host, port)| writeln!(out, "dht node    {host}:{port}"))
}

fn nodes(nodes: &[(Host, u16)]) -> Vec<String> {
    nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect()
}

fn magnet_object(m: &Magnet) -> serde_json::Value {
    json!({
        "name": m.name,
        "info_hash": m.identity.v1().map(|hash| hash.to_string()),
        "info_hash_v2": m.identity.v2().map(|hash| hash.to_string()),
        "total_bytes": m.len,
        "trackers": m.trackers,
        "web_seeds": m.web_seeds,
        "peers": m.peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "dht_nodes": nodes(&m.nodes),
        "selected": m.select.as_ref().map(ToString::to_string),
        "magnet": m.to_string(),
    })
}

fn tell(m: &Metainfo, out: &mut impl Write) -> fmt::Result {
    let g = &m.geometry;
    writeln!(out, "name        {}", printable(&m.name))?;
    if let Some(hash) = m.identity.v1() {
        writeln!(out, "info-hash   {hash}")?;
    }
    if let Some(hash) = m.identity.v2() {
        writeln!(out, "version 2   {hash}")?;
    }
    writeln!(out, "size        {}", size(g.held_len()))?;
    writeln!(out, "pieces      {} of {}", g.piece_count(), size(u64::from(g.nominal_piece_len())))?;
    writeln!(out, "private     {}", if m.private { "yes" } else { "no" })?;
    if let Some(source) = &m.source {
        writeln!(out, "source      {}", printable(source))?;
    }
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
    tell_nodes(&m.nodes, out)?;
    writeln!(out, "magnet      {}", m.magnet())?;
    writeln!(out, "files       {}", m.files.len())?;
    let mut changed = m.changed_names().into_iter().peekable();
    for (at, file) in m.files.iter().enumerate() {
        let path = if m.single_file { printable(&m.name) } else { join(&file.path) };
        writeln!(out, "{at:>5} {:>15}  {path}{}", file.len, mark(file.kind))?;
        if let Some(changed) = changed.next_if(|changed| changed.file == at) {
            writeln!(
                out,
                "{:>21}  is stored as {}",
                "",
                printable(&changed.stored.to_string_lossy())
            )?;
        }
        if let Some((root, layer)) = root_of(m, at) {
            writeln!(out, "{:>21}  root {root}{}", "", layer.words())?;
        }
    }
    Ok(())
}

/// The piece layer of a file of version 2 (BEP 52).
enum Layer {
    /// The file is one piece, whose hash is the root.
    None,
    /// So many hashes are there.
    There(usize),
    /// Peers must be asked for it.
    Missing,
}

impl Layer {
    fn words(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::There(hashes) => format!(", layer of {hashes} pieces"),
            Self::Missing => ", without its layer".to_owned(),
        }
    }
}

/// The root of the tree of a file of version 2, in hexadecimal digits.
fn root_of(m: &Metainfo, file: usize) -> Option<(String, Layer)> {
    let trees = m.trees.as_ref()?;
    let at = trees.files().binary_search_by_key(&file, |tree| tree.file as usize).ok()?;
    let tree = trees.files().get(at)?;
    let root = tree.root.iter().map(|byte| format!("{byte:02x}")).collect();
    let layer = match trees.layer(tree) {
        _ if !tree.has_layer() => Layer::None,
        Some(layer) => Layer::There(layer.len()),
        None => Layer::Missing,
    };
    Some((root, layer))
}

fn object(m: &Metainfo) -> serde_json::Value {
    let changed = m.changed_names().into_iter().map(|changed| (changed.file, changed.stored));
    let changed: HashMap<usize, PathBuf> = changed.collect();
    let file = |(at, file): (usize, &cratetorrent::wire::metainfo::FileEntry)| {
        let path = if m.single_file { vec![m.name.clone()] } else { file.path.clone() };
        let kind = match file.kind {
            FileKind::Regular => "file",
            FileKind::Pad => "pad",
            FileKind::Symlink => "link",
        };
        let stored = changed.get(&at).map(|path| path.to_string_lossy());
        let (root, layer) = root_of(m, at).unzip();
        let layer = match layer {
            Some(Layer::There(hashes)) => Some(hashes),
            _ => None,
        };
        json!({
            "index": at,
            "bytes": file.len,
            "path": path,
            "kind": kind,
            "stored": stored,
            "root": root,
            "layer_hashes": layer,
        })
    };
    json!({
        "name": m.name,
        "info_hash": m.identity.v1().map(|hash| hash.to_string()),
        "info_hash_v2": m.identity.v2().map(|hash| hash.to_string()),
        "total_bytes": m.geometry.held_len(),
        "pieces": m.geometry.piece_count(),
        "piece_bytes": m.geometry.nominal_piece_len(),
        "private": m.private,
        "source": m.source,
        "creation_date": m.creation_date,
        "created_by": m.created_by,
        "comment": m.comment,
        "trackers": m.trackers,
        "web_seeds": m.web_seeds,
        "dht_nodes": nodes(&m.nodes),
        "magnet": m.magnet().to_string(),
        "single_file": m.single_file,
        "files": m.files.iter().enumerate().map(file).collect::<Vec<_>>(),
    })
}

fn mark(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "",
        FileKind::Pad => "  (pad)",
        FileKind::Symlink => "  (link)",
    }
}

/// A path whose components cannot be mistaken for more of them.
fn join(path: &[String]) -> String {
    path.iter()
        .map(|component| printable(component).replace('/', "\\/"))
        .collect::<Vec<_>>()
        .join("/")
}

fn size(bytes: u64) -> String {
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    match ["", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].get(unit) {
        Some(name) if unit > 0 => {
            format!("{bytes} bytes ({:.1} {name})", bytes as f64 / (1_u64 << (10 * unit)) as f64)
        }
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
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    let year = year + year_of_era + era * 400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}
