//! The invariants by name, and what says that one does not hold. How each is checked is not known
//! here.

/// The names, as they are in the message of a panic, and what each promises of every engine.
pub const INVARIANTS: &[(&str, &str)] = &[
    ("had-is-true", "each piece that it says it has is on its disk, byte for byte"),
    (
        "loses-nothing",
        "a verified byte that was on its disk is still on it, as safe as it was, \
         unless its user removed it",
    ),
    ("served-is-true", "each block that it sends is the torrent's, unless its disk has spoilt it"),
    ("served-is-had", "it sends blocks of verified pieces only, and tells of no others"),
    (
        "served-is-asked",
        "it sends blocks that were asked for, once for each time, and to peers that it lets ask",
    ),
    (
        "read-is-true",
        "each byte that its user reads is the torrent's, unless its disk has spoilt it, \
         and each read is answered once",
    ),
    ("asks-with-leave", "it asks for blocks that there are, of peers that have them and let it"),
    (
        "says-it-once",
        "it is not choking, unchoking, interested or in possession of a piece twice in a row",
    ),
    (
        "speaks-the-protocol",
        "whatever it sends can be read, and is of the extensions that were agreed upon",
    ),
    (
        "tells-all",
        "once everything is sent, each peer knows what it has and whether it is interested, \
         as far as that is shown",
    ),
    ("inside-the-folder", "it touches no file outside its torrents' folders and state files"),
    (
        "consistent",
        "its counts are what they count, and each piece is in one place: \
         had, wanted or in progress",
    ),
    (
        "within-limits",
        "links, dials, peers, candidates, alerts, piece and upload memory keep their limits",
    ),
    (
        "nothing-passes-proxy",
        "what is to go through its proxy goes there, and no name but the proxy's is looked up",
    ),
    ("timers-ahead", "once it has dealt with what is due, nothing is due"),
    ("does-not-spin", "it does not ask to be woken all the time"),
    ("not-stuck", "a download goes on as long as a peer that has what it lacks lets it ask"),
    (
        "bytes-agree",
        "what it counts as sent and received is what passed; \
         a connection that ends in good order has lost nothing",
    ),
];

/// A promise that was broken.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) name: &'static str,
    pub(super) what: String,
}

pub(super) type Verdict = Result<(), Violation>;

pub(super) fn broken<T>(name: &'static str, what: impl Into<String>) -> Result<T, Violation> {
    debug_assert!(INVARIANTS.iter().any(|(known, _)| *known == name));
    Err(Violation { name, what: what.into() })
}
