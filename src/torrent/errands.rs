//! What is done to a torrent's files as a whole, while no other job of it runs: telling the store
//! which are skipped, moving and renaming, tidying up. Peers stay connected meanwhile and wait for
//! the disk.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{SAVE, Stage, Torrent};
use crate::{
    alert::Alert,
    base::job::{Job, Leftovers, StoreError, StoreOp, StoreSpec},
    torrent::cx::Cx,
};

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// All files to another folder.
    Move(PathBuf),
    /// The torrent is in another folder: what is there is checked.
    Adopt(PathBuf),
    /// One file to another path below the folder.
    Rename(usize, PathBuf),
}

/// What a worker is doing.
#[derive(Debug)]
enum Errand {
    Arrange,
    Relocate(Request, Place),
    Tidy,
}

/// Where a torrent is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) state_file: Option<PathBuf>,
    /// By file, ascending.
    pub(super) renames: Vec<(usize, PathBuf)>,
}

impl Place {
    /// The same torrent in another folder; its state goes along if it lies in there.
    fn in_dir(&self, dir: PathBuf) -> Self {
        let state_file = self.state_file.as_ref().map(|path| match path.strip_prefix(&self.dir) {
            Ok(below) => dir.join(below),
            Err(_) => path.clone(),
        });
        Self { dir, state_file, renames: self.renames.clone() }
    }

    fn with_rename(&self, file: usize, path: PathBuf) -> Self {
        let mut place = self.clone();
        match place.renames.binary_search_by_key(&file, |(file, _)| *file) {
            Ok(at) => place.renames[at].1 = path,
            Err(at) => place.renames.insert(at, (file, path)),
        }
        place
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Errands {
    requests: std::collections::VecDeque<Request>,
    /// The store knows of other files that are skipped, or has parts of files that are not.
    pub(super) arrange: bool,
    /// Files that are wanted are not made of their parts yet, since the torrent rests.
    pub(super) unmade: bool,
    tidy: bool,
    out: Option<Errand>,
    /// Where it was before a move, until nothing of it is left there.
    leaving: Option<Place>,
    /// Where it is as soon as nothing is open any more where it was.
    adopting: Option<PathBuf>,
}

impl Errands {
    fn is_due(&self) -> bool {
        self.arrange || self.tidy || !self.requests.is_empty()
    }

    /// A move is to be ended, or is being.
    pub(super) fn is_tidying(&self) -> bool {
        self.tidy
    }

    /// It is being moved, is to be, or leaves something behind.
    pub(super) fn is_moving(&self) -> bool {
        let is_moved = matches!(self.out, Some(Errand::Relocate(..) | Errand::Tidy));
        is_moved
            || self.tidy
            || self.leaving.is_some()
            || self.adopting.is_some()
            || !self.requests.is_empty()
    }

    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// The store is to be told which files are skipped, or is being told.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_arranging(&self) -> bool {
        self.arrange || matches!(self.out, Some(Errand::Arrange))
    }

    /// A move, a rename or an adoption is asked for and not done.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_pending(&self) -> bool {
        self.is_out() || self.tidy || !self.requests.is_empty() || self.adopting.is_some()
    }
}

impl Torrent {
    /// The user asks for something; an alert tells what came of it.
    pub(crate) fn request(&mut self, request: Request, cx: &mut Cx) {
        // A storage that is not open, or cannot be opened where it is, is looked for elsewhere at
        // once.
        if matches!(self.stage, Stage::Closing | Stage::Forgetting | Stage::Closed) {
            return self.refuse_closing(request, cx);
        }
        let is_closed = (matches!(self.stage, Stage::Waiting)
            || (matches!(self.stage, Stage::Opening) && self.failing))
            && self.next.is_none();
        let is_closed = is_closed || self.is_gone();
        if self.is_gone() && !matches!(request, Request::Adopt(_)) {
            let error = io::Error::new(io::ErrorKind::NotFound, "its data is gone");
            return self.refuse(
                request,
                StoreError::new(StoreOp::Move, &self.place.dir, error),
                cx,
            );
        }
        self.line_up();
        match request {
            Request::Adopt(dir) if is_closed => self.adopt(dir, cx),
            request => self.errands.requests.push_back(request),
        }
        self.settle(cx);
    }

    /// Does what is due as soon as nothing else is done, and lets the others go on when nothing is
    /// due.
    pub(super) fn run_errands(&mut self, cx: &mut Cx) {
        if self.errands.unmade && !self.rests() {
            self.errands.arrange = true;
        }
        let busy = self.errands.is_out() || self.errands.is_due();
        if !busy {
            if std::mem::take(&mut self.swarm.quiet) {
                self.end_silence(cx);
            }
            return;
        }
        self.swarm.quiet = true;
        let idle =
            self.swarm.jobs_out == 0 && matches!(self.stage, Stage::Checking(_) | Stage::Open);
        // What is to be closed or opened anew is tidied up, and nothing else.
        if !idle || (self.next.is_some() && !self.errands.tidy) {
            return;
        }
        // The old files go when it is on disk where the new ones are, and stay if that cannot be.
        if self.errands.tidy && !self.is_recorded() {
            return;
        }
        if self.errands.tidy && self.is_unrecorded() {
            (self.errands.tidy, self.errands.leaving) = (false, None);
            return self.run_errands(cx);
        }
        let torrent = self.key();
        let (errand, job) = if std::mem::take(&mut self.errands.tidy) {
            (Errand::Tidy, Job::Tidy { torrent })
        } else if std::mem::take(&mut self.errands.arrange) {
            self.arranged = self.wishes.skipped();
            let make = !self.rests();
            self.errands.unmade = !make;
            let borrowed = self.shares.borrowed();
            (
                Errand::Arrange,
                Job::Arrange { torrent, skipped: self.arranged.clone(), make, borrowed },
            )
        } else {
            let Some(request) = self.errands.requests.pop_front() else { return };
            let place = match request.clone() {
                Request::Adopt(dir) => {
                    self.adopt(dir, cx);
                    return;
                }
                Request::Move(dir) => self.place.in_dir(dir),
                Request::Rename(file, path) => self.place.with_rename(file, path),
            };
            // What it borrows where it is, it does not borrow there.
            let spec = StoreSpec { borrowed: Vec::new(), ..self.spec_at(place.clone(), &cx.conf) };
            let spec = Box::new(spec);
            let state =
                matches!(self.stage, Stage::Open).then(|| Box::new(self.state_to_save(cx.now)));
            (Errand::Relocate(request, place), Job::Relocate { torrent, spec, state })
        };
        self.errands.out = Some(errand);
        self.swarm.jobs_out += 1;
        cx.job(job);
    }

    /// What waited for the disk goes on.
    fn end_silence(&mut self, cx: &mut Cx) {
        self.swarm.retry(cx);
        for (_, session) in self.sessions.iter_mut() {
            session.serve_on(cx);
        }
        if self.unsaved && self.timers.get(SAVE).is_none() {
            self.timers.set(SAVE, cx.now);
        }
        if let Stage::Checking(_) = self.stage {
            self.go_on(cx);
        }
    }

    /// The torrent is to be elsewhere: not before all is forgotten that is claimed of where it was.
    fn adopt(&mut self, dir: PathBuf, cx: &mut Cx) {
        self.errands.adopting = Some(dir);
        // It is the user who says where it is.
        self.waive_absence();
        self.distrust_all(cx);
    }

    /// Nothing is open, and nothing is claimed: it is elsewhere now, if it is to be.
    pub(super) fn settle_elsewhere(&mut self, cx: &mut Cx) {
        let Some(dir) = self.errands.adopting.take() else { return };
        self.place = self.place.in_dir(dir.clone());
        self.has_moved = true;
        self.settings_changed(cx);
        cx.alerts.push(Alert::StorageMoved { torrent: self.id, dir });
    }

    pub(super) fn handle_arranged(&mut self, result: Result<(), StoreError>, cx: &mut Cx) {
        self.errands.out = None;
        self.swarm.no_writes = result.is_err();
        match result {
            Ok(()) => {
                self.unsaved |= matches!(self.stage, Stage::Open);
                self.recovered(cx);
            }
            Err(error) => self.failed(error, cx),
        }
    }

    pub(super) fn handle_relocated(&mut self, result: Result<(), StoreError>, cx: &mut Cx) {
        let Some(Errand::Relocate(request, place)) = self.errands.out.take() else { return };
        let Err(error) = result else {
            self.errands.leaving = Some(std::mem::replace(&mut self.place, place));
            self.has_moved = true;
            self.errands.tidy = true;
            self.settings_changed(cx);
            // The state that was saved there is that of before.
            self.unsaved |= matches!(self.stage, Stage::Open);
            cx.alerts.push(match request {
                Request::Move(dir) | Request::Adopt(dir) => {
                    Alert::StorageMoved { torrent: self.id, dir }
                }
                Request::Rename(file, path) => Alert::FileRenamed { torrent: self.id, file, path },
            });
            return;
        };
        self.refuse(request, error, cx);
    }

    pub(super) fn handle_tidied(&mut self, left: Option<Leftovers>, cx: &mut Cx) {
        (self.errands.out, self.errands.leaving) = (None, None);
        self.tell_leftovers(left, cx);
    }

    pub(super) fn tell_leftovers(&self, left: Option<Leftovers>, cx: &mut Cx) {
        if let Some(Leftovers { files, error }) = left {
            log::warn!("{error}: {files} files are left");
            cx.alerts.push(Alert::DeleteFailed { torrent: self.id, files, error });
        }
    }

    /// Where files of it may still be that are to be deleted after a move: the folder, and what is
    /// called otherwise there.
    pub(crate) fn leaving(&self) -> Option<(&Path, &[(usize, PathBuf)])> {
        self.errands.leaving.as_ref().map(|place| (&*place.dir, &*place.renames))
    }

    pub(crate) fn refuse(&self, request: Request, error: StoreError, cx: &mut Cx) {
        log::warn!("{error}");
        let torrent = self.id;
        cx.alerts.push(match request {
            Request::Move(_) | Request::Adopt(_) => Alert::StorageMoveFailed { torrent, error },
            Request::Rename(file, _) => Alert::FileRenameFailed { torrent, file, error },
        });
    }

    /// Others read its files: what is in the part file still is to get its place, which shows when
    /// the torrent is open.
    pub(crate) fn prepare_to_lend(&mut self, cx: &mut Cx) {
        if self.is_asleep() {
            self.line_up();
            self.settle(cx);
        }
    }

    /// It has other files in common with other torrents: the store is to know.
    pub(crate) fn shares_changed(&mut self, cx: &mut Cx) {
        if matches!(self.stage, Stage::Opening | Stage::Checking(_) | Stage::Open) {
            self.errands.arrange = true;
            self.settle(cx);
        }
    }

    /// The torrent ends: nothing more is done.
    pub(super) fn refuse_requests(&mut self, cx: &mut Cx) {
        let adopting = self.errands.adopting.take().map(Request::Adopt);
        for request in adopting.into_iter().chain(std::mem::take(&mut self.errands.requests)) {
            self.refuse_closing(request, cx);
        }
        self.errands.arrange = false;
    }

    fn refuse_closing(&self, request: Request, cx: &mut Cx) {
        let error = StoreError::new(
            StoreOp::Move,
            &self.place.dir,
            io::Error::other("the torrent is being closed"),
        );
        self.refuse(request, error, cx);
    }
}
