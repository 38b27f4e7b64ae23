//! Runs jobs: the one place where the workers' words become disk operations and hashing. The pool's
//! threads and the simulator run the same code over different disks.
//!
//! Knows torrents by key only, and keeps nothing of a job once it is answered.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    disk::Disk,
    files::{self, Reading, TorrentFiles},
    hashing::{self, Input, Output, Scratch, Source},
    layout::Layout,
    names::Names,
    relocate::{self, Below, Carry},
    resume::{self, Loaded},
    session::SessionFolder,
    state,
    torrent::{Torrent, lock},
};
use crate::base::{
    arena::Key,
    buf::Buf,
    digest::{Digest, Sha1State},
    geometry::{Block, PieceIndex},
    job::{
        Chain, Done, Job, Leftovers, Opened, RecordKind, Run, RunData, RunDone, SaveState,
        SessionRecord, StoreError, StoreOp, StoreSpec, Trust, Verdict,
    },
    paths::Case,
};
use crate::wire::session::MAX_BODY;

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
                        t.read(&blocks, &mut buf, Reading::Unchanged).map(|_| ())
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
        match torrent.read(blocks, buf, Reading::AtHand) {
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
            .map_or(0, |loaded| state::lost(&loaded.saved, &spec));
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
            Source::Disk(&torrent.files, place.start, place.end - place.start, Reading::Unchanged),
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
        let source =
            Source::Disk(&torrent.files, place.start, place.end - place.start, Reading::Unchanged);
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
                let source = Source::Disk(
                    &torrent.files,
                    place.start,
                    place.end - place.start,
                    Reading::Found,
                );
                Ok(Ask::Hash(Input { state: Sha1State::INITIAL, source, ends: true }))
            }
        }
    }
}
