//! A sliding window over restarts.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// Allows `limit` restarts inside `period`; the next one is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartWindow {
    limit: u32,
    period: Duration,
    restarts: VecDeque<Moment>,
}

impl RestartWindow {
    /// An empty window.
    pub fn new(limit: u32, period: Duration) -> Self {
        Self { limit, period, restarts: VecDeque::new() }
    }

    /// A window that remembers these restarts, oldest first.
    pub fn with_restarts(limit: u32, period: Duration, restarts: &[Moment]) -> Self {
        Self { limit, period, restarts: restarts.iter().copied().collect() }
    }

    /// Counts a restart at `now`. Answers whether it is allowed.
    pub fn admit(&mut self, now: Moment) -> bool {
        self.forget_old(now);
        if self.restarts.len() >= self.limit as usize {
            return false;
        }
        self.restarts.push_back(now);
        true
    }

    /// Restarts that still count at `now`.
    pub fn count(&mut self, now: Moment) -> usize {
        self.forget_old(now);
        self.restarts.len()
    }

    /// The restarts that are remembered, oldest first.
    pub fn restarts(&self) -> Vec<Moment> {
        self.restarts.iter().copied().collect()
    }

    /// Forgets all restarts.
    pub fn clear(&mut self) {
        self.restarts.clear();
    }

    fn forget_old(&mut self, now: Moment) {
        while self.restarts.front().is_some_and(|at| now.since(*at) > self.period) {
            self.restarts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn limit_restarts_are_allowed_and_the_next_is_not() {
        let mut window = RestartWindow::new(2, Duration::from_secs(1));
        assert!(window.admit(at(0)) && window.admit(at(10)));
        assert!(!window.admit(at(20)));
    }

    #[test]
    fn old_restarts_leave_the_window() {
        let mut window = RestartWindow::new(1, Duration::from_secs(1));
        assert!(window.admit(at(0)));
        assert!(
            !window.admit(at(1000)),
            "a restart exactly one period old still counts, as in OTP"
        );
        assert!(window.admit(at(1001)));
    }

    #[test]
    fn intensity_zero_allows_none() {
        assert!(!RestartWindow::new(0, Duration::from_secs(1)).admit(at(0)));
    }
}
