//! Whether the disk of an open storage works, and what a failing one has cost. Which job failed,
//! and when it is tried again, is the torrent's business.

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Disk {
    #[default]
    Works,
    Fails {
        /// What waited to be written was given up for other torrents.
        gave_up: bool,
    },
}

impl Disk {
    pub(super) fn is_failing(&self) -> bool {
        *self != Self::Works
    }

    pub(super) fn handle_failure(&mut self) {
        if *self == Self::Works {
            *self = Self::Fails { gave_up: false };
        }
    }

    /// The disk works again, and what was given up before counts no more. Returns whether it had
    /// failed.
    pub(super) fn handle_recovery(&mut self) -> bool {
        std::mem::take(self).is_failing()
    }

    /// What waited for a failing disk was given up for other torrents.
    pub(super) fn note_given_up(&mut self) {
        if let Self::Fails { gave_up } = self {
            *gave_up = true;
        }
    }

    /// Whether anything was given up since this was last asked.
    pub(super) fn take_given_up(&mut self) -> bool {
        match self {
            Self::Fails { gave_up } => std::mem::take(gave_up),
            Self::Works => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_up_data_counts_once_and_for_one_failure_only() {
        let mut disk = Disk::default();
        disk.note_given_up();
        assert!(!disk.handle_recovery() && !disk.take_given_up());
        disk.handle_failure();
        disk.note_given_up();
        disk.handle_failure();
        assert!(disk.is_failing() && disk.take_given_up() && !disk.take_given_up());
        disk.note_given_up();
        assert!(disk.handle_recovery() && !disk.is_failing());
        disk.handle_failure();
        assert!(!disk.take_given_up());
    }
}
