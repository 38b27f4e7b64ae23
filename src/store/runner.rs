//! Runs jobs: the one place where the workers' words become disk operations and hashing. The pool's
//! threads and the simulator run the same code over different disks.
//!
//! Knows torrents by key only, and keeps nothing of a job once it is answered.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{
    disk::Disk,
    files::{self, TorrentFiles},
    hashing::{self, Input, Output, Scratch, Source},
    layout::Layout,
    names::Names,
    relocate::{self, Below, Carried, Carry},
    resume::{self, Loaded},
    session::SessionFolder,
    state,
};
use crate::base::{
    arena::Key,
    bitfield::Bitfield,
    buf::Buf,
    digest::{Digest, Sha1State},
    files::FileKind,
    geometry::{Block, Geometry, PieceIndex},
    ids::InfoHash,
    job::{
        Chain, Done, Job, Leftovers, Opened, READ_GAP, RecordKind, Run, RunData, RunDone,
        SaveState, SessionRecord, StoreError, StoreOp, StoreSpec, Trust, Verdict, batch_len,
    },
    paths::Case,
    planted::planted,
};
use crate::wire::session::MAX_BODY;

/// How much of a piece is fetched beyond what a peer has asked for, when it must come from the
/// disk.
const READ_AHEAD: u64 = 1 << 20;

/// Files that are synced before a job tells how far it is.
const SYNC_SLICE: usize = 256;

/// Runs jobs on a disk. Shared by all workers; each call blocks until its jobs are done.
#[derive(Debug)]
pub struct Runner {
    disk: Arc<dyn Disk>,
    torrents: Mutex<HashMap<Key, Arc<Torrent>>>,
    scratch: Scratch,
    /// Where the session is kept, if it is.
    folder: Option<Arc<SessionFolder>>,
}

/// Records that wait to be appended together, each with the answer to the job that it is part of.
#[derive(Debug, Default)]
struct Records {
    records: Vec<SessionRecord>,
    answers: Vec<Answer>,
}

#[derive(Debug)]
enum Answer {
    /// What could not be done to the files; and why the state, if it is written, does not speak of
    /// all of them.
    Saved(Key, Option<StoreError>, Option<StoreError>),
    Recorded(Option<Key>, RecordKind),
}

/// What the store knows of an open torrent.
#[derive(Debug)]
struct Torrent {
    info_hash: InfoHash,
    geometry: Geometry,
    files: TorrentFiles,
    state_file: Option<PathBuf>,
    /// The state file, whether or not one is written now.
    saved_at: Option<PathBuf>,
    /// Its state goes to the session folder.
    in_session: bool,
    /// The digest of a whole piece of zeroes, once it was needed.
    zeroes: OnceLock<Digest>,
    /// What moves have left at old places.
    old: Mutex<Vec<Carried>>,
    /// Its files are taken at their word, and nothing of them is changed.
    is_trusted: bool,
    /// Files could not be given their lengths when the state was saved last.
    unfinished: Mutex<Unfinished>,
}

/// Files that could not be given their lengths, or be made, when the state was saved last.
#[derive(Debug, Default)]
struct Unfinished {
    failed: bool,
    /// Why, until it is told.
    news: Option<StoreError>,
}

/// A job that hashes, with what it needs to.
#[derive(Debug)]
struct HashJob {
    key: Key,
    torrent: Arc<Torrent>,
    work: HashWork,
}

#[derive(Debug)]
enum HashWork {
    Run(Run, Chain),
    Check(PieceIndex, Digest),
}

impl Runner {
    /// A runner with no torrent open.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, torrents: Mutex::default(), scratch: Scratch::default(), folder: None }
    }

    /// The same, for a session that is kept in `folder`.
    pub fn with_folder(disk: Arc<dyn Disk>, folder: Arc<SessionFolder>) -> Self {
        Self { folder: Some(folder), ..Self::new(disk) }
    }

    /// Whether the session is kept in a folder.
    pub(super) fn has_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Runs `batch` and appends an answer a job to `done`, not always in the same order. Jobs that
    /// hash are hashed side by side; opening, saving and closing wait for those before them in
    /// the batch.
    pub fn run(&self, batch: Vec<Job>, done: &mut Vec<Done>) {
        let mut hashing = Vec::new();
        let mut records = Records::default();
        for job in batch {
            if !matches!(
                job,
                Job::Run { .. } | Job::Check { .. } | Job::Read { .. } | Job::Digests { .. }
            ) {
                self.hash(std::mem::take(&mut hashing), done);
            }
            match job {
                Job::Open { torrent, spec } => {
                    done.push(Done::Opened { torrent, result: self.open(torrent, *spec) });
                }
                Job::Run { torrent: key, run } => match self.find(key, StoreOp::Write) {
                    Ok(torrent) => match run.chain {
                        Some(chain) => {
                            hashing.push(HashJob { key, torrent, work: HashWork::Run(run, chain) })
                        }
                        None => done
                            .push(Done::Run { torrent: key, run: self.write_only(&torrent, run) }),
                    },
                    Err(e) => done.push(Done::Run { torrent: key, run: answer(run, Err(e), None) }),
                },
                Job::Check { torrent: key, piece, expected } => match self.find(key, StoreOp::Read)
                {
                    Ok(torrent) => hashing.push(HashJob {
                        key,
                        torrent,
                        work: HashWork::Check(piece, expected),
                    }),
                    Err(e) => done.push(Done::Checked { torrent: key, piece, result: Err(e) }),
                },
                Job::Read { torrent, link, blocks, mut buf } => {
                    let result = self.find(torrent, StoreOp::Read).and_then(|t| {
                        t.read_ahead(&blocks);
                        t.read(&blocks, &mut buf, true).map(|_| ())
                    });
                    done.push(Done::Read { torrent, link, blocks, buf, result, cold: true });
                }
                Job::Digests { torrent, piece } => {
                    let result =
                        self.find(torrent, StoreOp::Read).and_then(|t| self.digests(&t, piece));
                    done.push(Done::Digests { torrent, piece, result });
                }
                Job::Save { torrent, state, synced } => match self.find(torrent, StoreOp::Save) {
                    Ok(open) => {
                        let _unsettled = open.files.settle();
                        self.doubt_with_lenders(&open);
                        let saved = |result| Done::Saved {
                            torrent,
                            result,
                            unfinished: open.take_unfinished(),
                        };
                        match open.sync(&state, synced) {
                            Ok(Some(synced)) => {
                                done.push(Done::Syncing {
                                    torrent,
                                    state,
                                    synced,
                                    files: open.files.count(),
                                });
                            }
                            // What could not be synced is not claimed, and that is recorded: one
                            // that is killed now must not take it for
                            // safe when a later sync succeeds.
                            all => {
                                let failed = all.err();
                                match open.save(*state, failed.is_none()) {
                                    Ok(Some(record)) => {
                                        records.records.push(record);
                                        records.answers.push(Answer::Saved(
                                            torrent,
                                            open.take_unfinished(),
                                            failed,
                                        ));
                                    }
                                    Ok(None) => done.push(saved(failed.map_or(Ok(()), Err))),
                                    Err(e) => done.push(saved(Err(failed.unwrap_or(e)))),
                                }
                            }
                        }
                    }
                    Err(e) => done.push(Done::Saved { torrent, result: Err(e), unfinished: None }),
                },
                Job::Record { torrent, record } => {
                    records.answers.push(Answer::Recorded(torrent, record.kind));
                    records.records.push(record);
                }
                Job::Arrange { torrent, skipped, make, borrowed } => {
                    let result = self.find(torrent, StoreOp::Move).and_then(|t| {
                        t.files.borrow(&borrowed);
                        t.files.arrange(&skipped, make)
                    });
                    done.push(Done::Arranged { torrent, result });
                }
                Job::Relocate { torrent, spec, state } => {
                    done.push(Done::Relocated {
                        torrent,
                        result: self.relocate(torrent, *spec, state),
                    });
                }
                Job::Tidy { torrent } => {
                    let old = self
                        .find(torrent, StoreOp::Delete)
                        .map(|t| std::mem::take(&mut *lock(&t.old)));
                    done.push(Done::Tidied {
                        torrent,
                        left: relocate::clear_sources(&*self.disk, &old.unwrap_or_default()),
                    });
                }
                Job::Look { torrent, spec } => {
                    done.push(Done::Looked { torrent, absent: self.is_absent(torrent, &spec) });
                }
                Job::Close { torrent } => {
                    self.close(torrent);
                    done.push(Done::Closed { torrent });
                }
                Job::Delete { torrent, spec } => {
                    self.close(torrent);
                    done.push(Done::Deleted { torrent, left: self.delete(&spec) });
                }
            }
        }
        self.hash(hashing, done);
        self.append(records, done);
    }

    fn append(&self, Records { records, answers }: Records, done: &mut Vec<Done>) {
        // One that is too long does not keep the others from being recorded.
        let too_long = |record: &SessionRecord| record.body.len() > MAX_BODY;
        if records.len() > 1 && records.iter().any(too_long) {
            let (long, fit): (Vec<_>, Vec<_>) =
                records.into_iter().zip(answers).partition(|(record, _)| too_long(record));
            for (record, answer) in long {
                self.append(Records { records: vec![record], answers: vec![answer] }, done);
            }
            let (records, answers) = fit.into_iter().unzip();
            return self.append(Records { records, answers }, done);
        }
        if records.is_empty() {
            return;
        }
        let result = match &self.folder {
            Some(folder) => folder.append(&records),
            None => Err(StoreError::new(
                StoreOp::Save,
                "",
                io::Error::new(ErrorKind::NotFound, "there is no session folder"),
            )),
        };
        if let (Some(folder), Err(_)) = (&self.folder, &result) {
            // A state that knows of a failed sync must be what a process finds that comes after
            // this one.
            let is_in_doubt = |answer: &Answer| matches!(answer, Answer::Saved(.., Some(_)));
            let owed = records.into_iter().zip(&answers).filter(|(_, answer)| is_in_doubt(answer));
            owed.for_each(|(record, _)| folder.owe(record));
        }
        done.extend(answers.into_iter().map(|answer| match answer {
            Answer::Saved(torrent, unfinished, failed) => Done::Saved {
                torrent,
                result: failed.map_or_else(|| result.clone(), Err),
                unfinished,
            },
            Answer::Recorded(torrent, kind) => {
                Done::Recorded { torrent, kind, result: result.clone() }
            }
        }));
    }

    /// Runs a [`Job::Read`] if its blocks are at hand and nothing has to be waited for; `None` if a
    /// worker must do it. This is for the event loop's own thread.
    pub fn try_read(
        &self,
        torrent: Key,
        blocks: &[Block],
        buf: &mut Buf,
    ) -> Option<Result<(), StoreError>> {
        let torrent = self.torrents.try_lock().ok()?.get(&torrent)?.clone();
        match torrent.read(blocks, buf, false) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(e) => Some(Err(e)),
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Key, Arc<Torrent>>> {
        lock(&self.torrents)
    }

    fn find(&self, key: Key, op: StoreOp) -> Result<Arc<Torrent>, StoreError> {
        let found = self.table().get(&key).cloned();
        found.ok_or_else(|| {
            let what = format!("torrent {} is not open in the store", key.generation);
            StoreError::new(op, "", io::Error::new(ErrorKind::NotFound, what))
        })
    }

    fn files(&self, spec: &StoreSpec, names: Names) -> Result<TorrentFiles, StoreError> {
        let unfit = |e| {
            StoreError::new(StoreOp::Open, &spec.dir, io::Error::new(ErrorKind::InvalidInput, e))
        };
        let layout = Layout::new(spec, names).map_err(unfit)?;
        let files = TorrentFiles::new(self.disk.clone(), layout, spec.allocation);
        files.borrow(&spec.borrowed);
        Ok(files.with_parts(spec.parts_file(), spec.geometry, &spec.skipped))
    }

    /// A file of another torrent is no safer than that one knows.
    fn doubt_with_lenders(&self, torrent: &Torrent) {
        for lender in torrent.files.lenders() {
            let lender = self.table().get(&lender).cloned();
            lender.iter().for_each(|lender| torrent.files.doubt_with(&lender.files));
        }
    }

    fn close(&self, key: Key) {
        let closed = self.table().remove(&key);
        closed.iter().for_each(|t| t.files.close());
    }

    /// Makes the new place whole, and the torrent's from then on.
    fn relocate(
        &self,
        key: Key,
        spec: StoreSpec,
        state: Option<Box<SaveState>>,
    ) -> Result<(), StoreError> {
        let old = self.find(key, StoreOp::Move)?;
        // Below a mount point without its drive there is nothing to move, and to look would make us
        // forget what was there.
        old.files.refuse_if_gone(StoreOp::Move)?;
        let names = old.files.layout().names();
        let is_here = spec.dir == old.files.layout().dir();
        let names = if is_here { names.clone() } else { names.carry(&*self.disk, &spec)? };
        let files = self.files(&spec, names)?;
        let (from, to) = (old.files.layout().dir(), files.layout().dir());
        let carry = |a: &PathBuf, b: &PathBuf, known, is_state| {
            let (from, to) = Below::new(from, a).zip(Below::new(to, b)).filter(|_| a != b)?;
            Some(Carry { from, to, known, is_state })
        };
        let paths = old.files.paths().into_iter().zip(files.paths()).zip(old.files.seen());
        let mut pairs: Vec<_> =
            paths.filter_map(|((a, b), seen)| carry(&a, &b, seen, false)).collect();
        pairs.extend(
            old.saved_at
                .as_ref()
                .zip(spec.state_file.as_ref())
                .and_then(|(a, b)| carry(a, b, false, true)),
        );

        // A copy is safe when it is made; if it is taken back, what stays must be no less so.
        let in_doubt =
            old.files.sync(0, usize::MAX).inspect_err(|error| log::error!("{error}")).is_err();
        let made = relocate::carry(&*self.disk, &pairs, in_doubt)?;
        let kept = old.files.paths_of(&spec.kept);
        let torrent = Torrent::new(spec, files);
        torrent.files.inherit(&old.files);
        let saved = torrent
            .files
            .look()
            .and_then(|_| state.map_or(Ok(None), |state| torrent.sync_and_save(*state)));
        let saved = saved.and_then(|record| match (record, &self.folder) {
            (Some(record), Some(folder)) => folder.append(&[record]),
            _ => Ok(()),
        });
        if let Err(error) = saved {
            // What was written or failed to be synced under other names of the same files is no
            // safer under these.
            old.files.inherit(&torrent.files);
            torrent.files.close();
            relocate::take_back(&*self.disk, &made, in_doubt);
            // A state that was not there before has no other to be taken back to, and nothing was
            // at its place.
            let is_new = |pair: &&Carry| {
                pair.is_state && !made.iter().any(|file| file.is_at(&pair.to.full()))
            };
            let state: Vec<_> = pairs.iter().filter(is_new).map(|pair| pair.to.clone()).collect();
            relocate::clear_away(&*self.disk, &state);
            return Err(error);
        }
        old.files.close();
        let mut left = std::mem::take(&mut *lock(&old.old));
        left.iter_mut().for_each(|file| file.follow(&made));
        left.extend(made.into_iter().filter(|file| !kept.iter().any(|path| file.is_from(path))));
        *lock(&torrent.old) = left;
        self.table().insert(key, Arc::new(torrent));
        Ok(())
    }

    /// Whether none of a torrent's files is there, under whatever names it may have them.
    fn is_absent(&self, key: Key, spec: &StoreSpec) -> bool {
        let open = self.table().get(&key).cloned();
        if open.is_some_and(|torrent| torrent.files.is_any_there()) {
            return false;
        }
        let is_any_there =
            |names| self.files(spec, names).map_or(true, |files| files.is_any_there());
        let aliases = Names { case: Case::Kept, aliases: spec.aliases.clone() };
        let loaded = |aliases: &Names| {
            let loaded = resume::load(&*self.disk, self.folder.as_deref(), spec).ok().flatten();
            let names = Names::find(&*self.disk, spec, loaded.as_ref().map(|loaded| &loaded.saved));
            names.map_or(true, |names| names != *aliases && is_any_there(names))
        };
        !(is_any_there(aliases.clone()) || loaded(&aliases))
    }

    fn delete(&self, spec: &StoreSpec) -> Option<Leftovers> {
        // What is not known to be the torrent's is not deleted.
        let names = match spec.aliases.as_slice() {
            [] => Names::find(&*self.disk, spec, None),
            aliases => Ok(Names { case: Case::Kept, aliases: aliases.to_vec() }),
        };
        let files = match names.and_then(|names| self.files(spec, names)) {
            Ok(files) => files,
            Err(error) => return Some(Leftovers { files: spec.files.len(), error }),
        };
        let (parts, temporary) =
            (spec.parts_file(), |path: &PathBuf| path.with_added_extension("tmp"));
        let kept = files.paths_of(&spec.kept);
        // The state first: a kill that leaves it without its data would make a torrent whose data
        // has vanished of one that was removed.
        let mut paths: Vec<_> =
            spec.state_file.iter().flat_map(|path| [path.clone(), temporary(path)]).collect();
        paths.extend(files.paths().into_iter().filter(|path| !kept.contains(path)));
        paths.push(files::export_file(&parts));
        let paths: Vec<_> = paths.iter().filter_map(|path| Below::new(&spec.dir, path)).collect();
        relocate::clear_away(&*self.disk, &paths)
    }

    fn open(&self, key: Key, spec: StoreSpec) -> Result<Opened, StoreError> {
        let loaded = resume::load(&*self.disk, self.folder.as_deref(), &spec);
        let known =
            loaded.as_ref().ok().and_then(|loaded| loaded.as_ref()).map(|loaded| &loaded.saved);
        let files = self.files(&spec, Names::find(&*self.disk, &spec, known)?)?;
        if let Some(earlier) = self.table().get(&key) {
            files.inherit(&earlier.files);
        }
        let doubtful = files.reconsider();
        let now = files.look()?;

        let (saved, mut distrust) = match &loaded {
            Ok(None) => (None, None),
            Ok(Some(Loaded { saved, .. })) => {
                (Some(saved).filter(|_| spec.trust != Trust::Nothing), None)
            }
            Err(why) => (None, Some(why.clone())),
        };
        let parts =
            state::Parts { now: now.last().copied().flatten(), holds: &|index| files.held(index) };
        let lost = loaded.as_ref().ok().and_then(Option::as_ref);
        let lost = lost
            .filter(|_| !files.is_any_of(&now))
            .map_or(0, |loaded| self::lost(&loaded.saved, &spec));
        let mut decision = state::decide(
            files.layout(),
            &spec.geometry,
            saved,
            &now,
            &parts,
            spec.trust,
            |range| files.has_hole(range),
        );
        distrust = distrust.or(decision.distrust);
        let geometry = spec.geometry;
        for piece in doubtful.into_iter().flat_map(|range| geometry.pieces_of(range)) {
            if decision.have.unset(piece) {
                decision.check.set(piece);
            }
        }
        let loaded = loaded.ok().flatten();
        for piece in geometry.pieces().filter(|&piece| decision.check.has(piece)) {
            let start = geometry.offset(piece);
            files.note_found(start..start + u64::from(geometry.piece_len(piece)));
        }
        if let Some(Loaded { saved, .. }) = &loaded {
            for (index, then) in saved.files.iter().chain([&saved.parts]).enumerate() {
                if state::is_unsafe(saved, *then, now.get(index).copied().flatten(), spec.trust) {
                    files.note_unsafe(index);
                }
            }
        }
        let (downloaded, uploaded, tracker_events) =
            loaded.map(|l| (l.downloaded, l.uploaded, l.tracker_events)).unwrap_or_default();
        let arrange = files.needs_arranging();
        let names = files.layout().found_names(&spec);
        let too_long = files.too_long();
        self.table().insert(key, Arc::new(Torrent::new(spec, files)));
        let state::Decision { have, check, partial, .. } = decision;
        Ok(Opened {
            have,
            check,
            partial,
            downloaded,
            uploaded,
            distrust,
            arrange,
            tracker_events,
            names,
            too_long,
            lost,
        })
    }

    /// A run that came before its predecessors, or needs no hashing.
    fn write_only(&self, torrent: &Torrent, run: Run) -> RunDone {
        let result = torrent.place(&run).and_then(|place| match &run.data {
            RunData::Memory(buf) => torrent.files.write(place.start, &buf.0, false),
            RunData::Stretches(buf, stretches) => {
                torrent.write_stretches(place.start, &buf.0, stretches)
            }
            RunData::Disk(_) => Ok(()),
        });
        let digests = run.digests && result.is_ok() && !matches!(run.data, RunData::Stretches(..));
        let digests = if digests { self.run_digests(torrent, &run) } else { None };
        answer(run, result.map(|()| Verdict::Unhashed), digests)
    }

    fn digests(&self, torrent: &Torrent, piece: PieceIndex) -> Result<Vec<Digest>, StoreError> {
        let place = torrent.piece(piece)?;
        hashing::block_digests(
            Source::Disk(&torrent.files, place.start, place.end - place.start),
            &self.scratch,
        )
    }

    fn run_digests(&self, torrent: &Torrent, run: &Run) -> Option<Vec<Digest>> {
        let place = torrent.place(run).ok()?;
        hashing::block_digests(torrent.source(run, &place), &self.scratch).ok()
    }

    /// Hashes all jobs side by side, then does what follows from it.
    fn hash(&self, jobs: Vec<HashJob>, done: &mut Vec<Done>) {
        let mut asked: Vec<_> = jobs.iter().map(HashJob::ask).collect();
        let inputs = asked.iter_mut().filter_map(|ask| match ask {
            Ok(Ask::Hash(input)) => Some(*input),
            _ => None,
        });
        let mut outputs = hashing::hash_all(inputs.collect(), &self.scratch).into_iter();
        let answers: Vec<_> = asked
            .into_iter()
            .map(|ask| match ask? {
                Ask::Hash(_) => outputs.next().transpose(),
                Ask::Nothing => Ok(None),
            })
            .collect();
        for (job, output) in jobs.into_iter().zip(answers) {
            let HashJob { key: torrent, torrent: store, work } = job;
            done.push(match work {
                HashWork::Check(piece, expected) => {
                    let result = checked(output, expected);
                    if let (Ok(true), Ok(place)) = (&result, store.piece(piece)) {
                        store.files.make_safe(place);
                    }
                    Done::Checked { torrent, piece, result }
                }
                HashWork::Run(run, chain) => {
                    Done::Run { torrent, run: self.judge(&store, run, chain, output) }
                }
            });
        }
    }

    /// Of a good piece that has bytes of another torrent's files, what came before its last run was
    /// held against nothing yet.
    fn confirm(
        &self,
        torrent: &Torrent,
        piece: PieceIndex,
        expected: Digest,
    ) -> Result<(), StoreError> {
        let place = torrent.piece(piece)?;
        if !torrent.files.is_any_borrowed(place.clone()) {
            return Ok(());
        }
        let source = Source::Disk(&torrent.files, place.start, place.end - place.start);
        let input = Input { state: Sha1State::INITIAL, source, ends: true };
        let output = hashing::hash_all(vec![input], &self.scratch).pop().transpose();
        match checked(output, expected)? {
            true => Ok(()),
            false => Err(torrent.files.differs(place)),
        }
    }

    /// What a run's hash says of it, once it is written if it deserves to be.
    fn judge(
        &self,
        torrent: &Torrent,
        run: Run,
        chain: Chain,
        output: Result<Option<Output>, StoreError>,
    ) -> RunDone {
        let result = output.and_then(|output| {
            let verdict = match (output, chain.expected) {
                (Some(Output::Digest(digest)), Some(expected)) if digest == expected => {
                    Verdict::Good
                }
                (Some(Output::State(state)), None) => Verdict::Going(state),
                _ => Verdict::Bad,
            };
            // The last run of a bad piece joins the others on disk, so that all its blocks can be
            // looked at for the culprit. A bad piece of one run is never written.
            if let RunData::Memory(buf) = &run.data
                && (verdict != Verdict::Bad || run.begin > 0)
            {
                torrent.files.write(
                    torrent.place(&run)?.start,
                    &buf.0,
                    verdict == Verdict::Good,
                )?;
            }
            if let Some(expected) =
                chain.expected.filter(|_| verdict == Verdict::Good && run.begin > 0)
            {
                self.confirm(torrent, run.piece, expected)?;
            }
            Ok(verdict)
        });
        let digests = match &result {
            Ok(verdict) if run.digests || *verdict == Verdict::Bad => {
                self.run_digests(torrent, &run)
            }
            _ => None,
        };
        answer(run, result, digests)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many pieces a state speaks of that have a byte in a file; what a check had not come to was
/// there, too.
fn lost(saved: &state::Saved, spec: &StoreSpec) -> u32 {
    let files = spec.files.iter().filter(|file| file.kind == FileKind::Regular);
    let ranges = files.map(|file| file.offset..file.offset.saturating_add(file.len));
    let was_there = |piece: &PieceIndex| saved.have.has(*piece) || saved.unchecked.has(*piece);
    let mut lost = Bitfield::none(spec.geometry.piece_count());
    let pieces = ranges.flat_map(|range| spec.geometry.pieces_of(range)).filter(was_there);
    pieces.for_each(|piece| _ = lost.set(piece));
    lost.count()
}

fn checked(
    output: Result<Option<Output>, StoreError>,
    expected: Digest,
) -> Result<bool, StoreError> {
    match output {
        Ok(output) => Ok(output == Some(Output::Digest(expected))),
        Err(e) if files::is_missing(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

fn answer(run: Run, result: Result<Verdict, StoreError>, digests: Option<Vec<Digest>>) -> RunDone {
    let buf = match run.data {
        RunData::Memory(buf) | RunData::Stretches(buf, _) => Some(buf),
        RunData::Disk(_) => None,
    };
    RunDone { piece: run.piece, begin: run.begin, buf, result, digests }
}

/// What a job wants hashed.
#[derive(Debug)]
enum Ask<'a> {
    Hash(Input<'a>),
    /// Nothing: it cannot be good.
    Nothing,
}

impl HashJob {
    fn ask(&self) -> Result<Ask<'_>, StoreError> {
        let torrent = &*self.torrent;
        match &self.work {
            HashWork::Run(run, chain) => {
                let place = torrent.place(run)?;
                let ends = chain.expected.is_some();
                let len = place.end - place.start;
                if matches!(run.data, RunData::Stretches(..)) {
                    return Err(torrent.misplaced("stretches of a run, which cannot be hashed"));
                }
                if chain.state.len != u64::from(run.begin) || (!ends && len % 64 != 0) {
                    return Err(
                        torrent.misplaced("a run whose hash does not continue where it begins")
                    );
                }
                Ok(Ask::Hash(Input {
                    state: chain.state,
                    source: torrent.source(run, &place),
                    ends,
                }))
            }
            HashWork::Check(piece, expected) => {
                let place = torrent.piece(*piece)?;
                if torrent.is_surely_zeroes(&place) && *expected != torrent.zero_digest() {
                    return Ok(Ask::Nothing);
                }
                let source = Source::Disk(&torrent.files, place.start, place.end - place.start);
                Ok(Ask::Hash(Input { state: Sha1State::INITIAL, source, ends: true }))
            }
        }
    }
}

impl Torrent {
    fn new(spec: StoreSpec, files: TorrentFiles) -> Self {
        let StoreSpec { info_hash, geometry, state_file: saved_at, in_session, trust, .. } = spec;
        // A state speaks of what was verified.
        let state_file = saved_at.clone().filter(|_| trust != Trust::Files);
        let in_session = in_session && trust != Trust::Files;
        let (is_trusted, zeroes, old) = (trust == Trust::Files, OnceLock::new(), Mutex::default());
        let unfinished = Mutex::default();
        Self {
            info_hash,
            geometry,
            files,
            state_file,
            saved_at,
            in_session,
            zeroes,
            old,
            is_trusted,
            unfinished,
        }
    }

    /// Where `piece` lies in the torrent.
    fn piece(&self, piece: PieceIndex) -> Result<Range<u64>, StoreError> {
        let piece = self.geometry.piece(piece.get()).map_err(|e| self.misplaced(e))?;
        let start = self.geometry.offset(piece);
        Ok(start..start + u64::from(self.geometry.piece_len(piece)))
    }

    fn part(&self, piece: PieceIndex, begin: u32, len: u64) -> Result<Range<u64>, StoreError> {
        let whole = self.piece(piece)?;
        let start = whole.start + u64::from(begin);
        match start.checked_add(len) {
            Some(end) if len > 0 && end <= whole.end => Ok(start..end),
            _ => Err(self.misplaced(format!(
                "bytes {begin}+{len} of piece {}, which is shorter",
                piece.get()
            ))),
        }
    }

    fn place(&self, run: &Run) -> Result<Range<u64>, StoreError> {
        let len = match &run.data {
            RunData::Memory(buf) | RunData::Stretches(buf, _) => buf.0.len() as u64,
            RunData::Disk(len) => u64::from(*len),
        };
        self.part(run.piece, run.begin, len)
    }

    /// Writes parts of a run that begins at `start` of the torrent.
    fn write_stretches(
        &self,
        start: u64,
        run: &[u8],
        stretches: &[Range<u32>],
    ) -> Result<(), StoreError> {
        stretches.iter().try_for_each(|stretch| {
            let data = run.get(stretch.start as usize..stretch.end as usize);
            let data = data.ok_or_else(|| self.misplaced("a stretch beyond the end of its run"))?;
            self.files.write(start + u64::from(stretch.start), data, false)
        })
    }

    fn source<'a>(&'a self, run: &'a Run, place: &Range<u64>) -> Source<'a> {
        match &run.data {
            RunData::Memory(buf) | RunData::Stretches(buf, _) => Source::Memory(&buf.0),
            RunData::Disk(_) => {
                let start =
                    planted!("hash_of_wrong_span", place.start - u64::from(run.begin), place.start);
                Source::Disk(&self.files, start, place.end - place.start)
            }
        }
    }

    /// Fills a batch; false if it would have to wait and must not.
    fn read(&self, blocks: &[Block], buf: &mut Buf, may_wait: bool) -> Result<bool, StoreError> {
        buf.0.resize(batch_len(blocks), 0);
        let mut rest = buf.0.as_mut_slice();
        let mut parts = Vec::with_capacity(blocks.len());
        for block in blocks {
            let place = self.part(block.piece, block.begin, u64::from(block.len))?;
            let (part, after) =
                std::mem::take(&mut rest).split_at_mut(READ_GAP + block.len as usize);
            rest = after;
            parts.push((place.start, part.split_at_mut(READ_GAP).1));
        }
        self.files.read_parts(parts.into_iter(), may_wait)
    }

    /// The blocks have to be fetched from the disk: all of them are begun at once, and so is what
    /// will be asked for next.
    fn read_ahead(&self, blocks: &[Block]) {
        let scattered = if blocks.len() > 1 { blocks } else { &[] };
        for block in scattered {
            if let Ok(place) = self.part(block.piece, block.begin, u64::from(block.len)) {
                self.files.will_need(place);
            }
        }
        if let Some(last) = blocks.last()
            && let Ok(piece) = self.piece(last.piece)
        {
            let end = piece.start + u64::from(last.begin) + u64::from(last.len);
            if end < piece.end {
                self.files.will_need(end..piece.end.min(end + READ_AHEAD));
            }
        }
    }

    /// Whether a piece of nominal length reads as zeroes without anybody having to.
    fn is_surely_zeroes(&self, place: &Range<u64>) -> bool {
        place.end - place.start == u64::from(self.geometry.nominal_piece_len())
            && self.files.is_hole(place.clone())
    }

    fn zero_digest(&self) -> Digest {
        *self
            .zeroes
            .get_or_init(|| hashing::zero_digest(u64::from(self.geometry.nominal_piece_len())))
    }

    /// Makes what `state` speaks of safe, from the file `synced` on and some files at a time: until
    /// this returns `None` there are more, of which it names the first.
    fn sync(&self, state: &SaveState, synced: usize) -> Result<Option<usize>, StoreError> {
        if synced == 0 {
            self.files.refuse_if_gone(StoreOp::Save)?;
            self.finish_files(state);
        }
        if self.in_session || self.state_file.is_some() {
            self.files.sync(synced, SYNC_SLICE)
        } else {
            Ok(None)
        }
    }

    /// Saves a state whose files are synced, or makes the record that saves it.
    fn save(
        &self,
        mut state: SaveState,
        synced: bool,
    ) -> Result<Option<SessionRecord>, StoreError> {
        self.files.refuse_if_gone(StoreOp::Save)?;
        if self.in_session {
            self.vouch(&mut state, synced);
            let body = resume::encode(
                &self.info_hash,
                state,
                &self.files.known_stats(),
                self.files.known_parts(),
            );
            return Ok(Some(SessionRecord {
                kind: RecordKind::State,
                info_hash: self.info_hash,
                body,
            }));
        }
        let Some(path) = &self.state_file else { return Ok(None) };
        self.vouch(&mut state, synced);
        let bytes = resume::encode(
            &self.info_hash,
            state,
            &self.files.known_stats(),
            self.files.known_parts(),
        );
        self.files
            .disk()
            .save(path, &bytes)
            .map_err(|e| StoreError::new(StoreOp::Save, path, e))?;
        Ok(None)
    }

    fn sync_and_save(&self, state: SaveState) -> Result<Option<SessionRecord>, StoreError> {
        let mut synced = Some(0);
        while let Some(from) = synced {
            synced = self.sync(&state, from)?;
        }
        self.save(state, true)
    }

    /// Takes back what a state that was synced cannot promise: a sync that failed says nothing of
    /// what a later one keeps. What it was about is not claimed, and looked at again when the
    /// torrent is opened next.
    fn vouch(&self, state: &mut SaveState, synced: bool) {
        match &state.unchecked {
            None if synced => self.files.note_safe(),
            _ => state.dirty |= self.files.is_unsafe(),
        }
        for piece in self.files.doubtful(!synced).flat_map(|range| self.geometry.pieces_of(range)) {
            let before = state.partial.len();
            state.partial.retain(|partial| partial.piece != piece);
            state.dirty |= state.have.unset(piece) || state.partial.len() < before;
        }
    }

    /// Files that are complete have their length, those of no bytes, too. What of this fails does
    /// not keep the state from being saved; it is told once.
    fn finish_files(&self, state: &SaveState) {
        if self.is_trusted || self.files.makes_nothing() {
            return;
        }
        let mut result = self.files.trim(&state.have, self.geometry);
        if state.have.is_full() || !(state.dirty || state.have.is_clear()) {
            result = result.and(self.files.make_empty_files());
        }
        let mut unfinished = lock(&self.unfinished);
        let was_told = std::mem::replace(&mut unfinished.failed, result.is_err());
        unfinished.news =
            result.err().inspect(|error| log::error!("{error}")).filter(|_| !was_told);
    }

    /// Why files could not be finished, if that is news.
    fn take_unfinished(&self) -> Option<StoreError> {
        lock(&self.unfinished).news.take()
    }

    fn misplaced(&self, what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::new(
            StoreOp::Open,
            self.files.layout().dir(),
            io::Error::new(ErrorKind::InvalidInput, what),
        )
    }
}
