//! Connections of the virtual network: bytes that take their time, in pieces of any size, through
//! small buffers.
//!
//! A pipe knows bytes and times, not nodes or protocols. The world moves its events.

use std::{collections::VecDeque, time::Duration};

use crate::base::{rng::Rng, time::Instant};

/// How a node is connected to everybody else.
#[derive(Clone, Debug)]
pub struct Line {
    /// One way, half of it at either end.
    pub latency: Duration,
    /// Up to so much more, for each segment; the order is kept.
    pub jitter: Duration,
    /// Bytes per second that the node can send, over all its connections.
    pub bandwidth: u64,
    /// The shortest and the longest segment in bytes. Each is as long as chance has it.
    pub segment: (usize, usize),
    /// Bytes that wait in the sending socket; more are not taken.
    pub send_buffer: usize,
    /// Bytes on their way or unread, beyond which a receiver that does not read stops the sender.
    pub window: usize,
}

impl Default for Line {
    /// 10 ms, 10 MB/s, whole segments of up to 16 KiB.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(5),
            jitter: Duration::from_micros(500),
            bandwidth: 10_000_000,
            segment: (1, 16 * 1024),
            send_buffer: 64 * 1024,
            window: 128 * 1024,
        }
    }
}

impl Line {
    /// 1 ms, a gigabit: two machines in one room.
    pub fn lan() -> Self {
        let latency = Duration::from_micros(300);
        Self {
            latency,
            jitter: Duration::from_micros(50),
            bandwidth: 125_000_000,
            send_buffer: 1 << 20,
            window: 1 << 20,
            ..Self::default()
        }
    }

    /// 4 ms, 100 Mbit/s up.
    pub fn fibre() -> Self {
        let latency = Duration::from_millis(2);
        Self {
            latency,
            bandwidth: 12_500_000,
            send_buffer: 256 * 1024,
            window: 512 * 1024,
            ..Self::default()
        }
    }

    /// 30 ms, 10 Mbit/s up.
    pub fn dsl() -> Self {
        Self {
            latency: Duration::from_millis(15),
            jitter: Duration::from_millis(2),
            bandwidth: 1_250_000,
            ..Self::default()
        }
    }

    /// 80 ms and much jitter, 5 Mbit/s up.
    pub fn mobile() -> Self {
        Self {
            latency: Duration::from_millis(40),
            jitter: Duration::from_millis(60),
            bandwidth: 625_000,
            ..Self::default()
        }
    }

    /// 600 ms, 5 Mbit/s up.
    pub fn satellite() -> Self {
        let latency = Duration::from_millis(300);
        Self {
            latency,
            jitter: Duration::from_millis(5),
            bandwidth: 625_000,
            window: 512 * 1024,
            ..Self::default()
        }
    }

    /// 200 ms, 56 kbit/s.
    pub fn modem() -> Self {
        let latency = Duration::from_millis(100);
        Self {
            latency,
            bandwidth: 7_000,
            segment: (1, 576),
            send_buffer: 4096,
            window: 8192,
            ..Self::default()
        }
    }

    /// A line that cuts everything to crumbs of a few bytes, against code that expects messages to
    /// come whole.
    pub fn crumbs() -> Self {
        Self { segment: (1, 7), send_buffer: 61, ..Self::default() }
    }

    /// What `bytes` take to leave.
    pub(super) fn sending_time(&self, bytes: usize) -> Duration {
        Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / self.bandwidth.max(1))
    }

    pub(super) fn delay_to(&self, other: &Self, rng: &mut Rng) -> Duration {
        let jitter = (self.jitter + other.jitter).as_micros() as u64;
        self.latency + other.latency + Duration::from_micros(rng.below(jitter + 1))
    }
}

/// One way of a connection.
#[derive(Debug)]
pub(super) struct Pipe {
    /// In the sending socket.
    buffer: VecDeque<u8>,
    /// Bytes of the segment that is leaving; they take up buffer space.
    leaving: usize,
    /// Bytes on their way.
    in_flight: usize,
    /// Arrived, and not read by a receiver that does not read.
    pub(super) unread: Vec<u8>,
    /// The end has arrived behind it.
    pub(super) over: bool,
    /// Something was lost whose sender has forgotten it: nothing behind that can be read.
    pub(super) gap: bool,
    /// The last arrival promised: the next is not earlier.
    arrives: Instant,
    /// The sender would send more.
    pub(super) blocked: bool,
    /// The sender has closed; the end goes after the last byte.
    pub(super) ending: bool,
    /// Bytes that went in and that came out.
    pub(super) put: u64,
    pub(super) got: u64,
}

impl Pipe {
    pub(super) fn new() -> Self {
        Self {
            buffer: VecDeque::new(),
            leaving: 0,
            in_flight: 0,
            unread: Vec::new(),
            over: false,
            gap: false,
            arrives: Instant::ZERO,
            blocked: false,
            ending: false,
            put: 0,
            got: 0,
        }
    }

    /// Bytes that the socket takes now.
    pub(super) fn room(&self, line: &Line) -> usize {
        line.send_buffer.saturating_sub(self.buffer.len() + self.leaving)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
        self.put += bytes.len() as u64;
    }

    /// Drops what has not left, as a reset does.
    pub(super) fn reset(&mut self) {
        self.buffer.clear();
        self.ending = true;
    }

    /// Whether nothing was sent that has not arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty() && self.in_flight == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.leaving == 0
    }

    /// The next segment, if one may leave.
    pub(super) fn depart(&mut self, line: &Line, rng: &mut Rng) -> Option<Vec<u8>> {
        let window = line.window.saturating_sub(self.in_flight + self.unread.len());
        if self.leaving > 0 || self.buffer.is_empty() || window == 0 {
            return None;
        }
        let (min, max) = line.segment;
        let len = min as u64 + rng.below((max.saturating_sub(min) + 1) as u64);
        let len = (len as usize).clamp(1, self.buffer.len().min(window));
        self.leaving = len;
        self.in_flight += len;
        let mut segment = Vec::with_capacity(len);
        let (front, back) = self.buffer.as_slices();
        let part = front.len().min(len);
        segment.extend_from_slice(front.get(..part).unwrap_or_default());
        segment.extend_from_slice(back.get(..len - part).unwrap_or_default());
        self.buffer.drain(..len);
        if self.buffer.is_empty() {
            // In a large swarm most are idle.
            self.buffer = VecDeque::new();
        }
        Some(segment)
    }

    /// Whether the segment of so many bytes that is leaving is the first.
    pub(super) fn begins_with(&self, segment: usize) -> bool {
        self.got == 0 && self.unread.is_empty() && self.in_flight <= segment
    }

    /// The segment has left: when it arrives.
    pub(super) fn departed(&mut self, now: Instant, delay: Duration) -> Instant {
        self.leaving = 0;
        self.arrives = self.arrives.max(now + delay);
        self.arrives
    }

    pub(super) fn arrived(&mut self, bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_and_windows_hold_back() {
        let line = Line { segment: (3, 3), send_buffer: 8, window: 6, ..Line::default() };
        let mut rng = Rng::new(1);
        let mut pipe = Pipe::new();
        assert_eq!(pipe.room(&line), 8);
        pipe.push(b"abcdefgh");
        assert_eq!(pipe.room(&line), 0);
        assert_eq!(pipe.depart(&line, &mut rng).unwrap(), b"abc");
        assert_eq!(pipe.room(&line), 0, "it has not left yet");
        assert_eq!(pipe.depart(&line, &mut rng), None);
        let first = pipe.departed(Instant::from_micros(10), Duration::from_micros(50));
        assert_eq!(pipe.room(&line), 3);
        assert_eq!(pipe.depart(&line, &mut rng).unwrap(), b"def");
        let second = pipe.departed(Instant::from_micros(20), Duration::from_micros(1));
        assert_eq!(first, second, "nothing is overtaken");
        assert_eq!(pipe.depart(&line, &mut rng), None, "six bytes are on their way");
        pipe.arrived(3);
        assert_eq!(pipe.depart(&line, &mut rng).unwrap(), b"gh");
    }
}
