//! The size of packets: a search for the largest that arrives whole (as BEP 29 asks for; the
//! algorithm is that of RFC 8899), with one packet of another size on its way at a time.
//!
//! A probe is a packet of the stream that must not be fragmented on its way. If it is lost it is
//! sent again and may be, so it arrives in any case; its loss is no sign of congestion.

use std::{net::IpAddr, time::Duration};

use crate::{base::time::Instant, wire::utp::HEADER_LEN};

/// Headers of IP and UDP in front of a datagram, by IPv4 and by IPv6.
const HEADERS: [u16; 2] = [20 + 8, 40 + 8];
/// What a packet has at least, by either: with its headers the 1280 bytes that every path of IPv6
/// carries (RFC 8200, section 5). By IPv4 a path has to carry less, but what is no probe may be
/// fragmented on its way, and nearly all carry it whole (RFC 8899 begins at 1200).
const FIRST: u16 = 1280 - HEADERS[1];
/// The same behind a relay of either family, which wants a header of its own of up to 22 bytes
/// before each packet (RFC 1928, section 7).
pub(super) const RELAYED: u16 = FIRST - 22;
/// The largest by IPv4, in an Ethernet frame, and by IPv6. There no router fragments what is too
/// large, and a packet of the stream keeps its bytes: a probe that is lost could not be sent again.
pub(super) const LARGEST: [u16; 2] = [1500 - HEADERS[0], FIRST];
/// Nearer than this is found.
const EXACT: u16 = 8;
/// After so long the search begins anew (libutp: 30 min).
const AGAIN: Duration = Duration::from_secs(30 * 60);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct MtuSearch {
    /// The largest size that has arrived, and the largest that may.
    floor: u16,
    ceiling: u16,
    largest: u16,
    /// The size of the probe that is on its way.
    probe: Option<u16>,
    /// When the ceiling was found.
    found: Instant,
}

impl MtuSearch {
    /// No packet is longer than `most`.
    pub(super) fn new(remote: IpAddr, most: u16, now: Instant) -> Self {
        let [v4, v6] = LARGEST;
        let largest = if remote.to_canonical().is_ipv4() { v4 } else { v6 }.min(most);
        Self { floor: FIRST.min(most), ceiling: largest, largest, probe: None, found: now }
    }

    /// Bytes of the stream in a packet of the usual size.
    pub(super) fn payload(&self) -> usize {
        usize::from(self.floor).saturating_sub(HEADER_LEN)
    }

    /// Bytes of the stream in the next probe, if one may be sent.
    pub(super) fn next_probe(&mut self, now: Instant) -> Option<usize> {
        if self.probe.is_some() {
            return None;
        }
        if now >= self.found + AGAIN {
            (self.ceiling, self.found) = (self.largest, now);
        }
        if self.ceiling.saturating_sub(self.floor) < EXACT {
            return None;
        }
        // The largest first: it is what most paths carry.
        let size = if self.ceiling == self.largest {
            self.ceiling
        } else {
            self.floor.midpoint(self.ceiling)
        };
        Some(usize::from(size).saturating_sub(HEADER_LEN))
    }

    /// A probe with so many bytes of the stream is on its way.
    pub(super) fn handle_sent(&mut self, payload: usize) {
        self.probe = u16::try_from(payload + HEADER_LEN).ok();
    }

    /// The probe has arrived.
    pub(super) fn handle_arrived(&mut self, now: Instant) {
        if let Some(size) = self.probe.take() {
            (self.floor, self.found) = (self.floor.max(size), now);
        }
    }

    /// The probe is lost, but not because of its size, as far as is known: others were, too.
    pub(super) fn handle_unknown(&mut self) {
        self.probe = None;
    }

    /// The probe is lost.
    pub(super) fn handle_lost(&mut self, now: Instant) {
        if let Some(size) = self.probe.take() {
            self.ceiling = self.floor.max(size.saturating_sub(1));
            self.found = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(remote: &str, carries: u16) -> (MtuSearch, usize) {
        let mut search = MtuSearch::new(remote.parse().unwrap(), LARGEST[0], Instant::ZERO);
        let mut probes = 0;
        while let Some(payload) = search.next_probe(Instant::ZERO) {
            probes += 1;
            search.handle_sent(payload);
            assert_eq!(search.next_probe(Instant::ZERO), None, "one at a time");
            if payload + HEADER_LEN <= usize::from(carries) {
                search.handle_arrived(Instant::ZERO);
            } else {
                search.handle_lost(Instant::ZERO);
            }
        }
        (search, probes)
    }

    #[test]
    fn search_finds_what_the_path_carries_in_few_probes() {
        for (remote, carries, most) in [("192.0.2.1", 1472, 1), ("2001:db8::1", FIRST, 0)] {
            let (search, probes) = search(remote, carries);
            assert_eq!((search.payload(), probes), (usize::from(carries) - HEADER_LEN, most));
        }
        for carries in [1232, 1250, 1300, 1400, 1471] {
            let (search, probes) = search("192.0.2.1", carries);
            let found = search.payload() + HEADER_LEN;
            assert!(
                found <= usize::from(carries) && found + usize::from(EXACT) > usize::from(carries)
            );
            assert!(probes <= 8, "{probes}");
        }
    }

    #[test]
    fn search_begins_anew_after_half_an_hour() {
        let (mut search, _) = search("192.0.2.1", 1300);
        let later = Instant::ZERO + AGAIN;
        assert_eq!(search.next_probe(later - Duration::from_secs(1)), None);
        assert_eq!(search.next_probe(later), Some(1472 - HEADER_LEN));
    }
}
