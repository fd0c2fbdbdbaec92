//! A time of day as all of Vippy writes it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// `2026-11-21T08:00:00.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub SystemTime);

impl Stamp {
    /// So many milliseconds after the beginning of 1970; the latest that can be
    /// written, if that is later.
    pub fn of_millis(millis: u64) -> Stamp {
        const LATEST: u64 = 253_402_300_799_999;
        Stamp(UNIX_EPOCH + Duration::from_millis(millis.min(LATEST)))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from(self.0);
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second, milli) = at.to_hms_milli();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_milliseconds() {
        assert_eq!(Stamp::of_millis(1_795_248_000_123).to_string(), "2026-11-21T08:00:00.123Z");
        assert_eq!(Stamp::of_millis(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
