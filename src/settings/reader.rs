//! Reads the values of one table and notes their faults at the place where they stand.

use std::time::Duration;

use serde_json::Value;

use super::fault::Faults;
use super::path::KeyPath;
use super::quantity::{
    DurationText, SizeText, format_duration, format_size, parse_duration, parse_size,
};

/// One table, or a table laid over another one.
pub(super) struct Reader<'a> {
    /// The whole configuration.
    pub values: &'a Value,
    /// The table.
    pub table: KeyPath,
    /// The table below it: what is missing in the first may stand here.
    pub below: Option<KeyPath>,
    /// Where faults go.
    pub faults: &'a mut Faults,
}

impl Reader<'_> {
    /// The place of a key: where it stands, or else where it would.
    pub fn at(&self, keys: &[&str]) -> KeyPath {
        let here = self.table.join(keys);
        if here.get(self.values).is_some() {
            return here;
        }
        let below = self.below.as_ref().map(|below| below.join(keys));
        below.filter(|below| below.get(self.values).is_some()).unwrap_or(here)
    }

    /// Notes a fault.
    pub fn fault(&mut self, keys: &[&str], message: impl Into<String>) {
        let at = self.at(keys);
        self.faults.push(at, message);
    }

    /// Whether something is wrong already in the table at `keys`: what follows from it is not told.
    pub fn spoilt(&self, keys: &[&str]) -> bool {
        let here = self.table.join(keys);
        let below = self.below.as_ref().map(|below| below.join(keys));
        self.faults.any_below(&here) || below.is_some_and(|below| self.faults.any_below(&below))
    }

    /// A duration.
    pub fn duration(&mut self, keys: &[&str], text: Option<&DurationText>) -> Option<Duration> {
        match parse_duration(&text?.0) {
            Ok(span) => Some(span),
            Err(message) => {
                self.fault(keys, message);
                None
            }
        }
    }

    /// A duration of at least `least`.
    pub fn duration_from(
        &mut self,
        least: Duration,
        keys: &[&str],
        text: Option<&DurationText>,
    ) -> Option<Duration> {
        let span = self.duration(keys, text)?;
        if span < least {
            self.fault(
                keys,
                format!(
                    "must be at least {}, found {}",
                    format_duration(least),
                    format_duration(span)
                ),
            );
            return None;
        }
        Some(span)
    }

    /// A size of at least `least`.
    pub fn size_from(&mut self, least: u64, keys: &[&str], text: Option<&SizeText>) -> Option<u64> {
        match parse_size(&text?.0) {
            Ok(bytes) if bytes >= least => Some(bytes),
            Ok(bytes) => {
                self.fault(
                    keys,
                    format!(
                        "must be at least {}, found {}",
                        format_size(least),
                        format_size(bytes)
                    ),
                );
                None
            }
            Err(message) => {
                self.fault(keys, message);
                None
            }
        }
    }

    /// Two durations of which the first must not be longer. Where only one is given, the default of the other gives way.
    pub fn ordered(
        &mut self,
        shorter: (&[&str], Option<Duration>, Duration),
        longer: (&[&str], Option<Duration>, Duration),
    ) -> (Duration, Duration) {
        match (shorter.1, longer.1) {
            (Some(short), Some(long)) => {
                if short > long {
                    let message = format!(
                        "{} is longer than {} with {}",
                        format_duration(short),
                        longer.0.join("."),
                        format_duration(long)
                    );
                    self.fault(shorter.0, message);
                }
                (short, long)
            }
            (Some(short), None) => (short, longer.2.max(short)),
            (None, Some(long)) => (shorter.2.min(long), long),
            (None, None) => (shorter.2, longer.2),
        }
    }
}
