//! Which settings make no sense, one by one and together. It changes none.

use std::time::Duration;

use thiserror::Error;

use super::Conf;
use crate::base::geometry::BLOCK_LEN;

/// The picker counts the peers that have a piece in 16 bits.
const MAX_LINKS_PER_TORRENT: usize = u16::MAX as usize;

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Conf::{field} is {value}: {needs}")]
pub struct ConfError {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub needs: &'static str,
}

impl Conf {
    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        let check = |ok: bool, field, value: String, needs| {
            if ok { Ok(()) } else { Err(ConfError { field, value, needs }) }
        };
        let block = BLOCK_LEN as usize;
        check(
            self.client.len() <= 20 && self.client.bytes().all(|b| b.is_ascii_graphic()),
            "client",
            format!("{:?}", self.client),
            "at most 20 printable ASCII characters",
        )?;
        check(self.max_links > 0, "max_links", self.max_links.to_string(), "at least 1")?;
        check(
            (1..=MAX_LINKS_PER_TORRENT).contains(&self.max_links_per_torrent),
            "max_links_per_torrent",
            self.max_links_per_torrent.to_string(),
            "1 to 65535",
        )?;
        check(
            self.max_links_per_host > 0,
            "max_links_per_host",
            self.max_links_per_host.to_string(),
            "at least 1",
        )?;
        check(self.max_dials > 0, "max_dials", self.max_dials.to_string(), "at least 1")?;
        check(
            self.max_frame >= BLOCK_LEN + 9,
            "max_frame",
            self.max_frame.to_string(),
            "room for a block and its header, 16393",
        )?;
        check(
            self.max_pipeline > 0 && self.initial_pipeline > 0,
            "max_pipeline",
            self.max_pipeline.to_string(),
            "at least 1, as initial_pipeline",
        )?;
        check(
            self.run_len >= BLOCK_LEN && self.run_len.is_multiple_of(BLOCK_LEN),
            "run_len",
            self.run_len.to_string(),
            "a multiple of 16384",
        )?;
        check(
            self.max_piece_memory >= 2 * self.run_len as usize,
            "max_piece_memory",
            self.max_piece_memory.to_string(),
            "at least two runs",
        )?;
        check(
            self.allowed_fast <= 100,
            "allowed_fast",
            self.allowed_fast.to_string(),
            "at most 100",
        )?;
        check(self.workers <= 256, "workers", self.workers.to_string(), "at most 256")?;
        check(
            self.max_open_files > 0,
            "max_open_files",
            self.max_open_files.to_string(),
            "at least 1",
        )?;
        check(
            self.max_active_checks > 0,
            "max_active_checks",
            self.max_active_checks.to_string(),
            "at least 1",
        )?;
        check(self.max_checks > 0, "max_checks", self.max_checks.to_string(), "at least 1")?;
        check(self.read_len >= block, "read_len", self.read_len.to_string(), "at least 16384")?;
        check(self.reads_a_turn > 0, "reads_a_turn", self.reads_a_turn.to_string(), "at least 1")?;
        check(
            self.endgame_copies > 0,
            "endgame_copies",
            self.endgame_copies.to_string(),
            "at least 1",
        )?;
        check(
            self.max_announces > 0,
            "max_announces",
            self.max_announces.to_string(),
            "at least 1",
        )?;
        check(
            (1..=1_000_000).contains(&self.announces_per_second),
            "announces_per_second",
            self.announces_per_second.to_string(),
            "1 to 1000000",
        )?;
        check(
            self.min_announce_interval >= Duration::from_secs(1),
            "min_announce_interval",
            format!("{:?}", self.min_announce_interval),
            "at least 1 s",
        )?;
        check(
            self.max_announce_interval >= self.min_announce_interval,
            "max_announce_interval",
            format!("{:?}", self.max_announce_interval),
            "at least min_announce_interval",
        )?;
        check(
            self.max_trackers <= 10_000,
            "max_trackers",
            self.max_trackers.to_string(),
            "at most 10000",
        )?;
        check(
            self.tracker_timeout >= Duration::from_secs(1),
            "tracker_timeout",
            format!("{:?}", self.tracker_timeout),
            "at least 1 s",
        )?;
        check(
            (1 << 10..=64 << 20).contains(&self.max_tracker_reply),
            "max_tracker_reply",
            self.max_tracker_reply.to_string(),
            "1024 to 67108864",
        )?;
        check(
            self.max_tracker_redirects <= 20,
            "max_tracker_redirects",
            self.max_tracker_redirects.to_string(),
            "at most 20",
        )?;
        check(
            self.user_agent.len() <= 128
                && self.user_agent.bytes().all(|b| b.is_ascii_graphic() || b == b' '),
            "user_agent",
            format!("{:?}", self.user_agent),
            "at most 128 printable ASCII characters",
        )?;
        check(self.max_alerts >= 16, "max_alerts", self.max_alerts.to_string(), "at least 16")?;
        check(
            !self.reconnect_min.is_zero(),
            "reconnect_min",
            format!("{:?}", self.reconnect_min),
            "more than 0",
        )?;
        let lasting = |time: Duration, field| {
            check(!time.is_zero(), field, format!("{time:?}"), "more than 0")
        };
        lasting(self.progress_interval, "progress_interval")?;
        lasting(self.keep_alive, "keep_alive")?;
        lasting(self.idle_timeout, "idle_timeout")?;
        lasting(self.greeting_timeout, "greeting_timeout")?;
        lasting(self.save_interval, "save_interval")?;
        lasting(self.choke_interval, "choke_interval")?;
        lasting(self.optimistic_interval, "optimistic_interval")?;
        lasting(self.turnover_interval, "turnover_interval")?;
        lasting(self.seed_queue_turn, "seed_queue_turn")?;
        lasting(self.inactivity_timeout, "inactivity_timeout")?;
        lasting(self.ban_time, "ban_time")?;
        check(self.max_unsent > 0, "max_unsent", self.max_unsent.to_string(), "at least 1")?;
        let largest_batch = self.max_unsent.max(self.max_request as usize).saturating_add(block);
        check(
            self.max_upload_memory / 2 > largest_batch,
            "max_upload_memory",
            self.max_upload_memory.to_string(),
            "more than twice max_unsent and max_request, with a block to spare",
        )?;
        check(
            !self.disk_retry.is_zero(),
            "disk_retry",
            format!("{:?}", self.disk_retry),
            "more than 0",
        )
    }
}
