//! Runs jobs: the one place where the workers' words become calls of a storage and hashing. The
//! pool's threads and the simulator run the same code over different disks.
//!
//! Knows torrents by key only, and keeps nothing of a job once it is answered.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    disk::Disk,
    extract,
    file_storage::{FileStorage, FileSystem},
    files,
    hashing::{self, Input, Output, Scratch, Source},
    key_exchange,
    session::SessionFolder,
    torrent::{Torrent, lock},
};
use crate::base::{
    arena::Key,
    buf::Buf,
    geometry::{Block, PieceIndex},
    hash::{Digest, Judgement, PieceHash},
    job::{Chain, Done, Job, Run, RunData, RunDone, Verdict, extract::ExtractError},
    merkle::Node,
    storage::{Opened, RecordKind, SaveState, SessionRecord, StoreError, StoreOp, StoreSpec},
    storage::{Reading, Saving, Storage},
};
use crate::wire::session::MAX_BODY;

/// Runs jobs on a disk. Shared by all workers; each call blocks until its jobs are done.
#[derive(Debug)]
pub struct Runner {
    torrents: Mutex<HashMap<Key, Arc<Torrent>>>,
    scratch: Scratch,
    /// Where torrents are that have no storage of their own.
    files: Arc<FileSystem>,
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
#[expect(clippy::large_enum_variant, reason = "there are a few at a time")]
enum HashWork {
    Run(Run, Chain),
    Check(PieceIndex, PieceHash),
}

fn no_folder(op: StoreOp) -> StoreError {
    StoreError::new(op, "", io::Error::new(ErrorKind::NotFound, "there is no session folder"))
}

impl Runner {
    /// A runner with no torrent open.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self::over(FileSystem::new(disk, None))
    }

    /// The same, for a session that is kept in `folder`.
    pub fn with_folder(disk: Arc<dyn Disk>, folder: Arc<SessionFolder>) -> Self {
        Self::over(FileSystem::new(disk, Some(folder)))
    }

    fn over(files: FileSystem) -> Self {
        let (torrents, scratch) = (Mutex::default(), Scratch::default());
        Self { torrents, scratch, files: Arc::new(files) }
    }

    /// Whether the session is kept in a folder.
    pub(super) fn has_folder(&self) -> bool {
        self.files.folder.is_some()
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
                Job::Run { .. }
                    | Job::Check { .. }
                    | Job::Read { .. }
                    | Job::Extract { .. }
                    | Job::Digests { .. }
                    | Job::Leaves { .. }
            ) {
                self.hash(std::mem::take(&mut hashing), done);
            }
            match job {
                Job::Open { torrent, spec } => {
                    done.push(Done::Opened { torrent, result: self.open(torrent, &spec) });
                }
                Job::Run { torrent: key, mut run } => match self.find(key, StoreOp::Write) {
                    Ok(torrent) => match run.chain.take() {
                        Some(chain) => {
                            hashing.push(HashJob { key, torrent, work: HashWork::Run(run, chain) })
                        }
                        None => done
                            .push(Done::Run { torrent: key, run: self.write_only(&torrent, run) }),
                    },
                    Err(e) => done.push(Done::Run { torrent: key, run: answer(run, Err(e), None) }),
                },
                Job::Check { torrent: key, piece, expected, len: _ } => {
                    match self.find(key, StoreOp::Read) {
                        Ok(torrent) => hashing.push(HashJob {
                            key,
                            torrent,
                            work: HashWork::Check(piece, expected),
                        }),
                        Err(e) => {
                            done.push(Done::Checked {
                                torrent: key,
                                piece,
                                result: Err(e),
                                root: None,
                            });
                        }
                    }
                }
                Job::Read { torrent, link, blocks, mut buf } => {
                    let result = self.find(torrent, StoreOp::Read).and_then(|t| {
                        t.read_ahead(&blocks);
                        t.read(&blocks, &mut buf, Reading::Unchanged).map(|_| ())
                    });
                    done.push(Done::Read { torrent, link, blocks, buf, result, cold: true });
                }
                Job::Extract { torrent, read, parts } => {
                    let open = self.find(torrent, StoreOp::Read).map_err(ExtractError::from);
                    let result = open.and_then(|open| extract::extract(&open, &parts));
                    done.push(Done::Extracted { torrent, read, result });
                }
                Job::Digests { torrent, piece } => {
                    let result =
                        self.find(torrent, StoreOp::Read).and_then(|t| self.digests(&t, piece));
                    done.push(Done::Digests { torrent, piece, result });
                }
                Job::Leaves { torrent, piece } => {
                    let open = self.find(torrent, StoreOp::Read);
                    let result = open.and_then(|t| self.leaves(&t, piece));
                    done.push(Done::Leaves { torrent, piece, result });
                }
                Job::Save { torrent, state, synced } => {
                    done.extend(self.save(torrent, state, synced, &mut records));
                }
                Job::Record { torrent, record } => {
                    records.answers.push(Answer::Recorded(torrent, record.kind));
                    records.records.push(record);
                }
                Job::Arrange { torrent, skipped, make, borrowed } => {
                    let open = self.find(torrent, StoreOp::Move);
                    let result = open.and_then(|t| t.storage.arrange(&skipped, &borrowed, make));
                    done.push(Done::Arranged { torrent, result });
                }
                Job::Relocate { torrent, spec, state } => {
                    done.push(Done::Relocated {
                        torrent,
                        result: self.relocate(torrent, &spec, state),
                    });
                }
                Job::Tidy { torrent } => {
                    let open = self.find(torrent, StoreOp::Delete);
                    let left = open.ok().and_then(|open| open.storage.tidy());
                    done.push(Done::Tidied { torrent, left });
                }
                Job::Look { torrent, spec } => {
                    let absent = self.storage(torrent, &spec).is_absent(&spec);
                    done.push(Done::Looked { torrent, absent });
                }
                Job::Compute { torrent, mut task } => {
                    task.run();
                    done.push(Done::Computed { torrent, task });
                }
                Job::KeyExchange { link, mut exchange } => {
                    key_exchange::run(&mut exchange);
                    done.push(Done::KeyExchange { link, exchange });
                }
                Job::Info { torrent, info_hash, span } => {
                    let result = match &self.files.folder {
                        Some(folder) => folder.info(&info_hash, span),
                        None => Err(no_folder(StoreOp::Read)),
                    };
                    done.push(Done::Info { torrent, result });
                }
                Job::Close { torrent } => {
                    self.close(torrent);
                    done.push(Done::Closed { torrent });
                }
                Job::Delete { torrent, spec } => {
                    let storage = self.storage(torrent, &spec);
                    self.close(torrent);
                    done.push(Done::Deleted { torrent, left: storage.delete(&spec) });
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
        let result = match &self.files.folder {
            Some(folder) => folder.append(&records),
            None => Err(no_folder(StoreOp::Save)),
        };
        if let (Some(folder), Err(_)) = (&self.files.folder, &result) {
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

    /// The storage of a torrent, whether or not it is open.
    fn storage(&self, key: Key, spec: &StoreSpec) -> Arc<dyn Storage> {
        let open = self.table().get(&key).map(|torrent| torrent.storage.clone());
        let own = || spec.storage.clone();
        open.or_else(own).unwrap_or_else(|| Arc::new(FileStorage::new(self.files.clone(), key)))
    }

    fn open(&self, key: Key, spec: &StoreSpec) -> Result<Opened, StoreError> {
        let storage = self.storage(key, spec);
        let opened = storage.open(spec)?;
        self.table().insert(key, Arc::new(Torrent::new(spec, storage)));
        Ok(opened)
    }

    fn relocate(
        &self,
        key: Key,
        spec: &StoreSpec,
        state: Option<Box<SaveState>>,
    ) -> Result<(), StoreError> {
        let storage = self.find(key, StoreOp::Move)?.storage.clone();
        storage.relocate(spec, state)?;
        self.table().insert(key, Arc::new(Torrent::new(spec, storage)));
        Ok(())
    }

    fn save(
        &self,
        key: Key,
        state: Box<SaveState>,
        synced: usize,
        records: &mut Records,
    ) -> Option<Done> {
        let saving = match self.find(key, StoreOp::Save) {
            Ok(open) => open.storage.save(state, synced),
            Err(e) => Saving::Over { record: None, result: Err(e), unfinished: None },
        };
        match saving {
            Saving::Syncing { state, next, files } => {
                Some(Done::Syncing { torrent: key, state, synced: next, files })
            }
            Saving::Over { record: Some(record), result, unfinished } => {
                records.records.push(record);
                records.answers.push(Answer::Saved(key, unfinished, result.err()));
                None
            }
            Saving::Over { record: None, result, unfinished } => {
                Some(Done::Saved { torrent: key, result, unfinished })
            }
        }
    }

    fn close(&self, key: Key) {
        let closed = self.table().remove(&key);
        closed.iter().for_each(|torrent| torrent.storage.close());
    }

    /// A run that came before its predecessors, or needs no hashing.
    fn write_only(&self, torrent: &Torrent, run: Run) -> RunDone {
        let result = torrent.place(&run).and_then(|place| match &run.data {
            RunData::Memory(buf) => torrent.storage.write(place.start, &buf.0, false),
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
        let len = place.end - place.start;
        let source = Source::Disk(torrent, place.start, len, Reading::Unchanged);
        hashing::block_digests(source, torrent.has_trees(), &self.scratch)
    }

    fn leaves(&self, torrent: &Torrent, piece: PieceIndex) -> Result<Vec<Node>, StoreError> {
        let place = torrent.piece(piece)?;
        let len = place.end - place.start;
        let source = Source::Disk(torrent, place.start, len, Reading::Unchanged);
        hashing::block_leaves(source, &self.scratch)
    }

    fn run_digests(&self, torrent: &Torrent, run: &Run) -> Option<Vec<Digest>> {
        let place = torrent.place(run).ok()?;
        let source = torrent.source(run, &place);
        hashing::block_digests(source, torrent.has_trees(), &self.scratch).ok()
    }

    /// Hashes all jobs side by side, then does what follows from it.
    fn hash(&self, jobs: Vec<HashJob>, done: &mut Vec<Done>) {
        let mut asked: Vec<_> = jobs.iter().map(HashJob::ask).collect();
        let inputs = asked.iter_mut().filter_map(|ask| match ask {
            Ok(Ask::Hash(input)) => input.take(),
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
                    let root = found_root(&output, &expected);
                    let result = checked(output, expected);
                    if let (Ok(Judgement::Good), Ok(place)) = (&result, store.piece(piece)) {
                        store.storage.found_good(place);
                    }
                    Done::Checked { torrent, piece, result, root }
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
        expected: PieceHash,
    ) -> Result<(), StoreError> {
        let place = torrent.piece(piece)?;
        let Some(differs) = torrent.storage.may_differ(place.clone()) else { return Ok(()) };
        let source =
            Source::Disk(torrent, place.start, place.end - place.start, Reading::Unchanged);
        let input = Input { hasher: torrent.hasher(piece, &expected), source, ends: true };
        let output = hashing::hash_all(vec![input], &self.scratch).pop().transpose();
        match checked(output, expected)? {
            Judgement::Good => Ok(()),
            Judgement::Bad | Judgement::Contradiction => Err(differs),
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
        let root = chain.expected.and_then(|expected| found_root(&output, &expected));
        let result = output.and_then(|output| {
            let verdict = match (output, chain.expected) {
                (Some(Output::Hash(hash)), Some(expected)) => match expected.judge(&hash) {
                    Judgement::Good => Verdict::Good,
                    Judgement::Bad => Verdict::Bad,
                    Judgement::Contradiction => Verdict::Contradiction,
                },
                (Some(Output::State(state)), None) => Verdict::Going(state),
                _ => Verdict::Bad,
            };
            let is_bad = matches!(verdict, Verdict::Bad | Verdict::Contradiction);
            // The last run of a bad piece joins the others on disk, so that all its blocks can be
            // looked at for the culprit. A bad piece of one run is written only if its leaves may
            // tell which of its blocks are good (BEP 52).
            let has_leaves = chain.expected.is_some_and(|expected| expected.root().is_some());
            if let RunData::Memory(buf) = &run.data
                && (!is_bad || run.begin > 0 || (verdict == Verdict::Bad && has_leaves))
            {
                torrent.storage.write(
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
        RunDone { root, ..answer(run, result, digests) }
    }
}

fn checked(
    output: Result<Option<Output>, StoreError>,
    expected: PieceHash,
) -> Result<Judgement, StoreError> {
    match output {
        Ok(Some(Output::Hash(found))) => Ok(expected.judge(&found)),
        Ok(_) => Ok(Judgement::Bad),
        Err(e) if files::is_missing(&e) => Ok(Judgement::Bad),
        Err(e) => Err(e),
    }
}

/// The root that the tree of a good piece has, if it is not known which it must be.
fn found_root(output: &Result<Option<Output>, StoreError>, expected: &PieceHash) -> Option<Node> {
    let Ok(Some(Output::Hash(found))) = output else { return None };
    let unknown = expected.root().is_none() && expected.judge(found) == Judgement::Good;
    found.root().filter(|_| unknown)
}

fn answer(run: Run, result: Result<Verdict, StoreError>, digests: Option<Vec<Digest>>) -> RunDone {
    let buf = match run.data {
        RunData::Memory(buf) | RunData::Stretches(buf, _) => Some(buf),
        RunData::Disk(_) => None,
    };
    RunDone { piece: run.piece, begin: run.begin, buf, result, digests, root: None }
}

/// What a job wants hashed, until it is taken.
#[derive(Debug)]
enum Ask<'a> {
    Hash(Option<Input<'a>>),
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
                let hasher = &chain.state;
                if hasher.byte_len() != u64::from(run.begin) || (!ends && len % hasher.grain() != 0)
                {
                    return Err(
                        torrent.misplaced("a run whose hash does not continue where it begins")
                    );
                }
                let source = torrent.source(run, &place);
                Ok(Ask::Hash(Some(Input { hasher: hasher.clone(), source, ends })))
            }
            HashWork::Check(piece, expected) => {
                let place = torrent.piece(*piece)?;
                // Of trees the hash of zeroes is not kept: holes are hashed.
                if let PieceHash::Sha1(digest) = expected
                    && torrent.is_surely_zeroes(&place)
                    && *digest != torrent.zero_digest()
                {
                    return Ok(Ask::Nothing);
                }
                let len = place.end - place.start;
                let source = Source::Disk(torrent, place.start, len, Reading::Found);
                let hasher = torrent.hasher(*piece, expected);
                Ok(Ask::Hash(Some(Input { hasher, source, ends: true })))
            }
        }
    }
}
