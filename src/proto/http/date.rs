//! When a server wants to be asked again (RFC 9110 §10.2.3), and dates of headers (§5.6.7), of the
//! form that servers make: `Sun, 06 Nov 1994 08:49:37 GMT`. There is no clock here: a date counts
//! from the server's own, which it tells, too (§6.6.1), and for nothing without.

use std::time::Duration;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Retry {
    after: Option<Duration>,
    /// The server's time, and when to ask again by that, in seconds since 1970.
    now: Option<u64>,
    at: Option<u64>,
}

impl Retry {
    /// `Retry-After`.
    pub(super) fn set(&mut self, value: &[u8]) {
        self.after = self.after.or(number(value).map(Duration::from_secs));
        self.at = self.at.or_else(|| seconds(value));
    }

    /// `Date`.
    pub(super) fn set_now(&mut self, value: &[u8]) {
        self.now = self.now.or_else(|| seconds(value));
    }

    /// How long to wait, if the server says so.
    pub(super) fn after(&self) -> Option<Duration> {
        let wait = self.at.zip(self.now).map(|(at, now)| at.saturating_sub(now));
        self.after.or(wait.map(Duration::from_secs))
    }
}

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Seconds from the beginning of 1970 to this date, without leap seconds; `None` if it is earlier,
/// or no such date.
fn seconds(text: &[u8]) -> Option<u64> {
    let (_weekday, rest) = text.split_at_checked(5).filter(|(day, _)| day.ends_with(b", "))?;
    let mut words = rest.split(|&b| b == b' ');
    let day = digits(words.next()?, 2)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|&known| known == month)? as u64 + 1;
    let year = digits(words.next()?, 4)?;
    let mut time = words.next()?.split(|&b| b == b':').map(|part| digits(part, 2));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let ends = time.next().is_none() && words.next() == Some(b"GMT") && words.next().is_none();
    let exists = (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let days = days(year, month, day)?;
    (ends && exists).then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from the beginning of 1970 to a day of the Gregorian calendar. Years begin with March here,
/// so that the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    (year * 365 + leap_days + (month * 153 + 2) / 5 + day).checked_sub(719_469)
}

/// As many digits.
fn digits(text: &[u8], count: usize) -> Option<u64> {
    if text.len() == count { number(text) } else { None }
}

/// Digits only, at least one.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(text).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        // The first is the RFC's; the numbers are those of `date --utc --date=… +%s`.
        for (text, want) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
            ("Sun, 29 Nov 2026 20:30:00 GMT", 1_795_984_200),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(seconds(text.as_bytes()), Some(want), "{text}");
        }
        for text in [
            "",
            "Sun, ",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Fri, 01 Jan 0000 00:00:00 GMT",
        ] {
            assert_eq!(seconds(text.as_bytes()), None, "{text}");
        }
    }
}
