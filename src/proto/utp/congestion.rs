//! How much may be on its way: LEDBAT (RFC 6817, BEP 29), so that a connection fills what others
//! leave and lets them go first.
//!
//! Five things are ours. The start doubles as TCP's does, or grows fourfold as long as bursts pass
//! at once, but leaves when the whole of a round has waited 10 ms in a queue, and goes on with what
//! the path was measured to carry. Near the target the window moves by what is missing, and above
//! it in proportion, not by a fixed step (as in LEDBAT++), so a queue comes to its length and
//! drains in a few round trips; the target and the base it is measured from are steered, too (see
//! target.rs and slow_down.rs). What a loss took is regained fast as long as no queue says that
//! others need it. And where a round trip is short (the same machine, the same network), what
//! overflows is a socket, of which no delay warns: the window is halved each time that much is
//! lost, and comes near to where that was in small steps.

use std::time::Duration;

use super::{
    base_delay::BaseDelay,
    number::is_before,
    round_trip::RoundTrip,
    slow_down::{Before, SlowDown},
    target::Target,
};
use crate::base::time::Instant;

/// Bytes that the window grows by in a round trip at most (libtorrent, libutp).
const GAIN: f64 = 3000.0;
/// Below the target by less than this part of it, the window grows by half of what is missing.
const NEAR_TARGET: f64 = 0.4;
/// The part of it that is always added, so that connections come to equal windows.
const PRESSURE: f64 = 0.1;
/// The quick start leaves when the shortest wait of a round is longer than this, in microseconds.
const START_RISE: u32 = 10_000;
/// A queue shorter than this leaves the path to be filled, in microseconds.
const NO_QUEUE: u32 = 3_000;
/// The window at the beginning, in packets: more than a block of 16 KiB, where RFC 6928 has 10.
const FIRST_PACKETS: f64 = 20.0;
/// The path is far from full as long as nothing waits longer than this part of the round trip.
const FAR_WAIT: u32 = 8;
/// How much the window grows by in a round trip of the start then, in windows.
const FAR_GROWTH: f64 = 3.0;
/// Samples of a round after which its shortest wait counts.
const ROUND_SAMPLES: u32 = 8;
/// The longest that a packet is believed to wait, in microseconds, besides the round trip.
const MAX_WAIT: u32 = 2_000_000;
/// Losses within this time, or a round trip if that is longer, are one.
const REDUCE_AGAIN: Duration = Duration::from_millis(100);
/// Round trips below this are short: in `REDUCE_AGAIN` the window would grow by a multiple of it.
const SHORT: Duration = Duration::from_millis(5);
/// More packets than this, and more than this part of a window, lost in a round trip or two are
/// much.
const MUCH_PACKETS: usize = 2;
const MUCH: f64 = 0.04;
/// From this part of the window at which much was lost on, and until it is so much beyond it, the
/// window grows by `GAIN` in `SHORT` instead of in a round trip.
const NEAR_EDGE: f64 = 0.75;
const BEYOND_EDGE: f64 = 1.1;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Congestion {
    /// Bytes that may be on their way.
    window: f64,
    /// Below this the window doubles each round trip.
    threshold: f64,
    most: f64,
    target: Target,
    slow_down: SlowDown,
    queue: Queue,
    round: Round,
    /// When the window was reduced last.
    reduced: Option<Instant>,
    losses: Losses,
    /// The window at which much was lost last; 0: none.
    edge: f64,
}

/// Bytes that were lost of what was sent since the window was reduced, in this round trip and in
/// the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    now: usize,
    before: usize,
}

/// What is known of the queue.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    base: BaseDelay,
    /// The last waits, of which the shortest counts: a single one is noise.
    recent: [u32; 3],
    at: usize,
}

/// A round trip's worth of packets.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// It is over when this number is acknowledged.
    end: u64,
    began: Instant,
    bytes: usize,
    shortest: u32,
    longest: u32,
    samples: u32,
    /// The longest wait of the round before.
    peak: u32,
    /// Whether the window was in use.
    limited: bool,
    /// Bytes a second that arrive when it is; falls slowly.
    rate: f64,
    /// The path is not full, and what a loss took is regained.
    regains: bool,
}

/// What an acknowledgement says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Bytes that have arrived.
    pub(super) bytes: usize,
    /// Bytes that were on their way before.
    pub(super) flight: usize,
    /// The first packet that is not acknowledged, and the next that will be sent.
    pub(super) first: u64,
    pub(super) next: u64,
}

/// What counts as lost now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    pub(super) bytes: usize,
    /// When the last of it was sent.
    pub(super) sent: Instant,
}

impl Congestion {
    /// `packet`: bytes of a packet; the window never has more than `most` bytes.
    pub(super) fn new(now: Instant, packet: usize, most: usize, next: u64) -> Self {
        let most = most.max(packet) as f64;
        Self {
            window: (FIRST_PACKETS * packet as f64).min(most),
            threshold: f64::MAX,
            most,
            target: Target::new(now),
            slow_down: SlowDown::new(now),
            queue: Queue::default(),
            round: Round::new(now, next),
            reduced: None,
            losses: Losses::default(),
            edge: 0.0,
        }
    }

    /// Bytes that may be on their way.
    pub(super) fn window(&self) -> usize {
        self.slow_down.limit(self.window as usize)
    }

    /// How long packets wait on their way, in microseconds, as far as is known.
    pub(super) fn queue_delay(&self) -> u32 {
        self.queue.recent.iter().copied().min().unwrap_or(0)
    }

    /// When [`handle_time`](Self::handle_time) is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.slow_down.due()
    }

    /// Time has passed.
    pub(super) fn handle_time(&mut self, now: Instant) {
        if self.slow_down.due().is_some_and(|at| at <= now)
            && let Some(window) = self.slow_down.grow(now)
        {
            self.window = window;
        }
    }

    /// The clock of the other side has gained so many microseconds on ours.
    pub(super) fn handle_drift(&mut self, micros: u32) {
        self.queue.base.shift(micros);
    }

    /// The other side has told a one-way delay.
    pub(super) fn handle_delay(&mut self, now: Instant, delay: u32, rtt: &RoundTrip) {
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let longest = micros(rtt.timeout()).saturating_add(MAX_WAIT).min(i32::MAX as u32);
        let before = self.queue.base.base();
        let Some(wait) = self.queue.base.handle_sample(now, delay, longest) else { return };
        if let (Some(before), Some(base)) = (before, self.queue.base.base())
            && is_before(base, before)
        {
            self.target.handle_lower_base(before.wrapping_sub(base));
        }
        self.target.handle_wait(now, wait);
        if self.target.is_no_queue(wait, NO_QUEUE) {
            self.slow_down.handle_no_queue(now);
        }
        if let Some(slot) = self.queue.recent.get_mut(self.queue.at % 3) {
            *slot = wait;
        }
        self.queue.at = (self.queue.at + 1) % 3;
        let round = &mut self.round;
        // Later in a round of the start our own burst is what is waited for.
        if round.samples < ROUND_SAMPLES || self.window >= self.threshold {
            round.shortest = round.shortest.min(wait);
        }
        round.longest = round.longest.max(wait);
        round.samples += 1;
    }

    /// Something has arrived.
    pub(super) fn handle_progress(
        &mut self,
        now: Instant,
        progress: Progress,
        packet: usize,
        rtt: &RoundTrip,
    ) {
        let (bytes, packet) = (progress.bytes as f64, packet as f64);
        let limited = progress.flight as f64 + 2.0 * packet > self.window;
        self.round.bytes += progress.bytes;
        self.round.limited |= limited;
        let left = progress.flight.saturating_sub(progress.bytes);
        self.slow_down.handle_flight(now, left, FIRST_PACKETS * packet);
        if self.slow_down.is_draining() {
            // What arrives then tells nothing of the path.
        } else if let Some(window) = self.slow_down.grow(now) {
            self.window = window;
        } else if self.window < self.threshold {
            // Half of the window in use is enough (as in Linux): blocks come in batches, one behind
            // the other, and between two of them there is room.
            if progress.flight as f64 * 2.0 >= self.window {
                let grows = if self.is_far_from_full(rtt) { FAR_GROWTH } else { 1.0 };
                self.window += grows * bytes.min(self.window);
            }
            if self.round.samples >= ROUND_SAMPLES && self.round.shortest > START_RISE {
                self.leave_start(now, rtt);
            }
        } else {
            self.steer(bytes, limited, rtt);
        }
        if progress.first >= self.round.end {
            self.end_round(now, rtt, packet);
            self.losses = Losses { now: 0, before: self.losses.now };
            self.round.begin(now, progress.next);
        }
        self.window = self.window.clamp(packet, self.most);
    }

    /// Whether the path carries several windows in a round trip: the last packet of a window that
    /// leaves in bursts waits for nearly all of it to pass. So four times the window is still less
    /// than the path takes. Only at the beginning: what follows a time-out is to be careful.
    fn is_far_from_full(&self, rtt: &RoundTrip) -> bool {
        let longest = u64::from(self.round.longest.max(self.round.peak));
        self.threshold == f64::MAX
            && Duration::from_micros(longest.saturating_mul(u64::from(FAR_WAIT))) < rtt.min()
    }

    /// LEDBAT proper.
    fn steer(&mut self, bytes: f64, limited: bool, rtt: &RoundTrip) {
        let target = self.target.micros();
        let off = 1.0 - f64::from(self.queue_delay()) / target;
        let share = bytes / self.window.max(1.0);
        if off < 0.0 {
            self.window -= bytes * (-off).min(0.5);
        }
        if limited {
            self.window += GAIN * off.max(PRESSURE) * share * self.care(rtt);
            if (0.0..NEAR_TARGET).contains(&off) {
                // Others keep the queue nearly there.
                let missing = off * target / 1e6 / seconds(rtt);
                self.window += bytes * (missing / 2.0).min(0.25);
            }
            if self.round.regains {
                self.window += bytes / 4.0;
            }
        }
    }

    /// The part of the gain that is left near a window at which much was lost.
    fn care(&self, rtt: &RoundTrip) -> f64 {
        let near = self.edge * NEAR_EDGE..self.edge * BEYOND_EDGE;
        let part = rtt.smoothed().unwrap_or_default().as_secs_f64() / SHORT.as_secs_f64();
        if near.contains(&self.window) { part.min(1.0) } else { 1.0 }
    }

    /// A round trip is over.
    fn end_round(&mut self, now: Instant, rtt: &RoundTrip, packet: f64) {
        let mut took = now.since(self.round.began);
        if rtt.min() < SHORT {
            // All of a window is acknowledged at once, as if it had taken no time.
            took = took.max(rtt.min());
        }
        let took = took.as_secs_f64();
        if self.round.limited && took > 0.0 {
            let passes = 1e6 * packet * took / self.round.bytes.max(1) as f64;
            self.target.handle_rate(self.window / seconds(rtt), passes);
            self.round.rate = (self.round.bytes as f64 / took).max(self.round.rate * 0.98);
        }
        if self.window < self.threshold
            && self.round.samples > 0
            && self.round.shortest > START_RISE
        {
            self.leave_start(now, rtt);
        }
        let carried = self.carried(rtt);
        self.round.regains =
            self.round.limited && self.round.shortest < NO_QUEUE && self.window < carried;
        self.target.handle_round(now);
        if self.round.limited && self.window >= self.threshold {
            let wait = Duration::from_micros(self.queue_delay().into());
            let before = Before { window: self.window, wait, trip: rtt.min() };
            self.slow_down.handle_round(now, before);
        }
    }

    /// What the path was measured to carry without a queue, in bytes.
    fn carried(&self, rtt: &RoundTrip) -> f64 {
        self.round.rate * rtt.min().as_secs_f64()
    }

    /// The path is full.
    fn leave_start(&mut self, now: Instant, rtt: &RoundTrip) {
        let took = now.since(self.round.began).as_secs_f64();
        let enough = rtt.min().as_secs_f64() / 2.0;
        if took > enough && took > 0.0 {
            self.round.rate = (self.round.bytes as f64 / took).max(self.round.rate * 0.98);
        }
        // With some queue, lest the path runs dry.
        let wanted = self.round.rate * (rtt.min().as_secs_f64() + 0.02);
        if wanted > 0.0 {
            self.window = self.window.min(wanted);
        }
        self.threshold = 0.0;
    }

    /// Packets were lost. The window becomes smaller for that: once in a while, or once in a short
    /// round trip if much is lost.
    pub(super) fn handle_loss(&mut self, now: Instant, loss: Loss, rtt: &RoundTrip, packet: usize) {
        let smoothed = rtt.smoothed().unwrap_or_default();
        let is_much = smoothed < SHORT && self.is_much(loss, packet);
        let pause = smoothed.max(REDUCE_AGAIN);
        if self.reduced.is_some_and(|at| now < at + pause) && !is_much {
            return;
        }
        if let Some(window) = self.slow_down.abandon(now) {
            self.window = window;
        }
        self.reduced = Some(now);
        self.losses = Losses::default();
        self.target.handle_loss(now, self.round.longest.max(self.round.peak));
        if is_much {
            self.edge = self.window;
        }
        self.window = (self.window / 2.0).max(packet as f64);
        self.threshold = 0.0;
    }

    /// Counts a loss, and tells whether it is much with those before, of what was sent since the
    /// window was reduced.
    fn is_much(&mut self, loss: Loss, packet: usize) -> bool {
        if self.reduced.is_some_and(|at| loss.sent <= at) {
            return false;
        }
        self.losses.now += loss.bytes;
        let lost = self.losses.now + self.losses.before;
        lost > MUCH_PACKETS * packet && lost as f64 > self.window * MUCH
    }

    /// Nothing was acknowledged in time: it begins again with one packet.
    pub(super) fn handle_timeout(&mut self, now: Instant, packet: usize) {
        let packet = packet as f64;
        if let Some(window) = self.slow_down.abandon(now) {
            self.window = window;
        }
        self.threshold = (self.window / 2.0).max(2.0 * packet).min(self.most);
        self.window = packet;
        self.reduced = Some(now);
    }

    /// Nothing was sent for a time-out: the path may be another now.
    pub(super) fn handle_idle(&mut self, packet: usize) {
        let first = (FIRST_PACKETS * packet as f64).min(self.most);
        if self.window > first {
            self.window = (self.window * 2.0 / 3.0).max(first);
        }
    }
}

/// The round trip in seconds.
fn seconds(rtt: &RoundTrip) -> f64 {
    rtt.smoothed().unwrap_or_default().as_secs_f64().max(1e-3)
}

impl Round {
    fn new(now: Instant, end: u64) -> Self {
        Self {
            end,
            began: now,
            bytes: 0,
            shortest: u32::MAX,
            longest: 0,
            samples: 0,
            peak: 0,
            limited: false,
            rate: 0.0,
            regains: false,
        }
    }

    fn begin(&mut self, now: Instant, end: u64) {
        let Self { longest, rate, regains, .. } = *self;
        *self = Self { peak: longest, rate, regains, ..Self::new(now, end) };
    }
}
