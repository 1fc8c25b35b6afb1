//! When a silent backend counts as hung, and when as busy. Pure.

use std::time::Duration;

use crate::clock::Moment;
use crate::settings::policy::HealthPolicy;

/// The share of one core that counts as work: idle runtimes (timers, garbage collection) stay well below it.
const BUSY_SHARE: f64 = 0.05;

/// What is known about the health of one process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HealthWatch {
    misses: u32,
    silent_since: Option<Moment>,
    last_work: Option<Moment>,
    sample: Option<(Moment, Duration)>,
}

/// What silence means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnosis {
    /// Not enough is known yet: ask again at the next interval.
    Suspect,
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

    /// It answered.
    pub fn alive(&mut self) {
        *self = Self { last_work: self.last_work, ..Self::default() };
    }

    /// It served somebody, or passed on a piece of a stream.
    pub fn worked(&mut self, now: Moment) {
        self.last_work = Some(now);
    }

    /// It did not answer the question that was asked at `asked`.
    pub fn missed(&mut self, asked: Moment) {
        self.misses = self.misses.saturating_add(1);
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
        let burning = self.burns_cpu(cpu_time, now);
        if self.misses < policy.misses {
            return Diagnosis::Suspect;
        }
        let served = self.last_work.is_some_and(|at| at >= silent_since);
        let silence = now.since(silent_since);
        if (burning || served) && silence < policy.hang_timeout {
            return Diagnosis::Busy;
        }
        let question = if self.misses == 1 { "ping" } else { "pings" };
        let busy = if burning { ", busy without an answer" } else { "" };
        Diagnosis::Hung(format!(
            "hang: {} {question} missed in {:.1} s{busy}",
            self.misses,
            silence.as_secs_f64()
        ))
    }

    /// Whether it used a fair share of a core since the sample before.
    fn burns_cpu(&mut self, cpu_time: Option<Duration>, now: Moment) -> bool {
        let Some(used) = cpu_time else { return false };
        let before = self.sample.replace((now, used));
        before.is_some_and(|(at, then)| {
            let span = now.since(at).as_secs_f64();
            span > 0.0 && used.saturating_sub(then).as_secs_f64() / span >= BUSY_SHARE
        })
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
            watch.missed(at(second));
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
        assert_eq!(diagnosis, Diagnosis::Hung("hang: 3 pings missed in 12.0 s".into()));
        assert_eq!(when, 17);
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
            watch.missed(at(second));
        }
        watch.worked(at(16));
        assert_eq!(watch.judge(&policy, None, at(17)), Diagnosis::Busy);
    }

    #[test]
    fn an_answer_forgives_all_misses() {
        let mut watch = HealthWatch::default();
        watch.missed(at(5));
        watch.alive();
        assert_eq!(watch.misses(), 0);
        assert_eq!(watch.judge(&HealthPolicy::default(), None, at(9)), Diagnosis::Suspect);
    }
}
