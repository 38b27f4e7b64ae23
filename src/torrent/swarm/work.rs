//! Whether new orders, jobs and writes may go out, and the jobs that workers have not answered. It
//! knows neither why they may not nor what the jobs are.

use std::time::Duration;

use super::Swarm;
use crate::base::time::Instant;

/// What is done to all files is mostly over within that: it is not worth fetching anything again.
const SHORT_QUIET: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Whether new orders may go out.
    orders: bool,
    /// Something is done to all files, since then: no job may begin.
    quiet: Option<Instant>,
    /// Nothing may be written.
    no_writes: bool,
    /// Jobs that workers have not answered.
    jobs: usize,
    /// Of those, the ones that write.
    runs: usize,
}

impl Work {
    pub(super) fn may_order(&self) -> bool {
        // What comes meanwhile stays in memory.
        self.orders && self.quiet.is_none()
    }

    pub(super) fn may_write(&self) -> bool {
        !self.no_writes
    }

    /// Whether a run that is whole may go to a worker.
    pub(super) fn may_submit(&self) -> bool {
        self.quiet.is_none() && !self.no_writes
    }

    /// A job goes out that does not write.
    pub(super) fn begin(&mut self) {
        self.jobs += 1;
    }

    /// A job goes out that writes.
    pub(super) fn begin_run(&mut self) {
        self.runs += 1;
        self.jobs += 1;
    }

    /// The job that was answered was one that writes.
    pub(super) fn end_run(&mut self) {
        self.runs = self.runs.saturating_sub(1);
    }
}

impl Swarm {
    /// New orders may go out: what is there is known, and the disk works as far as is known.
    pub(crate) fn allow_orders(&mut self) {
        self.work.orders = true;
    }

    /// The disk fails: no new orders. What cannot be asked for now leaves its memory to other
    /// torrents.
    pub(crate) fn stop_orders(&mut self) {
        self.work.orders = false;
        self.refills.want();
    }

    /// The disk works again, or shows by new orders whether it does.
    pub(crate) fn resume_orders(&mut self) {
        self.work.orders = true;
        self.refills.want();
    }

    pub(crate) fn may_order(&self) -> bool {
        self.work.may_order()
    }

    /// Something is to be done to all files: no job may begin until that is over, and nothing new
    /// is ordered, which could not be written.
    pub(crate) fn begin_quiet(&mut self, now: Instant) {
        self.refills.want_if(self.work.quiet.is_none());
        self.work.quiet.get_or_insert(now);
    }

    /// Jobs and orders may begin again. Returns whether they might not.
    pub(crate) fn end_quiet(&mut self) -> bool {
        let was_quiet = self.work.quiet.take().is_some();
        self.refills.want_if(was_quiet);
        was_quiet
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.work.quiet.is_some()
    }

    /// Whether that takes long, perhaps as long as it takes to copy all files.
    pub(crate) fn is_quiet_for_long(&self, now: Instant) -> bool {
        self.work.quiet.is_some_and(|since| since + SHORT_QUIET <= now)
    }

    /// The store was told which files are skipped, or could not be: then nothing may be written
    /// until it was.
    pub(crate) fn note_arranged(&mut self, is_told: bool) {
        self.work.no_writes = !is_told;
    }

    pub(crate) fn may_write(&self) -> bool {
        self.work.may_write()
    }

    /// A job of the torrent goes out that is none of the ledger's.
    pub(crate) fn begin_job(&mut self) {
        self.work.begin();
    }

    /// A worker has answered a job.
    pub(crate) fn end_job(&mut self) {
        self.work.jobs = self.work.jobs.saturating_sub(1);
    }

    /// Whether workers have not answered all jobs.
    pub(crate) fn has_jobs(&self) -> bool {
        self.work.jobs > 0
    }

    /// Whether workers have not answered all jobs that write.
    pub(crate) fn has_runs(&self) -> bool {
        self.work.runs > 0
    }

    /// The jobs of the ledger before this one will be answered to this one.
    pub(crate) fn inherit_jobs(&mut self, earlier: &Self) {
        self.work.jobs = earlier.work.jobs;
    }
}
