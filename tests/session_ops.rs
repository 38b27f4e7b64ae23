//! An engine under thousands of arbitrary sequences of operations: the fuzz target's promises, on
//! scripts that are the same every time.

#[allow(unreachable_pub, dead_code)] // the fuzz crate calls the rest
#[path = "../fuzz/src/session.rs"]
mod session;

/// SplitMix64.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed;
    (0..len)
        .map(|_| {
            x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (z ^ (z >> 27)) as u8
        })
        .collect()
}

#[test]
fn arbitrary_operations() {
    for seed in 0..1_500 {
        session::session(&noise(seed, 50 + seed as usize % 700));
    }
}

/// Operations that get somewhere: connect, greet, unchoke, deliver, answer.
#[test]
fn operations_of_a_download_with_noise_between() {
    for seed in 0..500 {
        let mut script = vec![(seed % 4) as u8];
        script.extend([8, 0, 9, 0, 2, 13, 0, 0, 0, 2, 1, 0, 0, 0]);
        for byte in noise(seed, 200) {
            script.extend([13, 0, 5, byte]);
            if byte % 5 == 0 {
                script.extend(noise(u64::from(byte) ^ seed, 6));
            }
        }
        session::session(&script);
    }
}

/// What the fuzzer found once.
#[test]
fn seeds_and_findings() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/session");
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        session::session(&std::fs::read(entry.path()).unwrap());
        played += 1;
    }
    assert!(played > 0);
}
