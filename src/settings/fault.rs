//! Faults of a configuration, collected so that all of them are told at once.

use std::fmt;

use super::path::{KeyPath, shown};
use crate::limits;

/// Something wrong in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key (`model_backends.gguf.restart.class`), or the variable or flag that set it.
    pub place: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A bounded collection of faults by key.
#[derive(Debug, Default)]
pub(super) struct Faults {
    by_key: Vec<(KeyPath, String)>,
    not_kept: usize,
}

impl Faults {
    /// Adds a fault. The same fault at the same place counts once.
    pub fn push(&mut self, at: KeyPath, message: impl Into<String>) {
        let fault = (at, message.into());
        if self.by_key.len() >= limits::CONFIG_FAULTS {
            self.not_kept += 1;
        } else if !self.by_key.contains(&fault) {
            self.by_key.push(fault);
        }
    }

    /// Whether something at or below `path` is wrong already: what follows from it need not be told.
    pub fn any_below(&self, path: &KeyPath) -> bool {
        self.by_key.iter().any(|(at, _)| at.starts_with(path))
    }

    /// Whether a fault stands at a place like this, as far as can be told: there may be more than are kept.
    pub fn any(&self, like_this: impl Fn(&KeyPath) -> bool) -> bool {
        self.not_kept > 0 || self.by_key.iter().any(|(at, _)| like_this(at))
    }

    /// The faults, and how many more there were.
    pub fn into_parts(self) -> (Vec<(KeyPath, String)>, usize) {
        (self.by_key, self.not_kept)
    }
}

/// The one of `known` that was probably meant by `word`.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // a longer text than any key is no slip of the keyboard, and comparing it would be slow
    if word.len() > limits::MODEL_NAME_BYTES {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (likeness(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// From 0 to 1: alike as a whole, or word by word (`max_fails` and `max_consecutive_failures`).
fn likeness(word: &str, candidate: &str) -> f64 {
    let part_likeness = |part: &str| {
        let others = candidate.split(['_', '-']);
        others.map(|other| strsim::jaro_winkler(part, other)).fold(0.0, f64::max)
    };
    let parts: Vec<&str> = word.split(['_', '-']).filter(|part| !part.is_empty()).collect();
    let by_parts =
        parts.iter().map(|part| part_likeness(part)).sum::<f64>() / parts.len().max(1) as f64;
    strsim::jaro_winkler(word, candidate).max(0.9 * by_parts)
}

/// `, did you mean 'x'?`, or nothing.
pub(super) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known)
        .map_or_else(String::new, |near| format!(", did you mean '{}'?", shown(near)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named_and_nonsense_has_none() {
        let known = ["max_consecutive_failures", "backoff_min", "backoff_max", "jitter"];
        assert_eq!(nearest("max_fails", known), Some("max_consecutive_failures"));
        assert_eq!(nearest("BACKOFF_MNI", known), Some("backoff_min"));
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }

    #[test]
    fn faults_are_bounded_and_counted() {
        let mut faults = Faults::default();
        for number in 0..limits::CONFIG_FAULTS + 7 {
            faults.push(KeyPath::root().index(number), "wrong");
        }
        let (kept, more) = faults.into_parts();
        assert_eq!((kept.len(), more), (limits::CONFIG_FAULTS, 7));
    }
}
