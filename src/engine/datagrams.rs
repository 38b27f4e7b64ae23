//! Datagrams of all protocols come in by one door, since they share the sockets on our ports: the
//! first bytes tell whose each is. It knows how datagrams begin, and no more of any protocol.
//!
//! A protocol moves in with: a name in [`DatagramOwner`] for what it sends
//! ([`Effect::Datagram`](crate::driver::Effect::Datagram)), an arm in [`Engine::handle_datagram`]
//! for what comes and one in [`Engine::handle_unsent`], an [`Owner`](super::io::Owner) of its
//! deadlines, an [`Asker`](super::names::Asker) if it looks names up, and a call in
//! `Engine::poll_effect` that takes over what it wants.

use std::{io, net::SocketAddr};

use crate::{
    base::{target::Target, time::Instant},
    conf::Traffic,
    engine::{DatagramOwner, Engine},
    proto::port_mapping::is_routers,
    wire::socks,
};

/// Whose a datagram is, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// A bencoded dictionary: DHT (BEP 5).
    Krpc,
    /// A header of version 1: uTP (BEP 29).
    Utp,
    /// An action and a transaction: an answer of a tracker (BEP 15).
    Tracker,
    /// An answer of the router: NAT-PMP, PCP, SSDP.
    Router,
    Unknown,
}

/// Bytes of a uTP header without extensions (BEP 29).
const UTP_HEADER_LEN: usize = 20;
/// The highest type of a uTP packet, ST_SYN.
const UTP_LAST_TYPE: u8 = 4;

impl Protocol {
    /// No two can be confused: a tracker's answer begins with 0, a uTP header with a byte whose
    /// lower half is 1, and a dictionary with `d`, which is 0x64.
    fn of(data: &[u8]) -> Self {
        match data {
            // Some nodes send line ends behind their packets.
            [b'd', rest @ ..] if rest.trim_ascii_end().ends_with(b"e") => Self::Krpc,
            [0, 0, 0, _, _, _, _, _, ..] => Self::Tracker,
            [first, ..]
                if first & 0x0F == 1
                    && first >> 4 <= UTP_LAST_TYPE
                    && data.len() >= UTP_HEADER_LEN =>
            {
                Self::Utp
            }
            data if is_routers(data) => Self::Router,
            _ => Self::Unknown,
        }
    }
}

impl Engine {
    /// A datagram came from `from`. What belongs to no protocol that is spoken here, and what no
    /// question of ours has asked for, is ignored.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        self.handle_tick(now);
        if self.ways.proxy.is_relay(from) {
            if let Ok((from, data)) = socks::decode_datagram(data) {
                self.ways.proxy.note_received();
                self.datagram_from(&from, data, true);
            }
        } else {
            self.datagram_from(&from.into(), data, false);
        }
    }

    /// A datagram came, by the proxy's relay or straight. What came by another way than what is
    /// sent is not heard.
    fn datagram_from(&mut self, from: &Target, data: &[u8], relayed: bool) {
        let protocol = Protocol::of(data);
        let traffic = match protocol {
            Protocol::Tracker => Traffic::Trackers,
            Protocol::Krpc => Traffic::Dht,
            Protocol::Utp => Traffic::Peers,
            Protocol::Router => {
                if let (&Target::Addr(from), false) = (from, relayed) {
                    self.mapping_datagram(from, data);
                }
                return;
            }
            Protocol::Unknown => return,
        };
        if self.cx.conf.proxy.carries(traffic) != relayed {
            return;
        }
        match (protocol, from) {
            (Protocol::Tracker, _) => self.tracker_datagram(from, data),
            (Protocol::Krpc, &Target::Addr(from)) => self.dht_datagram(from, data),
            (Protocol::Utp, &Target::Addr(from)) => self.utp_datagram(from, data),
            _ => {}
        }
    }

    /// A datagram could not be sent: there is no socket of its family, or the system refuses it.
    pub fn handle_unsent(&mut self, now: Instant, owner: DatagramOwner, why: io::ErrorKind) {
        self.handle_tick(now);
        match owner {
            DatagramOwner::Tracker(call) => self.call_unsent(call, why),
            // It is as good as lost.
            DatagramOwner::Dht | DatagramOwner::None => {}
            DatagramOwner::Lsd => self.multicast_failed(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_told_apart_by_their_first_bytes() {
        let utp = |first: u8| [&[first][..], &[0; 19]].concat();
        for (data, protocol) in [
            (b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t2:aa1:y1:qe".to_vec(), Protocol::Krpc),
            (b"de".to_vec(), Protocol::Krpc),
            (b"d1:t2:aa1:y1:re\r\n".to_vec(), Protocol::Krpc),
            (b"d\n".to_vec(), Protocol::Unknown),
            (b"d1:a".to_vec(), Protocol::Unknown),
            (b"d".to_vec(), Protocol::Unknown),
            (utp(0x01), Protocol::Utp),
            (utp(0x41), Protocol::Utp),
            (utp(0x51), Protocol::Unknown),
            (utp(0x02), Protocol::Unknown),
            (utp(0x41)[..19].to_vec(), Protocol::Unknown),
            (vec![0, 0, 0, 0, 1, 2, 3, 4], Protocol::Tracker),
            ([&[0, 0, 0, 3][..], &[7; 90]].concat(), Protocol::Tracker),
            (vec![0, 0, 0, 1, 1, 2, 3], Protocol::Unknown),
            (vec![0, 129, 0, 0], Protocol::Router),
            (vec![2, 0x81, 0, 0], Protocol::Router),
            (b"HTTP/1.1 200 OK".to_vec(), Protocol::Router),
            (Vec::new(), Protocol::Unknown),
        ] {
            assert_eq!(Protocol::of(&data), protocol, "{data:?}");
        }
    }
}
