//! What we have asked of one peer: how much to ask, how fast it answers, and when to give up on it.
//!
//! The depth follows the bandwidth-delay product: doubled each round trip at first (slow start),
//! then what the measured rate fills in two round trips and a bounded queue. It does not know which
//! blocks there are; the picker does.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use crate::{
    base::{
        geometry::{BLOCK_LEN, Block},
        rate::RateMeter,
        time::Instant,
    },
    conf::Conf,
};

/// Never fewer on order than this from a peer that works: one arriving and one behind it. Where
/// blocks take long more would keep them from others who may have them sooner.
const MIN_DEPTH: usize = 2;
/// How long slow start goes on at least, beside four round trips: the rate is an average over a
/// second.
const SLOW_START_TRUST: Duration = Duration::from_secs(1);
/// Patience with a peer whose round trip is not known yet.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);
/// What a first block may take.
const FIRST_EXPECTATION: Duration = Duration::from_secs(1);

/// The requests to one peer.
#[derive(Debug)]
pub(crate) struct Pipeline {
    asked: VecDeque<Asked>,
    /// Given up on (choked, timed out, cancelled) and perhaps still on its way.
    late: VecDeque<Block>,
    depth: usize,
    slow_start: bool,
    /// When asking began, after a pause.
    began: Instant,
    rate: RateMeter,
    rtt: Option<Rtt>,
    /// When the peer last did what we want, were it a part of a block: since then the snub timer
    /// runs.
    progress: Instant,
    /// The same without parts of blocks: a peer that sends a byte now and then delivers nothing.
    delivered: Instant,
    snubbed: bool,
    /// Since when we do not read what it sends.
    held: Option<Instant>,
    /// What the peer says it will queue (BEP 10 `reqq`).
    cap: usize,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    block: Block,
    at: Instant,
}

/// Times from request to block (Jacobson's estimator, as in RFC 6298), and the shortest seen.
#[derive(Clone, Copy, Debug)]
struct Rtt {
    smooth: Duration,
    var: Duration,
    min: Duration,
}

/// What an arriving block was to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// On order.
    Asked,
    /// We had given up on it.
    Late,
    /// Never on order.
    Unasked,
}

impl Pipeline {
    pub(crate) fn new(now: Instant, conf: &Conf) -> Self {
        Self {
            asked: VecDeque::new(),
            late: VecDeque::new(),
            depth: conf.requests.initial_pipeline.min(conf.requests.max_pipeline),
            slow_start: true,
            began: now,
            rate: RateMeter::new(now),
            rtt: None,
            progress: now,
            delivered: now,
            snubbed: false,
            held: None,
            cap: conf.requests.max_pipeline,
        }
    }

    /// Requests not yet answered.
    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    /// The blocks on order.
    pub(crate) fn asked(&self) -> impl Iterator<Item = Block> + '_ {
        self.asked.iter().map(|asked| asked.block)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// How many more to ask for now, if there may be `limit` in all.
    pub(crate) fn room(&self, limit: usize) -> usize {
        self.depth.min(self.cap).min(limit).saturating_sub(self.asked.len())
    }

    pub(crate) fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// Bytes per second of blocks.
    pub(crate) fn rate(&self, now: Instant) -> u64 {
        self.rate.rate(now)
    }

    /// The same over the last ten seconds, to be shown.
    pub(crate) fn shown_rate(&self, now: Instant) -> u64 {
        self.rate.shown(now)
    }

    /// Bytes of blocks since the beginning.
    pub(crate) fn total(&self) -> u64 {
        self.rate.total()
    }

    pub(crate) fn is_asked(&self, block: Block) -> bool {
        self.asked.iter().any(|a| a.block == block)
    }

    /// How long a block takes from now, as far as is known.
    pub(crate) fn expected(&self) -> Duration {
        self.rtt.map_or(FIRST_EXPECTATION, |rtt| rtt.smooth + rtt.var * 2)
    }

    /// Whether nothing is known of it yet.
    pub(crate) fn is_new(&self) -> bool {
        self.rtt.is_none()
    }

    /// Whether it is known to deliver within what a first block may take.
    pub(crate) fn is_quick(&self) -> bool {
        self.rtt.is_some() && !self.snubbed && self.expected() <= FIRST_EXPECTATION
    }

    /// The peer says that it queues at most `requests`.
    pub(crate) fn set_cap(&mut self, requests: u32, conf: &Conf) {
        self.cap = (requests.max(1) as usize).min(conf.requests.max_pipeline);
    }

    /// How many requests the peer queues, as far as that is of use.
    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// `block` is being asked for.
    pub(crate) fn ask(&mut self, now: Instant, block: Block) {
        if self.asked.is_empty() {
            (self.progress, self.delivered) = (now, now);
            if self.rate.total() == 0 {
                self.began = now;
            }
        }
        self.asked.push_back(Asked { block, at: now });
    }

    /// A block arrived, whole.
    #[must_use]
    pub(crate) fn handle_block(&mut self, now: Instant, block: Block, conf: &Conf) -> Arrival {
        let Some(at) = self.asked.iter().position(|a| a.block == block) else {
            let Some(late) = self.late.iter().position(|&b| b == block) else {
                return Arrival::Unasked;
            };
            self.late.remove(late);
            self.rate.add(now, u64::from(block.len));
            self.revive(now, conf);
            return Arrival::Late;
        };
        if let Some(asked) = self.asked.remove(at) {
            let took = now.since(asked.at);
            self.measure(took);
            // What has waited behind others for so long was asked for too early.
            self.slow_start &=
                self.rtt.is_none_or(|rtt| took.saturating_sub(rtt.min) <= conf.requests.queue_time);
        }
        let gap = now.since(self.delivered);
        self.rate.add(now, u64::from(block.len));
        self.revive(now, conf);
        self.adapt(now, gap, conf);
        Arrival::Asked
    }

    /// Part of a block arrived: the peer is slow, not silent.
    pub(crate) fn handle_partial(&mut self, now: Instant) {
        self.progress = now;
    }

    /// We stop reading what it sends, for reasons of our own: it cannot be late meanwhile.
    pub(crate) fn hold(&mut self, now: Instant) {
        self.held.get_or_insert(now);
    }

    /// We read on; returns how long we did not, which does not count.
    pub(crate) fn go_on(&mut self, now: Instant) -> Duration {
        let held = self.held.take().map_or(Duration::ZERO, |since| now.since(since));
        (self.progress, self.delivered) =
            ((self.progress + held).min(now), (self.delivered + held).min(now));
        held
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The peer will not send `block` (BEP 6); true if it was on order.
    #[must_use]
    pub(crate) fn handle_reject(&mut self, now: Instant, block: Block) -> bool {
        let was = self.remove(block);
        if was {
            (self.progress, self.delivered) = (now, now);
        }
        was
    }

    /// The peer will not send a block that we had given up on, which is its answer to that order
    /// (BEP 6); false if there is none.
    #[must_use]
    pub(crate) fn handle_late_reject(&mut self, block: Block) -> bool {
        let late = self.late.iter().position(|&b| b == block);
        late.is_some_and(|at| self.late.remove(at).is_some())
    }

    /// We do not want `block` any more; true if it was on order. It may still come.
    #[must_use]
    pub(crate) fn cancel(&mut self, block: Block, conf: &Conf) -> bool {
        let was = self.remove(block);
        if was {
            self.remember_late(block, conf);
        }
        was
    }

    /// We do not want the blocks any more for which `pointless` holds. Returns those that were on
    /// order. They may still come.
    pub(crate) fn cancel_all(
        &mut self,
        pointless: impl Fn(Block) -> bool,
        conf: &Conf,
    ) -> Vec<Block> {
        let mut blocks: Vec<Block> =
            self.asked.iter().map(|a| a.block).filter(|&block| pointless(block)).collect();
        blocks.retain(|&block| self.cancel(block, conf));
        blocks
    }

    /// Gives up on everything on order, and returns it. It may still come.
    pub(crate) fn give_up(&mut self, conf: &Conf) -> Vec<Block> {
        let blocks: Vec<Block> = self.asked.drain(..).map(|a| a.block).collect();
        for &block in &blocks {
            self.remember_late(block, conf);
        }
        blocks
    }

    /// When the peer counts as snubbing if it sends nothing we asked for until then. Never while it
    /// is held.
    pub(crate) fn deadline(&self, conf: &Conf) -> Option<Instant> {
        let longest = conf.requests.timeout_max.max(conf.requests.timeout_min);
        (!self.asked.is_empty() && self.held.is_none())
            .then(|| (self.progress + self.timeout(conf)).min(self.delivered + longest))
    }

    /// If the deadline has passed, the peer is snubbing: everything on order is given up and
    /// returned, and one block at a time will be tried until it answers.
    #[must_use]
    pub(crate) fn handle_timeout(&mut self, now: Instant, conf: &Conf) -> Option<Vec<Block>> {
        if self.deadline(conf)? > now {
            return None;
        }
        self.snubbed = true;
        self.slow_start = false;
        self.depth = 1;
        Some(self.give_up(conf))
    }

    fn timeout(&self, conf: &Conf) -> Duration {
        let (min, max) =
            (conf.requests.timeout_min, conf.requests.timeout_max.max(conf.requests.timeout_min));
        let base = match self.rtt {
            Some(rtt) => rtt.smooth.saturating_mul(2).saturating_add(rtt.var.saturating_mul(4)),
            None => FIRST_TIMEOUT,
        };
        if self.snubbed { max } else { base.clamp(min, max) }
    }

    fn remove(&mut self, block: Block) -> bool {
        let found = self.asked.iter().position(|a| a.block == block);
        found.is_some_and(|at| self.asked.remove(at).is_some())
    }

    fn remember_late(&mut self, block: Block, conf: &Conf) {
        if self.late.len() >= conf.requests.max_pipeline {
            self.late.pop_front();
        }
        self.late.push_back(block);
    }

    fn measure(&mut self, sample: Duration) {
        self.rtt = Some(match self.rtt {
            None => Rtt { smooth: sample, var: sample / 2, min: sample },
            Some(Rtt { smooth, var, min }) => {
                let error = smooth.abs_diff(sample);
                Rtt {
                    smooth: (smooth * 7 + sample) / 8,
                    var: (var * 3 + error) / 4,
                    min: min.min(sample),
                }
            }
        });
    }

    /// A useful block came: whatever we thought of the peer, it works.
    fn revive(&mut self, now: Instant, conf: &Conf) {
        (self.progress, self.delivered) = (now, now);
        if self.snubbed {
            self.snubbed = false;
            self.slow_start = true;
            self.began = now;
            self.depth = conf.requests.initial_pipeline.min(conf.requests.max_pipeline);
        }
    }

    /// A block came `gap` after the one before, or after asking began.
    fn adapt(&mut self, now: Instant, gap: Duration, conf: &Conf) {
        if self.slow_start {
            // One more for each that comes: twice as many a round trip, until they only queue up.
            self.depth =
                (self.depth + 1).min(self.unqueued_depth(conf)).min(conf.requests.max_pipeline);
            let trusted = now.since(self.began)
                >= SLOW_START_TRUST + self.rtt.map_or(Duration::ZERO, |r| r.min * 4);
            self.slow_start =
                !(trusted && self.depth >= self.useful_depth(now, gap, conf).saturating_mul(2));
        } else {
            self.depth = self.useful_depth(now, gap, conf);
        }
    }

    /// What the measured rate fills in two round trips and in `queue_time`, of which at most
    /// `queue_len` counts.
    fn useful_depth(&self, now: Instant, gap: Duration, conf: &Conf) -> usize {
        // The average is over a second: if blocks come more seldom it is too high whenever one
        // comes.
        let rate =
            (self.rate.rate(now) as f64).min(f64::from(BLOCK_LEN) / gap.as_secs_f64().max(1e-6));
        let queue =
            (rate * conf.requests.queue_time.as_secs_f64()).min(conf.requests.queue_len as f64);
        let path = rate * self.rtt.map_or(Duration::ZERO, |r| r.min * 2).as_secs_f64();
        (((path + queue) / f64::from(BLOCK_LEN)) as usize)
            .clamp(MIN_DEPTH.min(conf.requests.max_pipeline), conf.requests.max_pipeline)
    }

    /// The same while the rate is not known: by Little's law the share of the shortest round trip
    /// in the smoothed one is the share of what is on order that is on its way and not waiting.
    fn unqueued_depth(&self, conf: &Conf) -> usize {
        let Some(rtt) = self.rtt else { return conf.requests.max_pipeline };
        let on_its_way =
            self.depth as f64 * rtt.min.as_secs_f64() / rtt.smooth.as_secs_f64().max(1e-6);
        (2.0 * on_its_way) as usize + (conf.requests.queue_len / BLOCK_LEN as usize).max(MIN_DEPTH)
    }
}
