//! The queue of alerts when it is full, and when newer ones make older ones pointless.

use super::*;
use crate::base::{arena::Key, ids::TorrentId, storage::StoreError};

fn id(n: u32) -> TorrentId {
    TorrentId(Key { index: n, generation: n })
}

#[test]
fn overflow_is_told_and_terminal_events_survive() {
    let mut alerts = Alerts::new(AlertMask::ALL, 2);
    for n in 0..5 {
        alerts.push(Alert::Saved { torrent: id(n), have: 0 });
    }
    alerts.push(Alert::Removed { torrent: id(9) });
    assert!(matches!(alerts.pop(), Some(Alert::Dropped { count: 3 })));
    assert!(matches!(alerts.pop(), Some(Alert::Saved { torrent, .. }) if torrent == id(0)));
    assert!(matches!(alerts.pop(), Some(Alert::Saved { torrent, .. }) if torrent == id(1)));
    assert!(matches!(alerts.pop(), Some(Alert::Removed { .. })));
    assert!(alerts.pop().is_none() && alerts.is_empty());
}

#[test]
fn failure_and_recovery_alerts_keep_their_order() {
    let mut alerts = Alerts::new(AlertMask::ALL, 10);
    let error = || {
        StoreError::new(
            crate::base::storage::StoreOp::Write,
            "f",
            std::io::ErrorKind::StorageFull.into(),
        )
    };
    let failed = || Alert::StorageFailed { torrent: id(1), error: error(), retry_in: None };
    alerts.push(failed());
    alerts.push(Alert::StorageRecovered { torrent: id(1) });
    alerts.push(failed());
    let told: Vec<Alert> = std::iter::from_fn(|| alerts.pop()).collect();
    assert!(
        matches!(told[..], [Alert::StorageRecovered { .. }, Alert::StorageFailed { .. }]),
        "{told:?}"
    );
}

#[test]
fn a_mark_keeps_its_place_whatever_is_left_out_or_replaced() {
    let mut alerts = Alerts::new(AlertMask::PROGRESS, 1);
    alerts.push(Alert::Checking { torrent: id(1), done: 1, total: 3 });
    alerts.push(Alert::Marked { mark: 5 });
    alerts.push(Alert::Checking { torrent: id(2), done: 1, total: 3 });
    alerts.push(Alert::Checking { torrent: id(1), done: 2, total: 3 });
    assert!(matches!(alerts.pop(), Some(Alert::Dropped { count: 1 })));
    assert!(matches!(alerts.pop(), Some(Alert::Marked { mark: 5 })));
    assert!(matches!(alerts.pop(), Some(Alert::Checking { done: 2, .. })));
}

#[test]
fn progress_is_coalesced_and_the_mask_holds() {
    let mut alerts = Alerts::new(AlertMask::PROGRESS, 10);
    for done in 0..3 {
        alerts.push(Alert::Checking { torrent: id(1), done, total: 3 });
    }
    alerts.push(Alert::Saved { torrent: id(1), have: 0 });
    assert!(matches!(alerts.pop(), Some(Alert::Checking { done: 2, .. })));
    assert!(alerts.pop().is_none());
}

#[test]
fn waiting_alerts_are_bounded_by_the_limit_and_a_few_a_torrent() {
    const TORRENTS: u32 = 100;
    let limit = 50;
    let mut alerts = Alerts::new(AlertMask::ALL, limit);
    let error = || {
        StoreError::new(
            crate::base::storage::StoreOp::Write,
            "f",
            std::io::ErrorKind::StorageFull.into(),
        )
    };
    for round in 0..200 {
        for n in 0..TORRENTS {
            // In another order each time.
            let torrent = id(n.wrapping_mul(37).wrapping_add(round) % TORRENTS);
            alerts.push(Alert::Checking { torrent, done: round, total: 300 });
            alerts.push(Alert::Progress { torrent, stats: Default::default() });
            alerts.push(Alert::StorageFailed { torrent, error: error(), retry_in: None });
            alerts.push(Alert::StorageRecovered { torrent });
            alerts.push(Alert::Finished { torrent, stats: Default::default() });
            alerts.push(Alert::Distrusted { torrent, error: error() });
            alerts.push(Alert::NoPeers { torrent, no_peers: Default::default() });
            alerts.push(Alert::Saved { torrent, have: 0 });
        }
        alerts.push(Alert::SessionFailed { error: error(), retry_in: None });
        assert!(alerts.len() <= limit + KEPT_A_TORRENT * TORRENTS as usize + 2, "{}", alerts.len());
    }
    assert!(alerts.dropped_ever() > 10_000);
    let told: Vec<Alert> = std::iter::from_fn(|| alerts.pop()).collect();
    // The newest of each torrent is told, once.
    let failed = told.iter().filter(|alert| matches!(alert, Alert::StorageFailed { .. })).count();
    assert_eq!(failed, TORRENTS as usize);
    assert!(alerts.is_empty() && alerts.subjects.is_empty() && alerts.droppable == 0);
}

#[test]
fn progress_that_waits_among_many_is_replaced_and_not_doubled() {
    let mut alerts = Alerts::new(AlertMask::ALL, 10);
    alerts.push(Alert::Checking { torrent: id(0), done: 1, total: 3 });
    for mark in 0..500 {
        alerts.push(Alert::Marked { mark });
    }
    alerts.push(Alert::Checking { torrent: id(0), done: 2, total: 3 });
    assert!(matches!(alerts.pop(), Some(Alert::Marked { mark: 0 })));
    assert_eq!(alerts.len(), 500);
}
