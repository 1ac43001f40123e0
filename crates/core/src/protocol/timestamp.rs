//! Times as text, as RFC 3339 wants them.

use std::time::Duration;

use super::write::append;

/// Appends a time since the Unix epoch, in UTC and to the millisecond: `2026-01-31T08:05:00.250Z`.
///
/// The calendar is reckoned from the 1st of March of the year 0, so that the leap day is a year's last
/// and a leap year's the last of four, of a hundred and of four hundred.
pub(super) fn rfc3339(out: &mut Vec<u8>, since_epoch: Duration) {
    const DAYS_BEFORE_EPOCH: u64 = 719_468;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let (seconds, milliseconds) = (since_epoch.as_secs(), since_epoch.subsec_millis());
    let (days, of_day) = (seconds / 86_400 + DAYS_BEFORE_EPOCH, seconds % 86_400);
    let (cycle, of_cycle) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year_of_cycle = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // five months from March on, and again from August on, have 153 days
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = cycle * 400 + year_of_cycle + next_year;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    append(
        out,
        format_args!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z"
        ),
    );
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    fn text(since_epoch: Duration) -> String {
        let mut out = Vec::new();
        rfc3339(&mut out, since_epoch);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_that_are_special() {
        for (seconds, day) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(text(Duration::from_secs(seconds)), day);
        }
        text(Duration::MAX); // nobody's clock says that, but nothing breaks
    }

    proptest! {
        #[test]
        fn others_write_the_same(milliseconds in 0..253_402_300_800_000_u64) {
            let since_epoch = Duration::from_millis(milliseconds);
            let theirs = humantime::format_rfc3339_millis(UNIX_EPOCH + since_epoch).to_string();
            prop_assert_eq!(text(since_epoch), theirs);
        }
    }
}
