//! How much each file is wanted, and what follows from it for the pieces.
//!
//! It knows files and pieces by number; not what of them is there, nor disks.

use crate::base::{
    files::{FileEntry, FileKind, Priority},
    geometry::Geometry,
};

/// See the module. Nothing is kept of files that are wanted as most are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FilePriorities {
    /// By file; those beyond its end are [`Priority::Normal`].
    priorities: Vec<Priority>,
}

impl FilePriorities {
    /// What is said of files beyond `files` does not count.
    pub(crate) fn new(mut priorities: Vec<Priority>, files: usize) -> Self {
        priorities.truncate(files);
        let said = priorities.iter().rposition(|&p| p != Priority::Normal).map_or(0, |at| at + 1);
        priorities.truncate(said);
        priorities.shrink_to_fit();
        Self { priorities }
    }

    /// Those that were said, by file.
    pub(crate) fn priorities(&self) -> &[Priority] {
        &self.priorities
    }

    pub(crate) fn of(&self, file: usize) -> Priority {
        self.priorities.get(file).copied().unwrap_or_default()
    }

    /// An entry for each of `files` files.
    pub(crate) fn all(&self, files: usize) -> Vec<Priority> {
        (0..files).map(|file| self.of(file)).collect()
    }

    /// Which files are not wanted, by number; those beyond its end are wanted.
    pub(crate) fn skipped(&self) -> Vec<bool> {
        let skipped: Vec<bool> = self.priorities.iter().map(|&p| p == Priority::Skip).collect();
        if skipped.contains(&true) { skipped } else { Vec::new() }
    }

    /// How much each piece is wanted: as much as the most wanted file that has bytes in it. A piece
    /// of nothing but padding is wanted as the file before it. Nothing if all are
    /// [`Priority::Normal`].
    pub(crate) fn levels(&self, files: &[FileEntry], geometry: &Geometry) -> Vec<Priority> {
        if self.priorities.is_empty() {
            return Vec::new();
        }
        let mut levels = vec![None; geometry.piece_count() as usize];
        let nominal = u64::from(geometry.nominal_piece_len().max(1));
        let pieces = |file: &FileEntry| {
            let end = file.offset.saturating_add(file.len).div_ceil(nominal);
            (file.offset / nominal) as usize..(end as usize).min(levels_len(geometry))
        };
        let filled = || files.iter().enumerate().filter(|(_, file)| file.len > 0);
        for (at, file) in filled().filter(|(_, file)| file.kind == FileKind::Regular) {
            let priority = Some(self.of(at));
            for level in levels.get_mut(pieces(file)).unwrap_or_default() {
                *level = priority.max(*level);
            }
        }
        let mut before = Priority::Normal;
        for (at, file) in filled() {
            if file.kind == FileKind::Regular {
                before = self.of(at);
            } else {
                for level in levels.get_mut(pieces(file)).unwrap_or_default() {
                    level.get_or_insert(before);
                }
            }
        }
        levels.into_iter().map(Option::unwrap_or_default).collect()
    }
}

fn levels_len(geometry: &Geometry) -> usize {
    geometry.piece_count() as usize
}

#[cfg(test)]
mod tests {
    use super::{Priority::*, *};

    fn files(lens: &[(u64, FileKind)]) -> (Vec<FileEntry>, Geometry) {
        let mut offset = 0;
        let entry = |&(len, kind): &(u64, FileKind)| {
            offset += len;
            FileEntry { path: vec![], len, offset: offset - len, kind }
        };
        let files: Vec<_> = lens.iter().map(entry).collect();
        (files, Geometry::new(offset, 10).unwrap())
    }

    #[test]
    fn a_piece_is_wanted_as_the_most_wanted_of_its_files() {
        use FileKind::{Pad, Regular};
        let (files, geometry) = files(&[
            (15, Regular),
            (0, Regular),
            (10, Regular),
            (5, Regular),
            (5, Regular),
            (25, Pad),
            (10, Regular),
        ]);
        let levels = |priorities: &[Priority]| {
            FilePriorities::new(priorities.to_vec(), files.len()).levels(&files, &geometry)
        };
        assert_eq!(levels(&[]), []);
        assert_eq!(levels(&[Normal; 9]), []);
        assert_eq!(
            levels(&[Skip, High, Low, Normal, Skip, High, High]),
            [Skip, Low, Normal, Skip, Skip, Skip, High]
        );
        assert_eq!(
            levels(&[High, Skip, Skip, Skip, Low]),
            [High, High, Skip, Low, Low, Low, Normal]
        );
        assert_eq!(levels(&[Skip; 7]), [Skip; 7]);
    }

    #[test]
    fn default_priorities_are_not_stored() {
        let file_priorities = FilePriorities::new(vec![Normal, Skip, Normal, Normal, Low], 4);
        assert_eq!(file_priorities.priorities, [Normal, Skip]);
        assert_eq!(file_priorities.all(3), [Normal, Skip, Normal]);
        assert_eq!(file_priorities.skipped(), [false, true]);
        assert_eq!(FilePriorities::new(vec![High, Low], 2).skipped(), [false; 0]);
    }
}
