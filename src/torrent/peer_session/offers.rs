//! What one peer may have of us beyond "an unchoked peer may ask for what we have": pieces for
//! the time it is choked and pieces that we suggest (BEP 6), whether it wants anything at all (BEP
//! 21), and what a super-seed shows it (BEP 16).
//!
//! It does not know how blocks are read and sent, nor who is unchoked.

#[cfg(test)]
mod tests;

use super::{
    PeerSession,
    fault::{Fault, MAX_INVALID_REQUESTS},
};
use crate::{
    base::{
        bitfield::Bitfield,
        geometry::{Block, PieceIndex},
    },
    proto::allowed_fast::allowed_fast,
    torrent::{cx::Cx, progress::Contributor, swarm::Swarm},
    wire::{
        extension::{ExtensionHandshake, UPLOAD_ONLY, UPLOAD_ONLY_ID},
        message::Message,
    },
};

/// How often a peer may ask for all of an allowed piece while it is choked.
const FAST_COPIES: u64 = 3;
/// Requests for allowed pieces beyond that, after which a peer is let go.
pub(super) const MAX_GREEDY: u32 = 50;
/// Other requests in one choke, after which a peer is let go. What was on its way when the choke
/// came is less.
pub(super) const MAX_CHOKED_REQUESTS: u32 = 2000;
/// Pieces suggested to a peer that it has not fetched yet.
const MAX_SUGGESTED: usize = 8;
/// Haves that one peer may be sent at once when super-seeding ends; with more to say the connection
/// begins anew.
const MAX_HAVES: u32 = 32 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    /// Its allowed-fast set, as far as a starting peer needs one.
    offers: Vec<Offer>,
    /// It is choked and served all the same, and counted among those in the ledger.
    pub(super) favoured: bool,
    /// Requests for offers that are used up.
    greedy: u32,
    /// Requests turned down since it was choked last.
    turned_down: u32,
    /// Pieces suggested to it that it does not have yet.
    suggested: Vec<PieceIndex>,
    /// What it says of its interest. An upload-only peer has none, whatever it says.
    says_interested: bool,
    /// It wants no data.
    upload_only: bool,
    /// Under which id it wants to hear that we want none.
    upload_only_id: Option<u8>,
    /// The pieces that a super-seed has shown it. `None`: whatever we have.
    shown: Option<Bitfield>,
}

/// A piece of an allowed-fast set.
#[derive(Debug)]
struct Offer {
    piece: PieceIndex,
    /// We have it and said so.
    made: bool,
    /// Bytes of it that may still be asked for while choked.
    left: u64,
}

/// What becomes of a request of a choked peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Favour {
    Granted,
    UsedUp,
    None,
}

impl Offers {
    /// Whether the peer may know that we have `piece`.
    fn shows(&self, piece: PieceIndex) -> bool {
        self.shown.as_ref().is_none_or(|shown| shown.has(piece))
    }

    /// A choked peer asks for `block`.
    fn ask(&mut self, block: Block) -> Favour {
        let Some(offer) = self.offers.iter_mut().find(|o| o.made && o.piece == block.piece) else {
            return Favour::None;
        };
        match offer.left.checked_sub(u64::from(block.len)) {
            Some(left) => {
                offer.left = left;
                Favour::Granted
            }
            None => Favour::UsedUp,
        }
    }
}

// What it asks for.

/// Our own extension handshake, for a peer at `who`.
pub(super) fn our_handshake(
    who: &Contributor,
    upload_only: Option<bool>,
    cx: &Cx,
) -> ExtensionHandshake {
    let mut hello = ExtensionHandshake::default();
    hello.version = Some(concat!("cratetorrent ", env!("CARGO_PKG_VERSION")).to_owned());
    hello.port = cx.leases.ports().towards(who.addr.ip());
    hello.your_ip = Some(who.addr.ip().to_canonical());
    hello.reqq = u32::try_from(cx.conf.uploads.max_requests).ok();
    hello.upload_only = upload_only;
    // There is room for one name.
    let _ = hello.set(UPLOAD_ONLY, UPLOAD_ONLY_ID);
    hello
}

impl PeerSession {
    pub(super) fn handle_request(
        &mut self,
        piece: u32,
        begin: u32,
        len: u32,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        let sane = swarm.geometry.range(piece, begin, len).ok().filter(|b| {
            b.len <= cx.conf.uploads.max_request
                && swarm.have.has(b.piece)
                && self.offers.shows(b.piece)
        });
        let Some(block) = sane else {
            self.invalid_requests += 1;
            if self.invalid_requests > MAX_INVALID_REQUESTS {
                return Err(Fault::InvalidRequests);
            }
            if self.terms.fast {
                self.say(&Message::Reject { piece, begin, len }, cx);
            }
            return Ok(());
        };
        if !self.may_ask(block, swarm, cx)?
            || !self.uploads.push(block, cx.conf.uploads.max_requests)
        {
            self.reject(block, cx);
        } else if let Some(ledger) = &mut swarm.super_seed {
            ledger.handle_request(cx.now, self.link, block, &swarm.geometry);
        }
        self.count_favour(swarm);
        Ok(())
    }

    /// Whether it may ask for `block` now: it is not choked, or has a favour left and is one of
    /// few. BEP 6 leaves it to us to turn down what we have offered if we lack the means or the
    /// peer has begun.
    fn may_ask(&mut self, block: Block, swarm: &Swarm, cx: &Cx) -> Result<bool, Fault> {
        if !self.choking {
            return Ok(true);
        }
        // In a crowd all begin at once: to serve every choked peer a little would divide the line
        // as if there were no slots.
        let busy = !self.offers.favoured && swarm.favoured >= swarm.max_favoured;
        let begun = self.has.count() as usize >= cx.conf.uploads.allowed_fast;
        match if busy || begun { Favour::None } else { self.offers.ask(block) } {
            Favour::Granted => return Ok(true),
            Favour::UsedUp => self.offers.greedy += 1,
            Favour::None => self.offers.turned_down += 1,
        }
        if self.offers.greedy > MAX_GREEDY {
            return Err(Fault::Greedy);
        }
        if self.offers.turned_down > MAX_CHOKED_REQUESTS {
            Err(Fault::ChokedRequests)
        } else {
            Ok(false)
        }
    }

    /// Whether it is choked and has blocks on their way all the same, one of which only the place
    /// is kept among them: that is read again.
    pub(super) fn is_served_choked(&self) -> bool {
        self.choking && (self.uploads.is_due() || self.uploads.is_reading() || self.tx.has_blocks())
    }

    /// Counts it among those that are choked and served all the same, as long as it is.
    pub(crate) fn count_favour(&mut self, swarm: &mut Swarm) {
        let favoured = self.is_served_choked();
        match (std::mem::replace(&mut self.offers.favoured, favoured), favoured) {
            (false, true) => swarm.favoured += 1,
            (true, false) => swarm.favoured = swarm.favoured.saturating_sub(1),
            _ => {}
        }
    }

    /// It is over.
    pub(super) fn forget_favour(&mut self, swarm: &mut Swarm) {
        swarm.favoured =
            swarm.favoured.saturating_sub(usize::from(std::mem::take(&mut self.offers.favoured)));
    }

    /// It was choked: what it has asked for is turned down, but for what it may have while choked
    /// (BEP 6).
    pub(super) fn reject_waiting(&mut self, cx: &mut Cx) {
        for block in self.uploads.clear() {
            let granted = self.offers.ask(block) == Favour::Granted;
            if !granted || !self.uploads.push(block, cx.conf.uploads.max_requests) {
                self.reject(block, cx);
            }
        }
        self.offers.turned_down = 0;
    }

    // What we offer.

    /// It has told what it has. If that is little, it is offered pieces to begin with (BEP 6: a
    /// starting peer has fewer than `k`).
    pub(super) fn offer_pieces(&mut self, swarm: &Swarm, cx: &mut Cx) {
        let k = cx.conf.uploads.allowed_fast;
        if !self.terms.fast
            || self.is_upload_only()
            || self.offers.shown.is_some()
            || self.has.count() as usize >= k
        {
            return;
        }
        let set = allowed_fast(self.who.addr.ip(), swarm.info_hash, &swarm.geometry, k);
        let left = |piece| FAST_COPIES * u64::from(swarm.geometry.piece_len(piece));
        self.offers.offers =
            set.into_iter().map(|piece| Offer { piece, made: false, left: left(piece) }).collect();
        for at in 0..self.offers.offers.len() {
            if let Some(piece) =
                self.offers.offers.get(at).map(|o| o.piece).filter(|&p| swarm.have.has(p))
            {
                self.offer(piece, cx);
            }
        }
    }

    /// We have `piece`: if it is of the set of a peer that can use it, it is offered.
    pub(super) fn offer(&mut self, piece: PieceIndex, cx: &mut Cx) {
        if self.has.has(piece) || self.has.count() as usize >= cx.conf.uploads.allowed_fast {
            return;
        }
        if let Some(offer) = self.offers.offers.iter_mut().find(|o| o.piece == piece && !o.made) {
            offer.made = true;
            self.say(&Message::AllowedFast(piece.get()), cx);
        }
    }

    /// We have `piece` at hand: if the peer wants anything and lacks this, it is told so, once (BEP
    /// 6).
    pub(crate) fn suggest(&mut self, piece: PieceIndex, cx: &mut Cx) {
        let Offers { suggested, shown, .. } = &mut self.offers;
        let wants =
            self.terms.fast && self.peer_interested && shown.is_none() && !self.has.has(piece);
        if wants && suggested.len() < MAX_SUGGESTED && !suggested.contains(&piece) {
            suggested.push(piece);
            self.say(&Message::Suggest(piece.get()), cx);
        }
    }

    /// It has `piece` now.
    pub(super) fn forget_suggestion(&mut self, piece: PieceIndex) {
        self.offers.suggested.retain(|&p| p != piece);
    }

    // Who wants no data.

    /// Whether it wants no data: it has everything, or says so (BEP 21).
    pub(crate) fn is_upload_only(&self) -> bool {
        self.offers.upload_only || self.has.is_full()
    }

    /// It says whether it is interested.
    pub(super) fn handle_interest(&mut self, interested: bool, swarm: &mut Swarm, cx: &Cx) {
        self.offers.says_interested = interested;
        self.weigh_interest();
        if !interested && let Some(ledger) = &mut swarm.super_seed {
            ledger.handle_not_interested(cx.now, self.link);
        }
    }

    /// It says whether it wants no data.
    pub(super) fn handle_upload_only(&mut self, upload_only: bool, swarm: &mut Swarm) {
        self.offers.upload_only = upload_only;
        self.weigh_interest();
        swarm.super_seed.iter_mut().for_each(|ledger| ledger.look_again());
    }

    fn weigh_interest(&mut self) {
        self.peer_interested = self.offers.says_interested && !self.offers.upload_only;
    }

    /// What its extension handshake says of all that. What it does not mention has not changed.
    pub(super) fn handle_wishes(&mut self, hello: &ExtensionHandshake, swarm: &mut Swarm) {
        if let Some((_, id)) = hello.extensions().find(|(name, _)| *name == UPLOAD_ONLY) {
            self.offers.upload_only_id = Some(id).filter(|&id| id != 0);
        }
        if let Some(upload_only) = hello.upload_only {
            self.handle_upload_only(upload_only, swarm);
        }
    }

    /// Tells it that we want no data, or do so again: by the message it asked for, or by another
    /// extension handshake.
    pub(crate) fn tell_upload_only(&mut self, upload_only: bool, cx: &mut Cx) {
        if let Some(id) = self.offers.upload_only_id {
            self.say(&Message::Extended { id, payload: &[u8::from(upload_only)] }, cx);
        } else if self.terms.extended {
            let payload = our_handshake(&self.who, Some(upload_only), cx).encode();
            self.say(&Message::Extended { id: 0, payload: &payload }, cx);
        }
    }

    // What a super-seed shows.

    /// The pieces that we pretend to have, if we do.
    pub(crate) fn shown(&self) -> Option<&Bitfield> {
        self.offers.shown.as_ref()
    }

    /// Begins a session in which we pretend to have nothing.
    pub(super) fn hide_all(&mut self, pieces: u32) {
        self.offers.shown = Some(Bitfield::none(pieces));
    }

    /// Whether a peer that we pretend to has introduced itself, as far as it must.
    pub(crate) fn is_known(&self) -> bool {
        self.told || !self.terms.fast
    }

    /// Pretends to have got `piece`.
    pub(crate) fn show(&mut self, piece: PieceIndex, cx: &mut Cx) {
        if self.offers.shown.as_mut().is_some_and(|shown| shown.set(piece)) {
            self.say(&Message::Have(piece.get()), cx);
        }
    }

    /// Pretends no more. False if it would take too many Haves to say so.
    #[must_use]
    pub(crate) fn show_all(&mut self, swarm: &Swarm, cx: &mut Cx) -> bool {
        let Some(shown) = self.offers.shown.take() else { return true };
        if swarm.have.count().saturating_sub(shown.count()) > MAX_HAVES {
            return false;
        }
        for piece in swarm.geometry.pieces().filter(|&p| swarm.have.has(p) && !shown.has(p)) {
            self.say(&Message::Have(piece.get()), cx);
        }
        true
    }
}
