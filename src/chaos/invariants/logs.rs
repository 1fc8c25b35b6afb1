//! The log files of a model stay within their quota: the current one and those that are kept.

use serde::Deserialize;

use super::{Invariant, Violation};
use crate::chaos::history::Histories;

/// The quota of a model's log, as `list-models` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct LogLimits {
    /// Bytes of one file.
    pub max_bytes: u64,
    /// Rotated files beside the current one.
    pub keep: u32,
}

impl LogLimits {
    /// Bytes of all files together.
    pub fn quota(&self) -> u64 {
        self.max_bytes.saturating_mul(u64::from(self.keep) + 1)
    }
}

/// Judges what the files take when the service had time to rotate them.
pub fn quota(
    model: &str,
    bounds: LogLimits,
    bytes: u64,
    histories: &Histories,
) -> Option<Violation> {
    // what came while one was being copied away lies in the copy: it is bounded by one more file
    let most = bounds.quota().saturating_add(bounds.max_bytes);
    (bytes > most).then(|| Violation {
        invariant: Invariant::LogQuota,
        subject: model.to_owned(),
        what: format!(
            "its log files have {bytes} bytes; {} files of {} bytes are allowed, and one being moved",
            bounds.keep + 1,
            bounds.max_bytes
        ),
        history: histories.of_model(model),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beyond_the_quota_are_told() {
        let bounds = LogLimits { max_bytes: 1000, keep: 2 };
        let histories = Histories::default();
        assert_eq!(quota("a", bounds, 4000, &histories), None);
        let violation = quota("a", bounds, 4001, &histories).unwrap();
        assert_eq!((violation.subject.as_str(), violation.invariant), ("a", Invariant::LogQuota));
    }
}
