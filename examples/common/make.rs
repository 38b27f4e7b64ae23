//! Making a torrent as the user says: options, progress, the file.

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use cratetorrent::{
    CreateParams,
    create::{CreateError, Created, create, is_made_of},
    wire::metainfo::Format,
};
use indicatif::HumanBytes;

use super::{
    Problem,
    args::{self, Args},
    check_writable, output,
    progress::{Progress, Show, pace},
    read_metainfo,
    signals::Interrupt,
    whole,
};

/// The options that [`Make::parse`] knows.
pub const HELP: &str = "  -o, --out FILE        where the torrent goes (default: PATH.torrent); - \
                        is the standard output
  --force               replace a torrent that is there
  --piece-length SIZE   16K, 1M, or a number of bytes; a power of two
                        (default: by the size, 16K to 16M, some 1000 to 2000 pieces)
  --tracker URL[,URL…]  trackers, those with a comma between them in one tier; may be given \
                        more than once
  --web-seed URL        may be given more than once
  --private             peers come from the trackers only
  --comment TEXT
  --source TEXT         tells otherwise equal torrents apart
  --format FORMAT       v1 (default), v2, or hybrid: both in one torrent (BEP 52)
  --pads                each file begins with a piece, as in v2 and hybrid ones
  --skip-special        leave out symbolic links, pipes, sockets and devices, which are \
                        refused otherwise
  --no-date             do not say when and with what it was made
  --threads N           to hash with (default: one a core)";

const SAID: &str = concat!("cratetorrent ", env!("CARGO_PKG_VERSION"));

/// A way to write a torrent to its place.
type Write = fn(&Path, &[u8]) -> io::Result<()>;

/// What to make.
pub struct Make {
    params: CreateParams,
    out: Option<PathBuf>,
    force: bool,
    /// The options that were given, but for those that a program with a torrent takes, too.
    pub given: Vec<&'static str>,
}

impl Make {
    pub fn parse(args: &mut Args) -> Result<Self, Problem> {
        let mut given = Vec::new();
        let mut note = |is_given: bool, option| given.extend(is_given.then_some(option));
        let mut params = CreateParams::new("");
        let mut flag = |args: &mut Args, option| {
            let is_given = args.contains(option);
            note(is_given, option);
            is_given
        };
        let force = flag(args, "--force");
        params.private = flag(args, "--private");
        params.pads = flag(args, "--pads");
        params.skip_special = flag(args, "--skip-special");
        if !flag(args, "--no-date") {
            let since =
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            params.creation_date = i64::try_from(since.as_secs()).ok();
            params.created_by = Some(SAID.into());
        }
        let out = args::short_path(args, ["-o", "--out"])?;
        note(out.is_some(), "--out");
        let piece_len: Option<String> = args::value(args, "--piece-length")?;
        note(piece_len.is_some(), "--piece-length");
        params.piece_len = piece_len.map(|size| piece_length(&size)).transpose()?;
        params.trackers = trackers(args)?;
        params.web_seeds = web_seeds(args)?;
        note(!params.web_seeds.is_empty(), "--web-seed");
        let format: Option<String> = args::value(args, "--format")?;
        note(format.is_some(), "--format");
        params.format = match format.as_deref() {
            None | Some("v1") => Format::V1,
            Some("v2") => Format::V2,
            Some("hybrid") => Format::Hybrid,
            Some(other) => {
                let what = format!("--format is v1, v2 or hybrid, not {other:?}");
                return Err(Problem::usage(what));
            }
        };
        params.comment = args::value(args, "--comment")?;
        note(params.comment.is_some(), "--comment");
        params.source = args::value(args, "--source")?;
        note(params.source.is_some(), "--source");
        params.threads = args::value(args, "--threads")?.unwrap_or(0);
        note(params.threads > 0, "--threads");
        Ok(Self { params, out, force, given })
    }

    /// The given trackers, for a program that has a torrent already.
    pub fn take_trackers(&mut self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.params.trackers)
    }

    /// Whether the torrent goes to the standard output, where nothing else may be printed then.
    pub fn is_to_stdout(&self) -> bool {
        self.out.as_deref() == Some(Path::new("-"))
    }

    /// The torrent of `path` that is there already, if the options ask for no other: that of an
    /// earlier start.
    pub fn made(&self, path: &Path, interrupt: &Interrupt) -> Result<Option<PathBuf>, Problem> {
        let out = self.out.clone().map_or_else(|| beside(path), Ok);
        // A pipe or device is not read: it may have no end.
        let Some(out) = out.ok().filter(|out| !self.force && out.is_file()) else {
            return Ok(None);
        };
        let Ok(made) = read_metainfo(&out) else { return Ok(None) };
        let asked = |option| self.given.contains(&option);
        let mut params = CreateParams { path: path.to_owned(), ..self.params.clone() };
        // What was not asked for may be as it is.
        params.piece_len = params.piece_len.or(Some(made.geometry.nominal_piece_len()));
        params.source = params.source.or_else(|| made.source.clone());
        params.private |= made.private;
        params.pads |= made.geometry.held_len() < made.geometry.total_len();
        if !asked("--format") {
            params.format = match (made.pieces.is_empty(), made.trees.is_some()) {
                (true, _) => Format::V2,
                (false, true) => Format::Hybrid,
                (false, false) => Format::V1,
            };
        }
        let has_all = params.web_seeds.iter().all(|seed| made.web_seeds.contains(seed))
            && (params.comment.is_none() || params.comment == made.comment);
        match is_made_of(&made, &params, || go_on(interrupt)) {
            Err(e @ CreateError::Stopped) => Err(problem(&e, interrupt)),
            is => Ok(Some(out).filter(|_| has_all && is.is_ok_and(|is| is))),
        }
    }

    /// Hashes what is at `path` and writes the torrent; tells where it is, if it is in a file.
    pub fn run(
        mut self,
        path: PathBuf,
        name: Option<String>,
        show: Show,
        interrupt: &Interrupt,
    ) -> Result<(Created, Option<PathBuf>), Problem> {
        let to_stdout = self.is_to_stdout();
        let out = self.out.take().map_or_else(|| beside(&path), Ok)?;
        let (place, write) = match to_stdout {
            true => (out.clone(), whole::create as Write),
            false => self.check_out(&path, &out)?,
        };
        (self.params.path, self.params.name) = (path, name);
        let mut progress = Progress::new(if to_stdout { Show::Nothing } else { show });
        let (start, shown) = (Instant::now(), self.params.path.display());
        let mut begun = false;
        let created = create(&self.params, |so_far| {
            if show == Show::Words && so_far.total > 0 && !std::mem::replace(&mut begun, true) {
                progress.say(&format!("hashing   {shown}, {}", HumanBytes(so_far.total)));
            }
            progress.hashing(so_far, start.elapsed());
            go_on(interrupt)
        });
        progress.end();
        let created = created.map_err(|e| problem(&e, interrupt))?;
        if to_stdout {
            output::bytes(&created.bytes);
            return Ok((created, None));
        }
        write(&place, &created.bytes).map_err(|e| cannot_write(&out, &e))?;
        if show == Show::Words {
            progress.say(&format!(
                "hashed    {}",
                pace(created.metainfo.geometry.held_len(), start.elapsed())
            ));
        }
        Ok((created, Some(out)))
    }

    /// What can go wrong with writing should do so before hours of hashing. Tells where and how
    /// to write.
    fn check_out(&self, path: &Path, out: &Path) -> Result<(PathBuf, Write), Problem> {
        let cannot = |e| cannot_write(out, &e);
        let path = path.canonicalize().unwrap_or_default();
        // Links are followed: through one, too, the data is the data and a device a device.
        let found = match fs::metadata(out) {
            Ok(found) => Some(found),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(cannot(e)),
        };
        let unfit = match &found {
            Some(_) if out.canonicalize().is_ok_and(|out| out == path) => {
                Some("what the torrent is to be made of")
            }
            Some(found) if found.is_dir() => Some("a folder"),
            _ => None,
        };
        if let Some(what) = unfit {
            let what = format!("{} is {what}; --out says where else to write", out.display());
            return Err(Problem::usage(what));
        }
        if fs::symlink_metadata(out).is_ok() && !self.force {
            return Err(exists(out));
        }
        let place = match found {
            Some(found) if !found.is_file() => return Ok((out.to_owned(), whole::feed)),
            // What a link leads to is replaced, and not the link: it may be /dev/stdout.
            Some(_) => out.canonicalize().map_err(cannot)?,
            None => out.to_owned(),
        };
        let folder = parent(&place);
        check_writable(folder).map_err(cannot)?;
        let folder = folder.canonicalize().map_err(cannot)?;
        if path.is_dir() && folder.starts_with(&path) {
            let what = format!(
                "{} would lie in the folder that it is made of; --out says where else",
                out.display()
            );
            return Err(Problem::usage(what));
        }
        Ok((place, if self.force { whole::replace } else { whole::create }))
    }
}

/// Whether the work goes on: until the user wants an end.
fn go_on(interrupt: &Interrupt) -> ControlFlow<()> {
    match interrupt.exit_code() {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    }
}

/// `PATH.torrent`.
fn beside(path: &Path) -> Result<PathBuf, Problem> {
    let whole = match path.file_name() {
        Some(_) => path.to_owned(),
        None => path
            .canonicalize()
            .map_err(|e| Problem::new(format!("cannot read {}: {e}", path.display())))?,
    };
    match whole.file_name() {
        Some(name) => {
            let mut name = name.to_owned();
            name.push(".torrent");
            Ok(whole.with_file_name(name))
        }
        None => Err(Problem::usage(format!(
            "{} has no name that the torrent could have; --out says where to write it",
            path.display()
        ))),
    }
}

/// The folder that something is in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn exists(out: &Path) -> Problem {
    Problem::new(format!("{} exists already: seed it, or replace it by --force", out.display()))
}

fn cannot_write(out: &Path, e: &io::Error) -> Problem {
    match e.kind() {
        io::ErrorKind::AlreadyExists => exists(out),
        _ => Problem::new(format!("cannot write {}: {e}", out.display())),
    }
}

fn problem(e: &CreateError, interrupt: &Interrupt) -> Problem {
    let sentence = e.to_string();
    match e {
        CreateError::Stopped => Problem {
            sentence: "stopped; no torrent was written".into(),
            code: interrupt.exit_code().unwrap_or(1),
        },
        CreateError::PieceLength(_) | CreateError::Name(_) | CreateError::Address(_) => {
            Problem::usage(sentence)
        }
        CreateError::Special { .. } => {
            Problem::new(format!("{sentence}; --skip-special leaves such things out"))
        }
        _ => Problem::new(sentence),
    }
}

fn piece_length(text: &str) -> Result<u32, Problem> {
    let number = text.trim_end_matches("iB");
    let (number, unit) = match number.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&number[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&number[..at], 1 << 20),
        _ => (text, 1),
    };
    let len = number.parse::<u32>().ok().and_then(|number| number.checked_mul(unit));
    len.ok_or_else(|| {
        Problem::usage(format!("--piece-length: {text:?} is no size such as 16K, 1M or 65536"))
    })
}

/// All `--tracker` options: those with a comma between them in one tier.
pub fn trackers(args: &mut Args) -> Result<Vec<Vec<String>>, Problem> {
    let tier = |tier: String| tier.split(',').map(|one| url("--tracker", one)).collect();
    args::values(args, "--tracker")?.into_iter().map(tier).collect()
}

/// The addresses of web seeds.
pub fn web_seeds(args: &mut Args) -> Result<Vec<String>, Problem> {
    args::values(args, "--web-seed")?.iter().map(|one| url("--web-seed", one)).collect()
}

fn url(option: &str, text: &str) -> Result<String, Problem> {
    match text.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => Ok(text.to_owned()),
        _ => Err(Problem::usage(format!(
            "{option}: {text:?} is no URL such as http://example.org/announce"
        ))),
    }
}
