//! The loop: lines, alerts and signals come in by one channel, and each is done with before the
//! next.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use cratetorrent::{
    ActiveLimits, Alert, AlertMask, Alerts, Conf, Limits, Phase, Source, TorrentStats,
};

use crate::{
    act::Session,
    args::Options,
    book::Book,
    command::{self, Command, Which},
    common::{self, Problem, Saving, complain, listen, print, printable, signals::Interrupt},
    input::Input,
};

/// How long the engine may take to save its states and end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the loop waits for.
pub enum Event {
    Line(Result<String, Problem>),
    EndOfInput,
    Interrupted,
    Alert(Box<Alert>),
    EngineEnded,
}

pub fn run(options: Options) -> Result<ExitCode, Problem> {
    let (events, inbox) = mpsc::channel();
    let signals = events.clone();
    let _interrupt = Interrupt::catch(move || _ = signals.send(Event::Interrupted))?;
    let human = io::stdout().is_terminal();
    let folder = options.dir.clone();
    let (session, alerts) = open(options, human)?;
    forward_alerts(alerts, events.clone())?;
    let prompts = human && io::stdin().is_terminal();
    print(&format!("ready on {}", listen::places(&session.engine)));
    let input = Input::start(events, &folder)?;
    Shell { session, inbox, input, prompts, failed: false, marks: 0, told: String::new() }.run()
}

/// Starts the engine, and knows the torrents that it has already.
fn open(options: Options, human: bool) -> Result<(Session, Alerts), Problem> {
    let Options { dir, downloads, place, blocklist, limits, active, seeds } = options;
    std::fs::create_dir_all(&dir)
        .map_err(|e| Problem::new(format!("cannot make {}: {e}", dir.display())))?;
    let absolute = |path| std::path::absolute(path).map_err(Problem::of);
    let (dir, downloads) = (absolute(dir)?, absolute(downloads)?);
    let mut conf = Conf::default().with(|conf| {
        conf.alerts.mask = AlertMask::STATUS | AlertMask::BANS;
        conf.session.dir = Some(dir);
    });
    common::limits::use_all_descriptors(&mut conf);
    let (engine, alerts) = place.start(conf)?;
    if let Some(path) = &blocklist {
        common::block(&engine, path)?;
    }
    // What the folder remembers holds, unless this start says otherwise.
    let known = engine.call(move |engine| {
        if limits != Limits::default() {
            engine.set_limits(limits);
        }
        if active.is_some() || seeds.is_some() {
            let now = engine.active_limits();
            let (downloads, seeds) = (active.unwrap_or(now.downloads), seeds.unwrap_or(now.seeds));
            engine.set_active_limits(ActiveLimits { downloads, seeds, ..now });
        }
        let params = |id| Some((id, engine.params(id).ok()?));
        engine.torrents().into_iter().filter_map(params).collect::<Vec<_>>()
    });
    let mut book = Book::default();
    for (id, params) in known.map_err(Problem::of)? {
        if let Source::Metainfo(metainfo) = params.source {
            book.enter(id, metainfo, params.dir);
        }
    }
    Ok((Session { engine, book, downloads, human }, alerts))
}

fn forward_alerts(alerts: Alerts, events: Sender<Event>) -> Result<(), Problem> {
    let forward = move || {
        for alert in alerts {
            if events.send(Event::Alert(Box::new(alert))).is_err() {
                return;
            }
        }
        let _ = events.send(Event::EngineEnded);
    };
    thread::Builder::new().name("alerts".into()).spawn(forward).map_err(Problem::of)?;
    Ok(())
}

/// A `wait` command waits for these to have everything.
struct Wait {
    which: Which,
    until: Option<Instant>,
    /// They have; what is left is to tell what was told by then.
    mark: Option<u64>,
}

struct Shell {
    session: Session,
    inbox: Receiver<Event>,
    input: Input,
    prompts: bool,
    /// A command of a script has failed.
    failed: bool,
    /// Marks set among the alerts.
    marks: u64,
    /// The last failure of the disk told, so that it is not told again and again.
    told: String,
}

impl Shell {
    fn run(mut self) -> Result<ExitCode, Problem> {
        let mut wait: Option<Wait> = None;
        self.next_line();
        loop {
            let event = match wait.as_ref().and_then(|wait| wait.until) {
                Some(until) => {
                    self.inbox.recv_timeout(until.saturating_duration_since(Instant::now()))
                }
                None => self.inbox.recv().map_err(RecvTimeoutError::from),
            };
            match event {
                Ok(Event::Line(line)) => match line.and_then(|line| command::parse(&line)) {
                    Ok(Some(Command::Quit)) => break,
                    Ok(Some(Command::Wait { which, limit })) => {
                        wait = Some(Wait {
                            which,
                            until: limit.map(|limit| Instant::now() + limit),
                            mark: None,
                        });
                    }
                    Ok(Some(command)) => {
                        if let Err(problem) = self.session.act(command) {
                            self.complain(&problem);
                        }
                        self.next_line();
                    }
                    Ok(None) => self.next_line(),
                    Err(problem) => {
                        self.complain(&problem);
                        self.next_line();
                    }
                },
                Ok(Event::EndOfInput) => break,
                Ok(Event::Interrupted) => {
                    self.input.leave();
                    break;
                }
                Ok(Event::Alert(alert)) => {
                    if let Alert::Marked { mark } = *alert
                        && wait.take_if(|wait| wait.mark == Some(mark)).is_some()
                    {
                        print("waited");
                        self.next_line();
                    }
                    self.tell(*alert);
                }
                Ok(Event::EngineEnded) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(Problem::new("the engine failed; RUST_LOG=error tells why"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.complain(&Problem::new("wait: it took too long"));
                    wait = None;
                    self.next_line();
                }
            }
            if let Some(Wait { which, mark: mark @ None, .. }) = &mut wait {
                match self.is_complete(which, self.marks + 1) {
                    Ok(false) => {}
                    Ok(true) => {
                        self.marks += 1;
                        *mark = Some(self.marks);
                    }
                    Err(problem) => {
                        self.complain(&problem);
                        wait = None;
                        self.next_line();
                    }
                }
            }
        }
        self.end()
    }

    fn next_line(&self) {
        self.input.next_line();
    }

    fn complain(&mut self, problem: &Problem) {
        complain(&problem.sentence);
        self.failed |= !self.prompts;
    }

    /// Whether all of them have everything; an error if one cannot. If so, `mark` comes behind what
    /// made it so.
    fn is_complete(&self, which: &Which, mark: u64) -> Result<bool, Problem> {
        let entries = self.session.book.find_all(which)?;
        let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
        // Closing is also what is about to be checked anew.
        let lacks = |stats: &TorrentStats| {
            stats.wanted_have_bytes < stats.wanted_bytes
                || matches!(stats.phase, Phase::Opening | Phase::Checking | Phase::Closing)
        };
        let (complete, gone) = self.session.call(move |engine| {
            let stats: Vec<_> = ids.iter().map(|&id| engine.stats(id)).collect();
            let gone = stats.iter().position(Option::is_none);
            let complete = gone.is_none() && !stats.iter().flatten().any(lacks);
            if complete {
                engine.mark(mark);
            }
            (complete, gone)
        })?;
        match gone.and_then(|at| entries.get(at)) {
            Some(entry) => Err(Problem::new(format!("wait: {} is gone", entry.number))),
            None => Ok(complete),
        }
    }

    /// Says what happens meanwhile, in lines that a script can wait for.
    fn tell(&mut self, alert: Alert) {
        let number = |id| self.session.book.by_id(id).map_or(0, |entry| entry.number);
        let line = match alert {
            Alert::Checked { torrent, have } => {
                format!("checked {} {have} pieces", number(torrent))
            }
            Alert::Finished { torrent, .. } => format!("finished {}", number(torrent)),
            Alert::StopReached { torrent, why } => {
                format!("stopped {} {why}", number(torrent))
            }
            Alert::StorageFailed { torrent, error, .. } => {
                let line = format!("failed {} {error}", number(torrent));
                if self.told == line {
                    return;
                }
                self.told.clone_from(&line);
                line
            }
            Alert::DataGone { torrent, dir } => {
                format!("gone {} its data is gone from {}", number(torrent), dir.display())
            }
            Alert::StorageRecovered { torrent } => format!("recovered {}", number(torrent)),
            Alert::StorageMoved { torrent, dir } => {
                let line = format!("moved {} {}", number(torrent), dir.display());
                self.session.book.move_to(torrent, dir);
                line
            }
            Alert::FileRenamed { torrent, file, path } => {
                format!("renamed {} {file} {}", number(torrent), printable(&path.to_string_lossy()))
            }
            Alert::FileRenameFailed { torrent, error, .. } => {
                format!("failed {} {error}", number(torrent))
            }
            Alert::NamesChanged { torrent, files, first, path } => {
                format!(
                    "named {} {files} {first} {}",
                    number(torrent),
                    printable(&path.to_string_lossy())
                )
            }
            Alert::StorageMoveFailed { torrent, error } => {
                format!("failed {} {error}", number(torrent))
            }
            Alert::DataDeleted { torrent } => format!("deleted {}", number(torrent)),
            Alert::DeleteFailed { torrent, files, error } => {
                format!("failed {} {files} files are still there: {error}", number(torrent))
            }
            Alert::Restored { set_aside: Some(kept), .. } => {
                let kept = kept.display();
                format!(
                    "failed 0 the log of the session's folder cannot be read and is kept \
                     as {kept}; no torrents are known"
                )
            }
            Alert::Restored { torrents, damaged, .. } if damaged > 0 => {
                format!(
                    "failed 0 {damaged} records of the session's folder are damaged; \
                     {torrents} torrents are there"
                )
            }
            Alert::Restored { torrents: 0, .. } => return,
            Alert::Restored { torrents, .. } => format!("restored {torrents}"),
            Alert::SessionFailed { error, .. } => format!("failed 0 {error}"),
            Alert::Distrusted { torrent, error } => {
                format!("failed {} {error}; everything is checked", number(torrent))
            }
            Alert::PeerBanned { torrent, addr } => format!("banned {} {addr}", number(torrent)),
            Alert::Removed { torrent } => match self.session.book.strike(torrent) {
                Some(entry) => format!("removed {}", entry.number),
                None => return,
            },
            _ => return,
        };
        self.input.news(&line);
    }

    /// Lets the engine save its states.
    fn end(mut self) -> Result<ExitCode, Problem> {
        // First, since what is told from now on goes below the line that was being typed.
        drop(self.input);
        self.session.engine.shutdown();
        let mut deadline = Instant::now() + PATIENCE;
        let mut saving = Saving::default();
        loop {
            match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Alert(alert)) => match *alert {
                    // What is not saved now is lost, or has to be checked.
                    Alert::StorageFailed { error, .. } | Alert::SessionFailed { error, .. } => {
                        complain(&error.to_string());
                        self.failed = true;
                    }
                    // A disk that is slow is not one that does not answer.
                    Alert::Saving { done, total, .. } => {
                        deadline = Instant::now() + PATIENCE;
                        saving.tell(done, total);
                    }
                    _ => {}
                },
                Ok(Event::EngineEnded) => break,
                Ok(_) => {}
                Err(_) => {
                    complain("the disk does not answer; the next start checks what is there");
                    let _ = self.session.engine.close(Duration::ZERO);
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        let _ = self.session.engine.join();
        Ok(if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
