//! The lifecycle by itself: what each event makes of each phase.

use super::*;
use crate::{
    alert::Phase,
    base::bitfield::Bitfield,
    torrent::queue_request::{Check, OpeningTurn},
};

fn added() -> Lifecycle {
    Lifecycle::new(true, Trust::State, false, false, None)
}

fn checker() -> Checker {
    Checker::new(Bitfield::none(3))
}

/// One whose storage is open.
fn opened(mut lifecycle: Lifecycle) -> Lifecycle {
    assert!(lifecycle.open());
    lifecycle.check(checker(), true);
    lifecycle.finish_check();
    lifecycle
}

#[test]
fn added_torrent_opens_checks_downloads_and_seeds() {
    let mut l = added();
    assert_eq!(l.phase(false), Phase::Opening);
    assert_eq!(l.queue_request().check, Check::Due(OpeningTurn::Now));
    assert!(l.open() && !l.open());
    assert_eq!(l.queue_request().check, Check::Going);
    assert!(l.check(checker(), true), "every step of a new torrent is told");
    assert_eq!(l.phase(false), Phase::Checking);
    assert!(!l.is_active() && l.is_savable());
    assert!(l.finish_check());
    assert_eq!(l.phase(false), Phase::Downloading);
    assert!(l.is_active() && !l.is_finished());
    assert!(l.finish() && !l.finish());
    l.note_whole(true);
    assert_eq!(l.phase(true), Phase::Seeding);
    assert_eq!(l.queue_request().lane, Lane::Seed);
    l.unfinish();
    assert!(!l.is_finished());
    assert_eq!(l.queue_request().lane, Lane::Download);
}

#[test]
fn restored_seed_is_dormant_until_needed_and_tells_nothing() {
    for as_saved in [true, false] {
        let mut l = added();
        l.restore(true, true);
        assert!(l.is_dormant() && l.is_finished() && l.is_ready_to_wake());
        assert_eq!(l.phase(true), Phase::Seeding);
        assert!(l.is_oversleeping(false) && !l.is_oversleeping(true));
        assert!(l.queue_request().could_run && l.queue_request().lane == Lane::Seed);
        assert!(l.wake() && !l.wake());
        assert!(l.is_waking() && l.open());
        assert_eq!(l.check(checker(), as_saved), !as_saved);
        assert_eq!(l.is_ready_to_wake(), as_saved);
        assert_eq!(l.finish_check(), !as_saved);
        assert!(!l.is_ready_to_wake() && l.is_active());
    }
}

#[test]
fn paused_torrent_is_dormant_and_incomplete_one_is_opened() {
    let mut l = Lifecycle::new(true, Trust::State, true, false, None);
    l.restore(true, false);
    assert!(l.is_dormant() && !l.is_oversleeping(false) && !l.is_finished());
    assert_eq!(l.phase(false), Phase::Paused);
    let mut l = added();
    l.restore(true, false);
    assert!(!l.is_dormant() && l.is_ready_to_wake());
    assert_eq!(l.queue_request().check, Check::Due(OpeningTurn::Now));
}

#[test]
fn queue_lets_run_and_pause_puts_torrent_in_line_again() {
    let mut l = Lifecycle::new(true, Trust::State, false, true, Some(7));
    assert!(l.rests() && l.queue_request().held);
    assert_eq!(l.queue_request().order, Some(7));
    assert_eq!(l.phase(false), Phase::Queued);
    assert!(l.set_held(false) && !l.set_held(false));
    let mut l = opened(l);
    assert!(l.is_active());
    assert!(l.pause() && !l.pause());
    assert!(l.queue_request().held && !l.queue_request().could_run);
    assert!(l.unpause() && !l.unpause());
    assert_eq!(l.phase(false), Phase::Queued);
    l.set_held(false);
    // What runs goes on when the queue begins or ceases to decide.
    assert!(l.set_queued(false) && !l.queue_request().queued && l.is_active());
    assert!(!l.set_held(true) && l.is_active());
    assert!(l.set_queued(true) && l.is_active());
    assert_eq!(l.queue_request().order, None);
}

#[test]
fn storage_that_cannot_be_opened_stalls_until_retried() {
    let mut l = added();
    l.open();
    assert!(!l.retry_open());
    l.handle_open_failed();
    assert!(l.is_failing() && l.is_unopened());
    assert_eq!(l.phase(false), Phase::Stalled);
    assert_eq!(l.queue_request().check, Check::No);
    assert!(l.retry_open() && !l.is_failing());
    assert_eq!(l.queue_request().check, Check::Due(OpeningTurn::Now));
}

#[test]
fn failing_disk_stalls_until_it_works_again() {
    let mut l = opened(added());
    assert!(!l.handle_disk_recovery());
    l.handle_disk_failure();
    l.note_given_up();
    assert_eq!(l.phase(false), Phase::Stalled);
    assert!(l.is_active() && !l.queue_request().could_run);
    assert!(l.take_given_up() && !l.take_given_up());
    assert!(l.handle_disk_recovery() && !l.is_failing());
    assert_eq!(l.phase(false), Phase::Downloading);
    l.handle_disk_failure();
    l.pause();
    assert_eq!(l.phase(false), Phase::Paused);
}

#[test]
fn missing_data_is_looked_for_until_it_is_back() {
    let mut l = opened(added());
    l.ask_vanish();
    assert!(l.has_lost_data() && !l.is_missing() && !l.is_active());
    assert_eq!(l.phase(true), Phase::Missing);
    l.lose_data();
    assert!(l.is_missing() && l.next().is_none());
    assert_eq!(l.phase(true), Phase::Missing);
    l.handle_data_back();
    assert!(!l.has_lost_data());
    assert_eq!(l.queue_request().check, Check::Due(OpeningTurn::Now));
}

#[test]
fn recheck_reopens_without_trust_and_saved_state_ends_that() {
    let mut l = opened(Lifecycle::new(true, Trust::Files, false, false, None));
    assert!(l.distrust() && !l.distrust());
    assert_eq!(l.phase(true), Phase::Opening);
    assert!(!l.is_active() && !l.trust_saved_state());
    assert_eq!(l.next(), Some(Next::Reopen { trust: Trust::Nothing }));
    l.reopen(Trust::Nothing);
    let mut l = opened(l);
    assert_eq!(l.trust(), Trust::Nothing);
    assert!(l.trust_saved_state() && !l.trust_saved_state());
    assert_eq!(l.trust(), Trust::State);
    // A recheck is told to the record, whatever was believed before.
    assert!(l.distrust() && !l.distrust());
    l.reopen(Trust::Nothing);
    // One that is elsewhere stays there until its state is saved.
    l.note_elsewhere();
    assert!(!l.distrust());
    assert_eq!(l.next(), Some(Next::Reopen { trust: Trust::Elsewhere }));
    l.reopen(Trust::Elsewhere);
    let mut l = opened(l);
    assert!(l.trust_saved_state() && l.trust() == Trust::State);
    // The trust of an opening that is to come is what is kept.
    l.ask_reopen(Trust::Nothing);
    assert_eq!((l.trust(), l.trust_to_keep()), (Trust::State, Trust::Nothing));
}

#[test]
fn end_goes_one_way_and_the_furthest_wish_counts() {
    let mut l = opened(added());
    l.close(End::Remove);
    l.close(End::Shutdown);
    assert_eq!(l.next(), Some(Next::Close(End::Remove)));
    assert!(l.is_removed() && !l.is_removed_with_data() && !l.is_over());
    // Nothing else comes in between.
    l.ask_vanish();
    l.ask_reopen(Trust::Nothing);
    assert_eq!(l.next(), Some(Next::Close(End::Remove)));
    assert_eq!(l.phase(true), Phase::Closing);
    l.begin_to_close();
    l.close(End::RemoveWithData);
    assert!(l.is_over() && l.is_pending() && l.is_removed_with_data() && l.next().is_none());
    l.begin_to_forget();
    assert!(l.is_forgetting() && !l.is_closed());
    l.finish_closing();
    assert!(l.is_closed() && l.phase(true) == Phase::Closing);
    // And without a wish there is no end.
    let mut l = opened(added());
    l.begin_to_close();
    assert!(l.is_active());
}

#[test]
fn torrent_without_metainfo_keeps_its_peers_while_it_opens() {
    let mut l = Lifecycle::new(false, Trust::State, false, true, None);
    assert_eq!((l.phase(false), l.queue_request().check), (Phase::Queued, Check::No));
    assert!(l.queue_request().could_run && !l.open() && !l.is_active());
    l.set_held(false);
    assert_eq!(l.phase(false), Phase::Metadata);
    l.restore(false, false);
    assert!(l.is_active() && !l.is_exchanging() && l.awaits_metadata());
    l.handle_metadata();
    assert!(l.is_active() && !l.is_waking() && l.queue_request().could_run);
    assert_eq!(l.queue_request().check, Check::Due(OpeningTurn::Queued));
    assert!(l.open() && l.is_active());
    assert!(l.check(checker(), true) && l.is_active() && !l.is_exchanging());
    assert!(l.finish_check() && l.is_exchanging());
    // One that is to be checked goes on waiting, and is opened so.
    let mut l = Lifecycle::new(false, Trust::State, false, false, None);
    assert!(l.distrust() && !l.distrust() && !l.is_pending() && l.is_active());
    l.handle_metadata();
    assert_eq!((l.trust(), l.next()), (Trust::Nothing, None));
    assert!(l.open() && l.is_active());
    // One that cannot be opened has no use of peers.
    let mut l = Lifecycle::new(false, Trust::State, false, false, None);
    l.handle_metadata();
    l.open();
    l.handle_open_failed();
    assert!(!l.is_active());
}
