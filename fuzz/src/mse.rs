//! The promises of encrypted handshakes: whatever comes in between two ends, they keep no more of
//! it and say no more than a handshake has; and what comes through unchanged is agreed on and read.

use cratetorrent::mse_probe::{PAYLOADS, Setup, converse};

/// No handshake is longer, up to where it is over.
const MAX_KEPT: usize = 96 + 40 + 16 + 2 * 512;

/// The first bytes are the setup, and the others say, four each, what becomes of what is said: how
/// it is cut, and which byte of it changes or what comes before it.
pub fn mse(data: &[u8]) {
    let Some((head, ops)) = data.split_first_chunk::<8>() else { return };
    let [flags, first, p, q, r, s, _, _] = *head;
    let bit = |n: u8| flags >> n & 1 == 1;
    let pad = |byte: u8| u16::from(byte) * 3 % 513;
    let setup = Setup {
        rc4: [bit(0), bit(1)],
        only: [bit(2), bit(3)],
        pads: [(pad(p), pad(q)), (pad(r), pad(s))],
        first: vec![9; usize::from(first) * 5],
    };
    let mut ops = ops.as_chunks::<4>().0.iter();
    let mut is_changed = false;
    let outcomes = converse(&setup, |_, mut said| {
        let Some(&[op, at, how, size]) = ops.next() else { return vec![said] };
        let at = usize::from(at) * 3;
        match op % 8 {
            0 => {
                if let Some(byte) = said.get_mut(at) {
                    *byte ^= how;
                    is_changed |= how != 0;
                }
            }
            1 => {
                is_changed |= size != 0;
                said.splice(0..0, std::iter::repeat_n(how, usize::from(size) * 4));
            }
            2 => {
                is_changed |= at < said.len();
                said.truncate(at);
            }
            3 => {
                is_changed |= !said.is_empty();
                said = vec![how; usize::from(size) * 16];
                is_changed |= !said.is_empty();
            }
            _ => {}
        }
        said.chunks(usize::from(size).max(1)).map(<[u8]>::to_vec).collect()
    });
    let common = !(setup.only == [true; 2] && setup.rc4[0] != setup.rc4[1]);
    let methods = match (setup.only, setup.rc4) {
        ([true, _], [rc4, _]) => rc4,
        (_, [_, rc4]) => rc4,
    };
    for (nth, outcome) in outcomes.iter().enumerate() {
        assert!(outcome.kept <= MAX_KEPT, "{outcome:?}");
        let most = MAX_KEPT + PAYLOADS[nth].len() + setup.first.len();
        assert!(outcome.sent <= most, "{outcome:?}");
        if !is_changed && common {
            assert_eq!((outcome.agreed, &outcome.error), (Some(methods), &None));
            let first = if nth == 1 { &setup.first[..] } else { &[] };
            assert_eq!(outcome.read, [first, PAYLOADS[1 - nth]].concat());
        } else if !is_changed {
            assert_ne!(outcome.agreed, Some(methods), "nothing in common");
        }
    }
}
