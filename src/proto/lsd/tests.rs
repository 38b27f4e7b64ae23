//! When torrents are announced to neighbours, and who is heard.

use std::collections::BTreeMap;

use super::*;

fn at(s: u64) -> Instant {
    Instant::from_micros(s * 1_000_000)
}

fn hash(n: u8) -> InfoHash {
    InfoHash([n; 20])
}

fn lsd(interfaces: &[u8], torrents: u8) -> Lsd<u8> {
    let mut lsd = Lsd::new("c0ffee".into(), LsdConf::default());
    lsd.set_interfaces(at(0), interfaces.iter().map(|&i| (i, 1000 + u16::from(i))));
    (0..torrents).for_each(|n| lsd.add(hash(n)));
    lsd
}

/// All packets up to then: second, interface, torrents.
fn packets(lsd: &mut Lsd<u8>, from: u64, until: u64) -> Vec<(u64, u8, Vec<u8>)> {
    let mut sent = Vec::new();
    let mut now = at(from);
    while now <= at(until) {
        while let Some((interface, announce)) = lsd.poll_announce(now) {
            let torrents = announce.info_hashes.iter().map(|hash| hash.0[0]).collect();
            assert_eq!(announce.port, 1000 + u16::from(interface));
            sent.push((now.as_micros() / 1_000_000, interface, torrents));
        }
        match lsd.next_deadline() {
            Some(next) => {
                assert!(next > now, "nothing is due after all is polled");
                now = next;
            }
            None => break,
        }
    }
    sent
}

#[test]
fn torrent_is_announced_at_once_then_every_five_minutes() {
    let sent = packets(&mut lsd(&[1, 2], 1), 0, 700);
    let expected: Vec<_> =
        [0, 300, 600].into_iter().flat_map(|s| [(s, 1, vec![0]), (s, 2, vec![0])]).collect();
    assert_eq!(sent, expected);
    assert_eq!(packets(&mut lsd(&[1], 0), 0, 700), []);
    assert_eq!(packets(&mut lsd(&[], 1), 0, 700), []);
}

#[test]
fn torrents_share_packets_and_packets_are_a_minute_apart() {
    let sent = packets(&mut lsd(&[1], 50), 0, 500);
    let times: Vec<(u64, usize)> = sent.iter().map(|(s, _, hashes)| (*s, hashes.len())).collect();
    assert_eq!(times, [(0, 20), (60, 20), (120, 10), (300, 20), (360, 20), (420, 10)]);
    // With more torrents than fit into five minutes each has its turn, later.
    let mut count = BTreeMap::<u8, u32>::new();
    for (.., hashes) in packets(&mut lsd(&[1], 200), 0, 600 * 20) {
        hashes.into_iter().for_each(|hash| *count.entry(hash).or_default() += 1);
    }
    assert_eq!(count.len(), 200);
    assert!(count.values().all(|n| (19..=21).contains(n)), "{count:?}");
}

#[test]
fn new_torrent_comes_first_and_a_removed_one_not_at_all() {
    let mut lsd = lsd(&[1], 10);
    assert_eq!(packets(&mut lsd, 0, 0)[0].2.len(), 10);
    lsd.add(hash(200));
    lsd.remove(hash(5));
    lsd.remove(hash(200));
    lsd.add(hash(201));
    assert_eq!(packets(&mut lsd, 60, 60), [(60, 1, vec![201])]);
    // An interface that appears hears of everything.
    lsd.set_interfaces(at(61), [(1, 1001), (2, 1002)]);
    let all = vec![0, 1, 2, 3, 4, 6, 7, 8, 9, 201];
    assert_eq!(packets(&mut lsd, 61, 61), [(61, 2, all.clone())]);
    assert_eq!(packets(&mut lsd, 62, 300), [(300, 1, all)]);
}

#[test]
fn neighbour_is_heard_and_its_port_is_the_one_it_names() {
    let mut lsd = lsd(&[1], 3);
    let announce = LsdAnnounce {
        port: 7,
        info_hashes: vec![hash(2), hash(99), hash(0)],
        cookie: Some("other".into()),
    };
    let heard = |lsd: &mut Lsd<u8>, from: &str, announce: &LsdAnnounce| {
        lsd.handle_packet(at(0), from.parse().unwrap(), announce)
    };
    let peer = Some(("192.168.1.5:7".parse().unwrap(), vec![hash(2), hash(0)]));
    assert_eq!(heard(&mut lsd, "192.168.1.5:6771", &announce), peer);
    let link: SocketAddr = "[fe80::1%3]:7".parse().unwrap();
    assert_eq!(heard(&mut lsd, "[fe80::1%3]:6771", &announce).unwrap().0, link);
    assert_eq!(heard(&mut lsd, "192.0.2.1:6771", &announce), None, "it is not local");
    let own = LsdAnnounce { cookie: Some("c0ffee".into()), ..announce.clone() };
    assert_eq!(heard(&mut lsd, "192.168.1.5:6771", &own), None);
    // Our own network is near, whatever its addresses.
    let networks = [("192.0.2.0", 25), ("2001:db8::", 64), ("::", 0)];
    lsd.set_networks(networks.map(|(net, bits)| (net.parse().unwrap(), bits)).to_vec());
    for (from, near) in [
        ("192.0.2.1:6771", true),
        ("192.0.2.128:6771", false),
        ("[2001:db8::7:1]:6771", true),
        ("[2001:db8:0:1::1]:6771", false),
    ] {
        assert_eq!(heard(&mut lsd, from, &announce).is_some(), near, "{from}");
    }
    let unknown = LsdAnnounce { info_hashes: vec![hash(99)], ..announce };
    assert_eq!(heard(&mut lsd, "192.168.1.5:6771", &unknown), None);
}

#[test]
fn flooding_neighbour_is_not_heard_and_neighbours_are_bounded() {
    let mut lsd = lsd(&[1], 1);
    let announce = LsdAnnounce { port: 7, info_hashes: vec![hash(0)], cookie: None };
    let mut heard = |s: u64, from: [u8; 4]| {
        lsd.handle_packet(at(s), SocketAddr::from((from, 6771)), &announce).is_some()
    };
    assert_eq!((0..500).filter(|_| heard(0, [10, 0, 0, 1])).count(), 100);
    assert!(heard(0, [10, 0, 0, 2]), "others are heard");
    assert_eq!((0..500).filter(|_| heard(30, [10, 0, 0, 1])).count(), 30);
    (0..=255).for_each(|n| assert!(heard(40, [10, 0, 1, n])));
    assert!((0..=255).all(|n| heard(41, [10, 0, 2, n])));
    assert_eq!(lsd.neighbours.len(), 256);
}
