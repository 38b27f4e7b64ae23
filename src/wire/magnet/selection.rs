//! The files that a link chooses (BEP 53), as ranges, so that a range of four thousand million
//! files costs as much as one of two. It knows no torrent.

use std::fmt;

use thiserror::Error;

/// The most ranges that are kept.
pub(super) const MAX_RANGES: usize = 1000;

/// Indices of files, from zero.
///
/// ```
/// use cratetorrent::wire::magnet::FileSelection;
///
/// let mut files = FileSelection::default();
/// files.add("0,2,4-6")?;
/// files.add("3")?;
/// assert_eq!(files.to_string(), "0,2-6");
/// assert!(files.contains(5) && !files.contains(1));
/// # Ok::<(), cratetorrent::wire::magnet::SelectionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSelection {
    /// First and last, in order; between two ranges lies at least one file.
    ranges: Vec<(u32, u32)>,
}

/// Why text is no choice of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// Something else than numbers, commas and hyphens, or a number of more than 32 bits.
    #[error("it is not a list of numbers and ranges, as in 0,2,4-6")]
    Syntax,
    /// A range whose end comes before its start.
    #[error("the range {0}-{1} ends before it begins")]
    Backwards(u32, u32),
    /// Too many ranges.
    #[error("more than {MAX_RANGES} ranges")]
    TooMany,
}

impl FileSelection {
    /// Adds the files of a list such as `0,2,4-6`. An empty one adds none.
    ///
    /// # Errors
    /// If it is no such list, or makes more than 1000 ranges. Those before that are added.
    pub fn add(&mut self, list: &str) -> Result<(), SelectionError> {
        // Each item costs as many steps as there are ranges: they are few.
        for item in list.split(',').filter(|item| !item.is_empty()) {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(SelectionError::Backwards(first, last));
            }
            self.insert(first, last)?;
        }
        Ok(())
    }

    /// Adds the files of another choice.
    ///
    /// # Errors
    /// If that makes more than 1000 ranges. Then none is added.
    pub fn add_all(&mut self, other: &Self) -> Result<(), SelectionError> {
        let mut all = self.clone();
        other.ranges().try_for_each(|(first, last)| all.insert(first, last))?;
        *self = all;
        Ok(())
    }

    fn insert(&mut self, first: u32, last: u32) -> Result<(), SelectionError> {
        // Those that overlap the new one or lie beside it become one with it.
        let begin = self.ranges.partition_point(|&(_, end)| end.saturating_add(1) < first);
        let end = self.ranges.partition_point(|&(start, _)| start <= last.saturating_add(1));
        let joined = self.ranges.get(begin..end).unwrap_or_default();
        let first = joined.first().map_or(first, |&(start, _)| start.min(first));
        let last = joined.last().map_or(last, |&(_, end)| end.max(last));
        if joined.is_empty() && self.ranges.len() >= MAX_RANGES {
            return Err(SelectionError::TooMany);
        }
        self.ranges.splice(begin..end, [(first, last)]);
        Ok(())
    }

    /// Whether the file with this index is chosen.
    pub fn contains(&self, file: usize) -> bool {
        u32::try_from(file).is_ok_and(|file| {
            let at = self.ranges.partition_point(|&(_, last)| last < file);
            self.ranges.get(at).is_some_and(|&(first, _)| first <= file)
        })
    }

    /// Whether no file is chosen.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges in order, first and last file of each.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        self.ranges.iter().copied()
    }
}

fn number(text: &str) -> Result<u32, SelectionError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or(SelectionError::Syntax)
}

/// As in a link.
impl fmt::Display for FileSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.ranges().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}
