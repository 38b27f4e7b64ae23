//! How many connections there are, and which of two with the same peer stays.

use super::*;

#[test]
fn handshakes_and_connections_are_bounded() {
    let mut t = Trace::leech(Conf::default().with(|conf| {
        conf.peers.max_handshakes = 3;
        conf.peers.max_connections = 5;
    }));
    let waiting: Vec<_> = (0..3).map(|_| t.accept()).collect();
    assert!(t.try_accept().is_none());
    t.raw(waiting[0], &trace::hello(*b"-XX0000-peer.......1"));
    assert!(t.try_accept().is_some());
    assert!(t.try_accept().is_none());
    t.raw(waiting[1], &trace::hello(*b"-XX0000-peer.......2"));
    assert!(t.try_accept().is_some(), "the fifth link");
    t.raw(waiting[2], &trace::hello(*b"-XX0000-peer.......3"));
    assert!(t.try_accept().is_none(), "a sixth would be too many");
    t.lose(waiting[2]);
    assert!(t.try_accept().is_some());
}

#[test]
fn a_torrent_takes_so_many_peers_from_either_side() {
    let mut t = Trace::leech(Conf::default().with(|conf| conf.peers.max_per_torrent = 2));
    let (a, b) = (t.peer(), t.peer());
    let c = t.accept();
    t.raw(c, &trace::hello(*b"-XX0000-another....."));
    assert!(t.is_closed(c) && !t.is_closed(a) && !t.is_closed(b));
    assert!(t.said(c).is_empty());

    // Dials that are under way count too.
    let mut t = Trace::leech(Conf::default().with(|conf| conf.peers.max_per_torrent = 2));
    let dials = t.dial_many(10);
    assert_eq!(dials.len(), 2);
}

#[test]
fn dials_are_bounded_and_the_next_starts_at_an_answer() {
    let mut t = Trace::leech(Conf::default().with(|conf| conf.peers.max_dials = 3));
    let first = t.dial_many(10);
    assert_eq!(first.len(), 3);
    t.connected(first[0]);
    assert_eq!(t.new_dials().len(), 1, "it has answered, though it has said nothing yet");
    t.refused(first[1]);
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn connected_peer_is_refused_in_the_other_direction() {
    // Our id begins with -CT, its id with -XX: the connection that we dial is the one to keep, and
    // both know it.
    let its = |nth: u8| {
        let mut id = *b"-XX0000-peer........";
        id[19] = nth;
        trace::hello(id)
    };
    let mut t = leech();
    let old = t.peer();
    let new = t.dial_back(old);
    t.raw(new, &its(0));
    assert!(t.is_closed(old) && !t.is_closed(new));

    // With an id below ours it is its own connection that stays.
    let mut t = leech();
    let old = t.accept();
    t.raw(old, &trace::hello(*b"-AA0000-peer........"));
    let new = t.dial_back(old);
    t.raw(new, &trace::hello(*b"-AA0000-peer........"));
    assert!(!t.is_closed(old) && t.is_closed(new));

    // Nothing is changed once a block has passed.
    let mut t = leech();
    let old = t.peer();
    t.hear(old, Message::Have(1));
    t.hear(old, Message::Unchoke);
    t.deliver(old, 1, 0);
    let new = t.dial_back(old);
    t.raw(new, &its(0));
    assert!(!t.is_closed(old) && t.is_closed(new));
}

/// The extension handshake of a peer that listens on the port which the trace dials.
fn listens() -> Vec<u8> {
    let mut hello = ExtensionHandshake::default();
    hello.port = Some(6881);
    hello.encode()
}

#[test]
fn a_peer_that_has_dialled_us_is_not_dialled_until_it_goes() {
    // It is known and could not be reached; then it comes by itself and says where it listens.
    let mut t = leech();
    t.name_listener(1);
    let dialled = t.new_dials()[0];
    t.refused(dialled);
    let came = t.peer();
    t.hear(came, Message::Extended { id: 0, payload: &listens() });
    t.pass(50 * S);
    assert!(t.new_dials().is_empty());
    t.lose(came);
    t.pass(10 * S);
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn peer_that_dialled_us_and_refuses_ours_is_not_dialled_again() {
    // It dials while it is dialled, and many clients then close the second connection without a
    // greeting.
    let mut t = leech();
    t.name_listener(1);
    let dialled = t.new_dials()[0];
    t.connected(dialled);
    let came = t.peer();
    t.hear(came, Message::Extended { id: 0, payload: &listens() });
    t.lose(dialled);
    t.pass(50 * S);
    assert!(t.new_dials().is_empty());
    // Another from the same address that says the same changes nothing by its going.
    let other = t.accept_from(came);
    t.raw(other, &trace::hello(*b"-XX0000-another....."));
    t.hear(other, Message::Extended { id: 0, payload: &listens() });
    t.lose(other);
    t.pass(50 * S);
    assert!(t.new_dials().is_empty());
    t.lose(came);
    t.pass(10 * S);
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn peer_known_by_id_is_not_dialled_while_connected() {
    let mut t = leech();
    let old = t.accept();
    t.raw(old, &trace::hello(*b"-AA0000-peer........"));
    let new = t.dial_back(old);
    t.raw(new, &trace::hello(*b"-AA0000-peer........"));
    assert!(!t.is_closed(old) && t.is_closed(new));
    t.pass(50 * S);
    assert!(t.new_dials().is_empty());
    t.lose(old);
    t.pass(10 * S);
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn alerts_tell_who_came_and_why_they_went() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::Have(trace::PIECES));
    let gone = t.alerts().iter().any(
        |a| matches!(a, Alert::PeerGone { reason, .. } if reason.contains("piece 17 of a torrent")),
    );
    assert!(gone && t.alerts().iter().any(|a| matches!(a, Alert::PeerConnected { .. })));
}
