//! The explorer itself: plans as text, and failures that shrink. Seeds of it are run by
//! `sim::tests::chaos`.

use super::*;

#[test]
fn plans_survive_being_written_down() {
    for seed in 0..200 {
        let plan = Plan::random(seed);
        assert_eq!(plan.to_string().parse(), Ok(plan));
    }
    let text = "seed 5; torrent 0 piece=20000; file 0 len=4000; file 0 pad; node 3 sequential; \
                at 500 node=3 kill=200 power";
    let plan: Plan = text.parse().unwrap();
    assert_eq!(plan.to_string(), text);
    assert_eq!(plan.of(Kind::At)[0].get("power"), Some(1));
    for bad in [
        "",
        "seed",
        "seed x",
        "node 1",
        "seed 1; cow 2",
        "seed 1; node",
        "seed 1; node 1 colour=3",
        "seed 1; node 1 links=many",
    ] {
        assert!(bad.parse::<Plan>().is_err(), "{bad:?}");
    }
}

#[test]
fn any_plan_can_be_run() {
    for text in [
        "seed 1",
        "seed 1; torrent 0",
        "seed 1; file 0",
        "seed 1; torrent 0 piece=0; file 0 len=0",
        "seed 1; torrent 0; file 0 pad",
        "seed 1; torrent 7 piece=99999999999; file 7 len=5; file 7; node 0; node 0; node 9; \
         at 3 node=77 kill; peer 5 torrent=9",
        "seed 1; torrent 0; file 0 len=20000; node 1 links=0 run=0 memory=0 pipeline=0 dials=0 \
         copies=0 save=0 checks=0 allowed=1000",
        "seed 1; torrent 0; file 0 len=20000; node 1 sndbuf=0 window=0 segment=0 bandwidth=0 up=0 \
         down=0; peer 0 reqq=0 flap=0",
        "seed 1; torrent 0; file 0 len=20000; node 0 nat=9 house; \
         node 1 nat house alone queued downloads=0 seeds=0 total=0 skips=9",
        "seed 1; torrent 0; file 0; tracker 3 interval=0; tracker 3; tracker 4 hangs unknown; \
         node 1 alone flaky spikes spike session",
        "seed 1; torrent 0; file 0; node 1; at 1 node=1 move=9 adopt=9 rename=9 wish=9 file=9 \
         position=9 again erase; at 2 vanish restart",
        "seed 1; torrent 0; file 0; node 1; web 0 manner=99 much=0; web 0 manner=9 much=99999",
        "seed 1; torrent 0; file 0; node 0 proxy=9; node 1 proxy=77; at 9 node=1 proxy=6 time=900",
        "seed 1; torrent 0; file 0; at 1 apart oneway flaky jump silent tracker=7 refuse hang \
         spikes lying rot corrupt misdirect bad len=0",
        "seed 1; torrent 0; file 0; node 1; at 1 node=1 rot=99999999999 dated=99999999999 \
         backdated=99999999999 oneway=1 time=0 ratio",
        "seed 1; torrent 0 format=1; file 0; file 0 len=0; node 1; at 1 node=1 read=99999999999; \
         at 2 read",
    ] {
        if let Err(failure) = run(&text.parse().unwrap()) {
            assert!(
                failure.what.starts_with("a plan without")
                    || failure.what.starts_with("no torrent"),
                "{text}: {failure}"
            );
        }
    }
}

#[test]
fn a_failure_shrinks_to_what_it_needs() {
    // Made to fail by one value above ten of one item.
    let plan: Plan = "seed 3; torrent 0 piece=40000; file 0 len=123456; node 0 latency=20; \
                      node 1 links=9; node 2 disk=50; peer 16 bad=3; at 100 node=1 kill=20; \
                      at 200 node=2 recheck; at 300 node=1 short"
        .parse()
        .unwrap();
    let fails = |plan: &Plan| {
        plan.of(Kind::Node).iter().any(|node| node.get("disk").is_some_and(|ms| ms > 10))
    };
    let failure = Failure { what: "made up".into(), details: String::new() };
    let small = shrink::shrink_with(
        &plan,
        &failure,
        |plan| if fails(plan) { Some(failure.clone()) } else { None },
        |_| true,
    );
    assert_eq!(small.0.to_string(), "seed 3; node 2 disk=20");
}
