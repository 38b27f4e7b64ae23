//! What others must not guess: write tokens and transaction ids, both made with a keyed hash.

use std::{net::IpAddr, time::Duration};

use ring::hmac;

use crate::{
    base::{rng::Rng, time::Instant},
    wire::krpc::NodeId,
};

/// How long a token is given out; it is accepted for as long again (BEP 5).
const TOKEN_TIME: Duration = Duration::from_secs(300);
/// Bytes of a token.
const TOKEN_LEN: usize = 8;

/// The key.
#[derive(Debug)]
pub(super) struct Secret {
    key: hmac::Key,
}

/// The key, and how many transaction ids it has made.
#[derive(Debug)]
pub(super) struct Transactions {
    key: hmac::Key,
    count: u64,
}

impl Transactions {
    /// The next transaction id.
    pub(super) fn next_id(&mut self) -> u32 {
        self.count += 1;
        let tag = hmac::sign(&self.key, &[b"t", &self.count.to_be_bytes()[..]].concat());
        tag.as_ref().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

impl Secret {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, seed) }
    }

    /// Transaction ids made with this key.
    pub(super) fn transactions(&self) -> Transactions {
        Transactions { key: self.key.clone(), count: 0 }
    }

    /// A generator for what needs no secrecy of its own.
    pub(super) fn rng(&self) -> Rng {
        let tag = hmac::sign(&self.key, b"r");
        Rng::new(tag.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    /// What allows `ip` to store something under `target`.
    pub(super) fn token(&self, now: Instant, ip: IpAddr, target: &NodeId) -> Vec<u8> {
        self.token_of(period(now), ip, target)
    }

    /// Whether a token was given to `ip` for `target` in this period or the one before.
    pub(super) fn accepts(&self, now: Instant, ip: IpAddr, target: &NodeId, token: &[u8]) -> bool {
        let period = period(now);
        [Some(period), period.checked_sub(1)].into_iter().flatten().any(|period| {
            let own = self.token_of(period, ip, target);
            // In the same time whatever differs.
            own.len() == token.len()
                && own.iter().zip(token).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
        })
    }

    fn token_of(&self, period: u64, ip: IpAddr, target: &NodeId) -> Vec<u8> {
        let mut text = b"w".to_vec();
        text.extend_from_slice(&period.to_be_bytes());
        match ip.to_canonical() {
            IpAddr::V4(ip) => text.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => text.extend_from_slice(&ip.octets()),
        }
        text.extend_from_slice(&target.0);
        hmac::sign(&self.key, &text).as_ref().iter().take(TOKEN_LEN).copied().collect()
    }
}

fn period(now: Instant) -> u64 {
    now.since(Instant::ZERO).as_secs() / TOKEN_TIME.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_bound_to_host_and_target_and_expires() {
        let secret = Secret::new(&[1; 32]);
        let (ip, target) = ("192.0.2.1".parse().unwrap(), NodeId([7; 20]));
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        let token = secret.token(at(299), ip, &target);
        assert!(secret.accepts(at(299), ip, &target, &token));
        assert!(secret.accepts(at(599), ip, &target, &token));
        assert!(!secret.accepts(at(600), ip, &target, &token));
        assert!(!secret.accepts(at(299), "192.0.2.2".parse().unwrap(), &target, &token));
        assert!(!secret.accepts(at(299), ip, &NodeId([8; 20]), &token));
        assert!(!secret.accepts(at(299), ip, &target, b""));
        assert!(!Secret::new(&[2; 32]).accepts(at(299), ip, &target, &token));
    }

    #[test]
    fn transaction_ids_differ() {
        let mut transactions = Secret::new(&[1; 32]).transactions();
        let ids: std::collections::BTreeSet<u32> =
            (0..1000).map(|_| transactions.next_id()).collect();
        assert!(ids.len() > 990);
    }
}
