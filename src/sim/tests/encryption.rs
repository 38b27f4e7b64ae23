//! Encrypted connections (MSE): which policies can speak with each other, and how soon.

use super::*;
use crate::{
    conf::{CryptoMethod, CryptoMethods, Encryption, EncryptionConf},
    torrent::{ConnectionParams, TorrentParams},
};

const POLICIES: [Encryption; 4] =
    [Encryption::Off, Encryption::Allowed, Encryption::Preferred, Encryption::Required];

fn with(policy: Encryption) -> Conf {
    loud().with(|conf| conf.encryption.policy = policy)
}

/// A seed and a leech that dials it.
fn pair(seed: Conf, leech: Conf) -> (World, NodeId, NodeId) {
    pair_of(1 << 20, seed, leech)
}

/// The same with a file of so many bytes.
fn pair_of(len: u64, seed: Conf, leech: Conf) -> (World, NodeId, NodeId) {
    let sample = file(len, 64 * 1024);
    let mut world = World::new(1);
    let (from, to) = (world.node(seed), world.node(leech));
    world.seed_with(from, &sample);
    world.download(to, &sample, &[from]);
    (world, from, to)
}

/// How the leech's connection is encrypted.
fn method(world: &World, leech: NodeId) -> Option<CryptoMethod> {
    let peers = world.engine(leech).peers(world.torrent(leech));
    peers.first().and_then(|peer| peer.encryption)
}

#[test]
fn all_policies_but_off_and_required_meet_within_a_second() {
    for seed in POLICIES {
        for leech in POLICIES {
            let (mut world, _, to) = pair(with(seed), with(leech));
            let met = world.run_until(|w| w.stats(to).peers > 0, secs(1));
            let both = [seed, leech];
            let can = !(both.contains(&Encryption::Off) && both.contains(&Encryption::Required));
            assert_eq!(met, can, "{seed:?} seeds for {leech:?}");
            if can {
                let encrypted = method(&world, to).is_some();
                let wanted = both.contains(&Encryption::Required)
                    || (leech == Encryption::Preferred && seed != Encryption::Off);
                assert_eq!(encrypted, wanted, "{seed:?} seeds for {leech:?}");
                assert!(world.run_until(|w| w.is_complete(to), secs(60)));
            } else {
                assert!(!world.run_until(|w| w.stats(to).peers > 0, secs(600)));
            }
        }
    }
}

#[test]
fn method_that_the_seed_chooses_carries_a_download() {
    for (preferred, only) in [
        (CryptoMethod::Plaintext, false),
        (CryptoMethod::Plaintext, true),
        (CryptoMethod::Rc4, false),
        (CryptoMethod::Rc4, true),
    ] {
        let set = |conf: &mut Conf| {
            conf.encryption.method = preferred;
            conf.encryption.only_method = only;
        };
        let (mut world, from, to) =
            pair_of(1 << 18, with(Encryption::Required).with(set), with(Encryption::Allowed));
        world.set_line(from, Line::crumbs());
        assert!(world.run_until(|w| w.stats(to).peers > 0, secs(10)));
        assert_eq!(method(&world, to), Some(preferred));
        assert!(world.run_until(|w| w.is_complete(to), secs(600)));
    }
}

#[test]
fn default_costs_nothing_behind_the_handshake() {
    assert_eq!(EncryptionConf::default().method, CryptoMethod::Plaintext);
    assert!(!EncryptionConf::default().only_method, "both are offered");
    // From either end, and with any taste of the other, what is not demanded is not ciphered.
    for (seed, leech) in [
        (Encryption::Allowed, Encryption::Preferred),
        (Encryption::Preferred, Encryption::Preferred),
        (Encryption::Required, Encryption::Allowed),
    ] {
        let (mut world, _, to) = pair(with(seed), with(leech));
        assert!(world.run_until(|w| w.stats(to).peers > 0, secs(1)));
        assert_eq!(method(&world, to), Some(CryptoMethod::Plaintext), "{seed:?}, {leech:?}");
    }
    // The one that was dialled decides: it has the default, whatever the dialler prefers.
    let likes = |conf: Conf| conf.with(|conf| conf.encryption.method = CryptoMethod::Rc4);
    let (mut world, _, to) = pair(with(Encryption::Allowed), likes(with(Encryption::Preferred)));
    assert!(world.run_until(|w| w.stats(to).peers > 0, secs(1)));
    assert_eq!(method(&world, to), Some(CryptoMethod::Plaintext));
}

#[test]
fn ends_with_no_method_in_common_do_not_meet() {
    let only = |method| {
        with(Encryption::Required).with(|conf| {
            conf.encryption.method = method;
            conf.encryption.only_method = true;
        })
    };
    let (mut world, _, to) = pair(only(CryptoMethod::Rc4), only(CryptoMethod::Plaintext));
    assert!(!world.run_until(|w| w.stats(to).peers > 0, secs(600)));
}

#[test]
fn box_that_resets_plain_handshakes_costs_a_round_trip() {
    for policy in [Encryption::Allowed, Encryption::Off] {
        let (mut world, from, to) = pair(with(policy), with(policy));
        world.set_censored(from, true);
        let met = world.run_until(|w| w.stats(to).peers > 0, secs(1));
        assert_eq!(met, policy == Encryption::Allowed);
        assert_eq!(met, world.run_until(|w| w.is_complete(to), secs(600)));
    }
}

#[test]
fn peer_that_was_reached_encrypted_is_dialled_so_again() {
    let (mut world, from, to) = pair(with(Encryption::Required), with(Encryption::Allowed));
    let dials = |world: &World| world.trace().matches("dials").count();
    assert!(world.run_until(|w| w.stats(to).peers > 0, secs(1)));
    assert_eq!(dials(&world), 2, "in plain, then encrypted");
    world.kill(from);
    world.run_for(secs(1));
    world.restart(from);
    let before = dials(&world);
    assert!(world.run_until(|w| w.stats(to).peers > 0, secs(300)));
    assert!(method(&world, to).is_some());
    assert!(dials(&world) > before);
}

#[test]
fn torrent_with_a_policy_of_its_own_leaves_the_others_alone() {
    let [one, two] = ["one", "two"].map(|name| Sample::file(name, 1 << 20, 64 * 1024, 5).unwrap());
    let mut world = World::new(5);
    let (from, to) = (world.node(with(Encryption::Allowed)), world.node(with(Encryption::Allowed)));
    let (strict, lax) = (world.seed_with(from, &one), world.seed_with(from, &two));
    world.tell(from, |e| e.set_encryption(strict, Some(Encryption::Required)).unwrap());
    world.run_for(secs(1));
    let (params, second) = (world.params(to, &one, &[from]), world.download(to, &two, &[from]));
    let encryption = Some(Encryption::Allowed);
    let connections = ConnectionParams { encryption, ..ConnectionParams::default() };
    let first = world.add_torrent(to, &one, TorrentParams { connections, ..params });
    assert_eq!(world.engine(from).encryption(strict), Ok(Encryption::Required));
    assert_eq!(world.engine(from).encryption(lax), Ok(Encryption::Allowed));
    let of = |world: &World, id| world.engine(to).peers(id).first().map(|peer| peer.encryption);
    let met = |w: &World| of(w, first).is_some() && of(w, second).is_some();
    assert!(world.run_until(met, secs(2)));
    assert!(matches!(of(&world, first), Some(Some(_))), "the seed takes nothing else");
    assert_eq!(of(&world, second), Some(None));
}

#[test]
fn policy_of_a_torrent_yields_to_off_and_required_of_the_engine() {
    for (engine, own) in
        [(Encryption::Off, Encryption::Required), (Encryption::Required, Encryption::Off)]
    {
        let (mut world, from, to) = pair(with(engine), with(engine));
        let (seed, leech) = (world.torrent(from), world.torrent(to));
        world.tell(from, |e| e.set_encryption(seed, Some(own)).unwrap());
        world.tell(to, |e| e.set_encryption(leech, Some(own)).unwrap());
        assert_eq!(world.engine(to).encryption(leech), Ok(engine));
        assert!(world.run_until(|w| w.stats(to).peers > 0, secs(1)));
        assert_eq!(method(&world, to).is_some(), engine == Encryption::Required);
    }
}

const RC4: CryptoMethods = CryptoMethods { preferred: CryptoMethod::Rc4, only: true };
const PLAIN: CryptoMethods = CryptoMethods { preferred: CryptoMethod::Plaintext, only: true };

#[test]
fn torrent_with_methods_of_its_own_leaves_the_others_alone() {
    let [one, two] = ["one", "two"].map(|name| Sample::file(name, 1 << 20, 64 * 1024, 5).unwrap());
    // What one end says of the torrent holds, whichever end dials.
    for own in [[Some(RC4), None], [None, Some(RC4)]] {
        let mut world = World::new(5);
        let conf = || with(Encryption::Preferred);
        let (from, to) = (world.node(conf()), world.node(conf()));
        let (first, _) = (world.seed_with(from, &one), world.seed_with(from, &two));
        world.tell(from, |engine| engine.set_crypto_methods(first, own[0]).unwrap());
        world.run_for(secs(1));
        let (params, second) = (world.params(to, &one, &[from]), world.download(to, &two, &[from]));
        let connections = ConnectionParams { methods: own[1], ..ConnectionParams::default() };
        let first = world.add_torrent(to, &one, TorrentParams { connections, ..params });
        let of = |world: &World, id| world.engine(to).peers(id).first().map(|peer| peer.encryption);
        let met = |w: &World| of(w, first).is_some() && of(w, second).is_some();
        assert!(world.run_until(met, secs(2)));
        assert_eq!(of(&world, first), Some(Some(CryptoMethod::Rc4)), "{own:?}");
        assert_eq!(of(&world, second), Some(Some(CryptoMethod::Plaintext)), "{own:?}");
        let both = |w: &World| {
            [first, second].iter().all(|&id| w.engine(to).stats(id).unwrap().have == 16)
        };
        assert!(world.run_until(both, secs(60)));
    }
}

#[test]
fn peer_that_offers_no_method_of_the_torrent_is_turned_down() {
    for (own, offer) in [(RC4, PLAIN), (PLAIN, RC4)] {
        let (mut world, from, to) = pair(with(Encryption::Required), with(Encryption::Required));
        let (seed, leech) = (world.torrent(from), world.torrent(to));
        world.tell(from, |engine| engine.set_crypto_methods(seed, Some(own)).unwrap());
        world.tell(to, |engine| engine.set_crypto_methods(leech, Some(offer)).unwrap());
        assert!(!world.run_until(|w| w.stats(to).peers > 0, secs(60)));
        assert!(world.trace().contains("node 0 has closed its connection to node 1"));
        // They meet as soon as the torrent takes it.
        world.tell(from, |engine| engine.set_crypto_methods(seed, None).unwrap());
        assert!(world.run_until(|w| w.stats(to).peers > 0, secs(600)));
        assert_eq!(method(&world, to), Some(offer.preferred));
    }
}

#[test]
fn only_method_of_the_engine_holds_for_every_torrent() {
    let conf = with(Encryption::Required).with(|conf| {
        conf.encryption.method = CryptoMethod::Rc4;
        conf.encryption.only_method = true;
    });
    let (mut world, from, to) = pair(conf, with(Encryption::Required));
    let seed = world.torrent(from);
    world.tell(from, |engine| engine.set_crypto_methods(seed, Some(PLAIN)).unwrap());
    assert_eq!(world.engine(from).crypto_methods(seed), Ok(RC4));
    assert!(world.run_until(|w| w.stats(to).peers > 0, secs(1)));
    assert_eq!(method(&world, to), Some(CryptoMethod::Rc4));
}

#[test]
fn connection_that_new_methods_exclude_ends_and_comes_back() {
    let (mut world, from, to) = pair(with(Encryption::Required), with(Encryption::Required));
    world.set_line(from, Line::crumbs());
    let torrent = world.torrent(to);
    assert!(world.run_until(|w| w.stats(to).peers > 0, secs(1)));
    assert_eq!(method(&world, to), Some(CryptoMethod::Plaintext));
    world.tell(to, |engine| engine.set_crypto_methods(torrent, Some(RC4)).unwrap());
    assert_eq!(world.stats(to).peers, 0);
    assert!(world.run_until(|w| w.stats(to).peers > 0, secs(600)));
    assert_eq!(method(&world, to), Some(CryptoMethod::Rc4));
    // Both fit: nothing ends.
    world.tell(to, |engine| engine.set_crypto_methods(torrent, None).unwrap());
    assert_eq!(world.stats(to).peers, 1);
}

#[test]
fn connection_that_a_new_policy_excludes_ends_and_comes_back() {
    let (mut world, from, to) = pair(with(Encryption::Allowed), with(Encryption::Allowed));
    world.set_line(from, Line::crumbs());
    let torrent = world.torrent(to);
    assert!(world.run_until(|w| w.stats(to).peers > 0, secs(1)));
    assert_eq!(method(&world, to), None);
    for (own, encrypted) in [(Encryption::Required, true), (Encryption::Off, false)] {
        world.tell(to, |engine| engine.set_encryption(torrent, Some(own)).unwrap());
        assert_eq!(world.stats(to).peers, 0, "{own:?}");
        assert!(world.run_until(|w| w.stats(to).peers > 0, secs(600)), "{own:?}");
        assert_eq!(method(&world, to).is_some(), encrypted, "{own:?}");
    }
    // Both kinds fit: nothing ends.
    world.tell(to, |engine| engine.set_encryption(torrent, None).unwrap());
    assert_eq!(world.stats(to).peers, 1);
}

#[test]
fn peer_with_a_policy_of_its_own_is_dialled_by_it() {
    let sample = file(1 << 20, 64 * 1024);
    let mut world = World::new(1);
    let (one, two) = (world.node(with(Encryption::Allowed)), world.node(with(Encryption::Allowed)));
    let to = world.node(with(Encryption::Allowed));
    [one, two].into_iter().for_each(|node| _ = world.seed_with(node, &sample));
    let torrent = world.download(to, &sample, &[]);
    let addrs = [one, two].map(|node| world.addr(node));
    world.tell(to, |engine| {
        let own = Some(Encryption::Required);
        assert_eq!(engine.set_peer_encryption(torrent, addrs[0], own), Ok(false), "unknown");
        engine.pause(torrent).unwrap();
        addrs.iter().for_each(|&addr| engine.add_peer(torrent, addr).unwrap());
        assert_eq!(engine.set_peer_encryption(torrent, addrs[0], own), Ok(true));
        engine.resume(torrent).unwrap();
    });
    assert!(world.run_until(|w| w.stats(to).peers == 2, secs(2)));
    let peers = world.engine(to).peers(torrent);
    let encrypted = |addr| peers.iter().find(|peer| peer.addr == addr).unwrap().encryption;
    assert!(encrypted(addrs[0]).is_some() && encrypted(addrs[1]).is_none());
}

#[test]
fn session_folder_keeps_policy_and_methods_of_a_torrent() {
    let sample = file(1 << 18, 64 * 1024);
    let mut world = World::new(1);
    let conf = with(Encryption::Allowed).with(|conf| conf.session.dir = Some("/session".into()));
    let node = world.node(conf);
    let torrent = world.download(node, &sample, &[]);
    world.run_for(secs(1));
    world.tell(node, |engine| {
        engine.set_encryption(torrent, Some(Encryption::Preferred)).unwrap();
        engine.set_crypto_methods(torrent, Some(RC4)).unwrap();
    });
    world.run_for(secs(5));
    world.kill(node);
    world.run_for(secs(1));
    world.restart(node);
    let torrent = world.torrent(node);
    assert_eq!(world.engine(node).encryption(torrent), Ok(Encryption::Preferred));
    assert_eq!(world.engine(node).crypto_methods(torrent), Ok(RC4));
}
