//! `Timestamp`: a point in time as microseconds since the Unix epoch, RFC 3339 in text.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The microseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// Where the years of more than four digits begin, less one, so that every time before it has a text of one form.
const LATEST: i64 = 253_370_764_800_000_000;
/// The longest text of a time before [`LATEST`].
const MAX_TEXT: usize = "9998-12-31T23:59:59.999999Z".len();

/// A point in time, in microseconds since 1970-01-01T00:00:00Z; serialized as RFC 3339 in UTC.
///
/// ```
/// # use raptorflow_core::types::Timestamp;
/// assert_eq!(Timestamp::from_micros(1_500_000).to_string(), "1970-01-01T00:00:01.5Z");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, zero before it.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.div_euclid(1000)).unwrap_or(0)
    }

    /// This point moved into the future; stops at the end of the range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Year, month and day in UTC, the last two from 1; `None` before 1970 and from the year 9999 on.
    pub(crate) fn date(self) -> Option<(u16, u8, u8)> {
        if !(0..LATEST).contains(&self.0) {
            return None;
        }
        // Years begin in March here, so that the odd day is the last one; eras have 400 years.
        let days = u32::try_from(self.0 / DAY).ok()? + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = era * 400 + year_of_era + later;
        Some((u16::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?))
    }

    /// The same text as its `Display`, without the machinery of formatting; `None` where [`Timestamp::date`] is.
    fn text(self, text: &mut TimeText) -> Option<&str> {
        std::str::from_utf8(self.ascii(text)?).ok()
    }

    /// The bytes of that text, all of them ASCII.
    pub(crate) fn ascii(self, text: &mut TimeText) -> Option<&[u8]> {
        let (year, month, day) = self.date()?;
        let micros = u32::try_from(self.0 % 1_000_000).ok()?;
        let second = u32::try_from(self.0 / 1_000_000 % 86_400).ok()?;
        let (year, month, day) = (u32::from(year), u32::from(month), u32::from(day));
        let ([y1, y2], [y3, y4], [m1, m2], [d1, d2]) =
            (pair(year / 100), pair(year % 100), pair(month), pair(day));
        let ([h1, h2], [i1, i2], [s1, s2]) = (pair(second / 3600), pair(second / 60 % 60), pair(second % 60));
        let ([f1, f2], [f3, f4], [f5, f6]) =
            (pair(micros / 10_000), pair(micros / 100 % 100), pair(micros % 100));
        text.0 = [
            y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2, b'.', f1,
            f2, f3, f4, f5, f6, b'Z',
        ];
        // A part of a second ends with a digit that is not zero.
        let zeros =
            if micros == 0 { 7 } else { [f6, f5, f4, f3, f2].iter().take_while(|d| **d == b'0').count() };
        let end = MAX_TEXT - 1 - zeros;
        *text.0.get_mut(end)? = b'Z';
        text.0.get(..=end)
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Room for the text of a [`Timestamp`].
#[derive(Debug, Default)]
pub(crate) struct TimeText([u8; MAX_TEXT]);

/// The two digits of a number below 100.
#[expect(clippy::cast_possible_truncation, reason = "what is larger is not asked for")]
const fn pair(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_none()
            && f.precision().is_none()
            && let Some(text) = self.text(&mut TimeText::default())
        {
            return f.write_str(text);
        }
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_microsecond())).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "timestamp.parse", "expected an RFC 3339 time")
                .with("value", text)
                .caused_by(err)
        })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.text(&mut TimeText::default()) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_that_of_the_calendar(
            micros in prop_oneof![
                any::<i64>(),
                -LATEST..LATEST + 1_000 * DAY,
                (0..LATEST / 1_000_000).prop_map(|second| second * 1_000_000),
                (0..LATEST / 100_000).prop_map(|tenth| tenth * 100_000),
                (-3..30_000_i64).prop_map(|day| day * DAY),
            ],
        ) {
            let expected = jiff::Timestamp::from_microsecond(micros)
                .map_or_else(|_| format!("{micros}us"), |time| time.to_string());
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string(), &*expected);
            prop_assert_eq!(serde_json::to_value(time).unwrap(), expected);
        }
    }
}
