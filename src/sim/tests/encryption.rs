//! Encrypted connections (MSE): which policies can speak with each other, and how soon.

use super::*;
use crate::conf::{CryptoMethod, Encryption};

const POLICIES: [Encryption; 4] =
    [Encryption::Off, Encryption::Allowed, Encryption::Preferred, Encryption::Required];

fn with(policy: Encryption) -> Conf {
    loud().with(|conf| conf.encryption.policy = policy)
}

/// A seed and a leech that dials it.
fn pair(seed: Conf, leech: Conf) -> (World, NodeId, NodeId) {
    let sample = file(1 << 20, 64 * 1024);
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
            pair(with(Encryption::Required).with(set), with(Encryption::Allowed));
        world.set_line(from, Line::crumbs());
        assert!(world.run_until(|w| w.stats(to).peers > 0, secs(10)));
        assert_eq!(method(&world, to), Some(preferred));
        assert!(world.run_until(|w| w.is_complete(to), secs(600)));
    }
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
