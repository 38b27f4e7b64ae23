//! Pieces that failed, and who should keep away from them for a while: each is fetched from one
//! peer alone, so that the next failure has one to blame, and a peer that had a part in a failure
//! comes after all others. It knows nothing of blocks and orders.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    base::{geometry::PieceIndex, time::Instant},
    torrent::progress::{OrderKey, Supplier},
};

/// How long those who had a part in a failure leave the piece to others; twice as long after each
/// further one.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest that it gets.
const MAX_PAUSE: Duration = Duration::from_secs(320);
/// Peers remembered a piece. Beyond that the oldest is forgotten, and may be as guilty as the
/// others.
const MAX_SHY: usize = 32;
/// How often one alone may leave a piece unfinished until those who did may share it again: none of
/// them may be able to give all of it.
const TRIES: u32 = 3;
/// How long a peer may have a piece alone; twice as long after each failure and each peer that left
/// it unfinished, since peers that are slow, and not idle, are to end it one day.
const TENURE: Duration = Duration::from_secs(120);
/// How often that doubles.
const MAX_DOUBLINGS: u32 = 4;

#[derive(Debug, Default)]
struct Trial {
    failures: u32,
    /// How often it was left unfinished since it failed last.
    given_up: u32,
    /// Who left it then.
    left: Vec<Supplier>,
    shy: Vec<(Supplier, Instant)>,
    /// The peer that has it alone, and until when.
    tenure: Option<Tenure>,
}

#[derive(Clone, Copy, Debug)]
struct Tenure {
    owner: OrderKey,
    who: Supplier,
    until: Instant,
}

impl Trial {
    /// Not before `until`, nor before it might have come back anyway.
    fn shun(&mut self, who: Supplier, until: Instant) {
        let before = self.shy.iter().position(|(other, _)| *other == who);
        let until = before.map_or(until, |at| self.shy.remove(at).1.max(until));
        make_room(&mut self.shy);
        self.shy.push((who, until));
    }

    fn note_left(&mut self, who: Supplier) {
        if !self.left.contains(&who) {
            make_room(&mut self.left);
            self.left.push(who);
        }
    }

    fn tenure(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).saturating_add(self.given_up);
        TENURE.saturating_mul(1 << doublings.min(MAX_DOUBLINGS))
    }

    fn pause(&self) -> Duration {
        PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(8)).min(MAX_PAUSE)
    }
}

/// The oldest goes if there are too many.
fn make_room<T>(known: &mut Vec<T>) {
    if known.len() >= MAX_SHY {
        known.remove(0);
    }
}

/// The pieces that failed and are not good yet.
#[derive(Debug, Default)]
pub(crate) struct Paroles {
    trials: BTreeMap<PieceIndex, Trial>,
    /// When the next peer may come back to a piece; nothing else tells of that time.
    due: Option<Instant>,
}

impl Paroles {
    pub(crate) fn is_empty(&self) -> bool {
        self.trials.is_empty()
    }

    pub(crate) fn contains(&self, piece: PieceIndex) -> bool {
        self.trials.contains_key(&piece)
    }

    /// It failed, and each of `contributors` may be guilty.
    pub(crate) fn fail(&mut self, piece: PieceIndex, contributors: &[Supplier], now: Instant) {
        let trial = self.trials.entry(piece).or_default();
        trial.failures = trial.failures.saturating_add(1);
        trial.given_up = 0;
        trial.left.clear();
        let until = now + trial.pause();
        contributors.iter().for_each(|&who| trial.shun(who, until));
        self.note_due(until);
    }

    /// `who` had begun it alone and does not end it.
    pub(crate) fn give_up(&mut self, piece: PieceIndex, who: Supplier, now: Instant) {
        let Some(trial) = self.trials.get_mut(&piece) else { return };
        trial.given_up = trial.given_up.saturating_add(1);
        trial.note_left(who);
        let until = now + PAUSE;
        trial.shun(who, until);
        self.note_due(until);
    }

    /// `who` has it alone from now on. A connection with a web seed has no tenure: it is closed if
    /// it is too slow.
    pub(crate) fn begin_tenure(
        &mut self,
        piece: PieceIndex,
        owner: OrderKey,
        who: Supplier,
        now: Instant,
    ) {
        let Some(trial) = self.trials.get_mut(&piece) else { return };
        let until = now + trial.tenure();
        trial.tenure = matches!(owner, OrderKey::Peer(_)).then_some(Tenure { owner, who, until });
        self.note_due(until);
    }

    /// The pieces that peers have had alone for as long as they may, with those peers.
    pub(crate) fn poll_tenures(&mut self, now: Instant) -> Vec<(PieceIndex, OrderKey, Supplier)> {
        let over = |(&piece, trial): (&PieceIndex, &mut Trial)| {
            let tenure = trial.tenure.take_if(|tenure| tenure.until <= now)?;
            Some((piece, tenure.owner, tenure.who))
        };
        self.trials.iter_mut().filter_map(over).collect()
    }

    /// The piece is good, or not wanted any more.
    pub(crate) fn settle(&mut self, piece: PieceIndex) {
        self.trials.remove(&piece);
    }

    /// Whether it is not for others to try it first.
    pub(crate) fn may_try(&self, piece: PieceIndex, who: Supplier, now: Instant) -> bool {
        self.trials
            .get(&piece)
            .is_none_or(|trial| !trial.shy.iter().any(|&(shy, until)| shy == who && now < until))
    }

    /// Whether `who` may go on with what others have begun. One that was never left alone with it
    /// may not: what others have sent of it may be bad, and it may have all of it.
    pub(crate) fn may_share(&self, piece: PieceIndex, who: Supplier) -> bool {
        let trial = self.trials.get(&piece);
        trial.is_none_or(|trial| trial.given_up >= TRIES && trial.left.contains(&who))
    }

    fn note_due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// When a peer may come back to a piece.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due
    }

    /// That time has come.
    pub(crate) fn look_again(&mut self, now: Instant) {
        for trial in self.trials.values_mut() {
            trial.shy.retain(|&(_, until)| now < until);
        }
        let shy = self.trials.values().flat_map(|trial| &trial.shy).map(|&(_, until)| until);
        let tenures = self.trials.values().filter_map(|trial| trial.tenure);
        self.due = shy.chain(tenures.map(|tenure| tenure.until)).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{arena::Key, geometry::Geometry};

    fn who(n: u32) -> Supplier {
        Supplier::WebSeed(n)
    }

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn contributors_of_a_bad_piece_wait_longer_each_time() {
        let piece = Geometry::new(100, 10).unwrap().piece(3).unwrap();
        let mut p = Paroles::default();
        assert!(p.is_empty() && p.may_try(piece, who(1), at(0)) && p.next_due().is_none());
        p.fail(piece, &[who(1), who(2)], at(0));
        assert!(p.contains(piece) && p.may_try(piece, who(3), at(0)));
        assert!(!p.may_try(piece, who(1), at(9)) && p.may_try(piece, who(1), at(10)));
        p.fail(piece, &[who(1)], at(20));
        assert!(
            p.may_try(piece, who(2), at(20))
                && !p.may_try(piece, who(1), at(39))
                && p.may_try(piece, who(1), at(40))
        );
        (0..100).for_each(|_| p.fail(piece, &[who(1)], at(50)));
        assert!(!p.may_try(piece, who(1), at(369)) && p.may_try(piece, who(1), at(370)));
        p.settle(piece);
        assert!(p.is_empty() && p.may_try(piece, who(1), at(50)));
    }

    #[test]
    fn piece_that_several_gave_up_may_be_shared() {
        let piece = Geometry::new(100, 10).unwrap().piece(3).unwrap();
        let mut p = Paroles::default();
        p.give_up(piece, who(1), at(0));
        assert!(p.may_share(piece, who(1)), "it has not failed");
        p.fail(piece, &[who(1)], at(0));
        (0..TRIES).for_each(|n| {
            assert!(!p.may_share(piece, who(2)));
            p.give_up(piece, who(n + 2), at(1));
        });
        assert!(p.may_share(piece, who(2)) && !p.may_try(piece, who(2), at(10)));
        assert!(!p.may_share(piece, who(1)), "it was not tried alone");
        p.fail(piece, &[who(1)], at(2));
        assert!(!p.may_share(piece, who(2)));
        (0..1000).for_each(|n| p.give_up(piece, who(n), at(3)));
        assert_eq!(p.trials[&piece].left.len(), MAX_SHY);
    }

    #[test]
    fn peer_has_a_piece_alone_for_a_bounded_time() {
        let piece = Geometry::new(100, 10).unwrap().piece(3).unwrap();
        let key = |n| Key { index: n, generation: 1 };
        let peer = OrderKey::Peer(key(1));
        let mut p = Paroles::default();
        p.begin_tenure(piece, peer, who(1), at(0));
        assert_eq!(p.next_due(), None, "it is not on parole");
        p.fail(piece, &[], at(0));
        p.begin_tenure(piece, peer, who(1), at(10));
        p.look_again(at(11));
        assert_eq!((p.next_due(), p.poll_tenures(at(129))), (Some(at(130)), vec![]));
        assert_eq!(p.poll_tenures(at(130)), [(piece, peer, who(1))]);
        assert_eq!(p.poll_tenures(at(999)), []);
        // Each has it for longer than the one before.
        p.give_up(piece, who(1), at(130));
        p.begin_tenure(piece, peer, who(2), at(130));
        assert!(p.poll_tenures(at(369)).is_empty() && !p.poll_tenures(at(370)).is_empty());
        p.begin_tenure(piece, OrderKey::WebSeed(key(1)), who(3), at(400));
        assert_eq!(p.poll_tenures(at(9999)), []);
    }

    #[test]
    fn leaving_a_piece_does_not_shorten_the_wait_for_a_failure() {
        let piece = Geometry::new(100, 10).unwrap().piece(3).unwrap();
        let mut p = Paroles::default();
        (0..3).for_each(|_| p.fail(piece, &[who(1)], at(0)));
        p.give_up(piece, who(1), at(5));
        assert!(!p.may_try(piece, who(1), at(39)) && p.may_try(piece, who(1), at(40)));
    }

    #[test]
    fn the_time_to_look_again_is_the_next_end_and_names_are_bounded() {
        let piece = Geometry::new(100, 10).unwrap().piece(3).unwrap();
        let mut p = Paroles::default();
        (0..1000).for_each(|n| p.fail(piece, &[who(n)], at(0)));
        assert_eq!((p.trials[&piece].shy.len(), p.next_due()), (MAX_SHY, Some(at(10))));
        p.look_again(at(10));
        assert_eq!(p.next_due(), Some(at(320)));
        p.look_again(at(320));
        assert!(p.next_due().is_none() && p.trials[&piece].shy.is_empty() && p.contains(piece));
    }
}
