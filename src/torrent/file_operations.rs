//! What is done to a torrent's files as a whole, while no other job of it runs: telling the store
//! which are skipped, moving and renaming, tidying up. Peers stay connected meanwhile and wait for
//! the disk.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use super::Torrent;
use crate::{
    alert::Alert,
    base::{
        arena::Key,
        job::Job,
        storage::{Leftovers, StoreError, StoreOp, StoreSpec},
    },
    torrent::{cx::Cx, location::Place},
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
enum Operation {
    Arrange,
    Relocate(Request, Place),
    Tidy,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct FileOperations {
    requests: std::collections::VecDeque<Request>,
    /// Which files the store knows as skipped.
    arranged: Vec<bool>,
    /// The store knows of other files that are skipped, or has parts of files that are not.
    arrange: bool,
    /// Files that are wanted are not made of their parts yet, since the torrent rests.
    unmade: bool,
    tidy: bool,
    out: Option<Operation>,
    /// Where it was before a move, until nothing of it is left there.
    leaving: Option<Place>,
    /// Where it is as soon as nothing is open any more where it was.
    adopting: Option<PathBuf>,
}

impl FileOperations {
    fn is_due(&self) -> bool {
        self.arrange || self.tidy || !self.requests.is_empty()
    }

    /// The storage is being opened, with these files skipped.
    pub(super) fn handle_open(&mut self, skipped: Vec<bool>) {
        (self.arranged, self.arrange, self.unmade) = (skipped, false, false);
    }

    /// These files are skipped from now on: the store is to know if it does not. Whether something
    /// is to be told.
    pub(super) fn handle_skipped(&mut self, skipped: &[bool]) -> bool {
        self.arrange |= self.arranged != skipped;
        self.arrange
    }

    /// The store is to be told which files are skipped, if `needed`.
    pub(super) fn arrange_if(&mut self, needed: bool) {
        self.arrange |= needed;
    }

    /// Whether parts of a file may lie in the part file instead of under its own name.
    pub(super) fn may_be_parked(&self, file: usize) -> bool {
        self.arranged.get(file).copied().unwrap_or(false) || self.arrange || self.unmade
    }

    /// Whether what is in memory may be written now.
    pub(super) fn lets_write(&self) -> bool {
        !self.is_out() && !self.arrange
    }

    /// A move is to be ended, or is being.
    pub(super) fn is_tidying(&self) -> bool {
        self.tidy
    }

    /// It is being moved, is to be, or leaves something behind.
    pub(super) fn is_moving(&self) -> bool {
        let is_moved = matches!(self.out, Some(Operation::Relocate(..) | Operation::Tidy));
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
        self.arrange || matches!(self.out, Some(Operation::Arrange))
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
        if self.lifecycle.is_over() {
            return self.refuse_closing(request, cx);
        }
        if !self.content.is_known() {
            return self.change_empty_place(request, cx);
        }
        let is_missing = self.lifecycle.has_lost_data();
        let is_closed = self.lifecycle.is_unopened() || is_missing;
        if is_missing && !matches!(request, Request::Adopt(_)) {
            let error = io::Error::new(io::ErrorKind::NotFound, "its data is gone");
            return self.refuse(
                request,
                StoreError::new(StoreOp::Move, self.location.dir(), error),
                cx,
            );
        }
        self.line_up();
        match request {
            Request::Adopt(dir) if is_closed => self.adopt(dir, cx),
            request => self.storage.operations.requests.push_back(request),
        }
        self.settle(cx);
    }

    /// Nothing is open after all, and what was asked for meanwhile would wait for ever: the torrent
    /// is looked for where its user says that it is, and nothing else can be done with its files.
    pub(super) fn refuse_requests_unopened(&mut self, why: &StoreError, cx: &mut Cx) {
        for request in std::mem::take(&mut self.storage.operations.requests) {
            match request {
                Request::Adopt(dir) => self.adopt(dir, cx),
                request => self.refuse(request, why.clone(), cx),
            }
        }
    }

    /// Nothing is open of a torrent whose metainfo is not known: it goes elsewhere at once. What is
    /// adopted is checked when the metainfo has come.
    fn change_empty_place(&mut self, request: Request, cx: &mut Cx) {
        if matches!(request, Request::Adopt(_)) {
            self.waive_absence();
            self.distrust_all(cx);
            self.lifecycle.note_elsewhere();
        }
        if let Request::Move(dir) | Request::Adopt(dir) = request {
            self.location.change(self.location.place().in_dir(dir.clone()));
            self.place_changed(cx);
            cx.alerts.push(Alert::StorageMoved { torrent: self.identity.id(), dir });
            self.settle(cx);
        }
    }

    /// Does what is due as soon as nothing else is done, and lets the others go on when nothing is
    /// due.
    pub(super) fn run_operations(&mut self, cx: &mut Cx) {
        if self.storage.operations.unmade && !self.lifecycle.rests() {
            self.storage.operations.arrange = true;
        }
        let busy = self.storage.operations.is_out() || self.storage.operations.is_due();
        if !busy {
            if self.swarm.end_quiet() {
                self.end_silence(cx);
            }
            return;
        }
        self.swarm.begin_quiet(cx.now);
        let idle = !self.swarm.has_jobs() && self.lifecycle.is_savable();
        // What is to be closed or opened anew is tidied up, and nothing else.
        if !idle || (self.lifecycle.is_pending() && !self.storage.operations.tidy) {
            return;
        }
        // The old files go when it is on disk where the new ones are, and stay if that cannot be.
        // Of a torrent that is removed nothing needs to be found: there the space that the record
        // lacks may be theirs.
        if self.storage.operations.tidy && !self.is_recorded() && !self.lifecycle.is_removed() {
            return;
        }
        if self.storage.operations.tidy && self.is_unrecorded() {
            (self.storage.operations.tidy, self.storage.operations.leaving) = (false, None);
            return self.run_operations(cx);
        }
        let torrent = self.identity.key();
        let (operation, job) = if std::mem::take(&mut self.storage.operations.tidy) {
            (Operation::Tidy, Job::Tidy { torrent })
        } else if std::mem::take(&mut self.storage.operations.arrange) {
            self.storage.operations.arranged = self.content.priorities().skipped();
            let make = !self.lifecycle.rests();
            self.storage.operations.unmade = !make;
            let returned = self.location.shared_mut().take_returned();
            self.fetch_returned(returned, cx);
            let borrowed = self.location.shared().borrowed();
            (
                Operation::Arrange,
                Job::Arrange {
                    torrent,
                    skipped: self.storage.operations.arranged.clone(),
                    make,
                    borrowed,
                },
            )
        } else {
            let Some(request) = self.storage.operations.requests.pop_front() else { return };
            let place = match request.clone() {
                Request::Adopt(dir) => {
                    self.adopt(dir, cx);
                    return;
                }
                Request::Move(dir) => self.location.place().in_dir(dir),
                Request::Rename(file, path) => self.location.place().with_rename(file, path),
            };
            // What it borrows where it is, it does not borrow there.
            let Some(spec) = self.spec_at(place.clone(), &cx.conf) else { return };
            let returned = spec.borrowed.iter().map(|borrowed| borrowed.file).collect();
            self.fetch_returned(returned, cx);
            let spec = StoreSpec { borrowed: Vec::new(), ..spec };
            let spec = Box::new(spec);
            // One that must wait for the record of its place is saved after that.
            let has_state = self.lifecycle.is_open() && self.is_place_recorded();
            let state = has_state.then(|| Box::new(self.state_to_save(cx.now)));
            (Operation::Relocate(request, place), Job::Relocate { torrent, spec, state })
        };
        self.storage.operations.out = Some(operation);
        self.swarm.begin_job();
        cx.job(job);
    }

    /// These files are no longer another torrent's. What came for unfinished pieces while they were
    /// was not written to them, since nothing vouched for it yet.
    fn fetch_returned(&mut self, files: BTreeSet<usize>, cx: &mut Cx) {
        let Some(metainfo) = self.content.metainfo() else { return };
        let files = files.into_iter().filter_map(|file| metainfo.files.get(file));
        for file in files {
            let range = file.offset..file.offset.saturating_add(file.len);
            let pieces: Vec<_> = self.swarm.geometry().pieces_of(range).collect();
            pieces.into_iter().for_each(|piece| self.swarm.forget_stored(piece, cx));
        }
    }

    /// What waited for the disk goes on.
    fn end_silence(&mut self, cx: &mut Cx) {
        self.swarm.retry(cx);
        self.wake_web_seeds();
        for (_, session) in self.peers.iter_mut() {
            session.serve_on(cx);
        }
        self.save_if_due(cx);
        if self.lifecycle.is_checking() {
            self.go_on(cx);
        }
    }

    /// The torrent is to be elsewhere: not before all is forgotten that is claimed of where it was.
    fn adopt(&mut self, dir: PathBuf, cx: &mut Cx) {
        if let Some(before) = self.storage.operations.adopting.replace(dir) {
            let error = io::Error::new(io::ErrorKind::Interrupted, "another place was named since");
            let error = StoreError::new(StoreOp::Move, &before, error);
            self.refuse(Request::Adopt(before), error, cx);
        }
        // It is the user who says where it is.
        self.waive_absence();
        self.distrust_all(cx);
    }

    /// Nothing is open, and nothing is claimed: it is elsewhere now, if it is to be.
    pub(super) fn settle_elsewhere(&mut self, cx: &mut Cx) {
        let Some(dir) = self.storage.operations.adopting.take() else { return };
        // With the new place, and not before, it is recorded that the state is of another.
        self.lifecycle.note_elsewhere();
        self.location.change(self.location.place().in_dir(dir.clone()));
        self.place_changed(cx);
        cx.alerts.push(Alert::StorageMoved { torrent: self.identity.id(), dir });
    }

    pub(super) fn handle_arranged(&mut self, result: Result<(), StoreError>, cx: &mut Cx) {
        self.storage.operations.out = None;
        self.swarm.note_arranged(result.is_ok());
        match result {
            Ok(()) => {
                self.saves.note_news_if(self.lifecycle.is_open());
                self.recovered(cx);
            }
            Err(error) => self.failed(error, cx),
        }
    }

    pub(super) fn handle_relocated(&mut self, result: Result<(), StoreError>, cx: &mut Cx) {
        let Some(Operation::Relocate(request, place)) = self.storage.operations.out.take() else {
            return;
        };
        let Err(error) = result else {
            self.storage.operations.leaving = Some(self.location.change(place));
            self.storage.operations.tidy = true;
            self.place_changed(cx);
            // The state that was saved there is that of before.
            self.saves.note_news_if(self.lifecycle.is_open());
            cx.alerts.push(match request {
                Request::Move(dir) | Request::Adopt(dir) => {
                    Alert::StorageMoved { torrent: self.identity.id(), dir }
                }
                Request::Rename(file, path) => {
                    Alert::FileRenamed { torrent: self.identity.id(), file, path }
                }
            });
            return;
        };
        self.refuse(request, error, cx);
    }

    pub(super) fn handle_tidied(&mut self, left: Option<Leftovers>, cx: &mut Cx) {
        (self.storage.operations.out, self.storage.operations.leaving) = (None, None);
        self.tell_leftovers(left, cx);
    }

    pub(super) fn tell_leftovers(&self, left: Option<Leftovers>, cx: &mut Cx) {
        if let Some(Leftovers { files, error }) = left {
            log::warn!("{error}: {files} files are left");
            cx.alerts.push(Alert::DeleteFailed { torrent: self.identity.id(), files, error });
        }
    }

    /// Where files of it may still be that are to be deleted after a move: the folder, and what is
    /// called otherwise there.
    pub(crate) fn leaving(&self) -> Option<(&Path, &[(usize, PathBuf)])> {
        self.storage.operations.leaving.as_ref().map(|place| (&*place.dir, &*place.renames))
    }

    pub(crate) fn refuse(&self, request: Request, error: StoreError, cx: &mut Cx) {
        log::warn!("{error}");
        let torrent = self.identity.id();
        cx.alerts.push(match request {
            Request::Move(_) | Request::Adopt(_) => Alert::StorageMoveFailed { torrent, error },
            Request::Rename(file, _) => Alert::FileRenameFailed { torrent, file, error },
        });
    }

    /// Others read its files: what is in the part file still is to get its place, which shows when
    /// the torrent is open.
    fn prepare_to_lend(&mut self, cx: &mut Cx) {
        if self.lifecycle.wake() {
            self.settle(cx);
        }
    }

    /// Another torrent reads its file of this number from now on.
    pub(crate) fn lend(&mut self, file: usize, to: Key, cx: &mut Cx) {
        self.location.shared_mut().lend(file, to);
        self.prepare_to_lend(cx);
    }

    /// Its file of this number is another torrent's, which is called `name`.
    pub(crate) fn borrow(&mut self, file: usize, owner: Key, name: &str) {
        self.location.shared_mut().borrow(file, owner, name);
    }

    /// Another torrent has gone from where it was. Returns whether the two had files in common.
    pub(crate) fn handle_sharer_gone(&mut self, other: Key, cx: &mut Cx) -> bool {
        let shared = self.location.shared_mut().forget(other);
        if shared {
            self.shares_changed(cx);
        }
        shared
    }

    /// If it is elsewhere since this was asked last: the torrents that it had files in common with,
    /// and has no longer.
    pub(crate) fn take_move(&mut self, cx: &mut Cx) -> Option<BTreeSet<Key>> {
        if !self.location.take_moved() {
            return None;
        }
        let others = self.location.shared().others();
        self.location.shared_mut().clear();
        self.shares_changed(cx);
        Some(others)
    }

    /// It has other files in common with other torrents: the store is to know.
    pub(crate) fn shares_changed(&mut self, cx: &mut Cx) {
        if self.lifecycle.is_in_store() {
            self.storage.operations.arrange = true;
            self.settle(cx);
        }
    }

    /// The torrent ends: nothing more is done.
    pub(super) fn refuse_requests(&mut self, cx: &mut Cx) {
        let adopting = self.storage.operations.adopting.take().map(Request::Adopt);
        for request in
            adopting.into_iter().chain(std::mem::take(&mut self.storage.operations.requests))
        {
            self.refuse_closing(request, cx);
        }
        self.storage.operations.arrange = false;
    }

    fn refuse_closing(&self, request: Request, cx: &mut Cx) {
        let error = StoreError::new(
            StoreOp::Move,
            self.location.dir(),
            io::Error::other("the torrent is being closed"),
        );
        self.refuse(request, error, cx);
    }
}
