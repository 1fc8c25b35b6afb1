//! When a silent backend counts as hung, and when as busy. Pure.

use std::time::Duration;

use crate::clock::Moment;
use crate::settings::policy::{HealthCheck, HealthPolicy};

/// The share of one core that counts as work: idle runtimes (timers, garbage collection) stay well below it.
const BUSY_SHARE: f64 = 0.05;

/// Whether this CPU time in that span is work, and not the housekeeping of something that waits.
pub(super) fn is_work(used: Duration, span: Duration) -> bool {
    !span.is_zero() && used.as_secs_f64() / span.as_secs_f64() >= BUSY_SHARE
}

/// What is known about the health of one process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HealthWatch {
    misses: u32,
    last_failure: String,
    silent_since: Option<Moment>,
    last_work: Option<Moment>,
    sample: Option<(Moment, Duration)>,
}

/// What silence means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnosis {
    /// Not enough is known yet: ask again at the next interval.
    Suspect,
    /// Enough is known, but for its CPU time there is nothing to compare with: measure again soon.
    Unclear,
    /// It misses answers, but it works.
    Busy,
    /// It hangs; with the reason in words.
    Hung(String),
}

impl HealthWatch {
    /// Answers missed in a row.
    pub fn misses(&self) -> u32 {
        self.misses
    }

    /// What came instead of the answer missed last.
    pub fn last_failure(&self) -> &str {
        &self.last_failure
    }

    /// It answered.
    pub fn alive(&mut self) {
        *self = Self { last_work: self.last_work, ..Self::default() };
    }

    /// It served somebody, or passed on a piece of a stream.
    pub fn worked(&mut self, now: Moment) {
        self.last_work = Some(now);
    }

    /// It did not answer the question that was asked at `asked`, and `why`.
    pub fn missed(&mut self, asked: Moment, why: String) {
        self.misses = self.misses.saturating_add(1);
        self.last_failure = why;
        self.silent_since.get_or_insert(asked);
    }

    /// Judges with the CPU time it has used by now; `None` where that cannot be told.
    pub fn judge(
        &mut self,
        policy: &HealthPolicy,
        cpu_time: Option<Duration>,
        now: Moment,
    ) -> Diagnosis {
        let Some(silent_since) = self.silent_since else { return Diagnosis::Suspect };
        let work = self.work(cpu_time, now);
        if self.misses < policy.misses {
            return Diagnosis::Suspect;
        }
        let served = self.last_work.is_some_and(|at| at >= silent_since);
        let silence = now.since(silent_since);
        let burning = work == Work::Seen;
        if silence < policy.hang_timeout {
            if burning || served {
                return Diagnosis::Busy;
            }
            if work == Work::Unknown {
                return Diagnosis::Unclear;
            }
        }
        let missed = missed_in_words(&policy.check, self.misses);
        let busy = if burning { ", busy without an answer" } else { "" };
        Diagnosis::Hung(format!(
            "hang: {missed} in {:.1} s, the last: {}{busy}",
            silence.as_secs_f64(),
            self.last_failure
        ))
    }

    /// Whether it used a fair share of a core since the sample before.
    fn work(&mut self, cpu_time: Option<Duration>, now: Moment) -> Work {
        let Some(used) = cpu_time else { return Work::None };
        match self.sample.replace((now, used)) {
            Some((at, then)) if used >= then => {
                if is_work(used - then, now.since(at)) {
                    Work::Seen
                } else {
                    Work::None
                }
            }
            // the first one; or a helper ended and took its share of the sum along
            _ => Work::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Seen,
    None,
    Unknown,
}

fn missed_in_words(check: &HealthCheck, misses: u32) -> String {
    let times = if misses == 1 { "once".to_owned() } else { format!("{misses} times") };
    match check {
        HealthCheck::Http { path } => format!("GET {path} failed {times}"),
        HealthCheck::Tcp => format!("no connection to its port {times}"),
        HealthCheck::Ping | HealthCheck::None if misses == 1 => "1 ping missed".to_owned(),
        HealthCheck::Ping | HealthCheck::None => format!("{misses} pings missed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn run(cpu_per_second: f64, until: u64) -> (Diagnosis, u64) {
        let policy = HealthPolicy::default();
        let mut watch = HealthWatch::default();
        let mut second = 5;
        loop {
            watch.missed(at(second), "no answer within 2s".into());
            let now = at(second + 2);
            let used = Duration::from_secs_f64(cpu_per_second * (second + 2) as f64);
            let diagnosis = watch.judge(&policy, Some(used), now);
            if matches!(diagnosis, Diagnosis::Hung(_)) || second > until {
                return (diagnosis, second + 2);
            }
            second += 5;
        }
    }

    #[test]
    fn sigstop_is_noticed() {
        let (diagnosis, when) = run(0.0, 300);
        let why = "hang: 3 pings missed in 12.0 s, the last: no answer within 2s";
        assert_eq!(diagnosis, Diagnosis::Hung(why.into()));
        assert_eq!(when, 17);
    }

    #[test]
    fn the_words_name_the_check() {
        let words = |check, misses| missed_in_words(&check, misses);
        assert_eq!(words(HealthCheck::Ping, 1), "1 ping missed");
        assert_eq!(words(HealthCheck::Http { path: "/up".into() }, 3), "GET /up failed 3 times");
        assert_eq!(words(HealthCheck::Tcp, 1), "no connection to its port once");
    }

    #[test]
    fn busy_is_not_down_until_the_hang_timeout() {
        let (diagnosis, when) = run(0.9, 300);
        assert!(
            matches!(diagnosis, Diagnosis::Hung(why) if why.contains("busy without an answer"))
        );
        assert_eq!(when, 127, "120 s after the first unanswered question");
    }

    #[test]
    fn an_idle_runtime_is_not_busy() {
        assert!(matches!(run(0.01, 300), (Diagnosis::Hung(_), 17)));
    }

    #[test]
    fn served_requests_hold_judgement() {
        let policy = HealthPolicy::default();
        let mut watch = HealthWatch::default();
        for second in [5, 10, 15] {
            watch.missed(at(second), "no answer within 2s".into());
        }
        watch.worked(at(16));
        assert_eq!(watch.judge(&policy, None, at(17)), Diagnosis::Busy);
    }

    #[test]
    fn an_answer_forgives_all_misses() {
        let mut watch = HealthWatch::default();
        watch.missed(at(5), "no answer within 2s".into());
        watch.alive();
        assert_eq!(watch.misses(), 0);
        assert_eq!(watch.judge(&HealthPolicy::default(), None, at(9)), Diagnosis::Suspect);
    }
}
