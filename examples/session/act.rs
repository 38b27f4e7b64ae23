//! The commands carried out: each is one place here, and one call to the engine.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use cratetorrent::{
    ActiveLimits, AddError, EngineHandle, Limits, MoveMode, NoSuchTorrent, Priority, Source,
    StopAt, TorrentId, TorrentParams, Verbs, engine::QueueError, wire::magnet::FileSelection,
};

use crate::{
    book::{Book, Entry},
    command::{self, Command, Level, Place, Which},
    common::{Problem, complain, listen::Policy, print, read_magnet, read_metainfo, shown},
    objects, show,
    style::{Fact, Style},
};

/// The session as its user sees it.
pub struct Session {
    pub engine: EngineHandle,
    pub book: Book,
    /// Where data goes unless a command says otherwise.
    pub downloads: PathBuf,
    /// How what is printed looks.
    pub style: Style,
}

impl Session {
    /// Does what a command asks for. `Quit` and `Wait` are the loop's.
    pub fn act(&mut self, command: Command) -> Result<(), Problem> {
        match command {
            Command::Add { paths, dir, paused, now } => {
                self.add(&paths, dir.as_deref(), paused, now)
            }
            Command::List(label) => self.list(label),
            Command::Show(torrent) => self.show(&torrent),
            Command::Peers(torrent) => self.peers(&torrent),
            Command::Peer(torrent, addrs) => {
                self.one(&torrent, Fact::new("told"), move |engine, id| {
                    addrs.iter().try_for_each(|&addr| engine.add_peer(id, addr))
                })
            }
            Command::Trackers(torrent) => self.trackers(&torrent),
            Command::WebSeeds(torrent) => self.web_seeds(&torrent),
            Command::WebSeed(torrent, url) => {
                self.one(&torrent, Fact::new("told"), move |engine, id| {
                    engine.add_web_seed(id, &url)
                })
            }
            Command::NoWebSeed(torrent, url) => {
                self.one(&torrent, Fact::new("told"), move |engine, id| {
                    match engine.remove_web_seed(id, &url) {
                        Ok(true) => Ok(()),
                        Ok(false) => Err("it has no such web seed".to_owned()),
                        Err(e) => Err(e.to_string()),
                    }
                })
            }
            Command::Pause(which) => self.each(&which, "paused", |engine, id| engine.pause(id)),
            Command::Resume(which) => self.each(&which, "resumed", |engine, id| engine.resume(id)),
            Command::Anew(which) => {
                self.each(&which, "downloading", |engine, id| engine.download_anew(id))
            }
            Command::Recheck(which) => {
                self.each(&which, "rechecking", |engine, id| engine.recheck(id))
            }
            Command::Remove { which, data } => self.remove(&which, data),
            Command::ShowLimits(torrent) => self.show_limits(torrent.as_deref()),
            Command::Limit(None, limits) => {
                self.call(move |engine| engine.set_limits(limits))?;
                self.show_limits(None)
            }
            Command::Limit(Some(torrent), limits) => {
                let said = format!("limited to {}", show::limits(limits));
                self.one(&torrent, Fact::new("limited").said(&said), move |engine, id| {
                    engine.set_torrent_limits(id, limits)
                })
            }
            Command::Queue(torrent, place) => self.queue(&torrent, place),
            Command::Active(downloads, seeds) => {
                self.call(move |engine| {
                    let limits = engine.active_limits();
                    engine.set_active_limits(ActiveLimits { downloads, seeds, ..limits });
                })?;
                self.say(
                    Fact::new("active")
                        .text(format!("{downloads} downloads, {seeds} seeds"))
                        .with("downloads", downloads)
                        .with("seeds", seeds),
                );
                Ok(())
            }
            Command::Stop { torrent, percent, seeding } => {
                let stop = Some(StopAt { ratio_percent: percent, seeding });
                self.one(&torrent, Fact::new("stop").said("stop set"), move |engine, id| {
                    engine.set_stop(id, stop)
                })
            }
            Command::Sequential(torrent, on) => {
                let said = if on { "in order" } else { "rarest first" };
                let fact = Fact::new("sequential").said(said).with("on", on);
                self.one(&torrent, fact, move |engine, id| engine.set_sequential(id, on))
            }
            Command::Priority { torrent, file, level } => self.priority(&torrent, file, level),
            Command::Encryption(torrent, policy) => {
                self.one(&torrent, Fact::new("encryption").said("policy set"), move |engine, id| {
                    engine.set_encryption(id, policy.map(|Policy(policy)| policy))
                })
            }
            Command::Cipher(torrent, methods) => {
                self.one(&torrent, Fact::new("cipher").said("methods set"), move |engine, id| {
                    engine.set_crypto_methods(id, methods)
                })
            }
            Command::Move(torrent, dir) => self.move_to(&torrent, &dir),
            // An alert tells what came of it.
            Command::Rename { torrent, file, path } => {
                self.one(&torrent, Fact::new("renaming"), move |engine, id| {
                    engine.rename_file(id, file, path)
                })
            }
            Command::Label(torrent, labels) => {
                self.one(&torrent, Fact::new("labelled"), move |engine, id| {
                    engine.set_labels(id, labels)
                })
            }
            Command::Stats => {
                let stats = self.call(|engine| engine.session_stats())?;
                let reactor = self.engine.reactor_stats().map_err(Problem::of)?;
                let object = || objects::session(&stats, &reactor, &show::phases(&stats));
                self.style.tell(show::session(&stats, &reactor), object);
                Ok(())
            }
            Command::Help => {
                let help = command::help();
                let object = || serde_json::json!({"event": "help", "text": help});
                self.style.tell(help.lines().map(str::to_owned), object);
                Ok(())
            }
            Command::Wait { .. } | Command::Quit => Ok(()),
        }
    }

    pub fn call<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Verbs<'_>) -> R + Send + 'static,
    ) -> Result<R, Problem> {
        self.engine.call(f).map_err(Problem::of)
    }

    fn say(&self, fact: Fact) {
        print(&fact.line(self.style));
    }

    /// Has something done with one torrent, and says so.
    fn one<E: Display + Send + 'static>(
        &self,
        torrent: &str,
        fact: Fact,
        act: impl FnOnce(&mut Verbs<'_>, TorrentId) -> Result<(), E> + Send + 'static,
    ) -> Result<(), Problem> {
        let entry = self.book.find(torrent)?;
        let id = entry.id;
        self.call(move |engine| act(engine, id))?.map_err(Problem::of)?;
        self.say(fact.of(entry.number));
        Ok(())
    }

    /// Has something done with several torrents, and says so of each.
    fn each<F>(&self, which: &Which, event: &'static str, act: F) -> Result<(), Problem>
    where
        F: Fn(&mut Verbs<'_>, TorrentId) -> Result<(), NoSuchTorrent> + Copy + Send + 'static,
    {
        for entry in self.book.find_all(which)? {
            // One that is about to go is no reason not to go on with the others.
            match self.call(move |engine| act(engine, entry.id))? {
                Ok(()) => self.say(Fact::new(event).of(entry.number)),
                Err(e) => return Err(Problem::of(e)),
            }
        }
        Ok(())
    }

    // add, remove.

    /// Adds what can be added, and says of the others why not.
    fn add(
        &mut self,
        paths: &[PathBuf],
        dir: Option<&Path>,
        paused: bool,
        now: bool,
    ) -> Result<(), Problem> {
        let dir = std::path::absolute(dir.unwrap_or(&self.downloads)).map_err(Problem::of)?;
        let (mut added, mut failed) = (0, 0);
        let mut last = None;
        for path in torrents_in(paths)? {
            match self.add_one(&path, &dir, paused, now) {
                Ok(()) => added += 1,
                Err(problem) => {
                    failed += 1;
                    if let Some(before) = last.replace(problem) {
                        complain(&before.sentence);
                    }
                }
            }
        }
        match last {
            None => Ok(()),
            Some(problem) if added + failed == 1 => Err(problem),
            Some(problem) => {
                complain(&problem.sentence);
                Err(Problem::new(format!("{added} added, {failed} not")))
            }
        }
    }

    fn add_one(&mut self, path: &Path, dir: &Path, paused: bool, now: bool) -> Result<(), Problem> {
        let params = match read_magnet(path) {
            Some(magnet) => TorrentParams::from_magnet(magnet?, dir),
            None => TorrentParams::new(Arc::new(read_metainfo(path)?), dir),
        };
        let params = TorrentParams { paused, queued: !now, ..params };
        let source = params.source.clone();
        let chosen = match &source {
            Source::Magnet(magnet) => magnet.select.clone(),
            _ => None,
        };
        let id = match (self.call(move |engine| engine.add_torrent(params))?, chosen) {
            (Ok(id), _) => id,
            (Err(AddError::Duplicate(id)), Some(files)) => return self.want(id, files),
            (Err(e), _) => return Err(Problem::new(format!("{}: {e}", shown(path)))),
        };
        let entry = self.book.enter(id, &source, dir.to_owned());
        let hash = entry.hashes().swap_remove(0);
        let fact = Fact::new("added")
            .of(entry.number)
            .text(format!("{hash} {}", entry.name()))
            .with("info_hash", hash)
            .with("name", entry.name.clone());
        self.say(fact);
        Ok(())
    }

    /// A link chooses files of a torrent that is there already: they are wanted, too (BEP 53).
    fn want(&self, id: TorrentId, files: FileSelection) -> Result<(), Problem> {
        let chosen = files.to_string();
        self.call(move |engine| engine.want_files(id, &files))?.map_err(Problem::of)?;
        let number = self.book.by_id(id).map_or(0, |entry| entry.number);
        let words = format!("files {chosen}");
        self.say(Fact::new("wanted").of(number).text(words).with("files", chosen));
        Ok(())
    }

    fn remove(&mut self, which: &Which, data: bool) -> Result<(), Problem> {
        let remove = move |engine: &mut Verbs<'_>, id| {
            if data { engine.remove_with_data(id) } else { engine.remove(id) }
        };
        self.each(which, "removing", remove)
    }

    // What is shown.

    fn list(&self, label: Option<String>) -> Result<(), Problem> {
        let ids: Vec<TorrentId> = self.book.all().map(|entry| entry.id).collect();
        let stats = self.call(move |engine| {
            let filed = label.map(|label| engine.torrents_with_label(&label));
            let shown = |id: &TorrentId| filed.as_ref().is_none_or(|filed| filed.contains(id));
            let ids = ids.into_iter().filter(shown);
            ids.filter_map(|id| Some((id, engine.stats(id)?))).collect::<Vec<_>>()
        })?;
        let entry = |(id, stats)| Some((self.book.by_id(id)?, stats));
        let torrents: Vec<_> = stats.into_iter().filter_map(entry).collect();
        let object = |(entry, stats): &(&Entry, _)| objects::torrent(entry, stats);
        let words = |human| {
            let row = |(entry, stats): &(&Entry, _)| show::row(entry, stats, human);
            show::table(show::HEAD, &torrents.iter().map(row).collect::<Vec<_>>(), human)
        };
        self.style.tell_all(words, torrents.iter().map(object).collect());
        Ok(())
    }

    fn show(&self, torrent: &str) -> Result<(), Problem> {
        let entry = self.book.find(torrent)?;
        let id = entry.id;
        let asked = self.call(move |engine| {
            let (labels, files) = (engine.labels(id)?.to_vec(), engine.files(id));
            let stats = engine.stats(id).ok_or(NoSuchTorrent(id))?;
            Ok((stats, engine.torrent_limits(id)?, engine.stop_at(id)?, labels, files))
        })?;
        let (stats, limits, stop, labels, files) =
            asked.map_err(|e: NoSuchTorrent| Problem::of(e))?;
        let lines = show::details(entry, &stats, limits, stop, &labels)
            .into_iter()
            .chain(show::files(&files));
        self.style.tell(lines, || objects::details(entry, &stats, limits, stop, &labels, &files));
        Ok(())
    }

    fn peers(&self, torrent: &str) -> Result<(), Problem> {
        let id = self.book.find(torrent)?.id;
        let peers = self.call(move |engine| engine.peers(id))?;
        let words = |human| {
            let rows: Vec<_> = peers.iter().map(|peer| show::peer(peer, human)).collect();
            show::table(show::PEER_HEAD, &rows, human)
        };
        self.style.tell_all(words, peers.iter().map(objects::peer).collect());
        Ok(())
    }

    fn trackers(&self, torrent: &str) -> Result<(), Problem> {
        let id = self.book.find(torrent)?.id;
        let trackers = self.call(move |engine| engine.trackers(id))?;
        let words = |_| trackers.iter().map(show::tracker).collect();
        self.style.tell_all(words, trackers.iter().map(objects::tracker).collect());
        Ok(())
    }

    fn web_seeds(&self, torrent: &str) -> Result<(), Problem> {
        let id = self.book.find(torrent)?.id;
        let seeds = self.call(move |engine| engine.web_seeds(id))?;
        let words = |_| seeds.iter().map(show::web_seed).collect();
        self.style.tell_all(words, seeds.iter().map(objects::web_seed).collect());
        Ok(())
    }

    fn show_limits(&self, torrent: Option<&str>) -> Result<(), Problem> {
        let limits: Limits = match torrent {
            None => self.call(|engine| engine.limits())?,
            Some(torrent) => {
                let id = self.book.find(torrent)?.id;
                self.call(move |engine| engine.torrent_limits(id))?.map_err(Problem::of)?
            }
        };
        let fact = Fact::new("limits").text(show::limits(limits));
        self.say(fact.with("limits", objects::limits(limits)));
        Ok(())
    }

    // The queue.

    fn queue(&self, torrent: &str, place: Place) -> Result<(), Problem> {
        let &Entry { number, id, .. } = self.book.find(torrent)?;
        let moved = self.call(move |engine| {
            match place {
                Place::Up => engine.queue_up(id),
                Place::Down => engine.queue_down(id),
                Place::Top => engine.queue_top(id),
                Place::Bottom => engine.queue_bottom(id),
                Place::At(position) => engine.set_queue_position(id, position),
                Place::On | Place::Off => {
                    engine.set_queued(id, place == Place::On).map_err(QueueError::from)
                }
            }
            .map(|()| engine.queue_position(id))
        })?;
        match moved {
            Ok(position) => {
                let text = position.map_or("-".to_owned(), |position| position.to_string());
                self.say(Fact::new("queued").of(number).text(text).with("position", position));
            }
            Err(QueueError::NoPosition(_)) => {
                return Err(Problem::new(format!("{number} has no place in the queue")));
            }
            Err(e) => return Err(Problem::of(e)),
        }
        Ok(())
    }

    // Files.

    fn priority(&self, torrent: &str, file: usize, level: Level) -> Result<(), Problem> {
        let level = match level {
            Level::Off => Priority::Skip,
            Level::Low => Priority::Low,
            Level::Normal => Priority::Normal,
            Level::High => Priority::High,
        };
        self.one(torrent, Fact::new("chosen"), move |engine, id| {
            engine.set_file_priority(id, file, level)
        })
    }

    /// An alert tells what came of it.
    fn move_to(&self, torrent: &str, dir: &Path) -> Result<(), Problem> {
        let dir = std::path::absolute(dir).map_err(Problem::of)?;
        self.one(torrent, Fact::new("moving"), move |engine, id| {
            engine.move_storage(id, dir, MoveMode::FailIfExists)
        })
    }
}

/// The files themselves, and for folders the torrents in them, by name.
fn torrents_in(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let cannot = |e| Problem::new(format!("cannot read {}: {e}", path.display()));
        let mut torrents = Vec::new();
        for file in fs::read_dir(path).map_err(cannot)? {
            torrents.push(file.map_err(cannot)?.path());
        }
        torrents.retain(|file| {
            file.extension().is_some_and(|extension| extension == "torrent") && file.is_file()
        });
        if torrents.is_empty() {
            return Err(Problem::new(format!("there is no torrent in {}", path.display())));
        }
        torrents.sort();
        found.append(&mut torrents);
    }
    Ok(found)
}
