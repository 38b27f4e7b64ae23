//! All pieces through all threads: each takes the next few pieces, hashes them side by side, and
//! reports as it goes.
//!
//! Memory is a few buffers a thread and the hashes themselves.

use std::{
    io,
    ops::ControlFlow,
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{self, SyncSender},
    },
    thread,
};

use super::{CreateError, CreateProgress};
use crate::{
    base::{
        geometry::Geometry,
        hash::PieceHash,
        storage::{StoreError, StoreOp},
    },
    store::Pieces,
};

/// Threads that make sense for anybody.
const MAX_THREADS: usize = 256;

/// What the threads share.
#[derive(Debug)]
struct Work<'a> {
    pieces: &'a Pieces,
    count: u32,
    /// Pieces that a thread takes at a time.
    batch: u32,
    next: AtomicU32,
    stop: AtomicBool,
}

/// Hashes from a piece on.
type Batch = (u32, Vec<PieceHash>);

/// The hashes of all pieces in order. `progress` is called on this thread.
pub(super) fn all(
    pieces: &Pieces,
    geometry: Geometry,
    threads: usize,
    mut progress: impl FnMut(CreateProgress) -> ControlFlow<()>,
) -> Result<Vec<PieceHash>, CreateError> {
    let count = geometry.piece_count();
    let cores = || thread::available_parallelism().map_or(1, Into::into);
    let threads = if threads == 0 { cores() } else { threads };
    let threads = threads.clamp(1, MAX_THREADS);
    let batch = pieces.batch(threads);
    let threads = threads.min(count.div_ceil(batch) as usize);
    let (next, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let work = Work { pieces, count, batch, next, stop };
    // A slow `progress` holds up the threads, so that what is told is what happens.
    let (tell, told) = mpsc::sync_channel(4 * threads);
    let (results, stopped) = thread::scope(|scope| {
        let start = |n| {
            let (work, tell) = (&work, tell.clone());
            thread::Builder::new()
                .name(format!("create-{n}"))
                .spawn_scoped(scope, move || work.run(&tell))
        };
        let workers: Vec<io::Result<_>> = (0..threads).map(start).collect();
        drop(tell);
        let (mut done, mut stopped) = (0, false);
        for bytes in told {
            done += bytes;
            if !stopped && progress(CreateProgress { done, total: geometry.held_len() }).is_break()
            {
                stopped = true;
                work.stop.store(true, Ordering::Relaxed);
            }
        }
        let join = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|e| std::panic::resume_unwind(e))
        };
        (workers.into_iter().map(|worker| worker.map(join)).collect::<Vec<_>>(), stopped)
    });
    if stopped {
        return Err(CreateError::Stopped);
    }
    let mut hashes = vec![PieceHash::Sha1([0; 20]); count as usize];
    let (mut got, mut no_thread) = (0, None);
    for result in results {
        let batches = match result {
            Ok(batches) => batches.map_err(unread)?,
            Err(e) => {
                no_thread = Some(e);
                continue;
            }
        };
        for (first, batch) in batches {
            for (to, from) in hashes.iter_mut().skip(first as usize).zip(batch) {
                *to = from;
                got += 1;
            }
        }
    }
    match no_thread {
        // The others have done its part, if there were any.
        Some(e) if got < count => Err(CreateError::Thread(e)),
        _ => Ok(hashes),
    }
}

impl Work<'_> {
    /// A thread's part of it.
    fn run(&self, tell: &SyncSender<u64>) -> Result<Vec<Batch>, StoreError> {
        let size = self.batch;
        let mut batches = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let claimed = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (next < self.count).then(|| next.saturating_add(size).min(self.count))
            });
            let Ok(first) = claimed else { break };
            let go_on = |bytes| tell.send(bytes).is_ok() && !self.stop.load(Ordering::Relaxed);
            match self.pieces.hashes(first..first.saturating_add(size).min(self.count), go_on) {
                Ok(Some(hashes)) => batches.push((first, hashes)),
                Ok(None) => break,
                Err(e) => {
                    self.stop.store(true, Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
        Ok(batches)
    }
}

/// The file was there and could be read when it was looked for.
fn unread(e: StoreError) -> CreateError {
    let gone = matches!(e.source.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound);
    if gone && e.op == StoreOp::Read {
        return CreateError::Changed(e.path);
    }
    CreateError::Unreadable { path: e.path, source: io::Error::new(e.source.kind(), e.source) }
}
