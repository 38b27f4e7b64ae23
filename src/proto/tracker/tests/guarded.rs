//! The author of a torrent or the operator of a tracker cannot make us ask services near us.

use super::*;

fn refusal(url: &str, ips: &[&str]) -> Refusal {
    let mut rig = Rig::new(url);
    if !ips.is_empty() {
        rig.resolve(ips);
    }
    match rig.error() {
        CallError::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ssrf_loopback_is_asked_at_announce_only() {
    for url in [
        "http://127.0.0.1:631/admin",
        "http://127.1.2.3/",
        "http://[::1]/x/announce",
        "http://[::ffff:127.0.0.1]/y",
    ] {
        assert_eq!(refusal(url, &[]), Refusal::Path, "{url}");
    }
    for path in ["announce/../x", "announce/x", "announce%2f..%2fx", "announce;x", "x?/announce"] {
        assert_eq!(refusal(&format!("http://127.0.0.1/{path}"), &[]), Refusal::Path, "{path}");
    }
    for path in ["announce", "announce?key=1", "announce.php"] {
        Rig::new(&format!("http://127.0.0.1:6969/{path}")).connect("127.0.0.1:6969");
    }
}

#[test]
fn ssrf_names_of_loopback_are_no_way_around() {
    assert_eq!(refusal("http://localhost/x", &["127.0.0.1", "::1"]), Refusal::Path);
    assert_eq!(refusal("http://innocent.example/x", &["::ffff:127.0.0.1"]), Refusal::Path);
    let mut both = Rig::new("http://innocent.example/x");
    both.resolve(&["127.0.0.1", "192.0.2.1"]);
    both.connect("192.0.2.1:80");
    both.call.handle_stream_ended(both.now, Err("reset".into()));
    assert_eq!(both.error(), CallError::Stream("reset".into()));
}

#[test]
fn ssrf_link_local_is_asked_at_announce_only() {
    assert_eq!(refusal("http://169.254.169.254/latest/meta-data/", &[]), Refusal::Path);
    assert_eq!(
        refusal("http://metadata.example/x", &["169.254.169.254", "fe80::1"]),
        Refusal::Path
    );
}

#[test]
fn ssrf_scrapes_of_loopback_are_scrapes() {
    let scrape = |url: &str| Rig::with(url, Question::Scrape(vec![HASH]), None, &Conf::default());
    scrape("http://127.0.0.1/announce").connect("127.0.0.1:80");
    scrape("http://127.0.0.1/scrape").connect("127.0.0.1:80");
    assert_eq!(scrape("http://127.0.0.1/x/announce").error(), CallError::Refused(Refusal::Path));
    let mut announce = Rig::new("http://127.0.0.1/scrape");
    assert_eq!(announce.error(), CallError::Refused(Refusal::Path));
}

#[test]
fn ssrf_udp_needs_no_path() {
    let mut rig = Rig::new("udp://127.0.0.1:6969");
    assert!(matches!(rig.ask(), Ask::Datagram { .. }));
}

#[test]
fn ssrf_unspecified_and_multicast_addresses_are_never_asked() {
    for host in [
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[ff02::1]",
        "[::ffff:0.0.0.0]",
    ] {
        for url in [format!("http://{host}/announce"), format!("udp://{host}:1/announce")] {
            assert_eq!(refusal(&url, &[]), Refusal::NoHost, "{url}");
            let conf = Conf::default().with(|conf| conf.trackers.ssrf_mitigation = false);
            let mut rig = Rig::with(&url, Question::Announce(announce()), None, &conf);
            assert_eq!(rig.error(), CallError::Refused(Refusal::NoHost), "{url}");
        }
    }
}

#[test]
fn ssrf_redirects_do_not_lead_nearer() {
    let redirect = |from: &str, location: &str| {
        let mut rig = Rig::new(&format!("http://{from}/announce"));
        rig.connect(&format!("{from}:80"));
        rig.follow(location);
        rig.ask()
    };
    let near = Ask::Done(Err(CallError::Refused(Refusal::Nearer)));
    for ip in [
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "127.0.0.1",
        "100.64.0.1",
        "[::1]",
        "[fd00::1]",
        "[64:ff9b::7f00:1]",
    ] {
        for path in ["", "announce"] {
            assert_eq!(redirect("192.0.2.1", &format!("http://{ip}/{path}")), near, "{ip}");
        }
    }
    assert_eq!(redirect("10.0.0.1", "http://127.0.0.1/announce"), near);
    assert!(matches!(redirect("10.0.0.1", "http://10.0.0.2/x"), Ask::Connect { .. }));
    assert!(matches!(redirect("10.0.0.1", "http://192.0.2.1/x"), Ask::Connect { .. }));
    assert!(matches!(redirect("127.0.0.1", "http://127.0.0.1:81/announce"), Ask::Connect { .. }));
    assert_eq!(
        redirect("127.0.0.1", "http://127.0.0.1:81/x"),
        Ask::Done(Err(CallError::Refused(Refusal::Path)))
    );
}

#[test]
fn ssrf_redirects_by_name_and_by_detours_do_not_lead_nearer() {
    let mut rig = Rig::new("http://192.0.2.1/announce");
    rig.connect("192.0.2.1:80");
    rig.follow("http://inner.example/announce");
    rig.resolve(&["10.0.0.1", "127.0.0.1"]);
    assert_eq!(rig.error(), CallError::Refused(Refusal::Nearer));
    // A name that has another address the second time.
    let mut rig = Rig::new("http://t.example/announce");
    rig.resolve(&["192.0.2.1"]);
    rig.connect("192.0.2.1:80");
    rig.follow("/announce");
    rig.resolve(&["127.0.0.1"]);
    assert_eq!(rig.error(), CallError::Refused(Refusal::Nearer));
    // Once it was the internet, it stays so: the tracker on this machine sends us there and back.
    let mut rig = Rig::new("http://127.0.0.1/announce");
    rig.connect("127.0.0.1:80");
    rig.follow("http://192.0.2.1/");
    rig.connect("192.0.2.1:80");
    rig.follow("http://127.0.0.1/announce");
    assert_eq!(rig.error(), CallError::Refused(Refusal::Nearer));
}

#[test]
fn ssrf_mitigation_can_be_switched_off() {
    let conf = Conf::default().with(|conf| conf.trackers.ssrf_mitigation = false);
    let mut rig =
        Rig::with("http://192.0.2.1/announce", Question::Announce(announce()), None, &conf);
    rig.connect("192.0.2.1:80");
    rig.follow("http://127.0.0.1/x");
    rig.connect("127.0.0.1:80");
}
