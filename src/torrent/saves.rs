//! Which of a torrent's state is not saved yet, and how the save that is out was made. It decides
//! nothing: when a state is saved, the torrent says (storage.rs).

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// There is something new to save.
    is_due: bool,
    /// A worker saves.
    is_out: bool,
    /// What was saved last says that more was being written: a crash may have lost some of it.
    is_dirty: bool,
    /// Bytes of this run, received and sent, that the saved state tells of.
    totals: (u64, u64),
    /// Pieces that it speaks of.
    have: u32,
}

impl Saves {
    /// There is something new to save.
    pub(super) fn note_news(&mut self) {
        self.is_due = true;
    }

    /// There is, if `is_news`.
    pub(super) fn note_news_if(&mut self, is_news: bool) {
        self.is_due |= is_news;
    }

    /// Nothing more will be written: that is news if the saved state says otherwise.
    pub(super) fn note_all_written(&mut self) {
        self.is_due |= self.is_dirty;
    }

    /// So many bytes were received and sent in this run: that is news if they are not saved.
    pub(super) fn note_totals(&mut self, totals: (u64, u64)) {
        self.is_due |= totals != self.totals;
    }

    /// Whether there is something new to save.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether a worker saves.
    pub(super) fn is_out(&self) -> bool {
        self.is_out
    }

    /// Whether the saved state says that more was being written.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// A state of `have` pieces is being saved; `is_dirty`: more is being written meanwhile.
    pub(super) fn begin(&mut self, is_dirty: bool, totals: (u64, u64), have: u32) {
        *self = Self { is_due: false, is_out: true, is_dirty, totals, have };
    }

    /// Pieces that the state speaks of that was begun to be saved last.
    pub(super) fn have(&self) -> u32 {
        self.have
    }

    /// A worker has answered.
    pub(super) fn end(&mut self) {
        self.is_out = false;
    }

    /// Nothing is saved any more.
    pub(super) fn give_up(&mut self) {
        (self.is_due, self.is_dirty) = (false, false);
    }
}
