//! Dates and times of the usual form from their digits.
//!
//! In: `2024-02-29`, `2024-02-29T23:59:59.123` (or a space for the T). Out: days, or units of time, since 1970; `None` for every other form,
//! which a more thorough reader must judge. Never: a day that no calendar has.

use crate::batch::datatypes::TimeUnit;

/// Days since 1970-01-01 of `YYYY-MM-DD` in the calendar of Gregory.
#[inline]
pub(super) fn date(bytes: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *<&[u8; 10]>::try_from(bytes).ok()? else { return None };
    let year = 100 * two(y1, y2)? + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(is_leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    // Years that begin in March, so that a leap day is the last of its year (Howard Hinnant's days_from_civil).
    let year = year as i32 - i32::from(month <= 2);
    let (era, month) = (year.div_euclid(400), (month as i32 + 9) % 12);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day as i32 - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Units since 1970 of a date and a time of day, with up to nine digits of a second, without a zone.
#[inline]
pub(super) fn timestamp(bytes: &[u8], unit: TimeUnit) -> Option<i64> {
    let (day, time) = bytes.split_at_checked(10)?;
    let ([b'T' | b' ', h1, h2, b':', m1, m2, b':', s1, s2], fraction) = time.split_first_chunk::<9>()? else {
        return None;
    };
    let (hour, minute, second) = (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(date(day)?) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    let mut nanoseconds = 0;
    if let Some((point, digits)) = fraction.split_first() {
        if *point != b'.' || !(1..=9).contains(&digits.len()) {
            return None;
        }
        for place in 0..9 {
            let digit = digits.get(place).map_or(0, |digit| digit.wrapping_sub(b'0'));
            if digit > 9 {
                return None;
            }
            nanoseconds = nanoseconds * 10 + i64::from(digit);
        }
    }
    match unit {
        TimeUnit::Second => Some(seconds),
        TimeUnit::Millisecond => Some(seconds * 1_000 + nanoseconds / 1_000_000),
        TimeUnit::Microsecond => Some(seconds * 1_000_000 + nanoseconds / 1_000),
        TimeUnit::Nanosecond => seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds),
    }
}

/// The number that two digits are.
#[inline]
fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then_some(u32::from(tens) * 10 + u32::from(ones))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use arrow::{
        array::timezone::Tz,
        compute::kernels::cast_utils::{Parser, string_to_datetime},
        datatypes::Date32Type,
    };
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_arrow_reads(
            day in "[0-9]{4}-[01][0-9]-[0-3][0-9]", time in "[T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?",
            noise in "[-0-9:T .]{0,24}",
        ) {
            for text in [&day, &noise] {
                if let Some(found) = date(text.as_bytes()) {
                    prop_assert_eq!(Date32Type::parse(text), Some(found), "{}", text);
                }
            }
            let zone: Tz = "+00:00".parse().unwrap();
            for text in [day + &time, noise] {
                if let Some(found) = timestamp(text.as_bytes(), TimeUnit::Microsecond) {
                    let expected = string_to_datetime(&zone, &text).unwrap();
                    prop_assert_eq!(expected.timestamp_micros(), found, "{}", text);
                    prop_assert_eq!(timestamp(text.as_bytes(), TimeUnit::Second), Some(expected.timestamp()));
                    let nanoseconds = timestamp(text.as_bytes(), TimeUnit::Nanosecond);
                    prop_assert_eq!(nanoseconds, expected.timestamp_nanos_opt());
                }
            }
        }
    }

    #[test]
    fn every_day_of_many_years() {
        let mut expected = date(b"0000-01-01").unwrap();
        assert_eq!((expected, date(b"1970-01-01")), (-719_528, Some(0)));
        for (year, month, day) in (0..=9999).flat_map(|y| (1..=12).flat_map(move |m| (1..=31).map(move |d| (y, m, d))))
        {
            if let Some(found) = date(format!("{year:04}-{month:02}-{day:02}").as_bytes()) {
                assert_eq!(found, expected);
                expected += 1;
            }
        }
        assert_eq!(expected, 2_932_897);
    }
}
