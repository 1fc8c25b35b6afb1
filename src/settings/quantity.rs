//! Durations and sizes as people write them: a number with its unit.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::path::shown;
use crate::limits;

/// Name of the format of durations in the schema.
pub(super) const DURATION_FORMAT: &str = "symphony-duration";
/// Name of the format of sizes in the schema.
pub(super) const SIZE_FORMAT: &str = "symphony-size";

/// A duration in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct DurationText(pub String);

/// A size in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct SizeText(pub String);

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": DURATION_FORMAT })
    }
}

impl JsonSchema for SizeText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": SIZE_FORMAT })
    }
}

/// Reads a duration: `500ms`, `5s`, `1m 30s`, `2h`.
///
/// # Errors
/// What is wrong, for the reader of the file.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if is_bare_number(text) {
        return Err(format!("a duration needs a unit, as in '{}s' or '{0}ms'", shown(text)));
    }
    let span = humantime::parse_duration(text).map_err(|_| {
        format!("'{}' is no duration; write one as in '500ms', '5s' or '2m 30s'", shown(text))
    })?;
    if span > limits::DURATION_MAX {
        return Err(format!(
            "'{}' is longer than {}",
            shown(text),
            format_duration(limits::DURATION_MAX)
        ));
    }
    Ok(span)
}

/// Writes a duration so that [`parse_duration`] reads it back.
pub fn format_duration(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a size: `16GiB`, `512 MiB`, `1.5GB`; units are not case-sensitive.
///
/// # Errors
/// What is wrong, for the reader of the file.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if is_bare_number(text) {
        return Err(format!("a size needs a unit, as in '{}MiB' or '{0}B'", shown(text)));
    }
    let no_size = || format!("'{}' is no size; write one as in '512MiB' or '16GiB'", shown(text));
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(no_size)?;
    let (number, unit) = text.split_at(split);
    let number = number.trim();
    let (_, factor) =
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(no_size)?;
    let too_large = || format!("'{}' is too large a size", shown(text));
    if number.chars().all(|c| c.is_ascii_digit()) {
        let number: u64 = number.parse().map_err(|_| no_size())?;
        return number.checked_mul(*factor).ok_or_else(too_large);
    }
    let number: f64 = number.parse().map_err(|_| no_size())?;
    let bytes = number * *factor as f64;
    // beyond 2^53 a fraction means nothing
    if !(0.0..9_007_199_254_740_992.0).contains(&bytes) {
        return Err(if bytes < 0.0 { no_size() } else { too_large() });
    }
    Ok(bytes as u64)
}

/// Writes a size so that [`parse_size`] reads it back exactly.
pub fn format_size(bytes: u64) -> String {
    let binary =
        UNITS[5..].iter().rev().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor));
    let (unit, factor) = binary.unwrap_or(&UNITS[0]);
    format!("{}{unit}", bytes / factor)
}

fn is_bare_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_carry_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration(" 1m 30s "), Ok(Duration::from_secs(90)));
        assert_eq!(parse_size("16GiB"), Ok(16 << 30));
        assert_eq!(parse_size("1.5 kb"), Ok(1500));
        assert!(parse_duration("5").is_err_and(|text| text.contains("needs a unit")));
        assert!(parse_size("5").is_err_and(|text| text.contains("needs a unit")));
    }

    #[test]
    fn nonsense_and_endless_quantities_are_refused() {
        for text in
            ["", "s", "-5s", "5 parsecs", "NaN", "infs", "1000000000y", "99999999999999999999s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in
            ["", "GiB", "-5GiB", "5XB", "NaNB", "99999999999999999999B", "20000000TiB", "1.5e300TB"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for ms in [0, 1, 500, 999, 60_000, 5_400_001, 86_400_000] {
            let span = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(span)), Ok(span));
        }
        for bytes in [0, 1, 1023, 1024, 1025, 16 << 20, (16 << 30) + 1, u64::MAX] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
    }
}
