//! The loop: lines, alerts and signals come in by one channel, and each is done with before the
//! next.

use std::{
    io::{self, IsTerminal},
    path::Path,
    process::ExitCode,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use cratetorrent::{
    ActiveLimits, Alert, AlertMask, Alerts, Conf, Limits, Phase, StoreError, TorrentId,
    TorrentStats,
};

use crate::{
    act::Session,
    args::Options,
    book::Book,
    command::{self, Command, Which},
    common::{self, Problem, Saving, complain, print, printable, signals::Interrupt},
    input::Input,
    style::{Fact, Style},
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
    let style = match (options.json, io::stdout().is_terminal()) {
        (true, _) => Style::Json,
        (false, true) => Style::Human,
        (false, false) => Style::Tabs,
    };
    let folder = options.dir.clone();
    let (session, alerts) = open(options, style)?;
    forward_alerts(alerts, events.clone())?;
    let prompts = io::stdout().is_terminal() && io::stdin().is_terminal();
    let addrs: Vec<String> = session.engine.local_addrs().iter().map(ToString::to_string).collect();
    let ready = Fact::new("ready").said("ready on").text(addrs.join(" and "));
    print(&ready.with("addresses", addrs).line(style));
    let input = Input::start(events, &folder)?;
    Shell { session, inbox, input, prompts, failed: false, marks: 0, told: None }.run()
}

/// Starts the engine, and knows the torrents that it has already.
fn open(options: Options, style: Style) -> Result<(Session, Alerts), Problem> {
    let Options { dir, downloads, place, blocklist, down, up, active, seeds, json: _ } = options;
    std::fs::create_dir_all(&dir)
        .map_err(|e| Problem::new(format!("cannot make {}: {e}", dir.display())))?;
    let absolute = |path| std::path::absolute(path).map_err(Problem::of);
    let (dir, downloads) = (absolute(dir)?, absolute(downloads)?);
    let mut conf = Conf::default().with(|conf| {
        conf.alerts.mask = AlertMask::STATUS | AlertMask::BANS;
        conf.session.dir = Some(dir);
    });
    common::limits::use_all_descriptors(&mut conf);
    let (engine, alerts, _) = place.start(conf, true, blocklist.as_deref())?;
    // What the folder remembers holds, unless this start says otherwise.
    let known = engine.call(move |engine| {
        if down.is_some() || up.is_some() {
            let now = engine.limits();
            engine.set_limits(Limits { down: down.unwrap_or(now.down), up: up.unwrap_or(now.up) });
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
        book.enter(id, &params.source, params.dir);
    }
    Ok((Session { engine, book, downloads, style }, alerts))
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
    /// The last failure of the disk told, and of which torrent, so that it is not told again and
    /// again.
    told: Option<(u32, String)>,
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
                            // One that is too long for the clock is none.
                            until: limit.and_then(|limit| Instant::now().checked_add(limit)),
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
                        print(&Fact::new("waited").line(self.session.style));
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
                || matches!(
                    stats.phase,
                    Phase::Metadata | Phase::Opening | Phase::Checking | Phase::Closing
                )
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
        let style = self.session.style;
        // What a command asked for, as it has turned out only now.
        self.failed |= refusal(&alert).is_some() && !self.prompts;
        let Some(line) = self.fact(alert).map(|fact| fact.line(style)) else { return };
        self.input.news(&line);
    }

    fn fact(&mut self, alert: Alert) -> Option<Fact> {
        let number = |id| self.session.book.by_id(id).map_or(0, |entry| entry.number);
        let failed = |number, text: String| Some(Fact::new("failed").of(number).text(text));
        match alert {
            Alert::MetadataReceived { torrent } => self.learn(torrent),
            Alert::MetadataRefused { torrent, error } => failed(number(torrent), error),
            Alert::Merged { torrent, twin } => {
                let (number, twin) = (number(torrent), number(twin));
                let text = format!("{twin} is the same torrent");
                Some(Fact::new("merged").of(number).text(text).with("twin", twin))
            }
            Alert::NoPeers { torrent, no_peers } => {
                let fact = Fact::new("waiting").of(number(torrent));
                Some(fact.text(no_peers.to_string()))
            }
            Alert::Checked { torrent, have } => {
                let fact = Fact::new("checked").of(number(torrent));
                Some(fact.text(format!("{have} pieces")).with("pieces", have))
            }
            Alert::Finished { torrent, .. } => Some(Fact::new("finished").of(number(torrent))),
            Alert::StopReached { torrent, why } => {
                Some(Fact::new("stopped").of(number(torrent)).text(why.to_string()))
            }
            Alert::StorageFailed { torrent, error, .. } => {
                let (number, error) = (number(torrent), error.to_string());
                let told = (number, error.clone());
                if self.told.as_ref() == Some(&told) {
                    return None;
                }
                self.told = Some(told);
                failed(number, error)
            }
            Alert::DataGone { torrent, dir } => {
                let fact = Fact::new("gone").of(number(torrent));
                Some(fact.text(format!("its data is gone from {}", dir.display())))
            }
            Alert::StorageRecovered { torrent } => Some(Fact::new("recovered").of(number(torrent))),
            Alert::StorageMoved { torrent, dir } => {
                let fact = Fact::new("moved").of(number(torrent)).text(dir.display().to_string());
                self.session.book.move_to(torrent, dir);
                Some(fact)
            }
            Alert::FileRenamed { torrent, file, path } => {
                Some(stored("renamed", number(torrent), [file], &path))
            }
            Alert::NamesChanged { torrent, files, first, path } => {
                Some(stored("named", number(torrent), [files, first], &path))
            }
            Alert::FileRenameFailed { torrent, error, .. } => {
                failed(number(torrent), error.to_string())
            }
            Alert::StorageMoveFailed { torrent, error } => {
                failed(number(torrent), error.to_string())
            }
            Alert::DataDeleted { torrent } => Some(Fact::new("deleted").of(number(torrent))),
            Alert::DeleteFailed { torrent, files, error } => {
                failed(number(torrent), format!("{files} files are still there: {error}"))
            }
            Alert::Restored { set_aside: Some(kept), .. } => {
                let kept = kept.display();
                let what = format!(
                    "the log of the session's folder cannot be read and is kept as {kept}; no \
                     torrents are known"
                );
                failed(0, what)
            }
            Alert::Restored { torrents, damaged, .. } if damaged > 0 => {
                let what = format!(
                    "{damaged} records of the session's folder are damaged; {torrents} torrents \
                     are there"
                );
                failed(0, what)
            }
            Alert::Restored { torrents: 0, .. } => None,
            Alert::Restored { torrents, .. } => {
                let fact = Fact::new("restored").text(torrents.to_string());
                Some(fact.with("torrents", torrents))
            }
            Alert::SessionFailed { error, .. } => failed(0, error.to_string()),
            Alert::ProxyFailed { error, .. } => failed(0, error.to_string()),
            Alert::PortMapped { mapping } => {
                Some(Fact::new("mapped").text(mapping.to_string()).with("port", mapping.external))
            }
            Alert::ProxyRecovered { datagrams } => {
                Some(Fact::new("recovered").text(common::proxy_recovered(datagrams)))
            }
            Alert::Distrusted { torrent, error } => {
                failed(number(torrent), format!("{error}; everything is checked"))
            }
            Alert::PeerBanned { torrent, addr } => {
                let fact = Fact::new("banned").of(number(torrent)).text(addr.to_string());
                Some(fact.with("address", addr.to_string()))
            }
            Alert::Removed { torrent } => {
                let entry = self.session.book.strike(torrent)?;
                Some(Fact::new("removed").of(entry.number))
            }
            _ => None,
        }
    }

    /// Peers have told what a magnet link stands for.
    fn learn(&mut self, torrent: TorrentId) -> Option<Fact> {
        let metainfo = self.session.call(move |engine| engine.metainfo(torrent)).ok()??;
        let entry = self.session.book.learn(torrent, metainfo.identity, &metainfo.name)?;
        let fact = Fact::new("known").of(entry.number).text(entry.name());
        Some(fact.with("name", metainfo.name.clone()))
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
                Ok(Event::Alert(alert)) => {
                    if let Some(error) = refusal(&alert) {
                        complain(&error.to_string());
                        self.failed |= !self.prompts;
                    }
                    match *alert {
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
                    }
                }
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

/// Why what a command asked for is not done, if the alert says so.
fn refusal(alert: &Alert) -> Option<&StoreError> {
    match alert {
        Alert::StorageMoveFailed { error, .. }
        | Alert::FileRenameFailed { error, .. }
        | Alert::DeleteFailed { error, .. } => Some(error),
        _ => None,
    }
}

/// Files have another path on disk: how many and the first of them, or the one.
fn stored<const N: usize>(
    event: &'static str,
    torrent: u32,
    files: [usize; N],
    path: &Path,
) -> Fact {
    let numbers: Vec<String> = files.iter().map(ToString::to_string).collect();
    let path = path.to_string_lossy();
    Fact::new(event)
        .of(torrent)
        .text(format!("{} {}", numbers.join(" "), printable(&path)))
        .with("file", files.last().copied())
        .with("path", path)
}
