//! Whether a torrent lives or is over. While it lives: how far its storage is, and what happens as
//! soon as no worker has a job of it. Afterwards: how far its end is. It does not know whether the
//! torrent may run.

use super::stage::Stage;
use crate::base::storage::Trust;

/// How a torrent ends. The later ones include the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The engine shuts down; the torrent is there at the next start.
    Shutdown,
    /// The torrent is removed; its data stays.
    Remove,
    /// The torrent is removed with its data.
    RemoveWithData,
}

/// What happens when no worker has a job of the torrent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::torrent) enum Next {
    /// The storage is opened anew.
    Reopen {
        /// What of the files may go unchecked then.
        trust: Trust,
    },
    /// The torrent's data is missing.
    Vanish,
    /// The torrent ends.
    Close(End),
}

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A worker closes the storage, or deletes the data.
    Closing,
    /// The storage is closed, and the removal is being recorded.
    Forgetting,
    Closed,
}

#[derive(Debug)]
enum Kind {
    Alive { stage: Stage, next: Option<Next> },
    Over { end: End, step: Ending },
}

/// See the module.
#[derive(Debug)]
pub(super) struct State(Kind);

impl State {
    /// A torrent that lives, with nothing that new jobs must wait for.
    pub(super) fn alive(stage: Stage) -> Self {
        Self(Kind::Alive { stage, next: None })
    }

    /// How far the storage is; `None` once the end has begun.
    pub(super) fn stage(&self) -> Option<&Stage> {
        match &self.0 {
            Kind::Alive { stage, .. } => Some(stage),
            Kind::Over { .. } => None,
        }
    }

    pub(super) fn stage_mut(&mut self) -> Option<&mut Stage> {
        match &mut self.0 {
            Kind::Alive { stage, .. } => Some(stage),
            Kind::Over { .. } => None,
        }
    }

    /// The same, unless something is pending that new jobs must wait for.
    pub(super) fn free_stage_mut(&mut self) -> Option<&mut Stage> {
        match &mut self.0 {
            Kind::Alive { stage, next: None } => Some(stage),
            _ => None,
        }
    }

    /// None of the torrent's files is there, and nothing is open any more.
    pub(super) fn lose_data(&mut self) {
        if let Kind::Alive { stage, next } = &mut self.0 {
            *stage = Stage::missing();
            next.take_if(|next| *next == Next::Vanish);
        }
    }

    // What comes next.

    /// What happens when no worker has a job of the torrent any more. Nothing more once the end has
    /// begun.
    pub(super) fn next(&self) -> Option<Next> {
        match self.0 {
            Kind::Alive { next, .. } => next,
            Kind::Over { .. } => None,
        }
    }

    /// `what` comes next, unless that is the end already.
    pub(super) fn ask(&mut self, what: Next) {
        if let Kind::Alive {
            next: next @ (None | Some(Next::Reopen { .. } | Next::Vanish)), ..
        } = &mut self.0
        {
            *next = Some(what);
        }
    }

    /// The torrent is to end. Of several ends the one that goes furthest counts.
    pub(super) fn close(&mut self, to: End) {
        match &mut self.0 {
            Kind::Alive { next: Some(Next::Close(end)), .. } | Kind::Over { end, .. } => {
                *end = to.max(*end);
            }
            Kind::Alive { next, .. } => *next = Some(Next::Close(to)),
        }
    }

    // The end.

    /// How the torrent ends, if it is to.
    pub(super) fn end(&self) -> Option<End> {
        match self.0 {
            Kind::Alive { next: Some(Next::Close(end)), .. } | Kind::Over { end, .. } => Some(end),
            Kind::Alive { .. } => None,
        }
    }

    /// The end that was asked for comes to this.
    pub(super) fn go_over(&mut self, step: Ending) {
        if let Some(end) = self.end() {
            self.0 = Kind::Over { end, step };
        }
    }

    /// How far the end is, once it has begun.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self.0 {
            Kind::Over { step, .. } => Some(step),
            Kind::Alive { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_that_goes_furthest_counts_and_is_never_taken_back() {
        let mut state = State::alive(Stage::reopening());
        state.go_over(Ending::Closing);
        assert!(state.stage().is_some(), "no end was asked for");
        state.ask(Next::Vanish);
        assert!(state.free_stage_mut().is_none() && state.stage_mut().is_some());
        state.close(End::Remove);
        state.close(End::Shutdown);
        state.ask(Next::Reopen { trust: Trust::Nothing });
        assert_eq!(state.next(), Some(Next::Close(End::Remove)));
        state.go_over(Ending::Closing);
        assert_eq!((state.next(), state.ending()), (None, Some(Ending::Closing)));
        state.close(End::RemoveWithData);
        state.lose_data();
        assert!(state.stage().is_none() && state.end() == Some(End::RemoveWithData));
    }

    #[test]
    fn data_that_is_lost_leaves_what_else_comes_next() {
        let mut state = State::alive(Stage::reopening());
        state.ask(Next::Vanish);
        state.lose_data();
        assert!(state.next().is_none() && state.free_stage_mut().is_some_and(|s| s.is_missing()));
        let reopen = Next::Reopen { trust: Trust::State };
        state.ask(reopen);
        state.lose_data();
        assert_eq!(state.next(), Some(reopen));
    }
}
