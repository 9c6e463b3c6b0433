//! Numbers, truths, dates, times, strings and their quotes.
//!
//! In: cells of a text. Out: values, as arrow's reader of CSV has them. Never: NULL for anything but an empty field.
//!
//! In quotes nothing is a text without letters, and for every other type NULL.
//!
//! What numbers and dates mostly look like is read from their bytes; all else by arrow's own parsers, so that no form is taken or refused
//! that they would not take or refuse.

use arrow::{
    array::timezone::Tz,
    compute::kernels::cast_utils::{Parser, string_to_datetime},
    datatypes::{Date32Type, Float64Type, Int64Type, TimeUnit},
};

use crate::format::{
    cells::{Cell, Dialect, Look, Misfit, Said},
    dates, numbers,
};

/// How CSV's values are read.
pub(super) struct Csv;

impl Dialect for Csv {
    #[inline]
    fn int64(text: &[u8], cell: Cell) -> Result<Option<i64>, Misfit> {
        match numbers::integer(text, cell.start(), cell.end()) {
            Some(value) if cell.look() == Look::Text => Ok(Some(value)),
            _ => slow(text, cell, Int64Type::parse),
        }
    }

    #[inline]
    fn float64(text: &[u8], cell: Cell) -> Result<Option<f64>, Misfit> {
        match numbers::decimal(text, cell.start(), cell.end()) {
            Some(value) if cell.look() == Look::Text => Ok(Some(value)),
            _ => slow(text, cell, Float64Type::parse),
        }
    }

    fn boolean(text: &[u8], cell: Cell) -> Result<Option<bool>, Misfit> {
        slow(text, cell, |text| {
            let is_true = text.eq_ignore_ascii_case("true");
            (is_true || text.eq_ignore_ascii_case("false")).then_some(is_true)
        })
    }

    #[inline]
    fn date32(text: &[u8], cell: Cell) -> Result<Option<i32>, Misfit> {
        match dates::date(cell.bytes(text)) {
            Some(value) if cell.look() == Look::Text => Ok(Some(value)),
            _ => slow(text, cell, Date32Type::parse),
        }
    }

    #[inline]
    fn timestamp(text: &[u8], cell: Cell, unit: TimeUnit) -> Result<Option<i64>, Misfit> {
        match dates::timestamp(cell.bytes(text), unit) {
            Some(value) if cell.look() == Look::Text => Ok(Some(value)),
            _ => slow(text, cell, |text| {
                let zone: Tz = "+00:00".parse().ok()?;
                let time = string_to_datetime(&zone, text).ok()?;
                match unit {
                    TimeUnit::Second => Some(time.timestamp()),
                    TimeUnit::Millisecond => Some(time.timestamp_millis()),
                    TimeUnit::Microsecond => Some(time.timestamp_micros()),
                    TimeUnit::Nanosecond => time.timestamp_nanos_opt(),
                }
            }),
        }
    }

    #[inline]
    fn string(text: &[u8], cell: Cell, made: &mut Vec<u8>) -> Result<Option<Said>, Misfit> {
        if cell.look() == Look::Escaped {
            unquote(cell.bytes(text), made);
            return Ok(Some(Said::Made));
        }
        let (start, end) = (cell.start(), cell.end());
        Ok((start < end).then_some(Said::There(start, end)))
    }
}

/// The value by way of a string.
#[cold]
fn slow<T>(text: &[u8], cell: Cell, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Misfit> {
    let mut made = Vec::new();
    let bytes = match cell.look() {
        Look::Escaped => {
            unquote(cell.bytes(text), &mut made);
            &made
        }
        _ => cell.bytes(text),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Misfit)?;
    parse(text).map(Some).ok_or(Misfit)
}

/// Appends what the field `raw`, which begins with a quote, says. What stands behind its closing quote is taken as it is.
fn unquote(raw: &[u8], made: &mut Vec<u8>) {
    let mut rest = raw.get(1..).unwrap_or_default();
    while let Some(quote) = memchr::memchr(b'"', rest) {
        made.extend_from_slice(&rest[..quote]);
        rest = &rest[quote + 1..];
        if rest.first() != Some(&b'"') {
            break;
        }
        made.push(b'"');
        rest = &rest[1..];
    }
    made.extend_from_slice(rest);
}
