//! Both ends against each other at any split of the bytes, against transcripts that another program
//! has written, and against peers that do not keep to the rules.
//!
//! The arithmetic is replaced by one that is as symmetrical and takes no time, but for the
//! transcripts.

use std::io::IoSlice;

use super::{
    initiator::Initiator,
    keys::Key,
    probe::{End, HASH, One, compute},
    responder::Responder,
    *,
};
use crate::{
    base::job::key_exchange::{KEY_LEN, PRIME},
    proto::tx::Tx,
    wire::handshake::PROTOCOL,
};

const BOTH: CryptoMethods = CryptoMethods { preferred: CryptoMethod::Plaintext, only: false };
const RC4: CryptoMethods = CryptoMethods { preferred: CryptoMethod::Rc4, only: true };

fn draw(n: u8, pad: u16, zeros: u16) -> Draw {
    Draw { seed: [n; 32], pad, zeros }
}

/// Bytes go both ways, at most `at_once` at a time, until there are none.
fn talk<A: Role, B: Role>(
    a: &mut End<A>,
    b: &mut End<B>,
    at_once: usize,
) -> Result<(), PreambleError> {
    a.feed(&[])?;
    b.feed(&[])?;
    loop {
        let (said, answered) = (a.take(), b.take());
        if said.is_empty() && answered.is_empty() {
            return Ok(());
        }
        said.chunks(at_once).try_for_each(|part| b.feed(part))?;
        answered.chunks(at_once).try_for_each(|part| a.feed(part))?;
    }
}

fn initiator(methods: CryptoMethods, first: &[u8], draw: Draw) -> End<Initiator> {
    End::new(Initiator::begin(HASH, methods, first.to_vec(), draw))
}

fn responder(methods: CryptoMethods, draw: Draw) -> End<Responder> {
    End::new(Responder::begin(methods, true, draw))
}

fn error(result: Result<(), PreambleError>) -> MseError {
    match result {
        Err(PreambleError::Encryption(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ends_agree_at_any_split_and_read_each_other() {
    let long = vec![9; 3000];
    for (methods, method) in [(BOTH, CryptoMethod::Plaintext), (RC4, CryptoMethod::Rc4)] {
        for first in [&b""[..], b"first", &long] {
            for (pad, at_once) in [(0, 1), (512, 1), (3, 7), (512, 96), (100, 100_000)] {
                let mut a = initiator(BOTH, first, draw(1, pad, pad));
                let mut b = responder(methods, draw(2, pad, pad));
                talk(&mut a, &mut b, at_once).unwrap();
                assert_eq!((a.agreed, b.agreed), (Some((method, HASH)), Some((method, HASH))));
                a.tx.push_bytes(b"more of A");
                b.tx.push_bytes(b"all of B");
                let (said, answered) = (a.take(), b.take());
                let clear = said == b"more of A";
                assert_eq!(clear, method == CryptoMethod::Plaintext);
                said.chunks(at_once).for_each(|part| b.feed(part).unwrap());
                answered.chunks(at_once).for_each(|part| a.feed(part).unwrap());
                assert_eq!(
                    (&a.payload[..], &b.payload[..]),
                    (&b"all of B"[..], &[first, b"more of A"].concat()[..])
                );
            }
        }
    }
}

#[test]
fn what_waits_in_the_queue_is_not_enciphered_twice() {
    // The whole answer, its plain beginning included, waits when encryption begins.
    let mut a = initiator(RC4, b"first", draw(1, 5, 5));
    let mut b = responder(RC4, draw(2, 400, 400));
    a.feed(&[]).unwrap();
    b.feed(&a.take()).unwrap();
    // Only the key leaves; the padding stays.
    let mut slices = [IoSlice::new(&[]); 8];
    b.tx.poll_transmit(&mut slices, KEY_LEN);
    let key = slices[0].to_vec();
    b.tx.handle_sent(KEY_LEN, drop);
    a.feed(&key).unwrap();
    b.feed(&a.take()).unwrap();
    b.tx.push_bytes(b"payload");
    a.feed(&b.take()).unwrap();
    assert_eq!((&a.payload[..], &b.payload[..]), (&b"payload"[..], &b"first"[..]));
}

#[test]
fn rc4_only_ends_do_not_agree_on_plaintext() {
    let plain = CryptoMethods { preferred: CryptoMethod::Plaintext, only: true };
    let mut a = initiator(plain, b"", draw(1, 0, 0));
    let mut b = responder(RC4, draw(2, 0, 0));
    assert_eq!(error(talk(&mut a, &mut b, 1000)), MseError::Offer(1));
}

#[test]
fn plain_handshake_is_passed_on_at_any_split() {
    let mut wire = PROTOCOL.to_vec();
    wire.extend([5; 60]);
    for cut in 0..wire.len() {
        let mut machine = Responder::begin(BOTH, true, draw(1, 0, 0));
        let mut tx = Tx::default();
        let mut cx = PreambleCx { tx: &mut tx, torrents: &One::default() };
        let first = machine.handle_data(&mut wire[..cut].to_vec(), &mut cx).unwrap();
        let (early, used) = match first {
            Some(passed) => (passed.early, passed.used),
            None => {
                let second = machine.handle_data(&mut wire[cut..].to_vec(), &mut cx).unwrap();
                let Passed { early, used, .. } = second.unwrap();
                assert_eq!(early, wire[..cut]);
                (early, used)
            }
        };
        assert_eq!((used, early.len()), (0, if cut < PROTOCOL.len() { cut } else { 0 }));
        assert!(machine.poll_exchange().is_none());
        let mut strict = End::new(Responder::begin(BOTH, false, draw(1, 0, 0)));
        strict.feed(&wire[..cut]).and_then(|()| strict.feed(&wire[cut..])).unwrap_err();
    }
}

#[test]
fn key_that_begins_as_a_plain_handshake_does_is_a_key() {
    let mut b = responder(BOTH, draw(2, 0, 0));
    b.feed(b"\x13BitTorrent protoco").unwrap();
    b.feed(b"L").unwrap();
    b.feed(&[1; KEY_LEN - 20]).unwrap();
    assert!(b.take().len() >= KEY_LEN);
}

#[test]
fn keys_without_a_secret_are_refused() {
    let mut minus_one = PRIME;
    minus_one[KEY_LEN - 1] -= 1;
    let mut one = [0; KEY_LEN];
    one[KEY_LEN - 1] = 1;
    let mut two = [0; KEY_LEN];
    two[KEY_LEN - 1] = 2;
    let mut most = PRIME;
    most[KEY_LEN - 1] -= 2;
    for key in [[0; KEY_LEN], one, minus_one, PRIME, [255; KEY_LEN]] {
        assert_eq!(error(responder(BOTH, draw(1, 0, 0)).feed(&key)), MseError::Key);
        let mut a = initiator(BOTH, b"", draw(1, 0, 0));
        a.feed(&[]).unwrap();
        assert_eq!(error(a.feed(&key)), MseError::Key);
    }
    for key in [two, most] {
        responder(BOTH, draw(1, 0, 0)).feed(&key).unwrap();
    }
}

#[test]
fn padding_without_end_is_dropped_at_its_bound() {
    for at_once in [1, 50, 5000] {
        // An answering end that hears nothing but padding.
        let mut b = responder(BOTH, draw(2, 0, 0));
        let mut fed = 0;
        let key = [1; KEY_LEN];
        b.feed(&key).unwrap();
        let noise = vec![3; at_once];
        let result = loop {
            let result = b.feed(&noise);
            fed += at_once;
            if result.is_err() {
                break error(result);
            }
            assert!(fed < 532);
        };
        assert_eq!(result, MseError::OutOfStep);
        // A dialling end.
        let mut a = initiator(BOTH, b"", draw(1, 0, 0));
        a.feed(&[]).unwrap();
        a.feed(&key).unwrap();
        let mut fed = 0;
        while a.feed(&noise).is_ok() {
            fed += at_once;
            assert!(fed < 520);
        }
    }
}

#[test]
fn bytes_out_of_turn_are_dropped_at_their_bound() {
    // Nothing is computed: the key is not answered, and only padding may follow.
    let mut b = responder(BOTH, draw(2, 0, 0));
    b.compute = |_| ();
    let mut cx = PreambleCx { tx: &mut b.tx, torrents: &One::default() };
    assert!(b.machine.handle_data(&mut vec![1; KEY_LEN + MAX_PAD], &mut cx).unwrap().is_none());
    let more = b.machine.handle_data(&mut [1], &mut cx);
    assert_eq!(more.unwrap_err(), PreambleError::Encryption(MseError::Early));
    // An answer before the question.
    let mut a = Initiator::begin(HASH, BOTH, Vec::new(), draw(1, 0, 0));
    let mut tx = Tx::default();
    let mut cx = PreambleCx { tx: &mut tx, torrents: &One::default() };
    assert_eq!(
        a.handle_data(&mut [1], &mut cx).unwrap_err(),
        PreambleError::Encryption(MseError::Early)
    );
}

#[test]
fn answer_in_plain_ends_an_encrypted_dial_at_once() {
    let mut a = initiator(BOTH, b"", draw(1, 0, 0));
    a.feed(&[]).unwrap();
    assert_eq!(error(a.feed(PROTOCOL)), MseError::Plain);
}

#[test]
fn exchange_that_is_not_computed_ends_the_handshake() {
    let mut a = initiator(BOTH, b"", draw(1, 0, 0));
    a.compute = |_| ();
    assert_eq!(error(a.feed(&[])), MseError::NoArithmetic);
}

/// What an initiator says that is as it should be up to its options, and then says these.
fn offer(options: &[u8]) -> MseError {
    let mut b = responder(BOTH, draw(2, 0, 0));
    let mut exchange = draw(1, 0, 0).exchange();
    compute(&mut exchange);
    b.feed(&exchange.ours.unwrap()).unwrap();
    exchange.theirs = b.take().try_into().ok();
    compute(&mut exchange);
    let shared: Key = exchange.shared.unwrap();
    b.feed(&keys::sync_mark(&shared)).unwrap();
    b.feed(&keys::mask(torrent_mark(HASH), &shared)).unwrap();
    let mut sealed = options.to_vec();
    keys::Pair::new(&shared, HASH, true).outgoing.apply(&mut sealed);
    error(b.feed(&sealed))
}

#[test]
fn nonsense_of_the_dialling_end_is_named() {
    let option = |vc: [u8; 8], provide: u32, pad: u16| {
        [&vc[..], &provide.to_be_bytes(), &pad.to_be_bytes(), &[0, 0]].concat()
    };
    assert_eq!(offer(&option([0, 0, 0, 0, 0, 0, 0, 1], 3, 0)), MseError::Garbled);
    assert_eq!(offer(&option(VC, 4, 0)), MseError::Offer(4));
    assert_eq!(offer(&option(VC, 0, 0)), MseError::Offer(0));
    assert_eq!(offer(&option(VC, 3, 513)), MseError::Padding(513));
    let mut b = responder(BOTH, draw(2, 0, 0));
    let unknown = Initiator::begin(InfoHash([8; 20]), BOTH, Vec::new(), draw(1, 0, 0));
    assert_eq!(error(talk(&mut End::new(unknown), &mut b, 1000)), MseError::UnknownTorrent);
}

#[test]
fn methods_of_the_torrent_replace_those_of_the_responder() {
    let plain = CryptoMethods { preferred: CryptoMethod::Plaintext, only: true };
    // The dialling end's, the responder's, the torrent's.
    for (dials, has, own, outcome) in [
        (BOTH, BOTH, RC4, Ok(CryptoMethod::Rc4)),
        (BOTH, RC4, BOTH, Ok(CryptoMethod::Plaintext)),
        (plain, RC4, BOTH, Ok(CryptoMethod::Plaintext)),
        (plain, BOTH, RC4, Err(MseError::Offer(1))),
        (RC4, BOTH, plain, Err(MseError::Offer(2))),
    ] {
        let mut a = initiator(dials, b"first", draw(1, 0, 0));
        let mut b = responder(has, draw(2, 0, 0));
        b.torrents = One(Some(own));
        let result = talk(&mut a, &mut b, 1000);
        match outcome {
            Ok(method) => {
                result.unwrap();
                assert_eq!((a.agreed, b.agreed), (Some((method, HASH)), Some((method, HASH))));
            }
            Err(why) => assert_eq!(error(result), why),
        }
    }
}

/// What a responder answers with these bytes where its choice is.
fn choice(answer: &[u8]) -> MseError {
    let mut a = initiator(BOTH, b"", draw(1, 0, 0));
    a.feed(&[]).unwrap();
    let mut exchange = draw(2, 0, 0).exchange();
    exchange.theirs = a.take().try_into().ok();
    compute(&mut exchange);
    a.feed(&exchange.ours.unwrap()).unwrap();
    let mut sealed = [&VC[..], answer].concat();
    keys::Pair::new(&exchange.shared.unwrap(), HASH, false).outgoing.apply(&mut sealed);
    error(a.feed(&sealed))
}

#[test]
fn nonsense_of_the_answering_end_is_named() {
    assert_eq!(choice(&[0, 0, 0, 0, 0, 0]), MseError::Choice(0));
    assert_eq!(choice(&[0, 0, 0, 3, 0, 0]), MseError::Choice(3), "both");
    assert_eq!(choice(&[0, 0, 0, 4, 0, 0]), MseError::Choice(4));
    assert_eq!(choice(&[0, 0, 0, 1, 2, 1]), MseError::Padding(513));
}

/// The numbers of the transcripts, which are those of Python's `pow`.
mod numbers {
    use super::*;

    const B: &str = "408da6469665e70718af3bcdfdcbf142559b0b3979bde4f63c365a26126333eb\
                     486a3f1f015b8aaa6f62803620c6e0847c18fd2b54bece120063ef16aca61475\
                     8390894180947f1a58560703e15fe6860269e9cc7698d676f4dd8d6c3982bcc2";
    /// A public key, and what follows with `B`'s secret, for the seeds 142 and 225: the one has a
    /// leading zero in what both know, the other in its public key.
    const A: [(u8, &str, &str); 2] = [
        (
            142,
            "b002432c70257d78ed345b38f8de673c0d2ab3720e80e19069442c44738b5326\
             99ea3f3ef6d956c9dea321f28d986ac92c7f7b62ab56689b39a1d309cc3fe0b0\
             65a2b58382addc50dfd1064cb822fc148f32ef67563e24d8a6ee900f16f51ad6",
            "002bbdd294eee34fbbb27fbe85aad1dace0fac0b9e4af7dd6fb028245b9bd7e1\
             05246a24120a875f46febd2920fa4d338d3df2c210b59b727e7be0ce8a8cc55b\
             850805692ea9085e3ef22f2931a752b56f5f0e484cadcb93e301b7a768219853",
        ),
        (
            225,
            "00e642fecf13c29314de1331fa3a354f874790ae9941ee0382fc1fa2e73db466\
             32e68995104c3779f6e03663b2a43676dffe6db8f434e11c1b8009187247e236\
             c6fb23bc34a3406b5f46659cccb814905b454224098aed9a83c6942fae721f5a",
            "e31b077564766b4b33e2f4d137fb0434c12c9b1c1897b667e62b370a78e280ad\
             22cb2fdd1ff59e10dc94412e8bad85c1b9c70c24cf3637ca1ce4a23b1be9140a\
             572e32b9d2d591d552e4caa39d5cc504cef4d8e38308bbe492959c5966080ebb",
        ),
    ];

    fn key(hex: &str) -> Key {
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..][..2], 16).unwrap();
        std::array::from_fn(byte)
    }

    fn seed(n: u8) -> [u8; 32] {
        std::array::from_fn(|at| if at % 2 == 0 { 0 } else { n })
    }

    /// Looked up instead of computed.
    fn look_up(exchange: &mut KeyExchange) {
        let secret = |seed: &[u8; 32]| keys::hash(&[b"secret", seed]);
        let (_, ours, shared) = match exchange.secret {
            b if b == secret(&[0xbb; 32]) => {
                let of_peer = A.into_iter().find(|(_, a, _)| exchange.theirs == Some(key(a)));
                let (n, _, shared) = of_peer.unwrap();
                (n, B, shared)
            }
            a => A.into_iter().find(|(n, ..)| secret(&seed(*n)) == a).unwrap(),
        };
        exchange.ours = Some(key(ours));
        exchange.shared = exchange.theirs.map(|_| key(shared));
    }

    /// What each end says in all is, by its SHA-1, what a program in Python says that was written
    /// from the specification: it draws secrets and noise from the same seeds as SHA-1 of "secret"
    /// or "noise" and the seed, has 100 and 512 bytes of noise, 0 and 33 zeros of padding.
    #[test]
    fn transcripts_are_those_of_another_program() {
        for (n, preferred, said, answered) in [
            (
                142,
                CryptoMethod::Plaintext,
                "c9214dc19d4cd855f01dc65e03c2177447db1d68",
                "dc61c56d5a9b540694c870a3ffc38f56c7eae590",
            ),
            (
                142,
                CryptoMethod::Rc4,
                "ea9d937df70cac7caf1c44a6d15d59d11c28c4fb",
                "e7f2c0ddac328f17de03c60ea59b3b4300775efc",
            ),
            (
                225,
                CryptoMethod::Plaintext,
                "0d04b3ca6d3d4c099d905e09d4d42174f82a6e5a",
                "f957011f7d4efb381f711515392946473d7453fc",
            ),
            (
                225,
                CryptoMethod::Rc4,
                "d94c9d9684162d1be785a938f387e9fd8f74bdcb",
                "13add7210e609e2e1714d590b710b7448fbedda8",
            ),
        ] {
            let drawn = Draw { seed: seed(n), pad: 100, zeros: 0 };
            let mut a = initiator(BOTH, b"first words", drawn);
            let methods = CryptoMethods { preferred, only: false };
            let mut b = responder(methods, Draw { seed: [0xbb; 32], pad: 512, zeros: 33 });
            (a.compute, b.compute) = (look_up, look_up);
            let mut all: [Vec<u8>; 2] = Default::default();
            a.feed(&[]).unwrap();
            for round in 0..3 {
                let part = a.take();
                b.feed(&part).unwrap();
                all[0].extend(part);
                if round == 1 {
                    b.tx.push_bytes(b"all of B");
                }
                let part = b.take();
                a.feed(&part).unwrap();
                all[1].extend(part);
                if round == 1 {
                    a.tx.push_bytes(b"more of A");
                }
            }
            let hex = |bytes: &[u8]| -> String {
                keys::hash(&[bytes]).iter().map(|byte| format!("{byte:02x}")).collect()
            };
            assert_eq!(all.map(|all| hex(&all)), [said, answered], "seed {n}, {preferred:?}");
            assert_eq!(a.payload, b"all of B");
            assert_eq!(b.payload, b"first wordsmore of A");
        }
    }
}

/// The first test vector of RFC 6229, whose key of five bytes is the same as four of it in a row,
/// from byte 1024 on.
#[test]
fn rc4_stream_is_that_of_rfc_6229() {
    let key = std::array::from_fn(|n| n as u8 % 5 + 1);
    let mut stream = [0; 16];
    Rc4::new(&key).apply(&mut stream);
    let hex: String = stream.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "30abbcc7c20b01609f23ee2d5f6bb7df");
}

#[test]
fn rc4_stream_does_not_depend_on_how_it_is_cut() {
    // Long enough for each entry to be written just before it is needed.
    const LEN: usize = 100_003;
    let mut zeros = [0; LEN];
    let mut cut = [0; LEN];
    let key = std::array::from_fn(|n| n as u8);
    Rc4::new(&key).apply(&mut zeros);
    let mut rc4 = Rc4::new(&key);
    cut.chunks_mut(5).for_each(|part| rc4.apply(part));
    assert_eq!(zeros, cut);
}
