//! Swarms in the simulator, by what they are about.

mod swarm;

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{Alert, AlertMask, Conf};

const KIB: u64 = 1024;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Settings that tell everything.
fn loud() -> Conf {
    Conf { alerts: AlertMask::ALL, max_alerts: 100_000, ..Conf::default() }
}

fn file(len: u64, piece_len: u32) -> Arc<Sample> {
    Sample::file(&format!("data-{len}"), len, piece_len, len).unwrap()
}
