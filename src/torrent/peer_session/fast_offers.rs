//! What the fast extension (BEP 6) lets us offer one peer: pieces that it may ask for while it is
//! choked, and pieces that we suggest.
//!
//! It does not know messages, who is unchoked, or what we have.

use super::fault::{Fault, MAX_CHOKED_REQUESTS, MAX_GREEDY};
use crate::base::geometry::{Block, Geometry, PieceIndex};

/// How often a peer may ask for all of an allowed piece while it is choked.
const FAST_COPIES: u64 = 3;
/// Pieces suggested to a peer that it has not fetched yet.
const MAX_SUGGESTED: usize = 8;

/// The allowed-fast set of one peer, and our suggestions.
#[derive(Debug, Default)]
pub(super) struct FastOffers {
    /// The allowed-fast set, as far as a starting peer needs one.
    allowed: Vec<Allowed>,
    /// Requests for allowed pieces that are used up.
    greedy: u32,
    /// Requests turned down since the peer was choked last.
    turned_down: u32,
    /// Pieces suggested to the peer that it does not have yet.
    suggested: Vec<PieceIndex>,
}

/// A piece of an allowed-fast set.
#[derive(Debug)]
struct Allowed {
    piece: PieceIndex,
    /// We have it and said so.
    told: bool,
    /// Bytes of it that may still be asked for while choked.
    left: u64,
}

/// What becomes of a request of a choked peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Granted,
    UsedUp,
    NotAllowed,
}

impl FastOffers {
    /// The pieces of the peer's allowed-fast set. None is offered yet.
    pub(super) fn set_allowed(&mut self, pieces: Vec<PieceIndex>, geometry: &Geometry) {
        let left = |piece| FAST_COPIES * u64::from(geometry.piece_len(piece));
        let allowed = |piece| Allowed { piece, told: false, left: left(piece) };
        self.allowed = pieces.into_iter().map(allowed).collect();
    }

    /// We have `piece`, which the peer lacks: true if it is of the set and the peer is to be told.
    pub(super) fn offer(&mut self, piece: PieceIndex) -> bool {
        let allowed = self.allowed.iter_mut().find(|a| a.piece == piece && !a.told);
        allowed.map(|allowed| allowed.told = true).is_some()
    }

    fn answer(&mut self, block: Block) -> Answer {
        let Some(allowed) = self.allowed.iter_mut().find(|a| a.told && a.piece == block.piece)
        else {
            return Answer::NotAllowed;
        };
        match allowed.left.checked_sub(u64::from(block.len)) {
            Some(left) => {
                allowed.left = left;
                Answer::Granted
            }
            None => Answer::UsedUp,
        }
    }

    /// A choked peer asks for `block`; `eligible` unless there are too many of its kind, or it has
    /// begun. True if it may. BEP 6 leaves it to us to turn down what we have offered.
    ///
    /// # Errors
    /// If it asks for too much that it may not have.
    pub(super) fn handle_request(&mut self, block: Block, eligible: bool) -> Result<bool, Fault> {
        match if eligible { self.answer(block) } else { Answer::NotAllowed } {
            Answer::Granted => return Ok(true),
            Answer::UsedUp => self.greedy += 1,
            Answer::NotAllowed => self.turned_down += 1,
        }
        if self.greedy > MAX_GREEDY {
            return Err(Fault::Greedy);
        }
        if self.turned_down > MAX_CHOKED_REQUESTS { Err(Fault::ChokedRequests) } else { Ok(false) }
    }

    /// The peer was choked, and had asked for `block` before: whether it may have it all the same.
    pub(super) fn keeps(&mut self, block: Block) -> bool {
        self.answer(block) == Answer::Granted
    }

    /// A choke has begun: what was on its way may be turned down without blame.
    pub(super) fn begin_choke(&mut self) {
        self.turned_down = 0;
    }

    /// Suggests `piece`: true if the peer is to be told, which it is once, and of eight pieces at a
    /// time.
    pub(super) fn suggest(&mut self, piece: PieceIndex) -> bool {
        let news = self.suggested.len() < MAX_SUGGESTED && !self.suggested.contains(&piece);
        if news {
            self.suggested.push(piece);
        }
        news
    }

    /// The peer has `piece` now.
    pub(super) fn forget_suggestion(&mut self, piece: PieceIndex) {
        self.suggested.retain(|&p| p != piece);
    }

    /// Requests for allowed pieces that were used up.
    #[cfg(test)]
    pub(super) fn greedy(&self) -> u32 {
        self.greedy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::BLOCK_LEN;

    fn geometry() -> Geometry {
        Geometry::new(40 * 2 * u64::from(BLOCK_LEN), 2 * BLOCK_LEN).unwrap()
    }

    fn piece(n: u32) -> PieceIndex {
        geometry().piece(n).unwrap()
    }

    #[test]
    fn allowed_piece_is_granted_three_times_once_offered() {
        let mut offers = FastOffers::default();
        offers.set_allowed(vec![piece(3), piece(5)], &geometry());
        let block = |n| geometry().nth_block(piece(3), n).unwrap();
        assert!(!offers.handle_request(block(0), true).unwrap(), "not offered yet");
        assert!(offers.offer(piece(3)) && !offers.offer(piece(3)) && !offers.offer(piece(4)));
        assert!(!offers.handle_request(block(0), false).unwrap(), "not eligible");
        assert!((0..6).all(|n| offers.handle_request(block(n % 2), true).unwrap()));
        assert!(!offers.handle_request(block(0), true).unwrap() && !offers.keeps(block(1)));
        assert_eq!(offers.greedy(), 1);
        assert!((1..MAX_GREEDY).all(|_| !offers.handle_request(block(0), true).unwrap()));
        assert!(matches!(offers.handle_request(block(0), true), Err(Fault::Greedy)));
    }

    #[test]
    fn requests_while_choked_are_counted_anew_in_each_choke() {
        let mut offers = FastOffers::default();
        let block = geometry().nth_block(piece(3), 0).unwrap();
        for _ in 0..2 {
            offers.begin_choke();
            let mut ask = || offers.handle_request(block, true);
            assert!((0..MAX_CHOKED_REQUESTS).all(|_| !ask().unwrap()));
        }
        assert!(matches!(offers.handle_request(block, true), Err(Fault::ChokedRequests)));
    }

    #[test]
    fn eight_pieces_are_suggested_until_one_is_fetched() {
        let mut offers = FastOffers::default();
        assert!((0..8).all(|n| offers.suggest(piece(n))));
        assert!(!offers.suggest(piece(8)));
        offers.forget_suggestion(piece(2));
        assert!(!offers.suggest(piece(3)) && offers.suggest(piece(8)));
    }
}
