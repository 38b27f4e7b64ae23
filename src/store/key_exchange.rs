//! The arithmetic of an encrypted handshake: powers modulo a prime of 768 bits. What they are for
//! it does not know.

use crate::base::job::key_exchange::KeyExchange;

#[cfg(feature = "mse")]
mod arithmetic {
    use crypto_bigint::{U192, U768, const_monty_params, modular::ConstMontyForm};

    use crate::base::job::key_exchange::KEY_LEN;

    const_monty_params!(
        Modulus,
        U768,
        "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
         020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
         4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
        "The prime of message stream encryption."
    );
    type Residue = ConstMontyForm<Modulus, { U768::LIMBS }>;
    const GENERATOR: Residue = Residue::new(&U768::from_u8(2));
    const SECRET_BITS: u32 = 160;

    fn power(base: &Residue, secret: &[u8; 20]) -> [u8; KEY_LEN] {
        let mut padded = [0; 24];
        padded[4..].copy_from_slice(secret);
        let exponent = U192::from_be_slice(&padded);
        base.pow_bounded_exp(&exponent, SECRET_BITS).retrieve().to_be_bytes().into()
    }

    pub(super) fn public(secret: &[u8; 20]) -> Option<[u8; KEY_LEN]> {
        Some(power(&GENERATOR, secret))
    }

    pub(super) fn shared(secret: &[u8; 20], theirs: &[u8; KEY_LEN]) -> Option<[u8; KEY_LEN]> {
        Some(power(&Residue::new(&U768::from_be_slice(theirs)), secret))
    }
}

#[cfg(not(feature = "mse"))]
mod arithmetic {
    use crate::base::job::key_exchange::KEY_LEN;

    pub(super) fn public(_: &[u8; 20]) -> Option<[u8; KEY_LEN]> {
        None
    }

    pub(super) fn shared(_: &[u8; 20], _: &[u8; KEY_LEN]) -> Option<[u8; KEY_LEN]> {
        None
    }
}

/// Computes what is missing and can be known.
pub(super) fn run(exchange: &mut KeyExchange) {
    let KeyExchange { secret, ours, theirs, shared } = exchange;
    if ours.is_none() {
        *ours = arithmetic::public(secret);
    }
    if let Some(theirs) = theirs {
        *shared = arithmetic::shared(secret, theirs);
    }
}

#[cfg(all(test, feature = "mse"))]
mod tests {
    use sha1::{Digest, Sha1};

    use super::*;
    use crate::base::job::key_exchange::{KEY_LEN, PRIME};

    fn exchange(secret: [u8; 20], theirs: Option<[u8; KEY_LEN]>) -> KeyExchange {
        let mut exchange = KeyExchange { secret, ours: None, theirs, shared: None };
        run(&mut exchange);
        exchange
    }

    /// Of 256 seeds, three of which have a leading zero in a public key or in what both know, all
    /// numbers are those of Python, by the SHA-1 of all of them:
    ///
    /// ```text
    /// for n in range(256):
    ///     a, c = (int.from_bytes(sha1(x + bytes([n])).digest(), "big") for x in (b"a", b"c"))
    ///     ya, yc = pow(2, a, P), pow(2, c, P)
    ///     for number in (ya, yc, pow(ya, c, P)): digest.update(number.to_bytes(96, "big"))
    /// ```
    #[test]
    fn numbers_of_256_seeds_are_those_of_another_program() {
        let (mut all, mut zeros) = (Sha1::new(), 0);
        for n in 0..=255 {
            let secret = |name: u8| Sha1::digest([name, n]).into();
            let ours = exchange(secret(b'a'), None).ours.unwrap();
            let c = exchange(secret(b'c'), Some(ours));
            let (theirs, shared) = (c.ours.unwrap(), c.shared.unwrap());
            assert_eq!(exchange(secret(b'a'), Some(theirs)).shared, Some(shared));
            for number in [ours, theirs, shared] {
                zeros += usize::from(number[0] == 0);
                all.update(number);
            }
        }
        let digest: [u8; 20] = all.finalize().into();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((hex.as_str(), zeros), ("0b0f00e3b85a1fd4d8662c6a02754e2d0fab6b40", 3));
    }

    #[test]
    fn modulus_is_the_prime_and_a_known_key_is_kept() {
        let mut minus_one = PRIME;
        minus_one[KEY_LEN - 1] -= 1;
        // An even power of -1 is 1 only modulo the prime.
        let mut secret = [0; 20];
        secret[19] = 2;
        let mut one = [0; KEY_LEN];
        one[KEY_LEN - 1] = 1;
        assert_eq!(exchange(secret, Some(minus_one)).shared, Some(one));
        let known = KeyExchange { secret, ours: Some(one), theirs: None, shared: None };
        let mut after = known.clone();
        run(&mut after);
        assert_eq!(after, known);
    }
}
