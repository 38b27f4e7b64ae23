//! How many reads of the user's are on their way, over all torrents, and what each is called. It
//! does not know what they read.

use crate::base::ids::ReadId;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ReadLine {
    last: u64,
    open: usize,
}

impl ReadLine {
    /// A read begins, unless `most` are on their way.
    pub(crate) fn begin(&mut self, most: usize) -> Option<ReadId> {
        if self.open >= most {
            return None;
        }
        self.open += 1;
        self.last += 1;
        Some(ReadId(self.last))
    }

    /// The user has the answer to a read.
    pub(crate) fn end(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Reads whose answer the user does not have.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn open(&self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_bounded_and_never_called_the_same() {
        let mut line = ReadLine::default();
        let begun: Vec<_> = (0..4).map(|_| line.begin(3)).collect();
        assert_eq!(begun, [Some(ReadId(1)), Some(ReadId(2)), Some(ReadId(3)), None]);
        line.end();
        assert_eq!((line.begin(3), line.begin(3), line.open()), (Some(ReadId(4)), None, 3));
    }
}
