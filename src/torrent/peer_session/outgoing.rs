//! What is to be said to one peer: messages and blocks on their way to its socket, and the
//! keep-alive where nothing else is said.
//!
//! It does not know what a message is about.

use crate::{
    base::{arena::Key, time::Instant},
    proto::tx::Tx,
    torrent::cx::Cx,
    wire::message::Message,
};

/// The send queue of one peer with its connection's key.
#[derive(Debug)]
pub(super) struct Outgoing {
    link: Key,
    tx: Tx,
    /// When a keep-alive is due: [`PeerConf::keep_alive`](crate::conf::PeerConf::keep_alive) after
    /// the last message.
    keep_alive: Instant,
}

impl Outgoing {
    /// `tx` is what the handshake left to be sent.
    pub(super) fn new(link: Key, tx: Tx, cx: &Cx) -> Self {
        Self { link, tx, keep_alive: cx.now + cx.conf.peers.keep_alive }
    }

    /// The connection.
    pub(super) fn link(&self) -> Key {
        self.link
    }

    /// The send queue.
    pub(super) fn tx(&self) -> &Tx {
        &self.tx
    }

    /// The send queue, to put blocks in or take them out. What is put in leaves only after a
    /// [touch](Self::touch).
    pub(super) fn tx_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// Appends a message. Under a limit blocks may wait long; a message does not wait behind them.
    pub(super) fn say(&mut self, message: &Message<'_>, cx: &mut Cx) {
        if cx.leases.is_up_limited() {
            self.tx.push_urgent(message);
        } else {
            self.tx.push(message);
        }
        self.touch(cx);
    }

    /// Something is to be sent.
    pub(super) fn touch(&mut self, cx: &mut Cx) {
        self.keep_alive = cx.now + cx.conf.peers.keep_alive;
        cx.outbox.flush(self.link);
    }

    /// When the keep-alive is due.
    pub(super) fn deadline(&self) -> Instant {
        self.keep_alive
    }

    /// Says that we live, if nothing else was said for long enough.
    pub(super) fn handle_timeout(&mut self, cx: &mut Cx) {
        if self.keep_alive <= cx.now {
            self.say(&Message::KeepAlive, cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        base::{ids::PeerId, rng::Rng},
        conf::Conf,
    };

    #[test]
    fn keep_alive_is_due_after_silence_of_ours_only() {
        let mut cx = Cx::new(Conf::default(), Rng::new(1), PeerId([1; 20]), Instant::ZERO);
        let link = Key { index: 1, generation: 1 };
        let mut outgoing = Outgoing::new(link, Tx::default(), &cx);
        let due = outgoing.deadline();
        cx.now = Instant::ZERO + Duration::from_secs(1);
        outgoing.handle_timeout(&mut cx);
        assert!(outgoing.tx().len() == 0 && cx.outbox.poll_flush().is_none());
        outgoing.say(&Message::Interested, &mut cx);
        assert_eq!(outgoing.deadline(), cx.now + cx.conf.peers.keep_alive);
        cx.now = due;
        outgoing.handle_timeout(&mut cx);
        assert_eq!(outgoing.tx().len(), 5, "it has spoken since");
        cx.now = outgoing.deadline();
        outgoing.handle_timeout(&mut cx);
        assert_eq!((outgoing.tx().len(), cx.outbox.poll_flush()), (9, Some(link)));
    }
}
