use std::time::Duration;

use super::{clock::Clock, earlier, run_queue::RunQueue};

#[test]
fn the_clock_goes_forward() {
    let clock = Clock::new();
    let a = clock.now();
    let b = clock.now();
    assert!(a <= b);
    assert!(b.since(a) < Duration::from_secs(60));
}

#[test]
fn a_slot_waits_once_and_in_order() {
    let mut queue = RunQueue::default();
    for slot in [5, 1000, 5, 0, 1000] {
        queue.push(slot);
    }
    assert_eq!(queue.len(), 3);
    assert_eq!(queue.pop(), Some(5));
    queue.push(5);
    assert_eq!([queue.pop(), queue.pop(), queue.pop(), queue.pop()], [Some(1000), Some(0), Some(5), None]);
    assert!(queue.is_empty());
}

#[test]
fn no_bound_is_later_than_any() {
    assert_eq!(earlier(None::<u8>, None), None);
    assert_eq!(earlier(Some(1), None), Some(1));
    assert_eq!(earlier(Some(3), Some(2)), Some(2));
}
