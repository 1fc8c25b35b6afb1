//! How many lines of one backend reach the service's own log. Pure.

use std::time::Duration;

use crate::clock::Moment;
use crate::limits::OUTPUT_LINES_PER_SECOND;

const WINDOW: Duration = Duration::from_secs(1);

/// Lets [`OUTPUT_LINES_PER_SECOND`] lines pass each second and counts the others.
#[derive(Debug, Default)]
pub(super) struct LineBudget {
    window_start: Moment,
    passed: usize,
    held_back: HeldBack,
}

/// What was not shown.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeldBack {
    /// Whole lines.
    pub lines: u64,
    /// Bytes that were not even read.
    pub bytes: u64,
}

impl HeldBack {
    /// Whether all was shown.
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl LineBudget {
    /// Whether a line may pass now; counts it if not.
    pub(super) fn allow(&mut self, now: Moment) -> bool {
        if now.since(self.window_start) >= WINDOW {
            self.window_start = now;
            self.passed = 0;
        }
        let allowed = self.passed < OUTPUT_LINES_PER_SECOND;
        if allowed {
            self.passed += 1;
        } else {
            self.held_back.lines += 1;
        }
        allowed
    }

    /// Counts bytes that were skipped.
    pub(super) fn skipped(&mut self, bytes: u64) {
        self.held_back.bytes += bytes;
    }

    /// Whether a summary is still to be written.
    pub(super) fn owes_summary(&self) -> bool {
        !self.held_back.is_nothing()
    }

    /// What was held back, once its second is over (or at once, at the end of the output).
    pub(super) fn take_summary(&mut self, now: Moment, at_end: bool) -> Option<HeldBack> {
        let due = self.owes_summary() && (at_end || now.since(self.window_start) >= WINDOW);
        due.then(|| std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_counted_and_told_once_a_second() {
        let mut budget = LineBudget::default();
        let start = Moment::from_millis(5_000);
        let passed = (0..OUTPUT_LINES_PER_SECOND + 7).filter(|_| budget.allow(start)).count();
        assert_eq!(passed, OUTPUT_LINES_PER_SECOND);
        budget.skipped(100);
        assert_eq!(budget.take_summary(start, false), None, "its second is not over");

        let later = start + WINDOW;
        assert_eq!(budget.take_summary(later, false), Some(HeldBack { lines: 7, bytes: 100 }));
        assert_eq!(budget.take_summary(later, true), None, "told once");
        assert!(budget.allow(later), "a new second has a new budget");
    }

    #[test]
    fn end_of_output_tells_at_once() {
        let mut budget = LineBudget::default();
        budget.skipped(1);
        assert_eq!(
            budget.take_summary(Moment::default(), true),
            Some(HeldBack { lines: 0, bytes: 1 })
        );
    }
}
