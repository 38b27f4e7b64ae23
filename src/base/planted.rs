//! Classic mistakes, to see that the tests find them: `scripts/planted` builds with `--cfg planted`
//! and makes one at a time, by the variable `PLANTED`. Every other build has the right expression
//! and nothing else.

/// `planted!("name", wrong, right)` is `right`, unless the mistake of that name is made.
#[cfg(not(planted))]
macro_rules! planted {
    ($name:literal, $wrong:expr, $right:expr) => {
        $right
    };
}

#[cfg(planted)]
macro_rules! planted {
    ($name:literal, $wrong:expr, $right:expr) => {
        if $crate::base::planted::is_made($name) { $wrong } else { $right }
    };
}

pub(crate) use planted;

/// Whether this run of this build makes the mistake.
#[cfg(planted)]
pub(crate) fn is_made(name: &str) -> bool {
    static MADE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    MADE.get_or_init(|| std::env::var("PLANTED").unwrap_or_default()) == name
}
