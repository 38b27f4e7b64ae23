//! What we give, as logs of single sessions: what a choked peer may have, what is suggested, who
//! wants nothing, what a super-seed shows, and what those get who ask for more than their part.

mod allowed_fast;
mod attacks;
mod suggesting;
mod super_seeding;
mod wants_nothing;

use std::{collections::BTreeSet, time::Duration};

use cratetorrent::{
    Alert, Bitfield, Conf,
    wire::{
        extension::{ExtensionHandshake, UPLOAD_ONLY_ID},
        message::Message,
        metainfo::BLOCK_LEN,
    },
};

use crate::trace::{self, PIECES, PeerNo, Trace, block};

const S: Duration = Duration::from_secs(1);

fn seed() -> Trace {
    Trace::seed(Conf::default())
}

fn leech() -> Trace {
    Trace::leech(Conf::default())
}

/// The pieces in lines like `have 3`.
fn pieces(said: &[String], what: &str) -> Vec<u32> {
    said.iter()
        .filter_map(|line| line.strip_prefix(what)?.strip_prefix(' ')?.parse().ok())
        .collect()
}

fn count(said: &[String], what: &str) -> usize {
    said.iter().filter(|line| line.starts_with(what)).count()
}

fn hear_all(t: &mut Trace, peer: PeerNo, messages: impl IntoIterator<Item = Message<'static>>) {
    let mut bytes = Vec::new();
    messages.into_iter().for_each(|message| message.encode_into(&mut bytes));
    t.raw(peer, &bytes);
}

fn has(pieces: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut bits = vec![0; PIECES.div_ceil(8) as usize];
    pieces.into_iter().for_each(|piece| bits[piece as usize / 8] |= 0x80 >> (piece % 8));
    bits
}

fn hello(change: impl FnOnce(&mut ExtensionHandshake)) -> Vec<u8> {
    let mut hello = ExtensionHandshake::default();
    change(&mut hello);
    hello.encode()
}

fn greet(t: &mut Trace, peer: PeerNo, change: impl FnOnce(&mut ExtensionHandshake)) {
    t.hear(peer, Message::Extended { id: 0, payload: &hello(change) });
}

/// What the extension handshakes among these messages say of `upload_only`.
fn upload_only(extended: &[(u8, Vec<u8>)]) -> Vec<Option<bool>> {
    let hellos = extended.iter().filter(|(id, _)| *id == 0);
    hellos.map(|(_, payload)| ExtensionHandshake::decode(payload).unwrap().upload_only).collect()
}

/// `from`, which has everything, delivers until nothing is asked for.
fn complete(t: &mut Trace, from: PeerNo) {
    loop {
        let asked = t.asked(from);
        t.said(from);
        if asked.is_empty() {
            break;
        }
        asked.into_iter().for_each(|(piece, nth)| t.deliver(from, piece, nth));
    }
    assert_eq!(t.stats().have, PIECES);
}
