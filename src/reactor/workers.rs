//! The pool of workers and what came back from it. It does not know what the jobs are for.

use std::vec::Drain;

use crate::{
    base::{
        arena::Key,
        buf::Buf,
        geometry::Block,
        job::{Done, Job},
        storage::StoreError,
    },
    store::Pool,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Workers {
    pool: Pool,
    /// Answers on their way; empty between two calls, and kept so that it is not allocated anew.
    answers: Vec<Done>,
}

impl Workers {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, answers: Vec::new() }
    }

    pub(super) fn submit(&mut self, job: Job) {
        self.pool.submit(job);
    }

    /// Reads blocks here, if they are at hand; `None` if a worker has to.
    pub(super) fn try_read(
        &mut self,
        torrent: Key,
        blocks: &[Block],
        buf: &mut Buf,
    ) -> Option<Result<(), StoreError>> {
        self.pool.try_read(torrent, blocks, buf)
    }

    /// What workers have answered since this was asked last.
    pub(super) fn answers(&mut self) -> Drain<'_, Done> {
        self.pool.drain(&mut self.answers);
        self.answers.drain(..)
    }

    /// See [`Reactor::abandon`](super::Reactor::abandon).
    pub(super) fn abandon(self) {
        self.pool.abandon();
    }
}
