//! When a backend that ended is started again: two counters, backoff, and giving up. Pure.
//!
//! The first counter (failures in a row) catches the backend that never comes up and is forgiven by readiness; the
//! second (a sliding window) catches the one that loads for 90 s and dies at its first request, and is not.

use std::time::Duration;

use crate::clock::Moment;
use crate::limits;
use crate::settings::policy::{GiveUp, RestartPolicy};
use crate::supervision::backoff::Backoff;
use crate::supervision::window::RestartWindow;

/// What has happened so far, as far as decisions rest on it.
#[derive(Debug, Clone)]
pub struct RestartBook {
    policy: RestartPolicy,
    consecutive_failures: u32,
    window: RestartWindow,
    park_level: u32,
    random: fastrand::Rng,
}

/// What to do after an unwanted end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Start again after this delay; zero means at once.
    Restart(Duration),
    /// Rest this long, then try one start.
    Park {
        /// The cool-off.
        cool_off: Duration,
        /// Which bound was reached, in words.
        why: String,
    },
    /// Let the failure travel up the tree.
    Escalate {
        /// Which bound was reached, in words.
        why: String,
    },
}

impl RestartBook {
    /// An empty book. The seed fixes the jitter.
    pub fn new(policy: RestartPolicy, seed: u64) -> Self {
        let window = RestartWindow::new(policy.window_max, policy.window_period);
        Self {
            policy,
            consecutive_failures: 0,
            window,
            park_level: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Goes on from what a predecessor wrote down.
    pub fn resume(&mut self, consecutive_failures: u32, park_level: u32, window: &[Moment]) {
        self.consecutive_failures = consecutive_failures;
        self.park_level = park_level;
        self.window =
            RestartWindow::with_restarts(self.policy.window_max, self.policy.window_period, window);
    }

    /// The rules.
    pub fn policy(&self) -> &RestartPolicy {
        &self.policy
    }

    /// Goes on under other rules; what was counted stays counted.
    pub fn set_policy(&mut self, policy: RestartPolicy) {
        let restarts = self.window.restarts();
        self.policy = policy;
        self.resume(self.consecutive_failures, self.park_level, &restarts);
    }

    /// Failures in a row.
    pub fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures
    }

    /// How often it was given up in a row, by whatever way.
    pub fn park_level(&self) -> u32 {
        self.park_level
    }

    /// The restarts in the sliding window.
    pub fn window(&self) -> Vec<Moment> {
        self.window.restarts()
    }

    /// The backend was ready long enough.
    pub fn forgive(&mut self) {
        self.consecutive_failures = 0;
        self.park_level = 0;
    }

    /// Somebody decided by hand that it gets a fresh chance.
    pub fn clear(&mut self) {
        self.forgive();
        self.window.clear();
    }

    /// A parked backend gets its trial start. It counts like any restart, and is made also where the window is full.
    pub fn count_trial(&mut self, now: Moment) {
        self.window.admit(now);
    }

    /// Judges an end that is to be followed by a restart. `fatal` tells why no restart can help.
    pub fn judge(&mut self, fatal: Option<&str>, now: Moment) -> Verdict {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        if let Some(reason) = fatal {
            return self.give_up(reason.to_owned());
        }
        if self.consecutive_failures > self.policy.max_consecutive_failures {
            let why = match self.consecutive_failures {
                // what is counted is set to the limit when it is given up, and is no number of failures any more
                _ if self.park_level > 0 => "failed again after it was given up".to_owned(),
                1 => "1 failure in a row".to_owned(),
                failures => format!("{failures} failures in a row"),
            };
            return self.give_up(why);
        }
        if !self.window.admit(now) {
            let why = format!(
                "{} restarts in {}",
                self.policy.window_max,
                humantime::format_duration(self.policy.window_period)
            );
            return self.give_up(why);
        }
        Verdict::Restart(self.delay())
    }

    /// Gives up for a reason that lies outside this book: its group allows no further restart.
    pub fn give_up_for(&mut self, why: String) -> Verdict {
        self.give_up(why)
    }

    fn delay(&mut self) -> Duration {
        match self.consecutive_failures {
            0 | 1 => Duration::ZERO,
            failures => self.backoff().delay(failures - 1, self.random.f64()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff {
            min: self.policy.backoff_min,
            factor: self.policy.backoff_factor,
            max: self.policy.backoff_max,
            jitter: self.policy.jitter,
        }
    }

    fn give_up(&mut self, why: String) -> Verdict {
        // the one trial start after a rest is the last of its row: its failure gives up again
        self.consecutive_failures = self.policy.max_consecutive_failures;
        match self.policy.on_give_up {
            GiveUp::Park => self.park(self.park_level, why),
            GiveUp::Escalate if self.park_level < limits::ESCALATIONS => {
                self.park_level += 1;
                Verdict::Escalate { why }
            }
            // it fails too slowly for those above to give up: the tree is left in peace
            GiveUp::Escalate => {
                let why = format!("{why}, escalated {} times in a row", limits::ESCALATIONS);
                self.park(self.park_level - limits::ESCALATIONS, why)
            }
            GiveUp::Retry => {
                let random = self.random.f64();
                Verdict::Restart(self.backoff().delay(u32::MAX, random))
            }
        }
    }

    fn park(&mut self, doublings: u32, why: String) -> Verdict {
        self.park_level = self.park_level.saturating_add(1);
        let cool_off = self.policy.cool_off.saturating_mul(1 << doublings.min(31));
        Verdict::Park { cool_off: cool_off.min(self.policy.cool_off_max), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RestartPolicy {
        RestartPolicy { jitter: 0.0, ..RestartPolicy::default() }
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn delay(verdict: Verdict) -> u128 {
        match verdict {
            Verdict::Restart(delay) => delay.as_millis(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn backoff_to_parked() {
        let mut book = RestartBook::new(policy(), 1);
        let delays: Vec<_> = (0..5).map(|_| delay(book.judge(None, at(0)))).collect();
        assert_eq!(delays, [0, 500, 1000, 2000, 4000]);
        assert!(
            matches!(book.judge(None, at(9)), Verdict::Park { cool_off, .. } if cool_off.as_secs() == 300)
        );
    }

    #[test]
    fn a_trial_start_that_fails_parks_again_for_twice_as_long_up_to_the_cap() {
        let mut book = RestartBook::new(policy(), 1);
        let mut rests = Vec::new();
        for _ in 0..5 {
            while let Verdict::Restart(_) = book.judge(None, at(0)) {}
        }
        for _ in 0..6 {
            if let Verdict::Park { cool_off, .. } = book.judge(None, at(0)) {
                rests.push(cool_off.as_secs());
            }
        }
        assert_eq!(rests, [3600; 6], "five rests came before: 300, 600, 1200, 2400, 3600");
    }

    #[test]
    fn flapping_window_is_not_reset_by_readiness() {
        let mut book = RestartBook::new(policy(), 1);
        for minute in 0..20 {
            assert_eq!(delay(book.judge(None, at(minute * 60))), 0);
            book.forgive();
        }
        assert!(matches!(book.judge(None, at(20 * 60)), Verdict::Park { .. }));
        assert!(matches!(
            RestartBook::new(policy(), 1).judge(None, at(0)),
            Verdict::Restart(Duration::ZERO)
        ));
    }

    #[test]
    fn what_no_restart_can_mend_parks_at_once() {
        let mut book = RestartBook::new(policy(), 1);
        let verdict = book.judge(Some("cannot execute nothing"), at(0));
        assert!(matches!(verdict, Verdict::Park { why, .. } if why.contains("cannot execute")));
    }

    #[test]
    fn retry_goes_on_at_the_cap() {
        let retry =
            RestartPolicy { on_give_up: GiveUp::Retry, max_consecutive_failures: 0, ..policy() };
        assert_eq!(delay(RestartBook::new(retry, 1).judge(None, at(0))), 60_000);
    }

    #[test]
    fn escalate_goes_up_a_few_times_in_a_row_and_then_parks() {
        let escalate = RestartPolicy { on_give_up: GiveUp::Escalate, ..policy() };
        let mut book = RestartBook::new(escalate.clone(), 1);
        for _ in 0..5 {
            assert!(matches!(book.judge(None, at(0)), Verdict::Restart(_)));
        }
        for round in 0..4 {
            // its actor is another one each time, which knows what was written down
            let mut successor = RestartBook::new(escalate.clone(), 1);
            successor.resume(book.consecutive_failures(), book.park_level(), &book.window());
            book = successor;
            let verdict = book.judge(None, at(0));
            assert!(matches!(verdict, Verdict::Escalate { .. }), "round {round}: {verdict:?}");
        }
        for rest in [300, 600] {
            let verdict = book.judge(None, at(0));
            assert!(
                matches!(&verdict, Verdict::Park { cool_off, why }
                    if cool_off.as_secs() == rest && why.contains("escalated 4 times in a row")),
                "{verdict:?}"
            );
        }
        book.forgive();
        assert!(matches!(book.judge(None, at(0)), Verdict::Restart(Duration::ZERO)));
    }
}
