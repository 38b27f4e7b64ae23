//! What `frame` promises.

use proptest::prelude::*;

use super::*;
use crate::wire::message::Message;

/// All frames of `chunks`, and how it ended.
fn frames(decoder: &mut Decoder, chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
    let mut out = Vec::new();
    for mut input in chunks.iter().copied() {
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => out.push(frame.to_vec()),
                Ok(None) => break assert!(input.is_empty()),
                Err(e) => return (out, Err(e)),
            }
        }
    }
    (out, Ok(()))
}

#[test]
fn every_split_gives_the_same_frames() {
    let mut stream = Vec::new();
    let messages = [
        Message::KeepAlive,
        Message::Have(3),
        Message::KeepAlive,
        Message::KeepAlive,
        Message::Piece { piece: 1, begin: 2, data: b"some data" },
        Message::Choke,
        Message::Unknown { id: 200, payload: b"" },
        Message::KeepAlive,
    ];
    messages.iter().for_each(|m| m.encode_into(&mut stream));
    for a in 0..=stream.len() {
        for b in a..=stream.len() {
            let mut decoder = Decoder::default();
            let (got, end) = frames(&mut decoder, &[&stream[..a], &stream[a..b], &stream[b..]]);
            assert_eq!(end, Ok(()));
            let got: Vec<_> = got.iter().map(|f| Message::decode(f).unwrap()).collect();
            assert_eq!(got, messages);
        }
    }
}

#[test]
fn whole_frames_are_lent_from_the_input() {
    let stream = [[0, 0, 0, 3, 99, 1, 2], [0, 0, 0, 3, 99, 3, 4]].concat();
    let mut decoder = Decoder::default();
    let mut input = &stream[..];
    let first = decoder.next(&mut input).unwrap().unwrap().as_ptr();
    assert_eq!(first, stream[4..].as_ptr());
    let second = decoder.next(&mut input).unwrap().unwrap().as_ptr();
    assert_eq!(second, stream[11..].as_ptr());
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert_eq!(decoder.held(), 0);
}

#[test]
fn after_a_carried_frame_the_rest_is_lent_again() {
    let stream = [[0, 0, 0, 3, 99, 1, 2], [0, 0, 0, 3, 99, 3, 4]].concat();
    let mut decoder = Decoder::default();
    assert_eq!(decoder.next(&mut &stream[..5]), Ok(None));
    let mut input = &stream[5..];
    assert_eq!(decoder.next(&mut input), Ok(Some(&[99, 1, 2][..])));
    assert_eq!(decoder.next(&mut input).unwrap().unwrap().as_ptr(), stream[11..].as_ptr());
}

#[test]
fn a_frame_too_long_is_refused_at_its_length() {
    let mut decoder = Decoder::new(100);
    let error = FrameError::TooLong { len: 101, max: 100 };
    assert_eq!(decoder.next(&mut &[0, 0, 0, 101][..]), Err(error));
    assert_eq!(error.to_string(), "frame of 101 bytes exceeds the limit of 100");
    for at in 0..4 {
        let mut decoder = Decoder::new(100);
        let (_, end) = frames(&mut decoder, &[&[0, 0, 0, 101][..at], &[0, 0, 0, 101][at..]]);
        assert_eq!(end, Err(error));
    }
    assert!(Decoder::new(u32::MAX).next(&mut &[0xff; 5][..]).is_ok());
}

#[test]
fn an_impossible_length_is_refused_at_the_id() {
    // A have of 200,000 bytes.
    let head = [0, 3, 0x0d, 0x40, 4];
    for at in 0..=head.len() {
        let mut decoder = Decoder::default();
        let (got, end) = frames(&mut decoder, &[&head[..at], &head[at..]]);
        assert!(got.is_empty());
        let error = end.unwrap_err();
        assert_eq!(error.to_string(), "have message of 200000 bytes where exactly 5 are needed");
    }
}

#[test]
fn memory_grows_with_what_came_and_goes_when_it_is_done() {
    let mut decoder = Decoder::default();
    // 400,000 bytes claimed, one byte come.
    assert_eq!(decoder.next(&mut &[0, 6, 0x1a, 0x80, 5, 1][..]), Ok(None));
    assert!(decoder.held() < 100);
    let rest = vec![0; 400_000 - 2];
    assert_eq!(decoder.next(&mut &rest[..100_000]), Ok(None));
    assert!(decoder.held() <= 200_100);
    let mut input = &rest[100_000..];
    assert_eq!(decoder.next(&mut input).unwrap().unwrap().len(), 400_000);
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert_eq!(decoder.held(), 0);
    // A small carry is kept.
    assert_eq!(decoder.next(&mut &[0, 0, 0, 5, 4][..]), Ok(None));
    assert!(decoder.next(&mut &[0; 4][..]).unwrap().is_some());
    assert_eq!(decoder.next(&mut &[][..]), Ok(None));
    assert!((1..=KEEP).contains(&decoder.held()));
}

#[test]
fn a_busy_carry_is_used_again() {
    let frame = |len: u8| [&[0, 0, len, 0, 99][..], &vec![0; usize::from(len) * 256 - 1]].concat();
    let stream = [frame(64), frame(64)].concat();
    let mut decoder = Decoder::default();
    assert_eq!(decoder.next(&mut &stream[..10_000]), Ok(None));
    let mut input = &stream[10_000..20_000];
    assert!(decoder.next(&mut input).unwrap().is_some());
    let held = decoder.held();
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert_eq!(decoder.held(), held);
    // What is left of a large frame is not.
    let stream = [frame(255), frame(64)].concat();
    let mut decoder = Decoder::default();
    assert_eq!(decoder.next(&mut &stream[..65_000]), Ok(None));
    let mut input = &stream[65_000..66_000];
    assert!(decoder.next(&mut input).unwrap().is_some());
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert!(decoder.held() < 4096);
}

proptest! {
    #[test]
    fn frames_are_the_same_however_input_is_chunked(
        bodies in prop::collection::vec(
            (0u8..25, prop::collection::vec(any::<u8>(), 0..30), any::<bool>()),
            0..12,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut stream = Vec::new();
        for (id, body, keep_alive) in &bodies {
            if *keep_alive {
                stream.extend_from_slice(&[0; 4]);
            }
            Message::Unknown { id: *id, payload: body }.encode_into(&mut stream);
        }
        let whole = frames(&mut Decoder::default(), &[&stream]);
        let mut cuts: Vec<_> = cuts.iter().map(|c| c.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
        prop_assert_eq!(frames(&mut Decoder::default(), &chunks), whole);
    }
}

#[test]
fn frame_memory_is_bounded_by_received_bytes_and_length() {
    let mut stream = Vec::new();
    for len in [10, 70_000, 16_384, 5, 40_000] {
        Message::Unknown { id: 200, payload: &vec![7; len] }.encode_into(&mut stream);
    }
    for step in [1, 7, 1000, 5000, 30_000, 69_999] {
        let mut decoder = Decoder::default();
        for mut input in stream.chunks(step) {
            while decoder.next(&mut input).unwrap().is_some() {}
            let came = decoder.partial().map_or(4, |(_, came)| came);
            assert!(
                decoder.held() <= (2 * came).clamp(KEEP_BUSY, 70_005),
                "{} for {came} in steps of {step}",
                decoder.held()
            );
        }
        assert_eq!(decoder.next(&mut &[][..]).unwrap(), None);
        assert!(decoder.held() <= KEEP);
    }
}
