//! What `resume` promises.

use proptest::prelude::*;

use super::*;

const HASH: InfoHash = InfoHash([7; 20]);
const IDENTITY: Identity = Identity::of_v1(HASH);

fn sample() -> ResumeFile {
    ResumeFile {
        identity: IDENTITY,
        have: Bitfield::from_wire(&[0b1010_0000, 0x80], 9).unwrap(),
        dirty: true,
        downloaded: 5,
        uploaded: i64::MAX as u64,
        files: vec![
            Some(ResumeStat { len: 3, mtime_ns: -1 }),
            None,
            Some(ResumeStat { len: i64::MAX as u64, mtime_ns: i64::MIN }),
        ],
        parts: Some(ResumeStat { len: 7, mtime_ns: 8 }),
        partial: partial(&[(1, &[0x80]), (8, &[0, 3])]),
        unchecked: Some(Bitfield::from_wire(&[1, 0x80], 9).unwrap()),
        tracker_events: TrackerEvents::default(),
        both_versions: false,
    }
}

fn partial(pieces: &[(u32, &[u8])]) -> Vec<ResumePartial> {
    pieces.iter().map(|&(piece, blocks)| ResumePartial { piece, blocks: blocks.to_vec() }).collect()
}

/// The file whose dictionary is `body`.
fn sealed(body: &[u8]) -> Vec<u8> {
    [body, checksum(body).as_ref()].concat()
}

/// The sample with one entry replaced.
fn with(old: &[u8], new: &[u8]) -> Vec<u8> {
    let bytes = sample().encode();
    let body = &bytes[..bytes.len() - CHECKSUM];
    let at = body.windows(old.len()).position(|w| w == old).unwrap();
    sealed(&[&body[..at], new, &body[at + old.len()..]].concat())
}

fn error(bytes: &[u8]) -> ResumeError {
    ResumeFile::decode(bytes, 9, 3, &IDENTITY).unwrap_err()
}

#[test]
fn state_survives_encoding() {
    assert_eq!(ResumeFile::decode(&sample().encode(), 9, 3, &IDENTITY), Ok(sample()));
}

#[test]
fn the_format_stays_what_it_is() {
    let mut simple = sample();
    simple.files.truncate(2);
    simple.files[0] = Some(ResumeStat { len: 0x4142, mtime_ns: 0x43 });
    let with_parts = simple.encode();
    (simple.parts, simple.partial, simple.unchecked) = (None, Vec::new(), None);
    let bytes = simple.encode();
    let body: &[u8] = b"d5:dirtyi1e10:downloadedi5e5:files32:\0\0\0\0\0\0AB\0\0\0\0\0\0\0C\
        \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff4:have2:\xa0\x80\
        9:info-hash20:\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\
        \x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\
        8:uploadedi9223372036854775807e7:versioni1ee";
    assert_eq!(
        bytes[..bytes.len() - CHECKSUM].escape_ascii().to_string(),
        body.escape_ascii().to_string()
    );
    // Where there is a part file it is one key more, which older versions do not look at.
    // The same where pieces are unfinished, and where a check was.
    let unfinished = b"7:partial19:\0\0\0\x01\0\0\0\x01\x80\0\0\0\x08\0\0\0\x02\0\x035:parts";
    assert!(with_parts.windows(unfinished.len()).any(|window| window == unfinished));
    let unchecked = b"9:unchecked2:\x01\x808:uploaded";
    assert!(with_parts.windows(unchecked.len()).any(|window| window == unchecked));
    let parts = b"5:parts16:\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x089:unchecked";
    assert!(with_parts.windows(parts.len()).any(|window| window == parts));
    // The same where all of a hybrid was verified by both versions.
    simple.both_versions = true;
    let by_both = simple.encode();
    assert!(by_both.starts_with(b"d13:both-versionsi1e5:dirtyi1e"));
    assert_eq!(by_both.len(), bytes.len() + b"13:both-versionsi1e".len());
}

#[test]
fn state_without_a_word_on_versions_vouches_for_one_alone() {
    let hybrid = Identity::hybrid(HASH, InfoHashV2([9; 32]));
    for (key, both_versions) in
        [("", false), ("13:both-versionsi0e", false), ("13:both-versionsi1e", true)]
    {
        let bytes = with(b"d5:dirty", format!("d{key}5:dirty").as_bytes());
        let read = ResumeFile::decode(&bytes, 9, 3, &hybrid).unwrap();
        assert_eq!(read, ResumeFile { identity: hybrid, both_versions, ..sample() });
    }
    for value in ["i2e", "1:1"] {
        let bytes = with(b"d5:dirty", format!("d13:both-versions{value}5:dirty").as_bytes());
        assert_eq!(error(&bytes), ResumeError::Field("both-versions"));
    }
}

#[test]
fn a_torn_or_damaged_file_is_known_as_one() {
    let bytes = sample().encode();
    for len in 0..bytes.len() {
        assert_eq!(error(&bytes[..len]), ResumeError::Checksum);
        let mut flipped = bytes.clone();
        flipped[len] ^= 1;
        assert_eq!(error(&flipped), ResumeError::Checksum);
    }
    assert_eq!(error(&[&bytes[..], b"x"].concat()), ResumeError::Checksum);
}

#[test]
fn hybrid_state_matches_by_either_hash_and_fails_by_either() {
    let (v1, v2) = (HASH, InfoHashV2([9; 32]));
    let hybrid = Identity::hybrid(v1, v2);
    for saved in [IDENTITY, Identity::of_v2(v2), hybrid] {
        let bytes = ResumeFile { identity: saved, ..sample() }.encode();
        let read = ResumeFile::decode(&bytes, 9, 3, &hybrid).unwrap();
        assert_eq!(read, ResumeFile { identity: hybrid, ..sample() });
    }
    let bytes = ResumeFile { identity: hybrid, ..sample() }.encode();
    let (other_v1, other_v2) = (InfoHash([1; 20]), InfoHashV2([1; 32]));
    for other in [
        Identity::of_v1(other_v1),
        Identity::of_v2(other_v2),
        Identity::hybrid(v1, other_v2),
        Identity::hybrid(other_v1, v2),
    ] {
        let e = ResumeFile::decode(&bytes, 9, 3, &other).unwrap_err();
        assert_eq!(e, ResumeError::InfoHash(HASH), "{other:?}");
    }
    let bytes = ResumeFile { identity: Identity::of_v2(v2), ..sample() }.encode();
    let e = ResumeFile::decode(&bytes, 9, 3, &IDENTITY).unwrap_err();
    assert_eq!(e, ResumeError::InfoHash(v2.truncated()));
}

#[test]
fn every_mismatch_is_named() {
    assert_eq!(error(&with(b"i1ee", b"i2ee")), ResumeError::Version(2));
    let other = Identity::of_v1(InfoHash([8; 20]));
    let e = ResumeFile::decode(&sample().encode(), 9, 3, &other).unwrap_err();
    assert_eq!(e, ResumeError::InfoHash(HASH));
    let e = ResumeFile::decode(&sample().encode(), 17, 3, &IDENTITY).unwrap_err();
    assert_eq!(e, ResumeError::Have(BitfieldError::Length { got: 2, want: 3 }));
    let e = ResumeFile::decode(&sample().encode(), 9, 4, &IDENTITY).unwrap_err();
    assert_eq!(e, ResumeError::Files { got: 3, want: 4 });
    assert_eq!(
        error(&with(b"2:\xa0\x80", b"2:\xa0\x81")),
        ResumeError::Have(BitfieldError::SpareBits)
    );
    assert_eq!(error(&with(b"5:dirtyi1e", b"5:dirtyi2e")), ResumeError::Field("dirty"));
    assert_eq!(error(&with(b"5:dirtyi1e", b"")), ResumeError::Field("dirty"));
    assert_eq!(error(&with(b"loadedi5e", b"loadedi-5e")), ResumeError::Field("downloaded"));
    assert_eq!(error(&with(b"loadedi5e", b"loaded1:5")), ResumeError::Field("downloaded"));
    assert_eq!(error(&with(b"20:\x07", b"19:")), ResumeError::Field("info-hash"));
    assert_eq!(error(&with(b"48:\0", b"47:")), ResumeError::Field("files"));
    assert_eq!(
        error(&with(b"48:\0", b"48:\x80")),
        ResumeError::Field("files"),
        "a length beyond 63 bits"
    );
    for (old, new) in [
        (&b"19:\0\0\0\x01"[..], &b"19:\0\0\0\x08"[..]),
        (b"19:\0\0\0\x01", b"19:\0\0\0\x09"),
        (b"\x80\0\0\0\x08\0\0\0\x02", b"\x80\0\0\0\x09\0\0\0\x02"),
        (b"\x80\0\0\0\x08\0\0\0\x02", b"\x80\0\0\0\x08\0\0\0\x03"),
        (b"\x01\0\0\0\x01\x80", b"\x01\0\0\0\0\x80"),
    ] {
        assert_eq!(error(&with(old, new)), ResumeError::Field("partial"), "{}", new.escape_ascii());
    }
    assert_eq!(
        error(&with(b"unchecked2:\x01\x80", b"unchecked2:\x01\x81")),
        ResumeError::Have(BitfieldError::SpareBits)
    );
    assert_eq!(error(&with(b"7:versioni1e", b"")), ResumeError::Field("version"));
    assert_eq!(error(&sealed(b"le")), ResumeError::Field("version"));
    assert!(matches!(
        error(&sealed(b"")),
        ResumeError::Bencode(BencodeError::Truncated { len: 0 })
    ));
    assert!(matches!(error(&sealed(b"dee")), ResumeError::Bencode(BencodeError::Trailing { .. })));
}

#[test]
fn limits_hold() {
    let max = ResumeFile::max_len(9, 3);
    assert_eq!(error(&vec![b'd'; max + 1]), ResumeError::TooLong { len: max + 1, limit: max });
    assert!(matches!(
        error(&sealed(&[b'l'; 100])),
        ResumeError::Bencode(BencodeError::Depth { .. })
    ));
    assert!(matches!(
        error(&sealed(&b"0:".repeat(400))),
        ResumeError::Bencode(BencodeError::Trailing { .. })
    ));
    let many = [&b"l"[..], &b"0:".repeat(400), b"e"].concat();
    assert!(matches!(error(&sealed(&many)), ResumeError::Bencode(BencodeError::Tokens { .. })));
    assert_eq!(ResumeFile::max_len(u32::MAX, usize::MAX), usize::MAX);
    // The largest state is within the limit; unfinished pieces beyond it are left out.
    let many: Vec<_> = (0..2 * partial::MAX_LEN as u32 / 9).map(|n| (n, &[1][..])).collect();
    let full = ResumeFile {
        partial: partial(&many),
        have: Bitfield::all(9),
        downloaded: u64::MAX,
        uploaded: u64::MAX,
        ..sample()
    };
    let bytes = full.encode();
    assert!(bytes.len() <= max);
    assert!(ResumeFile::decode(&bytes, 9, 3, &IDENTITY).is_err(), "there are no such pieces");
    let read = ResumeFile::decode(
        &ResumeFile { have: Bitfield::all(u32::MAX >> 8), unchecked: None, ..full }.encode(),
        u32::MAX >> 8,
        3,
        &IDENTITY,
    )
    .unwrap();
    assert_eq!((read.downloaded, read.partial.len()), (i64::MAX as u64, partial::MAX_LEN / 9));
}

proptest! {
    #[test]
    fn any_state_survives_encoding(
        bits in prop::collection::vec(any::<u8>(), 1..40),
        dirty: bool,
        downloaded in 0..u64::MAX / 2,
        uploaded in 0..u64::MAX / 2,
        files in prop::collection::vec(prop::option::of((0..u64::MAX / 2, any::<i64>())), 0..40),
    ) {
        let count = bits.len() as u32 * 8;
        let files: Vec<_> = files
            .into_iter()
            .map(|f| f.map(|(len, mtime_ns)| ResumeStat { len, mtime_ns }))
            .collect();
        let have = Bitfield::from_wire(&bits, count).unwrap();
        let (partial, unchecked) = (Vec::new(), dirty.then(|| have.clone()));
        let both_versions = uploaded % 2 == 0;
        let state = ResumeFile {
            identity: IDENTITY,
            have,
            dirty,
            downloaded,
            uploaded,
            files,
            parts: None,
            partial,
            unchecked,
            tracker_events: TrackerEvents::default(),
            both_versions,
        };
        let bytes = state.encode();
        prop_assert_eq!(ResumeFile::decode(&bytes, count, state.files.len(), &IDENTITY), Ok(state));
    }

    #[test]
    fn nothing_panics(body in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = ResumeFile::decode(&body, 9, 3, &IDENTITY);
        let _ = ResumeFile::decode(&sealed(&body), 9, 3, &IDENTITY);
    }
}
