//! Encrypted connections (MSE) with each client, where one end takes no others: the client, or
//! ours. The other end has its defaults, and both seed in turn.

use super::{
    clients::Client,
    transfer::{self, Demand, Way},
};

#[test]
fn encrypted_libtorrent() {
    both_ways(Client::Libtorrent);
}

#[test]
fn encrypted_transmission() {
    both_ways(Client::Transmission);
}

#[test]
fn encrypted_aria2() {
    both_ways(Client::Aria2);
}

#[test]
fn encrypted_qbittorrent() {
    both_ways(Client::Qbittorrent);
}

#[test]
fn encrypted_rtorrent() {
    both_ways(Client::Rtorrent);
}

fn both_ways(client: Client) {
    let demand = |demand| Way { demand: Some(demand), ..Way::default() };
    let ways = [demand(Demand::Theirs), demand(Demand::Ours)];
    transfer::both_ways(&format!("encrypted connections with {client:?}"), client, &ways);
}
