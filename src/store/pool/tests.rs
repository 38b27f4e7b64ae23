//! Orders of work.
