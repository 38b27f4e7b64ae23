//! Who may ask us for blocks. For now the plain rule: whoever is interested.

use crate::torrent::{cx::Cx, session::Session};

/// Decides about one peer whose interest may have changed.
pub(crate) fn consider(session: &mut Session, cx: &mut Cx) {
    if session.peer_interested && session.choking {
        session.set_choking(false, cx);
    }
}
