//! Many magnet links at once in one engine that the DHT alone names peers to, and an engine that
//! only takes part in it.

use std::{
    error::Error,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cratetorrent::{Alert, AlertMask, Conf, Reactor, TorrentParams};

use crate::{
    cloud::LINKS,
    measure::{cpu_ns, kib, poll_for},
};

/// How long an engine has to get to know the DHT before anything is measured.
const WARM: Duration = Duration::from_secs(5);

pub(crate) fn run(folder: &Path, limit: Duration, conf: Conf) -> Result<(), Box<dyn Error>> {
    let links = fs::read_to_string(folder.join(LINKS))?;
    let target = folder.join("many");
    let mut reactor = Reactor::new(conf.with(|conf| {
        conf.alerts.mask = AlertMask::STATUS;
        conf.alerts.max = 100_000;
    }))?;
    poll_for(&mut reactor, WARM)?;
    let before = kib("VmRSS")?;

    let began = Instant::now();
    let mut count = 0;
    for link in links.lines() {
        let params = TorrentParams::from_magnet(link.parse()?, &target);
        reactor.verbs().add_torrent(params)?;
        count += 1;
    }
    let added = began.elapsed();
    let (mut turns, mut known) = (Vec::new(), Vec::new());
    while let Some(left) = limit.checked_sub(began.elapsed()) {
        reactor.poll(Some(left.min(Duration::from_millis(100))))?;
        turns.push(reactor.stats().last_turn_us);
        while let Some(alert) = reactor.next_alert() {
            if let Alert::Opened { torrent, .. } = alert {
                known.push(began.elapsed().as_secs_f64());
                // Its data is not wanted.
                reactor.verbs().pause(torrent)?;
            }
        }
    }
    turns.sort_unstable();
    let turn = |part: f64| {
        turns.get((turns.len() as f64 * part) as usize).or(turns.last()).copied().unwrap_or(0)
    };
    println!("links {count} added_ms {:.1}", added.as_secs_f64() * 1e3);
    let marks = known.iter().map(|at| format!("{at:.2}")).collect::<Vec<_>>().join(" ");
    println!("known {marks}");
    println!(
        "turns {} p50_us {} p99_us {} max_us {}",
        turns.len(),
        turn(0.5),
        turn(0.99),
        turn(1.0)
    );
    println!("rss_kib {} peak_kib {} before_kib {before}", kib("VmRSS")?, kib("VmHWM")?);
    Ok(())
}

pub(crate) fn idle(time: Duration, conf: Conf) -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new(conf)?;
    // As long as the table fills.
    poll_for(&mut reactor, Duration::from_secs(60))?;
    let (began, before) = (reactor.verbs().dht_stats(), cpu_ns()?);
    poll_for(&mut reactor, time)?;
    let busy = cpu_ns()? - before;
    let (began, end) = (began.unwrap_or_default(), reactor.verbs().dht_stats());
    let end = end.unwrap_or_default();
    println!("nodes {} sent {}", end.nodes_v4, end.sent - began.sent);
    println!("queries {}", end.queries - began.queries);
    println!("idle_percent {:.4}", busy as f64 / 1e7 / time.as_secs_f64());
    println!("rss_kib {}", kib("VmRSS")?);
    Ok(())
}
