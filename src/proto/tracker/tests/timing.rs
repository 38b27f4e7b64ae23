//! Addresses one after the other, and never longer than allowed.

use super::*;

#[test]
fn a_dead_address_makes_room_for_the_next() {
    let mut rig = Rig::new("http://t/announce");
    assert_eq!(rig.wakes_in(), secs(30));
    rig.resolve(&["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"]);
    assert!(matches!(rig.ask(), Ask::Connect { to, .. } if to == target("192.0.2.1:80")));
    assert_eq!(rig.wakes_in(), secs(10));
    rig.pass(secs(9));
    rig.idle();
    rig.pass(secs(1));
    // One that refuses does so at once.
    assert!(matches!(rig.ask(), Ask::Connect { to, .. } if to == target("192.0.2.2:80")));
    rig.call.handle_stream_ended(rig.now, Err("refused".into()));
    assert_eq!(rig.wakes_in(), secs(20));
    rig.connect("192.0.2.3:80");
    rig.ok();
    assert_eq!(rig.done(), answer("192.0.2.3"));
}

#[test]
fn silent_tracker_counts_as_dead() {
    let mut rig = Rig::new("http://t/announce");
    rig.resolve(&["192.0.2.1", "192.0.2.2"]);
    rig.connect("192.0.2.1:80");
    rig.pass(secs(15));
    rig.connect("192.0.2.2:80");
    rig.pass(secs(15));
    assert_eq!(rig.error(), CallError::Timeout);
}

#[test]
fn slow_tracker_that_answers_has_the_whole_timeout() {
    let mut rig = Rig::new("http://t/announce");
    rig.resolve(&["192.0.2.1", "192.0.2.2"]);
    rig.connect("192.0.2.1:80");
    rig.data(b"HTTP");
    assert_eq!(rig.wakes_in(), secs(30));
    rig.pass(secs(29));
    rig.idle();
    // A drop at a time does not prolong it.
    rig.data(b"/1.1");
    rig.pass(secs(1));
    assert_eq!(rig.ask(), Ask::Close);
    assert_eq!(rig.error(), CallError::Timeout);
}

#[test]
fn a_broken_stream_leads_to_the_next_address() {
    let mut rig = Rig::new("http://t/announce");
    rig.resolve(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    rig.connect("192.0.2.1:80");
    rig.data(b"HTTP/1.1 200 OK\r\n");
    rig.call.handle_stream_ended(rig.now, Err("reset".into()));
    rig.connect("192.0.2.2:80");
    rig.call.handle_stream_ended(rig.now, Ok(()));
    rig.connect("192.0.2.3:80");
    rig.call.handle_stream_ended(rig.now, Err("reset".into()));
    assert_eq!(rig.error(), CallError::Stream("reset".into()));
}

#[test]
fn names_and_families() {
    let mut rig = Rig::new("http://t/announce");
    assert!(matches!(rig.ask(), Ask::Resolve { .. }));
    rig.call.handle_resolved(rig.now, Err("no such name".into()));
    assert_eq!(rig.error(), CallError::Resolve("no such name".into()));
    let mut rig = Rig::new("http://t/announce");
    rig.resolve(&[]);
    assert_eq!(rig.error(), CallError::NoAddress);
    for (family, addr) in [(Family::V4, "192.0.2.1:80"), (Family::V6, "[2001:db8::1]:80")] {
        let question = Question::Announce(announce());
        let mut rig =
            Rig::with("http://t/announce", question.clone(), Some(family), &Conf::default());
        rig.resolve(&["2001:db8::1", "192.0.2.1"]);
        rig.connect(addr);
        let other = if family == Family::V4 {
            "http://[2001:db8::1]/announce"
        } else {
            "http://192.0.2.1/announce"
        };
        let mut rig = Rig::with(other, question, Some(family), &Conf::default());
        assert_eq!(rig.error(), CallError::NoAddress);
    }
    let crowd: Vec<String> = (1..200).map(|n| format!("192.0.2.{n}")).collect();
    let mut rig = Rig::new("http://t/announce");
    rig.resolve(&crowd.iter().map(|ip| &**ip).collect::<Vec<_>>());
    let mut tried = 0;
    while let Ask::Connect { .. } = rig.ask() {
        tried += 1;
        rig.call.handle_stream_ended(rig.now, Err("refused".into()));
    }
    assert_eq!(tried, MAX_ADDRESSES);
}

#[test]
fn a_silent_resolver_and_a_farewell_end_in_time() {
    let mut rig = Rig::new("http://t/announce");
    assert!(matches!(rig.ask(), Ask::Resolve { .. }));
    rig.pass(secs(30));
    assert_eq!(rig.error(), CallError::Timeout);
    rig.call.handle_resolved(rig.now, Ok(vec!["192.0.2.1".parse().unwrap()]));
    rig.idle();
    let mut rig = Rig::new("http://192.0.2.1/announce");
    rig.call.set_deadline(rig.now + secs(3));
    rig.connect("192.0.2.1:80");
    assert_eq!(rig.wakes_in(), secs(3));
    rig.call.set_deadline(rig.now + secs(9));
    rig.pass(secs(3));
    assert_eq!(rig.error(), CallError::Timeout);
}
