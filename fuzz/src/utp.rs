//! The promises of uTP: any datagram is read or refused, and sockets stay within their limits and
//! keep their streams in order whatever comes, in whatever order.

use std::{net::SocketAddr, time::Duration};

use cratetorrent::{
    Instant,
    utp::{UtpEvent, UtpLimits, UtpSockets},
    wire::utp::{MAX_SACK, Packet},
};

/// What decodes encodes to a packet that decodes to the same.
pub fn utp(data: &[u8]) {
    let Ok(packet) = Packet::decode(data) else { return };
    assert!(packet.sacked().count() <= 8 * 256 && packet.payload.len() < data.len());
    let mut again = Vec::new();
    let sack = packet.sack.get(..packet.sack.len().min(MAX_SACK)).unwrap_or_default();
    let packet = Packet { sack, ..packet };
    packet.encode(&mut again);
    assert_eq!(Packet::decode(&again), Ok(packet));
}

/// Two hosts under a sequence of operations: each is a byte that says what, a byte that says how
/// much, a length, and so many bytes. Datagrams on their way are delivered, lost, doubled, changed
/// or made up. Nothing panics, every limit holds, and as long as no datagram was changed or made up
/// what is read is what was written.
pub fn utp_stream(data: &[u8]) {
    let mut limits = UtpLimits::default();
    (limits.max_sockets, limits.max_unconfirmed) = (8, 4);
    (limits.max_window, limits.max_memory) = (20_000, 40_000);
    let addr = |n: u8| SocketAddr::from(([192, 0, 2, n], 1));
    let mut hosts = [1, 2].map(|n| UtpSockets::new(limits.clone(), n));
    let mut now = Instant::ZERO;
    // Datagrams on their way to each host; sockets of each; bytes written and read by each.
    let mut ways: [Vec<Vec<u8>>; 2] = Default::default();
    let mut keys: [Vec<_>; 2] = Default::default();
    let (mut written, mut read) = ([0u64; 2], [0u64; 2]);
    let mut honest = true;
    let mut rest = data;
    while let [what, n, len, tail @ ..] = rest {
        let (body, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        let to = usize::from(*n) % 2;
        let from = addr(2 - to as u8);
        let pick = usize::from(*n / 2);
        match what % 10 {
            0 | 1 if !ways[to].is_empty() => {
                // In order, or not.
                let at = if what % 10 == 0 { 0 } else { pick % ways[to].len() };
                let datagram = ways[to].remove(at);
                hosts[to].handle_datagram(now, from, &datagram, true);
            }
            2 if !ways[to].is_empty() => _ = ways[to].remove(pick % ways[to].len()),
            3 if !ways[to].is_empty() => {
                let again = ways[to][pick % ways[to].len()].clone();
                ways[to].push(again);
            }
            4 if !ways[to].is_empty() && !body.is_empty() => {
                honest = false;
                let at = pick % ways[to].len();
                ways[to][at].iter_mut().zip(body).for_each(|(byte, change)| *byte ^= change);
            }
            5 => {
                honest = false;
                let from = if pick % 2 == 0 { from } else { addr(*n) };
                hosts[to].handle_datagram(now, from, body, pick % 3 == 0);
            }
            6 => {
                now = now + Duration::from_millis(u64::from(*n) * u64::from(*len));
                hosts.iter_mut().for_each(|host| host.handle_timeout(now));
            }
            7 => keys[to].extend(hosts[to].connect(now, from)),
            8 => {
                // One socket alone writes: streams are told apart by nothing else here.
                let Some(&key) = keys[to].first() else { continue };
                let len = usize::from(*len) * (pick + 1);
                let bytes: Vec<u8> = (0..len as u64).map(|at| (written[to] + at) as u8).collect();
                written[to] += hosts[to].write(now, key, &bytes) as u64;
            }
            9 if pick % 8 == 0 => {
                let Some(&key) = keys[to].get(pick / 8) else { continue };
                hosts[to].close(now, key, Some(u16::from(*len)));
            }
            _ => hosts[to].handle_drained(),
        }
        for host in 0..2 {
            while let Some(event) = hosts[host].poll_event() {
                match event {
                    UtpEvent::Accepted { socket, .. } => keys[host].push(socket),
                    UtpEvent::Readable { socket } => {
                        let bytes = hosts[host].bytes(socket);
                        let len = bytes.len();
                        if honest && keys[1 - host].len() == 1 && keys[host].len() == 1 {
                            assert!(bytes.iter().all(|&byte| {
                                read[host] += 1;
                                byte == (read[host] - 1) as u8
                            }));
                        } else {
                            honest = false;
                        }
                        hosts[host].read(now, socket, len);
                    }
                    UtpEvent::Closed { socket, .. } => {
                        honest = false;
                        keys[host].retain(|&key| key != socket);
                    }
                    _ => {}
                }
            }
            let mut out = Vec::new();
            let mut bursts = 0;
            while let Some(burst) = hosts[host].poll_transmit(now, &mut out) {
                bursts += 1;
                assert!(bursts <= 10_000 && burst.segment > 0 && out.len() <= 65_535);
                assert!(out.len() <= 64 * burst.segment && burst.segment <= 1472);
                let datagrams = out.chunks(burst.segment).map(<[u8]>::to_vec);
                ways[1 - host]
                    .extend(datagrams.take(usize::from(burst.to == addr(2 - host as u8)) * 64));
            }
            ways[1 - host].truncate(200);
            let stats = hosts[host].stats();
            assert!(stats.sockets <= 8 && stats.memory <= 40_000 + 8 * 16 * 1024, "{stats:?}");
        }
    }
}
