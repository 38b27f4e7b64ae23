//! The queue of alerts when it is full, and when newer ones make older ones pointless.

use super::*;
use crate::base::{arena::Key, ids::TorrentId, job::StoreError};

fn id(n: u32) -> TorrentId {
    TorrentId(Key { index: n, generation: n })
}

#[test]
fn overflow_is_told_and_terminal_events_survive() {
    let mut alerts = Alerts::new(AlertMask::ALL, 2);
    for n in 0..5 {
        alerts.push(Alert::Saved { torrent: id(n) });
    }
    alerts.push(Alert::Removed { torrent: id(9) });
    assert!(matches!(alerts.pop(), Some(Alert::Dropped { count: 3 })));
    assert!(matches!(alerts.pop(), Some(Alert::Saved { torrent }) if torrent == id(0)));
    assert!(matches!(alerts.pop(), Some(Alert::Saved { torrent }) if torrent == id(1)));
    assert!(matches!(alerts.pop(), Some(Alert::Removed { .. })));
    assert!(alerts.pop().is_none() && alerts.is_empty());
}

#[test]
fn failure_and_recovery_are_told_in_the_order_in_which_they_came() {
    let mut alerts = Alerts::new(AlertMask::ALL, 10);
    let error = || StoreError::new(crate::base::job::StoreOp::Write, "f", std::io::ErrorKind::StorageFull.into());
    let failed = || Alert::StorageFailed { torrent: id(1), error: error(), retry_in: None };
    alerts.push(failed());
    alerts.push(Alert::StorageRecovered { torrent: id(1) });
    alerts.push(failed());
    let told: Vec<Alert> = std::iter::from_fn(|| alerts.pop()).collect();
    assert!(matches!(told[..], [Alert::StorageRecovered { .. }, Alert::StorageFailed { .. }]), "{told:?}");
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
    alerts.push(Alert::Saved { torrent: id(1) });
    assert!(matches!(alerts.pop(), Some(Alert::Checking { done: 2, .. })));
    assert!(alerts.pop().is_none());
}
