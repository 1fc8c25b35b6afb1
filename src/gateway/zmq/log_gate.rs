//! Keeps a flood of bad messages from becoming a flood of log lines. Pure.

use crate::clock::Moment;
use crate::limits;

/// Lets one line through per [`limits::REFUSAL_LOG_EVERY`] and counts the rest.
#[derive(Debug, Default)]
pub(super) struct LogGate {
    open_at: Moment,
    held_back: u64,
}

impl LogGate {
    /// Whether to write a line now; then with the number of those that were not written since the last.
    pub(super) fn admit(&mut self, now: Moment) -> Option<u64> {
        if now < self.open_at {
            self.held_back += 1;
            return None;
        }
        self.open_at = now + limits::REFUSAL_LOG_EVERY;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_period_with_an_honest_count() {
        let mut gate = LogGate::default();
        let start = Moment::default();
        assert_eq!(gate.admit(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(gate.admit(start), None);
        }
        assert_eq!(gate.admit(start + limits::REFUSAL_LOG_EVERY), Some(1000));
        assert_eq!(gate.admit(start + limits::REFUSAL_LOG_EVERY * 2), Some(0));
    }
}
