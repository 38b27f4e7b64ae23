//! How much one turn may read, over all sockets: so many bytes, and for so long. It knows no
//! socket.

use std::time::Duration;

use crate::base::time::Instant;

/// Bytes read a turn: eight reads of the default length, or about two milliseconds.
const BYTES_A_TURN: usize = 2 << 20;
/// What a read costs at least. A read of a few bytes is a system call and a walk through the
/// engine, which take about as long as copying this much.
const LEAST_COST: usize = 4 * 1024;
/// How long a turn may read, whatever it is that takes so long.
const TIME_A_TURN: Duration = Duration::from_millis(8);

/// What is left of a turn's reading.
#[derive(Debug)]
pub(super) struct ReadBudget {
    bytes: usize,
    until: Instant,
}

impl ReadBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self { bytes: BYTES_A_TURN, until: now + TIME_A_TURN }
    }

    /// A read brought so many bytes.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes.max(LEAST_COST));
    }

    /// Whether the bytes of the turn are read.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes == 0
    }

    /// Whether the other sockets have to wait for the next turn.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.is_spent() || now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_until_spent(len: usize) -> usize {
        let mut budget = ReadBudget::new(Instant::ZERO);
        let mut reads = 0;
        while !budget.is_spent() {
            budget.spend(len);
            reads += 1;
        }
        reads
    }

    #[test]
    fn read_budget_counts_bytes_and_not_reads() {
        assert_eq!(reads_until_spent(256 * 1024), 8);
        // Reads that drain their sockets count as much as others: 256 sockets with 200 KiB each are
        // not 50 MiB in one turn.
        assert_eq!(reads_until_spent(200 * 1024), 11);
        // Under a limit reads are tiny.
        assert_eq!(reads_until_spent(100), 512);
    }

    #[test]
    fn read_budget_ends_with_its_time() {
        let budget = ReadBudget::new(Instant::from_micros(1_000));
        assert!(
            !budget.is_over(Instant::from_micros(8_999))
                && budget.is_over(Instant::from_micros(9_000))
        );
    }
}
